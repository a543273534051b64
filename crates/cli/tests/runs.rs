//! What programs rely on: JSON lines, exit codes under signals, and silence about secrets.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{QUICK, Ran, World, sas};

#[test]
fn json_lines_are_versioned_objects() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let types = |words: &[&str], code| {
        let ran = world.run(&[words, &["-o", "json"]].concat()).expect(code);
        assert_eq!(ran.stderr, "", "{words:?}");
        let lines = ran.json();
        for line in &lines {
            assert_eq!(line["v"], 1, "{line}");
            assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{line}");
        }
        lines.iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&["plan", &disk, &target], 0), ["plan"]);
    let steps = ["begun", "gating", "step"].repeat(3);
    assert_eq!(types(&["sync", &disk, &target], 0), [&steps[..], &["sync"]].concat());
    assert_eq!(types(&["points", &target], 0), ["point", "point", "point"]);
    assert_eq!(types(&["verify", &target, "--point", "latest", "--against", &disk], 0), ["verify"]);
    assert_eq!(types(&["restore", &target, "a.raw", "--point", "latest"], 0), ["note", "restore"]);
    assert_eq!(types(&["snapshot", &disk], 0), ["snapshot"]);
    assert_eq!(types(&["snapshot", &world.url("disks/none")], 3), ["error"]);
    assert_eq!(types(&["sync", &disk, &target, "--bogus"], 2), ["error"]);
    let error = world.run(&["points", &world.url("backups/none"), "--output=json"]).expect(3).json().pop().unwrap();
    assert_eq!((&error["code"], &error["name"]), (&3.into(), &"not-found".into()));
}

#[test]
fn figures_are_integers() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let plan = world.run(&["plan", &disk, &target, "-o", "json"]).json().pop().unwrap();
    assert_eq!(plan["changed_bytes"], 1 << 20);
    let lines = world.run(&[&["sync", &disk, &target, "-o", "json"], &QUICK[..]].concat()).json();
    let steps: Vec<_> = lines.iter().filter(|line| line["type"] == "step").collect();
    let moved = |name: &str| steps.iter().map(|step| step[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(moved("written_bytes"), [1 << 20, 64 << 10, 4 << 10]);
    assert_eq!(moved("cleared_bytes"), [0, 0, 8 << 10]);
    assert_eq!(moved("changed_bytes"), moved("written_bytes"));
    assert_eq!(lines.last().unwrap()["points_made"], 3);
}

#[test]
fn what_the_plan_says_of_filled_gaps_is_what_the_sync_does() {
    let world = World::new();
    world.create("disks/web1.vhd", 8 << 20);
    world.fill("disks/web1.vhd", 0, 4 << 20, 1);
    world.fill("disks/web1.vhd", 4 << 20, 4 << 20, 1);
    world.snapshot("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    for run in 0..600 {
        world.fill("disks/web1.vhd", run * (8 << 10), 1 << 10, 2);
    }
    world.snapshot("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let planned = |words: &[&str]| {
        let ran = world.run(&[&["plan", &disk, &target, "-o", "json"], words].concat()).expect(0);
        let plan = ran.json().pop().unwrap();
        move |name: &str| plan[name].as_u64().unwrap_or_else(|| panic!("{name} in {plan}"))
    };
    let off = planned(&["--fill-gaps", "off"]);
    assert_eq!((off("write_requests"), off("filled_bytes"), off("limit_per_second")), (600, 0, 500));
    let plan = planned(&[]);
    assert_eq!(plan("changed_bytes"), off("write_bytes"));
    assert_eq!(plan("write_bytes"), plan("changed_bytes") + plan("filled_bytes"));
    assert_eq!(plan("write_requests") + plan("saved_requests"), 600);
    assert!(plan("write_requests") < 60, "{}", plan("write_requests"));
    assert_eq!(plan("at_least_ms") + plan("saved_ms"), off("at_least_ms"));
    let text = world.run(&["plan", &disk, &target]).expect(0).stdout;
    assert!(text.contains("that did not change, to save"), "{text}");
    let lines = world.run(&[&["sync", &disk, &target, "-o", "json"], &QUICK[..]].concat()).json();
    let step = lines.iter().find(|line| line["type"] == "step").unwrap();
    assert_eq!(step["written_bytes"], plan("write_bytes"));
    assert_eq!(step["filled_bytes"], plan("filled_bytes"));
    assert_eq!(step["requests"], 2 * plan("write_requests") + plan("clear_requests"), "a read and a write each");
    assert!(lines.iter().all(|line| line["type"] != "note"), "the gate knew: {lines:?}");
}

#[test]
fn an_image_is_the_disk() {
    let world = World::new();
    world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    std::fs::write(world.path("out.raw"), "old").unwrap();
    let target = world.url("backups/web1.vhd");
    world.run(&["restore", &target, "out.raw", "--point", "latest", "--overwrite"]).expect(0);
    let mut expected = vec![0; 8 << 20];
    expected[(1 << 20) + (8 << 10)..2 << 20].fill(1);
    expected[2 << 20..(2 << 20) + (64 << 10)].fill(2);
    expected[6 << 20..(6 << 20) + (4 << 10)].fill(3);
    assert!(std::fs::read(world.path("out.raw")).unwrap() == expected);
}

/// Sends `signal` to a process of ours.
fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// A sync of a disk that takes a while, once pages are moving.
fn slow_sync(world: &World) -> Child {
    world.create("disks/big.vhd", 64 << 20);
    world.fill("disks/big.vhd", 0, 16 << 20, 1);
    world.snapshot("disks/big.vhd");
    let (disk, target) = (world.url("disks/big.vhd"), world.url("backups/big.vhd"));
    let slow = ["--concurrency", "1", "--request-size", "512"];
    let mut command = world.command(&[&["sync", &disk, &target], &slow[..], &QUICK[..]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("copying"), "{line}");
    std::thread::sleep(Duration::from_millis(500));
    // What is left of it is read by nobody; the pipe must stay open all the same.
    std::thread::spawn(move || stderr.read_to_string(&mut line));
    child
}

/// A sync that is asked to stop does, and the same command goes on: once its lease has run out, for that is the proof
/// that nobody has written since.
fn interrupted(name: &str, code: i32) {
    let world = World::new();
    let child = slow_sync(&world);
    signal(&child, name);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, &*ran.stdout), (code, ""), "{name}");
    let (disk, target) = (world.url("disks/big.vhd"), world.url("backups/big.vhd"));
    let points = world.run(&["points", &target]).expect(0);
    assert!(points.stderr.contains("is being copied, or its copy was interrupted"), "{}", points.stderr);
    let again = ["sync", &disk, &target, "--lease-duration", "15", "--quiesce", "1"];
    let again = world.run(&again).expect(0);
    assert!(again.stderr.contains(", going on at "), "{}", again.stderr);
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
}

