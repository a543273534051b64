//! Going on with backups after a restore: a restored disk is a new disk, and a target is rebound to it once its content
//! has been proved equal.
//!
//! The proof comes first, between two immutable pictures, so that a disk with other content leaves no trace. Then a step
//! that writes nothing takes the target through epoch, mark, gate (which reads everything) and seal.

use pageferry_core::lineage::State;
use pageferry_core::next::{Conflict, Start};
use pageferry_store::{Source, Target};

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::StepReport;
use crate::lease::Hold;
use crate::look::{self, Found, Picture};
use crate::step::{Task, step};
use crate::sync::{finish, let_go};
use crate::take::Evidence;
use crate::verify::contents;

/// Rebinds the target of `engine` to its source, if the source's oldest snapshot equals the target's newest point. The
/// target gets a point that names that snapshot; no page moves. A target whose newest point belongs to the source already
/// is left alone.
///
/// # Errors
/// [`ReplicateError::Differs`] with the ranges where the two are not equal; [`ReplicateError::Foreign`] where the target
/// was changed since its newest point; [`ReplicateError::Refused`] where it is in the middle of a step of another disk.
pub async fn adopt<S: Source, T: Target>(engine: &Engine<S, T>) -> Result<Option<StepReport>, ReplicateError> {
    let target = &engine.target;
    let found = look::target(&**target).await?.ok_or_else(|| ReplicateError::NoTarget(target.address()))?;
    let Some(task) = task_of(engine, &found).await? else { return Ok(None) };
    let from = task.from.as_ref().ok_or_else(|| no_point(engine))?;
    let there = (&engine.source, &task.picture.id, task.picture.size);
    let comparison = contents(there, (target, &from.id, from.size), &engine.options.events).await?;
    if !comparison.ranges.is_empty() {
        return Err(ReplicateError::Differs {
            left: format!("{}, snapshot {}", engine.source.address(), task.picture.id),
            right: format!("the newest point of {}, {}", target.address(), from.id),
            ranges: comparison.ranges,
        });
    }
    let (hold, before) = Hold::take(target, &engine.options).await?;
    let result = async {
        let found = look::target(&**target).await?.ok_or_else(|| ReplicateError::NoTarget(target.address()))?;
        let known = Evidence::of(&before, &found);
        match task_of(engine, &found).await? {
            None => return Ok(None),
            Some(now) if now == task => {}
            Some(_) => {
                let cause = format!("{} has changed while it was compared: run again", target.address());
                return Err(ReplicateError::Refused(cause));
            }
        }
        match &found.view.state {
            Some(State::Sealed(seal)) if known.untouched && seal.disk == task.disk => {
                finish(engine, &hold, &found, known, seal).await.map(|_| None)
            }
            _ => step(engine, &hold, &found, &task, known, false).await.map(Some),
        }
    }
    .await;
    let_go(target, hold, result).await
}

/// What there is to do; nothing where the newest point is the source's own.
async fn task_of<S: Source, T: Target>(engine: &Engine<S, T>, found: &Found) -> Result<Option<Task>, ReplicateError> {
    let source = look::source(&*engine.source).await?;
    let newest = found.view.points.last().ok_or_else(|| no_point(engine))?;
    if newest.seal.disk == source.disk {
        return Ok(None);
    }
    let adoptable = match &found.view.state {
        Some(State::Sealed(seal) | State::Restored(seal)) => seal.run == newest.seal.run || seal.disk == source.disk,
        Some(State::Applying(mark)) => mark.disk == source.disk,
        None => false,
    };
    if !adoptable {
        return Err(ReplicateError::Refused(format!(
            "{} is not at a point, so it cannot be adopted: finish its own sync first",
            engine.target.address()
        )));
    }
    let none = || ReplicateError::Conflict { target: engine.target.address(), conflict: Conflict::NoSnapshots };
    let first = source.offers.first().ok_or_else(none)?;
    Ok(Some(Task {
        from: Some(newest.clone()),
        picture: Picture { id: first.at.id.clone(), since: None, size: first.size },
        disk: source.disk,
        names: first.at.clone(),
        start: Start::Adopt,
    }))
}

fn no_point<S, T: Target>(engine: &Engine<S, T>) -> ReplicateError {
    ReplicateError::NoPoint { target: engine.target.address(), asked: "latest".to_owned() }
}
