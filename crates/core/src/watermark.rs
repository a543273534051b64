//! How far a step is durable.
//!
//! Requests are sent in page order and finish in any order. The [`Tracker`] knows which are out; everything below the
//! lowest of them is done. That offset, the watermark, is all that a resumed run needs: it speaks of pages, not of
//! requests, so the next run may cut its requests differently.

use std::collections::BTreeSet;

use crate::page::{PageRange, Pages};

/// Follows the requests of one step. Ranges are sent in ascending order and do not overlap.
#[derive(Clone, Debug)]
pub struct Tracker {
    floor: Pages,
    reach: Pages,
    out: BTreeSet<PageRange>,
}

impl Tracker {
    /// Nothing sent yet; everything below `floor` was durable before.
    pub fn new(floor: Pages) -> Tracker {
        Tracker { floor, reach: Pages::ZERO, out: BTreeSet::new() }
    }

    /// A request for `range` is on its way.
    pub fn sent(&mut self, range: PageRange) {
        debug_assert!(range.start() >= self.reach, "requests are sent in page order");
        self.reach = self.reach.max(range.end());
        self.out.insert(range);
    }

    /// The request for `range`, as it was sent, is durable.
    pub fn finished(&mut self, range: PageRange) {
        let known = self.out.remove(&range);
        debug_assert!(known, "only what was sent can finish");
    }

    /// Every change below this page is durable.
    pub fn watermark(&self) -> Pages {
        let lowest = self.out.first().map_or(self.reach, |range| range.start());
        self.floor.max(lowest)
    }

    /// How far sending has run past the oldest unfinished request.
    pub fn spread(&self) -> Pages {
        self.out.first().map_or(Pages::ZERO, |range| self.reach.saturating_sub(range.start()))
    }

    /// The end of the last range sent.
    pub fn reach(&self) -> Pages {
        self.reach
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn the_oldest_unfinished_request_holds_the_watermark() {
        let mut tracker = Tracker::new(Pages::ZERO);
        tracker.sent(range(2, 4));
        tracker.sent(range(6, 8));
        assert_eq!(tracker.watermark(), Pages::new(2));
        tracker.finished(range(6, 8));
        assert_eq!(tracker.watermark(), Pages::new(2));
        assert_eq!(tracker.spread(), Pages::new(6));
        tracker.finished(range(2, 4));
        assert_eq!(tracker.watermark(), Pages::new(8));
    }

    #[test]
    fn repairs_below_the_floor_do_not_lower_it() {
        let mut tracker = Tracker::new(Pages::new(100));
        tracker.sent(range(2, 4));
        assert_eq!(tracker.watermark(), Pages::new(100));
        tracker.finished(range(2, 4));
        assert_eq!(tracker.watermark(), Pages::new(100));
        tracker.sent(range(100, 104));
        assert_eq!(tracker.watermark(), Pages::new(100));
        tracker.finished(range(100, 104));
        assert_eq!(tracker.watermark(), Pages::new(104));
    }
}
