use super::*;
use proptest::prelude::*;

fn stretch(source: Option<Kind>, own: Option<Kind>, allocated: bool) -> Stretch<4> {
    let range = PageRange::new(Pages::new(10), Pages::new(20)).unwrap();
    let listed = allocated.then_some(Kind::Write);
    Stretch { range, says: [source, own, listed, listed] }
}

#[test]
fn the_source_decides_above_the_watermark_and_the_snapshot_where_only_the_target_changed() {
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
    let bounds = |watermark| Bounds { watermark: Pages::new(watermark), compared: true, ..Bounds::default() };
    let at = |watermark, stretch| decide(stretch, &bounds(watermark), false);
    assert_eq!(at(0, stretch(write, clear, true)), Some(Change::write(range(10, 20))));
    assert_eq!(at(15, stretch(clear, None, false)), Some(Change::clear(range(15, 20))));
    assert_eq!(at(20, stretch(write, write, true)), None);
    assert_eq!(at(99, stretch(None, write, true)), Some(Change::write(range(10, 20))));
    assert_eq!(at(99, stretch(None, write, false)), Some(Change::clear(range(10, 20))));
    assert_eq!(at(99, stretch(None, clear, false)), None, "cleared, and nothing on either side");
    assert_eq!(at(99, stretch(None, clear, true)), Some(Change::write(range(10, 20))));
    assert_eq!(at(0, stretch(None, None, true)), None);
    let missed = |allocated, held| Stretch { says: [None, None, allocated, held], ..stretch(None, None, true) };
    assert_eq!(at(99, missed(write, None)), Some(Change::write(range(10, 20))), "lost without a trace");
    assert_eq!(at(99, missed(None, write)), Some(Change::clear(range(10, 20))), "there without a trace");
    let unread = Bounds { compared: false, ..bounds(0) };
    assert_eq!(decide(missed(write, None), &unread, false), None, "a list that is not read says nothing");
}

#[test]
fn a_filled_gap_is_written_unless_an_interrupted_run_has_done_so() {
    let bounds = Bounds { watermark: Pages::new(15), compared: true, ..Bounds::default() };
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let filled = |own, held| {
        let says = [None, own, Some(Kind::Write), held];
        decide(Stretch { range: range(10, 20), says }, &bounds, true)
    };
    let (write, clear) = (Some(Kind::Write), Some(Kind::Clear));
    assert_eq!(filled(write, write), Some(Change::write(range(15, 20))));
    for (own, held) in [(None, write), (clear, write), (clear, None), (write, None), (None, None)] {
        assert_eq!(filled(own, held), Some(Change::write(range(10, 20))), "{own:?} {held:?}");
    }
}

proptest! {
    #[test]
    fn joining_and_filling_change_no_page_that_is_not_said_and_no_clear_touches_what_is_allocated(
        picture in "[#=.o]{0,60}|[.o]{0,60}|(o{1,2}[.=]{1,6}){0,12}",
        gap_max in 1..12u64, from in prop::sample::select(vec![0, 8160, (1 << 21) - 20]), watermark in 0..80u64,
    ) {
        let letters = picture.as_bytes();
        let list = |wanted: &[u8], kind: Kind| -> Vec<Change> {
            let page = |at: usize| PageRange::new(Pages::new(from + at as u64), Pages::new(from + at as u64 + 1)).unwrap();
            let all = (0..letters.len()).filter(|at| wanted.contains(&letters[*at])).map(|at| Change { kind, range: page(at) });
            crate::Diff::new(all).unwrap().changes().to_vec()
        };
        let mut source = [list(b"#", Kind::Write), list(b"o", Kind::Clear)].concat();
        source.sort_by_key(|change| change.range.start());
        let allocated = list(b"#=", Kind::Write);
        let bounds = |gap_max| Bounds { gap_max: Pages::new(gap_max), watermark: Pages::new(watermark), ..Bounds::default() };
        let (plain, _) = drawn([&source, &[], &allocated, &[]], bounds(0));
        let (sent, tally) = drawn([&source, &[], &allocated, &[]], bounds(gap_max));
        let kind_at = |plan: &[Change], at: u64| {
            let at = Pages::new(at);
            plan.iter().find(|change| change.range.start() <= at && at < change.range.end()).map(|change| change.kind)
        };
        for (at, letter) in (from..).zip(letters) {
            match (kind_at(&plain, at), kind_at(&sent, at)) {
                (None, Some(Kind::Write)) => prop_assert_eq!(*letter, b'=', "{} written", at),
                (None, Some(Kind::Clear)) => prop_assert!(
                    *letter == b'.' || *letter == b'o' && at < watermark, "{} cleared: {}", at, *letter as char
                ),
                (one, other) => prop_assert_eq!(one, other, "{}", at),
            }
        }
        let count = |plan: &[Change], kind| plan.iter().filter(|change| change.kind == kind).count() as u64;
        prop_assert_eq!(count(&sent, Kind::Clear), tally.planned.clear_requests);
        prop_assert_eq!(count(&plain, Kind::Clear), tally.unfilled.clear_requests);
        prop_assert!(tally.planned.clear_requests <= tally.unfilled.clear_requests);
        if watermark <= from {
            prop_assert_eq!(tally.planned.clear_requests, clears(letters, from), "no more and no fewer");
        }
    }
}

