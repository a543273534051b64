//! When a copy may begin.

use super::*;
use crate::sample::{UNIQUE, copied, disk, id, taken};

const REGION: &str = "northeurope";

fn order() -> CopyOrder {
    CopyOrder {
        target: id("copy"),
        location: REGION.to_owned(),
        encryption: None,
        platform_key: false,
        poll: Duration::from_secs(5),
        queue: Duration::from_secs(60),
    }
}

/// The turn of `name`, a snapshot of a disk that has snapshots a, b and c.
fn turn_of(name: &str, there: &[Snapshot]) -> Turn {
    let own = [taken("a", 1), taken("b", 2), taken("c", 3)];
    let chain = Chain::of(&disk(), Some(UNIQUE), own.to_vec()).unwrap();
    let there = [&own[..], there].concat();
    turn(&chain, chain.named(name).unwrap(), &order(), &there)
}

/// Copies of other disks' snapshots, under way.
fn others(count: usize, location: &str) -> Vec<Snapshot> {
    (0..count).map(|n| copied(&format!("o{n}"), &format!("x{n}"), location, Some(1.0))).collect()
}

#[test]
fn rule_01_a_hundred_copies_are_the_most_in_a_subscription_and_region() {
    assert_eq!(turn_of("a", &others(99, REGION)), Turn::Now);
    let full = turn_of("a", &others(100, REGION));
    assert_eq!(full, Turn::Later("100 copies already running in sub/northeurope; waiting".to_owned()));
    assert_eq!(turn_of("a", &others(100, "westus")), Turn::Now, "another region has a hundred of its own");
    let mut done = others(100, REGION);
    done[7].completion_percent = Some(100.0);
    assert_eq!(turn_of("a", &done), Turn::Now, "one that is complete does not count");
    let mut failed = others(100, REGION);
    failed[7].copy_error = Some("CopySourceNotFound".to_owned());
    assert_eq!(turn_of("a", &failed), Turn::Now, "one that failed does not either");
}

#[test]
fn rule_03_one_snapshot_of_a_disk_is_copied_at_a_time() {
    for percent in [None, Some(0.0), Some(99.0)] {
        let waits = turn_of("b", &[copied("ca", "a", "North Europe", percent)]);
        assert_eq!(waits, Turn::Later("copy of b waits for ca of the same disk".to_owned()), "{percent:?}");
    }
    assert_eq!(turn_of("b", &[copied("ca", "a", REGION, Some(100.0))]), Turn::Now);
    assert_eq!(turn_of("b", &[copied("ca", "a", "westus", Some(1.0))]), Turn::Now, "each region for itself");
}

#[test]
fn rule_04_copies_are_made_in_the_order_of_creation() {
    let late = turn_of("b", &[copied("cc", "c", REGION, Some(100.0))]);
    let why = "b is older than c, already copied; out-of-order copy is not possible";
    assert_eq!(late, Turn::Never(why.to_owned()));
    assert_eq!(turn_of("c", &[copied("ca", "a", REGION, Some(100.0))]), Turn::Now, "gaps forwards are fine");
    let mut failed = copied("cc", "c", REGION, Some(10.0));
    failed.provisioning = "Failed".to_owned();
    assert_eq!(turn_of("b", &[failed]), Turn::Now, "what failed is not copied");
}

#[test]
fn rule_13_copies_of_different_disks_run_at_once() {
    assert_eq!(turn_of("a", &others(3, REGION)), Turn::Now);
}
