//! Protections switched off, at the wire: what the engine sends and believes is falsified, so that a protection of the
//! engine or of the service does not work. A tier of tests that does not notice is not worth its time.

/// A protection that does not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Page writes do not carry the epoch.
    NoEpoch,
    /// Changes do not carry `If-Match`.
    NoIfMatch,
    /// The lists and reads of the gate do not carry `If-Match`.
    NoIfMatchInGate,
    /// Leases are granted to everybody at once, and no request carries one.
    NoLease,
    /// All runs use the same lease id.
    SharedLease,
    /// The target never reports what was done to it, except to the gate.
    NoOwnDifference,
    /// The gate is shown the source in the place of the target.
    BlindGate,
    /// Page data that is sent has no checksum, and none is answered.
    NoChecksumSent,
    /// The checksum of page data that is read is that of what arrived, not of what was sent.
    NoChecksumRead,
    /// Nobody waits for requests that the service may still be applying.
    NoQuiesce,
    /// Clears are acknowledged and not carried out.
    SwallowedClears,
    /// One page write in sixteen is acknowledged and not carried out.
    SwallowedWrites,
    /// One page write in sixteen lands a page further on.
    ShiftedWrites,
    /// The watermark of an interrupted run is read as the end of the disk.
    WatermarkAhead,
    /// A lease that has ended is renewed whatever was done to the target since: nobody can have written.
    RenewalForged,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 15] = [
        Sabotage::NoEpoch,
        Sabotage::NoIfMatch,
        Sabotage::NoIfMatchInGate,
        Sabotage::NoLease,
        Sabotage::SharedLease,
        Sabotage::NoOwnDifference,
        Sabotage::BlindGate,
        Sabotage::NoChecksumSent,
        Sabotage::NoChecksumRead,
        Sabotage::NoQuiesce,
        Sabotage::SwallowedClears,
        Sabotage::SwallowedWrites,
        Sabotage::ShiftedWrites,
        Sabotage::WatermarkAhead,
        Sabotage::RenewalForged,
    ];
}
