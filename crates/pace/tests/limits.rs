//! The adaptive law against services that refuse what exceeds so much in a second, and say nothing else. Time is virtual.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pageferry_pace::{Adaptive, Capped, Ended, Fixed, Pacer};
use tokio::time::{Instant, sleep};

/// What a service allows in each second from a certain one on.
#[derive(Clone, Copy)]
struct Allows {
    from_second: u64,
    requests: u64,
    bytes: u64,
}

/// What became of a run, second by second.
#[derive(Default)]
struct Run {
    /// Requests accepted, bytes accepted, requests refused.
    seconds: Vec<(u64, u64, u64)>,
}

impl Run {
    /// Which part of what was allowed between two seconds was used.
    fn share(&self, from: usize, to: usize, allows: &[Allows]) -> f64 {
        let (mut used, mut seconds) = (0.0, 0.0);
        for (second, (requests, bytes, _)) in self.seconds.iter().enumerate().take(to).skip(from) {
            let limit = at(allows, second as u64);
            used += (*requests as f64 / limit.requests as f64).max(*bytes as f64 / limit.bytes as f64);
            seconds += 1.0;
        }
        used / seconds
    }

    fn refused(&self) -> f64 {
        let sum = |of: fn(&(u64, u64, u64)) -> u64| self.seconds.iter().map(of).sum::<u64>() as f64;
        sum(|second| second.2) / sum(|second| second.0 + second.2)
    }

    /// The first second from which on at least nine tenths of what is allowed are used, over any three seconds.
    fn converged(&self, from: usize, to: usize, allows: &[Allows]) -> usize {
        (from..to - 3).find(|second| (*second..to - 3).all(|at| self.share(at, at + 3, allows) > 0.9)).unwrap_or(to)
            - from
    }
}

fn at(allows: &[Allows], second: u64) -> Allows {
    *allows.iter().rev().find(|allows| allows.from_second <= second).unwrap()
}

/// `workers` send requests of `bytes` for so many seconds, each of which takes `latency`; a refused one is sent again.
async fn run(
    pacer: Pacer,
    allows: &[Allows],
    bytes: impl Fn(u64) -> u64 + Copy + 'static,
    latency: Duration,
    workers: usize,
    seconds: u64,
) -> Run {
    let pacer = Arc::new(pacer);
    let began = Instant::now();
    let seen = Rc::new(RefCell::new(Run { seconds: vec![(0, 0, 0); usize::try_from(seconds).unwrap() + 40] }));
    let local = tokio::task::LocalSet::new();
    for worker in 0..workers {
        let (pacer, seen, allows) = (Arc::clone(&pacer), Rc::clone(&seen), allows.to_vec());
        local.spawn_local(async move {
            let mut attempt = 0u64;
            while began.elapsed() < Duration::from_secs(seconds) {
                let bytes = bytes(began.elapsed().as_secs());
                let turn = pacer.turn(bytes).await;
                // The service's seconds are not ours.
                let second = (began.elapsed() + Duration::from_millis(370)).as_secs();
                let limit = at(&allows, second);
                let fits = {
                    let mut seen = seen.borrow_mut();
                    let now = &mut seen.seconds[usize::try_from(second).unwrap()];
                    let fits = now.0 < limit.requests && now.1 < limit.bytes;
                    if fits {
                        now.0 += 1;
                        now.1 += bytes;
                    } else {
                        now.2 += 1;
                    }
                    fits
                };
                if fits {
                    sleep(latency).await;
                    turn.end(Ended::Answered);
                    attempt = 0;
                } else {
                    sleep(Duration::from_millis(1)).await;
                    turn.end(Ended::Refused);
                    attempt += 1;
                    // As the engine asks again: half a second, doubled, varied by half.
                    let varied = (worker as u64 * 7919 + attempt * 104_729) % 1000;
                    sleep(Duration::from_millis((250 + varied / 2) << attempt.min(5).saturating_sub(1))).await;
                }
            }
        });
    }
    local.await;
    let mut run = Rc::into_inner(seen).unwrap().into_inner();
    run.seconds.truncate(usize::try_from(seconds).unwrap());
    run
}

const MIB: u64 = 1 << 20;

fn constant(requests: u64, bytes: u64) -> [Allows; 1] {
    [Allows { from_second: 0, requests, bytes }]
}

fn moving(requests: u64, bytes: u64) -> [Allows; 3] {
    let half = Allows { from_second: 40, requests: requests / 2, bytes: bytes / 2 };
    [Allows { from_second: 0, requests, bytes }, half, Allows { from_second: 80, requests, bytes }]
}

