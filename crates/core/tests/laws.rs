//! The seven laws of a plan, each under its name.
//!
//! A difference is drawn as a picture, one letter per page: `#` written, `o` cleared, `.` untouched. Every law is tried
//! on all 3^7 pictures of seven pages, where a grid of a few pages has all its edges, and on random longer ones.

use std::collections::{BTreeSet, HashSet};

use pageferry_core::change::InOrder;
use pageferry_core::plan::{ChunkPolicy, Cutter, cut};
use pageferry_core::walk::Walk;
use pageferry_core::watermark::Tracker;
use pageferry_core::window::Windows;
use pageferry_core::{Canon, Change, Diff, DiffError, Kind, PageRange, Pages};
use proptest::prelude::*;

/// What a page holds: nothing (it is unallocated), or content told apart by a number.
type Page = Option<usize>;

#[test]
fn meaning() {
    for_all_pictures(check_meaning);
    random_pictures(|picture, _| check_meaning(picture));
}

/// Applying the plan of the difference from A to B to an image of A gives B, cleared pages included.
fn check_meaning(picture: &str) {
    for policy in policies() {
        let mut image = before(picture);
        for chunk in plan(picture, &policy) {
            apply(chunk, &mut image, picture);
        }
        assert_eq!(image, after(picture), "{picture} {policy:?}");
    }
}

#[test]
fn order() {
    for_all_pictures(|picture| {
        for policy in policies() {
            let chunks = plan(picture, &policy);
            for order in orders(chunks.len()) {
                let repeated = order.iter().chain(order.iter().take(1));
                check_order(picture, repeated.map(|&i| chunks[i]));
            }
        }
    });
    random_pictures(|picture, dice| {
        let chunks = plan(picture, &dice.policy());
        let mut sequence: Vec<Change> =
            chunks.iter().chain(chunks.iter().filter(|_| dice.roll(2) == 0)).copied().collect();
        dice.shuffle(&mut sequence);
        check_order(picture, sequence);
    });
}

/// Any permutation of the chunks, with any repeats, gives the same image.
fn check_order(picture: &str, sequence: impl IntoIterator<Item = Change>) {
    let mut image = before(picture);
    for chunk in sequence {
        apply(chunk, &mut image, picture);
    }
    assert_eq!(image, after(picture), "{picture}");
}

#[test]
fn cover() {
    for_all_pictures(check_cover);
    random_pictures(|picture, _| check_cover(picture));
}

/// The chunks' pages are exactly the difference's pages, each once; joined again they walk beside it in step.
fn check_cover(picture: &str) {
    for policy in policies() {
        let chunks = plan(picture, &policy);
        let mut drawn = vec!['.'; picture.len()];
        for chunk in &chunks {
            for page in pages(chunk.range) {
                assert_eq!(drawn[page], '.', "page {page} is in two chunks of {picture}");
                drawn[page] = letter(chunk.kind);
            }
        }
        assert_eq!(drawn.iter().collect::<String>(), picture, "{policy:?}");

        let mirrored: String = picture.chars().rev().collect();
        let lists = [Diff::new(chunks).unwrap(), Diff::new(by_page(&mirrored)).unwrap()];
        assert_eq!(walked(&lists, picture.len()), [picture, &mirrored]);
    }
}

/// What a walk says of two differences, drawn again.
fn walked(lists: &[Diff; 2], length: usize) -> [String; 2] {
    let mut lists = lists.each_ref().map(|diff| diff.changes().iter());
    let mut drawn = [vec!['.'; length], vec!['.'; length]];
    let mut walk = Walk::<2>::new();
    loop {
        while let Some(list) = walk.wants() {
            let next = lists[list].next().copied();
            walk.give(list, next).unwrap();
        }
        let Some(stretch) = walk.next() else { break };
        for page in pages(stretch.range) {
            for (picture, said) in drawn.iter_mut().zip(stretch.says) {
                picture[page] = said.map_or('.', letter);
            }
        }
    }
    drawn.map(String::from_iter)
}

