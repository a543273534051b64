//! The service's machine loses power in the middle of a sync, and comes up again with what its disk has kept.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::support::chain::{Chain, Shape};
use crate::support::number;
use crate::support::service::{Process, Service};

const DISK: Shape = Shape { bytes: 24 << 20, snapshots: 3, changes: 30 };
/// How many of the last changes an outage may take away.
const MOST_LOST: u32 = 60;

const PATIENCE: Duration = Duration::from_secs(100);

fn sync(service: &Service, chain: &Chain, target: &str) -> Process {
    let (disk, target) = (service.url(&chain.blob), service.url(target));
    let words = ["sync", &disk, &target, "--lease-duration", "15", "--quiesce", "1", "--concurrency", "4"];
    service.spawn(&words)
}

#[test]
fn a_sync_goes_on_while_the_service_is_killed_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let service = Service::start_with(&["--data-dir", &state]);
    service.make_containers();
    let chain = Chain::make(&service, "disks/web1.vhd", 7, DISK);
    service.slow_writes(20);
    let mut running = sync(&service, &chain, "backups/web1.vhd");
    running.until_said("copying what changed");
    std::thread::sleep(Duration::from_millis(100));
    let address = service.address.to_string();
    service.kill();
    // Nobody is there for a moment.
    std::thread::sleep(Duration::from_millis(300));
    let service = Service::start_at(&address, &["--data-dir", &state]);
    running.ended(PATIENCE).expect(0);
    chain.check_complete(&service, "backups/web1.vhd");
}

#[test]
fn a_page_write_that_was_acknowledged_and_lost_is_noticed_at_the_gate() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let service = Service::start_with(&["--data-dir", &state]);
    service.make_containers();
    let chain = Chain::make(&service, "disks/web1.vhd", 9, Shape { changes: 80, ..DISK });
    service.slow_writes(100);
    let mut running = sync(&service, &chain, "backups/web1.vhd");
    running.until_said("copying what changed");
    std::thread::sleep(Duration::from_millis(500));
    // Of those under way, of which there are four at most, the answers are lost as well, so that they are sent again.
    service.lose_power(&json!({ "records": 7, "lying": true }));
    let ran = running.ended(PATIENCE).expect(4);
    assert!(ran.stderr.contains("does not equal source snapshot"), "{}", ran.stderr);
    assert_eq!(chain.check(&service, "backups/web1.vhd").len(), 1, "the point that was there before");
    service.advance(16);
    service.slow_writes(0);
    sync(&service, &chain, "backups/web1.vhd").ended(PATIENCE).expect(0);
    chain.check_complete(&service, "backups/web1.vhd");
}

/// A disk that acknowledged what it had not written takes away the last changes, among them page writes that the engine
/// knows to be done, its lease, its mark, or a point that it has reported.
fn outages(seed: u64, count: u32) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let service = Service::start_with(&["--data-dir", &state]);
    service.make_containers();
    let chain = Chain::make(&service, "disks/web1.vhd", seed, DISK);
    service.slow_writes(10);
    let mut dice = StdRng::seed_from_u64(seed);
    let other = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512")];
    let mut ends = std::collections::BTreeMap::new();
    for number in 0..count {
        let target = format!("backups/{number}.vhd");
        // What is lost shall be the sync's and not the disk's.
        for _ in 0..MOST_LOST {
            service.expect(201, "PUT", "disks/other.vhd", &other, &[]);
        }
        let mut running = sync(&service, &chain, &target);
        running.until_said("copying");
        std::thread::sleep(Duration::from_millis(dice.random_range(0..1000)));
        let most = if dice.random_bool(0.7) { 4 } else { MOST_LOST };
        let loss = json!({ "records": dice.random_range(1..=most), "torn": dice.random_bool(0.5), "lying": true });
        service.lose_power(&loss);
        let ran = running.ended(PATIENCE);
        // Even that there was a target may be forgotten.
        assert!([0, 1, 3, 4, 76].contains(&ran.code), "{loss}: it ended with {}: {}", ran.code, ran.stderr);
        *ends.entry(ran.code).or_insert(0) += 1;
        chain.check(&service, &target);
        service.advance(16);
        // A gate that failed makes its run fail, and the next one begin the step anew.
        let again = sync(&service, &chain, &target).ended(PATIENCE);
        assert_eq!(again.code, 0, "{loss}: first {} {}\nthen {}", ran.code, ran.stderr, again.stderr);
        chain.check_complete(&service, &target);
    }
    eprintln!("{count} outages: ended with {ends:?}");
}

#[test]
fn a_disk_that_lies_makes_no_wrong_point() {
    outages(8, 2);
}

/// `PAGEFERRY_OUTAGES=200 cargo test -p pageferry --test kill -- --ignored --nocapture many_outages`
#[test]
#[ignore = "takes minutes"]
fn many_outages() {
    outages(number("PAGEFERRY_SEED", 1).into(), number("PAGEFERRY_OUTAGES", 200));
}
