//! One change, carried out by this machine: read from the source, written to the target.

use pageferry_core::{Change, Kind};
use pageferry_store::{Fence, Receipt, Source, StoreError, Target, View};

/// A change that is durable, and how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The change.
    pub change: Change,
    /// How the read went; a clear reads nothing.
    pub read: Option<Receipt>,
    /// How the write or clear went.
    pub sent: Receipt,
}

impl Settled {
    /// Requests sent for it.
    pub fn requests(&self) -> u32 {
        self.sent.attempts + self.read.map_or(0, |read| read.attempts)
    }

    /// Of these, refused for load or broken on the way.
    pub fn refused(&self) -> u32 {
        self.sent.refused + self.read.map_or(0, |read| read.refused)
    }
}

/// Carries out `change`. The checksum that came with the bytes goes on with them, so that the target's service checks
/// what the source's service vouched for.
pub(crate) async fn relay(
    source: &impl Source,
    view: &View,
    target: &impl Target,
    fence: &Fence,
    change: Change,
) -> Result<Settled, StoreError> {
    match change.kind {
        Kind::Write => {
            let (data, read) = source.read(view, change.range, None).await?;
            let sent = target.write(change.range, &data, fence).await?;
            Ok(Settled { change, read: Some(read), sent })
        }
        Kind::Clear => Ok(Settled { change, read: None, sent: target.clear(change.range, fence).await? }),
    }
}
