//! Where time comes from: the machine, a test's hand, or the machine with an offset.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::time::Timestamp;

/// Where the service takes its time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Moves the clock on, if it is one that can be moved, and says whether it was.
    fn shift(&self, _by: Duration) -> bool {
        false
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

/// Another clock with an offset, which can also be stopped: leases run out, and signatures expire, when one says so.
#[derive(Debug)]
pub struct ShiftedClock {
    base: Arc<dyn Clock>,
    state: Mutex<Shift>,
}

/// How far a [`ShiftedClock`] is from its base.
#[derive(Debug, Clone, Copy)]
enum Shift {
    /// It runs with its base, and showed the second time when the base showed the first.
    Running(Timestamp, Timestamp),
    Stopped(Timestamp),
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl ManualClock {
    /// A clock that shows `time`.
    pub fn new(time: Timestamp) -> Self {
        Self(AtomicU64::new(time.ticks()))
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        let ticks = Timestamp::default().plus(duration).ticks();
        self.0.fetch_add(ticks, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.0.load(Ordering::SeqCst))
    }

    fn shift(&self, by: Duration) -> bool {
        self.advance(by);
        true
    }
}

impl ShiftedClock {
    /// A clock that as yet shows what `base` shows.
    pub fn over(base: Arc<dyn Clock>) -> Self {
        let now = base.now();
        Self { base, state: Mutex::new(Shift::Running(now, now)) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.change(|shift, _| match shift {
            Shift::Running(base, shown) => Shift::Running(base, shown.plus(by)),
            Shift::Stopped(shown) => Shift::Stopped(shown.plus(by)),
        });
    }

    /// Sets the clock. A service never goes back in time, whatever its clock does.
    pub fn set(&self, time: Timestamp) {
        self.change(|shift, base| match shift {
            Shift::Running(..) => Shift::Running(base, time),
            Shift::Stopped(_) => Shift::Stopped(time),
        });
    }

    /// Stops the clock, so that only [`ShiftedClock::advance`] and [`ShiftedClock::set`] move it, or lets it run again.
    pub fn stop(&self, stopped: bool) {
        self.change(|shift, base| match (shift, stopped) {
            (Shift::Running(..), true) => Shift::Stopped(shift.shown(base)),
            (Shift::Stopped(shown), false) => Shift::Running(base, shown),
            _ => shift,
        });
    }

    /// Whether the clock stands still.
    pub fn is_stopped(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), Shift::Stopped(_))
    }

    fn change(&self, to: impl FnOnce(Shift, Timestamp) -> Shift) {
        let base = self.base.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = to(*state, base);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let base = self.base.now();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).shown(base)
    }

    fn shift(&self, by: Duration) -> bool {
        self.advance(by);
        true
    }
}

impl Shift {
    fn shown(self, base: Timestamp) -> Timestamp {
        match self {
            Self::Running(from, shown) => shown.plus(base.since(from)),
            Self::Stopped(shown) => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_clock_runs_jumps_and_stops() {
        let at = Timestamp::from_seconds;
        let base = Arc::new(ManualClock::new(at(1_000)));
        let clock = ShiftedClock::over(Arc::clone(&base) as Arc<dyn Clock>);
        let step = Duration::from_secs(10);
        base.advance(step);
        assert_eq!(clock.now(), at(1_010));
        assert!(clock.shift(step));
        assert_eq!(clock.now(), at(1_020));
        clock.stop(true);
        base.advance(step);
        assert_eq!((clock.now(), clock.is_stopped()), (at(1_020), true));
        clock.advance(step);
        clock.stop(false);
        base.advance(step);
        assert_eq!(clock.now(), at(1_040));
        clock.set(at(5_000));
        base.advance(step);
        assert_eq!(clock.now(), at(5_010));
        assert!(!SystemClock.shift(step));
    }
}
