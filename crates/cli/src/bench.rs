//! `pageferry bench`: how fast a pair moves a disk, by every way there is.
//!
//! It makes blobs beside the target under names of its own, measures, and deletes exactly those again, however it ends.
//! [`measure`] and [`copies`] do the measurements, [`made`] knows what is to be deleted, [`meter`] counts and [`stats`] sums up;
//! [`report`] and [`html`] tell.

mod copies;
pub(crate) mod html;
pub(crate) mod made;
mod measure;
pub(crate) mod meter;
mod plot;
pub(crate) mod report;
mod stats;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pageferry_azure::PageBlob;
use pageferry_core::plan::{ChunkPolicy, cut};
use pageferry_core::{Change, Kind, PAGE_BYTES, PageRange, Pages, SnapshotId};
use pageferry_replicate::listing::{Listing, Wanted};
use pageferry_store::{ErrorKind, Source, StoreError, Target, View};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bench::made::{Left, Made};
use crate::bench::measure::{Ground, Outcome, What};
use crate::bench::report::{Benched, Machine, Measuring, Row};
use crate::exit::{Exit, Failure};
use crate::human::count;
use crate::job::Scene;
use crate::place::Place;

/// How long a copy that cannot be given up may keep us from deleting its blob.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The same, once somebody has asked to stop.
pub(crate) const HASTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Place,
    /// The snapshot that was named.
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) target: Place,
    pub(crate) size_bytes: u64,
    pub(crate) limit: Duration,
    pub(crate) html: Option<PathBuf>,
    pub(crate) overwrite: bool,
}

/// The picture that is read.
struct Picture {
    snapshot: SnapshotId,
    size: Pages,
    /// What is to be said about it.
    note: Option<String>,
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        if let Some(path) = &self.html {
            check_page(path, self.overwrite)?;
        }
        let mut made = Made::new(format!("{:08x}", rand::random::<u32>()), &scene.console);
        let benched = self.bench(scene, &mut made).await;
        let stopped = scene.interrupt.stop().is_cancelled();
        if stopped {
            scene.console.tell("stopping: what was made for the measurements is being deleted");
        }
        let left = made.discard_all(if stopped { HASTE } else { PATIENCE }).await;
        let failure = match benched {
            Ok((benched, failure)) => {
                scene.console.say(&benched);
                let written =
                    self.html.as_deref().map_or(Ok(()), |path| write_page(path, self.overwrite, &html::page(&benched)));
                written.and(failure.map_or(Ok(()), Err))
            }
            Err(failure) => Err(failure),
        };
        ending(failure, &left)
    }

    /// The measurements, and the first failure among those that should not fail.
    async fn bench(&self, scene: &Scene, made: &mut Made) -> Result<(Benched, Option<Failure>), Failure> {
        let source = scene.interrupt.or(self.source.reach()).await?;
        let target = scene.interrupt.or(self.target.reach()).await?;
        scene.interrupt.or(must_not_exist(&target, "bench")).await?;
        let Picture { snapshot, size, note } = self.picture(&source, made).await?;
        let changes = scene.interrupt.or(self.changes(&source, &snapshot, size)).await?;
        let used_bytes = changes.iter().map(|change| change.range.bytes()).sum();
        let ground = Ground {
            disk: self.source.clone(),
            source,
            snapshot,
            disk_bytes: size.bytes(),
            changes,
            used_bytes,
            size_bytes: self.size_bytes,
            limit: self.limit,
            target: self.target.clone(),
            stop: scene.interrupt.stop().clone(),
        };
        let (mut measurements, mut failure) = (Vec::new(), None);
        for what in What::ALL {
            scene.console.aside(&Measuring { what, limit_secs: self.limit.as_secs() });
            let outcome = ground.measure(what, made).await;
            if scene.interrupt.stop().is_cancelled() {
                return Err(Failure::new(Exit::Interrupted, "stopped as asked, before everything was measured"));
            }
            if let Outcome::Failed(error) = &outcome
                && failure.is_none()
            {
                failure = Some(self.failed(what, error));
            }
            measurements.push(Row::of(what, outcome));
        }
        let benched = Benched {
            measured_at: moment(),
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(),
            source: self.source.address.to_string(),
            snapshot: ground.snapshot.to_string(),
            target: self.target.address.to_string(),
            disk_bytes: ground.disk_bytes,
            used_bytes,
            limit_secs: self.limit.as_secs(),
            emulated: self.source.address.is_loopback() || self.target.address.is_loopback(),
            notes: note.into_iter().collect(),
            measurements,
        };
        Ok((benched, failure))
    }

    /// The snapshot that was named, else one that is taken for this, else the newest there is.
    async fn picture(&self, source: &PageBlob, made: &mut Made) -> Result<Picture, Failure> {
        let of = async |snapshot: SnapshotId, note| {
            let size = source.properties(&View::Snapshot(snapshot.clone())).await?.size;
            Ok::<_, Failure>(Picture { snapshot, size, note })
        };
        if let Some(snapshot) = &self.snapshot {
            return of(snapshot.clone(), None).await.map_err(|failure| match failure.exit {
                Exit::NotFound => {
                    let (disk, exit) = (&self.source.address, Exit::NotFound);
                    let message =
                        format!("{disk} has no snapshot {snapshot}; leave `?snapshot=…` off to have one taken");
                    Failure { exit, message }
                }
                _ => failure,
            });
        }
        let error = match source.snapshot(None, None).await {
            Ok((snapshot, _)) => {
                made.enter_snapshot(source, &snapshot);
                return of(snapshot, None).await;
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::NotFound => return Err(error.into()),
            ErrorKind::Unknown => {
                let failure = Failure::from(error);
                let message = format!(
                    "{}; a snapshot may have been taken all the same: look for it, and delete it, or run again and name \
                     it with ?snapshot=",
                    failure.message
                );
                return Err(Failure { message, ..failure });
            }
            _ => {}
        }
        let newest = source.snapshots().await.ok().and_then(|snapshots| snapshots.into_iter().next_back());
        match newest {
            Some(newest) => {
                let note = format!("The newest snapshot was used, because none could be taken: {error}");
                Ok(Picture { snapshot: newest.id, size: newest.size, note: Some(note) })
            }
            None => {
                let failure = Failure::from(error);
                let message = format!(
                    "{}; and there is no snapshot that could be used instead: take one, or name one with ?snapshot=",
                    failure.message
                );
                Err(Failure { message, ..failure })
            }
        }
    }

    /// The first pages that the snapshot holds, as the engine would request them.
    async fn changes(&self, source: &PageBlob, snapshot: &SnapshotId, size: Pages) -> Result<Vec<Change>, Failure> {
        let wanted = Wanted { view: View::Snapshot(snapshot.clone()), since: None, if_match: None, size };
        let mut listing = Listing::start(&Arc::new(source.clone()), wanted);
        let (mut changes, mut left) = (Vec::new(), Pages::new(self.size_bytes / PAGE_BYTES));
        while left > Pages::ZERO
            && let Some(change) = listing.next().await?
        {
            for part in cut(change, &ChunkPolicy::default()).filter(|part| part.kind == Kind::Write) {
                let start = part.range.start();
                let taken = PageRange::new(start, start + part.range.pages().min(left));
                let Some(range) = taken else { break };
                left = left - range.pages();
                changes.push(Change::write(range));
            }
        }
        if changes.is_empty() {
            return Err(Failure::new(
                Exit::Configuration,
                format!(
                    "snapshot {snapshot} of {} holds nothing but zeros, so there is nothing to measure with: name a disk \
                     that has been written to",
                    self.source.address
                ),
            ));
        }
        Ok(changes)
    }

    fn failed(&self, what: What, error: &StoreError) -> Failure {
        let failure = Failure::from(error.clone());
        let mut message = format!("{} could not be measured: {}", what.label(), failure.message);
        if failure.exit == Exit::Denied && what != What::Read {
            message.push_str("; what is made is named after TARGET, so a SAS must be of its container, with `rcwd`");
        }
        Failure { message, ..failure }
    }
}

