//! What goes wrong, each in one clear sentence and with the code of its class.

mod support;

use std::time::Duration;

use expect_test::expect_file;
use support::{QUICK, Transcript, World, sas};

fn quick<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &QUICK[..]].concat()
}

#[test]
fn what_does_not_exist() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    said.run(&["sync", &world.url("disks/none.vhd"), &target]);
    said.run(&["sync", &disk, &world.url("nowhere/web1.vhd")]);
    said.run(&["points", &target]);
    said.run(&["snapshot", &world.url("disks/none.vhd")]);
    said.run(&["sync", &disk, &target, "--to", "2001-01-01T00:00:00.0000000Z"]);
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    said.run(&["restore", &target, "a.raw", "--point", "2001-01-01T00:00:00.0000000Z"]);
    said.run(&["restore", &target, "no/where/a.raw", "--point", "latest"]);
    world.create("disks/empty.vhd", 1 << 20);
    said.run(&["sync", &world.url("disks/empty.vhd"), &world.url("backups/empty.vhd")]);
    said.run(&["verify", &target, "--point", "latest", "--against", &world.url("disks/empty.vhd")]);
    expect_file!["said/what_does_not_exist.txt"].assert_eq(&said.text());
}

#[test]
fn who_may_not() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let wrong = [("AZURE_STORAGE_ACCOUNT", "devstoreaccount1"), ("AZURE_STORAGE_KEY", "d3Jvbmcga2V5")];
    said.run_with(&wrong, &["sync", &disk, &target]);
    let expired = sas("2020-01-01T00:00:00Z");
    said.run_with(&[("EXPIRED", &expired)], &["sync", &disk, &target, "--source-sas", "env:EXPIRED"]);
    said.run(&["sync", &disk, &target, "--source-sas", "env:NOTHING"]);
    said.run(&["sync", &disk, &target, "--source-sas", "@no.file"]);
    said.run(&["sync", &disk, &target, "--source-sas", &expired]);
    said.run(&["sync", &disk, &target, "--auth", "cli"]);
    said.run(&["sync", &disk, &target, "--auth", "magic"]);
    said.run(&["snapshot", "http://127.0.0.1:1/devstoreaccount1/disks/a.vhd"]);
    expect_file!["said/who_may_not.txt"].assert_eq(&said.text());
}

#[test]
fn targets_that_must_not_be_written() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    let snapshots = world.week("disks/web1.vhd");
    world.week("disks/web2.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    world.create("backups/foreign.vhd", 1 << 20);
    said.run(&["sync", &disk, &world.url("backups/foreign.vhd")]);
    said.run(&["points", &world.url("backups/foreign.vhd")]);
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    said.run(&["sync", &world.url("disks/web2.vhd"), &target]);
    said.run(&["sync", &disk, &target, "--to", &snapshots[0]]);
    said.run(&quick(&["sync", &world.url("disks/web2.vhd"), &target, "--adopt"]));
    said.run(&quick(&["restore", &target, &disk, "--point", "latest"]));
    said.run(&quick(&["restore", &target, &target, "--point", "latest"]));
    world.put(
        "backups/web1.vhd?comp=lease",
        &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60")],
        vec![],
    );
    world.fill("disks/web1.vhd", 0, 512, 7);
    world.snapshot("disks/web1.vhd");
    said.run(&quick(&["sync", &disk, &target]));
    world.put(
        "backups/web1.vhd?comp=lease",
        &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")],
        vec![],
    );
    world.fill("backups/web1.vhd", 4096, 1024, 9);
    said.run(&quick(&["sync", &disk, &target]));
    said.run(&["plan", &disk, &target]);
    world.run(&quick(&["sync", &disk, &target, "--repair"])).expect(0);
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
    expect_file!["said/targets_that_must_not_be_written.txt"].assert_eq(&said.text());
}

#[test]
fn chains_that_are_broken() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    world.resize("disks/web1.vhd", 4 << 20);
    world.snapshot("disks/web1.vhd");
    said.run(&["sync", &disk, &target]);
    let newest = world.run(&["points", &target, "-o", "json"]).json().pop().unwrap();
    let snapshot = newest["source_snapshot"].as_str().unwrap();
    let one = format!("disks/web1.vhd?snapshot={snapshot}");
    world.send("DELETE", &one, &[], Vec::new());
    said.run(&["sync", &disk, &target]);
    said.run(&["verify", &target, "--point", "latest", "--against", &disk]);
    world.delete("disks/web1.vhd");
    // The service tells the time of creation to the second.
    std::thread::sleep(Duration::from_millis(1100));
    world.week("disks/web1.vhd");
    said.run(&["sync", &disk, &target]);
    said.run(&["plan", &disk, &target, "--reseed"]);
    world.run(&quick(&["sync", &disk, &target, "--reseed"])).expect(0);
    world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
    expect_file!["said/chains_that_are_broken.txt"].assert_eq(&said.text());
}

#[test]
fn content_that_differs() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    said.run(&["restore", &target, "a.vhd", "--point", "latest"]);
    std::fs::write(world.path("b.raw"), "precious").unwrap();
    said.run(&["restore", &target, "b.raw", "--point", "latest"]);
    assert_eq!(std::fs::read(world.path("b.raw")).unwrap(), b"precious");
    said.run(&["restore", &target, "/dev/full", "--point", "latest"]);
    said.run(&["restore", &target, "c.qcow2", "--point", "latest"]);
    said.run(&[
        "verify",
        &format!("{target}?snapshot=2026-01-01T00:00:00.0000000Z"),
        "--point",
        "latest",
        "--against",
        &disk,
    ]);
    said.run(&["sync", &format!("{disk}?snapshot=2026-01-01T00:00:00.0000000Z"), &target]);
    said.run(&["sync", &disk, &disk]);
    said.run(&["sync", "web1.vhd", &target]);
    said.run(&["sync", "http://acct.blob.core.windows.net/disks/a", &target]);
    expect_file!["said/content_that_differs.txt"].assert_eq(&said.text());
}

#[test]
fn flags_that_make_no_sense() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let far = "https://acct.blob.core.windows.net/backups/a.vhd";
    said.run(&["sync", &disk, &target, "--request-size", "5M"]);
    said.run(&["sync", &disk, &target, "--request-size", "many"]);
    said.run(&["sync", &disk, &target, "--lease-duration", "5"]);
    said.run(&["sync", &disk, far, "--quiesce", "5", "--auth", "anonymous"]);
    said.run(&["sync", &disk, &target, "--memory", "1M"]);
    said.run(&["sync", &disk, &target, "--to", "x", "--latest-only"]);
    said.run(&["emulator", "--listen", "0.0.0.0:0"]);
    said.run(&["emulator", "--listen", "0.0.0.0:0", "--allow-remote"]);
    said.run(&["sync", &disk]);
    said.run_with(&[("PAGEFERRY_SOURCE_STORAGE_KYE", "x")], &["points", &target]);
    expect_file!["said/flags_that_make_no_sense.txt"].assert_eq(&said.text());
}
