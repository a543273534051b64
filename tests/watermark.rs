//! When the watermark is written to the target: often enough to lose little, seldom enough to cost nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pageferry_core::next::Want;
use pageferry_core::plan::ChunkPolicy;
use pageferry_replicate::Class;
use pageferry_replicate::event::{Event, Events};
use pageferry_tests::{Fate, Process, World};

/// A seed of two thousand requests, one after the other: some eight seconds of a disk's life.
async fn a_long_seed() -> Arc<World> {
    let world = World::new().await;
    world.make("disk", 2000).await;
    world.write("disk", 0, 2000, 1).await;
    world.snapshot("disk").await;
    world
}

fn one_by_one(mut process: Process, watermark_every: Duration) -> Process {
    process.options.budget.requests = 1;
    process.options.chunks = ChunkPolicy::with_request_bytes(512).unwrap();
    process.options.watermark_every = watermark_every;
    process
}

#[tokio::test(start_paused = true)]
async fn the_watermark_is_written_as_often_as_was_asked() {
    let world = a_long_seed().await;
    let words = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&words);
    let process = world.process_with(move |_, method, target| {
        let said = method == "PUT" && target.contains("comp=metadata");
        counted.fetch_add(u64::from(said), Ordering::SeqCst);
        Fate::Answered
    });
    let process = one_by_one(process, Duration::from_secs(2));
    let begun = tokio::time::Instant::now();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let due = begun.elapsed().as_secs() / 2;
    let watermarks = words.load(Ordering::SeqCst) - 2;
    assert!(due >= 3, "{due} were due");
    assert!((due - 1..=due + 1).contains(&watermarks), "{watermarks} were written and {due} due, beside mark and seal");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_writes_what_it_achieved() {
    let world = a_long_seed().await;
    let mut process = one_by_one(world.process(), Duration::from_secs(3600));
    let stop = process.options.stop.clone();
    process.options.events = Events::new(move |event| {
        if matches!(event, Event::Moving(progress) if progress.changes > 500) {
            stop.cancel();
        }
    });
    let error = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    let head = world.raw("HEAD", "disks/backup", &[], &[]).await;
    let watermark: u64 = head.get("x-ms-meta-pageferrywatermark").unwrap().parse().unwrap();
    assert!(watermark > 500 * 512, "the watermark is {watermark}");
}
