//! Gaps between small changes: filled where that pays, known to the gate, and filled alike by whoever goes on.

use std::sync::{Arc, Mutex};

use pageferry_core::next::Want;
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{Pages, SnapshotId};
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
