//! Bench 3: a service that answers every read and every write 1, 20 or 80 ms later, and what is left of the throughput.
//!
//! What can be achieved is what raw sockets move without that delay on as many lanes as the byte budget has pieces of
//! 4 MiB, or the byte budget for each time that a piece needs: it waits once for its read and once for its write. Raw
//! sockets are measured just before and just after each run of the engine, and the mean of the two is taken, so that
//! neither the machine's other business nor memory that the service touches for the first time is anybody's merit.
//!
//! What the limit is on can be missed for two reasons, and there are rows that tell them apart. If pacing is at fault, a
//! fixed number in flight does better, and the engine with a delay does worse than without. If what the engine does with
//! each byte is, it does as badly without any delay, and its processor time is above that of the sockets.
//! A last row takes the processors out of it: with a byte budget so small that 80 ms bind and nothing else.
//!
//! `cargo bench -p pageferry-benches --bench latency [-- SECONDS]`, the length of each run

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pageferry_azure::{Options, PageBlob, Side};
use pageferry_benches::moving::copy;
use pageferry_benches::raw::{self, Path};
use pageferry_benches::service::{Service, blob_with, dense, discard, fence, served, take};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, usage};
use pageferry_core::{Metadata, PAGE_BYTES, PageRange, Pages};
use pageferry_emulator::faults::{Action, FaultScript, Operation, Pace, Rule};
use pageferry_pace::{Adaptive, Fixed, Pacer};
use pageferry_store::{Target, View};
use pageferry_transfer::Budget;

/// A disk on which nothing was written reads as zeros and costs the service no memory. The target does, so that a run
/// ends here even if its time is not over.
const DISK_BYTES: u64 = 8 << 30;

const PIECE_BYTES: u64 = 4 << 20;

/// With so small a budget the delay binds, and not the processors.
const SMALL_BYTES: u64 = 32 << 20;

/// How long the beginning takes that is left out of the steady state.
const SETTLED: Duration = Duration::from_secs(2);

/// Raw sockets need no time to find their speed.
const RAW: Duration = Duration::from_secs(4);

/// A run that is shorter than this shows mostly its beginning.
const LONG: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let seconds: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(12);
    let mut bench = Bench::new().await;
    let mut table = Table::new("latency");
    let budget = Budget::default();
    let lanes = usize::try_from(budget.bytes / PIECE_BYTES).expect("a few");
    table.row("byte budget", mib(budget.bytes), "MiB");
    table.row("lanes of the raw sockets", f64::from(u32::try_from(lanes).expect("a few")), "");
    // The first round fills the target, and what the service's memory costs then is nobody's affair here.
    bench.raw(0, lanes).await;
    for millis in [0, 1, 20, 80] {
        bench.measure(&mut table, millis, lanes, Duration::from_secs(seconds)).await;
    }
    table.finish()
}

struct Bench {
    service: Service,
    blobs: u32,
    /// What the engine did where nothing was delayed: what the delay alone costs is held against it.
    undelayed: Option<f64>,
}

/// MiB in a second.
struct Rates {
    whole: f64,
    steady: f64,
    taken: Duration,
    retried: u64,
    work: Work,
}

/// Processor time, in seconds for each GiB.
#[derive(Clone, Copy)]
struct Work {
    own: f64,
    service: f64,
}

impl Bench {
    async fn new() -> Bench {
        let service = Service::start();
        let disk = blob(&service.url("disk"), Side::Source, None);
        disk.create(Pages::new(DISK_BYTES / PAGE_BYTES), &Metadata::new()).await.expect("a disk");
        Bench { service, blobs: 0, undelayed: None }
    }

