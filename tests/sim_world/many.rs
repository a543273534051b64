//! Many worlds, on as many threads as there are processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::draw::Scale;
use super::life::{Report, live};
use super::sabotage::Sabotage;

/// What many worlds came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// How many were lived.
    pub seeds: u64,
    /// All of them together.
    pub report: Report,
    /// Those in which something was wrong, and what.
    pub failures: Vec<(u64, String)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Totals {
    fn add(&mut self, seed: u64, lived: Result<Report, String>) {
        self.seeds += 1;
        match lived {
            Err(what) => self.failures.push((seed, what)),
            Ok(one) => {
                let all = &mut self.report;
                all.requests += one.requests;
                all.processes += one.processes;
                all.deaths += one.deaths;
                all.points += one.points;
                all.filled += one.filled;
                all.seconds += one.seconds;
                all.dead_ends += one.dead_ends;
                for (fault, count) in one.faults {
                    *all.faults.entry(fault).or_default() += count;
                }
                for (ending, count) in one.endings {
                    *all.endings.entry(ending).or_default() += count;
                }
            }
        }
    }

    /// Prints the totals, and fails with the first seeds that went wrong.
    ///
    /// # Panics
    /// Where one did.
    pub fn judge(&self, what: &str) {
        let Report { requests, faults, processes, deaths, endings, points, filled, seconds, dead_ends, .. } =
            &self.report;
        let rate = self.seeds as f64 / self.elapsed.as_secs_f64();
        eprintln!(
            "{what}: {} seeds in {:.1} s ({rate:.0}/s), {requests} requests, {} faults, {processes} processes, {deaths} \
             deaths, {points} points compared, {filled} with gaps filled, {dead_ends} dead ends, {:.1} days lived",
            self.seeds,
            self.elapsed.as_secs_f64(),
            faults.values().sum::<u64>(),
            *seconds as f64 / 86_400.0
        );
        eprintln!("  faults {faults:?}\n  endings {endings:?}");
        let mut failures = self.failures.clone();
        failures.sort();
        for (seed, what) in failures.iter().take(20) {
            eprintln!("  PAGEFERRY_SEED={seed}: {what}");
        }
        assert!(failures.is_empty(), "{} of {} seeds went wrong", failures.len(), self.seeds);
    }
}

/// How many seeds are asked for (`PAGEFERRY_SEEDS`), and from which on (`PAGEFERRY_FIRST`).
pub fn wanted(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.replace('_', "").parse().ok());
    let first = number("PAGEFERRY_FIRST").unwrap_or(0);
    first..first + number("PAGEFERRY_SEEDS").unwrap_or(default)
}

/// Lives the worlds of `seeds`, until `failures_max` went wrong.
pub fn many(seeds: std::ops::Range<u64>, scale: Scale, sabotage: &[Sabotage], failures_max: usize) -> Totals {
    let (next, totals, began) = (AtomicU64::new(seeds.start), Mutex::new(Totals::default()), Instant::now());
    let lock = || totals.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for number in 0..threads {
            let thread = std::thread::Builder::new().name(format!("seeds {number}"));
            let work = || {
                while lock().failures.len() < failures_max {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let lived = live(seed, scale, sabotage, false);
                    lock().add(seed, lived);
                }
            };
            thread.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.elapsed = began.elapsed();
    totals
}
