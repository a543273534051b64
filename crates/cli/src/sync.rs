//! `pageferry sync`: every newer snapshot of the source becomes a point of the target.

use std::fmt::{self, Display, Formatter};

use pageferry_azure::PageBlob;
use pageferry_core::next::Want;
use pageferry_replicate::adopt::adopt;
use pageferry_replicate::restore::find_point;
use pageferry_replicate::sync::{SyncReport, sync};
use pageferry_replicate::{Engine, ReplicateError};
use pageferry_store::Source;
use serde::Serialize;

use crate::exit::Failure;
use crate::human::count;
use crate::job::{Scene, Settings};
use crate::place::Place;
use crate::progress::{Reporter, Work};
use crate::report::{PointSaid, say};

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Place,
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
    point: PointSaid,
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
        let PointSaid { point, source_snapshot, .. } = &self.point;
        write!(
            f,
            "adopted {}: its snapshot {source_snapshot} equals the newest point, and is point {point} now",
            self.source
        )
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let reach = async { tokio::try_join!(self.source.reach(), self.target.reach()) };
        let (source, target) = scene.interrupt.or(reach).await?;
        let reporter = Reporter::start(&scene.console);
        let engine = Engine::new(source, target, self.settings.options(scene, &reporter));
        let result = self.work(&engine, scene, &reporter).await;
        reporter.finish();
        let report = result?;
        if let Some(point) = &report.finished {
            scene.console.say(&PointSaid::from(point));
        }
        let made = report.steps.len() as u64 + u64::from(report.finished.is_some());
        scene.console.say(&Synced {
            source: engine.source.address(),
            target: engine.target.address(),
            points_made: made,
            newest_point: report.newest.map(|id| id.to_string()),
        });
        Ok(())
    }

    async fn work(
        &self,
        engine: &Engine<PageBlob, PageBlob>,
        scene: &Scene,
        reporter: &Reporter,
    ) -> Result<SyncReport, ReplicateError> {
        if self.adopt {
            let newest = find_point(&*engine.target, "latest").await?;
            reporter.begin(Work::Compare, newest.size.bytes());
            if let Some(point) = adopt(engine).await? {
                scene.console.say(&Adopted { source: engine.source.address(), point: PointSaid::from(&point) });
            }
        }
        sync(engine, &self.want).await
    }
}
