//! What is said, in both forms: a sentence for people, an object for programs.
//!
//! The field names are an interface. Lengths are bytes and end in `_bytes`, times are RFC 3339.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use pageferry_core::PageRange;
use pageferry_core::next::Point;
use pageferry_replicate::StepReport;
use pageferry_replicate::error::Ranges;
use pageferry_transfer::Mover;
use pageferry_transfer::Progress;
use serde::Serialize;

use crate::human::{bytes, count, duration};
use crate::progress::{Work, speed};

/// Gives each type its name in JSON.
macro_rules! say {
    ($($type:ty => $name:literal),* $(,)?) => {
        $(impl $crate::console::Say for $type { const TYPE: &'static str = $name; })*
    };
}
pub(crate) use say;

say! {
    Waiting => "waiting",
    Quiescing => "quiescing",
    Begun => "begun",
    Moving => "progress",
    Gating => "gating",
    Note => "note",
    StepDone => "step",
    Stored => "stored",
    PointSaid => "point",
}

/// Somebody else holds the target.
#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) holder: String,
    pub(crate) left_secs: u64,
}

impl Display for Waiting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the target is held by {}; waiting, for {} s at most", self.holder, self.left_secs)
    }
}

/// Time for late requests to die.
#[derive(Serialize)]
pub(crate) struct Quiescing {
    pub(crate) secs: u64,
}

impl Display for Quiescing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let secs = self.secs;
        write!(f, "the run before ended early; waiting {secs} s until the service can no longer be applying its writes")
    }
}

/// A step begins.
#[derive(Serialize)]
pub(crate) struct Begun {
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    pub(crate) disk_bytes: u64,
    pub(crate) resumed_at_bytes: Option<u64>,
}

impl Display for Begun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.from {
            Some(from) => write!(f, "copying what changed from {from} to {}", self.to)?,
            None => write!(f, "copying {} as a whole", self.to)?,
        }
        match self.resumed_at_bytes {
            Some(at) if at > 0 => write!(f, ", going on at {} of {}", bytes(at), bytes(self.disk_bytes)),
            _ => Ok(()),
        }
    }
}

/// How far a transfer is.
#[derive(Serialize)]
pub(crate) struct Moving {
    #[serde(skip)]
    work: Work,
    #[serde(skip)]
    elapsed: Duration,
    watermark_bytes: u64,
    total_bytes: u64,
    written_bytes: u64,
    cleared_bytes: u64,
    requests: u64,
    refused: u64,
    in_flight: u64,
    elapsed_ms: u64,
}

impl Moving {
    pub(crate) fn new(work: Work, total_bytes: u64, progress: Progress, elapsed: Duration) -> Moving {
        Moving {
            work,
            elapsed,
            watermark_bytes: progress.watermark.bytes().min(total_bytes),
            total_bytes,
            written_bytes: progress.written_bytes,
            cleared_bytes: progress.cleared_bytes,
            requests: progress.requests,
            refused: progress.refused,
            in_flight: progress.in_flight as u64,
            elapsed_ms: millis(elapsed),
        }
    }

    /// What fits beside a bar.
    pub(crate) fn short(&self) -> String {
        let speed = speed(self.written_bytes, self.elapsed);
        match self.work {
            Work::Compare => format!("of {} compared", bytes(self.total_bytes)),
            Work::Image => format!("{} written{speed}", bytes(self.written_bytes)),
            Work::Step => format!(
                "{} written{speed}, {} cleared, {}, {} in flight",
                bytes(self.written_bytes),
                bytes(self.cleared_bytes),
                count(self.requests, "request"),
                self.in_flight
            ),
        }
    }
}

impl Display for Moving {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.work != Work::Image && self.total_bytes > 0 {
            write!(f, "{}% ", u128::from(self.watermark_bytes) * 100 / u128::from(self.total_bytes))?;
        }
        f.write_str(&self.short())?;
        if self.refused > 0 { write!(f, ", {} refused", self.refused) } else { Ok(()) }
    }
}

/// The gate is at work.
#[derive(Serialize)]
pub(crate) struct Gating {}

impl Display for Gating {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("comparing the target with the source snapshot")
    }
}

/// Something a person should know.
#[derive(Serialize)]
pub(crate) struct Note {
    pub(crate) text: String,
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "note: {}", self.text)
    }
}

