//! The proof: points read back whole, and a restored image opened by the file system that wrote it.
//!
//! Nothing here believes a report. The truth is what the machine had on its disk when the snapshot was taken, kept in
//! memory since; what is held against it is what the service answers, or what lies in the restored file.

use std::fs::File;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use pageferry_azure::PageBlob;
use pageferry_core::next::Point;
use pageferry_core::vhd::Footer;
use pageferry_core::{Kind, PageRange, SnapshotId};
use pageferry_store::{Ask, Source, View};

use super::disk::Picture;
use super::guest::{self, Files};
use super::host::{GRID, failed};
use crate::exit::{Exit, Failure};

const IN_FLIGHT: usize = 4;

/// Reads all of `point` and compares each byte with `truth`, and the pages that hold data with those that should.
pub(super) async fn point_is(blob: &PageBlob, point: &Point, truth: &Picture) -> Result<(), Failure> {
    let differs = |what: String| Err(Failure::new(Exit::Differs, format!("point {}: {what}", point.id)));
    if point.size != truth.size() {
        return differs(format!("it has {} pages, the disk had {}", point.size, truth.size()));
    }
    let view = &View::Snapshot(point.id.clone());
    let whole = PageRange::whole(truth.size());
    let pieces = whole.into_iter().flat_map(|whole| whole.cut(GRID));
    let compare = |range: PageRange| async move {
        let (data, _) = blob.read(view, range, None).await?;
        Ok::<_, Failure>((data.bytes()[..] != truth.bytes(range)).then_some(range))
    };
    let mut wrong: Vec<PageRange> = stream::iter(pieces.map(compare))
        .buffer_unordered(IN_FLIGHT)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await?;
    wrong.sort_unstable();
    if let Some(first) = wrong.first() {
        return differs(format!("its content is not the disk's, first within {first}"));
    }
    let allocated = allocated_bytes(blob, &point.id, truth).await?;
    if allocated != truth.allocated().bytes() {
        return differs(format!(
            "{allocated} bytes are allocated, {} hold data on the disk",
            truth.allocated().bytes()
        ));
    }
    Ok(())
}

async fn allocated_bytes(blob: &PageBlob, point: &SnapshotId, truth: &Picture) -> Result<u64, Failure> {
    let Some(window) = PageRange::whole(truth.size()) else { return Ok(0) };
    let view = View::Snapshot(point.clone());
    let mut ask = Ask { view, since: None, window, marker: None, if_match: None };
    let mut bytes = 0;
    loop {
        let answer = blob.list(&ask).await?;
        let written = answer.changes.iter().filter(|change| change.kind == Kind::Write);
        bytes += written.map(|change| change.range.bytes()).sum::<u64>();
        if answer.next.is_none() {
            return Ok(bytes);
        }
        ask.marker = answer.next;
    }
}

/// Opens the VHD at `path` and compares its footer with its length, and its files with `truth`.
pub(super) fn image_holds(path: &Path, truth: &Files) -> Result<(), Failure> {
    let wrong = |what: String| Err(Failure::new(Exit::Differs, format!("{}: {what}", path.display())));
    let unreadable = |error: std::io::Error| failed(format!("cannot read {}: {error}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut last = [0; 512];
    super::disk::Storage::read_at(&file, length.saturating_sub(512), &mut last).map_err(unreadable)?;
    let sound = Footer::parse(&last).map_err(|error| error.to_string());
    let sound = sound.and_then(|footer| footer.check(length).map_err(|error| error.to_string()));
    if let Err(error) = sound {
        return wrong(error);
    }
    let mut found = Files::new();
    for partition in guest::partitions(&file).map_err(unreadable)? {
        found.extend(guest::read_all(&mut file, partition).map_err(unreadable)?);
    }
    if let Some(path) = truth.iter().find(|(path, content)| found.get(*path) != Some(content)).map(|(path, _)| path) {
        return wrong(format!("its file {path} is not as it was"));
    }
    match found.len() == truth.len() {
        true => Ok(()),
        false => wrong(format!("it has {} files, there were {}", found.len(), truth.len())),
    }
}

/// A directory for restored files that goes away with its owner.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new directory among the temporary ones.
    pub(super) fn new() -> Result<Scratch, Failure> {
        let path = std::env::temp_dir().join(format!("pageferry-demo-{:016x}", rand::random::<u64>()));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Scratch(path)),
            Err(error) => Err(failed(format!("cannot make {}: {error}", path.display()))),
        }
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever cleans the temporary directories will find what could not be removed.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
