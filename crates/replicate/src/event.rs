//! What happens, told as it happens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pageferry_core::{PageRange, SnapshotId};
use pageferry_transfer::{Mover, Progress};

/// Something a person or a log may want to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The target's lease is held by another run; we wait.
    Waiting {
        /// Who holds it, from the target's metadata.
        holder: String,
        /// For how much longer at most.
        left: Duration,
    },
    /// The run before ended uncleanly; its last requests are given time to die.
    Quiescing(Duration),
    /// A step begins.
    Begun {
        /// The source snapshot differenced from; `None` for a seed.
        from: Option<SnapshotId>,
        /// The source snapshot copied.
        to: SnapshotId,
        /// The disk's size in bytes.
        disk_bytes: u64,
        /// Where an interrupted run of the same step left off, in bytes.
        resumed_at: Option<u64>,
    },
    /// Pages are moving.
    Moving(Progress),
    /// The target's service has fetched a range by itself, and this is the CRC-64/NVME it computed.
    Stored(PageRange, u64),
    /// All is written; the target is compared with the plan.
    Gating,
    /// A point exists.
    Sealed(StepReport),
    /// Something a person should know, that is no failure.
    Note(String),
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// The source snapshot differenced from; `None` for a seed.
    pub from: Option<SnapshotId>,
    /// The source snapshot copied.
    pub to: SnapshotId,
    /// The target snapshot that is the point.
    pub point: SnapshotId,
    /// The disk's size in bytes.
    pub disk_bytes: u64,
    /// Bytes the source reports as changed.
    pub changed_bytes: u64,
    /// Runs of changed pages.
    pub changed_ranges: u64,
    /// Bytes the source reports as cleared.
    pub freed_bytes: u64,
    /// Runs of cleared pages.
    pub freed_ranges: u64,
    /// Bytes that did not change and were planned to be written, so that fewer requests were needed.
    pub filled_bytes: u64,
    /// Bytes this run wrote to the target.
    pub written_bytes: u64,
    /// Bytes this run cleared on the target.
    pub cleared_bytes: u64,
    /// Page requests this run sent, retries included: reads, writes and clears.
    pub requests: u64,
    /// Of these, refused for load or broken on the way.
    pub refused: u64,
    /// Who moved the bytes.
    pub mover: Mover,
    /// From taking the target to the point.
    pub elapsed: Duration,
    /// The run.
    pub run: String,
}

/// Where events go.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(&Event) + Send + Sync>);

impl Events {
    /// Events go to `sink`, which must not block.
    pub fn new(sink: impl Fn(&Event) + Send + Sync + 'static) -> Events {
        Events(Arc::new(sink))
    }

    /// Tells `event`.
    pub fn tell(&self, event: &Event) {
        (self.0)(event);
    }

    /// Tells a note.
    pub fn note(&self, text: impl Into<String>) {
        self.tell(&Event::Note(text.into()));
    }
}

impl Default for Events {
    fn default() -> Self {
        Events::new(|_| ())
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
