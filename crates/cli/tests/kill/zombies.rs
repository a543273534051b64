//! Processes that sleep through the end of their lease, and processes that meet.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::Ran;
use crate::support::chain::{Chain, Shape, sealed};
use crate::support::number;
use crate::support::service::{Process, Service};

const DISK: Shape = Shape { bytes: 24 << 20, snapshots: 3, changes: 30 };
/// What every page write takes, in milliseconds.
const SLOW: u64 = 30;

const PATIENCE: Duration = Duration::from_secs(60);

/// A disk with its target, and syncs of it.
struct Scene {
    service: Service,
    chain: Chain,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let service = Service::start();
        let chain = Chain::make(&service, "disks/web1.vhd", seed, DISK);
        service.slow_writes(SLOW);
        Scene { service, chain }
    }

    fn sync(&self, target: &str, lock_wait: &str) -> Process {
        let (disk, target) = (self.service.url(&self.chain.blob), self.service.url(target));
        let words = ["sync", &disk, &target, "--lease-duration", "15", "--quiesce", "1", "--lock-wait", lock_wait];
        self.service.spawn(&[&words[..], &["--concurrency", "2"]].concat())
    }

    /// What becomes of a process that sleeps from `moment` on until another has taken over, and finished unless the
    /// sleeper is to wake some time before.
    fn overslept(&self, target: &str, early: Option<Duration>, moment: impl FnOnce(&mut Process)) -> Ran {
        let mut sleeper = self.sync(target, "1");
        moment(&mut sleeper);
        sleeper.signal("-STOP");
        self.service.advance(16);
        self.service.slow_writes(if early.is_some() { SLOW } else { 0 });
        let mut other = self.sync(target, "1");
        if let Some(early) = early {
            other.wait(early);
            sleeper.signal("-CONT");
        }
        other.ended(PATIENCE).expect(0);
        sleeper.signal("-CONT");
        let ran = sleeper.ended(PATIENCE);
        self.chain.check_complete(&self.service, target);
        self.service.slow_writes(SLOW);
        ran
    }
}

#[test]
fn a_run_that_slept_through_its_lease_says_that_it_was_fenced_and_changes_nothing() {
    let scene = Scene::new(3);
    let target = "backups/web1.vhd";
    let ran = scene.overslept(target, None, |sleeper| {
        sleeper.until_said("copying what changed");
        std::thread::sleep(Duration::from_millis(150));
    });
    assert_eq!(ran.code, 76, "{}", ran.stderr);
    assert!(ran.stderr.contains("another run took http"), "{}", ran.stderr);
    assert!(ran.stderr.contains("over from this one, which has stopped writing"), "{}", ran.stderr);
}

/// Whatever it was doing when it fell asleep: a run that has not yet begun may find everything done.
fn sleepers(seed: u64, count: u32) {
    let scene = Scene::new(seed);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut fenced = 0;
    for number in 0..count {
        let target = format!("backups/{number}.vhd");
        let life = Duration::from_millis(dice.random_range(20..1500));
        // The other's quiet second is over then.
        let early = dice.random_bool(0.6).then(|| Duration::from_millis(dice.random_range(1000..3000)));
        let ran = scene.overslept(&target, early, |_| std::thread::sleep(life));
        assert!([0, 75, 76].contains(&ran.code), "stopped after {life:?}, it ended with {}: {}", ran.code, ran.stderr);
        fenced += u32::from(ran.code == 76);
    }
    eprintln!("{count} slept, {fenced} were fenced");
    assert!(fenced > 0, "none of them held the target");
}

#[test]
fn a_run_may_fall_asleep_at_any_moment() {
    sleepers(4, 2);
}

/// `PAGEFERRY_SLEEPERS=100 cargo test -p pageferry --test kill -- --ignored --nocapture many_fall`
#[test]
#[ignore = "takes minutes"]
fn many_fall_asleep() {
    sleepers(number("PAGEFERRY_SEED", 1).into(), number("PAGEFERRY_SLEEPERS", 100));
}

#[test]
fn of_two_processes_at_once_one_works_and_the_other_says_who_holds_the_target() {
    let scene = Scene::new(5);
    let target = "backups/web1.vhd";
    // The first has enough to do until the second has given up.
    scene.service.slow_writes(10 * SLOW);
    let mut first = scene.sync(target, "1");
    first.until_said("copying what changed");
    let second = scene.sync(target, "1").ended(PATIENCE).expect(75);
    scene.service.slow_writes(0);
    let running = second.stderr.split("is being written by run ").nth(1).and_then(|rest| rest.split(' ').next());
    let running = running.unwrap_or_else(|| panic!("{}", second.stderr)).to_owned();
    first.ended(PATIENCE).expect(0);
    let points = sealed(&scene.service, target);
    assert!(points.iter().any(|point| point.run == running), "the run that was named made a point: {running}");
    scene.chain.check_complete(&scene.service, target);
}

#[test]
fn of_two_processes_that_begin_at_once_both_end_well_where_the_second_may_wait() {
    let scene = Scene::new(6);
    let target = "backups/web1.vhd";
    let (first, second) = (scene.sync(target, "60"), scene.sync(target, "60"));
    first.ended(PATIENCE).expect(0);
    second.ended(PATIENCE).expect(0);
    scene.chain.check_complete(&scene.service, target);
}
