//! The variants of `reliability.md` A3, those of the evidence of note 0004, and the smallest world in which each shows
//! its worth.

use crate::rules::{EpochRule, EvidenceRule, LeaseRule, OwnRule, Rules, StopRule};
use crate::state::Left;
use crate::world::{Bound, POINTS, REFUSALS, WORDS};

/// A protocol, the world it is put into, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// A short name.
    pub name: &'static str,
    /// What is different from the full protocol.
    pub lacks: &'static str,
    /// The protocol.
    pub rules: Rules,
    /// The world.
    pub bound: Bound,
    /// The property it breaks; `None` where it holds.
    pub breaks: Option<&'static str>,
}

/// One process, to which nothing happens.
const QUIET: Bound = Bound {
    begin: 1,
    admission: false,
    silent: false,
    repair: true,
    processes: 1,
    watch_refusals: false,
    watch_recovery: false,
    left: Left { starts: 1, crashes: 0, stops: 0, expiries: 0, strays: 0, foreign: 0, deletions: 0 },
};

const fn world(left: Left) -> Bound {
    Bound { left, ..QUIET }
}

// The smallest worlds: in each there is a variant that breaks, and none does where one thing less may happen.
const NONE: Left = Left { starts: 0, ..QUIET.left };
const STRAY: Bound = world(Left { starts: 1, strays: 1, ..NONE });
const STRAY_FOREIGN: Bound = world(Left { starts: 1, expiries: 1, strays: 1, foreign: 1, ..NONE });
const STRAY_CRASH: Bound = world(Left { starts: 2, crashes: 1, expiries: 1, strays: 1, ..NONE });
const TWO: Bound = Bound { processes: 2, ..world(Left { starts: 2, strays: 1, ..NONE }) };
const DELETED: Bound = world(Left { starts: 2, expiries: 1, deletions: 1, ..NONE });
const DELETED_TWICE: Bound = world(Left { starts: 2, expiries: 2, deletions: 1, ..NONE });
const FOREIGN: Bound = world(Left { starts: 2, expiries: 1, foreign: 1, ..NONE });
const FOREIGN_TWICE: Bound = world(Left { starts: 3, expiries: 2, foreign: 1, ..NONE });
const FOREIGN_BREAK: Bound = world(Left { starts: 3, stops: 1, expiries: 1, foreign: 1, ..NONE });
const FOREIGN_STOP: Bound = world(Left { starts: 2, stops: 1, expiries: 2, foreign: 1, ..NONE });
const EARLY: Bound = Bound { admission: true, ..STRAY };
const EARLY_TWO: Bound = Bound { admission: true, ..world(Left { starts: 2, expiries: 1, strays: 1, ..NONE }) };
const EARLY_STOP: Bound =
    Bound { admission: true, ..world(Left { starts: 3, stops: 1, expiries: 1, strays: 1, ..NONE }) };

// The worlds in which the full protocol holds, and in which a protection that may go is missed by nobody.

/// Two processes, one of which may be killed and started again; a request strays.
const W_TWO: Bound =
    Bound { silent: true, processes: 2, ..world(Left { starts: 3, crashes: 1, expiries: 1, strays: 1, ..NONE }) };

/// The same, but nobody is killed.
const W_CALM: Bound = Bound { left: Left { starts: 2, crashes: 0, ..W_TWO.left }, ..W_TWO };

/// One process, killed twice, while `S2` may be deleted.
const W_DELETED: Bound = world(Left { starts: 3, crashes: 2, expiries: 2, deletions: 1, ..NONE });

/// One process, killed and interrupted, a stray request, and somebody who writes without a lease.
const W_FOREIGN: Bound = Bound {
    silent: true,
    ..world(Left { starts: 3, crashes: 1, stops: 1, expiries: 2, strays: 1, foreign: 1, ..NONE })
};

/// Two processes, one of which is interrupted, on a service that checks first and applies later.
const W_EARLY: Bound =
    Bound { admission: true, processes: 2, ..world(Left { starts: 3, stops: 1, expiries: 1, strays: 1, ..NONE }) };