    /// The engine with one delay, and what it is held against.
    async fn measure(&mut self, table: &mut Table, millis: u64, lanes: usize, length: Duration) {
        let (before, _) = self.raw(0, lanes).await;
        let (delayed, raw_work) = self.raw(millis, lanes).await;
        let engine = self.engine(millis, length, Budget::default(), &|| Pacer::new(Adaptive::default())).await;
        let fixed = self.engine(millis, length, Budget::default(), &|| Pacer::new(Fixed(lanes))).await;
        let (after, _) = self.raw(0, lanes).await;
        let raw = f64::midpoint(before, after);
        let wait = Duration::from_millis(2 * millis).as_secs_f64();
        let bound = if millis == 0 { f64::INFINITY } else { mib(Budget::default().bytes) / wait };
        let achievable = raw.min(bound);
        let at = format!("{millis} ms");
        table.row(format!("{at}: raw sockets without the delay, before"), before, "MiB/s");
        table.row(format!("{at}: raw sockets without the delay, after"), after, "MiB/s");
        if millis > 0 {
            table.row(format!("{at}: byte budget for each time two answers take"), bound, "MiB/s");
        }
        table.against(format!("{at}: raw sockets with the delay"), delayed, "MiB/s", achievable);
        table.row(format!("{at}: the engine's run"), engine.taken.as_secs_f64(), "s");
        table.row(
            format!("{at}: refused or broken"),
            f64::from(u32::try_from(engine.retried).expect("few")),
            "requests",
        );
        table.against(format!("{at}: processor time, the engine"), engine.work.own, "s/GiB", raw_work.own);
        table.against(format!("{at}: and the service"), engine.work.service, "s/GiB", raw_work.service);
        match self.undelayed {
            None => self.undelayed = Some(engine.whole),
            Some(undelayed) => {
                table.against(format!("{at}: to the engine without delay"), engine.whole, "MiB/s", undelayed)
            }
        }
        table.against(format!("{at}: the same with {lanes} in flight at either end"), fixed.whole, "MiB/s", achievable);
        if millis == 80 {
            let budget = Budget { bytes: SMALL_BYTES, ..Budget::default() };
            let small = self.engine(millis, length, budget, &|| Pacer::new(Adaptive::default())).await;
            let bound = raw.min(mib(SMALL_BYTES) / wait);
            let what = format!("{at}: byte budget {} MiB", mib(SMALL_BYTES));
            table.against(format!("{what}, whole run"), small.whole, "MiB/s", bound);
            table.against(format!("{what}, after two seconds"), small.steady, "MiB/s", bound);
        }
        // A run that ended with the disk before ten seconds shows its beginning, and is judged without it.
        let judged_whole = engine.taken >= LONG;
        let rows = [("whole run", engine.whole, judged_whole), ("after two seconds", engine.steady, !judged_whole)];
        for (part, rate, judged) in rows {
            let what = format!("{at}: the engine, {part}");
            if judged && millis == 80 {
                table.compared(what, rate, "MiB/s", achievable, Limit::AtLeast(0.9));
            } else {
                table.against(what, rate, "MiB/s", achievable);
            }
        }
    }

    /// Moves the disk with a pacer that knows nothing yet.
    async fn engine(
        &mut self,
        millis: u64,
        length: Duration,
        budget: Budget,
        pacer: &(dyn Fn() -> Pacer + Sync),
    ) -> Rates {
        let (name, cleared) = self.target().await;
        let options = || Options { pacer: Some(Arc::new(pacer())), ..Options::default() };
        let target = Arc::new(blob_with(&self.service.url(&name), Side::Target, options()));
        self.delay(millis);
        // Blobs learn of the service what they keep: each run begins with new ones.
        let disk = Arc::new(blob_with(&self.service.url("disk"), Side::Source, options()));
        let used = self.used();
        let moved = copy(&disk, View::Base, &target, dense(DISK_BYTES), budget, Some(length)).await;
        let work = self.used().since(used, moved.progress.written_bytes);
        self.delay(0);
        discard(&cleared, DISK_BYTES).await;
        assert_eq!(moved.failed, None);
        let (taken, written) = (moved.taken, moved.progress.written_bytes);
        // What is in flight at the end still counts for the whole; the steady state ends with the last full look before.
        let steady_end = taken.min(length);
        let steady = mib(moved.between(SETTLED, steady_end)) / (steady_end - SETTLED).as_secs_f64();
        Rates { whole: mib(written) / taken.as_secs_f64(), steady, taken, retried: moved.progress.refused, work }
    }

    /// Raw sockets with a delay: MiB in a second, and what it took.
    async fn raw(&mut self, millis: u64, lanes: usize) -> (f64, Work) {
        let (name, target) = self.target().await;
        self.delay(millis);
        let host = self.service.authority();
        let (from, to) = (self.service.path("disk"), self.service.path(&name));
        let connect = || raw::plain(host);
        let path = Path { host, from: &from, to: &to, lease: &fence().lease.0, connect: &connect };
        let (begun, used) = (Instant::now(), self.used());
        let mut moved = 0;
        let ranges = dense(DISK_BYTES).take_while(|_| begun.elapsed() < RAW);
        let counted = ranges.inspect(|range: &PageRange| moved += range.bytes());
        tokio::task::block_in_place(|| raw::relay(&path, lanes, counted));
        let rate = mib(moved) / begun.elapsed().as_secs_f64();
        let work = self.used().since(used, moved);
        self.delay(0);
        discard(&target, DISK_BYTES).await;
        (rate, work)
    }

    /// Processor time so far, in seconds.
    fn used(&self) -> Work {
        Work { own: usage::mine().cpu_seconds, service: usage::used(self.service.pid()).cpu_seconds }
    }

    async fn target(&mut self) -> (String, PageBlob) {
        self.blobs += 1;
        let name = format!("target{}", self.blobs);
        let target = blob(&self.service.url(&name), Side::Target, None);
        take(&target, DISK_BYTES).await;
        (name, target)
    }

    fn delay(&mut self, millis: u64) {
        let slow = || Action::Slow(Pace { first: millis, ..Pace::default() });
        let script = FaultScript::new(0);
        self.service.set_faults(&match millis {
            0 => script,
            _ => script.rule(Rule::new(slow()).on(Operation::GetBlob).on(Operation::PutPageUpdate)),
        });
    }
}

impl Work {
    /// What moving `bytes` took since then.
    fn since(self, before: Work, bytes: u64) -> Work {
        let gib = mib(bytes) / 1024.0;
        Work { own: (self.own - before.own) / gib, service: (self.service - before.service) / gib }
    }
}
