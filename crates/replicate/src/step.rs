//! A step, from beginning to end: one source snapshot becomes one point of the target. Read this first.
//!
//! The target is already held, and what to do is decided. Then, in this order: the **epoch** is raised, so that the
//! service refuses page writes of any earlier run; after an unclean predecessor the service is given **time** to finish
//! what it may still be applying; the target's **own difference** tells what was done to it since its newest point; the
//! target is **marked**, so that whoever comes next knows it is between two points; it is **resized**; the changes are
//! **applied**; the **gate** compares; the **seal** makes the point. The order is the safety; an exhaustive model has
//! broken every other one that was tried.

use std::sync::Arc;
use std::time::Duration;

use pageferry_core::lineage::{DiskId, Mark, Seal, SnapshotRef, State};
use pageferry_core::next::{Point, Start};
use pageferry_core::plan::cut;
use pageferry_core::{Change, Etag, Metadata, PageRange, Pages};
use pageferry_store::{Fence, Source, Target, View};
use pageferry_transfer::{Aimd, Ending, Progress, Route, transfer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::compare::{Side, compare};
use crate::engine::{Engine, pause};
use crate::error::{Ranges, ReplicateError};
use crate::event::{Event, StepReport};
use crate::gate::{Claim, gate};
use crate::lease::Hold;
use crate::look::{Found, Picture};
use crate::planning::{Lists, Planner, Tally, requests};
use crate::seal::seal;
use crate::settle::{fenced, raise_epoch, set_state};
use crate::sync::quiesce;
use crate::take::{Evidence, first_own_change, own_difference};

/// What a step shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// The newest point; `None` for a seed.
    pub from: Option<Point>,
    /// What is read.
    pub picture: Picture,
    /// The disk that the point will name.
    pub disk: DiskId,
    /// The source snapshot that the point will name.
    pub names: SnapshotRef,
    /// What is on the target already.
    pub start: Start,
}

/// A step under way: what stays the same from the epoch to the seal.
struct Run<'a, S, T> {
    engine: &'a Engine<S, T>,
    hold: &'a Hold<T>,
    task: &'a Task,
    id: String,
    epoch: u64,
    others: Metadata,
}

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
    let run = Run {
        engine,
        hold,
        task,
        id: Uuid::new_v4().to_string(),
        epoch: next_epoch(&*engine.target, found)?,
        others: found.properties.metadata.clone(),
    };
    let (target, options) = (&*engine.target, &engine.options);

    let etag = raise_epoch(target, run.epoch, hold.id(), &found.properties.etag, hold.doubt()).await?;
    quiesce(hold, evidence, options).await?;
    let touched = if fresh { Touched::No } else { run.touched(found).await? };
    let floor = run.floor(evidence);
    run.announce(floor);
    set_state(target, &run.mark(floor), &run.others, hold.id(), &etag, hold.doubt()).await?;
    let resized_at = run.resize(found).await?;
    if touched == Touched::Seed && floor == Pages::ZERO {
        run.empty().await?;
    }
    let (mut progress, tally) = run.apply(found, touched, floor).await?;
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
        written_bytes: progress.written_bytes,
        cleared_bytes: progress.cleared_bytes,
        requests: progress.requests,
        refused: progress.refused,
        elapsed: begun.elapsed(),
        run: run.id,
    };
    options.events.tell(&Event::Sealed(report.clone()));
    Ok(report)
}

