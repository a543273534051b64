//! Bench 1: relaying a dense disk at full speed over loopback, plain and under TLS: processor time and throughput against a
//! relay of raw sockets that computes nothing, and memory against the byte budget.
//!
//! `cargo bench -p pageferry-benches --bench relay [-- MIB]`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use pageferry_azure::{PageBlob, Side};
use pageferry_benches::moving::copy;
use pageferry_benches::raw::{self, Path, Socket};
use pageferry_benches::service::{Service, dense, fence, make_disk, served, take};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, tls, usage};
use pageferry_core::SnapshotId;
use pageferry_store::View;
use pageferry_transfer::Budget;

const LANES: usize = 8;

/// How often each way is gone. The first time fills the blobs, and what the emulator's memory costs then is nobody's
/// affair here.
const ROUNDS: u32 = 6;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    tls::with_certificates();
    let disk_mib: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1024);
    let disk_bytes = disk_mib << 20;
    let service = Service::start();
    let (disk, snapshot) = make_disk(&service.url("disk"), disk_bytes, dense(disk_bytes)).await;
    let (target, raw_target) =
        (blob(&service.url("backup"), Side::Target, None), blob(&service.url("raw"), Side::Target, None));
    take(&target, disk_bytes).await;
    take(&raw_target, disk_bytes).await;
    let mut table = Table::new("relay");
    table.row("disk", mib(disk_bytes), "MiB");
    let bench = Bench { service: &service, snapshot, disk_bytes };

    let host = service.authority();
    let (ours, raw) = bench.race(disk, target, host, &|| raw::plain(host)).await;
    report(&mut table, "plain", &ours, &raw, true);

    let (disk, target) = (
        blob(&service.secure_url("disk"), Side::Source, None),
        blob(&service.secure_url("backup"), Side::Target, None),
    );
    let (host, directory) = (service.secure_authority(), tls::certificates().expect("certificates"));
    let (ours, raw) = bench.race(disk, target, host, &|| tls::secure(host, &directory)).await;
    report(&mut table, "TLS", &ours, &raw, false);

    let limit = mib(Budget::default().bytes) + 64.0;
    table.limited("memory at its peak", mib(usage::mine().peak_bytes), "MiB", Limit::AtMost(limit));
    table.finish()
}

fn report(table: &mut Table, how: &str, ours: &Round, raw: &Round, must_keep: bool) {
    table.row(format!("{how}: raw sockets, {LANES} lanes: processor time"), raw.cpu, "s/GiB");
    table.row(format!("{how}: raw sockets, {LANES} lanes: throughput"), raw.rate, "MiB/s");
    if must_keep {
        table.compared(format!("{how}: relay: processor time"), ours.cpu, "s/GiB", raw.cpu, Limit::AtMost(1.5));
        table.compared(format!("{how}: relay: throughput"), ours.rate, "MiB/s", raw.rate, Limit::AtLeast(0.85));
    } else {
        table.against(format!("{how}: relay: processor time"), ours.cpu, "s/GiB", raw.cpu);
        table.against(format!("{how}: relay: throughput"), ours.rate, "MiB/s", raw.rate);
    }
    table.against(format!("{how}: the service under the relay"), ours.service_cpu, "s/GiB", raw.service_cpu);
}

struct Bench<'a> {
    service: &'a Service,
    snapshot: SnapshotId,
    disk_bytes: u64,
}

impl Bench<'_> {
    /// Goes both ways in turn; the best of either.
    async fn race(
        &self,
        disk: PageBlob,
        target: PageBlob,
        host: &str,
        connect: &(dyn Fn() -> Box<dyn Socket> + Sync),
    ) -> (Round, Round) {
        let (disk, target) = (Arc::new(disk), Arc::new(target));
        let from = format!("{}?snapshot={}", self.service.path("disk"), self.snapshot);
        let (to, lease) = (self.service.path("raw"), fence().lease.0);
        let mut best = (Round::default(), Round::default());
        for round in 0..ROUNDS {
            let started = Started::now(self.service);
            let view = View::Snapshot(self.snapshot.clone());
            let moved = copy(&disk, view, &target, dense(self.disk_bytes), Budget::default(), None).await;
            // Whoever watches it looks only now and then whether it is over.
            let rate = mib(self.disk_bytes) / moved.taken.as_secs_f64();
            let ours = Round { rate, ..started.stop(self.service, self.disk_bytes) };
            assert_eq!((moved.failed, moved.progress.written_bytes), (None, self.disk_bytes));

            let started = Started::now(self.service);
            let path = Path { host, from: &from, to: &to, lease: &lease, connect };
            tokio::task::block_in_place(|| raw::relay(&path, LANES, dense(self.disk_bytes)));
            let raw = started.stop(self.service, self.disk_bytes);
            if round > 0 {
                best = (best.0.better(ours), best.1.better(raw));
            }
        }
        best
    }
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
