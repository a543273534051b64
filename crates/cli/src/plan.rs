//! `pageferry plan`: what the next step of a sync would do, and how long the service would take over it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use pageferry_azure::PageBlob;
use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_core::plan::PlanSummary;
use pageferry_replicate::plan::{Plan, plan};
use pageferry_replicate::{Engine, ReplicateError, look};
use pageferry_store::Source;
use serde::Serialize;

use crate::exit::Failure;
use crate::human::{bytes, count, duration};
use crate::job::{Scene, Settings};
use crate::place::Place;
use crate::progress::Reporter;
use crate::report::{millis, say};
use crate::sync::explained;

/// What one standard page blob takes (Azure: scalability targets for Blob storage).
const BLOB_BYTES_PER_SEC: u64 = 60 << 20;
const BLOB_REQUESTS_PER_SEC: u64 = 500;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Place,
    pub(crate) target: Place,
    pub(crate) want: Want,
    pub(crate) settings: Settings,
}

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    /// A first copy.
    Seed,
    /// A first copy of a disk whose chain is broken, onto what the target holds.
    Reseed,
    /// A difference.
    Step,
    /// Only the snapshot that makes a point.
    Finish,
    /// Nothing.
    UpToDate,
}

/// Which of a blob's limits takes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Limit {
    BytesPerSecond,
    RequestsPerSecond,
}

#[derive(Serialize)]
struct Planned {
    action: Action,
    source: String,
    target: String,
    from: Option<String>,
    to: Option<String>,
    disk_bytes: u64,
    changed_bytes: u64,
    changed_ranges: u64,
    cleared_bytes: u64,
    cleared_ranges: u64,
    /// What is left of it to send, with what must be set right besides.
    write_bytes: u64,
    write_requests: u64,
    clear_bytes: u64,
    clear_requests: u64,
    at_least_ms: u64,
    limit: Limit,
    /// Source snapshots that follow, each in a step of its own.
    more: Vec<String>,
}

say! { Planned => "plan" }

impl Planned {
    fn new(source: String, target: String, plan: Plan) -> Planned {
        let mut planned = Planned {
            action: Action::UpToDate,
            source,
            target,
            from: None,
            to: None,
            disk_bytes: 0,
            changed_bytes: 0,
            changed_ranges: 0,
            cleared_bytes: 0,
            cleared_ranges: 0,
            write_bytes: 0,
            write_requests: 0,
            clear_bytes: 0,
            clear_requests: 0,
            at_least_ms: 0,
            limit: Limit::BytesPerSecond,
            more: Vec::new(),
        };
        match plan {
            Plan::UpToDate(point) => planned.to = Some(point.seal.snapshot.id.to_string()),
            Plan::Finish(id) => {
                planned.action = Action::Finish;
                planned.to = Some(id.to_string());
            }
            Plan::Step { from, to, disk_bytes, difference, planned: left, more } => {
                planned.action = if from.is_some() { Action::Step } else { Action::Seed };
                planned.from = from.as_ref().map(SnapshotId::to_string);
                planned.to = Some(to.to_string());
                planned.disk_bytes = disk_bytes;
                planned.changed_bytes = difference.write_pages.bytes();
                planned.changed_ranges = difference.write_ranges;
                planned.cleared_bytes = difference.clear_pages.bytes();
                planned.cleared_ranges = difference.clear_ranges;
                planned.more = more.iter().map(SnapshotId::to_string).collect();
                planned.left(&left);
            }
        }
        planned
    }

    fn left(&mut self, left: &PlanSummary) {
        self.write_bytes = left.write_pages.bytes();
        self.write_requests = left.write_requests;
        self.clear_bytes = left.clear_pages.bytes();
        self.clear_requests = left.clear_requests;
        let (time, limit) = at_least(self.write_bytes, left.requests());
        (self.at_least_ms, self.limit) = (millis(time), limit);
    }
}

