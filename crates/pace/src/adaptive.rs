//! The law that finds an unknown limit, holds it, and follows it when it moves.
//!
//! A window alone cannot: where a service answers in a millisecond and allows fifteen requests a second, even one request
//! in flight is too many. So once a service has refused, rates are kept as well. Which of the two limits it was, of
//! requests or of bytes, nobody says; both are suspected, and one that turns out not to be goes up again quickly.

use std::time::Duration;

use tokio::time::Instant;

use crate::history::{Amount, History};
use crate::law::{Attempt, Clock, Ended, Law};
use crate::rate::Rate;
use crate::window::Window;

/// After a refusal nothing is sent for the time of a request or two, within these limits, and then one request alone,
/// until that is not refused. Each time it is, the pause doubles.
const HOLD: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// No such pause is longer than this.
const HOLD_MAX: Duration = Duration::from_millis(400);

/// So many bytes may be sent at once in the beginning, before anything is known.
const BURST_BYTES: u64 = 32 << 20;

/// What is sent in the first second after that, in bytes; twice as much as often as this.
const RAMP: (f64, Duration) = (128_000_000.0, Duration::from_millis(100));

/// From here on the beginning is over.
const RAMP_END: f64 = 16e9;

/// A second in which less than this was accepted says nothing about a limit.
const TELLING: u64 = 4;

/// So many times as much of one rate as of the other must be used for it to be the limit for certain.
const PLAINLY_MORE: f64 = 2.0;

/// See the module.
#[derive(Clone, Debug)]
pub struct Adaptive {
    window: Window,
    requests: Rate,
    bytes: Rate,
    history: History,
    alarm: Option<Alarm>,
    /// Until when nothing is sent, and how long that is.
    hold: Option<(Instant, Duration)>,
    /// The beginning, in which a limit is approached rather than run into.
    ramp: Option<Ramp>,
    /// One request at a time, sent no earlier than this, until one is not refused.
    testing: Option<Instant>,
    /// Which of the rates made the next request wait.
    delayed: (bool, bool),
}

/// The last refusal that told something new. Services refuse a request now and then for reasons of their own; a limit is
/// learnt from when others are refused too.
#[derive(Clone, Copy, Debug)]
struct Alarm {
    at: Instant,
    /// When the refused attempt was sent.
    about: Instant,
    learnt: bool,
}

#[derive(Clone, Debug)]
struct Ramp {
    clock: Clock,
    burst: u64,
    double_at: Option<Instant>,
}

impl Adaptive {
    /// Starts with `start` requests in flight and never exceeds `max`.
    pub fn new(start: usize, max: usize) -> Adaptive {
        Adaptive {
            window: Window::new(start, max),
            requests: Rate::default(),
            bytes: Rate::default(),
            history: History::new(Instant::now()),
            alarm: None,
            hold: None,
            ramp: Some(Ramp { clock: Clock::new(Some(RAMP.0)), burst: BURST_BYTES, double_at: None }),
            testing: None,
            delayed: (false, false),
        }
    }

    fn refused(&mut self, now: Instant, attempt: &Attempt) {
        self.history.refused(attempt.sent_at, attempt.bytes);
        self.ramp = None;
        if self.alarm.as_ref().is_some_and(|alarm| attempt.sent_at <= alarm.at) {
            // It was on its way when the alarm was raised.
            self.confirm(now);
            return;
        }
        let accepted = self.history.second(attempt.sent_at);
        let trying = self.requests.is_trying() || self.bytes.is_trying();
        let was_testing = self.testing.is_some_and(|since| attempt.sent_at >= since);
        let hold = match self.hold {
            Some((_, hold)) if was_testing => (hold * 2).min(HOLD_MAX),
            // A try exceeds the limit by little, so that the second is nearly over.
            _ => {
                let requests = if trying { 0.5 } else { 1.5 };
                Duration::from_secs_f64(requests / of(accepted.requests.max(1))).clamp(HOLD.0, HOLD.1)
            }
        };
        self.hold = Some((now + hold, hold));
        if was_testing {
            // The same second is still full.
            self.testing = Some(now);
            self.confirm(now);
            return;
        }
        self.alarm = Some(Alarm { at: now, about: attempt.sent_at, learnt: false });
        if trying {
            self.confirm(now);
        } else {
            self.testing = Some(now);
            self.window.congested(now, attempt.sent_at);
        }
    }

