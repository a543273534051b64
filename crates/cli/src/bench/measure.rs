//! The measurements, one by one: each makes what it needs, watches what happens, and deletes what it made. Those that only
//! watch the service are in [`copies`](crate::bench::copies).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use pageferry_azure::PageBlob;
use pageferry_core::{Change, Metadata, PAGE_BYTES, PageRange, Pages, SnapshotId};
use pageferry_store::{Fence, LeaseId, PageData, Receipt, Source, StoreError, Target, View};
use pageferry_transfer::{Brakes, Budget, Ending, Mover, Progress, Route, Stored, transfer};
use rand::RngCore;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bench::made::Made;
use crate::bench::meter::{Counts, Meter, Metered};
use crate::bench::stats::{Counters, Latency, Sample};
use crate::human::briefly;
use crate::place::Place;

/// The metadata entry of what is made here.
pub(crate) const OURS: &str = "pageferrybench";

/// How long a lease on a blob of ours lasts, and how often it is renewed.
const LEASE: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(15);

/// How long requests may take to settle after a stop that was asked for.
const SETTLE: Duration = Duration::from_secs(5);

/// As much random data as is made; what is written begins at a different place in it each time.
const NOISE_BYTES: usize = 8 << 20;

/// As many requests of this machine's own as fit the engine's memory.
const MEMORY_REQUESTS: usize = 64;

/// The largest page write.
const REQUEST_BYTES: u64 = 4 << 20;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Get Blob of the source by this machine.
    Read,
    /// Put Page to the target by this machine.
    Write,
    /// The engine that `sync` uses: through this machine.
    Relay,
    /// Put Page From URL: from service to service, as this machine says.
    Service,
    /// Copy Blob.
    Copy,
    /// Incremental Copy Blob.
    Incremental,
}

/// What came of a measurement.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Measured(Figures),
    /// Why there is no number.
    NotMeasured(String),
    /// It failed, and should not have.
    Failed(StoreError),
}

/// The numbers of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    #[serde(skip)]
    pub(crate) took: Duration,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) read_latency: Option<Latency>,
    pub(crate) write_latency: Option<Latency>,
    /// What else a reader must know.
    pub(crate) note: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// What is measured on, and within which bounds.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Where the source is: each measurement finds out for itself how much it takes.
    pub(crate) disk: Place,
    pub(crate) source: PageBlob,
    pub(crate) snapshot: SnapshotId,
    pub(crate) disk_bytes: u64,
    /// The part of the source that is used: writes that ascend, each within one request.
    pub(crate) changes: Vec<Change>,
    /// How much that is.
    pub(crate) used_bytes: u64,
    /// How much may be copied at most where that cannot be stopped.
    pub(crate) size_bytes: u64,
    pub(crate) limit: Duration,
    pub(crate) target: Place,
    pub(crate) stop: CancellationToken,
}

impl What {
    pub(crate) const ALL: [What; 6] =
        [What::Read, What::Write, What::Relay, What::Service, What::Copy, What::Incremental];

    /// What it is called.
    pub(crate) fn label(self) -> &'static str {
        match self {
            What::Read => "source read",
            What::Write => "target write",
            What::Relay => "relay engine",
            What::Service => "service engine",
            What::Copy => "Copy Blob",
            What::Incremental => "Incremental Copy Blob",
        }
    }

    /// What it is, in a few words.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            What::Read => "this machine reads the source, with checksums (Get Blob)",
            What::Write => "this machine writes random data to the target (Put Page)",
            What::Relay => "what a sync does: read here, write there, through this machine",
            What::Service => "the target's service fetches each range itself (Put Page From URL)",
            What::Copy => "the service copies the whole snapshot on its own",
            What::Incremental => "the service keeps a copy of its own, here with its first snapshot",
        }
    }

    /// What its blob is named.
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Read => "read",
            What::Write => "write",
            What::Relay => "relay",
            What::Service => "service",
            What::Copy => "copy",
            What::Incremental => "incremental",
        }
    }
}

