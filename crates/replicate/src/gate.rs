//! The gate: the only way to a seal.
//!
//! After everything is written, the target's *own* tracker says what was done to it since its newest point. That is
//! walked beside the source's difference (was the plan executed, and nothing else?) and beside the plain page lists of
//! both sides (did the trackers miss something?). In the good case no data is read. A difference between the lists is
//! not yet a failure, because trackers may be coarse and clears of never-written pages leave no trace: just those pages
//! are read, and equal content passes. Pages that the plan wrote again to fill gaps are found by deciding once more what it
//! filled.

use pageferry_core::fill::Filler;
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
    /// The longest gap that the plan filled; none for none.
    pub gap_max: Pages,
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
    // What the plan has filled is what it decides anew from the same lists; nothing else passes for it.
    let mut filler = Filler::new(if differs { claim.gap_max } else { Pages::ZERO });
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
        let ended = match walk.next() {
            Some(stretch) => {
                let [allocated, _, wanted, _] = stretch.says;
                filler.push(stretch, stretch.range, wanted, allocated.is_some());
                false
            }
            None => {
                filler.finish();
                true
            }
        };
        while let Some((stretch, filled)) = filler.next() {
            if claim.by_content || !is_settled(&stretch, filled) {
                doubted = doubted + stretch.range.pages();
                compare(&source_side, &target_side, stretch.range, &mut differing).await?;
            }
        }
        if ended {
            break;
        }
    }
    check_footer(&source_side, &target_side, picture.size, &mut differing).await?;
    if differing.is_empty() {
        return Ok(doubted);
    }
    Err(ReplicateError::Gate { target: engine.target.address(), snapshot: picture.id.clone(), ranges: differing })
}

