//! `pageferry plan`: what the next step of a sync would do, and how long the service would take over it.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use pageferry_azure::PageBlob;
use pageferry_core::SnapshotId;
use pageferry_core::limits::{Binding, Limits};
use pageferry_core::next::Want;
use pageferry_core::plan::PlanSummary;
use pageferry_replicate::plan::{Plan, plan};
use pageferry_replicate::{Engine, ReplicateError, look};
use pageferry_store::Source;
use serde::Serialize;

use crate::exit::Failure;
use crate::human::{bytes, count, duration};
use crate::job::Scene;
use crate::origin::{Disk, Origin};
use crate::place::Place;
use crate::prices::{Bill, Money, Prices};
use crate::progress::Reporter;
use crate::report::{millis, say};
use crate::settings::Settings;
use crate::sync::{engine, explained};

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Origin,
    pub(crate) target: Place,
    pub(crate) want: Want,
    /// The user's price table.
    pub(crate) prices: Option<PathBuf>,
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
    /// Of what is written, what did not change and is written again to need fewer requests; and what that saves.
    filled_bytes: u64,
    saved_requests: u64,
    saved_ms: u64,
    at_least_ms: u64,
    limit: Limit,
    /// What the target takes of that in a second, and what it is.
    limit_per_second: u64,
    limit_of: String,
    /// By the user's price table: the machine as long as the step takes at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<Money>,
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
            filled_bytes: 0,
            saved_requests: 0,
            saved_ms: 0,
            at_least_ms: 0,
            limit: Limit::BytesPerSecond,
            limit_per_second: 0,
            limit_of: String::new(),
            money: None,
            more: Vec::new(),
        };
        match plan {
            Plan::UpToDate(point) => planned.to = Some(point.seal.snapshot.id.to_string()),
            Plan::Finish(id) => {
                planned.action = Action::Finish;
                planned.to = Some(id.to_string());
            }
            Plan::Step { from, to, disk_bytes, difference, planned: left, unfilled, limits, more } => {
                planned.action = if from.is_some() { Action::Step } else { Action::Seed };
                planned.from = from.as_ref().map(SnapshotId::to_string);
                planned.to = Some(to.to_string());
                planned.disk_bytes = disk_bytes;
                planned.changed_bytes = difference.write_pages.bytes();
                planned.changed_ranges = difference.write_ranges;
                planned.cleared_bytes = difference.clear_pages.bytes();
                planned.cleared_ranges = difference.clear_ranges;
                planned.more = more.iter().map(SnapshotId::to_string).collect();
                planned.left(&left, &unfilled, &limits);
            }
        }
        planned
    }

    fn left(&mut self, left: &PlanSummary, unfilled: &PlanSummary, limits: &Limits) {
        self.write_bytes = left.write_pages.bytes();
        self.write_requests = left.write_requests;
        self.clear_bytes = left.clear_pages.bytes();
        self.clear_requests = left.clear_requests;
        let (time, binding) = limits.least(self.write_bytes, left.requests());
        self.at_least_ms = millis(time);
        (self.limit, self.limit_per_second) = match binding {
            Binding::Bytes => (Limit::BytesPerSecond, limits.bytes_per_second),
            Binding::Requests => (Limit::RequestsPerSecond, limits.requests_per_second),
        };
        self.limit_of = limits.to_string();
        let (without, _) = limits.least(unfilled.write_pages.bytes(), unfilled.requests());
        self.filled_bytes = self.write_bytes.saturating_sub(unfilled.write_pages.bytes());
        self.saved_requests = unfilled.requests().saturating_sub(left.requests());
        self.saved_ms = millis(without.saturating_sub(time));
    }
}

impl Planned {
    /// What there is to pay for.
    fn bill(&self) -> Bill {
        Bill {
            reads: self.write_requests,
            writes: self.write_requests + self.clear_requests,
            moved_bytes: self.write_bytes,
            machine_secs: Duration::from_millis(self.at_least_ms).as_secs_f64(),
            blob_bytes: self.write_bytes,
            snapshot_bytes: 0,
        }
    }
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
        } else if (self.write_bytes - self.filled_bytes, self.clear_bytes) != (self.changed_bytes, self.cleared_bytes) {
            writeln!(
                f,
                "to do     write {}, clear {}: an earlier run has done a part, or left something to set right",
                bytes(self.write_bytes - self.filled_bytes),
                bytes(self.clear_bytes)
            )?;
        }
        if self.filled_bytes > 0 {
            writeln!(
                f,
                "filling   {} that did not change, to save {} and {}",
                bytes(self.filled_bytes),
                count(self.saved_requests, "request"),
                duration(Duration::from_millis(self.saved_ms))
            )?;
        }
        let (writes, clears) = (self.write_requests, self.clear_requests);
        writeln!(f, "requests  {}, {}", count(writes, "write"), count(clears, "clear"))?;
        let limit = match self.limit {
            Limit::BytesPerSecond => format!("{}/s", bytes(self.limit_per_second)),
            Limit::RequestsPerSecond => format!("{} a second", count(self.limit_per_second, "request")),
        };
        let time = duration(Duration::from_millis(self.at_least_ms));
        let least = if self.action == Action::Reseed { "at most" } else { "at least" };
        write!(f, "time      {least} {time} at the {limit} of {}", self.limit_of)?;
        if let Some(money) = &self.money {
            write!(f, "\nmoney     {least} {money}")?;
        }
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
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let reporter = Reporter::start(&scene.console);
        let pair = (&self.source, &self.target);
        let (engine, want) = engine(scene, &reporter, pair, &self.want, &self.settings).await?;
        let planned = scene.interrupt.or(async {
            let plan = plan(&engine, &want).await.map_err(|error| explained(error, &engine))?;
            let mut planned = Planned::new(engine.source.address(), engine.target.address(), plan);
            if planned.action == Action::Seed && self.reseeds(&engine).await? {
                planned.action = Action::Reseed;
            }
            planned.money = prices.as_ref().map(|prices| prices.of(&planned.bill()));
            Ok(planned)
        });
        let planned = planned.await;
        engine.source.leave().await;
        reporter.finish();
        scene.console.say(&planned?);
        Ok(())
    }

    /// Whether a copy as a whole goes onto a target that has points.
    async fn reseeds(&self, engine: &Engine<Disk, PageBlob>) -> Result<bool, ReplicateError> {
        Ok(look::target(&*engine.target).await?.is_some_and(|found| !found.view.points.is_empty()))
    }
}
