//! A script of faults, as data: it can be written in a test, sent to the admin endpoint as JSON, and printed with a
//! failing seed.

use serde::{Deserialize, Serialize};

use crate::faults::operation::Select;

/// What is to go wrong, and when. The same script and the same requests give the same faults.
///
/// Rules are looked at in order. Every rule counts the requests it is about; what it wants to happen *to the world*
/// happens, and of the rules that want something to happen *to the request* the first one has its way.
///
/// ```
/// use pageferry_emulator::faults::{Action, FaultScript, Loss, Operation, Rule, Applied};
///
/// // The answer to the seventh page write is lost, and one read in twenty is answered with 503.
/// let script = FaultScript::new(42)
///     .rule(Rule::new(Action::Lose { applied: Applied::Whole, how: Loss::Reset }).on(Operation::PutPageUpdate).nth(7))
///     .rule(Rule::new(Action::busy()).on(Operation::GetBlob).per_mille(50));
/// let json = serde_json::to_string(&script).unwrap();
/// assert_eq!(serde_json::from_str::<FaultScript>(&json).unwrap(), script);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultScript {
    /// Where chances are drawn from.
    pub seed: u64,
    /// What goes wrong.
    pub rules: Vec<Rule>,
    /// How much the service bears in a second.
    pub limits: Vec<Limit>,
}

/// One fault, which requests it befalls, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The requests it is about.
    #[serde(default)]
    pub on: Match,
    /// Which of them it befalls.
    #[serde(default)]
    pub when: When,
    /// What befalls them.
    pub action: Action,
}

/// Which requests a rule is about; what is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Any of these; none named is every operation.
    pub operations: Vec<Select>,
    /// A pattern for `container/blob`, in which `*` stands for any text and `?` for one character.
    pub blob: Option<String>,
    /// A pattern for the account.
    pub account: Option<String>,
}

/// Which of the requests that match a rule befalls: all, unless it is said otherwise. Everything said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The one of this number alone, counted from one.
    pub nth: Option<u64>,
    /// Not before this many have passed.
    pub after: u64,
    /// One in so many.
    pub every: Option<u64>,
    /// By chance, in this many of a thousand.
    pub per_mille: Option<u16>,
    /// No more often than this.
    pub times: Option<u64>,
    /// Only in a storm.
    pub storm: Option<Storm>,
}

/// A time in which a rule is in force, on the service's clock, counted from when the script was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// When it begins, in milliseconds.
    pub from: u64,
    /// How long it lasts, in milliseconds.
    pub lasts: u64,
    /// After how many milliseconds it comes again, if it does.
    #[serde(default)]
    pub every: Option<u64>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// The client never gets an answer. `applied: none` with `how: reset` is a reset before applying, `whole` an
    /// answer lost after applying.
    Lose {
        /// What was done all the same.
        applied: Applied,
        /// What the client sees.
        how: Loss,
    },
    /// The connection breaks when half of the request's body has been read. In process: before applying.
    BreakRequest(Loss),
    /// The request is on its way and arrives later. Its credentials and conditions are checked then.
    Late {
        /// When it arrives.
        after: Delay,
        /// What the client sees now.
        how: Loss,
    },
    /// The request is checked now, and if it passes it is applied later without another look: within its `timeout=`,
    /// or within ten minutes for each MiB when it has none. One that does not pass is refused as ever.
    Admit {
        /// When it is applied, unless its time is over before.
        after: Delay,
        /// What the client sees now.
        how: Loss,
    },
    /// The request is delivered twice. The first delivery is answered; the second comes later.
    Duplicate(Delay),
    /// The service refuses.
    Refuse {
        /// With this code.
        code: Refusal,
        /// What was done all the same. After [`Refusal::ServerBusy`] the real service has done nothing.
        #[serde(default)]
        applied: Applied,
        /// The value of a `Retry-After` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A page list is refused with `OperationTimedOut` as long as it is asked for more than this many bytes.
    TimeOutAbove(u64),
    /// The answer's body ends early.
    Truncate {
        /// How much of it is sent.
        keep: Keep,
        /// And then.
        end: End,
    },
    /// One bit of the answer's body is not what was sent.
    CorruptAnswer,
    /// One bit of the request's body is not what was sent.
    CorruptRequest,
    /// The hash in the answer's headers is not that of its body.
    WrongHash,
    /// A header of the answer is another one, or missing.
    SetHeader {
        /// Its name, in lower case.
        name: String,
        /// What it says.
        #[serde(default)]
        value: Option<String>,
    },
    /// The answer is a long time coming.
    Slow(Pace),
    /// The request is read slowly. In process: answered slowly.
    SlowRequest(Pace),
    /// A listing of pages or blobs has at most this many entries; with none there is only a marker, so it is for the
    /// script to let a list proceed.
    ShortList(usize),
    /// Something happens to the world first; the request itself goes on as it would have.
    First(Event),
}

