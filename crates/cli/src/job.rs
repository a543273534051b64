//! What is to be done: the flags made sense of, complete and checked. This is the one place where they can be wrong.

use std::path::PathBuf;
use std::time::Duration;

use pageferry_arm::ResourceId;
use pageferry_azure::Side;
use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_core::plan::ChunkPolicy;
use pageferry_managed::Naming;
use pageferry_replicate::image::Format;
use pageferry_replicate::{Event, Events};

use crate::cloud::Cloud;
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::{
    Against, BackupFlags, BenchFlags, CheckFlags, Command, DoctorFlags, Flags, Pair, PlanFlags, PointsFlags,
    RestoreFlags, ScratchFlags, SyncFlags, VerifyFlags, WantFlags,
};
use crate::interrupt::Interrupt;
use crate::new_disk::NewDisk;
use crate::origin::{Hints, Origin};
use crate::place::{Named, Place};
use crate::settings::{QUIESCE, Settings};
use crate::speed::Speed;
use crate::{backup, bench, check, demo, doctor, emulator, plan, points, race, restore, snapshot, sync, verify};

/// What every job needs while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) console: Console,
    pub(crate) interrupt: Interrupt,
}

impl Scene {
    /// Where notes are told at once, for jobs that show no progress.
    pub(crate) fn notes(&self) -> Events {
        let console = self.console.clone();
        Events::new(move |event| {
            if let Event::Note(said) = event {
                console.tell(said);
            }
        })
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Job {
    Demo { managed: bool },
    Emulator(emulator::Job),
    Snapshot(snapshot::Job),
    Plan(plan::Job),
    Sync(sync::Job),
    Backup(Box<backup::Job>),
    Check(Box<check::Job>),
    Doctor(Box<doctor::Job>),
    Points(points::Job),
    Restore(restore::Job),
    Verify(verify::Job),
    Bench(Box<bench::Job>),
    Race(Box<race::Job>),
}

impl Job {
    /// Makes sense of `flags`.
    ///
    /// # Errors
    /// Addresses, credentials or combinations that cannot be.
    pub(crate) fn from_flags(flags: Flags) -> Result<Job, Failure> {
        Ok(match flags.command {
            Command::Demo(flags) => Job::Demo { managed: flags.managed },
            Command::Emulator(flags) => Job::Emulator(emulator::Job::from_flags(flags)?),
            Command::Snapshot(flags) => {
                let auth = flags.auth.auth.as_deref();
                let disk = source("DISK", &flags.disk, flags.source.source_sas.as_deref(), auth, "");
                let cloud = Cloud::of(&flags.cloud.arm_endpoint, auth)?;
                let naming = Naming { group: flags.group.snapshot_group, name: flags.name, ..Naming::default() };
                Job::Snapshot(snapshot::Job { disk: Origin::of(disk, Hints::plain(&cloud))?, naming })
            }
            Command::Plan(flags) => Job::Plan(plan_job(&flags)?),
            Command::Sync(flags) => Job::Sync(sync_job(&flags)?),
            Command::Backup(flags) => Job::Backup(Box::new(backup_job(flags)?)),
            Command::Check(flags) => Job::Check(Box::new(check_job(&flags)?)),
            Command::Doctor(flags) => Job::Doctor(Box::new(doctor_job(&flags)?)),
            Command::Points(flags) => Job::Points(points_job(&flags)?),
            Command::Restore(flags) => Job::Restore(restore_job(flags)?),
            Command::Verify(flags) => Job::Verify(verify_job(flags)?),
            Command::Bench(flags) => bench_job(flags)?,
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// Whatever ended it.
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        match self {
            Job::Demo { managed } => scene.interrupt.or(demo::run(&scene.console, managed)).await,
            Job::Emulator(job) => job.run(scene).await,
            Job::Snapshot(job) => job.run(scene).await,
            Job::Plan(job) => job.run(scene).await,
            Job::Sync(job) => job.run(scene).await,
            Job::Backup(job) => job.run(scene).await,
            Job::Check(job) => job.run(scene).await,
            Job::Doctor(job) => job.run(scene).await,
            Job::Points(job) => job.run(scene).await,
            Job::Restore(job) => job.run(scene).await,
            Job::Verify(job) => job.run(scene).await,
            Job::Bench(job) => job.run(scene).await,
            Job::Race(job) => job.run(scene).await,
        }
    }
}

fn plan_job(flags: &PlanFlags) -> Result<plan::Job, Failure> {
    let settings = Settings::planning(flags);
    let pair = &flags.pair;
    let auth = pair.auth.auth.as_deref();
    let job = plan::Job {
        source: disk(pair, settings)?,
        target: target(&pair.target, pair.access.target_sas.as_deref(), auth).place(settings.speed, QUIESCE)?,
        want: want(&flags.want),
        prices: flags.prices.clone(),
        settings,
    };
    same_disk(&job.source, &job.target)?;
    Ok(job)
}

fn sync_job(flags: &SyncFlags) -> Result<sync::Job, Failure> {
    let settings = Settings::copying(&flags.copying);
    let pair = &flags.pair;
    let auth = pair.auth.auth.as_deref();
    let job = sync::Job {
        source: disk(pair, settings)?.with_scratch(scratch(&flags.copying.scratch, auth)?)?,
        target: target(&pair.target, pair.access.target_sas.as_deref(), auth)
            .place(settings.speed, settings.quiesce)?,
        want: want(&flags.want),
        adopt: flags.adopt,
        settings,
    };
    same_disk(&job.source, &job.target)?;
    settings.check_quiesce(&job.target)?;
    Ok(job)
}

fn backup_job(flags: BackupFlags) -> Result<backup::Job, Failure> {
    let settings = Settings::copying(&flags.copying);
    let pair = &flags.pair;
    let auth = pair.auth.auth.as_deref();
    let job = backup::Job {
        source: disk(pair, settings)?.with_scratch(scratch(&flags.copying.scratch, auth)?)?,
        target: target(&pair.target, pair.access.target_sas.as_deref(), auth)
            .place(settings.speed, settings.quiesce)?,
        keep: flags.keep_source.into(),
        naming: Naming { group: flags.group.snapshot_group, ..Naming::default() },
        settings,
    };
    same_disk(&job.source, &job.target)?;
    settings.check_quiesce(&job.target)?;
    Ok(job)
}

fn check_job(flags: &CheckFlags) -> Result<check::Job, Failure> {
    let target = target(&flags.target, flags.access.target_sas.as_deref(), flags.auth.auth.as_deref());
    Ok(check::Job { target: target.place(Speed::default(), QUIESCE)?, max_lag: flags.max_lag })
}

fn doctor_job(flags: &DoctorFlags) -> Result<doctor::Job, Failure> {
    let auth = flags.auth.auth.as_deref();
    let cloud = Cloud::of(&flags.cloud.arm_endpoint, auth)?;
    let source = source("SOURCE", &flags.source, flags.source_access.source_sas.as_deref(), auth, "");
    let hints = Hints { previous: flags.previous.previous.as_deref(), ..Hints::plain(&cloud) };
    let target = flags.target.as_deref().map(|url| target(url, flags.access.target_sas.as_deref(), auth));
    Ok(doctor::Job {
        source: Origin::of(source, hints)?,
        target: target.map(|target| target.place(Speed::default(), QUIESCE)).transpose()?,
        revoke_stale: flags.revoke_stale,
    })
}

fn points_job(flags: &PointsFlags) -> Result<points::Job, Failure> {
    let target = target(&flags.target, flags.access.target_sas.as_deref(), flags.auth.auth.as_deref());
    Ok(points::Job { target: target.place(Speed::default(), QUIESCE)? })
}

fn restore_job(flags: RestoreFlags) -> Result<restore::Job, Failure> {
    let settings = Settings::expert(flags.size.request_size, &flags.expert);
    let auth = flags.auth.auth.as_deref();
    let target = target(&flags.target, flags.access.target_sas.as_deref(), auth)
        .place(settings.speed, settings.quiesce)?
        .with_scratch(scratch(&flags.scratch, auth)?)?;
    let new = NewDisk::of(&flags, settings.speed, settings.quiesce)?;
    let destination = match (new, flags.destination) {
        (Some(disk), _) => {
            settings.check_quiet(disk.is_on_this_machine(), &disk.order.disk)?;
            restore::Destination::Disk(Box::new(disk))
        }
        (None, Some(url)) if url.contains("://") => {
            let disk = source("DESTINATION", &url, flags.destination_sas.as_deref(), auth, "")
                .place(settings.speed, settings.quiesce)?;
            same_blob(&target, &disk)?;
            settings.check_quiesce(&disk)?;
            restore::Destination::Blob(Box::new(disk))
        }
        (None, destination) => file(destination.unwrap_or_default())?,
    };
    Ok(restore::Job { target, destination, point: flags.point, overwrite: flags.overwrite, settings })
}

fn verify_job(flags: VerifyFlags) -> Result<verify::Job, Failure> {
    let auth = flags.auth.auth.as_deref();
    let speed = Speed::default();
    let point = "; the snapshot to compare with is the one that the point names";
    let cloud = Cloud::of(&flags.cloud.arm_endpoint, auth)?;
    let source = source("SOURCE", &flags.against, flags.source_access.source_sas.as_deref(), auth, point);
    Ok(verify::Job {
        target: target(&flags.target, flags.access.target_sas.as_deref(), auth).place(speed, QUIESCE)?,
        source: Origin::of(source, Hints::plain(&cloud))?.with_scratch(scratch(&flags.scratch, auth)?)?,
        point: flags.point,
    })
}

fn bench_job(flags: BenchFlags) -> Result<Job, Failure> {
    let auth = flags.auth.auth.as_deref();
    let speed = Speed::default();
    let source = source("SOURCE", &flags.source, flags.source_access.source_sas.as_deref(), auth, "");
    let target = Named { instead: "", ..target(&flags.target, flags.access.target_sas.as_deref(), auth) };
    let target = target.place(speed, QUIESCE)?;
    let managed = ResourceId::is_resource_id(&flags.source);
    let (source, location) = match (flags.against, flags.to_location, managed) {
        (Some(Against::ManagedCopy), Some(location), true) => {
            let cloud = Cloud::of(&flags.cloud.arm_endpoint, auth)?;
            (Origin::of(source, Hints::plain(&cloud))?, location)
        }
        (None, ..) if managed => {
            return Err(Failure::usage(
                "a managed disk is measured in a race only: say --against managed-copy --to-location REGION",
            ));
        }
        (None, ..) => {
            let (source, snapshot) = source.place_or_snapshot(speed, QUIESCE)?;
            same_blob(&source, &target)?;
            return Ok(Job::Bench(Box::new(bench::Job {
                source,
                snapshot,
                target,
                size_bytes: flags.size,
                limit: Duration::from_secs(flags.seconds.into()),
                html: flags.html,
                overwrite: flags.overwrite,
            })));
        }
        _ => {
            return Err(Failure::usage(
                "--against managed-copy needs a managed disk or one of its snapshots as SOURCE (CopyStart copies nothing \
                 else), and --to-location",
            ));
        }
    };
    let Origin::Managed(source) = source else {
        return Err(Failure::usage("CopyStart copies managed snapshots only"));
    };
    Ok(Job::Race(Box::new(race::Job {
        source,
        target,
        location,
        group: flags.to_group,
        encryption: flags.disk_encryption_set,
        platform_key: flags.allow_platform_key,
        repeat: flags.repeat.into(),
        prices: flags.prices,
        html: flags.html,
        overwrite: flags.overwrite,
        settings: Settings::of(ChunkPolicy::default()),
    })))
}

/// The disk of a pair.
fn disk(pair: &Pair, settings: Settings) -> Result<Origin, Failure> {
    let auth = pair.auth.auth.as_deref();
    let to = "; `--to` names a snapshot";
    let cloud = Cloud::of(&pair.cloud.arm_endpoint, auth)?;
    let named = source("SOURCE", &pair.source, pair.source_access.source_sas.as_deref(), auth, to);
    let (speed, quiesce) = (settings.speed, settings.quiesce);
    Origin::of(named, Hints { previous: pair.previous.previous.as_deref(), cloud: &cloud, speed, quiesce })
}

fn source<'a>(what: &'a str, url: &'a str, sas: Option<&'a str>, auth: Option<&'a str>, instead: &'a str) -> Named<'a> {
    Named { url, what, instead, side: Side::Source, sas, auth }
}

fn scratch(flags: &ScratchFlags, auth: Option<&str>) -> Result<Option<Place>, Failure> {
    let Some(url) = flags.scratch.as_deref() else { return Ok(None) };
    let blob = Named { url, what: "--scratch", instead: "", side: Side::Source, sas: None, auth };
    blob.place(Speed::default(), QUIESCE).map(Some)
}

fn target<'a>(url: &'a str, sas: Option<&'a str>, auth: Option<&'a str>) -> Named<'a> {
    let instead = "; `--point` names a point, where one is wanted";
    Named { url, what: "TARGET", instead, side: Side::Target, sas, auth }
}

