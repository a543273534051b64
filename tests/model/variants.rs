//! The variants of `reliability.md` A3, those of the evidence rules, and the smallest world in which each shows its worth.

use crate::rules::{EpochRule, LeaseRule, OwnRule, Rules};
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

const CALM: Left = Left { starts: 2, crashes: 0, stops: 0, expiries: 1, strays: 0, foreign: 0, deletions: 0 };

/// One process, which may be killed once; one request strays; `S2` may be deleted.
const ALONE: Bound = Bound {
    begin: 1,
    admission: false,
    silent: true,
    repair: true,
    processes: 1,
    watch_refusals: false,
    watch_recovery: false,
    left: Left { crashes: 1, strays: 1, deletions: 1, ..CALM },
};

/// Two processes; one request strays.
const TWO: Bound = Bound { processes: 2, left: Left { strays: 1, ..CALM }, ..ALONE };

/// Two processes, one of which may be killed and started again; one request strays.
const THREE: Bound = Bound { left: Left { starts: 3, crashes: 1, ..TWO.left }, ..TWO };

/// One process, killed twice, while `S2` may be deleted.
const DELETED: Bound = Bound { left: Left { starts: 3, crashes: 2, expiries: 2, deletions: 1, ..CALM }, ..ALONE };

/// One process, killed twice, and somebody who writes without a lease.
const FOREIGN: Bound = Bound { left: Left { starts: 3, crashes: 2, expiries: 2, foreign: 1, ..CALM }, ..ALONE };

/// As [`FOREIGN`], but nobody is killed: a run is only interrupted, or fails before it has written anything.
const FOREIGN_STOP: Bound = Bound { left: Left { crashes: 0, stops: 1, ..FOREIGN.left }, ..FOREIGN };

/// Two processes on a service that checks first and applies later.
const EARLY: Bound = Bound { admission: true, silent: false, ..TWO };

/// One process on such a service, killed once and interrupted once.
const EARLY_STOP: Bound =
    Bound { processes: 1, left: Left { starts: 3, crashes: 1, stops: 1, deletions: 1, ..EARLY.left }, ..EARLY };

/// In these worlds it is also watched whether a quiet run recovers and nobody is refused for what we did ourselves.
const WATCHED: Bound = Bound {
    watch_refusals: true,
    watch_recovery: true,
    repair: false,
    left: Left { starts: 3, stops: 1, ..ALONE.left },
    ..ALONE
};
const WATCHED_EARLY: Bound = Bound { admission: true, silent: false, ..WATCHED };

const FULL: Rules = Rules::FULL;

const fn holds(name: &'static str, lacks: &'static str, rules: Rules, bound: Bound) -> Variant {
    Variant { name, lacks, rules, bound, breaks: None }
}

const fn breaks(name: &'static str, lacks: &'static str, rules: Rules, bound: Bound) -> Variant {
    Variant { name, lacks, rules, bound, breaks: Some(POINTS) }
}

/// The protocol with every protection.
pub const WHOLE: &[Variant] = &[
    holds("P0", "nothing: two processes, a crash, a stray request", FULL, THREE),
    holds("P0 deleted", "nothing: a source snapshot is deleted", FULL, DELETED),
    holds("P0 foreign", "nothing: somebody writes without a lease", FULL, FOREIGN),
    holds("P0 foreign, stop", "nothing: the same, with an interruption", FULL, FOREIGN_STOP),
    holds("P0 watched", "nothing: every state is recovered from", FULL, WATCHED),
    holds("R1", "nothing: the service checks first and applies later", FULL, EARLY),
    holds("R1 stop", "nothing: the same, with a crash and an interruption", FULL, EARLY_STOP),
    holds("R1 watched", "nothing: every state is recovered from", FULL, WATCHED_EARLY),
];

/// Variants that lack too much.
pub const WEAK: &[Variant] = &[
    breaks(
        "P3",
        "lease id per process, no sequence number",
        Rules { lease: LeaseRule::PerProcess, epoch: EpochRule::None, ..FULL },
        ALONE,
    ),
    breaks(
        "P4",
        "lease id and epoch per process",
        Rules { lease: LeaseRule::PerProcess, epoch: EpochRule::PerProcess, ..FULL },
        ALONE,
    ),
    breaks("P5", "no lease", Rules { lease: LeaseRule::None, ..FULL }, TWO),
    breaks("P6", "lease id derived from the name", Rules { lease: LeaseRule::Derived, ..FULL }, TWO),
    breaks(
        "P7",
        "derived lease id, no sequence number",
        Rules { lease: LeaseRule::Derived, epoch: EpochRule::None, ..FULL },
        ALONE,
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
        DELETED,
    ),
    Variant {
        breaks: Some(WORDS),
        ..breaks(
            "P12",
            "unconditional seal, lease id per process",
            Rules { lease: LeaseRule::PerProcess, tag_on_seal: false, ..FULL },
            ALONE,
        )
    },
    breaks(
        "P13",
        "naive: derived lease id, no epoch, no tags, no gate, no own difference",
        Rules {
            lease: LeaseRule::Derived,
            epoch: EpochRule::None,
            tag_on_mark: false,
            tag_on_seal: false,
            tag_on_snapshot: false,
            gate: false,
            own: OwnRule::Nothing,
            ..FULL
        },
        ALONE,
    ),
    breaks("R0", "no quiescence, on a service that applies late", Rules { quiesce: false, ..FULL }, EARLY),
    breaks(
        "watermark",
        "watermark trusted without evidence",
        Rules { watermark_needs_evidence: false, ..FULL },
        FOREIGN,
    ),
    breaks("finish", "sealed without point trusted", Rules { finish_needs_evidence: false, ..FULL }, FOREIGN),
    breaks("epoch of evidence", "evidence without the epoch", Rules { evidence_epoch: false, ..FULL }, FOREIGN),
    breaks(
        "snapshot",
        "Snapshot Blob without lease",
        Rules { lease_on_snapshot: false, ..FULL },
        Bound { left: Left { strays: 1, ..FOREIGN.left }, ..FOREIGN },
    ),
    breaks(
        "own words",
        "Snapshot Blob with metadata of its own, without lease and tag",
        Rules { snapshot_copies: false, lease_on_snapshot: false, tag_on_snapshot: false, ..FULL },
        ALONE,
    ),
];

