//! The defects of the public sample program that backs up managed disks (protocol §6.6), each by name: here is the disk on which
//! the sample goes wrong, and where it is cheap, how; and our engine is right on it.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use pageferry_emulator::faults::{Action, FaultScript, Operation, Pace, Rule};
use support::managed::{snapshot, world};
use support::service::Process;
use support::{QUICK, World};

const MIB: u64 = 1 << 20;

/// A disk with data at its beginning, in its middle and at its end, and two snapshots between which it changed there.
fn two_snapshots(world: &World) -> (String, [String; 2]) {
    let disk = world.managed("web1", 1);
    for (n, at) in [0, 300 * MIB, 1023 * MIB].into_iter().enumerate() {
        world.guest_writes(&disk, at, 1 << 20, u8::try_from(n + 1).unwrap());
    }
    let first = world.managed_snapshot(&disk, "first");
    world.guest_writes(&disk, 300 * MIB + 8192, 4096, 9);
    world.guest_clears(&disk, 300 * MIB + 65_536, 65_536);
    world.guest_writes(&disk, 700 * MIB, 8192, 8);
    (disk.clone(), [first, world.managed_snapshot(&disk, "second")])
}

#[track_caller]
fn sync(world: &World, source: &str) {
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", source, &target][..], &QUICK].concat()).expect(0);
}

/// Fails unless the newest point restores to what the machine of `id` sees.
#[track_caller]
fn newest_is(world: &World, id: &str) {
    let file = world.path("out.raw");
    world.run(&["restore", &world.url("backups/web1"), &file, "--point", "latest", "--overwrite"]).expect(0);
    world.same_as_truth(&file, id);
}

/// The sample cuts each range into pieces by an offset that begins at nought, and uses it as the place to read and to write.
fn as_the_sample_places_it(range: (u64, u64)) -> Vec<u64> {
    let length = range.1 - range.0;
    (0..length).step_by(4 << 20).collect()
}

#[test]
fn a_range_is_written_where_it_belongs_and_not_at_the_beginning() {
    let world = World::new();
    let (_, [first, second]) = two_snapshots(&world);
    let ranges = [(0, MIB), (300 * MIB, 301 * MIB), (1023 * MIB, 1024 * MIB)];
    let samples: BTreeSet<u64> = ranges.into_iter().flat_map(as_the_sample_places_it).collect();
    assert_eq!(samples.into_iter().collect::<Vec<_>>(), [0], "the sample writes all three at the beginning");
    let last = world.service().read_disk(&first).unwrap().bytes(1023 * MIB, 512);
    assert!(last.iter().all(|byte| *byte == 3), "there is data where it never writes");
    sync(&world, &first);
    newest_is(&world, &first);
    sync(&world, &second);
    newest_is(&world, &second);
}

#[test]
fn a_long_range_is_written_in_pieces_that_follow_each_other() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    // No two pieces alike, and neither end on a boundary of requests.
    for n in 0..20 {
        world.guest_writes(&disk, 100 * MIB + 512 + n * 512 * 1024, 512 * 1024, u8::try_from(n + 1).unwrap());
    }
    let taken = world.managed_snapshot(&disk, "s");
    sync(&world, &taken);
    newest_is(&world, &taken);
}

/// Seconds that a SAS is asked for where "a day" is meant, as the sample reckons them.
const SAMPLES_DAY: u64 = 60 * 24 * 3600;

#[test]
fn a_sas_lasts_an_hour_and_not_sixty_days() {
    let world = World::new();
    let (disk, _) = two_snapshots(&world);
    let pace = Pace { first: 3000, ..Pace::default() };
    let slow = Rule::new(Action::Slow(pace)).on(Operation::PutPageUpdate);
    world.service().set_faults(FaultScript::new(1).rule(slow));
    let target = world.url("backups/web1");
    let mut command = world.command(&[&["sync", &disk, &target][..], &QUICK].concat());
    command.env("PAGEFERRY_ARM_ENDPOINT", world.arm_endpoint());
    let run = Process::spawn(command);
    let begun = std::time::Instant::now();
    let grants = loop {
        let grants = world.service().grants();
        if !grants.is_empty() {
            break grants;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was ever granted");
        std::thread::sleep(Duration::from_millis(5));
    };
    let now = world.service().now();
    for grant in grants {
        let left = grant.expires.since(now).as_secs();
        assert!((3500..=3600).contains(&left) && left < SAMPLES_DAY, "{} is granted for {left} s", grant.resource);
    }
    run.kill();
}

#[test]
fn what_was_granted_is_given_back_after_success_and_after_failure() {
    let world = World::new();
    let (disk, [first, _]) = two_snapshots(&world);
    sync(&world, &first);
    assert_eq!(world.granted(), Vec::<String>::new(), "after success");
    // A page of the source arrives damaged each time it is read.
    let damaged = Rule::new(Action::WrongHash).on(Operation::GetBlob).after(2);
    world.service().set_faults(FaultScript::new(1).rule(damaged));
    let target = world.url("backups/web1");
    let ran = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat());
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert!(!ran.stderr.contains("could not be given back"), "{}", ran.stderr);
    assert_eq!(world.granted(), Vec::<String>::new(), "after failure");
    // As the sample leaves them: with five of those nobody can read a sixth.
    world.service().set_faults(FaultScript::default());
    for n in 0..5 {
        let kept = world.managed_snapshot(&disk, &format!("kept{n}"));
        world.grant(&kept);
    }
    let order = serde_json::json!({ "access": "Read", "durationInSeconds": 60 });
    assert_eq!(world.arm("POST", &format!("{}/beginGetAccess", snapshot("second")), &order).0, 409);
}

