//! Counting what passes: a store that keeps the books of its reads and writes, and the watching of a measurement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};
use pageferry_store::{
    Answer, Ask, Fence, LeaseId, PageData, Pass, Properties, Receipt, Snapshot, Source, StoreError, Target, View,
};
use tokio::time::{Instant, MissedTickBehavior};

use crate::bench::stats::{Counters, Latency, Sample, Series};

/// How often the counters are looked at.
pub(crate) const EVERY: Duration = Duration::from_millis(250);

/// Which of the two kinds of requests moves the bytes that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counts {
    Reads,
    Writes,
}

/// The books of one measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Counts,
    bytes: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    in_flight: AtomicU64,
    /// The most that were in flight since somebody looked.
    peak: AtomicU64,
    reads: Mutex<Vec<Duration>>,
    writes: Mutex<Vec<Duration>>,
}

/// A store whose page requests are entered in a meter's books.
#[derive(Debug)]
pub(crate) struct Metered<T> {
    inner: T,
    meter: Arc<Meter>,
}

/// Counts a request as under way for as long as it lives, however it ends.
struct UnderWay<'a>(&'a AtomicU64);

impl Meter {
    pub(crate) fn new(counts: Counts) -> Arc<Meter> {
        let zero = AtomicU64::default;
        let (reads, writes) = (Mutex::default(), Mutex::default());
        let (bytes, requests, refused, in_flight, peak) = (zero(), zero(), zero(), zero(), zero());
        Arc::new(Meter { counts, bytes, requests, refused, in_flight, peak, reads, writes })
    }

    /// The counters as they stand. To look is to begin a new interval.
    pub(crate) fn counters(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            bytes: of(&self.bytes),
            requests: of(&self.requests),
            refused: of(&self.refused),
            in_flight: self.peak.swap(of(&self.in_flight), Ordering::Relaxed),
        }
    }

    /// The latencies of reads and of writes.
    pub(crate) fn latencies(&self) -> (Option<Latency>, Option<Latency>) {
        let of = |list: &Mutex<Vec<Duration>>| {
            Latency::of(std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner)))
        };
        (of(&self.reads), of(&self.writes))
    }

    /// Runs `work` and looks at the books while it runs: its result, the time it took, and what happened in that time.
    pub(crate) async fn watch<R>(&self, work: impl Future<Output = R>) -> (R, Duration, Vec<Sample>) {
        let mut work = std::pin::pin!(work);
        let mut series = Series::default();
        let begun = Instant::now();
        let mut ticks = tokio::time::interval_at(begun + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let result = loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => series.push(begun.elapsed(), self.counters()),
                result = &mut work => break result,
            }
        };
        let took = begun.elapsed();
        series.push(took, self.counters());
        (result, took, series.samples())
    }

    fn begin(&self) -> UnderWay<'_> {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        UnderWay(&self.in_flight)
    }

    fn enter(&self, what: Counts, range: PageRange, went: Result<&Receipt, &StoreError>) {
        let (attempts, refused) = match went {
            Ok(receipt) => (receipt.attempts, receipt.refused),
            Err(error) => (error.failure().attempts, 0),
        };
        self.requests.fetch_add(attempts.into(), Ordering::Relaxed);
        self.refused.fetch_add(refused.into(), Ordering::Relaxed);
        let Ok(receipt) = went else { return };
        if what == self.counts {
            self.bytes.fetch_add(range.bytes(), Ordering::Relaxed);
        }
        let list = if what == Counts::Reads { &self.reads } else { &self.writes };
        list.lock().unwrap_or_else(PoisonError::into_inner).push(receipt.elapsed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Metered<T> {
    pub(crate) fn new(inner: T, meter: &Arc<Meter>) -> Metered<T> {
        Metered { inner, meter: Arc::clone(meter) }
    }
}

impl<T: Source> Source for Metered<T> {
    fn address(&self) -> String {
        self.inner.address()
    }

    fn in_flight_max(&self) -> usize {
        self.inner.in_flight_max()
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        self.inner.properties(view).await
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        self.inner.snapshots().await
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        self.inner.list(ask).await
    }

    async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
        self.inner.pass(view).await
    }

    async fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        let _under_way = self.meter.begin();
        let went = self.inner.read(view, range, if_match).await;
        self.meter.enter(Counts::Reads, range, went.as_ref().map(|(_, receipt)| receipt));
        went
    }
}

impl<T: Target> Target for Metered<T> {
    async fn create(&self, size: Pages, metadata: &Metadata) -> Result<Etag, StoreError> {
        self.inner.create(size, metadata).await
    }

    async fn acquire(
        &self,
        lease: &LeaseId,
        duration: Duration,
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
        let _under_way = self.meter.begin();
        let went = self.inner.write(range, data, fence).await;
        self.meter.enter(Counts::Writes, range, went.as_ref());
        went
    }

    async fn write_from(
        &self,
        range: PageRange,
        from: &Pass,
        fence: &Fence,
    ) -> Result<(Option<u64>, Receipt), StoreError> {
        let _under_way = self.meter.begin();
        let went = self.inner.write_from(range, from, fence).await;
        self.meter.enter(Counts::Writes, range, went.as_ref().map(|(_, receipt)| receipt));
        went
    }

    async fn clear(&self, range: PageRange, fence: &Fence) -> Result<Receipt, StoreError> {
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
