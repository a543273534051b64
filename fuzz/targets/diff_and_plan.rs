//! Differences and their requests against a picture of the disk, page by page.
//!
//! An input is reported changes of three bytes each: the kind and where to cut, the first page, how many pages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pageferry_core::plan::{ChunkPolicy, Cutter, PlanDigest, PlanSummary, cut};
use pageferry_core::{Canon, Change, Diff, InOrder, Kind, PageRange, Pages};

const DISK: usize = 96;

/// What is said of each page; `Err` where two things are.
type Picture = Result<[Option<Kind>; DISK], ()>;

fuzz_target!(|input: &[u8]| {
    let policy = ChunkPolicy {
        write_max: Pages::new(input.first().map_or(1, |byte| u64::from(byte % 9) + 1)),
        clear_max: Pages::new(input.get(1).map_or(1, |byte| u64::from(byte % 40) + 1)),
    };
    let reported: Vec<Change> = input.chunks_exact(3).filter_map(change).collect();
    let picture = drawn(&reported);
    let diff = Diff::new(reported.iter().copied());
    assert_eq!(diff.is_ok(), picture.is_ok(), "{reported:?}");
    if let (Ok(diff), Ok(picture)) = (&diff, picture) {
        assert_eq!(diff.changes(), shortest(&picture), "the canonical form of {reported:?}");
        requests(diff.changes(), &policy, &picture);
        digest(diff.changes(), &reported);
    }
    streamed(&reported, &diff);
});

fn change(bytes: &[u8]) -> Option<Change> {
    let [kind, start, length] = bytes else { return None };
    let start = usize::from(*start) % DISK;
    let end = (start + usize::from(*length) % 24 + 1).min(DISK);
    let kind = if kind % 2 == 0 { Kind::Write } else { Kind::Clear };
    range(start, end).map(|range| Change { kind, range })
}

fn range(start: usize, end: usize) -> Option<PageRange> {
    PageRange::new(Pages::new(start as u64), Pages::new(end as u64))
}

fn pages(change: &Change) -> std::ops::Range<usize> {
    change.range.start().count() as usize..change.range.end().count() as usize
}

fn drawn(changes: &[Change]) -> Picture {
    let mut picture = [None; DISK];
    for change in changes {
        for page in pages(change) {
            if picture[page].is_some_and(|kind| kind != change.kind) {
                return Err(());
            }
            picture[page] = Some(change.kind);
        }
    }
    Ok(picture)
}

/// The runs of a picture.
fn shortest(picture: &[Option<Kind>; DISK]) -> Vec<Change> {
    let mut runs = Vec::new();
    let mut start = 0;
    for page in 1..=DISK {
        if page == DISK || picture[page] != picture[start] {
            let run = picture[start].zip(range(start, page));
            runs.extend(run.map(|(kind, range)| Change { kind, range }));
            start = page;
        }
    }
    runs
}

/// Cut whole or piece by piece, the requests are the same, are short enough, draw the picture, and are as many as the
/// summary counts.
fn requests(changes: &[Change], policy: &ChunkPolicy, picture: &[Option<Kind>; DISK]) {
    let whole: Vec<Change> = changes.iter().flat_map(|change| cut(*change, policy)).collect();
    assert_eq!(drawn(&whole), Ok(*picture));
    let mut summary = PlanSummary::default();
    changes.iter().for_each(|change| summary.count(*change, policy));
    assert_eq!(summary.requests(), whole.len() as u64);
    let written = picture.iter().filter(|said| **said == Some(Kind::Write)).count();
    assert_eq!(summary.write_pages, Pages::new(written as u64));
    for request in &whole {
        let most = if request.kind == Kind::Write { policy.write_max } else { policy.clear_max };
        let cell = |page: Pages| page.count() / most.count();
        assert_eq!(cell(request.range.start()), cell(request.range.end() - Pages::new(1)), "across the grid");
    }
    for step in [1, 3, 7] {
        let (mut cutter, mut pieces) = (Cutter::new(*policy), Vec::new());
        for change in changes {
            for range in change.range.cut(Pages::new(step)) {
                cutter.push(Change { kind: change.kind, range });
                pieces.extend(std::iter::from_fn(|| cutter.next()));
            }
        }
        cutter.finish();
        pieces.extend(std::iter::from_fn(|| cutter.next()));
        assert_eq!(pieces, whole, "in parts of {step}");
    }
}

/// The digest speaks of the difference, not of how it was reported.
fn digest(changes: &[Change], reported: &[Change]) {
    let of = |changes: &[Change]| {
        let mut digest = PlanDigest::default();
        changes.iter().for_each(|change| digest.update(*change));
        digest.finish()
    };
    let mut again: Vec<Change> = reported.to_vec();
    again.reverse();
    let again = Diff::new(again.into_iter().chain(changes.iter().copied())).map(|diff| of(diff.changes()));
    assert_eq!(again, Ok(of(changes)));
}

/// Read as they arrive, a list is refused by both readers for the same reason at the same place or by neither, and
/// what passes is the difference.
fn streamed(reported: &[Change], diff: &Result<Diff, pageferry_core::DiffError>) {
    let (mut canon, mut order) = (Canon::default(), InOrder::default());
    let (mut joined, mut news) = (Vec::new(), Vec::new());
    for change in reported {
        let (whole, part) = (canon.push(*change), order.push(*change));
        assert_eq!(whole.err(), part.err(), "{change:?} of {reported:?}");
        let (Ok(whole), Ok(part)) = (whole, part) else { return };
        joined.extend(whole);
        news.extend(part);
    }
    joined.extend(canon.finish());
    let diff = diff.as_ref().expect("what is refused whole is refused in order");
    assert_eq!(joined, diff.changes());
    assert!(news.windows(2).all(|pair| pair[0].range.end() <= pair[1].range.start()), "{news:?}");
    assert_eq!(Diff::new(news).as_ref(), Ok(diff));
}
