//! Moving the pages of a step, while the watermark follows.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use pageferry_core::lineage::State;
use pageferry_core::{Change, Kind, Pages};
use pageferry_store::{ErrorKind, Source, Target};
use pageferry_transfer::{Brakes, Mover, Progress, Route, transfer};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::ReplicateError;
use crate::event::Event;
use crate::filling::Filling;
use crate::lease::LAST_WORDS;
use crate::look::Found;
use crate::options::Choice;
use crate::planning::{Planner, Tally, requests};
use crate::run::Run;
use crate::settle::fenced;
use crate::take::lists;

/// How many changes are looked through for one that the service can be tried with.
const FIRST_MAX: usize = 1000;

/// How often progress is told while pages move.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What applying came to.
pub(crate) struct Applied {
    pub(crate) progress: Progress,
    pub(crate) tally: Tally,
    pub(crate) mover: Mover,
}

impl<S: Source, T: Target> Run<'_, S, T> {
    /// Moves the pages, while the watermark follows.
    pub(crate) async fn apply(&self, found: &Found, floor: Pages, filling: Filling) -> Result<Applied, ReplicateError> {
        let Engine { source, target, options } = self.engine;
        // The target as it is after the resize.
        let mut resized = found.clone();
        resized.properties.size = self.task.picture.size;
        let lists = lists(source, target, &resized, self.task, self.touched, filling);
        let mut planner = Planner::new(lists, floor, options.chunks);
        let Tried { first, mover, unknown_at } = self.try_service(&mut planner).await?;
        let route = self.route(mover);
        let (progress, watched) = watch::channel(Progress { watermark: floor, ..Progress::default() });
        let (halt, moved) = (CancellationToken::new(), CancellationToken::new());
        let brakes = Brakes { stop: self.stop(&halt), abandon: self.abandon() };
        let moving = async {
            let plan = stream::iter(first.into_iter().map(Ok)).chain(requests(&mut planner));
            let result = transfer(&route, plan, floor, options.budget, &progress, brakes).await;
            moved.cancel();
            result
        };
        let (result, marked) = tokio::join!(moving, self.follow(watched, &moved, &halt));
        let watermarks = marked?;
        let (mut progress, ending) = result?;
        progress.unknown_at = progress.unknown_at.max(watermarks).max(unknown_at);
        let Some(error) = self.failure(ending) else {
            return Ok(Applied { progress, tally: planner.tally().clone(), mover });
        };
        if !matches!(error, ReplicateError::Fenced { .. } | ReplicateError::LeaseLost { .. }) {
            // The run ends here; what it achieved is worth a word, but only the word of the error is promised.
            let _ = tokio::time::timeout(LAST_WORDS, self.say_watermark(progress.watermark)).await;
        }
        Err(error)
    }

    /// Finds out who moves the bytes. To learn whether the service can, it is asked for the first range that is to be
    /// written; that range is written again with the others.
    async fn try_service(&self, planner: &mut Planner) -> Result<Tried, ReplicateError> {
        let Engine { source, target, options } = self.engine;
        let decided = |mover| Tried { first: Vec::new(), mover, unknown_at: None };
        match options.mover {
            _ if self.compares() => return Ok(decided(Mover::Relay)),
            Choice::Relay => return Ok(decided(Mover::Relay)),
            Choice::Service => return Ok(decided(Mover::Service)),
            Choice::Auto => {}
        }
        let mut tried = decided(Mover::Relay);
        while let Some(change) = planner.next().await? {
            tried.first.push(change);
            if change.kind == Kind::Clear && tried.first.len() < FIRST_MAX {
                continue;
            }
            if change.kind == Kind::Clear {
                break;
            }
            let Route { view, fence, .. } = self.route(Mover::Service);
            let asked = async {
                let pass = source.pass(&view).await?;
                target.write_from(change.range, &pass, &fence).await
            };
            match asked.await {
                Ok((_, receipt)) => {
                    tried.mover = Mover::Service;
                    tried.unknown_at = receipt.unknown_at;
                }
                // What was certainly not done leaves no doubt behind.
                Err(error) if is_refusal(error.kind()) => options.events.note(format!(
                    "the service cannot fetch the pages by itself, so they go through this machine: {error}"
                )),
                Err(error) => return Err(fenced(&**target, error)),
            }
            break;
        }
        Ok(tried)
    }

    /// Writes the watermark down every few seconds until the pages have moved. Tells when a write of it last ended with
    /// an unknown outcome.
    ///
    /// These writes are not conditional on the tag, which every page write changes. The lease, fresh for this run, keeps
    /// a late one from any other run; the gate waits for one of ours that may be late.
    async fn follow(
        &self,
        progress: watch::Receiver<Progress>,
        moved: &CancellationToken,
        halt: &CancellationToken,
    ) -> Result<Option<Instant>, ReplicateError> {
        let every = self.engine.options.watermark_every;
        let (mut said, mut unknown_at) = (progress.borrow().watermark, None);
        let mut due = Instant::now() + every;
        loop {
            tokio::select! {
                biased;
                () = moved.cancelled() => {
                    self.engine.options.events.tell(&Event::Moving(*progress.borrow()));
                    return Ok(unknown_at);
                }
                () = tokio::time::sleep(every.min(TELL_EVERY)) => {}
            }
            let now = *progress.borrow();
            self.engine.options.events.tell(&Event::Moving(now));
            if Instant::now() < due || now.watermark == said {
                continue;
            }
            due = Instant::now() + every;
            let said_it = tokio::select! {
                biased;
                said_it = self.say_watermark(now.watermark) => said_it,
                () = self.abandon() => return Ok(Some(Instant::now())),
            };
            match said_it {
                Ok(()) => said = now.watermark,
                Err(ReplicateError::Store(error)) if error.kind() == ErrorKind::Unknown => {
                    unknown_at = Some(Instant::now());
                }
                // A word that could not be said now is said next time.
                Err(ReplicateError::Store(_)) => {}
                Err(error) => {
                    halt.cancel();
                    return Err(error);
                }
            }
        }
    }

    async fn say_watermark(&self, watermark: Pages) -> Result<(), ReplicateError> {
        let target = &*self.engine.target;
        let words = State::Applying(self.mark(watermark)).to_metadata(&self.others);
        target.set_metadata(&words, self.hold.id(), None).await.map_err(|error| fenced(target, error))?;
        Ok(())
    }

    /// Brings the target to the source's size. Tells when a request for that last ended with an unknown outcome.
    pub(crate) async fn resize(&self, found: &Found) -> Result<Option<Instant>, ReplicateError> {
        let target = &*self.engine.target;
        if found.properties.size == self.task.picture.size {
            return Ok(None);
        }
        let receipt = target.resize(self.task.picture.size, self.hold.id()).await;
        Ok(receipt.map_err(|error| fenced(target, error))?.unknown_at)
    }
}

/// What the trial of the service came to.
struct Tried {
    /// Changes that were taken from the plan for it.
    first: Vec<Change>,
    mover: Mover,
    unknown_at: Option<Instant>,
}

/// Whether an error says for certain that the service will not do it, and has not.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::ReadRefused)
}