#[test]
fn fit() {
    for_all_pictures(|picture| {
        policies().iter().for_each(|policy| check_fit(Diff::new(by_page(picture)).unwrap(), policy))
    });
    random_pictures(|picture, dice| {
        let scale = 1 + dice.roll(1 << 20);
        let policy = ChunkPolicy::with_request_bytes(512 << dice.roll(14)).unwrap();
        assert!(policy.write_max <= ChunkPolicy::default().write_max);
        check_fit(Diff::new(scaled(picture, scale)).unwrap(), &policy);
    });
    assert_eq!(ChunkPolicy::default().write_max.bytes(), 4 << 20, "the most that one Put Page carries");
}

/// A chunk is at most as long as its kind allows, and inside one cell of its grid.
fn check_fit(diff: Diff, policy: &ChunkPolicy) {
    for change in diff.changes() {
        for chunk in cut(*change, policy) {
            let max = if chunk.kind == Kind::Write { policy.write_max } else { policy.clear_max };
            assert!(chunk.range.pages() <= max);
            let cell = |page: u64| page / max.count();
            assert_eq!(
                cell(chunk.range.start().count()),
                cell(chunk.range.end().count() - 1),
                "{chunk:?} crosses the grid"
            );
        }
    }
}

#[test]
fn tiling() {
    for_all_pictures(|picture| {
        let diff = Diff::new(by_page(picture)).unwrap();
        for window in 1..=8 {
            let disk = PageRange::whole(Pages::new(picture.len() as u64)).unwrap();
            let windows: Vec<_> = disk.cut(Pages::new(window)).collect();
            policies().iter().for_each(|policy| check_tiling(&diff, &windows, policy));
        }
    });
    random_pictures(|picture, dice| {
        let scale = 1 + dice.roll(1 << 18); // up to 128 MiB per letter, so that real windows cut it
        let mut windows = Windows::new(Pages::new(picture.len() as u64 * scale));
        let (mut answered, mut halved) = (Vec::new(), Vec::new());
        while let Some(window) = halved.pop().or_else(|| windows.next()) {
            match if dice.roll(3) > 0 { None } else { windows.timed_out(window) } {
                Some((first, rest)) => halved.extend([rest, first]),
                None => {
                    answered.push(window);
                    windows.answered(window, 0);
                }
            }
        }
        check_tiling(&Diff::new(scaled(picture, scale)).unwrap(), &answered, &ChunkPolicy::default());
    });
}

/// Planning window by window, each listed by itself, equals planning the whole; so does cutting while the list arrives.
fn check_tiling(diff: &Diff, windows: &[PageRange], policy: &ChunkPolicy) {
    let (mut canon, mut changes) = (Canon::default(), Vec::new());
    let (mut in_order, mut cutter, mut streamed) = (InOrder::default(), Cutter::new(*policy), Vec::new());
    for window in windows {
        for reported in diff.changes().iter().filter_map(|change| change.clipped(*window)) {
            assert!(window.start() <= reported.range.start() && reported.range.end() <= window.end());
            changes.extend(canon.push(reported).unwrap());
            in_order.push(reported).unwrap().into_iter().for_each(|news| cutter.push(news));
            streamed.extend(std::iter::from_fn(|| cutter.next()));
        }
    }
    changes.extend(canon.finish());
    assert_eq!(changes, diff.changes());
    cutter.finish();
    streamed.extend(std::iter::from_fn(|| cutter.next()));
    let whole: Vec<Change> = diff.changes().iter().flat_map(|change| cut(*change, policy)).collect();
    assert_eq!(streamed, whole);
}

