//! One lap: the same snapshot, by us and by the service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pageferry_arm::ResourceId;
use pageferry_azure::PageBlob;
use pageferry_core::next::Want;
use pageferry_managed::{CopyOrder, Link, ManagedDisk};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Event, Events, Options};
use pageferry_store::Source;
use serde::Serialize;
use tokio::time::Instant;

use crate::bench::meter::{Counts, Meter, Metered};
use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::prices::{Bill, Money, Prices};
use crate::race::Job;
use crate::report::millis;

/// How long to wait until the service lets a copy begin.
const QUEUE: Duration = Duration::from_secs(3600);

/// What a lap brings to the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Round {
    /// A snapshot as a whole.
    Whole,
    /// What changed since the one before.
    Difference,
}

/// The figures of one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Side {
    /// Bytes that were moved; the service does not tell.
    pub(crate) moved_bytes: Option<u64>,
    /// Until all of it was there.
    pub(crate) elapsed_ms: u64,
    /// Until one could restore from it.
    pub(crate) restorable_ms: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) money: Option<Money>,
    #[serde(skip)]
    bill: Bill,
}

/// What came of one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Why there are no figures, in one sentence.
    pub(crate) not_measured: Option<String>,
    /// They are there unless `not_measured` says why not.
    #[serde(flatten)]
    pub(crate) side: Option<Side>,
}

/// One lap.
#[derive(Debug, Serialize)]
pub(crate) struct Lap {
    pub(crate) round: Round,
    pub(crate) repeat: u32,
    pub(crate) snapshot: String,
    /// What changed, as the service lists it: as much as either side has to move.
    pub(crate) changed_bytes: Option<u64>,
    pub(crate) ours: Outcome,
    pub(crate) managed: Outcome,
    #[serde(skip)]
    exit: Option<Exit>,
}

/// Where laps are run.
pub(super) struct Track<'a> {
    pub(super) job: &'a Job,
    pub(super) scene: &'a Scene,
    pub(super) disk: &'a ManagedDisk,
    /// Where we copy to.
    pub(super) blob: PageBlob,
}

impl Round {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Round::Whole => "a snapshot as a whole",
            Round::Difference => "the difference to the next",
        }
    }
}

impl Track<'_> {
    /// Brings `link` to the other side by both ways, one after the other.
    pub(super) async fn lap(&self, lap: (Round, u32), link: &Link, copy: &ResourceId, ours_first: bool) -> Lap {
        let (ours, managed) = if ours_first {
            let ours = self.ours(link).await;
            (ours, self.managed(link, copy).await)
        } else {
            let managed = self.managed(link, copy).await;
            (self.ours(link).await, managed)
        };
        let exit = ours.as_ref().err().or(managed.as_ref().err()).map(|failure| failure.exit);
        let changed_bytes = ours.as_ref().ok().map(|(_, changed)| *changed);
        let managed = managed.map(|side| {
            let kept = changed_bytes.unwrap_or_default();
            Side { bill: Bill { moved_bytes: kept, snapshot_bytes: kept, ..Bill::default() }, ..side }
        });
        let (round, repeat) = lap;
        Lap {
            round,
            repeat,
            snapshot: link.resource.to_string(),
            changed_bytes,
            ours: Outcome::of(ours.map(|(side, _)| side)),
            managed: Outcome::of(managed),
            exit,
        }
    }

    /// By the engine that `sync` uses; also what had changed.
    async fn ours(&self, link: &Link) -> Result<(Side, u64), Failure> {
        let (reads, writes) = (Meter::new(Counts::Reads), Meter::new(Counts::Writes));
        let source = Metered::new(self.disk.clone(), &reads);
        let target = Metered::new(self.blob.clone(), &writes);
        let all_there: Arc<Mutex<Option<Instant>>> = Arc::default();
        let seen = Arc::clone(&all_there);
        let events = Events::new(move |event| {
            if matches!(event, Event::Gating) {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
        let options = Options { events, ..self.job.settings.plain(self.scene) };
        let engine = Engine::new(source, target, options);
        let begun = Instant::now();
        let report = sync(&engine, &Want::To(link.id.clone())).await?;
        let restorable = begun.elapsed();
        engine.source.give_back().await?;
        let there = all_there.lock().unwrap_or_else(PoisonError::into_inner).map_or(restorable, |at| at - begun);
        let (read, written) = (reads.counters(), writes.counters());
        let changed = report.steps.iter().map(|step| step.changed_bytes).sum();
        let side = Side {
            moved_bytes: Some(written.bytes),
            elapsed_ms: millis(there),
            restorable_ms: millis(restorable),
            requests: read.requests + written.requests,
            refused: read.refused + written.refused,
            money: None,
            bill: Bill {
                reads: read.requests,
                writes: written.requests,
                moved_bytes: written.bytes,
                machine_secs: restorable.as_secs_f64(),
                blob_bytes: written.bytes,
                snapshot_bytes: 0,
            },
        };
        Ok((side, changed))
    }

    /// By CopyStart.
    async fn managed(&self, link: &Link, copy: &ResourceId) -> Result<Side, Failure> {
        let order = CopyOrder {
            target: copy.clone(),
            location: self.job.location.clone(),
            encryption: self.job.encryption.clone(),
            platform_key: self.job.platform_key,
            poll: self.job.poll(),
            queue: QUEUE,
        };
        let copied = self.disk.copy(link, &order, |_| ()).await?;
        Ok(Side {
            moved_bytes: None,
            elapsed_ms: millis(copied.took),
            restorable_ms: millis(copied.took),
            requests: copied.requests,
            refused: copied.retries.into(),
            money: None,
            bill: Bill::default(),
        })
    }
}

impl Outcome {
    fn of(measured: Result<Side, Failure>) -> Outcome {
        match measured {
            Ok(side) => Outcome { not_measured: None, side: Some(side) },
            Err(failure) => Outcome { not_measured: Some(pageferry_azure::scrub(&failure.message)), side: None },
        }
    }

    fn priced(self, prices: Option<&Prices>) -> Outcome {
        let priced = |side: Side| Side { money: prices.map(|prices| prices.of(&side.bill)), ..side };
        Outcome { side: self.side.map(priced), ..self }
    }
}

impl Lap {
    /// Why the race is a failure, if this lap is one.
    pub(super) fn failure(&self) -> Option<Failure> {
        let told =
            |side: &Outcome, who| side.not_measured.as_ref().map(|why| format!("{who} could not be measured: {why}"));
        let message = told(&self.ours, "pageferry").or_else(|| told(&self.managed, "managed copy"))?;
        Some(Failure::new(self.exit?, message))
    }

    /// The same, with what it cost.
    pub(super) fn priced(self, prices: Option<&Prices>) -> Lap {
        Lap { ours: self.ours.priced(prices), managed: self.managed.priced(prices), ..self }
    }
}
