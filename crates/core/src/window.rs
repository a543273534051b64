//! Windows over a disk, in which the service is asked what changed.
//!
//! A question about a badly fragmented disk can take the service longer than it allows itself, and more time does not
//! help; a smaller question does (REST: Get Page Ranges). A question about an empty disk costs one request however
//! large it is. And several questions can be asked at once, while the parts of one answer must be fetched one after the
//! other. So windows begin large, shrink while the service runs out of time or needs several answers for one, and grow
//! while answers are short.

use crate::page::{PAGE_BYTES, PageRange, Pages};

/// The first window: 64 GiB. A smaller disk is asked about as a whole.
pub const WINDOW_PAGES_FIRST: Pages = Pages::new((64 << 30) / PAGE_BYTES);

/// The largest window: 512 GiB.
pub const WINDOW_PAGES_MAX: Pages = Pages::new((512 << 30) / PAGE_BYTES);

/// The smallest window, which the service lists in time even where every other page changed: 128 MiB.
pub const WINDOW_PAGES_MIN: Pages = Pages::new((128 << 20) / PAGE_BYTES);

const _: () = assert!(WINDOW_PAGES_FIRST.count().is_power_of_two());
const _: () = assert!(WINDOW_PAGES_MAX.count().is_power_of_two() && WINDOW_PAGES_MIN.count().is_power_of_two());

/// The windows over a disk from its start to its end, each page in exactly one of those that are not halved.
///
/// Windows end on multiples of their size. Several may be out at once; what becomes of each is told here, and shapes
/// those that follow.
#[derive(Clone, Debug)]
pub struct Windows {
    at: Pages,
    size: Pages,
    window: Pages,
    /// The most ranges seen in an answer that was cut off: what an answer holds.
    full: usize,
}

impl Windows {
    /// Windows over a disk of `size`.
    pub fn new(size: Pages) -> Windows {
        Windows { at: Pages::ZERO, size, window: WINDOW_PAGES_FIRST, full: 0 }
    }

    /// The next pages to ask about; `None` once all have been given out.
    #[expect(clippy::should_implement_trait, reason = "what it gives out next depends on what it is told in between")]
    pub fn next(&mut self) -> Option<PageRange> {
        let next = PageRange::new(self.at, self.at.next_multiple(self.window).min(self.size))?;
        self.at = next.end();
        Some(next)
    }

    /// All of `asked` was answered at once, with `ranges`. Dares twice as much, unless that may not fit into one answer.
    pub fn answered(&mut self, asked: PageRange, ranges: usize) {
        // Only a window of the present size says anything about it, and the first of several is enough.
        if asked.pages() == self.window && (self.full == 0 || ranges.saturating_mul(2) <= self.full) {
            self.window = Pages::new(self.window.count() * 2).min(WINDOW_PAGES_MAX);
        }
    }

    /// An answer of `ranges` took only the first `covered` pages of what was asked, and the rest must be asked for in
    /// turn. Asks for less at once from here on; but not at once for very much less, as this may be a dense spot.
    pub fn cut_off(&mut self, covered: Pages, ranges: usize) {
        self.full = self.full.max(ranges);
        let fits = Pages::new(1 << covered.count().max(1).ilog2());
        let quarter = Pages::new(self.window.count() / 4);
        self.window = fits.max(quarter).max(WINDOW_PAGES_MIN).min(self.window);
    }

