//! The service's own copies: of a blob over time, and of one snapshot after the other.

mod common;

use common::{Bench, Expect as _, between, text, verdict};
use pageferry_emulator::sas::{ServiceSas, service_sas};
use pageferry_emulator::{Config, CopyPace, DEV_ACCOUNT, DEV_KEY, Response};

const URL: &str = "http://127.0.0.1/devstoreaccount1/disks";

fn paced(rate: u64) -> Bench {
    Bench::open(Config { copy: CopyPace::BytesPerSecond(rate), ..Config::default() })
}

fn head(bench: &mut Bench, blob: &str) -> Response {
    bench.call("HEAD", &format!("disks/{blob}"), &[], Vec::new()).expect(200)
}

/// What a blob says of the copy that made it: its status and progress.
fn copy_of(bench: &mut Bench, blob: &str) -> String {
    let head = head(bench, blob);
    let get = |name: &str| head.get(name).unwrap_or("-").to_owned();
    format!("{} {}", get("x-ms-copy-status"), get("x-ms-copy-progress"))
}

fn copy(bench: &mut Bench, from: &str, to: &str) -> Response {
    bench.put(&format!("disks/{to}"), &[("x-ms-copy-source", &format!("{URL}/{from}"))])
}

fn incremental(bench: &mut Bench, from: &str, to: &str) -> Response {
    bench.put(&format!("disks/{to}?comp=incrementalcopy"), &[("x-ms-copy-source", &format!("{URL}/{from}"))])
}

/// `disks/b` of eight pages, the first two written.
fn disk(mut bench: Bench) -> Bench {
    bench.create("disks/b", 4096);
    bench.update("disks/b", 0, 1024, 1).expect(201);
    bench
}

#[test]
fn each_incremental_copy_leaves_a_snapshot_that_is_its_source() {
    let mut bench = disk(Bench::new());
    let a = bench.snapshot("disks/b");
    let first = incremental(&mut bench, &format!("b?snapshot={a}"), "s").expect(202);
    assert_eq!(first.get("x-ms-copy-status"), Some("pending"));
    let done = head(&mut bench, "s");
    assert_eq!(done.get("x-ms-copy-id"), first.get("x-ms-copy-id"));
    assert_eq!(done.get("x-ms-copy-status"), Some("success"));
    assert_eq!(done.get("x-ms-copy-progress"), Some("4096/4096"));
    assert_eq!(done.get("x-ms-incremental-copy"), Some("true"));
    let one = done.get("x-ms-copy-destination-snapshot").unwrap().to_owned();

    bench.clear("disks/b", 0, 512).expect(201);
    bench.update("disks/b", 2048, 2560, 2).expect(201);
    bench.put("disks/b?comp=properties", &[("x-ms-blob-content-length", "8192")]).expect(200);
    let b = bench.snapshot("disks/b");
    bench.update("disks/b", 0, 4096, 9).expect(201);
    incremental(&mut bench, &format!("b?snapshot={b}"), "s").expect(202);
    let two = head(&mut bench, "s").get("x-ms-copy-destination-snapshot").unwrap().to_owned();
    assert!(two > one);
    for (source, target) in [(&a, &one), (&b, &two)] {
        let truth = bench.get(&format!("disks/b?snapshot={source}"), &[]).expect(200);
        let held = bench.get(&format!("disks/s?snapshot={target}"), &[]).expect(200);
        assert_eq!(held.get("x-ms-incremental-copy"), Some("true"));
        assert_eq!(held.get("x-ms-copy-destination-snapshot"), Some(target.as_str()));
        assert!(truth.body.into_bytes() == held.body.into_bytes());
    }
    let difference = bench.list(&format!("disks/s?comp=pagelist&snapshot={two}&prevsnapshot={one}"));
    assert_eq!(difference, "C 0-511, P 2048-2559");

    let list = text(bench.get("disks?restype=container&comp=list&prefix=s&include=snapshots,copy", &[]).expect(200));
    assert_eq!(list.matches("<IncrementalCopy>true</IncrementalCopy>").count(), 3);
    for time in [&one, &two] {
        assert!(list.contains(&format!("<CopyDestinationSnapshot>{time}</CopyDestinationSnapshot>")));
    }
    let old = bench.get("disks?restype=container&comp=list&prefix=s", &[("x-ms-version", "2015-12-11")]);
    assert_eq!(between(&text(old.expect(200)), "<IncrementalCopy>", "</"), None);
}

