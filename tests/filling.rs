//! Gaps between small changes: filled where that pays, known to the gate, and filled alike by whoever goes on.

use std::sync::{Arc, Mutex};

use pageferry_core::next::Want;
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{Pages, SnapshotId};
use pageferry_emulator::{Config, Variants};
use pageferry_replicate::event::Events;
use pageferry_replicate::plan::Plan;
use pageferry_replicate::{Event, Fill};
use pageferry_tests::{Fate, Process, World, plan};

/// A disk that is written from end to end but for a hole, copied, and then changed in single pages with gaps of every
/// kind between them.
async fn scattered() -> (Arc<World>, SnapshotId) {
    let world = World::new().await;
    world.make("disk", 400).await;
    world.write("disk", 0, 200, 1).await;
    world.write("disk", 204, 400, 1).await;
    world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    for page in (0..200).step_by(4) {
        world.write("disk", page, page + 1, 2).await;
    }
    world.clear("disk", 102, 103).await;
    world.write("disk", 206, 207, 2).await;
    world.write("disk", 240, 241, 2).await;
    let newer = world.snapshot("disk").await;
    (world, newer)
}

fn filling(mut process: Process, gap_max: u64) -> Process {
    process.options.chunks = ChunkPolicy::default();
    process.options.fill = Some(Fill { runs_min: 3, gap_max: Some(Pages::new(gap_max)) });
    process
}

/// Collects what people are told.
fn noting(mut process: Process) -> (Process, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notes);
    process.options.events = Events::new(move |event| {
        if let Event::Note(note) = event {
            told.lock().unwrap().push(note.clone());
        }
    });
    (process, notes)
}

#[tokio::test(start_paused = true)]
async fn what_is_filled_is_planned_and_what_is_planned_is_sent() {
    let (world, newer) = scattered().await;
    let mut requests = Vec::new();
    for gap in [0, 8] {
        let process = filling(world.process(), gap);
        let planned = plan(&process.engine("disk", "backup"), &Want::Next).await.unwrap();
        let Plan::Step { difference, planned, unfilled, .. } = planned else { panic!("{planned:?}") };
        assert_eq!((difference.write_ranges, difference.clear_ranges), (52, 1));
        assert_eq!((unfilled.write_requests, unfilled.write_pages), (52, Pages::new(52)));
        requests.push(planned);
    }
    let [plain, filled] = requests[..] else { panic!() };
    assert_eq!(plain.write_requests, 52);
    // A request is worth eight pages, and more are not spent on one: then bytes would bind.
    assert_eq!((filled.write_requests, filled.write_pages), (20, Pages::new(52 + 32 * 3)));
    let (process, notes) = noting(filling(world.process(), 8));
    let report = process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let [step] = &report.steps[..] else { panic!("{report:?}") };
    assert_eq!((&step.to, step.changed_bytes, step.filled_bytes), (&newer, 52 * 512, 32 * 3 * 512));
    assert_eq!((step.written_bytes, step.cleared_bytes), (filled.write_pages.bytes(), 512));
    assert_eq!(
        step.requests,
        2 * filled.write_requests + filled.clear_requests,
        "a read and a write each, and a clear"
    );
    assert_eq!(*notes.lock().unwrap(), Vec::<String>::new(), "the gate knew what was filled");
    assert_eq!(world.proven_points("backup").await.len(), 2);
    let there = world.raw("GET", "disks/disk?comp=pagelist", &[], &[]).await;
    let here = world.raw("GET", "disks/backup?comp=pagelist", &[], &[]).await;
    assert_eq!(there.body.into_bytes(), here.body.into_bytes(), "nothing became allocated that was not");
}

#[tokio::test(start_paused = true)]
async fn a_short_difference_is_sent_as_it_is() {
    for (runs_min, filled) in [(54, false), (53, true)] {
        let (world, _) = scattered().await;
        let mut process = filling(world.process(), 8);
        process.options.fill = Some(Fill { runs_min, gap_max: Some(Pages::new(8)) });
        let report = process.sync_alive("disk", "backup", Want::Next).await.unwrap();
        assert_eq!(report.steps[0].filled_bytes > 0, filled, "{runs_min}");
        assert_eq!(report.steps[0].written_bytes > 52 * 512, filled, "{runs_min}");
    }
}

/// A disk with single written pages apart from each other, copied, that then frees most of them and keeps one.
async fn freed(variants: Variants) -> Arc<World> {
    let world = World::with(Config { variants, ..Config::default() }).await;
    world.make("disk", 400).await;
    for page in (0..80).step_by(4).chain([399]) {
        world.write("disk", page, page + 1, 1).await;
    }
    world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    for page in (0..80).step_by(4).filter(|page| *page != 40) {
        world.clear("disk", page, page + 1).await;
    }
    world.write("disk", 62, 63, 2).await;
    world.snapshot("disk").await;
    world
}

/// What services may do with a clear of nothing, and how coarsely they may tell.
fn kinds() -> [Variants; 4] {
    let of = |clear_of_empty_reported, diff_granularity, list_granularity| Variants {
        clear_of_empty_reported,
        diff_granularity,
        list_granularity,
        ..Variants::default()
    };
    [of(true, 1, 1), of(false, 1, 1), of(true, 8, 1), of(true, 1, 8)]
}

