//! The lists that a plan is made from, and the plan of a step, made as they arrive. What is decided for a page is in
//! [`pageferry_core::draft`].

use std::sync::Arc;

use futures::{Stream, stream};
use pageferry_core::draft::{self, Bounds, Draft, Drawn};
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{Change, Pages};
use pageferry_store::{Source, View};

use crate::error::ReplicateError;
use crate::listing::{Listing, Wanted};
use crate::look::Picture;

pub use pageferry_core::draft::Tally;

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
    /// tracker has missed one. It is read only where the target may have been touched.
    pub held: Listing,
    /// Whether `held` is read.
    pub compared: bool,
    /// The longest gap to fill ([`pageferry_core::fill`]).
    pub gap_max: Pages,
}

impl Lists {
    /// Starts the lists for copying a picture, of which `source` is the difference, to a target that equals its newest
    /// point, or is empty.
    pub fn clean(source: Listing) -> Lists {
        Lists { source, ..Lists::nothing() }
    }

    /// Starts the lists for a target that may have been touched: `own` is what its tracker reports, `held` its page list.
    pub fn touched(source: Listing, allocated: Listing, own: Listing, held: Listing) -> Lists {
        Lists { source, own, allocated, held, compared: true, gap_max: Pages::ZERO }
    }

    /// Starts the lists for a target that may hold anything anywhere, of which `held` is its page list.
    pub fn whole<S: Source>(source: &Arc<S>, picture: &Picture, difference: Listing, held: Listing) -> Lists {
        // The difference from nothing is the whole page list already.
        let Some(_) = picture.since else { return Lists { own: held, ..Lists::clean(difference) } };
        Lists::touched(difference, allocated(source, picture), allocated(source, picture), held)
    }

    /// Lists of which nothing is planned.
    pub fn nothing() -> Lists {
        let [source, own, allocated, held] = [(); 4].map(|()| Listing::empty());
        Lists { source, own, allocated, held, compared: false, gap_max: Pages::ZERO }
    }

    /// The same, for a plan that fills gaps of up to `gap_max`.
    #[must_use]
    pub fn filling<S: Source>(self, source: &Arc<S>, picture: &Picture, gap_max: Pages) -> Lists {
        match gap_max {
            Pages::ZERO => self,
            _ if self.compared => Lists { gap_max, ..self },
            _ => Lists { gap_max, allocated: allocated(source, picture), ..self },
        }
    }
}

/// The list of what is allocated in `picture`.
pub fn allocated<S: Source>(source: &Arc<S>, picture: &Picture) -> Listing {
    let view = View::Snapshot(picture.id.clone());
    Listing::start(source, Wanted { view, since: None, if_match: None, size: picture.size })
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

/// The plan of a step, made as its lists arrive.
#[derive(Debug)]
pub struct Planner {
    lists: Lists,
    draft: Draft,
}

impl Planner {
    /// Plans from `lists`. Changes of the source below `watermark` are durable already.
    pub fn new(lists: Lists, watermark: Pages, chunks: ChunkPolicy) -> Planner {
        let (gap_max, compared) = (lists.gap_max, lists.compared);
        Planner { lists, draft: Draft::new(Bounds { watermark, chunks, gap_max, compared }) }
    }

    /// The next request, in page order; `None` at the end.
    ///
    /// # Errors
    /// Of the listings.
    pub async fn next(&mut self) -> Result<Option<Change>, ReplicateError> {
        loop {
            while let Some(list) = self.draft.wants() {
                let lists = &mut self.lists;
                let next = match list {
                    draft::SOURCE => lists.source.next().await?,
                    draft::OWN => lists.own.next().await?,
                    draft::ALLOCATED => lists.allocated.next().await?,
                    _ => lists.held.next().await?,
                };
                self.draft.give(list, next).map_err(inconsistent)?;
            }
            match self.draft.next().map_err(inconsistent)? {
                Drawn::Request(change) => return Ok(Some(change)),
                Drawn::Wanting => {}
                Drawn::End => return Ok(None),
            }
        }
    }

    /// What the plan amounts to so far; complete once [`Planner::next`] has returned `None`.
    pub fn tally(&self) -> &Tally {
        self.draft.tally()
    }
}

/// The requests of `planner` as a stream that can be read again to learn what the plan amounted to.
pub fn requests(planner: &mut Planner) -> impl Stream<Item = Result<Change, ReplicateError>> + Send {
    stream::unfold(planner, |planner| async move { planner.next().await.transpose().map(|next| (next, planner)) })
}

fn inconsistent(error: pageferry_core::DiffError) -> ReplicateError {
    ReplicateError::Listing { object: "the plan".to_owned(), error }
}
