//! Going on with backups after a restore: a restored disk is a new disk, and a target is rebound to it once its content
//! has been proved equal.

use pageferry_core::lineage::{DiskId, Seal, SnapshotRef, State};
use pageferry_core::next::Point;
use pageferry_core::plan::PlanDigest;
use pageferry_store::{Source, Target};
use uuid::Uuid;

use crate::engine::{Engine, pause};
use crate::error::ReplicateError;
use crate::event::Event;
use crate::lease::Hold;
use crate::look;
use crate::seal::seal;
use crate::settle::raise_epoch;
use crate::step::now_rfc3339;
use crate::sync::let_go;
use crate::take::{Evidence, first_own_change};
use crate::verify::contents;

/// Rebinds the target of `engine` to its source, if the source's oldest snapshot equals the target's newest point. The
/// target gets a point that names that snapshot; no page moves. A target that belongs to the source already is left alone.
///
/// # Errors
/// [`ReplicateError::Differs`] with the ranges where the two are not equal; [`ReplicateError::Foreign`] where the target
/// was changed since its newest point; [`ReplicateError::Refused`] where it is in the middle of a step.
pub async fn adopt<S: Source, T: Target>(engine: &Engine<S, T>) -> Result<Option<Point>, ReplicateError> {
    let (target, options) = (&engine.target, &engine.options);
    let disk = look::source(&*engine.source).await?.disk;
    let found = look::target(&**target).await?.ok_or_else(|| ReplicateError::NoTarget(target.address()))?;
    if found.view.state.as_ref().is_some_and(|state| *state.disk() == disk) {
        return Ok(None);
    }
    let (hold, before) = Hold::take(target, options).await?;
    let result = rebind(engine, &hold, &before, disk).await;
    let_go(hold, &before.properties, false, result).await.map(Some)
}

async fn rebind<S: Source, T: Target>(
    engine: &Engine<S, T>,
    hold: &Hold<T>,
    before: &crate::lease::Before,
    disk: DiskId,
) -> Result<Point, ReplicateError> {
    let (target, options) = (&engine.target, &engine.options);
    let found = look::target(&**target).await?.ok_or_else(|| ReplicateError::NoTarget(target.address()))?;
    let Some(State::Sealed(_)) = &found.view.state else {
        return Err(ReplicateError::Refused(format!(
            "{} is not at a point, so it cannot be adopted: finish its own sync first",
            target.address()
        )));
    };
    let none = || ReplicateError::NoPoint { target: target.address(), asked: "latest".to_owned() };
    let newest = found.view.points.last().ok_or_else(none)?;
    let source = look::source(&*engine.source).await?;
    let first = source.offers.first().ok_or_else(|| ReplicateError::Conflict {
        target: target.address(),
        conflict: pageferry_core::next::Conflict::NoSnapshots,
    })?;
    let epoch = found.properties.sequence + 1;
    let clean = found.is_clean();
    let etag = raise_epoch(&**target, epoch, hold.id(), &found.properties.etag).await?;
    if Evidence::of(before, &found).unclean {
        options.events.tell(&Event::Quiescing(options.quiesce));
        pause(options.quiesce, options).await?;
    }
    if !clean && let Some(what) = first_own_change(target, &found, Some(&newest.id)).await? {
        return Err(ReplicateError::Foreign { target: target.address(), what });
    }
    let comparison =
        contents((&engine.source, &first.at.id, first.size), (target, &newest.id, newest.size), &options.events)
            .await?;
    if !comparison.ranges.is_empty() {
        return Err(ReplicateError::Differs {
            left: format!("{}, snapshot {}", engine.source.address(), first.at.id),
            right: format!("the newest point of {}, {}", target.address(), newest.id),
            ranges: comparison.ranges,
        });
    }
    let words = Seal {
        disk,
        snapshot: SnapshotRef { id: first.at.id.clone(), etag: first.at.etag.clone() },
        parent: None,
        plan: PlanDigest::default().finish(),
        written_bytes: 0,
        cleared_bytes: 0,
        run: Uuid::new_v4().to_string(),
        epoch,
        sealed_at: now_rfc3339(),
    };
    seal(&**target, words, &found.properties.metadata, hold.id(), &etag, options).await
}
