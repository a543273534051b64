//! Writing a picture to where it is no target: a file, or a disk that is being uploaded.
//!
//! Only what is allocated moves. Where the destination may hold something already, what it holds beside the picture is cleared.
//! Requests finish in any order, for they are disjoint, and nothing is durable before the end.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use pageferry_core::plan::{ChunkPolicy, Cutter};
use pageferry_core::walk::Walk;
use pageferry_core::{Change, Kind, PageRange, Pages};
use pageferry_store::{PageData, Receipt, Source, Unfenced, View};
use pageferry_transfer::Progress;

use crate::error::ReplicateError;
use crate::event::Event;
use crate::listing::Listing;
use crate::options::Options;

/// Where pages can be put.
pub(crate) trait Sink: Send + Sync {
    /// How many requests it is worth having under way, now.
    fn in_flight_max(&self) -> usize {
        usize::MAX
    }

    /// Puts `data` at `range`.
    fn write(&self, range: PageRange, data: PageData) -> impl Future<Output = Result<Receipt, ReplicateError>> + Send;

    /// Makes `range` zeros.
    fn clear(&self, range: PageRange) -> impl Future<Output = Result<Receipt, ReplicateError>> + Send;
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Poured {
    pub(crate) progress: Progress,
    /// What was answered in the end, after an attempt whose outcome is not known.
    pub(crate) doubtful: Vec<Change>,
}

/// What there is to do: everything the picture has, and nothing else that the destination has.
#[derive(Debug)]
pub(crate) struct Plan {
    lists: [Listing; 2],
    /// No page of the picture from here on is wanted.
    end: Pages,
    walk: Walk<2>,
    cutter: Cutter,
    walked: bool,
}

impl Plan {
    /// The pages of `picture` below `end`, to where there are those of `held`.
    pub(crate) fn new(picture: Listing, held: Listing, end: Pages, chunks: ChunkPolicy) -> Plan {
        Plan { lists: [picture, held], end, walk: Walk::new(), cutter: Cutter::new(chunks), walked: false }
    }

    /// The next request; `None` at the end. Nothing is lost where this is given up while it waits.
    async fn next(&mut self) -> Result<Option<Change>, ReplicateError> {
        loop {
            if let Some(change) = self.cutter.next() {
                return Ok(Some(change));
            }
            if self.walked {
                return Ok(None);
            }
            while let Some(wanted) = self.walk.wants() {
                let Some(list) = self.lists.get_mut(wanted) else { break };
                let next = list.next().await?;
                let inside = |change: Change| PageRange::whole(self.end).and_then(|whole| change.clipped(whole));
                let next = if wanted == 0 { next.and_then(inside) } else { next };
                let given = self.walk.give(wanted, next);
                given.map_err(|error| ReplicateError::Listing { object: list.object().to_owned(), error })?;
            }
            match self.walk.next() {
                Some(stretch) if stretch.says[0].is_some() => self.cutter.push(Change::write(stretch.range)),
                Some(stretch) => self.cutter.push(Change::clear(stretch.range)),
                None => {
                    self.walked = true;
                    self.cutter.finish();
                }
            }
        }
    }
}

/// Carries `plan` out: reads from `view` of `blob`, writes to `sink`.
///
/// # Errors
/// The first failure of either side, and [`ReplicateError::Interrupted`]; what is under way is then given up.
pub(crate) async fn pour<S: Source>(
    blob: &Arc<S>,
    view: &View,
    mut plan: Plan,
    sink: &impl Sink,
    options: &Options,
) -> Result<Poured, ReplicateError> {
    let (mut poured, mut planned) = (Poured::default(), false);
    let mut in_flight = FuturesUnordered::new();
    let room = usize::try_from(options.budget.bytes / options.chunks.write_max.bytes().max(1)).unwrap_or(usize::MAX);
    let most = room.min(options.budget.requests);
    while !(planned && in_flight.is_empty()) {
        let has_room = in_flight.len() < most.min(blob.in_flight_max()).min(sink.in_flight_max()).max(1);
        tokio::select! {
            biased;
            () = options.stop.cancelled() => return Err(ReplicateError::Interrupted),
            Some(done) = in_flight.next(), if !in_flight.is_empty() => poured.count(done?, options),
            next = plan.next(), if has_room && !planned => match next? {
                Some(change) => in_flight.push(carry_out(&**blob, view, change, sink)),
                None => planned = true,
            },
        }
    }
    Ok(poured)
}

/// Carries out one change.
///
/// # Errors
/// Of either side.
pub(crate) async fn carry_out(
    blob: &impl Source,
    view: &View,
    change: Change,
    sink: &impl Sink,
) -> Result<(Change, Receipt), ReplicateError> {
    let receipt = match change.kind {
        Kind::Write => {
            let (data, _) = blob.read(view, change.range, None).await?;
            sink.write(change.range, data).await?
        }
        Kind::Clear => sink.clear(change.range).await?,
    };
    Ok((change, receipt))
}

impl Poured {
    /// Counts a change that is done.
    pub(crate) fn count(&mut self, (change, receipt): (Change, Receipt), options: &Options) {
        let progress = &mut self.progress;
        match change.kind {
            Kind::Write => progress.written_bytes += change.range.bytes(),
            Kind::Clear => progress.cleared_bytes += change.range.bytes(),
        }
        progress.changes += 1;
        if receipt.unknown_at.is_some() {
            progress.unknown_at = progress.unknown_at.max(receipt.unknown_at);
            self.doubtful.push(change);
        }
        options.events.tell(&Event::Moving(*progress));
    }
}

/// A disk that is being uploaded.
#[derive(Debug)]
pub(crate) struct Upload<'a, U>(pub(crate) &'a U);

