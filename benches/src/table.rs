//! One way to report: a table for people, the same rows as JSON for machines, and an exit code that says whether every
//! limit was kept.

use std::process::ExitCode;

use serde::Serialize;

/// The results of one bench.
#[derive(Debug, Serialize)]
pub struct Table {
    bench: &'static str,
    cores: usize,
    rows: Vec<Row>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub figure: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is held against, measured in the same run or known beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// The figure as a multiple of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// What the ratio, or else the figure, must keep to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Whether it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// What a result must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Table {
    /// An empty table for `bench`.
    pub fn new(bench: &'static str) -> Table {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Table { bench, cores, rows: Vec::new() }
    }

    /// A figure by itself.
    pub fn row(&mut self, what: impl Into<String>, figure: f64, unit: &'static str) {
        self.push(what.into(), figure, unit, None, None);
    }

    /// A figure that must keep to `limit`.
    pub fn limited(&mut self, what: impl Into<String>, figure: f64, unit: &'static str, limit: Limit) {
        self.push(what.into(), figure, unit, None, Some(limit));
    }

    /// A figure held against a `reference` of the same unit.
    pub fn against(&mut self, what: impl Into<String>, figure: f64, unit: &'static str, reference: f64) {
        self.push(what.into(), figure, unit, Some(reference), None);
    }

    /// A figure whose ratio to `reference` must keep to `limit`.
    pub fn compared(&mut self, what: impl Into<String>, figure: f64, unit: &'static str, reference: f64, limit: Limit) {
        self.push(what.into(), figure, unit, Some(reference), Some(limit));
    }

    /// The results so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Writes the rows to `target/bench/NAME.json` and ends the bench: with a failure if a limit was not kept.
    #[expect(clippy::print_stdout, reason = "a bench is a report")]
    pub fn finish(self) -> ExitCode {
        let path = target_dir().join(format!("{}.json", self.bench));
        let json = serde_json::to_string_pretty(&self).unwrap_or_default();
        let written = std::fs::create_dir_all(target_dir()).and_then(|()| std::fs::write(&path, json));
        match written {
            Ok(()) => println!("\n{}", path.display()),
            Err(error) => println!("\n{} could not be written: {error}", path.display()),
        }
        if self.rows.iter().any(|row| row.kept == Some(false)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    #[expect(clippy::print_stdout, reason = "a bench is a report")]
    fn push(&mut self, what: String, figure: f64, unit: &'static str, reference: Option<f64>, limit: Option<Limit>) {
        if self.rows.is_empty() {
            println!("{}, {} cores\n", self.bench, self.cores);
            println!("{:<58} {:>12} {:<12} {:>12} {:>7}", "", "figure", "", "reference", "ratio");
        }
        let ratio = reference.map(|reference| figure / reference);
        let kept = limit.map(|limit| limit.keeps(ratio.unwrap_or(figure)));
        let shown = |value: Option<f64>| value.map_or_else(String::new, short);
        let verdict = match (limit, kept) {
            (Some(Limit::AtLeast(least)), Some(kept)) => format!("{} at least {}", mark(kept), short(least)),
            (Some(Limit::AtMost(most)), Some(kept)) => format!("{} at most {}", mark(kept), short(most)),
            _ => String::new(),
        };
        println!("{what:<58} {:>12} {unit:<12} {:>12} {:>7}  {verdict}", short(figure), shown(reference), shown(ratio));
        self.rows.push(Row { what, figure, unit, reference, ratio, limit, kept });
    }
}

impl Limit {
    fn keeps(self, figure: f64) -> bool {
        match self {
            Limit::AtLeast(least) => figure >= least,
            Limit::AtMost(most) => figure <= most,
        }
    }
}

fn mark(kept: bool) -> &'static str {
    if kept { "kept:" } else { "MISSED:" }
}

/// With as many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.01 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}

/// Where benches put their results: beside what cargo builds.
pub fn target_dir() -> std::path::PathBuf {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(own, Into::into).join("bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_for_the_ratio_where_there_is_one() {
        let mut table = Table::new("test");
        table.compared("half of the reference", 5.0, "s", 10.0, Limit::AtMost(0.6));
        table.compared("more than that", 7.0, "s", 10.0, Limit::AtMost(0.6));
        table.limited("without a reference", 7.0, "s", Limit::AtLeast(7.0));
        table.against("without a limit", 7.0, "s", 14.0);
        let kept: Vec<_> = table.rows().iter().map(|row| (row.ratio, row.kept)).collect();
        assert_eq!(kept, [(Some(0.5), Some(true)), (Some(0.7), Some(false)), (None, Some(true)), (Some(0.5), None)]);
    }
}
