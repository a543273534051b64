//! A man in the middle between the real binary and the service, without TLS: he cuts, delays, repeats, holds back and
//! mangles. He may make a run fail; he must not bring a wrong point about, nor a panic, nor a run without end.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::chain::{Chain, Shape};
use support::proxy::{Edit, Proxy, Weather};
use support::service::{Service, url};
use support::{Ran, number};

const DISK: Shape = Shape { bytes: 12 << 20, snapshots: 3, changes: 12 };

/// How many storms a street sees.
const STORMS: u32 = 20;

/// No run through a storm takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A disk behind a proxy.
struct Street {
    service: Service,
    chain: Chain,
    proxy: Proxy,
}

/// How storms ended, and how what came after them did.
#[derive(Default)]
struct Endings {
    storms: BTreeMap<i32, u32>,
    healthy: BTreeMap<i32, u32>,
    exchanges: u64,
    faults: u64,
    longest: Duration,
    refusals: Vec<String>,
    findings: Vec<String>,
}

impl Street {
    fn new(seed: u64) -> Street {
        let service = Service::start();
        let chain = Chain::make(&service, "disks/web1.vhd", seed, DISK);
        let proxy = Proxy::start(service.address);
        Street { service, chain, proxy }
    }

    fn sync(&self, target: &str, signed: bool, more: &[&str], before_the_end: impl FnOnce()) -> Ran {
        let (disk, target) = (url(self.proxy.address, &self.chain.blob), url(self.proxy.address, target));
        let words = ["sync", &disk, &target, "--lease-duration", "15", "--quiesce", "1", "--lock-wait", "10"];
        let mut command = self.service.command(&[&words[..], more].concat());
        // The account's key signs each request; a SAS lets whoever holds it ask for anything.
        if signed {
            command.env_remove("AZURE_STORAGE_SAS_TOKEN");
        }
        let process = support::service::Process::spawn(command);
        before_the_end();
        process.ended(PATIENCE)
    }

    /// One storm, and the calm after it.
    fn weather(&self, seed: u64, hang: bool, endings: &Mutex<Endings>) {
        let mut dice = StdRng::seed_from_u64(seed);
        let target = format!("backups/{seed}.vhd");
        let (signed, keep) = (dice.random_ratio(1, 3), dice.random_ratio(1, 6));
        let faults = if dice.random_bool(0.5) { 1 } else { dice.random_range(2..6) };
        let per_mille = [(2, 40), (10, 100), (60, 60)][dice.random_range(0..3)];
        let concurrency = ["1", "4", "16"][dice.random_range(0..3)];
        self.proxy.weather(Weather { seed, faults, per_mille, keep, hang, ..Weather::default() });
        let begun = Instant::now();
        let storm = self.sync(&target, signed, &["--concurrency", concurrency], || {});
        let took = begun.elapsed();
        let log = self.proxy.log();
        let told = format!("seed {seed}, signed {signed}, {log:#?}\nended with {}: {}", storm.code, storm.stderr);
        let guarded = std::panic::AssertUnwindSafe(|| {
            assert!(storm.code >= 0 && !storm.stderr.contains("panicked"), "it broke");
            self.chain.check(&self.service, &target);
            self.service.advance(16);
            let shuffled = dice.random_bool(0.5);
            let at_once = dice.random_bool(0.5);
            if at_once {
                self.proxy.replay(shuffled);
            }
            self.proxy.weather_ends();
            let mut healthy = self.sync(&target, signed, &[], || self.proxy.replay(shuffled));
            // Who repeats a request for a lease has one, until it runs out.
            if healthy.code == 75 {
                self.service.advance(16);
                healthy = self.sync(&target, signed, &[], || {});
            }
            let points = self.chain.check(&self.service, &target);
            if healthy.code == 0 {
                let newest = points.last().map(|point| &point.source_snapshot);
                assert_eq!(newest, self.chain.snapshots.last().map(|(name, _)| name), "the newest point");
            } else {
                assert!(healthy.stderr.contains("error: ") && healthy.code > 0, "{}", healthy.stderr);
            }
            healthy
        });
        // Whatever was found, the next storms may find more.
        let healthy = std::panic::catch_unwind(guarded);
        let mut endings = endings.lock().unwrap();
        let Ok(healthy) = healthy else { return endings.findings.push(told) };
        *endings.storms.entry(storm.code).or_default() += 1;
        *endings.healthy.entry(healthy.code).or_default() += 1;
        endings.exchanges += u64::from(self.proxy.exchanges());
        endings.faults += log.len() as u64;
        endings.longest = endings.longest.max(took);
        if healthy.code != 0 || std::env::var_os("PAGEFERRY_TOLD").is_some_and(|_| storm.code != 0) {
            endings.refusals.push(format!("{told}\nthen {}: {}", healthy.code, healthy.stderr));
        }
    }
}

