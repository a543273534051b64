//! The rules of page blobs (protocol §12.3), each by its number, as the user of the binary meets them.

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pageferry_emulator::faults::{Action, Event, FaultScript, Operation, Rule};
use pageferry_emulator::{Clock, DEV_ACCOUNT, ManualClock, Options, Timestamp};
use serde_json::Value;
use support::{QUICK, Ran, World};

#[track_caller]
fn says(ran: &Ran, words: &str) {
    assert!(ran.stderr.contains(words), "`{words}` is not in: {}", ran.stderr);
}

/// Syncs disk `a`, and expects this code.
#[track_caller]
fn sync(world: &World, more: &[&str], code: i32) -> Ran {
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    world.run(&[&["sync", &disk, &target][..], more, &QUICK].concat()).expect(code)
}

fn points(world: &World, target: &str) -> Vec<Value> {
    let listed = world.run(&["points", &world.url(target), "-o", "json"]).expect(0).json();
    listed.into_iter().filter(|line| line["type"] == "point").collect()
}

/// Fails unless the newest point is what the disk holds now, bit for bit.
#[track_caller]
fn newest_is_the_disk(world: &World) {
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
}

/// A service whose clock stood at `time`, and can be moved.
fn world_at(time: &str) -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::parse_iso(time).unwrap()));
    (World::with(Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() }), clock)
}

#[test]
fn rule_40_a_blob_from_before_2016_is_compared_whole_each_time() {
    let (world, clock) = world_at("2015-06-01T00:00:00Z");
    world.create("disks/a.vhd", 8 << 20);
    clock.advance(Timestamp::from(SystemTime::now()).since(clock.now()));
    world.fill("disks/a.vhd", 1 << 20, 1 << 20, 1);
    world.snapshot("disks/a.vhd");
    let seed = sync(&world, &[], 0);
    assert!(!seed.stderr.contains("2016"), "a seed is whole anyway: {}", seed.stderr);
    for n in 2..4u8 {
        clock.advance(Duration::from_secs(1));
        world.fill("disks/a.vhd", u64::from(n) << 20, 64 << 10, n);
        world.clear("disks/a.vhd", 1 << 20, u64::from(n) * 4096);
        world.snapshot("disks/a.vhd");
        let ran = sync(&world, &[], 0);
        says(&ran, "disks/a.vhd was made before 2016 and cannot be differenced; doing a full copy of");
        newest_is_the_disk(&world);
    }
    assert_eq!(points(&world, "backups/a").len(), 3);
}

#[test]
fn rule_40_a_blob_from_2016_is_differenced() {
    let (world, clock) = world_at("2016-01-01T00:00:00Z");
    world.create("disks/a.vhd", 8 << 20);
    clock.advance(Timestamp::from(SystemTime::now()).since(clock.now()));
    world.snapshot("disks/a.vhd");
    clock.advance(Duration::from_secs(1));
    world.fill("disks/a.vhd", 1 << 20, 4096, 1);
    world.snapshot("disks/a.vhd");
    let ran = sync(&world, &["-o", "json"], 0);
    let from: Vec<bool> =
        ran.json().iter().filter(|line| line["type"] == "step").map(|l| l["from"].is_null()).collect();
    assert_eq!(from, [true, false]);
}

#[test]
fn rule_41_a_blob_that_was_overwritten_needs_a_person_and_a_new_chain() {
    let world = World::new();
    world.week("disks/a.vhd");
    sync(&world, &[], 0);
    std::thread::sleep(Duration::from_millis(1100));
    world.create("disks/a.vhd", 8 << 20);
    world.fill("disks/a.vhd", 3 << 20, 4096, 9);
    world.snapshot("disks/a.vhd");
    let ran = sync(&world, &[], 5);
    says(&ran, "the source was created again since the newest point");
    says(&ran, "--reseed");
    sync(&world, &["--reseed"], 0);
    assert_eq!(points(&world, "backups/a").len(), 4, "the points from before stay");
    newest_is_the_disk(&world);
}

