//! What is decided, in a few letters each.

use super::*;
use crate::lineage::Mark;

fn at(name: &str) -> SnapshotRef {
    SnapshotRef { id: SnapshotId::new(name), etag: Etag::new(&format!("tag{name}")) }
}

fn disk() -> DiskId {
    DiskId::new("https://a/c/d", "then")
}

fn source(names: &[&str]) -> SourceView {
    let offers = names.iter().map(|name| Offer { at: at(name), size: Pages::new(8), family: None }).collect();
    SourceView { disk: disk(), offers }
}

fn seal(name: &str, run: &str) -> Seal {
    Seal {
        disk: disk(),
        snapshot: at(name),
        parent: None,
        plan: "p".into(),
        written_bytes: 0,
        cleared_bytes: 0,
        run: run.into(),
        lease: "l".into(),
        epoch: 1,
        sealed_at: "t".into(),
    }
}

fn point(name: &str, run: &str) -> Point {
    Point { id: SnapshotId::new(format!("t{name}")), etag: Etag::new("e"), size: Pages::new(8), seal: seal(name, run) }
}

fn sealed(name: &str) -> TargetView {
    TargetView { state: Some(State::Sealed(seal(name, name))), points: vec![point(name, name)] }
}

fn applying(from: Option<&str>, to: &str) -> TargetView {
    let mark = Mark {
        disk: disk(),
        from: from.map(at),
        to: at(to),
        run: "r".into(),
        lease: "l".into(),
        host: "h".into(),
        epoch: 2,
        known: true,
        watermark: Pages::new(4),
        gap: Pages::ZERO,
        grants: Vec::new(),
    };
    let points = from.map(|from| point(from, from)).into_iter().collect();
    TargetView { state: Some(State::Applying(mark)), points }
}

