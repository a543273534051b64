//! The machine's disk, as a hypervisor keeps it: pages, what was written to them, and what the guest gave back.
//!
//! A [`Disk`] knows two things of every page: its bytes, if it was ever written and not discarded since, and whether that
//! changed since the last [`Disk::take_changes`]. A [`Picture`] of it costs no copy, so the demo can keep the truth of
//! every point until the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use pageferry_core::vhd::{FOOTER_BYTES, Footer};
use pageferry_core::{PAGE_BYTES, PageRange, Pages};

/// The length of a page, for slices.
const PAGE: usize = 512;
const _: () = assert!(PAGE as u64 == PAGE_BYTES);

type Page = [u8; PAGE];

/// Something a partition can be read from and written to.
pub(super) trait Storage {
    /// Fills `into` from byte `at` on.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes `from` at byte `at`.
    fn write_at(&mut self, at: u64, from: &[u8]) -> io::Result<()>;
}

/// All of a disk at one moment, its VHD footer included.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    size: Pages,
    pages: BTreeMap<Pages, Arc<Page>>,
}

/// What happened to a disk between two moments; no page is in both lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Runs of pages that were written.
    pub(super) written: Vec<PageRange>,
    /// Runs of pages that held data and were discarded.
    pub(super) freed: Vec<PageRange>,
}

/// A fixed VHD that its owner writes to.
#[derive(Debug)]
pub(super) struct Disk {
    now: Picture,
    before: Picture,
    written: BTreeSet<Pages>,
    freed: BTreeSet<Pages>,
    footer: Footer,
}

impl Picture {
    /// How long the picture is.
    pub(super) fn size(&self) -> Pages {
        self.size
    }

    /// How many pages hold data; all others are zeros.
    pub(super) fn allocated(&self) -> Pages {
        Pages::new(self.pages.len() as u64)
    }

    /// The same with another footer.
    pub(super) fn with_footer(mut self, footer: &[u8]) -> Picture {
        if let (Ok(footer), Some(last)) = (footer.try_into(), self.size.count().checked_sub(1)) {
            self.pages.insert(Pages::new(last), Arc::new(footer));
        }
        self
    }

    /// The bytes of `range`.
    pub(super) fn bytes(&self, range: PageRange) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(range.bytes()).unwrap_or_default()];
        for (page, data) in self.pages.range(range.start()..range.end()) {
            let at = usize::try_from((*page - range.start()).bytes()).unwrap_or_default();
            bytes[at..at + PAGE].copy_from_slice(&data[..]);
        }
        bytes
    }
}

impl Changes {
    /// Bytes written.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written.iter().map(|range| range.bytes()).sum()
    }

    /// Bytes freed.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed.iter().map(|range| range.bytes()).sum()
    }
}

impl Disk {
    /// A new disk of `disk_bytes`, empty but for its footer.
    pub(super) fn new(disk_bytes: u64, unique_id: [u8; 16]) -> Disk {
        let footer = Footer::for_size(disk_bytes, unique_id, 0);
        let empty = Picture::default();
        let mut disk =
            Disk { now: empty.clone(), before: empty, written: BTreeSet::new(), freed: BTreeSet::new(), footer };
        disk.resize(disk_bytes);
        disk
    }

    /// The disk's size, without the footer.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.footer.disk_bytes
    }

    /// Makes the disk larger. Its footer moves to the new end; where it was is disk now, and empty.
    pub(super) fn grow(&mut self, disk_bytes: u64) {
        if let Some(old) = PageRange::new(self.now.size.saturating_sub(Pages::new(1)), self.now.size) {
            self.discard(old);
        }
        self.resize(disk_bytes);
    }

    fn resize(&mut self, disk_bytes: u64) {
        let grown = Footer::for_size(disk_bytes, self.footer.unique_id, self.footer.timestamp_secs);
        self.footer = Footer { original_bytes: self.footer.original_bytes, ..grown };
        let footer = Pages::new(disk_bytes / PAGE_BYTES);
        self.now.size = footer + Pages::new(FOOTER_BYTES / PAGE_BYTES);
        self.now.pages.insert(footer, Arc::new(self.footer.to_bytes()));
        self.written.insert(footer);
    }

    /// Gives `range` back: it reads as zeros from now on.
    pub(super) fn discard(&mut self, range: PageRange) {
        let held: Vec<Pages> = self.now.pages.range(range.start()..range.end()).map(|(page, _)| *page).collect();
        for page in held {
            self.now.pages.remove(&page);
            self.written.remove(&page);
            if self.before.pages.contains_key(&page) {
                self.freed.insert(page);
            }
        }
    }

    /// The disk as it is.
    pub(super) fn picture(&self) -> Picture {
        self.now.clone()
    }

    /// What happened since the last time this was asked.
    pub(super) fn take_changes(&mut self) -> Changes {
        self.before = self.now.clone();
        Changes { written: runs(std::mem::take(&mut self.written)), freed: runs(std::mem::take(&mut self.freed)) }
    }
}

