//! `pageferry check`: an alarm for a timer, by what the target itself says of its newest point.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::{Exit, Failure};
use crate::human::duration;
use crate::job::Scene;
use crate::place::Place;
use crate::report::say;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Place,
    pub(crate) max_lag: Duration,
}

#[derive(Serialize)]
struct Checked {
    target: String,
    newest_point: String,
    source_snapshot: String,
    /// How old the picture of the disk is that the newest point holds.
    lag_secs: u64,
    max_lag_secs: u64,
    lags: bool,
}

say! { Checked => "check" }

impl Display for Checked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (lag, max) = (Duration::from_secs(self.lag_secs), Duration::from_secs(self.max_lag_secs));
        write!(
            f,
            "the newest point of {} is {}, of source snapshot {}, {} old; {} are allowed",
            self.target,
            self.newest_point,
            self.source_snapshot,
            duration(lag),
            duration(max)
        )
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let (found, address) = scene.interrupt.or(self.target.found()).await?;
        if found.view.state.is_none() {
            let what = format!("{address} exists but carries no pageferry metadata: check that this is a target");
            return Err(Failure::new(Exit::NotOurs, what));
        }
        let allowed = duration(self.max_lag);
        let Some(newest) = found.view.points.last() else {
            let what =
                format!("{address} has no point yet, and one is to be at most {allowed} old: run a sync or a backup");
            return Err(Failure::new(Exit::Lag, what));
        };
        let seal = &newest.seal;
        // A page blob's snapshot is named by its time, as a managed one is here. The seal is made later, if at all.
        let taken = [seal.snapshot.id.as_str(), &seal.sealed_at];
        let taken = taken.into_iter().find_map(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let Some(taken) = taken else {
            let what =
                format!("the newest point of {address} does not say of when it is: look at it with `pageferry points`");
            return Err(Failure::new(Exit::Lag, what));
        };
        let lag = Duration::try_from(OffsetDateTime::now_utc() - taken).unwrap_or_default();
        let checked = Checked {
            target: address.clone(),
            newest_point: newest.id.to_string(),
            source_snapshot: seal.snapshot.id.to_string(),
            lag_secs: lag.as_secs(),
            max_lag_secs: self.max_lag.as_secs(),
            lags: lag > self.max_lag,
        };
        scene.console.say(&checked);
        if !checked.lags {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Lag,
            format!(
                "backups of {address} lag: its newest point holds the disk of {} ago, and {allowed} are allowed; see why the \
                 last backup failed, and run it again",
                duration(lag)
            ),
        ))
    }
}