#[test]
fn rule_42_a_difference_is_between_two_snapshots_of_one_blob_the_earlier_first() {
    let world = World::new();
    let own = world.week("disks/a.vhd");
    let foreign = world.week("disks/b.vhd");
    let ran = sync(&world, &["--to", &foreign[1]], 3);
    says(&ran, &format!("the source has no snapshot {}", foreign[1]));
    sync(&world, &["--to", &own[1]], 0);
    let ran = sync(&world, &["--to", &own[0]], 78);
    says(&ran, &format!("source snapshot {} is older than {}", own[0], own[1]));
}

#[test]
fn rule_43_premium_and_standard_accounts_are_alike() {
    for premium in [false, true] {
        let mut options = Options::default();
        options.config.accounts.get_mut(DEV_ACCOUNT).unwrap().premium = premium;
        let world = World::with(options);
        world.week("disks/a.vhd");
        sync(&world, &[], 0);
        assert_eq!(points(&world, "backups/a").len(), 3, "premium: {premium}");
        newest_is_the_disk(&world);
    }
}

#[test]
fn rule_44_a_snapshot_is_no_target() {
    let world = World::new();
    world.week("disks/a.vhd");
    let other = world.week("backups/a");
    let target = format!("{}?snapshot={}", world.url("backups/a"), other[0]);
    let ran = world.run(&["sync", &world.url("disks/a.vhd"), &target]).expect(2);
    says(&ran, &format!("names snapshot {}", other[0]));
}

#[test]
fn rule_45_a_copy_of_a_base_has_no_history() {
    let world = World::new();
    world.week("disks/a.vhd");
    sync(&world, &[], 0);
    let source = format!("{}?{}", world.url("backups/a"), support::sas("2099-01-01T00:00:00Z"));
    world.put("backups/b", &[("x-ms-copy-source", &source)], Vec::new());
    assert_eq!(points(&world, "backups/b").len(), 0, "the history stays with the source");
    let restored = world.url("disks/new.vhd");
    world.run(&[&["restore", &world.url("backups/a"), &restored, "--point", "latest"][..], &QUICK].concat()).expect(0);
    assert_eq!(points(&world, "disks/new.vhd").len(), 1, "what is restored starts with one point");
}

#[test]
fn rule_46_a_base_that_was_overwritten_keeps_its_points() {
    let world = World::new();
    let taken = world.week("disks/a.vhd");
    sync(&world, &[], 0);
    world.create("backups/a", 8 << 20);
    let ran = sync(&world, &[], 6);
    says(&ran, "not ours");
    assert_eq!(points(&world, "backups/a").len(), 3);
    let told = world.run(&["points", &world.url("backups/a")]).expect(0);
    let told = [told.stdout, told.stderr].concat();
    assert!(told.contains("was overwritten outside pageferry"), "{told}");
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    for snapshot in &taken {
        world.run(&["verify", &target, "--point", snapshot, "--against", &disk]).expect(0);
    }
}

#[test]
fn rule_47_a_disk_goes_back_to_a_point_page_by_page_and_its_chain_goes_on() {
    let world = World::new();
    let taken = world.week("disks/a.vhd");
    sync(&world, &[], 0);
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    // A promotion copies a snapshot over its base, which cuts every later difference: ours writes what differs.
    let back = ["restore", &target, &disk, "--point", &taken[0], "--overwrite"];
    world.run(&[&back[..], &QUICK].concat()).expect(0);
    let file = |name: &str, point: &str| {
        let path = world.path(name);
        world.run(&["restore", &target, &path, "--point", point]).expect(0);
        std::fs::read(path).unwrap()
    };
    let first = file("first.raw", &taken[0]);
    world.snapshot("disks/a.vhd");
    sync(&world, &[], 0);
    assert!(file("latest.raw", "latest") == first, "the disk is not what its first snapshot was");
    newest_is_the_disk(&world);
}

