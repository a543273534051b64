//! The simulator: seeds, worlds, and what must hold in each of them.
//!
//! ```text
//! cargo test -p pageferry-tests --test sim
//!     the default number of seeds
//! PAGEFERRY_SEEDS=100000 [PAGEFERRY_FIRST=5000] cargo test --release -p pageferry-tests --test sim no_seed -- --nocapture
//!     more of them, and the totals
//! PAGEFERRY_SEED=4711 cargo test -p pageferry-tests --test sim one_seed -- --ignored --nocapture
//!     one again, with every request told
//! PAGEFERRY_WITHOUT=foreign,late
//!     with any of these: leaves out what a failure may not need (kinds of faults, `foreign`, `resize`, `breaks`,
//!     `deletes`, `restores`, `adopts`, `storm`, `coarse`)
//! ```

use pageferry_tests::sim_world::{Scale, live, many, wanted};

#[test]
fn no_seed_makes_a_false_point() {
    many(wanted(30_000), Scale::Small, &[], 20).judge("simulator");
}

/// The same seed makes the same world, to the last request.
#[test]
fn a_seed_repeats_itself() {
    let lives = |_| -> Vec<_> {
        let work =
            || wanted(200).map(|seed| live(seed, Scale::Small, &[], false).map(|report| report.digest)).collect();
        let thread = std::thread::Builder::new().name("seeds".to_owned()).spawn(work).expect("a thread");
        thread.join().expect("no panic")
    };
    let twice = [0, 1].map(lives);
    for (seed, (one, other)) in twice[0].iter().zip(&twice[1]).enumerate() {
        assert_eq!(one, other, "seed {}", wanted(200).start + seed as u64);
    }
}

#[test]
#[ignore = "a tool: lives the world of PAGEFERRY_SEED and tells all of it"]
fn one_seed() {
    let seed = std::env::var("PAGEFERRY_SEED").ok().and_then(|seed| seed.parse().ok()).expect("PAGEFERRY_SEED");
    let scale = if std::env::var("PAGEFERRY_STORM").is_ok() { Scale::Storm } else { Scale::Small };
    let work = move || live(seed, scale, &[], true);
    let thread = std::thread::Builder::new().name("seeds".to_owned()).spawn(work).expect("a thread");
    let lived = thread.join().expect("no panic");
    eprintln!("{lived:#?}");
    assert!(lived.is_ok());
}
