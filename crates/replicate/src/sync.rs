//! Bringing a target up to date: steps, one after the other, each ending in a point.

use std::sync::Arc;

use pageferry_core::lineage::{DiskId, Mark, Seal, State};
use pageferry_core::next::{
    Conflict, Decision, Point, Start, Step, Want, crosses_boundary, next_step, repair_step, reseed_step,
};
use pageferry_core::{Etag, Metadata, Pages, SnapshotId};
use pageferry_store::{ErrorKind, LeaseId, LeaseState, Source, Target, View};

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::StepReport;
use crate::lease::{Hold, LAST_WORDS, quiesce};
use crate::look::{self, Found, Picture, probe, probe_source};
use crate::options::Options;
use crate::seal::take_point;
use crate::step::{Task, step};
use crate::take::{Evidence, foreign_change};

/// What a sync did.
#[derive(Clone, Debug, Default)]
pub struct SyncReport {
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// A point whose snapshot an earlier run had left to take.
    pub finished: Option<Point>,
    /// The newest point at the end.
    pub newest: Option<SnapshotId>,
}

/// Brings the target of `engine` to where `want` says: [`Want::Next`] is repeated until nothing newer is on offer.
///
/// # Errors
/// Whatever ended it; points made before that stay.
pub async fn sync<S: Source, T: Target>(engine: &Engine<S, T>, want: &Want) -> Result<SyncReport, ReplicateError> {
    let mut report = SyncReport::default();
    let found = look::target(&*engine.target).await?;
    let (decision, source) = decide(engine, found.as_ref(), want, likely_evidence(found.as_ref()), false).await?;
    let first = match decision {
        Decision::UpToDate(point) => {
            report.newest = Some(point.id);
            return Ok(report);
        }
        Decision::Finish(_) => None,
        Decision::Step(step) => Some(step),
    };
    // By the snapshot that is read first anyway: to be let read another one may cost something. Where it does, it may also end
    // what another run was granted, so it is put off until no other run can be at work on the target.
    let mut unasked = false;
    if let Some(offer) = first.as_ref().map(|step| &step.to).or(source.offers.last()) {
        unasked = found.is_some() && !engine.source.grants(std::slice::from_ref(&offer.at.id)).is_empty();
        if !unasked {
            probe_source(&*engine.source, &source, offer).await?;
        }
    }
    let created = match (&found, first) {
        (None, Some(step)) => create(&engine.target, &engine.options, &task_of(&source.disk, &step)).await?,
        _ => None,
    };
    let (mut hold, before) = Hold::take(&engine.target, &engine.options).await?;
    let result = async {
        let (mut evidence, mut anew) = (None, false);
        loop {
            if engine.options.stop.is_cancelled() {
                return Err(ReplicateError::Interrupted);
            }
            let found = look::target(&*engine.target).await?;
            let found = found.ok_or_else(|| ReplicateError::NoTarget(engine.target.address()))?;
            let known = match evidence {
                Some(known) => known,
                None => Evidence::of(&before, &found),
            };
            let (decision, source) = decide(engine, Some(&found), want, known.untouched, anew).await?;
            match decision {
                Decision::UpToDate(point) => {
                    report.newest = Some(point.id);
                    return Ok(());
                }
                Decision::Finish(seal) => {
                    report.finished = Some(finish(engine, &hold, &found, known, &seal).await?);
                }
                Decision::Step(next) => {
                    if std::mem::take(&mut unasked) {
                        probe_source(&*engine.source, &source, &next.to).await?;
                    }
                    probe(&*engine.target, &View::Base, found.properties.size).await?;
                    if next.start == Start::Reseed && !engine.options.reseed {
                        engine.options.events.note(why_whole(&source.disk, &next));
                    }
                    let task = task_of(&source.disk, &next);
                    let fresh = created.as_ref() == Some(&found.properties.etag);
                    let known = if fresh { Evidence::handed_over() } else { known };
                    let task = if fresh { Task { start: Start::Clean, ..task } } else { task };
                    match step(engine, &hold, &found, &task, known, fresh).await {
                        Ok(done) => report.steps.push(done),
                        // Only the service knows of some breaks, and says so when asked for the difference.
                        Err(ReplicateError::Store(error))
                            if error.kind() == ErrorKind::ChainBroken && engine.options.reseed && !anew =>
                        {
                            anew = true;
                            evidence = None;
                            hold.rotate().await?;
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            anew = false;
            hold.rotate().await?;
            evidence = Some(Evidence::handed_over());
        }
    }
    .await;
    let_go(&engine.target, hold, result).await?;
    Ok(report)
}

/// Whether [`sync`] would go ahead, now or once there is a newer source snapshot. Writes nothing.
///
/// # Errors
/// What it would be refused with.
pub async fn check<S: Source, T: Target>(engine: &Engine<S, T>, want: &Want) -> Result<(), ReplicateError> {
    let found = look::target(&*engine.target).await?;
    match decide(engine, found.as_ref(), want, likely_evidence(found.as_ref()), false).await {
        Err(ReplicateError::Conflict { conflict: Conflict::NoSnapshots, .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the snapshot that an earlier run, which had copied and sealed everything, did not live to take.
pub(crate) async fn finish<S: Source, T: Target>(
    engine: &Engine<S, T>,
    hold: &Hold<T>,
    found: &Found,
    known: Evidence,
    seal: &Seal,
) -> Result<Point, ReplicateError> {
    let options = &engine.options;
    quiesce(hold, known, options).await?;
    let point = take_point(&*engine.target, &seal.run, hold, &found.properties.etag, options).await?;
    options.events.note(format!(
        "an earlier run had copied source snapshot {} completely; only its point was missing and is made now",
        seal.snapshot.id
    ));
    Ok(point)
}

/// Gives the target back, so that the next run knows as much as this one.
pub(crate) async fn let_go<T: Target, R>(
    target: &Arc<T>,
    hold: Hold<T>,
    result: Result<R, ReplicateError>,
) -> Result<R, ReplicateError> {
    match &result {
        Err(ReplicateError::Fenced { .. } | ReplicateError::LeaseLost { .. }) => drop(hold),
        // Words that name our lease can be trusted by whoever can still renew it, so it must be left to run out.
        Err(_) if hold.doubt().is_open() || names_lease(target, hold.id()).await => hold.lapse().await,
        // The next run must wait, and an ended lease tells it so.
        Ok(_) if hold.doubt().is_open() => hold.lapse().await,
        // Should the release fail, the lease runs out, and the next run waits a little.
        _ => {
            let _ = tokio::time::timeout(LAST_WORDS, hold.release()).await;
        }
    }
    result
}

/// Whether the target's words name `lease`, or may.
async fn names_lease<T: Target>(target: &Arc<T>, lease: &LeaseId) -> bool {
    match tokio::time::timeout(LAST_WORDS, target.properties(&View::Base)).await {
        Ok(Ok(now)) => {
            State::from_metadata(&now.metadata).is_ok_and(|state| state.is_some_and(|s| s.lease() == lease.0))
        }
        _ => true,
    }
}

/// Whether the evidence would hold if nothing changed between now and taking the target.
pub(crate) fn likely_evidence(found: Option<&Found>) -> bool {
    found.is_some_and(|found| {
        let epoch = found.view.state.as_ref().map(State::epoch);
        epoch == Some(found.properties.sequence) && found.properties.lease == LeaseState::Expired
    })
}

/// What to do, and what there is of the source. With `anew`, a step seeds anew whatever the words say.
pub(crate) async fn decide<S: Source, T: Target>(
    engine: &Engine<S, T>,
    found: Option<&Found>,
    want: &Want,
    evidence: bool,
    anew: bool,
) -> Result<(Decision, pageferry_core::next::SourceView), ReplicateError> {
    if found.is_some_and(|found| found.properties.copy_pending) {
        return Err(ReplicateError::Refused(format!(
            "{} is the destination of a copy that is still pending: wait for it, or name another target",
            engine.target.address()
        )));
    }
    let source = look::source(&*engine.source).await?;
    let decision = match (next_step(found.map(|found| &found.view), &source, want, evidence), found) {
        (Ok(Decision::Step(_)), Some(found)) if anew => {
            reseed_step(&found.view, &source, want).map(|step| Decision::Step(Box::new(step)))
        }
        (Err(conflict), Some(found))
            if conflict.is_expected() || (engine.options.reseed && conflict.is_broken_chain()) =>
        {
            reseed_step(&found.view, &source, want).map(|step| Decision::Step(Box::new(step)))
        }
        (decision, _) => decision,
    };
    let conflict = |conflict| ReplicateError::Conflict { target: engine.target.address(), conflict };
    let decision = decision.map_err(conflict)?;
    // Whoever asks for a reseed has looked. A step that compares everything of itself writes over nobody's changes.
    if let (Decision::Step(step), Some(found)) = (&decision, found)
        && step.start == Start::Reseed
        && !engine.options.reseed
        && !engine.options.repair
        && let Some(newest) = step.from.as_ref().filter(|newest| found.is_at(newest))
        && let Some(what) = foreign_change(&engine.target, found, newest).await?
    {
        return Err(ReplicateError::Foreign { target: engine.target.address(), what });
    }
    // Nothing newer to copy is no reason to call a target good that somebody has written to.
    if let (Decision::UpToDate(newest), Some(found)) = (&decision, found)
        && let Some(what) = foreign_change(&engine.target, found, newest).await?
    {
        if !engine.options.repair {
            return Err(ReplicateError::Foreign { target: engine.target.address(), what });
        }
        let step = repair_step(newest, &source).map_err(conflict)?;
        return Ok((Decision::Step(Box::new(step)), source));
    }
    Ok((decision, source))
}

/// Why a step compares everything that nobody asked to.
fn why_whole(disk: &DiskId, step: &Step) -> String {
    let to = &step.to.at.id;
    let why = match &step.from {
        _ if !disk.has_differences() => format!("{} was made before 2016 and cannot be differenced", disk.address()),
        Some(from) => {
            let across = crosses_boundary(from.size.bytes(), step.to.size.bytes());
            let what = if across { "lie on different sides of the 4-TB boundary" } else { "are of two families" };
            format!("{} and {to} {what}, so the service gives no difference", from.seal.snapshot.id)
        }
        None => "there is no point to go on from".to_owned(),
    };
    format!("{why}; doing a full copy of {to}, by comparing everything")
}

pub(crate) fn task_of(disk: &DiskId, step: &Step) -> Task {
    let parent = step.from.as_ref().filter(|_| step.start != Start::Reseed);
    Task {
        from: step.from.clone(),
        picture: Picture {
            id: step.to.at.id.clone(),
            since: parent.map(|point| point.seal.snapshot.id.clone()),
            size: step.to.size,
        },
        disk: disk.clone(),
        names: step.to.at.clone(),
        start: step.start.clone(),
    }
}

/// Makes a target that says from its first moment what it is going to be. Returns its tag, or `None` where somebody else
/// made it first: what they made is looked at under the lease.
pub(crate) async fn create<T: Target>(
    target: &Arc<T>,
    options: &Options,
    task: &Task,
) -> Result<Option<Etag>, ReplicateError> {
    let run = options.machine.fresh_id();
    let mark = State::Applying(Mark {
        disk: task.disk.clone(),
        from: None,
        to: task.names.clone(),
        run: run.clone(),
        // No lease has this id: nobody can take these words for evidence.
        lease: options.machine.fresh_id(),
        host: options.host.clone(),
        epoch: 0,
        known: true,
        watermark: Pages::ZERO,
        gap: Pages::ZERO,
        grants: Vec::new(),
    });
    let words = mark.to_metadata(&Metadata::new());
    let mut last = None;
    for _ in 0..CREATE_TRIES {
        match target.create(task.picture.size, &words).await {
            Ok(etag) => return Ok(Some(etag)),
            Err(error) if error.kind() == ErrorKind::Unknown => last = Some(error),
            // What is there may be what we asked for before.
            Err(error) if error.kind() == ErrorKind::Exists && last.is_none() => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(found) = look::target(&**target).await? {
            let ours = found.view.state.as_ref().is_some_and(|state| state.run() == run);
            return Ok(ours.then_some(found.properties.etag));
        }
    }
    last.map_or(Ok(None), |error| Err(error.into()))
}

/// How often Put Blob is sent while its outcome is unknown and there is no blob: it never replaces one.
const CREATE_TRIES: usize = 5;