#[tokio::test(start_paused = true)]
async fn it_finds_limits_nobody_announces_and_holds_them() {
    for (name, requests, bytes, each, millis) in [
        ("standard, large", 500, 60 * MIB, 4 * MIB, 8),
        ("standard, small", 500, 60 * MIB, 4096, 2),
        ("standard, small and far", 500, 60 * MIB, 4096, 80),
        ("P40, large", 7500, 250_000_000, 4 * MIB, 15),
        ("P40, middling", 7500, 250_000_000, 64 << 10, 4),
        ("a tenth of P40, small", 750, 25_000_000, 4096, 1),
    ] {
        let allows = constant(requests, bytes);
        let run =
            run(Pacer::new(Adaptive::new(8, 128)), &allows, move |_| each, Duration::from_millis(millis), 128, 120)
                .await;
        let (share, refused) = (run.share(10, 119, &allows), run.refused());
        let converged = run.converged(0, 119, &allows);
        eprintln!("{name}: share {share:.3}, refused {refused:.4}, converged in {converged} s");
        assert!(share > 0.95, "{name}: {share}");
        assert!(refused < 0.01, "{name}: {refused}");
        assert!(converged <= 10, "{name}: {converged}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_follows_a_limit_that_halves_and_returns() {
    for (name, requests, bytes, each, millis) in [
        ("standard, large", 500, 60 * MIB, 4 * MIB, 8),
        ("standard, small", 500, 60 * MIB, 4096, 2),
        ("P40, large", 7500, 250_000_000, 4 * MIB, 15),
    ] {
        let allows = moving(requests, bytes);
        let run =
            run(Pacer::new(Adaptive::new(8, 128)), &allows, move |_| each, Duration::from_millis(millis), 128, 120)
                .await;
        let (share, refused) = (run.share(5, 119, &allows), run.refused());
        let converged =
            [run.converged(0, 39, &allows), run.converged(40, 79, &allows), run.converged(80, 119, &allows)];
        eprintln!("{name}: share {share:.3}, refused {refused:.4}, converged in {converged:?} s");
        assert!(share > 0.94, "{name}: {share}");
        assert!(refused < 0.02, "{name}: {refused}");
        assert!(converged.iter().all(|seconds| *seconds <= 10), "{name}: {converged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn which_limit_it_was_shows_when_the_requests_change() {
    let allows = constant(500, 60 * MIB);
    for (first, then) in [(4 * MIB, 4096), (4096, 4 * MIB), (4 * MIB, 128 << 10)] {
        let sizes = move |second| if second < 40 { first } else { then };
        let pacer = Pacer::new(Adaptive::new(8, 128));
        // What waits was cut before; few may wait.
        let run = run(pacer, &allows, sizes, Duration::from_millis(5), 16, 120).await;
        let converged = run.converged(40, 119, &allows);
        eprintln!("{first} then {then}: refused {:.4}, converged in {converged} s", run.refused());
        assert!(converged <= 10, "{first} then {then}: {converged} s");
        assert!(run.refused() < 0.015, "{first} then {then}: {}", run.refused());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_number_in_flight_is_refused_again_and_again() {
    let allows = constant(500, 60 * MIB);
    for in_flight in [8, 32, 128] {
        let run = run(Pacer::new(Fixed(in_flight)), &allows, |_| 4 * MIB, Duration::from_millis(8), 128, 60).await;
        eprintln!("{in_flight} in flight: share {:.3}, refused {:.3}", run.share(5, 59, &allows), run.refused());
        assert!(run.refused() > 0.05, "{in_flight}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_is_kept_without_any_refusal() {
    let allows = constant(u64::MAX, u64::MAX);
    let pacer = Pacer::new(Capped::new(Adaptive::new(8, 128), 10_000_000.0));
    let run = run(pacer, &allows, |_| MIB, Duration::from_millis(8), 64, 60).await;
    let bytes: u64 = run.seconds.iter().map(|second| second.1).sum();
    assert!((9_900_000..10_100_000).contains(&(bytes / 60)), "{}", bytes / 60);
}

/// Requests done in ten seconds at a service that answers in 5 ms and refuses every so-manieth request for no reason.
async fn done_where_refused(every: usize) -> usize {
    let pacer = Arc::new(Pacer::new(Adaptive::default()));
    let (began, done) = (Instant::now(), Rc::new(RefCell::new(0)));
    let local = tokio::task::LocalSet::new();
    for _ in 0..64 {
        let (pacer, done) = (Arc::clone(&pacer), Rc::clone(&done));
        local.spawn_local(async move {
            while began.elapsed() < Duration::from_secs(10) {
                let turn = pacer.turn(4096).await;
                sleep(Duration::from_millis(5)).await;
                *done.borrow_mut() += 1;
                let refused = *done.borrow() % every == 0;
                turn.end(if refused { Ended::Refused } else { Ended::Answered });
            }
        });
    }
    local.await;
    done.take()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_now_and_then_is_no_limit() {
    let (never, often) = (done_where_refused(usize::MAX).await, done_where_refused(5000).await);
    assert!(often * 10 > never * 8, "{often} of {never}");
}
