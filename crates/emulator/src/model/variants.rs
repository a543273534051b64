//! A switch for every behaviour of the real service that is not proven.

use crate::model::fault::Fault;
use crate::random::{below, draw};
use crate::request::Request;

/// One switch for every row of the protocol that is not proven; the defaults are the most plausible behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    /// Answer a diff with the full page list, as Azurite does: what a client must not fall for.
    pub ignore_prevsnapshot: bool,
    /// A cleared page that never held data since it was last listed shows up as a `ClearRange`.
    pub clear_of_empty_reported: bool,
    /// Pages that a resize cut off show up as `ClearRange` once the blob has grown again. Without, a shrink and regrow
    /// leaves no trace in a diff, although what was there is gone.
    pub shrink_reported: bool,
    /// Pages that a resize added show up as `ClearRange`.
    pub growth_reported: bool,
    /// A page that was written with the bytes it held already shows up in a diff.
    pub identical_rewrites_reported: bool,
    /// Diffs are kept in units of this many pages: a unit in which anything happened is reported whole, as cleared
    /// only if nothing in it holds data.
    pub diff_granularity: u64,
    /// The same for lists of the pages that hold data.
    pub list_granularity: u64,
    /// Ranges that meet the window asked for are reported whole rather than cut at its edges.
    pub ranges_unclipped: bool,
    /// Refuse a diff of a snapshot with itself, rather than answer that nothing changed.
    pub self_diff_refused: bool,
    /// Refuse a diff across a snapshot that was deleted since.
    pub diff_needs_chain: bool,
    /// Pages of zeros in the source of Put Page From URL arrive as cleared pages rather than as written ones.
    pub copy_zeros_elided: bool,
    /// The snapshot an incremental copy holds already may be copied again, rather than be refused as no later one.
    pub incremental_repeats: bool,
    /// End a page list with an empty `<NextMarker />` rather than with none.
    pub next_marker_empty: bool,
    /// The status of a write with a foreign lease id: 412, or 409 as one table of the documents has it.
    pub lease_mismatch_status: u16,
    /// A write with a lease that ran out is told that there is no lease, rather than that it was lost.
    pub lost_lease_is_absent: bool,
    /// The most ranges in one page list, if fewer than the 10,000 of the service.
    pub list_page_max: Option<usize>,
    /// The most entries in one blob listing, if fewer than the 5,000 of the service.
    pub blob_page_max: Option<usize>,
    /// Spell the snapshot rate error as the documents first did, without the second `s` of "Snapshot".
    pub misspelt_rate_code: bool,
    /// The time between two snapshots of a blob in an account that limits them, in seconds.
    pub snapshot_interval: u64,
    /// Refuse misaligned page ranges with 416 `InvalidPageRange` rather than 400 `InvalidHeaderValue`.
    pub misaligned_is_416: bool,
    /// The same for a body whose length is not that of its range.
    pub length_mismatch_is_416: bool,
    /// Refuse a copied range that goes beyond the source's end with 400 rather than 416.
    pub source_overrun_is_400: bool,
    /// Use the other plausible code where a client's mistake could have either of two: a change addressed to a
    /// snapshot, a page size of nothing, a deletion that names a snapshot and all of them, an incremental copy onto an
    /// ordinary blob or of an earlier snapshot.
    pub other_codes: bool,
    /// Send XML bodies in chunks, without a length.
    pub chunked_xml: bool,
    /// Accept ranges with hashes only below 4 MiB, not at 4 MiB.
    pub hash_range_below_4mib: bool,
    /// Answer a page write that came with an MD5 with the CRC beside the MD5, rather than with the MD5 alone.
    pub crc_beside_md5: bool,
    /// Compare a body with its hash before looking at lease and conditions.
    pub hash_first: bool,
    /// What is looked at first when several things are wrong with a write.
    pub checks: CheckOrder,
    /// Clears longer than this many bytes time out.
    pub clear_max: Option<u64>,
    /// The seconds in a `Retry-After` header that comes with 503.
    pub retry_after: Option<u64>,
    /// What a request without credentials is told: 401 `NoAuthenticationInformation`, 404 `ResourceNotFound` or 409
    /// `PublicAccessNotPermitted`.
    pub anonymous_status: u16,
    /// A request with both a header and a signature is judged by its header, rather than refused.
    pub header_beats_signature: bool,
    /// A signature for a blob (`sr=b`) opens its snapshots too.
    pub blob_signature_opens_snapshots: bool,
    /// beginGetAccess answers at once with the URL, rather than with an operation to wait for.
    pub grant_at_once: bool,
    /// What takes its time is announced by `Location` alone, without `Azure-AsyncOperation`.
    pub location_only: bool,
    /// The answer to beginGetAccess says in `Retry-After` when to ask again.
    pub grant_retry_after: bool,
    /// A second grant on a disk or snapshot prolongs the first and gives its URL again, rather than revoke it.
    pub second_grant_extends: bool,
}

