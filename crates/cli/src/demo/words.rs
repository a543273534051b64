//! What the demo says: for people, passages of a story; for programs, JSON lines, those of `sync` and `points` among them.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use pageferry_core::next::Point;
use pageferry_replicate::StepReport;
use serde::Serialize;

use super::disk::Changes;
use super::week::{Day, Machine};
use crate::human::{bytes, count, duration};
use crate::report::say;

say! {
    Opening => "demo",
    Changed => "changed",
    Proved => "proved",
    Restored => "restored",
    Returned => "restored-disk",
    Closing => "summary",
}

/// Who takes part.
#[derive(Debug, Serialize)]
pub(super) struct Opening {
    pub(super) service: String,
    pub(super) source: String,
    pub(super) target: &'static str,
    pub(super) disk_bytes: u64,
    /// Whether the disk is a managed one.
    pub(super) managed: bool,
}

/// What happened to the machine in a day, and the snapshot taken at its end.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    day: &'static str,
    story: &'static str,
    snapshot: String,
    files: usize,
    disk_bytes: u64,
    written_bytes: u64,
    written_ranges: usize,
    freed_bytes: u64,
    freed_ranges: usize,
}

/// A step of the engine, for people.
pub(super) struct Stepped<'a>(pub(super) &'a StepReport);

/// The points of a target and the steps that made them, for people.
pub(super) struct Listed<'a> {
    pub(super) target: &'static str,
    pub(super) rows: Vec<(&'a Point, &'a StepReport)>,
}

/// A point that was read back.
#[derive(Debug, Serialize)]
pub(super) struct Proved {
    #[serde(skip)]
    pub(super) number: usize,
    pub(super) point: String,
    pub(super) compared_bytes: u64,
    pub(super) allocated_bytes: u64,
    pub(super) equal: bool,
    pub(super) elapsed_ms: u64,
}

/// A point that was restored to a file, which was opened again.
#[derive(Debug, Serialize)]
pub(super) struct Restored {
    #[serde(skip)]
    pub(super) number: usize,
    #[serde(skip)]
    pub(super) day: &'static str,
    pub(super) point: String,
    pub(super) file_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) files: usize,
    pub(super) files_bytes: u64,
    pub(super) equal: bool,
    pub(super) elapsed_ms: u64,
}

/// A point that was restored to a managed disk, which is backed up from then on.
#[derive(Debug, Serialize)]
pub(super) struct Returned {
    pub(super) point: String,
    pub(super) disk: String,
    pub(super) disk_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) equal: bool,
    pub(super) elapsed_ms: u64,
    /// The point that the restored disk's first snapshot was adopted as.
    pub(super) adopted: String,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub(super) struct Closing {
    pub(super) points: usize,
    pub(super) written_bytes: u64,
    pub(super) cleared_bytes: u64,
    pub(super) requests: u64,
    pub(super) allocated_copies_bytes: u64,
    pub(super) whole_copies_bytes: u64,
    pub(super) elapsed_ms: u64,
}

impl Changed {
    /// What `changes` made of the machine.
    pub(super) fn new(day: &Day, machine: &Machine, changes: &Changes, snapshot: String) -> Changed {
        Changed {
            day: day.name,
            story: day.story,
            snapshot,
            files: machine.files.len(),
            disk_bytes: machine.disk.disk_bytes(),
            written_bytes: changes.written_bytes(),
            written_ranges: changes.written.len(),
            freed_bytes: changes.freed_bytes(),
            freed_ranges: changes.freed.len(),
        }
    }
}

impl Display for Opening {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Opening { service, source, target, .. } = self;
        writeln!(f, "The real engine against a page-blob service inside this process. Nothing leaves this machine.\n")?;
        writeln!(f, "  service   {service}")?;
        let kind = if self.managed { "a managed disk" } else { "a fixed VHD" };
        writeln!(f, "  disk      {source}, {kind} of {} with a FAT32 volume", bytes(self.disk_bytes))?;
        write!(f, "  backup    {target}, not there yet")
    }
}

impl Display for Changed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}: {}", self.day, self.story)?;
        write!(f, "  machine   {} files on {}; ", self.files, bytes(self.disk_bytes))?;
        write!(f, "wrote {}", amount(self.written_bytes, self.written_ranges as u64))?;
        writeln!(f, ", freed {}", amount(self.freed_bytes, self.freed_ranges as u64))?;
        write!(f, "  snapshot  {}", self.snapshot)
    }
}

