//! Relaying a dense disk at full speed over loopback: throughput, and memory against the byte budget.
//!
//! `cargo bench -p pageferry-benches --bench relay [-- MIB]`

use std::process::ExitCode;
use std::time::Instant;

use pageferry_azure::Side;
use pageferry_benches::service::{Service, dense, make_disk, served};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, usage};
use pageferry_core::next::Want;
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Options};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let disk_mib: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(2048);
    let service = Service::start();
    let disk_bytes = disk_mib << 20;
    make_disk(&service.url("disk"), disk_bytes, dense(disk_bytes)).await;
    let options = Options::default();
    let limit = mib(options.budget.bytes) + 64.0;
    let (source, target) = (service.url("disk"), service.url("backup"));
    let engine = Engine::new(blob(&source, Side::Source, None), blob(&target, Side::Target, None), options);
    let before = usage::mine();
    let begun = Instant::now();
    let report = sync(&engine, &Want::Next).await.expect("a seed");
    let taken = begun.elapsed();
    let after = usage::mine();
    assert_eq!(report.steps[0].written_bytes, disk_bytes);
    let mut table = Table::new("relay");
    let gib = mib(disk_bytes) / 1024.0;
    table.row("disk", mib(disk_bytes), "MiB");
    table.row("time from taking the target to the point", taken.as_secs_f64(), "s");
    table.row("moved, both sides and the emulator on this machine", mib(disk_bytes) / taken.as_secs_f64(), "MiB/s");
    table.row("processor time", (after.cpu_seconds - before.cpu_seconds) / gib, "s/GiB");
    table.row("memory before", mib(before.resident_bytes), "MiB");
    table.limited("memory at its peak", mib(after.peak_bytes), "MiB", Limit::AtMost(limit));
    table.finish()
}
