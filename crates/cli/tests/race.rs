//! The race against managed copy: both sides, told in three forms, and nothing left behind.

mod support;

use pageferry_emulator::{DEV_ACCOUNT, Request};
use serde_json::{Value, json};
use support::World;
use support::managed::{disk, snapshot, world};

fn two(world: &World) -> String {
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 8 << 20, 1);
    world.managed_snapshot(&disk, "first");
    world.guest_writes(&disk, 64 << 20, 1 << 20, 2);
    world.managed_snapshot(&disk, "second");
    disk
}

fn snapshots(world: &World) -> Vec<String> {
    let listed = world.arm_ok("GET", snapshot("").trim_end_matches('/'), &Value::Null);
    listed["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// What is in the container of backups, as the service lists it.
fn blobs(world: &World) -> String {
    let sas = support::sas("2099-01-01T00:00:00Z");
    let list = format!("/{DEV_ACCOUNT}/backups?restype=container&comp=list&include=snapshots&{sas}");
    let request = Request::new("GET", &list).header("x-ms-version", "2021-12-02");
    String::from_utf8(world.answer(request).to_vec()).unwrap()
}

#[test]
fn both_sides_are_told_in_three_forms_and_nothing_stays() {
    let world = World::new();
    let disk = two(&world);
    let target = world.url("backups/race");
    let (page, prices) = (world.path("race.html"), world.path("prices.json"));
    let table = json!({
        "currency": "EUR", "reads_per_10000": 0.004, "writes_per_10000": 0.05, "transfer_per_gib": 0.02,
        "machine_per_hour": 0.1, "page_blob_gib_month": 0.045, "managed_snapshot_gib_month": 0.05
    });
    std::fs::write(&prices, table.to_string()).unwrap();
    let words = ["bench", &disk, &target, "--against", "managed-copy", "--to-location", "northeurope"];
    let more = ["--repeat", "2", "--html", &page, "--prices", &prices];
    let ran = world.run_arm(&[&words[..], &more].concat()).expect(0);
    for word in
        ["pageferry", "managed copy", "a snapshot as a whole: 8 MiB", "the difference to the next: 1 MiB", "EUR"]
    {
        assert!(ran.stdout.contains(word), "no {word} in {}", ran.stdout);
    }
    assert!(ran.stdout.contains("its pace is no measurement of Azure"), "{}", ran.stdout);
    let html = std::fs::read_to_string(&page).unwrap();
    for word in ["pageferry", "managed copy", "its pace is no measurement of Azure", "northeurope"] {
        assert!(html.contains(word), "no {word} in the page");
    }
    assert!(!html.contains("src=") && !html.contains("<link") && !html.contains("@import"), "it loads something");

    let ran = world.run_arm(&[&words[..], &["-o", "json"]].concat()).expect(0);
    let race = ran.json().into_iter().find(|line| line["type"] == "race").unwrap();
    assert_eq!(race["emulated"], true);
    let laps = race["laps"].as_array().unwrap();
    assert_eq!(laps.len(), 2);
    assert_eq!(laps[0]["changed_bytes"], (8 << 20) + 512, "8 MiB and the footer");
    assert_eq!(laps[0]["ours"]["moved_bytes"], (8 << 20) + 512);
    assert_eq!(laps[1]["ours"]["moved_bytes"], 1 << 20);
    assert!(laps[1]["managed"]["restorable_ms"].is_u64());

    assert_eq!(snapshots(&world), ["first", "second"]);
    assert_eq!(world.granted(), Vec::<String>::new());
    assert!(!blobs(&world).contains("<Name>"), "{}", blobs(&world));
}

#[test]
fn a_race_that_cannot_be_run_says_why() {
    let world = World::new();
    let target = world.url("backups/race");
    let race = ["--against", "managed-copy", "--to-location", "northeurope"];
    world.create("disks/a.vhd", 8 << 20);
    let blob = world.url("disks/a.vhd");
    let ran = world.run_arm(&[&["bench", &blob, &target][..], &race].concat()).expect(2);
    assert!(ran.stderr.contains("needs a managed disk"), "{}", ran.stderr);
    let empty = world.managed("web1", 1);
    let ran = world.run_arm(&[&["bench", &empty, &target][..], &race].concat()).expect(3);
    assert!(ran.stderr.contains("no complete incremental snapshot"), "{}", ran.stderr);
    let ran = world.run_arm(&["bench", &empty, &target]).expect(2);
    assert!(ran.stderr.contains("--against managed-copy"), "{}", ran.stderr);
    world.create("backups/race", 512);
    let ran = world.run_arm(&[&["bench", &two(&world), &target][..], &race].concat()).expect(78);
    assert!(ran.stderr.contains("exists"), "{}", ran.stderr);
}

#[test]
fn rule_04_a_snapshot_older_than_one_already_copied_is_not_copied() {
    let world = world(|_| ());
    two(&world);
    let properties = json!({
        "creationData": { "createOption": "CopyStart", "sourceResourceId": snapshot("second") }, "incremental": true
    });
    world.arm_ok("PUT", &snapshot("mine"), &json!({ "location": "North Europe", "properties": properties }));
    let (disk, target) = (disk("web1"), world.url("backups/race"));
    let race = ["bench", &disk, &target, "--against", "managed-copy", "--to-location", "northeurope"];
    let ran = world.run_arm(&race).expect(78);
    assert!(
        ran.stdout.contains("first is older than second, already copied; out-of-order copy is not possible"),
        "{}",
        ran.stdout
    );
    assert_eq!(snapshots(&world), ["first", "mine", "second"]);
}