/// How long one blob takes at least for so many bytes in so many requests, and why.
fn at_least(bytes: u64, requests: u64) -> (Duration, Limit) {
    let micros = |amount: u64, rate: u64| Duration::from_micros(amount.saturating_mul(1_000_000 / rate.min(1_000_000)));
    let moving = Duration::from_secs(bytes / BLOB_BYTES_PER_SEC)
        + Duration::from_micros((bytes % BLOB_BYTES_PER_SEC) * 1_000_000 / BLOB_BYTES_PER_SEC);
    let asking = micros(requests, BLOB_REQUESTS_PER_SEC);
    if asking > moving { (asking, Limit::RequestsPerSecond) } else { (moving, Limit::BytesPerSecond) }
}

impl Display for Planned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let to = self.to.as_deref().unwrap_or_default();
        writeln!(f, "source    {}", self.source)?;
        writeln!(f, "target    {}", self.target)?;
        match (self.action, &self.from) {
            (Action::UpToDate, _) => {
                return write!(
                    f,
                    "step      none: the newest point holds source snapshot {to}, and nothing newer is wanted"
                );
            }
            (Action::Finish, _) => {
                return write!(f, "step      finish source snapshot {to}: all is copied, only the point is missing");
            }
            (_, Some(from)) => writeln!(f, "step      {from} to {to}")?,
            (Action::Reseed, None) => {
                writeln!(f, "step      reseed from {to}: all of it is compared, and what differs is written")?;
            }
            (_, None) => writeln!(f, "step      seed from {to}")?,
        }
        writeln!(f, "disk      {}", bytes(self.disk_bytes))?;
        writeln!(f, "changed   {} in {}", bytes(self.changed_bytes), count(self.changed_ranges, "range"))?;
        writeln!(f, "cleared   {} in {}", bytes(self.cleared_bytes), count(self.cleared_ranges, "range"))?;
        if self.action == Action::Reseed {
            writeln!(f, "to do     write {} at most, clear {}", bytes(self.write_bytes), bytes(self.clear_bytes))?;
        } else if (self.write_bytes, self.clear_bytes) != (self.changed_bytes, self.cleared_bytes) {
            writeln!(
                f,
                "to do     write {}, clear {}: an earlier run has done a part, or left something to set right",
                bytes(self.write_bytes),
                bytes(self.clear_bytes)
            )?;
        }
        let (writes, clears) = (self.write_requests, self.clear_requests);
        writeln!(f, "requests  {}, {}", count(writes, "write"), count(clears, "clear"))?;
        let limit = match self.limit {
            Limit::BytesPerSecond => format!("{}/s", bytes(BLOB_BYTES_PER_SEC)),
            Limit::RequestsPerSecond => format!("{BLOB_REQUESTS_PER_SEC} requests/s"),
        };
        let time = duration(Duration::from_millis(self.at_least_ms));
        let least = if self.action == Action::Reseed { "at most" } else { "at least" };
        write!(f, "time      {least} {time} at {limit}, what one standard page blob takes")?;
        match &self.more[..] {
            [] => Ok(()),
            [first, ..] => write!(
                f,
                "\nthen      {} more, each in a step of its own, from {first}",
                count(self.more.len() as u64, "snapshot")
            ),
        }
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let reporter = Reporter::start(&scene.console);
        let planned = scene.interrupt.or(async {
            let (source, target) = tokio::try_join!(self.source.reach(), self.target.reach())?;
            let engine = Engine::new(source, target, self.settings.options(scene, &reporter));
            let plan = plan(&engine, &self.want).await.map_err(|error| explained(error, &engine))?;
            let mut planned = Planned::new(engine.source.address(), engine.target.address(), plan);
            if planned.action == Action::Seed && self.reseeds(&engine).await? {
                planned.action = Action::Reseed;
            }
            Ok(planned)
        });
        let planned = planned.await;
        reporter.finish();
        scene.console.say(&planned?);
        Ok(())
    }

    /// Whether a copy as a whole goes onto a target that has points.
    async fn reseeds(&self, engine: &Engine<PageBlob, PageBlob>) -> Result<bool, ReplicateError> {
        Ok(look::target(&*engine.target).await?.is_some_and(|found| !found.view.points.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_takes_longer_is_named() {
        assert_eq!(at_least(60 << 20, 15), (Duration::from_secs(1), Limit::BytesPerSecond));
        assert_eq!(at_least(512, 500), (Duration::from_secs(1), Limit::RequestsPerSecond));
        assert_eq!(at_least(8 << 40, 2 << 20).1, Limit::BytesPerSecond);
    }
}