#[test]
fn resume() {
    for_all_pictures(|picture| {
        for (first, second) in policies().into_iter().zip(policies().into_iter().rev()) {
            let mut seen = HashSet::new();
            let run = Run { picture, chunks: &plan(picture, &first), resumed: &second };
            run.explore(0, BTreeSet::new(), Tracker::new(Pages::ZERO), &mut seen);
        }
    });
    random_pictures(check_many_crashes);
}

/// Every interleaving of sends and completions with up to three requests in flight.
struct Run<'a> {
    picture: &'a str,
    chunks: &'a [Change],
    resumed: &'a ChunkPolicy,
}

impl Run<'_> {
    fn explore(
        &self,
        sent: usize,
        out: BTreeSet<usize>,
        tracker: Tracker,
        seen: &mut HashSet<(usize, BTreeSet<usize>, Pages)>,
    ) {
        if !seen.insert((sent, out.clone(), tracker.watermark())) {
            return;
        }
        self.check(sent, &out, &tracker);
        if let Some(chunk) = self.chunks.get(sent)
            && out.len() < 3
        {
            let (mut out, mut tracker) = (out.clone(), tracker.clone());
            out.insert(sent);
            tracker.sent(chunk.range);
            self.explore(sent + 1, out, tracker, seen);
        }
        for &done in &out {
            let (mut out, mut tracker) = (out.clone(), tracker.clone());
            out.remove(&done);
            tracker.finished(self.chunks[done].range);
            self.explore(sent, out, tracker, seen);
        }
    }

    /// A crash here, with any of the requests in flight carried out or not, is made good from the watermark on.
    fn check(&self, sent: usize, out: &BTreeSet<usize>, tracker: &Tracker) {
        assert_eq!(tracker.in_flight(), out.len());
        let lowest = out.first().map(|&i| self.chunks[i].range.start());
        let reach = sent.checked_sub(1).map_or(Pages::ZERO, |last| self.chunks[last].range.end());
        assert_eq!(tracker.reach(), reach);
        assert_eq!(
            tracker.watermark(),
            lowest.unwrap_or(reach),
            "no later than is safe, and no earlier than it must be"
        );
        for carried_out in 0..1 << out.len() {
            let mut image = before(self.picture);
            let lost = |i: &usize| out.iter().position(|o| o == i).is_some_and(|bit| carried_out & (1 << bit) == 0);
            for i in (0..sent).filter(|i| !lost(i)) {
                apply(self.chunks[i], &mut image, self.picture);
            }
            for chunk in rest(self.picture, tracker.watermark(), self.resumed) {
                assert!(chunk.range.start() >= tracker.watermark());
                apply(chunk, &mut image, self.picture);
            }
            assert_eq!(image, after(self.picture), "{} sent {sent} out {out:?}", self.picture);
        }
    }
}

/// Run after run crashes, each cutting its chunks differently and starting at the watermark of the one before.
fn check_many_crashes(picture: &str, dice: &mut Dice) {
    let (mut image, mut watermark) = (before(picture), Pages::ZERO);
    for crash in (0..5).rev() {
        let mut tracker = Tracker::new(watermark);
        let mut out = Vec::new();
        let mut chunks = rest(picture, watermark, &dice.policy()).into_iter().peekable();
        while (chunks.peek().is_some() || !out.is_empty()) && (crash == 0 || dice.roll(12) > 0) {
            if out.len() < 4 && dice.roll(2) == 0 {
                chunks.next().into_iter().for_each(|chunk| {
                    tracker.sent(chunk.range);
                    out.push(chunk);
                });
            } else if !out.is_empty() {
                let chunk: Change = out.swap_remove(dice.index(out.len()));
                apply(chunk, &mut image, picture);
                tracker.finished(chunk.range);
            }
            assert!(tracker.watermark() >= watermark, "a watermark does not go back");
        }
        out.into_iter().filter(|_| dice.roll(2) == 0).for_each(|chunk| apply(chunk, &mut image, picture));
        watermark = tracker.watermark();
    }
    assert_eq!(image, after(picture), "{picture}");
}