/// The order in which a write is held against the state of its blob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckOrder {
    /// Lease, ETag and dates, sequence number.
    #[default]
    LeaseFirst,
    /// ETag and dates, lease, sequence number.
    ConditionsFirst,
    /// Sequence number, ETag and dates, lease.
    SequenceFirst,
}

impl Variants {
    /// A random service that could be the real one: everything not proven is drawn. What would be a plain lie
    /// ([`Variants::ignore_prevsnapshot`]) or would make good credentials insufficient
    /// ([`Variants::blob_signature_opens_snapshots`]) stays as it is by default.
    pub fn draw(seed: u64) -> Self {
        let roll = |what: u64, sides: u64| below(draw(seed, &[what]), sides);
        let coin = |what: u64| roll(what, 2) == 1;
        let few = |what: u64| (roll(what, 3) == 0).then(|| usize::try_from(1 + roll(what + 100, 40)).unwrap_or(1));
        let unit = |what: u64| [1, 1, 8, 128, 3][usize::try_from(roll(what, 5)).unwrap_or(0)];
        Self {
            ignore_prevsnapshot: false,
            clear_of_empty_reported: coin(1),
            shrink_reported: coin(2),
            growth_reported: coin(3),
            identical_rewrites_reported: coin(4),
            diff_granularity: unit(5),
            list_granularity: unit(6),
            ranges_unclipped: coin(7),
            self_diff_refused: coin(8),
            diff_needs_chain: roll(9, 8) == 0,
            copy_zeros_elided: coin(10),
            next_marker_empty: coin(11),
            lease_mismatch_status: if coin(12) { 409 } else { 412 },
            lost_lease_is_absent: coin(13),
            list_page_max: few(14),
            blob_page_max: few(15),
            misspelt_rate_code: coin(16),
            snapshot_interval: if coin(17) { 600 } else { 60 },
            misaligned_is_416: coin(18),
            length_mismatch_is_416: coin(19),
            source_overrun_is_400: coin(20),
            other_codes: coin(21),
            chunked_xml: coin(22),
            hash_range_below_4mib: coin(23),
            crc_beside_md5: coin(24),
            hash_first: coin(25),
            checks: [CheckOrder::LeaseFirst, CheckOrder::ConditionsFirst, CheckOrder::SequenceFirst]
                [usize::try_from(roll(26, 3)).unwrap_or(0)],
            clear_max: (roll(27, 4) == 0).then_some(1 << 30),
            retry_after: (roll(28, 3) == 0).then(|| 1 + roll(128, 3)),
            anonymous_status: [401, 404, 409][usize::try_from(roll(29, 3)).unwrap_or(0)],
            header_beats_signature: coin(30),
            blob_signature_opens_snapshots: true,
            incremental_repeats: coin(31),
            grant_at_once: coin(32),
            location_only: coin(33),
            grant_retry_after: coin(34),
            second_grant_extends: coin(35),
        }
    }

    /// Gives the verdict of a lease check the form that was chosen for it.
    pub(crate) fn lease(&self, verdict: Result<(), Fault>) -> Result<(), Fault> {
        verdict.map_err(|fault| match fault.code {
            "LeaseIdMismatchWithBlobOperation" => fault.status(self.lease_mismatch_status),
            "LeaseLost" if self.lost_lease_is_absent => Fault::of("LeaseNotPresentWithBlobOperation"),
            _ => fault,
        })
    }

