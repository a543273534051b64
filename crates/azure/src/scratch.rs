//! Reading snapshots in an account that refuses it.
//!
//! Premium accounts are documented to answer Get Blob on a snapshot with 400 `InvalidOperation`; what the snapshot holds is
//! then reached by copying it to another blob (REST: Snapshot Blob). That blob is named by the user, made by us, says so in
//! its metadata, and holds one snapshot at a time.

use std::time::Duration;

use azure_core::http::Etag as WireEtag;
use azure_storage_blob::models::BlobClientDeleteOptions;
use pageferry_core::{Etag, Metadata, PageRange, SnapshotId};
use pageferry_store::{ErrorKind, PageData, Properties, Receipt, Source, StoreError, View};
use tokio::sync::Mutex;

use crate::copy::CopyPhase;
use crate::operation::Operation;
use crate::page_blob::PageBlob;

/// The metadata entry of a blob that was made here; its value is the disk whose snapshots it holds.
const OURS: &str = "pageferryscratch";

/// How often a copy is asked for whose outcome is unknown.
const TRIES: usize = 5;

/// How often a pending copy is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A blob for copies of snapshots.
pub(crate) struct Scratch {
    blob: PageBlob,
    /// The snapshot that it holds, and its tag since.
    holds: Mutex<Option<(SnapshotId, Etag)>>,
}

impl Scratch {
    pub(crate) fn new(blob: PageBlob) -> Scratch {
        Scratch { blob, holds: Mutex::default() }
    }

    /// The bytes of `range` in `snapshot` of `disk`, by way of the copy, which is made first where need be.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] where the scratch blob is somebody else's; failures of the copy and of the read.
    pub(crate) async fn read(
        &self,
        disk: &PageBlob,
        snapshot: &SnapshotId,
        range: PageRange,
    ) -> Result<(PageData, Receipt), StoreError> {
        let etag = {
            let mut holds = self.holds.lock().await;
            match &*holds {
                Some((held, etag)) if held == snapshot => etag.clone(),
                _ => {
                    *holds = None;
                    let etag = self.copy(disk, snapshot).await?;
                    *holds = Some((snapshot.clone(), etag.clone()));
                    etag
                }
            }
        };
        self.blob.read_directly(&View::Base, range, Some(&etag)).await
    }

    /// Deletes what was made.
    ///
    /// # Errors
    /// Of the service; a blob that has changed since is left alone.
    pub(crate) async fn discard(&self) -> Result<(), StoreError> {
        let Some((_, etag)) = self.holds.lock().await.take() else { return Ok(()) };
        let wire = self.blob.wire();
        let attempt = || async {
            let options = BlobClientDeleteOptions {
                if_match: Some(WireEtag::from(etag.quoted())),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            wire.typed(wire.blob.delete(Some(options))).await.map(drop)
        };
        match self.blob.change_blob(Operation::Delete, attempt).await.result {
            // After a lost answer it may be gone because we deleted it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Copies `snapshot` over whatever earlier snapshot is held; returns the tag of the finished copy.
    async fn copy(&self, disk: &PageBlob, snapshot: &SnapshotId) -> Result<Etag, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            let before = self.found().await?;
            if before.as_ref().is_some_and(|now| now.copy_pending) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let (over, words) = (before.map(|now| now.etag), Metadata::from([(OURS.to_owned(), disk.address())]));
            match self.blob.copy_from(disk, snapshot, over.as_ref(), &words).await {
                Ok(id) => return self.finished(&id).await,
                Err(error) if matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Changed | ErrorKind::Exists) => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| self.blob.invalid(Operation::Copy, "it was never asked for")))
    }

    /// What there is of the scratch blob, which must be ours.
    async fn found(&self) -> Result<Option<Properties>, StoreError> {
        match self.blob.properties(&View::Base).await {
            Ok(now) if now.metadata.contains_key(OURS) => Ok(Some(now)),
            Ok(_) => {
                let cause = "it exists and was not made as a scratch blob, so it is not overwritten: name another one";
                Err(self.blob.invalid(Operation::Copy, cause))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && error.code() == "BlobNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the copy with this id; returns the blob's tag once it is complete.
    async fn finished(&self, id: &str) -> Result<Etag, StoreError> {
        loop {
            let state = self.blob.copy_state().await?.filter(|state| state.id == id);
            match state.map(|state| (state.phase, state.etag, state.description)) {
                Some((CopyPhase::Success, etag, _)) => return Ok(etag),
                Some((CopyPhase::Pending, ..)) => tokio::time::sleep(LOOK_EVERY).await,
                other => {
                    let why =
                        other.and_then(|(.., why)| why).unwrap_or_else(|| "the service does not say why".to_owned());
                    return Err(self.blob.invalid(Operation::Copy, format!("the snapshot was not copied: {why}")));
                }
            }
        }
    }
}
