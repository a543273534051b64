//! The gate: the only way to a seal.
//!
//! After everything is written, the target's *own* tracker says what was done to it since its newest point. That is
//! walked beside the source's difference (was the plan executed, and nothing else?) and beside the plain page lists of
//! both sides (did the trackers miss something?). In the good case no data is read. A difference between the lists is
//! not yet a failure, because trackers may be coarse and clears of never-written pages leave no trace: just those pages
//! are read, and equal content passes.

use pageferry_core::vhd::{Footer, FooterError};
use pageferry_core::walk::{Stretch, Walk};
use pageferry_core::{Etag, Kind, PageRange, Pages, SnapshotId};
use pageferry_store::{ErrorKind, Properties, Source, Target, View};

use crate::compare::{Side, compare};
use crate::engine::Engine;
use crate::error::{Ranges, ReplicateError};
use crate::listing::{Listing, Wanted};
use crate::look::Picture;
use crate::planning::source_difference;

/// What must hold for a target to pass.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What the target shall be identical to.
    pub picture: Picture,
    /// The target's newest point; `None` for a seed.
    pub since: Option<SnapshotId>,
    /// Somebody else may have touched the target too: every allocated page is read on both sides.
    pub by_content: bool,
    /// The run that claims it.
    pub run: String,
    /// Its epoch.
    pub epoch: u64,
}

/// A target that has passed.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The base's tag at which all of this was seen. A seal must be conditional on it.
    pub etag: Etag,
    /// Pages whose lists differed and whose content was read and found equal.
    pub settled_by_content: Pages,
}

/// How often the gate starts again because the base changed while it was listed.
const STARTS_MAX: usize = 3;

/// Checks `claim` against the target.
///
/// # Errors
/// [`ReplicateError::Gate`] with the ranges whose content differs; [`ReplicateError::Fenced`] where the target is no
/// longer this run's; failures of the service.
pub async fn gate<S: Source, T: Target>(engine: &Engine<S, T>, claim: &Claim) -> Result<Passed, ReplicateError> {
    for _ in 0..STARTS_MAX {
        let now = engine.target.properties(&View::Base).await?;
        still_ours(engine, &now, claim)?;
        match check(engine, claim, &now.etag).await {
            Ok(settled_by_content) => return Ok(Passed { etag: now.etag, settled_by_content }),
            Err(ReplicateError::Store(error)) if error.kind() == ErrorKind::Changed => {}
            Err(error) => return Err(error),
        }
    }
    Err(ReplicateError::Foreign {
        target: engine.target.address(),
        what: "it kept changing while it was being checked".to_owned(),
    })
}

fn still_ours<S, T: Target>(engine: &Engine<S, T>, now: &Properties, claim: &Claim) -> Result<(), ReplicateError> {
    let cause = if now.sequence != claim.epoch {
        format!("its epoch is {} and ours was {}", now.sequence, claim.epoch)
    } else if now.metadata.get("pageferryrun") != Some(&claim.run) {
        "its metadata names another run".to_owned()
    } else if now.size != claim.picture.size {
        format!("it has {} bytes and not {}", now.size.bytes(), claim.picture.size.bytes())
    } else {
        return Ok(());
    };
    Err(ReplicateError::Fenced { target: engine.target.address(), cause })
}

