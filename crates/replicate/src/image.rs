//! Restoring a point into a local file: a raw disk or a fixed VHD, sparse either way.
//!
//! The file is written beside its destination under a name that says it is not finished, and takes its own name only
//! when every byte is on the disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pageferry_core::next::Point;
use pageferry_core::vhd::FooterError;
use pageferry_core::{PageRange, Pages};
use pageferry_store::{PageData, Receipt, Source, View};

use crate::compare::Side;
use crate::error::ReplicateError;
use crate::gate::read_footer;
use crate::listing::{Listing, Wanted};
use crate::options::Options;
use crate::pour::{Plan, Sink, pour};

/// What kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The disk's bytes, without the footer of a fixed VHD.
    Raw,
    /// A fixed VHD: the blob's bytes as they are.
    Vhd,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReport {
    /// The length of the file in bytes.
    pub file_bytes: u64,
    /// Bytes written to it; the rest are holes.
    pub written_bytes: u64,
    /// Whether a VHD footer was cut off.
    pub footer_removed: bool,
}

/// Writes `point` of `blob` to `path`. An existing file is replaced only with `overwrite`.
///
/// # Errors
/// [`ReplicateError::Exists`], [`ReplicateError::Refused`] for a VHD of what is none, [`ReplicateError::Io`] naming the
/// file; the unfinished file is removed.
pub async fn restore_image<S: Source>(
    blob: &Arc<S>,
    point: &Point,
    path: &Path,
    format: Format,
    overwrite: bool,
    options: &Options,
) -> Result<ImageReport, ReplicateError> {
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(ReplicateError::Exists {
            destination: path.display().to_string(),
            why: "name another file, or say --overwrite to replace it",
        });
    }
    let cut = pages_to_write(blob, point, format, options).await?;
    let partial = partial_of(path);
    let result = write_partial(blob, point, cut, &partial, options).await;
    let result = match result {
        Ok(written_bytes) => io("rename", &partial, std::fs::rename(&partial, path)).map(|()| ImageReport {
            file_bytes: cut.bytes(),
            written_bytes,
            footer_removed: cut != point.size,
        }),
        Err(error) => Err(error),
    };
    if result.is_err() {
        // The first error is what matters; a file that cannot be removed keeps the name that says it is unfinished.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// How many pages of the point make the file.
async fn pages_to_write<S: Source>(
    blob: &Arc<S>,
    point: &Point,
    format: Format,
    options: &Options,
) -> Result<Pages, ReplicateError> {
    let size = point.size;
    let without_footer = size.saturating_sub(Pages::new(1));
    let Some(last) = PageRange::new(without_footer, size) else { return Ok(size) };
    let side = Side { blob: &**blob, view: View::Snapshot(point.id.clone()), if_match: None };
    let footer = read_footer(&side, last).await?;
    let sound = footer.as_ref().ok().filter(|footer| footer.check(size.bytes()).is_ok());
    match (format, sound, &footer) {
        (Format::Vhd, Some(_), _) => Ok(size),
        (Format::Vhd, None, Err(error @ (FooterError::BadChecksum { .. } | FooterError::UnknownVersion(_)))) => {
            Err(ReplicateError::Footer { object: blob.address(), error: *error })
        }
        (Format::Vhd, None, _) => Err(ReplicateError::Refused(format!(
            "point {} of {} is not a fixed VHD (it does not end in a fitting footer), so it cannot be restored as one: \
             restore it to a file ending in .raw",
            point.id,
            blob.address()
        ))),
        (Format::Raw, Some(_), _) => Ok(without_footer),
        (Format::Raw, None, _) => {
            options.events.note("the point ends in no VHD footer, so the raw file holds all of its bytes");
            Ok(size)
        }
    }
}

async fn write_partial<S: Source>(
    blob: &Arc<S>,
    point: &Point,
    cut: Pages,
    partial: &Path,
    options: &Options,
) -> Result<u64, ReplicateError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(partial);
    let file = Arc::new(io("create", partial, file)?);
    io("set the length of", partial, file.set_len(cut.bytes()))?;
    let view = View::Snapshot(point.id.clone());
    let wanted = Wanted { view: view.clone(), since: None, if_match: None, size: point.size };
    let plan = Plan::new(Listing::start(blob, wanted), Listing::empty(), cut, options.chunks);
    let sink = Image { file: Arc::clone(&file), path: partial };
    let poured = pour(blob, &view, plan, &sink, options).await?;
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    io("write", partial, synced.unwrap_or_else(|error| Err(std::io::Error::other(error))))?;
    Ok(poured.progress.written_bytes)
}

/// The file, as pages are put into it.
struct Image<'a> {
    file: Arc<File>,
    path: &'a Path,
}

impl Sink for Image<'_> {
    async fn write(&self, range: PageRange, data: PageData) -> Result<Receipt, ReplicateError> {
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || file.write_all_at(data.bytes(), range.start().bytes())).await;
        io("write", self.path, written.unwrap_or_else(|error| Err(std::io::Error::other(error))))?;
        Ok(Receipt::default())
    }

    /// There is nothing to clear in what was made for this and is one hole.
    async fn clear(&self, _: PageRange) -> Result<Receipt, ReplicateError> {
        Ok(Receipt::default())
    }
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pageferry-partial");
    PathBuf::from(name)
}

fn io<R>(doing: &'static str, path: &Path, result: std::io::Result<R>) -> Result<R, ReplicateError> {
    result.map_err(|error| ReplicateError::Io { doing, path: path.to_owned(), error })
}
