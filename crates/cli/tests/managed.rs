//! Managed disks, by the binary, against a Resource Manager that keeps the service's limits.

mod support;

use std::time::Duration;

use serde_json::json;
use support::managed::{disk, snapshot};
use support::{QUICK, World};

/// A disk of 1 GiB that changes and grows, with a snapshot after each change.
fn growing(world: &World, snapshots: usize) -> (String, Vec<String>) {
    let disk = world.managed("web1", 1);
    let mut size = 1u64 << 30;
    let mut taken = Vec::new();
    for n in 0..snapshots {
        let with = u8::try_from(n + 1).unwrap();
        world.guest_writes(&disk, (n as u64) << 20, 3 << 20, with);
        world.guest_clears(&disk, ((n as u64) << 20) + (512 << 10), 64 << 10);
        size += 3 << 20;
        world.service().resize_disk(&disk, size).unwrap();
        world.guest_writes(&disk, size - (1 << 20), 8192, with);
        // Names tell nothing of the order.
        taken.push(world.managed_snapshot(&disk, &format!("s{}", 9 - n)));
    }
    (disk, taken)
}

fn points(world: &World, target: &str) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let listed = world.run(&["points", &world.url(target), "-o", "json"]).expect(0).json();
    listed.iter().map(|point| (text(&point["point"]), text(&point["source_snapshot"]))).collect()
}