/// One pass over all lists, all of the base's conditional on `etag`.
async fn check<S: Source, T: Target>(
    engine: &Engine<S, T>,
    claim: &Claim,
    etag: &Etag,
) -> Result<Pages, ReplicateError> {
    let picture = &claim.picture;
    let source_view = View::Snapshot(picture.id.clone());
    let source_side = Side { blob: &*engine.source, view: source_view.clone(), if_match: None };
    let target_side = Side { blob: &*engine.target, view: View::Base, if_match: Some(etag.clone()) };
    let base = |since| Wanted { view: View::Base, since, if_match: Some(etag.clone()), size: picture.size };
    let plain = Wanted { view: source_view, since: None, if_match: None, size: picture.size };
    let differs = claim.since.is_some() && !claim.by_content;
    let mut lists = [
        Listing::start(&engine.source, plain),
        Listing::start(&engine.target, base(None)),
        // A seed's difference is its page list, so that the first two lists say it all.
        if differs { source_difference(&engine.source, picture) } else { Listing::empty() },
        if differs { Listing::start(&engine.target, base(claim.since.clone())) } else { Listing::empty() },
    ];
    let mut walk = Walk::<4>::new();
    let (mut differing, mut doubted) = (Ranges::default(), Pages::ZERO);
    loop {
        while let Some(list) = walk.wants() {
            let next = match lists.get_mut(list) {
                Some(list) => list.next().await?,
                None => None,
            };
            walk.give(list, next)
                .map_err(|error| ReplicateError::Listing { object: engine.target.address(), error })?;
        }
        let Some(stretch) = walk.next() else { break };
        if claim.by_content || !is_settled(&stretch) {
            doubted = doubted + stretch.range.pages();
            compare(&source_side, &target_side, stretch.range, &mut differing).await?;
        }
    }
    check_footer(&source_side, &target_side, picture.size, &mut differing).await?;
    if differing.is_empty() {
        return Ok(doubted);
    }
    Err(ReplicateError::Gate { target: engine.target.address(), snapshot: picture.id.clone(), ranges: differing })
}

/// Whether the lists alone prove a stretch right.
fn is_settled(stretch: &Stretch<4>) -> bool {
    let [allocated_there, allocated_here, wanted, done] = stretch.says;
    if allocated_there.is_some() != allocated_here.is_some() {
        return false;
    }
    match (wanted, done) {
        (None, None) | (Some(Kind::Write), Some(Kind::Write)) | (Some(Kind::Clear), Some(Kind::Clear)) => true,
        // Pages that are allocated on neither side are zeros on both, whatever was or was not done to them.
        _ => allocated_here.is_none(),
    }
}

/// The disk's own structure: where the source ends in a VHD footer, so must the target, and it must fit.
async fn check_footer<S: Source, T: Source>(
    source: &Side<'_, S>,
    target: &Side<'_, T>,
    size: Pages,
    differing: &mut Ranges,
) -> Result<(), ReplicateError> {
    let Some(last) = PageRange::new(size.saturating_sub(Pages::new(1)), size) else { return Ok(()) };
    if read_footer(source, last).await?.is_err() {
        return Ok(());
    }
    // A footer that does not fit its disk is the source's own affair and is backed up as it is; ours must be the same.
    Ok(compare(source, target, last, differing).await?)
}

/// The VHD footer in the last page of a picture, or why there is none.
pub(crate) async fn read_footer<S: Source>(
    side: &Side<'_, S>,
    last: PageRange,
) -> Result<Result<Footer, FooterError>, ReplicateError> {
    let (data, _) = side.blob.read(&side.view, last, side.if_match.as_ref()).await?;
    let page: &[u8; 512] = match data.bytes()[..].try_into() {
        Ok(page) => page,
        Err(_) => return Ok(Err(FooterError::NoCookie)),
    };
    Ok(Footer::parse(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_settle_what_they_can_and_doubt_the_rest() {
        let range = PageRange::new(Pages::ZERO, Pages::new(1)).unwrap();
        let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
        let settled = |there, here, wanted, done| is_settled(&Stretch { range, says: [there, here, wanted, done] });
        assert!(settled(write, write, write, write), "written as planned");
        assert!(settled(None, None, clear, clear), "cleared as planned");
        assert!(settled(write, write, None, None), "unchanged");
        assert!(settled(None, None, clear, None), "a clear of pages that were never written here");
        assert!(settled(None, None, None, clear), "a clear of nothing");
        assert!(!settled(write, None, None, None), "the source's tracker missed a write, or the target lost one");
        assert!(!settled(None, write, None, None), "a clear that no tracker reports");
        assert!(!settled(write, write, write, None), "a planned write that the target does not know of");
        assert!(!settled(write, write, None, write), "a write that was not planned");
        assert!(!settled(write, write, write, clear), "cleared instead of written, then written again by somebody");
        assert!(!settled(None, write, clear, write), "written instead of cleared");
    }
}
