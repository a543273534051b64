//! What can be chosen about managed disks: how long things take, and which of the service's limits hold.

use std::time::Duration;

use crate::model::config::CopyPace;

/// How managed disks and their snapshots behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmConfig {
    /// The resource groups there are; without a list every group exists.
    pub groups: Option<Vec<String>>,
    /// The most entries in one page of a list.
    pub page_size: usize,
    /// How long a change is under way; nothing at all means that it is over when first asked after.
    pub operation_time: Duration,
    /// The seconds in `Retry-After` of what is under way.
    pub retry_after: u64,
    /// How CopyStart proceeds; only what changed since the last snapshot copied to the same region counts.
    pub copy_start: CopyPace,
    /// How the background copies of Ultra and Premium SSD v2 snapshots, and of disks made from them, proceed.
    pub hydration: CopyPace,
    /// How long a copy under way does not say how far it is.
    pub percent_delay: Duration,
    /// Which limits hold.
    pub limits: Limits,
}

/// A switch, or the number, of every limit of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Snapshots of one family that may be granted at a time.
    pub family_grants: Option<usize>,
    /// Incremental snapshots of one disk within five minutes.
    pub snapshots_per_five_minutes: Option<usize>,
    /// Incremental snapshots of one disk at any time.
    pub snapshots_per_disk: Option<usize>,
    /// Snapshots that are copied to one subscription and region at a time.
    pub parallel_copies: Option<usize>,
    /// Snapshots of an Ultra or Premium SSD v2 disk that are copied in the background at a time.
    pub pending_snapshots: Option<usize>,
    /// Disks that are made from one Ultra or Premium SSD v2 snapshot at a time.
    pub disks_at_once: Option<usize>,
    /// One snapshot of a disk is copied to a region at a time.
    pub one_copy_per_disk: bool,
    /// Snapshots of a disk are copied to a region in the order of their creation.
    pub copy_in_order: bool,
    /// Only incremental snapshots are copied by CopyStart.
    pub copy_only_incremental: bool,
    /// An incomplete snapshot can be neither read, nor copied, nor made into a disk.
    pub incomplete_unusable: bool,
    /// An incremental snapshot is in the subscription of its disk.
    pub same_subscription: bool,
    /// A disk that is still being filled in the background has no snapshots.
    pub no_snapshot_while_hydrating: bool,
    /// Growing an Ultra or Premium SSD v2 disk fails its snapshots that are still copied.
    pub growth_fails_pending: bool,
    /// Incremental snapshots are on standard storage.
    pub standard_snapshots: bool,
    /// No difference between snapshots on different sides of 4 TiB.
    pub diff_boundary: bool,
    /// Uploads are between 20 MiB and 32,767 GiB, as the service has it.
    pub upload_sizes: bool,
    /// What somebody has access to is not deleted.
    pub no_delete_while_granted: bool,
}

impl Limits {
    /// None at all.
    pub const fn off() -> Self {
        Self {
            family_grants: None,
            snapshots_per_five_minutes: None,
            snapshots_per_disk: None,
            parallel_copies: None,
            pending_snapshots: None,
            disks_at_once: None,
            one_copy_per_disk: false,
            copy_in_order: false,
            copy_only_incremental: false,
            incomplete_unusable: false,
            same_subscription: false,
            no_snapshot_while_hydrating: false,
            growth_fails_pending: false,
            standard_snapshots: false,
            diff_boundary: false,
            upload_sizes: false,
            no_delete_while_granted: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            family_grants: Some(5),
            snapshots_per_five_minutes: Some(7),
            snapshots_per_disk: Some(500),
            parallel_copies: Some(100),
            pending_snapshots: Some(3),
            disks_at_once: Some(5),
            one_copy_per_disk: true,
            copy_in_order: true,
            copy_only_incremental: true,
            incomplete_unusable: true,
            same_subscription: true,
            no_snapshot_while_hydrating: true,
            growth_fails_pending: true,
            standard_snapshots: true,
            diff_boundary: true,
            upload_sizes: true,
            no_delete_while_granted: true,
        }
    }
}

impl Default for ArmConfig {
    fn default() -> Self {
        Self {
            groups: None,
            page_size: 100,
            operation_time: Duration::ZERO,
            retry_after: 0,
            copy_start: CopyPace::default(),
            hydration: CopyPace::default(),
            percent_delay: Duration::ZERO,
            limits: Limits::default(),
        }
    }
}
