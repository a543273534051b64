//! The page table of one blob: a persistent, sparse map of runs of pages.
//!
//! A run is a stretch of neighbouring pages that one operation left behind: written pages with their bytes, or cleared
//! pages with only the number of the operation (its *stamp*). Pages no run covers were never touched. The map shares
//! structure between copies, so a snapshot costs one reference and an 8 TiB blob costs what was written to it.

use bytes::Bytes;
use imbl::OrdMap;

/// Bytes in a page.
pub const PAGE: u64 = 512;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// A piece of a larger buffer is copied out of it when it is smaller than this fraction of it.
const PIN_FACTOR: u64 = 4;

/// Pieces below this size are cheap to copy.
const SMALL: usize = 64 << 10;

/// What happened to a stretch of pages, by page number.
#[derive(Debug, Clone, Default)]
pub struct PageTable {
    runs: OrdMap<u64, Run>,
}

/// One stretch as [`PageTable::scan`] reports it: pages `start..end`, the last operation on them, and whether they
/// hold data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first page.
    pub start: u64,
    /// One past the last page.
    pub end: u64,
    /// The number of the operation that left them like this.
    pub stamp: u64,
    /// Whether they hold data (a write) or not (a clear).
    pub allocated: bool,
}

#[derive(Debug, Clone)]
struct Run {
    end: u64,
    stamp: u64,
    data: Option<Bytes>,
    /// The size of the buffer that `data` keeps alive.
    pinned: u64,
}

impl PageTable {
    /// Pages from `start` on now hold `data`, whose length is a whole number of pages.
    pub fn write(&mut self, start: u64, stamp: u64, data: Bytes) {
        let len = data.len() as u64;
        let end = start + len / PAGE;
        if start < end {
            self.cut(start, end);
            self.runs.insert(start, Run { end, stamp, data: Some(data), pinned: len });
        }
    }

    /// Pages `start..end` now hold nothing, and the operation is on record.
    pub fn clear(&mut self, start: u64, end: u64, stamp: u64) {
        if start < end {
            self.cut(start, end);
            self.runs.insert(start, Run { end, stamp, data: None, pinned: 0 });
        }
    }

    /// As [`PageTable::clear`], but only pages that held data are recorded; the others keep their record.
    pub fn clear_allocated(&mut self, start: u64, end: u64, stamp: u64) {
        let held: Vec<_> = self.scan(start, end).filter(|s| s.allocated).collect();
        held.into_iter().for_each(|s| self.clear(s.start, s.end, stamp));
    }

    /// Pages `start..end` are as if nobody had ever touched them.
    pub fn forget(&mut self, start: u64, end: u64) {
        if start < end {
            self.cut(start, end);
        }
    }

    /// As [`PageTable::write`] with data in several pieces, each a whole number of pages; pages that a table reads as
    /// zeros arrive as written zeros.
    pub fn write_pieces(&mut self, start: u64, stamp: u64, pieces: impl Iterator<Item = Bytes>) {
        let mut at = start;
        for piece in pieces {
            let pages = piece.len() as u64 / PAGE;
            // A small piece is likely part of a large buffer that it would keep alive.
            let piece = if piece.len() < SMALL { Bytes::copy_from_slice(&piece) } else { piece };
            self.write(at, stamp, piece);
            at += pages;
        }
    }

    /// As [`PageTable::write_pieces`], but pages that hold these very bytes keep their record.
    pub fn write_changed(&mut self, start: u64, stamp: u64, pieces: impl Iterator<Item = Bytes>) {
        for (page, data) in (start..).zip(pieces.flat_map(split)) {
            if self.held(page).is_none_or(|held| held != data) {
                self.write(page, stamp, Bytes::copy_from_slice(&data));
            }
        }
    }

    /// The bytes of a page that holds data.
    fn held(&self, page: u64) -> Option<Bytes> {
        let (start, run) = self.runs.get_prev(&page).filter(|(_, run)| run.end > page)?;
        let from = usize::try_from((page - start) * PAGE).ok()?;
        run.data.as_ref().map(|data| data.slice(from..from + 512))
    }

    /// The largest piece that starts at byte `at` and ends before byte `end`, without copying; zeros where nothing is
    /// stored. `None` at the end.
    pub fn piece(&self, at: u64, end: u64) -> Option<Bytes> {
        if at >= end {
            return None;
        }
        let page = at / PAGE;
        let here = self.runs.get_prev(&page).filter(|(_, run)| run.end > page);
        if let Some((start, Run { end: run_end, data: Some(data), .. })) = here {
            let from = usize::try_from(at - start * PAGE).ok()?;
            let to = usize::try_from((run_end * PAGE).min(end) - start * PAGE).ok()?;
            return Some(data.slice(from..to));
        }
        // Zeros go on to the next run that holds data; walking over cleared runs one by one keeps this simple.
        let from = here.map_or(page + 1, |(_, run)| run.end);
        let zeros_end = if here.is_some() {
            from.saturating_mul(PAGE)
        } else {
            self.runs.get_next(&from).map_or(u64::MAX, |(next, _)| next * PAGE)
        };
        let len = usize::try_from(zeros_end.min(end) - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        Some(Bytes::from_static(&ZEROS[..len]))
    }

    /// The touched stretches that meet pages `start..end`, in order and clipped to it.
    pub fn scan(&self, start: u64, end: u64) -> impl Iterator<Item = Stretch> + '_ {
        let before = self.runs.get_prev(&start).filter(|(key, run)| **key < start && run.end > start);
        before
            .into_iter()
            .chain(self.runs.range(start..end.max(start)))
            .map(move |(key, run)| Stretch {
                start: (*key).max(start),
                end: run.end.min(end),
                stamp: run.stamp,
                allocated: run.data.is_some(),
            })
            .filter(|s| s.start < s.end)
    }

    /// How many runs the table holds, which is what it costs.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Removes every run from pages `start..end`, splitting those at its edges.
    fn cut(&mut self, start: u64, end: u64) {
        let before = self.runs.get_prev(&start).filter(|(key, run)| **key < start && run.end > start);
        if let Some((key, run)) = before.map(|(key, run)| (*key, run.clone())) {
            if run.end > end {
                self.runs.insert(end, run.part(key, end, run.end));
            }
            self.runs.insert(key, run.part(key, key, start));
        }
        while let Some(key) = self.runs.range(start..end).next().map(|(key, _)| *key) {
            if let Some(run) = self.runs.remove(&key).filter(|run| run.end > end) {
                self.runs.insert(end, run.part(key, end, run.end));
            }
        }
    }
}

/// The single pages of a piece.
pub(crate) fn split(mut piece: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (piece.len() >= 512).then(|| piece.split_to(512)))
}

impl Run {
    /// The pages `from..to` of a run that starts at page `start`.
    fn part(&self, start: u64, from: u64, to: u64) -> Self {
        let index = |page: u64| usize::try_from((page - start) * PAGE).unwrap_or(0);
        let mut pinned = self.pinned;
        let data = self.data.as_ref().map(|data| {
            let slice = data.slice(index(from)..index(to));
            if (slice.len() as u64) * PIN_FACTOR > self.pinned {
                return slice;
            }
            pinned = slice.len() as u64;
            Bytes::copy_from_slice(&slice)
        });
        Self { end: to, stamp: self.stamp, data, pinned }
    }
}
