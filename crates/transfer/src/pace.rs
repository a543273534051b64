//! How many requests to keep in flight.
//!
//! The pipeline asks a [`Pace`] before it sends and tells it how everything went. [`Aimd`] finds the limit of a service
//! that does not announce one: it adds a request for every round that went well and takes a third away when one was
//! refused.

use crate::relay::Settled;

/// Decides how many requests may be in flight.
pub trait Pace: Send {
    /// How many, now; at least one.
    fn in_flight_max(&self) -> usize;

    /// Learns how a change went.
    fn observe(&mut self, settled: &Settled);
}

/// Always the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed(pub usize);

impl Pace for Fixed {
    fn in_flight_max(&self) -> usize {
        self.0.max(1)
    }

    fn observe(&mut self, _settled: &Settled) {}
}

/// Additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    window: f64,
    max: usize,
    /// Settled changes to ignore after a decrease: they were sent before it and tell nothing about it.
    deaf: usize,
}

/// What a window is multiplied by when a request was refused.
const DECREASE: f64 = 0.65;

impl Aimd {
    /// Starts with `start` in flight and never exceeds `max`.
    pub fn new(start: usize, max: usize) -> Aimd {
        let max = max.max(1);
        Aimd { window: f64::from(u32::try_from(start.clamp(1, max)).unwrap_or(u32::MAX)), max, deaf: 0 }
    }
}

impl Default for Aimd {
    fn default() -> Self {
        Aimd::new(8, 64)
    }
}

impl Pace for Aimd {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the window is from 1 to max")]
    fn in_flight_max(&self) -> usize {
        (self.window as usize).clamp(1, self.max)
    }

    fn observe(&mut self, settled: &Settled) {
        if self.deaf > 0 {
            self.deaf -= 1;
        } else if settled.refused() > 0 {
            self.window = (self.window * DECREASE).max(1.0);
            self.deaf = self.in_flight_max();
        } else {
            let max = f64::from(u32::try_from(self.max).unwrap_or(u32::MAX));
            self.window = (self.window + 1.0 / self.window).min(max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_core::{Change, PageRange, Pages};
    use pageferry_store::Receipt;

    fn settled(refused: u32) -> Settled {
        let range = PageRange::new(Pages::ZERO, Pages::new(1)).unwrap();
        let sent = Receipt { attempts: 1, refused, ..Receipt::default() };
        Settled { change: Change::clear(range), read: None, sent, written_bytes: 0 }
    }

    #[test]
    fn the_window_grows_by_one_a_round_up_to_its_limit() {
        let mut pace = Aimd::new(4, 6);
        for _ in 0..5 {
            pace.observe(&settled(0));
        }
        assert_eq!(pace.in_flight_max(), 5);
        for _ in 0..100 {
            pace.observe(&settled(0));
        }
        assert_eq!(pace.in_flight_max(), 6);
    }

    #[test]
    fn one_burst_of_refusals_counts_once() {
        let mut pace = Aimd::new(20, 64);
        for _ in 0..10 {
            pace.observe(&settled(1));
        }
        assert_eq!(pace.in_flight_max(), 13);
    }

    #[test]
    fn something_may_always_be_sent() {
        let mut pace = Aimd::new(1, 64);
        for _ in 0..100 {
            pace.observe(&settled(1));
        }
        assert_eq!(pace.in_flight_max(), 1);
    }
}
