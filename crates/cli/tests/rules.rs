//! Rules of managed disks (protocol §12.1 and §12.2), each by its number, as the user of the binary meets them. Those that
//! need hours to pass are in `tests/rules_copy.rs` and `tests/rules_managed.rs`.

mod support;

use pageferry_emulator::CopyPace;
use serde_json::{Value, json};
use support::managed::{disk, world};
use support::{QUICK, Ran, World};

const GIB: u64 = 1 << 30;

/// A disk of some kind.
fn disk_of(world: &World, name: &str, gib: u64, sku: &str, sector: u64) -> String {
    let creation = json!({ "createOption": "Empty", "logicalSectorSize": sector });
    let properties = json!({ "creationData": creation, "diskSizeGB": gib });
    let body = json!({ "location": "westeurope", "sku": { "name": sku }, "properties": properties });
    world.arm_ok("PUT", &disk(name), &body);
    disk(name)
}

/// Syncs, and returns the steps that were done.
#[track_caller]
fn sync(world: &World, source: &str, target: &str, more: &[&str]) -> Vec<Value> {
    let target = world.url(target);
    let words = [&["sync", source, &target, "-o", "json"][..], more, &QUICK].concat();
    let ran = world.run_arm(&words).expect(0);
    ran.json().into_iter().filter(|line| line["type"] == "step").collect()
}

#[track_caller]
fn plan(world: &World, source: &str, target: &str) -> Value {
    let ran = world.run_arm(&["plan", source, &world.url(target), "-o", "json"]).expect(0);
    ran.json().into_iter().find(|line| line["type"] == "plan").unwrap()
}

#[track_caller]
fn says(ran: &Ran, words: &str) {
    assert!(ran.stderr.contains(words), "`{words}` is not in: {}", ran.stderr);
}

/// Whether a point of `target` restores to what `id` holds.
#[track_caller]
fn restores_to(world: &World, target: &str, point: &str, id: &str) {
    let file = world.path("out.raw");
    world.run(&["restore", &world.url(target), &file, "--point", point, "--overwrite"]).expect(0);
    world.same_as_truth(&file, id);
}

#[test]
fn rule_05_a_full_snapshot_is_neither_synced_nor_raced_with() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    let full = world.managed_snapshot_with(&disk, "full", &json!({ "incremental": false }));
    let target = world.url("backups/web1");
    let race = ["bench", &full, &target, "--against", "managed-copy", "--to-location", "northeurope"];
    for words in [&["sync", &full, &target][..], &race] {
        let ran = world.run_arm(words).expect(78);
        says(&ran, "full is a full snapshot; differences and CopyStart need incremental=true");
    }
}

#[test]
fn rule_14_the_plan_tells_the_bytes_that_changed() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 8 << 20, 1);
    world.managed_snapshot(&disk, "first");
    assert_eq!(plan(&world, &disk, "backups/web1")["changed_bytes"], (8 << 20) + 512, "and the footer");
    sync(&world, &disk, "backups/web1", &[]);
    world.guest_writes(&disk, 64 << 20, 1 << 20, 2);
    world.guest_clears(&disk, 1 << 20, 64 << 10);
    world.managed_snapshot(&disk, "second");
    let planned = plan(&world, &disk, "backups/web1");
    assert_eq!((&planned["changed_bytes"], &planned["cleared_bytes"]), (&json!(1 << 20), &json!(64 << 10)));
}

#[test]
fn rule_15_the_first_snapshot_is_copied_whole_and_each_later_one_as_a_difference() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    let mut taken = Vec::new();
    for n in 0..3u8 {
        world.guest_writes(&disk, u64::from(n) * (32 << 20), if n == 0 { 8 << 20 } else { 1 << 20 }, n + 1);
        taken.push(world.managed_snapshot(&disk, &format!("s{n}")));
    }
    let steps = sync(&world, &disk, "backups/web1", &[]);
    let copied: Vec<(bool, u64)> =
        steps.iter().map(|step| (step["from"].is_null(), step["changed_bytes"].as_u64().unwrap())).collect();
    assert_eq!(copied, [(true, (8 << 20) + 512), (false, 1 << 20), (false, 1 << 20)]);
    for (step, snapshot) in steps.iter().zip(&taken) {
        restores_to(&world, "backups/web1", step["point"].as_str().unwrap(), snapshot);
    }
}

