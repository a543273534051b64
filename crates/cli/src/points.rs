//! `pageferry points`: what a target holds.

use pageferry_core::lineage::State;

use crate::exit::{Exit, Failure};
use crate::human::bytes;
use crate::job::Scene;
use crate::place::Place;
use crate::report::{Note, PointSaid};

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Place,
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let console = &scene.console;
        let (found, address) = scene.interrupt.or(self.target.found()).await?;
        if found.view.state.is_none() && found.view.points.is_empty() {
            let what = "exists but carries no pageferry metadata, so it holds no points: check that this is a target";
            return Err(Failure::new(Exit::NotOurs, format!("{address} {what}")));
        }
        if !found.view.points.is_empty() {
            console.say_text(&format!(
                "{:<28}  {:<28}  {:<20}  {:>11}  {:>11}  {}",
                "POINT", "SOURCE SNAPSHOT", "SEALED AT", "WRITTEN", "CLEARED", "RUN"
            ));
        }
        for point in &found.view.points {
            console.say(&PointSaid::from(point));
        }
        let note = match &found.view.state {
            None => Some(
                "the base was overwritten outside pageferry and carries no metadata of ours any more; these points are intact: \
                 restore what you need to a blob or file of its own, and go on with another target"
                    .to_owned(),
            ),
            Some(State::Applying(mark)) => Some(format!(
                "source snapshot {} is being copied, or its copy was interrupted, by run {} on host {} at {} of {}",
                mark.to.id,
                mark.run,
                mark.host,
                bytes(mark.watermark.bytes()),
                bytes(found.properties.size.bytes())
            )),
            Some(State::Sealed(_)) if found.view.points.is_empty() => {
                Some("there is no point yet; the next sync makes it".to_owned())
            }
            Some(State::Sealed(_)) => None,
            Some(State::Restored(_)) => Some(
                "this blob was restored from a point and may be in use as a disk since; it is no target".to_owned(),
            ),
        };
        if let Some(text) = note {
            console.aside(&Note { text });
        }
        Ok(())
    }
}
