//! What happened to pages between two snapshots, in canonical form.
//!
//! The service reports changes by operation, cuts its answers where it likes, may report coarse ranges and may leave
//! adjacent ones unmerged. [`Canon`] turns any such sequence, read in order, into the one shortest sorted list that
//! means the same, and refuses a page that is reported both written and cleared: that is no difference at all.

use crate::page::{PageRange, Pages};

/// What was done to a page last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// The page was written; its content is in the later snapshot.
    Write,
    /// The page was cleared; it is unallocated and reads as zeros.
    Clear,
}

/// A run of pages that was written, or cleared, between two snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    /// What was done.
    pub kind: Kind,
    /// To which pages.
    pub range: PageRange,
}

impl Change {
    /// A write of `range`.
    pub fn write(range: PageRange) -> Change {
        Change { kind: Kind::Write, range }
    }

    /// A clear of `range`.
    pub fn clear(range: PageRange) -> Change {
        Change { kind: Kind::Clear, range }
    }

    /// The part of the change inside `window`.
    pub fn clipped(self, window: PageRange) -> Option<Change> {
        Some(Change { kind: self.kind, range: self.range.intersection(window)? })
    }
}

/// Why a reported list is no difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiffError {
    /// One page, two fates.
    #[error("{0} are reported both written and cleared")]
    Contradiction(PageRange),
    /// A range starts before pages that were already accounted for.
    #[error("{0} are reported after later pages")]
    OutOfOrder(PageRange),
}

/// A whole difference in memory: sorted, disjoint, merged. For lists that are known to be short; see [`Canon`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff(Vec<Change>);

impl Diff {
    /// The difference that `reported`, in any order and cut in any way, describes.
    ///
    /// # Errors
    /// [`DiffError::Contradiction`] where a page is reported both written and cleared.
    pub fn new(reported: impl IntoIterator<Item = Change>) -> Result<Diff, DiffError> {
        let mut reported: Vec<Change> = reported.into_iter().collect();
        reported.sort_by_key(|change| (change.range.start(), change.range.end()));
        let mut canon = Canon::default();
        let mut merged = Vec::new();
        for change in reported {
            merged.extend(canon.push(change)?);
        }
        merged.extend(canon.finish());
        Ok(Diff(merged))
    }

    /// The changes in page order.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }
}

/// Brings changes that arrive in page order into canonical form, holding one of them at a time.
#[derive(Debug, Default)]
pub struct Canon {
    held: Option<Change>,
    /// Where the next change may start.
    floor: Pages,
}

impl Canon {
    /// Takes the next reported change; gives back the one before it once nothing can be joined to that any more.
    ///
    /// # Errors
    /// [`DiffError::Contradiction`] for overlapping ranges of different kinds; [`DiffError::OutOfOrder`] for a range that
    /// starts below one taken before.
    pub fn push(&mut self, change: Change) -> Result<Option<Change>, DiffError> {
        if change.range.start() < self.floor {
            return Err(DiffError::OutOfOrder(change.range));
        }
        self.floor = change.range.start();
        let Some(held) = self.held else {
            self.held = Some(change);
            return Ok(None);
        };
        if change.kind == held.kind && change.range.start() <= held.range.end() {
            let end = held.range.end().max(change.range.end());
            let joined = PageRange::new(held.range.start(), end).unwrap_or(held.range);
            self.held = Some(Change { kind: held.kind, range: joined });
            return Ok(None);
        }
        if let Some(overlap) = held.range.intersection(change.range) {
            return Err(DiffError::Contradiction(overlap));
        }
        self.held = Some(change);
        Ok(Some(held))
    }

    /// The last change, when the list has ended.
    pub fn finish(&mut self) -> Option<Change> {
        let held = self.held.take()?;
        self.floor = held.range.end();
        Some(held)
    }
}

/// Checks changes that arrive in page order, and trims what was said before, without holding any back: pages can move
/// before a list has ended. Neighbours stay unjoined; [`Canon`] joins them.
#[derive(Debug, Default)]
pub struct InOrder {
    /// The run of one kind that the last changes form together.
    run: Option<Change>,
    /// Where the last change started.
    start: Pages,
}

impl InOrder {
    /// The part of the next reported change that is news; `None` where it says nothing new.
    ///
    /// # Errors
    /// As [`Canon::push`].
    pub fn push(&mut self, change: Change) -> Result<Option<Change>, DiffError> {
        if change.range.start() < self.start {
            return Err(DiffError::OutOfOrder(change.range));
        }
        self.start = change.range.start();
        let Some(run) = self.run else {
            self.run = Some(change);
            return Ok(Some(change));
        };
        if let Some(overlap) = run.range.intersection(change.range).filter(|_| change.kind != run.kind) {
            return Err(DiffError::Contradiction(overlap));
        }
        let news = PageRange::new(change.range.start().max(run.range.end()), change.range.end());
        if change.kind == run.kind && change.range.start() <= run.range.end() {
            let end = run.range.end().max(change.range.end());
            self.run = PageRange::new(run.range.start(), end).map(|range| Change { kind: run.kind, range });
        } else {
            self.run = Some(change);
        }
        Ok(news.map(|range| Change { kind: change.kind, range }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn neighbours_of_a_kind_are_joined_and_others_are_not() {
        let reported = [Change::write(range(4, 6)), Change::write(range(0, 4)), Change::clear(range(6, 8))];
        assert_eq!(Diff::new(reported).unwrap().changes(), [Change::write(range(0, 6)), Change::clear(range(6, 8))]);
    }

    #[test]
    fn a_page_both_written_and_cleared_is_refused() {
        let reported = [Change::write(range(0, 4)), Change::clear(range(3, 5))];
        assert_eq!(Diff::new(reported), Err(DiffError::Contradiction(range(3, 4))));
    }

    #[test]
    fn going_back_is_refused() {
        let mut canon = Canon::default();
        canon.push(Change::write(range(8, 9))).unwrap();
        assert_eq!(canon.push(Change::write(range(0, 1))), Err(DiffError::OutOfOrder(range(0, 1))));
    }

    #[test]
    fn going_back_inside_what_was_joined_is_refused_by_both_readers() {
        let (mut canon, mut order) = (Canon::default(), InOrder::default());
        for change in [Change::write(range(0, 9)), Change::write(range(3, 12))] {
            canon.push(change).unwrap();
            order.push(change).unwrap();
        }
        let back = Change::write(range(1, 2));
        assert_eq!(canon.push(back), Err(DiffError::OutOfOrder(range(1, 2))));
        assert_eq!(order.push(back), Err(DiffError::OutOfOrder(range(1, 2))));
    }

    #[test]
    fn what_was_said_before_is_trimmed_and_checked() {
        let mut order = InOrder::default();
        assert_eq!(order.push(Change::write(range(0, 4))), Ok(Some(Change::write(range(0, 4)))));
        assert_eq!(order.push(Change::write(range(2, 6))), Ok(Some(Change::write(range(4, 6)))));
        assert_eq!(order.push(Change::write(range(3, 5))), Ok(None));
        assert_eq!(order.push(Change::clear(range(5, 7))), Err(DiffError::Contradiction(range(5, 6))));
        assert_eq!(order.push(Change::write(range(1, 9))), Err(DiffError::OutOfOrder(range(1, 9))));
    }

    #[test]
    fn a_contradiction_hidden_inside_a_longer_range_is_found() {
        let reported = [Change::write(range(0, 9)), Change::write(range(1, 2)), Change::clear(range(5, 6))];
        assert_eq!(Diff::new(reported), Err(DiffError::Contradiction(range(5, 6))));
    }
}