/// The decision in a few letters: `=` up to date, `!` only the snapshot is missing, else from, to and start.
fn check(target: Option<&TargetView>, offered: &[&str], want: &Want, evidence: bool) -> String {
    match next_step(target, &source(offered), want, evidence) {
        Ok(Decision::UpToDate(point)) => format!("= {}", point.seal.snapshot.id),
        Ok(Decision::Finish(seal)) => format!("! {}", seal.snapshot.id),
        Ok(Decision::Step(step)) => {
            let from = step.from.map_or_else(|| "-".to_owned(), |point| point.seal.snapshot.id.to_string());
            let start = match step.start {
                Start::Clean => "clean",
                Start::Resume(_) => "resume",
                Start::Dirty => "dirty",
                Start::Doubted => "doubted",
                Start::Reseed => "reseed",
                Start::Adopt => "adopt",
            };
            format!("{from}>{} {start}", step.to.at.id)
        }
        Err(conflict) => format!("{conflict:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn a_new_target_is_seeded_from_the_oldest_or_as_told() {
    let to = |name: &str| Want::To(SnapshotId::new(name));
    assert_eq!(check(None, &["1", "2"], &Want::Next, false), "->1 clean");
    assert_eq!(check(None, &["1", "2"], &Want::Latest, false), "->2 clean");
    assert_eq!(check(None, &["1", "2"], &to("2"), false), "->2 clean");
    assert_eq!(check(None, &["1", "2"], &to("3"), false), "NoSuchSnapshot");
    assert_eq!(check(None, &[], &Want::Next, false), "NoSnapshots");
}

#[test]
fn a_sealed_target_goes_on_from_its_newest_point() {
    let to = |name: &str| Want::To(SnapshotId::new(name));
    let target = sealed("2");
    assert_eq!(check(Some(&target), &["1", "2", "3", "4"], &Want::Next, false), "2>3 clean");
    assert_eq!(check(Some(&target), &["1", "2", "3", "4"], &Want::Latest, false), "2>4 clean");
    assert_eq!(check(Some(&target), &["1", "2"], &Want::Next, false), "= 2");
    assert_eq!(check(Some(&target), &["1"], &Want::Next, false), "= 2", "nothing newer: its parent may be gone");
    assert_eq!(check(Some(&target), &["1", "2", "3"], &to("1"), false), "OutOfOrder");
    assert_eq!(check(Some(&target), &["1", "2", "3"], &to("2"), false), "= 2");
    assert_eq!(check(Some(&target), &["1", "2", "3", "4"], &to("4"), false), "2>4 clean");
    assert_eq!(check(Some(&target), &["1", "3"], &Want::Next, false), "ParentGone");
}

#[test]
fn a_sealed_target_without_its_point_is_finished_only_with_evidence() {
    let target = TargetView { points: vec![point("1", "1")], ..sealed("2") };
    assert_eq!(check(Some(&target), &["1", "2", "3"], &Want::Next, true), "! 2");
    assert_eq!(check(Some(&target), &["1", "2", "3"], &Want::Next, false), "1>2 dirty");
    assert_eq!(check(Some(&target), &["1"], &Want::Next, false), "1>1 dirty", "its last words are no point");
}

#[test]
fn an_interrupted_step_is_resumed_only_where_it_is_the_one_wanted() {
    assert_eq!(check(Some(&applying(Some("1"), "2")), &["1", "2", "3"], &Want::Next, true), "1>2 resume");
    assert_eq!(check(Some(&applying(Some("1"), "2")), &["1", "2", "3"], &Want::Latest, true), "1>3 dirty");
    assert_eq!(check(Some(&applying(Some("1"), "2")), &["1", "3"], &Want::Next, true), "1>3 dirty", "2 is gone");
    assert_eq!(check(Some(&applying(Some("1"), "2")), &["1"], &Want::Next, true), "1>1 dirty", "back to its point");
    assert_eq!(check(Some(&applying(None, "1")), &["1", "2"], &Want::Next, true), "->1 resume");
    assert_eq!(check(Some(&applying(None, "1")), &["2"], &Want::Next, true), "->2 dirty");
    let mut other = applying(Some("1"), "2");
    other.points = vec![point("0", "0"), point("1", "1"), point("1", "again")];
    assert_eq!(check(Some(&other), &["1", "2"], &Want::Next, true), "1>2 resume");
}

#[test]
fn what_a_doubting_step_left_is_compared() {
    let mut target = applying(Some("1"), "2");
    if let Some(State::Applying(mark)) = &mut target.state {
        mark.known = false;
    }
    assert_eq!(check(Some(&target), &["1", "2", "3"], &Want::Next, true), "1>2 doubted", "whatever the evidence");
    assert_eq!(check(Some(&target), &["1", "2", "3"], &Want::Latest, true), "1>3 doubted");
    target.state = Some(State::Applying(Mark::after_damage(&seal("1", "1"))));
    assert_eq!(check(Some(&target), &["1"], &Want::Next, true), "1>1 doubted");
    let repair = repair_step(&point("1", "1"), &source(&["1"])).unwrap();
    assert_eq!(repair.start, Start::Doubted);
}

#[test]
fn a_broken_chain_begins_anew_with_the_next_newer_snapshot() {
    let step = |target: &TargetView, offered: &[&str]| reseed_step(target, &source(offered), &Want::Next);
    let next = step(&sealed("2"), &["1", "3", "4"]).unwrap();
    assert_eq!((next.to.at.id.as_str(), next.start), ("3", Start::Reseed));
    assert_eq!(step(&sealed("2"), &["1", "2"]), Err(Conflict::NoSnapshots));
    assert_eq!(step(&TargetView { state: None, points: Vec::new() }, &["1"]), Err(Conflict::NotOurs));
    let mut other = source(&["3"]);
    other.disk = DiskId::new("https://a/c/other", "then");
    assert!(matches!(reseed_step(&sealed("2"), &other, &Want::Next), Err(Conflict::OtherDisk { .. })));
    other.disk = DiskId::new("https://a/c/d", "later");
    assert!(reseed_step(&sealed("2"), &other, &Want::Next).is_ok());
}

#[test]
fn what_seeding_anew_resolves_is_told_from_what_it_must_not_touch() {
    let (a, b, id) = (disk(), disk(), SnapshotId::new("1"));
    let (from_bytes, to_bytes) = (2, 1);
    for conflict in [
        Conflict::Recreated { have: a.clone(), got: b.clone() },
        Conflict::ParentGone(id.clone()),
        Conflict::ParentReplaced(id.clone()),
        Conflict::Shrunk { from_bytes, to_bytes },
        Conflict::AcrossBoundary { from_bytes, to_bytes },
        Conflict::OtherFamily { from: id.clone(), to: id.clone() },
        Conflict::NoDifferences(a.clone()),
    ] {
        assert!(conflict.is_broken_chain(), "{conflict}");
    }
    for conflict in [
        Conflict::NotOurs,
        Conflict::OtherDisk { have: a, got: b },
        Conflict::OutOfOrder { asked: id.clone(), newest: id.clone() },
        Conflict::NoSuchSnapshot(id),
        Conflict::NoSnapshots,
        Conflict::TooLarge(1),
    ] {
        assert!(!conflict.is_broken_chain(), "{conflict}");
    }
}

#[test]
fn a_disk_that_has_nothing_but_a_time_is_another_one_at_another_time() {
    let by_url = |created: &str| DiskId::new("managed-disk-by-url", created);
    let (mut target, mut offered) = (sealed("1"), source(&["1", "2"]));
    target.state = Some(State::Sealed(Seal { disk: by_url("then"), ..seal("1", "1") }));
    offered.disk = by_url("now");
    assert!(matches!(next_step(Some(&target), &offered, &Want::Next, false), Err(Conflict::OtherDisk { .. })));
    assert!(matches!(reseed_step(&target, &offered, &Want::Next), Err(Conflict::OtherDisk { .. })));
}

#[test]
fn between_families_there_is_no_difference() {
    let mut offered = source(&["1", "2"]);
    offered.offers.iter_mut().for_each(|offer| offer.family = Some("a".into()));
    assert!(next_step(Some(&sealed("1")), &offered, &Want::Next, false).is_ok());
    offered.offers[1].family = Some("b".into());
    let refused = next_step(Some(&sealed("1")), &offered, &Want::Next, false).unwrap_err();
    assert_eq!(refused, Conflict::OtherFamily { from: SnapshotId::new("1"), to: SnapshotId::new("2") });
    assert!(next_step(None, &offered, &Want::To(SnapshotId::new("2")), false).is_ok(), "a seed needs no difference");
}

#[test]
fn rule_40_a_blob_from_before_2016_has_no_differences() {
    let made = |created: &str| DiskId::new("https://a/c/d@e", created);
    for (created, has) in [
        ("Thu, 31 Dec 2015 23:59:59 GMT", false),
        ("Fri, 01 Jan 2016 00:00:00 GMT", true),
        ("Fri, 15 Jan 2027 08:00:00 GMT", true),
        ("5a0a6b0e-0000-4000-8000-000000002015", true),
        ("", true),
    ] {
        assert_eq!(made(created).has_differences(), has, "{created}");
    }
    let old = made("Thu, 31 Dec 2015 23:59:59 GMT");
    let (mut target, mut offered) = (sealed("1"), source(&["1", "2"]));
    target.state = Some(State::Sealed(Seal { disk: old.clone(), ..seal("1", "1") }));
    offered.disk = old.clone();
    assert_eq!(next_step(Some(&target), &offered, &Want::Next, false), Err(Conflict::NoDifferences(old)));
    assert!(reseed_step(&target, &offered, &Want::Next).is_ok());
    assert!(next_step(None, &offered, &Want::Next, false).is_ok(), "a seed needs no difference");
}

#[test]
fn only_what_the_service_is_documented_to_do_needs_no_person() {
    let id = SnapshotId::new("1");
    let (from_bytes, to_bytes) = (1, 2);
    assert!(Conflict::AcrossBoundary { from_bytes, to_bytes }.is_expected());
    assert!(Conflict::OtherFamily { from: id.clone(), to: id.clone() }.is_expected());
    assert!(Conflict::NoDifferences(disk()).is_expected());
    assert!(!Conflict::ParentGone(id.clone()).is_expected());
    assert!(!Conflict::ParentReplaced(id).is_expected());
    assert!(!Conflict::Shrunk { from_bytes, to_bytes }.is_expected());
}

#[test]
fn a_disk_of_exactly_the_largest_size_is_backed_up() {
    let largest = Pages::from_bytes(BLOB_BYTES_MAX).unwrap();
    let one_more = Pages::new(largest.count() + 1);
    for (size, fits) in [(largest, true), (one_more, false)] {
        let mut offered = source(&["3"]);
        offered.offers[0].size = size;
        assert_eq!(next_step(None, &offered, &Want::Next, false).is_ok(), fits, "a seed of {size:?}");
        assert_eq!(reseed_step(&sealed("2"), &offered, &Want::Next).is_ok(), fits, "seeded anew with {size:?}");
    }
}

#[test]
fn a_blob_without_our_words_is_never_written() {
    let target = TargetView { state: None, points: Vec::new() };
    assert_eq!(check(Some(&target), &["1"], &Want::Next, true), "NotOurs");
}

#[test]
fn sizes_that_a_difference_cannot_express_are_refused() {
    let bytes = |bytes: u64| Pages::from_bytes(bytes / 512 * 512).unwrap();
    let step = |from: u64, to: u64| {
        let mut target = sealed("1");
        target.points[0].size = bytes(from);
        let mut offered = source(&["1", "2"]);
        offered.offers[1].size = bytes(to);
        next_step(Some(&target), &offered, &Want::Next, false).map(|_| ())
    };
    const TIB: u64 = 1 << 40;
    assert_eq!(step(TIB, 2 * TIB), Ok(()));
    assert!(matches!(step(2 * TIB, TIB), Err(Conflict::Shrunk { .. })));
    assert!(matches!(step(TIB, 8 * TIB + 512), Err(Conflict::TooLarge(_))));
    assert!(matches!(step(3 * TIB, 5 * TIB), Err(Conflict::AcrossBoundary { .. })));
    assert!(matches!(step(3_900_000_000_000, 4_200_000_000_000), Err(Conflict::AcrossBoundary { .. })));
    assert_eq!(step(4 * TIB + 512, 4 * TIB + 512), Ok(()));
    assert_eq!(step(3_900_000_000_000, 4_000_000_000_000 + 512), Ok(()), "with its footer, it is still below");
    assert!(matches!(step(3_900_000_000_000, 4_000_000_000_000 + 1024), Err(Conflict::AcrossBoundary { .. })));
    assert!(matches!(step(4 * TIB + 512, 5 * TIB), Err(Conflict::AcrossBoundary { .. })));
    assert_eq!(step(4 * TIB + 1024, 5 * TIB), Ok(()));
    assert_eq!(step(5 * TIB, 6 * TIB), Ok(()));
}

#[test]
fn of_two_snapshots_of_one_run_the_older_is_the_point() {
    let words = State::Sealed(seal("1", "run")).to_metadata(&Metadata::new());
    let (one, two, etag) = (SnapshotId::new("t1"), SnapshotId::new("t2"), Etag::new("e"));
    let none = Metadata::new();
    let size = Pages::new(8);
    let found = points([(&one, &etag, size, &words), (&two, &etag, size, &words), (&two, &etag, size, &none)]);
    assert_eq!(found.unwrap().into_iter().map(|point| point.id).collect::<Vec<_>>(), [one]);
}