/// A disk that grows from one size to another, with a snapshot before and two after: what a sync says to the first after
/// it, and the steps.
fn grown(from_gib: u64, to_gib: u64) -> (String, Vec<Value>, Vec<String>) {
    let world = World::new();
    let disk = disk_of(&world, "big", from_gib, "Premium_LRS", 512);
    world.guest_writes(&disk, 4 << 20, 1 << 20, 1);
    world.guest_writes(&disk, from_gib * GIB - (1 << 20), 4096, 2);
    let mut taken = vec![world.managed_snapshot(&disk, "before")];
    let mut steps = sync(&world, &disk, "backups/big", &[]);
    world.service().resize_disk(&disk, to_gib * GIB).unwrap();
    world.guest_clears(&disk, 4 << 20, 64 << 10);
    world.guest_writes(&disk, to_gib * GIB - (1 << 20), 4096, 3);
    taken.push(world.managed_snapshot(&disk, "across"));
    let target = world.url("backups/big");
    let across = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    assert!(across.stdout.contains("1 point made"), "{}", across.stdout);
    world.guest_writes(&disk, 8 << 20, 4096, 4);
    taken.push(world.managed_snapshot(&disk, "after"));
    steps.extend(sync(&world, &disk, "backups/big", &[]));
    let points = world.run(&["points", &target, "-o", "json"]).expect(0).json();
    let points: Vec<String> = points.iter().map(|point| point["point"].as_str().unwrap().to_owned()).collect();
    assert_eq!(points.len(), 3, "{points:?}");
    for (point, snapshot) in points.iter().zip(&taken) {
        world.run_arm(&["verify", &target, "--point", point, "--against", snapshot]).expect(0);
    }
    assert_eq!(world.granted(), Vec::<String>::new());
    (across.stderr, steps, points)
}

#[test]
fn rule_23_a_resize_across_4_tib_is_followed_by_a_full_copy_and_then_by_differences() {
    let (said, steps, _) = grown(4095, 4097);
    assert!(said.contains("lie on different sides of the 4-TB boundary"), "{said}");
    assert!(said.contains("doing a full copy of"), "{said}");
    assert_eq!(steps.len(), 2);
    assert!(steps[0]["from"].is_null() && !steps[1]["from"].is_null(), "{steps:?}");
    assert_eq!(steps[1]["changed_bytes"], 4096, "only what changed since");
}

#[test]
fn rule_23_the_zone_between_the_decimal_and_the_binary_boundary_counts_as_across() {
    // 3,725 GiB are less than 4 * 10^12 bytes, 3,800 GiB are more, and less than 4 TiB.
    let (said, steps, _) = grown(3725, 3800);
    assert!(said.contains("lie on different sides of the 4-TB boundary"), "{said}");
    assert_eq!(steps[1]["changed_bytes"], 4096, "only what changed since");
}

#[test]
fn rule_26_a_disk_with_sectors_of_4096_bytes_is_refused() {
    let world = World::new();
    let disk = disk_of(&world, "fast", 1, "UltraSSD_LRS", 4096);
    world.guest_writes(&disk, 0, 4096, 1);
    world.managed_snapshot(&disk, "s");
    let ran = world.run_arm(&["sync", &disk, &world.url("backups/fast")]).expect(78);
    says(&ran, "snapshot s has 4096-byte sectors; it can only become an Ultra or Premium SSD v2 disk");
    assert_eq!(world.granted(), Vec::<String>::new(), "nothing had to be read for that");
}

