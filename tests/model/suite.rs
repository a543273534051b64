//! The smallest bound at which every weakened variant breaks while the protocol holds.

use pageferry_model::check::check;
use pageferry_model::variants::{GAPS, LARGE, REDUNDANT, Variant, WEAK, WHOLE};

/// Explores every variant and compares what becomes of it with what is said of it.
fn walk(variants: &[Variant]) {
    let mut surprises = Vec::new();
    for variant in variants {
        let outcome = check(variant, 1);
        let line = format!("{:<18} {outcome}  ({})", variant.name, variant.lacks);
        eprintln!("{line}");
        if outcome.broken.as_ref().map(|(name, _)| *name) != variant.breaks || !outcome.ends {
            surprises.push(line);
        }
    }
    assert!(surprises.is_empty(), "not as said:\n{}", surprises.join("\n"));
}

#[test]
fn the_protocol_holds() {
    walk(WHOLE);
}

#[test]
fn every_weakened_variant_breaks() {
    walk(WEAK);
}

/// Defects of the code that the model found. When one is mended the rules of the model stay as they are: this shows that
/// the mend is needed.
#[test]
fn what_the_code_lacked_breaks() {
    walk(GAPS);
}

/// A protection that may go alone is one of two. Should one of these ever break, it has become the only one.
#[test]
fn redundant_protections_may_go_one_at_a_time() {
    walk(REDUNDANT);
}

#[test]
#[ignore = "minutes and gigabytes: run it in release, or by `cargo run --release -p pageferry-model -- full`"]
fn the_full_bound() {
    walk(LARGE);
}
