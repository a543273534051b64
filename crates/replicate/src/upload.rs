//! Writing a point to a managed disk that is being uploaded.
//!
//! Nothing fences such a disk. What takes the place of fences: every run writes the same bytes, those of one point; what was
//! written with an outcome that nobody knows is read back once it can no longer arrive, before somebody else may write; and the
//! last page, the footer without which the service makes no disk of it, is written when everything else has been compared.

use std::sync::Arc;

use pageferry_core::plan::WRITE_BYTES_MAX;
use pageferry_core::walk::Walk;
use pageferry_core::{Change, Kind, PAGE_BYTES, PageRange, Pages};
use pageferry_store::{ErrorKind, Source, StoreError, Unfenced, View};
use pageferry_transfer::Progress;
use tokio::time::Instant;

use crate::compare::{Side, compare};
use crate::error::{Ranges, ReplicateError};
use crate::event::Event;
use crate::framed::Framed;
use crate::listing::{Listing, Wanted};
use crate::options::Options;
use crate::pour::{Plan, Poured, Upload, carry_out, pour};

/// How often what came out uncertain is looked at again. A line that loses every answer leads nowhere.
const ROUNDS_MAX: usize = 5;

/// Writes all of `point` to `disk`, clears what else that has, and proves the two equal. `resumed` says that an earlier run
/// may have written to the disk, some of which may still arrive.
///
/// # Errors
/// [`ReplicateError::Differs`] where they are not equal, [`ReplicateError::Interrupted`], and failures of the services. The
/// disk is then half made, and the next run goes on with it.
pub async fn upload<S: Source, U: Unfenced>(
    point: &Arc<Framed<S>>,
    disk: &Arc<U>,
    resumed: bool,
    options: &Options,
) -> Result<Progress, ReplicateError> {
    let pair = Pair { point, disk, options };
    let begun = Instant::now();
    let body = point.size().saturating_sub(Pages::new(1));
    let plan = Plan::new(pair.list_point(), pair.list_disk(), body, options.chunks);
    let mut poured = pour(point, point.view(), plan, &Upload(&**disk), options).await?;
    if resumed {
        poured.progress.unknown_at = poured.progress.unknown_at.max(Some(begun));
    }
    pair.or_stop(async {
        pair.settle(&mut poured).await?;
        pair.compare_lists(body).await?;
        if let Some(last) = PageRange::new(body, point.size()) {
            pair.carry_out(Change::write(last), &mut poured).await?;
            pair.settle(&mut poured).await?;
            pair.equal(pair.differing(last).await?)?;
        }
        Ok(poured.progress)
    })
    .await
}

/// A point, and the disk that is to become equal to it.
struct Pair<'a, S, U> {
    point: &'a Arc<Framed<S>>,
    disk: &'a Arc<U>,
    options: &'a Options,
}

