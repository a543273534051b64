//! Taking a snapshot of a managed disk, and deleting one: within the limits that the service documents.

use std::collections::BTreeMap;
use std::time::Duration;

use pageferry_arm::{CopyKind, NewSnapshot, ResourceId, Snapshot};
use pageferry_store::{ErrorKind, StoreError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::chain::Link;
use crate::disk::{ManagedDisk, refused};

/// How many incremental snapshots a disk may have (protocol rule 24).
pub const SNAPSHOTS_MAX: usize = 500;

/// How many may be taken of a disk within [`RATE_TIME`] (rule 22).
pub const RATE_MAX: usize = 7;

/// See [`RATE_MAX`].
pub const RATE_TIME: Duration = Duration::from_secs(300);

/// How many snapshots of an Ultra or Premium SSD v2 disk may be copying in the background (rule 28).
pub const PENDING_MAX: usize = 3;

/// How often to look whether a snapshot is complete.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a snapshot that is taken shall be called.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The resource group; that of the disk if none is named.
    pub group: Option<String>,
    /// Its name; one with the disk's name and the time if none is given.
    pub name: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ManagedDisk {
    /// Takes an incremental snapshot and waits until it is complete. `now` is the time, for its name and for the rate at
    /// which snapshots may be taken.
    ///
    /// # Errors
    /// Of Resource Manager; [`ErrorKind::Invalid`] where the disk has as many snapshots as it may have, or is itself still
    /// being filled; [`ErrorKind::Stopped`].
    pub async fn take(
        &self,
        naming: &Naming,
        now: impl Fn() -> OffsetDateTime + Send + Sync,
    ) -> Result<Link, StoreError> {
        let (arm, scene, disk) = (self.arm(), self.scene(), self.resource());
        let found = arm.disk(disk).await?;
        if let Some(percent) = found.completion_percent.filter(|percent| *percent < 100.0) {
            let cause = format!(
                "disk {} is still hydrating ({percent} %); snapshot not supported yet: wait until that is over, then run \
                 again",
                disk.name()
            );
            return Err(refused("Put Snapshot", disk, cause));
        }
        scene.or_stop("Put Snapshot", disk, self.wait_for_room(&now)).await?;
        let name = naming.name.clone().unwrap_or_else(|| name_of(disk.name(), now()));
        let group = naming.group.as_deref().unwrap_or(disk.group());
        let id = ResourceId::snapshot(disk.subscription(), group, &name)
            .map_err(|error| refused("Put Snapshot", disk, error.to_string()))?;
        match arm.snapshot(&id).await {
            Ok(_) => {
                return Err(refused("Put Snapshot", &id, "it exists already, and is not replaced: give another name"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let new = NewSnapshot {
            location: found.location,
            source: disk.clone(),
            copy: CopyKind::Copy,
            incremental: true,
            sku: None,
            tags: naming.tags.clone(),
            disk_encryption_set: found.disk_encryption_set,
            network_policy: found.network_policy,
        };
        let made = scene.or_stop("Put Snapshot", &id, self.make(&id, &new)).await?;
        scene.or_stop("Get Snapshot", &id, self.completed(made)).await?;
        let chain = self.look().await?;
        let link = chain.links.iter().find(|link| link.resource == id).cloned();
        let missing =
            "it was taken and is complete, but an earlier snapshot of the disk is not: run again once that is";
        link.ok_or_else(|| refused("Get Snapshot", &id, missing))
    }

    /// Deletes a snapshot of the chain, unless it is being copied elsewhere.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a copy of it is under way (protocol rule 7), and those of Resource Manager.
    pub async fn delete(&self, link: &Link) -> Result<(), StoreError> {
        let all = self.all_snapshots().await?;
        let copied = all.iter().find(|other| is_copying(other) && other.source.as_ref() == Some(&link.resource));
        if let Some(copy) = copied {
            let name = link.resource.name();
            let cause = format!("{name} is the source of a running copy, {}; deletion refused", copy.id);
            return Err(refused("Delete Snapshot", &link.resource, cause));
        }
        self.arm().delete_snapshot(&link.resource).await
    }

    /// Waits until the service takes another snapshot.
    async fn wait_for_room(&self, now: &(impl Fn() -> OffsetDateTime + Send + Sync)) -> Result<(), StoreError> {
        let (mut told, begun) = (false, now());
        let unique = self.chain().map(|chain| chain.unique.clone());
        loop {
            let all = self.all_snapshots().await?;
            let of_it = |one: &&Snapshot| {
                one.incremental && one.source.as_ref() == Some(self.resource()) && one.source_unique_id == unique
            };
            let ours = || all.iter().filter(of_it);
            if ours().count() >= SNAPSHOTS_MAX {
                let cause = format!(
                    "{SNAPSHOTS_MAX} snapshots exist for {}, as many as there may be; delete some or change retention",
                    self.resource().name()
                );
                return Err(refused("Put Snapshot", self.resource(), cause));
            }
            let pending = ours().filter(|one| !one.is_complete() && !has_failed(one)).count();
            let times = ours().filter_map(|one| OffsetDateTime::parse(&one.time_created, &Rfc3339).ok()).collect();
            let (wait, why) = match next_at(times, begun, now()) {
                Some(at) => {
                    let at_text = at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default();
                    let left = Duration::try_from(at - now()).unwrap_or_default();
                    (left.max(Duration::from_secs(1)), format!("snapshot rate limit; next at {at_text}"))
                }
                None if pending >= PENDING_MAX => {
                    let disk = self.resource().name();
                    (LOOK_EVERY, format!("{pending} snapshots of {disk} are still copying; waiting"))
                }
                None => return Ok(()),
            };
            if !std::mem::replace(&mut told, true) {
                self.scene().say(why);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Has it made, as long as it is only limits that are in the way.
    async fn make(&self, id: &ResourceId, new: &NewSnapshot) -> Result<Snapshot, StoreError> {
        let (begun, terms) = (Instant::now(), self.terms());
        loop {
            match self.arm().create_snapshot(id, new).await {
                Err(error)
                    if matches!(error.failure().status, Some(409 | 429))
                        && begun.elapsed() + terms.again <= terms.queue =>
                {
                    self.scene().say(format!("{id} cannot be taken yet ({}); waiting", error.failure().cause));
                    tokio::time::sleep(terms.again).await;
                }
                made => return made,
            }
        }
    }

    /// Waits until everything is there that the snapshot is going to hold.
    async fn completed(&self, made: Snapshot) -> Result<(), StoreError> {
        let mut now = made;
        let mut told = false;
        while !now.is_complete() {
            if has_failed(&now) {
                return Err(self.spoilt(&now).await);
            }
            if !std::mem::replace(&mut told, true) {
                let percent = now.completion_percent.unwrap_or_default();
                self.scene().say(format!("{} is {percent} % complete; waiting", now.name));
            }
            tokio::time::sleep(self.terms().again.min(LOOK_EVERY)).await;
            now = self.arm().snapshot(&now.id).await?;
        }
        Ok(())
    }

    /// Why a snapshot that was taken will never be complete: a resize does that (protocol rule 31).
    async fn spoilt(&self, snapshot: &Snapshot) -> StoreError {
        let (name, disk) = (&snapshot.name, self.resource().name());
        let now = self.arm().disk(self.resource()).await.ok().and_then(|disk| disk.size_bytes);
        let cause = match &snapshot.copy_error {
            None if now.is_some() && now != snapshot.size_bytes => {
                format!("snapshot {name} failed because {disk} was resized; delete it and take a new one")
            }
            why => {
                let why = why.as_deref().unwrap_or("the service does not say why");
                format!("snapshot {name} failed ({why}); delete it and take a new one")
            }
        };
        refused("Get Snapshot", &snapshot.id, cause)
    }
}

/// Whether a copy to another region, or within one, is under way.
pub fn is_copying(snapshot: &Snapshot) -> bool {
    let copy = snapshot.create_option.as_deref().is_some_and(|option| option.eq_ignore_ascii_case("CopyStart"));
    copy && !snapshot.is_complete() && !has_failed(snapshot)
}

/// Whether a snapshot will never be complete.
pub fn has_failed(snapshot: &Snapshot) -> bool {
    snapshot.copy_error.is_some() || snapshot.provisioning.eq_ignore_ascii_case("Failed")
}

/// When the next snapshot may be taken, of a disk of which snapshots were taken at `times`; nothing where it may be at once.
/// None can have been taken after `begun`, when it was first asked: the service's clock is ahead of ours then, by nobody knows
/// how much, and longer than the service demands is never waited.
fn next_at(times: Vec<OffsetDateTime>, begun: OffsetDateTime, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let mut times: Vec<_> = times.into_iter().map(|time| time.min(begun)).collect();
    times.sort();
    let begins = times.len().checked_sub(RATE_MAX)?;
    let at = *times.get(begins)? + RATE_TIME;
    (at > now).then_some(at)
}

/// A name that says of what and when, and is not too long (learn: 80 characters).
fn name_of(disk: &str, now: OffsetDateTime) -> String {
    let disk: String = disk.chars().take(40).collect();
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second, milli) = now.to_hms_milli();
    format!("pageferry-{disk}-{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn rule_22_the_eighth_snapshot_within_five_minutes_waits_for_the_first_to_be_five_minutes_old() {
        let six: Vec<_> = (0..6).map(|n| at(n * 10)).collect();
        assert_eq!(next_at(six.clone(), at(60), at(60)), None);
        let seven: Vec<_> = (0..7).map(|n| at(n * 10)).rev().collect();
        assert_eq!(next_at(seven.clone(), at(61), at(61)), Some(at(300)));
        assert_eq!(next_at(seven.clone(), at(61), at(300)), None);
        let eight: Vec<_> = (0..8).map(|n| at(n * 10)).collect();
        assert_eq!(next_at(eight, at(299), at(299)), Some(at(310)));
    }

    #[test]
    fn a_clock_that_is_behind_the_services_waits_no_longer_than_the_rate_asks_for() {
        let ahead: Vec<_> = (0..7).map(|n| at(90_000 + n * 10)).collect();
        assert_eq!(next_at(ahead.clone(), at(0), at(0)), Some(at(300)));
        assert_eq!(next_at(ahead, at(0), at(300)), None);
    }

    #[test]
    fn names_are_short_and_say_of_what_and_when() {
        assert_eq!(name_of("web1", at(0)), "pageferry-web1-20231114T221320.000Z");
        assert!(name_of(&"x".repeat(80), at(0)).len() <= 80);
    }
}
