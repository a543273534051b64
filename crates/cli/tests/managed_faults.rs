//! What goes wrong with managed disks in the middle of a run: grants that are left, revoked or refused, sources that go away,
//! a Resource Manager that is busy.

mod support;

use std::time::{Duration, Instant};

use pageferry_emulator::faults::{Action, Event, FaultScript, Foreign, Operation, Pace, Refusal, Rule};
use serde_json::json;
use support::managed::{disk, snapshot};
use support::service::Process;
use support::{QUICK, World};

const PATIENCE: Duration = Duration::from_secs(120);

/// As quick as may be, after a run whose lease has to run out.
const AFTERWARDS: [&str; 6] = ["--lease-duration", "15", "--quiesce", "1", "--lock-wait", "60"];

/// A managed disk with 16 MiB written and a first snapshot, and another 16 MiB and a second snapshot.
fn two_snapshots(world: &World) -> (String, String, String) {
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 16 << 20, 1);
    let first = world.managed_snapshot(&disk, "first");
    world.guest_writes(&disk, 64 << 20, 16 << 20, 2);
    (disk.clone(), first, world.managed_snapshot(&disk, "second"))
}

fn spawn(world: &World, words: &[&str]) -> Process {
    let mut command = world.command(words);
    command.env("PAGEFERRY_ARM_ENDPOINT", world.arm_endpoint());
    Process::spawn(command)
}

