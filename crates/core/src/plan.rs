//! Cutting changes into requests, and counting them.
//!
//! Writes are cut on a fixed grid, at most 4 MiB apart, so that the same pages always travel in the same requests and
//! no request is larger than the service takes. A cut adds no byte. Clears carry no data and are sent long.

use sha2::{Digest, Sha256};

use crate::change::{Change, Kind};
use crate::page::{PAGE_BYTES, PageRange, Pages};

/// The most that one Put Page carries (REST: Put Page), and so the largest write we plan.
pub const WRITE_BYTES_MAX: u64 = 4 << 20;

/// The longest clear we send. The service takes longer ones; this keeps each request short.
pub const CLEAR_BYTES_MAX: u64 = 1 << 30;

const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(PAGE_BYTES) && CLEAR_BYTES_MAX.is_multiple_of(PAGE_BYTES));

/// How long a request may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkPolicy {
    /// The grid on which writes are cut, in pages.
    pub write_max: Pages,
    /// The grid on which clears are cut, in pages.
    pub clear_max: Pages,
}

impl Default for ChunkPolicy {
    fn default() -> Self {
        ChunkPolicy {
            write_max: Pages::new(WRITE_BYTES_MAX / PAGE_BYTES),
            clear_max: Pages::new(CLEAR_BYTES_MAX / PAGE_BYTES),
        }
    }
}

/// A request size that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a request of {0} bytes is not possible: choose a power of two from 512 bytes to 4 MiB, the most one Put Page carries"
)]
pub struct RequestSizeError(u64);

impl ChunkPolicy {
    /// Writes of at most `bytes`: a power of two, so that the grid is a division of the 4 MiB grid.
    ///
    /// # Errors
    /// [`RequestSizeError`] for any other size.
    pub fn with_request_bytes(bytes: u64) -> Result<ChunkPolicy, RequestSizeError> {
        if !bytes.is_power_of_two() || !(PAGE_BYTES..=WRITE_BYTES_MAX).contains(&bytes) {
            return Err(RequestSizeError(bytes));
        }
        Ok(ChunkPolicy { write_max: Pages::new(bytes / PAGE_BYTES), ..ChunkPolicy::default() })
    }
}

/// The requests that carry out one change, in page order.
pub fn cut(change: Change, policy: &ChunkPolicy) -> impl Iterator<Item = Change> + use<> {
    change.range.cut(Pages::new(cell(change.kind, policy))).map(move |range| Change { kind: change.kind, range })
}

/// The grid for changes of this kind, in pages.
fn cell(kind: Kind, policy: &ChunkPolicy) -> u64 {
    match kind {
        Kind::Write => policy.write_max.count(),
        Kind::Clear => policy.clear_max.count(),
    }
    .max(1)
}

/// Cuts changes that arrive piece by piece, in page order, exactly as [`cut`] cuts them whole. It holds back only the
/// last unfinished piece, so that requests can be sent while the list is still arriving.
#[derive(Debug)]
pub struct Cutter {
    policy: ChunkPolicy,
    done: Option<Change>,
    held: Option<Change>,
}

impl Cutter {
    /// A cutter that has seen nothing yet.
    pub fn new(policy: ChunkPolicy) -> Cutter {
        Cutter { policy, done: None, held: None }
    }

    /// Takes the next change. [`Cutter::next`] must have been drained since the last one.
    pub fn push(&mut self, change: Change) {
        debug_assert!(self.done.is_none(), "what is finished is taken out before more goes in");
        match self.held {
            Some(held) if held.kind == change.kind && held.range.end() == change.range.start() => {
                let joined = PageRange::new(held.range.start(), change.range.end());
                self.held = joined.map(|range| Change { kind: held.kind, range });
            }
            held => {
                self.done = held;
                self.held = Some(change);
            }
        }
    }

    /// Takes the end of the list.
    pub fn finish(&mut self) {
        debug_assert!(self.done.is_none(), "what is finished is taken out before more goes in");
        self.done = self.held.take();
    }

    /// The next request that no further change can alter.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not ask for more input between items")]
    pub fn next(&mut self) -> Option<Change> {
        if let Some(done) = self.done {
            let piece = cut(done, &self.policy).next()?;
            self.done = rest(done, piece);
            return Some(piece);
        }
        let held = self.held?;
        let piece = cut(held, &self.policy).next()?;
        self.held = Some(rest(held, piece)?);
        Some(piece)
    }
}

/// What is left of `change` after its first piece.
fn rest(change: Change, piece: Change) -> Option<Change> {
    let range = PageRange::new(piece.range.end(), change.range.end())?;
    Some(Change { kind: change.kind, range })
}

/// What a plan amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PlanSummary {
    /// Runs of changed pages.
    pub write_ranges: u64,
    /// Changed pages.
    pub write_pages: Pages,
    /// Requests that write them.
    pub write_requests: u64,
    /// Runs of cleared pages.
    pub clear_ranges: u64,
    /// Cleared pages.
    pub clear_pages: Pages,
    /// Requests that clear them.
    pub clear_requests: u64,
}

