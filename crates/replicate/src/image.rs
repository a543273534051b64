//! Restoring a point into a local file: a raw disk or a fixed VHD, sparse either way.
//!
//! The file is written beside its destination under a name that says it is not finished, and takes its own name only
//! when every byte is on the disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use pageferry_core::next::Point;
use pageferry_core::plan::Cutter;
use pageferry_core::vhd::FooterError;
use pageferry_core::{PageRange, Pages};
use pageferry_store::{Source, View};
use pageferry_transfer::Progress;

use crate::compare::Side;
use crate::error::ReplicateError;
use crate::event::Event;
use crate::gate::read_footer;
use crate::listing::{Listing, Wanted};
use crate::options::Options;

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
    let mut listing = Listing::start(blob, wanted);
    let mut cutter = Cutter::new(options.chunks);
    let (mut ended, mut progress) = (false, Progress::default());
    let mut in_flight = FuturesUnordered::new();
    let room = usize::try_from(options.budget.bytes / options.chunks.write_max.bytes().max(1)).unwrap_or(usize::MAX);
    let most = room.min(options.budget.requests);
    loop {
        let in_flight_max = most.min(blob.in_flight_max()).max(1);
        while !ended && in_flight.len() < in_flight_max {
            let Some(piece) = cutter.next() else {
                match listing.next().await? {
                    Some(change) => cutter.push(change),
                    None if ended => break,
                    None => {
                        ended = true;
                        cutter.finish();
                    }
                }
                continue;
            };
            if let Some(range) = PageRange::whole(cut).and_then(|whole| piece.range.intersection(whole)) {
                in_flight.push(fetch(blob, &view, range, &file, partial));
            }
        }
        while ended && in_flight.len() < in_flight_max {
            let Some(piece) = cutter.next() else { break };
            if let Some(range) = PageRange::whole(cut).and_then(|whole| piece.range.intersection(whole)) {
                in_flight.push(fetch(blob, &view, range, &file, partial));
            }
        }
        tokio::select! {
            biased;
            () = options.stop.cancelled() => return Err(ReplicateError::Interrupted),
            fetched = in_flight.next() => match fetched {
                Some(fetched) => {
                    progress.written_bytes += fetched?;
                    progress.changes += 1;
                    options.events.tell(&Event::Moving(progress));
                }
                None => break,
            }
        }
    }
    let synced = {
        let file = Arc::clone(&file);
        tokio::task::spawn_blocking(move || file.sync_all()).await
    };
    io("write", partial, synced.unwrap_or_else(|error| Err(std::io::Error::other(error))))?;
    Ok(progress.written_bytes)
}

/// Reads `range` and writes it where it belongs; returns its length in bytes.
async fn fetch<S: Source>(
    blob: &Arc<S>,
    view: &View,
    range: PageRange,
    file: &Arc<File>,
    partial: &Path,
) -> Result<u64, ReplicateError> {
    let (data, _) = blob.read(view, range, None).await?;
    let file = Arc::clone(file);
    let written = tokio::task::spawn_blocking(move || file.write_all_at(data.bytes(), range.start().bytes())).await;
    io("write", partial, written.unwrap_or_else(|error| Err(std::io::Error::other(error))))?;
    Ok(range.bytes())
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pageferry-partial");
    PathBuf::from(name)
}

fn io<R>(doing: &'static str, path: &Path, result: std::io::Result<R>) -> Result<R, ReplicateError> {
    result.map_err(|error| ReplicateError::Io { doing, path: path.to_owned(), error })
}