/// A point was made.
#[derive(Serialize)]
pub(crate) struct StepDone {
    from: Option<String>,
    to: String,
    point: String,
    disk_bytes: u64,
    changed_bytes: u64,
    changed_ranges: u64,
    freed_bytes: u64,
    freed_ranges: u64,
    filled_bytes: u64,
    written_bytes: u64,
    cleared_bytes: u64,
    requests: u64,
    refused: u64,
    engine: &'static str,
    elapsed_ms: u64,
    run: String,
}

/// A range that the target's service fetched by itself.
#[derive(Serialize)]
pub(crate) struct Stored {
    pub(crate) offset_bytes: u64,
    pub(crate) length_bytes: u64,
    /// CRC-64/NVME in hexadecimal.
    pub(crate) crc64: String,
}

impl Display for Stored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", bytes(self.length_bytes), self.offset_bytes, self.crc64)
    }
}

impl From<&StepReport> for StepDone {
    fn from(report: &StepReport) -> StepDone {
        StepDone {
            from: report.from.as_ref().map(ToString::to_string),
            to: report.to.to_string(),
            point: report.point.to_string(),
            disk_bytes: report.disk_bytes,
            changed_bytes: report.changed_bytes,
            changed_ranges: report.changed_ranges,
            freed_bytes: report.freed_bytes,
            freed_ranges: report.freed_ranges,
            filled_bytes: report.filled_bytes,
            written_bytes: report.written_bytes,
            cleared_bytes: report.cleared_bytes,
            requests: report.requests,
            refused: report.refused,
            engine: match report.mover {
                Mover::Relay => "relay",
                Mover::Service => "service",
            },
            elapsed_ms: millis(report.elapsed),
            run: report.run.clone(),
        }
    }
}

impl Display for StepDone {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let elapsed = Duration::from_millis(self.elapsed_ms);
        writeln!(f, "point {}", self.point)?;
        match &self.from {
            Some(from) => writeln!(f, "  source    {from} to {}", self.to)?,
            None => writeln!(f, "  source    {}, as a whole", self.to)?,
        }
        let (changed, freed) = (count(self.changed_ranges, "range"), count(self.freed_ranges, "range"));
        writeln!(f, "  changed   {} in {changed} of {}", bytes(self.changed_bytes), bytes(self.disk_bytes))?;
        writeln!(f, "  freed     {} in {freed}", bytes(self.freed_bytes))?;
        write!(f, "  moved     {} written, {} cleared", bytes(self.written_bytes), bytes(self.cleared_bytes))?;
        write!(f, ", {}", count(self.requests, "request"))?;
        if self.refused > 0 {
            write!(f, " ({} refused)", self.refused)?;
        }
        write!(f, ", {}{}", duration(elapsed), speed(self.written_bytes, elapsed))
    }
}

/// A point, as listed.
#[derive(Serialize)]
pub(crate) struct PointSaid {
    pub(crate) point: String,
    pub(crate) source_snapshot: String,
    pub(crate) parent: Option<String>,
    pub(crate) sealed_at: String,
    pub(crate) disk_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) cleared_bytes: u64,
    pub(crate) run: String,
    pub(crate) disk: String,
}

impl From<&Point> for PointSaid {
    fn from(point: &Point) -> PointSaid {
        let seal = &point.seal;
        PointSaid {
            point: point.id.to_string(),
            source_snapshot: seal.snapshot.id.to_string(),
            parent: seal.parent.as_ref().map(|parent| parent.id.to_string()),
            sealed_at: seal.sealed_at.clone(),
            disk_bytes: point.size.bytes(),
            written_bytes: seal.written_bytes,
            cleared_bytes: seal.cleared_bytes,
            run: seal.run.clone(),
            disk: seal.disk.to_string(),
        }
    }
}

impl Display for PointSaid {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<28}  {:<28}  {:<20}  {:>11}  {:>11}  {}",
            self.point,
            self.source_snapshot,
            self.sealed_at,
            bytes(self.written_bytes),
            bytes(self.cleared_bytes),
            self.run
        )
    }
}

/// A range as programs want it: half-open, in bytes.
#[derive(Serialize)]
pub(crate) struct ByteRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The ranges that `ranges` names.
pub(crate) fn named(ranges: &Ranges) -> Vec<ByteRange> {
    let of = |range: &PageRange| ByteRange { start: range.start().bytes(), end: range.end().bytes() };
    ranges.named().iter().map(of).collect()
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
