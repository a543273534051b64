//! What may be concluded from a target that has just been taken.

use pageferry_core::lineage::State;
use pageferry_store::{LeaseState, Source};

use crate::error::ReplicateError;
use crate::lease::Before;
use crate::listing::{Listing, Wanted};
use crate::look::Found;
use pageferry_core::SnapshotId;
use pageferry_store::View;
use std::sync::Arc;

/// What is known about the time since our last words on the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Evidence {
    /// Nobody has touched the target since: the lease its words name had run out and could still be renewed, the epoch in
    /// its metadata is its sequence number, and its tag is still the one from before we took it.
    pub untouched: bool,
    /// The run before did not hand over cleanly, so the service may still be applying its last request.
    pub unclean: bool,
}

impl Evidence {
    /// What `before` and `found`, read before and after the lease was taken, tell together.
    pub fn of(before: &Before, found: &Found) -> Evidence {
        let state = found.view.state.as_ref();
        let untouched = state.is_some_and(|state| state.epoch() == before.properties.sequence)
            && before.renewed
            && before.properties.etag == found.properties.etag;
        let dirty = !matches!(state, Some(State::Sealed(_) | State::Restored(_)));
        let ended = before.properties.lease != LeaseState::Available;
        let unclean = dirty || before.waited || ended;
        Evidence { untouched, unclean }
    }

    /// After a clean step of this very process.
    pub fn handed_over() -> Evidence {
        Evidence { untouched: false, unclean: false }
    }
}

/// The target's own difference since its newest point; for a target without one, its page list.
pub fn own_difference<T: Source>(target: &Arc<T>, found: &Found, since: Option<&SnapshotId>) -> Listing {
    let wanted = Wanted { view: View::Base, since: since.cloned(), if_match: None, size: found.properties.size };
    Listing::start(target, wanted)
}

/// Whether the target's own tracker reports anything since `since`.
///
/// # Errors
/// Of the service.
pub async fn first_own_change<T: Source>(
    target: &Arc<T>,
    found: &Found,
    since: Option<&SnapshotId>,
) -> Result<Option<String>, ReplicateError> {
    let first = own_difference(target, found, since).next().await?;
    Ok(first.map(|change| format!("its tracker reports {:?} of {}", change.kind, change.range).to_lowercase()))
}