fn slow_writes(world: &World, millis: u64) {
    let pace = Pace { first: millis, ..Pace::default() };
    world.service().set_faults(FaultScript::new(1).rule(Rule::new(Action::Slow(pace)).on(Operation::PutPageUpdate)));
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn writes(world: &World) -> u64 {
    let stats = world.service().stats();
    stats.operations.get(&Operation::PutPageUpdate).map_or(0, |one| one.requests)
}

/// Whether the newest point is what `snapshot` holds.
#[track_caller]
fn newest_is(world: &World, target: &str, snapshot: &str) {
    let file = world.path("out.raw");
    world.run(&["restore", target, &file, "--point", "latest", "--overwrite"]).expect(0);
    world.same_as_truth(&file, snapshot);
}

#[test]
fn no_grant_is_left_after_a_kill_and_a_second_run() {
    let world = World::new();
    let (disk, first, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    slow_writes(&world, 3000);
    let run = spawn(&world, &[&["sync", &first, &target][..], &QUICK].concat());
    until("a write", || writes(&world) > 0);
    run.kill();
    assert_eq!(world.granted(), std::slice::from_ref(&first), "that is what a killed run leaves");
    world.service().set_faults(FaultScript::default());
    // The second run does not even want the snapshot that the first was granted.
    world.run_arm(&[&["sync", &disk, &target, "--latest-only"][..], &AFTERWARDS].concat()).expect(0);
    assert_eq!(world.granted(), Vec::<String>::new());
    newest_is(&world, &target, &second);
}

#[test]
fn a_run_that_is_stopped_gives_its_grants_back() {
    let world = World::new();
    let (disk, ..) = two_snapshots(&world);
    let target = world.url("backups/web1");
    slow_writes(&world, 500);
    let run = spawn(&world, &[&["sync", &disk, &target, "--concurrency", "1"][..], &QUICK].concat());
    until("a write", || writes(&world) > 0);
    run.signal("-INT");
    let ran = run.ended(PATIENCE);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn a_run_that_waits_for_a_grant_can_be_stopped() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    for n in 0..6 {
        world.managed_snapshot(&disk, &format!("s{n}"));
    }
    for n in 0..5 {
        world.grant(&snapshot(&format!("s{n}")));
    }
    let target = world.url("backups/web1");
    let mut run = spawn(&world, &[&["sync", &snapshot("s5"), &target][..], &QUICK].concat());
    run.until_said("waiting");
    run.signal("-INT");
    let ran = run.ended(PATIENCE);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert_eq!(world.granted().len(), 5, "those of others are not touched");
}

#[test]
fn rule_16_a_sas_that_is_revoked_in_the_middle_is_replaced() {
    let world = World::new();
    let (disk, first, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    let revoke = |snapshot: &str, nth| {
        let path = format!("{snapshot}/endGetAccess?api-version=2022-07-02");
        let event = Event::Request(Foreign { method: "POST".to_owned(), target: path, ..Foreign::default() });
        Rule::new(Action::First(event)).on(Operation::GetBlob).nth(nth)
    };
    world.service().set_faults(FaultScript::new(1).rule(revoke(&first, 3)).rule(revoke(&second, 8)));
    let ran = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    assert!(ran.stderr.contains("SAS of first replaced; the transfer goes on with a new SAS"), "{}", ran.stderr);
    assert_eq!(world.granted(), Vec::<String>::new());
    newest_is(&world, &target, &second);
}

#[test]
fn a_resource_manager_that_is_busy_is_asked_again() {
    let world = World::new();
    let (disk, _, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    let busy = |operation| {
        let action = Action::Refuse {
            code: Refusal::ServerBusy,
            applied: Default::default(),
            retry_after: Some("1".to_owned()),
        };
        Rule::new(action).on(operation).nth(1)
    };
    let script = [Operation::ListSnapshots, Operation::BeginGetAccess, Operation::EndGetAccess, Operation::GetDisk]
        .into_iter()
        .fold(FaultScript::new(1), |script, operation| script.rule(busy(operation)));
    world.service().set_faults(script);
    world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(0);
    assert_eq!(world.granted(), Vec::<String>::new());
    newest_is(&world, &target, &second);
}

#[test]
fn a_source_snapshot_that_is_deleted_in_the_middle_leaves_a_target_that_goes_on() {
    let world = support::managed::world(|options| options.config.arm.limits.no_delete_while_granted = false);
    let (disk, _, second) = two_snapshots(&world);
    world.guest_writes(&disk, 128 << 20, 1 << 20, 3);
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &snapshot("first"), &target][..], &QUICK].concat()).expect(0);
    let third = world.managed_snapshot(&disk, "third");
    let event = Event::Request(Foreign {
        method: "DELETE".to_owned(),
        target: format!("{second}?api-version=2022-07-02"),
        ..Foreign::default()
    });
    let gone = Rule::new(Action::First(event)).on(Operation::GetBlob).nth(3);
    world.service().set_faults(FaultScript::new(1).rule(gone));
    let ran = world.run_arm(&[&["sync", &second, &target][..], &QUICK].concat());
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let error = ran.stderr.lines().last().unwrap();
    assert!(error.contains("snapshots/second") && error.contains("deleted"), "{error}");
    world.service().set_faults(FaultScript::default());
    world.run_arm(&[&["sync", &disk, &target][..], &AFTERWARDS].concat()).expect(0);
    newest_is(&world, &target, &third);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn a_snapshot_that_is_made_again_in_the_middle_is_not_mixed_with_the_one_before() {
    let world = support::managed::world(|options| options.config.arm.limits.no_delete_while_granted = false);
    let (disk, _, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    slow_writes(&world, 1000);
    let run = spawn(&world, &[&["sync", &second, &target, "--concurrency", "1"][..], &QUICK].concat());
    until("a write", || writes(&world) > 0);
    world.arm_ok("DELETE", &second, &json!(null));
    world.guest_writes(&disk, 0, 16 << 20, 9);
    world.managed_snapshot(&disk, "second");
    world.service().set_faults(FaultScript::default());
    let ran = run.ended(PATIENCE);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let error = ran.stderr.lines().last().unwrap();
    assert!(error.contains("snapshots/second") && error.contains("made again"), "{error}");
    assert_eq!(world.granted(), Vec::<String>::new());
    world.run_arm(&[&["sync", &disk, &target, "--latest-only"][..], &AFTERWARDS].concat()).expect(0);
    newest_is(&world, &target, &second);
}

#[test]
fn the_doctor_revokes_what_a_killed_machine_left() {
    let world = World::new();
    let (disk, first, _) = two_snapshots(&world);
    world.grant(&first);
    let found = world.run_arm(&["doctor", &disk, "-o", "json"]).expect(0);
    let stale = |ran: &support::Ran| {
        ran.json()
            .into_iter()
            .filter(|line| line["what"] == "stale SAS")
            .map(|line| line["state"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(stale(&found), ["doubtful"]);
    assert_eq!(world.granted(), [first]);
    let found = world.run_arm(&["doctor", &disk, "--revoke-stale", "-o", "json"]).expect(0);
    assert_eq!(stale(&found), ["well"]);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn the_doctor_revokes_nothing_of_what_a_run_may_use() {
    let world = World::new();
    let (disk, first, _) = two_snapshots(&world);
    world.grant(&first);
    let nobody = world.url("nowhere/web1");
    let ran = world.run_arm(&["doctor", &disk, &nobody, "--revoke-stale"]);
    assert!(ran.code != 0 && ran.stdout.contains("none is revoked"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(world.granted(), [first]);
}

#[test]
fn the_doctor_leaves_a_run_alone_that_is_under_way() {
    let world = World::new();
    let (_, first, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    world.grant(&second);
    slow_writes(&world, 3000);
    let run = spawn(&world, &[&["sync", &first, &target][..], &QUICK].concat());
    until("a write", || writes(&world) > 0);
    world.run_arm(&["doctor", &disk("web1"), &target, "--revoke-stale"]).expect(0);
    assert_eq!(world.granted(), [first]);
    drop(run);
}

#[test]
fn rule_18_a_sixth_sas_waits_for_its_turn() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 1 << 20, 1);
    for n in 0..6 {
        world.managed_snapshot(&disk, &format!("s{n}"));
    }
    for n in 0..5 {
        world.grant(&snapshot(&format!("s{n}")));
    }
    let target = world.url("backups/web1");
    let mut run = spawn(&world, &[&["sync", &snapshot("s5"), &target][..], &QUICK].concat());
    run.until_said("5 SAS of its family are active");
    world.arm_ok("POST", &format!("{}/endGetAccess", snapshot("s0")), &json!(null));
    let ran = run.ended(PATIENCE);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    newest_is(&world, &target, &snapshot("s5"));
}

#[test]
fn a_run_that_finds_the_target_held_ends_no_grant_of_the_one_that_holds_it() {
    let world = World::new();
    let (disk, first, second) = two_snapshots(&world);
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &first, &target][..], &QUICK].concat()).expect(0);
    slow_writes(&world, 700);
    let before = writes(&world);
    let run = spawn(&world, &[&["sync", &disk, &target, "--concurrency", "1"][..], &QUICK].concat());
    until("a write", || writes(&world) > before);
    let ran = world.run_arm(&[&["sync", &disk, &target][..], &QUICK].concat()).expect(75);
    assert!(ran.stderr.contains("is being written by"), "{}", ran.stderr);
    let ran = run.ended(PATIENCE);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("replaced"), "{}", ran.stderr);
    assert_eq!(world.granted(), Vec::<String>::new());
    newest_is(&world, &target, &second);
}
