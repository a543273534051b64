//! Pages and half-open ranges of pages.
//!
//! [`Pages`] is a position or a count in 512-byte pages; bytes are plain `u64`s whose names end in `bytes`. The two meet
//! only in the conversions below, so that a page number cannot be passed where a byte offset is meant.

use std::fmt;
use std::ops::{Add, Sub};

/// The size of a page, the unit in which page blobs are written, cleared and compared (REST: Put Page).
pub const PAGE_BYTES: u64 = 512;

/// The largest page blob the service makes: 8 TiB (REST: Put Blob).
pub const BLOB_BYTES_MAX: u64 = 8 << 40;

const _: () = assert!(BLOB_BYTES_MAX.is_multiple_of(PAGE_BYTES));

/// A position on a disk, or a length, counted in pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pages(u64);

impl Pages {
    /// The first page, or no pages at all.
    pub const ZERO: Pages = Pages(0);
    /// A position beyond every disk.
    pub const END: Pages = Pages(u64::MAX / PAGE_BYTES);

    /// `count` pages; counts beyond the addressable end are held there.
    pub const fn new(count: u64) -> Pages {
        if count > Pages::END.0 { Pages::END } else { Pages(count) }
    }

    /// The pages in `bytes`, if that is a whole number of them.
    pub const fn from_bytes(bytes: u64) -> Option<Pages> {
        if bytes.is_multiple_of(PAGE_BYTES) { Some(Pages(bytes / PAGE_BYTES)) } else { None }
    }

    /// The number of pages.
    pub const fn count(self) -> u64 {
        self.0
    }

    /// The same length, or the offset of the page, in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 * PAGE_BYTES
    }

    /// The difference, or nothing where `other` is larger.
    pub const fn saturating_sub(self, other: Pages) -> Pages {
        Pages(self.0.saturating_sub(other.0))
    }

    /// The start of the grid cell of `cell` pages that follows the one this page is in.
    pub const fn next_multiple(self, cell: Pages) -> Pages {
        Pages::new((self.0 / cell.0 + 1).saturating_mul(cell.0))
    }
}

impl Add for Pages {
    type Output = Pages;
    fn add(self, other: Pages) -> Pages {
        Pages::new(self.0.saturating_add(other.0))
    }
}

impl Sub for Pages {
    type Output = Pages;
    fn sub(self, other: Pages) -> Pages {
        debug_assert!(self.0 >= other.0, "{self} - {other} would be negative");
        Pages(self.0 - other.0)
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}p", self.0)
    }
}

/// A non-empty run of pages, half-open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageRange {
    start: Pages,
    end: Pages,
}

impl PageRange {
    /// The pages from `start` up to, not including, `end`; `None` where that is no page.
    pub fn new(start: Pages, end: Pages) -> Option<PageRange> {
        (start < end).then_some(PageRange { start, end })
    }

    /// The pages of a whole disk of `size`; `None` for an empty one.
    pub fn whole(size: Pages) -> Option<PageRange> {
        PageRange::new(Pages::ZERO, size)
    }

    /// The pages of a range as the wire writes it, with an inclusive last byte; `None` unless both ends are aligned.
    pub fn from_inclusive_bytes(first: u64, last: u64) -> Option<PageRange> {
        PageRange::new(Pages::from_bytes(first)?, Pages::from_bytes(last.checked_add(1)?)?)
    }

    /// The first page.
    pub fn start(self) -> Pages {
        self.start
    }

    /// The page after the last.
    pub fn end(self) -> Pages {
        self.end
    }

    /// How many pages; never none.
    pub fn pages(self) -> Pages {
        self.end - self.start
    }

    /// The length in bytes.
    pub fn bytes(self) -> u64 {
        self.pages().bytes()
    }

    /// The first and the last byte, both inclusive, as headers want them.
    pub fn inclusive_bytes(self) -> (u64, u64) {
        (self.start.bytes(), self.end.bytes() - 1)
    }

    /// The pages in both ranges.
    pub fn intersection(self, other: PageRange) -> Option<PageRange> {
        PageRange::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// Consecutive pieces that end on multiples of `cell` pages, so that the same pages are always cut alike.
    pub fn cut(self, cell: Pages) -> impl Iterator<Item = PageRange> {
        debug_assert!(cell > Pages::ZERO);
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let range = rest?;
            let end = range.start.next_multiple(cell).min(range.end);
            rest = PageRange::new(end, range.end);
            PageRange::new(range.start, end)
        })
    }
}

impl fmt::Display for PageRange {
    /// As inclusive bytes, because that is what people find in the service's own logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.inclusive_bytes();
        write!(f, "bytes {first}-{last}")
    }
}

impl fmt::Debug for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn the_wire_counts_inclusive_bytes() {
        assert_eq!(PageRange::from_inclusive_bytes(512, 1535), Some(range(1, 3)));
        assert_eq!(range(1, 3).inclusive_bytes(), (512, 1535));
        for (first, last) in [(0, 0), (0, 512), (1, 511), (512, 511), (0, u64::MAX), (1024, 511)] {
            assert_eq!(PageRange::from_inclusive_bytes(first, last), None, "{first}-{last}");
        }
    }

    #[test]
    fn pieces_end_on_the_grid_and_cover_the_range() {
        let pieces: Vec<_> = range(3, 17).cut(Pages::new(8)).collect();
        assert_eq!(pieces, [range(3, 8), range(8, 16), range(16, 17)]);
    }

    #[test]
    fn positions_beyond_the_end_are_held_there() {
        assert_eq!(Pages::new(u64::MAX), Pages::END);
        assert_eq!(Pages::END + Pages::new(1), Pages::END);
        assert_eq!(Pages::END.next_multiple(Pages::new(8192)), Pages::END);
    }
}
