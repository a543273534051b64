//! Bench 4: a service that refuses what exceeds its limits in a second, and never slows anything down.
//!
//! The limits are a standard blob's (60 MiB/s and 500 requests a second) and a P40's (250 MB/s and 7,500), scaled to at most half of
//! what this machine does without any, and one that halves and returns. Beside the engine's own law: fixed numbers in
//! flight, and a published rule (0.65 times the rate after a refusal, then a slow climb).
//!
//! `cargo bench -p pageferry-benches --bench limits [-- SECONDS]`, the length of each run

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pageferry_azure::{Options, Side};
use pageferry_benches::moving::{Moved, copy};
use pageferry_benches::service::{Service, blob_with, discard, served, take};
use pageferry_benches::table::Limit as Kept;
use pageferry_benches::{Table, blob};
use pageferry_core::{Metadata, PAGE_BYTES, PageRange, Pages};
use pageferry_emulator::faults::{FaultScript, Limit, Per, Refusal};
use pageferry_pace::{Adaptive, Attempt, Ended, Fixed, Law, Pacer};
use pageferry_store::{Target, View};
use pageferry_transfer::Budget;
use tokio::time::Instant;

const DISK_BYTES: u64 = 512 << 30;

/// What moves: so many bytes in every so many.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    piece: u64,
    every: u64,
}

const LARGE: Work = Work { name: "4 MiB each", piece: 4 << 20, every: 4 << 20 };
const SMALL: Work = Work { name: "4 KiB each", piece: 4 << 10, every: 1 << 20 };

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Ours,
    Fixed(usize),
    Published,
}

/// Requests and bytes in a second.
#[derive(Clone, Copy)]
struct Allowed {
    requests: f64,
    bytes: f64,
}

const STANDARD: Allowed = Allowed { requests: 500.0, bytes: 60.0 * 1_048_576.0 };
const P40: Allowed = Allowed { requests: 7500.0, bytes: 250_000_000.0 };

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let seconds: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(60);
    let length = Duration::from_secs(seconds);
    let mut bench = Bench { service: Service::start(), blobs: 0 };
    let disk = blob(&bench.service.url("disk"), Side::Source, None);
    disk.create(Pages::new(DISK_BYTES / PAGE_BYTES), &Metadata::new()).await.expect("a disk");
    let mut table = Table::new("limits");
    let mut most = Allowed { requests: f64::MAX, bytes: f64::MAX };
    for work in [LARGE, SMALL] {
        let moved = bench.run(Rule::Ours, work, &[], Duration::from_secs(4)).await;
        let bytes = bytes_per_second(&moved, Duration::from_secs(1), Duration::from_secs(4));
        table.row(format!("no limit, {}", work.name), bytes / 1_048_576.0, "MiB/s");
        match work.piece == LARGE.piece {
            true => most.bytes = bytes / 2.0,
            false => most.requests = bytes / of(work.piece) / 2.0,
        }
    }
    for (name, allowed) in [("standard", STANDARD), ("P40", P40)] {
        let allowed = Allowed { requests: allowed.requests.min(most.requests), bytes: allowed.bytes.min(most.bytes) };
        for work in [LARGE, SMALL] {
            let moved = bench.run(Rule::Ours, work, &[allowed], length).await;
            let what =
                format!("{name} ({:.0}/s, {:.0} MiB/s), {}", allowed.requests, allowed.bytes / 1_048_576.0, work.name);
            report(&mut table, &what, &moved, &[allowed], work, length, true);
        }
    }
    for rule in [Rule::Fixed(8), Rule::Fixed(32), Rule::Fixed(128), Rule::Published] {
        let moved = bench.run(rule, LARGE, &[STANDARD], length / 2).await;
        report(
            &mut table,
            &format!("standard, 4 MiB each: {}", rule.name()),
            &moved,
            &[STANDARD],
            LARGE,
            length / 2,
            false,
        );
    }
    let half = Allowed { requests: STANDARD.requests / 2.0, bytes: STANDARD.bytes / 2.0 };
    for work in [LARGE, SMALL] {
        for rule in [Rule::Ours, Rule::Fixed(8), Rule::Fixed(32), Rule::Fixed(128), Rule::Published] {
            let moving = [STANDARD, half, STANDARD];
            let moved = bench.run(rule, work, &moving, length).await;
            let what = format!("halves and returns, {}: {}", work.name, rule.name());
            report(&mut table, &what, &moved, &moving, work, length, false);
        }
    }
    table.finish()
}

struct Bench {
    service: Service,
    blobs: u32,
}

impl Bench {
    /// Moves `work` under limits that each hold for an equal part of `length`.
    async fn run(&mut self, rule: Rule, work: Work, limits: &[Allowed], length: Duration) -> Moved {
        self.blobs += 1;
        let name = format!("target{}", self.blobs);
        let pacer = || Some(rule.pacer());
        let disk = blob_with(&self.service.url("disk"), Side::Source, Options { pacer: pacer(), ..Options::default() });
        let options = Options { pacer: pacer(), ..Options::default() };
        let target = Arc::new(blob_with(&self.service.url(&name), Side::Target, options));
        take(&target, DISK_BYTES).await;
        let requests = if let Rule::Fixed(number) = rule { number } else { Budget::default().requests };
        let budget = Budget { requests, bytes: 1 << 30, ..Budget::default() };
        let ranges = (0..DISK_BYTES / work.every).filter_map(move |at| {
            let start = Pages::new(at * work.every / PAGE_BYTES);
            PageRange::new(start, start + Pages::new(work.piece / PAGE_BYTES))
        });
        let part = length / u32::try_from(limits.len().max(1)).unwrap_or(1);
        self.limit(limits.first(), &name);
        let disk = Arc::new(disk);
        let copying = copy(&disk, View::Base, &target, ranges, budget, Some(length));
        let moved = {
            let changing = async {
                for allowed in limits.iter().skip(1) {
                    tokio::time::sleep(part).await;
                    self.limit(Some(allowed), &name);
                }
                std::future::pending().await
            };
            tokio::select! {
                biased;
                moved = copying => moved,
                () = changing => unreachable!("it waits for ever"),
            }
        };
        self.limit(None, &name);
        discard(&target, DISK_BYTES).await;
        moved
    }

