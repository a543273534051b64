//! One limit by the second, of requests or of bytes, that was found by being refused.
//!
//! The service refuses what exceeds its limit in a second, so the second before a refusal shows what the limit is. The
//! rate is held a little below that. Now and then a little more is tried; if that is not refused the limit has moved, and
//! much more is tried at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::law::Clock;

/// How much of what was once accepted in a second is sent in every second.
pub const HELD: f64 = 0.985;

/// The first try beyond what is held.
const GAIN: f64 = 0.03;

/// How much larger each further try is, if the one before was not refused.
const GAIN_GROWTH: f64 = 5.0;

/// The largest: twice as much.
const GAIN_MAX: f64 = 1.0;

/// A first try adds little, perhaps one request, and must hold all of one of the service's seconds to be noticed.
const FIRST_TRIAL: Duration = Duration::from_millis(2050);

/// Later ones add more.
const TRIAL: Duration = Duration::from_millis(1200);

/// A rate that has never been the only suspect is no limit yet: it doubles this often.
const DOUBLING: Duration = Duration::from_millis(300);

/// So many requests go by before more is tried again: a refused try is one of them.
const CALM_REQUESTS: f64 = 120.0;

/// But no less and no more time than this.
const CALM: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(8));

/// However little was accepted in a second, the limit is not taken to be less than this part of what it was.
const DROP_MOST: f64 = 0.5;

/// A refused try does not bring it below this part of what was held before it.
const HELD_AFTER_TRY: f64 = 0.95;

/// A limit, if there is one.
#[derive(Clone, Debug)]
pub struct Rate {
    clock: Clock,
    /// It has been found to be the limit while nothing else could have been.
    confirmed: bool,
    /// What was held before more was tried.
    before: Option<f64>,
    /// The last refusal does not bring it below this.
    floor: f64,
    gain: f64,
    next_try: Option<Instant>,
    turns: u32,
    delayed: u32,
}

impl Default for Rate {
    fn default() -> Self {
        let clock = Clock::new(None);
        Rate { clock, confirmed: false, before: None, floor: 0.0, gain: GAIN, next_try: None, turns: 0, delayed: 0 }
    }
}

impl Rate {
    /// The limit, in units a second; `None` while none is known.
    pub fn limit(&self) -> Option<f64> {
        self.clock.rate
    }

    /// Whether most requests wait for this rate.
    pub fn binds(&self) -> bool {
        self.limit().is_some() && self.delayed * 2 >= self.turns.max(1)
    }

    /// Whether more is being tried than is held.
    pub fn is_trying(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn earliest(&self, now: Instant) -> Instant {
        self.clock.free_at(now)
    }

    pub(crate) fn sent(&mut self, now: Instant, cost: u64, was_delayed: bool) {
        self.clock.spend(now, cost);
        self.turns += 1;
        self.delayed += u32::from(was_delayed);
        if self.turns >= 64 {
            // What was long ago says less.
            (self.turns, self.delayed) = (self.turns / 2, self.delayed / 2);
        }
    }

    /// In the second before a refusal, `accepted` were accepted. `alone`: nothing else can have been the limit.
    pub(crate) fn refused(&mut self, now: Instant, accepted: f64, alone: bool, requests_per_second: f64) {
        let held = accepted * HELD;
        let (most, least) = match (self.before.take(), self.limit()) {
            // The first try showed that what was held is the limit, or close to it; a later one went too far.
            (Some(before), _) => (if self.gain > GAIN { f64::MAX } else { before }, before * HELD_AFTER_TRY),
            (None, Some(limit)) => (limit, limit * DROP_MOST),
            (None, None) => (f64::MAX, 0.0),
        };
        self.floor = least;
        self.clock.rate = Some(held.clamp(least, most));
        self.confirmed |= alone;
        self.gain = GAIN;
        let calm = Duration::try_from_secs_f64(CALM_REQUESTS / requests_per_second.max(1.0)).unwrap_or(CALM.1);
        self.next_try = Some(now + calm.clamp(CALM.0, CALM.1));
    }

    /// What was sent before the last refusal was known was refused too: `accepted` is what it comes down to.
    pub(crate) fn amended(&mut self, accepted: f64) {
        self.clock.rate = self.limit().map(|limit| limit.min(accepted * HELD).max(self.floor));
    }

    /// Tries more where this is what binds and it is time. `alone`: it is the only rate that binds. `unit` is the cost of
    /// one request.
    pub(crate) fn calm(&mut self, now: Instant, alone: bool, unit: f64) {
        let Some(limit) = self.limit().filter(|_| self.binds()) else { return };
        if !self.confirmed && alone {
            let doubled = *self.next_try.get_or_insert(now + DOUBLING);
            let due = doubled.min(now + DOUBLING);
            self.next_try = Some(due);
            if now >= due {
                self.clock.rate = Some(limit * 2.0);
                self.next_try = Some(now + DOUBLING);
            }
            return;
        }
        if self.next_try.is_none_or(|due| now < due) {
            return;
        }
        let first = self.before.is_none();
        if !first {
            // The last try was not refused.
            self.gain = (self.gain * GAIN_GROWTH).min(GAIN_MAX);
        }
        self.before = Some(limit);
        self.clock.rate = Some((limit * (1.0 + self.gain)).max(limit / HELD + unit));
        self.next_try = Some(now + if first { FIRST_TRIAL } else { TRIAL });
    }
}