impl Display for Stepped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let step = self.0;
        let how = if step.from.is_none() { "seed" } else { "sync" };
        write!(f, "  {how}      moved {} of {}", bytes(step.written_bytes), bytes(step.disk_bytes))?;
        write!(f, " ({}%)", hundredths(step.written_bytes, step.disk_bytes))?;
        write!(f, ", cleared {}", amount(step.cleared_bytes, step.freed_ranges))?;
        writeln!(f, "; {}, {}", count(step.requests, "page request"), duration(step.elapsed))?;
        write!(f, "  point     {}", step.point)
    }
}

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe points of {}, and what each took:\n", self.target)?;
        write!(f, "     {:<28}{:>10}{:>11}{:>8}", "source snapshot", "disk", "changed", "ranges")?;
        write!(f, "{:>11}{:>11}{:>10}{:>9}", "moved", "cleared", "requests", "time")?;
        for (number, (point, step)) in (1..).zip(&self.rows) {
            let ranges = step.changed_ranges + step.freed_ranges;
            let (changed, moved) = (step.changed_bytes + step.freed_bytes, step.written_bytes);
            write!(f, "\n  {number}  {:<28}{:>10}", point.seal.snapshot.id.as_str(), bytes(step.disk_bytes))?;
            write!(f, "{:>11}{ranges:>8}{:>11}{:>11}", bytes(changed), bytes(moved), bytes(step.cleared_bytes))?;
            write!(f, "{:>10}{:>9}", step.requests, duration(step.elapsed))?;
        }
        Ok(())
    }
}

impl Display for Proved {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.number == 1 {
            writeln!(f, "\nEach point read back whole, and held against what was on the machine's disk that day:\n")?;
        }
        write!(f, "  {}  {} bytes read, all equal; ", self.number, self.compared_bytes)?;
        write!(f, "{} hold data, as on the disk; {}", bytes(self.allocated_bytes), time(self.elapsed_ms))
    }
}

impl Display for Restored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nA photograph deleted since is wanted back, so point {} is restored to a file:\n", self.number)?;
        write!(f, "  file      {}, of which {} written", bytes(self.file_bytes), bytes(self.written_bytes))?;
        writeln!(f, ", the rest holes; {}", time(self.elapsed_ms))?;
        write!(f, "  opened    a sound VHD, its FAT32 volume holds {} files, {}", self.files, bytes(self.files_bytes))?;
        write!(f, ": each byte as it was on {}", self.day)
    }
}

impl Display for Returned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nThe disk is lost. Its newest point is restored straight into a new managed disk:\n")?;
        writeln!(f, "  disk      {}", self.disk)?;
        write!(f, "  written   {} of {}", bytes(self.written_bytes), bytes(self.disk_bytes))?;
        writeln!(f, "; {}; each byte as it was", time(self.elapsed_ms))?;
        writeln!(f, "  adopted   its first snapshot equals the newest point and is point {} now", self.adopted)?;
        write!(f, "  grants    none is left: each SAS was given back before its point was sealed")
    }
}

impl Display for Closing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (moved, cleared) = (bytes(self.written_bytes), bytes(self.cleared_bytes));
        writeln!(f, "\n{} points, each proved byte for byte, in {}.\n", self.points, time(self.elapsed_ms))?;
        writeln!(f, "  pageferry                     moved {moved}, cleared {cleared}")?;
        writeln!(f, "  full copies, data only        {}", self.beside(self.allocated_copies_bytes))?;
        write!(f, "  full copies of whole disks    {}", self.beside(self.whole_copies_bytes))
    }
}

impl Closing {
    fn beside(&self, copies_bytes: u64) -> String {
        let tenths = u128::from(copies_bytes) * 10 / u128::from(self.written_bytes.max(1));
        format!("would have moved {}, {}.{} times as much", bytes(copies_bytes), tenths / 10, tenths % 10)
    }
}

/// A length and the ranges it is in.
fn amount(length_bytes: u64, ranges: u64) -> String {
    match length_bytes {
        0 => "nothing".to_owned(),
        _ => format!("{} in {}", bytes(length_bytes), count(ranges, "range")),
    }
}

/// `part` of `whole` as a percentage.
fn hundredths(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn time(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}
