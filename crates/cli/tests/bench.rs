//! Measuring a pair: what is told, and that nothing stays behind however it ends.

mod support;

use std::time::Duration;

use expect_test::expect_file;
use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY};
use serde_json::{Value, json};
use support::canary::Canaries;
use support::detour::detour;
use support::service::{Process, Service, binary};
use support::{Ran, Transcript, World, redacted};

const MIB: u64 = 1 << 20;
const DISK_MIB: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(60);

/// A service with a disk of 8 MiB, the first six of them written, and somebody else's blob beside the target.
struct Pair {
    service: Service,
    disk: String,
    target: String,
    directory: tempfile::TempDir,
}

impl Pair {
    fn new(words: &[&str]) -> Pair {
        let service = Service::start_with(words);
        service.make_containers();
        let size = (DISK_MIB * MIB).to_string();
        let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", size.as_str())];
        for blob in ["disks/d.vhd", "backups/d.vhd.pageferry-bench-0-read"] {
            service.expect(201, "PUT", blob, &create, &[]);
        }
        for at in [0, 3] {
            let range = format!("bytes={}-{}", at * MIB, (at + 3) * MIB - 1);
            let write = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
            service.expect(201, "PUT", "disks/d.vhd?comp=page", &write, &vec![7; 3 << 20]);
        }
        let (disk, target) = (service.url("disks/d.vhd"), service.url("backups/d.vhd"));
        Pair { service, disk, target, directory: tempfile::tempdir().unwrap() }
    }

    fn snapshot(&self) -> String {
        let taken = self.service.expect(201, "PUT", "disks/d.vhd?comp=snapshot", &[], &[]);
        taken.headers["x-ms-snapshot"].clone()
    }

    /// Every blob and snapshot there is, and all that was ever written to them.
    fn everything(&self) -> Vec<String> {
        let list = |container: &str| {
            let target = format!("{container}?restype=container&comp=list&include=snapshots,metadata");
            let body = self.service.expect(200, "GET", &target, &[], &[]).body;
            let text = String::from_utf8(body).unwrap();
            let blobs = text.split("<Blob>").skip(1).map(|blob| blob.split("</Blob>").next().unwrap().to_owned());
            blobs.collect::<Vec<_>>()
        };
        [list("disks"), list("backups")].concat()
    }

    fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let size = if more.contains(&"--size") { &[][..] } else { &["--size", "8M"] };
        [&["bench", &self.disk, &self.target], size, more].concat()
    }

    fn run(&self, more: &[&str]) -> Ran {
        Ran::of(self.service.command(&self.words(more)).current_dir(self.directory.path()).output().unwrap())
    }

    /// Runs with these permissions on both sides.
    fn run_with(&self, source: &str, target: &str, more: &[&str]) -> Ran {
        let mut command = binary(&self.words(more));
        command.env("PAGEFERRY_SOURCE_STORAGE_SAS_TOKEN", permitting(source));
        command.env("PAGEFERRY_TARGET_STORAGE_SAS_TOKEN", permitting(target));
        Ran::of(command.current_dir(self.directory.path()).output().unwrap())
    }

    fn spawn(&self, more: &[&str]) -> Process {
        self.service.spawn(&self.words(more))
    }
}

fn permitting(permissions: &str) -> String {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions,
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
}

/// The one line of a bench, and its rows by what they measure.
fn result(ran: &Ran) -> (Value, impl Fn(&str) -> Value + use<>) {
    let line = ran.json().into_iter().find(|line| line["type"] == "bench").unwrap();
    let rows = line["measurements"].as_array().unwrap().clone();
    (line, move |what: &str| rows.iter().find(|row| row["what"] == what).unwrap().clone())
}

