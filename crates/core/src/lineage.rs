//! What a target says of itself, in metadata that any machine can read (its words: [`crate::words`]).
//!
//! While a step is under way the target carries a [`Mark`]; once the step is complete it carries a [`Seal`], which the
//! snapshot that makes the point copies.

use std::fmt;

use crate::names::{Etag, SnapshotId};
use crate::page::Pages;

/// Which disk a target backs up: for a page blob its address without query, and its creation time, because a blob
/// that was created again under the same name is another disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskId(pub(crate) String);

impl DiskId {
    /// The disk at `address`, made at `created`.
    pub fn new(address: &str, created: &str) -> DiskId {
        DiskId(format!("{address}@{created}"))
    }

    /// Where the disk is, without the time of its creation.
    pub fn address(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(address, _)| address)
    }

    /// Whether the service gives differences of it: not of a page blob that was made before 2016 (protocol rule 40). When
    /// that was is told as HTTP tells times; a managed disk has a name in its place.
    pub fn has_differences(&self) -> bool {
        let created = self.0.rsplit_once('@').map_or("", |(_, created)| created);
        let year = match created.split_whitespace().collect::<Vec<_>>()[..] {
            [_, _, _, year, _, "GMT"] => year.parse::<u16>().ok(),
            _ => None,
        };
        year.is_none_or(|year| year >= 2016)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A source snapshot, by its name and by the tag that tells it from another of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotRef {
    /// Its name.
    pub id: SnapshotId,
    /// Its entity tag.
    pub etag: Etag,
}

/// A step under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The disk.
    pub disk: DiskId,
    /// The source snapshot of the newest point; `None` for a seed.
    pub from: Option<SnapshotRef>,
    /// The source snapshot being copied.
    pub to: SnapshotRef,
    /// The run that does it.
    pub run: String,
    /// The lease it runs under. Whoever can still renew it knows that nobody has written or leased the target since.
    pub lease: String,
    /// The machine it runs on, for people.
    pub host: String,
    /// The run's epoch.
    pub epoch: u64,
    /// Whether the target was known to equal its newest point, or to be empty, when the step began. Where it was not,
    /// neither trackers nor page lists say what is wrong with it, and whoever goes on has to compare everything.
    pub known: bool,
    /// Every change of this step below this page is durable.
    pub watermark: Pages,
    /// The gap policy of the plan, in pages: neighbouring writes this close were joined. Zero means none.
    pub gap: Pages,
    /// What the service has granted the run for reading, by names that open nothing. Whoever comes after takes it back.
    pub grants: Vec<String>,
}

/// A completed step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// The disk.
    pub disk: DiskId,
    /// The source snapshot that the target is now byte-identical to.
    pub snapshot: SnapshotRef,
    /// The source snapshot of the point before; `None` after a seed.
    pub parent: Option<SnapshotRef>,
    /// The digest of the difference that was applied.
    pub plan: String,
    /// Bytes written by the difference.
    pub written_bytes: u64,
    /// Bytes cleared by the difference.
    pub cleared_bytes: u64,
    /// The run that did it.
    pub run: String,
    /// The lease it ran under.
    pub lease: String,
    /// The run's epoch.
    pub epoch: u64,
    /// When, in RFC 3339, by the clock of the machine that ran.
    pub sealed_at: String,
}

/// What a target says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// A step is under way, or was when its run died.
    Applying(Mark),
    /// The target equals a source snapshot.
    Sealed(Seal),
    /// The blob was restored from a point, has a point of its own that says so, and may be in use as a disk since: its
    /// further snapshots are nobody's points.
    Restored(Seal),
}

impl Mark {
    /// What must be assumed of a target whose own words are damaged: that it belongs to the disk of its newest point, and
    /// that anything may have been done to it since.
    pub fn after_damage(newest: &Seal) -> Mark {
        Mark {
            disk: newest.disk.clone(),
            from: None,
            to: newest.snapshot.clone(),
            run: "unknown".to_owned(),
            lease: "unknown".to_owned(),
            host: "unknown".to_owned(),
            epoch: 0,
            known: false,
            watermark: Pages::ZERO,
            gap: Pages::ZERO,
            grants: Vec::new(),
        }
    }
}

impl State {
    /// The disk the target belongs to.
    pub fn disk(&self) -> &DiskId {
        match self {
            State::Applying(mark) => &mark.disk,
            State::Sealed(seal) | State::Restored(seal) => &seal.disk,
        }
    }

    /// The epoch of the run that wrote these words.
    pub fn epoch(&self) -> u64 {
        match self {
            State::Applying(mark) => mark.epoch,
            State::Sealed(seal) | State::Restored(seal) => seal.epoch,
        }
    }

    /// The lease under which these words were written.
    pub fn lease(&self) -> &str {
        match self {
            State::Applying(mark) => &mark.lease,
            State::Sealed(seal) | State::Restored(seal) => &seal.lease,
        }
    }

    /// The run that wrote these words.
    pub fn run(&self) -> &str {
        match self {
            State::Applying(mark) => &mark.run,
            State::Sealed(seal) | State::Restored(seal) => &seal.run,
        }
    }
}
