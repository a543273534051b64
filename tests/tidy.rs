//! House rules that a program can check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A heading as the name of a test.
fn name(heading: &str) -> String {
    let letters =
        heading.chars().map(|letter| if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' });
    letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join("_")
}

#[test]
fn every_promise_in_the_semantics_is_the_name_of_a_test() {
    let tests: String = ["crash", "schedules", "refusals", "review", "sim_regressions"]
        .iter()
        .map(|file| read(&format!("tests/{file}.rs")))
        .collect();
    let semantics = read("docs/semantics.md");
    let promises: Vec<&str> = semantics.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(promises.len() > 30, "the promises are found");
    for promise in promises {
        assert!(tests.contains(&format!("fn {}(", name(promise))), "no test is called {}", name(promise));
    }
}

#[test]
fn the_core_knows_no_runtime_and_the_emulator_none_of_our_crates() {
    let core = read("crates/core/Cargo.toml");
    for word in ["tokio", "futures", "async", "reqwest", "serde"] {
        assert!(!core.contains(word), "core depends on {word}");
    }
    let emulator = read("crates/emulator/Cargo.toml");
    let dependencies = emulator.split_once("[dependencies]").expect("dependencies").1;
    assert!(!dependencies.contains("pageferry"), "the emulator depends on a crate of ours");
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = read("docs/dependencies.md");
    for (manifest, section) in [("Cargo.toml", "[workspace.dependencies]"), ("fuzz/Cargo.toml", "[dependencies]")] {
        let manifest = read(manifest);
        let dependencies = manifest.split(section).nth(1).expect("dependencies");
        let dependencies = dependencies.split("\n[").next().expect("the section");
        for line in dependencies.lines().filter(|line| line.contains('=') && !line.starts_with("pageferry")) {
            let name = line.split(['=', ' ']).next().expect("a name");
            assert!(reasons.contains(&format!("`{name}`")), "docs/dependencies.md does not say why {name} is here");
        }
    }
}