#[test]
fn a_pair_is_measured_by_every_way_and_nothing_stays_behind() {
    let pair = Pair::new(&[]);
    let before = pair.everything();
    let ran = pair.run(&["-o", "json", "--html", "report.html"]).expect(0);
    assert_eq!(pair.everything(), before);
    assert_eq!(ran.stderr, "");
    let (line, row) = result(&ran);
    assert_eq!((&line["disk_bytes"], &line["used_bytes"]), (&(DISK_MIB * MIB).into(), &(6 * MIB).into()));
    assert_eq!(line["emulated"], true);
    for (what, bytes) in [("read", 6), ("write", 6), ("relay", 6), ("copy", 8), ("incremental", 8)] {
        let row = row(what);
        assert_eq!(row["bytes"], bytes * MIB, "{row}");
        assert_eq!(row["not_measured"], Value::Null, "{row}");
        let samples = row["samples"].as_array().unwrap();
        assert_eq!(samples.iter().map(|sample| sample["bytes"].as_u64().unwrap()).sum::<u64>(), bytes * MIB);
    }
    // The first six MiB are two requests on the grid of 4 MiB, and a relay sends each twice.
    assert_eq!([row("read"), row("write"), row("relay")].map(|row| row["requests"].as_u64().unwrap()), [2, 2, 4]);
    let latency = &row("relay")["read_latency"];
    assert_eq!(latency["count"], 2);
    assert!(latency["p50_us"].as_u64().unwrap() <= latency["max_us"].as_u64().unwrap());
    assert_eq!(row("read")["write_latency"], Value::Null);

    let text = pair.run(&["--seconds", "9"]).expect(0);
    assert_eq!(pair.everything(), before);
    let begun: Vec<&str> = text.stderr.lines().collect();
    assert_eq!(begun[0], "measuring source read, for 9 s at most");
    for words in
        ["\nsource read    ", "\nIncremental Copy Blob    ", "6 MiB of what the snapshot holds", "is an emulator"]
    {
        assert!(text.stdout.contains(words), "{words}: {}", text.stdout);
    }
}

#[test]
fn the_report_is_one_page_that_loads_nothing() {
    let pair = Pair::new(&[]);
    let path = pair.directory.path().join("report.html");
    pair.run(&["--html", "report.html"]).expect(0);
    let page = std::fs::read_to_string(&path).unwrap();
    for loads in ["<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "http-equiv"] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert!(page.matches("<svg viewBox").count() >= 3 && page.matches("<desc>").count() >= 3);
    assert_eq!(
        page.matches("<svg ").count() + page.matches("<table").count(),
        page.matches("</svg>").count() + page.matches("</table>").count()
    );
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("no measurement of Azure"));
    assert!(!page.contains("NaN") && !page.contains("inf,"), "a number that is none");

    let there = pair.run(&["--html", "report.html"]).expect(78);
    assert!(
        there.stderr.contains("report.html: it exists; name another file, or give --overwrite"),
        "{}",
        there.stderr
    );
    let nowhere = pair.run(&["--html", "no/where.html"]).expect(3);
    assert!(nowhere.stderr.contains("there is no directory no"), "{}", nowhere.stderr);
    pair.run(&["--html", "."]).expect(78);
    pair.run(&["--html", "report.html", "--overwrite"]).expect(0);
    assert!(std::fs::read_to_string(&path).unwrap() != page);
}

#[test]
fn refusals_are_counted() {
    let pair = Pair::new(&[]);
    let busy = json!({ "on": { "operations": ["get-blob"] }, "when": { "times": 2 }, "action": { "refuse": { "code": "server-busy" } } });
    pair.service.order("POST", "/faults", &json!({ "rules": [busy] }));
    let (_, row) = result(&pair.run(&["-o", "json"]).expect(0));
    let read = row("read");
    assert_eq!((&read["requests"], &read["refused"]), (&4.into(), &2.into()), "{read}");
    let refused = read["samples"].as_array().unwrap().iter().map(|sample| sample["refused"].as_u64().unwrap());
    assert_eq!(refused.sum::<u64>(), 2);
    assert_eq!(row("relay")["refused"], 0);
}

