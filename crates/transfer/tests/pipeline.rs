//! What the pipeline promises, on stores in memory with time paused.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use pageferry_core::plan::{ChunkPolicy, cut};
use pageferry_core::{Change, Etag, PageRange, Pages};
use pageferry_store::faulty::Faulty;
use pageferry_store::slowed::Slowed;
use pageferry_store::{ErrorKind, Fence, LeaseId, Memory, Source, StoreError, Target, View};
use pageferry_transfer::{Brakes, Budget, Ending, Mover, Progress, Route, Stored, transfer};
use tokio::sync::watch;

const POLICY: ChunkPolicy = ChunkPolicy { write_max: Pages::new(4), clear_max: Pages::new(1000) };

fn range(start: u64, end: u64) -> PageRange {
    PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
}

async fn pair() -> (Memory, Memory, Fence) {
    let size = Pages::new(64);
    let (source, target) = (Memory::empty("source", size), Memory::empty("target", size));
    for page in 0..64 {
        source.poke(range(page, page + 1), u8::try_from(page).unwrap() + 1);
    }
    target.poke(range(0, 64), 0xEE);
    let lease = LeaseId("lease".into());
    target.acquire(&lease, Duration::from_secs(60), None).await.unwrap();
    (source, target, Fence { lease, epoch: 0 })
}

async fn run<S: Source, T: Target>(
    source: S,
    target: T,
    fence: Fence,
    changes: &[Change],
    budget: Budget,
    in_flight: usize,
    stop: impl Future<Output = ()> + Send,
) -> (Progress, Ending) {
    braked(source, target, fence, (changes, budget, in_flight), Brakes { stop, abandon: std::future::pending() }).await
}

