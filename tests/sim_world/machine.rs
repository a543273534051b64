//! Machines whose time stands still while anybody works, and whose chance a seed decides.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use pageferry_emulator::Timestamp;
use pageferry_replicate::Machine;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::dice::Dice;

/// Time that passes only when everybody waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paused {
    base: SystemTime,
    start: Instant,
}

impl Paused {
    pub(super) fn new() -> Paused {
        Paused { base: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), start: Instant::now() }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.base + self.start.elapsed()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl pageferry_emulator::Clock for Paused {
    fn now(&self) -> Timestamp {
        Paused::now(self).into()
    }
}

/// What one process runs on. Its ids are in what it writes, so that a bit flipped there hits the same one every time.
#[derive(Debug)]
pub(super) struct SimMachine {
    clock: Paused,
    dice: Mutex<Dice>,
}

impl SimMachine {
    /// A machine with ids of its own, which takes nothing from `dice`.
    pub(super) fn new(clock: Paused, dice: &Dice) -> SimMachine {
        SimMachine { clock, dice: Mutex::new(dice.clone().fork()) }
    }
}

impl Machine for SimMachine {
    fn uptime(&self) -> Duration {
        self.clock.elapsed()
    }

    fn date(&self) -> OffsetDateTime {
        self.clock.now().into()
    }

    fn fresh_id(&self) -> String {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let (high, low) = (dice.any(), dice.any());
        let (node, clock) = (low & 0xFFFF_FFFF_FFFF, low >> 48);
        format!("{:08x}-{:04x}-{:04x}-{clock:04x}-{node:012x}", high >> 32, (high >> 16) & 0xFFFF, high & 0xFFFF)
    }
}
