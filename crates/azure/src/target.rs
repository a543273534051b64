//! How a page blob is changed.
//!
//! Every request here carries the server-side time limit, so that one whose answer was lost is not applied much later; and
//! every one under a lease carries its id. Page writes and clears carry the epoch besides.

use std::time::Duration;

use azure_core::http::Etag as WireEtag;
use azure_core::http::headers::Headers;
use azure_storage_blob::models::{
    BlobClientAcquireLeaseOptions, BlobClientBreakLeaseOptions, BlobClientChangeLeaseOptions,
    BlobClientCreateSnapshotOptions, BlobClientDeleteOptions, BlobClientReleaseLeaseOptions,
    BlobClientRenewLeaseOptions, BlobClientSetMetadataOptions, PageBlobClientCreateOptions,
    PageBlobClientResizeOptions, PageBlobClientSetSequenceNumberOptions, PageBlobClientUploadPagesFromUrlOptions,
    SequenceNumberActionType,
};
use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};
use pageferry_store::{ErrorKind, Fence, LeaseId, PageData, Pass, Receipt, Source, StoreError, Target, View};

use secrecy::ExposeSecret;

use crate::fault::{Fault, Outcome, text};
use crate::operation::Operation;
use crate::page_blob::PageBlob;
use crate::pages::{epoch, on_wire, too_high};
use crate::properties::etag;
use crate::read::{REQUEST_BYTES_MAX, checksum};
use crate::retry::Settled;

impl PageBlob {
    /// Runs a changing request; refused here where the address names a snapshot, which nothing can change.
    pub(crate) async fn change_blob<T, F>(&self, operation: Operation, attempt: impl FnMut() -> F + Send) -> Settled<T>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        self.change_pages(operation, None, attempt).await
    }

    /// The same for what moves `bytes`, each attempt in its turn.
    pub(crate) async fn change_pages<T, F>(
        &self,
        operation: Operation,
        bytes: Option<u64>,
        attempt: impl FnMut() -> F + Send,
    ) -> Settled<T>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        if let Some(snapshot) = self.wire().address.snapshot() {
            let cause = format!("the address names snapshot {snapshot}, and snapshots cannot be changed");
            return Settled { result: Err(self.invalid(operation, cause)), receipt: Receipt::default() };
        }
        self.wire().settle_in_turn(operation, bytes, attempt).await
    }

    /// Takes a snapshot of a disk that carries `more` beside the blob's own metadata.
    ///
    /// # Errors
    /// As [`Target::snapshot`].
    pub async fn snapshot_with(&self, more: &Metadata) -> Result<SnapshotId, StoreError> {
        let mut options = BlobClientCreateSnapshotOptions::default();
        if !more.is_empty() {
            // A snapshot that is given metadata does not copy the blob's.
            let own = self.properties(&View::Base).await?.metadata;
            options.metadata = Some(own.into_iter().chain(more.clone()).collect());
        }
        self.take_snapshot(options).await.map(|(id, _)| id)
    }

    async fn take_snapshot(
        &self,
        options: BlobClientCreateSnapshotOptions<'_>,
    ) -> Result<(SnapshotId, Etag), StoreError> {
        let wire = self.wire();
        let options = BlobClientCreateSnapshotOptions { timeout: wire.write_timeout(), ..options };
        let attempt = || async {
            let headers = wire.typed(wire.blob.create_snapshot(Some(options.clone()))).await?;
            let id = text(&headers, "x-ms-snapshot");
            let id = id.ok_or_else(|| Fault::in_answer(Outcome::Wrong, &headers, "the new snapshot was not named"))?;
            Ok((SnapshotId::new(id), etag(&headers)?))
        };
        self.change_blob(Operation::Snapshot, attempt).await.result
    }
}

impl Target for PageBlob {
    async fn create(&self, size: Pages, metadata: &Metadata) -> Result<Etag, StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = PageBlobClientCreateOptions {
                if_none_match: Some(WireEtag::from("*")),
                metadata: Some(metadata.clone().into_iter().collect()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            etag(&wire.typed(wire.pages.create(size.bytes(), Some(options))).await?)
        };
        self.change_blob(Operation::Create, attempt).await.result
    }

