//! The test of the tests: protections switched off, alone or in pairs that make up for each other. A tier that does not
//! notice the loss of a protection proves nothing about it.
//!
//! What is switched off, is switched off at the wire ([`Sabotage`]): the engine that runs is the one that ships. Which
//! seed notices what, and what it sees, is printed:
//!
//! ```text
//! cargo test -p pageferry-tests --test sabotage -- --nocapture
//! PAGEFERRY_SABOTAGE="NoEpoch NoEpoch+NoLease" PAGEFERRY_SEEDS=100000 \
//!     cargo test --release -p pageferry-tests --test sabotage explore -- --ignored --nocapture
//! ```

use pageferry_tests::sim_world::Sabotage::{self, *};
use pageferry_tests::sim_world::{Scale, many, wanted};

/// A protection is missed within so many seeds.
const BOUND: u64 = 5_000;

/// The first seed that notices, and what.
fn noticed(sabotage: &[Sabotage], seeds: u64) -> Option<(u64, String)> {
    let totals = many(wanted(seeds), Scale::Small, sabotage, 1);
    let first = totals.failures.into_iter().min();
    match &first {
        Some((seed, what)) => eprintln!("{sabotage:?}: noticed at seed {seed}: {what}"),
        None => eprintln!("{sabotage:?}: not noticed in {} seeds", totals.seeds),
    }
    first
}

fn must_be_noticed(sabotage: &[Sabotage]) {
    assert!(noticed(sabotage, BOUND).is_some(), "nobody missed {sabotage:?}");
}

#[test]
fn checksums_are_missed_either_way() {
    must_be_noticed(&[NoChecksumSent]);
    must_be_noticed(&[NoChecksumRead]);
}

#[test]
fn the_gate_is_missed_where_anything_else_fails() {
    for other in [SwallowedWrites, ShiftedWrites, SwallowedClears, WatermarkAhead, NoOwnDifference] {
        must_be_noticed(&[BlindGate, other]);
    }
}

/// Either the gate refuses, so that nothing gets on, or the trackers are too coarse for it to see and a point lies.
#[test]
fn what_is_acknowledged_and_not_done_is_missed() {
    for alone in [SwallowedWrites, ShiftedWrites, SwallowedClears, WatermarkAhead, NoOwnDifference] {
        must_be_noticed(&[alone]);
    }
}

#[test]
fn lease_and_epoch_are_missed() {
    must_be_noticed(&[NoEpoch, NoLease]);
    must_be_noticed(&[NoEpoch, SharedLease]);
    must_be_noticed(&[NoLease]);
}

#[test]
fn the_wait_for_requests_under_way_is_missed() {
    must_be_noticed(&[NoQuiesce]);
}

#[test]
#[ignore = "a tool: says which seed notices the loss of the protections that PAGEFERRY_SABOTAGE names"]
fn explore() {
    for set in std::env::var("PAGEFERRY_SABOTAGE").unwrap_or_default().split_whitespace() {
        let named = |one: &&Sabotage| set.split('+').any(|name| format!("{one:?}") == name);
        let set: Vec<Sabotage> = Sabotage::ALL.iter().filter(named).copied().collect();
        noticed(&set, BOUND);
    }
}
