//! What can be chosen about the service: its accounts, its pace, and its variants.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::arm::config::ArmConfig;
use crate::model::variants::Variants;
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
    /// How Copy Blob and Incremental Copy Blob proceed.
    pub copy: CopyPace,
    /// Managed disks and their snapshots, behind the resource manager.
    pub arm: ArmConfig,
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

/// How Copy Blob and Incremental Copy Blob proceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyPace {
    /// The copy is complete when the call returns.
    #[default]
    Immediate,
    /// The copy is pending and moves this many bytes in a second.
    BytesPerSecond(u64),
}

impl CopyPace {
    /// How long this many bytes take.
    pub(crate) fn time(self, bytes: u64) -> Duration {
        const FOREVER: Duration = Duration::from_secs(u64::MAX / 20_000_000);
        match self {
            Self::Immediate => Duration::ZERO,
            Self::BytesPerSecond(rate) => {
                bytes.saturating_mul(1000).checked_div(rate).map_or(FOREVER, Duration::from_millis).min(FOREVER)
            }
        }
    }
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
            arm: ArmConfig::default(),
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