#[tokio::test(start_paused = true)]
async fn clears_are_joined_over_what_holds_nothing_and_the_gate_reads_nothing_for_it() {
    for variants in kinds() {
        let mut told = Vec::new();
        for fill in [false, true] {
            let world = freed(variants.clone()).await;
            let (mut process, notes) = noting(filling(world.process(), 8));
            process.options.fill = process.options.fill.filter(|_| fill);
            let planned = plan(&process.engine("disk", "backup"), &Want::Next).await.unwrap();
            let Plan::Step { planned, unfilled, .. } = planned else { panic!("{planned:?}") };
            let report = process.sync_alive("disk", "backup", Want::Next).await.unwrap();
            let step = &report.steps[0];
            assert_eq!(step.cleared_bytes, planned.clear_pages.bytes(), "what is planned is sent");
            assert_eq!(step.requests, 2 * planned.write_requests + planned.clear_requests);
            let exact = variants.diff_granularity == 1 && variants.list_granularity == 1;
            if fill && exact {
                assert_eq!((unfilled.clear_requests, planned.clear_requests), (19, 3), "one on each side of a page");
                assert_eq!(planned.clear_pages, Pages::new(37 + 17 + 13));
            }
            assert!(planned.clear_requests <= unfilled.clear_requests);
            told.push(notes.lock().unwrap().clone());
            assert_eq!(world.proven_points("backup").await.len(), 2, "{variants:?}");
            let there = world.raw("GET", "disks/disk?comp=pagelist", &[], &[]).await;
            let here = world.raw("GET", "disks/backup?comp=pagelist", &[], &[]).await;
            assert!(there.body.into_bytes() == here.body.into_bytes() || !exact, "{variants:?}");
        }
        let read = |notes: &[String]| -> u64 {
            notes.iter().flat_map(|note| note.split(' ')).find_map(|word| word.parse().ok()).unwrap_or(0)
        };
        assert!(read(&told[1]) <= read(&told[0]), "joining makes nothing doubtful: {told:?}");
        assert!(variants.list_granularity > 1 || variants.diff_granularity > 1 || told[1].is_empty(), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_clears_what_is_left() {
    for variants in kinds() {
        for fatal in 0.. {
            let world = freed(variants.clone()).await;
            let mut first = filling(
                world.process_with(move |n, _, _| if n == fatal { Fate::DeathAfter } else { Fate::Answered }),
                8,
            );
            first.options.budget.requests = 1;
            first.options.watermark_every = std::time::Duration::from_millis(1);
            if first.sync("disk", "backup", Want::Next).await.is_some() {
                assert!(fatal > 10, "{fatal} requests");
                break;
            }
            let second = world.process();
            let planned = plan(&second.engine("disk", "backup"), &Want::Next).await.unwrap();
            let report = second.sync_alive("disk", "backup", Want::Next).await.unwrap();
            if let (Plan::Step { planned, .. }, [step]) = (planned, &report.steps[..]) {
                // Before the lease is taken it is not sure that what the first run has said is durable.
                assert!(step.cleared_bytes <= planned.clear_pages.bytes(), "{fatal}");
                assert!(planned.clear_requests <= 19, "{fatal}: {planned:?}");
            }
            assert_eq!(world.proven_points("backup").await.len(), 2, "{fatal}");
        }
    }
}

/// Whoever goes on takes the gap from the mark, whatever its own options say, and its gate judges by that gap.
#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_fills_what_the_first_one_would_have_filled() {
    let whole = {
        let (world, _) = scattered().await;
        let process = filling(world.process(), 8);
        process.sync_alive("disk", "backup", Want::Next).await.unwrap();
        process.requests()
    };
    let (mut resumed, mut settled) = (0, 0);
    for fatal in 0..whole {
        for applied in [false, true] {
            let (world, _) = scattered().await;
            let fate = if applied { Fate::DeathAfter } else { Fate::DeathBefore };
            let mut first =
                filling(world.process_with(move |n, _, _| if n == fatal { fate } else { Fate::Answered }), 8);
            first.options.budget.requests = 1;
            first.options.watermark_every = std::time::Duration::from_millis(1);
            assert!(first.sync("disk", "backup", Want::Next).await.is_none_or(|done| done.is_ok()));
            let marked = world.raw("HEAD", "disks/backup", &[], &[]).await;
            let applying = marked.get("x-ms-meta-pageferrystate") == Some("applying");
            assert_eq!(applying, marked.get("x-ms-meta-pageferrygap") == Some("4096"), "{fatal}");
            let (second, notes) = noting(world.process());
            let report = second.sync_alive("disk", "backup", Want::Next).await.unwrap();
            resumed += usize::from(applying);
            settled += notes.lock().unwrap().iter().filter(|note| note.contains("differed")).count();
            for step in report.steps.iter().filter(|_| applying) {
                assert!(step.written_bytes == 0 || step.filled_bytes <= 32 * 3 * 512);
            }
            assert_eq!(world.proven_points("backup").await.len(), 2, "{fatal} {applied}");
        }
    }
    assert!(resumed > 10, "{resumed} went on");
    assert_eq!(settled, 0, "every gate knew what was filled");
}