#[test]
fn a_measurement_that_fails_is_told_and_its_blob_is_deleted() {
    let pair = Pair::new(&[]);
    let before = pair.everything();
    // May make, read and delete blobs, and not write to them; so no lease can be had either.
    let ran = pair.run_with("rwdlac", "rcdl", &["-o", "json"]).expect(77);
    assert_eq!(pair.everything(), before);
    let (_, row) = result(&ran);
    for what in ["write", "relay"] {
        let why = row(what)["not_measured"].as_str().unwrap().to_owned();
        assert!(why.starts_with("Lease Blob (acquire) failed: ") && why.contains("(403 Authorization"), "{why}");
    }
    assert_eq!(row("read")["bytes"], 6 * MIB);
    assert_eq!(row("copy")["bytes"], 8 * MIB);
    let last = ran.json().pop().unwrap();
    let message = last["message"].as_str().unwrap();
    assert!(message.starts_with("target write could not be measured: ") && message.contains("`rcwd`"), "{message}");
}

#[test]
fn a_copy_that_the_service_refuses_is_a_row_without_numbers() {
    let pair = Pair::new(&[]);
    let before = pair.everything();
    // The service does not know the way that we take to the source.
    let disk = detour(&pair.disk);
    let ran = pair.service.run(&["bench", &disk, &pair.target, "--size", "8M", "-o", "json"]).expect(0);
    let (_, row) = result(&ran);
    for (what, name) in
        [("service", "Put Page From URL"), ("copy", "Copy Blob"), ("incremental", "Incremental Copy Blob")]
    {
        let why = row(what)["not_measured"].as_str().unwrap().to_owned();
        assert!(why.starts_with(&format!("{name} failed: ")) && why.contains("(404 CannotVerifyCopySource)"), "{why}");
    }
    assert_eq!(pair.everything(), before);
}

#[test]
fn what_cannot_be_deleted_is_named_with_the_way_to_delete_it() {
    let pair = Pair::new(&[]);
    let before = pair.everything();
    let ran = pair.run_with("rwlac", "rwlac", &[]).expect(77);
    let left: Vec<String> = pair.everything().into_iter().filter(|blob| !before.contains(blob)).collect();
    // Five blobs, the snapshot in the last of them, and the snapshot of the source.
    assert_eq!(left.len(), 7, "{left:#?}");
    for blob in &left {
        let name = blob.split("<Name>").nth(1).unwrap().split('<').next().unwrap();
        let container = if name == "d.vhd" { "disks" } else { "backups" };
        let url = pair.service.url(&format!("{container}/{name}"));
        assert!(
            ran.stderr.contains(&format!("\n  az storage blob delete --blob-url {url} --")),
            "{url}: {}",
            ran.stderr
        );
    }
    // What was refused was never made, though it could not be deleted either.
    let before = pair.everything();
    let disk = detour(&pair.disk);
    let mut command = binary(&["bench", &disk, &pair.target, "--size", "8M"]);
    command.envs([("PAGEFERRY_SOURCE_STORAGE_ACCOUNT", DEV_ACCOUNT), ("PAGEFERRY_SOURCE_STORAGE_KEY", DEV_KEY)]);
    command.env("PAGEFERRY_TARGET_STORAGE_SAS_TOKEN", permitting("rwlac"));
    let two = Ran::of(command.output().unwrap()).expect(77);
    assert_eq!(two.stderr.matches("\n  az storage blob delete").count(), 3, "{}", two.stderr);
    assert_eq!(pair.everything().len(), before.len() + 3);
    assert!(ran.stdout.contains("\nrelay engine"), "the numbers are told all the same: {}", ran.stdout);
}

