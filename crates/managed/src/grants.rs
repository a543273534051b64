//! The grants to read snapshots, or to write the disk that is being uploaded: one owner for all of them.
//!
//! The service lets no more than five snapshots of a family be read at a time (protocol rule 18), and whoever asks for a
//! second grant may end the first (rule 16). So nobody else in this process asks. A grant lasts an hour and is renewed
//! before that; one that the service no longer honours is replaced once; all are given back, and what was asked for
//! without an answer counts as granted.
//!
//! To give back a grant to write says that the upload is complete. One whose upload is not is left to lapse instead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pageferry_arm::{Access, Arm, Kind, ResourceId};
use pageferry_store::error::Failure;
use pageferry_store::{ErrorKind, StoreError};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::scene::Scene;

/// How many snapshots of a family may be read at a time.
pub const FAMILY_MAX: usize = 5;

/// How long a grant lasts that is asked for so that the one before it ends.
const LAPSE: Duration = Duration::from_secs(1);

/// How long a grant lasts and how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a grant is asked for. It is renewed when a sixth of that is left.
    pub lifetime: Duration,
    /// How long to wait while others read as many snapshots as may be read.
    pub queue: Duration,
    /// How long to wait before asking again.
    pub again: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { lifetime: Duration::from_secs(3600), queue: Duration::from_secs(600), again: Duration::from_secs(15) }
    }
}

/// A grant of one snapshot or disk.
pub struct Grant {
    /// What it opens.
    pub resource: ResourceId,
    /// The URL that opens it.
    pub sas: SecretString,
    /// Tells it from those before and after it.
    pub generation: u64,
    /// The unique id of what it opens. Names are given again, and a URL says nothing of what is behind it.
    pub unique: Option<String>,
    until: Instant,
}

/// All grants of this process.
pub struct Grants {
    arm: Arm,
    access: Access,
    terms: Terms,
    scene: Scene,
    held: Mutex<BTreeMap<ResourceId, Slot>>,
    /// Held while a grant is asked for or given back: one at a time.
    asking: tokio::sync::Mutex<()>,
    generations: AtomicU64,
}

/// What was asked for; the grant where the answer has arrived.
struct Slot {
    grant: Option<Arc<Grant>>,
    /// What the grants of this name have opened until now.
    unique: Option<String>,
    used: Instant,
}

impl Grants {
    /// No grants yet.
    pub fn new(arm: Arm, access: Access, terms: Terms, scene: Scene) -> Grants {
        Grants {
            arm,
            access,
            terms,
            scene,
            held: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            generations: AtomicU64::default(),
        }
    }

    /// A grant of `resource`, which the service has not been seen to dishonour: none of generation `stale` or before.
    ///
    /// # Errors
    /// Of Resource Manager, and [`ErrorKind::Transient`] where by now something else has the name of what the grant before
    /// had opened. While others hold as many grants as the service gives, this waits.
    pub async fn get(&self, resource: &ResourceId, stale: Option<u64>) -> Result<Arc<Grant>, StoreError> {
        if let Some(grant) = self.sound(resource, stale) {
            return Ok(grant);
        }
        let _asking = self.asking.lock().await;
        if let Some(grant) = self.sound(resource, stale) {
            return Ok(grant);
        }
        self.make_room(resource).await?;
        let before = self.held().get(resource).and_then(|slot| slot.unique.clone());
        // From here on it may have been granted, whatever becomes of the answer.
        self.held().insert(resource.clone(), Slot { grant: None, unique: before.clone(), used: Instant::now() });
        let granted = self.scene.or_stop("Begin Get Access", resource, self.ask(resource)).await?;
        // Asked for after the grant: no unique id comes back, so that what has it now had it when the grant was given.
        let unique = self.scene.or_stop("Begin Get Access", resource, self.unique(resource)).await?;
        if before.is_some() && before != unique {
            return Err(made_again(resource));
        }
        let grant = Arc::new(Grant {
            resource: resource.clone(),
            sas: granted.sas,
            generation: self.generations.fetch_add(1, Ordering::Relaxed) + 1,
            unique: unique.clone(),
            until: granted.until,
        });
        self.held().insert(resource.clone(), Slot { grant: Some(Arc::clone(&grant)), unique, used: Instant::now() });
        tracing::debug!(%resource, generation = grant.generation, "granted");
        Ok(grant)
    }

