//! Listings of disks of a terabyte, against a service that says when it is asked and answers when told to.

use super::*;
use crate::planning::{Lists, Planner};
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{Kind, PageRange};
use pageferry_store::{Answer, Ask, PageData, Properties, Receipt, Snapshot};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const GIB: u64 = (1 << 30) / 512;

type Script = dyn Fn(&Ask) -> (Duration, Result<Answer, StoreError>) + Send + Sync;

/// Answers as scripted; knows what it was asked, and how much of it at once.
struct Scripted {
    script: Box<Script>,
    asked: Mutex<Vec<(u64, u64, Option<String>)>>,
    under_way: Mutex<(usize, usize)>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Source for Scripted {
    fn address(&self) -> String {
        "scripted".to_owned()
    }

    async fn properties(&self, _: &View) -> Result<Properties, StoreError> {
        unreachable!("listings ask for lists")
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        unreachable!("listings ask for lists")
    }

    async fn read(&self, _: &View, _: PageRange, _: Option<&Etag>) -> Result<(PageData, Receipt), StoreError> {
        unreachable!("listings ask for lists")
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        let (start, end) = (ask.window.start().count() / GIB, ask.window.end().count() / GIB);
        self.asked.lock().unwrap().push((start, end, ask.marker.clone()));
        {
            let mut under_way = self.under_way.lock().unwrap();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        let (time, answer) = (self.script)(ask);
        sleep(time).await;
        self.under_way.lock().unwrap().0 -= 1;
        answer
    }
}

impl Scripted {
    fn new(script: impl Fn(&Ask) -> (Duration, Result<Answer, StoreError>) + Send + Sync + 'static) -> Arc<Scripted> {
        Arc::new(Scripted { script: Box::new(script), asked: Mutex::default(), under_way: Mutex::default() })
    }

    fn asked(&self) -> Vec<(u64, u64, Option<String>)> {
        self.asked.lock().unwrap().clone()
    }
}

fn wanted(gib: u64) -> Wanted {
    let view = View::Snapshot(SnapshotId::new("2"));
    Wanted { view, since: Some(SnapshotId::new("1")), if_match: None, size: Pages::new(gib * GIB) }
}

fn page(number: u64) -> PageRange {
    PageRange::new(Pages::new(number), Pages::new(number + 1)).unwrap()
}

/// The first page of every GiB of the window, from the marker on, at most `most` of them in one answer.
fn sparse(ask: &Ask, size: Pages, most: usize) -> Answer {
    let from = ask.marker.as_ref().map_or(0, |marker| marker.parse().unwrap()).max(ask.window.start().count());
    let mut all = (from.div_ceil(GIB)..ask.window.end().count().div_ceil(GIB)).map(|gib| gib * GIB);
    let changes: Vec<Change> = all.clone().take(most).map(|at| Change::write(page(at))).collect();
    Answer { changes, next: all.nth(most).map(|at| at.to_string()), size }
}

fn timed_out() -> StoreError {
    StoreError::new(ErrorKind::TimedOut, "Get Page Ranges", "scripted", "as told")
}

async fn read(listing: &mut Listing) -> Result<Vec<u64>, ReplicateError> {
    let mut pages = Vec::new();
    while let Some(change) = listing.next().await? {
        assert_eq!((change.kind, change.range.pages().count()), (Kind::Write, 1));
        assert_eq!(change.range.start().count() % GIB, 0);
        pages.push(change.range.start().count() / GIB);
    }
    Ok(pages)
}

#[tokio::test(start_paused = true)]
async fn windows_are_asked_for_at_once_and_delivered_in_order() {
    let second = Duration::from_secs(1);
    // What is asked later is answered sooner, and one window takes too long until it is small.
    let service = Scripted::new(move |ask| {
        let start = ask.window.start().count() / GIB;
        let time = second * u32::try_from(1 + (1024 - start) / 64).unwrap();
        let large = ask.window.pages() > Pages::new(16 * GIB);
        if (128..192).contains(&start) && large {
            return (time, Err(timed_out()));
        }
        (time, Ok(sparse(ask, Pages::new(1024 * GIB), 1000)))
    });
    let pages = read(&mut Listing::start(&service, wanted(1024))).await.unwrap();
    assert_eq!(pages, (0..1024).collect::<Vec<_>>());
    assert_eq!(service.under_way.lock().unwrap().1, 4, "{:?}", service.asked());
    let asked = service.asked();
    assert_eq!(asked[0], (0, 64, None), "the first window alone");
    let answered: u64 = asked
        .iter()
        .filter(|(start, end, _)| !(128..192).contains(start) || end - start <= 16)
        .map(|w| w.1 - w.0)
        .sum();
    assert_eq!(answered, 1024, "nothing that was answered is asked again: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_there_long_before_the_list_has_ended() {
    let service = Scripted::new(|ask| (Duration::from_secs(1), Ok(sparse(ask, Pages::new(4096 * GIB), 4))));
    let begun = Instant::now();
    let mut listing = Listing::start(&service, wanted(4096));
    assert!(listing.next().await.unwrap().is_some());
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "one answer is enough");
    assert!(service.asked().len() <= 1 + 4, "{:?}", service.asked());
    // Whoever moves pages slowly has a few answers waiting, and not the list.
    sleep(Duration::from_secs(3600)).await;
    assert!(service.asked().len() <= 7, "{:?}", service.asked());
    let pages = read(&mut listing).await.unwrap();
    assert_eq!(pages, (1..4096).collect::<Vec<_>>());
    let sequential = Duration::from_secs(4096 / 4);
    let taken = begun.elapsed() - Duration::from_secs(3600);
    assert!(taken < sequential / 3, "{taken:?} for answers that take {sequential:?} one after the other");
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_planned_long_before_the_list_has_ended() {
    let service = Scripted::new(|ask| (Duration::from_secs(1), Ok(sparse(ask, Pages::new(4096 * GIB), 4))));
    let begun = Instant::now();
    let lists = Lists { source: Listing::start(&service, wanted(4096)), ..Lists::nothing() };
    let mut planner = Planner::new(lists, Pages::ZERO, ChunkPolicy::default());
    assert_eq!(planner.next().await.unwrap(), Some(Change::write(page(0))));
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "one answer is enough");
}

#[tokio::test(start_paused = true)]
async fn a_small_disk_is_asked_about_as_a_whole_and_its_answers_by_marker() {
    let service = Scripted::new(|ask| (Duration::ZERO, Ok(sparse(ask, Pages::new(60 * GIB), 16))));
    let pages = read(&mut Listing::start(&service, wanted(60))).await.unwrap();
    assert_eq!(pages, (0..60).collect::<Vec<_>>());
    let marker = |gib: u64| Some((gib * GIB).to_string());
    let expected = [(0, 60, None), (0, 60, marker(16)), (0, 60, marker(32)), (0, 60, marker(48))];
    assert_eq!(service.asked(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_after_a_part_of_the_answer_asks_only_for_the_rest() {
    let service = Scripted::new(|ask| match ask.marker {
        Some(_) if ask.window.start() == Pages::ZERO => (Duration::ZERO, Err(timed_out())),
        _ => (Duration::ZERO, Ok(sparse(ask, Pages::new(60 * GIB), 16))),
    });
    let pages = read(&mut Listing::start(&service, wanted(60))).await.unwrap();
    assert_eq!(pages, (0..60).collect::<Vec<_>>());
    let again: Vec<_> = service.asked().into_iter().skip(2).filter(|(start, ..)| *start < 15).collect();
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_comes_after_what_is_before_it() {
    let service = Scripted::new(|ask| {
        let failed = StoreError::new(ErrorKind::Denied, "Get Page Ranges", "scripted", "as told");
        match ask.window.start().count() / GIB {
            0..128 => (Duration::from_secs(9), Ok(sparse(ask, Pages::new(1024 * GIB), 1000))),
            _ => (Duration::ZERO, Err(failed)),
        }
    });
    let mut listing = Listing::start(&service, wanted(1024));
    for gib in 0..128 {
        assert_eq!(listing.next().await.unwrap().map(|change| change.range), Some(page(gib * GIB)));
    }
    assert!(matches!(listing.next().await, Err(ReplicateError::Store(error)) if error.kind() == ErrorKind::Denied));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_window_that_times_out_is_the_end() {
    let service = Scripted::new(|_| (Duration::ZERO, Err(timed_out())));
    let failed = read(&mut Listing::start(&service, wanted(1024))).await;
    assert!(matches!(failed, Err(ReplicateError::Store(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(service.asked().len(), 10, "halved nine times, from 64 GiB to 128 MiB");
}
