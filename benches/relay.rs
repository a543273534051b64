//! Bench 1: relaying a dense disk at full speed over loopback: processor time and throughput, against a relay of raw
//! sockets that computes nothing, and memory against the byte budget.
//!
//! `cargo bench -p pageferry-benches --bench relay [-- MIB]`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use pageferry_azure::Side;
use pageferry_benches::raw::{self, Path};
use pageferry_benches::service::{Service, dense, fence, make_disk, served, take};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, usage};
use pageferry_core::{Change, Pages};
use pageferry_store::View;
use pageferry_transfer::{Brakes, Budget, Ending, Mover, Progress, Route, Stored, transfer};

const LANES: usize = 8;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let disk_mib: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1024);
    let disk_bytes = disk_mib << 20;
    let service = Service::start();
    let (disk, snapshot) = make_disk(&service.url("disk"), disk_bytes, dense(disk_bytes)).await;
    let target = blob(&service.url("backup"), Side::Target, None);
    take(&target, disk_bytes).await;
    let raw_target = blob(&service.url("raw"), Side::Target, None);
    take(&raw_target, disk_bytes).await;
    let route = Route {
        source: Arc::new(disk),
        view: View::Snapshot(snapshot.clone()),
        target: Arc::new(target),
        fence: fence(),
        compare: false,
        mover: Mover::Relay,
        stored: Stored::default(),
    };
    let mut table = Table::new("relay");
    table.row("disk", mib(disk_bytes), "MiB");
    let (from, to) = (format!("{}?snapshot={snapshot}", service.path("disk")), service.path("raw"));
    // The first round fills both blobs, and what the emulator's memory costs then is nobody's affair here.
    let mut best = [Round::default(); 2];
    for round in 0..5 {
        let ours = {
            let started = Started::now(&service);
            engine(&route, disk_bytes).await;
            started.stop(&service, disk_bytes)
        };
        let raw = {
            let started = Started::now(&service);
            let host = service.authority();
            let connect = || raw::plain(host);
            let path = Path { host, from: &from, to: &to, lease: &fence().lease.0, connect: &connect };
            tokio::task::block_in_place(|| raw::relay(&path, LANES, dense(disk_bytes)));
            started.stop(&service, disk_bytes)
        };
        if round > 0 {
            best = [best[0].better(ours), best[1].better(raw)];
        }
        eprintln!("{round}: ours {ours:?}, raw {raw:?}");
    }
    let [ours, raw] = best;
    table.row("raw sockets, 8 lanes: processor time", raw.cpu, "s/GiB");
    table.row("raw sockets, 8 lanes: throughput", raw.rate, "MiB/s");
    table.row("the service meanwhile: processor time", raw.service_cpu, "s/GiB");
    table.compared("relay: processor time", ours.cpu, "s/GiB", raw.cpu, Limit::AtMost(1.5));
    table.compared("relay: throughput", ours.rate, "MiB/s", raw.rate, Limit::AtLeast(0.85));
    table.against("the service meanwhile: processor time", ours.service_cpu, "s/GiB", raw.service_cpu);
    let limit = mib(Budget::default().bytes) + 64.0;
    table.limited("memory at its peak", mib(usage::mine().peak_bytes), "MiB", Limit::AtMost(limit));
    table.finish()
}

/// What one pass over the disk cost.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    cpu: f64,
    service_cpu: f64,
    rate: f64,
}

impl Round {
    /// The least that either took: what comes on top of it is the machine's other business.
    fn better(self, other: Round) -> Round {
        let least = |a: f64, b: f64| if a == 0.0 { b } else { a.min(b) };
        Round {
            cpu: least(self.cpu, other.cpu),
            service_cpu: least(self.service_cpu, other.service_cpu),
            rate: self.rate.max(other.rate),
        }
    }
}

struct Started {
    at: Instant,
    cpu: f64,
    service_cpu: f64,
}

impl Started {
    fn now(service: &Service) -> Started {
        let service_cpu = usage::used(service.pid()).cpu_seconds;
        Started { at: Instant::now(), cpu: usage::mine().cpu_seconds, service_cpu }
    }

    fn stop(self, service: &Service, bytes: u64) -> Round {
        let gib = mib(bytes) / 1024.0;
        Round {
            cpu: (usage::mine().cpu_seconds - self.cpu) / gib,
            service_cpu: (usage::used(service.pid()).cpu_seconds - self.service_cpu) / gib,
            rate: mib(bytes) / self.at.elapsed().as_secs_f64(),
        }
    }
}

async fn engine(route: &Route<pageferry_azure::PageBlob, pageferry_azure::PageBlob>, disk_bytes: u64) {
    let changes = dense(disk_bytes).map(|range| Ok::<_, std::convert::Infallible>(Change::write(range)));
    let (progress, _) = tokio::sync::watch::channel(Progress::default());
    let brakes = Brakes { stop: std::future::pending(), abandon: std::future::pending() };
    let moved = transfer(route, futures::stream::iter(changes), Pages::ZERO, Budget::default(), &progress, brakes);
    let (moved, ending) = moved.await.expect("no listing to fail");
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    assert_eq!((moved.written_bytes, moved.refused), (disk_bytes, 0));
}
