//! `pageferry sync`: every newer snapshot of the source becomes a point of the target.

use std::fmt::{self, Display, Formatter};

use pageferry_azure::PageBlob;
use pageferry_core::next::{Conflict, Want};
use pageferry_replicate::adopt::adopt;
use pageferry_replicate::restore::find_point;
use pageferry_replicate::sync::{SyncReport, sync};
use pageferry_replicate::{Engine, ReplicateError};
use pageferry_store::Source;
use serde::Serialize;

use crate::exit::Failure;
use crate::human::count;
use crate::job::Scene;
use crate::origin::{Disk, Origin};
use crate::place::Place;
use crate::progress::{Reporter, Work};
use crate::report::{PointSaid, say};
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Origin,
    pub(crate) target: Place,
    pub(crate) want: Want,
    pub(crate) adopt: bool,
    pub(crate) settings: Settings,
}

#[derive(Serialize)]
struct Synced {
    source: String,
    target: String,
    /// Points made by this run.
    points_made: u64,
    newest_point: Option<String>,
}

/// The target now belongs to another disk.
#[derive(Serialize)]
struct Adopted {
    source: String,
    source_snapshot: String,
    point: String,
}

say! { Synced => "sync", Adopted => "adopted" }

impl Display for Synced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let newest = self.newest_point.as_deref().unwrap_or("unknown");
        match self.points_made {
            0 => write!(f, "up to date: the newest point of {} is {newest}", self.target),
            made => write!(f, "{} made; the newest of {} is {newest}", count(made, "point"), self.target),
        }
    }
}

impl Display for Adopted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Adopted { source, source_snapshot, point } = self;
        write!(
            f,
            "adopted {source}: its snapshot {source_snapshot} equals what was the newest point, and is point {point} now"
        )
    }
}

/// `error` with both disks named: the engine's own words on a conflict know only the target.
pub(crate) fn explained(error: ReplicateError, engine: &Engine<Disk, PageBlob>) -> Failure {
    let exit = error.class().into();
    let (source, target) = (engine.source.address(), engine.target.address());
    let message = match error {
        ReplicateError::Conflict { conflict: Conflict::OtherDisk { have, .. }, .. } => format!(
            "cannot sync {source} to {target}, which holds the backup of {}: give this disk a target of its own, or say \
             --adopt if it was restored from there",
            have.address()
        ),
        ReplicateError::Conflict { conflict, .. } => format!("cannot sync {source} to {target}: {conflict}"),
        ReplicateError::Differs { .. } => format!(
            "{error}; only a disk restored from the newest point can be adopted: give this one a target of its own"
        ),
        other => other.to_string(),
    };
    Failure::new(exit, message)
}

/// The engine for a step from `source` to `target`, and where that is to go.
///
/// # Errors
/// One of the two cannot be reached, or the words do not go together.
pub(crate) async fn engine(
    scene: &Scene,
    reporter: &Reporter,
    (source, target): (&Origin, &Place),
    want: &Want,
    settings: &Settings,
) -> Result<(Engine<Disk, PageBlob>, Want), Failure> {
    let reach = async { tokio::try_join!(source.reach(scene, reporter.events()), target.reach()) };
    let ((source, named), target) = scene.interrupt.or(reach).await?;
    let want = source.want(want, named)?;
    if !settings.reseed {
        scene.interrupt.or(source.continues(&target)).await?;
    }
    Ok((Engine::new(source, target, settings.options(scene, reporter)), want))
}

/// Says the point that only a snapshot was missing of, if there was one; how many points a sync has made.
pub(crate) fn points_made(scene: &Scene, report: &SyncReport) -> u64 {
    if let Some(point) = &report.finished {
        scene.console.say(&PointSaid::from(point));
    }
    report.steps.len() as u64 + u64::from(report.finished.is_some())
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let reporter = Reporter::start(&scene.console);
        let pair = (&self.source, &self.target);
        let (engine, want) = engine(scene, &reporter, pair, &self.want, &self.settings).await?;
        let result = self.work(&engine, &want, scene, &reporter).await;
        engine.source.leave().await;
        reporter.finish();
        let report = result.map_err(|error| explained(error, &engine))?;
        scene.console.say(&Synced {
            source: engine.source.address(),
            target: engine.target.address(),
            points_made: points_made(scene, &report),
            newest_point: report.newest.map(|id| id.to_string()),
        });
        Ok(())
    }

    async fn work(
        &self,
        engine: &Engine<Disk, PageBlob>,
        want: &Want,
        scene: &Scene,
        reporter: &Reporter,
    ) -> Result<SyncReport, ReplicateError> {
        if self.adopt {
            let newest = find_point(&*engine.target, "latest").await?;
            reporter.begin(Work::Compare, newest.size.bytes());
            if let Some(step) = adopt(engine).await? {
                reporter.flush();
                scene.console.say(&Adopted {
                    source: engine.source.address(),
                    source_snapshot: step.to.to_string(),
                    point: step.point.to_string(),
                });
            }
        }
        sync(engine, want).await
    }
}
