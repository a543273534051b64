//! Bench 6: whole syncs of a disk of 1 GiB against azcopy, on the same service and in the same run: a seed of a dense
//! disk and of a sparse one, and a difference of one part in a hundred.
//!
//! azcopy copies from service to service and knows no differences, so what a difference is held against is its full copy
//! of the same snapshot. The service copies the pages for it without a socket in between, which the engine does only when
//! told to; so there are rows for either way. azcopy pays for the start of a process, and the
//! engine for the lease, the gate and the point. Whole runs of azcopy come in steps of two seconds, because it looks no more
//! often whether it is done; beside the limit, which is on the whole run, there is a row against the moment of its last
//! request. Each is done a few times in turns, and the best is taken.
//!
//! `cargo bench -p pageferry-benches --bench disk [-- ROUNDS]`. azcopy is the program that `PAGEFERRY_AZCOPY` names, or
//! what `tests/tools/prepare.sh target/tools azcopy` fetches; without one there are no ratios, and the bench says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use pageferry_azure::Side;
use pageferry_benches::dice::Dice;
use pageferry_benches::service::{Counted, Service, dense, make_disk, served, write};
use pageferry_benches::table::{Limit, target_dir};
use pageferry_benches::{Table, blob, mib};
use pageferry_core::next::Want;
use pageferry_core::{PAGE_BYTES, PageRange, Pages, SnapshotId};
use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Choice, Engine, Options};

const DISK_BYTES: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What one write of the difference is long, and how many make it a hundredth of the disk.
const WRITE: u64 = 64 << 10;
const WRITES: u64 = DISK_BYTES / 100 / WRITE;

/// How often the service is asked whether azcopy is still at it.
const LOOK: Duration = Duration::from_millis(10);

const MOVERS: [(&str, Choice); 2] = [("relay", Choice::Relay), ("service", Choice::Service)];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let rounds: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(3);
    let azcopy = Azcopy::find();
    let mut bench = Bench { service: Service::start(), azcopy, targets: 0 };
    let mut table = Table::new("disk");
    table.row("azcopy: present", f64::from(u8::from(bench.azcopy.is_some())), "");
    if bench.azcopy.is_none() {
        eprintln!("azcopy: not present, so nothing is held against it (tests/tools/prepare.sh target/tools azcopy)");
    }
    let sparse = (0..DISK_BYTES / MIB).step_by(8).filter_map(|at| range(at * MIB, MIB));
    bench.seeds(&mut table, "sparse", sparse, rounds).await;
    bench.seeds(&mut table, "dense", dense(DISK_BYTES), rounds).await;
    bench.differences(&mut table, rounds).await;
    table.finish()
}

struct Bench {
    service: Service,
    azcopy: Option<Azcopy>,
    targets: u32,
}

/// What it took to bring a target up to date.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    /// Until the last request was counted; azcopy looks only now and then whether it is done.
    busy: f64,
    requests: u64,
    bytes: u64,
}

impl Bench {
    /// Seeds of one disk, by everybody.
    async fn seeds(&mut self, table: &mut Table, kind: &str, ranges: impl Iterator<Item = PageRange>, rounds: u64) {
        let (_, snapshot) = make_disk(&self.service.url(kind), DISK_BYTES, ranges).await;
        let (mut ours, mut theirs) = ([None; 2], None);
        for round in 0..=rounds {
            for (best, (_, mover)) in ours.iter_mut().zip(MOVERS) {
                let target = self.target();
                let cost = self.sync(kind, &target, mover).await;
                keep(best, cost, round);
                delete(&self.service, &target).await;
            }
            if let Some(cost) = self.full_copy(kind, &snapshot).await {
                keep(&mut theirs, cost, round);
            }
        }
        report(table, &format!("seed, {kind}"), ours, theirs, 1.0);
    }

