//! A run that dies at any request, and the run after it.
//!
//! The requests of a whole chain are counted once; then the world is stopped at every single one, before and after it is
//! applied, and another process with another request size goes on. Whatever it finds, it must end in the same points.

use std::time::Duration;

use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_core::plan::ChunkPolicy;
use pageferry_tests::{Fate, World, four_snapshots};

#[tokio::test(start_paused = true)]
async fn a_chain_ends_in_one_point_for_each_snapshot() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    let report = process.sync("disk", "backup", Want::Next).await.unwrap().unwrap();
    assert_eq!(pageferry_tests::went_to(&report.steps), snapshots);
    assert_eq!(named(&world).await, snapshots);
    let changed: Vec<u64> = report.steps.iter().map(|step| step.written_bytes).collect();
    assert_eq!(changed, [53 * 512, 7 * 512, 20 * 512, 3 * 512], "bytes written are the bytes changed");
    let freed: Vec<u64> = report.steps.iter().map(|step| step.cleared_bytes).collect();
    assert_eq!(freed, [0, 15 * 512, 3 * 512, 28 * 512], "clears are clears");
    let again = world.process();
    assert!(again.sync("disk", "backup", Want::Next).await.unwrap().unwrap().steps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn killed_before_any_request() {
    killed_at_every_request(|n| move |number, _: &str, _: &str| fate(number, n, Fate::DeathBefore)).await;
}

#[tokio::test(start_paused = true)]
async fn killed_after_any_request_was_applied() {
    killed_at_every_request(|n| move |number, _: &str, _: &str| fate(number, n, Fate::DeathAfter)).await;
}

#[tokio::test(start_paused = true)]
async fn killed_with_any_request_arriving_later() {
    // Twenty-nine seconds is just within the life that every write gives itself.
    let late = Fate::DeathAndLate(Duration::from_secs(29));
    killed_at_every_request(|n| move |number, _: &str, _: &str| fate(number, n, late)).await;
}

#[tokio::test(start_paused = true)]
async fn any_request_lost() {
    fails_at_every_request(Fate::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn any_answer_lost() {
    fails_at_every_request(Fate::Unanswered).await;
}

#[tokio::test(start_paused = true)]
async fn any_request_late() {
    fails_at_every_request(Fate::Late(Duration::from_secs(29))).await;
}

#[tokio::test(start_paused = true)]
async fn any_request_twice() {
    fails_at_every_request(Fate::Twice).await;
}

fn fate(number: u64, n: u64, fate: Fate) -> Fate {
    if number == n { fate } else { Fate::Answered }
}

/// Kills a process at each of its requests in turn; another goes on with requests of another size.
async fn killed_at_every_request<F: Fn(u64, &str, &str) -> Fate + Send + Sync + 'static>(fates: impl Fn(u64) -> F) {
    for n in 0.. {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        let process = world.process_with(fates(n));
        let first = process.sync("disk", "backup", Want::Next).await;
        // Whatever a dead process left behind, no point may lie.
        world.proven_points("backup").await;
        let mut second = world.process();
        // The dead process's last renewal may arrive late and hold the target for longer than one lease.
        second.options.lock_wait = Duration::from_secs(120);
        second.options.chunks = ChunkPolicy::with_request_bytes(2 * 512).unwrap();
        let report = second.sync("disk", "backup", Want::Next).await.unwrap();
        report.unwrap_or_else(|error| panic!("after death at request {n}: {error}"));
        assert_eq!(named(&world).await, snapshots, "after death at request {n}");
        assert_eq!(world.image("backup", None).await, world.image("disk", None).await, "the base, {n}");
        if !process.is_dead() {
            assert!(first.is_some_and(|first| first.is_ok()));
            assert!(n > 100, "a chain of {n} requests is too short to be true");
            return;
        }
    }
}

/// Gives each request of a process in turn a fate that it survives, or that makes it give up.
async fn fails_at_every_request(fate: Fate) {
    for n in 0.. {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        let process = world.process_with(move |number, _, _| if number == n { fate } else { Fate::Answered });
        let first = process.sync("disk", "backup", Want::Next).await.unwrap();
        world.proven_points("backup").await;
        if first.is_err() {
            let second = world.process().sync("disk", "backup", Want::Next).await.unwrap();
            second.unwrap_or_else(|error| panic!("after {first:?} at request {n}: {error}"));
        }
        assert_eq!(named(&world).await, snapshots, "after {fate:?} at request {n}");
        if process.requests() <= n {
            return;
        }
    }
}

/// The source snapshots that proven points name, each once, in order.
async fn named(world: &World) -> Vec<SnapshotId> {
    let mut named: Vec<SnapshotId> =
        world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
    let all = named.len();
    named.dedup();
    assert_eq!(named.len(), all, "a source snapshot has two points");
    named
}