#[test]
fn a_chain_of_seven_snapshots_of_a_growing_disk() {
    let world = World::new();
    let (disk, taken) = growing(&world, 7);
    let target = world.url("backups/web1");
    let ran = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    assert!(ran.stdout.contains("7 points made"), "{}", ran.stdout);
    assert_eq!(world.granted(), Vec::<String>::new(), "grants are left");
    let points = points(&world, "backups/web1");
    assert_eq!(points.len(), 7);
    for ((point, _), snapshot) in points.iter().zip(&taken) {
        let file = world.path("out.raw");
        world.run(&["restore", &target, &file, "--point", point, "--overwrite"]).expect(0);
        world.same_as_truth(&file, snapshot);
    }
    let again = world.run_arm(&["sync", &disk, &target]).expect(0);
    assert!(again.stdout.contains("up to date"), "{}", again.stdout);
    world.run_arm(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
    assert_eq!(world.granted(), Vec::<String>::new(), "grants are left");
}

#[test]
fn a_snapshot_is_named_by_its_id() {
    let world = World::new();
    let (disk, taken) = growing(&world, 3);
    let target = world.url("backups/web1");
    let plan = world.run_arm(&["plan", &taken[1], &target]).expect(0);
    assert!(plan.stdout.contains("seed"), "{}", plan.stdout);
    world.run_arm(&[&["sync", &taken[1], &target][..], &QUICK].concat()).expect(0);
    let older = world.run_arm(&["sync", &taken[0], &target]).expect(78);
    assert!(older.stderr.contains("is older than"), "{}", older.stderr);
    world.run_arm(&[&["sync", &disk, &target, "--to", "s7"][..], &QUICK].concat()).expect(0);
    assert_eq!(points(&world, "backups/web1").len(), 2);
    let file = world.path("out.raw");
    world.run(&["restore", &target, &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &taken[2]);
    world.run_arm(&["verify", &target, "--point", "latest", "--against", &taken[2]]).expect(0);
    world.run_arm(&["verify", &target, "--point", "latest", "--against", &taken[1]]).expect(2);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn a_pair_of_urls_must_be_what_was_recorded() {
    let world = World::new();
    let (_, taken) = growing(&world, 3);
    let target = world.url("backups/web1");
    let urls: Vec<String> = taken
        .iter()
        .enumerate()
        .map(|(n, snapshot)| {
            let file = world.path(&format!("url{n}"));
            std::fs::write(&file, world.grant(snapshot) + "\n").unwrap();
            format!("@{file}")
        })
        .collect();
    let early = world.run(&["sync", &urls[1], &target, "--previous", &urls[0]]).expect(5);
    assert!(early.stderr.contains("--previous"), "{}", early.stderr);
    world.run(&[&["sync", &urls[0], &target][..], &QUICK].concat()).expect(0);
    let other = world.run(&[&["sync", &urls[2], &target, "--previous", &urls[1]][..], &QUICK].concat()).expect(5);
    assert!(other.stderr.contains("--previous"), "{}", other.stderr);
    let none = world.run(&[&["sync", &urls[1], &target][..], &QUICK].concat()).expect(5);
    assert!(none.stderr.contains("--previous"), "{}", none.stderr);
    world.run(&[&["sync", &urls[1], &target, "--previous", &urls[0]][..], &QUICK].concat()).expect(0);
    world.run(&[&["sync", &urls[2], &target, "--previous", &urls[1]][..], &QUICK].concat()).expect(0);
    let points = points(&world, "backups/web1");
    assert_eq!(points.len(), 3);
    let file = world.path("out.raw");
    for ((point, _), snapshot) in points.iter().zip(&taken) {
        world.run(&["restore", &target, &file, "--point", point, "--overwrite"]).expect(0);
        world.same_as_truth(&file, snapshot);
    }
    world.run(&["verify", &target, "--point", "latest", "--against", &urls[2]]).expect(0);
}

#[test]
fn a_cycle_takes_copies_and_cleans_up() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    let target = world.url("backups/web1");
    let mine = world.managed_snapshot(&disk, "mine");
    for n in 1..=4u8 {
        world.guest_writes(&disk, u64::from(n) << 20, 1 << 20, n);
        let words = ["backup", &disk, &target, "--keep-source", "2"];
        world.run_arm(&[&words[..], &QUICK].concat()).expect(0);
        assert_eq!(world.granted(), Vec::<String>::new());
    }
    assert_eq!(points(&world, "backups/web1").len(), 5);
    let group = snapshot("").trim_end_matches('/').to_owned();
    let listed = world.arm_ok("GET", &group, &json!(null));
    let names: Vec<&str> =
        listed["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"mine"), "a snapshot of somebody else is not touched: {names:?}");
    let file = world.path("out.raw");
    world.run(&["restore", &target, &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &disk);
    let _ = mine;
}

#[test]
fn a_cycle_of_a_page_blob_cleans_up_what_it_took_itself() {
    let world = World::new();
    world.create("disks/a.vhd", 8 << 20);
    let mine = world.snapshot("disks/a.vhd");
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    for n in 1..=3u8 {
        world.fill("disks/a.vhd", u64::from(n) << 20, 4096, n);
        world.run(&[&["backup", &disk, &target][..], &QUICK].concat()).expect(0);
    }
    assert_eq!(points(&world, "backups/a").len(), 4);
    let left = world.run(&["plan", &disk, &target, "--to", &mine]);
    assert_eq!(left.code, 78, "it is there still, and only too old: {}", left.stderr);
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
}

#[test]
fn a_disk_that_is_not_there() {
    let world = World::new();
    let ran = world.run_arm(&["sync", &disk("nope"), &world.url("backups/web1")]).expect(3);
    assert!(ran.stderr.contains("nor any snapshot of it exists"), "{}", ran.stderr);
    let ran = world.run_arm(&["sync", &snapshot("nope"), &world.url("backups/web1")]).expect(3);
    assert!(ran.stderr.contains("nope"), "{}", ran.stderr);
    let closed = [("PAGEFERRY_ARM_ENDPOINT", "http://127.0.0.1:9")];
    let begun = std::time::Instant::now();
    let ran = world.run_with(&closed, &["doctor", &disk("nope")]).expect(1);
    assert!(ran.stdout.contains("FAIL  network path"), "{}", ran.stdout);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_snapshot_that_wants_a_token_beside_the_sas_gets_one() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 1 << 20, 1);
    let known = json!({ "dataAccessAuthMode": "AzureActiveDirectory" });
    let first = world.managed_snapshot_with(&disk, "first", &known);
    world.guest_writes(&disk, 1 << 20, 1 << 20, 2);
    let second = world.managed_snapshot_with(&disk, "second", &known);
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    let file = world.path("out.raw");
    for (point, snapshot) in [(0, &first), (1, &second)] {
        let point = &points(&world, "backups/web1")[point].0;
        world.run(&["restore", &target, &file, "--point", point, "--overwrite"]).expect(0);
        world.same_as_truth(&file, snapshot);
    }
    // By URL alone there is no token, and it says so.
    let url = world.path("url");
    std::fs::write(&url, world.grant(&first)).unwrap();
    let ran = world.run(&["plan", &format!("@{url}"), &world.url("backups/other")]).expect(77);
    assert!(ran.stderr.contains("by its resource id"), "{}", ran.stderr);
}

#[test]
fn the_snapshots_of_a_disk_that_is_gone_can_still_be_backed_up() {
    let world = World::new();
    let (disk, taken) = growing(&world, 2);
    world.arm_ok("DELETE", &disk, &json!(null));
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    let file = world.path("out.raw");
    world.run(&["restore", &target, &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &taken[1]);
    let ran = world.run_arm(&["backup", &disk, &target]).expect(3);
    assert!(ran.stderr.contains("web1"), "{}", ran.stderr);
}

#[test]
fn a_disk_that_was_made_anew_is_another_disk() {
    let world = World::new();
    let (disk, _) = growing(&world, 1);
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    world.arm_ok("DELETE", &disk, &json!(null));
    world.managed("web1", 1);
    world.guest_writes(&disk, 0, 1 << 20, 7);
    let anew = world.managed_snapshot(&disk, "anew");
    let ran = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(5);
    assert!(ran.stderr.contains("created again") && ran.stderr.contains("--reseed"), "{}", ran.stderr);
    let ran = world.run_arm(&[&["sync", &disk, &target, "--reseed"][..], &QUICK].concat()).expect(0);
    assert!(ran.stderr.contains("come from different disks with the same name"), "{}", ran.stderr);
    let file = world.path("out.raw");
    world.run(&["restore", &target, &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &anew);
}

#[test]
fn a_grant_that_nobody_may_give_is_explained() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.managed_snapshot_with(&disk, "closed", &json!({ "networkAccessPolicy": "DenyAll" }));
    let ran = world.run_arm(&["sync", &disk, &world.url("backups/web1")]).expect(78);
    assert!(ran.stderr.contains("DenyAll") && ran.stderr.contains("AllowPrivate"), "{}", ran.stderr);
    let ran = world.run_arm(&["doctor", &disk]).expect(77);
    assert!(ran.stdout.contains("FAIL  access"), "{}", ran.stdout);
}

#[test]
fn the_demo_tells_the_managed_story() {
    let world = World::new();
    let lines = world.run(&["demo", "--managed", "-o", "json"]).expect(0).json();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(of("step").len(), 4);
    assert_eq!(of("proved").iter().filter(|line| line["equal"] == true).count(), 4);
    assert_eq!(of("restored-disk")[0]["equal"], true);
}

#[test]
fn rule_47_a_cycle_deletes_no_snapshot_that_has_inherited_its_words() {
    let world = World::new();
    world.create("disks/web1", 8 << 20);
    let (disk, target) = (world.url("disks/web1"), world.url("backups/web1"));
    let cycle = |with: u8| {
        world.fill("disks/web1", 0, 4096, with);
        let ran = world.run(&[&["backup", &disk, &target, "-o", "json"][..], &QUICK].concat()).expect(0).json();
        let cycle = ran.iter().find(|line| line["type"] == "backup").unwrap();
        (cycle["snapshot"].as_str().unwrap().to_owned(), cycle["deleted"].as_array().unwrap().clone())
    };
    let (first, _) = cycle(1);
    // As a promotion leaves it.
    let words = world.send("HEAD", &format!("disks/web1?snapshot={first}"), &[], Vec::new());
    let words: Vec<(&str, &str)> = words
        .iter()
        .filter(|(name, _)| name.to_lowercase().starts_with("x-ms-meta-"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    world.put("disks/web1?comp=metadata", &words, Vec::new());
    let mine = world.snapshot("disks/web1");
    let (second, deleted) = cycle(2);
    assert_eq!(deleted, [first.as_str()]);
    // What has the words now is the oldest that has them, and of another time; an hour makes that plain.
    let hour =
        [("x-ms-meta-pageferrybackup", target.as_str()), ("x-ms-meta-pageferrybackuptaken", "2026-01-01T00:00:00Z")];
    world.put("disks/web1?comp=metadata", &hour, Vec::new());
    let other = world.snapshot("disks/web1");
    let (_, deleted) = cycle(3);
    assert!(deleted.contains(&second.as_str().into()) && !deleted.contains(&other.as_str().into()), "{deleted:?}");
    assert!(mine < other);
}

#[test]
fn rule_50_what_somebody_else_wrote_is_not_wiped_out_by_a_seed_that_nobody_asked_for() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 1 << 20, 1);
    world.managed_snapshot(&disk, "first");
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    world.fill("backups/web1", 4 << 20, 4096, 9);
    world.service().resize_disk(&disk, 5 << 40).unwrap();
    world.managed_snapshot(&disk, "second");
    for command in ["sync", "plan"] {
        let ran = world.run_arm(&[command, &disk, &target]).expect(6);
        assert!(ran.stderr.contains("changed outside") && ran.stderr.contains("--repair"), "{}", ran.stderr);
    }
    let before = world.run(&["points", &target, "-o", "json"]).expect(0).json().len();
    assert_eq!(before, 1);
}

#[test]
fn two_targets_of_one_disk_are_synced_at_the_same_time() {
    let world = World::new();
    let (disk, taken) = growing(&world, 4);
    let command = |target: &str| {
        let target = world.url(target);
        let mut command = world.command(&[&["sync", &disk, &target][..], &QUICK].concat());
        command.env("PAGEFERRY_ARM_ENDPOINT", world.arm_endpoint());
        support::service::Process::spawn(command)
    };
    let both = [command("backups/one"), command("backups/two")];
    for run in both {
        let ran = run.ended(Duration::from_secs(120));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    for target in ["backups/one", "backups/two"] {
        assert_eq!(points(&world, target).len(), 4);
        let file = world.path("out.raw");
        world.run(&["restore", &world.url(target), &file, "--point", "latest", "--overwrite"]).expect(0);
        world.same_as_truth(&file, &taken[3]);
    }
    assert_eq!(world.granted(), Vec::<String>::new());
}