/// Interrupts a bench once it says that it measures `what`; it must end within `patience`, and nothing may be left.
fn interrupted(pair: &Pair, what: &str, signal: &str, code: i32, patience: Duration) {
    let before = pair.everything();
    let mut bench = pair.spawn(&[]);
    bench.until_said(&format!("measuring {what}"));
    std::thread::sleep(Duration::from_millis(300));
    let during = pair.everything();
    assert!(during.len() > before.len(), "nothing was under way");
    bench.signal(signal);
    let ran = bench.ended(patience).expect(code);
    assert!(ran.stderr.contains("error: stopped as asked, before everything was measured"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert_eq!(pair.everything(), before);
}

#[test]
fn an_interrupted_bench_deletes_what_it_made() {
    let pair = Pair::new(&[]);
    pair.service.slow_writes(2_000);
    interrupted(&pair, "target write", "-INT", 130, PATIENCE);
    interrupted(&pair, "relay engine", "-TERM", 143, PATIENCE);
}

#[test]
fn copies_that_are_under_way_are_given_up_or_waited_for() {
    let pair = Pair::new(&["--copy-rate", "1M"]);
    // Eight seconds of copying: one is given up at once, the other cannot be.
    interrupted(&pair, "Copy Blob", "-INT", 130, Duration::from_secs(5));
    interrupted(&pair, "Incremental Copy Blob", "-INT", 130, PATIENCE);
    // Within the time that is given, too.
    let before = pair.everything();
    let (_, row) = result(&pair.run(&["-o", "json", "--seconds", "1"]).expect(0));
    for what in ["copy", "incremental"] {
        let row = row(what);
        assert!(row["note"].as_str().unwrap().ends_with("it was not over in time"), "{row}");
        assert!((MIB / 2..8 * MIB).contains(&row["bytes"].as_u64().unwrap()), "{row}");
    }
    assert_eq!(pair.everything(), before);
}

#[test]
fn what_cannot_be_given_up_is_not_begun_for_a_disk_larger_than_wanted() {
    let pair = Pair::new(&[]);
    let (_, row) = result(&pair.run(&["-o", "json", "--size", "4M"]).expect(0));
    let why = row("incremental")["not_measured"].as_str().unwrap().to_owned();
    assert!(why.contains("all 8 MiB of the disk") && why.contains("`--size 8388608`"), "{why}");
    assert_eq!(row("copy")["bytes"], 8 * MIB);
}

#[test]
fn the_snapshot_is_the_one_named_or_a_new_one_or_the_newest() {
    let pair = Pair::new(&[]);
    let denied = pair.run_with("rl", "rwdlac", &[]).expect(77);
    assert!(denied.stderr.contains("there is no snapshot that could be used instead"), "{}", denied.stderr);
    let (old, new) = (pair.snapshot(), pair.snapshot());
    let before = pair.everything();
    let (line, _) = result(&pair.run_with("rl", "rwdlac", &["-o", "json"]).expect(0));
    assert_eq!(line["snapshot"], new);
    assert!(line["notes"][0].as_str().unwrap().contains("none could be taken"), "{line}");
    let (line, _) = result(&pair.run(&["-o", "json"]).expect(0));
    assert!(line["snapshot"].as_str().unwrap() > new.as_str());
    assert_eq!(pair.everything(), before);
    // One that is named needs no more than to be read.
    let named = format!("{}?snapshot={old}", pair.disk);
    let mut command = binary(&["bench", &named, &pair.target, "-o", "json"]);
    command.env("PAGEFERRY_SOURCE_STORAGE_SAS_TOKEN", permitting("r"));
    command.env("PAGEFERRY_TARGET_STORAGE_SAS_TOKEN", permitting("rwdlac"));
    let (line, _) = result(&Ran::of(command.output().unwrap()).expect(0));
    assert_eq!((&line["snapshot"], &line["notes"]), (&old.into(), &json!([])));
}

/// `text` with `#` for every measured quantity, and without the columns that follow from their widths.
fn unmeasured(text: &str) -> String {
    const UNITS: [&str; 8] = ["ms", "s", "B", "KiB", "MiB", "GiB", "MiB/s", "GiB/s"];
    let mut out = String::new();
    for line in text.lines() {
        let words = line.split(' ').filter(|word| !word.is_empty() && !UNITS.contains(word));
        let words = words.map(|word| if word.parse::<f64>().is_ok() { "#" } else { word });
        out.push_str(&words.collect::<Vec<_>>().join(" "));
        out.push('\n');
    }
    redacted(&out)
}

#[test]
fn what_people_read() {
    let pair = Pair::new(&[]);
    let ran = pair.run(&[]).expect(0);
    let table = unmeasured(&ran.stdout).replace("http://127.0.0.1:10000/devstoreaccount1", "http://EMULATOR");
    let world = World::new();
    let mut said = Transcript::of(&world);
    world.week("disks/web1.vhd");
    world.create("disks/empty.vhd", 1 << 20);
    world.create("backups/web1.vhd", 1 << 20);
    let (disk, new) = (world.url("disks/web1.vhd"), world.url("backups/try"));
    std::fs::write(world.path("report.html"), "old").unwrap();
    said.run(&["bench", &disk, &world.url("backups/web1.vhd")]);
    said.run(&["bench", &world.url("disks/none.vhd"), &new]);
    said.run(&["bench", &world.url("disks/empty.vhd"), &new]);
    said.run(&["bench", &disk, &format!("{new}?snapshot=2026-11-22T09:06:34.1029681Z")]);
    said.run(&["bench", &format!("{disk}?snapshot=2001-01-01T00:00:00.0000000Z"), &new]);
    said.run(&["bench", &disk, &new, "--size", "1M"]);
    said.run(&["bench", &disk, &new, "--html", "report.html"]);
    said.run(&["bench", &disk, &new, "--html", "no/where.html"]);
    expect_file!["said/bench.txt"].assert_eq(&format!("{}\n{table}", said.text()));
}

#[test]
fn mistakes_are_told_in_one_sentence_and_make_nothing() {
    let pair = Pair::new(&[]);
    let before = pair.everything();
    let url = |blob: &str| pair.service.url(blob);
    let size = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "1048576")];
    let (other, empty, gone) = (url("backups/d.vhd.pageferry-bench-0-read"), url("disks/empty.vhd"), url("nowhere/a"));
    for (source, target, code, said) in [
        ("disks/d.vhd", pair.target.as_str(), 2, "SOURCE is not the URL of a page blob: not a URL"),
        (&pair.disk, &pair.disk, 2, "is named twice"),
        (&pair.disk, &other, 78, "exists: bench makes blobs of its own, named after TARGET, and touches no other"),
        (&url("disks/none.vhd"), &pair.target, 3, "disks/none.vhd failed: The specified blob does not exist"),
        (&pair.disk, &gone, 3, "the container does not exist"),
    ] {
        let ran = pair.service.run(&["bench", source, target]).expect(code);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    assert_eq!(pair.everything(), before);
    pair.service.expect(201, "PUT", "disks/empty.vhd", &size, &[]);
    let before = pair.everything();
    let ran = pair.service.run(&["bench", &empty, &pair.target]).expect(78);
    assert!(ran.stderr.contains("holds nothing but zeros"), "{}", ran.stderr);
    assert_eq!(pair.everything(), before);
    pair.service.run(&["bench", &pair.disk, &pair.target, "--size", "1M"]).expect(2);
    pair.service.run(&["bench", &pair.disk, &pair.target, "--seconds", "0"]).expect(2);
}

#[test]
fn no_secret_is_in_any_report() {
    let pair = Pair::new(&[]);
    let (good, weak) = (permitting("rwdlac"), permitting("rwlac"));
    let signature = |sas: &str| sas.split("sig=").nth(1).unwrap().to_owned();
    let canaries = Canaries::of(&[&signature(&good), &signature(&weak), DEV_KEY]);
    for (sas, code) in [(&good, 0), (&weak, 77)] {
        for form in ["text", "json"] {
            let (source, target) = (format!("{}?{good}", pair.disk), format!("{}?{sas}", pair.target));
            let log = ["--log-level", "trace", "-o", form];
            let words =
                [&["bench", &source, &target, "--html", "r.html", "--overwrite", "--size", "4M"], &log[..]].concat();
            let said = std::fs::File::create(pair.directory.path().join("said")).unwrap();
            let mut command = binary(&words);
            command.current_dir(pair.directory.path()).stdout(said.try_clone().unwrap()).stderr(said);
            assert_eq!(command.status().unwrap().code(), Some(code));
            for file in ["said", "r.html"] {
                let text = std::fs::read(pair.directory.path().join(file)).unwrap();
                assert!(!text.is_empty());
                canaries.search(&text, file);
            }
        }
    }
}
