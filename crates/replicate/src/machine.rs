//! What a run takes from the machine it is on: the time, and chance.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

/// The machine under a run. Handed in, so that a simulated run repeats itself to the last byte.
pub trait Machine: fmt::Debug + Send + Sync {
    /// How long the machine has been up, the time it was suspended included. The clock that timers run on stands still
    /// while a machine sleeps, and a lease does not.
    fn uptime(&self) -> Duration;

    /// The date, for people; nothing is decided by it.
    fn date(&self) -> OffsetDateTime;

    /// An id that nothing else has: of a run, of a lease.
    fn fresh_id(&self) -> String;
}

/// The machine that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    /// The kernel's `CLOCK_BOOTTIME`.
    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn date(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn fresh_id(&self) -> String {
        Uuid::new_v4().to_string()
    }
}
