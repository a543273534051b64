//! What a page list says: the pages that hold data, or what happened to pages since a snapshot.
//!
//! Everything here is decided by operation stamps, never by comparing bytes: that is how the service does it, and it
//! is why a page that was written and cleared again shows up as cleared although it looks untouched.

use crate::pages::{PAGE, PageTable};

/// What is asked of a page table.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The first page of interest.
    pub start: u64,
    /// One past the last page of interest.
    pub end: u64,
    /// Report only operations with a greater stamp than this, clears included; `None` lists the pages that hold data.
    pub since: Option<u64>,
}

/// One reported range of bytes; `end` is inclusive, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
    /// A cleared range rather than a written one.
    pub clear: bool,
}

/// The ranges that answer `query`, in order, neighbours of one kind merged; lazily, so that one page of a long list
/// costs no more than itself.
pub fn ranges(table: &PageTable, query: Query) -> impl Iterator<Item = Range> + '_ {
    let mut found = table
        .scan(query.start, query.end)
        .filter(move |s| query.since.map_or(s.allocated, |since| s.stamp > since))
        .map(|s| Range { start: s.start * PAGE, end: s.end * PAGE - 1, clear: !s.allocated })
        .peekable();
    std::iter::from_fn(move || {
        let mut range = found.next()?;
        while let Some(more) = found.next_if(|next| next.start == range.end + 1 && next.clear == range.clear) {
            range.end = more.end;
        }
        Some(range)
    })
}