    /// Differences of the dense disk, which is there already, by everybody.
    async fn differences(&mut self, table: &mut Table, rounds: u64) {
        let disk = blob(&self.service.url("dense"), Side::Source, None);
        let targets = [self.target(), self.target()];
        for (target, (_, mover)) in targets.iter().zip(MOVERS) {
            self.sync("dense", target, mover).await;
        }
        let (mut ours, mut theirs) = ([None; 2], None);
        let mut dice = Dice(1);
        for round in 0..=rounds {
            let snapshot = write(&disk, scattered(&mut dice), 2 + round).await;
            for ((target, best), (_, mover)) in targets.iter().zip(&mut ours).zip(MOVERS) {
                let cost = self.sync("dense", target, mover).await;
                keep(best, cost, round);
            }
            if let Some(cost) = self.full_copy("dense", &snapshot).await {
                keep(&mut theirs, cost, round);
            }
        }
        report(table, "difference of 1 %", ours, theirs, 0.1);
    }

    /// Our engine, with its defaults but for who moves the bytes.
    async fn sync(&mut self, disk: &str, target: &str, mover: Choice) -> Cost {
        let source = blob(&self.service.url(disk), Side::Source, None);
        let options = Options { mover, ..Options::default() };
        let engine = Engine::new(source, blob(&self.service.url(target), Side::Target, None), options);
        let (before, begun) = (self.service.stats(), Instant::now());
        let report = sync(&engine, &Want::Next).await.expect("a sync");
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(report.steps.len(), 1, "one snapshot is new");
        self.cost(&before, seconds, seconds)
    }

    /// azcopy, if it is there, to a blob that is not.
    async fn full_copy(&mut self, disk: &str, snapshot: &SnapshotId) -> Option<Cost> {
        self.azcopy.as_ref()?;
        let target = self.target();
        let from = format!("{}?snapshot={snapshot}&{}", self.service.url(disk), sas());
        let to = format!("{}?{}", self.service.url(&target), sas());
        let (before, begun) = (self.service.stats(), Instant::now());
        let azcopy = self.azcopy.as_ref()?;
        let service = &mut self.service;
        let (mut requests, mut busy) = (0, 0.0);
        let mut look = || {
            let now = Counted::total(&service.stats()).requests;
            if now != requests {
                (requests, busy) = (now, begun.elapsed().as_secs_f64());
            }
        };
        tokio::task::block_in_place(|| azcopy.copy(&from, &to, &mut look));
        let seconds = begun.elapsed().as_secs_f64();
        let cost = self.cost(&before, seconds, busy);
        delete(&self.service, &target).await;
        Some(cost)
    }

    fn cost(&mut self, before: &BTreeMap<String, Counted>, seconds: f64, busy: f64) -> Cost {
        let counted = Counted::total(&self.service.stats()).since(Counted::total(before));
        Cost { seconds, busy, requests: counted.requests, bytes: counted.received + counted.sent }
    }

    fn target(&mut self) -> String {
        self.targets += 1;
        format!("target{}", self.targets)
    }
}

/// Keeps the fastest: what comes on top of it is the machine's other business. The first round, in which the service
/// touches its memory for the first time and programs are read from the disk, is nobody's.
fn keep(best: &mut Option<Cost>, cost: Cost, round: u64) {
    eprintln!(
        "{round}: {:.2} s ({:.2} s), {} requests, {:.1} MiB",
        cost.seconds,
        cost.busy,
        cost.requests,
        mib(cost.bytes)
    );
    if round > 0 && best.is_none_or(|best| cost.seconds < best.seconds) {
        *best = Some(cost);
    }
}

