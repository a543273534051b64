//! Holding the target.
//!
//! A lease under a fresh id keeps other runs out and fences our own earlier ones: ids are never inherited, shared or
//! derived. A task renews it; when it cannot, writing stops before the lease can have run out, although safety never
//! depends on that: the service refuses whatever carries an ended lease.

use std::sync::Arc;
use std::time::Duration;

use pageferry_core::lineage::State;
use pageferry_store::{ErrorKind, LeaseId, LeaseState, Properties, StoreError, Target, View};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::pause;
use crate::error::ReplicateError;
use crate::event::Event;
use crate::options::Options;
use crate::settle::fenced;

/// A lease that is being renewed. Dropping it lets it run out.
#[derive(Debug)]
pub struct Hold<T> {
    target: Arc<T>,
    id: LeaseId,
    duration: Duration,
    keeper: JoinHandle<()>,
    lost: CancellationToken,
}

/// What the target was like right before it was taken.
#[derive(Clone, Debug)]
pub struct Before {
    /// The service's word on it.
    pub properties: Properties,
    /// Somebody's lease had to end first.
    pub waited: bool,
}

/// How long to wait between two tries to take a lease that somebody holds.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl<T: Target> Hold<T> {
    /// Takes the target, waiting for somebody else's lease as long as the options allow.
    ///
    /// # Errors
    /// [`ReplicateError::Busy`] with the holder's name, and failures of the service.
    pub async fn take(target: &Arc<T>, options: &Options) -> Result<(Hold<T>, Before), ReplicateError> {
        let until = Instant::now() + options.lock_wait;
        let mut waited = false;
        loop {
            let properties = target.properties(&View::Base).await?;
            let id = fresh();
            let sent = Instant::now();
            match target.acquire(&id, options.lease).await {
                Ok(()) => {
                    let lost = CancellationToken::new();
                    let keeper = keep(target, &id, options.lease, sent, &lost);
                    let hold = Hold { target: Arc::clone(target), id, duration: options.lease, keeper, lost };
                    return Ok((hold, Before { properties, waited }));
                }
                Err(error) if error.kind() == ErrorKind::Busy => {
                    let left = until.saturating_duration_since(Instant::now());
                    let holder = holder(&properties);
                    if left.is_zero() {
                        return Err(ReplicateError::Busy { target: target.address(), holder });
                    }
                    waited = true;
                    options.events.tell(&Event::Waiting { holder, left });
                    pause(left.min(ASK_AGAIN), options).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The id that every mutating request carries.
    pub fn id(&self) -> &LeaseId {
        &self.id
    }

    /// Completes when the lease is lost, or may be.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Exchanges the id for a fresh one without letting go: the next step is another run.
    ///
    /// # Errors
    /// [`ReplicateError::Fenced`] where the lease is no longer ours, and failures of the service.
    pub async fn rotate(&mut self) -> Result<(), ReplicateError> {
        let (id, sent) = (fresh(), Instant::now());
        self.target.change(&self.id, &id).await.map_err(|error| fenced(&*self.target, error))?;
        self.keeper.abort();
        self.id = id;
        self.keeper = keep(&self.target, &self.id, self.duration, sent, &self.lost);
        Ok(())
    }

    /// Gives the target back: the next run finds it clean and waits for nothing.
    ///
    /// # Errors
    /// Failures of the service; the lease then runs out.
    pub async fn release(self) -> Result<(), StoreError> {
        self.keeper.abort();
        self.target.release(&self.id).await
    }

    /// Ends the lease early and leaves it broken: a write by anybody else would turn that into available, and so the
    /// next run can tell whether there was one.
    pub async fn break_off(self) {
        self.keeper.abort();
        // Should this fail, the lease runs out, and an expired one keeps the same evidence.
        if !self.lost.is_cancelled() && self.target.renew(&self.id).await.is_ok() {
            let _ = self.target.break_now().await;
        }
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Whether nobody can have written since the lease last ended: a write without it would have made it available.
pub fn keeps_evidence(lease: LeaseState) -> bool {
    matches!(lease, LeaseState::Expired | LeaseState::Broken)
}

fn fresh() -> LeaseId {
    LeaseId(Uuid::new_v4().to_string())
}

/// Who writes the target, in its own words.
fn holder(properties: &Properties) -> String {
    match State::from_metadata(&properties.metadata) {
        Ok(Some(State::Applying(mark))) => format!("run {} on host {}", mark.run, mark.host),
        Ok(Some(State::Sealed(seal))) => format!("another run (the last to seal was {})", seal.run),
        _ => "another program that holds its lease".to_owned(),
    }
}

/// Renews until told otherwise; gives the lease up for lost when two thirds of it have passed without an answer.
fn keep<T: Target>(
    target: &Arc<T>,
    id: &LeaseId,
    duration: Duration,
    sent: Instant,
    lost: &CancellationToken,
) -> JoinHandle<()> {
    let (target, id, lost) = (Arc::clone(target), id.clone(), lost.clone());
    tokio::spawn(async move {
        let mut renewed = sent;
        loop {
            let latest = renewed + duration * 2 / 3;
            tokio::time::sleep(duration / 4).await;
            let sent = Instant::now();
            match tokio::time::timeout_at(latest, target.renew(&id)).await {
                Ok(Ok(())) => renewed = sent,
                Ok(Err(error)) if error.kind() != ErrorKind::Fenced && Instant::now() < latest => {}
                _ => return lost.cancel(),
            }
        }
    })
}
