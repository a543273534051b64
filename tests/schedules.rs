//! What may happen between two runs, and around one: foreign writes, two runs at once, lies of the service, restores.

use std::time::Duration;

use pageferry_azure::Side;
use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_replicate::event::{Event, Events};
use pageferry_replicate::plan::Plan;
use pageferry_replicate::{Class, ReplicateError};
use pageferry_tests::{Fate, World, adopt, find_point, four_snapshots, plan, restore};
use std::sync::{Arc, Mutex};

/// After death at every request somebody else writes to the target, allocates a page that the source does not have and
/// frees one that it has. The next run finds out or is told to repair, and no point ever lies.
#[tokio::test(start_paused = true)]
async fn a_foreign_write_after_any_death_reaches_no_point() {
    for n in 0.. {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        let process =
            world.process_with(move |number, _, _| if number == n { Fate::DeathAfter } else { Fate::Answered });
        let first = process.sync("disk", "backup", Want::Next).await;
        if first.is_none() && world.raw("HEAD", "disks/backup", &[], &[]).await.status == 200 {
            tokio::time::sleep(Duration::from_secs(61)).await;
            world.write("backup", 50, 51, 0xBA).await;
            world.write("backup", 2, 3, 0xBA).await;
            world.clear("backup", 64, 65).await;
        }
        let mut second = world.process();
        let result = second.sync_alive("disk", "backup", Want::Next).await;
        if let Err(error) = result {
            assert!(matches!(error, ReplicateError::Foreign { .. }), "after death at {n}: {error}");
            world.proven_points("backup").await;
            second.options.repair = true;
            second.sync_alive("disk", "backup", Want::Next).await.unwrap_or_else(|error| panic!("{n}: {error}"));
        }
        let points = world.proven_points("backup").await;
        assert_eq!(points.last().map(|(source, _)| source), snapshots.last(), "after death at {n}");
        if first.is_some() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_write_between_runs_is_refused_and_repaired_on_request() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::To(snapshots[0].clone())).await.unwrap();
    world.write("backup", 50, 51, 0xBA).await;
    let error = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::NotOurs, "{error}");
    let mut process = world.process();
    process.options.repair = true;
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    assert_eq!(world.proven_points("backup").await.len(), 4);
}

/// The step that was under way is given up because its source snapshot is gone; pages it had written and that the new
/// step does not mention must be set right.
#[tokio::test(start_paused = true)]
async fn the_source_snapshot_of_an_interrupted_step_is_deleted() {
    for n in 0.. {
        let world = World::new().await;
        world.make("disk", 64).await;
        world.write("disk", 0, 10, 1).await;
        let one = world.snapshot("disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        world.write("disk", 3, 5, 2).await;
        world.write("disk", 20, 30, 2).await;
        world.clear("disk", 8, 9).await;
        let two = world.snapshot("disk").await;
        let process =
            world.process_with(move |number, _, _| if number == n { Fate::DeathAfter } else { Fate::Answered });
        let first = process.sync("disk", "backup", Want::Next).await;
        // Back to what it was, so that the difference from the first snapshot mentions other pages only.
        world.forget("disk", &two).await;
        world.write("disk", 40, 41, 3).await;
        let three = world.snapshot("disk").await;
        let second = world.process().sync_alive("disk", "backup", Want::Next).await;
        let points: Vec<SnapshotId> =
            world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
        match second {
            Ok(_) => assert_eq!(points, [one, three], "after death at {n}"),
            // The point of the second snapshot was made, and then its source was deleted: the chain is broken, and said so.
            Err(error) => {
                assert_eq!(error.class(), Class::ChainBroken, "after death at {n}: {error}");
                assert_eq!(points, [one, two]);
            }
        }
        if first.is_some() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_at_once_one_works_and_the_other_says_who_holds_the_target() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    // The first is in the middle of its step for longer than the second is willing to wait.
    let first = world.process_with(|number, method, target| {
        if number == 30 && method == "PUT" && target.contains("comp=page") { Fate::Lost } else { Fate::Answered }
    });
    let mut second = world.process();
    second.options.lock_wait = Duration::ZERO;
    second.options.host = "second".to_owned();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (one, two) = tokio::join!(first.sync_alive("disk", "backup", Want::Next), async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let heard = Arc::clone(&told);
        second.options.events = Events::new(move |event| heard.lock().unwrap().push(format!("{event:?}")));
        second.sync_alive("disk", "backup", Want::Next).await
    });
    one.unwrap();
    let error = two.unwrap_err();
    assert_eq!(error.class(), Class::Busy, "{error}");
    assert!(error.to_string().contains("on host testhost"), "{error}");
    assert_eq!(world.proven_points("backup").await.len(), snapshots.len());
}

#[tokio::test(start_paused = true)]
async fn a_run_waits_for_the_one_before_it() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let (first, second) = (world.process(), world.process());
    let (one, two) =
        tokio::join!(first.sync_alive("disk", "backup", Want::Next), second.sync_alive("disk", "backup", Want::Next));
    let steps = one.unwrap().steps.len() + two.unwrap().steps.len();
    assert_eq!(steps, 4);
    assert_eq!(world.proven_points("backup").await.len(), 4);
}