fn report(table: &mut Table, what: &str, ours: [Option<Cost>; 2], theirs: Option<Cost>, most: f64) {
    let each = MOVERS.map(|(name, mover)| (name, mover == Options::default().mover));
    if let Some(theirs) = theirs {
        table.row(format!("{what}, azcopy's full copy"), theirs.seconds, "s");
        table.row(format!("{what}, azcopy until its last request"), theirs.busy, "s");
    }
    for ((name, is_default), cost) in each.into_iter().zip(ours) {
        let cost = cost.expect("a round that counts");
        let label = format!("{what}, {name}");
        match theirs {
            None => table.row(label.clone(), cost.seconds, "s"),
            Some(theirs) if is_default => {
                table.compared(label.clone(), cost.seconds, "s", theirs.seconds, Limit::AtMost(most));
            }
            Some(theirs) => table.against(label.clone(), cost.seconds, "s", theirs.seconds),
        }
        if let Some(theirs) = theirs {
            table.against(format!("{label}: to azcopy's last request"), cost.seconds, "s", theirs.busy);
        }
        let bytes_and_requests = [
            ("requests", number(cost.requests), theirs.map(|theirs| number(theirs.requests)), "requests"),
            ("bodies, both ways", mib(cost.bytes), theirs.map(|theirs| mib(theirs.bytes)), "MiB"),
        ];
        for (which, figure, reference, unit) in bytes_and_requests {
            // Where azcopy lets the service move the pages, no bytes pass a socket and there is no ratio to them.
            match reference.filter(|reference| *reference >= 1.0) {
                Some(reference) => table.against(format!("{label}: {which}"), figure, unit, reference),
                None => table.row(format!("{label}: {which}"), figure, unit),
            }
        }
    }
}

async fn delete(service: &Service, name: &str) {
    blob(&service.url(name), Side::Target, None).delete_with_snapshots().await.expect("a delete");
}

/// Places of the difference, each its own.
fn scattered(dice: &mut Dice) -> impl Iterator<Item = PageRange> {
    let mut places = BTreeSet::new();
    while places.len() < usize::try_from(WRITES).expect("a few") {
        places.insert(dice.number(DISK_BYTES / WRITE));
    }
    places.into_iter().filter_map(|place| range(place * WRITE, WRITE))
}

fn range(start: u64, length: u64) -> Option<PageRange> {
    PageRange::new(Pages::new(start / PAGE_BYTES), Pages::new((start + length) / PAGE_BYTES))
}

fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("a few"))
}

/// Microsoft's program, with all of its own files in the build directory.
struct Azcopy {
    program: PathBuf,
    home: PathBuf,
}

impl Azcopy {
    /// The program that is named, or the one that the tests use; `None` if it does not run.
    fn find() -> Option<Azcopy> {
        let build = target_dir().parent().map(PathBuf::from).unwrap_or_default();
        let named = std::env::var_os("PAGEFERRY_AZCOPY").map(PathBuf::from);
        let azcopy = Azcopy {
            program: named.unwrap_or_else(|| build.join("tools/azcopy/azcopy")),
            home: build.join("bench/azcopy"),
        };
        azcopy.command().arg("--version").output().is_ok_and(|output| output.status.success()).then_some(azcopy)
    }

    /// Copies, and is believed only if it says itself that all went well. Meanwhile somebody may `look`.
    fn copy(&self, from: &str, to: &str, look: &mut dyn FnMut()) {
        let mut command = self.command();
        command.args(["copy", from, to, "--from-to", "BlobBlob", "--blob-type", "PageBlob"]);
        command.args(["--skip-version-check", "--output-level", "essential"]);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("azcopy runs");
        // It says little, so that the pipe holds all of it.
        while child.try_wait().expect("azcopy is ours").is_none() {
            look();
            std::thread::sleep(LOOK);
        }
        let output = child.wait_with_output().expect("azcopy runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("Final Job Status: Completed\n"), "{said}");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("AZCOPY_LOG_LOCATION", self.home.join("log"));
        command.env("AZCOPY_JOB_PLAN_LOCATION", self.home.join("plan"));
        command.env("AZCOPY_DISABLE_SYSLOG", "true");
        command
    }
}

/// A SAS for everything: azcopy wants one even where nobody looks at it.
fn sas() -> String {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).expect("a key")
}
