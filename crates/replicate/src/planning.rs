//! What is to be done to the target, page by page.
//!
//! A step applies the source's difference. A step that goes on after an interruption, or that repairs, also sets right
//! every page that the *target's* own tracker reports as touched since its newest point and that the source's
//! difference does not mention: such a page must get the content it has in the source snapshot, which is data where the
//! snapshot has it allocated, and nothing where not.

use std::sync::Arc;

use futures::{Stream, stream};
use pageferry_core::plan::{ChunkPolicy, Cutter, PlanDigest, PlanSummary};
use pageferry_core::walk::{Stretch, Walk};
use pageferry_core::{Canon, Change, Kind, Pages};
use pageferry_store::{Source, View};

use crate::error::ReplicateError;
use crate::listing::{Listing, Wanted};
use crate::look::Picture;

/// What the decision for a page rests on, in the order of [`Lists`].
const SOURCE: usize = 0;
const OWN: usize = 1;
const ALLOCATED: usize = 2;
const HELD: usize = 3;

/// The lists a plan is made from.
#[derive(Debug)]
pub struct Lists {
    /// The source's difference; for a seed, its page list.
    pub source: Listing,
    /// Pages that may be wrong on the target: what its own tracker reports since its newest point; for a seed, its page list;
    /// where nothing tells, all that are allocated in the source snapshot.
    pub own: Listing,
    /// The pages that are allocated in the source snapshot.
    pub allocated: Listing,
    /// The pages that are allocated on the target. Where this differs from `allocated` and nobody reports a change, some
    /// tracker has missed one. Like `allocated`, it is read only where the target may have been touched.
    pub held: Listing,
}

impl Lists {
    /// Starts the lists for copying `picture` of `source` to a target that equals its newest point, or is empty.
    pub fn clean<S: Source>(source: &Arc<S>, picture: &Picture) -> Lists {
        Lists {
            source: source_difference(source, picture),
            own: Listing::empty(),
            allocated: Listing::empty(),
            held: Listing::empty(),
        }
    }

    /// Starts the lists for a target that may have been touched: `own` is what its tracker reports, `held` its page list.
    pub fn touched<S: Source>(source: &Arc<S>, picture: &Picture, own: Listing, held: Listing) -> Lists {
        let view = View::Snapshot(picture.id.clone());
        let plain = Wanted { view, since: None, if_match: None, size: picture.size };
        Lists { source: source_difference(source, picture), own, allocated: Listing::start(source, plain), held }
    }

    /// Starts the lists for a target that may hold anything anywhere, of which `held` is its page list.
    pub fn whole<S: Source>(source: &Arc<S>, picture: &Picture, held: Listing) -> Lists {
        // The difference from nothing is the whole page list already.
        let Some(_) = picture.since else { return Lists { own: held, ..Lists::clean(source, picture) } };
        let view = View::Snapshot(picture.id.clone());
        let plain = Wanted { view, since: None, if_match: None, size: picture.size };
        Lists::touched(source, picture, Listing::start(source, plain), held)
    }

    /// Lists of which nothing is planned.
    pub fn nothing() -> Lists {
        Lists { source: Listing::empty(), own: Listing::empty(), allocated: Listing::empty(), held: Listing::empty() }
    }
}

/// The list of what the source changed for `picture`.
pub fn source_difference<S: Source>(source: &Arc<S>, picture: &Picture) -> Listing {
    // Nothing changes between a snapshot and itself, and how the service answers that is not documented.
    if picture.since.as_ref() == Some(&picture.id) {
        return Listing::empty();
    }
    let view = View::Snapshot(picture.id.clone());
    Listing::start(source, Wanted { view, since: picture.since.clone(), if_match: None, size: picture.size })
}

/// The plan of a step, made as it is read.
#[derive(Debug)]
pub struct Planner {
    lists: Lists,
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

impl Planner {
    /// Plans from `lists`. Changes of the source below `watermark` are durable already.
    pub fn new(lists: Lists, watermark: Pages, chunks: ChunkPolicy) -> Planner {
        Planner {
            lists,
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

    /// The next request, in page order; `None` at the end.
    ///
    /// # Errors
    /// Of the listings.
    pub async fn next(&mut self) -> Result<Option<Change>, ReplicateError> {
        loop {
            if let Some(change) = self.cutter.next() {
                return Ok(Some(change));
            }
            if self.ended {
                return Ok(None);
            }
            while let Some(list) = self.walk.wants() {
                let lists = &mut self.lists;
                let next = match list {
                    SOURCE => lists.source.next().await?,
                    OWN => lists.own.next().await?,
                    ALLOCATED => lists.allocated.next().await?,
                    _ => lists.held.next().await?,
                };
                self.walk.give(list, next).map_err(inconsistent)?;
            }
            match self.walk.next() {
                Some(stretch) => self.consider(stretch)?,
                None => {
                    self.ended = true;
                    self.cutter.finish();
                    let (difference, planned) = (self.difference.finish(), self.planned.finish());
                    self.tally.take(difference, planned, &self.chunks);
                }
            }
        }
    }

    /// What the plan amounts to so far; complete once [`Planner::next`] has returned `None`.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn consider(&mut self, stretch: Stretch<4>) -> Result<(), ReplicateError> {
        let said = stretch.says[SOURCE].map(|kind| Change { kind, range: stretch.range });
        let difference = match said {
            Some(change) => self.difference.push(change).map_err(inconsistent)?,
            None => None,
        };
        let planned = match decide(stretch, self.watermark) {
            Some(change) => {
                self.cutter.push(change);
                self.planned.push(change).map_err(inconsistent)?
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

/// The requests of `planner` as a stream that can be read again to learn what the plan amounted to.
pub fn requests(planner: &mut Planner) -> impl Stream<Item = Result<Change, ReplicateError>> + Send {
    stream::unfold(planner, |planner| async move { planner.next().await.transpose().map(|next| (next, planner)) })
}

/// What must be done to a stretch of pages.
fn decide(stretch: Stretch<4>, watermark: Pages) -> Option<Change> {
    let Stretch { range, says } = stretch;
    match (says[SOURCE], says[OWN]) {
        (Some(kind), _) => {
            let left = pageferry_core::PageRange::new(range.start().max(watermark), range.end())?;
            Some(Change { kind, range: left })
        }
        (None, own) => {
            let kind = if says[ALLOCATED].is_some() { Kind::Write } else { Kind::Clear };
            let missed = says[ALLOCATED].is_some() != says[HELD].is_some();
            (own.is_some() || missed).then_some(Change { kind, range })
        }
    }
}

fn inconsistent(error: pageferry_core::DiffError) -> ReplicateError {
    ReplicateError::Listing { object: "the plan".to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_core::PageRange;

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