    /// The last refusal was not alone, or not unexpected: it was about a limit.
    fn confirm(&mut self, now: Instant) {
        let Some(alarm) = &mut self.alarm else { return };
        let (about, learnt) = (alarm.about, std::mem::replace(&mut alarm.learnt, true));
        let accepted = self.history.second(about);
        if accepted.requests < TELLING {
            return;
        }
        if learnt {
            // What was accepted in that second is less than it seemed.
            self.requests.amended(of(accepted.requests));
            self.bytes.amended(of(accepted.bytes));
        } else {
            self.learn(now, accepted);
        }
    }

    fn learn(&mut self, now: Instant, accepted: Amount) {
        let (requests, bytes) = (of(accepted.requests), of(accepted.bytes));
        // The rate of which much more was used than of the other was the limit; where that is not plain, both may have been.
        let used = |rate: &Rate, accepted: f64| rate.limit().map_or(1.0, |limit| accepted / limit);
        let (of_requests, of_bytes) = (used(&self.requests, requests), used(&self.bytes, bytes));
        let alone = of_requests > of_bytes * PLAINLY_MORE || of_bytes > of_requests * PLAINLY_MORE;
        if !alone || of_requests > of_bytes {
            self.requests.refused(now, requests, alone, requests);
        }
        if !alone || of_bytes > of_requests {
            self.bytes.refused(now, bytes, alone, requests);
        }
    }
}

impl Default for Adaptive {
    /// From eight in flight to 128.
    fn default() -> Adaptive {
        Adaptive::new(8, 128)
    }
}

impl Ramp {
    /// `bytes` are sent.
    fn is_over(&mut self, now: Instant, bytes: u64) -> bool {
        if self.burst >= bytes {
            self.burst -= bytes;
            return false;
        }
        let double_at = *self.double_at.get_or_insert(now + RAMP.1);
        if now >= double_at {
            self.clock.rate = self.clock.rate.map(|rate| rate * 2.0);
            self.double_at = Some(now + RAMP.1);
        }
        self.clock.spend(now, bytes);
        self.clock.rate.is_none_or(|rate| rate > RAMP_END)
    }
}

impl Law for Adaptive {
    fn in_flight_max(&self) -> usize {
        if self.testing.is_some() { 1 } else { self.window.size() }
    }

    fn earliest(&mut self, now: Instant, _bytes: u64) -> Instant {
        let (requests, bytes) = (self.requests.earliest(now), self.bytes.earliest(now));
        self.delayed.0 |= requests > now;
        self.delayed.1 |= bytes > now;
        let ramp = self.ramp.as_ref().map_or(now, |ramp| ramp.clock.free_at(now));
        requests.max(bytes).max(ramp).max(self.hold.map_or(now, |(until, _)| until))
    }

    fn sent(&mut self, now: Instant, bytes: u64) {
        self.history.sent(now, bytes);
        if self.ramp.as_mut().is_some_and(|ramp| ramp.is_over(now, bytes)) {
            self.ramp = None;
        }
        let delayed = std::mem::take(&mut self.delayed);
        self.requests.sent(now, 1, delayed.0);
        self.bytes.sent(now, bytes, delayed.1);
    }

    fn ended(&mut self, now: Instant, attempt: &Attempt, in_flight: usize) {
        match attempt.ended {
            Ended::Refused => self.refused(now, attempt),
            Ended::Lost => self.window.congested(now, attempt.sent_at),
            Ended::Answered => {
                if self.testing.is_some_and(|since| attempt.sent_at > since) {
                    self.testing = None;
                }
                self.window.answered(now, attempt.took, attempt.bytes, in_flight);
                let bind = (self.requests.binds(), self.bytes.binds());
                self.requests.calm(now, !bind.1, 1.0);
                self.bytes.calm(now, !bind.0, of(attempt.bytes));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "what goes by in a second is far below 2^52")]
fn of(count: u64) -> f64 {
    count as f64
}