#[test]
fn rule_48_a_restored_blob_is_an_ordinary_one_of_full_size() {
    let world = World::new();
    world.week("disks/a.vhd");
    sync(&world, &[], 0);
    let (target, new) = (world.url("backups/a"), world.url("disks/new.vhd"));
    let ran = world.run(&[&["restore", &target, &new, "--point", "latest"][..], &QUICK].concat()).expect(0);
    assert!(ran.stdout.contains("8 MiB"), "{}", ran.stdout);
    let head = world.send("HEAD", "disks/new.vhd", &[], Vec::new());
    assert_eq!((head["content-length"].as_str(), head["x-ms-blob-type"].as_str()), ("8388608", "PageBlob"));
    world.fill("disks/new.vhd", 0, 4096, 9);
}

#[test]
fn rule_49_what_was_freed_is_cleared_on_the_target() {
    let world = World::new();
    let taken = world.week("disks/a.vhd");
    sync(&world, &["--to", &taken[1]], 0);
    let ran = sync(&world, &["-o", "json"], 0);
    let step = ran.json().into_iter().find(|line| line["type"] == "step").unwrap();
    assert_eq!((step["cleared_bytes"].as_u64(), step["freed_bytes"].as_u64()), (Some(8 << 10), Some(8 << 10)));
    newest_is_the_disk(&world);
    let list = format!("/{DEV_ACCOUNT}/backups/a?comp=pagelist&{}", support::sas("2099-01-01T00:00:00Z"));
    let list = world.answer(pageferry_emulator::Request::new("GET", &list).header("x-ms-version", "2021-12-02"));
    let list = String::from_utf8(list.to_vec()).unwrap();
    assert!(list.contains(&format!("<Start>{}</Start>", (1 << 20) + (8 << 10))), "{list}");
    assert!(!list.contains(&format!("<Start>{}</Start>", 1 << 20)), "the freed pages are held still: {list}");
}

#[test]
fn rule_50_a_target_that_somebody_else_wrote_to_is_not_built_upon() {
    let world = World::new();
    world.week("disks/a.vhd");
    sync(&world, &[], 0);
    world.fill("backups/a", 5 << 20, 512, 7);
    let ran = sync(&world, &[], 6);
    says(&ran, "was changed outside pageferry since its newest point");
    says(&ran, "--repair");
    sync(&world, &["--repair"], 0);
    newest_is_the_disk(&world);
}

#[test]
fn rule_51_the_snapshot_before_goes_only_when_the_new_point_is_there() {
    let world = World::new();
    world.create("disks/a.vhd", 8 << 20);
    let (disk, target) = (world.url("disks/a.vhd"), world.url("backups/a"));
    let backup = || world.run(&[&["backup", &disk, &target][..], &QUICK].concat());
    let snapshots = || {
        let list = format!(
            "/{DEV_ACCOUNT}/disks?restype=container&comp=list&include=snapshots&{}",
            support::sas("2099-01-01T00:00:00Z")
        );
        let list = world.answer(pageferry_emulator::Request::new("GET", &list).header("x-ms-version", "2021-12-02"));
        String::from_utf8(list.to_vec()).unwrap().matches("<Snapshot>").count()
    };
    world.fill("disks/a.vhd", 0, 4096, 1);
    backup().expect(0);
    assert_eq!(snapshots(), 1);
    // Somebody breaks the lease in the middle of the next cycle, so that its point cannot be made.
    let broken = Action::First(Event::BreakLease { blob: None, take: false });
    let rule = Rule::new(broken).on(Operation::PutPageUpdate).blob("backups/a").nth(1);
    world.service().set_faults(FaultScript::new(1).rule(rule));
    world.fill("disks/a.vhd", 4096, 4096, 2);
    let failed = backup();
    assert_ne!(failed.code, 0, "{}", failed.stdout);
    says(&failed, "not yet committed");
    assert_eq!(snapshots(), 2, "the next difference starts at the earlier one");
    world.service().set_faults(FaultScript::default());
    backup().expect(0);
    assert_eq!(snapshots(), 1);
    newest_is_the_disk(&world);
}
