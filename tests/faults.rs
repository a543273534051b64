//! Storms: all kinds of faults together, on disks of some thousand pages.
//!
//! The simulator (`sim.rs`) keeps its worlds small and its faults few, so that many seeds show what each fault can do; here
//! they all happen, all the time.
//!
//! ```text
//! cargo test -p pageferry-tests --test faults                       a hundred seeds
//! PAGEFERRY_SEEDS=5000 cargo test --release ... --test faults       thousands
//! PAGEFERRY_STORM=1 PAGEFERRY_SEED=17 cargo test ... --test sim one_seed -- --ignored --nocapture
//!                                                                   one again, with every request told
//! ```

use pageferry_tests::sim_world::{Scale, many, wanted};

#[test]
fn no_storm_makes_a_false_point() {
    many(wanted(100), Scale::Storm, &[], 20).judge("storms");
}
