//! The protections, one switch each, and the variants that lack some of them.

/// Which lease id a run holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseRule {
    /// A fresh one for each step.
    PerRun,
    /// A fresh one for each process, kept across its steps.
    PerProcess,
    /// One that every process derives from the target's name.
    Derived,
    /// None at all.
    None,
}

/// When the sequence number is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochRule {
    /// By each step.
    PerRun,
    /// By the first step of each process.
    PerProcess,
    /// Never, and no write is conditional on it.
    None,
}

/// What a run that finds the target dirty sets right besides the source's difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnRule {
    /// Whatever the target's own tracker reports since its newest point.
    Tracker,
    /// The source's difference of the step that the mark names.
    PlanOfMark,
    /// Nothing.
    Nothing,
}

/// A protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Which lease id a run holds.
    pub lease: LeaseRule,
    /// When the sequence number is raised.
    pub epoch: EpochRule,
    /// Epoch and mark are conditional on the tag.
    pub tag_on_mark: bool,
    /// The seal is conditional on the tag that passed the gate.
    pub tag_on_seal: bool,
    /// Snapshot Blob is conditional on the tag of the seal.
    pub tag_on_snapshot: bool,
    /// Snapshot Blob carries the lease id.
    pub lease_on_snapshot: bool,
    /// Snapshot Blob carries no metadata and so copies what the base says.
    pub snapshot_copies: bool,
    /// The lists are compared before the seal.
    pub gate: bool,
    /// The gate waits until no request of ours with an unknown outcome can still be applied.
    pub gate_waits: bool,
    /// After an unclean predecessor a run waits until the service has finished with its requests.
    pub quiesce: bool,
    /// What a run that finds the target dirty sets right besides the source's difference.
    pub own: OwnRule,
    /// A watermark counts only with evidence.
    pub watermark_needs_evidence: bool,
    /// A sealed target without its point is finished only with evidence.
    pub finish_needs_evidence: bool,
    /// Evidence needs the metadata's epoch to be the sequence number.
    pub evidence_epoch: bool,
    /// Evidence needs a lease that ended without a later write.
    pub evidence_lease: bool,
    /// Evidence needs the tag under the lease to be that from before.
    pub evidence_tag: bool,
    /// Acquire is conditional on the tag of the look before it.
    pub tag_on_acquire: bool,
    /// A target that carries words but no evidence is spoilt before it is taken: its sequence number is raised.
    pub spoil: bool,
    /// A run with unknown outcomes does not hand over cleanly: the next one quiesces.
    pub unknown_is_unclean: bool,
    /// Pages that were touched on a sealed target are foreign only where their content is not the point's.
    pub refuse_by_content: bool,
}

impl Rules {
    /// The protocol with every protection.
    pub const FULL: Rules = Rules {
        lease: LeaseRule::PerRun,
        epoch: EpochRule::PerRun,
        tag_on_mark: true,
        tag_on_seal: true,
        tag_on_snapshot: true,
        lease_on_snapshot: true,
        snapshot_copies: true,
        gate: true,
        gate_waits: true,
        quiesce: true,
        own: OwnRule::Tracker,
        watermark_needs_evidence: true,
        finish_needs_evidence: true,
        evidence_epoch: true,
        evidence_lease: true,
        evidence_tag: true,
        tag_on_acquire: true,
        spoil: true,
        unknown_is_unclean: true,
        refuse_by_content: true,
    };

    /// What the design asks for and the engine did at first: see [`crate::variants::GAPS`]. The engine has mended the two gaps
    /// of the evidence in a third way, by renewing the lease that the words name, which this model does not have yet.
    pub const AS_DESIGNED: Rules = Rules {
        tag_on_acquire: false,
        spoil: false,
        unknown_is_unclean: false,
        refuse_by_content: false,
        ..Rules::FULL
    };
}
