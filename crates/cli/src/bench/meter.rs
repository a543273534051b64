//! Counting what passes: a store that keeps the books of its reads and writes, and the watching of a measurement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};
use pageferry_store::wrap::Receipted;
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

    fn enter(&self, what: Counts, range: PageRange, went: Result<Option<&Receipt>, &StoreError>) {
        let (attempts, refused) = match went {
            Ok(receipt) => receipt.map_or((0, 0), |receipt| (receipt.attempts, receipt.refused)),
            Err(error) => (error.failure().attempts, 0),
        };
        self.requests.fetch_add(attempts.into(), Ordering::Relaxed);
        self.refused.fetch_add(refused.into(), Ordering::Relaxed);
        let Ok(Some(receipt)) = went else { return };
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

    /// Reads and writes are entered; lists and clears only pass.
    async fn around<R: Receipted>(
        &self,
        what: &'static str,
        range: PageRange,
        request: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        let counts = match what {
            "Get Blob" => Counts::Reads,
            "Put Page" | "Put Page From URL" => Counts::Writes,
            _ => return request.await,
        };
        let _under_way = self.meter.begin();
        let went = request.await;
        self.meter.enter(counts, range, went.as_ref().map(Receipted::receipt));
        went
    }
}

pageferry_store::delegate!(Metered);