/// A run stalls, another takes over and seals, and then the writes of the first arrive.
#[tokio::test(start_paused = true)]
async fn the_late_writes_of_a_run_that_was_taken_over_change_nothing() {
    for late in [50, 100, 200, 3600] {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        let zombie = world.process_with(move |number, method, target| match (number, method) {
            (22.., "PUT") if target.contains("comp=page") => Fate::DeathAndLate(Duration::from_secs(late)),
            _ => Fate::Answered,
        });
        assert!(zombie.sync("disk", "backup", Want::Next).await.is_none());
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4000)).await;
        assert_eq!(world.proven_points("backup").await.len(), snapshots.len());
        assert_eq!(world.image("backup", None).await, world.image("disk", None).await, "late by {late} s");
    }
}

/// The gate bites: whichever page write of a step is swallowed, or lands a page further on, no point appears; and the next
/// run makes it.
#[tokio::test(start_paused = true)]
async fn a_plan_that_is_not_carried_out_as_planned_makes_no_point() {
    for lie in [Fate::Swallowed, Fate::Shifted(1)] {
        let mut bitten = 0;
        for n in 0..12 {
            let world = World::new().await;
            let snapshots = four_snapshots(&world, "disk").await;
            world.process().sync_alive("disk", "backup", Want::To(snapshots[0].clone())).await.unwrap();
            let told = Arc::new(Mutex::new(0));
            let count = Arc::clone(&told);
            let process = world.process_with(move |_, method, target| {
                if method != "PUT" || !target.contains("comp=page") {
                    return Fate::Answered;
                }
                let mut seen = count.lock().unwrap();
                *seen += 1;
                if *seen == n + 1 { lie } else { Fate::Answered }
            });
            let result = process.sync_alive("disk", "backup", Want::To(snapshots[2].clone())).await;
            let Err(error) = result else {
                // A clear of pages that were never written does nothing, and so nothing is amiss without it.
                world.proven_points("backup").await;
                if *told.lock().unwrap() <= n { break } else { continue }
            };
            bitten += 1;
            assert_eq!(error.class(), Class::Differs, "{error}");
            assert!(error.to_string().contains("bytes "), "the ranges are named: {error}");
            assert_eq!(world.proven_points("backup").await.len(), 1, "{lie:?} of write {n}");
            world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
            assert_eq!(world.proven_points("backup").await.len(), 4);
        }
        assert!(bitten >= 5, "{lie:?} was tried {bitten} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_is_not_carried_out_as_planned_makes_no_point() {
    for lie in [Fate::Swallowed, Fate::Shifted(9)] {
        let world = World::new().await;
        four_snapshots(&world, "disk").await;
        let told = Mutex::new(0);
        let process = world.process_with(move |_, method, target| {
            let mut seen = told.lock().unwrap();
            *seen += u32::from(method == "PUT" && target.contains("comp=page"));
            if *seen == 2 && target.contains("comp=page") && !target.contains("pagelist") {
                *seen += 1;
                lie
            } else {
                Fate::Answered
            }
        });
        let error = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
        assert_eq!(error.class(), Class::Differs, "{lie:?}: {error}");
        assert!(world.proven_points("backup").await.is_empty());
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        assert_eq!(world.proven_points("backup").await.len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn latest_only_and_to_make_one_point_each() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::To(snapshots[1].clone())).await.unwrap();
    process.sync_alive("disk", "backup", Want::Latest).await.unwrap();
    let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
    assert_eq!(points, [snapshots[1].clone(), snapshots[3].clone()]);
}

#[tokio::test(start_paused = true)]
async fn the_plan_is_what_the_sync_does() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::To(snapshots[0].clone())).await.unwrap();
    let planned = plan(&process.engine("disk", "backup"), &Want::Next).await.unwrap();
    let Plan::Step { difference, planned, more, to, .. } = planned else { panic!("{planned:?}") };
    assert_eq!((to, more.len()), (snapshots[1].clone(), 2));
    assert_eq!(difference, planned);
    let report = process.sync_alive("disk", "backup", Want::To(snapshots[1].clone())).await.unwrap();
    let step = &report.steps[0];
    assert_eq!(step.written_bytes, planned.write_pages.bytes());
    assert_eq!(step.cleared_bytes, planned.clear_pages.bytes());
    assert_eq!(step.requests, planned.write_requests * 2 + planned.clear_requests);
    let nothing = plan(&process.engine("disk", "backup"), &Want::To(snapshots[1].clone())).await.unwrap();
    assert!(matches!(nothing, Plan::UpToDate(_)));
}

/// Restore steps R1 to R7: a point becomes a new disk with a point of its own, and backups go on from there.
#[tokio::test(start_paused = true)]
async fn backups_go_on_after_a_restore() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let backup = process.blob("backup", Side::Target);
    for asked in ["latest", snapshots[3].as_str()] {
        assert_eq!(find_point(&backup, asked).await.unwrap().seal.snapshot.id, snapshots[3]);
    }
    let point = find_point(&backup, "latest").await.unwrap();
    restore(&process.engine("backup", "restored"), &point, false).await.unwrap();
    assert_eq!(world.proven_points("restored").await.len(), 1);
    assert_eq!(world.image("restored", None).await, world.image("disk", None).await);

    // The virtual machine runs from the restored disk, and its backups go on in the same target.
    let first = world.snapshot("restored").await;
    world.write("restored", 17, 19, 9).await;
    let next = world.snapshot("restored").await;
    // The restore's own point is a snapshot of the disk as well, and the oldest.
    let oldest = SnapshotId::new(world.proven_restore(&process, "restored").await);
    world.know(&oldest, &first);
    let refused = process.sync_alive("restored", "backup", Want::Next).await.unwrap_err();
    assert_eq!(refused.class(), Class::Configuration, "{refused}");
    let adopted = adopt(&process.engine("restored", "backup")).await.unwrap().expect("a point");
    assert_eq!(adopted.to, oldest);
    assert_eq!(adopted.written_bytes, 0);
    assert!(
        adopt(&process.engine("restored", "backup")).await.unwrap().is_none(),
        "a second time there is nothing to do"
    );
    process.sync_alive("restored", "backup", Want::Next).await.unwrap();
    let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
    assert_eq!(points[4..], [oldest, first, next]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_with_other_content_is_not_adopted() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    four_snapshots(&world, "other").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let error = adopt(&process.engine("other", "backup")).await.unwrap_err();
    assert_eq!(error.class(), Class::Differs, "{error}");
    assert_eq!(world.proven_points("backup").await.len(), 4);
}

/// A restore that dies anywhere goes on when it is started again.
#[tokio::test(start_paused = true)]
async fn a_restore_killed_at_any_request_is_finished_by_the_next() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let point = find_point(&process.blob("backup", Side::Target), "latest").await.unwrap();
    for n in 0.. {
        let name = format!("restored{n}");
        let dying = world.process_with(move |number, _, _| if number == n { Fate::DeathAfter } else { Fate::Answered });
        let engine = dying.engine("backup", &name);
        let first = dying.live(restore(&engine, &point, false)).await;
        if first.is_none() {
            let again = world.process();
            match restore(&again.engine("backup", &name), &point, false).await {
                // Killed after its point was made: it is a target with a point now, and done.
                Err(error @ ReplicateError::Exists { .. }) => assert!(error.to_string().contains("points of its own")),
                other => drop(other.unwrap_or_else(|error| panic!("after death at {n}: {error}"))),
            }
        }
        assert_eq!(world.proven_points(&name).await.len(), 1, "after death at {n}");
        if first.is_some() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_existing_destination_is_overwritten_only_when_told_and_never_where_it_holds_points() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let point = find_point(&process.blob("backup", Side::Target), "latest").await.unwrap();
    world.make("there", 200).await;
    world.write("there", 0, 200, 0xCC).await;
    let engine = process.engine("backup", "there");
    assert!(matches!(restore(&engine, &point, false).await, Err(ReplicateError::Exists { .. })));
    let before = world.raw("HEAD", "disks/there", &[], &[]).await.get("x-ms-creation-time").map(str::to_owned);
    restore(&engine, &point, true).await.unwrap();
    assert_eq!(world.image("there", None).await, world.image("disk", None).await);
    let after = world.raw("HEAD", "disks/there", &[], &[]).await.get("x-ms-creation-time").map(str::to_owned);
    assert_eq!(before, after, "the blob was not created again");
    assert!(matches!(restore(&engine, &point, true).await, Err(ReplicateError::Exists { .. })), "it holds a point now");
}

#[tokio::test(start_paused = true)]
async fn a_stop_marks_the_target_and_the_next_run_goes_on() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    let stop = process.options.stop.clone();
    let mut process = process;
    process.options.watermark_every = Duration::from_millis(1);
    process.options.budget.requests = 1;
    process.options.events = Events::new(move |event| {
        if matches!(event, Event::Moving(progress) if progress.changes > 1) {
            stop.cancel();
        }
    });
    let error = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
    let lease = world.raw("HEAD", "disks/backup", &[], &[]).await.get("x-ms-lease-state").map(str::to_owned);
    assert_eq!(lease.as_deref(), Some("leased"), "the lease runs out by itself, and so keeps its evidence");
    let resumed = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&resumed);
    let mut second = world.process();
    second.options.events = Events::new(move |event| {
        if let Event::Begun { resumed_at: Some(at), .. } = event {
            *heard.lock().unwrap() = Some(*at);
        }
    });
    second.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let resumed = *resumed.lock().unwrap();
    assert!(resumed.is_some_and(|at| at > 0), "it went on where the first one stopped: {resumed:?}");
    assert_eq!(world.proven_points("backup").await.len(), 4);
}