#[test]
fn a_target_of_incremental_copies_belongs_to_the_service() {
    let mut bench = disk(Bench::new());
    bench.create("disks/other", 512);
    let a = bench.snapshot("disks/b");
    incremental(&mut bench, &format!("b?snapshot={a}"), "s").expect(202);
    let snapshot = head(&mut bench, "s").get("x-ms-copy-destination-snapshot").unwrap().to_owned();
    let refused = "409 OperationNotAllowedOnIncrementalCopyBlob";
    let acquire = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "15")];
    let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512")];
    let abort = format!("disks/s?comp=copy&copyid={}", head(&mut bench, "s").get("x-ms-copy-id").unwrap());
    for (method, target, headers) in [
        ("GET", "disks/s", &[][..]),
        ("GET", "disks/s?comp=metadata", &[]),
        ("GET", "disks/s?comp=pagelist", &[]),
        ("PUT", "disks/s?comp=metadata", &[("x-ms-meta-k", "v")]),
        ("PUT", "disks/s?comp=properties", &[("x-ms-blob-content-length", "512")]),
        ("PUT", "disks/s?comp=snapshot", &[]),
        ("PUT", "disks/s?comp=lease", &acquire),
        ("PUT", "disks/s?comp=page", &[("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")]),
        ("PUT", "disks/s", &create),
        ("PUT", abort.as_str(), &[("x-ms-copy-action", "abort")]),
    ] {
        assert_eq!(verdict(&bench.call(method, target, headers, Vec::new())), refused, "{method} {target}");
    }
    assert_eq!(verdict(&copy(&mut bench, "other", "s")), refused);
    assert_eq!(verdict(&copy(&mut bench, "s", "d")), "409 CopySourceCannotBeIncrementalCopyBlob");
    copy(&mut bench, &format!("s?snapshot={snapshot}"), "d").expect(202);
    assert_eq!(bench.list("disks/d?comp=pagelist"), "P 0-1023");
    assert_eq!(head(&mut bench, "d").get("x-ms-incremental-copy"), None);
    bench.update("disks/d", 0, 512, 3).expect(201);
    assert_eq!(verdict(&bench.call("DELETE", "disks/s", &[], Vec::new())), "409 SnapshotsPresent");
    bench.call("DELETE", &format!("disks/s?snapshot={snapshot}"), &[], Vec::new()).expect(202);
    bench.call("DELETE", "disks/s", &[], Vec::new()).expect(202);
}

#[test]
fn incremental_copies_follow_one_source_forwards() {
    let mut bench = disk(Bench::new());
    bench.create("disks/other", 4096);
    let [a, b] = [bench.snapshot("disks/b"), bench.snapshot("disks/b")];
    let other = bench.snapshot("disks/other");
    let try_copy = |bench: &mut Bench, from: &str| verdict(&incremental(bench, from, "s"));
    assert_eq!(try_copy(&mut bench, "b"), "409 IncrementalCopySourceMustBeSnapshot");
    assert_eq!(try_copy(&mut bench, &format!("none?snapshot={a}")), "404 CannotVerifyCopySource");
    assert_eq!(verdict(&bench.put("disks/s?comp=incrementalcopy", &[])), "400 MissingRequiredHeader");
    let old = [("x-ms-copy-source", URL), ("x-ms-version", "2015-12-11")];
    assert_eq!(verdict(&bench.put("disks/s?comp=incrementalcopy", &old)), "400 InvalidQueryParameterValue");
    assert_eq!(try_copy(&mut bench, &format!("b?snapshot={b}")), "202");
    assert_eq!(try_copy(&mut bench, &format!("b?snapshot={a}")), "409 IncrementalCopyOfEarlierSnapshotNotAllowed");
    assert_eq!(try_copy(&mut bench, &format!("other?snapshot={other}")), "409 IncrementalCopyBlobMismatch");
    assert_eq!(
        verdict(&incremental(&mut bench, &format!("b?snapshot={b}"), "other")),
        "409 IncrementalCopyBlobMismatch"
    );

    bench.create("disks/b", 4096);
    let c = bench.snapshot("disks/b");
    assert_eq!(try_copy(&mut bench, &format!("b?snapshot={c}")), "409 BlobOverwritten");
    bench.call("DELETE", &format!("disks/b?snapshot={b}"), &[], Vec::new()).expect(202);
    let gone = "409 IncrementalCopyBlobPreviousSnapshotDoesNotExist";
    assert_eq!(try_copy(&mut bench, &format!("b?snapshot={c}")), gone);
    let create_only = [("x-ms-copy-source", &*format!("{URL}/b?snapshot={c}")), ("if-none-match", "*")];
    bench.put("disks/t?comp=incrementalcopy", &create_only).expect(202);
}

#[test]
fn an_incremental_copy_takes_the_time_of_what_changed() {
    let mut bench = disk(paced(512));
    let a = bench.snapshot("disks/b");
    incremental(&mut bench, &format!("b?snapshot={a}"), "s").expect(202);
    bench.wait(2);
    assert_eq!(copy_of(&mut bench, "s"), "pending 1024/4096");
    assert_eq!(head(&mut bench, "s").get("x-ms-copy-destination-snapshot"), None);
    bench.update("disks/b", 512, 1536, 2).expect(201);
    let b = bench.snapshot("disks/b");
    assert_eq!(verdict(&incremental(&mut bench, &format!("b?snapshot={b}"), "s")), "409 PendingCopyOperation");
    assert_eq!(verdict(&bench.call("DELETE", "disks/s", &[], Vec::new())), "409 PendingCopyOperation");
    bench.wait(6);
    assert_eq!(copy_of(&mut bench, "s"), "success 4096/4096");
    let one = head(&mut bench, "s").get("x-ms-copy-destination-snapshot").unwrap().to_owned();

    incremental(&mut bench, &format!("b?snapshot={b}"), "s").expect(202);
    bench.wait(1);
    assert_eq!(copy_of(&mut bench, "s"), "pending 2048/4096");
    assert_eq!(bench.list(&format!("disks/s?comp=pagelist&snapshot={one}")), "P 0-1023");
    bench.wait(1);
    assert_eq!(copy_of(&mut bench, "s"), "success 4096/4096");
}