    /// Ends the grant that somebody else may have of `resource`, which no longer exists at all if it is gone.
    ///
    /// # Errors
    /// Of Resource Manager.
    pub async fn revoke(&self, resource: &ResourceId) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        self.end(resource).await
    }

    /// Gives everything back.
    ///
    /// # Errors
    /// The first failure. What could not be given back is still ours.
    pub async fn give_back(&self) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        let all: Vec<ResourceId> = self.held().keys().cloned().collect();
        let ended = futures::future::join_all(all.iter().map(|resource| self.end(resource))).await;
        ended.into_iter().collect()
    }

    /// Replaces everything by grants that are over at once, for to end a grant to write would be to say that the upload is
    /// complete. Where the service honours the one before all the same, nobody knows it any more.
    ///
    /// # Errors
    /// The first failure.
    pub async fn lapse(&self) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        let all: Vec<ResourceId> = self.held().keys().cloned().collect();
        let lapsed = all.iter().map(|resource| self.arm.begin_access(resource, self.access, LAPSE));
        let lapsed = futures::future::join_all(lapsed).await;
        self.held().clear();
        lapsed.into_iter().try_for_each(|granted| granted.map(drop))
    }

    async fn end(&self, resource: &ResourceId) -> Result<(), StoreError> {
        match self.arm.end_access(resource).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.held().remove(resource);
        Ok(())
    }

    /// What tells `resource` from all that ever had its name.
    async fn unique(&self, resource: &ResourceId) -> Result<Option<String>, StoreError> {
        Ok(match resource.kind() {
            Kind::Snapshot => self.arm.snapshot(resource).await?.unique_id,
            Kind::Disk => self.arm.disk(resource).await?.unique_id,
        })
    }

    /// Asks until it is granted, as long as it is only others who are in the way.
    async fn ask(&self, resource: &ResourceId) -> Result<pageferry_arm::Granted, StoreError> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let refusal = match self.arm.begin_access(resource, self.access, self.terms.lifetime).await {
                Ok(granted) => return Ok(granted),
                Err(error) if self.access == Access::Read && is_queue(&error) => error,
                Err(error) => return Err(error),
            };
            if begun.elapsed() + self.terms.again > self.terms.queue {
                return Err(queued(&refusal));
            }
            if !std::mem::replace(&mut told, true) {
                self.scene.say(format!(
                    "{resource} cannot be read yet, probably because {FAMILY_MAX} SAS of its family are active; waiting \
                     ({})",
                    refusal.failure().cause
                ));
            }
            tokio::time::sleep(self.terms.again).await;
        }
    }

    /// Gives back what was not used for longest, where we ourselves hold all there may be.
    async fn make_room(&self, wanted: &ResourceId) -> Result<(), StoreError> {
        let oldest = {
            let held = self.held();
            let full = held.len() >= FAMILY_MAX && !held.contains_key(wanted);
            let oldest = held.iter().min_by_key(|(_, slot)| slot.used).map(|(resource, _)| resource.clone());
            oldest.filter(|_| full)
        };
        match oldest {
            Some(resource) => self.end(&resource).await,
            None => Ok(()),
        }
    }

    fn sound(&self, resource: &ResourceId, stale: Option<u64>) -> Option<Arc<Grant>> {
        let mut held = self.held();
        let slot = held.get_mut(resource)?;
        let grant = slot.grant.as_ref()?;
        let sound = stale.is_none_or(|stale| grant.generation > stale)
            && grant.until.saturating_duration_since(Instant::now()) > self.terms.lifetime / 6;
        slot.used = Instant::now();
        sound.then(|| Arc::clone(grant))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ResourceId, Slot>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refusal may pass when others are done. Which code the service gives for a sixth grant is not known (protocol
/// §15), so every conflict and every throttling counts, and whatever it undertook and gave up: somebody else may have asked
/// for the same meanwhile.
fn is_queue(error: &StoreError) -> bool {
    let failure = error.failure();
    let given_up = failure.kind == ErrorKind::Invalid && failure.status.is_none() && failure.code.is_some();
    given_up || matches!(failure.status, Some(409 | 429))
}

/// That something else has the name of `resource` than was to be opened.
pub(crate) fn made_again(resource: &ResourceId) -> StoreError {
    let cause = "it was deleted and made again under the same name since this run looked at it, and is another one now";
    StoreError::new(ErrorKind::Transient, "Begin Get Access", resource.to_string(), cause)
}

fn queued(refusal: &StoreError) -> StoreError {
    let failure = refusal.failure().clone();
    let cause = format!(
        "{}; if that is because {FAMILY_MAX} SAS of its family are active, `pageferry doctor --revoke-stale` ends those that \
         nobody uses",
        failure.cause
    );
    // Others may be done by the next time.
    StoreError::from_failure(Failure { kind: ErrorKind::Transient, cause, ..failure })
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}, {})", self.resource, self.generation)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.held().keys()).finish()
    }
}
