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

/// As [`ranges`], as a service would tell it that keeps its records in units of `unit` pages, for a blob of `pages`
/// pages: a unit of which any page is to be reported is reported whole, as cleared only if none of it holds data.
pub fn coarse(table: &PageTable, query: Query, unit: u64, pages: u64) -> impl Iterator<Item = Range> + '_ {
    let unit = unit.max(1);
    let holds = move |index: u64| table.scan(index * unit, (index + 1) * unit).any(|s| s.allocated);
    let whole = (query.start / unit * unit, query.end.next_multiple_of(unit));
    let mut next = 0;
    let mut spans = table
        .scan(whole.0, if query.start < query.end { whole.1 } else { whole.0 })
        .filter(move |s| query.since.map_or(s.allocated, |since| s.stamp > since))
        .flat_map(move |s| {
            // The units at its edges may hold other things besides; those between are wholly of one kind.
            let (first, last) = (s.start / unit, (s.end - 1) / unit);
            let middle = (first + 1, last, !s.allocated);
            [(first, first + 1, !holds(first)), middle, (last, last + 1, !holds(last))]
        })
        .filter_map(move |(first, end, clear)| {
            let first = first.max(next);
            next = end.max(next);
            (first < end).then_some((first, end, clear))
        })
        .peekable();
    std::iter::from_fn(move || {
        let (first, mut end, clear) = spans.next()?;
        while let Some((_, more, _)) = spans.next_if(|(next, _, kind)| *next == end && *kind == clear) {
            end = more;
        }
        let start = (first * unit).max(query.start);
        let end = (end * unit).min(pages).min(query.end);
        Some(Range { start: start * PAGE, end: (end * PAGE).saturating_sub(1), clear })
    })
    .filter(|range| range.start < range.end)
}