async fn braked<S: Source, T: Target>(
    source: S,
    target: T,
    fence: Fence,
    (changes, budget, in_flight): (&[Change], Budget, usize),
    brakes: Brakes<impl Future<Output = ()> + Send, impl Future<Output = ()> + Send>,
) -> (Progress, Ending) {
    let route = Route {
        source: Arc::new(source),
        view: View::Base,
        target: Arc::new(target),
        fence,
        compare: false,
        mover: Mover::Relay,
        stored: Stored::default(),
    };
    let chunks: Vec<_> = changes.iter().flat_map(|change| cut(*change, &POLICY)).map(Ok::<_, StoreError>).collect();
    let (progress, _) = watch::channel(Progress::default());
    transfer(&route, stream::iter(chunks), Pages::ZERO, Budget { requests: in_flight, ..budget }, &progress, brakes)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_abandoned_is_not_waited_for_and_its_outcome_is_not_known() {
    let (source, target, fence) = pair().await;
    let target = Slowed::new(target, Duration::from_secs(1000));
    let begun = tokio::time::Instant::now();
    let brakes = Brakes {
        stop: tokio::time::sleep(Duration::from_secs(1)),
        abandon: tokio::time::sleep(Duration::from_secs(3)),
    };
    let work = (&[Change::write(range(0, 64))][..], Budget::default(), 4);
    let (progress, ending) = braked(source, target, fence, work, brakes).await;
    assert!(matches!(ending, Ending::Stopped), "{ending:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(progress.unknown_at, Some(tokio::time::Instant::now()));
    assert_eq!(progress.watermark, Pages::ZERO);
}

#[tokio::test(start_paused = true)]
async fn writes_and_clears_arrive_and_nothing_else_moves() {
    let (source, target, fence) = pair().await;
    let changes = [Change::write(range(2, 9)), Change::clear(range(20, 30))];
    let (progress, ending) =
        run(source.clone(), target.clone(), fence, &changes, Budget::default(), 8, std::future::pending()).await;
    assert!(matches!(ending, Ending::Complete));
    assert_eq!((progress.written_bytes, progress.cleared_bytes), (7 * 512, 10 * 512));
    assert_eq!((progress.changes, progress.requests), (4, 7));
    assert_eq!(progress.watermark, Pages::new(30));
    let (from, to) = (source.image(&View::Base), target.image(&View::Base));
    for page in 0..64usize {
        let bytes = &to[page * 512..(page + 1) * 512];
        match page {
            2..9 => assert_eq!(bytes, &from[page * 512..(page + 1) * 512], "page {page}"),
            20..30 => assert!(bytes.iter().all(|byte| *byte == 0), "page {page}"),
            _ => assert!(bytes.iter().all(|byte| *byte == 0xEE), "page {page}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_run_side_by_side_up_to_the_pace() {
    let latency = Duration::from_millis(10);
    for (in_flight, rounds) in [(1, 16), (4, 4), (16, 1)] {
        let (source, target, fence) = pair().await;
        let (source, target) = (Slowed::new(source, latency), Slowed::new(target, latency));
        let begun = tokio::time::Instant::now();
        let changes = [Change::write(range(0, 64))];
        run(source, target, fence, &changes, Budget::default(), in_flight, std::future::pending()).await;
        let taken = begun.elapsed();
        let expected = latency * 2 * rounds;
        assert!(taken >= expected && taken < expected + Duration::from_millis(2) * rounds, "{in_flight}: {taken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_the_budget() {
    let latency = Duration::from_millis(10);
    let (source, target, fence) = pair().await;
    let begun = tokio::time::Instant::now();
    let budget = Budget { bytes: 2 * 4 * 512, ..Budget::default() };
    let target = Slowed::new(target, latency);
    run(source, target, fence, &[Change::write(range(0, 64))], budget, 16, std::future::pending()).await;
    assert!(begun.elapsed() >= latency * 8, "two requests of four pages at a time: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn sending_stays_close_to_the_oldest_unfinished_change() {
    let (source, target, fence) = pair().await;
    let source = Faulty::new(source, |_, range| {
        assert!(range.start() < Pages::new(16), "sent {range:?} while the first was unfinished");
        None
    });
    let target = Slowed::new(target, Duration::from_secs(3600));
    let budget = Budget { reach: Pages::new(12), ..Budget::default() };
    let stop = tokio::time::sleep(Duration::from_secs(1));
    let (_, ending) = run(source, target, fence, &[Change::write(range(0, 64))], budget, 16, stop).await;
    assert!(matches!(ending, Ending::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_is_in_flight_settle() {
    let (source, target, fence) = pair().await;
    let slow = Slowed::new(target.clone(), Duration::from_secs(10));
    let stop = tokio::time::sleep(Duration::from_secs(1));
    let changes = [Change::write(range(0, 64))];
    let (progress, ending) = run(source, slow, fence, &changes, Budget::default(), 2, stop).await;
    assert!(matches!(ending, Ending::Stopped));
    assert_eq!((progress.changes, progress.in_flight, progress.watermark), (2, 0, Pages::new(8)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_stops_the_rest_and_holds_the_watermark() {
    let (source, target, fence) = pair().await;
    let target = Faulty::new(target, |operation, range| {
        (operation == "Put Page" && range.start() == Pages::new(8))
            .then(|| StoreError::new(ErrorKind::Transient, "Put Page", "target", "as told"))
    });
    let changes = [Change::write(range(0, 64))];
    let (progress, ending) = run(source, target, fence, &changes, Budget::default(), 3, std::future::pending()).await;
    let Ending::Failed(error) = ending else { panic!("{ending:?}") };
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(progress.watermark, Pages::new(8));
    assert!(progress.changes < 16);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_the_epoch_is_refused() {
    let (source, target, fence) = pair().await;
    let etag = target.properties(&View::Base).await.unwrap().etag;
    let _: Etag = target.raise_sequence(5, &fence.lease, &etag).await.unwrap();
    let changes = [Change::write(range(0, 4))];
    let (_, ending) = run(source, target, fence, &changes, Budget::default(), 3, std::future::pending()).await;
    let Ending::Failed(error) = ending else { panic!("{ending:?}") };
    assert_eq!(error.kind(), ErrorKind::Fenced);
}
