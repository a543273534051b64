//! The lists that a plan is made from, and the plan of a step, made as they arrive. What is decided for a page is in
//! [`pageferry_core::draft`].

use std::sync::Arc;

use futures::{Stream, stream};
use pageferry_core::draft::{self, Draft, Drawn};
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

/// The plan of a step, made as its lists arrive.
#[derive(Debug)]
pub struct Planner {
    lists: Lists,
    draft: Draft,
}

impl Planner {
    /// Plans from `lists`. Changes of the source below `watermark` are durable already.
    pub fn new(lists: Lists, watermark: Pages, chunks: ChunkPolicy) -> Planner {
        Planner { lists, draft: Draft::new(watermark, chunks) }
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