#[test]
fn canon() {
    for_all_pictures(|picture| {
        let diff = check_canon(picture);
        for cuts in 0..1u32 << 6 {
            let mut reported: Vec<Change> = Vec::new();
            for change in by_page(picture) {
                let page = change.range.start().count();
                let joins = page > 0 && cuts & (1 << (page - 1)) == 0;
                match reported.last_mut() {
                    Some(last) if joins && last.kind == change.kind && last.range.end() == change.range.start() => {
                        last.range = PageRange::new(last.range.start(), change.range.end()).unwrap();
                    }
                    _ => reported.push(change),
                }
            }
            let half = reported.len() / 2;
            reported.rotate_left(half);
            assert_eq!(Diff::new(reported), Ok(diff.clone()), "{picture} cut by {cuts:b}");
        }
    });
    random_pictures(|picture, dice| {
        let diff = check_canon(picture);
        let (mut reported, mut repeated) = (Vec::new(), diff.changes().to_vec());
        for Change { kind, range } in diff.changes().iter().copied() {
            let (a, b) = (dice.roll(range.pages().count()), dice.roll(range.pages().count()));
            let (from, to) = (range.start() + Pages::new(a.min(b)), range.start() + Pages::new(a.max(b) + 1));
            let halves = [PageRange::new(range.start(), to), PageRange::new(from, range.end())];
            reported.extend(halves.into_iter().flatten().map(|range| Change { kind, range }));
            repeated.extend(PageRange::new(from, to).map(|range| Change { kind, range }));
        }
        let mut in_order = InOrder::default();
        let news: Vec<Change> = reported.iter().filter_map(|change| in_order.push(*change).unwrap()).collect();
        assert!(news.windows(2).all(|pair| pair[0].range.end() <= pair[1].range.start()), "{news:?} overlap");
        assert_eq!(Diff::new(news), Ok(diff.clone()));
        for mut reported in [reported, repeated] {
            dice.shuffle(&mut reported);
            assert_eq!(Diff::new(reported), Ok(diff.clone()));
        }
    });
}

/// A difference is sorted, disjoint and as short as can be, is its own difference, and has no page with two fates.
fn check_canon(picture: &str) -> Diff {
    let diff = Diff::new(by_page(picture)).unwrap();
    for pair in diff.changes().windows(2) {
        assert!(pair[0].range.end() <= pair[1].range.start());
        assert!(pair[0].range.end() < pair[1].range.start() || pair[0].kind != pair[1].kind, "{pair:?} are one");
    }
    assert_eq!(Diff::new(diff.changes().iter().copied()), Ok(diff.clone()));
    for change in by_page(picture) {
        let kind = if change.kind == Kind::Write { Kind::Clear } else { Kind::Write };
        let contradicted = Diff::new(diff.changes().iter().copied().chain([Change { kind, ..change }]));
        assert_eq!(contradicted, Err(DiffError::Contradiction(change.range)), "{picture}");
    }
    diff
}

// Pictures and what they mean, page by page and without any of the code under test.

fn page(at: usize) -> PageRange {
    PageRange::new(Pages::new(at as u64), Pages::new(at as u64 + 1)).unwrap()
}

fn pages(range: PageRange) -> impl Iterator<Item = usize> {
    (range.start().count()..range.end().count()).map(|page| usize::try_from(page).unwrap())
}

fn letter(kind: Kind) -> char {
    if kind == Kind::Write { '#' } else { 'o' }
}

fn by_page(picture: &str) -> impl Iterator<Item = Change> {
    picture.chars().enumerate().filter_map(|(at, letter)| match letter {
        '#' => Some(Change::write(page(at))),
        'o' => Some(Change::clear(page(at))),
        _ => None,
    })
}

/// The picture with every letter `scale` pages wide.
fn scaled(picture: &str, scale: u64) -> impl Iterator<Item = Change> {
    by_page(picture).map(move |change| {
        let start = change.range.start().count() * scale;
        Change { range: PageRange::new(Pages::new(start), Pages::new(start + scale)).unwrap(), ..change }
    })
}

