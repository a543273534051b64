//! Comparing two pictures by content, trusting no change tracker.

use std::sync::Arc;

use pageferry_core::walk::Walk;
use pageferry_core::{Pages, SnapshotId};
use pageferry_store::{Source, View};

use crate::compare::{Side, compare};
use crate::error::{Ranges, ReplicateError};
use crate::event::{Event, Events};
use crate::listing::{Listing, Wanted};
use pageferry_transfer::Progress;

/// Two pictures that were compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Bytes read on each side: pages that are allocated on at least one of them. All others are zeros on both.
    pub compared_bytes: u64,
    /// Whole pages that differ.
    pub ranges: Ranges,
}

/// Reads every page that is allocated in either picture on both sides, and names those that differ. Where one picture is
/// longer, the rest of it counts as different.
///
/// # Errors
/// Of the service.
pub async fn contents<L: Source, R: Source>(
    left: (&Arc<L>, &SnapshotId, Pages),
    right: (&Arc<R>, &SnapshotId, Pages),
    events: &Events,
) -> Result<Comparison, ReplicateError> {
    let view = |id: &SnapshotId| View::Snapshot(id.clone());
    let plain = |id: &SnapshotId, size| Wanted { view: view(id), since: None, if_match: None, size };
    let mut lists = (Listing::start(left.0, plain(left.1, left.2)), Listing::start(right.0, plain(right.1, right.2)));
    let one = Side { blob: &**left.0, view: view(left.1), if_match: None };
    let other = Side { blob: &**right.0, view: view(right.1), if_match: None };
    let common = left.2.min(right.2);
    let mut found = Comparison { compared_bytes: 0, ranges: Ranges::default() };
    let mut walk = Walk::<2>::new();
    loop {
        while let Some(list) = walk.wants() {
            let next = if list == 0 { lists.0.next().await? } else { lists.1.next().await? };
            walk.give(list, next).map_err(|error| ReplicateError::Listing { object: left.0.address(), error })?;
        }
        let Some(stretch) = walk.next() else { break };
        let inside = pageferry_core::PageRange::whole(common).and_then(|whole| stretch.range.intersection(whole));
        if let Some(range) = inside {
            compare(&one, &other, range, &mut found.ranges).await?;
            found.compared_bytes += range.bytes();
            events.tell(&Event::Moving(Progress { watermark: range.end(), ..Progress::default() }));
        }
    }
    if let Some(rest) = pageferry_core::PageRange::new(common, left.2.max(right.2)) {
        found.ranges.push(rest);
    }
    Ok(found)
}
