//! The page table against the dumbest thing that could work: one record for every page.

use bytes::Bytes;
use pageferry_emulator::diff::{Query, Range, ranges};
use pageferry_emulator::pages::{PAGE, PageTable};
use proptest::prelude::*;

const PAGES: usize = 48;

/// [`PAGE`] as a length in memory.
const PAGE_LEN: usize = 512;

/// What is remembered of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Page {
    allocated: bool,
    stamp: u64,
    fill: u8,
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize, u8),
    Clear(usize, usize),
    ClearAllocated(usize, usize),
    Forget(usize, usize),
    CopyWithin(usize, usize, usize),
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let span = || (0..PAGES, 1..=PAGES / 2).prop_map(|(at, n)| (at, (at + n).min(PAGES)));
    let step = prop_oneof![
        4 => (span(), 1..=255u8).prop_map(|((a, b), fill)| Step::Write(a, b, fill)),
        3 => span().prop_map(|(a, b)| Step::Clear(a, b)),
        1 => span().prop_map(|(a, b)| Step::ClearAllocated(a, b)),
        1 => span().prop_map(|(a, b)| Step::Forget(a, b)),
        1 => (span(), 0..PAGES).prop_map(|((a, b), to)| Step::CopyWithin(a, b, to)),
        2 => Just(Step::Snapshot),
    ];
    proptest::collection::vec(step, 1..60)
}

fn naive(pages: &[Page], start: usize, end: usize, since: Option<u64>) -> Vec<Range> {
    let mut out: Vec<Range> = Vec::new();
    for (index, page) in pages.iter().enumerate().take(end).skip(start) {
        if since.map_or(!page.allocated, |since| page.stamp <= since) {
            continue;
        }
        let at = index as u64 * PAGE;
        match out.last_mut() {
            Some(last) if last.end + 1 == at && last.clear != page.allocated => last.end = at + PAGE - 1,
            _ => out.push(Range { start: at, end: at + PAGE - 1, clear: !page.allocated }),
        }
    }
    out
}

fn bytes(pages: &[Page]) -> Vec<u8> {
    pages.iter().flat_map(|page| [if page.allocated { page.fill } else { 0 }; PAGE_LEN]).collect()
}

fn read(table: &PageTable, mut at: u64, end: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(piece) = table.piece(at, end) {
        assert!(!piece.is_empty());
        at += piece.len() as u64;
        out.extend_from_slice(&piece);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_agree(steps in steps(), from in 0..PAGES, len in 1..=PAGES, skip in 0..512u64) {
        let mut table = PageTable::default();
        let mut pages = [Page::default(); PAGES];
        let mut kept: Vec<(PageTable, [Page; PAGES], u64)> = vec![(table.clone(), pages, 0)];
        let mut stamp = 0;
        for step in steps {
            stamp += 1;
            match step {
                Step::Write(a, b, fill) => {
                    table.write(a as u64, stamp, Bytes::from(vec![fill; (b - a) * PAGE_LEN]));
                    pages[a..b].fill(Page { allocated: true, stamp, fill });
                }
                Step::Clear(a, b) => {
                    table.clear(a as u64, b as u64, stamp);
                    pages[a..b].fill(Page { allocated: false, stamp, fill: 0 });
                }
                Step::ClearAllocated(a, b) => {
                    table.clear_allocated(a as u64, b as u64, stamp);
                    pages[a..b].iter_mut().filter(|p| p.allocated).for_each(|p| {
                        *p = Page { allocated: false, stamp, fill: 0 };
                    });
                }
                Step::Forget(a, b) => {
                    table.forget(a as u64, b as u64);
                    pages[a..b].fill(Page::default());
                }
                Step::CopyWithin(a, b, to) => {
                    let b = b.min(a + PAGES - to);
                    // Pieces that have nothing to do with the runs they came from.
                    let data = Bytes::from(read(&table, a as u64 * PAGE, b as u64 * PAGE));
                    let pieces: Vec<_> = data.chunks(3 * 512).map(|c| data.slice_ref(c)).collect();
                    table.write_pieces(to as u64, stamp, pieces.into_iter());
                    let copied: Vec<_> = pages[a..b].to_vec();
                    for (page, old) in pages[to..].iter_mut().zip(copied) {
                        let fill = if old.allocated { old.fill } else { 0 };
                        *page = Page { allocated: true, stamp, fill };
                    }
                }
                Step::Snapshot => kept.push((table.clone(), pages, stamp)),
            }
        }
        kept.push((table, pages, stamp));
        let to = (from + len).min(PAGES);
        for (index, (table, pages, _)) in kept.iter().enumerate() {
            let size = (PAGES as u64) * PAGE;
            prop_assert_eq!(read(table, 0, size), bytes(pages));
            let (a, b) = (from as u64 * PAGE + skip, (to as u64 * PAGE).max(from as u64 * PAGE + skip));
            let (low, high) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
            prop_assert_eq!(&read(table, a, b), &bytes(pages)[low..high]);
            for since in std::iter::once(None).chain(kept[..=index].iter().map(|(.., stamp)| Some(*stamp))) {
                let query = Query { start: from as u64, end: to as u64, since };
                let found: Vec<_> = ranges(table, query).collect();
                prop_assert_eq!(found, naive(pages, from, to, since));
            }
        }
    }
}
