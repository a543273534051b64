//! Snapshots as Resource Manager might tell of them, for tests.

use std::collections::BTreeMap;

use pageferry_arm::{ResourceId, Snapshot};

/// The disk that most of them are of.
pub(crate) fn disk() -> ResourceId {
    ResourceId::disk("sub", "rg", "web1").unwrap()
}

/// The unique id of [`disk`].
pub(crate) const UNIQUE: &str = "disk-1";

/// The id of a snapshot.
pub(crate) fn id(name: &str) -> ResourceId {
    ResourceId::snapshot("sub", "rg", name).unwrap()
}

/// A complete incremental snapshot of [`disk`], taken so many minutes past an hour.
pub(crate) fn taken(name: &str, minute: u32) -> Snapshot {
    Snapshot {
        id: id(name),
        name: name.to_owned(),
        location: "westeurope".to_owned(),
        time_created: format!("2026-11-22T{:02}:{:02}:00.1234567+00:00", minute / 60, minute % 60),
        incremental: true,
        family: Some("family".to_owned()),
        unique_id: Some(format!("unique-{name}")),
        size_bytes: Some(1 << 30),
        completion_percent: Some(100.0),
        provisioning: "Succeeded".to_owned(),
        disk_state: None,
        source: Some(disk()),
        source_unique_id: Some(UNIQUE.to_owned()),
        create_option: Some("Copy".to_owned()),
        sector_size: Some(512),
        copy_error: None,
        network_policy: None,
        auth_mode: None,
        encryption_type: None,
        disk_encryption_set: None,
        sku: None,
        tags: BTreeMap::new(),
    }
}

/// A copy of the snapshot `of` in another region that has come so far.
pub(crate) fn copied(name: &str, of: &str, location: &str, percent: Option<f64>) -> Snapshot {
    Snapshot {
        location: location.to_owned(),
        source: Some(id(of)),
        source_unique_id: Some(format!("unique-{of}")),
        create_option: Some("CopyStart".to_owned()),
        completion_percent: percent,
        ..taken(name, 59)
    }
}
