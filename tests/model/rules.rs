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

/// What vouches that nobody has touched the target since the words on it, together with their epoch and its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvidenceRule {
    /// The lease that the words name had run out and is renewed.
    Renewal,
    /// Any lease that had run out and is renewed: the words name none.
    AnyRenewal,
    /// The state of the lease: run out or broken.
    State,
    /// Nothing besides epoch and tag.
    Tags,
}

/// How a run that stops early lets go of a lease that its words name, or while it has a debt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopRule {
    /// It lets the lease run out.
    RunOut,
    /// It acquires the lease again for a shorter time.
    Shorten {
        /// After having renewed it.
        renewed: bool,
        /// If the tag is still the one from before that.
        tagged: bool,
    },
    /// It renews the lease and breaks it, whatever the words say.
    Break,
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
    /// What vouches that nobody has touched the target.
    pub evidence: EvidenceRule,
    /// Evidence needs the metadata's epoch to be the sequence number.
    pub evidence_epoch: bool,
    /// Evidence needs the tag under the lease to be that from before.
    pub evidence_tag: bool,
    /// A renewed lease is changed to a fresh id before anything is done under it.
    pub fresh_after_renewal: bool,
    /// Acquire is conditional on the tag of the look before it, so that once anybody has written no copy of it grants the
    /// lease again.
    pub tag_on_acquire: bool,
    /// How a run that stops early lets go.
    pub stop: StopRule,
    /// A lost answer is a debt: the next step quiesces, and a run that ends with one lets its lease run out.
    pub lost_is_debt: bool,
    /// The lost answer to a request for a lease is one too.
    pub lost_lease_is_debt: bool,
    /// So is a lease that was found held or ended, until the step has quiesced.
    pub found_is_debt: bool,
    /// The gate reads where somebody else may have touched the target since its newest point (note 0005).
    pub gate_reads: bool,
    /// Pages that were touched on a sealed target are foreign only where their content is not the point's.
    pub refuse_by_content: bool,
}

impl Rules {
    /// The protocol with every protection: the engine's, and the mends of `G5` to `G7`.
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
        evidence: EvidenceRule::Renewal,
        evidence_epoch: true,
        evidence_tag: true,
        fresh_after_renewal: true,
        tag_on_acquire: true,
        stop: StopRule::RunOut,
        lost_is_debt: true,
        lost_lease_is_debt: true,
        found_is_debt: true,
        gate_reads: true,
        refuse_by_content: true,
    };

    /// What the design asks for and the engine did at first: see [`crate::variants::GAPS`].
    pub const AS_DESIGNED: Rules = Rules {
        evidence: EvidenceRule::State,
        tag_on_acquire: false,
        stop: StopRule::Break,
        lost_is_debt: false,
        found_is_debt: false,
        gate_reads: false,
        refuse_by_content: false,
        ..Rules::FULL
    };

    /// What the engine did with note 0004: see [`crate::variants::GAPS`].
    pub const AS_BUILT: Rules = Rules {
        tag_on_acquire: false,
        stop: StopRule::Shorten { renewed: false, tagged: false },
        found_is_debt: false,
        ..Rules::FULL
    };
}