/// The same, and nobody is interrupted.
const W_EARLY_CALM: Bound = Bound { left: Left { starts: 2, stops: 0, ..W_EARLY.left }, ..W_EARLY };

/// Here it is also watched whether a quiet run recovers and nobody is refused for what we did ourselves.
const W_WATCHED: Bound = Bound {
    silent: true,
    repair: false,
    watch_refusals: true,
    watch_recovery: true,
    ..world(Left { starts: 3, crashes: 1, stops: 1, expiries: 1, strays: 1, deletions: 1, ..NONE })
};
const W_WATCHED_EARLY: Bound = Bound { admission: true, silent: false, ..W_WATCHED };

const FULL: Rules = Rules::FULL;
const SHORTEN: StopRule = StopRule::Shorten { renewed: false, tagged: false };

const fn holds(name: &'static str, lacks: &'static str, rules: Rules, bound: Bound) -> Variant {
    Variant { name, lacks, rules, bound, breaks: None }
}

const fn breaks(name: &'static str, lacks: &'static str, rules: Rules, bound: Bound) -> Variant {
    Variant { name, lacks, rules, bound, breaks: Some(POINTS) }
}

/// The protocol with every protection.
pub const WHOLE: &[Variant] = &[
    holds("P0", "nothing: two processes, a crash, a stray request", FULL, W_TWO),
    holds("P0 deleted", "nothing: a source snapshot is deleted", FULL, W_DELETED),
    holds("P0 foreign", "nothing: somebody writes without a lease", FULL, W_FOREIGN),
    holds("P0 watched", "nothing: every state is recovered from", FULL, W_WATCHED),
    holds("R1", "nothing: the service checks first and applies later", FULL, W_EARLY),
    holds("R1 watched", "nothing: the same, and every state is recovered from", FULL, W_WATCHED_EARLY),
];

/// Variants that lack too much.
pub const WEAK: &[Variant] = &[
    breaks(
        "P3",
        "lease id per process, no sequence number",
        Rules { lease: LeaseRule::PerProcess, epoch: EpochRule::None, ..FULL },
        STRAY,
    ),
    breaks(
        "P4",
        "lease id and epoch per process",
        Rules { lease: LeaseRule::PerProcess, epoch: EpochRule::PerProcess, ..FULL },
        STRAY,
    ),
    breaks("P5", "no lease", Rules { lease: LeaseRule::None, ..FULL }, TWO),
    breaks("P6", "lease id derived from the name", Rules { lease: LeaseRule::Derived, ..FULL }, TWO),
    breaks(
        "P7",
        "derived lease id, no sequence number",
        Rules { lease: LeaseRule::Derived, epoch: EpochRule::None, ..FULL },
        STRAY,
    ),
    breaks(
        "P10",
        "resume on the dirty mark only, no gate",
        Rules { own: OwnRule::Nothing, gate: false, ..FULL },
        DELETED,
    ),
    breaks(
        "P11",
        "union of the marked plan and the new one, no gate",
        Rules { own: OwnRule::PlanOfMark, gate: false, ..FULL },
        DELETED_TWICE,
    ),
    Variant {
        breaks: Some(WORDS),
        ..breaks(
            "P12",
            "unconditional seal, lease id per process",
            Rules { lease: LeaseRule::PerProcess, tag_on_seal: false, ..FULL },
            STRAY,
        )
    },
    breaks(
        "P13",
        "naive: derived lease id, no epoch, no tags, no gate, no own difference",
        Rules {
            lease: LeaseRule::Derived,
            epoch: EpochRule::None,
            tag_on_acquire: false,
            tag_on_mark: false,
            tag_on_seal: false,
            tag_on_snapshot: false,
            gate: false,
            own: OwnRule::Nothing,
            ..FULL
        },
        STRAY,
    ),
    breaks("R0", "no quiescence, on a service that applies late", Rules { quiesce: false, ..FULL }, EARLY),
    breaks(
        "watermark",
        "watermark trusted without evidence",
        Rules { watermark_needs_evidence: false, ..FULL },
        FOREIGN,
    ),
    breaks("finish", "sealed without point trusted", Rules { finish_needs_evidence: false, ..FULL }, FOREIGN),
    breaks("no renewal", "evidence = epoch and tag", Rules { evidence: EvidenceRule::Tags, ..FULL }, FOREIGN),
    breaks(
        "unnamed",
        "words name no lease, and any that is renewed counts",
        Rules { evidence: EvidenceRule::AnyRenewal, ..FULL },
        FOREIGN_TWICE,
    ),
    breaks(
        "inherited",
        "a renewed lease keeps its id, on a service that applies late",
        Rules { fresh_after_renewal: false, ..FULL },
        EARLY_TWO,
    ),
    breaks("snapshot", "Snapshot Blob without lease", Rules { lease_on_snapshot: false, ..FULL }, STRAY_FOREIGN),
    breaks(
        "own words",
        "Snapshot Blob with metadata of its own, without lease and tag",
        Rules { snapshot_copies: false, lease_on_snapshot: false, tag_on_snapshot: false, ..FULL },
        STRAY_CRASH,
    ),
];

