//! What a sync would do, by the same code that does it.

use pageferry_core::limits::Limits;
use pageferry_core::next::{Decision, Point, Start, Want};
use pageferry_core::plan::PlanSummary;
use pageferry_core::{Pages, SnapshotId};
use pageferry_store::{Source, Target};

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::filling::{filling, limits};
use crate::look::{self, probe_source};
use crate::planning::{Lists, Planner, source_difference};
use crate::sync::{decide, likely_evidence, task_of};
use crate::take::{lists, touched};

/// What a sync would do.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing: the newest point is the snapshot wanted.
    UpToDate(Point),
    /// Only the snapshot that makes the last point is missing.
    Finish(SnapshotId),
    /// A step.
    Step {
        /// The source snapshot differenced from; `None` for a seed.
        from: Option<SnapshotId>,
        /// The source snapshot to copy.
        to: SnapshotId,
        /// The disk's size in bytes.
        disk_bytes: u64,
        /// What the source changed.
        difference: PlanSummary,
        /// What is left to do.
        planned: PlanSummary,
        /// What would be, were no gap filled.
        unfilled: PlanSummary,
        /// What the target takes.
        limits: Limits,
        /// Source snapshots that would follow, each in a step of its own.
        more: Vec<SnapshotId>,
    },
}

/// What the next step of [`sync`](crate::sync::sync) would do. Writes nothing and takes no lease.
///
/// # Errors
/// Those of looking and listing.
pub async fn plan<S: Source, T: Target>(engine: &Engine<S, T>, want: &Want) -> Result<Plan, ReplicateError> {
    let found = look::target(&*engine.target).await?;
    let evidence = likely_evidence(found.as_ref());
    let (decision, source) = decide(engine, found.as_ref(), want, evidence, false).await?;
    let next = match decision {
        Decision::UpToDate(point) => return Ok(Plan::UpToDate(point)),
        Decision::Finish(seal) => return Ok(Plan::Finish(seal.snapshot.id)),
        Decision::Step(step) => step,
    };
    let task = task_of(&source.disk, &next);
    probe_source(&*engine.source, &source, &next.to).await?;
    let lists = match &found {
        Some(found) => {
            let touched = touched(&engine.target, found, &task, engine.options.repair).await?;
            let filling = filling(&engine.source, found, &task, touched, engine.options.fill).await?;
            lists(&engine.source, &engine.target, found, &task, touched, filling)
        }
        None => Lists::clean(source_difference(&engine.source, &task.picture)),
    };
    let floor = match &next.start {
        Start::Resume(watermark) if evidence => *watermark,
        _ => Pages::ZERO,
    };
    let mut planner = Planner::new(lists, floor, engine.options.chunks);
    while planner.next().await?.is_some() {}
    let more = match want {
        Want::Next => {
            source.offers.iter().map(|offer| &offer.at.id).filter(|id| **id > task.names.id).cloned().collect()
        }
        _ => Vec::new(),
    };
    Ok(Plan::Step {
        from: task.picture.since,
        to: task.names.id,
        disk_bytes: task.picture.size.bytes(),
        difference: planner.tally().difference,
        planned: planner.tally().planned,
        unfilled: planner.tally().unfilled,
        limits: limits(found.as_ref()),
        more,
    })
}