#[test]
fn lists_that_come_in_many_pages_are_read_to_their_end() {
    let world = world(|options| {
        options.config.variants.list_page_max = Some(3);
        options.config.variants.blob_page_max = Some(2);
        options.config.arm.page_size = 2;
        options.config.arm.limits.snapshots_per_five_minutes = None;
    });
    let disk = world.managed("web1", 1);
    // Twenty ranges: the first page of the list names three of them, and that is where a reader of one page stops.
    for n in 0..20 {
        world.guest_writes(&disk, n * 16 * MIB, 4096, 1);
    }
    for n in 0..9 {
        let other = world.managed(&format!("other{n}"), 1);
        world.managed_snapshot(&other, &format!("before{n}"));
    }
    let first = world.managed_snapshot(&disk, "first");
    let listed = world.arm_ok("GET", snapshot("").trim_end_matches('/'), &serde_json::Value::Null);
    assert_eq!(listed["value"].as_array().unwrap().len(), 2, "the first page of the snapshots does not hold ours");
    sync(&world, &disk);
    newest_is(&world, &first);
    for n in 0..20 {
        world.guest_clears(&disk, n * 16 * MIB, 512);
        world.guest_writes(&disk, n * 16 * MIB + 1024, 512, 2);
    }
    let second = world.managed_snapshot(&disk, "second");
    sync(&world, &disk);
    newest_is(&world, &second);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn pages_and_clears_that_take_turns_in_one_difference_each_have_their_effect() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 4 << 20, 1);
    let first = world.managed_snapshot(&disk, "first");
    sync(&world, &first);
    // Write, clear, write, clear, …: whoever keeps the two kinds in two lists, or reads one kind only, loses half.
    for n in 0..64 {
        world.guest_writes(&disk, n * 32_768, 8192, 2);
        world.guest_clears(&disk, n * 32_768 + 8192, 8192);
    }
    let second = world.managed_snapshot(&disk, "second");
    let target = world.url("backups/web1");
    let words = [&["sync", &second, &target, "-o", "json", "--fill-gaps", "off"][..], &QUICK].concat();
    let ran = world.run_arm(&words).expect(0);
    let step = ran.json().into_iter().find(|line| line["type"] == "step").unwrap();
    assert_eq!((step["written_bytes"].as_u64(), step["cleared_bytes"].as_u64()), (Some(64 * 8192), Some(64 * 8192)));
    newest_is(&world, &second);
}

#[test]
fn the_result_ends_in_a_footer() {
    let world = World::new();
    let (disk, _) = two_snapshots(&world);
    sync(&world, &disk);
    let file = world.path("out.vhd");
    world.run(&["restore", &world.url("backups/web1"), &file, "--point", "latest"]).expect(0);
    let image = std::fs::File::open(&file).unwrap();
    assert_eq!(image.metadata().unwrap().len(), (1 << 30) + 512);
    let mut cookie = [0; 8];
    std::os::unix::fs::FileExt::read_exact_at(&image, &mut cookie, 1 << 30).unwrap();
    assert_eq!(&cookie, b"conectix", "what a user of the sample misses");
    // In the blob, too, for those who make a disk of it without us.
    let range = format!("bytes={}-{}", 1u64 << 30, (1u64 << 30) + 511);
    let sas = support::sas("2099-01-01T00:00:00Z");
    let read =
        pageferry_emulator::Request::new("GET", &format!("/{}/backups/web1?{sas}", pageferry_emulator::DEV_ACCOUNT));
    let read = read.header("x-ms-version", "2021-12-02").header("x-ms-range", range);
    assert!(world.answer(read).starts_with(b"conectix"));
}