impl Storage for Disk {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        in_pages(at, into.len(), |page, inside, here| {
            let stored = self.now.pages.get(&page);
            match stored {
                Some(data) => into[here].copy_from_slice(&data[inside]),
                None => into[here].fill(0),
            }
        });
        Ok(())
    }

    fn write_at(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        in_pages(at, from.len(), |page, inside, here| {
            let data = self.now.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(data)[inside].copy_from_slice(&from[here]);
            self.freed.remove(&page);
            self.written.insert(page);
        });
        Ok(())
    }
}

/// A restored image is read as it lies; nothing is written to it.
impl Storage for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "a restored image is only looked at"))
    }
}

/// The part of every page that `length` bytes at byte `at` touch, and where in these bytes it is.
fn in_pages(at: u64, length: usize, mut each: impl FnMut(Pages, Range<usize>, Range<usize>)) {
    let mut done = 0;
    while done < length {
        let here = at + done as u64;
        let inside = usize::try_from(here % PAGE_BYTES).unwrap_or_default();
        let some = (PAGE - inside).min(length - done);
        each(Pages::new(here / PAGE_BYTES), inside..inside + some, done..done + some);
        done += some;
    }
}

fn runs(pages: BTreeSet<Pages>) -> Vec<PageRange> {
    let mut runs: Vec<PageRange> = Vec::new();
    for page in pages {
        let next = page + Pages::new(1);
        let start = runs.pop_if(|last| last.end() == page).map_or(page, PageRange::start);
        runs.extend(PageRange::new(start, next));
    }
    runs
}

/// A partition: part of a storage, as a file system wants to see it.
#[derive(Debug)]
pub(super) struct Partition<'s, S> {
    storage: &'s mut S,
    window: Range<u64>,
    at: u64,
}

impl<'s, S: Storage> Partition<'s, S> {
    /// The bytes `window` of `storage`.
    pub(super) fn new(storage: &'s mut S, window: Range<u64>) -> Partition<'s, S> {
        Partition { storage, window, at: 0 }
    }

    /// How many of `wanted` bytes there are from here on.
    fn room(&self, wanted: usize) -> usize {
        let left = (self.window.end - self.window.start).saturating_sub(self.at);
        usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
    }
}

impl<S: Storage> Read for Partition<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.room(into.len());
        self.storage.read_at(self.window.start + self.at, &mut into[..some])?;
        self.at += some as u64;
        Ok(some)
    }
}

impl<S: Storage> Write for Partition<'_, S> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let some = self.room(from.len());
        self.storage.write_at(self.window.start + self.at, &from[..some])?;
        self.at += some as u64;
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Storage> Seek for Partition<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => (self.window.end - self.window.start).checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn a_page_is_written_or_freed_and_never_both() {
        let mut disk = Disk::new(1 << 20, [7; 16]);
        disk.write_at(512 * 3 + 500, &[1; 20]).unwrap();
        disk.write_at(512 * 9, &[2; 512]).unwrap();
        disk.discard(range(9, 10));
        let first = disk.take_changes();
        assert_eq!(first.written, [range(3, 5), range(2048, 2049)]);
        assert_eq!(first.freed, [], "what came and went in between was never there");
        disk.discard(range(0, 5));
        disk.write_at(512 * 4, &[3]).unwrap();
        let second = disk.take_changes();
        assert_eq!((second.written, second.freed), (vec![range(4, 5)], vec![range(3, 4)]));
        assert_eq!(disk.picture().bytes(range(3, 5))[510..514], [0, 0, 3, 0]);
    }

    #[test]
    fn a_footer_moves_with_the_end() {
        let mut disk = Disk::new(1 << 20, [7; 16]);
        disk.take_changes();
        disk.grow(2 << 20);
        let changes = disk.take_changes();
        assert_eq!((changes.written, changes.freed), (vec![range(4096, 4097)], vec![range(2048, 2049)]));
        let last: [u8; 512] = disk.picture().bytes(range(4096, 4097)).try_into().unwrap();
        let footer = Footer::parse(&last).unwrap();
        assert_eq!((footer.disk_bytes, footer.original_bytes, footer.unique_id), (2 << 20, 1 << 20, [7; 16]));
        assert_eq!(footer.check(disk.picture().size().bytes()), Ok(()));
    }
}