    fn limit(&mut self, allowed: Option<&Allowed>, name: &str) {
        let script = FaultScript::new(0);
        self.service.set_faults(&match allowed {
            None => script,
            Some(allowed) => script.limit(Limit {
                per: Per::Blob(format!("disks/{name}")),
                requests: Some(whole(allowed.requests)),
                bytes: Some(whole(allowed.bytes)),
                refusal: Refusal::default(),
            }),
        });
    }
}

fn report(
    table: &mut Table,
    what: &str,
    moved: &Moved,
    limits: &[Allowed],
    work: Work,
    length: Duration,
    must_keep: bool,
) {
    let settled = if limits.len() == 1 { Duration::from_secs(5) } else { Duration::ZERO };
    let part = length / u32::try_from(limits.len()).unwrap_or(1);
    let at = |second: u64| {
        let index = usize::try_from(second * 1000 / u64::try_from(part.as_millis()).unwrap_or(1)).unwrap_or_default();
        let allowed = limits[index.min(limits.len() - 1)];
        // What the service allows of this work: the byte limit serves the request that goes over it.
        (allowed.requests * of(work.piece)).min((allowed.bytes / of(work.piece)).ceil() * of(work.piece))
    };
    let possible: f64 = (settled.as_secs()..length.as_secs()).map(at).sum();
    let used = of(moved.between(settled, length));
    let refused = of(moved.progress.refused) / of(moved.progress.refused + moved.progress.changes).max(1.0);
    let windows = length.as_secs().saturating_sub(3);
    let full = |second: u64| {
        let allowed: f64 = (second..second + 3).map(at).sum();
        of(moved.between(Duration::from_secs(second), Duration::from_secs(second + 3))) >= allowed * 0.9
    };
    let converged = (0..windows).find(|from| (*from..windows.min(part.as_secs().saturating_sub(3))).all(full));
    if must_keep {
        table.compared(format!("{what}: used"), used / 1_048_576.0, "MiB", possible / 1_048_576.0, Kept::AtLeast(0.95));
        table.limited(format!("{what}: refused"), refused * 100.0, "%", Kept::AtMost(1.0));
        let converged = converged.map_or(f64::INFINITY, of);
        table.limited(format!("{what}: converged after"), converged, "s", Kept::AtMost(10.0));
    } else {
        table.against(format!("{what}: used"), used / 1_048_576.0, "MiB", possible / 1_048_576.0);
        table.row(format!("{what}: refused"), refused * 100.0, "%");
    }
    if let Some(error) = &moved.failed {
        table.row(format!("{what}: FAILED after"), moved.taken.as_secs_f64(), "s");
        eprintln!("{what}: {error}");
    }
}

fn bytes_per_second(moved: &Moved, from: Duration, to: Duration) -> f64 {
    of(moved.between(from, to)) / (to - from).as_secs_f64()
}

impl Rule {
    fn name(self) -> String {
        match self {
            Rule::Ours => "ours".to_owned(),
            Rule::Fixed(number) => format!("{number} in flight"),
            Rule::Published => "0.65 and climb".to_owned(),
        }
    }

    fn pacer(self) -> Arc<Pacer> {
        Arc::new(match self {
            Rule::Ours => Pacer::new(Adaptive::default()),
            Rule::Fixed(number) => Pacer::new(Fixed(number)),
            Rule::Published => Pacer::new(Published::default()),
        })
    }
}

/// What is published of a pacer in use: bytes at a rate that is multiplied by 0.65 when something was refused, no more
/// often than once a second, and climbs by a twentieth every five seconds without refusals.
struct Published {
    rate: f64,
    free_at: Option<Instant>,
    changed: Option<Instant>,
}

impl Default for Published {
    fn default() -> Self {
        Published { rate: 1e9, free_at: None, changed: None }
    }
}

impl Law for Published {
    fn in_flight_max(&self) -> usize {
        128
    }

    fn earliest(&mut self, now: Instant, _bytes: u64) -> Instant {
        self.free_at.unwrap_or(now)
    }

    fn sent(&mut self, now: Instant, bytes: u64) {
        let from = self.free_at.unwrap_or(now).max(now.checked_sub(Duration::from_millis(30)).unwrap_or(now));
        self.free_at = Some(from + Duration::from_secs_f64(of(bytes) / self.rate));
    }

    fn ended(&mut self, now: Instant, attempt: &Attempt, _in_flight: usize) {
        let calm = self.changed.map_or(Duration::MAX, |changed| now - changed);
        if attempt.ended == Ended::Refused && calm > Duration::from_secs(1) {
            self.rate *= 0.65;
            self.changed = Some(now);
        } else if attempt.ended == Ended::Answered && calm != Duration::MAX && calm > Duration::from_secs(5) {
            self.rate *= 1.05;
            self.changed = Some(now);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn of(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limits are positive and small")]
fn whole(limit: f64) -> u64 {
    limit as u64
}