impl<S: Source, U: Unfenced> Pair<'_, S, U> {
    /// Waits until nothing that was sent can still arrive, and reads back whatever came out uncertain; what is not there is
    /// written again. After this the disk may be handed to somebody who writes to it.
    async fn settle(&self, poured: &mut Poured) -> Result<(), ReplicateError> {
        for _ in 0..ROUNDS_MAX {
            let Some(unknown_at) = poured.progress.unknown_at.take() else { return Ok(()) };
            let left = (unknown_at + self.options.quiesce).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                self.options.events.tell(&Event::Quiescing(left));
                tokio::time::sleep(left).await;
            }
            for change in std::mem::take(&mut poured.doubtful) {
                if !self.is_done(change).await? {
                    self.carry_out(change, poured).await?;
                }
            }
        }
        let cause = "time and again no answer said whether what was written has arrived";
        Err(StoreError::new(ErrorKind::Unknown, "Put Page", self.disk.address(), cause).into())
    }

    async fn carry_out(&self, change: Change, poured: &mut Poured) -> Result<(), ReplicateError> {
        let done = carry_out(&**self.point, self.point.view(), change, &Upload(&**self.disk)).await?;
        poured.count(done, self.options);
        Ok(())
    }

    /// Whether the disk holds what `change` was to make of it.
    async fn is_done(&self, change: Change) -> Result<bool, ReplicateError> {
        if change.kind == Kind::Write {
            return Ok(self.differing(change.range).await?.is_empty());
        }
        for piece in change.range.cut(Pages::new(WRITE_BYTES_MAX / PAGE_BYTES)) {
            let (data, _) = self.disk.read(&View::Base, piece, None).await?;
            if data.bytes().iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares the page lists below `end`. Where both have data, it is what was written, for the service has checked it
    /// against the checksum it came with; where only one has, both are read.
    async fn compare_lists(&self, end: Pages) -> Result<(), ReplicateError> {
        let mut lists = [self.list_point(), self.list_disk()];
        let below = |change: Change| PageRange::whole(end).and_then(|whole| change.clipped(whole));
        let (left, right) = self.sides();
        let (mut walk, mut differing) = (Walk::<2>::new(), Ranges::default());
        loop {
            while let Some(wanted) = walk.wants() {
                let Some(list) = lists.get_mut(wanted) else { break };
                let next = list.next().await?.and_then(below);
                let given = walk.give(wanted, next);
                given.map_err(|error| ReplicateError::Listing { object: list.object().to_owned(), error })?;
            }
            let Some(stretch) = walk.next() else { return self.equal(differing) };
            if stretch.says.contains(&None) {
                compare(&left, &right, stretch.range, &mut differing).await?;
            }
        }
    }

    /// The pages of `range` that differ.
    async fn differing(&self, range: PageRange) -> Result<Ranges, ReplicateError> {
        let mut differing = Ranges::default();
        let (left, right) = self.sides();
        compare(&left, &right, range, &mut differing).await?;
        Ok(differing)
    }

    fn equal(&self, differing: Ranges) -> Result<(), ReplicateError> {
        if differing.is_empty() {
            return Ok(());
        }
        let left = match self.point.view() {
            View::Snapshot(id) => format!("point {id} of {}", self.point.address()),
            View::Base => self.point.address(),
        };
        Err(ReplicateError::Differs { left, right: self.disk.address(), ranges: differing })
    }

    fn sides(&self) -> (Side<'_, Framed<S>>, Side<'_, U>) {
        (
            Side { blob: self.point, view: self.point.view().clone(), if_match: None },
            Side { blob: self.disk, view: View::Base, if_match: None },
        )
    }

    fn list_point(&self) -> Listing {
        let view = self.point.view().clone();
        Listing::start(self.point, Wanted { view, since: None, if_match: None, size: self.point.size() })
    }

    /// The list refuses a disk of another size.
    fn list_disk(&self) -> Listing {
        let wanted = Wanted { view: View::Base, since: None, if_match: None, size: self.point.size() };
        Listing::start(self.disk, wanted)
    }

    async fn or_stop<R>(&self, work: impl Future<Output = Result<R, ReplicateError>>) -> Result<R, ReplicateError> {
        tokio::select! {
            biased;
            () = self.options.stop.cancelled() => Err(ReplicateError::Interrupted),
            result = work => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use pageferry_core::SnapshotId;
    use pageferry_core::lineage::{DiskId, Seal, SnapshotRef};
    use pageferry_core::next::Point;
    use pageferry_core::{Etag, vhd::Footer};
    use pageferry_store::{Answer, Ask, Memory, PageData, Properties, Receipt, Snapshot, StoreError, Target};

    const PAGES: u64 = 2049;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    /// A target with a point of 1 MiB and a footer.
    async fn point() -> (Memory, Arc<Framed<Memory>>) {
        let target = Memory::empty("target", Pages::new(PAGES));
        target.poke(range(0, 40), 1);
        target.poke(range(100, 110), 2);
        let footer = Footer::for_size((PAGES - 1) * 512, [1; 16], 0).to_bytes();
        target.put(range(PAGES - 1, PAGES), &PageData::new(footer.to_vec().into()));
        let (id, etag) = target.snapshot(None, None).await.unwrap();
        let seal = Seal {
            disk: DiskId::new("disk", "then"),
            snapshot: SnapshotRef { id: SnapshotId::new("1"), etag: etag.clone() },
            parent: None,
            plan: String::new(),
            written_bytes: 0,
            cleared_bytes: 0,
            run: "run".to_owned(),
            lease: String::new(),
            epoch: 1,
            sealed_at: String::new(),
        };
        let point = Point { id, etag, size: Pages::new(PAGES), seal };
        let framed = Framed::new(target.clone(), &point).await.unwrap();
        (target, Arc::new(framed))
    }

    /// What happens to one write of a [`Wild`] disk.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Fate {
        /// It is answered in the end, and nobody knows after how many attempts; it was not applied.
        Lost,
        /// It is answered as if all were well, and was not applied.
        Swallowed,
    }

    /// A disk on which writes that begin at some pages have a fate, once each.
    struct Wild {
        memory: Memory,
        fates: Mutex<Vec<(u64, Fate)>>,
        writes: Mutex<Vec<PageRange>>,
    }

    impl Wild {
        fn new(fates: &[(u64, Fate)]) -> Arc<Wild> {
            let memory = Memory::empty("disk", Pages::new(PAGES));
            Arc::new(Wild { memory, fates: Mutex::new(fates.to_vec()), writes: Mutex::default() })
        }

        fn fate(&self, range: PageRange) -> Option<Fate> {
            self.writes.lock().unwrap().push(range);
            let mut fates = self.fates.lock().unwrap();
            let at = fates.iter().position(|(page, _)| *page == range.start().count())?;
            Some(fates.remove(at).1)
        }

        fn receipt(fate: Option<Fate>) -> Receipt {
            let unknown_at = (fate == Some(Fate::Lost)).then(Instant::now);
            Receipt { attempts: 1, unknown_at, ..Receipt::default() }
        }
    }

    impl Source for Wild {
        fn address(&self) -> String {
            self.memory.address()
        }

        async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
            self.memory.properties(view).await
        }

        async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
            self.memory.snapshots().await
        }

        async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
            self.memory.list(ask).await
        }

        async fn read(
            &self,
            view: &View,
            range: PageRange,
            tag: Option<&Etag>,
        ) -> Result<(PageData, Receipt), StoreError> {
            self.memory.read(view, range, tag).await
        }
    }

    impl Unfenced for Wild {
        async fn write_unfenced(&self, range: PageRange, data: &PageData) -> Result<Receipt, StoreError> {
            let fate = self.fate(range);
            if fate.is_none() {
                self.memory.put(range, data);
            }
            Ok(Wild::receipt(fate))
        }

        async fn clear_unfenced(&self, range: PageRange) -> Result<Receipt, StoreError> {
            let fate = self.fate(range);
            if fate.is_none() {
                self.memory.wipe(range);
            }
            Ok(Wild::receipt(fate))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_becomes_the_point_and_the_footer_is_the_last_of_it() {
        let (target, point) = point().await;
        let disk = Wild::new(&[]);
        disk.memory.poke(range(35, 50), 9);
        disk.memory.poke(range(500, 501), 9);
        let begun = Instant::now();
        let progress = upload(&point, &disk, false, &Options::default()).await.unwrap();
        assert_eq!(disk.memory.image(&View::Base), target.image(&View::Base));
        assert_eq!((progress.written_bytes, progress.cleared_bytes), (51 * 512, 11 * 512));
        assert_eq!(disk.writes.lock().unwrap().last(), Some(&range(PAGES - 1, PAGES)));
        assert!(begun.elapsed() < Duration::from_secs(1), "there is nothing to wait for");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_out_uncertain_is_read_back_after_the_quiet_period() {
        let (target, point) = point().await;
        for lost in [0, 100, 500, PAGES - 1] {
            let disk = Wild::new(&[(lost, Fate::Lost)]);
            disk.memory.poke(range(500, 501), 9);
            let begun = Instant::now();
            upload(&point, &disk, false, &Options::default()).await.unwrap();
            assert_eq!(disk.memory.image(&View::Base), target.image(&View::Base), "{lost}");
            assert!(begun.elapsed() >= Options::default().quiesce, "{lost}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_an_earlier_run_wrote_to_is_not_handed_over_before_its_last_write_is_dead() {
        let (_, point) = point().await;
        let begun = Instant::now();
        upload(&point, &Wild::new(&[]), true, &Options::default()).await.unwrap();
        assert!(begun.elapsed() >= Options::default().quiesce);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_was_swallowed_leaves_no_footer() {
        let (_, point) = point().await;
        for swallowed in [0, 500] {
            let disk = Wild::new(&[(swallowed, Fate::Swallowed)]);
            disk.memory.poke(range(500, 501), 9);
            let ended = upload(&point, &disk, false, &Options::default()).await;
            assert!(
                matches!(&ended, Err(ReplicateError::Differs { ranges, .. }) if !ranges.is_empty()),
                "{swallowed}: {ended:?}"
            );
            assert!(!disk.writes.lock().unwrap().contains(&range(PAGES - 1, PAGES)));
        }
        let disk = Wild::new(&[(PAGES - 1, Fate::Swallowed)]);
        let ended = upload(&point, &disk, false, &Options::default()).await;
        assert!(matches!(ended, Err(ReplicateError::Differs { .. })), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_loses_every_answer_leads_nowhere() {
        let (_, point) = point().await;
        let disk = Wild::new(&[(0, Fate::Lost); 10]);
        let ended = upload(&point, &disk, false, &Options::default()).await;
        assert!(matches!(&ended, Err(ReplicateError::Store(error)) if error.kind() == ErrorKind::Unknown), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_period_can_be_cut_short() {
        let (_, point) = point().await;
        let options = Options::default();
        let stop = options.stop.clone();
        let cut = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            stop.cancel();
        };
        let disk = Wild::new(&[]);
        let (ended, ()) = tokio::join!(upload(&point, &disk, true, &options), cut);
        assert!(matches!(ended, Err(ReplicateError::Interrupted)), "{ended:?}");
    }
}
