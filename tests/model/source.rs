//! The disk: four immutable snapshots of two pages, and what the service says about the differences between them.
//!
//! The snapshots are chosen to be nasty. `S3` gives page 0 the bytes it had in `S1`, so that a difference between
//! these two, taken by content, does not mention a page that `S2` changed. `S2` clears page 1. Neighbouring steps change
//! the same page, so that a late write of one can spoil the next.

/// How many pages the disk has.
pub const PAGES: u8 = 2;

/// What the pages hold; zero is a page that is not allocated.
pub type Pages = [u8; PAGES as usize];

/// A set of pages, one bit each.
pub type Set = u8;

/// All pages.
pub const ALL: Set = (1 << PAGES) - 1;

/// The snapshots, oldest first.
pub const CHAIN: [Pages; 4] = [[1, 1], [2, 1], [3, 0], [2, 4]];

/// The newest snapshot.
pub const LAST: u8 = 3;

/// The snapshot that somebody may delete at any time.
pub const DELETABLE: u8 = 2;

/// What the foreign writer writes: no snapshot holds it.
pub const FOREIGN: u8 = 9;

/// The pages of `CHAIN[snapshot]`.
pub fn content(snapshot: u8) -> Pages {
    CHAIN[usize::from(snapshot)]
}

/// The pages that differ between two snapshots, by content: the least that any tracker may report.
pub fn difference(from: u8, to: u8) -> Set {
    let (from, to) = (content(from), content(to));
    set(|page| from[page] != to[page])
}

/// The pages of which `holds` is true, given their index.
pub fn set(holds: impl Fn(usize) -> bool) -> Set {
    pages().filter(|page| holds(usize::from(*page))).fold(0, |set, page| set | bit(page))
}

/// The pages, in the order a plan lists them.
pub fn pages() -> impl Iterator<Item = u8> {
    0..PAGES
}

/// The set of just `page`.
pub fn bit(page: u8) -> Set {
    1 << page
}

/// The pages at or above `watermark`.
pub fn from_watermark(watermark: u8) -> Set {
    ALL & !((1 << watermark) - 1)
}

/// The lowest page of `set`; the end of the disk where there is none.
pub fn lowest(set: Set) -> u8 {
    pages().find(|page| set & bit(*page) != 0).unwrap_or(PAGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_snapshot_hides_a_page_from_the_difference() {
        assert_eq!(difference(1, 2), 0b11);
        assert_eq!(difference(1, 3), 0b10);
        assert_eq!(difference(0, 1) & difference(1, 2), 0b01, "neighbours share a page");
        assert_eq!(difference(2, 3), 0b11);
    }

    #[test]
    fn sets_are_counted_from_page_zero() {
        assert_eq!((from_watermark(0), from_watermark(1), from_watermark(2)), (0b11, 0b10, 0));
        assert_eq!((lowest(0b10), lowest(0b11), lowest(0)), (1, 0, 2));
    }
}
