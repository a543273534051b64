//! Restoring a point into a page blob: a step whose source is the target.
//!
//! The destination becomes a target in its own right: its first point names the same disk and source snapshot as the
//! point it was made from, because it is byte-identical to it. An interrupted restore resumes as any step does.

use pageferry_core::SnapshotId;
use pageferry_core::lineage::{Seal, State};
use pageferry_core::next::{Point, Start};
use pageferry_store::{Source, Target, View};

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::StepReport;
use crate::lease::Hold;
use crate::look::{self, Found, Picture, probe};
use crate::settle::set_state;
use crate::step::{Task, step};
use crate::sync::{create, finish, let_go};
use crate::take::Evidence;

/// The point of `blob` that `asked` names: `latest`, a source snapshot, or a snapshot of the target.
///
/// # Errors
/// [`ReplicateError::NoPoint`], [`ReplicateError::NoTarget`], and failures of the service.
pub async fn find_point(blob: &impl Source, asked: &str) -> Result<Point, ReplicateError> {
    let found = look::target(blob).await?.ok_or_else(|| ReplicateError::NoTarget(blob.address()))?;
    let mut points = found.view.points;
    let wanted = SnapshotId::new(asked);
    let at = match asked {
        "latest" => points.len().checked_sub(1),
        _ => points.iter().rposition(|point| point.id == wanted || point.seal.snapshot.id == wanted),
    };
    at.map(|at| points.swap_remove(at))
        .ok_or_else(|| ReplicateError::NoPoint { target: blob.address(), asked: asked.to_owned() })
}

/// A point that was restored to a page blob.
#[derive(Clone, Debug)]
pub enum Restored {
    /// By this run.
    Now(StepReport),
    /// By an earlier run, which had left only the destination's own point to make: this one.
    Before(Point),
}

/// Copies `point` of the engine's source, which is a target, to the engine's target, which must not exist; or may, with
/// `overwrite`, if it holds no points. Pages of it that the point does not have are cleared.
///
/// # Errors
/// [`ReplicateError::Exists`] for a destination that must not be touched, and those of a step.
pub async fn restore<S: Source, T: Target>(
    engine: &Engine<S, T>,
    point: &Point,
    overwrite: bool,
) -> Result<Restored, ReplicateError> {
    let task = Task {
        from: None,
        picture: Picture { id: point.id.clone(), since: None, size: point.size },
        disk: point.seal.disk.clone(),
        names: point.seal.snapshot.clone(),
        start: Start::Clean,
    };
    probe(&*engine.source, &View::Snapshot(point.id.clone()), point.size).await?;
    let created = match look::target(&*engine.target).await? {
        Some(found) => {
            may_write(engine, &found, &task, overwrite).await?;
            None
        }
        None => create(&engine.target, &engine.options, &task).await?,
    };
    let (hold, before) = Hold::take(&engine.target, &engine.options).await?;
    let result = async {
        let found = look::target(&*engine.target).await?;
        let found = found.ok_or_else(|| ReplicateError::NoTarget(engine.target.address()))?;
        let fresh = created.as_ref() == Some(&found.properties.etag);
        let known = if fresh { Evidence::handed_over() } else { Evidence::of(&before, &found) };
        let start = if fresh { Start::Clean } else { may_write(engine, &found, &task, overwrite).await? };
        let made = found.view.points.last().filter(|_| found.is_clean());
        let restored = match (&found.view.state, made) {
            (Some(State::Sealed(seal)), Some(made)) if is_of(seal, &task) => Restored::Before(made.clone()),
            (Some(State::Sealed(seal)), None) if is_of(seal, &task) && known.untouched => {
                Restored::Before(finish(engine, &hold, &found, known, seal).await?)
            }
            _ => Restored::Now(step(engine, &hold, &found, &Task { start, ..task }, known, fresh).await?),
        };
        put_into_use(engine, &hold).await?;
        Ok(restored)
    }
    .await;
    let_go(&engine.target, hold, result).await
}

/// Takes the seal off the base: from now on the disk may be used, and snapshots of it are nobody's points.
async fn put_into_use<S: Source, T: Target>(engine: &Engine<S, T>, hold: &Hold<T>) -> Result<(), ReplicateError> {
    let target = &*engine.target;
    let now = target.properties(&View::Base).await?;
    let state = State::from_metadata(&now.metadata)
        .map_err(|error| ReplicateError::State { target: target.address(), error })?;
    if let Some(State::Sealed(seal)) = state {
        let seal = Seal { lease: hold.id().0.clone(), ..seal };
        set_state(target, &State::Restored(seal), &now.metadata, hold.id(), &now.etag, hold.doubt()).await?;
    }
    Ok(())
}

fn is_of(seal: &Seal, task: &Task) -> bool {
    seal.snapshot == task.names && seal.disk == task.disk
}

/// How to start on a destination that exists, if it may be written at all.
async fn may_write<S: Source, T: Target>(
    engine: &Engine<S, T>,
    found: &Found,
    task: &Task,
    overwrite: bool,
) -> Result<Start, ReplicateError> {
    let refused = |why| Err(ReplicateError::Exists { destination: engine.target.address(), why });
    // A base that has lost its words may still have points.
    let points = look::points_of(&*engine.target).await?;
    let ours = matches!(&found.view.state, Some(State::Sealed(seal)) if is_of(seal, task));
    let finished = ours && points.len() == 1 && found.is_clean();
    if !points.is_empty() && !finished {
        return refused("it holds points of its own and is never overwritten: restore to another blob");
    }
    match &found.view.state {
        // An interrupted restore of the same point is the one thing that may go on without being told to.
        Some(State::Applying(mark)) if mark.from.is_none() && mark.to == task.names && mark.disk == task.disk => {
            Ok(if mark.known { Start::Resume(mark.watermark) } else { Start::Doubted })
        }
        Some(State::Sealed(seal)) if is_of(seal, task) => Ok(Start::Dirty),
        _ if overwrite => Ok(Start::Dirty),
        _ => refused("restore to another blob, or say --overwrite to replace its content"),
    }
}
