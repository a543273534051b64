//! Moving pages by the engine's own pipeline, and watching how it goes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pageferry_azure::PageBlob;
use pageferry_core::{Change, PageRange, Pages};
use pageferry_store::View;
use pageferry_transfer::{Brakes, Budget, Ending, Mover, Progress, Route, Stored, transfer};

use crate::service::fence;

/// What came of it.
#[derive(Debug)]
pub struct Moved {
    /// Bytes written by the end of each [`TICK`].
    pub written: Vec<u64>,
    /// Where it stood in the end.
    pub progress: Progress,
    /// What it failed of, if it did.
    pub failed: Option<String>,
    /// How long it took.
    pub taken: Duration,
}

/// How often it is looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// Copies `ranges` of `source` to `target`, which is taken under [`fence`], until they are done or `stop_after` is over.
pub async fn copy(
    source: &Arc<PageBlob>,
    view: View,
    target: &Arc<PageBlob>,
    ranges: impl Iterator<Item = PageRange> + Send,
    budget: Budget,
    stop_after: Option<Duration>,
) -> Moved {
    let route = Route {
        source: Arc::clone(source),
        view,
        target: Arc::clone(target),
        fence: fence(),
        compare: false,
        mover: Mover::Relay,
        stored: Stored::default(),
    };
    let (progress, watched) = tokio::sync::watch::channel(Progress::default());
    let stop = async {
        match stop_after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let brakes = Brakes { stop, abandon: std::future::pending() };
    let changes = futures::stream::iter(ranges.map(|range| Ok::<_, Infallible>(Change::write(range))));
    let begun = Instant::now();
    let watching = tokio::spawn(async move {
        let (mut written, mut ticks) = (Vec::new(), tokio::time::interval(TICK));
        ticks.tick().await;
        while watched.has_changed().is_ok() {
            ticks.tick().await;
            written.push(watched.borrow().written_bytes);
        }
        written
    });
    let (done, ending) = match transfer(&route, changes, Pages::ZERO, budget, &progress, brakes).await {
        Ok(moved) => moved,
        Err(never) => match never {},
    };
    let taken = begun.elapsed();
    drop(progress);
    let failed = match ending {
        Ending::Failed(error) => Some(error.to_string()),
        _ => None,
    };
    Moved { written: watching.await.unwrap_or_default(), progress: done, failed, taken }
}

impl Moved {
    /// Bytes written between two moments.
    pub fn between(&self, from: Duration, to: Duration) -> u64 {
        let at = |moment: Duration| {
            let ticks = usize::try_from(moment.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
            let tick = ticks.checked_sub(1).map(|tick| tick.min(self.written.len().saturating_sub(1)));
            tick.and_then(|tick| self.written.get(tick)).copied().unwrap_or_default()
        };
        at(to).saturating_sub(at(from))
    }
}
