//! Holding the target.
//!
//! A lease under a fresh id keeps other runs out and fences our own earlier ones: ids are never inherited, shared or
//! derived. A task renews it; when it cannot, writing stops before the lease can have run out, although safety never
//! depends on that: the service refuses whatever carries an ended lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pageferry_core::lineage::State;
use pageferry_store::{ErrorKind, LeaseId, LeaseState, Properties, Receipt, StoreError, Target, View};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::pause;
use crate::error::ReplicateError;
use crate::event::Event;
use crate::machine::Machine;
use crate::options::Options;
use crate::settle::fenced;
use crate::take::Evidence;

/// A lease that is being renewed. Dropping it lets it run out.
#[derive(Debug)]
pub struct Hold<T> {
    target: Arc<T>,
    id: LeaseId,
    duration: Duration,
    machine: Arc<dyn Machine>,
    keeper: JoinHandle<()>,
    lost: CancellationToken,
    /// Cancelled as well where the service has said so.
    taken: CancellationToken,
    doubt: Doubt,
}

/// Whether a request of this process may still be on its way to the service. Such a request carries a lease and an epoch
/// that are refused once the next run has begun; but a service that had already let it in may still apply it. So the next
/// run, of this process or another, waits before it concludes anything.
#[derive(Debug, Default)]
pub struct Doubt(AtomicBool);