/// Defects of the design (`G1` to `G4`), then of the engine that renews what the words name (`G5` to `G7`), each alone; and
/// both as they were.
pub const GAPS: &[Variant] = &[
    breaks("G1", "evidence = state of the lease", Rules { evidence: EvidenceRule::State, ..FULL }, FOREIGN_TWICE),
    breaks(
        "G2",
        "the same, and an early stop breaks the lease",
        Rules { evidence: EvidenceRule::State, stop: StopRule::Break, ..FULL },
        FOREIGN_BREAK,
    ),
    breaks("G3", "a lost answer is no debt", Rules { lost_is_debt: false, ..FULL }, EARLY),
    Variant {
        breaks: Some(REFUSALS),
        ..breaks(
            "G4",
            "touched pages are refused without being read",
            Rules { refuse_by_content: false, ..FULL },
            Bound { repair: false, watch_refusals: true, ..STRAY },
        )
    },
    breaks("G5", "an early stop acquires the lease again", Rules { stop: SHORTEN, ..FULL }, FOREIGN_STOP),
    breaks(
        "G5 renewed",
        "the same, after having renewed it",
        Rules { stop: StopRule::Shorten { renewed: true, tagged: false }, ..FULL },
        FOREIGN_STOP,
    ),
    breaks(
        "G5 tagged",
        "the same, unless something was written meanwhile",
        Rules { stop: StopRule::Shorten { renewed: false, tagged: true }, ..FULL },
        FOREIGN_STOP,
    ),
    breaks("G6", "acquire without If-Match", Rules { tag_on_acquire: false, ..FULL }, STRAY_FOREIGN),
    breaks(
        "G6 early",
        "the same, on a service that applies late",
        Rules { tag_on_acquire: false, ..FULL },
        Bound { processes: 2, ..EARLY_TWO },
    ),
    breaks(
        "G7",
        "an ended lease that was found is no debt, on a service that applies late",
        Rules { found_is_debt: false, ..FULL },
        EARLY_STOP,
    ),
    breaks("as designed, foreign", "G1 to G4", Rules::AS_DESIGNED, FOREIGN_TWICE),
    breaks("as designed, stop", "G1 to G4, where a lease runs out once", Rules::AS_DESIGNED, FOREIGN_BREAK),
    breaks("as designed, early", "G1 to G4, on a service that applies late", Rules::AS_DESIGNED, EARLY),
    breaks("as built, stop", "G5 to G7", Rules::AS_BUILT, FOREIGN_STOP),
    breaks("as built, stray", "G5 to G7, where nobody stops", Rules::AS_BUILT, STRAY_FOREIGN),
    breaks("as built, early", "G5 to G7, on a service that applies late", Rules::AS_BUILT, EARLY_STOP),
    breaks(
        "R1 silent",
        "nothing, but a request arrives twice unnoticed, on a service that applies late",
        FULL,
        Bound { silent: true, ..EARLY },
    ),
];