/// Clears that a picture takes, where each may cross what holds nothing, but not the grid.
fn clears(letters: &[u8], from: u64) -> u64 {
    let mut open = None;
    let mut requests = 0;
    for (at, letter) in (from..).zip(letters) {
        let cell = at >> 21;
        match letter {
            b'o' if open == Some(cell) => {}
            b'o' => {
                open = Some(cell);
                requests += 1;
            }
            b'.' => {}
            _ => open = None,
        }
    }
    requests
}

/// The plan of lists over pages: what is sent, and what it amounts to.
fn drawn(lists: [&[Change]; 4], bounds: Bounds) -> (Vec<Change>, Tally) {
    let mut lists = lists.map(|list| list.iter().copied());
    let (mut draft, mut sent) = (Draft::new(bounds), Vec::new());
    loop {
        while let Some(list) = draft.wants() {
            draft.give(list, lists[list].next()).unwrap();
        }
        match draft.next().unwrap() {
            Drawn::Request(change) => sent.push(change),
            Drawn::Wanting => {}
            Drawn::End => return (sent, draft.tally().clone()),
        }
    }
}

#[test]
fn filling_changes_what_is_sent_and_not_what_the_difference_is_called() {
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let source = [Change::write(range(0, 1)), Change::write(range(3, 4)), Change::write(range(40, 41))];
    let allocated = [Change::write(range(0, 50))];
    let plan = |gap| {
        let bounds = Bounds { gap_max: Pages::new(gap), ..Bounds::default() };
        drawn([&source, &[], &allocated, &[]], bounds)
    };
    let ((plain, without), (filled, with)) = (plan(0), plan(8));
    assert_eq!(plain, source);
    assert_eq!(filled, [Change::write(range(0, 4)), Change::write(range(40, 41))]);
    assert_eq!(with.difference, without.difference);
    assert_eq!(with.digest.clone().finish(), without.digest.clone().finish());
    assert_eq!((without.unfilled, with.unfilled), (without.planned, without.planned));
    assert_eq!((with.planned.write_requests, with.planned.write_pages), (2, Pages::new(5)));
}

#[test]
fn a_run_that_goes_on_fills_the_gaps_that_the_first_one_would_have_filled() {
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let source: Vec<_> = (0..20).map(|run| Change::write(range(run * 4, run * 4 + 1))).collect();
    let allocated = [Change::write(range(0, 100))];
    let bounds = Bounds { gap_max: Pages::new(6), ..Bounds::default() };
    let (first, _) = drawn([&source, &[], &allocated, &[]], bounds);
    let whole = crate::Diff::new(first).unwrap();
    for watermark in 0..90 {
        let watermark = Pages::new(watermark);
        // The first run has done everything below the watermark, and perhaps more.
        for reach in [watermark, watermark + Pages::new(5)] {
            let done = PageRange::new(Pages::ZERO, reach);
            let own: Vec<_> = whole.changes().iter().filter_map(|change| change.clipped(done?)).collect();
            let bounds = Bounds { watermark, compared: true, ..bounds };
            let (second, _) = drawn([&source, &own, &allocated, &allocated], bounds);
            let rest = PageRange::new(watermark, Pages::END).unwrap();
            let left: Vec<_> = whole.changes().iter().filter_map(|change| change.clipped(rest)).collect();
            assert_eq!(crate::Diff::new(second).unwrap().changes(), left, "{watermark:?} {reach:?}");
        }
    }
}

#[test]
fn clears_become_one_over_what_holds_nothing_and_are_counted_so() {
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let source = [
        Change::clear(range(0, 2)),
        Change::clear(range(9, 10)),
        Change::clear(range(20, 21)),
        Change::write(range(30, 31)),
        Change::clear(range(40, 41)),
    ];
    let allocated = [Change::write(range(12, 13)), Change::write(range(30, 31))];
    let plan = |gap| {
        let bounds = Bounds { gap_max: Pages::new(gap), ..Bounds::default() };
        drawn([&source, &[], &allocated, &[]], bounds)
    };
    let ((plain, without), (sent, with)) = (plan(0), plan(8));
    assert_eq!(plain, source);
    assert_eq!(sent, [&[Change::clear(range(0, 10))], &source[2..]].concat());
    assert_eq!((with.difference, with.unfilled), (without.difference, without.planned));
    assert_eq!(with.digest.clone().finish(), without.digest.clone().finish());
    assert_eq!((with.planned.clear_requests, with.joined(), with.filled()), (3, Pages::new(7), Pages::ZERO));
}

#[test]
fn a_run_that_goes_on_clears_no_gap_again() {
    let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
    let source: Vec<_> = (0..20).map(|run| Change::clear(range(run * 4, run * 4 + 1))).collect();
    let bounds = Bounds { gap_max: Pages::new(6), compared: true, ..Bounds::default() };
    for watermark in 0..77 {
        // A tracker may report a clear of what held nothing, or not.
        let done = PageRange::new(Pages::ZERO, Pages::new(watermark)).map(Change::clear);
        for own in [done.as_slice(), &[]] {
            let bounds = Bounds { watermark: Pages::new(watermark), ..bounds };
            let (sent, _) = drawn([&source, own, &[], &[]], bounds);
            let first = source.iter().find_map(|clear| {
                let left = clear.range.start().max(Pages::new(watermark));
                (left < clear.range.end()).then_some(left)
            });
            assert_eq!(sent, [Change::clear(PageRange::new(first.unwrap(), Pages::new(77)).unwrap())], "{watermark}");
        }
    }
}