impl Ground {
    /// Measures `what`. Whatever it makes is entered in `made` before.
    pub(crate) async fn measure(&self, what: What, made: &mut Made) -> Outcome {
        let outcome = match what {
            What::Read => self.read().await,
            What::Write => self.write(made).await,
            What::Relay => self.engine(what, Mover::Relay, made).await,
            What::Service => match self.engine(what, Mover::Service, made).await {
                // Not every pair can: that is an answer, and no failure.
                Err(error) if error.failure().operation == "Put Page From URL" => {
                    return Outcome::NotMeasured(briefly(&error));
                }
                outcome => outcome,
            },
            What::Copy | What::Incremental => return self.copy(what, made).await,
        };
        outcome.map_or_else(Outcome::Failed, Outcome::Measured)
    }

    fn view(&self) -> View {
        View::Snapshot(self.snapshot.clone())
    }

    async fn read(&self) -> Result<Figures, StoreError> {
        let meter = Meter::new(Counts::Reads);
        let (source, view) = (Metered::new(self.disk.beside("")?, &meter), self.view());
        let (source, view) = (&source, &view);
        let ranges = self.changes.iter().map(|change| change.range);
        let read = async |range| source.read(view, range, None).await.map(|(_, receipt)| receipt);
        let (done, took, samples) = meter.watch(self.pump(source, ranges, read)).await;
        done?;
        Ok(self.figures(&meter, took, samples))
    }

    async fn write(&self, made: &mut Made) -> Result<Figures, StoreError> {
        let size = Pages::new(self.used_bytes / PAGE_BYTES);
        self.on_a_blob(What::Write, size, made, async |blob, fence| {
            let meter = Meter::new(Counts::Writes);
            let target = Metered::new(blob, &meter);
            let (noise, sent) = (Noise::new(), AtomicUsize::new(0));
            let ranges =
                PageRange::whole(size).into_iter().flat_map(|whole| whole.cut(Pages::new(REQUEST_BYTES / PAGE_BYTES)));
            let (target, noise, sent, fence) = (&target, &noise, &sent, &fence);
            let write = async |range: PageRange| {
                let data = PageData::new(noise.piece(sent.fetch_add(1, Ordering::Relaxed), range.bytes()));
                target.write(range, &data, fence).await
            };
            let (done, took, samples) = meter.watch(self.pump(target, ranges, write)).await;
            done?;
            Ok(self.figures(&meter, took, samples))
        })
        .await
    }

    /// What a sync does, with the bytes moved by `mover`.
    async fn engine(&self, what: What, mover: Mover, made: &mut Made) -> Result<Figures, StoreError> {
        let end = self.changes.last().map_or(Pages::ZERO, |change| change.range.end());
        self.on_a_blob(what, end, made, async |blob, fence| {
            let meter = Meter::new(Counts::Writes);
            let (source, target) = (Metered::new(self.disk.beside("")?, &meter), Metered::new(blob, &meter));
            let route = Route {
                source: Arc::new(source),
                view: self.view(),
                target: Arc::new(target),
                fence,
                compare: false,
                mover,
                stored: Stored::default(),
            };
            let changes = stream::iter(self.changes.iter().copied().map(Ok::<_, StoreError>));
            let (progress, _) = watch::channel(Progress::default());
            let brakes = Brakes { stop: self.until_stopped(), abandon: self.until_abandoned() };
            let work = transfer(&route, changes, Pages::ZERO, Budget::default(), &progress, brakes);
            let (done, took, samples) = meter.watch(work).await;
            match done?.1 {
                Ending::Failed(error) => Err(error),
                Ending::Complete | Ending::Stopped => Ok(self.figures(&meter, took, samples)),
            }
        })
        .await
    }

    /// Makes a blob of `size`, lets `work` write to it under a lease, and deletes it.
    async fn on_a_blob(
        &self,
        what: What,
        size: Pages,
        made: &mut Made,
        work: impl AsyncFnOnce(PageBlob, Fence) -> Result<Figures, StoreError>,
    ) -> Result<Figures, StoreError> {
        let blob = self.target.beside(&made.suffix(what.name()))?;
        made.enter(&blob);
        let metadata = Metadata::from([(OURS.to_owned(), made.id().to_owned())]);
        let created = blob.create(size, &metadata).await;
        created.inspect_err(|error| made.forget_unless_doubtful(&blob, error))?;
        let fence = Fence { lease: LeaseId(guid()), epoch: 0 };
        let result = async {
            blob.acquire(&fence.lease, LEASE, None).await?;
            tokio::select! {
                lost = keep(&blob, &fence.lease) => Err(lost),
                result = work(blob.clone(), fence.clone()) => result,
            }
        };
        let result = result.await;
        made.discard(&blob).await;
        result
    }

