//! What a law of pacing is, and the simple ones.

use std::time::Duration;

use tokio::time::Instant;

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With an answer, good or bad, that has nothing to do with load.
    Answered,
    /// The service has too much to do: 503, 429, or 500 `OperationTimedOut`.
    Refused,
    /// It broke on the way, or nothing came back.
    Lost,
}

/// An attempt that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it was sent.
    pub sent_at: Instant,
    /// How long it took.
    pub took: Duration,
    /// The bytes it carried, either way.
    pub bytes: u64,
    /// How it ended.
    pub ended: Ended,
}

/// Decides when requests may be sent.
pub trait Law: Send {
    /// How many may be in flight, now; at least one.
    fn in_flight_max(&self) -> usize;

    /// When a request of `bytes` may be sent, as far as is known now.
    fn earliest(&mut self, now: Instant, bytes: u64) -> Instant;

    /// A request of `bytes` is sent.
    fn sent(&mut self, now: Instant, bytes: u64);

    /// An attempt has ended; `in_flight` others have not.
    fn ended(&mut self, now: Instant, attempt: &Attempt, in_flight: usize);
}

/// Always the same number in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed(pub usize);

impl Law for Fixed {
    fn in_flight_max(&self) -> usize {
        self.0.max(1)
    }

    fn earliest(&mut self, now: Instant, _bytes: u64) -> Instant {
        now
    }

    fn sent(&mut self, _now: Instant, _bytes: u64) {}

    fn ended(&mut self, _now: Instant, _attempt: &Attempt, _in_flight: usize) {}
}

/// Another law, and no more than so many bytes in a second.
#[derive(Clone, Debug)]
pub struct Capped<L> {
    law: L,
    clock: Clock,
}

impl<L> Capped<L> {
    /// `law`, below `bytes_per_second`.
    pub fn new(law: L, bytes_per_second: f64) -> Capped<L> {
        Capped { law, clock: Clock::new(Some(bytes_per_second)) }
    }
}

impl<L: Law> Law for Capped<L> {
    fn in_flight_max(&self) -> usize {
        self.law.in_flight_max()
    }

    fn earliest(&mut self, now: Instant, bytes: u64) -> Instant {
        self.law.earliest(now, bytes).max(self.clock.free_at(now))
    }

    fn sent(&mut self, now: Instant, bytes: u64) {
        self.clock.spend(now, bytes);
        self.law.sent(now, bytes);
    }

    fn ended(&mut self, now: Instant, attempt: &Attempt, in_flight: usize) {
        self.law.ended(now, attempt, in_flight);
    }
}

/// Spreads costs evenly over time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// How much a second is worth; `None` for no limit.
    pub(crate) rate: Option<f64>,
    free_at: Option<Instant>,
}

/// How much lateness is made up for. Timers are late by a millisecond or two, and threads by more.
const CREDIT: Duration = Duration::from_millis(30);

impl Clock {
    pub(crate) fn new(rate: Option<f64>) -> Clock {
        Clock { rate, free_at: None }
    }

    /// When the next cost may be spent.
    pub(crate) fn free_at(&self, now: Instant) -> Instant {
        self.free_at.filter(|_| self.rate.is_some()).unwrap_or(now)
    }

    /// Spends `cost` now.
    #[expect(clippy::cast_precision_loss, reason = "costs are bytes of one request")]
    pub(crate) fn spend(&mut self, now: Instant, cost: u64) {
        let Some(rate) = self.rate else { return };
        let from = self.free_at.unwrap_or(now).max(now.checked_sub(CREDIT).unwrap_or(now));
        let takes = Duration::try_from_secs_f64(cost as f64 / rate.max(f64::MIN_POSITIVE));
        self.free_at = Some(from + takes.unwrap_or(LONGEST).min(LONGEST));
    }
}

/// Nothing is put off for longer than this at once.
const LONGEST: Duration = Duration::from_secs(600);
