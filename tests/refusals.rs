//! What the engine refuses, in which class, and that nothing is lost by it.

use std::sync::Arc;

use pageferry_azure::Side;
use pageferry_core::next::Want;
use pageferry_emulator::{Config, CopyPace, Variants};
use pageferry_replicate::{Class, Engine, ReplicateError};
use pageferry_tests::{World, find_point, four_snapshots, went_to};

/// The target as a whole, to see that a refusal has changed nothing: tag, metadata and sequence number.
async fn fingerprint(world: &World, blob: &str) -> Vec<(String, String)> {
    let head = world.raw("HEAD", &format!("disks/{blob}"), &[], &[]).await;
    let kept = |name: &str| name == "etag" || name.starts_with("x-ms-meta") || name == "x-ms-blob-sequence-number";
    head.headers.into_iter().filter(|(name, _)| kept(name)).collect()
}

/// Syncs `disk` to `backup` and expects to be refused in `class`, with every one of `words`, and without a trace.
async fn refused(world: &World, want: Want, class: Class, words: &[&str]) {
    let before = fingerprint(world, "backup").await;
    let error = world.process().sync_alive("disk", "backup", want).await.unwrap_err();
    assert_eq!(error.class(), class, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
    assert_eq!(fingerprint(world, "backup").await, before, "the target was touched: {error}");
    world.proven_points("backup").await;
}

#[tokio::test(start_paused = true)]
async fn a_target_without_our_metadata() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.make("backup", 96).await;
    refused(&world, Want::Next, Class::NotOurs, &["disks/backup", "not ours"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_of_a_newer_version() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.make("backup", 96).await;
    world.must("PUT", "disks/backup?comp=metadata", &[("x-ms-meta-pageferryformat", "2")], &[]).await;
    refused(&world, Want::Next, Class::Configuration, &["newer pageferry"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_backup_of_another_disk() {
    let world = World::new().await;
    four_snapshots(&world, "other").await;
    four_snapshots(&world, "disk").await;
    world.process().sync_alive("other", "backup", Want::Next).await.unwrap();
    refused(&world, Want::Next, Class::Configuration, &["another disk", "disks/other", "disks/disk"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_older_snapshot_than_the_newest_point() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::To(snapshots[2].clone())).await.unwrap();
    let older = Want::To(snapshots[1].clone());
    refused(&world, older, Class::Configuration, &[snapshots[1].as_str(), "older", "restore"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_exist() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::To(snapshots[0].clone())).await.unwrap();
    let nowhere = Want::To(pageferry_core::SnapshotId::new("2099-01-01T00:00:00.0000000Z"));
    refused(&world, nowhere, Class::NotFound, &["2099-01-01"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_created_again() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    world.make("disk", 128).await;
    world.write("disk", 0, 5, 1).await;
    world.snapshot("disk").await;
    let before = fingerprint(&world, "backup").await;
    let error = world.process().sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::ChainBroken, "{error}");
    assert!(error.to_string().contains("--reseed"), "{error}");
    assert_eq!(world.proven_points("backup").await.len(), 4);
    drop(before);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_deleted_and_made_anew() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.must("DELETE", "disks/disk", &[("x-ms-delete-snapshots", "include")], &[]).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    four_snapshots(&world, "disk").await;
    refused(&world, Want::Next, Class::ChainBroken, &["created again", "--reseed"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_shrank() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::Next).await.unwrap();
    world.resize("disk", 64).await;
    world.snapshot("disk").await;
    refused(&world, Want::Next, Class::ChainBroken, &["shrank", "65536", "32768"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_snapshot_that_is_gone() {
    let world = World::new().await;
    let snapshots = four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::To(snapshots[1].clone())).await.unwrap();
    world.forget("disk", &snapshots[1]).await;
    refused(&world, Want::Next, Class::ChainBroken, &[snapshots[1].as_str(), "no longer exists"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_without_snapshots() {
    let world = World::new().await;
    world.make("disk", 8).await;
    refused(&world, Want::Next, Class::NotFound, &["no snapshots", "pageferry snapshot"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_or_a_container_that_is_not_there() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let error = world.process().sync_alive("nothing", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
    world.must("PUT", "gone?restype=container", &[], &[]).await;
    let error = world.process().sync_alive("disk", "../nocontainer/backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
    assert!(error.to_string().contains("ontainer"), "{error}");
}

/// There is a service that answers 200 with the full list, whatever snapshot the difference shall start from.
#[tokio::test(start_paused = true)]
async fn a_service_that_ignores_the_previous_snapshot() {
    let lying = Config { variants: Variants { ignore_prevsnapshot: true, ..Variants::default() }, ..Config::default() };
    let world = World::with(lying).await;
    four_snapshots(&world, "disk").await;
    let error = world.process().sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert!(matches!(error, ReplicateError::Untrusted { .. }), "{error}");
    assert_eq!(error.class(), Class::Configuration);
    assert_eq!(world.raw("HEAD", "disks/backup", &[], &[]).await.status, 404, "nothing was made");
}

#[tokio::test(start_paused = true)]
async fn a_point_that_does_not_exist() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    let process = world.process();
    let backup = process.blob("backup", Side::Target);
    assert!(matches!(find_point(&backup, "latest").await, Err(ReplicateError::NoTarget(_))));
    process.sync_alive("disk", "backup", Want::Next).await.unwrap();
    let error = find_point(&backup, "2020-01-01T00:00:00.0000000Z").await.unwrap_err();
    assert_eq!(error.class(), Class::NotFound, "{error}");
}

/// A lease that is held for ever by another program, not by a run of ours.
#[tokio::test(start_paused = true)]
async fn a_target_that_another_program_leases() {
    let world = World::new().await;
    four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::Latest).await.unwrap();
    let headers = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    world.must("PUT", "disks/backup?comp=lease", &headers, &[]).await;
    // The newest point is the newest snapshot: there is nothing to do, and nobody is bothered.
    world.process().sync_alive("disk", "backup", Want::Latest).await.unwrap();
    world.write("disk", 0, 1, 1).await;
    world.snapshot("disk").await;
    refused(&world, Want::Next, Class::Busy, &["disks/backup", "--lock-wait"]).await;
}

/// A world whose account does not let snapshots be read, as premium accounts are documented to.
async fn world_that_refuses_reads() -> Arc<World> {
    let mut config = Config::default();
    config.accounts.values_mut().for_each(|account| account.refuse_snapshot_reads = true);
    config.copy = CopyPace::BytesPerSecond(4096);
    World::with(config).await
}

#[tokio::test(start_paused = true)]
async fn an_account_that_does_not_let_snapshots_be_read() {
    let world = world_that_refuses_reads().await;
    four_snapshots(&world, "disk").await;
    let error = world.process().sync_alive("disk", "backup", Want::Next).await.unwrap_err();
    assert_eq!(error.class(), Class::Configuration, "{error}");
    assert!(error.to_string().contains("--scratch"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_may_not_be_read_are_copied_to_a_scratch_blob() {
    let world = world_that_refuses_reads().await;
    let snapshots = four_snapshots(&world, "disk").await;
    let process = world.process();
    let source = process.blob_with("disk", Side::Source, Some(process.blob("scratch", Side::Source)));
    let engine = Engine::new(source.clone(), process.blob("backup", Side::Target), process.options.clone());
    let report = process.sync_by(engine, Want::Next).await.unwrap().unwrap();
    assert_eq!(went_to(&report.steps), snapshots);
    assert_eq!(world.image("backup", None).await, world.image("disk", None).await);
    assert_eq!(world.raw("HEAD", "disks/scratch", &[], &[]).await.status, 200);
    source.discard_scratch().await.unwrap();
    assert_eq!(world.raw("HEAD", "disks/scratch", &[], &[]).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_scratch_blob_that_is_somebody_elses() {
    let world = world_that_refuses_reads().await;
    four_snapshots(&world, "disk").await;
    world.make("scratch", 8).await;
    let process = world.process();
    let source = process.blob_with("disk", Side::Source, Some(process.blob("scratch", Side::Source)));
    let engine = Engine::new(source, process.blob("backup", Side::Target), process.options.clone());
    let error = process.sync_by(engine, Want::Next).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("not made as a scratch blob"), "{error}");
    assert_eq!(world.image("scratch", None).await, vec![0; 8 * 512]);
}

#[tokio::test(start_paused = true)]
async fn a_premium_target_that_is_full_of_snapshots() {
    let mut config = Config::default();
    config.accounts.values_mut().for_each(|account| account.premium = true);
    let world = World::with(config).await;
    let snapshots = four_snapshots(&world, "disk").await;
    world.process().sync_alive("disk", "backup", Want::To(snapshots[0].clone())).await.unwrap();
    for _ in 1..100 {
        world.must("PUT", "disks/backup?comp=snapshot", &[], &[]).await;
    }
    refused(&world, Want::Next, Class::Configuration, &["100 snapshots", "delete old points"]).await;
}