/// As many storms as `count`, on streets side by side.
fn storms(first: u64, count: u32, streets: u64, hang: bool) {
    let begun = Instant::now();
    let (next, endings) = (AtomicU32::new(0), Mutex::new(Endings::default()));
    std::thread::scope(|scope| {
        for street in 0..streets {
            let (next, endings) = (&next, &endings);
            scope.spawn(move || {
                let mut street = Street::new(street);
                let mut storms = 0;
                while let seed @ 0.. = u64::from(next.fetch_add(1, Ordering::Relaxed))
                    && seed < u64::from(count)
                {
                    // Each storm ends in a jump of the clock, and keys sign with a date that must not be far off.
                    storms += 1;
                    if storms % STORMS == 0 {
                        street = Street::new(seed);
                    }
                    street.weather(first + seed, hang, endings);
                }
            });
        }
    });
    let Endings { storms, healthy, exchanges, faults, longest, refusals, findings } = endings.into_inner().unwrap();
    for refusal in &refusals {
        eprintln!("{refusal}");
    }
    eprintln!(
        "{count} storms in {:.0} s: {exchanges} exchanges, {faults} faults, ended with {storms:?}, the longest after \
         {longest:.0?}; the runs after them with {healthy:?}",
        begun.elapsed().as_secs_f64()
    );
    assert!(findings.is_empty(), "{} wrong points or worse:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn no_storm_makes_a_wrong_point() {
    storms(0, 18, 6, false);
}

/// What becomes of a sync of which one message was changed so.
#[track_caller]
fn edited(street: &Street, target: &str, edit: Edit) -> Ran {
    street.proxy.weather(Weather { edit: Some(edit), ..Weather::default() });
    let ran = street.sync(target, false, &[], || {});
    assert_eq!(street.proxy.log().len(), 1, "{}", ran.stderr);
    street.chain.check(&street.service, target);
    ran
}

/// `PAGEFERRY_STORMS=2000 cargo test -p pageferry --test mitm -- --ignored --nocapture thousands`
#[test]
#[ignore = "takes minutes"]
fn thousands_of_storms() {
    storms(number("PAGEFERRY_SEED", 1000).into(), number("PAGEFERRY_STORMS", 2000), 4, true);
}

/// A page list with a figure changed may say less than there is, and still make sense.
#[test]
fn a_list_that_leaves_something_out_is_found_out_at_the_gate() {
    let street = Street::new(9);
    let (_, first) = &street.chain.snapshots[0];
    let start = first.iter().position(|write| *write > 0).unwrap() * 512;
    // The beginning of the first run moves up to its second page.
    let (from, to) = (format!("<Start>{start}</Start>"), format!("<Start>{}</Start>", start + 512));
    assert_eq!(from.len(), to.len(), "the length of the answer must not change");
    let edit = Edit { answer: true, line: "comp=pagelist", from, to };
    let ran = edited(&street, "backups/web1.vhd", edit);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    street.service.advance(16);
    street.sync("backups/web1.vhd", false, &[], || {}).expect(0);
    street.chain.check_complete(&street.service, "backups/web1.vhd");
}

/// Nothing is ever answered again, and no connection breaks. The lease counts as lost after ten seconds.
#[test]
fn a_service_that_falls_silent_is_given_up() {
    let street = Street::new(9);
    street.service.slow_writes(500);
    let begun = Instant::now();
    let ran = street.sync("backups/web1.vhd", false, &["--concurrency", "2"], || {
        std::thread::sleep(Duration::from_millis(500));
        street.proxy.weather(Weather { silent: true, ..Weather::default() });
    });
    eprintln!("given up after {:.0?} with {}: {}", begun.elapsed(), ran.code, ran.stderr);
    assert!([1, 76].contains(&ran.code), "{}: {}", ran.code, ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(40), "it took {:?}", begun.elapsed());
}

/// Found by seed 5333: what the seal says is not read back before it is made a point. Only without TLS, and only with a
/// SAS, for a key signs the headers.
#[test]
fn a_seal_that_arrives_mangled_makes_no_point() {
    let street = Street::new(9);
    let [(first, _), (second, _), _] = &street.chain.snapshots[..] else { panic!("three snapshots") };
    let words = |snapshot: &str| format!("x-ms-meta-pageferrysnapshot: {snapshot}");
    let nowhere = first.replacen('-', "1", 1);
    for (target, to) in [("backups/other.vhd", second), ("backups/no.vhd", &nowhere)] {
        let edit = Edit { answer: false, line: "comp=metadata", from: words(first), to: words(to) };
        edited(&street, target, edit);
        street.service.advance(16);
        street.sync(target, false, &[], || {}).expect(0);
        street.chain.check_complete(&street.service, target);
    }
}