impl PlanSummary {
    /// Counts one canonical change, cut by `policy`.
    pub fn count(&mut self, change: Change, policy: &ChunkPolicy) {
        let cell = cell(change.kind, policy);
        let (first, last) = (change.range.start().count() / cell, (change.range.end().count() - 1) / cell);
        let requests = last - first + 1;
        match change.kind {
            Kind::Write => {
                self.write_ranges += 1;
                self.write_pages = self.write_pages + change.range.pages();
                self.write_requests += requests;
            }
            Kind::Clear => {
                self.clear_ranges += 1;
                self.clear_pages = self.clear_pages + change.range.pages();
                self.clear_requests += requests;
            }
        }
    }

    /// Requests of either kind.
    pub fn requests(&self) -> u64 {
        self.write_requests + self.clear_requests
    }
}

/// A name for a difference: the SHA-256 of its canonical changes, so that two listings of the same difference agree
/// however the service cut them and however we cut requests.
#[derive(Clone, Debug, Default)]
pub struct PlanDigest(Sha256);

impl PlanDigest {
    /// Takes the next canonical change.
    pub fn update(&mut self, change: Change) {
        let kind = match change.kind {
            Kind::Write => b'w',
            Kind::Clear => b'c',
        };
        self.0.update([kind]);
        self.0.update(change.range.start().count().to_be_bytes());
        self.0.update(change.range.end().count().to_be_bytes());
    }

    /// The digest in hexadecimal, shortened to 128 bits: metadata has little room.
    pub fn finish(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    #[test]
    fn a_write_is_cut_on_the_grid_and_a_clear_is_not() {
        let policy = ChunkPolicy { write_max: Pages::new(4), clear_max: Pages::new(100) };
        let writes: Vec<_> = cut(Change::write(range(2, 9)), &policy).map(|c| c.range).collect();
        assert_eq!(writes, [range(2, 4), range(4, 8), range(8, 9)]);
        let clears: Vec<_> = cut(Change::clear(range(2, 9)), &policy).map(|c| c.range).collect();
        assert_eq!(clears, [range(2, 9)]);
    }

    #[test]
    fn piece_by_piece_is_cut_as_the_whole_is() {
        let policy = ChunkPolicy { write_max: Pages::new(4), clear_max: Pages::new(8) };
        let whole = [Change::write(range(2, 13)), Change::clear(range(13, 30)), Change::write(range(40, 41))];
        let expected: Vec<_> = whole.iter().flat_map(|change| cut(*change, &policy)).collect();
        for step in 1..12 {
            let mut cutter = Cutter::new(policy);
            let mut pieces = Vec::new();
            for part in whole
                .iter()
                .flat_map(|change| change.range.cut(Pages::new(step)).map(|range| Change { kind: change.kind, range }))
            {
                cutter.push(part);
                pieces.extend(std::iter::from_fn(|| cutter.next()));
            }
            cutter.finish();
            pieces.extend(std::iter::from_fn(|| cutter.next()));
            assert_eq!(pieces, expected, "parts of {step}");
        }
    }

    #[test]
    fn a_request_is_a_power_of_two_that_the_service_takes() {
        for bytes in [512, 4096, WRITE_BYTES_MAX] {
            assert_eq!(ChunkPolicy::with_request_bytes(bytes).map(|policy| policy.write_max.bytes()), Ok(bytes));
        }
        for bytes in [0, 256, 513, 3 << 20, WRITE_BYTES_MAX * 2] {
            assert!(ChunkPolicy::with_request_bytes(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_summary_counts_the_requests_that_are_sent() {
        let policy = ChunkPolicy { write_max: Pages::new(4), clear_max: Pages::new(8) };
        let writes = [range(2, 13), range(40, 41), range(48, 52)].map(Change::write);
        let clears = [range(13, 30), range(56, 64)].map(Change::clear);
        let mut summary = PlanSummary::default();
        writes.iter().chain(&clears).for_each(|change| summary.count(*change, &policy));
        let sent = |changes: &[Change]| changes.iter().flat_map(|change| cut(*change, &policy)).count() as u64;
        let expected = PlanSummary {
            write_ranges: 3,
            write_pages: Pages::new(16),
            write_requests: sent(&writes),
            clear_ranges: 2,
            clear_pages: Pages::new(25),
            clear_requests: sent(&clears),
        };
        assert_eq!(summary, expected);
        assert_eq!((sent(&writes), sent(&clears), summary.requests()), (6, 4, 10));
    }

    #[test]
    fn a_digest_tells_kinds_and_places_apart() {
        let digest = |changes: &[Change]| {
            let mut digest = PlanDigest::default();
            changes.iter().for_each(|change| digest.update(*change));
            digest.finish()
        };
        let all = [
            digest(&[]),
            digest(&[Change::write(range(0, 1))]),
            digest(&[Change::clear(range(0, 1))]),
            digest(&[Change::write(range(0, 2))]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(all.iter().skip(i + 1).all(|other| other != one));
        }
    }
}
