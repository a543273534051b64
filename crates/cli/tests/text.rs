//! What people read when all goes well. `tests/said` holds it; `UPDATE_EXPECT=1 cargo test` writes it anew.

mod support;

use expect_test::expect_file;
use support::managed::SUBSCRIPTION;
use support::{QUICK, Transcript, World};

fn quick<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &QUICK[..]].concat()
}

#[test]
fn a_week() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    said.run(&["plan", &disk, &target]);
    said.run(&quick(&["sync", &disk, &target]));
    said.run(&["points", &target]);
    said.run(&["plan", &disk, &target]);
    said.run(&quick(&["sync", &disk, &target]));
    said.run(&["verify", &target, "--point", "latest", "--against", &disk]);
    said.run(&["snapshot", &disk]);
    said.run(&["plan", &disk, &target]);
    expect_file!["said/a_week.txt"].assert_eq(&said.text());
}

#[test]
fn restores() {
    let world = World::new();
    let mut said = Transcript::of(&world);
    let snapshots = world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    let (target, new) = (world.url("backups/web1.vhd"), world.url("disks/new.vhd"));
    said.run(&["restore", &target, "out.raw", "--point", "latest"]);
    said.run(&quick(&["restore", &target, &new, "--point", "latest"]));
    said.run(&["points", &new]);
    world.fill("disks/new.vhd", 0, 512, 9);
    said.run(&["snapshot", &new]);
    said.run(&quick(&["sync", &new, &target, "--adopt"]));
    said.run(&quick(&["restore", &target, &world.url("disks/old.vhd"), "--point", &snapshots[0]]));
    expect_file!["said/restores.txt"].assert_eq(&said.text());
}

#[test]
fn a_managed_disk() {
    let world = World::new();
    let arm = world.arm_endpoint();
    let arm = [("PAGEFERRY_ARM_ENDPOINT", &*arm)];
    let mut said = Transcript::of(&world);
    let disk = world.managed("web1", 1);
    let target = world.url("backups/web1");
    said.run_with(&arm, &["sync", &disk, &target]);
    said.run_with(&arm, &["doctor", &disk, &target]);
    world.guest_writes(&disk, 1 << 20, 1 << 20, 1);
    said.run_with(&arm, &quick(&["backup", &disk, &target]));
    world.guest_writes(&disk, 2 << 20, 64 << 10, 2);
    said.run_with(&arm, &quick(&["backup", &disk, &target]));
    said.run_with(&arm, &["plan", &disk, &target]);
    said.run_with(&arm, &["verify", &target, "--point", "latest", "--against", &disk]);
    said.run(&["check", &target, "--max-lag", "2d"]);
    let left = world.managed_snapshot(&disk, "left");
    world.grant(&left);
    said.run_with(&arm, &["doctor", &disk, &target]);
    said.run_with(&arm, &["doctor", &disk, &target, "--revoke-stale"]);
    let new = ["restore", &target, "--to-disk", "new", "-g", "rg", "--location", "westeurope", "--point", "latest"];
    said.run_with(&arm, &quick(&[&new[..], &["--subscription", SUBSCRIPTION]].concat()));
    said.run_with(&arm, &["sync", &support::managed::disk("nope"), &target]);
    said.run_with(&arm, &["sync", &support::managed::snapshot("nope"), &target]);
    said.run_with(&arm, &["sync", "/subscriptions/1/disks/web1", &target]);
    expect_file!["said/a_managed_disk.txt"].assert_eq(&said.text());
}
