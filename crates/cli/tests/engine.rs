//! Who moves the bytes: this machine, or the service by itself.

mod support;

use support::detour::detour;
use support::{QUICK, World};

fn engines(lines: &[serde_json::Value]) -> Vec<&str> {
    lines.iter().filter(|line| line["type"] == "step").map(|line| line["engine"].as_str().unwrap()).collect()
}

#[test]
fn the_service_can_fetch_the_pages_by_itself() {
    for engine in ["service", "auto"] {
        let world = World::new();
        world.week("disks/web1.vhd");
        let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
        let lines = world
            .run(&[&["sync", &disk, &target, "--engine", engine, "-o", "json"], &QUICK[..]].concat())
            .expect(0)
            .json();
        assert_eq!(engines(&lines), ["service"; 3], "{engine}");
        let stored: Vec<_> = lines.iter().filter(|line| line["type"] == "stored").collect();
        let bytes: u64 = stored.iter().map(|line| line["length_bytes"].as_u64().unwrap()).sum();
        assert_eq!(bytes, (1 << 20) + (64 << 10) + (4 << 10), "{engine}");
        assert!(stored.iter().all(|line| line["crc64"].as_str().unwrap().len() == 16), "{stored:?}");
        world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
    }
}

#[test]
fn where_it_cannot_auto_says_why_and_this_machine_does_it() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (detour(&world.url("disks/web1.vhd")), world.url("backups/web1.vhd"));
    let words = ["sync", &disk, &target, "--engine", "auto", "-o", "json"];
    let lines = world.run(&[&words[..], &QUICK[..]].concat()).expect(0).json();
    assert_eq!(engines(&lines), ["relay"; 3]);
    let notes: Vec<_> = lines.iter().filter(|line| line["type"] == "note").collect();
    let text = notes.first().and_then(|note| note["text"].as_str()).unwrap_or_default();
    assert!(text.contains("go through this machine") && text.contains("CannotVerifyCopySource"), "{notes:?}");
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
}

#[test]
fn where_it_cannot_and_must_the_run_says_so() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (detour(&world.url("disks/web1.vhd")), world.url("backups/web1.vhd"));
    let words = ["sync", &disk, &target, "--engine", "service"];
    let ran = world.run(&[&words[..], &QUICK[..]].concat()).expect(3);
    let says = ["Put Page From URL", "cannot read", "--engine relay"];
    assert!(says.iter().all(|part| ran.stderr.contains(part)), "{}", ran.stderr);
    assert!(!ran.stderr.contains("sig="), "{}", ran.stderr);
}
