//! `pageferry doctor`: what could keep a backup from running, each with its cause and what to do about it. It changes
//! nothing, but for grants it is told to revoke.

mod blob;
mod grants;
mod managed;
mod network;
mod sas;

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::origin::Origin;
use crate::place::Place;
use crate::report::say;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Origin,
    pub(crate) target: Option<Place>,
    /// End the grants of the source's snapshots that no run in progress names.
    pub(crate) revoke_stale: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// What: `clock`, `network path`, `SAS`.
    pub(crate) what: &'static str,
    /// Of which object.
    object: String,
    state: State,
    /// What was seen.
    pub(crate) cause: String,
    /// What to do about it; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// How a run ends that meets this.
    #[serde(skip)]
    exit: Exit,
}

/// How things are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Well,
    /// Works, but not for long, or not well.
    Doubtful,
    Ill,
}

say! { Finding => "finding" }

impl Finding {
    pub(crate) fn well(what: &'static str, object: impl Display, seen: impl Into<String>) -> Finding {
        let (object, cause) = (object.to_string(), seen.into());
        Finding { what, object, state: State::Well, cause, fix: None, exit: Exit::Done }
    }

    pub(crate) fn doubtful(
        what: &'static str,
        object: impl Display,
        seen: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { state: State::Doubtful, fix: Some(fix.into()), ..Finding::well(what, object, seen) }
    }

    pub(crate) fn ill(
        what: &'static str,
        object: impl Display,
        exit: Exit,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { state: State::Ill, exit, ..Finding::doubtful(what, object, cause, fix) }
    }

    /// Whether what follows from it is not worth looking at.
    pub(crate) fn is_ill(&self) -> bool {
        self.state == State::Ill
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Well => "ok  ",
            State::Doubtful => "WARN",
            State::Ill => "FAIL",
        };
        write!(f, "{state}  {:<12}  {}: {}", self.what, self.object, self.cause)?;
        match &self.fix {
            Some(fix) => write!(f, "\n      {:<12}  {fix}", "what to do:"),
            None => Ok(()),
        }
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let mut all = Vec::new();
        let mut tell = |findings: Vec<Finding>| {
            findings.iter().for_each(|finding| scene.console.say(finding));
            all.extend(findings);
        };
        match &self.source {
            Origin::Blob(place) => tell(scene.interrupt.or(async { Ok(blob::source(place).await) }).await?),
            Origin::Urls(urls) => tell(scene.interrupt.or(async { Ok(managed::urls(urls).await) }).await?),
            Origin::Managed(managed) => {
                let (findings, chain) = scene.interrupt.or(async { Ok(managed::disk(managed).await) }).await?;
                tell(findings);
                if let Some(chain) = chain {
                    let stale = grants::stale(&chain, self.target.as_ref(), self.revoke_stale);
                    tell(scene.interrupt.or(async { Ok(stale.await) }).await?);
                }
            }
        }
        if let Some(target) = &self.target {
            tell(scene.interrupt.or(async { Ok(blob::target(target).await) }).await?);
        }
        let ill: Vec<&Finding> = all.iter().filter(|finding| finding.is_ill()).collect();
        let Some(first) = ill.first() else { return Ok(()) };
        let what = format!(
            "{} of {} looked at would fail a run, first: {} of {}",
            ill.len(),
            all.len(),
            first.what,
            first.object
        );
        Err(Failure::new(first.exit, what))
    }
}
