//! Relaying a dense disk at full speed over loopback: throughput, and memory against the byte budget.
//!
//! The service is the emulator in a process of its own (this one, started again), so that the memory measured is the
//! engine's. `cargo bench -p pageferry-benches --bench relay [-- MIB]`

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pageferry_azure::Side;
use pageferry_benches::{blob, mib, resident_bytes, row};
use pageferry_core::next::Want;
use pageferry_core::{Metadata, PAGE_BYTES, PageRange, Pages};
use pageferry_emulator::{Config, Emulator, Request};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Options};
use pageferry_store::{Fence, LeaseId, PageData, Target};

const PIECE: u64 = 4 << 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::args().any(|word| word == "--serve") {
        return serve().await;
    }
    let disk_mib: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(2048);
    let program = std::env::current_exe().expect("this program has a name");
    let mut child = Command::new(program).arg("--serve").stdout(Stdio::piped()).spawn().expect("the emulator starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("its address");
    let result = tokio::time::timeout(Duration::from_secs(300), relay(first.trim(), disk_mib << 20)).await;
    child.kill().and_then(|()| child.wait()).expect("the emulator stops");
    result.expect("five minutes are enough");
}

async fn relay(url: &str, disk_bytes: u64) {
    make_disk(url, disk_bytes).await;
    let options = Options::default();
    let budget = options.budget.bytes;
    let (source, target) = (format!("{url}/disk"), format!("{url}/backup"));
    let engine = Engine::new(blob(&source, Side::Source, None), blob(&target, Side::Target, None), options);
    let (before, _) = resident_bytes();
    let begun = Instant::now();
    let report = sync(&engine, &Want::Next).await.expect("a seed");
    let taken = begun.elapsed();
    let (_, peak) = resident_bytes();
    assert_eq!(report.steps[0].written_bytes, disk_bytes);
    row("disk", &mib(disk_bytes), "");
    row("time from taking the target to the point", &format!("{:.2} s", taken.as_secs_f64()), "");
    let rate = u128::from(disk_bytes >> 10) * 1000 / 1024 / taken.as_millis().max(1);
    row("moved, both sides and the emulator on this machine", &format!("{rate} MiB/s"), "");
    row("memory before", &mib(before), "");
    let limit = budget + (64 << 20);
    row("memory at its peak", &mib(peak), &format!("limit {}: the budget and 64 MiB", mib(limit)));
    assert!(peak < limit, "relaying took {} of memory", mib(peak));
}

/// A disk every page of which is written, and a snapshot of it.
async fn make_disk(url: &str, disk_bytes: u64) {
    let disk = blob(&format!("{url}/disk"), Side::Source, None);
    disk.create(Pages::new(disk_bytes / PAGE_BYTES), &Metadata::new()).await.expect("a disk");
    let lease = LeaseId("5c1d3c2e-7f5a-4a3e-9a55-3f7f2b6a0c11".to_owned());
    disk.acquire(&lease, Duration::from_secs(60), None).await.expect("a lease");
    let fence = Fence { lease: lease.clone(), epoch: 0 };
    let pattern: Vec<u8> = (0..PIECE).map(|at| u8::try_from(at * 31 % 251).unwrap_or_default()).collect();
    let data = PageData::new(Bytes::from(pattern));
    let whole = PageRange::whole(Pages::new(disk_bytes / PAGE_BYTES)).expect("some pages");
    for range in whole.cut(Pages::new(PIECE / PAGE_BYTES)) {
        disk.write(range, &data, &fence).await.expect("a write");
    }
    disk.release(&lease).await.expect("a release");
    disk.snapshot(None, None).await.expect("a snapshot");
}

#[expect(clippy::print_stdout, reason = "the parent process reads the address")]
async fn serve() {
    // Credentials are sent and not looked at, so that the container can be made here without any.
    let config = Config { auth: false, ..Config::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let running = Emulator::start(pageferry_emulator::Options { listen, config, ..Default::default() });
    let running = running.await.expect("the emulator starts");
    let container = Request::new("PUT", "/devstoreaccount1/disks?restype=container");
    let made = running.service().handle(container.header("x-ms-version", "2021-12-02").with_body(Bytes::new())).await;
    assert!(made.is_success(), "a container");
    let container = format!("{}/disks", running.url());
    println!("{container}");
    std::future::pending::<()>().await;
}
