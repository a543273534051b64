//! Restoring a point into a page blob: a step whose source is the target.
//!
//! The destination becomes a target in its own right: its first point names the same disk and source snapshot as the
//! point it was made from, because it is byte-identical to it. An interrupted restore resumes as any step does.

use pageferry_core::SnapshotId;
use pageferry_core::lineage::State;
use pageferry_core::next::{Point, Start};
use pageferry_store::{Source, Target, View};

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::StepReport;
use crate::lease::Hold;
use crate::look::{self, Found, Picture, probe};
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
            may_write(engine, &found, &task, overwrite)?;
            None
        }
        None => create(&engine.target, &engine.options.host, &task).await?,
    };
    let (hold, before) = Hold::take(&engine.target, &engine.options).await?;
    let mut written = false;
    let result = async {
        let found = look::target(&*engine.target).await?;
        let found = found.ok_or_else(|| ReplicateError::NoTarget(engine.target.address()))?;
        let fresh = created.as_ref() == Some(&found.properties.etag);
        let known = if fresh { Evidence::handed_over() } else { Evidence::of(&before, &found) };
        let start = if fresh { Start::Clean } else { may_write(engine, &found, &task, overwrite)? };
        written = true;
        match &found.view.state {
            Some(State::Sealed(seal)) if known.untouched && seal.snapshot == task.names && seal.disk == task.disk => {
                finish(engine, &hold, &found, known, seal).await.map(Restored::Before)
            }
            _ => step(engine, &hold, &found, &Task { start, ..task }, known, fresh).await.map(Restored::Now),
        }
    }
    .await;
    let_go(hold, &before.properties, written, result).await
}

/// How to start on a destination that exists, if it may be written at all.
fn may_write<S, T: Target>(
    engine: &Engine<S, T>,
    found: &Found,
    task: &Task,
    overwrite: bool,
) -> Result<Start, ReplicateError> {
    let refused = |why| Err(ReplicateError::Exists { destination: engine.target.address(), why });
    if !found.view.points.is_empty() {
        return refused("it holds points of its own and is never overwritten: restore to another blob");
    }
    match &found.view.state {
        // An interrupted restore of the same point is the one thing that may go on without being told to.
        Some(State::Applying(mark)) if mark.from.is_none() && mark.to == task.names && mark.disk == task.disk => {
            Ok(Start::Resume(mark.clone()))
        }
        Some(State::Sealed(seal)) if seal.snapshot == task.names && seal.disk == task.disk => Ok(Start::Dirty),
        _ if overwrite => Ok(Start::Dirty),
        _ => refused("restore to another blob, or say --overwrite to replace its content"),
    }
}
