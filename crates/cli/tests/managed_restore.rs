//! Points that become managed disks, by the binary.

mod support;

use std::time::{Duration, Instant};

use pageferry_emulator::faults::Refusal;
use pageferry_emulator::faults::{Action, Applied, Delay, Event, FaultScript, Foreign, Loss, Operation, Pace, Rule};
use serde_json::json;
use support::managed::{disk, snapshot};
use support::service::Process;
use support::{QUICK, Ran, World};

const PATIENCE: Duration = Duration::from_secs(120);

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// The words that name the new disk `restored`.
const TO_DISK: [&str; 8] =
    ["--to-disk", "restored", "-g", "rg", "--subscription", SUBSCRIPTION, "--location", "westeurope"];

/// A managed disk, two snapshots of it, and a target with a point of each.
fn backed_up(world: &World) -> (String, [String; 2]) {
    let web = world.managed("web1", 1);
    world.guest_writes(&web, 0, 8 << 20, 1);
    let first = world.managed_snapshot(&web, "first");
    world.guest_writes(&web, 64 << 20, 8 << 20, 2);
    world.guest_clears(&web, 1 << 20, 1 << 20);
    world.guest_writes(&web, (1 << 30) - 4096, 4096, 3);
    let second = world.managed_snapshot(&web, "second");
    let target = world.url("backups/web1");
    world.run_arm(&[&["sync", &web, &target][..], &QUICK].concat()).expect(0);
    (target, [first, second])
}

fn restore(world: &World, target: &str, more: &[&str]) -> Ran {
    world.run_arm(&words(target, more))
}

fn words<'a>(target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", target][..], &TO_DISK, &["--point", "latest"], more, &QUICK].concat()
}

fn spawn(world: &World, words: &[&str]) -> Process {
    let mut command = world.command(words);
    command.env("PAGEFERRY_ARM_ENDPOINT", world.arm_endpoint());
    Process::spawn(command)
}

fn faults(world: &World, rules: impl IntoIterator<Item = Rule>) {
    world.service().set_faults(rules.into_iter().fold(FaultScript::new(1), FaultScript::rule));
}

