//! A step under way: what stays the same from its epoch to its seal, and what it says of itself on the target.

use std::sync::Arc;
use std::time::Duration;

use pageferry_core::lineage::{DiskId, Mark, Seal, SnapshotRef, State};
use pageferry_core::next::{Point, Start};
use pageferry_core::{Metadata, Pages, SnapshotId};
use pageferry_store::{Fence, Source, Target, View};
use pageferry_transfer::{Ending, Mover, Route, Stored};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::Event;
use crate::lease::Hold;
use crate::look::{Found, Picture};
use crate::planning::Tally;
use crate::settle::fenced;
use crate::take::{Evidence, Touched};

/// How long a run that was asked to stop waits for what is in flight.
const GRACE: Duration = Duration::from_secs(10);

/// What a step shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// The newest point; `None` for a seed.
    pub from: Option<Point>,
    /// What is read.
    pub picture: Picture,
    /// The disk that the point will name.
    pub disk: DiskId,
    /// The source snapshot that the point will name.
    pub names: SnapshotRef,
    /// What is on the target already.
    pub start: Start,
}

/// A step under way: what stays the same from the epoch to the seal.
pub(crate) struct Run<'a, S, T> {
    pub(crate) engine: &'a Engine<S, T>,
    pub(crate) hold: &'a Hold<T>,
    pub(crate) task: &'a Task,
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) others: Metadata,
    /// Whether nobody but this very step can have touched the target since its newest point. Trackers and lists say that a
    /// page was written, never by whom.
    pub(crate) certain: bool,
    /// What was found on the target beside its newest point.
    pub(crate) touched: Touched,
    /// The longest gap that is filled.
    pub(crate) gap_max: Pages,
}

impl<S: Source, T: Target> Run<'_, S, T> {
    /// Below which page an interrupted run of this very step has made everything durable.
    pub(crate) fn floor(&self, evidence: Evidence) -> Pages {
        match self.task.start {
            Start::Resume(watermark) if evidence.untouched => watermark,
            _ => Pages::ZERO,
        }
    }

    pub(crate) fn announce(&self, floor: Pages) {
        let resumed = matches!(self.task.start, Start::Resume(_)).then(|| floor.bytes());
        self.engine.options.events.tell(&Event::Begun {
            from: self.parent().map(|parent| parent.id),
            to: self.task.names.id.clone(),
            disk_bytes: self.task.picture.size.bytes(),
            resumed_at: resumed,
        });
    }

    /// The source snapshot that this one is a difference from.
    pub(crate) fn parent(&self) -> Option<SnapshotRef> {
        let chained = !matches!(self.task.start, Start::Reseed | Start::Adopt);
        let from = self.task.from.as_ref().filter(|_| chained);
        from.map(|point| point.seal.snapshot.clone())
    }

    /// The source snapshots that are read.
    fn read(&self) -> Vec<SnapshotId> {
        let picture = &self.task.picture;
        std::iter::once(&picture.id).chain(&picture.since).cloned().collect()
    }

    /// Takes back what the service had granted a run that is over and did not give it back. What this step needs itself
    /// it asks for anew, which replaces what was.
    pub(crate) async fn take_over(&self, found: &Found) -> Result<(), ReplicateError> {
        let Some(State::Applying(before)) = &found.view.state else { return Ok(()) };
        let ours = self.engine.source.grants(&self.read());
        let theirs: Vec<String> = before.grants.iter().filter(|grant| !ours.contains(grant)).cloned().collect();
        let halt = CancellationToken::new();
        tokio::select! {
            biased;
            () = self.stop(&halt) => {
                Err(self.failure(Ending::Stopped).unwrap_or(ReplicateError::Interrupted))
            }
            revoked = self.engine.source.revoke(&theirs) => Ok(revoked?),
        }
    }

    pub(crate) fn mark(&self, watermark: Pages) -> Mark {
        Mark {
            disk: self.task.disk.clone(),
            from: self.parent(),
            to: self.task.names.clone(),
            run: self.id.clone(),
            lease: self.hold.id().0.clone(),
            host: self.engine.options.host.clone(),
            epoch: self.epoch,
            known: self.certain,
            watermark,
            gap: self.gap_max,
            grants: self.engine.source.grants(&self.read()),
        }
    }

    /// Whether the target is read first, and only pages that differ are written.
    pub(crate) fn compares(&self) -> bool {
        self.touched == Touched::Anywhere
    }

    /// From where to where, under which fence, and who moves the bytes.
    pub(crate) fn route(&self, mover: Mover) -> Route<S, T> {
        let events = self.engine.options.events.clone();
        Route {
            source: Arc::clone(&self.engine.source),
            view: View::Snapshot(self.task.picture.id.clone()),
            target: Arc::clone(&self.engine.target),
            fence: Fence { lease: self.hold.id().clone(), epoch: self.epoch },
            compare: self.compares(),
            mover,
            stored: Stored::new(move |range, crc| events.tell(&Event::Stored(range, crc))),
        }
    }

    /// Completes when no more may be sent.
    pub(crate) async fn stop(&self, halt: &CancellationToken) {
        tokio::select! {
            biased;
            () = self.engine.options.stop.cancelled() => {}
            () = self.hold.lost().cancelled() => {}
            () = halt.cancelled() => {}
        }
    }

    /// Completes when nothing is worth waiting for: without the lease the service refuses whatever is still under way, and
    /// a run that was asked to stop has other things to do than to wait for a service that has fallen silent.
    pub(crate) async fn abandon(&self) {
        let out_of_grace = async {
            self.engine.options.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            () = self.hold.lost().cancelled() => {}
            () = out_of_grace => {}
        }
    }

    /// Why a transfer did not complete.
    pub(crate) fn failure(&self, ending: Ending) -> Option<ReplicateError> {
        let target = &*self.engine.target;
        match ending {
            Ending::Complete => None,
            _ if self.hold.is_taken() => Some(ReplicateError::Fenced {
                target: target.address(),
                cause: "the lease is no longer ours".to_owned(),
            }),
            _ if self.hold.lost().is_cancelled() => Some(ReplicateError::LeaseLost { target: target.address() }),
            Ending::Stopped => Some(ReplicateError::Interrupted),
            Ending::Failed(error) => Some(fenced(target, error)),
        }
    }

    pub(crate) fn seal_words(&self, tally: &Tally) -> Seal {
        Seal {
            disk: self.task.disk.clone(),
            snapshot: self.task.names.clone(),
            parent: self.parent(),
            plan: tally.digest.clone().finish(),
            written_bytes: tally.difference.write_pages.bytes(),
            cleared_bytes: tally.difference.clear_pages.bytes(),
            run: self.id.clone(),
            lease: self.hold.id().0.clone(),
            epoch: self.epoch,
            sealed_at: rfc3339(self.engine.options.machine.date()),
        }
    }
}

/// The epoch after the one that the target was found in.
pub(crate) fn next_epoch(target: &impl Target, found: &Found) -> Result<u64, ReplicateError> {
    // The service counts to 2^63-1.
    let next = found.properties.sequence.checked_add(1).filter(|next| i64::try_from(*next).is_ok());
    next.ok_or_else(|| ReplicateError::Refused(format!("{} has no epoch left to count", target.address())))
}

/// A date, to the second.
fn rfc3339(date: OffsetDateTime) -> String {
    date.replace_nanosecond(0).unwrap_or(date).format(&Rfc3339).unwrap_or_default()
}
