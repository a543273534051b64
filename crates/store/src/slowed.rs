//! A store that takes its time: every read, write and clear waits first. For tests and benches of the pipeline.

use std::time::Duration;

use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};

use crate::error::StoreError;
use crate::pass::Pass;
use crate::role::{Answer, Ask, Fence, LeaseId, PageData, Properties, Receipt, Snapshot, Source, Target, View};

/// A store whose reads, writes and clears each take `latency` longer.
#[derive(Clone, Debug)]
pub struct Slowed<T> {
    inner: T,
    latency: Duration,
}

impl<T> Slowed<T> {
    /// `inner`, slowed by `latency` a request.
    pub fn new(inner: T, latency: Duration) -> Slowed<T> {
        Slowed { inner, latency }
    }

    async fn around<R>(
        &self,
        _what: &'static str,
        _range: PageRange,
        request: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        tokio::time::sleep(self.latency).await;
        request.await
    }
}

crate::delegate!(Slowed);