/// How much of a request is carried out that is not answered as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applied {
    /// Nothing.
    #[default]
    None,
    /// Some of the pages of a Put Page, from the first on; nothing of any other request.
    Part,
    /// All of it.
    Whole,
}

/// What a client sees in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The connection is reset.
    Reset,
    /// The connection is closed in good order.
    Close,
    /// Nothing at all; the connection stays.
    Hang,
    /// A status 500, `OperationTimedOut`.
    TimedOut,
}

/// When something happens that is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delay {
    /// After this many milliseconds of the service's clock.
    Millis(u64),
    /// After a drawn number of milliseconds, from the first to the second.
    Between(u64, u64),
    /// Just before the request that comes this many after it.
    Requests(u64),
    /// When it is let go: [`Service::release`](crate::Service::release), `POST /late/release`.
    Held,
}

/// How the service refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// 503.
    #[default]
    ServerBusy,
    /// 500.
    OperationTimedOut,
    /// 500.
    InternalError,
}

/// How much of a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// This many bytes, and never all.
    Bytes(u64),
    /// All but this many.
    AllBut(u64),
    /// A drawn part.
    Part,
}

/// How a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With a reset; the length said more was to come.
    Reset,
    /// With a close; the length said more was to come.
    Close,
    /// Not at all: nothing more comes and the connection stays.
    Hang,
    /// As if that were all, with the length of what was sent.
    Short,
    /// As if that were all, in chunks and without a length.
    Chunked,
}

/// How slowly bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// Milliseconds before the first byte, by the machine's clock.
    pub first: u64,
    /// Bytes that move at once.
    pub bytes: u64,
    /// Milliseconds between one such piece and the next.
    pub pause: u64,
}

/// What somebody else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Event {
    /// The lease of a blob is broken at once.
    BreakLease {
        /// The blob, as `container/blob`; else the one the request is about.
        #[serde(default)]
        blob: Option<String>,
        /// Whether whoever broke it then takes a lease without end.
        #[serde(default)]
        take: bool,
    },
    /// Snapshots of a blob are deleted.
    DeleteSnapshot {
        /// The blob, as `container/blob`; else the one the request is about.
        #[serde(default)]
        blob: Option<String>,
        /// Which of them.
        #[serde(default)]
        which: Which,
    },
    /// Any other request, with the rights of the owner and whatever lease there is.
    Request(Foreign),
    /// Time passes, in milliseconds: signatures expire, leases run out. Only with a clock that can be moved.
    Advance(u64),
    /// The machine loses power and comes up again.
    PowerLoss(PowerLoss),
    /// Everything held back with [`Delay::Held`] comes through.
    Release,
}

/// Which snapshots of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The one the request reads.
    #[default]
    Addressed,
    /// The one the request compares with.
    Previous,
    /// The oldest.
    Oldest,
    /// The newest.
    Newest,
    /// Every one.
    All,
    /// The one of this time.
    At(String),
}

/// Somebody else's request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Foreign {
    /// The verb.
    pub method: String,
    /// Path and query, percent-encoded, such as `/devstoreaccount1/disks/b?comp=page`.
    pub target: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The length of the body.
    pub length: usize,
    /// What the body is filled with.
    pub fill: u8,
}

/// What a loss of power takes away. A service without a data directory loses everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerLoss {
    /// How many of the last acknowledged changes are gone. None are from a service that synchronises its journal,
    /// unless its disk lies.
    pub records: usize,
    /// Whether the first of the lost changes leaves half a record behind, or else the one that was being written.
    pub torn: bool,
    /// Whether the disk acknowledged what it had not written.
    pub lying: bool,
}

/// What the service bears in one second of its clock. What is above is refused, never slowed down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What the seconds are counted for.
    pub per: Per,
    /// Requests in a second.
    #[serde(default)]
    pub requests: Option<u64>,
    /// Bytes of bodies in a second, both ways together. The request that goes over it is still served.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// How it refuses.
    #[serde(default)]
    pub refusal: Refusal,
}

/// What a limit is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Each blob whose `container/blob` fits the pattern, with its snapshots.
    Blob(String),
    /// Each account whose name fits the pattern.
    Account(String),
}
