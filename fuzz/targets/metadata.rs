//! What a target says of itself: read, written and read again it says the same.
//!
//! An input is lines of `name=value`, the metadata of a blob.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pageferry_core::lineage::{DiskId, Mark, Seal, SnapshotRef, State};
use pageferry_core::{Etag, Metadata, Pages, SnapshotId};
use pageferry_fuzz::Dice;

fuzz_target!(|input: &str| {
    let mut dice = Dice::of(input.as_bytes());
    let lines: Vec<&str> = input.lines().collect();
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    let metadata: Metadata = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Ok(Some(state)) = State::from_metadata(&metadata) {
        written_again(&state, &metadata, &mut dice);
    }
    let states = built(&lines);
    written_again(&states[dice.below(states.len())], &metadata, &mut dice);
});

/// Whatever was there before, the state is read as it was written, and what others wrote is kept.
fn written_again(state: &State, before: &Metadata, dice: &mut Dice) {
    let after = state.to_metadata(before);
    assert_eq!(State::from_metadata(&after), Ok(Some(state.clone())), "{after:?}");
    assert_eq!(state.to_metadata(&after), after, "writing it twice is not writing it once");
    let others = |all: &Metadata| -> Metadata {
        all.iter().filter(|(name, _)| !name.starts_with("pageferry")).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    assert_eq!(others(&after), others(before), "words of others are changed");
    let ours: Vec<&String> = after.keys().filter(|name| name.starts_with("pageferry")).collect();
    let name = ours[dice.below(ours.len())];
    let mut less = after.clone();
    less.remove(name);
    assert_ne!(State::from_metadata(&less), Ok(Some(state.clone())), "nobody misses {name}");
}

/// States with the lines of the input for words.
fn built(lines: &[&str]) -> Vec<State> {
    let text = |at: usize| lines.get(at).copied().unwrap_or_default().to_owned();
    let number = |at: usize| text(at).bytes().fold(0u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    // A snapshot is never called what stands for none: names are times.
    let snapshot =
        |at: usize| SnapshotRef { id: SnapshotId::new(format!("2{}", text(at))), etag: Etag::new(&text(at + 1)) };
    let some = |at: usize| (!text(at).is_empty()).then(|| snapshot(at));
    let disk = DiskId::new(&text(0), &text(1));
    let mark = Mark {
        disk: disk.clone(),
        from: some(2),
        to: snapshot(4),
        run: text(6),
        lease: text(7),
        host: text(8),
        epoch: number(9),
        known: number(9).is_multiple_of(2),
        watermark: Pages::new(number(10)),
        gap: Pages::new(number(11)),
        grants: if text(12).is_empty() { Vec::new() } else { text(12).split(',').map(str::to_owned).collect() },
    };
    let seal = Seal {
        disk,
        snapshot: snapshot(2),
        parent: some(4),
        plan: text(6),
        written_bytes: number(7),
        cleared_bytes: number(8),
        run: text(9),
        lease: text(10),
        epoch: number(11),
        sealed_at: text(12),
    };
    vec![State::Applying(mark), State::Sealed(seal.clone()), State::Restored(seal)]
}
