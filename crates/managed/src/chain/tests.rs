//! Which snapshots are in a chain, and in which order.

use pageferry_arm::Snapshot;
use proptest::prelude::*;

use super::*;
use crate::sample::{UNIQUE, copied, disk, id, taken};

fn chain(snapshots: &[Snapshot]) -> Chain {
    Chain::of(&disk(), Some(UNIQUE), snapshots.to_vec()).unwrap()
}

fn names(chain: &Chain) -> Vec<&str> {
    chain.links.iter().map(|link| link.resource.name()).collect()
}

fn refusal(snapshots: &[Snapshot]) -> String {
    Chain::of(&disk(), Some(UNIQUE), snapshots.to_vec()).unwrap_err()
}

#[test]
fn rule_38_snapshots_of_another_disk_of_the_same_name_are_named_and_left_alone() {
    let old = |name, minute| Snapshot { source_unique_id: Some("disk-0".to_owned()), ..taken(name, minute) };
    let found = chain(&[taken("b", 5), old("x", 1), old("y", 2), taken("a", 6)]);
    assert_eq!(names(&found), ["b", "a"]);
    assert_eq!(found.notes, ["snapshots x, y come from different disks with the same name, and are left alone"]);
    // One that does not say what it was taken of proves nothing.
    let silent = Snapshot { source_unique_id: None, ..taken("s", 3) };
    assert_eq!(names(&chain(&[silent, taken("a", 6)])), ["a"]);
}

#[test]
fn rule_38_the_snapshots_of_a_disk_that_is_gone_must_agree_on_one() {
    let of = |snapshots: &[Snapshot]| Chain::of(&disk(), None, snapshots.to_vec());
    assert_eq!(names(&of(&[taken("b", 1), taken("a", 2)]).unwrap()), ["b", "a"]);
    let old = Snapshot { source_unique_id: Some("disk-0".to_owned()), ..taken("x", 1) };
    let two = of(&[old, taken("a", 2)]).unwrap_err();
    assert!(two.contains("come from 2 different disks with the same name: name one of the snapshots"), "{two}");
    let none = of(&[]).unwrap_err();
    assert!(none.contains("nor any snapshot of it exists"), "{none}");
}

#[test]
fn one_that_failed_is_waited_for_by_nobody() {
    let why = Some("DiskResized: the disk was resized".to_owned());
    let failed = Snapshot { copy_error: why, completion_percent: Some(40.0), ..taken("f", 2) };
    let found = chain(&[taken("a", 1), failed, taken("b", 3)]);
    assert_eq!(names(&found), ["a", "b"]);
    assert_eq!(found.notes, ["snapshots f have failed, and hold nothing that could be backed up"]);
}

#[test]
fn copies_and_snapshots_of_other_disks_are_not_worth_a_word() {
    let other = Snapshot { source: ResourceId::disk("sub", "rg", "web2").ok(), ..taken("o", 1) };
    let nowhere = Snapshot { source: None, ..taken("n", 2) };
    let found = chain(&[other, nowhere, taken("a", 3), copied("c", "a", "northeurope", Some(100.0))]);
    assert_eq!((names(&found), found.notes.len()), (vec!["a"], 0));
}

#[test]
fn rule_20_a_snapshot_in_another_group_belongs_to_the_chain() {
    let elsewhere = ResourceId::snapshot("sub", "vault", "v").unwrap();
    let found = chain(&[taken("a", 2), Snapshot { id: elsewhere.clone(), ..taken("v", 1) }]);
    assert_eq!(names(&found), ["v", "a"]);
    assert_eq!(found.links[0].resource, elsewhere);
}

#[test]
fn rule_05_full_snapshots_are_named_and_left_alone() {
    let full = |name, minute| Snapshot { incremental: false, ..taken(name, minute) };
    let found = chain(&[full("f", 1), taken("a", 2), full("g", 3)]);
    assert_eq!(names(&found), ["a"]);
    assert_eq!(
        found.notes,
        ["snapshots f, g are full snapshots, between which there are no differences, and are left alone"]
    );
}

#[test]
fn rule_29_what_is_incomplete_cuts_the_chain() {
    let filling = |name, minute, percent| Snapshot { completion_percent: percent, ..taken(name, minute) };
    let found = chain(&[taken("c", 3), filling("b", 2, Some(99.5)), taken("a", 1)]);
    assert_eq!(names(&found), ["a"], "a difference to c would start at what nobody has");
    assert_eq!(found.notes, ["b is 99.5 % complete: it and what was taken after it are left for the next run"]);
    // Rule 10: what says nothing has not begun.
    let found = chain(&[taken("a", 1), filling("b", 2, None)]);
    assert_eq!(names(&found), ["a"]);
    assert!(found.notes[0].starts_with("b is not started"), "{:?}", found.notes);
}

#[test]
fn rule_31_what_has_failed_does_not_cut_the_chain() {
    let failed = Snapshot { provisioning: "Failed".to_owned(), completion_percent: Some(10.0), ..taken("b", 2) };
    let found = chain(&[taken("a", 1), failed, taken("c", 3)]);
    assert_eq!(names(&found), ["a", "c"]);
    assert_eq!(found.notes, ["snapshots b have failed, and hold nothing that could be backed up"]);
}

