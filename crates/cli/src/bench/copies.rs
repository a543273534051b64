//! The service's own copies: asked for, watched, and given up when their time is over.

use pageferry_azure::{CopyPhase, PageBlob};
use pageferry_core::Metadata;
use pageferry_store::StoreError;
use tokio::time::Instant;

use crate::bench::made::Made;
use crate::bench::measure::{Figures, Ground, OURS, Outcome, What};
use crate::bench::meter::EVERY;
use crate::bench::stats::{Counters, Series};
use crate::human::briefly;
use crate::human::bytes;

impl Ground {
    /// The service's own copies, of which it is no failure that there are none.
    pub(crate) async fn copy(&self, what: What, made: &mut Made) -> Outcome {
        let incremental = what == What::Incremental;
        if incremental && self.disk_bytes > self.size_bytes {
            return Outcome::NotMeasured(format!(
                "it would copy all {} of the disk and cannot be given up half-way; `--size {}` allows it",
                bytes(self.disk_bytes),
                self.disk_bytes
            ));
        }
        let blob = match self.target.beside(&made.suffix(what.name())) {
            Ok(blob) => blob,
            Err(error) => return Outcome::Failed(error),
        };
        made.enter(&blob);
        let outcome = self.follow(&blob, incremental, made).await;
        made.discard(&blob).await;
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => Outcome::NotMeasured(briefly(&error)),
        }
    }

    async fn follow(&self, blob: &PageBlob, incremental: bool, made: &mut Made) -> Result<Outcome, StoreError> {
        let begun = Instant::now();
        let asked = if incremental {
            blob.copy_incrementally_from(&self.source, &self.snapshot).await
        } else {
            let metadata = Metadata::from([(OURS.to_owned(), made.id().to_owned())]);
            blob.copy_from(&self.source, &self.snapshot, None, &metadata).await
        };
        let id = asked.inspect_err(|error| made.forget_unless_doubtful(blob, error))?;
        let (mut series, mut requests) = (Series::default(), 1);
        let stopped = self.until_stopped();
        let mut stopped = std::pin::pin!(stopped);
        let mut ended = false;
        loop {
            requests += 1;
            let state = blob.copy_state().await?.filter(|state| state.id == id);
            let Some(state) = state else {
                return Ok(Outcome::NotMeasured("the service lost track of its copy".to_owned()));
            };
            let took = begun.elapsed();
            series.push(took, Counters { bytes: state.done_bytes, requests, refused: 0, in_flight: 1 });
            let mut note = "the whole disk as the service counts it, holes included".to_owned();
            match state.phase {
                CopyPhase::Success => {}
                CopyPhase::Pending if ended => note.push_str("; it was not over in time"),
                CopyPhase::Pending => {
                    tokio::select! {
                        () = &mut stopped => ended = true,
                        () = tokio::time::sleep(EVERY) => {}
                    }
                    continue;
                }
                CopyPhase::Aborted | CopyPhase::Failed => {
                    let why = state.description.unwrap_or_else(|| "the service does not say why".to_owned());
                    return Ok(Outcome::NotMeasured(format!("the service gave the copy up: {why}")));
                }
            }
            return Ok(Outcome::Measured(Figures {
                bytes: state.done_bytes,
                took,
                requests,
                refused: 0,
                read_latency: None,
                write_latency: None,
                note: Some(note),
                samples: series.samples(),
            }));
        }
    }
}
