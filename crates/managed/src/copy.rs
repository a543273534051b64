//! The service's own way: CopyStart copies an incremental snapshot to another region or subscription, in the background.
//!
//! It has rules of its own (protocol §12.1): incremental snapshots only, in the order of their creation, one of a disk at a
//! time, a hundred in a subscription and region. Where waiting helps, it is waited for; where it does not, it is said why.

use std::time::Duration;

use pageferry_arm::{CopyKind, NewSnapshot, ResourceId, Snapshot};
use pageferry_store::{ErrorKind, StoreError};
use tokio::time::Instant;

use crate::chain::{Chain, Link};
use crate::disk::{ManagedDisk, refused};
use crate::take::{has_failed, is_copying};

/// How many snapshots may be copied to one subscription and region at a time (rule 1).
pub const PARALLEL_MAX: usize = 100;

/// How often a copy that failed is made again (rule 9).
const TRIES: u32 = 3;

/// What shall be copied where.
#[derive(Clone, Debug)]
pub struct CopyOrder {
    /// The snapshot that is made.
    pub target: ResourceId,
    /// Its region.
    pub location: String,
    /// The customer's key that it is encrypted with; the source's is not inherited (rule 11).
    pub encryption: Option<String>,
    /// Encrypt it with a key of the platform although the source has the customer's.
    pub platform_key: bool,
    /// How often to ask how far it is.
    pub poll: Duration,
    /// How long to wait until it may begin.
    pub queue: Duration,
}

/// A copy that is complete.
#[derive(Clone, Debug)]
pub struct Copied {
    /// From its order until it was seen to be complete.
    pub took: Duration,
    /// Requests for it: the order, and asking how far it is.
    pub requests: u64,
    /// How often it had to be made again.
    pub retries: u32,
}

impl ManagedDisk {
    /// Has `link` copied as `order` says, and waits until the copy is complete. `progress` is told percentages.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what may not be copied, [`ErrorKind::NotFound`] where source or copy vanish,
    /// [`ErrorKind::Stopped`], and those of Resource Manager.
    pub async fn copy(
        &self,
        link: &Link,
        order: &CopyOrder,
        progress: impl Fn(f64) + Send + Sync,
    ) -> Result<Copied, StoreError> {
        let source = self.arm().snapshot(&link.resource).await?;
        if !source.incremental {
            let cause = format!("{} is a full snapshot; CopyStart needs incremental=true", source.name);
            return Err(refused("Put Snapshot", &order.target, cause));
        }
        let own_key = source.encryption_type.as_ref().is_some_and(|kind| kind.contains("CustomerKey"));
        if own_key && order.encryption.is_none() && !order.platform_key {
            let cause = "source uses a customer-managed key, which a copy does not inherit: give its encryption \
                         (--disk-encryption-set), or --allow-platform-key";
            return Err(refused("Put Snapshot", &order.target, cause));
        }
        let (scene, target) = (self.scene(), &order.target);
        let work = self.copy_until_done(link, order, &progress);
        scene.or_stop("Put Snapshot", target, work).await
    }

    async fn copy_until_done(
        &self,
        link: &Link,
        order: &CopyOrder,
        progress: &(impl Fn(f64) + Send + Sync),
    ) -> Result<Copied, StoreError> {
        self.wait_for_turn(link, order).await?;
        let (begun, mut requests, mut retries) = (Instant::now(), 0, 0);
        loop {
            requests += 1;
            match self.arm().create_snapshot(&order.target, &new(link, order)).await {
                // It may have failed so soon that the order already tells; then what is there says the same.
                Err(error) if !self.has_failed_at(link, &order.target).await => return Err(error),
                _ => {}
            }
            match self.watch(order, &mut requests, progress).await? {
                None => return Ok(Copied { took: begun.elapsed(), requests, retries }),
                Some(failed) if retries + 1 >= TRIES || !self.is_there(link).await? => {
                    return Err(self.failed(link, &failed).await);
                }
                Some(failed) => {
                    retries += 1;
                    let target = order.target.name();
                    let why = failed.copy_error.unwrap_or_default();
                    self.scene().say(format!(
                        "copy of {} failed ({why}); retry {retries}: recreating {target}",
                        link.resource.name()
                    ));
                    requests += 1;
                    self.arm().delete_snapshot(&order.target).await?;
                }
            }
        }
    }

