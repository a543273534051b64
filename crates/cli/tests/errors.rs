//! What goes wrong, each in one clear sentence and with the code of its class.

mod support;

use expect_test::{Expect, expect};
use support::{QUICK, World, sas};

/// Runs the binary and compares code and sentence.
#[track_caller]
fn check(world: &World, words: &[&str], expected: Expect) {
    expected.assert_eq(&world.run(words).verdict());
}

fn quick<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &QUICK[..]].concat()
}

#[test]
fn what_does_not_exist() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    check(&world, &["sync", &world.url("disks/none.vhd"), &target], expect![[""]]);
    check(&world, &["sync", &disk, &world.url("nowhere/web1.vhd")], expect![[""]]);
    check(&world, &["points", &target], expect![[""]]);
    check(&world, &["snapshot", &world.url("disks/none.vhd")], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--to", "2001-01-01T00:00:00.0000000Z"], expect![[""]]);
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    check(&world, &["restore", &target, "a.raw", "--point", "2001-01-01T00:00:00.0000000Z"], expect![[""]]);
    check(&world, &["restore", &target, "no/where/a.raw", "--point", "latest"], expect![[""]]);
    world.create("disks/empty.vhd", 1 << 20);
    check(&world, &["sync", &world.url("disks/empty.vhd"), &world.url("backups/empty.vhd")], expect![[""]]);
    check(&world, &["verify", &target, "--point", "latest", "--against", &world.url("disks/empty.vhd")], expect![[""]]);
}

#[test]
fn who_may_not() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let wrong = [("AZURE_STORAGE_ACCOUNT", "devstoreaccount1"), ("AZURE_STORAGE_KEY", "d3Jvbmcga2V5")];
    let ran = world.run_with(&wrong, &["sync", &disk, &target]);
    expect![[""]].assert_eq(&ran.verdict());
    let expired = sas("2020-01-01T00:00:00Z");
    let ran = world.run_with(&[("EXPIRED", &expired)], &["sync", &disk, &target, "--source-sas", "env:EXPIRED"]);
    expect![[""]].assert_eq(&ran.verdict());
    check(&world, &["sync", &disk, &target, "--source-sas", "env:NOTHING"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--source-sas", "@no.file"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--source-sas", &expired], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--auth", "cli"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--auth", "magic"], expect![[""]]);
    check(&world, &["snapshot", "http://127.0.0.1:1/devstoreaccount1/disks/a.vhd"], expect![[""]]);
    check(&world, &["snapshot", "https://acct.blob.core.invalid/disks/a.vhd", "--auth", "anonymous"], expect![[""]]);
}

#[test]
fn targets_that_must_not_be_written() {
    let world = World::new();
    let snapshots = world.week("disks/web1.vhd");
    world.week("disks/web2.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    world.create("backups/foreign.vhd", 1 << 20);
    check(&world, &["sync", &disk, &world.url("backups/foreign.vhd")], expect![[""]]);
    check(&world, &["points", &world.url("backups/foreign.vhd")], expect![[""]]);
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    check(&world, &["sync", &world.url("disks/web2.vhd"), &target], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--to", &snapshots[0]], expect![[""]]);
    check(&world, &quick(&["sync", &world.url("disks/web2.vhd"), &target, "--adopt"]), expect![[""]]);
    check(&world, &quick(&["restore", &target, &disk, "--point", "latest"]), expect![[""]]);
    check(&world, &quick(&["restore", &target, &target, "--point", "latest"]), expect![[""]]);
    world.put("backups/web1.vhd?comp=lease", &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60")], vec![]);
    world.fill("disks/web1.vhd", 0, 512, 7);
    world.snapshot("disks/web1.vhd");
    check(&world, &quick(&["sync", &disk, &target]), expect![[""]]);
    world.put("backups/web1.vhd?comp=lease", &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")], vec![]);
    world.fill("backups/web1.vhd", 4096, 1024, 9);
    check(&world, &quick(&["sync", &disk, &target]), expect![[""]]);
    check(&world, &["plan", &disk, &target], expect![[""]]);
    world.run(&quick(&["sync", &disk, &target, "--repair"])).expect(0);
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
}

#[test]
fn chains_that_are_broken() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    world.resize("disks/web1.vhd", 4 << 20);
    world.snapshot("disks/web1.vhd");
    check(&world, &["sync", &disk, &target], expect![[""]]);
    let newest = world.run(&["points", &target, "-o", "json"]).json().pop().unwrap();
    let snapshot = newest["source_snapshot"].as_str().unwrap();
    let one = format!("disks/web1.vhd?snapshot={snapshot}");
    world.send("DELETE", &one, &[], Vec::new());
    check(&world, &["sync", &disk, &target], expect![[""]]);
    check(&world, &["verify", &target, "--point", "latest", "--against", &disk], expect![[""]]);
    world.delete("disks/web1.vhd");
    world.week("disks/web1.vhd");
    check(&world, &["sync", &disk, &target], expect![[""]]);
}

#[test]
fn content_that_differs() {
    let world = World::new();
    world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    check(&world, &["restore", &target, "a.vhd", "--point", "latest"], expect![[""]]);
    std::fs::write(world.path("b.raw"), "precious").unwrap();
    check(&world, &["restore", &target, "b.raw", "--point", "latest"], expect![[""]]);
    assert_eq!(std::fs::read(world.path("b.raw")).unwrap(), b"precious");
    check(&world, &["restore", &target, "/dev/full", "--point", "latest"], expect![[""]]);
    check(&world, &["restore", &target, "c.qcow2", "--point", "latest"], expect![[""]]);
    check(&world, &["verify", &format!("{target}?snapshot=2026-01-01T00:00:00.0000000Z"), "--point", "latest", "--against", &disk], expect![[""]]);
    check(&world, &["sync", &format!("{disk}?snapshot=2026-01-01T00:00:00.0000000Z"), &target], expect![[""]]);
    check(&world, &["sync", &disk, &disk], expect![[""]]);
    check(&world, &["sync", "web1.vhd", &target], expect![[""]]);
    check(&world, &["sync", "http://acct.blob.core.windows.net/disks/a", &target], expect![[""]]);
}

#[test]
fn flags_that_make_no_sense() {
    let world = World::new();
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let far = "https://acct.blob.core.windows.net/backups/a.vhd";
    check(&world, &["sync", &disk, &target, "--request-size", "5M"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--request-size", "many"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--lease-duration", "5"], expect![[""]]);
    check(&world, &["sync", &disk, far, "--quiesce", "5", "--auth", "anonymous"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--memory", "1M"], expect![[""]]);
    check(&world, &["sync", &disk, &target, "--to", "x", "--latest-only"], expect![[""]]);
    check(&world, &["emulator", "--listen", "0.0.0.0:0"], expect![[""]]);
    check(&world, &["emulator", "--listen", "0.0.0.0:0", "--allow-remote"], expect![[""]]);
    check(&world, &["sync", &disk], expect![[""]]);
    let ran = world.run_with(&[("PAGEFERRY_SOURCE_STORAGE_KYE", "x")], &["points", &target]);
    expect![[""]].assert_eq(&ran.verdict());
}
