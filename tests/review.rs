//! Schedules that an adversarial review found broken, each of which must hold; and sweeps that it tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pageferry_azure::Side;
use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_emulator::{Config, Variants};
use pageferry_replicate::event::{Event, Events};
use pageferry_replicate::{Class, ReplicateError};
use pageferry_tests::{Fate, Process, World, adopt, find_point, four_snapshots, restore};

/// The fate of the `n`th request, counted from one, with this verb and these words in its target.
fn nth(n: u64, verb: &'static str, words: &'static str, fate: Fate) -> impl Fn(u64, &str, &str) -> Fate + Send + Sync {
    let seen = AtomicU64::new(0);
    move |_, method, target| {
        let hit = method == verb && target.contains(words);
        if hit && seen.fetch_add(1, Ordering::SeqCst) + 1 == n { fate } else { Fate::Answered }
    }
}

async fn header(world: &World, blob: &str, name: &str) -> String {
    world.raw("HEAD", &format!("disks/{blob}"), &[], &[]).await.get(name).unwrap_or_default().to_owned()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A disk with a point on the target, and a second snapshot in which the first 64 pages are new.
async fn half_a_step(world: &World) -> (SnapshotId, SnapshotId) {
    world.make("disk", 96).await;
    world.write("disk", 0, 96, 1).await;
    let one = world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.write("disk", 0, 64, 9).await;
    let two = world.snapshot("disk").await;
    (one, two)
}

/// One request after the other, and a watermark after each.
fn slow(mut process: Process) -> Process {
    process.options.budget.requests = 1;
    process.options.watermark_every = Duration::from_millis(1);
    process
}

/// A run dies in the middle of the second step, its watermark past the page that the tests tamper with; its lease runs out.
async fn dies_half_way(world: &World) {
    let dying = slow(world.process_with(nth(7, "PUT", "comp=page", Fate::DeathBefore)));
    assert!(dying.sync("disk", "backup", Want::Next).await.is_none());
    let watermark: u64 = header(world, "backup", "x-ms-meta-pageferrywatermark").await.parse().unwrap();
    assert!(watermark >= 8 * 512, "the watermark is {watermark}");
    seconds(61).await;
    assert_eq!(header(world, "backup", "x-ms-lease-state").await, "expired");
}

/// The next run may fail, but what it seals must be true.
async fn next_run_makes_no_false_point(world: &World, snapshots: &[SnapshotId]) {
    let result = world.process().sync_alive("disk", "backup", Want::Next).await;
    let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
    result.unwrap();
    assert_eq!(points, snapshots);
}

// ---------------------------------------------------------------------------------------------------------------------
// Evidence: an ended lease proves nothing about the time before that lease was taken.

/// A run dies half way; somebody writes (the lease becomes available: the evidence is gone); another run takes the lease
/// and dies at once, before its epoch; its lease runs out and looks like evidence again.
#[tokio::test(start_paused = true)]
async fn a_run_that_dies_with_a_fresh_lease_does_not_restore_evidence() {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    dies_half_way(&world).await;
    world.write("backup", 2, 3, 0xBA).await;
    assert_eq!(header(&world, "backup", "x-ms-lease-state").await, "available");
    let second = world.process_with(nth(1, "PUT", "comp=lease", Fate::DeathAfter));
    assert!(second.sync("disk", "backup", Want::Next).await.is_none());
    seconds(61).await;
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

/// The same, but the second run does not die: it cannot raise its epoch, gives up, and breaks its lease.
#[tokio::test(start_paused = true)]
async fn a_run_that_gives_up_before_its_epoch_does_not_restore_evidence() {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    dies_half_way(&world).await;
    world.write("backup", 2, 3, 0xBA).await;
    let second = world.process_with(|_, method, target| {
        if method == "PUT" && target.contains("comp=properties") { Fate::Lost } else { Fate::Answered }
    });
    second.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

/// Another program takes a lease of its own, writes under it, and lets it run out.
#[tokio::test(start_paused = true)]
async fn a_foreign_write_under_a_foreign_lease_leaves_no_evidence() {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    dies_half_way(&world).await;
    let id = "11111111-2222-3333-4444-555555555555";
    let headers = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "15"), ("x-ms-proposed-lease-id", id)];
    world.must("PUT", "disks/backup?comp=lease", &headers, &[]).await;
    let headers = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=1024-1535"), ("x-ms-lease-id", id)];
    world.must("PUT", "disks/backup?comp=page", &headers, &[0xBA; 512]).await;
    seconds(16).await;
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

/// Requests for the lease are repeated under the same id; an attempt arrives after the run has ended and somebody has
/// written. Among them is the one that shortens the lease of an interrupted run (the model's history G5).
#[tokio::test(start_paused = true)]
async fn a_late_acquire_does_not_restore_evidence() {
    for late in 1..=8 {
        a_lease_request_is_late(late).await;
    }
}

async fn a_lease_request_is_late(late: u64) {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    let mut first = slow(world.process_with(nth(late, "PUT", "comp=lease", Fate::Late(Duration::from_secs(29)))));
    let stop = first.options.stop.clone();
    first.options.events = Events::new(move |event| {
        if matches!(event, Event::Moving(progress) if progress.changes > 4) {
            stop.cancel();
        }
    });
    let error = first.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    seconds(16).await;
    world.write("backup", 2, 3, 0xBA).await;
    assert_eq!(header(&world, "backup", "x-ms-lease-state").await, "available");
    seconds(100).await;
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

/// A lease that was found ended is a debt: something of its run may still be under way. A run that ends before it has
/// waited leaves the same sign to the next (the model's history G7).
#[tokio::test(start_paused = true)]
async fn a_run_that_has_not_waited_leaves_the_sign_that_somebody_must() {
    let world = World::new().await;
    half_a_step(&world).await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.write("disk", 1, 2, 9).await;
    world.snapshot("disk").await;
    let headers = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "15")];
    world.must("PUT", "disks/backup?comp=lease", &headers, &[]).await;
    seconds(20).await;
    // It takes the target, and then can no longer reach its source.
    let taken = AtomicU64::new(0);
    let failing = world.process_with(move |_, method, target| {
        taken.fetch_add(u64::from(method == "PUT" && target.contains("comp=lease")), Ordering::SeqCst);
        if taken.load(Ordering::SeqCst) > 0 && target.contains("disks/disk") { Fate::Lost } else { Fate::Answered }
    });
    failing.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    seconds(20).await;
    assert_eq!(header(&world, "backup", "x-ms-lease-state").await, "expired");
}

/// The second run sees the ended lease, somebody writes, the second run takes the lease, knows that the evidence is gone,
/// fails for another reason, and leaves the lease broken because it had found an ended one.
#[tokio::test(start_paused = true)]
async fn a_run_that_saw_the_evidence_vanish_does_not_leave_it_behind() {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    dies_half_way(&world).await;
    let (heads, other) = (AtomicU64::new(0), Arc::clone(&world));
    let second = world.process_with(move |_, method, target| {
        if method == "HEAD" && target.contains("disks/backup") && heads.fetch_add(1, Ordering::SeqCst) == 1 {
            let world = Arc::clone(&other);
            // Between Get Blob Properties and Lease Blob.
            tokio::spawn(async move { world.write("backup", 2, 3, 0xBA).await });
        }
        let lost = heads.load(Ordering::SeqCst) >= 2 && target.contains("disks/disk");
        if lost { Fate::Lost } else { Fate::Answered }
    });
    second.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

/// The same hole where only the point is missing: nothing at all is compared before the snapshot is taken.
#[tokio::test(start_paused = true)]
async fn a_sealed_target_without_its_point_is_not_finished_on_borrowed_evidence() {
    let world = World::new().await;
    let (one, two) = half_a_step(&world).await;
    let dying = world.process_with(nth(1, "PUT", "comp=snapshot", Fate::DeathBefore));
    assert!(dying.sync("disk", "backup", Want::Next).await.is_none());
    seconds(61).await;
    world.write("backup", 90, 91, 0xBA).await;
    let second = world.process_with(nth(1, "PUT", "comp=lease", Fate::DeathAfter));
    assert!(second.sync("disk", "backup", Want::Next).await.is_none());
    seconds(61).await;
    next_run_makes_no_false_point(&world, &[one, two]).await;
}

// ---------------------------------------------------------------------------------------------------------------------
// Adoption.

/// A backup of four snapshots, restored to a new disk.
async fn restored(world: &World) -> Process {
    four_snapshots(world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let point = find_point(&process.blob("backup", Side::Target), "latest").await.unwrap();
    restore(&process.engine("backup", "restored"), &point, false).await.unwrap();
    let first = world.snapshot("restored").await;
    let oldest = SnapshotId::new(world.proven_restore(&process, "restored").await);
    world.know(&oldest, &first);
    process
}

#[tokio::test(start_paused = true)]
async fn adopting_a_target_that_was_grown_outside_makes_no_longer_point() {
    let world = World::new().await;
    let process = restored(&world).await;
    world.resize("backup", 200).await;
    let _ = adopt(&process.engine("restored", "backup")).await;
    world.proven_points("backup").await;
}

#[tokio::test(start_paused = true)]
async fn adopting_a_target_that_was_shrunk_outside_makes_no_shorter_point() {
    let world = World::new().await;
    let process = restored(&world).await;
    world.resize("backup", 16).await;
    let _ = adopt(&process.engine("restored", "backup")).await;
    world.proven_points("backup").await;
}

#[tokio::test(start_paused = true)]
async fn adopting_a_target_that_was_cut_and_regrown_outside_makes_no_false_point() {
    let silent = Config { variants: Variants { shrink_reported: false, ..Variants::default() }, ..Config::default() };
    let world = World::with(silent).await;
    let process = restored(&world).await;
    world.resize("backup", 16).await;
    world.resize("backup", 128).await;
    let _ = adopt(&process.engine("restored", "backup")).await;
    world.proven_points("backup").await;
}

/// The words of the adoption are written, the snapshot cannot be taken: the lease is released, so that neither `sync` nor
/// `adopt` can ever go on.
#[tokio::test(start_paused = true)]
async fn an_adoption_whose_snapshot_fails_can_be_finished() {
    let world = World::new().await;
    let process = restored(&world).await;
    let unlucky = world.process_with(|_, method, target| {
        if method == "PUT" && target.contains("comp=snapshot") { Fate::Lost } else { Fate::Answered }
    });
    adopt(&unlucky.engine("restored", "backup")).await.unwrap_err();
    let again = adopt(&process.engine("restored", "backup")).await;
    let synced = process.sync_alive("restored", "backup", Want::Next).await;
    synced.unwrap_or_else(|error| panic!("adopt again: {:?}; sync: {error}", again.map(|point| point.is_some())));
    world.proven_points("backup").await;
}

// ---------------------------------------------------------------------------------------------------------------------
// Restores.

/// The restored disk keeps the words of the restore's seal, and so do its later snapshots. When the oldest goes, as old
/// source snapshots do, a younger one with other content is taken for the point.
#[tokio::test(start_paused = true)]
async fn snapshots_of_a_restored_disk_in_use_are_no_points() {
    let world = World::new().await;
    let process = restored(&world).await;
    world.write("restored", 17, 19, 9).await;
    world.snapshot("restored").await;
    let oldest = SnapshotId::new(world.proven_restore(&process, "restored").await);
    world.forget("restored", &oldest).await;
    assert!(world.proven_points("restored").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_blob_with_points_is_not_overwritten_although_its_base_lost_its_words() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    process.sync_alive("disk", "precious", Want::Next).await.unwrap();
    world.must("PUT", "disks/precious?comp=metadata", &[], &[]).await;
    let point = find_point(&process.blob("backup", Side::Target), "latest").await.unwrap();
    let result = restore(&process.engine("backup", "precious"), &point, true).await;
    assert!(matches!(result, Err(ReplicateError::Exists { .. })), "{result:?}");
}

/// The gate of a seed trusts the page list to prove that the plan was carried out; on a blob that had pages before, a list
/// of allocated pages proves nothing.
#[tokio::test(start_paused = true)]
async fn an_overwriting_restore_whose_write_is_swallowed_makes_no_point() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let point = find_point(&process.blob("backup", Side::Target), "latest").await.unwrap();
    world.make("there", 128).await;
    world.write("there", 0, 128, 0xCC).await;
    let seen = AtomicU64::new(0);
    let lying = world.process_with(move |_, method, target| {
        let write = method == "PUT" && target.contains("comp=page");
        if write && seen.fetch_add(1, Ordering::SeqCst) == 1 { Fate::Swallowed } else { Fate::Answered }
    });
    let _ = restore(&lying.engine("backup", "there"), &point, true).await;
    world.proven_points("there").await;
}

// ---------------------------------------------------------------------------------------------------------------------
// Changes from outside that are not seen, or not got over.

#[tokio::test(start_paused = true)]
async fn a_resize_from_outside_is_a_change_from_outside() {
    for pages in [200, 16] {
        let world = World::new().await;
        half_a_step(&world).await;
        world.resize("backup", pages).await;
        let error = world.process().sync_alive("disk", "backup", Want::Next).await.map(drop);
        world.proven_points("backup").await;
        assert_eq!(error.map_err(|error| error.class()), Err(Class::NotOurs), "resized to {pages}");
    }
}

/// The gate finds what no tracker reported, but the plan of the next run does not learn from it.
#[tokio::test(start_paused = true)]
async fn what_only_the_gate_finds_is_repaired_in_the_end() {
    let silent = Config { variants: Variants { shrink_reported: false, ..Variants::default() }, ..Config::default() };
    let world = World::with(silent).await;
    half_a_step(&world).await;
    world.resize("backup", 80).await;
    world.resize("backup", 96).await;
    let mut process = world.process();
    process.options.repair = true;
    for _ in 0..3 {
        let result = process.sync_alive("disk", "backup", Want::Next).await;
        world.proven_points("backup").await;
        if result.is_ok() {
            return;
        }
    }
    panic!("three runs with --repair have not repaired it");
}

// ---------------------------------------------------------------------------------------------------------------------
// Time.

#[tokio::test(start_paused = true)]
async fn a_premium_target_is_given_its_ten_minutes() {
    let mut config = Config::default();
    config.accounts.values_mut().for_each(|account| account.limit_snapshots = true);
    let world = World::with(config).await;
    world.make("disk", 96).await;
    world.write("disk", 0, 20, 1).await;
    let one = world.snapshot("disk").await;
    seconds(601).await;
    world.write("disk", 5, 9, 4).await;
    let two = world.snapshot("disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
    assert_eq!(points, [one, two]);
}

/// A resize whose answer was lost is repeated, and the first copy of it arrives later. It changes nothing but the tag, and
/// nobody else is at work.
#[tokio::test(start_paused = true)]
async fn a_late_resize_of_ours_is_not_another_run() {
    let mut wrong = Vec::new();
    for late in (100..1500).step_by(10) {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        world.process().sync_alive("disk", "backup", Want::To(snapshots[1].clone())).await.unwrap();
        // The first change of properties is the epoch, the second the size.
        let process = world.process_with(nth(2, "PUT", "comp=properties", Fate::Late(Duration::from_millis(late))));
        let result = process.sync_alive("disk", "backup", Want::To(snapshots[2].clone())).await;
        world.proven_points("backup").await;
        if let Err(error) = result {
            wrong.push(format!("late by {late} ms: {:?} {error}", error.class()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Getting the lease took a minute of retries; it was granted just now.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_hard_to_get_is_not_lost_at_once() {
    let world = World::new().await;
    half_a_step(&world).await;
    let seen = AtomicU64::new(0);
    let mut process = world.process_with(move |_, method, target| {
        let lease = method == "PUT" && target.contains("comp=lease") && seen.fetch_add(1, Ordering::SeqCst) < 7;
        if lease { Fate::Lost } else { Fate::Answered }
    });
    // The step takes longer than a quarter of the lease: the run before left it dirty.
    dies_half_way(&world).await;
    process = slow(process);
    let result = process.sync_alive("disk", "backup", Want::Next).await;
    result.unwrap_or_else(|error| panic!("{:?} {error}", error.class()));
}

/// Asked to stop right after a point was made, a sync need not mark the next step first.
#[tokio::test(start_paused = true)]
async fn a_stop_between_two_steps_leaves_the_target_at_its_point() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let mut process = world.process();
    let stop = process.options.stop.clone();
    process.options.events = Events::new(move |event| {
        if matches!(event, Event::Sealed(_)) {
            stop.cancel();
        }
    });
    let error = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    assert_eq!(world.proven_points("backup").await.len(), 1);
    assert_eq!(header(&world, "backup", "x-ms-meta-pageferrystate").await, "sealed");
}

// ---------------------------------------------------------------------------------------------------------------------
// Sweeps.

/// Each request of a chain whose watermark is written after every page write, late by various times: no point lies, and the
/// next run ends the chain.
#[tokio::test(start_paused = true)]
async fn any_request_late_by_any_time_with_busy_watermarks() {
    let mut gave_up = Vec::new();
    for late in [4, 30, 150, 300, 450, 600, 2_000, 9_000, 29_000] {
        for n in 0.. {
            let world = World::new().await;
            let snapshots = four_snapshots(&world, "disk").await;
            let hit = Arc::new(std::sync::Mutex::new(String::new()));
            let told = Arc::clone(&hit);
            let process = slow(world.process_with(move |number, method, target| {
                if number != n {
                    return Fate::Answered;
                }
                *told.lock().unwrap() = format!("{method} {}", target.split("disks").last().unwrap_or_default());
                Fate::Late(Duration::from_millis(late))
            }));
            let first = process.sync_alive("disk", "backup", Want::Next).await;
            world.proven_points("backup").await;
            if let Err(error) = &first {
                gave_up.push(format!("{} late by {late} ms: {:?}", hit.lock().unwrap(), error.class()));
                world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
            }
            let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
            assert_eq!(points, snapshots, "request {n} late by {late} ms");
            if process.requests() <= n {
                break;
            }
        }
    }
    assert!(gave_up.is_empty(), "runs that gave up: {gave_up:#?}");
}

/// A generator of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Runs that die, stall and overlap, operators who break leases, sources that grow and lose snapshots, in any order: no
/// point ever lies, and a last quiet run succeeds unless the chain is broken.
#[tokio::test(start_paused = true)]
async fn nothing_at_random_makes_a_false_point() {
    let seeds: u64 = std::env::var("REVIEW_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let from: u64 = std::env::var("REVIEW_FROM").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    for seed in from..from + seeds {
        let end = play(seed).await;
        *ends.entry(end).or_default() += 1;
    }
    eprintln!("{ends:#?}");
}

async fn play(seed: u64) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let variants = Variants {
        clear_of_empty_reported: dice.roll(2) == 0,
        list_page_max: [None, Some(1), Some(3)][usize::try_from(dice.roll(3)).unwrap()],
        next_marker_empty: dice.roll(2) == 0,
        lease_mismatch_status: if dice.roll(2) == 0 { 409 } else { 412 },
        ..Variants::default()
    };
    let world = World::with(Config { variants, ..Config::default() }).await;
    let mut pages = 64;
    world.make("disk", pages).await;
    let mut snapshots: Vec<SnapshotId> = Vec::new();
    for _ in 0..2 + dice.roll(5) {
        for _ in 0..1 + dice.roll(4) {
            let start = dice.roll(pages - 1);
            let end = (start + 1 + dice.roll(24)).min(pages);
            match dice.roll(8) {
                0..5 => world.write("disk", start, end, u8::try_from(1 + dice.roll(250)).unwrap()).await,
                5 | 6 => world.clear("disk", start, end).await,
                _ => {
                    pages += dice.roll(20);
                    world.resize("disk", pages).await;
                }
            }
        }
        if dice.roll(6) != 0 {
            snapshots.push(world.snapshot("disk").await);
        }
        if dice.roll(8) == 0 && snapshots.len() > 1 {
            let gone = snapshots.remove(usize::try_from(dice.roll(snapshots.len() as u64)).unwrap());
            world.forget("disk", &gone).await;
        }
        if snapshots.is_empty() {
            continue;
        }
        let runs: Vec<Process> = (0..1 + dice.roll(2)).map(|_| troubled(&world, &mut dice)).collect();
        let wants: Vec<Want> = runs.iter().map(|_| if dice.roll(3) == 0 { Want::Latest } else { Want::Next }).collect();
        let delays: Vec<u64> = runs.iter().map(|_| dice.roll(400)).collect();
        let operator = dice.roll(5) == 0;
        let breaks_at = dice.roll(3000);
        let (watch, both) = (
            Arc::clone(&world),
            futures::future::join_all(runs.iter().zip(&wants).zip(&delays).map(|((run, want), delay)| async move {
                tokio::time::sleep(Duration::from_millis(*delay)).await;
                run.sync("disk", "backup", want.clone()).await
            })),
        );
        let breaking = async {
            if operator {
                tokio::time::sleep(Duration::from_millis(breaks_at)).await;
                let headers = [("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")];
                watch.raw("PUT", "disks/backup?comp=lease", &headers, &[]).await;
            }
        };
        tokio::join!(both, breaking);
        assert_points(&world, seed).await;
        tokio::time::sleep(Duration::from_millis(dice.roll(100_000))).await;
    }
    if snapshots.is_empty() {
        return "no snapshots".to_owned();
    }
    let last = world.process().sync_alive("disk", "backup", Want::Next).await;
    assert_points(&world, seed).await;
    match last {
        Ok(_) => {
            let points = world.proven_points("backup").await;
            // The newest point may have outlived its source snapshot.
            assert!(points.last().map(|(source, _)| source) >= snapshots.last(), "seed {seed}");
            "done".to_owned()
        }
        Err(error) => {
            assert!(matches!(error.class(), Class::ChainBroken | Class::Configuration), "seed {seed}: {error}");
            format!("{:?}", error.class())
        }
    }
}

async fn assert_points(world: &World, seed: u64) {
    if std::panic::AssertUnwindSafe(futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(
        world.proven_points("backup"),
    )))
    .await
    .is_err()
    {
        panic!("seed {seed} makes a false point");
    }
}

/// A process whose requests meet trouble now and then.
fn troubled(world: &World, dice: &mut Dice) -> Process {
    let rate = [0, 10, 30, 80][usize::try_from(dice.roll(4)).unwrap()];
    let deadly = dice.roll(3) == 0;
    let own = std::sync::Mutex::new(Dice(dice.roll(u64::MAX) | 1));
    let mut process = world.process_with(move |_, _, _| {
        let mut dice = own.lock().unwrap();
        if dice.roll(1000) >= rate {
            return Fate::Answered;
        }
        let late = [20, 400, 5_000, 29_000][usize::try_from(dice.roll(4)).unwrap()];
        let late = Duration::from_millis(1 + dice.roll(late));
        match dice.roll(if deadly { 8 } else { 5 }) {
            0 => Fate::Lost,
            1 => Fate::Unanswered,
            2 | 3 => Fate::Late(late),
            4 => Fate::Twice,
            5 => Fate::DeathBefore,
            6 => Fate::DeathAfter,
            _ => Fate::DeathAndLate(late),
        }
    });
    if dice.roll(2) == 0 {
        process = slow(process);
    }
    if dice.roll(4) == 0 {
        process.options.lease = Duration::from_secs(15);
    }
    let (stop, after) = (process.options.stop.clone(), dice.roll(6));
    if after == 0 {
        process.options.events = Events::new(move |event| {
            if matches!(event, Event::Moving(progress) if progress.changes > 2) {
                stop.cancel();
            }
        });
    }
    process
}

/// An interrupted step has grown the target; its snapshot is deleted and the disk is cut back; later it grows again. The
/// grown part must be empty.
#[tokio::test(start_paused = true)]
async fn an_abandoned_growth_leaves_nothing_behind() {
    for shrink_reported in [true, false] {
        let variants = Variants { shrink_reported, ..Variants::default() };
        let world = World::with(Config { variants, ..Config::default() }).await;
        world.make("disk", 96).await;
        world.write("disk", 0, 96, 1).await;
        world.snapshot("disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        world.resize("disk", 128).await;
        world.write("disk", 96, 128, 2).await;
        let two = world.snapshot("disk").await;
        let dying = slow(world.process_with(nth(3, "PUT", "comp=page", Fate::DeathBefore)));
        assert!(dying.sync("disk", "backup", Want::Next).await.is_none());
        world.forget("disk", &two).await;
        world.resize("disk", 96).await;
        world.write("disk", 3, 4, 5).await;
        world.snapshot("disk").await;
        seconds(61).await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        assert_eq!(world.proven_points("backup").await.len(), 2);
        world.resize("disk", 128).await;
        world.snapshot("disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        assert_eq!(world.proven_points("backup").await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_pages_and_a_disk_without_data() {
    for pages in [0, 1, 64] {
        let world = World::new().await;
        world.make("disk", pages).await;
        world.snapshot("disk").await;
        world.snapshot("disk").await;
        world.resize("disk", pages + 1).await;
        world.snapshot("disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        let blob = world.process().blob("backup", Side::Target);
        assert_eq!(pageferry_replicate::look::points_of(&blob).await.unwrap().len(), 3, "{pages} pages");
    }
}

/// A service that is busy and asks, in so many words, never to be asked again.
#[derive(Debug)]
struct Never;

#[async_trait::async_trait]
impl azure_core::http::HttpClient for Never {
    async fn execute_request(
        &self,
        _: &azure_core::http::Request,
    ) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut headers = azure_core::http::headers::Headers::new();
        headers.insert("retry-after", u64::MAX.to_string());
        Ok(azure_core::http::AsyncRawResponse::from_bytes(503.into(), headers, bytes::Bytes::new()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_an_error_and_no_panic() {
    use pageferry_azure::{Address, Credential, Flags, Options, PageBlob};
    use pageferry_store::{Source, View};
    let address = Address::parse(&format!("{}/disks/disk", pageferry_tests::ENDPOINT)).unwrap();
    let credential = Credential::resolve(&address, Side::Source, &|_| None, &Flags::default()).unwrap();
    let options = Options { transport: Some(Arc::new(Never)), ..Options::default() };
    PageBlob::new(address, &credential, options).unwrap().properties(&View::Base).await.unwrap_err();
}

/// Nothing was made, and asking again is harmless: there is a condition on it, and it names its run.
#[tokio::test(start_paused = true)]
async fn a_lost_request_to_make_the_target_is_sent_again() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process_with(nth(1, "PUT", "disks/backup?timeout", Fate::Lost));
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
}
