//! `pageferry snapshot`: one snapshot of a disk.

use std::fmt::{self, Display, Formatter};

use pageferry_azure::PageBlob;
use pageferry_core::{Metadata, SnapshotId};
use pageferry_managed::{ManagedDisk, Naming};
use pageferry_store::{ErrorKind, Source};
use serde::Serialize;
use time::OffsetDateTime;

use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::origin::{Disk, Origin};
use crate::report::say;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) disk: Origin,
    pub(crate) naming: Naming,
}

#[derive(Serialize)]
struct Taken {
    disk: String,
    snapshot: String,
    /// Of a managed snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

say! { Taken => "snapshot" }

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.snapshot.fmt(f)
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let (disk, named) = scene.interrupt.or(self.disk.reach(scene, scene.notes())).await?;
        if let Some(named) = named {
            let what =
                format!("DISK names snapshot {named} of a managed disk, and only a disk has snapshots taken of it");
            return Err(Failure::usage(what));
        }
        let taken = take(scene, &disk, &self.naming, &Metadata::new()).await?;
        scene.console.say(&Taken { disk: disk.address(), snapshot: taken.id.to_string(), resource: taken.resource });
        Ok(())
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) id: SnapshotId,
    /// Of a managed snapshot its resource id.
    pub(crate) resource: Option<String>,
}

/// Takes a snapshot of `disk`. A managed one is called and tagged as `naming` says; that of a page blob carries `metadata`
/// beside the blob's own.
///
/// # Errors
/// It cannot be taken, or it is not known whether it was.
pub(crate) async fn take(scene: &Scene, disk: &Disk, naming: &Naming, metadata: &Metadata) -> Result<New, Failure> {
    match disk {
        Disk::Blob(blob) => of_blob(scene, blob, metadata).await.map(|id| New { id, resource: None }),
        Disk::Managed(disk) => of_managed(disk, naming).await,
        Disk::Urls(_) => Err(Failure::usage(
            "a URL of a managed disk is good for reading only: name the disk by its resource id to have a snapshot taken",
        )),
    }
}

async fn of_managed(disk: &ManagedDisk, naming: &Naming) -> Result<New, Failure> {
    let link = disk.take(naming, OffsetDateTime::now_utc).await?;
    Ok(New { id: link.id, resource: Some(link.resource.to_string()) })
}

async fn of_blob(scene: &Scene, disk: &PageBlob, metadata: &Metadata) -> Result<SnapshotId, Failure> {
    let address = disk.address();
    let taken = tokio::select! {
        taken = disk.snapshot_with(metadata) => taken,
        () = scene.interrupt.stop().cancelled() => {
            let what = format!("stopped while a snapshot of {address} was being taken, which may exist now or not");
            return Err(Failure::new(Exit::Interrupted, what));
        }
    };
    match taken {
        Ok(id) => Ok(id),
        Err(error) if error.kind() == ErrorKind::Unknown => {
            let newest = match disk.snapshots().await {
                Ok(all) => all.last().map_or("none".to_owned(), |last| last.id.to_string()),
                Err(_) => "not known, because the service does not say".to_owned(),
            };
            Err(Failure::new(
                Exit::Failed,
                format!(
                    "the answer to Snapshot Blob on {address} was lost, so the snapshot may have been taken or not; the \
                     newest one now is {newest}: if that is older than this command, run it again"
                ),
            ))
        }
        Err(error) if error.code().ends_with("OperationRateExceeded") => {
            let newest = disk.snapshots().await.ok().and_then(|all| all.last().map(|last| last.id.to_string()));
            let newest = newest.unwrap_or_else(|| "not known".to_owned());
            Err(Failure::new(
                Exit::Failed,
                format!(
                    "no snapshot of {address} is taken yet: a premium account takes one in ten minutes, and the newest was \
                     taken at {newest}; run again ten minutes after that"
                ),
            ))
        }
        Err(error) => Err(error.into()),
    }
}
