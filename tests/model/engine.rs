//! One process of ours: where it stands between two requests, and the request it sends next.
//!
//! The phases follow `replicate/src/sync.rs` and `step.rs`, one per request or per look that decides something. What an
//! engine knows is only what it has read or been answered; [`crate::run`] moves it on.

use crate::blob::{Age, DERIVED, Id, Meta, NOBODY, Request, What, Words};
use crate::rules::{EpochRule, LeaseRule, Rules, StopRule};
use crate::source::{Set, bit, content, lowest, pages};

/// Where an engine stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// Not running.
    #[default]
    Off,
    /// Has looked at the target, whose lease has run out, and renews the one that its words name.
    Inherit,
    /// Has looked at the target, and takes it.
    Take,
    /// Holds the target under the renewed id, and changes that for a fresh one.
    Rename,
    /// Holds the target, and decides what to do.
    Decide,
    /// Raises the epoch.
    Raise,
    /// Gives the service time to finish the requests of an unclean predecessor.
    Quiesce,
    /// Asks what was done to a target that says it is sealed.
    Check,
    /// Marks the target.
    Mark,
    /// Moves pages.
    Apply,
    /// Compares.
    Gate,
    /// Takes back the watermark after a gate that failed.
    StartOver,
    /// Says that the target is sealed.
    Seal,
    /// Snapshots it.
    Snapshot,
    /// Exchanges the lease id between two steps.
    Rotate,
    /// Gives the target back.
    Release,
    /// Stops early: makes sure of the lease.
    Prove,
    /// Stops early: ends the lease.
    End,
}

/// What an engine saw before it took the target.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Before {
    /// The metadata's epoch was the sequence number.
    pub words: bool,
    /// The lease vouches that nobody has touched the target since.
    pub lease: bool,
    /// The lease was not simply available.
    pub unclean: bool,
}

/// A step as decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Task {
    /// The source snapshot of the newest point.
    pub from: u8,
    /// The source snapshot to copy.
    pub to: u8,
    /// The run of the newest point, since which the target's own difference is asked for.
    pub since: Id,
    /// Changes of the source below this page are on the target.
    pub floor: u8,
    /// Pages outside the source's difference may have been touched.
    pub touched: bool,
    /// The target says it is sealed but its tag is not that of its point.
    pub check: bool,
    /// Nobody but this very step can have touched the target since its newest point.
    pub certain: bool,
    /// The predecessor did not hand over cleanly.
    pub unclean: bool,
    /// Pages that the mark found on the target planned to change.
    pub marked: Set,
}

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Engine {
    /// Where it stands.
    pub phase: Phase,
    /// The lease id it holds.
    pub lease: Id,
    /// The run that the words it writes name; before that, the lease id it has asked for without an answer.
    pub run: Id,
    /// Its epoch.
    pub epoch: Age,
    /// The tag it knows is still the base's.
    pub tag: bool,
    /// It is at its first step, and this is what it saw before.
    pub before: Option<Before>,
    /// The step it is at.
    pub task: Task,
    /// Pages still to be moved.
    pub todo: Set,
    /// The watermark it has said.
    pub said: u8,
    /// A page write or a watermark of this step ended with an unknown outcome.
    pub unknown: bool,
    /// The service may still be about to apply a request of ours from before this step, and nobody has waited for it yet.
    pub owes: bool,
    /// The last conditional request ended with an unknown outcome, which must be looked into.
    pub asks: bool,
    /// An earlier attempt of this request ended with an unknown outcome.
    pub tried: bool,
}

impl Engine {
    /// Not running.
    pub const OFF: Engine = Engine {
        phase: Phase::Off,
        lease: NOBODY,
        run: NOBODY,
        epoch: Age::Past,
        tag: false,
        before: None,
        task: Task {
            from: 0,
            to: 0,
            since: NOBODY,
            floor: 0,
            touched: false,
            check: false,
            certain: false,
            unclean: false,
            marked: 0,
        },
        todo: 0,
        said: 0,
        unknown: false,
        owes: false,
        asks: false,
        tried: false,
    };

    /// At the beginning of another step, with the lease as it is.
    pub fn between_steps(self, rules: &Rules) -> Engine {
        let Engine { lease, epoch, .. } = self;
        let owes = self.owes || rules.lost_is_debt && self.unknown;
        Engine { phase: Phase::Decide, lease, epoch, owes, ..Engine::OFF }
    }

