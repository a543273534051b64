//! Why an operation ended without its result, and which class of ending that is.

use std::path::PathBuf;

use pageferry_core::next::Conflict;
use pageferry_core::vhd::FooterError;
use pageferry_core::words::StateError;
use pageferry_core::{DiffError, PageRange, SnapshotId};
use pageferry_store::{ErrorKind, StoreError};

/// The classes a scheduler tells apart; each has its exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Class {
    /// Run again.
    Failed,
    /// Something named does not exist.
    NotFound,
    /// Content differs.
    Differs,
    /// The chain of differences is broken: seed again.
    ChainBroken,
    /// The target is not ours, or was changed outside.
    NotOurs,
    /// Another run holds the target.
    Busy,
    /// Another run took the target.
    Fenced,
    /// The credentials do not suffice.
    Denied,
    /// The request makes no sense for these blobs: a person must change it.
    Configuration,
    /// Asked to stop; can be resumed.
    Interrupted,
}

/// A failed operation, in one sentence that names object, cause and way out.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// A request failed.
    #[error("{0}{hint}", hint = hint(.0))]
    Store(#[from] StoreError),
    /// There is no next step.
    #[error("{target}: {conflict}")]
    Conflict {
        /// The target's address.
        target: String,
        /// Why.
        conflict: Conflict,
    },
    /// The target's words cannot be trusted.
    #[error("{target}: {error}")]
    State {
        /// The target's address.
        target: String,
        /// Why.
        error: StateError,
    },
    /// A listing that is no difference.
    #[error("the page list of {object} contradicts itself: {error}; nothing was sealed, run again or report this")]
    Listing {
        /// The blob listed.
        object: String,
        /// How.
        error: DiffError,
    },
    /// Somebody else is at work.
    #[error("{target} is being written by {holder}: wait for that run, or raise --lock-wait")]
    Busy {
        /// The target's address.
        target: String,
        /// Who holds it.
        holder: String,
    },
    /// The lease could not be renewed in time.
    #[error(
        "the lease of {target} could not be renewed in time, so that another run may hold it by now, and this one has \
         stopped; run the same command again, it resumes"
    )]
    LeaseLost {
        /// The target's address.
        target: String,
    },
    /// Our lease or epoch ended.
    #[error("another run took {target} over from this one, which has stopped writing: {cause}")]
    Fenced {
        /// The target's address.
        target: String,
        /// How it was noticed.
        cause: String,
    },
    /// A service that ignores `prevsnapshot`.
    #[error(
        "{object}: this service does not answer page-range differences truthfully (asked for a difference since a \
         snapshot that does not exist, it {answered} instead of 409 PreviousSnapshotNotFound), so no backup can be based \
         on it"
    )]
    Untrusted {
        /// The blob asked.
        object: String,
        /// What it did.
        answered: String,
    },
    /// Somebody else wrote to the target.
    #[error(
        "{target} was changed outside pageferry since its newest point ({what}): find out by whom; its points are intact, \
         and `--repair` brings the base back in line with the source"
    )]
    Foreign {
        /// The target's address.
        target: String,
        /// What was seen.
        what: String,
    },
    /// The gate found a difference.
    #[error(
        "{target} does not equal source snapshot {snapshot} after the copy: {ranges}; no point was made, the next run \
         starts this step over"
    )]
    Gate {
        /// The target's address.
        target: String,
        /// The source snapshot.
        snapshot: SnapshotId,
        /// The ranges that differ.
        ranges: Ranges,
    },
    /// The disk's own structure is damaged.
    #[error("{object} is not a sound fixed VHD: {error}")]
    Footer {
        /// The blob.
        object: String,
        /// Why.
        error: FooterError,
    },
    /// Contents differ.
    #[error("{left} and {right} differ: {ranges}")]
    Differs {
        /// One side.
        left: String,
        /// The other.
        right: String,
        /// The ranges that differ.
        ranges: Ranges,
    },
    /// No such point.
    #[error("{target} has no point {asked}: `pageferry points` lists them")]
    NoPoint {
        /// The target's address.
        target: String,
        /// What was asked for.
        asked: String,
    },
    /// No such blob.
    #[error("{0} does not exist")]
    NoTarget(String),
    /// The destination is there already.
    #[error("{destination} exists: {why}")]
    Exists {
        /// The file or blob.
        destination: String,
        /// What to do.
        why: &'static str,
    },
    /// A local file.
    #[error("cannot {doing} {path}: {error}{hint}", path = path.display(), hint = io_hint(error))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Something that cannot be done with these blobs.
    #[error("{0}")]
    Refused(String),
    /// Asked to stop.
    #[error("stopped as asked; the same command goes on from here")]
    Interrupted,
}

