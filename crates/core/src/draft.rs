//! What is to be done to the target, page by page.
//!
//! A step applies the source's difference. A step that goes on after an interruption, or that repairs, also sets right
//! every page that the *target's* own tracker reports as touched since its newest point and that the source's
//! difference does not mention: such a page must get the content it has in the source snapshot, which is data where the
//! snapshot has it allocated, and nothing where not.
//!
//! Four lists are walked side by side. [`Draft`] says which of them it wants next and does no I/O, so that plans of any
//! length are made while the lists arrive and in the memory of one change of each.

use crate::change::{Canon, Change, DiffError, Kind};
use crate::page::{PageRange, Pages};
use crate::plan::{ChunkPolicy, Cutter, PlanDigest, PlanSummary};
use crate::walk::{Stretch, Walk};

/// The source's difference; for a seed, its page list.
pub const SOURCE: usize = 0;

/// Pages that may be wrong on the target.
pub const OWN: usize = 1;

/// The pages that are allocated in the source snapshot.
pub const ALLOCATED: usize = 2;

/// The pages that are allocated on the target.
pub const HELD: usize = 3;

/// A plan that is being made from its lists.
#[derive(Debug)]
pub struct Draft {
    walk: Walk<4>,
    watermark: Pages,
    chunks: ChunkPolicy,
    cutter: Cutter,
    /// Counting needs whole runs, which stretches must be joined again to give.
    planned: Canon,
    difference: Canon,
    tally: Tally,
    ended: bool,
}

/// What a [`Draft`] has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drawn {
    /// The next request, in page order.
    Request(Change),
    /// More of a list is wanted: [`Draft::wants`].
    Wanting,
    /// The plan is complete.
    End,
}

/// What a plan amounts to, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The source's difference.
    pub difference: PlanSummary,
    /// What is left to do: without what an interrupted run has done, with what it must set right.
    pub planned: PlanSummary,
    /// The name of the source's difference.
    pub digest: PlanDigest,
}

impl Draft {
    /// A plan of which nothing is known yet. Changes of the source below `watermark` are durable already.
    pub fn new(watermark: Pages, chunks: ChunkPolicy) -> Draft {
        Draft {
            walk: Walk::new(),
            watermark,
            chunks,
            cutter: Cutter::new(chunks),
            planned: Canon::default(),
            difference: Canon::default(),
            tally: Tally::default(),
            ended: false,
        }
    }

    /// The list whose next change is needed before [`Draft::next`] can say more.
    pub fn wants(&self) -> Option<usize> {
        self.walk.wants()
    }

    /// The next change of `list`, or `None` at its end.
    ///
    /// # Errors
    /// [`DiffError`] where the list goes back.
    pub fn give(&mut self, list: usize, change: Option<Change>) -> Result<(), DiffError> {
        self.walk.give(list, change)
    }

    /// The next request that no further change can alter.
    ///
    /// # Errors
    /// [`DiffError`] where a list contradicts itself.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not ask for more input between items")]
    pub fn next(&mut self) -> Result<Drawn, DiffError> {
        loop {
            if let Some(change) = self.cutter.next() {
                return Ok(Drawn::Request(change));
            }
            if self.ended {
                return Ok(Drawn::End);
            }
            match self.walk.next() {
                Some(stretch) => self.consider(stretch)?,
                None if self.walk.wants().is_some() => return Ok(Drawn::Wanting),
                None => {
                    self.ended = true;
                    self.cutter.finish();
                    let (difference, planned) = (self.difference.finish(), self.planned.finish());
                    self.tally.take(difference, planned, &self.chunks);
                }
            }
        }
    }

    /// What the plan amounts to so far; complete once [`Draft::next`] has come to its end.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn consider(&mut self, stretch: Stretch<4>) -> Result<(), DiffError> {
        let said = stretch.says[SOURCE].map(|kind| Change { kind, range: stretch.range });
        let difference = match said {
            Some(change) => self.difference.push(change)?,
            None => None,
        };
        let planned = match decide(stretch, self.watermark) {
            Some(change) => {
                self.cutter.push(change);
                self.planned.push(change)?
            }
            None => None,
        };
        self.tally.take(difference, planned, &self.chunks);
        Ok(())
    }
}

impl Tally {
    fn take(&mut self, difference: Option<Change>, planned: Option<Change>, chunks: &ChunkPolicy) {
        if let Some(change) = difference {
            self.difference.count(change, chunks);
            self.digest.update(change);
        }
        if let Some(change) = planned {
            self.planned.count(change, chunks);
        }
    }
}

/// What must be done to a stretch of pages.
fn decide(stretch: Stretch<4>, watermark: Pages) -> Option<Change> {
    let Stretch { range, says } = stretch;
    match (says[SOURCE], says[OWN]) {
        (Some(kind), _) => {
            let left = PageRange::new(range.start().max(watermark), range.end())?;
            Some(Change { kind, range: left })
        }
        (None, own) => {
            let kind = if says[ALLOCATED].is_some() { Kind::Write } else { Kind::Clear };
            let missed = says[ALLOCATED].is_some() != says[HELD].is_some();
            (own.is_some() || missed).then_some(Change { kind, range })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(source: Option<Kind>, own: Option<Kind>, allocated: bool) -> Stretch<4> {
        let range = PageRange::new(Pages::new(10), Pages::new(20)).unwrap();
        let listed = allocated.then_some(Kind::Write);
        Stretch { range, says: [source, own, listed, listed] }
    }

    #[test]
    fn the_source_decides_above_the_watermark_and_the_snapshot_where_only_the_target_changed() {
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
        let at = |watermark, stretch| decide(stretch, Pages::new(watermark));
        assert_eq!(at(0, stretch(write, clear, true)), Some(Change::write(range(10, 20))));
        assert_eq!(at(15, stretch(clear, None, false)), Some(Change::clear(range(15, 20))));
        assert_eq!(at(20, stretch(write, write, true)), None);
        assert_eq!(at(99, stretch(None, write, true)), Some(Change::write(range(10, 20))));
        assert_eq!(at(99, stretch(None, write, false)), Some(Change::clear(range(10, 20))));
        assert_eq!(at(0, stretch(None, None, true)), None);
        let missed = |allocated, held| Stretch { says: [None, None, allocated, held], ..stretch(None, None, true) };
        assert_eq!(at(99, missed(write, None)), Some(Change::write(range(10, 20))), "lost without a trace");
        assert_eq!(at(99, missed(None, write)), Some(Change::clear(range(10, 20))), "there without a trace");
    }
}
