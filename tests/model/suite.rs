//! The protocol holds, every weakened variant breaks in the smallest world in which it can, and what may go may go.

use pageferry_model::check::check;
use pageferry_model::rules::Rules;
use pageferry_model::variants::{GAPS, LARGE, REDUNDANT, Variant, WEAK, WHOLE};

/// Explores every variant and compares what becomes of it with what is said of it.
fn walk(variants: &[Variant]) {
    let surprises: Vec<String> = variants.iter().filter_map(surprise).collect();
    assert!(surprises.is_empty(), "not as said:\n{}", surprises.join("\n"));
}

fn surprise(variant: &Variant) -> Option<String> {
    let outcome = check(variant, 1);
    let line = format!("{:<20} {outcome}  ({})", variant.name, variant.lacks);
    eprintln!("{line}");
    let as_said = outcome.broken.as_ref().map(|(name, _)| *name) == variant.breaks && outcome.ends;
    (!as_said).then_some(line)
}

/// Each breaks, not where one thing less may happen, and the full protocol does not break there.
fn walk_weak(variants: &[Variant]) {
    walk(variants);
    for variant in variants {
        for bound in variant.bound.smaller() {
            let broken = check(&Variant { bound, ..*variant }, 1).broken;
            assert!(broken.is_none(), "{} breaks with less: {bound:?}", variant.name);
        }
        if variant.rules != Rules::FULL {
            let broken = check(&Variant { rules: Rules::FULL, breaks: None, ..*variant }, 1).broken;
            assert!(broken.is_none(), "where {} breaks, so does the full protocol", variant.name);
        }
    }
}

#[test]
fn the_protocol_holds() {
    walk(WHOLE);
}

#[test]
fn every_weakened_variant_breaks() {
    walk_weak(WEAK);
}

/// When a defect is mended the rules of the model stay as they are: this shows that the mend is needed.
#[test]
fn what_the_design_and_the_engine_lacked_breaks() {
    walk_weak(GAPS);
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