#[test]
fn rule_26_sectors_of_4096_bytes_are_refused_before_anything_is_read() {
    let why = refusal(&[taken("a", 1), Snapshot { sector_size: Some(4096), ..taken("b", 2) }]);
    assert!(
        why.contains("snapshot b has 4096-byte sectors; it can only become an Ultra or Premium SSD v2 disk"),
        "{why}"
    );
    // One of another disk is no reason, and neither is one that does not say: its beginning is looked at.
    let other = Snapshot { sector_size: Some(4096), source_unique_id: Some("x".to_owned()), ..taken("b", 2) };
    assert_eq!(names(&chain(&[taken("a", 1), other])), ["a"]);
    assert_eq!(names(&chain(&[Snapshot { sector_size: None, ..taken("a", 1) }])), ["a"]);
}

#[test]
fn two_snapshots_of_one_time_have_no_order() {
    let why = refusal(&[taken("a", 1), taken("b", 1)]);
    assert!(why.contains("snapshots a and b were taken at the same time"), "{why}");
}

#[test]
fn what_a_snapshot_does_not_say_is_not_guessed() {
    for (without, word) in [
        (Snapshot { size_bytes: None, ..taken("a", 1) }, "size"),
        (Snapshot { size_bytes: Some(u64::MAX), ..taken("a", 1) }, "size"),
        (Snapshot { unique_id: None, ..taken("a", 1) }, "unique id"),
        (Snapshot { time_created: String::new(), ..taken("a", 1) }, "no time one could read"),
    ] {
        assert!(refusal(std::slice::from_ref(&without)).contains(word), "{word}");
    }
}

#[test]
fn a_link_is_the_disk_and_a_footer_and_is_found_by_time_name_and_id() {
    let found = chain(&[Snapshot { network_policy: Some("DenyAll".to_owned()), ..taken("a", 61) }]);
    let link = &found.links[0];
    assert_eq!(link.size.bytes(), (1 << 30) + FOOTER_BYTES);
    assert_eq!(link.id.as_str(), "2026-11-22T01:01:00.1234567Z");
    assert!(link.barred.as_ref().is_some_and(|why| why.contains("DenyAll")));
    for text in ["2026-11-22T01:01:00.1234567Z", "A", &id("a").to_string().to_uppercase()] {
        assert_eq!(found.named(text), Some(link), "{text}");
    }
    assert_eq!(found.named("b"), None);
}

/// Of a disk, by time: what of it a chain must hold is known by where it stands.
#[derive(Clone, Debug)]
struct Drawn {
    snapshot: Snapshot,
    foreign: bool,
    left_out: bool,
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let one = (0..8u8, 0..1000u32, any::<u16>());
    proptest::collection::vec(one, 0..24).prop_map(|all| {
        let each = all.into_iter().enumerate().map(|(at, (kind, minute, name))| {
            let mut drawn = Drawn {
                snapshot: taken(&format!("s{name}-{at}"), minute % 1000),
                foreign: kind == 0 || kind == 1,
                left_out: kind == 2 || kind == 3,
            };
            // No two of one time, which would be refused.
            drawn.snapshot.time_created =
                format!("2026-11-{:02}T{:02}:{:02}:00.{at:07}Z", 1 + minute % 28, minute % 24, minute % 60);
            match kind {
                0 => drawn.snapshot.source_unique_id = Some("disk-0".to_owned()),
                1 => drawn.snapshot.source = ResourceId::disk("sub", "rg", "web2").ok(),
                2 => drawn.snapshot.incremental = false,
                3 => drawn.snapshot.provisioning = "Failed".to_owned(),
                4 if name % 3 == 0 => drawn.snapshot.completion_percent = Some(f64::from(name % 100)),
                _ => {}
            }
            drawn
        });
        each.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_is_all_of_the_disks_own_in_the_order_of_time_up_to_the_first_that_is_incomplete(all in drawn()) {
        let found = chain(&all.iter().map(|drawn| drawn.snapshot.clone()).collect::<Vec<_>>());
        let mut own: Vec<&Snapshot> =
            all.iter().filter(|drawn| !drawn.foreign && !drawn.left_out).map(|drawn| &drawn.snapshot).collect();
        // Times of one form sort as texts do, and names are drawn so that they do not.
        own.sort_by_key(|snapshot| &snapshot.time_created);
        let whole: Vec<&str> =
            own.iter().take_while(|one| one.completion_percent == Some(100.0)).map(|one| one.name.as_str()).collect();
        prop_assert_eq!(names(&found), whole.clone());
        prop_assert!(found.links.is_sorted_by(|one, next| one.id < next.id), "names sort as times do");
        let named = found.notes.join(" ");
        for drawn in all.iter().filter(|drawn| drawn.left_out && !drawn.foreign) {
            prop_assert!(named.contains(&drawn.snapshot.name), "{} is in no note: {}", drawn.snapshot.name, named);
        }
        if let Some(first) = own.get(whole.len()) {
            prop_assert!(named.contains(&format!("{} is", first.name)), "{} cuts the chain: {}", first.name, named);
        }
    }
}