    async fn acquire(
        &self,
        lease: &LeaseId,
        duration: Duration,
        if_match: Option<&Etag>,
    ) -> Result<Receipt, StoreError> {
        let wire = self.wire();
        let Ok(seconds) = i32::try_from(duration.as_secs()) else {
            return Err(self.invalid(Operation::AcquireLease, "a lease lasts 15 to 60 seconds"));
        };
        let attempt = || async {
            let options = BlobClientAcquireLeaseOptions {
                proposed_lease_id: Some(lease.0.clone()),
                if_match: if_match.map(|tag| WireEtag::from(tag.quoted())),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            let headers = wire.typed(wire.blob.acquire_lease(seconds, Some(options))).await?;
            is_ours(&headers, lease)
        };
        Ok(self.change_blob(Operation::AcquireLease, attempt).await.with_receipt()?.1)
    }

    async fn renew(&self, lease: &LeaseId) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientRenewLeaseOptions { timeout: wire.write_timeout(), ..Default::default() };
            let headers = wire.typed(wire.blob.renew_lease(lease.0.clone(), Some(options))).await?;
            is_ours(&headers, lease)
        };
        self.change_blob(Operation::RenewLease, attempt).await.result
    }

    async fn change(&self, from: &LeaseId, to: &LeaseId) -> Result<Receipt, StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientChangeLeaseOptions { timeout: wire.write_timeout(), ..Default::default() };
            let call = wire.blob.change_lease(from.0.clone(), to.0.clone(), Some(options));
            is_ours(&wire.typed(call).await?, to)
        };
        Ok(self.change_blob(Operation::ChangeLease, attempt).await.with_receipt()?.1)
    }

    async fn release(&self, lease: &LeaseId) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientReleaseLeaseOptions { timeout: wire.write_timeout(), ..Default::default() };
            wire.typed(wire.blob.release_lease(lease.0.clone(), Some(options))).await.map(drop)
        };
        // After a lost answer the lease may be gone because we gave it back: that is what was wanted.
        done_already(self.change_blob(Operation::ReleaseLease, attempt).await, ErrorKind::Fenced)
    }

    async fn break_now(&self) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientBreakLeaseOptions {
                break_period: Some(0),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            wire.typed(wire.blob.break_lease(Some(options))).await.map(drop)
        };
        self.change_blob(Operation::BreakLease, attempt).await.result
    }

    async fn raise_sequence(&self, epoch: u64, lease: &LeaseId, if_match: &Etag) -> Result<Etag, StoreError> {
        let wire = self.wire();
        let number = i64::try_from(epoch).map_err(|_| too_high(self, Operation::SetSequence, epoch))?;
        let attempt = || async {
            let options = PageBlobClientSetSequenceNumberOptions {
                blob_sequence_number: Some(number),
                if_match: Some(WireEtag::from(if_match.quoted())),
                lease_id: Some(lease.0.clone()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            let call = wire.pages.set_sequence_number(SequenceNumberActionType::Max, Some(options));
            etag(&wire.typed(call).await?)
        };
        self.change_blob(Operation::SetSequence, attempt).await.result
    }

    async fn set_metadata(
        &self,
        metadata: &Metadata,
        lease: &LeaseId,
        if_match: Option<&Etag>,
    ) -> Result<Etag, StoreError> {
        let wire = self.wire();
        let metadata = metadata.clone().into_iter().collect();
        let attempt = || async {
            let options = BlobClientSetMetadataOptions {
                if_match: if_match.map(|tag| WireEtag::from(tag.quoted())),
                lease_id: Some(lease.0.clone()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            etag(&wire.typed(wire.blob.set_metadata(&metadata, Some(options))).await?)
        };
        self.change_blob(Operation::SetMetadata, attempt).await.result
    }

    async fn resize(&self, size: Pages, lease: &LeaseId) -> Result<Receipt, StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = PageBlobClientResizeOptions {
                lease_id: Some(lease.0.clone()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            etag(&wire.typed(wire.pages.resize(size.bytes(), Some(options))).await?)
        };
        Ok(self.change_blob(Operation::Resize, attempt).await.with_receipt()?.1)
    }

    async fn write(&self, range: PageRange, data: &PageData, fence: &Fence) -> Result<Receipt, StoreError> {
        self.put_pages(range, data, Some(fence)).await
    }

    async fn write_from(
        &self,
        range: PageRange,
        from: &Pass,
        fence: &Fence,
    ) -> Result<(Option<u64>, Receipt), StoreError> {
        let wire = self.wire();
        if range.bytes() > REQUEST_BYTES_MAX {
            let cause = format!("{} bytes are more than one request writes", range.bytes());
            return Err(self.invalid(Operation::PutPageFromUrl, cause));
        }
        let epoch = epoch(self, Operation::PutPageFromUrl, fence)?;
        let attempt = || async {
            let options = PageBlobClientUploadPagesFromUrlOptions {
                copy_source_authorization: from.authorization.as_ref().map(|value| value.expose_secret().to_owned()),
                if_sequence_number_equal_to: Some(epoch),
                lease_id: Some(fence.lease.0.clone()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            let url = from.url.expose_secret().to_owned();
            let call = wire.pages.upload_pages_from_url(url, on_wire(range), 0, on_wire(range), Some(options));
            // The service reads before it writes.
            let headers = wire.upload(range.bytes(), call).await?;
            Ok(checksum(&headers))
        };
        self.change_pages(Operation::PutPageFromUrl, Some(range.bytes()), attempt).await.with_receipt()
    }

    async fn clear(&self, range: PageRange, fence: &Fence) -> Result<Receipt, StoreError> {
        self.clear_pages(range, Some(fence)).await
    }

    async fn snapshot(
        &self,
        lease: Option<&LeaseId>,
        if_match: Option<&Etag>,
    ) -> Result<(SnapshotId, Etag), StoreError> {
        let options = BlobClientCreateSnapshotOptions {
            if_match: if_match.map(|tag| WireEtag::from(tag.quoted())),
            lease_id: lease.map(|lease| lease.0.clone()),
            ..Default::default()
        };
        self.take_snapshot(options).await
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), StoreError> {
        let wire = self.wire();
        let attempt = || async {
            let options = BlobClientDeleteOptions {
                snapshot: Some(snapshot.as_str().to_owned()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            wire.typed(wire.blob.delete(Some(options))).await.map(drop)
        };
        done_already(self.change_blob(Operation::DeleteSnapshot, attempt).await, ErrorKind::NotFound)
    }
}

/// A failure of `kind` that follows an attempt whose answer was lost says that the lost attempt did it.
fn done_already(settled: Settled<()>, kind: ErrorKind) -> Result<(), StoreError> {
    match settled.result {
        Err(error) if error.kind() == kind && settled.receipt.unknown_at.is_some() => Ok(()),
        result => result,
    }
}

/// The service says whose lease it granted; another id than ours would be a lease we do not hold.
fn is_ours(headers: &Headers, lease: &LeaseId) -> Result<(), Fault> {
    match text(headers, "x-ms-lease-id") {
        Some(id) if !id.eq_ignore_ascii_case(&lease.0) => {
            Err(Fault::in_answer(Outcome::Wrong, headers, "the service granted a lease under another id than ours"))
        }
        _ => Ok(()),
    }
}
