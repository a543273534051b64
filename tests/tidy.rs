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

/// Every source of ours, in one text.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).expect("a source"));
        }
    }
    all
}

/// The names of functions that begin with `rule_` and two digits.
fn rule_tests(sources: &str) -> Vec<&str> {
    let named = sources.split("fn rule_").skip(1).filter_map(|rest| rest.split_once('(')).map(|(name, _)| name);
    let numbered =
        |name: &&str| name.get(..3).is_some_and(|start| start.ends_with('_') && start[..2].parse::<u8>().is_ok());
    named.filter(numbered).collect()
}

#[test]
fn every_rule_has_a_row_and_every_test_of_one_is_in_it() {
    let semantics = read("docs/semantics.md");
    let rules = semantics.split("\n# The 51 rules\n").nth(1).expect("the rules");
    let sources = [sources(&root().join("crates")), sources(&root().join("tests"))].concat();
    let (mut told, mut steps) = (Vec::new(), String::new());
    for row in
        rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # ") && !line.starts_with("| step "))
    {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        let tests: Vec<&str> =
            cells[4].split(", ").map(|name| name.trim_matches('`')).filter(|name| *name != "–").collect();
        for test in &tests {
            assert!(sources.contains(&format!("fn {test}(")), "row {} names {test}, which is no test", cells[0]);
        }
        if let Ok(number) = cells[0].parse::<u8>() {
            let others = tests.iter().find(|test| !test.starts_with(&format!("rule_{number:02}_")));
            assert_eq!(others, None, "the row of rule {number} names the test of another");
            told.push((number, tests));
        } else {
            steps += &format!("{} ", cells[0].replace(',', ""));
        }
    }
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=51).collect::<Vec<u8>>());
    assert_eq!(steps, "B1 B2 B3 B4 B5 B6 B7 R1 R2 R3 R4 R5 R6 R7 ", "the procedures");
    let told: Vec<&str> = told.into_iter().flat_map(|(_, tests)| tests).collect();
    let there = rule_tests(&sources);
    assert!(there.len() > 80, "the tests are found");
    for name in there {
        assert!(told.contains(&format!("rule_{name}").as_str()), "rule_{name} is in no row of docs/semantics.md");
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
