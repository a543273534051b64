//! The pipeline: changes in page order go in, durable pages come out.
//!
//! [`transfer`] is one loop that owns every counter: what is in flight, how many bytes that may hold, how fast to go,
//! how far the step is durable. Workers carry out one change each and return what happened; they share nothing. Nothing
//! here knows HTTP, lineage or files.
//!
//! Changes may finish in any order because they are disjoint and idempotent. A stop sends no more and lets what is in
//! flight settle; so does the first failure.

mod relay;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use pageferry_core::watermark::Tracker;
use pageferry_core::{Change, Kind, PageRange, Pages};
use pageferry_store::{ErrorKind, Fence, Source, StoreError, Target, View};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use relay::{Mover, Settled};

/// How much may be under way at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Bytes held in memory between read and write. A single larger request still goes, alone.
    pub bytes: u64,
    /// Changes in flight, whatever either end would take.
    pub requests: usize,
    /// How far sending may run past the oldest unfinished change, so that the watermark follows closely.
    pub reach: Pages,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { bytes: 256 << 20, requests: 128, reach: Pages::new((64u64 << 30) / pageferry_core::PAGE_BYTES) }
    }
}

/// Where a transfer stands. Published after every settled change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Every change below this page is durable.
    pub watermark: Pages,
    /// Bytes written to the target.
    pub written_bytes: u64,
    /// Bytes cleared on the target.
    pub cleared_bytes: u64,
    /// Changes carried out.
    pub changes: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Of these, refused for load or broken on the way.
    pub refused: u64,
    /// Changes in flight.
    pub in_flight: usize,
    /// When the last write ended whose outcome is not known.
    pub unknown_at: Option<Instant>,
}

/// How a transfer ended.
#[derive(Debug)]
pub enum Ending {
    /// Every change is durable.
    Complete,
    /// It was asked to stop; nothing is in flight.
    Stopped,
    /// A change failed for good; nothing is in flight.
    Failed(StoreError),
}

/// How a transfer is ended early.
#[derive(Debug)]
pub struct Brakes<S, A> {
    /// When it completes, no more is sent, and what is in flight settles.
    pub stop: S,
    /// When it completes, nothing is waited for any more.
    pub abandon: A,
}

/// What to copy from and to.
#[derive(Debug)]
pub struct Route<S, T> {
    /// The disk.
    pub source: Arc<S>,
    /// The picture of it that is copied: immutable.
    pub view: View,
    /// The target.
    pub target: Arc<T>,
    /// What every write carries.
    pub fence: Fence,
    /// Read the target first, and write only the pages that differ.
    pub compare: bool,
    /// Who moves the bytes, where nothing is compared.
    pub mover: Mover,
    /// Told of every range that the service moved, with the checksum it computed.
    pub stored: Stored,
}

/// Hears of ranges that the service moved by itself. Must not block.
#[derive(Clone)]
pub struct Stored(Arc<dyn Fn(PageRange, u64) + Send + Sync>);

impl Stored {
    /// `hear` is told.
    pub fn new(hear: impl Fn(PageRange, u64) + Send + Sync + 'static) -> Stored {
        Stored(Arc::new(hear))
    }
}

impl Default for Stored {
    /// Nobody is told.
    fn default() -> Stored {
        Stored::new(|_, _| ())
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored")
    }
}