fn want(flags: &WantFlags) -> Want {
    match &flags.to {
        Some(snapshot) => Want::To(SnapshotId::new(snapshot.trim())),
        None if flags.latest_only => Want::Latest,
        None => Want::Next,
    }
}

/// A disk is never its own backup.
fn same_disk(one: &Origin, other: &Place) -> Result<(), Failure> {
    one.place().map_or(Ok(()), |one| same_blob(one, other))
}

/// A blob is never copied to itself.
fn same_blob(one: &Place, other: &Place) -> Result<(), Failure> {
    if one.address.url() == other.address.url() {
        return Err(Failure::usage(format!("{} is named twice: a blob cannot be copied to itself", one.address)));
    }
    Ok(())
}

/// The file called `name`, whose ending says what it is.
fn file(name: String) -> Result<restore::Destination, Failure> {
    let path = PathBuf::from(name);
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let format = match ending.as_deref() {
        Some("vhd") => Format::Vhd,
        Some("raw") => Format::Raw,
        _ => {
            let name = pageferry_azure::scrub(&path.display().to_string());
            return Err(Failure::usage(format!(
                "cannot tell what to restore to {name}: a file ends in .vhd (with its footer) or .raw (without), and a \
                 blob is given by its URL"
            )));
        }
    };
    Ok(restore::Destination::File { path, format })
}

/// Variables that look as if they were meant for us, and are not known: a misspelt one would be ignored in silence.
pub(crate) fn unknown_variables() -> Vec<String> {
    let known = |name: &str| {
        if name == "PAGEFERRY_ARM_ENDPOINT" {
            return true;
        }
        let rest = name.strip_prefix("PAGEFERRY_SOURCE_STORAGE_").or(name.strip_prefix("PAGEFERRY_TARGET_STORAGE_"));
        matches!(rest, Some("CONNECTION_STRING" | "ACCOUNT" | "KEY" | "SAS_TOKEN"))
    };
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("PAGEFERRY_") && !known(name)).collect()
}