/// Whether the lists alone prove a stretch right. What was filled was planned to be written.
fn is_settled(stretch: &Stretch<4>, filled: bool) -> bool {
    let [allocated_there, allocated_here, wanted, done] = stretch.says;
    let wanted = if filled { Some(Kind::Write) } else { wanted };
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
    use crate::options::Options;
    use bytes::Bytes;
    use pageferry_core::Metadata;
    use pageferry_store::faulty::Faulty;
    use pageferry_store::{Fence, LeaseId, Memory, PageData, StoreError};
    use std::time::Duration;

    const PAGES: u64 = 8;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    fn fence() -> Fence {
        Fence { lease: LeaseId("mine".into()), epoch: 1 }
    }

    /// A disk with four pages of data and a footer, its copy on a target that run `r` holds in its first epoch, and the
    /// claim that they are the same.
    async fn copied() -> (Memory, Memory, Claim) {
        let (source, target) = (Memory::empty("source", Pages::new(PAGES)), Memory::empty("target", Pages::new(PAGES)));
        let footer = PageData::new(Bytes::copy_from_slice(&Footer::for_size(PAGES * 512, [1; 16], 0).to_bytes()));
        for (blob, epoch) in [(&source, 1), (&target, 1)] {
            blob.poke(range(0, 4), 1);
            blob.acquire(&fence().lease, Duration::from_secs(60), None).await.unwrap();
            let words = Metadata::from([("pageferryrun".to_owned(), "r".to_owned())]);
            let etag = blob.set_metadata(&words, &fence().lease, None).await.unwrap();
            blob.raise_sequence(epoch, &fence().lease, &etag).await.unwrap();
            blob.write(range(PAGES - 1, PAGES), &footer, &fence()).await.unwrap();
        }
        let (id, _) = source.snapshot(Some(&fence().lease), None).await.unwrap();
        let picture = Picture { id, since: None, size: Pages::new(PAGES) };
        let claim = Claim { picture, since: None, by_content: false, gap_max: Pages::ZERO, run: "r".into(), epoch: 1 };
        (source, target, claim)
    }

    async fn ask(source: &Memory, target: &Memory, claim: &Claim) -> Result<u64, ReplicateError> {
        let engine = Engine::new(source.clone(), target.clone(), Options::default());
        gate(&engine, claim).await.map(|passed| passed.settled_by_content.count())
    }

    #[tokio::test]
    async fn a_target_that_is_no_longer_this_runs_does_not_pass() {
        let (source, target, claim) = copied().await;
        assert!(matches!(ask(&source, &target, &claim).await, Ok(0)));
        let size = Picture { size: Pages::new(PAGES + 1), ..claim.picture.clone() };
        for other in [
            Claim { epoch: 2, ..claim.clone() },
            Claim { run: "another".into(), ..claim.clone() },
            Claim { picture: size, ..claim.clone() },
        ] {
            let asked = ask(&source, &target, &other).await;
            assert!(matches!(asked, Err(ReplicateError::Fenced { .. })), "{other:?}: {asked:?}");
        }
    }

    #[tokio::test]
    async fn just_the_pages_in_doubt_are_read() {
        let (source, target, claim) = copied().await;
        assert!(matches!(ask(&source, &target, &Claim { by_content: true, ..claim.clone() }).await, Ok(5)));
        target.poke(range(5, 7), 0);
        assert!(matches!(ask(&source, &target, &claim).await, Ok(2)), "allocated here alone, and zeros on both sides");
        target.poke(range(5, 6), 9);
        let asked = ask(&source, &target, &claim).await;
        assert!(
            matches!(&asked, Err(ReplicateError::Gate { ranges, .. }) if ranges.named() == [range(5, 6)]),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn what_the_source_changed_and_the_target_did_not_is_found() {
        let (source, target, claim) = copied().await;
        let (since, _) = target.snapshot(Some(&fence().lease), None).await.unwrap();
        source.poke(range(2, 3), 7);
        let (id, _) = source.snapshot(Some(&fence().lease), None).await.unwrap();
        let picture = Picture { id, since: Some(claim.picture.id.clone()), ..claim.picture.clone() };
        let claim = Claim { picture, since: Some(since), ..claim };
        let asked = ask(&source, &target, &claim).await;
        assert!(
            matches!(&asked, Err(ReplicateError::Gate { ranges, .. }) if ranges.named() == [range(2, 3)]),
            "{asked:?}"
        );
    }

    /// The source has changed pages 0 and 2, and the target was written from 0 to 2, as a plan that fills a page does.
    async fn filled() -> (Memory, Memory, Claim) {
        let (source, target, claim) = copied().await;
        let (since, _) = target.snapshot(Some(&fence().lease), None).await.unwrap();
        for page in [0, 2] {
            source.poke(range(page, page + 1), 7);
            target.poke(range(page, page + 1), 7);
        }
        target.poke(range(1, 2), 1);
        let (id, _) = source.snapshot(Some(&fence().lease), None).await.unwrap();
        let picture = Picture { id, since: Some(claim.picture.id.clone()), ..claim.picture.clone() };
        let claim = Claim { picture, since: Some(since), gap_max: Pages::new(2), ..claim };
        (source, target, claim)
    }

    #[tokio::test]
    async fn what_the_plan_has_filled_costs_no_read() {
        let (source, target, claim) = filled().await;
        assert!(matches!(ask(&source, &target, &claim).await, Ok(0)));
        let unfilled = Claim { gap_max: Pages::ZERO, ..claim.clone() };
        assert!(matches!(ask(&source, &target, &unfilled).await, Ok(1)), "a write that was not planned is read");
        let too_short = Claim { gap_max: Pages::new(1), ..claim };
        assert!(matches!(ask(&source, &target, &too_short).await, Ok(1)), "and so is one that would not have paid");
    }

    #[tokio::test]
    async fn a_write_outside_of_filled_gaps_is_found() {
        let (source, target, claim) = filled().await;
        target.poke(range(3, 4), 9);
        let asked = ask(&source, &target, &claim).await;
        assert!(
            matches!(&asked, Err(ReplicateError::Gate { ranges, .. }) if ranges.named() == [range(3, 4)]),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn a_write_in_a_gap_that_is_too_long_is_found() {
        let (source, target, claim) = copied().await;
        let (since, _) = target.snapshot(Some(&fence().lease), None).await.unwrap();
        for page in [0, 3] {
            source.poke(range(page, page + 1), 7);
            target.poke(range(page, page + 1), 7);
        }
        target.poke(range(1, 2), 9);
        let (id, _) = source.snapshot(Some(&fence().lease), None).await.unwrap();
        let picture = Picture { id, since: Some(claim.picture.id.clone()), ..claim.picture.clone() };
        let claim = Claim { picture, since: Some(since), gap_max: Pages::new(2), ..claim };
        let asked = ask(&source, &target, &claim).await;
        assert!(
            matches!(&asked, Err(ReplicateError::Gate { ranges, .. }) if ranges.named() == [range(1, 2)]),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn a_filling_that_did_not_arrive_is_read() {
        let (source, target, claim) = copied().await;
        let (since, _) = target.snapshot(Some(&fence().lease), None).await.unwrap();
        for page in [0, 2] {
            source.poke(range(page, page + 1), 7);
            target.poke(range(page, page + 1), 7);
        }
        let (id, _) = source.snapshot(Some(&fence().lease), None).await.unwrap();
        let picture = Picture { id, since: Some(claim.picture.id.clone()), ..claim.picture.clone() };
        let claim = Claim { picture, since: Some(since), gap_max: Pages::new(2), ..claim };
        assert!(matches!(ask(&source, &target, &claim).await, Ok(1)));
    }

    #[tokio::test]
    async fn a_footer_that_no_tracker_saw_change_is_compared() {
        let (source, target, claim) = copied().await;
        target.poke(range(PAGES - 1, PAGES), 9);
        let asked = ask(&source, &target, &claim).await;
        let last = range(PAGES - 1, PAGES);
        assert!(matches!(&asked, Err(ReplicateError::Gate { ranges, .. }) if ranges.named() == [last]), "{asked:?}");
    }

    #[tokio::test]
    async fn only_a_change_of_the_base_makes_it_start_again() {
        for (kind, starts) in [(ErrorKind::Changed, 3), (ErrorKind::Transient, 1)] {
            let (source, target, claim) = copied().await;
            let lists = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counted = std::sync::Arc::clone(&lists);
            let failing = Faulty::new(target, move |operation, _| {
                (operation == "Get Page Ranges").then(|| {
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    StoreError::new(kind, operation, "target", "as told")
                })
            });
            let asked = gate(&Engine::new(source, failing, Options::default()), &claim).await;
            match kind {
                ErrorKind::Changed => assert!(matches!(asked, Err(ReplicateError::Foreign { .. })), "{asked:?}"),
                _ => assert!(matches!(asked, Err(ReplicateError::Store(_))), "{asked:?}"),
            }
            assert_eq!(lists.load(std::sync::atomic::Ordering::Relaxed), starts);
        }
    }

    #[test]
    fn the_lists_settle_what_they_can_and_doubt_the_rest() {
        let range = PageRange::new(Pages::ZERO, Pages::new(1)).unwrap();
        let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
        let settled =
            |there, here, wanted, done| is_settled(&Stretch { range, says: [there, here, wanted, done] }, false);
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