/// What the engine lacked when this model was written, each alone and all together. Each is a defect that was found here.
pub const GAPS: &[Variant] = &[
    breaks("G1", "acquire without If-Match", Rules { tag_on_acquire: false, ..FULL }, FOREIGN),
    breaks("G2", "words without evidence are not spoilt before the take", Rules { spoil: false, ..FULL }, FOREIGN),
    breaks("G3", "clean hand-over after an unknown outcome", Rules { unknown_is_unclean: false, ..FULL }, EARLY),
    Variant {
        breaks: Some(REFUSALS),
        ..breaks(
            "G4",
            "touched pages are refused without being read",
            Rules { refuse_by_content: false, ..FULL },
            WATCHED,
        )
    },
    breaks("as designed, foreign", "G1 to G4", Rules::AS_DESIGNED, FOREIGN),
    breaks("as designed, stop", "G1 to G4, and nobody is killed", Rules::AS_DESIGNED, FOREIGN_STOP),
    breaks("as designed, early", "G1 to G4, on a service that applies late", Rules::AS_DESIGNED, EARLY),
    breaks(
        "R1 silent",
        "nothing, but a request arrives twice unnoticed, on a service that applies late",
        FULL,
        Bound { silent: true, ..EARLY },
    ),
];

/// Protections that another one stands in for: alone they may go.
pub const REDUNDANT: &[Variant] = &[
    holds("P1", "no sequence number", Rules { epoch: EpochRule::None, ..FULL }, TWO),
    holds("P2", "lease id per process, epoch per run", Rules { lease: LeaseRule::PerProcess, ..FULL }, TWO),
    holds(
        "P8",
        "no tags on mark, seal and snapshot",
        Rules { tag_on_mark: false, tag_on_seal: false, tag_on_snapshot: false, ..FULL },
        TWO,
    ),
    holds("P10 with gate", "resume on the dirty mark only", Rules { own: OwnRule::Nothing, ..FULL }, DELETED),
    holds("P11 with gate", "union of the plans", Rules { own: OwnRule::PlanOfMark, ..FULL }, DELETED),
    holds("no gate", "no gate; trackers never lie here", Rules { gate: false, ..FULL }, FOREIGN),
    holds("gate waits", "the gate does not wait for unknown outcomes", Rules { gate_waits: false, ..FULL }, EARLY),
    holds("lease of evidence", "evidence without the lease state", Rules { evidence_lease: false, ..FULL }, FOREIGN),
    holds("tag of evidence", "evidence without the tag", Rules { evidence_tag: false, ..FULL }, FOREIGN),
    holds("tag of snapshot", "Snapshot Blob without tag", Rules { tag_on_snapshot: false, ..FULL }, FOREIGN),
    holds("own words alone", "Snapshot Blob with metadata", Rules { snapshot_copies: false, ..FULL }, ALONE),
    holds("R2", "R1 without sequence number", Rules { epoch: EpochRule::None, ..FULL }, EARLY),
    holds("as designed", "G1 to G4, where nobody foreign writes", Rules::AS_DESIGNED, THREE),
];

/// The full bound, for the protocol with every protection. Minutes and gigabytes.
pub const LARGE: &[Variant] = &[
    holds("P0 strays", "two strays", FULL, Bound { left: Left { strays: 2, ..TWO.left }, ..TWO }),
    holds(
        "P0 foreign two",
        "two processes, a foreign write, a stray",
        FULL,
        Bound { processes: 2, left: Left { crashes: 1, strays: 1, ..FOREIGN.left }, ..FOREIGN },
    ),
    holds(
        "R1 two",
        "two processes, a crash, an interruption, a deletion",
        FULL,
        Bound { left: Left { starts: 3, crashes: 1, stops: 1, deletions: 1, ..EARLY.left }, ..EARLY },
    ),
    holds("R1 strays", "two strays", FULL, Bound { left: Left { strays: 2, ..EARLY.left }, ..EARLY }),
    holds(
        "P0 all",
        "the whole chain, a crash, two leases run out, a stray, a deletion, a foreign write",
        FULL,
        Bound { begin: 0, left: Left { expiries: 2, deletions: 1, foreign: 1, ..THREE.left }, ..THREE },
    ),
];
