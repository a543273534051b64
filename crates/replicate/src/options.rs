//! What a run may be told.

use std::sync::Arc;
use std::time::Duration;

use pageferry_core::plan::ChunkPolicy;
use pageferry_transfer::Budget;
use tokio_util::sync::CancellationToken;

use crate::event::Events;
use crate::filling::Fill;
use crate::machine::{Machine, ThisMachine};

/// How a run behaves. Nothing here changes what is true afterwards, only how long it takes to get there.
#[derive(Clone, Debug)]
pub struct Options {
    /// How requests are cut.
    pub chunks: ChunkPolicy,
    /// When short gaps between writes are filled; `None` for never.
    pub fill: Option<Fill>,
    /// How much may be under way at once.
    pub budget: Budget,
    /// Who moves the bytes.
    pub mover: Choice,
    /// The length of the target's lease; 15 to 60 seconds.
    pub lease: Duration,
    /// How long to wait for somebody else's lease.
    pub lock_wait: Duration,
    /// How long the service may still be applying a request that nobody waits for any more. Every write limits its own
    /// life to less than this.
    pub quiesce: Duration,
    /// How often the watermark is written to the target.
    pub watermark_every: Duration,
    /// This machine's name, for whoever finds the target busy.
    pub host: String,
    /// Bring a target that was changed outside back to the source's content instead of refusing it.
    pub repair: bool,
    /// Begin a broken chain of differences anew on the same target instead of refusing it.
    pub reseed: bool,
    /// Ends the run early when cancelled: what is in flight settles, the target is marked, and the run can be resumed.
    pub stop: CancellationToken,
    /// Where progress is told.
    pub events: Events,
    /// The machine that the run is on.
    pub machine: Arc<dyn Machine>,
}

/// Who shall move the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// This machine, which checks them.
    #[default]
    Relay,
    /// The target's service, which fetches them from the source's.
    Service,
    /// The service, if it can: the first range that is to be written is tried.
    Auto,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            chunks: ChunkPolicy::default(),
            fill: None,
            budget: Budget::default(),
            mover: Choice::default(),
            lease: Duration::from_secs(60),
            lock_wait: Duration::from_secs(75),
            quiesce: Duration::from_secs(45),
            watermark_every: Duration::from_secs(5),
            host: "unknown".to_owned(),
            repair: false,
            reseed: false,
            stop: CancellationToken::new(),
            events: Events::default(),
            machine: Arc::new(ThisMachine),
        }
    }
}