    /// Waits until the copy may begin (rules 1, 3 and 4).
    async fn wait_for_turn(&self, link: &Link, order: &CopyOrder) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            let there = self.arm().snapshots_of_subscription(order.target.subscription()).await?;
            let chain = self.look().await?;
            let why = match turn(&chain, link, order, &there) {
                Turn::Now => return Ok(()),
                Turn::Never(why) => return Err(refused("Put Snapshot", &order.target, why)),
                Turn::Later(why) => why,
            };
            if begun.elapsed() + order.poll > order.queue {
                let cause = format!("{why}; gave up after {} s", begun.elapsed().as_secs());
                return Err(StoreError::new(ErrorKind::Transient, "Put Snapshot", order.target.to_string(), cause));
            }
            if !std::mem::replace(&mut told, true) {
                self.scene().say(why);
            }
            tokio::time::sleep(order.poll).await;
        }
    }

    /// Watches a copy until it is complete (nothing), or has failed. A percentage that is missing is no hundred (rule 10).
    async fn watch(
        &self,
        order: &CopyOrder,
        requests: &mut u64,
        progress: &(impl Fn(f64) + Send + Sync),
    ) -> Result<Option<Snapshot>, StoreError> {
        let mut told = false;
        loop {
            *requests += 1;
            let now = match self.arm().snapshot(&order.target).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let cause = format!("copy cancelled by deletion of {}", order.target.name());
                    return Err(StoreError::new(ErrorKind::NotFound, "Get Snapshot", order.target.to_string(), cause));
                }
                found => found?,
            };
            if has_failed(&now) {
                return Ok(Some(now));
            }
            if now.is_complete() {
                return Ok(None);
            }
            let percent = now.completion_percent.unwrap_or_default();
            if !std::mem::replace(&mut told, true) {
                self.scene().say(format!("{} is {percent} % complete; waiting", now.name));
            }
            progress(percent);
            tokio::time::sleep(order.poll).await;
        }
    }

    /// Whether there is a copy of `link`, and it has failed.
    async fn has_failed_at(&self, link: &Link, copy: &ResourceId) -> bool {
        let found = self.arm().snapshot(copy).await;
        found.is_ok_and(|found| has_failed(&found) && found.source.as_ref() == Some(&link.resource))
    }

    /// Whether the very snapshot is there, and not another that was given its name.
    async fn is_there(&self, link: &Link) -> Result<bool, StoreError> {
        match self.arm().snapshot(&link.resource).await {
            Ok(found) => Ok(found.unique_id.as_deref() == Some(link.etag.as_str())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn failed(&self, link: &Link, failed: &Snapshot) -> StoreError {
        let name = link.resource.name();
        match self.is_there(link).await {
            Ok(false) => {
                let cause =
                    format!("copy of {name} failed: source deleted; recreate the target from an existing source");
                StoreError::new(ErrorKind::NotFound, "Put Snapshot", failed.id.to_string(), cause)
            }
            _ => {
                let why = failed.copy_error.clone().unwrap_or_else(|| "the service does not say why".to_owned());
                refused("Put Snapshot", &failed.id, format!("copy of {name} failed {TRIES} times: {why}"))
            }
        }
    }
}

/// Whether a copy may begin.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Turn {
    Now,
    Later(String),
    Never(String),
}

/// Whether `link` may be copied as `order` says, given the snapshots that are `there`.
fn turn(chain: &Chain, link: &Link, order: &CopyOrder, there: &[Snapshot]) -> Turn {
    let copies = || {
        let copy =
            |one: &&Snapshot| one.create_option.as_deref().is_some_and(|how| how.eq_ignore_ascii_case("CopyStart"));
        let here = |one: &&Snapshot| same_region(&one.location, &order.location);
        there.iter().filter(copy).filter(here)
    };
    let name = link.resource.name();
    let of = |copy: &Snapshot| chain.links.iter().find(|one| copy.source.as_ref() == Some(&one.resource)).cloned();
    let later = copies().filter(|copy| !has_failed(copy)).filter_map(of).find(|copied| copied.id > link.id);
    if let Some(later) = later {
        let last = later.resource.name();
        return Turn::Never(format!("{name} is older than {last}, already copied; out-of-order copy is not possible"));
    }
    if let Some(other) = copies().find(|copy| is_copying(copy) && of(copy).is_some()) {
        return Turn::Later(format!("copy of {name} waits for {} of the same disk", other.name));
    }
    let running = copies().filter(|copy| is_copying(copy)).count();
    if running >= PARALLEL_MAX {
        let (subscription, region) = (order.target.subscription(), &order.location);
        return Turn::Later(format!("{running} copies already running in {subscription}/{region}; waiting"));
    }
    Turn::Now
}

/// Regions are written `westeurope` and `West Europe`.
pub(crate) fn same_region(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    plain(one) == plain(other)
}

fn new(link: &Link, order: &CopyOrder) -> NewSnapshot {
    NewSnapshot {
        location: order.location.clone(),
        source: link.resource.clone(),
        copy: CopyKind::CopyStart,
        incremental: true,
        sku: None,
        tags: std::collections::BTreeMap::new(),
        disk_encryption_set: order.encryption.clone(),
        network_policy: None,
    }
}

#[cfg(test)]
mod tests;