/// A premium account takes one snapshot in ten minutes; the point is waited for, and is right.
#[tokio::test(start_paused = true)]
async fn a_premium_target_is_given_its_ten_minutes() {
    let mut config = pageferry_emulator::Config::default();
    for account in config.accounts.values_mut() {
        account.limit_snapshots = true;
    }
    let world = World::with(config).await;
    world.make("disk", 64).await;
    world.write("disk", 0, 10, 1).await;
    world.snapshot("disk").await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    world.write("disk", 3, 5, 2).await;
    world.snapshot("disk").await;
    let begun = tokio::time::Instant::now();
    let report = world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    assert_eq!(report.steps.len(), 2);
    assert!(begun.elapsed() >= Duration::from_secs(600));
    assert_eq!(world.proven_points("backup").await.len(), 2);
}

/// A broken chain begins anew on the same target: only pages that differ are written, pages that are gone are cleared,
/// the points stay, and differences go on from there.
#[tokio::test(start_paused = true)]
async fn reseeding_compares_and_keeps_the_chain() {
    for broken in ["parent gone", "shrunk", "deleted and made anew", "created again"] {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut expected_bytes = None;
        match broken {
            "parent gone" => {
                world.forget("disk", &snapshots[3]).await;
                world.write("disk", 50, 53, 0x11).await;
                world.clear("disk", 10, 12).await;
                expected_bytes = Some(3 * 512);
            }
            "shrunk" => world.resize("disk", 64).await,
            "deleted and made anew" => {
                world.must("DELETE", "disks/disk", &[("x-ms-delete-snapshots", "include")], &[]).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
                world.make("disk", 80).await;
                world.write("disk", 0, 30, 1).await;
            }
            _ => {
                world.make("disk", 128).await;
                world.write("disk", 7, 30, 1).await;
            }
        }
        let anew = world.snapshot("disk").await;
        world.write("disk", 40, 41, 0x22).await;
        let next = world.snapshot("disk").await;
        let mut process = world.process();
        let refused = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
        assert_eq!(refused.class(), Class::ChainBroken, "{broken}: {refused}");
        process.options.reseed = true;
        let report = process.sync_alive("disk", "backup", Want::Next).await;
        let report = report.unwrap_or_else(|error| panic!("{broken}: {error}"));
        if let Some(bytes) = expected_bytes {
            assert_eq!(report.steps[0].written_bytes, bytes, "{broken}: only what differs is written");
            assert_eq!(report.steps[0].cleared_bytes, 2 * 512, "{broken}: only what is gone is cleared");
        }
        let points: Vec<_> = world.proven_points("backup").await.into_iter().map(|(source, _)| source).collect();
        assert_eq!(points, [snapshots, vec![anew, next]].concat(), "{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn reseeding_may_die_at_any_request() {
    for n in 0.. {
        let world = World::new().await;
        let snapshots = four_snapshots(&world, "disk").await;
        world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
        world.forget("disk", &snapshots[3]).await;
        world.write("disk", 50, 53, 0x11).await;
        world.clear("disk", 10, 12).await;
        world.snapshot("disk").await;
        let mut dying =
            world.process_with(move |number, _, _| if number == n { Fate::DeathAfter } else { Fate::Answered });
        dying.options.reseed = true;
        let first = dying.sync("disk", "backup", Want::Next).await;
        world.proven_points("backup").await;
        let mut second = world.process();
        second.options.reseed = true;
        second
            .sync_alive("disk", "backup", Want::Next)
            .await
            .unwrap_or_else(|error| panic!("after death at {n}: {error}"));
        assert_eq!(world.proven_points("backup").await.len(), 5, "after death at {n}");
        if first.is_some() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tampered_target_is_not_called_up_to_date() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let mut process = world.process();
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.write("backup", 50, 51, 0xBA).await;
    let refused = process.sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(refused.class(), Class::NotOurs, "{refused}");
    let refused = plan(&process.engine("disk", "backup"), &Want::Next).await.unwrap_err();
    assert_eq!(refused.class(), Class::NotOurs, "{refused}");
    process.options.repair = true;
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    assert_eq!(world.image("backup", None).await, world.image("disk", None).await);
    process.options.repair = false;
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.proven_points("backup").await;
}