    /// Makes the checks of a write in the order that was chosen.
    pub(crate) fn check(
        &self,
        lease: impl FnOnce() -> Result<(), Fault>,
        conditions: impl FnOnce() -> Result<(), Fault>,
        sequence: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self.checks {
            CheckOrder::LeaseFirst => {
                self.lease(lease())?;
                conditions()?;
                sequence()
            }
            CheckOrder::ConditionsFirst => {
                conditions()?;
                self.lease(lease())?;
                sequence()
            }
            CheckOrder::SequenceFirst => {
                sequence()?;
                conditions()?;
                self.lease(lease())
            }
        }
    }

    /// Gives a refusal the code that was chosen for it.
    pub(crate) fn voice(&self, fault: Fault, request: &Request) -> Fault {
        let snapshot = request.query("snapshot");
        match (fault.code, self.anonymous_status, self.other_codes) {
            ("NoAuthenticationInformation", 404, _) => Fault::of("ResourceNotFound"),
            ("NoAuthenticationInformation", 409, _) => Fault::of("PublicAccessNotPermitted"),
            ("OutOfRangeQueryParameterValue", _, true) => {
                Fault::parameter("maxresults", request.query("maxresults").unwrap_or_default(), "Out of range.")
            }
            ("InvalidOperation", _, true) if request.is_mutation() => {
                Fault::parameter("snapshot", snapshot.unwrap_or_default(), "Not on a snapshot.")
            }
            ("InvalidQueryParameterValue", _, true) if request.method == "DELETE" => {
                match request.get("x-ms-delete-snapshots") {
                    Some(text) if snapshot.is_some() => Fault::header("x-ms-delete-snapshots", text),
                    _ => fault,
                }
            }
            _ => fault,
        }
    }
}

impl Default for Variants {
    fn default() -> Self {
        Self {
            ignore_prevsnapshot: false,
            clear_of_empty_reported: true,
            shrink_reported: true,
            growth_reported: false,
            identical_rewrites_reported: true,
            diff_granularity: 1,
            list_granularity: 1,
            ranges_unclipped: false,
            self_diff_refused: false,
            diff_needs_chain: false,
            copy_zeros_elided: false,
            incremental_repeats: false,
            next_marker_empty: false,
            lease_mismatch_status: 412,
            lost_lease_is_absent: false,
            list_page_max: None,
            blob_page_max: None,
            misspelt_rate_code: true,
            snapshot_interval: 600,
            misaligned_is_416: false,
            length_mismatch_is_416: false,
            source_overrun_is_400: false,
            other_codes: false,
            chunked_xml: true,
            hash_range_below_4mib: false,
            crc_beside_md5: true,
            hash_first: false,
            checks: CheckOrder::LeaseFirst,
            clear_max: None,
            retry_after: None,
            anonymous_status: 401,
            header_beats_signature: false,
            blob_signature_opens_snapshots: true,
            grant_at_once: false,
            location_only: false,
            grant_retry_after: false,
            second_grant_extends: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_reproducible_honest_and_various() {
        let drawn: Vec<Variants> = (0..200).map(Variants::draw).collect();
        for (seed, variants) in drawn.iter().enumerate() {
            assert_eq!(*variants, Variants::draw(seed as u64));
            assert!(!variants.ignore_prevsnapshot && variants.blob_signature_opens_snapshots);
            assert!(variants.diff_granularity >= 1 && variants.list_page_max != Some(0));
        }
        let share = |of: fn(&Variants) -> bool| drawn.iter().filter(|variants| of(variants)).count();
        for of in [
            |v: &Variants| v.shrink_reported,
            |v: &Variants| v.ranges_unclipped,
            |v: &Variants| v.diff_granularity == 1,
            |v: &Variants| v.lease_mismatch_status == 409,
            |v: &Variants| v.list_page_max.is_some(),
        ] {
            assert!((40..160).contains(&share(of)));
        }
    }
}
