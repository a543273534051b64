//! What may be concluded from a target that has just been taken.

use std::sync::Arc;

use pageferry_core::SnapshotId;
use pageferry_core::lineage::State;
use pageferry_core::next::{Point, Start};
use pageferry_store::{LeaseState, Source, View};

use crate::compare::{Side, compare};
use crate::error::{Ranges, ReplicateError};
use crate::filling::Filling;
use crate::lease::Before;
use crate::listing::{Listing, Wanted};
use crate::look::Found;
use crate::planning::{Lists, allocated, source_difference};
use crate::run::Task;

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

/// What a step finds on the target beside its newest point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched {
    /// Nothing.
    No,
    /// Pages may have been touched since the newest point, and the target's tracker tells which.
    Since,
    /// Pages may have been touched, and nothing tells which.
    Anywhere,
    /// There is no point, and there are pages.
    Seed,
}

/// What a step finds on the target beside its newest point. On a target that says it equals that point, a change is
/// somebody else's, and is refused unless `repair` is asked for.
///
/// # Errors
/// [`ReplicateError::Foreign`], and failures of the service.
pub async fn touched<T: Source>(
    target: &Arc<T>,
    found: &Found,
    task: &Task,
    repair: bool,
) -> Result<Touched, ReplicateError> {
    let Some(from) = &task.from else {
        let first = own_difference(target, found, None).next().await?;
        return Ok(match (first, &task.start) {
            (None, _) => Touched::No,
            (Some(_), Start::Doubted | Start::Reseed) => Touched::Anywhere,
            (Some(_), _) => Touched::Seed,
        });
    };
    match task.start {
        Start::Resume(_) | Start::Dirty => return Ok(Touched::Since),
        Start::Reseed | Start::Doubted => return Ok(Touched::Anywhere),
        Start::Clean | Start::Adopt => {}
    }
    match foreign_change(target, found, from).await? {
        None => Ok(Touched::No),
        Some(_) if repair && task.start == Start::Clean => Ok(Touched::Anywhere),
        Some(what) => Err(ReplicateError::Foreign { target: target.address(), what }),
    }
}

/// How the target differs from its newest point, `from`; nothing where it does not. Pages that were touched and not
/// changed, by a late copy of one of our own writes, are no difference.
///
/// # Errors
/// Of the service.
pub async fn foreign_change<T: Source>(
    target: &Arc<T>,
    found: &Found,
    from: &Point,
) -> Result<Option<String>, ReplicateError> {
    if found.is_clean() {
        return Ok(None);
    }
    let (now_bytes, then_bytes) = (found.properties.size.bytes(), from.size.bytes());
    if now_bytes != then_bytes {
        return Ok(Some(format!("it has {now_bytes} bytes, and its newest point has {then_bytes}")));
    }
    let now = Side { blob: &**target, view: View::Base, if_match: None };
    let then = Side { blob: &**target, view: View::Snapshot(from.id.clone()), if_match: None };
    let mut own = own_difference(target, found, Some(&from.id));
    while let Some(change) = own.next().await? {
        let mut differing = Ranges::default();
        compare(&now, &then, change.range, &mut differing).await?;
        if !differing.is_empty() {
            return Ok(Some(format!("{differing} differ from it")));
        }
    }
    Ok(None)
}

/// What the plan of `task` is made from, on a target of which `found` tells the present size.
pub fn lists<S: Source, T: Source>(
    source: &Arc<S>,
    target: &Arc<T>,
    found: &Found,
    task: &Task,
    touched: Touched,
    filling: Filling,
) -> Lists {
    let picture = &task.picture;
    let own = |since| own_difference(target, found, since);
    let difference = || filling.difference.unwrap_or_else(|| source_difference(source, picture));
    let lists = match (&task.start, touched, &task.from) {
        (Start::Adopt, ..) => Lists::nothing(),
        (_, Touched::No, _) => Lists::clean(difference()),
        (_, Touched::Anywhere, _) => Lists::whole(source, picture, difference(), own(None)),
        (_, Touched::Seed | Touched::Since, from) => {
            let since = from.as_ref().map(|from| &from.id);
            Lists::touched(difference(), allocated(source, picture), own(since), own(None))
        }
    };
    lists.filling(source, picture, filling.gap_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_core::lineage::{DiskId, Mark, Seal, SnapshotRef};
    use pageferry_core::next::TargetView;
    use pageferry_core::{Etag, Metadata, Pages};
    use pageferry_store::Properties;

    fn properties(etag: &str, lease: LeaseState) -> Properties {
        Properties {
            size: Pages::new(8),
            etag: Etag::new(etag),
            sequence: 7,
            lease,
            created: "then".to_owned(),
            metadata: Metadata::new(),
            premium: None,
            copy_pending: false,
        }
    }

    fn sealed(epoch: u64) -> Seal {
        Seal {
            disk: DiskId::new("https://a/c/d", "then"),
            snapshot: SnapshotRef { id: SnapshotId::new("1"), etag: Etag::new("e") },
            parent: None,
            plan: "p".into(),
            written_bytes: 0,
            cleared_bytes: 0,
            run: "r".into(),
            lease: "l".into(),
            epoch,
            sealed_at: "t".into(),
        }
    }

    fn found(state: State) -> Found {
        let view = TargetView { state: Some(state), points: Vec::new() };
        Found { properties: properties("now", LeaseState::Leased), view, snapshots: 0 }
    }

    fn before(etag: &str, lease: LeaseState, waited: bool, renewed: bool) -> Before {
        Before { properties: properties(etag, lease), waited, renewed }
    }

    #[test]
    fn nobody_has_touched_it_only_where_lease_epoch_and_tag_say_so() {
        let untouched = |etag, renewed, epoch| {
            let before = before(etag, LeaseState::Expired, false, renewed);
            Evidence::of(&before, &found(State::Sealed(sealed(epoch)))).untouched
        };
        assert!(untouched("now", true, 7));
        assert!(!untouched("now", true, 6), "an epoch was begun that left no words");
        assert!(!untouched("now", false, 7), "somebody may have written when the lease had ended");
        assert!(!untouched("then", true, 7), "somebody wrote before it was taken");
        assert!(!untouched("then", false, 6));
    }

    #[test]
    fn a_hand_over_is_clean_only_where_nothing_can_be_on_its_way() {
        let unclean =
            |state: State, lease, waited| Evidence::of(&before("now", lease, waited, false), &found(state)).unclean;
        let applying = State::Applying(Mark::after_damage(&sealed(7)));
        assert!(!unclean(State::Sealed(sealed(7)), LeaseState::Available, false));
        assert!(!unclean(State::Restored(sealed(7)), LeaseState::Available, false));
        assert!(unclean(applying, LeaseState::Available, false), "its run did not reach a seal");
        assert!(unclean(State::Sealed(sealed(7)), LeaseState::Expired, false), "its run did not give it back");
        assert!(unclean(State::Sealed(sealed(7)), LeaseState::Broken, false));
        assert!(unclean(State::Sealed(sealed(7)), LeaseState::Available, true), "another run held it until now");
        assert!(!Evidence::handed_over().unclean && !Evidence::handed_over().untouched);
    }
}
