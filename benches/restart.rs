//! Bench 7: how much is sent again after a kill -9.
//!
//! The engine seeds a dense disk, in a process of its own, to a service that takes what a standard blob takes, and is
//! killed at a moment drawn from a seed. A second process does the rest. What both sent, as the service has counted it,
//! less the disk itself and less what the service refused, is what was sent again. It may be what was in flight when the
//! process died, as far as it had said so itself, and the five seconds of work between two watermarks. Bodies that broke
//! off when it died are not counted: the service never took them.
//!
//! The lease of the dead is not waited for: the service's clock is moved on, and the time that a dead process's requests
//! are given to end is shortened, for they end with its sockets here. Neither has a say in how much is sent.
//!
//! `cargo bench -p pageferry-benches --bench restart [-- ROUNDS [SEED]]`

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pageferry_azure::Side;
use pageferry_benches::dice::Dice;
use pageferry_benches::service::{Counted, Service, dense, make_disk, served};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib};
use pageferry_core::next::Want;
use pageferry_emulator::faults::{FaultScript, Limit as Bears, Per, Refusal};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Event, Events, Options};

const DISK_BYTES: u64 = 1 << 30;

/// The disk is dense, so every request carries this.
const PIECE_BYTES: u64 = 4 << 20;

/// What a standard blob takes in a second.
const REQUESTS: u64 = 500;
const BYTES: u64 = 60 << 20;

/// When a process may die, in milliseconds from the first page that is written. The disk takes seventeen seconds.
const LIFE: (u64, u64) = (1000, 14_000);

/// Longer than any lease.
const LEASE_OVER: Duration = Duration::from_secs(61);

/// This program, as the engine: the URLs of a disk and of a target follow.
const ENGINE: &str = "--engine";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == ENGINE) {
        return engine(&words[at + 1], &words[at + 2]).await;
    }
    let mut numbers = words.iter().filter_map(|word| word.parse::<u64>().ok());
    let (rounds, seed) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(1));
    let mut service = Service::start();
    make_disk(&service.url("disk"), DISK_BYTES, dense(DISK_BYTES)).await;
    let mut table = Table::new("restart");
    table.row("disk", mib(DISK_BYTES), "MiB");
    table.row("the service takes", mib(BYTES), "MiB/s");
    table.row("seed", count(seed), "");
    table.row("a watermark is written every", Options::default().watermark_every.as_secs_f64(), "s");
    table.row("bytes in flight, at most", mib(Options::default().budget.bytes), "MiB");
    let mut dice = Dice(seed);
    for round in 1..=rounds {
        let target = format!("target{round}");
        service.set_faults(&FaultScript::new(0).limit(Bears {
            per: Per::Blob(format!("disks/{target}")),
            requests: Some(REQUESTS),
            bytes: Some(BYTES),
            refusal: Refusal::default(),
        }));
        let life = Duration::from_millis(LIFE.0 + dice.number(LIFE.1 - LIFE.0));
        tokio::task::block_in_place(|| one_death(&mut table, &mut service, round, &target, life));
        service.set_faults(&FaultScript::new(0));
        let done = blob(&service.url(&target), Side::Target, None);
        done.delete_with_snapshots().await.expect("a delete");
    }
    table.finish()
}