    /// Sends `request` for each of `ranges`, as many at once as the engine would, until the time is up.
    async fn pump(
        &self,
        blob: &impl Source,
        ranges: impl Iterator<Item = PageRange>,
        request: impl AsyncFn(PageRange) -> Result<Receipt, StoreError>,
    ) -> Result<(), StoreError> {
        let mut under_way = FuturesUnordered::new();
        let (stopped, abandoned) = (self.until_stopped(), self.until_abandoned());
        let (mut stopped, mut abandoned) = (std::pin::pin!(stopped), std::pin::pin!(abandoned));
        let (mut ranges, mut sending, mut first) = (ranges.peekable(), true, Ok(()));
        let request = &request;
        loop {
            let most = blob.in_flight_max().min(MEMORY_REQUESTS);
            while sending
                && under_way.len() < most
                && let Some(range) = ranges.next()
            {
                under_way.push(request(range));
            }
            tokio::select! {
                biased;
                () = &mut abandoned => return first,
                () = &mut stopped, if sending => sending = false,
                settled = under_way.next() => match settled {
                    None => return first,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        sending = false;
                        first = first.and(Err(error));
                    }
                },
            }
        }
    }

    fn figures(&self, meter: &Meter, took: Duration, samples: Vec<Sample>) -> Figures {
        let Counters { bytes, requests, refused, .. } = meter.counters();
        let (read_latency, write_latency) = meter.latencies();
        let note = (took >= self.limit).then(|| format!("ended after {} s", self.limit.as_secs()));
        Figures { bytes, took, requests, refused, read_latency, write_latency, note, samples }
    }

    /// The time is up, or somebody asked to stop.
    pub(crate) fn until_stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let (limit, stop) = (self.limit, self.stop.clone());
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(limit) => {}
            }
        }
    }

    /// Somebody asked to stop, and what was under way had its time.
    fn until_abandoned(&self) -> impl Future<Output = ()> + Send + use<> {
        let stop = self.stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Renews the lease for ever; returns why it cannot be renewed any more.
async fn keep(blob: &PageBlob, lease: &LeaseId) -> StoreError {
    loop {
        tokio::time::sleep(RENEW).await;
        if let Err(error) = blob.renew(lease).await {
            return error;
        }
    }
}

/// A fresh id for a lease.
fn guid() -> String {
    let (a, b) = (rand::random::<u64>(), rand::random::<u64>());
    let (high, low) = (b >> 48 & 0x3FFF | 0x8000, b & 0xFFFF_FFFF_FFFF);
    format!("{:08x}-{:04x}-4{:03x}-{high:04x}-{low:012x}", a >> 32, a >> 16 & 0xFFFF, a & 0xFFF)
}

/// Bytes that nothing between here and the target can make smaller.
struct Noise(Bytes);

impl Noise {
    fn new() -> Noise {
        let mut bytes = vec![0; NOISE_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Noise(bytes.into())
    }

    /// `bytes` of it, at most half, for the request with this number.
    fn piece(&self, number: usize, bytes: u64) -> Bytes {
        let length = usize::try_from(bytes).unwrap_or(NOISE_BYTES / 2).min(NOISE_BYTES / 2);
        // A step that is coprime to the half of it comes to every place before it comes to one again.
        let start = number.wrapping_mul(1_000_003) % (NOISE_BYTES / 2);
        self.0.slice(start..start + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_long_as_it_must_be_and_never_twice_the_same() {
        let noise = Noise::new();
        let piece = |number| noise.piece(number, REQUEST_BYTES);
        assert_eq!(piece(0).len() as u64, REQUEST_BYTES);
        assert_ne!(piece(0), piece(1));
        assert_ne!(piece(1), piece(2));
        assert_eq!(noise.piece(usize::MAX, 512).len(), 512);
    }

    #[test]
    fn lease_ids_are_guids() {
        let id = guid();
        let shape: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12], "{id}");
        assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
    }
}