impl<S: Source, T: Target> Run<'_, S, T> {
    /// Whether pages outside the source's difference may have been touched since the newest point.
    ///
    /// On a target that says it is sealed, a change is somebody else's and is refused unless repair was asked for.
    async fn touched(&self, found: &Found) -> Result<Touched, ReplicateError> {
        let target = &self.engine.target;
        let Some(from) = &self.task.from else {
            let empty = first_own_change(target, found, None).await?.is_none();
            return Ok(if empty { Touched::No } else { Touched::Seed });
        };
        match self.task.start {
            Start::Reseed => return Ok(Touched::Since),
            Start::Resume(_) | Start::Dirty => return Ok(Touched::Since),
            Start::Clean if found.is_clean() => return Ok(Touched::No),
            Start::Clean | Start::Adopt => {}
        }
        let what = if found.properties.size == from.size {
            self.first_foreign_page(found, from).await?
        } else {
            let (now, then) = (found.properties.size.bytes(), from.size.bytes());
            Some(format!("it has {now} bytes, and its newest point has {then}"))
        };
        match what {
            None => Ok(Touched::No),
            Some(_) if self.engine.options.repair && self.task.start == Start::Clean => Ok(Touched::Since),
            Some(what) => Err(ReplicateError::Foreign { target: target.address(), what }),
        }
    }

    /// The first pages that the target's tracker reports since `from` and whose content is not the point's. A late copy of
    /// one of our own writes touches pages without changing them.
    async fn first_foreign_page(&self, found: &Found, from: &Point) -> Result<Option<String>, ReplicateError> {
        let target = &self.engine.target;
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

    /// Brings the target to the source's size. Tells when a request for that last ended with an unknown outcome.
    async fn resize(&self, found: &Found) -> Result<Option<Instant>, ReplicateError> {
        let target = &*self.engine.target;
        if found.properties.size == self.task.picture.size {
            return Ok(None);
        }
        let receipt = target.resize(self.task.picture.size, self.hold.id()).await;
        Ok(receipt.map_err(|error| fenced(target, error))?.unknown_at)
    }

    /// Clears all of the target. What a seed finds there is of no use to it, and on an empty target the page list proves
    /// which pages the seed has written.
    async fn empty(&self) -> Result<(), ReplicateError> {
        let Engine { target, options, .. } = self.engine;
        let clears = PageRange::whole(self.task.picture.size).map(Change::clear);
        let clears = clears.into_iter().flat_map(|change| cut(change, &options.chunks)).map(Ok::<_, ReplicateError>);
        let (progress, _) = watch::channel(Progress::default());
        let mut pace = Aimd::new(options.in_flight.0, options.in_flight.1);
        let (route, halt) = (self.route(), CancellationToken::new());
        let stop = self.stop(&halt);
        let clears = futures::stream::iter(clears);
        let (_, ending) = transfer(&route, clears, Pages::ZERO, options.budget, &mut pace, &progress, stop).await?;
        match self.failure(ending) {
            None => Ok(()),
            Some(error) => Err(error),
        }
        .inspect_err(|_| options.events.note(format!("{} is not emptied yet", target.address())))
    }

    /// From where to where, and under which fence.
    fn route(&self) -> Route<S, T> {
        Route {
            source: Arc::clone(&self.engine.source),
            view: View::Snapshot(self.task.picture.id.clone()),
            target: Arc::clone(&self.engine.target),
            fence: Fence { lease: self.hold.id().clone(), epoch: self.epoch },
            compare: self.task.start == Start::Reseed,
        }
    }

    /// Completes when no more may be sent.
    async fn stop(&self, halt: &CancellationToken) {
        tokio::select! {
            () = self.engine.options.stop.cancelled() => {}
            () = self.hold.lost().cancelled() => {}
            () = halt.cancelled() => {}
        }
    }

    /// Why a transfer did not complete.
    fn failure(&self, ending: Ending) -> Option<ReplicateError> {
        let target = &*self.engine.target;
        match ending {
            Ending::Complete => None,
            _ if self.hold.lost().is_cancelled() => Some(ReplicateError::Fenced {
                target: target.address(),
                cause: "the lease could not be renewed".to_owned(),
            }),
            Ending::Stopped => Some(ReplicateError::Interrupted),
            Ending::Failed(error) => Some(fenced(target, error)),
        }
    }

    /// What the plan is made from.
    fn lists(&self, found: &Found, touched: Touched) -> Lists {
        let Engine { source, target, .. } = self.engine;
        let picture = &self.task.picture;
        // The target as it is after the resize.
        let mut found = found.clone();
        found.properties.size = picture.size;
        let own = |since| own_difference(target, &found, since);
        match (&self.task.start, touched, &self.task.from) {
            (Start::Adopt, ..) => Lists::nothing(),
            // What is gone since the old chain is known only by comparing whole page lists.
            (Start::Reseed, ..) => Lists { own: own(None), ..Lists::clean(source, picture) },
            (_, Touched::No, _) => Lists::clean(source, picture),
            (_, _, None) => Lists::touched(source, picture, own(None), own(None)),
            (_, _, Some(from)) => Lists::touched(source, picture, own(Some(&from.id)), own(None)),
        }
    }

    /// Below which page an interrupted run of this very step has made everything durable.
    fn floor(&self, evidence: Evidence) -> Pages {
        match self.task.start {
            Start::Resume(watermark) if evidence.untouched => watermark,
            _ => Pages::ZERO,
        }
    }

    fn announce(&self, floor: Pages) {
        let resumed = matches!(self.task.start, Start::Resume(_)).then(|| floor.bytes());
        self.engine.options.events.tell(&Event::Begun {
            from: self.parent().map(|parent| parent.id),
            to: self.task.names.id.clone(),
            disk_bytes: self.task.picture.size.bytes(),
            resumed_at: resumed,
        });
    }

    /// The source snapshot that this one is a difference from.
    fn parent(&self) -> Option<SnapshotRef> {
        let chained = !matches!(self.task.start, Start::Reseed | Start::Adopt);
        let from = self.task.from.as_ref().filter(|_| chained);
        from.map(|point| point.seal.snapshot.clone())
    }

    fn mark(&self, watermark: Pages) -> State {
        State::Applying(Mark {
            disk: self.task.disk.clone(),
            from: self.parent(),
            to: self.task.names.clone(),
            run: self.id.clone(),
            lease: self.hold.id().0.clone(),
            host: self.engine.options.host.clone(),
            epoch: self.epoch,
            watermark,
            gap: Pages::ZERO,
        })
    }

    /// Moves the pages, while the watermark follows.
    async fn apply(&self, found: &Found, touched: Touched, floor: Pages) -> Result<(Progress, Tally), ReplicateError> {
        let options = &self.engine.options;
        // A seed that was emptied first finds nothing of its own.
        let touched = if touched == Touched::Seed && floor == Pages::ZERO { Touched::No } else { touched };
        let mut planner = Planner::new(self.lists(found, touched), floor, options.chunks);
        let route = self.route();
        let (progress, watched) = watch::channel(Progress { watermark: floor, ..Progress::default() });
        let (halt, moved) = (CancellationToken::new(), CancellationToken::new());
        let stop = self.stop(&halt);
        let (start, max) = options.in_flight;
        let mut pace = Aimd::new(start, max);
        let moving = async {
            let plan = requests(&mut planner);
            let result = transfer(&route, plan, floor, options.budget, &mut pace, &progress, stop).await;
            moved.cancel();
            result
        };
        let (result, marked) = tokio::join!(moving, self.follow(watched, &moved, &halt));
        let watermarks = marked?;
        let (mut progress, ending) = result?;
        progress.unknown_at = progress.unknown_at.max(watermarks);
        let Some(error) = self.failure(ending) else { return Ok((progress, planner.tally().clone())) };
        if !matches!(error, ReplicateError::Fenced { .. }) {
            // The run ends here; what it achieved is worth a word, but only the word of the error is promised.
            let _ = self.say_watermark(progress.watermark).await;
        }
        Err(error)
    }

    /// Writes the watermark down every few seconds until the pages have moved. Tells when a write of it last ended with
    /// an unknown outcome.
    ///
    /// These writes are not conditional on the tag, which every page write changes. The lease, fresh for this run, keeps
    /// a late one from any other run; the gate waits for one of ours that may be late.
    async fn follow(
        &self,
        progress: watch::Receiver<Progress>,
        moved: &CancellationToken,
        halt: &CancellationToken,
    ) -> Result<Option<Instant>, ReplicateError> {
        let every = self.engine.options.watermark_every;
        let (mut said, mut unknown_at) = (progress.borrow().watermark, None);
        let mut due = Instant::now() + every;
        loop {
            tokio::select! {
                () = moved.cancelled() => {
                    self.engine.options.events.tell(&Event::Moving(*progress.borrow()));
                    return Ok(unknown_at);
                }
                () = tokio::time::sleep(every.min(TELL_EVERY)) => {}
            }
            let now = *progress.borrow();
            self.engine.options.events.tell(&Event::Moving(now));
            if Instant::now() < due || now.watermark == said {
                continue;
            }
            due = Instant::now() + every;
            match self.say_watermark(now.watermark).await {
                Ok(()) => said = now.watermark,
                Err(ReplicateError::Store(error)) if error.kind() == pageferry_store::ErrorKind::Unknown => {
                    unknown_at = Some(Instant::now());
                }
                // A word that could not be said now is said next time.
                Err(ReplicateError::Store(_)) => {}
                Err(error) => {
                    halt.cancel();
                    return Err(error);
                }
            }
        }
    }

    async fn say_watermark(&self, watermark: Pages) -> Result<(), ReplicateError> {
        let target = &*self.engine.target;
        let words = self.mark(watermark).to_metadata(&self.others);
        target.set_metadata(&words, self.hold.id(), None).await.map_err(|error| fenced(target, error))?;
        Ok(())
    }

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
            by_content: matches!(self.task.start, Start::Reseed | Start::Adopt),
            run: self.id.clone(),
            epoch: self.epoch,
        };
        let halt = CancellationToken::new();
        let checked = tokio::select! {
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
        seal(&**target, self.seal_words(tally), &self.others, self.hold, &passed.etag, options).await
    }

    /// After a gate that failed nothing below any watermark can be relied upon.
    async fn start_over(&self) -> Result<(), ReplicateError> {
        let target = &*self.engine.target;
        let etag: Etag = target.properties(&View::Base).await?.etag;
        let (id, doubt) = (self.hold.id(), self.hold.doubt());
        set_state(target, &self.mark(Pages::ZERO), &self.others, id, &etag, doubt).await?;
        Ok(())
    }

    fn seal_words(&self, tally: &Tally) -> Seal {
        Seal {
            disk: self.task.disk.clone(),
            snapshot: self.task.names.clone(),
            parent: self.parent(),
            plan: tally.digest.clone().finish(),
            written_bytes: tally.difference.write_pages.bytes(),
            cleared_bytes: tally.difference.clear_pages.bytes(),
            run: self.id.clone(),
            lease: self.hold.id().0.clone(),
            epoch: self.epoch,
            sealed_at: now_rfc3339(),
        }
    }
}

/// What a step finds on the target beside its newest point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Touched {
    /// Nothing.
    No,
    /// Pages may have been touched since the newest point.
    Since,
    /// There is no point, and there are pages.
    Seed,
}

/// The epoch after the one that the target was found in.
pub(crate) fn next_epoch(target: &impl Target, found: &Found) -> Result<u64, ReplicateError> {
    // The service counts to 2^63-1.
    let next = found.properties.sequence.checked_add(1).filter(|next| i64::try_from(*next).is_ok());
    next.ok_or_else(|| ReplicateError::Refused(format!("{} has no epoch left to count", target.address())))
}

/// How often progress is told while pages move.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The time of this machine, for people; nothing is decided by it.
pub(crate) fn now_rfc3339() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_| OffsetDateTime::now_utc());
    now.format(&Rfc3339).unwrap_or_default()
}