fn slow_writes(world: &World, millis: u64) {
    let pace = Pace { first: millis, ..Pace::default() };
    faults(world, [Rule::new(Action::Slow(pace)).on(Operation::PutPageUpdate)]);
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn requests(world: &World, operation: Operation) -> u64 {
    world.service().stats().operations.get(&operation).map_or(0, |one| one.requests)
}

/// Breaks a restore off after some of its writes, with a signal.
fn broken_off(world: &World, target: &str, signal: &str) -> Ran {
    let before = requests(world, Operation::PutPageUpdate);
    slow_writes(world, 400);
    let run = spawn(world, &words(target, &["--concurrency", "1", "--request-size", "1M"]));
    until("two writes", || requests(world, Operation::PutPageUpdate) >= before + 2);
    run.signal(signal);
    let ran = run.ended(PATIENCE);
    faults(world, []);
    ran
}

#[test]
fn a_point_becomes_a_managed_disk_whose_backups_go_on() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let sold = ["--sku", "Premium_LRS", "--os-type", "linux", "--hyper-v-generation", "v2"];
    let before = requests(&world, Operation::PutPageUpdate);
    let ran = restore(&world, &target, &sold).expect(0);
    let new = disk("restored");
    world.same_disks(&new, &second);
    assert_eq!(world.granted(), Vec::<String>::new());
    assert_eq!(world.disk_state(&new), "Unattached");
    let made = world.arm_ok("GET", &new, &json!(null));
    assert_eq!((&made["sku"]["name"], &made["location"]), (&json!("Premium_LRS"), &json!("westeurope")));
    let machine = (&made["properties"]["osType"], &made["properties"]["hyperVGeneration"]);
    assert_eq!(machine, (&json!("Linux"), &json!("V2")));
    let tag = made["tags"]["pageferryrestore"].as_str().unwrap();
    assert!(tag.starts_with(&format!("{target}@")), "{tag}");
    let written = requests(&world, Operation::PutPageUpdate) - before;
    assert_eq!(written, 7, "what is allocated, in pieces of 4 MiB, and the footer");
    for step in ["az vm disk attach -g rg", "az vm update", &format!("pageferry snapshot {new}")] {
        assert!(ran.stdout.contains(step), "{step}: {}", ran.stdout);
    }
    let adopt = format!("pageferry sync {new} {target} --adopt");
    assert!(ran.stdout.contains(&adopt), "{}", ran.stdout);

    world.run_arm(&["snapshot", &new]).expect(0);
    world.run_arm(&[&["sync", &new, &target, "--adopt"][..], &QUICK].concat()).expect(0);
    world.guest_writes(&new, 5 << 20, 1 << 20, 7);
    world.run_arm(&[&["backup", &new, &target][..], &QUICK].concat()).expect(0);
    let file = world.path("out.raw");
    world.run(&["restore", &target, &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &new);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn an_older_point_and_a_disk_by_its_id() {
    let world = World::new();
    let (target, [first, _]) = backed_up(&world);
    let points = world.run(&["points", &target, "-o", "json"]).expect(0).json();
    let oldest = points[0]["point"].as_str().unwrap();
    let new = disk("older");
    let words = ["restore", &target, &new, "--location", "West Europe", "--point", oldest, "-o", "json"];
    let ran = world.run_arm(&[&words[..], &QUICK].concat()).expect(0);
    world.same_disks(&new, &first);
    let said = ran.json();
    let said = said.iter().find(|line| line["type"] == "restore").unwrap();
    assert_eq!((&said["point"], &said["destination"]), (&json!(oldest), &json!(new)));
    assert_eq!(said["length_bytes"], json!((1u64 << 30) + 512));
    assert_eq!(said["written_bytes"], json!((8 << 20) + 512));
    assert!(said["next"][2].as_str().unwrap().contains("NEWTARGET"), "{said}");
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn a_raw_disk_gets_a_footer() {
    let world = World::new();
    world.create("disks/raw", 32 << 20);
    world.fill("disks/raw", 1 << 20, 1 << 20, 1);
    world.fill("disks/raw", (32 << 20) - 512, 512, 2);
    world.snapshot("disks/raw");
    world.sync("disks/raw", "backups/raw");
    let ran = restore(&world, &world.url("backups/raw"), &[]).expect(0);
    assert!(ran.stdout.contains("a VHD footer was added") && ran.stdout.contains("NEWTARGET"), "{}", ran.stdout);
    let file = world.path("out.raw");
    world.run(&["restore", &world.url("backups/raw"), &file, "--point", "latest"]).expect(0);
    world.same_as_truth(&file, &disk("restored"));

    world.create("disks/odd", (32 << 20) + 512);
    world.fill("disks/odd", 0, 512, 1);
    world.snapshot("disks/odd");
    world.sync("disks/odd", "backups/odd");
    let words = ["restore", &world.url("backups/odd"), &disk("odd"), "--location", "westeurope", "--point", "latest"];
    let ran = world.run_arm(&words).expect(78);
    assert!(ran.stderr.contains("no whole number of MiB; restore it to a file"), "{}", ran.stderr);
    assert_eq!(world.arm("GET", &disk("odd"), &json!(null)).0, 404, "nothing was made");
}

#[test]
fn a_restore_that_was_stopped_goes_on() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let new = disk("restored");
    let ran = broken_off(&world, &target, "-INT");
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("half made") && ran.stderr.contains("az disk delete --ids"), "{}", ran.stderr);
    assert_eq!(world.disk_state(&new), "ActiveUpload", "no machine can have it");
    until("the end of the grant", || world.granted().is_empty());
    let ran = restore(&world, &target, &[]).expect(0);
    assert!(ran.stderr.contains("going on with"), "{}", ran.stderr);
    world.same_disks(&new, &second);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn a_restore_that_was_killed_goes_on_and_clears_what_is_not_the_points() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let new = disk("restored");
    broken_off(&world, &target, "-KILL");
    assert_eq!(world.granted(), std::slice::from_ref(&new), "that is what a killed run leaves");
    world.upload_by_hand(&new, 512 << 20, 1 << 20, 9);
    world.upload_by_hand(&new, 0, 512, 9);
    restore(&world, &target, &[]).expect(0);
    world.same_disks(&new, &second);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn half_a_restore_of_another_point_is_not_gone_on_with() {
    let world = World::new();
    let (target, _) = backed_up(&world);
    broken_off(&world, &target, "-INT");
    let first = world.run(&["points", &target, "-o", "json"]).expect(0).json()[0]["point"].as_str().unwrap().to_owned();
    let words = [&["restore", &target][..], &TO_DISK, &["--point", &first], &QUICK].concat();
    let ran = world.run_arm(&words).expect(78);
    assert!(ran.stderr.contains("an upload of something else"), "{}", ran.stderr);
    let north = words_with_location(&target, "northeurope");
    let ran = world.run_arm(&north).expect(78);
    assert!(ran.stderr.contains("begun in the region westeurope, not northeurope"), "{}", ran.stderr);
    assert_eq!(world.disk_state(&disk("restored")), "ActiveUpload");
}

fn words_with_location<'a>(target: &'a str, location: &'a str) -> Vec<&'a str> {
    let mut words = words(target, &[]);
    let at = words.iter().position(|word| *word == "westeurope").unwrap();
    words[at] = location;
    words
}

#[test]
fn a_disk_that_can_be_used_is_never_touched() {
    let world = World::new();
    let (target, _) = backed_up(&world);
    let theirs = world.managed("restored", 1);
    world.guest_writes(&theirs, 0, 4096, 9);
    world.managed_snapshot(&theirs, "theirs");
    let ran = restore(&world, &target, &[]).expect(78);
    assert!(ran.stderr.contains("it exists: a disk is never written to again"), "{}", ran.stderr);
    world.same_disks(&theirs, &snapshot("theirs"));
    let id = disk("twice");
    let twice = ["restore", &target, &id, "--location", "westeurope", "--point", "latest"];
    world.run_arm(&[&twice[..], &QUICK].concat()).expect(0);
    let ran = world.run_arm(&twice).expect(78);
    assert!(ran.stderr.contains("restored from this very point"), "{}", ran.stderr);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn of_two_runs_at_once_the_slower_one_touches_nothing_that_the_other_has_finished() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let before = requests(&world, Operation::PutPageUpdate);
    let pace = Pace { first: 6000, ..Pace::default() };
    faults(&world, [Rule::new(Action::Slow(pace)).on(Operation::PutPageUpdate).times(1)]);
    let slow = spawn(&world, &words(&target, &["--concurrency", "1"]));
    until("a write", || requests(&world, Operation::PutPageUpdate) > before);
    restore(&world, &target, &[]).expect(0);
    let begun = Instant::now();
    let ran = slow.ended(PATIENCE);
    assert_eq!(ran.code, 78, "{}", ran.stderr);
    assert!(ran.stderr.contains("somebody else has declared the upload"), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20), "there is nothing to wait for");
    world.same_disks(&disk("restored"), &second);
    assert_eq!(world.disk_state(&disk("restored")), "Unattached");
}

#[test]
fn rule_16_a_sas_that_is_revoked_in_the_middle_is_replaced() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let path = format!("{}/endGetAccess?api-version=2022-07-02", disk("restored"));
    let event = Event::Request(Foreign { method: "POST".to_owned(), target: path, ..Foreign::default() });
    faults(&world, [Rule::new(Action::First(event)).on(Operation::PutPageUpdate).nth(4)]);
    let ran = restore(&world, &target, &["--request-size", "1M"]).expect(0);
    assert!(ran.stderr.contains("SAS of restored replaced"), "{}", ran.stderr);
    world.same_disks(&disk("restored"), &second);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn what_was_written_and_not_answered_is_read_back_before_the_disk_is_handed_over() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let part = Action::Lose { applied: Applied::Part, how: Loss::Reset };
    faults(
        &world,
        [
            Rule::new(Action::lost_answer()).on(Operation::PutPageUpdate).nth(2),
            Rule::new(part).on(Operation::PutPageUpdate).nth(4),
        ],
    );
    let before = requests(&world, Operation::GetBlob);
    let ran = restore(&world, &target, &["--request-size", "1M"]).expect(0);
    assert!(ran.stderr.contains("1 s"), "it waits for what may still arrive: {}", ran.stderr);
    let reads = requests(&world, Operation::GetBlob) - before;
    assert!(reads >= 17 + 3 + 4, "17 MiB and the footer are read once, and what is uncertain once more: {reads}");
    world.same_disks(&disk("restored"), &second);
}

