//! What is to be done to the target, page by page.
//!
//! A step applies the source's difference. A step that goes on after an interruption, or that repairs, also sets right
//! every page that the *target's* own tracker reports as touched since its newest point and that the source's
//! difference does not mention: such a page must get the content it has in the source snapshot, which is data where the
//! snapshot has it allocated, and nothing where not.
//!
//! Where that pays, short gaps between writes are filled ([`crate::fill`]): the pages of a gap are treated as written by the
//! difference, and only the name of the difference and its size know better.
//!
//! Four lists are walked side by side. [`Draft`] says which of them it wants next and does no I/O, so that plans of any
//! length are made while the lists arrive and in the memory of one change of each.

use crate::change::{Canon, Change, DiffError, Kind};
use crate::fill::Filler;
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
    /// The longest gap to fill, in pages; none for none. Filling needs the list of what is allocated.
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
    /// The same, had no gap been filled.
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
        if let Some(change) = decide(stretch, &self.bounds, filled) {
            self.cutter.push(change);
            let whole = self.planned.push(change)?;
            self.tally.planned(whole, &self.bounds.chunks);
            if self.bounds.gap_max > Pages::ZERO && !filled {
                let whole = self.unfilled.push(change)?;
                self.tally.unfilled(whole, &self.bounds.chunks);
            }
        }
        Ok(())
    }
}

impl Tally {
    /// The pages in filled gaps.
    pub fn filled(&self) -> Pages {
        self.planned.write_pages.saturating_sub(self.unfilled.write_pages)
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
        own => (filled || own.is_some() || missed).then_some(Change { kind, range }),
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
        let bounds = |watermark| Bounds { watermark: Pages::new(watermark), compared: true, ..Bounds::default() };
        let at = |watermark, stretch| decide(stretch, &bounds(watermark), false);
        assert_eq!(at(0, stretch(write, clear, true)), Some(Change::write(range(10, 20))));
        assert_eq!(at(15, stretch(clear, None, false)), Some(Change::clear(range(15, 20))));
        assert_eq!(at(20, stretch(write, write, true)), None);
        assert_eq!(at(99, stretch(None, write, true)), Some(Change::write(range(10, 20))));
        assert_eq!(at(99, stretch(None, write, false)), Some(Change::clear(range(10, 20))));
        assert_eq!(at(0, stretch(None, None, true)), None);
        let missed = |allocated, held| Stretch { says: [None, None, allocated, held], ..stretch(None, None, true) };
        assert_eq!(at(99, missed(write, None)), Some(Change::write(range(10, 20))), "lost without a trace");
        assert_eq!(at(99, missed(None, write)), Some(Change::clear(range(10, 20))), "there without a trace");
        let unread = Bounds { compared: false, ..bounds(0) };
        assert_eq!(decide(missed(write, None), &unread, false), None, "a list that is not read says nothing");
    }

    #[test]
    fn a_filled_gap_is_written_unless_an_interrupted_run_has_done_so() {
        let bounds = Bounds { watermark: Pages::new(15), compared: true, ..Bounds::default() };
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let filled = |own, held| {
            let says = [None, own, Some(Kind::Write), held];
            decide(Stretch { range: range(10, 20), says }, &bounds, true)
        };
        let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
        assert_eq!(filled(write, write), Some(Change::write(range(15, 20))));
        for (own, held) in [(None, write), (clear, write), (clear, None), (write, None), (None, None)] {
            assert_eq!(filled(own, held), Some(Change::write(range(10, 20))), "{own:?} {held:?}");
        }
    }

    /// The plan of lists over pages: what is sent, and what it amounts to.
    fn drawn(lists: [&[Change]; 4], bounds: Bounds) -> (Vec<Change>, Tally) {
        let mut lists = lists.map(|list| list.iter().copied());
        let (mut draft, mut sent) = (Draft::new(bounds), Vec::new());
        loop {
            while let Some(list) = draft.wants() {
                draft.give(list, lists[list].next()).unwrap();
            }
            match draft.next().unwrap() {
                Drawn::Request(change) => sent.push(change),
                Drawn::Wanting => {}
                Drawn::End => return (sent, draft.tally().clone()),
            }
        }
    }

    #[test]
    fn filling_changes_what_is_sent_and_not_what_the_difference_is_called() {
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let source = [Change::write(range(0, 1)), Change::write(range(3, 4)), Change::write(range(40, 41))];
        let allocated = [Change::write(range(0, 50))];
        let plan = |gap| {
            let bounds = Bounds { gap_max: Pages::new(gap), ..Bounds::default() };
            drawn([&source, &[], &allocated, &[]], bounds)
        };
        let ((plain, without), (filled, with)) = (plan(0), plan(8));
        assert_eq!(plain, source);
        assert_eq!(filled, [Change::write(range(0, 4)), Change::write(range(40, 41))]);
        assert_eq!(with.difference, without.difference);
        assert_eq!(with.digest.clone().finish(), without.digest.clone().finish());
        assert_eq!((without.unfilled, with.unfilled), (without.planned, without.planned));
        assert_eq!((with.planned.write_requests, with.planned.write_pages), (2, Pages::new(5)));
    }

    #[test]
    fn a_run_that_goes_on_fills_the_gaps_that_the_first_one_would_have_filled() {
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let source: Vec<_> = (0..20).map(|run| Change::write(range(run * 4, run * 4 + 1))).collect();
        let allocated = [Change::write(range(0, 100))];
        let bounds = Bounds { gap_max: Pages::new(6), ..Bounds::default() };
        let (first, _) = drawn([&source, &[], &allocated, &[]], bounds);
        let whole = crate::Diff::new(first).unwrap();
        for watermark in 0..90 {
            let watermark = Pages::new(watermark);
            // The first run has done everything below the watermark, and perhaps more.
            for reach in [watermark, watermark + Pages::new(5)] {
                let done = PageRange::new(Pages::ZERO, reach);
                let own: Vec<_> = whole.changes().iter().filter_map(|change| change.clipped(done?)).collect();
                let bounds = Bounds { watermark, compared: true, ..bounds };
                let (second, _) = drawn([&source, &own, &allocated, &allocated], bounds);
                let rest = PageRange::new(watermark, Pages::END).unwrap();
                let left: Vec<_> = whole.changes().iter().filter_map(|change| change.clipped(rest)).collect();
                assert_eq!(crate::Diff::new(second).unwrap().changes(), left, "{watermark:?} {reach:?}");
            }
        }
    }
}