impl ReplicateError {
    /// Which class of ending this is.
    pub fn class(&self) -> Class {
        match self {
            ReplicateError::Store(error) => store_class(error),
            ReplicateError::Conflict { conflict, .. } => match conflict {
                Conflict::NotOurs => Class::NotOurs,
                Conflict::NoSuchSnapshot(_) | Conflict::NoSnapshots => Class::NotFound,
                Conflict::OtherDisk { .. } | Conflict::OutOfOrder { .. } | Conflict::TooLarge(_) => {
                    Class::Configuration
                }
                _ => Class::ChainBroken,
            },
            ReplicateError::State { error: StateError::NewerFormat(_), .. } => Class::Configuration,
            ReplicateError::State { .. } | ReplicateError::Foreign { .. } => Class::NotOurs,
            ReplicateError::Listing { .. } | ReplicateError::Io { .. } | ReplicateError::LeaseLost { .. } => {
                Class::Failed
            }
            ReplicateError::Busy { .. } => Class::Busy,
            ReplicateError::Fenced { .. } => Class::Fenced,
            ReplicateError::Gate { .. } | ReplicateError::Differs { .. } | ReplicateError::Footer { .. } => {
                Class::Differs
            }
            ReplicateError::NoPoint { .. } | ReplicateError::NoTarget(_) => Class::NotFound,
            ReplicateError::Untrusted { .. } | ReplicateError::Exists { .. } | ReplicateError::Refused(_) => {
                Class::Configuration
            }
            ReplicateError::Interrupted => Class::Interrupted,
        }
    }
}

fn store_class(error: &StoreError) -> Class {
    match error.kind() {
        ErrorKind::NotFound => Class::NotFound,
        ErrorKind::Denied => Class::Denied,
        ErrorKind::Busy => Class::Busy,
        ErrorKind::Fenced => Class::Fenced,
        ErrorKind::Changed => Class::NotOurs,
        ErrorKind::ChainBroken => Class::ChainBroken,
        ErrorKind::Integrity => Class::Differs,
        ErrorKind::Stopped => Class::Interrupted,
        ErrorKind::Exists | ErrorKind::Invalid | ErrorKind::ReadRefused => Class::Configuration,
        _ => Class::Failed,
    }
}

/// What to do next, for failures whose own words do not say.
fn hint(error: &StoreError) -> &'static str {
    match error.kind() {
        ErrorKind::Transient | ErrorKind::TimedOut | ErrorKind::Unknown => "; run the same command again, it resumes",
        ErrorKind::NotFound => "; check the address",
        ErrorKind::Denied => "; check that the credentials are right, not expired, and allow this operation",
        ErrorKind::ChainBroken => {
            "; the chain of differences is broken: `sync --reseed` compares everything and goes on with this target, whose \
             points stay"
        }
        ErrorKind::Integrity => "; nothing was sealed, run again and report this if it stays",
        _ => "",
    }
}

fn io_hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::StorageFull { "; free some space and run again" } else { "" }
}

/// Ranges that differ: all of the first few, and how much in total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    first: Vec<PageRange>,
    count: u64,
    bytes: u64,
}

/// How many ranges are named before the rest is only counted.
const NAMED_MAX: usize = 16;

impl Ranges {
    /// Adds `range`, joined to the last one named if it follows it.
    pub fn push(&mut self, range: PageRange) {
        self.bytes += range.bytes();
        let all_named = self.first.len() as u64 == self.count;
        if let Some(last) = self.first.last_mut().filter(|last| all_named && last.end() == range.start()) {
            *last = PageRange::new(last.start(), range.end()).unwrap_or(*last);
            return;
        }
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(range);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The ranges that are named, in order.
    pub fn named(&self) -> &[PageRange] {
        &self.first
    }

    /// How many bytes differ at most: whole pages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        f.write_str(&named.join(", "))?;
        match self.count.saturating_sub(named.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more ({} bytes in all)", self.bytes),
        }
    }
}
