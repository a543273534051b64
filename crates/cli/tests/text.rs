//! What people read when all goes well. `tests/said` holds it; `UPDATE_EXPECT=1 cargo test` writes it anew.

mod support;

use expect_test::expect_file;
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
