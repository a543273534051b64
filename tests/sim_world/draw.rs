//! What a seed decides before anything happens: the service's habits, the faults that may occur and how often, the life
//! of the disk.
//!
//! Faults are drawn as swarms: each seed leaves most kinds out and gives the others rates of their own, because faults
//! that always occur all together hide what each of them, or two of them, can do.

use pageferry_emulator::{Config, Variants};

use super::dice::Dice;

/// What may happen to a request on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// It does not arrive.
    Lost,
    /// It is applied and the answer is lost.
    Unanswered,
    /// It arrives long after its sender has given up; its conditions are checked then.
    Late,
    /// Its conditions are checked at once, and it is applied within the time it gives itself.
    Admitted,
    /// It arrives twice, the second time later.
    Twice,
    /// 503 `ServerBusy`.
    Busy,
    /// 500 `OperationTimedOut`, applied or not.
    TimedOut,
    /// 500 `InternalError`, applied or not.
    Internal,
    /// The answer ends early.
    Cut,
    /// A bit of the page data in the answer is wrong.
    CorruptPages,
    /// A byte of the words in the answer (a list, an error) is wrong.
    CorruptWords,
    /// A bit of the page data that is sent is wrong.
    CorruptSent,
    /// A bit of what is asked is wrong: of a header's value, or of the query's.
    CorruptAsked,
    /// It takes its time, and is answered.
    Slow,
    /// There is no answer, and the connection stays.
    Silent,
    /// The process dies before, after, or with the request still on its way.
    Death,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 16] = [
        Fault::Lost,
        Fault::Unanswered,
        Fault::Late,
        Fault::Admitted,
        Fault::Twice,
        Fault::Busy,
        Fault::TimedOut,
        Fault::Internal,
        Fault::Cut,
        Fault::CorruptPages,
        Fault::CorruptWords,
        Fault::CorruptSent,
        Fault::Slow,
        Fault::Silent,
        Fault::Death,
        Fault::CorruptAsked,
    ];
}

/// How large a world is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// A few dozen pages, a few kinds of faults: many worlds a second.
    Small,
    /// Some thousand pages, all kinds of faults together.
    Storm,
}

/// Which requests the faults of a world prefer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Focus {
    /// None.
    All,
    /// What changes something.
    Changes,
    /// Page writes and clears.
    PageWrites,
    /// Lease, epoch, metadata, snapshot.
    Control,
    /// Page lists.
    Lists,
}

/// What a seed decides.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The size of the world.
    pub scale: Scale,
    /// Pages of the disk at first.
    pub pages: u64,
    /// Rounds of changes and syncs.
    pub rounds: u64,
    /// The longest an ordinary answer takes, in milliseconds.
    pub latency: u64,
    /// Faults that occur, with their rates per ten thousand requests.
    pub faults: Vec<(Fault, u64)>,
    /// Which requests they prefer.
    pub focus: Focus,
    /// Storms of 503: their length in seconds, zero for none.
    pub storm: u64,
    /// Others write to the target, without and with leases.
    pub foreign: bool,
    /// Others resize the target.
    pub foreign_resize: bool,
    /// Others break the target's lease.
    pub breaks: bool,
    /// Source snapshots are deleted.
    pub deletes: bool,
    /// Points are restored.
    pub restores: bool,
    /// In the end a point is restored and its disk adopted.
    pub adopts: bool,
    /// Runs fill gaps, most of them.
    pub fills: bool,
    /// The service.
    pub config: Config,
}

impl Draw {
    /// What `dice` decide for a world of this scale.
    pub fn new(scale: Scale, dice: &mut Dice) -> Draw {
        let small = scale == Scale::Small;
        let share = if small { dice.within(50..400) } else { 1000 };
        let mut faults = Vec::new();
        for fault in Fault::ALL {
            if dice.chance(share) {
                faults.push((fault, if small { dice.spread(10..1500) } else { dice.spread(20..300) }));
            }
        }
        let focus =
            [Focus::All, Focus::All, Focus::All, Focus::Changes, Focus::PageWrites, Focus::Control, Focus::Lists];
        let config = config(dice);
        Draw {
            scale,
            pages: if small { dice.within(24..97) } else { dice.within(1000..4000) },
            rounds: dice.within(1..5),
            latency: *dice.pick(&[2, 2, 3, 10, 50, 200, 1500]),
            faults,
            focus: *dice.pick(&focus),
            storm: if dice.chance(60) { dice.spread(1..400) } else { 0 },
            foreign: dice.chance(250),
            foreign_resize: dice.chance(60),
            breaks: dice.chance(250),
            deletes: dice.chance(350),
            restores: dice.chance(100),
            adopts: dice.chance(60),
            // Not drawn with these dice, so that older seeds still make the worlds they were noted for.
            fills: config.seed % 5 < 2,
            config,
        }
    }

    /// Whether words arrive corrupted, in either direction, which without TLS nothing can notice at once: points stay right, but a
    /// wrong name may have been written down, and somebody has to look at it.
    pub fn lies_in_words(&self) -> bool {
        self.faults.iter().any(|(fault, _)| matches!(fault, Fault::CorruptWords | Fault::CorruptAsked))
    }
}

fn config(dice: &mut Dice) -> Config {
    let mut config = Config { auth: false, seed: dice.any(), ..Config::default() };
    config.variants = Variants::draw(dice.any());
    config.variants.ignore_prevsnapshot = dice.chance(8);
    // Disks are small here, and so must be what a page of a list holds.
    let few = |dice: &mut Dice| if dice.chance(300) { usize::try_from(dice.within(1..5)).ok() } else { None };
    config.variants.list_page_max = few(dice);
    config.variants.blob_page_max = few(dice);
    let premium = dice.chance(25);
    config.accounts.values_mut().for_each(|account| account.limit_snapshots = premium);
    config
}