#[test]
fn a_copy_fails_when_its_source_changes_or_goes() {
    let mut bench = disk(paced(512));
    let a = bench.snapshot("disks/b");
    copy(&mut bench, "b", "of-base").expect(202);
    copy(&mut bench, &format!("b?snapshot={a}"), "of-snapshot").expect(202);
    incremental(&mut bench, &format!("b?snapshot={a}"), "series").expect(202);
    bench.wait(4);
    bench.update("disks/b", 0, 512, 9).expect(201);
    assert_eq!(copy_of(&mut bench, "of-base"), "failed 2048/4096");
    let why = head(&mut bench, "of-base").get("x-ms-copy-status-description").unwrap().to_owned();
    assert!(why.starts_with("412 ConditionNotMet \""), "{why}");
    assert_eq!(copy_of(&mut bench, "of-snapshot"), "pending 2048/4096");
    bench.call("DELETE", &format!("disks/b?snapshot={a}"), &[], Vec::new()).expect(202);
    for blob in ["of-snapshot", "series"] {
        let failed = head(&mut bench, blob);
        assert_eq!(failed.get("x-ms-copy-status"), Some("failed"), "{blob}");
        assert!(failed.get("x-ms-copy-status-description").unwrap().starts_with("404 ResourceNotFound \""));
    }
    // What failed is no longer pending: it can be deleted, and copied to again.
    bench.call("DELETE", "disks/of-snapshot", &[], Vec::new()).expect(202);
    let b = bench.snapshot("disks/b");
    incremental(&mut bench, &format!("b?snapshot={b}"), "series").expect(202);
    bench.wait(8);
    assert_eq!(copy_of(&mut bench, "series"), "success 4096/4096");
    let list = text(bench.get("disks?restype=container&comp=list&prefix=of-base&include=copy", &[]).expect(200));
    assert!(list.contains("<CopyStatus>failed</CopyStatus>") && list.contains("<CopyStatusDescription>412 "), "{list}");
}

#[test]
fn nothing_is_copied_for_longer_than_two_weeks() {
    let mut bench = disk(paced(0));
    copy(&mut bench, "b", "d").expect(202);
    bench.wait(14 * 24 * 3600 - 1);
    assert_eq!(head(&mut bench, "d").get("x-ms-copy-status"), Some("pending"));
    bench.wait(1);
    let failed = head(&mut bench, "d");
    assert_eq!(failed.get("x-ms-copy-status"), Some("failed"));
    assert!(failed.get("x-ms-copy-status-description").unwrap().starts_with("500 OperationCancelled \""));
}

#[test]
fn sources_of_incremental_copies_need_credentials_of_their_own() {
    let mut bench = Bench::guarded(Config { bearer_tokens: vec!["let-me-in".into()], ..Config::default() });
    let owner = ("authorization", "Bearer let-me-in");
    bench.put("disks?restype=container", &[owner]).expect(201);
    let create = [owner, ("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512")];
    bench.put("disks/b", &create).expect(201);
    let taken = bench.put("disks/b?comp=snapshot", &[owner]).expect(201);
    let time = taken.get("x-ms-snapshot").unwrap();
    let sign = |resource, blob, permissions, snapshot| {
        let (version, container, expiry) = ("2021-12-02", "disks", "2099-01-01T00:00:00Z");
        let sas =
            ServiceSas { version, resource, container, blob, snapshot, permissions, expiry, ..ServiceSas::default() };
        service_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
    };
    let target = format!("disks/s?comp=incrementalcopy&{}", sign("c", "", "cw", ""));
    let mut ask = |query: String| verdict(&bench.put(&target, &[("x-ms-copy-source", &format!("{URL}/b?{query}"))]));
    assert_eq!(ask(format!("snapshot={time}")), "404 CannotVerifyCopySource");
    assert_eq!(ask(format!("snapshot={time}&{}", sign("bs", "b", "w", time))), "403 CannotVerifyCopySource");
    assert_eq!(ask(format!("snapshot={time}&{}", sign("bs", "b", "r", time))), "202");
    let shown = bench.call("HEAD", "disks/s", &[owner], Vec::new()).expect(200);
    let source = shown.get("x-ms-copy-source").unwrap();
    assert!(source.contains("snapshot=") && !source.contains("sig="), "{source}");
}
