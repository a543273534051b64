//! What can be chosen about the service: its accounts, and a switch for every behaviour that is not proven.

use std::collections::BTreeMap;

use crate::model::fault::Fault;
use crate::{DEV_ACCOUNT, DEV_KEY};

/// How the service is set up. Two models with the same configuration answer the same requests in the same way.
#[derive(Debug, Clone)]
pub struct Config {
    /// Storage accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// Whether credentials are demanded and verified; without, everybody may do everything.
    pub auth: bool,
    /// Tokens that are accepted after `Authorization: Bearer`, as full access.
    pub bearer_tokens: Vec<String>,
    /// Additional `host[:port]` names under which this service is addressed in copy sources.
    pub hosts: Vec<String>,
    /// Whether requests count as having come over TLS, for shared access signatures that demand it.
    pub https: bool,
    /// How Copy Blob proceeds.
    pub copy: CopyPace,
    /// Choices where the real service's behaviour is not certain.
    pub variants: Variants,
    /// The start of the generator behind lease ids, copy ids and request ids.
    pub seed: u64,
}

/// One storage account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The shared key, in base64.
    pub key: String,
    /// Whether it is a premium page-blob account: it then has tiers and refuses copies onto blobs with snapshots.
    pub premium: bool,
    /// Whether Get Blob on a snapshot is refused with `InvalidOperation`, as the documents say of premium accounts.
    pub refuse_snapshot_reads: bool,
    /// Whether a blob may have no more than 100 snapshots, and no two within ten minutes.
    pub limit_snapshots: bool,
}

/// How Copy Blob proceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyPace {
    /// The copy is complete when the call returns.
    #[default]
    Immediate,
    /// The copy is pending and moves this many bytes in a second.
    BytesPerSecond(u64),
}

/// One switch for every row of the protocol that is not proven; the defaults are the most plausible behaviour.
#[derive(Debug, Clone)]
pub struct Variants {
    /// Answer a diff with the full page list, as Azurite does: what a client must not fall for.
    pub ignore_prevsnapshot: bool,
    /// A cleared page that never held data since it was last listed shows up as a `ClearRange`.
    pub clear_of_empty_reported: bool,
    /// Pages that a resize cut off show up as `ClearRange` once the blob has grown again.
    pub shrink_reported: bool,
    /// End a page list with an empty `<NextMarker />` rather than with none.
    pub next_marker_empty: bool,
    /// The status of a write with a foreign lease id: 412, or 409 as one table of the documents has it.
    pub lease_mismatch_status: u16,
    /// The most ranges in one page list, if fewer than the 10,000 of the service.
    pub list_page_max: Option<usize>,
    /// The most entries in one blob listing, if fewer than the 5,000 of the service.
    pub blob_page_max: Option<usize>,
    /// Spell the snapshot rate error as the documents first did, without the second `s` of "Snapshot".
    pub misspelt_rate_code: bool,
    /// Refuse misaligned page ranges with 416 `InvalidPageRange` rather than 400 `InvalidHeaderValue`.
    pub misaligned_is_416: bool,
    /// Send XML bodies in chunks, without a length.
    pub chunked_xml: bool,
    /// Accept ranges with hashes only below 4 MiB, not at 4 MiB.
    pub hash_range_below_4mib: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::from([(DEV_ACCOUNT.to_owned(), Account::new(DEV_KEY))]),
            auth: true,
            bearer_tokens: Vec::new(),
            hosts: Vec::new(),
            https: false,
            copy: CopyPace::default(),
            variants: Variants::default(),
            seed: 0x9E37_79B9_7F4A_7C15,
        }
    }
}

impl Account {
    /// A standard account with this base64 key.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), premium: false, refuse_snapshot_reads: false, limit_snapshots: false }
    }
}

impl Variants {
    /// Gives the verdict of a lease check the status that was chosen for it.
    pub(crate) fn lease(&self, verdict: Result<(), Fault>) -> Result<(), Fault> {
        verdict.map_err(|fault| match fault.code {
            "LeaseIdMismatchWithBlobOperation" => fault.status(self.lease_mismatch_status),
            _ => fault,
        })
    }
}

impl Default for Variants {
    fn default() -> Self {
        Self {
            ignore_prevsnapshot: false,
            clear_of_empty_reported: true,
            shrink_reported: true,
            next_marker_empty: false,
            lease_mismatch_status: 412,
            list_page_max: None,
            blob_page_max: None,
            misspelt_rate_code: true,
            misaligned_is_416: false,
            chunked_xml: true,
            hash_range_below_4mib: false,
        }
    }
}