#[test]
fn rule_26_a_vhdx_is_refused_although_its_sectors_are_said_to_be_of_512_bytes() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    let mut first = vec![0; 512];
    first[..8].copy_from_slice(b"vhdxfile");
    world.service().write_disk(&disk, 0, first).unwrap();
    world.managed_snapshot(&disk, "s");
    let ran = world.run_arm(&["sync", &disk, &world.url("backups/web1")]).expect(78);
    says(&ran, "it is a VHDX, as disks with 4096-byte sectors are");
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn rule_26_512_byte_sectors_are_backed_up_whatever_the_kind_of_disk() {
    let world = World::new();
    for sku in ["Standard_LRS", "StandardSSD_LRS", "Premium_LRS", "PremiumV2_LRS", "UltraSSD_LRS"] {
        let name = sku.to_lowercase().replace('_', "");
        let disk = disk_of(&world, &name, 1, sku, 512);
        world.guest_writes(&disk, 0, 4096, 1);
        let taken = world.managed_snapshot(&disk, &format!("of-{name}"));
        sync(&world, &disk, &format!("backups/{name}"), &[]);
        world
            .run_arm(&["verify", &world.url(&format!("backups/{name}")), "--point", "latest", "--against", &taken])
            .expect(0);
    }
}

#[test]
fn rule_30_no_cycle_is_begun_of_a_disk_that_is_being_filled() {
    let world = world(|options| options.config.arm.hydration = CopyPace::BytesPerSecond(1));
    let source = disk_of(&world, "fast", 1, "UltraSSD_LRS", 512);
    let properties = json!({ "creationData": { "createOption": "Copy", "sourceResourceId": source } });
    let body = json!({ "location": "westeurope", "sku": { "name": "PremiumV2_LRS" }, "properties": properties });
    world.arm_ok("PUT", &disk("new"), &body);
    // The service says nothing of a copy that has only begun.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let target = world.url("backups/new");
    for words in [&["snapshot", &disk("new")][..], &["backup", &disk("new"), &target]] {
        let ran = world.run_arm(words).expect(78);
        says(&ran, "disk new is still hydrating (");
        says(&ran, "snapshot not supported yet");
    }
}

#[test]
fn rule_33_an_empty_snapshot_is_planned_as_nothing_and_makes_a_point() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 4096, 1);
    world.managed_snapshot(&disk, "first");
    sync(&world, &disk, "backups/web1", &[]);
    let empty = world.managed_snapshot(&disk, "empty");
    assert_eq!(world.service().billed_bytes(&empty), Some(0));
    let planned = plan(&world, &disk, "backups/web1");
    assert_eq!((&planned["changed_bytes"], &planned["write_bytes"]), (&json!(0), &json!(0)));
    let steps = sync(&world, &disk, "backups/web1", &[]);
    assert_eq!((steps.len(), &steps[0]["written_bytes"]), (1, &json!(0)));
    restores_to(&world, "backups/web1", "latest", &empty);
}

#[test]
fn rule_36_any_one_snapshot_yields_the_whole_disk() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 8 << 20, 1);
    let first = world.managed_snapshot(&disk, "first");
    world.guest_writes(&disk, 64 << 20, 1 << 20, 2);
    let second = world.managed_snapshot(&disk, "second");
    world.arm_ok("DELETE", &first, &Value::Null);
    let steps = sync(&world, &second, "backups/web1", &[]);
    assert_eq!(steps[0]["changed_bytes"], (9 << 20) + 512);
    restores_to(&world, "backups/web1", "latest", &second);
}

#[test]
fn rule_38_a_disk_that_has_the_name_of_another_is_not_taken_for_it() {
    let world = World::new();
    let name = world.managed("web1", 1);
    world.guest_writes(&name, 0, 4096, 1);
    world.managed_snapshot(&name, "old");
    sync(&world, &name, "backups/web1", &[]);
    world.arm_ok("DELETE", &name, &Value::Null);
    world.managed("web1", 1);
    world.guest_writes(&name, 0, 4096, 2);
    let new = world.managed_snapshot(&name, "new");
    let ran = world.run_arm(&["sync", &name, &world.url("backups/web1")]).expect(5);
    says(&ran, "the source was created again since the newest point");
    says(&ran, "snapshots old come from different disks with the same name");
    sync(&world, &name, "backups/web2", &[]);
    restores_to(&world, "backups/web2", "latest", &new);
    assert_eq!(world.granted(), Vec::<String>::new());
}