/// A seed of `target` that dies after `life`, and the run after it.
fn one_death(table: &mut Table, service: &mut Service, round: u64, target: &str, life: Duration) {
    let before = written(service);
    let mut first = Run::start(service, target);
    let begun = first.wait_for_pages();
    std::thread::sleep(life);
    let said = first.kill();
    let lived = begun.elapsed().as_secs_f64();
    let until_death = written(service).since(before);
    service.advance(LEASE_OVER);
    let resumed = Run::start(service, target).finish();
    let both = written(service).since(before);
    let accepted = |counted: Counted| counted.received - counted.refused * PIECE_BYTES;
    let again = accepted(both) - DISK_BYTES;
    let rate = mib(accepted(until_death)) / lived;
    let in_flight = mib(count_of(said.in_flight) * PIECE_BYTES);
    let bound = in_flight + Options::default().watermark_every.as_secs_f64() * rate;
    let what = |rest: &str| format!("{round}, {rest}");
    table.row(what("killed after"), lived, "s");
    table.row(what("taken by the service until then"), mib(accepted(until_death)), "MiB");
    table.row(what("in flight then"), in_flight, "MiB");
    table.row(what("went on at"), mib(resumed.resumed_at), "MiB");
    table.row(what("rate until then"), rate, "MiB/s");
    table.row(what("refused bodies, both runs"), mib(both.refused * PIECE_BYTES), "MiB");
    // What is sent again, against what may be.
    table.compared(what("sent again, to in flight and 5 s"), mib(again), "MiB", bound, Limit::AtMost(1.0));
}

/// Page writes so far, as the service counted them. A body of which not all arrived was never taken.
fn written(service: &mut Service) -> Counted {
    service.stats().get("put-page-update").copied().unwrap_or_default()
}

/// What a run said last.
#[derive(Clone, Copy, Default)]
struct Said {
    moved: bool,
    in_flight: usize,
    resumed_at: u64,
    ended: bool,
}

/// A process that syncs.
struct Run {
    child: Child,
    said: Arc<Mutex<Said>>,
    hearing: std::thread::JoinHandle<()>,
}

impl Run {
    fn start(service: &Service, target: &str) -> Run {
        let program = std::env::current_exe().expect("this program has a name");
        let mut command = Command::new(program);
        command.args([ENGINE, &service.url("disk"), &service.url(target)]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the engine starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let hearing = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = heard.lock().expect("nobody failed");
                match line.split_once(' ') {
                    Some(("moving", in_flight)) => {
                        said.moved = true;
                        said.in_flight = in_flight.parse().expect("a number");
                    }
                    Some(("resumed", at)) => said.resumed_at = at.parse().expect("a number"),
                    _ => said.ended = true,
                }
            }
        });
        Run { child, said, hearing }
    }

    /// When the first page was written.
    fn wait_for_pages(&self) -> Instant {
        while !self.said.lock().expect("nobody failed").moved {
            std::thread::sleep(Duration::from_millis(10));
        }
        Instant::now()
    }

    /// SIGKILL.
    fn kill(&mut self) -> Said {
        self.child.kill().expect("it lives");
        let ended = self.child.wait().expect("it is ours");
        assert!(!ended.success(), "it was killed before its end");
        *self.said.lock().expect("nobody failed")
    }

    /// Waits for its end, which must be a good one.
    fn finish(mut self) -> Said {
        assert!(self.child.wait().expect("it is ours").success(), "the second run brings it to an end");
        self.hearing.join().expect("nobody failed");
        let said = *self.said.lock().expect("nobody failed");
        assert!(said.ended, "it says so");
        said
    }
}

/// This process is the engine. It tells on stdout what the parent must know.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
async fn engine(disk: &str, target: &str) -> ExitCode {
    let events = Events::new(|event| match event {
        Event::Moving(progress) if progress.written_bytes > 0 => println!("moving {}", progress.in_flight),
        Event::Begun { resumed_at, .. } => println!("resumed {}", resumed_at.unwrap_or_default()),
        _ => {}
    });
    let options = Options { quiesce: Duration::from_secs(1), events, ..Options::default() };
    let (source, target) = (blob(disk, Side::Source, None), blob(target, Side::Target, None));
    let report = sync(&Engine::new(source, target, options), &Want::Next).await.expect("a sync");
    assert_eq!(report.steps.len(), 1);
    println!("done");
    ExitCode::SUCCESS
}

fn count_of(in_flight: usize) -> u64 {
    u64::try_from(in_flight).expect("a few")
}

fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).expect("a small number"))
}
