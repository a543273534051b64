//! A managed disk that a point is restored to: made, filled, handed over.

use std::sync::Arc;
use std::time::Duration;

use pageferry_arm::{Disk, Kind, ResourceId};
use pageferry_azure::PageBlob;
use pageferry_core::Pages;
use pageferry_core::next::Point;
use pageferry_managed::{Order, Reading, Scene as Listener, Terms, UploadDisk};
use pageferry_replicate::upload::upload;
use pageferry_replicate::{Framed, Options, ReplicateError};
use pageferry_store::{Source, StoreError};

use crate::cloud::Cloud;
use crate::exit::{Exit, Failure};
use crate::flags::{Generation, NewDiskFlags, OsType, RestoreFlags};
use crate::job::Scene;
use crate::place::options;
use crate::restore::Restored;
use crate::speed::Speed;

/// How long a run that failed or was asked to stop takes to let its grant lapse.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// The kind of disk where none is named.
const SKU: &str = "Standard_LRS";

/// A managed disk that is to be made.
#[derive(Debug)]
pub(crate) struct NewDisk {
    /// What to make. What it is to hold is not known before the point is.
    pub(crate) order: Order,
    cloud: Cloud,
    options: pageferry_azure::Options,
}

impl NewDisk {
    /// The disk that the flags name, if they name one.
    ///
    /// # Errors
    /// Flags that do not go together, or that leave out where to make it.
    pub(crate) fn of(flags: &RestoreFlags, speed: Speed, quiesce: Duration) -> Result<Option<NewDisk>, Failure> {
        let named = flags.destination.as_deref().filter(|text| ResourceId::is_resource_id(text));
        let disk = match (&flags.disk.to_disk, named) {
            (Some(name), _) => by_name(&flags.disk, name)?,
            (None, Some(id)) => by_id(id)?,
            (None, None) => return nothing_of_a_disk(&flags.disk).map(|()| None),
        };
        for (given, flag) in [(flags.overwrite, "--overwrite"), (flags.destination_sas.is_some(), "--destination-sas")]
        {
            if given {
                return Err(Failure::usage(format!(
                    "{flag} is for files and blobs; a managed disk is made anew, and asked for by resource id: leave it off"
                )));
            }
        }
        let location = flags.disk.location.as_deref().map(str::trim).filter(|location| !location.is_empty());
        let location = location.ok_or_else(|| {
            Failure::usage(format!("--location is missing: a region to make {disk} in, such as westeurope"))
        })?;
        let os_type = flags.disk.os_type.map(|os| match os {
            OsType::Linux => "Linux",
            OsType::Windows => "Windows",
        });
        let generation = flags.disk.hyper_v_generation.map(|generation| match generation {
            Generation::V1 => "V1",
            Generation::V2 => "V2",
        });
        let order = Order {
            disk,
            location: location.to_owned(),
            sku: flags.disk.sku.clone().unwrap_or_else(|| SKU.to_owned()),
            os_type: os_type.map(str::to_owned),
            generation: generation.map(str::to_owned),
            content: String::new(),
            size: Pages::ZERO,
        };
        let cloud = Cloud::of(&flags.cloud.arm_endpoint, flags.auth.auth.as_deref())?;
        Ok(Some(NewDisk { order, cloud, options: options(speed, quiesce)? }))
    }

    /// Whether the service that makes it is on this machine.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.cloud.is_emulator()
    }

    /// Makes the disk, writes `point` of `target` to it and hands it over.
    pub(crate) async fn restore(
        &self,
        scene: &Scene,
        target: PageBlob,
        point: &Point,
        is_newest: bool,
        options: &Options,
    ) -> Result<Restored, Failure> {
        let backup = target.location().base().to_string();
        let framed = scene.interrupt.or(async { Ok(Framed::new(target, point).await?) }).await?;
        let framed = Arc::new(framed);
        let order = Order { content: format!("{backup}@{}", point.id), size: framed.size(), ..self.order.clone() };
        let (arm, token) = self.cloud.connect()?;
        let (events, stop) = (options.events.clone(), options.stop.clone());
        let writing = Reading {
            options: self.options.clone(),
            terms: Terms::default(),
            scene: Listener::new(move |said| events.note(said), stop),
        };
        let (disk, resumed) = UploadDisk::open(arm, token, &order, writing).await?;
        let disk = Arc::new(disk);
        let id = &order.disk;
        if resumed {
            options.events.note(format!("going on with {id}, which an earlier run has begun"));
        }
        let written = async {
            let progress = upload(&framed, &disk, resumed, options).await?;
            Ok::<_, ReplicateError>((progress.written_bytes, disk.finish().await?))
        };
        let (written_bytes, done) = match written.await {
            Ok(written) => written,
            Err(error) => return Err(left(Failure::from(error), id, leave(&disk).await)),
        };
        if let Some(said) = filling(&done) {
            options.events.note(said);
        }
        Ok(Restored {
            point: point.id.to_string(),
            source_snapshot: point.seal.snapshot.id.to_string(),
            destination: id.to_string(),
            length_bytes: framed.size().bytes(),
            written_bytes,
            next: next(id, &backup, is_newest && !framed.is_longer()),
            detail: if framed.is_longer() { "; a VHD footer was added" } else { "" },
        })
    }
}

fn by_name(flags: &NewDiskFlags, name: &str) -> Result<ResourceId, Failure> {
    let subscription = flags.subscription.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let subscription = subscription.ok_or_else(|| {
        Failure::usage("no subscription is named to make the disk in: say --subscription, or set AZURE_SUBSCRIPTION_ID")
    })?;
    let group = flags.resource_group.as_deref().unwrap_or_default();
    ResourceId::disk(subscription, group, name).map_err(|error| Failure::usage(error.to_string()))
}

