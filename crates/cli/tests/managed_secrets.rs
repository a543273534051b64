//! What a managed disk is read with is a password for an hour: it is in no output, however much is logged, in no file
//! that is left, and not among the target's words.

mod support;

use pageferry_emulator::DEV_TOKEN;
use pageferry_emulator::faults::{Action, Event, FaultScript, Foreign, Operation, Rule};
use serde_json::json;
use support::managed::snapshot;
use support::{QUICK, World};

/// Runs the binary as loudly as it can, in both forms, and searches what it says.
#[track_caller]
fn loudly(world: &World, code: i32, words: &[&str]) {
    for form in ["text", "json"] {
        let endpoint = world.arm_endpoint();
        let environment = [("PAGEFERRY_ARM_ENDPOINT", &*endpoint), ("RUST_LOG", "trace"), ("AZURE_LOG", "trace")];
        let ran = world.run_with(&environment, &[words, &["--log-level", "trace", "-o", form]].concat());
        let said = format!("{}{}", ran.stdout, ran.stderr);
        search(&said, &format!("{words:?} {form}"));
        assert_eq!(ran.code, code, "{words:?}: {}", ran.stderr.lines().last().unwrap_or_default());
        assert!(said.len() > 100, "{words:?} said nothing that could be searched");
    }
}

#[track_caller]
fn search(said: &str, what: &str) {
    let lower = said.to_ascii_lowercase();
    for form in ["sig=", "sig%3d", "%26sig"] {
        for (at, _) in lower.match_indices(form) {
            let after: String = lower[at + form.len()..].chars().take(8).collect();
            let is_secret = after.chars().filter(char::is_ascii_alphanumeric).count() >= 6;
            assert!(!is_secret, "{what} shows a signature: {}", &said[at.saturating_sub(200)..at + 20]);
        }
    }
    assert!(!said.contains(DEV_TOKEN), "{what} shows a token");
}

#[test]
fn no_url_that_opens_a_disk_is_ever_shown() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 8 << 20, 1);
    let first = world.managed_snapshot(&disk, "first");
    world.guest_writes(&disk, 16 << 20, 1 << 20, 2);
    world.managed_snapshot(&disk, "second");
    let target = world.url("backups/web1");
    loudly(&world, 0, &["plan", &disk, &target]);
    loudly(&world, 0, &[&["sync", &disk, &target][..], &QUICK].concat());
    loudly(&world, 0, &["verify", &target, "--point", "latest", "--against", &disk]);
    loudly(&world, 0, &["doctor", &disk, &target, "--revoke-stale"]);
    let race = world.url("backups/race");
    loudly(&world, 0, &["bench", &disk, &race, "--against", "managed-copy", "--to-location", "northeurope"]);
    loudly(&world, 3, &["sync", &snapshot("nope"), &target]);
    let file = world.path("url");
    std::fs::write(&file, world.grant(&first)).unwrap();
    let url = format!("@{file}");
    loudly(&world, 0, &["plan", &url, &world.url("backups/other")]);
    world.arm_ok("POST", &format!("{first}/endGetAccess"), &json!(null));
    loudly(&world, 77, &["plan", &url, &world.url("backups/other")]);
    loudly(&world, 77, &["doctor", &url, &target]);
    let headers = world.send("HEAD", "backups/web1", &[], Vec::new());
    headers.iter().for_each(|(name, value)| search(&format!("{name}: {value}"), "the target's words"));
}

#[test]
fn a_url_that_is_replaced_is_not_shown_either() {
    let world = World::new();
    let disk = world.managed("web1", 1);
    world.guest_writes(&disk, 0, 16 << 20, 1);
    let first = world.managed_snapshot(&disk, "first");
    let path = format!("{first}/endGetAccess?api-version=2022-07-02");
    let event = Event::Request(Foreign { method: "POST".to_owned(), target: path, ..Foreign::default() });
    let revoke = Rule::new(Action::First(event)).on(Operation::GetBlob).every(4);
    world.service().set_faults(FaultScript::new(1).rule(revoke));
    loudly(&world, 0, &[&["sync", &disk, &world.url("backups/web1")][..], &QUICK].concat());
}
