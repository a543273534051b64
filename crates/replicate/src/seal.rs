//! Making a point: the sealed words, then the snapshot that copies them.
//!
//! The words go into the base's metadata under the tag that passed the gate. Snapshot Blob carries no metadata, so that
//! a late copy of it names whatever the base says then, and so that the point's tag is the base's: any later write shows.

use std::time::Duration;

use pageferry_core::lineage::{Seal, State};
use pageferry_core::next::Point;
use pageferry_core::{Etag, Metadata};
use pageferry_store::{ErrorKind, Target};

use crate::engine::pause;
use crate::error::ReplicateError;
use crate::lease::Hold;
use crate::look::points_of;
use crate::options::Options;
use crate::settle::{fenced, set_state};

/// Says that the target, at `etag`, equals a source snapshot, and snapshots it.
///
/// # Errors
/// [`ReplicateError::Fenced`] where the target is no longer ours or has changed, and failures of the service.
pub async fn seal<T: Target>(
    target: &T,
    seal: Seal,
    others: &Metadata,
    hold: &Hold<T>,
    etag: &Etag,
    options: &Options,
) -> Result<Point, ReplicateError> {
    let run = seal.run.clone();
    let sealed = set_state(target, &State::Sealed(seal), others, hold.id(), etag, hold.doubt()).await?;
    take_point(target, &run, hold, &sealed, options).await
}

/// How often Snapshot Blob is sent before we give up.
const TRIES: usize = 20;

/// How long to wait for a snapshot that was taken to be listed, before another is asked for.
const LISTED_WAIT: Duration = Duration::from_secs(2);

/// How long to wait where a premium account takes no second snapshot yet; its documented interval is ten minutes.
const RATE_WAIT: Duration = Duration::from_secs(60);

/// Snapshots the sealed base, exactly once as far as anybody can tell: after a lost answer the snapshot is looked for,
/// and of two the older is the point.
///
/// # Errors
/// As [`seal`].
pub async fn take_point<T: Target>(
    target: &T,
    run: &str,
    hold: &Hold<T>,
    etag: &Etag,
    options: &Options,
) -> Result<Point, ReplicateError> {
    let mut last = None;
    for _ in 0..TRIES {
        match target.snapshot(Some(hold.id()), Some(etag)).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unknown => {
                hold.doubt().note();
                last = Some(error);
            }
            Err(error) if error.kind() == ErrorKind::Changed => {
                let cause = format!("it changed between seal and snapshot: {error}");
                return Err(ReplicateError::Fenced { target: target.address(), cause });
            }
            // Both spellings are in use. The tag that passed the gate keeps its meaning while we wait.
            Err(error) if error.code().ends_with("OperationRateExceeded") => {
                options
                    .events
                    .note("the target's account takes one snapshot in ten minutes; waiting to make the point");
                last = Some(error);
                pause(RATE_WAIT, options).await?;
                continue;
            }
            Err(error) => return Err(fenced(target, error)),
        }
        if let Some(point) = points_of(target).await?.into_iter().find(|point| point.seal.run == run) {
            // Taken without metadata, a snapshot has the base's tag. Another one is of another base.
            if point.etag != *etag {
                let what = format!("its newest point {} has another ETag than was sealed", point.id);
                return Err(ReplicateError::Foreign { target: target.address(), what });
            }
            return Ok(point);
        }
        pause(LISTED_WAIT, options).await?;
    }
    Err(last.map_or_else(
        || ReplicateError::Refused(format!("{}: its new snapshot is not listed", target.address())),
        ReplicateError::from,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_core::lineage::{DiskId, SnapshotRef};
    use pageferry_core::{Pages, SnapshotId};
    use pageferry_store::{Memory, Source, View};
    use std::sync::Arc;

    fn words() -> Seal {
        Seal {
            disk: DiskId::new("https://a/c/d", "then"),
            snapshot: SnapshotRef { id: SnapshotId::new("1"), etag: Etag::new("e") },
            parent: None,
            plan: "p".into(),
            written_bytes: 0,
            cleared_bytes: 0,
            run: "r".into(),
            lease: "l".into(),
            epoch: 1,
            sealed_at: "t".into(),
        }
    }

    async fn etag(target: &Memory) -> Etag {
        target.properties(&View::Base).await.unwrap().etag
    }

    #[tokio::test(start_paused = true)]
    async fn a_base_that_changes_after_its_seal_is_no_point() {
        let (target, options) = (Arc::new(Memory::empty("target", Pages::new(1))), Options::default());
        let (hold, _) = Hold::take(&target, &options).await.unwrap();
        let sealed = etag(&target).await;
        target.poke(pageferry_core::PageRange::whole(Pages::new(1)).unwrap(), 1);
        let made = take_point(&*target, "r", &hold, &sealed, &options).await;
        assert!(matches!(made, Err(ReplicateError::Fenced { .. })), "{made:?}");
        assert!(target.snapshots().await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_lost_is_not_waited_for() {
        let (target, options) = (Arc::new(Memory::empty("target", Pages::new(1))), Options::default());
        let (hold, _) = Hold::take(&target, &options).await.unwrap();
        target.break_now().await.unwrap();
        let begun = tokio::time::Instant::now();
        let made = take_point(&*target, "r", &hold, &etag(&target).await, &options).await;
        assert!(matches!(made, Err(ReplicateError::Fenced { .. })), "{made:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_of_another_base_is_not_taken_for_the_point() {
        let (target, options) = (Arc::new(Memory::empty("target", Pages::new(1))), Options::default());
        let (hold, _) = Hold::take(&target, &options).await.unwrap();
        let tag = etag(&target).await;
        let point = seal(&*target, words(), &Metadata::new(), &hold, &tag, &options).await.unwrap();
        assert_eq!((point.seal.run.as_str(), point.etag), ("r", etag(&target).await));
        target.poke(pageferry_core::PageRange::whole(Pages::new(1)).unwrap(), 1);
        let again = take_point(&*target, "r", &hold, &etag(&target).await, &options).await;
        assert!(matches!(again, Err(ReplicateError::Foreign { .. })), "{again:?}");
    }
}
