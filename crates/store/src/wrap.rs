//! The part of a wrapper that only passes on.

/// Implements both roles for a wrapper with a field `inner` and a method `wait`, which is awaited before each page
/// request and may refuse it.
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
            async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
                self.inner.properties(view).await
            }
            async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
                self.inner.snapshots().await
            }
            async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
                self.wait("Get Page Ranges", ask.window).await?;
                self.inner.list(ask).await
            }
            async fn read(
                &self,
                view: &View,
                range: PageRange,
                if_match: Option<&Etag>,
            ) -> Result<(PageData, Receipt), StoreError> {
                self.wait("Get Blob", range).await?;
                self.inner.read(view, range, if_match).await
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
                self.wait("Put Page", range).await?;
                self.inner.write(range, data, fence).await
            }
            async fn write_from(
                &self,
                range: PageRange,
                from: &Pass,
                fence: &Fence,
            ) -> Result<(Option<u64>, Receipt), StoreError> {
                self.wait("Put Page From URL", range).await?;
                self.inner.write_from(range, from, fence).await
            }
            async fn clear(&self, range: PageRange, fence: &Fence) -> Result<Receipt, StoreError> {
                self.wait("Put Page (clear)", range).await?;
                self.inner.clear(range, fence).await
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

pub(crate) use delegate;