#[test]
fn a_sync_interrupted_from_the_keyboard_goes_on() {
    interrupted("-INT", 130);
}

#[test]
fn a_sync_interrupted_by_its_scheduler_goes_on() {
    interrupted("-TERM", 143);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let mut command = world.command(&[&["sync", &disk, &target], &QUICK[..]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.run(&["points", &target, "-o", "json"]).json().len(), 3);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = world.command(&["points", &target]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let ran = Ran::of(output.wait_with_output().unwrap()).expect(1);
    assert!(ran.stderr.contains("cannot write to standard output"), "{}", ran.stderr);
}

#[test]
fn the_emulator_says_where_it_is_and_stops_when_asked() {
    let world = World::new();
    for (words, name) in [(&["emulator"][..], "-INT"), (&["emulator", "--data-dir", "state"], "-TERM")] {
        let mut command = world.command(&[words, &["--listen", "127.0.0.1:0"]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line
            .strip_prefix("listening on http://127.0.0.1:")
            .and_then(|rest| rest.strip_suffix("/devstoreaccount1\n").and_then(|port| port.parse::<u16>().ok()));
        assert!(port.is_some_and(|port| port > 0), "{line}");
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
}

#[test]
fn no_signature_is_ever_shown() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let good = sas("2099-01-01T00:00:00Z");
    let canary = good.split("sig=").nth(1).unwrap().to_owned();
    let bad = good.replace(&canary, "CANARYCANARY%3D");
    let shows = |ran: Ran, what: &str| {
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let decoded = canary.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        for secret in [&canary, &decoded, "CANARYCANARY", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50"] {
            assert!(!said.contains(secret), "{what}: {said}");
        }
    };
    let trace = ["--log-level", "trace"];
    let with = |url: &str, sas: &str| format!("{url}?{sas}");
    let run = |words: &[&str]| world.run(&[words, &trace[..]].concat());
    shows(run(&["sync", &with(&disk, &good), &with(&target, &good)]).expect(0), "sync");
    shows(run(&["sync", &with(&disk, &bad), &target]).expect(77), "denied");
    shows(run(&["points", &with(&target, &good), "-o", "json"]).expect(0), "points");
    shows(run(&["points", &target, &with(&target, &bad)]).expect(2), "a word too many");
    shows(run(&["points", &with(&target, &bad).replace('?', "%3F")]).expect(2), "a question mark encoded");
    shows(run(&["sync", &disk, &target, "--source-sas", &bad]).expect(2), "a SAS in place of where it is");
    shows(run(&["sync", &disk, &target, &format!("--{bad}")]).expect(2), "an unknown flag");
    shows(run(&["restore", &target, &format!("x?{bad}"), "--point", "latest"]).expect(2), "a strange file");
    shows(run(&["restore", &target, "x.raw", "--point", &bad]).expect(3), "a strange point");
    shows(run(&["snapshot", &format!("http://127.0.0.1:1/a/b/c?{bad}")]).expect(1), "nobody there");
    shows(world.run_with(&[("AZURE_STORAGE_SAS_TOKEN", &bad)], &[&["snapshot", &*disk], &trace[..]].concat()), "env");
    shows(run(&["snapshot", &disk]).expect(0), "the key");
}

#[test]
fn a_host_that_is_not_there_does_not_take_a_minute() {
    let world = World::new();
    let begun = Instant::now();
    let words = ["snapshot", "https://acct.blob.core.invalid/disks/a.vhd", "--auth", "anonymous"];
    world.run(&words).expect(1);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
