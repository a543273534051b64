//! The service's own copies: asking for one, seeing how far it is, giving it up, deleting what it made.
//!
//! Copy Blob brings one snapshot to a blob, Incremental Copy Blob one after the other to a blob that belongs to the
//! service from then on. Both may be answered long before they are done.

use azure_core::http::{Etag as WireEtag, Method};
use azure_storage_blob::models::{
    BlobClientAbortCopyOptions, BlobClientDeleteOptions, BlobClientStartCopyFromUrlOptions, DeleteSnapshotsOptionType,
};
use pageferry_core::{Etag, Metadata, SnapshotId};
use pageferry_store::{ErrorKind, Source, StoreError, View};
use secrecy::ExposeSecret;

use crate::fault::{Fault, Outcome, text};
use crate::operation::Operation;
use crate::page_blob::PageBlob;
use crate::properties::etag;

/// How far a copy is that the service makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyState {
    /// Its id, as its beginning was answered.
    pub id: String,
    /// Whether it is over, and how.
    pub phase: CopyPhase,
    /// Bytes copied so far.
    pub done_bytes: u64,
    /// Bytes to copy in all; 0 where the service does not say.
    pub total_bytes: u64,
    /// The tag of the blob that is copied to.
    pub etag: Etag,
    /// What the service says about a failure, its own words.
    pub description: Option<String>,
}

/// Whether a copy is over (`x-ms-copy-status`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyPhase {
    /// Not yet.
    Pending,
    /// The blob is the copy.
    Success,
    /// It was given up.
    Aborted,
    /// The service gave it up.
    Failed,
}

impl PageBlob {
    /// Asks the service to copy `snapshot` of `disk` here, with `metadata`; returns the copy's id. Over the blob that has
    /// the tag `over`, or where there is none. Not repeated after a lost answer.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] or [`ErrorKind::Changed`] where the blob is not the one expected; whatever the service
    /// answers, which may have no way to read the snapshot.
    pub async fn copy_from(
        &self,
        disk: &PageBlob,
        snapshot: &SnapshotId,
        over: Option<&Etag>,
        metadata: &Metadata,
    ) -> Result<String, StoreError> {
        let wire = self.wire();
        let from = disk.pass(&View::Snapshot(snapshot.clone())).await?.url;
        let attempt = || async {
            let options = BlobClientStartCopyFromUrlOptions {
                if_none_match: over.is_none().then(|| WireEtag::from("*")),
                if_match: over.map(|tag| WireEtag::from(tag.quoted())),
                metadata: Some(metadata.clone().into_iter().collect()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            let call = wire.blob.start_copy_from_url(from.expose_secret().to_owned(), Some(options));
            Ok(text(&wire.typed(call).await?, "x-ms-copy-id").unwrap_or_default())
        };
        self.change_blob(Operation::Copy, attempt).await.result
    }

    /// Asks the service to make this, a blob that must not exist yet, its own backup of `disk`, beginning with
    /// `snapshot`; returns the copy's id. Not repeated after a lost answer.
    ///
    /// # Errors
    /// As [`PageBlob::copy_from`].
    pub async fn copy_incrementally_from(&self, disk: &PageBlob, snapshot: &SnapshotId) -> Result<String, StoreError> {
        let wire = self.wire();
        let from = disk.pass(&View::Snapshot(snapshot.clone())).await?.url;
        let timeout = wire.options.write_timeout.as_secs().to_string();
        let attempt = || async {
            let query = [("comp", "incrementalcopy"), ("timeout", timeout.as_str())];
            let mut request = wire.get(wire.address.url().clone(), &query);
            request.set_method(Method::Put);
            request.insert_header("content-length", "0");
            request.insert_header("if-none-match", "*");
            request.insert_header("x-ms-copy-source", from.expose_secret().to_owned());
            let answer = wire.send(request).await?;
            Ok(text(&answer.headers, "x-ms-copy-id").unwrap_or_default())
        };
        self.change_blob(Operation::CopyIncrementally, attempt).await.result
    }

    /// The last copy onto this blob, if there ever was one.
    ///
    /// # Errors
    /// Of the service; [`ErrorKind::Integrity`] for a status that nobody knows.
    pub async fn copy_state(&self) -> Result<Option<CopyState>, StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let headers = wire.typed(wire.blob.get_properties(None)).await?;
            let Some(id) = text(&headers, "x-ms-copy-id") else { return Ok(None) };
            let phase = match text(&headers, "x-ms-copy-status").as_deref() {
                Some("pending") => CopyPhase::Pending,
                Some("success") => CopyPhase::Success,
                Some("aborted") => CopyPhase::Aborted,
                Some("failed") => CopyPhase::Failed,
                _ => {
                    return Err(Fault::in_answer(Outcome::Wrong, &headers, "the copy's status is not one there is"));
                }
            };
            let progress = text(&headers, "x-ms-copy-progress").unwrap_or_default();
            let (done, total) = progress.split_once('/').unwrap_or_default();
            let number = |text: &str| text.trim().parse().unwrap_or(0);
            let (done_bytes, total_bytes) = (number(done), number(total));
            let description = text(&headers, "x-ms-copy-status-description").map(|text| crate::scrub::scrub(&text));
            Ok(Some(CopyState { id, phase, done_bytes, total_bytes, etag: etag(&headers)?, description }))
        };
        wire.settle(Operation::GetProperties, attempt).await.result
    }

    /// Gives up the copy with this id, which leaves an empty blob. One that is over by now is left as it is.
    ///
    /// # Errors
    /// Of the service; it gives up no incremental copy.
    pub async fn abort_copy(&self, id: &str) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientAbortCopyOptions { timeout: wire.write_timeout(), ..Default::default() };
            wire.typed(wire.blob.abort_copy(id, Some(options))).await.map(drop)
        };
        match self.change_blob(Operation::AbortCopy, attempt).await.result {
            Err(error) if error.code() == "NoPendingCopyOperation" => Ok(()),
            result => result,
        }
    }

    /// Deletes the blob with all its snapshots; if it is gone already, that is what was wanted.
    ///
    /// # Errors
    /// Of the service, which deletes neither what is leased nor what a copy is under way to.
    pub async fn delete_with_snapshots(&self) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientDeleteOptions {
                delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            wire.typed(wire.blob.delete(Some(options))).await.map(drop)
        };
        match self.change_blob(Operation::Delete, attempt).await.result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