#[test]
fn a_late_write_does_not_reach_a_disk_that_is_in_use() {
    let world = World::new();
    let (target, _) = backed_up(&world);
    let late = Action::Admit { after: Delay::Millis(1900), how: Loss::Reset };
    faults(&world, [Rule::new(late).on(Operation::PutPageUpdate).times(1)]);
    let words =
        [&["restore", &target][..], &TO_DISK, &["--point", "latest", "--quiesce", "4", "--concurrency", "1"]].concat();
    world.run_arm(&words).expect(0);
    world.guest_writes(&disk("restored"), 0, 4 << 20, 9);
    std::thread::sleep(Duration::from_millis(2000));
    world.disk_state(&disk("restored"));
    let now = world.service().read_disk(&disk("restored")).unwrap().bytes(0, 4 << 20);
    assert!(now.iter().all(|byte| *byte == 9), "what the machine has written is overwritten");
}

#[test]
fn a_resource_manager_that_is_busy_is_asked_again() {
    let world = World::new();
    let (target, [_, second]) = backed_up(&world);
    let busy = |operation| {
        let action =
            Action::Refuse { code: Refusal::ServerBusy, applied: Applied::None, retry_after: Some("1".to_owned()) };
        Rule::new(action).on(operation).nth(1)
    };
    let operations = [Operation::GetDisk, Operation::PutDisk, Operation::BeginGetAccess, Operation::EndGetAccess];
    faults(&world, operations.map(busy));
    restore(&world, &target, &[]).expect(0);
    world.same_disks(&disk("restored"), &second);
    assert_eq!(world.granted(), Vec::<String>::new());
}

