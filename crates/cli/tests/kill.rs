//! The real binary, killed with SIGKILL at random moments until the chain is done, against a service in a process of its
//! own. Then every point is downloaded and compared with what the disk held.

#[path = "kill/power.rs"]
mod power;
mod support;
#[path = "kill/zombies.rs"]
mod zombies;

use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::chain::{Chain, Shape};
use support::number;
use support::service::Service;

/// A disk of some size, sparse, with little in it.
const DISK: Shape = Shape { bytes: 160 << 20, snapshots: 4, changes: 60 };

/// No run takes longer, whatever it has to wait for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of the lives of some syncs.
#[derive(Default)]
struct Figures {
    chains: u32,
    runs: u32,
    kills: u32,
    waited: u32,
    resumed: u32,
    resumed_bytes: u64,
}

/// How a chain's runs die.
#[derive(Clone, Copy)]
struct Deaths {
    kills: u32,
    /// How long every page write takes.
    write_millis: u64,
    /// How long a run may live.
    life_millis: u64,
    /// One of so many runs waits until the lease of the dead one runs out by itself.
    wait_one_in: u32,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { chains, runs, kills, waited, resumed, resumed_bytes } = self;
        write!(f, "{chains} chains, {runs} runs, {kills} killed; {waited} waited for a lease to run out; ")?;
        write!(f, "{resumed} went on at a watermark, {} MiB in all", resumed_bytes >> 20)
    }
}

/// Kills until `deaths` are used up and the chain that is then under way is done; a chain that is done before that is
/// begun anew on another target.
fn live(seed: u64, shape: Shape, deaths: Deaths) -> Figures {
    let service = Service::start();
    let chain = Chain::make(&service, "disks/web1.vhd", seed, shape);
    service.slow_writes(deaths.write_millis);
    let mut dice = StdRng::seed_from_u64(!seed);
    let mut figures = Figures::default();
    while figures.kills < deaths.kills {
        let target = format!("backups/{}.vhd", figures.chains);
        while !run(&service, &chain, &target, &mut dice, deaths, &mut figures) {}
        chain.check_complete(&service, &target);
        figures.chains += 1;
    }
    figures
}

/// One run, which may be killed. Whether it has finished the chain.
fn run(
    service: &Service,
    chain: &Chain,
    target: &str,
    dice: &mut StdRng,
    deaths: Deaths,
    figures: &mut Figures,
) -> bool {
    let request = ["16K", "64K", "512K", "4M"][dice.random_range(0..4)];
    let concurrency = ["1", "2", "4", "16"][dice.random_range(0..4)];
    // The service evaluates what a request claims when it applies it, so that there is nothing to wait for; but the wait
    // is a place to die in.
    let quiesce = if dice.random_ratio(1, 3) { "1" } else { "0" };
    let (disk, target) = (service.url(&chain.blob), service.url(target));
    let words = ["sync", &disk, &target, "-o", "json", "--lease-duration", "15", "--quiesce", quiesce];
    let words = [&words[..], &["--request-size", request, "--concurrency", concurrency]].concat();
    let mut process = service.spawn(&words);
    figures.runs += 1;
    let dies = figures.kills < deaths.kills;
    let life = Duration::from_millis(dice.random_range(0..deaths.life_millis));
    let done = process.wait(if dies { life } else { PATIENCE }).is_some();
    let ran = if done { process.ended(PATIENCE).expect(0) } else { process.kill() };
    let begun = ran.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for at in begun.filter_map(|line| line["resumed_at_bytes"].as_u64()).filter(|at| *at > 0) {
        figures.resumed += 1;
        figures.resumed_bytes += at;
    }
    if done {
        return true;
    }
    assert!(dies, "still at work after {PATIENCE:?}: {}", ran.stdout);
    figures.kills += 1;
    if dice.random_ratio(1, deaths.wait_one_in) {
        figures.waited += 1;
    } else {
        service.advance(dice.random_range(16..90));
    }
    false
}

fn told(what: &str, begun: Instant, figures: &Figures) {
    eprintln!("{what}: {figures}; {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_sync_that_is_killed_again_and_again_ends_in_the_right_points() {
    let begun = Instant::now();
    let quick = Deaths { kills: 10, write_millis: 20, life_millis: 1000, wait_one_in: u32::MAX };
    // Nobody touches the clock: the lease of the dead run runs out by itself.
    let patient = Deaths { kills: 1, wait_one_in: 1, ..quick };
    let (quick, patient) = std::thread::scope(|scope| {
        let patient = scope.spawn(|| live(2, Shape { bytes: 32 << 20, ..DISK }, patient));
        (live(1, DISK, quick), patient.join().unwrap())
    });
    told("the clock moved on", begun, &quick);
    told("the clock left alone", begun, &patient);
    assert_eq!((quick.kills, patient.waited), (10, 1));
}

/// `PAGEFERRY_KILLS=200 cargo test -p pageferry --test kill -- --ignored --nocapture hundreds`
#[test]
#[ignore = "takes minutes"]
fn killed_hundreds_of_times() {
    let begun = Instant::now();
    let (kills, seed) = (number("PAGEFERRY_KILLS", 200), number("PAGEFERRY_SEED", 1));
    let quick = Deaths { kills: kills - kills / 8, write_millis: 20, life_millis: 2000, wait_one_in: 40 };
    // Steps that take so long that the watermark is what a run goes on from.
    let slow = Deaths { kills: kills / 8, write_millis: 150, life_millis: 15_000, wait_one_in: 8 };
    let figures = std::thread::scope(|scope| {
        let slow = scope.spawn(|| live(seed.into(), Shape { changes: 300, ..DISK }, slow));
        let quick = live(u64::from(seed) + 1, Shape { snapshots: 6, ..DISK }, quick);
        told("quick steps", begun, &quick);
        (quick, slow.join().unwrap())
    });
    told("slow steps", begun, &figures.1);
    assert!(figures.1.resumed > 0, "the watermark was never of use");
}