/// Protections that another one stands in for, which is named: alone they may go.
pub const REDUNDANT: &[Variant] = &[
    holds("P1", "no sequence number: the lease", Rules { epoch: EpochRule::None, ..FULL }, W_CALM),
    holds("P2", "lease id per process: the epoch", Rules { lease: LeaseRule::PerProcess, ..FULL }, W_CALM),
    holds(
        "P8",
        "no tags on mark, seal and snapshot: lease and epoch",
        Rules { tag_on_mark: false, tag_on_seal: false, tag_on_snapshot: false, ..FULL },
        W_CALM,
    ),
    holds("P10 with gate", "resume on the mark only: the gate", Rules { own: OwnRule::Nothing, ..FULL }, W_DELETED),
    holds("P11 with gate", "union of the plans: the gate", Rules { own: OwnRule::PlanOfMark, ..FULL }, W_DELETED),
    holds("R2", "R1 without sequence number: the lease", Rules { epoch: EpochRule::None, ..FULL }, W_EARLY_CALM),
    holds("no gate", "no gate: trackers never lie here", Rules { gate: false, ..FULL }, W_FOREIGN),
    holds(
        "gate reads",
        "the gate never reads: writes are not swallowed here",
        Rules { gate_reads: false, ..FULL },
        W_FOREIGN,
    ),
    holds("gate waits", "the gate does not wait: the debt", Rules { gate_waits: false, ..FULL }, W_EARLY_CALM),
    holds("epoch of evidence", "no epoch: the named lease", Rules { evidence_epoch: false, ..FULL }, W_FOREIGN),
    holds("tag of evidence", "no tag: the renewal", Rules { evidence_tag: false, ..FULL }, W_FOREIGN),
    holds(
        "renewal alone",
        "neither epoch nor tag: the renewal of the named lease",
        Rules { evidence_epoch: false, evidence_tag: false, ..FULL },
        W_FOREIGN,
    ),
    holds(
        "break",
        "an early stop breaks the lease: it leaves no evidence, only more to copy",
        Rules { stop: StopRule::Break, ..FULL },
        W_FOREIGN,
    ),
    holds(
        "shorten",
        "an early stop shortens the lease: renewed and tagged, that is safe",
        Rules { stop: StopRule::Shorten { renewed: true, tagged: true }, ..FULL },
        W_FOREIGN,
    ),
    holds(
        "lost lease",
        "a lost answer about a lease is no debt: the tag on acquire",
        Rules { lost_lease_is_debt: false, ..FULL },
        W_EARLY_CALM,
    ),
    holds("tag of snapshot", "no tag: the lease", Rules { tag_on_snapshot: false, ..FULL }, W_FOREIGN),
    holds(
        "own words alone",
        "Snapshot Blob with metadata: lease and tag",
        Rules { snapshot_copies: false, ..FULL },
        W_CALM,
    ),
    holds("as designed", "G1 to G4: where nobody foreign writes", Rules::AS_DESIGNED, W_CALM),
    holds("as built", "G5 to G7: where nobody foreign writes", Rules::AS_BUILT, W_CALM),
];

/// The full bound, for the protocol with every protection. Minutes and gigabytes.
pub const LARGE: &[Variant] = &[
    holds("P0 strays", "two strays", FULL, Bound { left: Left { strays: 2, ..W_CALM.left }, ..W_CALM }),
    holds(
        "P0 foreign two",
        "two processes, a crash, an interruption, a foreign write, a stray",
        FULL,
        Bound { processes: 2, ..W_FOREIGN },
    ),
    holds(
        "R1 two",
        "two processes, a crash, an interruption, a deletion",
        FULL,
        Bound { left: Left { crashes: 1, deletions: 1, ..W_EARLY.left }, ..W_EARLY },
    ),
    holds("R1 strays", "two strays", FULL, Bound { left: Left { strays: 2, ..W_EARLY_CALM.left }, ..W_EARLY_CALM }),
    holds(
        "P0 all",
        "the whole chain, a crash, two leases run out, a stray, a deletion, a foreign write",
        FULL,
        Bound { begin: 0, left: Left { expiries: 2, deletions: 1, foreign: 1, ..W_TWO.left }, ..W_TWO },
    ),
];