impl<U: Unfenced> Sink for Upload<'_, U> {
    fn in_flight_max(&self) -> usize {
        self.0.in_flight_max()
    }

    async fn write(&self, range: PageRange, data: PageData) -> Result<Receipt, ReplicateError> {
        Ok(self.0.write_unfenced(range, &data).await?)
    }

    async fn clear(&self, range: PageRange) -> Result<Receipt, ReplicateError> {
        Ok(self.0.clear_unfenced(range).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Wanted;
    use pageferry_store::Memory;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    fn list(blob: &Arc<Memory>, size: u64) -> Listing {
        let wanted = Wanted { view: View::Base, since: None, if_match: None, size: Pages::new(size) };
        Listing::start(blob, wanted)
    }

    #[tokio::test]
    async fn what_the_picture_has_is_written_and_what_it_has_not_is_cleared() {
        let (picture, held) = (Memory::empty("picture", Pages::new(40)), Memory::empty("held", Pages::new(40)));
        picture.poke(range(0, 8), 1);
        picture.poke(range(30, 40), 2);
        held.poke(range(4, 20), 9);
        held.poke(range(39, 40), 9);
        let (picture, held) = (Arc::new(picture), Arc::new(held));
        let chunks = ChunkPolicy::with_request_bytes(4096).unwrap();
        let mut plan = Plan::new(list(&picture, 40), list(&held, 40), Pages::new(39), chunks);
        let mut changes = Vec::new();
        while let Some(change) = plan.next().await.unwrap() {
            changes.push(change);
        }
        let written: Vec<_> = changes.iter().filter(|change| change.kind == Kind::Write).map(|one| one.range).collect();
        assert_eq!(written, [range(0, 8), range(30, 32), range(32, 39)]);
        let cleared: Vec<_> = changes.iter().filter(|change| change.kind == Kind::Clear).map(|one| one.range).collect();
        assert_eq!(cleared, [range(8, 20), range(39, 40)]);
        let plan = Plan::new(list(&picture, 40), list(&held, 40), Pages::new(40), chunks);
        let poured = pour(&picture, &View::Base, plan, &Upload(&*held), &Options::default()).await.unwrap();
        assert_eq!(held.image(&View::Base), picture.image(&View::Base));
        assert_eq!((poured.progress.written_bytes, poured.progress.cleared_bytes), (18 * 512, 12 * 512));
        assert!(poured.doubtful.is_empty());
    }

    #[tokio::test]
    async fn a_pour_that_is_asked_to_stop_stops() {
        let picture = Arc::new(Memory::empty("picture", Pages::new(40)));
        picture.poke(range(0, 40), 1);
        let held = Arc::new(Memory::empty("held", Pages::new(40)));
        let options = Options::default();
        options.stop.cancel();
        let plan = Plan::new(list(&picture, 40), Listing::empty(), Pages::new(40), options.chunks);
        let poured = pour(&picture, &View::Base, plan, &Upload(&*held), &options).await;
        assert!(matches!(poured, Err(ReplicateError::Interrupted)), "{poured:?}");
    }
}
