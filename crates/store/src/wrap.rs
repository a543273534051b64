//! The part of a wrapper that only passes on.

use crate::role::{Answer, Receipt};

/// What a page request gives back, as far as a wrapper looks at it.
pub trait Receipted: Send {
    /// How it went; a listing does not say.
    fn receipt(&self) -> Option<&Receipt>;
}

impl Receipted for Answer {
    fn receipt(&self) -> Option<&Receipt> {
        None
    }
}

impl Receipted for Receipt {
    fn receipt(&self) -> Option<&Receipt> {
        Some(self)
    }
}

impl<T: Send> Receipted for (T, Receipt) {
    fn receipt(&self) -> Option<&Receipt> {
        Some(&self.1)
    }
}

/// Implements both roles for a wrapper with a field `inner` and a method `around`, which is given each page request with
/// its name and range before it is sent. The types of both roles must be in scope.
#[macro_export]
macro_rules! delegate {
    ($wrapper:ident) => {
        impl<T: Source> Source for $wrapper<T> {
            fn address(&self) -> String {
                self.inner.address()
            }
            fn in_flight_max(&self) -> usize {
                self.inner.in_flight_max()
            }
            async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
                self.inner.pass(view).await
            }
            fn grants(&self, snapshots: &[SnapshotId]) -> Vec<String> {
                self.inner.grants(snapshots)
            }
            async fn revoke(&self, grants: &[String]) -> Result<(), StoreError> {
                self.inner.revoke(grants).await
            }
            async fn give_back(&self) -> Result<(), StoreError> {
                self.inner.give_back().await
            }
            async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
                self.inner.properties(view).await
            }
            async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
                self.inner.snapshots().await
            }
            async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
                self.around("Get Page Ranges", ask.window, self.inner.list(ask)).await
            }
            async fn read(
                &self,
                view: &View,
                range: PageRange,
                if_match: Option<&Etag>,
            ) -> Result<(PageData, Receipt), StoreError> {
                self.around("Get Blob", range, self.inner.read(view, range, if_match)).await
            }
        }

        impl<T: Target> Target for $wrapper<T> {
            async fn create(&self, size: Pages, metadata: &Metadata) -> Result<Etag, StoreError> {
                self.inner.create(size, metadata).await
            }
            async fn acquire(
                &self,
                lease: &LeaseId,
                duration: std::time::Duration,
                if_match: Option<&Etag>,
            ) -> Result<Receipt, StoreError> {
                self.inner.acquire(lease, duration, if_match).await
            }
            async fn renew(&self, lease: &LeaseId) -> Result<(), StoreError> {
                self.inner.renew(lease).await
            }
            async fn change(&self, from: &LeaseId, to: &LeaseId) -> Result<Receipt, StoreError> {
                self.inner.change(from, to).await
            }
            async fn release(&self, lease: &LeaseId) -> Result<(), StoreError> {
                self.inner.release(lease).await
            }
            async fn break_now(&self) -> Result<(), StoreError> {
                self.inner.break_now().await
            }
            async fn raise_sequence(&self, epoch: u64, lease: &LeaseId, if_match: &Etag) -> Result<Etag, StoreError> {
                self.inner.raise_sequence(epoch, lease, if_match).await
            }
            async fn set_metadata(
                &self,
                metadata: &Metadata,
                lease: &LeaseId,
                if_match: Option<&Etag>,
            ) -> Result<Etag, StoreError> {
                self.inner.set_metadata(metadata, lease, if_match).await
            }
            async fn resize(&self, size: Pages, lease: &LeaseId) -> Result<Receipt, StoreError> {
                self.inner.resize(size, lease).await
            }
            async fn write(&self, range: PageRange, data: &PageData, fence: &Fence) -> Result<Receipt, StoreError> {
                self.around("Put Page", range, self.inner.write(range, data, fence)).await
            }
            async fn write_from(
                &self,
                range: PageRange,
                from: &Pass,
                fence: &Fence,
            ) -> Result<(Option<u64>, Receipt), StoreError> {
                self.around("Put Page From URL", range, self.inner.write_from(range, from, fence)).await
            }
            async fn clear(&self, range: PageRange, fence: &Fence) -> Result<Receipt, StoreError> {
                self.around("Put Page (clear)", range, self.inner.clear(range, fence)).await
            }
            async fn snapshot(
                &self,
                lease: Option<&LeaseId>,
                if_match: Option<&Etag>,
            ) -> Result<(SnapshotId, Etag), StoreError> {
                self.inner.snapshot(lease, if_match).await
            }
            async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), StoreError> {
                self.inner.delete_snapshot(snapshot).await
            }
        }
    };
}