    /// `asked` took too long: the two windows to ask about instead, of which the first is half as large, or less where
    /// `asked` starts off the grid or ends with the disk. `None` if it is as small as it gets.
    pub fn timed_out(&mut self, asked: PageRange) -> Option<(PageRange, PageRange)> {
        let mut cell = Pages::new(asked.pages().count().next_power_of_two());
        while cell > WINDOW_PAGES_MIN {
            cell = Pages::new(cell.count() / 2);
            let middle = asked.start().next_multiple(cell);
            if let (Some(first), Some(rest)) =
                (PageRange::new(asked.start(), middle), PageRange::new(middle, asked.end()))
            {
                self.window = self.window.min(cell.max(WINDOW_PAGES_MIN));
                return Some((first, rest));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = (1 << 20) / PAGE_BYTES;
    const GIB: u64 = 1024 * MIB;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn a_disk_that_answers_is_asked_about_in_large_windows() {
        let mut windows = Windows::new(Pages::new(8192 * GIB));
        let mut asked = Vec::new();
        while let Some(next) = windows.next() {
            asked.push(next.pages().count() / GIB);
            windows.answered(next, 0);
        }
        assert_eq!(asked[..4], [64, 64, 128, 256]);
        assert_eq!(asked.len(), 4 + 15, "{asked:?}");
        assert_eq!(windows.next(), None);
    }

    #[test]
    fn a_disk_smaller_than_the_first_window_is_asked_about_as_a_whole() {
        assert_eq!(Windows::new(Pages::new(64 * GIB)).next(), Some(range(0, 64 * GIB)));
        assert_eq!(Windows::new(Pages::ZERO).next(), None);
    }

    #[test]
    fn answers_that_are_cut_off_make_windows_that_fit_into_one() {
        let mut windows = Windows::new(Pages::new(8192 * GIB));
        let first = windows.next().unwrap();
        windows.cut_off(Pages::new(20 * GIB), 10_000);
        assert_eq!(windows.next(), Some(range(64 * GIB, 80 * GIB)));
        windows.answered(range(64 * GIB, 80 * GIB), 8_000);
        assert_eq!(windows.next(), Some(range(80 * GIB, 96 * GIB)), "twice as much would not fit");
        windows.answered(range(80 * GIB, 96 * GIB), 5_000);
        assert_eq!(windows.next(), Some(range(96 * GIB, 128 * GIB)));
        windows.answered(first, 0);
        assert_eq!(windows.next(), Some(range(128 * GIB, 160 * GIB)), "a window of another time says nothing");
        windows.cut_off(Pages::new(1), 10_000);
        assert_eq!(windows.next(), Some(range(160 * GIB, 168 * GIB)), "a dense spot is only a spot");
        for _ in 0..9 {
            windows.cut_off(Pages::ZERO, 10_000);
        }
        assert_eq!(windows.next(), Some(range(168 * GIB, 168 * GIB + 128 * MIB)));
    }

    #[test]
    fn windows_halve_to_the_smallest_and_grow_again() {
        let mut windows = Windows::new(Pages::new(1024 * GIB));
        let mut asked = windows.next().unwrap();
        for halvings in 1..=9 {
            let (first, rest) = windows.timed_out(asked).unwrap();
            assert_eq!(first, range(0, (64 * GIB) >> halvings));
            assert_eq!(rest, range(first.end().count(), asked.end().count()));
            asked = first;
        }
        assert_eq!(windows.timed_out(asked), None);
        let sizes: Vec<u64> = std::iter::from_fn(|| {
            let next = windows.next()?;
            windows.answered(next, 0);
            Some(next.pages().count() / (128 * MIB))
        })
        .collect();
        assert_eq!(sizes[..10], [1, 1, 2, 4, 8, 16, 32, 64, 128, 256]);
    }

    #[test]
    fn a_time_out_always_makes_the_question_smaller() {
        let timed_out = |start, end| Windows::new(Pages::new(GIB)).timed_out(range(start, end));
        assert_eq!(timed_out(0, GIB), Some((range(0, GIB / 2), range(GIB / 2, GIB))));
        let (start, end) = (64 * GIB - 192 * MIB, 64 * GIB);
        assert_eq!(timed_out(start, end), Some((range(start, start + 64 * MIB), range(start + 64 * MIB, end))));
        assert_eq!(timed_out(start, start + 64 * MIB), None);
    }

    proptest! {
        #[test]
        fn every_page_is_answered_exactly_once(length in 0..4000 * GIB, fates: Vec<(u8, u64)>) {
            let mut windows = Windows::new(Pages::new(length));
            let mut fates = fates.into_iter();
            let (mut at, mut stack) = (Pages::ZERO, Vec::new());
            while let Some(asked) = stack.pop().or_else(|| windows.next()) {
                prop_assert_eq!(asked.start(), at);
                prop_assert!(asked.pages() <= WINDOW_PAGES_MAX);
                let (fate, number) = fates.next().unwrap_or_default();
                match fate % 3 {
                    0 => windows.answered(asked, usize::from(fate)),
                    1 => windows.cut_off(Pages::new(number % asked.pages().count()), usize::from(fate)),
                    _ => match windows.timed_out(asked) {
                        Some((first, rest)) => {
                            prop_assert!(first.pages() <= asked.pages() && first.end() == rest.start());
                            stack.extend([rest, first]);
                            continue;
                        }
                        None => prop_assert!(asked.pages() <= WINDOW_PAGES_MIN),
                    },
                }
                at = asked.end();
            }
            prop_assert_eq!(at, Pages::new(length));
        }
    }
}
