//! What was sent in the last seconds and not refused.

use std::time::Duration;

use tokio::time::Instant;

/// Requests and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Amount {
    /// How many requests.
    pub requests: u64,
    /// How many bytes they carried.
    pub bytes: u64,
}

/// Amounts by the time they were sent, for as long as answers to them matter.
#[derive(Clone, Debug)]
pub struct History {
    began: Instant,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which slot of time this is, counted from the beginning.
    number: u64,
    amount: Amount,
}

/// How finely times are told apart.
const SLOT: Duration = Duration::from_millis(10);

/// How many slots are remembered: four seconds.
const SLOTS: u64 = 400;

impl History {
    /// A history that begins now.
    pub fn new(now: Instant) -> History {
        History { began: now, slots: vec![Slot::default(); usize::try_from(SLOTS).unwrap_or_default()] }
    }

    /// `bytes` are sent in one request.
    pub fn sent(&mut self, now: Instant, bytes: u64) {
        let number = self.number(now);
        if let Some(slot) = self.slot(number) {
            if slot.number != number {
                *slot = Slot { number, amount: Amount::default() };
            }
            slot.amount.requests += 1;
            slot.amount.bytes += bytes;
        }
    }

    /// What was sent then was refused after all.
    pub fn refused(&mut self, sent_at: Instant, bytes: u64) {
        let number = self.number(sent_at);
        if let Some(slot) = self.slot(number).filter(|slot| slot.number == number) {
            slot.amount.requests = slot.amount.requests.saturating_sub(1);
            slot.amount.bytes = slot.amount.bytes.saturating_sub(bytes);
        }
    }

    /// What was sent in the second that ended at `end`, and not refused as far as is known.
    pub fn second(&self, end: Instant) -> Amount {
        let last = self.number(end);
        let first = (last + 1).saturating_sub(u64::try_from(1000 / SLOT.as_millis()).unwrap_or(1));
        let within = self.slots.iter().filter(|slot| (first..=last).contains(&slot.number));
        within.fold(Amount::default(), |sum, slot| Amount {
            requests: sum.requests + slot.amount.requests,
            bytes: sum.bytes + slot.amount.bytes,
        })
    }

    /// Slots are counted from one, so that no slot is what an empty one is called.
    fn number(&self, at: Instant) -> u64 {
        let slots = at.saturating_duration_since(self.began).as_millis() / SLOT.as_millis();
        u64::try_from(slots).unwrap_or(u64::MAX - 1) + 1
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(number % SLOTS).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_what_was_sent_in_it_and_not_refused() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut history = History::new(began);
        for millis in [0, 500, 501, 999, 1400, 9000] {
            history.sent(at(millis), 10);
        }
        let requests = |millis| history.second(at(millis)).requests;
        assert_eq!([requests(0), requests(999), requests(1400), requests(1510), requests(9000)], [1, 4, 4, 2, 1]);
        history.refused(at(1400), 10);
        assert_eq!(history.second(at(1510)), Amount { requests: 1, bytes: 10 });
    }
}
