//! A store in which chosen reads, writes and clears fail. For tests of the pipeline.

use std::fmt;
use std::sync::Arc;

use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};

use crate::error::StoreError;
use crate::pass::Pass;
use crate::role::{Answer, Ask, Fence, LeaseId, PageData, Properties, Receipt, Snapshot, Source, Target, View};

type Verdict = dyn Fn(&'static str, PageRange) -> Option<StoreError> + Send + Sync;

/// A store in which a page request fails where a verdict says so.
#[derive(Clone)]
pub struct Faulty<T> {
    inner: T,
    verdict: Arc<Verdict>,
}

impl<T> Faulty<T> {
    /// `inner`, except that a request named by its operation and range fails with what `verdict` returns for it.
    pub fn new(
        inner: T,
        verdict: impl Fn(&'static str, PageRange) -> Option<StoreError> + Send + Sync + 'static,
    ) -> Faulty<T> {
        Faulty { inner, verdict: Arc::new(verdict) }
    }

    async fn around<R>(
        &self,
        what: &'static str,
        range: PageRange,
        request: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        match (self.verdict)(what, range) {
            Some(error) => Err(error),
            None => request.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

crate::delegate!(Faulty);