/// A blob that is there may be somebody's backup: whoever names one has probably not meant to. `who` would touch no other
/// blobs than its own.
///
/// # Errors
/// It exists, or the service does not say.
pub(crate) async fn must_not_exist(target: &PageBlob, who: &str) -> Result<(), Failure> {
    match target.properties(&View::Base).await {
        Ok(_) => Err(Failure::new(
            Exit::Configuration,
            format!(
                "{} exists: {who} makes blobs of its own, named after TARGET, and touches no other; name a blob that does not \
                 exist",
                target.location()
            ),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound && error.code() == "BlobNotFound" => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Now, to the second.
pub(crate) fn moment() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).ok();
    now.and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Writes the report.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_page(path: &Path, overwrite: bool, page: &str) -> Result<(), Failure> {
    let file = if overwrite { File::create(path) } else { File::create_new(path) };
    file.and_then(|mut file| file.write_all(page.as_bytes())).map_err(|error| {
        let what =
            format!("cannot write the report to {}: {error}; the numbers above are all there is", path.display());
        Failure::new(Exit::Failed, what)
    })
}

/// What can be known about the report's file before an hour of measuring.
///
/// # Errors
/// It cannot be written.
pub(crate) fn check_page(path: &Path, overwrite: bool) -> Result<(), Failure> {
    let cannot =
        |exit, why: String| Err(Failure::new(exit, format!("cannot write the report to {}: {why}", path.display())));
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        return cannot(Exit::NotFound, format!("there is no directory {}", directory.display()));
    }
    if path.is_dir() {
        return cannot(Exit::Configuration, "it is a directory; name a file".to_owned());
    }
    if path.exists() && !overwrite {
        return cannot(Exit::Configuration, "it exists; name another file, or give --overwrite".to_owned());
    }
    Ok(())
}

/// How the run ends, given what could not be deleted.
///
/// # Errors
/// `result`'s, and what is left.
pub(crate) fn ending(result: Result<(), Failure>, left: &[Left]) -> Result<(), Failure> {
    let Some(first) = left.first() else { return result };
    let mut said = format!(
        "{} made for the measurements could not be deleted ({}); delete what is left yourself:",
        count(left.len() as u64, "thing"),
        first.error
    );
    for left in left {
        said.push_str("\n  az storage blob delete ");
        said.push_str(&left.by_hand);
    }
    Err(match result {
        Ok(()) => Failure { message: said, ..Failure::from(first.error.clone()) },
        Err(failure) => Failure { message: format!("{}; besides, {said}", failure.message), ..failure },
    })
}
