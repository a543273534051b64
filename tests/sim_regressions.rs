//! What the simulator found, each as the shortest schedule that shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pageferry_core::Pages;
use pageferry_core::next::Want;
use pageferry_emulator::Config;
use pageferry_tests::{Fate, World, four_snapshots};

/// Found by `SwallowedWrites` alone, at seed 40. The target's tracker says that pages were written since the newest point,
/// but not by whom: an interrupted run towards another snapshot wrote them. This run's own write of them is acknowledged
/// and not carried out, and the gate takes the other run's for it.
#[tokio::test(start_paused = true)]
async fn a_swallowed_write_is_not_excused_by_the_write_of_an_interrupted_run() {
    let world = World::new().await;
    world.make("disk", 64).await;
    world.write("disk", 0, 64, 1).await;
    world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.write("disk", 0, 8, 2).await;
    let two = world.snapshot("disk").await;
    let seen = AtomicU64::new(0);
    // Everything of the second step is written; its seal is not.
    let dying = world.process_with(move |_, method, target| {
        let seal = method == "PUT" && target.contains("comp=metadata") && seen.fetch_add(1, Ordering::SeqCst) == 1;
        if seal { Fate::DeathBefore } else { Fate::Answered }
    });
    assert!(dying.sync("disk", "backup", Want::Next).await.is_none());
    world.forget("disk", &two).await;
    world.write("disk", 0, 8, 3).await;
    world.snapshot("disk").await;
    let lying = world.process_with(|_, method, target| {
        if method == "PUT" && target.contains("comp=page") { Fate::Swallowed } else { Fate::Answered }
    });
    let result = lying.sync("disk", "backup", Want::Next).await;
    world.proven_points("backup").await;
    assert!(result.is_some_and(|result| result.is_err()), "the gate saw it");
}

/// A seed dies half way, so that the next run empties the target before it seeds. One of its clears is repeated, and the
/// first copy arrives later, under the same lease and epoch as the writes that came after it.
async fn a_clear_is_late(world: &World, late: Duration) {
    world.make("disk", 64).await;
    world.write("disk", 0, 64, 1).await;
    world.snapshot("disk").await;
    let dying = world.process_with(nth(5, Fate::DeathBefore));
    assert!(dying.sync("disk", "backup", Want::Next).await.is_none());
    let mut second = world.process_with(nth(1, Fate::Late(late)));
    second.options.chunks.clear_max = Pages::new(8);
    let _ = second.sync_alive("disk", "backup", Want::Next).await;
}

/// Found at seed 11853: the clear arrives after the point, and the base is not what it says. Nobody else was there, and
/// the next run must not say so.
#[tokio::test(start_paused = true)]
async fn a_late_clear_of_the_emptying_is_not_taken_for_somebody_elses() {
    let world = World::new().await;
    a_clear_is_late(&world, Duration::from_secs(3)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.write("disk", 60, 61, 2).await;
    world.snapshot("disk").await;
    let result = world.process().sync_alive("disk", "backup", Want::Next).await;
    assert_eq!(world.proven_points("backup").await.len(), 2, "{result:?}");
    result.unwrap();
}

/// Found at seeds 14803, 15498 and 108891: where page lists are coarse, the gate does not see the hole that a clear has
/// made when it arrives between the write and the gate.
#[tokio::test(start_paused = true)]
async fn a_late_clear_of_the_emptying_makes_no_hole_in_a_point() {
    for late in (200..4000).step_by(50) {
        let mut config = Config::default();
        config.variants.list_granularity = 128;
        let world = World::with(config).await;
        a_clear_is_late(&world, Duration::from_millis(late)).await;
        world.proven_points("backup").await;
    }
}

/// Somebody cuts a target that has a point, on a service whose tracker does not say so and whose page lists are coarse.
async fn a_target_that_was_cut() -> Arc<World> {
    let mut config = Config::default();
    config.variants.shrink_reported = false;
    config.variants.list_granularity = 128;
    let world = World::with(config).await;
    world.make("disk", 64).await;
    world.write("disk", 0, 64, 1).await;
    world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.resize("backup", 40).await;
    world
}

/// Found at seeds 10713, 100049 and 107331: somebody cuts the target and lets it grow again. No tracker says so and page
/// lists are coarse, but the base's tag is not its newest point's: that much is known.
#[tokio::test(start_paused = true)]
async fn a_target_that_was_cut_and_regrown_outside_makes_no_false_point_whatever_lists_say() {
    let world = a_target_that_was_cut().await;
    world.resize("backup", 64).await;
    world.write("disk", 5, 9, 2).await;
    world.snapshot("disk").await;
    let _ = world.process().sync_alive("disk", "backup", Want::Next).await;
    world.proven_points("backup").await;
}

/// Found at ten seeds from 100049 to 137663: a gate that failed has shown that something about the target is not as anybody
/// knew. The words that it left were taken by the next run for evidence that all was well but for the watermark.
#[tokio::test(start_paused = true)]
async fn after_a_gate_that_failed_nothing_is_taken_on_trust() {
    let world = a_target_that_was_cut().await;
    let mut lying = world.process_with(nth(1, Fate::Swallowed));
    lying.options.repair = true;
    lying.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    let result = world.process().sync_alive("disk", "backup", Want::Next).await;
    world.proven_points("backup").await;
    result.unwrap();
    assert_eq!(world.image("backup", None).await, world.image("disk", None).await);
}

/// A bit of the sealed words is wrong when they arrive: they name another snapshot, and nothing but the words themselves
/// can tell. Their run reads them back; another run, where this one has died, does not believe them.
#[tokio::test(start_paused = true)]
async fn a_seal_that_was_altered_on_its_way_makes_no_point() {
    for dies in [false, true] {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        let seals = AtomicU64::new(0);
        let altering = world.process_with(move |_, method, target| {
            let words = method == "PUT" && target.contains("comp=metadata");
            match seals.fetch_add(u64::from(words), Ordering::SeqCst) {
                // Each step says its mark, then its seal: this is the second step's.
                3 if words && dies => Fate::AlteredAndDeath("x-ms-meta-pageferrysnapshot"),
                3 if words => Fate::Altered("x-ms-meta-pageferrysnapshot"),
                _ => Fate::Answered,
            }
        });
        let first = altering.sync("disk", "backup", Want::Next).await;
        assert_eq!(first.is_none(), dies);
        let second = world.process().sync_alive("disk", "backup", Want::Next).await;
        let points = world.proven_points("backup").await;
        second.unwrap_or_else(|error| panic!("dies {dies}: {error}"));
        let names: Vec<_> = points.into_iter().map(|(source, _)| source).collect();
        assert_eq!(names, snapshots, "dies {dies}");
    }
}

/// The fate of the `n`th page write, counted from one.
fn nth(n: u64, fate: Fate) -> impl Fn(u64, &str, &str) -> Fate + Send + Sync {
    let seen = AtomicU64::new(0);
    move |_, method, target| {
        let hit = method == "PUT" && target.contains("comp=page");
        if hit && seen.fetch_add(1, Ordering::SeqCst) + 1 == n { fate } else { Fate::Answered }
    }
}