    /// Everything below this page is durable.
    pub fn watermark(&self) -> u8 {
        self.task.floor.max(lowest(self.todo))
    }

    /// Whether it holds the target, under an id of its own, and keeps that lease alive.
    pub fn holds(&self) -> bool {
        use Phase::*;
        !matches!(self.phase, Off | Inherit | Take | Rename | Release | Prove | End)
    }

    /// Whether it may be interrupted, or fail.
    pub fn can_stop(&self) -> bool {
        use Phase::*;
        !matches!(self.phase, Off | StartOver | Release | Prove | End)
    }

    /// The mark of its step.
    pub fn mark(&self, watermark: u8) -> Meta {
        let Task { from, to, .. } = self.task;
        Meta { words: Words::Applying { from, to, watermark }, run: self.run, lease: self.lease, epoch: self.epoch }
    }

    /// The seal of its step.
    pub fn seal(&self) -> Meta {
        Meta { words: Words::Sealed(self.task.to), run: self.run, lease: self.lease, epoch: self.epoch }
    }

    /// The one request that its phase sends; page writes and watermarks are apart, because several are out at once.
    /// `fresh` gives an id that nobody has.
    pub fn request(&self, rules: &Rules, fresh: impl FnOnce() -> Id) -> Option<Request> {
        let on = |condition: bool| condition.then_some(self.tag);
        let held = self.lease_header(rules);
        let under = |what, tag| Some(Request { lease: held, tag, epoch: None, what });
        let another = || if self.tried { self.run } else { fresh() };
        match self.phase {
            Phase::Inherit => under(What::Renew, None),
            Phase::Take => {
                let id = match rules.lease {
                    LeaseRule::PerRun | LeaseRule::PerProcess => another(),
                    LeaseRule::Derived => DERIVED,
                    LeaseRule::None => return None,
                };
                Some(Request { lease: None, tag: on(rules.tag_on_acquire), epoch: None, what: What::Acquire(id) })
            }
            Phase::Rename => under(What::Change(another()), None),
            Phase::Raise => under(What::Raise(self.epoch), on(rules.tag_on_mark)),
            Phase::Mark => under(What::Say(self.mark(self.task.floor)), on(rules.tag_on_mark)),
            Phase::StartOver => under(What::Say(self.mark(0)), on(rules.tag_on_mark)),
            Phase::Seal => under(What::Say(self.seal()), on(rules.tag_on_seal)),
            Phase::Snapshot => {
                let own = (!rules.snapshot_copies).then(|| self.seal());
                let lease = held.filter(|_| rules.lease_on_snapshot);
                Some(Request { lease, tag: on(rules.tag_on_snapshot), epoch: None, what: What::Snapshot(own) })
            }
            Phase::Rotate if rules.lease == LeaseRule::PerRun => under(What::Change(another()), None),
            Phase::Release => under(What::Release, None),
            Phase::Prove => under(What::Renew, None),
            Phase::End if rules.stop == StopRule::Break => under(What::Break, None),
            Phase::End => {
                let tag = on(matches!(rules.stop, StopRule::Shorten { tagged: true, .. }));
                Some(Request { lease: None, tag, epoch: None, what: What::Acquire(self.lease) })
            }
            _ => None,
        }
    }

    /// The writes of pages that may be sent now; pages that the source must still be read for only while it `exists`.
    pub fn writes(&self, rules: &Rules, exists: bool) -> impl Iterator<Item = Request> {
        let engine = *self;
        let (lease, epoch) = (self.lease_header(rules), (rules.epoch != EpochRule::None).then_some(self.epoch));
        let picture = content(self.task.to);
        pages()
            .filter(move |page| engine.phase == Phase::Apply && engine.todo & bit(*page) != 0)
            .filter(move |page| exists || picture[usize::from(*page)] == 0)
            .map(move |page| What::Put { page, value: picture[usize::from(page)] })
            .map(move |what| Request { lease, tag: None, epoch, what })
    }

    /// The watermark, where there is a new one to say. It is under the lease only: every page write changes the tag.
    pub fn word(&self, rules: &Rules) -> Option<Request> {
        let now = self.watermark();
        let what = What::Say(self.mark(now));
        let due = self.phase == Phase::Apply && now != self.said;
        due.then(|| Request { lease: self.lease_header(rules), tag: None, epoch: None, what })
    }

    fn lease_header(&self, rules: &Rules) -> Option<Id> {
        (rules.lease != LeaseRule::None).then_some(self.lease)
    }
}