#[test]
fn what_is_missing_is_said() {
    let world = World::new();
    let target = world.url("backups/web1");
    let id = disk("restored");
    for (words, why) in [
        (&["--to-disk", "d", "-g", "rg", "--location", "westeurope"][..], "AZURE_SUBSCRIPTION_ID"),
        (&["--to-disk", "d", "--location", "westeurope"], "--resource-group"),
        (&["--to-disk", "d", "-g", "rg", "--subscription", SUBSCRIPTION], "--location is missing"),
        (&[&id], "--location is missing"),
        (&[&snapshot("s"), "--location", "westeurope"], "is a snapshot"),
        (&["out.raw", "--location", "westeurope"], "--location is for a new managed disk"),
        (&[&id, "--location", "westeurope", "--overwrite"], "--overwrite"),
        (&[], "required"),
    ] {
        let ran = world.run_arm(&[&["restore", &target, "--point", "latest"], words].concat()).expect(2);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    }
    let (target, [_, second]) = backed_up(&world);
    let words = [&["restore", &target, "--point", "latest"], &TO_DISK[..4], &TO_DISK[6..], &QUICK].concat();
    let endpoint = world.arm_endpoint();
    let environment = [("PAGEFERRY_ARM_ENDPOINT", endpoint.as_str()), ("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)];
    world.run_with(&environment, &words).expect(0);
    world.same_disks(&id, &second);
    let elsewhere = [("PAGEFERRY_ARM_ENDPOINT", "https://management.azure.com"), environment[1]];
    let ran = world.run_with(&elsewhere, &words).expect(2);
    assert!(ran.stderr.contains("--quiesce 1 is too short"), "{}", ran.stderr);
}

#[test]
fn what_the_service_refuses_is_said_in_its_words() {
    let world = World::new();
    let (target, _) = backed_up(&world);
    let ran = restore(&world, &target, &["--sku", "Tape_LRS"]);
    assert!(ran.stderr.contains("Tape_LRS is not supported"), "{} {}", ran.code, ran.stderr);
    world.create("disks/small", 1 << 20);
    world.snapshot("disks/small");
    world.sync("disks/small", "backups/small");
    let ran = restore(&world, &world.url("backups/small"), &[]);
    assert!(ran.stderr.contains("uploadSizeBytes is out of range"), "{} {}", ran.code, ran.stderr);
}

#[test]
fn a_disk_that_is_made_again_in_the_middle_is_not_written_to() {
    let world = support::managed::world(|options| options.config.arm.limits.no_delete_while_granted = false);
    let (target, _) = backed_up(&world);
    let new = disk("restored");
    let path = format!("{new}/endGetAccess?api-version=2022-07-02");
    let ended = Event::Request(Foreign { method: "POST".to_owned(), target: path, ..Foreign::default() });
    let pace = Pace { first: 1000, ..Pace::default() };
    let before = requests(&world, Operation::PutPageUpdate);
    faults(
        &world,
        [
            Rule::new(Action::First(ended)).on(Operation::PutPageUpdate).nth(3),
            Rule::new(Action::Slow(pace)).on(Operation::PutPageUpdate),
        ],
    );
    let run = spawn(&world, &words(&target, &["--concurrency", "1", "--request-size", "1M"]));
    until("a write", || requests(&world, Operation::PutPageUpdate) > before);
    until("the end of the grant", || world.disk_state(&new) == "ReadyToUpload");
    world.arm_ok("DELETE", &new, &json!(null));
    let data = json!({ "createOption": "Upload", "uploadSizeBytes": (1u64 << 30) + 512 });
    world.arm_ok("PUT", &new, &json!({ "location": "westeurope", "properties": { "creationData": data } }));
    world.upload_by_hand(&new, 512 << 20, 4096, 9);
    faults(&world, []);
    let ran = run.ended(PATIENCE);
    assert!(ran.code != 0 && ran.stderr.contains("made again"), "{} {}", ran.code, ran.stderr);
    let image = world.service().read_disk(&new).unwrap();
    assert_eq!(image.bytes(512 << 20, 4096)[..], [9; 4096]);
    assert!(image.bytes(0, 128 << 20).iter().all(|byte| *byte == 0), "it holds what was meant for the one before");
}
