//! What is said about a bench: a table for people, an object for programs.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::bench::measure::{Figures, Outcome, What};
use crate::bench::stats::{Latency, bytes_per_second};
use crate::human::{briefly, bytes, duration, rate};
use crate::report::{millis, say};

/// What holds for every bench.
pub(crate) const OF_A_MOMENT: &str =
    "These are the numbers of one moment, of this machine and of this pair: another hour gives others.";

/// What holds where a service is an emulator.
pub(crate) const EMULATED: &str = "A service on this machine is an emulator, and its pace is no measurement of Azure: nothing here says how fast Azure is.";

/// A measurement begins.
#[derive(Serialize)]
pub(crate) struct Measuring {
    pub(crate) what: What,
    pub(crate) limit_secs: u64,
}

/// A bench, whole.
#[derive(Serialize)]
pub(crate) struct Benched {
    pub(crate) measured_at: String,
    pub(crate) version: &'static str,
    pub(crate) machine: Machine,
    pub(crate) source: String,
    pub(crate) snapshot: String,
    pub(crate) target: String,
    pub(crate) disk_bytes: u64,
    /// How much of the source was used.
    pub(crate) used_bytes: u64,
    pub(crate) limit_secs: u64,
    /// A service on this machine was measured.
    pub(crate) emulated: bool,
    pub(crate) notes: Vec<String>,
    pub(crate) measurements: Vec<Row>,
}

/// The machine that measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) system: &'static str,
    pub(crate) architecture: &'static str,
    pub(crate) processors: usize,
}

/// One measurement.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) what: What,
    /// Why there are no figures, in one sentence.
    pub(crate) not_measured: Option<String>,
    /// They are there unless `not_measured` says why not.
    #[serde(flatten)]
    pub(crate) figures: Option<Timed>,
}

/// Figures with what follows from them.
#[derive(Serialize)]
pub(crate) struct Timed {
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) elapsed_ms: u64,
    pub(crate) bytes_per_second: u64,
}

say! { Measuring => "measuring", Benched => "bench" }

impl Machine {
    /// This one.
    pub(crate) fn here() -> Machine {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Machine { system: std::env::consts::OS, architecture: std::env::consts::ARCH, processors }
    }
}

impl Row {
    pub(crate) fn of(what: What, outcome: Outcome) -> Row {
        let (not_measured, figures) = match outcome {
            Outcome::Measured(figures) => (None, Some(figures)),
            Outcome::NotMeasured(why) => (Some(why), None),
            Outcome::Failed(error) => (Some(briefly(&error)), None),
        };
        let figures = figures.map(|figures| Timed {
            elapsed_ms: millis(figures.took),
            bytes_per_second: bytes_per_second(figures.bytes, figures.took),
            figures,
        });
        Row { what, not_measured: not_measured.map(|why| pageferry_azure::scrub(&why)), figures }
    }

    /// The latencies there are, each with what it is of.
    pub(crate) fn latencies(&self) -> Vec<(&'static str, Latency)> {
        let figures = self.figures.as_ref().map(|timed| &timed.figures);
        let read = figures.and_then(|figures| figures.read_latency).map(|latency| ("reads", latency));
        let write = figures.and_then(|figures| figures.write_latency).map(|latency| ("writes", latency));
        read.into_iter().chain(write).collect()
    }
}

impl Benched {
    /// What a reader must know before they believe a number.
    pub(crate) fn caveats(&self) -> Vec<&str> {
        let mut caveats = vec![OF_A_MOMENT];
        caveats.extend(self.emulated.then_some(EMULATED));
        caveats.extend(self.notes.iter().map(String::as_str));
        caveats
    }
}

impl Display for Measuring {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "measuring {}, for {} s at most", self.what.label(), self.limit_secs)
    }
}

impl Display for Benched {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "source  {}, snapshot {} of {}", self.source, self.snapshot, bytes(self.disk_bytes))?;
        writeln!(f, "target  blobs of its own beside {}, deleted again", self.target)?;
        writeln!(f, "used    the first {} of what the snapshot holds", bytes(self.used_bytes))?;
        writeln!(f)?;
        let header = ["", "moved", "time", "speed", "requests", "refused", "", "p50", "p90", "p99", "max"];
        line(f, header)?;
        for row in &self.measurements {
            match (&row.figures, &row.not_measured) {
                (Some(timed), _) => measured(f, row, timed)?,
                (None, why) => {
                    let why = why.as_deref().unwrap_or("nobody knows why");
                    writeln!(f, "{:<21}  not measured: {why}", row.what.label())?;
                }
            }
        }
        for caveat in self.caveats() {
            write!(f, "\n{caveat}")?;
        }
        Ok(())
    }
}

fn measured(f: &mut Formatter<'_>, row: &Row, timed: &Timed) -> fmt::Result {
    let figures = &timed.figures;
    let mut cells = [
        row.what.label().to_owned(),
        bytes(figures.bytes),
        duration(figures.took),
        rate(figures.bytes, figures.took),
        figures.requests.to_string(),
        figures.refused.to_string(),
    ];
    let mut latencies = row.latencies().into_iter();
    let mut next = latencies.next();
    loop {
        let (of, [p50, p90, p99, max]) = match next {
            Some((of, latency)) => (of, times(&latency)),
            None => ("", Default::default()),
        };
        let [a, b, c, d, e, g] = &cells;
        line(f, [a, b, c, d, e, g, of, &p50, &p90, &p99, &max])?;
        next = latencies.next();
        if next.is_none() {
            break;
        }
        cells = Default::default();
    }
    match &figures.note {
        Some(note) => writeln!(f, "{:<21}  {note}", ""),
        None => Ok(()),
    }
}

/// A latency's figures as people read them.
pub(crate) fn times(latency: &Latency) -> [String; 4] {
    [latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us].map(|us| match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => duration(Duration::from_micros(us)),
    })
}

fn line(f: &mut Formatter<'_>, cells: [&str; 11]) -> fmt::Result {
    let [what, moved, time, speed, requests, refused, of, p50, p90, p99, max] = cells;
    let line = format!(
        "{what:<21}  {moved:>10}  {time:>9}  {speed:>12}  {requests:>8}  {refused:>7}  {of:<6}  {p50:>8}  {p90:>8}  {p99:>8}  \
         {max:>8}"
    );
    writeln!(f, "{}", line.trim_end())
}
