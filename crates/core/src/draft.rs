//! What is to be done to the target, page by page.
//!
//! A step applies the source's difference. A step that goes on after an interruption, or that repairs, also sets right
//! every page that the *target's* own tracker reports as touched since its newest point and that the source's
//! difference does not mention: such a page must get the content it has in the source snapshot, which is data where the
//! snapshot has it allocated, and nothing where not.
//!
//! Where that pays, short gaps between writes are filled ([`crate::fill`]): the pages of a gap are treated as written by the
//! difference, and only the name of the difference and its size know better. And there, neighbouring clears become one where
//! nothing lies between them ([`crate::joint`]).
//!
//! Four lists are walked side by side. [`Draft`] says which of them it wants next and does no I/O, so that plans of any
//! length are made while the lists arrive and in the memory of one change of each.

use crate::change::{Canon, Change, DiffError, Kind};
use crate::fill::Filler;
use crate::joint::Joint;
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
    bounds: Bounds,
    filler: Filler<Stretch<4>>,
    joint: Joint,
    cutter: Cutter,
    /// Counting needs whole runs, which stretches must be joined again to give.
    planned: Canon,
    unfilled: Canon,
    difference: Canon,
    tally: Tally,
    phase: Phase,
}

/// How far a plan has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Listing,
    /// The lists have ended; what was held back is still to be planned.
    Listed,
    Ended,
}

/// What a plan is made within.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Changes of the source below this page, and gaps filled there, are durable already.
    pub watermark: Pages,
    /// How requests are cut.
    pub chunks: ChunkPolicy,
    /// The longest gap to fill, in pages; none for none, and then clears are not joined either. Both need the list of what is
    /// allocated.
    pub gap_max: Pages,
    /// Whether [`HELD`] is listed, so that its silence means something.
    pub compared: bool,
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
    /// The same, had no gap been filled and no clear been joined.
    pub unfilled: PlanSummary,
    /// The name of the source's difference.
    pub digest: PlanDigest,
}

impl Draft {
    /// A plan of which nothing is known yet.
    pub fn new(bounds: Bounds) -> Draft {
        Draft {
            walk: Walk::new(),
            bounds,
            filler: Filler::new(bounds.gap_max),
            joint: Joint::default(),
            cutter: Cutter::new(bounds.chunks),
            planned: Canon::default(),
            unfilled: Canon::default(),
            difference: Canon::default(),
            tally: Tally::default(),
            phase: Phase::Listing,
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
            if let Some((stretch, filled)) = self.filler.next() {
                self.consider(stretch, filled)?;
                continue;
            }
            match self.phase {
                Phase::Ended => return Ok(Drawn::End),
                Phase::Listed => self.end(),
                Phase::Listing => match self.walk.next() {
                    Some(stretch) if self.bounds.gap_max == Pages::ZERO => self.consider(stretch, false)?,
                    Some(stretch) => {
                        let [said, _, allocated, _] = stretch.says;
                        self.filler.push(stretch, stretch.range, said, allocated.is_some());
                    }
                    None if self.walk.wants().is_some() => return Ok(Drawn::Wanting),
                    None => {
                        self.phase = Phase::Listed;
                        self.filler.finish();
                    }
                },
            }
        }
    }

    /// What the plan amounts to so far; complete once [`Draft::next`] has come to its end.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.cutter.finish();
        let chunks = &self.bounds.chunks;
        self.tally.difference(self.difference.finish(), chunks);
        self.tally.planned(self.planned.finish(), chunks);
        self.tally.unfilled(self.unfilled.finish(), chunks);
        if self.bounds.gap_max == Pages::ZERO {
            self.tally.unfilled = self.tally.planned;
        }
    }

    fn consider(&mut self, stretch: Stretch<4>, filled: bool) -> Result<(), DiffError> {
        if let Some(kind) = stretch.says[SOURCE] {
            let change = self.difference.push(Change { kind, range: stretch.range })?;
            self.tally.difference(change, &self.bounds.chunks);
        }
        let decided = decide(stretch, &self.bounds, filled);
        if decided.is_none_or(|change| change.kind == Kind::Write) {
            let written = decided.is_some() || stretch.says[SOURCE] == Some(Kind::Write);
            self.joint.pass(written || stretch.says[ALLOCATED].is_some());
        }
        if let Some(change) = decided {
            let sent = self.joined(change);
            self.cutter.push(sent);
            let whole = self.planned.push(sent)?;
            self.tally.planned(whole, &self.bounds.chunks);
            if self.bounds.gap_max > Pages::ZERO && !filled {
                let whole = self.unfilled.push(change)?;
                self.tally.unfilled(whole, &self.bounds.chunks);
            }
        }
        Ok(())
    }

    /// The change as it is sent: a clear reaches back to the one before it where that saves a request. Without the list of
    /// what is allocated nobody knows what lies between.
    fn joined(&mut self, change: Change) -> Change {
        if change.kind == Kind::Write || self.bounds.gap_max == Pages::ZERO {
            return change;
        }
        let start = self.joint.clear(change.range, &self.bounds.chunks).unwrap_or(change.range.start());
        PageRange::new(start, change.range.end()).map_or(change, Change::clear)
    }
}

impl Tally {
    /// The pages in filled gaps.
    pub fn filled(&self) -> Pages {
        self.planned.write_pages.saturating_sub(self.unfilled.write_pages)
    }

    /// The pages between joined clears.
    pub fn joined(&self) -> Pages {
        self.planned.clear_pages.saturating_sub(self.unfilled.clear_pages)
    }

    fn difference(&mut self, change: Option<Change>, chunks: &ChunkPolicy) {
        if let Some(change) = change {
            self.difference.count(change, chunks);
            self.digest.update(change);
        }
    }

    fn planned(&mut self, change: Option<Change>, chunks: &ChunkPolicy) {
        if let Some(change) = change {
            self.planned.count(change, chunks);
        }
    }

    fn unfilled(&mut self, change: Option<Change>, chunks: &ChunkPolicy) {
        if let Some(change) = change {
            self.unfilled.count(change, chunks);
        }
    }
}

/// What must be done to a stretch of pages.
fn decide(stretch: Stretch<4>, bounds: &Bounds, filled: bool) -> Option<Change> {
    let Stretch { range, says } = stretch;
    let left = |kind| {
        let range = PageRange::new(range.start().max(bounds.watermark), range.end())?;
        Some(Change { kind, range })
    };
    if let Some(kind) = says[SOURCE] {
        return left(kind);
    }
    let missed = bounds.compared && says[ALLOCATED].is_some() != says[HELD].is_some();
    let kind = if says[ALLOCATED].is_some() { Kind::Write } else { Kind::Clear };
    match says[OWN] {
        // What an interrupted run has filled looks so, and is as durable as what it has written.
        Some(Kind::Write) if filled && !missed => left(Kind::Write),
        // What an interrupted run has cleared between two clears looks so. The tracker and both lists say that it is nothing.
        Some(Kind::Clear) if bounds.compared && !missed && says[ALLOCATED].is_none() => None,
        own => (filled || own.is_some() || missed).then_some(Change { kind, range }),
    }
}

#[cfg(test)]
mod tests;