impl Doubt {
    /// An answer was lost.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether one was lost that nobody has waited for.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The wait is over.
    pub fn settle(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What the target was like right before it was taken.
#[derive(Clone, Debug)]
pub struct Before {
    /// The service's word on it.
    pub properties: Properties,
    /// Somebody's lease had to end first.
    pub waited: bool,
    /// The lease that the target's words name had run out and could still be renewed: nobody has written or leased the
    /// target since.
    pub renewed: bool,
}

/// How long to wait between two tries to take a lease that somebody holds.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long a run that ends waits for the answer to each thing that it still has to say.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often the target may have changed between a look at it and the request for its lease, before that counts as held.
const CHANGES_MAX: u32 = 3;

/// The shortest lease the service gives.
const LEASE_MIN: Duration = Duration::from_secs(15);

impl<T: Target> Hold<T> {
    /// Takes the target, waiting for somebody else's lease as long as the options allow.
    ///
    /// # Errors
    /// [`ReplicateError::Busy`] with the holder's name, and failures of the service.
    pub async fn take(target: &Arc<T>, options: &Options) -> Result<(Hold<T>, Before), ReplicateError> {
        let until = Instant::now() + options.lock_wait;
        let (mut waited, mut changed) = (false, 0);
        loop {
            let properties = target.properties(&View::Base).await?;
            let id = fresh(&*options.machine);
            let renewed = renew_named(target, &properties, &id).await?;
            let taken = match renewed {
                Some(receipt) => Ok(receipt),
                // A copy of this request that arrives after others have been here must grant nothing.
                None => target.acquire(&id, options.lease, Some(&properties.etag)).await,
            };
            match taken {
                Ok(receipt) => {
                    // Taking it may have been tried for long; only from here on is its length known.
                    let sent = options.machine.uptime();
                    target.renew(&id).await.map_err(|error| fenced(&**target, error))?;
                    let hold = Hold::keeping(target, id, options, sent);
                    // Of whoever held it before something may still be under way, whatever the words say.
                    if receipt.unknown_at.is_some() || waited || properties.lease != LeaseState::Available {
                        hold.doubt.note();
                    }
                    return Ok((hold, Before { properties, waited, renewed: renewed.is_some() }));
                }
                Err(error) if error.kind() == ErrorKind::Changed && changed < CHANGES_MAX => changed += 1,
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Changed) => {
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

    fn keeping(target: &Arc<T>, id: LeaseId, options: &Options, sent: Duration) -> Hold<T> {
        let (lost, taken) = (CancellationToken::new(), CancellationToken::new());
        let machine = Arc::clone(&options.machine);
        let keeper = keep(target, &id, options.lease, &machine, sent, (&lost, &taken));
        let (target, doubt) = (Arc::clone(target), Doubt::default());
        Hold { target, id, duration: options.lease, machine, keeper, lost, taken, doubt }
    }

    /// The id that every mutating request carries.
    pub fn id(&self) -> &LeaseId {
        &self.id
    }

    /// Completes when the lease is lost, or may be.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Whether the service has said that the lease is no longer ours.
    pub fn is_taken(&self) -> bool {
        self.taken.is_cancelled()
    }

    /// Whether a request of ours may still be on its way.
    pub fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    /// Exchanges the id for a fresh one without letting go: the next step is another run.
    ///
    /// # Errors
    /// [`ReplicateError::Fenced`] where the lease is no longer ours, and failures of the service.
    pub async fn rotate(&mut self) -> Result<(), ReplicateError> {
        let id = fresh(&*self.machine);
        let receipt = self.target.change(&self.id, &id).await.map_err(|error| fenced(&*self.target, error))?;
        self.keeper.abort();
        self.id = id;
        let sent = self.machine.uptime();
        self.target.renew(&self.id).await.map_err(|error| fenced(&*self.target, error))?;
        let tokens = (&self.lost, &self.taken);
        self.keeper = keep(&self.target, &self.id, self.duration, &self.machine, sent, tokens);
        if receipt.unknown_at.is_some() {
            self.doubt.note();
        }
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

    /// Lets the lease run out, soon. Whoever can still renew it then knows that nobody has written or leased the target
    /// since; a lease that is given back or broken leaves no such proof.
    pub async fn lapse(self) {
        self.keeper.abort();
        if self.lost.is_cancelled() {
            return;
        }
        // To acquire is to be granted anew where the lease has ended meanwhile, and it would then vouch for a time in which
        // somebody may have written. The renewal shows that it has not, and the tag keeps out a copy that arrives later.
        let shorten = async {
            let etag = self.target.properties(&View::Base).await?.etag;
            self.target.renew(&self.id).await?;
            self.target.acquire(&self.id, LEASE_MIN, Some(&etag)).await
        };
        // Should this fail, the lease runs out a little later.
        let _ = tokio::time::timeout(LAST_WORDS, shorten).await;
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Takes the lease that the target's words name over under the id `fresh`, if it has run out and nobody has written or
/// leased the target since: the service renews it only then.
///
/// An ended lease alone would prove nothing: somebody may have written before it was taken.
async fn renew_named<T: Target>(
    target: &Arc<T>,
    properties: &Properties,
    fresh: &LeaseId,
) -> Result<Option<Receipt>, ReplicateError> {
    let Ok(Some(state)) = State::from_metadata(&properties.metadata) else { return Ok(None) };
    if properties.lease != LeaseState::Expired {
        return Ok(None);
    }
    let named = LeaseId(state.lease().to_owned());
    let renewed = match target.renew(&named).await {
        Ok(()) => target.change(&named, fresh).await,
        Err(error) => Err(error),
    };
    match renewed {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Busy | ErrorKind::Invalid) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives the service the time to finish what it may still be applying of an earlier run, this process's or another's.
pub(crate) async fn quiesce<T: Target>(
    hold: &Hold<T>,
    known: Evidence,
    options: &Options,
) -> Result<(), ReplicateError> {
    if known.unclean || hold.doubt().is_open() {
        options.events.tell(&Event::Quiescing(options.quiesce));
        pause(options.quiesce, options).await?;
        hold.doubt().settle();
    }
    Ok(())
}

/// An id that no lease has had.
fn fresh(machine: &dyn Machine) -> LeaseId {
    LeaseId(machine.fresh_id())
}

/// Who writes the target, in its own words.
fn holder(properties: &Properties) -> String {
    match State::from_metadata(&properties.metadata) {
        Ok(Some(State::Applying(mark))) => format!("run {} on host {}", mark.run, mark.host),
        Ok(Some(State::Sealed(seal) | State::Restored(seal))) => {
            format!("another run (the last to seal was {})", seal.run)
        }
        _ => "another program that holds its lease".to_owned(),
    }
}

/// Renews until told otherwise; gives the lease up for lost when two thirds of it have passed without an answer, counted
/// from when the last renewal that was answered had been *sent*, and by a clock that does not stop while the machine sleeps.
fn keep<T: Target>(
    target: &Arc<T>,
    id: &LeaseId,
    duration: Duration,
    machine: &Arc<dyn Machine>,
    sent: Duration,
    (lost, taken): (&CancellationToken, &CancellationToken),
) -> JoinHandle<()> {
    let (target, id, machine) = (Arc::clone(target), id.clone(), Arc::clone(machine));
    let (lost, taken) = (lost.clone(), taken.clone());
    tokio::spawn(async move {
        let mut latest = sent + duration * 2 / 3;
        loop {
            let left = latest.saturating_sub(machine.uptime());
            tokio::time::sleep(left.min(duration / 4)).await;
            let sent = machine.uptime();
            let left = latest.saturating_sub(sent);
            if left.is_zero() {
                return lost.cancel();
            }
            match tokio::time::timeout(left, target.renew(&id)).await {
                Ok(Ok(())) => latest = sent + duration * 2 / 3,
                Ok(Err(error)) if error.kind() != ErrorKind::Fenced && machine.uptime() < latest => {}
                Ok(Err(error)) if error.kind() == ErrorKind::Fenced => {
                    taken.cancel();
                    return lost.cancel();
                }
                _ => return lost.cancel(),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ThisMachine;
    use pageferry_core::Pages;
    use pageferry_store::Memory;
    use std::sync::Mutex;
    use time::OffsetDateTime;

    async fn held(options: &Options) -> Hold<Memory> {
        Hold::take(&Arc::new(Memory::empty("target", Pages::new(1))), options).await.unwrap().0
    }

    /// A machine on Tokio's clock, which tests pause, and on top of it the time the machine slept.
    #[derive(Debug)]
    struct Sleeper {
        start: Instant,
        slept: Mutex<Duration>,
    }

    impl Machine for Sleeper {
        fn uptime(&self) -> Duration {
            self.start.elapsed() + *self.slept.lock().unwrap()
        }

        fn date(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }

        fn fresh_id(&self) -> String {
            ThisMachine.fresh_id()
        }
    }

    fn on_sleeper() -> (Options, Arc<Sleeper>) {
        let machine = Arc::new(Sleeper { start: Instant::now(), slept: Mutex::default() });
        (Options { machine: Arc::clone(&machine) as Arc<_>, ..Options::default() }, machine)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_for_as_long_as_it_is_held() {
        let (options, _) = on_sleeper();
        let hold = held(&options).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!hold.lost().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_somebody_broke_is_lost() {
        let (options, _) = on_sleeper();
        let hold = held(&options).await;
        hold.target.break_now().await.unwrap();
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert!(hold.lost().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_sleep_of_the_machine_the_lease_counts_as_lost() {
        let (options, machine) = on_sleeper();
        let hold = held(&options).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        *machine.slept.lock().unwrap() = Duration::from_secs(90);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(hold.lost().is_cancelled(), "it may have run out meanwhile, whatever the next renewal says");
    }
}