fn by_id(id: &str) -> Result<ResourceId, Failure> {
    let id = ResourceId::parse(id).map_err(|error| Failure::usage(error.to_string()))?;
    match id.kind() {
        Kind::Disk => Ok(id),
        Kind::Snapshot => {
            Err(Failure::usage(format!("{id} is a snapshot; a point is restored to a disk (disks/NAME)")))
        }
    }
}

/// Refuses what is said of a managed disk where there is none; the subscription may be said by the environment.
fn nothing_of_a_disk(flags: &NewDiskFlags) -> Result<(), Failure> {
    let given = [
        ("--location", flags.location.is_some()),
        ("--sku", flags.sku.is_some()),
        ("--os-type", flags.os_type.is_some()),
        ("--hyper-v-generation", flags.hyper_v_generation.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag} is for a new managed disk, and none is named: say --to-disk, or leave {flag} off"
        ))),
    }
}

/// Lets the grant of an upload that is not complete lapse, and says whether the disk is still waiting for its content, if that
/// can be found out. That the grant cannot be made to lapse is worth a word and no failure.
async fn leave(disk: &UploadDisk) -> Option<bool> {
    let last_words = async {
        let waiting = disk.is_waiting().await?;
        if waiting {
            disk.lapse().await?;
        }
        Ok::<_, StoreError>(waiting)
    };
    let why = match tokio::time::timeout(LAST_WORDS, last_words).await {
        Ok(Ok(waiting)) => return Some(waiting),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "Resource Manager takes too long".to_owned(),
    };
    tracing::warn!("the SAS to write {} holds for up to an hour: {why}", disk.address());
    None
}

/// What there is after a run that has not come to its end, and what to do about it.
fn left(failure: Failure, disk: &ResourceId, waiting: Option<bool>) -> Failure {
    let message = match (waiting, failure.exit) {
        (Some(true), Exit::Interrupted) => format!(
            "{}; {disk} is half made and no machine can use it; if it is not wanted any more, az disk delete --ids {disk}",
            failure.message
        ),
        (Some(true), _) => format!(
            "{}; {disk} is half made and no machine can use it: run again, or delete it (az disk delete --ids {disk})",
            failure.message
        ),
        (Some(false), _) => format!(
            "{}; somebody else has declared the upload of {disk} complete, perhaps another run that was: look who, before \
             anybody uses it",
            failure.message
        ),
        (None, _) => format!("{}; {disk} may be half made: run again, or delete it", failure.message),
    };
    Failure { message, ..failure }
}

/// What to say of a disk that the service still fills (protocol rules 25 and 32).
fn filling(disk: &Disk) -> Option<String> {
    let percent = disk.completion_percent.filter(|percent| *percent < 100.0)?;
    Some(format!("disk {}: background copy {percent}%; to attach it now may be slow", disk.name))
}

/// What to do with the new disk.
fn next(disk: &ResourceId, backup: &str, same: bool) -> Vec<String> {
    let (group, name) = (disk.group(), disk.name());
    let sync = if same {
        format!("go on with its backups: pageferry sync {disk} {backup} --adopt")
    } else {
        format!("back it up to a new target, for it does not equal the newest point: pageferry sync {disk} NEWTARGET")
    };
    vec![
        format!(
            "let a machine use it: az vm disk attach -g {group} --vm-name VM --name {name}; or in place of its OS disk: \
             az vm update -g {group} -n VM --os-disk {disk}"
        ),
        format!("take a snapshot of it: pageferry snapshot {disk}"),
        sync,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(percent: Option<f64>) -> Disk {
        Disk {
            id: ResourceId::disk("5ab", "g1", "web1").unwrap(),
            name: "web1".to_owned(),
            location: String::new(),
            time_created: String::new(),
            unique_id: None,
            size_bytes: None,
            completion_percent: percent,
            provisioning: "Succeeded".to_owned(),
            disk_state: None,
            source: None,
            create_option: None,
            upload_size: None,
            sector_size: None,
            network_policy: None,
            auth_mode: None,
            encryption_type: None,
            disk_encryption_set: None,
            managed_by: None,
            sku: None,
            tags: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn rules_25_and_32_a_disk_that_is_still_filled_is_slow() {
        assert_eq!(filling(&disk(None)), None);
        assert_eq!(filling(&disk(Some(100.0))), None);
        let said = filling(&disk(Some(40.0))).unwrap();
        assert!(said.contains("background copy 40%") && said.contains("slow"), "{said}");
    }

    #[test]
    fn a_run_that_did_not_end_says_what_is_left() {
        let disk = ResourceId::disk("5ab", "g1", "web1").unwrap();
        let said = |exit, waiting| left(Failure::new(exit, "the line broke"), &disk, waiting);
        let failed = said(Exit::Failed, Some(true));
        assert_eq!(failed.exit, Exit::Failed);
        assert!(failed.message.starts_with("the line broke; /subscriptions/5ab/"), "{}", failed.message);
        assert!(failed.message.contains("run again, or delete it (az disk delete --ids /subscriptions/5ab/"));
        assert!(said(Exit::Interrupted, Some(true)).message.contains("if it is not wanted any more"));
        let theirs = said(Exit::Configuration, Some(false)).message;
        assert!(theirs.contains("somebody else") && !theirs.contains("delete"), "{theirs}");
        assert!(said(Exit::Failed, None).message.contains("may be half made"));
    }
}
