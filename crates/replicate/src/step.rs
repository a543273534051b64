//! A step, from beginning to end: one source snapshot becomes one point of the target. Read this first.
//!
//! The target is already held, and what to do is decided. Then, in this order: the **epoch** is raised, so that the
//! service refuses page writes of any earlier run; after an unclean predecessor the service is given **time** to finish
//! what it may still be applying; the target's **own difference** tells what was done to it since its newest point; the
//! target is **marked**, so that whoever comes next knows it is between two points; it is **resized**; the changes are
//! **applied**; the **gate** compares; the **seal** makes the point. The order is the safety; an exhaustive model has
//! broken every other one that was tried.

use std::time::Duration;

use pageferry_core::lineage::{Mark, State};
use pageferry_core::next::{Point, Start};
use pageferry_core::{Etag, Pages};
use pageferry_store::{Source, Target, View};
use pageferry_transfer::{Ending, Progress};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::Applied;
use crate::engine::{Engine, pause};
use crate::error::ReplicateError;
use crate::event::{Event, StepReport};
use crate::filling::filling;
use crate::gate::{Claim, gate};
use crate::lease::{Hold, quiesce};
use crate::look::Found;
use crate::planning::Tally;
use crate::run::{Run, next_epoch};
use crate::seal::seal;
use crate::settle::{raise_epoch, set_state};
use crate::take::{Evidence, Touched, touched};

pub use crate::run::Task;

/// Carries out `task` on the target that `hold` holds and that was `found` so; `fresh` where this process has just made
/// it and it still has the tag it was made with.
///
/// # Errors
/// Whatever ended it. The target then either still equals its newest point or is marked, and its points are untouched.
pub async fn step<S: Source, T: Target>(
    engine: &Engine<S, T>,
    hold: &Hold<T>,
    found: &Found,
    task: &Task,
    evidence: Evidence,
    fresh: bool,
) -> Result<StepReport, ReplicateError> {
    let begun = Instant::now();
    let (target, options) = (&*engine.target, &engine.options);
    let epoch = next_epoch(target, found)?;
    if found.properties.premium.is_some() && found.snapshots >= PREMIUM_SNAPSHOTS_MAX {
        return Err(ReplicateError::Refused(format!(
            "{} has {} snapshots, as many as a premium account keeps of one blob, so that no further point can be made: \
             delete old points, or give the disk a new target",
            target.address(),
            found.snapshots
        )));
    }

    let etag = raise_epoch(target, epoch, hold.id(), &found.properties.etag, hold.doubt()).await?;
    quiesce(hold, evidence, options).await?;
    let touched = if fresh { Touched::No } else { touched(&engine.target, found, task, options.repair).await? };
    let filling = filling(&engine.source, found, task, touched, options.fill).await?;
    let gap_max = filling.gap_max;
    let empty = task.from.is_none() && touched == Touched::No;
    let certain = match task.start {
        _ if fresh || empty => true,
        Start::Clean => found.is_clean(),
        Start::Resume(_) => evidence.untouched,
        Start::Dirty | Start::Doubted | Start::Reseed | Start::Adopt => false,
    };
    let (id, others) = (options.machine.fresh_id(), found.properties.metadata.clone());
    let run = Run { engine, hold, task, id, epoch, others, certain, touched, gap_max };
    run.take_over(found).await?;
    let floor = run.floor(evidence);
    run.announce(floor);
    set_state(target, &State::Applying(run.mark(floor)), &run.others, hold.id(), &etag, hold.doubt()).await?;
    let resized_at = run.resize(found).await?;
    let Applied { mut progress, tally, mover } = run.apply(found, floor, filling).await?;
    progress.unknown_at = progress.unknown_at.max(resized_at);
    let point = run.gate_and_seal(&tally, progress).await?;

    let report = StepReport {
        from: run.parent().map(|parent| parent.id),
        to: task.names.id.clone(),
        point: point.id,
        disk_bytes: task.picture.size.bytes(),
        changed_bytes: tally.difference.write_pages.bytes(),
        changed_ranges: tally.difference.write_ranges,
        freed_bytes: tally.difference.clear_pages.bytes(),
        freed_ranges: tally.difference.clear_ranges,
        filled_bytes: tally.filled().bytes(),
        written_bytes: progress.written_bytes,
        cleared_bytes: progress.cleared_bytes,
        requests: progress.requests,
        refused: progress.refused,
        mover,
        elapsed: begun.elapsed(),
        run: run.id,
    };
    options.events.tell(&Event::Sealed(report.clone()));
    Ok(report)
}

/// How many snapshots of one blob a premium account keeps (learn: scalability targets for premium page blobs).
const PREMIUM_SNAPSHOTS_MAX: usize = 100;

impl<S: Source, T: Target> Run<'_, S, T> {
    /// The gate and the seal, once no request of ours can still be on its way.
    async fn gate_and_seal(&self, tally: &Tally, progress: Progress) -> Result<Point, ReplicateError> {
        let Engine { target, options, .. } = self.engine;
        options.events.tell(&Event::Gating);
        if let Some(unknown_at) = progress.unknown_at {
            self.hold.doubt().note();
            let left = options.quiesce.saturating_sub(unknown_at.elapsed());
            if left > Duration::ZERO {
                options.events.tell(&Event::Quiescing(left));
                pause(left, options).await?;
            }
        }
        let claim = Claim {
            picture: self.task.picture.clone(),
            since: self.task.from.as_ref().map(|point| point.id.clone()),
            by_content: !self.certain,
            gap_max: self.gap_max,
            run: self.id.clone(),
            epoch: self.epoch,
        };
        let halt = CancellationToken::new();
        let checked = tokio::select! {
            biased;
            () = self.stop(&halt) => {
                Err(self.failure(Ending::Stopped).unwrap_or(ReplicateError::Interrupted))
            }
            checked = gate(self.engine, &claim) => checked,
        };
        let passed = match checked {
            Ok(passed) => passed,
            Err(error) => {
                if matches!(error, ReplicateError::Gate { .. }) {
                    self.start_over().await?;
                }
                return Err(error);
            }
        };
        if passed.settled_by_content > Pages::ZERO && !claim.by_content {
            options.events.note(format!(
                "the page lists of both sides differed on {} bytes; these were read on both sides and are equal",
                passed.settled_by_content.bytes()
            ));
        }
        // The words of a seal know of no grants, so none may be left when they are written.
        tokio::select! {
            biased;
            () = self.stop(&halt) => {
                return Err(self.failure(Ending::Stopped).unwrap_or(ReplicateError::Interrupted));
            }
            given = self.engine.source.give_back() => given?,
        }
        seal(&**target, self.seal_words(tally), &self.others, self.hold, &passed.etag, options).await
    }

    /// After a gate that failed, something about the target is not as anybody knew.
    async fn start_over(&self) -> Result<(), ReplicateError> {
        let target = &*self.engine.target;
        let etag: Etag = target.properties(&View::Base).await?.etag;
        let (id, doubt) = (self.hold.id(), self.hold.doubt());
        let doubted = State::Applying(Mark { known: false, ..self.mark(Pages::ZERO) });
        set_state(target, &doubted, &self.others, id, &etag, doubt).await?;
        Ok(())
    }
}
