//! Windows over a disk, in which the service is asked what changed.
//!
//! A question about a badly fragmented disk can take the service longer than it allows itself, and more time does not
//! help; a smaller question does (REST: Get Page Ranges). A question about an empty disk costs one request however
//! large it is. So windows begin large, halve while the service runs out of time, and grow again when it answers.

use crate::page::{PAGE_BYTES, PageRange, Pages};

/// The largest window, and the first one: 64 GiB.
pub const WINDOW_PAGES_MAX: Pages = Pages::new((64 << 30) / PAGE_BYTES);

/// The smallest window, which the service lists in time even where every other page changed: 128 MiB.
pub const WINDOW_PAGES_MIN: Pages = Pages::new((128 << 20) / PAGE_BYTES);

const _: () = assert!(WINDOW_PAGES_MAX.count().is_power_of_two() && WINDOW_PAGES_MIN.count().is_power_of_two());

/// The windows over a disk from a start to its end, each page in exactly one of those that are answered.
///
/// Windows end on multiples of their size, so that after a restart at any page the same questions come up again.
#[derive(Clone, Debug)]
pub struct Windows {
    at: Pages,
    size: Pages,
    window: Pages,
}

impl Windows {
    /// Windows over the pages from `start` up to `size`, the size of the disk.
    pub fn new(start: Pages, size: Pages) -> Windows {
        Windows { at: start, size, window: WINDOW_PAGES_MAX }
    }

    /// The pages to ask about next; `None` once all have been answered.
    pub fn current(&self) -> Option<PageRange> {
        PageRange::new(self.at, self.at.next_multiple(self.window).min(self.size))
    }

    /// The current window has been answered: goes on to the next, and dares twice as much.
    pub fn answered(&mut self) {
        if let Some(current) = self.current() {
            self.at = current.end();
            self.window = Pages::new(self.window.count() * 2).min(WINDOW_PAGES_MAX);
        }
    }

    /// The current window took too long: halves it, or more where it starts off its grid or the disk ends in it.
    ///
    /// `false`, and no change, if it is as small as it gets.
    pub fn timed_out(&mut self) -> bool {
        let mut smaller = self.clone();
        while smaller.window > WINDOW_PAGES_MIN {
            smaller.window = Pages::new(smaller.window.count() / 2);
            if smaller.current() != self.current() {
                *self = smaller;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = (1 << 20) / PAGE_BYTES;
    const GIB: u64 = 1024 * MIB;

    fn range(start: u64, end: u64) -> Option<PageRange> {
        PageRange::new(Pages::new(start), Pages::new(end))
    }

    #[test]
    fn a_disk_that_answers_is_asked_about_in_large_windows() {
        let mut windows = Windows::new(Pages::ZERO, Pages::new(100 * GIB + 1));
        assert_eq!(windows.current(), range(0, 64 * GIB));
        windows.answered();
        assert_eq!(windows.current(), range(64 * GIB, 100 * GIB + 1));
        windows.answered();
        assert_eq!(windows.current(), None);
        windows.answered();
        assert_eq!(windows.current(), None);
        assert!(!windows.timed_out());
    }

    #[test]
    fn an_empty_rest_has_no_windows() {
        assert_eq!(Windows::new(Pages::ZERO, Pages::ZERO).current(), None);
        assert_eq!(Windows::new(Pages::new(9), Pages::new(9)).current(), None);
        assert_eq!(Windows::new(Pages::new(10), Pages::new(9)).current(), None);
    }

    #[test]
    fn windows_halve_to_the_smallest_and_grow_again() {
        let mut windows = Windows::new(Pages::ZERO, Pages::new(1024 * GIB));
        for halvings in 1..=9 {
            assert!(windows.timed_out());
            assert_eq!(windows.current(), range(0, (64 * GIB) >> halvings));
        }
        assert!(!windows.timed_out());
        assert_eq!(windows.current(), range(0, 128 * MIB));
        let mut ends = Vec::new();
        for _ in 0..12 {
            windows.answered();
            ends.push(windows.current().unwrap().end().count() / (128 * MIB));
        }
        assert_eq!(ends, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536, 2048]);
    }

    #[test]
    fn a_time_out_always_makes_the_question_smaller() {
        let mut small = Windows::new(Pages::ZERO, Pages::new(GIB));
        assert!(small.timed_out());
        assert_eq!(small.current(), range(0, GIB / 2));

        let start = 64 * GIB - 192 * MIB;
        let mut off_the_grid = Windows::new(Pages::new(start), Pages::new(128 * GIB));
        assert_eq!(off_the_grid.current(), range(start, 64 * GIB));
        assert!(off_the_grid.timed_out());
        assert_eq!(off_the_grid.current(), range(start, start + 64 * MIB));
        assert!(!off_the_grid.timed_out());
        assert_eq!(off_the_grid.current(), range(start, start + 64 * MIB));
    }

    proptest! {
        #[test]
        fn every_page_is_answered_exactly_once(
            start in 0..200 * GIB, length in 0..400 * GIB, time_outs: Vec<u8>,
        ) {
            let mut windows = Windows::new(Pages::new(start), Pages::new(start + length));
            let (mut at, mut time_outs) = (Pages::new(start), time_outs.into_iter());
            while let Some(asked) = windows.current() {
                prop_assert_eq!(asked.start(), at);
                prop_assert!(asked.pages() <= WINDOW_PAGES_MAX);
                let mut asked = asked;
                for _ in 0..time_outs.next().unwrap_or(0) % 12 {
                    if !windows.timed_out() {
                        prop_assert!(asked.pages() <= WINDOW_PAGES_MIN);
                        prop_assert_eq!(windows.current(), Some(asked));
                        break;
                    }
                    let smaller = windows.current().unwrap();
                    prop_assert_eq!(smaller.start(), asked.start());
                    prop_assert!(smaller.end() < asked.end());
                    asked = smaller;
                }
                at = asked.end();
                windows.answered();
            }
            prop_assert_eq!(at, Pages::new(start + length));
        }
    }
}
