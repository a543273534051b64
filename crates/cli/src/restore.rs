//! `pageferry restore`: a point becomes a file or a disk again.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pageferry_azure::PageBlob;
use pageferry_core::next::Point;
use pageferry_replicate::Engine;
use pageferry_replicate::image::{Format, ImageReport, restore_image};
use pageferry_replicate::restore::{self as blob, find_point};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::human::bytes;
use crate::job::Scene;
use crate::new_disk::NewDisk;
use crate::place::{Place, discard_scratch};
use crate::progress::{Reporter, Work};
use crate::report::say;
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Place,
    pub(crate) destination: Destination,
    pub(crate) point: String,
    pub(crate) overwrite: bool,
    pub(crate) settings: Settings,
}

#[derive(Debug)]
pub(crate) enum Destination {
    File { path: PathBuf, format: Format },
    Blob(Box<Place>),
    Disk(Box<NewDisk>),
}

#[derive(Serialize)]
pub(crate) struct Restored {
    pub(crate) point: String,
    pub(crate) source_snapshot: String,
    pub(crate) destination: String,
    pub(crate) length_bytes: u64,
    pub(crate) written_bytes: u64,
    /// For a disk: what to do so that it is used and backed up.
    pub(crate) next: Vec<String>,
    #[serde(skip)]
    pub(crate) detail: &'static str,
}

say! { Restored => "restore" }

impl Display for Restored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "restored point {} (source snapshot {}) to {}: {}, of which {} written{}",
            self.point,
            self.source_snapshot,
            self.destination,
            bytes(self.length_bytes),
            bytes(self.written_bytes),
            self.detail
        )?;
        if !self.next.is_empty() {
            write!(f, "\nnext:")?;
        }
        self.next.iter().enumerate().try_for_each(|(index, step)| write!(f, "\n  {}. {step}", index + 1))
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let target = scene.interrupt.or(self.target.reach()).await?;
        let newest = scene.interrupt.or(async { Ok(find_point(&target, "latest").await?) });
        let newest = newest.await?;
        let point = if self.point == "latest" {
            newest.clone()
        } else {
            scene.interrupt.or(async { Ok(find_point(&target, &self.point).await?) }).await?
        };
        let reporter = Reporter::start(&scene.console);
        let scratched = target.clone();
        let restored = match &self.destination {
            Destination::File { path, format } => self.to_file(scene, &reporter, target, &point, (path, *format)).await,
            Destination::Blob(disk) => {
                self.to_blob(scene, &reporter, target, &point, disk, point.id == newest.id).await
            }
            Destination::Disk(disk) => {
                let options = self.settings.options(scene, &reporter);
                reporter.begin(Work::Image, point.size.bytes());
                disk.restore(scene, target, &point, point.id == newest.id, &options).await
            }
        };
        reporter.finish();
        discard_scratch(&scratched).await;
        scene.console.say(&restored?);
        Ok(())
    }

    async fn to_file(
        &self,
        scene: &Scene,
        reporter: &Reporter,
        target: PageBlob,
        point: &Point,
        (path, format): (&Path, Format),
    ) -> Result<Restored, Failure> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
            let what = format!("cannot restore to {}: there is no directory {}", path.display(), directory.display());
            return Err(Failure::new(Exit::NotFound, what));
        }
        if path.is_dir() {
            let what = format!("cannot restore to {}: it is a directory; name a file", path.display());
            return Err(Failure::new(Exit::Configuration, what));
        }
        reporter.begin(Work::Image, point.size.bytes());
        let options = self.settings.options(scene, reporter);
        let report = restore_image(&Arc::new(target), point, path, format, self.overwrite, &options).await;
        let ImageReport { file_bytes, written_bytes, footer_removed } = report?;
        Ok(Restored {
            point: point.id.to_string(),
            source_snapshot: point.seal.snapshot.id.to_string(),
            destination: path.display().to_string(),
            length_bytes: file_bytes,
            written_bytes,
            next: Vec::new(),
            detail: match (format, footer_removed) {
                (Format::Raw, true) => "; the VHD footer is left off",
                _ => "",
            },
        })
    }

    async fn to_blob(
        &self,
        scene: &Scene,
        reporter: &Reporter,
        target: PageBlob,
        point: &Point,
        disk: &Place,
        is_newest: bool,
    ) -> Result<Restored, Failure> {
        let destination = scene.interrupt.or(disk.reach()).await?;
        let engine = Engine::new(target, destination, self.settings.options(scene, reporter));
        let written_bytes = match blob::restore(&engine, point, self.overwrite).await? {
            blob::Restored::Now(report) => report.written_bytes,
            blob::Restored::Before(_) => 0,
        };
        let (new, old) = (&disk.address, &self.target.address);
        let sync = if is_newest {
            format!("go on with its backups: pageferry sync {new} {old} --adopt")
        } else {
            format!("back it up to a new target, for this was not the newest point: pageferry sync {new} NEWTARGET")
        };
        Ok(Restored {
            point: point.id.to_string(),
            source_snapshot: point.seal.snapshot.id.to_string(),
            destination: new.to_string(),
            length_bytes: point.size.bytes(),
            written_bytes,
            next: vec![
                "let the machine use the restored disk in place of the old one".to_owned(),
                format!("take a snapshot of it: pageferry snapshot {new}"),
                sync,
            ],
            detail: "",
        })
    }
}
