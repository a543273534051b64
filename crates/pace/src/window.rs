//! How many requests to have in flight.
//!
//! The window doubles round by round until answers take much longer than they did at their fastest, which is what they do
//! when requests only wait for each other. From then on it follows: one more while answers are fast, fewer while they are
//! slow. Answers are compared with others of their size.

use std::time::Duration;

use tokio::time::Instant;

/// Answers this many times slower than the fastest are still no queue: services vary by as much.
const TOLERANCE: f64 = 2.0;

/// So many requests may wait for others.
const QUEUE: (f64, f64) = (3.0, 6.0);

/// What the window is multiplied by after a refusal or a loss.
const DECREASE: f64 = 0.65;

/// Slow answers alone do not make it smaller than this.
const LATENCY_LEAST: f64 = 8.0;

/// The fastest answer counts for one to two of these.
const MEMORY: Duration = Duration::from_secs(20);

/// A number of requests in flight that follows the service.
#[derive(Clone, Debug)]
pub struct Window {
    size: f64,
    max: f64,
    doubling: bool,
    fastest: Vec<Fastest>,
    round: Round,
    /// Losses of what was sent before this say nothing new.
    reduced_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    answers: f64,
    queued: f64,
    was_full: bool,
}

/// The fastest answer of requests of one size, in the present and in the last stretch of time.
#[derive(Clone, Copy, Debug)]
struct Fastest {
    since: Instant,
    now: Duration,
    before: Duration,
}

impl Window {
    /// A window of `start` that never exceeds `max`.
    pub fn new(start: usize, max: usize) -> Window {
        let of = |count: usize| f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
        Window {
            size: of(start).min(of(max)),
            max: of(max),
            doubling: true,
            fastest: Vec::new(),
            round: Round::default(),
            reduced_at: None,
        }
    }

    /// The window, in requests; at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 1 to the largest usize given"
    )]
    pub fn size(&self) -> usize {
        self.size.max(1.0) as usize
    }

    /// An answer came after `took` to a request of `bytes`, while `in_flight` others were on their way.
    pub fn answered(&mut self, now: Instant, took: Duration, bytes: u64, in_flight: usize) {
        let fastest = self.fastest_of(now, bytes, took);
        let slower = took.as_secs_f64() / fastest.as_secs_f64().max(1e-6);
        let is_full = in_flight + 1 >= self.size();
        let round = &mut self.round;
        round.answers += 1.0;
        round.queued += (1.0 - TOLERANCE / slower).max(0.0);
        round.was_full |= is_full;
        if round.answers < self.size {
            return;
        }
        let queue = self.size * round.queued / round.answers;
        let was_full = round.was_full;
        self.round = Round::default();
        if queue > QUEUE.1 {
            self.doubling = false;
            self.size = (self.size - (self.size / 8.0).max(1.0)).max(LATENCY_LEAST.min(self.size));
        } else if was_full && queue < QUEUE.0 {
            self.size =
                if self.doubling { self.size * 2.0 } else { self.size + (self.size / 16.0).max(1.0) }.min(self.max);
        } else if was_full {
            self.doubling = false;
        }
    }

    /// A request that was sent then was refused, or got lost.
    pub fn congested(&mut self, now: Instant, sent_at: Instant) {
        if self.reduced_at.is_some_and(|reduced_at| sent_at <= reduced_at) {
            return;
        }
        self.reduced_at = Some(now);
        self.doubling = false;
        self.round = Round::default();
        self.size = (self.size * DECREASE).max(1.0);
    }

    fn fastest_of(&mut self, now: Instant, bytes: u64, took: Duration) -> Duration {
        // Sizes within a factor of four are alike.
        let class = usize::try_from(bytes.max(4096).ilog2() / 2).unwrap_or_default();
        let new = Fastest { since: now, now: took, before: took };
        if self.fastest.len() <= class {
            self.fastest.resize(class + 1, Fastest { since: now, now: Duration::MAX, before: Duration::MAX });
        }
        let Some(fastest) = self.fastest.get_mut(class) else { return took };
        if fastest.now == Duration::MAX {
            *fastest = new;
        } else if now.saturating_duration_since(fastest.since) > MEMORY {
            *fastest = Fastest { before: fastest.now, ..new };
        }
        fastest.now = fastest.now.min(took);
        fastest.now.min(fastest.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that takes `alone` for a request, does `at_once` at a time, and is kept full for `rounds` rounds.
    fn after(rounds: usize, alone: Duration, at_once: usize) -> usize {
        let mut window = Window::new(8, 128);
        let mut now = Instant::now();
        for _ in 0..rounds {
            let size = window.size();
            let took = alone * u32::try_from(size.div_ceil(at_once)).unwrap();
            now += took;
            for _ in 0..size {
                window.answered(now, took, 4 << 20, size - 1);
            }
        }
        window.size()
    }

    #[test]
    fn it_opens_in_a_few_rounds_where_waiting_is_all_there_is() {
        assert_eq!(after(4, Duration::from_millis(80), 1000), 128);
    }

    #[test]
    fn it_stays_small_where_requests_wait_for_each_other() {
        let size = after(200, Duration::from_millis(2), 4);
        assert!((8..=32).contains(&size), "{size}");
    }

    #[test]
    fn one_burst_of_losses_counts_once() {
        let mut window = Window::new(20, 128);
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        for _ in 0..10 {
            window.congested(later, now);
        }
        assert_eq!(window.size(), 13);
        for second in 2..100 {
            let at = now + Duration::from_secs(second);
            window.congested(at, at);
        }
        assert_eq!(window.size(), 1, "something may always be sent");
    }

    #[test]
    fn it_does_not_grow_where_it_is_not_used() {
        let mut window = Window::new(8, 128);
        let now = Instant::now();
        for _ in 0..1000 {
            window.answered(now, Duration::from_millis(5), 512, 2);
        }
        assert_eq!(window.size(), 8);
    }
}
