//! Disks and snapshots as their users see them: what there is, what is to be made, what was granted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use crate::resource_id::ResourceId;

/// A snapshot of a managed disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its id, as the service writes it.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// The region.
    pub location: String,
    /// When it was taken, or its copy begun: RFC 3339 as given, or nothing.
    pub time_created: String,
    /// Whether it holds changes only, so that it can be differenced and copied to other regions.
    pub incremental: bool,
    /// Equal for all snapshots that can be differenced with each other (`incrementalSnapshotFamilyId`).
    pub family: Option<String>,
    /// Never given to a second resource of the same name.
    pub unique_id: Option<String>,
    /// The size of the data, without the footer that its page blob ends with.
    pub size_bytes: Option<u64>,
    /// How much of a copy has arrived. Absent means not begun, never complete.
    pub completion_percent: Option<f64>,
    /// `Succeeded`, or what else the service says about its making.
    pub provisioning: String,
    /// `Unattached`, `ActiveSAS` and others.
    pub disk_state: Option<String>,
    /// What it was taken from or copied from, where that is a disk or a snapshot.
    pub source: Option<ResourceId>,
    /// The unique id of that.
    pub source_unique_id: Option<String>,
    /// `Copy`, `CopyStart` and others.
    pub create_option: Option<String>,
    /// 512 or 4096.
    pub sector_size: Option<u32>,
    /// Why its copy failed.
    pub copy_error: Option<String>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    pub network_policy: Option<String>,
    /// `None` or `AzureActiveDirectory`.
    pub auth_mode: Option<String>,
    /// Whose key it is encrypted with.
    pub encryption_type: Option<String>,
    /// The disk encryption set, for a customer's own key.
    pub disk_encryption_set: Option<String>,
    /// `Standard_ZRS` and others.
    pub sku: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Snapshot {
    /// Whether all of a copy has arrived: certainly not while the service says nothing about it.
    pub fn is_complete(&self) -> bool {
        self.completion_percent.is_some_and(|percent| percent >= 100.0)
    }

    /// Whether its data is read with a token besides the SAS.
    pub fn needs_token(&self) -> bool {
        needs_token(self.auth_mode.as_deref())
    }
}

/// A managed disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// Its id, as the service writes it.
    pub id: ResourceId,
    /// Its name.
    pub name: String,
    /// The region.
    pub location: String,
    /// When it was made: RFC 3339 as given, or nothing.
    pub time_created: String,
    /// Never given to a second disk of the same name.
    pub unique_id: Option<String>,
    /// The size of the data, without the footer that its page blob ends with.
    pub size_bytes: Option<u64>,
    /// How far a copy in the background has come; absent means nothing.
    pub completion_percent: Option<f64>,
    /// `Succeeded`, or what else the service says about its making.
    pub provisioning: String,
    /// `Unattached`, `Attached`, `ReadyToUpload`, `ActiveUpload` and others.
    pub disk_state: Option<String>,
    /// What it was made from, where that is a disk or a snapshot.
    pub source: Option<ResourceId>,
    /// `Upload`, `Copy`, `Empty` and others.
    pub create_option: Option<String>,
    /// The size of the blob to be uploaded, footer included.
    pub upload_size: Option<u64>,
    /// 512 or 4096.
    pub sector_size: Option<u32>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    pub network_policy: Option<String>,
    /// `None` or `AzureActiveDirectory`.
    pub auth_mode: Option<String>,
    /// Whose key it is encrypted with.
    pub encryption_type: Option<String>,
    /// The disk encryption set, for a customer's own key.
    pub disk_encryption_set: Option<String>,
    /// The virtual machine it is attached to.
    pub managed_by: Option<String>,
    /// `Premium_LRS` and others.
    pub sku: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Disk {
    /// Whether its data is read and written with a token besides the SAS.
    pub fn needs_token(&self) -> bool {
        needs_token(self.auth_mode.as_deref())
    }
}

fn needs_token(mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| mode.eq_ignore_ascii_case("AzureActiveDirectory"))
}

/// How a snapshot is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyKind {
    /// In the region of its source, at once.
    Copy,
    /// From an incremental snapshot in any region, in the background.
    CopyStart,
}

/// A snapshot to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The region.
    pub location: String,
    /// The disk it is taken of, or the snapshot it is copied from.
    pub source: ResourceId,
    /// How it is made.
    pub copy: CopyKind,
    /// Whether it is to hold changes only. Always told to the service, whose default is not to be relied on.
    pub incremental: bool,
    /// Where its data is kept; the service chooses well if nothing is said.
    pub sku: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The disk encryption set, for a customer's own key: a copy does not inherit its source's.
    pub disk_encryption_set: Option<String>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    pub network_policy: Option<String>,
}

/// What a disk begins as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A blob that is going to be uploaded.
    Upload {
        /// Its size, footer included.
        bytes: u64,
    },
    /// What another disk or a snapshot holds.
    Copy {
        /// That disk or snapshot.
        source: ResourceId,
    },
    /// Zeros.
    Empty {
        /// Its size.
        gib: u32,
    },
}

/// A disk to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDisk {
    /// The region.
    pub location: String,
    /// What kind of disk; the service chooses if nothing is said.
    pub sku: Option<String>,
    /// What it begins as.
    pub origin: Origin,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// `Linux` or `Windows`, for a disk that a machine is to start from.
    pub os_type: Option<String>,
    /// `V1` or `V2`: of which generation such a machine is.
    pub generation: Option<String>,
    /// 512 or 4096, where the kind of disk offers both.
    pub sector_size: Option<u32>,
    /// The disk encryption set, for a customer's own key.
    pub disk_encryption_set: Option<String>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    pub network_policy: Option<String>,
}

/// What a grant allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading.
    Read,
    /// Uploading, to a disk made for it.
    Write,
}

/// Leave to use the data of a disk or snapshot.
#[derive(Clone)]
pub struct Granted {
    /// The whole URL of the page blob, signature and all.
    pub sas: SecretString,
    /// How long it holds at least, counted from before it was asked for.
    pub until: Instant,
}

impl Granted {
    /// How much longer it holds at least.
    pub fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("until", &self.until).finish_non_exhaustive()
    }
}
