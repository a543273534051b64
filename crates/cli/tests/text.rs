//! What people read, held against what they are meant to read.

mod support;

use expect_test::{Expect, expect};
use support::{QUICK, World, redacted, untimed};

#[track_caller]
fn check(actual: &str, expected: Expect) {
    expected.assert_eq(actual);
}

#[test]
fn a_plan_a_sync_and_its_points() {
    let world = World::new();
    world.week("disks/web1.vhd");
    let (disk, target) = (world.url("disks/web1.vhd"), world.url("backups/web1.vhd"));
    let plan = world.run(&["plan", &disk, &target]).expect(0);
    check(&redacted(&plan.stdout), expect![[r#"
        source    http://127.0.0.1:10000/devstoreaccount1/disks/web1.vhd
        target    http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd
        step      seed from <t1>
        disk      8 MiB
        changed   1 MiB in 1 range
        cleared   0 B in 0 ranges
        requests  1 write, 0 clears
        time      at least 16 ms at 60 MiB/s, what one standard page blob takes
        then      2 snapshots more, each in a step of its own, from <t2>
    "#]]);
    let sync = world.sync("disks/web1.vhd", "backups/web1.vhd");
    check(&untimed(&sync.stdout), expect![[r#"
        point <t1>
          source    <t2>, as a whole
          changed   1 MiB in 1 range of 8 MiB
          freed     0 B in 0 ranges
          moved     1 MiB written, 0 B cleared, 2 requests, <time>
        point <t3>
          source    <t2> to <t4>
          changed   64 KiB in 1 range of 8 MiB
          freed     0 B in 0 ranges
          moved     64 KiB written, 0 B cleared, 2 requests, <time>
        point <t5>
          source    <t4> to <t6>
          changed   4 KiB in 1 range of 8 MiB
          freed     8 KiB in 1 range
          moved     4 KiB written, 8 KiB cleared, 3 requests, <time>
        3 points made; the newest of http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd is <t5>
    "#]]);
    check(&redacted(&sync.stderr), expect![[r#"
        copying <t1> as a whole
        comparing the target with the source snapshot
        copying what changed from <t1> to <t2>
        comparing the target with the source snapshot
        copying what changed from <t2> to <t3>
        comparing the target with the source snapshot
    "#]]);
    let again = world.run(&["plan", &disk, &target]).expect(0);
    check(&redacted(&again.stdout), expect![[r#"
        source    http://127.0.0.1:10000/devstoreaccount1/disks/web1.vhd
        target    http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd
        step      none: the newest point holds source snapshot <t1>, and nothing newer is wanted
    "#]]);
    let again = world.sync("disks/web1.vhd", "backups/web1.vhd");
    check(&redacted(&again.stdout), expect![[r#"
        up to date: the newest point of http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd is <t1>
    "#]]);
    let points = world.run(&["points", &target]).expect(0);
    check(&redacted(&points.stdout), expect![[r#"
        POINT                         SOURCE SNAPSHOT               SEALED AT                 WRITTEN      CLEARED  RUN
        <t1>  <t2>  <t3>        1 MiB          0 B  <id>
        <t4>  <t5>  <t3>       64 KiB          0 B  <id>
        <t6>  <t7>  <t3>        4 KiB        8 KiB  <id>
    "#]]);
    let verify = world.run(&["verify", &target, "--point", "latest", "--against", &disk]).expect(0);
    check(&redacted(&verify.stdout), expect![[r#"
        point <t1> equals source snapshot <t2>: 1 MiB compared on both sides, all else is zeros
    "#]]);
}

#[test]
fn restores() {
    let world = World::new();
    let snapshots = world.week("disks/web1.vhd");
    world.sync("disks/web1.vhd", "backups/web1.vhd");
    let (target, new) = (world.url("backups/web1.vhd"), world.url("disks/new.vhd"));
    let raw = world.run(&["restore", &target, "out.raw", "--point", "latest"]).expect(0);
    check(&redacted(&raw.stdout), expect![[r#"
        restored point 2026-11-22T03:03:47.2309289Z (source snapshot 2026-11-22T03:03:46.7291854Z) to out.raw: 8 MiB, of which 1 MiB written
    "#]]);
    let blob = world.run(&[&["restore", &target, &new, "--point", "latest"], &QUICK[..]].concat()).expect(0);
    check(&untimed(&blob.stdout), expect![[r#"
        point <t1>
          source    <t2>, as a whole
          changed   1 MiB in 2 ranges of 8 MiB
          freed     0 B in 0 ranges
          moved     1 MiB written, 0 B cleared, 4 requests, <time>
        restored point <t3> (source snapshot <t2>) to http://127.0.0.1:10000/devstoreaccount1/disks/new.vhd: 8 MiB, of which 1 MiB written
        next:
          1. let the machine use the restored disk in place of the old one
          2. take the first snapshot of it:     pageferry snapshot http://127.0.0.1:10000/devstoreaccount1/disks/new.vhd
          3. go on with its backups:           pageferry sync http://127.0.0.1:10000/devstoreaccount1/disks/new.vhd http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd --adopt
    "#]]);
    world.fill("disks/new.vhd", 0, 512, 9);
    world.run(&["snapshot", &new]).expect(0);
    let adopted = world.run(&[&["sync", &new, &target, "--adopt"], &QUICK[..]].concat()).expect(0);
    check(&untimed(&adopted.stdout), expect![[r#"
        adopted: the target now backs up http://127.0.0.1:10000/devstoreaccount1/disks/new.vhd@Sun, 22 Nov 2026 03:03:47 GMT, whose snapshot <t1> equals its newest content (point <t2>)
        point <t3>
          source    <t1> to <t4>
          changed   512 B in 1 range of 8 MiB
          freed     0 B in 0 ranges
          moved     512 B written, 0 B cleared, 2 requests, <time>
        1 point made; the newest of http://127.0.0.1:10000/devstoreaccount1/backups/web1.vhd is <t3>
    "#]]);
    let old = world.url("disks/old.vhd");
    let blob = world.run(&[&["restore", &target, &old, "--point", &snapshots[0]], &QUICK[..]].concat()).expect(0);
    check(&untimed(&blob.stdout), expect![[r#"
        point <t1>
          source    <t2>, as a whole
          changed   1 MiB in 1 range of 8 MiB
          freed     0 B in 0 ranges
          moved     1 MiB written, 0 B cleared, 2 requests, <time>
        restored point <t3> (source snapshot <t2>) to http://127.0.0.1:10000/devstoreaccount1/disks/old.vhd: 8 MiB, of which 1 MiB written
        next:
          1. let the machine use the restored disk in place of the old one
          2. take the first snapshot of it:     pageferry snapshot http://127.0.0.1:10000/devstoreaccount1/disks/old.vhd
          3. back it up to a new target, because this was not the newest point: pageferry sync http://127.0.0.1:10000/devstoreaccount1/disks/old.vhd NEWTARGET
    "#]]);
}