/// Carries out `changes`, which ascend, are disjoint, and fit one request each.
///
/// `floor` is a watermark reached before. Progress goes to `progress`, and the final state of it is returned. An error from the stream of changes ends the transfer as a failed change does.
pub async fn transfer<S: Source, T: Target, E>(
    route: &Route<S, T>,
    changes: impl Stream<Item = Result<Change, E>> + Send,
    floor: Pages,
    budget: Budget,
    progress: &watch::Sender<Progress>,
    brakes: Brakes<impl Future<Output = ()> + Send, impl Future<Output = ()> + Send>,
) -> Result<(Progress, Ending), E> {
    let mut changes = std::pin::pin!(changes.fuse());
    let (mut stop, mut abandon) = (std::pin::pin!(brakes.stop), std::pin::pin!(brakes.abandon));
    let holds = Holds { compare: route.compare, mover: route.mover };
    let mut work =
        Work { holds, tracker: Tracker::new(floor), bytes: 0, now: Progress::default(), in_flight: JoinSet::new() };
    work.now.watermark = floor;
    let mut held: Option<Change> = None;
    let (mut ending, mut broken) = (Ending::Complete, None);
    let (mut sending, mut listed) = (true, false);
    loop {
        if sending && let Some(change) = held.take_if(|change| work.admits(*change, route, budget)) {
            work.send(route, change);
        }
        if work.in_flight.is_empty() && (!sending || listed && held.is_none()) {
            break;
        }
        let full = work.in_flight.len() >= in_flight_max(route, budget);
        tokio::select! {
            biased;
            () = &mut abandon => {
                if !matches!(ending, Ending::Failed(_)) {
                    ending = Ending::Stopped;
                }
                work.abandon();
                break;
            }
            () = &mut stop, if sending => {
                sending = false;
                ending = Ending::Stopped;
            }
            Some(joined) = work.in_flight.join_next() => {
                let joined = joined.unwrap_or_else(|panic| Err(worker_lost(&route.target.address(), &panic)));
                match joined {
                    Ok(settled) => {
                        if let Some(crc) = settled.crc {
                            (route.stored.0)(settled.change.range, crc);
                        }
                        work.settle(settled);
                        progress.send_replace(work.now);
                    }
                    Err(error) => {
                        sending = false;
                        if !matches!(ending, Ending::Failed(_)) {
                            ending = Ending::Failed(error);
                        }
                    }
                }
            }
            next = changes.next(), if sending && !listed && held.is_none() && !full => match next {
                Some(Ok(change)) => held = Some(change),
                Some(Err(error)) => {
                    sending = false;
                    broken = Some(error);
                }
                None => listed = true,
            },
        }
    }
    progress.send_replace(work.now);
    broken.map_or(Ok((work.now, ending)), Err)
}

/// What the loop owns.
struct Work {
    holds: Holds,
    tracker: Tracker,
    bytes: u64,
    now: Progress,
    in_flight: JoinSet<Result<Settled, StoreError>>,
}

impl Work {
    /// Whether `change` may be sent now. Something always may while nothing is in flight.
    fn admits<S: Source, T: Target>(&self, change: Change, route: &Route<S, T>, budget: Budget) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() < in_flight_max(route, budget)
                && self.bytes + self.holds.bytes(change) <= budget.bytes
                && self.tracker.spread() < budget.reach)
    }

    fn send<S: Source, T: Target>(&mut self, route: &Route<S, T>, change: Change) {
        self.tracker.sent(change.range);
        self.bytes += self.holds.bytes(change);
        let (source, target) = (Arc::clone(&route.source), Arc::clone(&route.target));
        let (view, fence) = (route.view.clone(), route.fence.clone());
        let Holds { compare, mover } = self.holds;
        self.in_flight
            .spawn(async move { relay::relay(&*source, &view, &*target, &fence, change, compare, mover).await });
        self.now.in_flight = self.in_flight.len();
    }

    /// Waits for nothing any more. What was under way may have been applied, or may still be.
    fn abandon(&mut self) {
        if !self.in_flight.is_empty() {
            self.in_flight.abort_all();
            self.now.unknown_at = Some(Instant::now());
            self.now.in_flight = 0;
        }
    }

    fn settle(&mut self, settled: Settled) {
        self.tracker.finished(settled.change.range);
        self.bytes -= self.holds.bytes(settled.change);
        let now = &mut self.now;
        match settled.change.kind {
            Kind::Write => now.written_bytes += settled.written_bytes,
            Kind::Clear => now.cleared_bytes += settled.change.range.bytes(),
        }
        now.changes += 1;
        now.requests += u64::from(settled.requests());
        now.refused += u64::from(settled.refused());
        now.unknown_at = now.unknown_at.max(settled.sent.unknown_at);
        now.in_flight = self.in_flight.len();
        now.watermark = self.tracker.watermark();
    }
}

/// How many changes may be under way. Each is at one of both ends at a time, and how many that end wants is its own to say.
fn in_flight_max<S: Source, T: Target>(route: &Route<S, T>, budget: Budget) -> usize {
    budget.requests.min(route.source.in_flight_max().saturating_add(route.target.in_flight_max())).max(1)
}

/// What changes hold in memory while they are in flight.
#[derive(Clone, Copy)]
struct Holds {
    compare: bool,
    mover: Mover,
}

impl Holds {
    /// A clear carries no data, nor does what the service moves; a comparison carries twice as much.
    fn bytes(self, change: Change) -> u64 {
        match (change.kind, self.compare, self.mover) {
            (Kind::Write, true, _) => change.range.bytes() * 2,
            (Kind::Write, false, Mover::Relay) => change.range.bytes(),
            (Kind::Write, false, Mover::Service) | (Kind::Clear, ..) => 0,
        }
    }
}

fn worker_lost(target: &str, panic: &tokio::task::JoinError) -> StoreError {
    StoreError::new(ErrorKind::Integrity, "Put Page", target, format!("a worker ended abnormally: {panic}"))
}