/// An image of A: some pages hold data, and some never did.
fn before(picture: &str) -> Vec<Page> {
    (0..picture.len()).map(|at| (at % 3 != 1).then_some(at)).collect()
}

/// The image of B.
fn after(picture: &str) -> Vec<Page> {
    let touched = |(at, (letter, old))| match letter {
        '#' => Some(1000 + at),
        'o' => None,
        _ => old,
    };
    picture.chars().zip(before(picture)).enumerate().map(touched).collect()
}

/// Carries out one chunk with data read from B. A write allocates, even where B has nothing.
fn apply(chunk: Change, image: &mut [Page], picture: &str) {
    let source = after(picture);
    for at in pages(chunk.range) {
        image[at] = match chunk.kind {
            Kind::Write => Some(source[at].unwrap_or(usize::MAX)),
            Kind::Clear => None,
        };
    }
}

fn plan(picture: &str, policy: &ChunkPolicy) -> Vec<Change> {
    rest(picture, Pages::ZERO, policy)
}

/// The plan of what is at or above `watermark`.
fn rest(picture: &str, watermark: Pages, policy: &ChunkPolicy) -> Vec<Change> {
    let Some(window) = PageRange::new(watermark, Pages::END) else { return Vec::new() };
    let diff = Diff::new(by_page(picture)).unwrap();
    diff.changes().iter().filter_map(|change| change.clipped(window)).flat_map(|change| cut(change, policy)).collect()
}

fn policies() -> [ChunkPolicy; 4] {
    [(4, 100), (2, 3), (1, 4), (8, 2)]
        .map(|(write, clear)| ChunkPolicy { write_max: Pages::new(write), clear_max: Pages::new(clear) })
}

fn for_all_pictures(check: impl Fn(&str)) {
    for number in 0..3usize.pow(7) {
        let picture: String = (0..7).map(|place| ['.', '#', 'o'][number / 3usize.pow(place) % 3]).collect();
        check(&picture);
    }
}

fn random_pictures(check: impl Fn(&str, &mut Dice)) {
    let inputs = ("([.]{0,9}[#]{0,9}[o]{0,9}){0,6}", prop::collection::vec(any::<u64>(), 64));
    proptest!(ProptestConfig::with_cases(256), |((picture, seeds) in inputs)| {
        check(&picture, &mut Dice { seeds, thrown: 0 });
    });
}

/// Decisions drawn from the seeds that proptest knows how to shrink.
struct Dice {
    seeds: Vec<u64>,
    thrown: usize,
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let round = (self.thrown / self.seeds.len()) as u64;
        let seed = self.seeds[self.thrown % self.seeds.len()].rotate_left(7).wrapping_mul(2 * round + 1);
        self.thrown += 1;
        (seed ^ (seed >> 32)) % sides
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).unwrap()
    }

    fn shuffle(&mut self, changes: &mut [Change]) {
        for i in (1..changes.len()).rev() {
            changes.swap(i, self.index(i + 1));
        }
    }

    fn policy(&mut self) -> ChunkPolicy {
        policies()[self.index(4)]
    }
}

/// All orders of up to four things; of more, all rotations forwards and backwards.
fn orders(length: usize) -> Vec<Vec<usize>> {
    if length <= 4 {
        return (0..length).fold(vec![vec![]], |orders, next| {
            let insert = |order: &Vec<usize>, at| [&order[..at], &[next], &order[at..]].concat();
            orders.iter().flat_map(|order| (0..=order.len()).map(move |at| insert(order, at))).collect()
        });
    }
    let rotation = |by| (0..length).map(|i| (i + by) % length).collect::<Vec<_>>();
    (0..length).map(rotation).flat_map(|order| [order.clone(), order.into_iter().rev().collect()]).collect()
}
