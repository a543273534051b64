//! What the service does to blobs: creation, conditions, leases, copies, listings, limits.

mod common;

use common::{A, B, Bench, Expect as _, between, text, verdict};
use pageferry_emulator::{Account, Config, CopyPace, DEV_KEY, Response, crc64, crc64_header};

const COPY: (&str, &str) = ("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/b");

fn disk() -> Bench {
    let mut bench = Bench::new();
    bench.create("disks/b", 4096);
    bench
}

fn head(bench: &mut Bench) -> Response {
    bench.call("HEAD", "disks/b", &[], Vec::new()).expect(200)
}

fn etag(bench: &mut Bench) -> String {
    head(bench).get("etag").unwrap().to_owned()
}

fn acquire(bench: &mut Bench, id: &str, seconds: &str) -> Response {
    let headers = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", seconds), ("x-ms-proposed-lease-id", id)];
    bench.put("disks/b?comp=lease", &headers)
}

#[test]
fn sizes_are_checked() {
    let mut bench = Bench::new();
    let mut create = |size: &str| {
        let headers = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", size)];
        verdict(&bench.put("disks/b", &headers))
    };
    assert_eq!(create("511"), "400 InvalidHeaderValue");
    assert_eq!(create("-512"), "400 InvalidHeaderValue");
    assert_eq!(create("8796093022209"), "400 InvalidHeaderValue");
    assert_eq!(create("8796093022720"), "413 RequestBodyTooLarge");
    assert_eq!(create("8796093022208"), "201");
    assert_eq!(create("0"), "201");
    assert_eq!(verdict(&bench.put("disks/x", &[("x-ms-blob-type", "PageBlob")])), "400 MissingRequiredHeader");
    assert_eq!(verdict(&bench.put("disks/x", &[("x-ms-blob-type", "BlockBlob")])), "400 InvalidHeaderValue");
    assert_eq!(verdict(&bench.put("disks/b?comp=block", &[])), "409 InvalidBlobType");
    assert_eq!(verdict(&bench.put("nowhere/b?comp=page", &[])), "400 MissingRequiredHeader");
}

#[test]
fn create_only_is_a_conflict_and_overwriting_keeps_snapshots() {
    let mut bench = disk();
    bench.snapshot("disks/b");
    let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512"), ("if-none-match", "*")];
    assert_eq!(verdict(&bench.put("disks/b", &create)), "409 BlobAlreadyExists");
    bench.put("disks/new", &create).expect(201);
    bench.create("disks/b", 512);
    let list = text(bench.get("disks?restype=container&comp=list&include=snapshots", &[]).expect(200));
    assert_eq!(list.matches("<Snapshot>").count(), 1);
    assert_eq!(verdict(&bench.call("DELETE", "disks/b", &[], Vec::new())), "409 SnapshotsPresent");
    let only = bench.call("DELETE", "disks/b", &[("x-ms-delete-snapshots", "only")], Vec::new());
    assert_eq!(verdict(&only), "202");
    bench.call("DELETE", "disks/b", &[], Vec::new()).expect(202);
}

#[test]
fn page_writes_are_checked_in_order() {
    let mut bench = disk();
    let mut put = |headers: &[(&str, &str)], body: usize| {
        let mut all = vec![("x-ms-page-write", "update")];
        all.extend_from_slice(headers);
        verdict(&bench.call("PUT", "disks/b?comp=page", &all, vec![b'a'; body]))
    };
    let good = ("x-ms-range", "bytes=0-511");
    assert_eq!(put(&[], 512), "400 MissingRequiredHeader");
    assert_eq!(put(&[("x-ms-range", "bytes=1-512")], 512), "400 InvalidHeaderValue");
    assert_eq!(put(&[("x-ms-range", "bytes=0-")], 512), "400 InvalidHeaderValue");
    assert_eq!(put(&[("x-ms-range", "bytes=512-511")], 512), "400 InvalidHeaderValue");
    assert_eq!(put(&[good], 1024), "400 InvalidHeaderValue");
    assert_eq!(put(&[good], (4 << 20) + 512), "413 RequestBodyTooLarge");
    assert_eq!(put(&[("x-ms-range", "bytes=4096-4607")], 512), "416 InvalidPageRange");
    assert_eq!(put(&[good, ("x-ms-content-crc64", "AAAAAAAAAAA=")], 512), "400 Crc64Mismatch");
    assert_eq!(put(&[good, ("x-ms-content-crc64", "AAAA")], 512), "400 InvalidHeaderValue");
    assert_eq!(put(&[good, ("content-md5", "AAAA")], 512), "400 InvalidMd5");
    assert_eq!(put(&[good, ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], 512), "400 Md5Mismatch");
    let both = [good, ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), ("x-ms-content-crc64", "u661BimQ84c=")];
    assert_eq!(put(&both, 512), "400 BothCrc64AndMd5HeaderPresent");
    assert_eq!(put(&[good, ("x-ms-if-sequence-number-lt", "0")], 512), "412 SequenceNumberConditionNotMet");
    assert_eq!(put(&[good, ("x-ms-if-sequence-number-eq", "-1")], 512), "400 InvalidHeaderValue");
    assert_eq!(put(&[good, ("if-match", "\"0x1\"")], 512), "412 ConditionNotMet");
    assert_eq!(put(&[good, ("x-ms-lease-id", A)], 512), "412 LeaseNotPresentWithBlobOperation");
    assert_eq!(put(&[("range", "bytes=9-9"), good, ("x-ms-content-crc64", "u661BimQ84c=")], 512), "201");
    let wrong = bench.call(
        "PUT",
        "disks/b?comp=page",
        &[("x-ms-page-write", "update"), good, ("x-ms-content-crc64", "AAAAAAAAAAA=")],
        vec![b'a'; 512],
    );
    let body = text(wrong);
    assert_eq!(between(&body, "<UserSpecifiedCrc>", "<"), Some("AAAAAAAAAAA="));
    assert_eq!(between(&body, "<ServerCalculatedCrc>", "<"), Some("u661BimQ84c="));
    assert!(body.starts_with("\u{feff}<?xml"));
    let framed = bench.put("disks/b?comp=page", &[("x-ms-structured-body", "XSM/1.0; properties=crc64")]);
    assert_eq!(verdict(&framed), "400 UnsupportedHeader");
    let snapshot = bench.snapshot("disks/b");
    let page = format!("disks/b?comp=page&snapshot={snapshot}");
    assert_eq!(verdict(&bench.put(&page, &[("x-ms-page-write", "clear"), good])), "400 InvalidOperation");
}

#[test]
fn answers_to_writes_carry_the_hash_of_their_version() {
    let mut bench = disk();
    let mut put = |version: &str, action: &str| {
        let headers = [("x-ms-page-write", action), ("x-ms-range", "bytes=0-511"), ("x-ms-version", version)];
        let body = vec![b'a'; if action == "update" { 512 } else { 0 }];
        let done = bench.call("PUT", "disks/b?comp=page", &headers, body).expect(201);
        let has = |name: &str| done.get(name).is_some();
        (has("content-md5"), has("x-ms-content-crc64"), has("x-ms-request-server-encrypted"))
    };
    assert_eq!(put("2018-11-09", "update"), (true, false, true));
    assert_eq!(put("2021-12-02", "update"), (false, true, true));
    assert_eq!(put("2021-12-02", "clear"), (false, false, false));
}

#[test]
fn reads_of_ranges() {
    let mut bench = disk();
    bench.update("disks/b", 512, 1024, b'a').expect(201);
    let mut get = |headers: &[(&str, &str)]| bench.get("disks/b", headers);
    let part = get(&[("x-ms-range", "bytes=500-1023"), ("x-ms-range-get-content-crc64", "true")]).expect(206);
    assert_eq!(part.get("content-range"), Some("bytes 500-1023/4096"));
    let data = part.body.clone().into_bytes();
    assert_eq!(data.as_ref(), [vec![0; 12], vec![b'a'; 512]].concat());
    assert_eq!(part.get("x-ms-content-crc64"), Some(crc64_header(crc64(&data)).as_str()));
    assert_eq!(get(&[("range", "bytes=4000-99999")]).expect(206).get("content-length"), Some("96"));
    assert_eq!(get(&[("range", "bytes=9-3")]).expect(200).get("content-length"), Some("4096"));
    assert_eq!(verdict(&get(&[("range", "bytes=4096-")])), "416 InvalidRange");
    assert_eq!(verdict(&get(&[("x-ms-range-get-content-crc64", "true")])), "400 InvalidHeaderValue");
    bench.create("disks/large", 8 << 20);
    for (last, expected) in [("4194303", "206"), ("4194304", "400 InvalidHeaderValue")] {
        let range = format!("bytes=0-{last}");
        let asked = [("x-ms-range", range.as_str()), ("x-ms-range-get-content-md5", "true")];
        assert_eq!(verdict(&bench.get("disks/large", &asked)), expected);
    }
}

#[test]
fn a_snapshot_seals_the_base() {
    let mut bench = disk();
    bench.update("disks/b", 0, 512, 1).expect(201);
    let before = etag(&mut bench);
    assert_eq!(verdict(&bench.put("disks/b?comp=snapshot", &[("if-match", "\"0x1\"")])), "412 ConditionNotMet");
    let taken = bench.put("disks/b?comp=snapshot", &[("if-match", &before)]).expect(201);
    assert_eq!(taken.get("etag"), Some(before.as_str()));
    assert_eq!(etag(&mut bench), before);
    let described = bench.put("disks/b?comp=snapshot", &[("x-ms-meta-run", "7")]).expect(201);
    assert_ne!(described.get("etag"), Some(before.as_str()));
    assert_eq!(etag(&mut bench), before);
    assert_eq!(described.get("x-ms-request-server-encrypted"), Some("true"));
    bench.update("disks/b", 0, 512, 2).expect(201);
    let target = format!("disks/b?snapshot={}", taken.get("x-ms-snapshot").unwrap().replace(':', "%3A"));
    let read = bench.get(&target, &[]).expect(200);
    assert_eq!(read.get("etag"), Some(before.as_str()));
    assert_eq!(read.get("x-ms-lease-state"), None);
    assert_eq!(read.body.into_bytes()[0], 1);
    // Two snapshots at one moment still have different times.
    bench.now = pageferry_emulator::Timestamp::from_ticks(bench.now.ticks() - 5);
    let times: Vec<_> = (0..3).map(|_| bench.snapshot("disks/b")).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_lease_guards_writes_and_leaves_evidence() {
    let mut bench = disk();
    assert_eq!(verdict(&acquire(&mut bench, A, "61")), "400 InvalidHeaderValue");
    let before = etag(&mut bench);
    acquire(&mut bench, A, "15").expect(201);
    assert_eq!(etag(&mut bench), before);
    assert_eq!(verdict(&bench.clear("disks/b", 0, 512)), "412 LeaseIdMissing");
    let with = |id| [("x-ms-lease-id", id), ("x-ms-meta-k", "v")];
    assert_eq!(verdict(&bench.put("disks/b?comp=metadata", &with(B))), "412 LeaseIdMismatchWithBlobOperation");
    bench.put("disks/b?comp=metadata", &with(A)).expect(200);
    bench.snapshot("disks/b");
    assert_eq!(
        verdict(&bench.put("disks/b?comp=snapshot", &[("x-ms-lease-id", B)])),
        "412 LeaseIdMismatchWithBlobOperation"
    );
    assert_eq!(verdict(&acquire(&mut bench, B, "60")), "409 LeaseAlreadyPresent");
    bench.wait(16);
    assert_eq!(head(&mut bench).get("x-ms-lease-state"), Some("expired"));
    assert_eq!(verdict(&bench.put("disks/b?comp=metadata", &with(A))), "412 LeaseLost");
    bench.clear("disks/b", 0, 512).expect(201);
    assert_eq!(head(&mut bench).get("x-ms-lease-state"), Some("available"));
    acquire(&mut bench, A, "-1").expect(201);
    let held = head(&mut bench);
    assert_eq!((held.get("x-ms-lease-duration"), held.get("x-ms-lease-status")), (Some("infinite"), Some("locked")));
    let broken = bench.put("disks/b?comp=lease", &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")]);
    assert_eq!(broken.expect(202).get("x-ms-lease-time"), Some("0"));
    assert_eq!(head(&mut bench).get("x-ms-lease-state"), Some("broken"));
    bench.update("disks/b", 0, 512, 1).expect(201);
    assert_eq!(head(&mut bench).get("x-ms-lease-state"), Some("available"));
}

#[test]
fn conditions_of_reads_and_writes() {
    let mut bench = disk();
    let (tag, date) = (etag(&mut bench), bench.now.http());
    let mut get = |headers: &[(&str, &str)]| verdict(&bench.get("disks/b", headers));
    assert_eq!(get(&[("if-none-match", &tag)]), "304 ConditionNotMet");
    assert_eq!(get(&[("if-modified-since", &date)]), "304 ConditionNotMet");
    assert_eq!(get(&[("if-match", "\"0x1\"")]), "412 ConditionNotMet");
    assert_eq!(get(&[("if-match", &format!("\"0x1\", {tag}"))]), "200");
    assert_eq!(get(&[("if-none-match", "\"0x1\""), ("if-modified-since", &date)]), "200");
    assert_eq!(get(&[("if-match", &tag), ("if-unmodified-since", &date)]), "200");
    let mut put = |headers: &[(&str, &str)]| verdict(&bench.put("disks/b?comp=metadata", headers));
    assert_eq!(put(&[("if-none-match", &tag)]), "412 ConditionNotMet");
    assert_eq!(put(&[("if-match", &tag), ("if-none-match", "\"0x1\"")]), "400 MultipleConditionHeadersNotSupported");
    assert_eq!(put(&[("if-match", "\"0x1\", \"0x2\"")]), "400 MultipleConditionHeadersNotSupported");
    assert_eq!(put(&[("if-modified-since", "yesterday")]), "400 InvalidHeaderValue");
    assert_eq!(put(&[("x-ms-if-tags", "a = 'b'")]), "400 UnsupportedHeader");
    assert_eq!(put(&[("if-match", &tag)]), "200");
    assert_eq!(put(&[("if-match", &tag)]), "412 ConditionNotMet");
}

#[test]
fn sequence_numbers_and_properties() {
    let mut bench = disk();
    let mut set = |headers: &[(&str, &str)]| bench.put("disks/b?comp=properties", headers);
    let (action, number) = ("x-ms-sequence-number-action", "x-ms-blob-sequence-number");
    set(&[("x-ms-blob-content-language", "de"), ("x-ms-blob-cache-control", "none")]).expect(200);
    assert_eq!(set(&[(action, "max"), (number, "7")]).get(number), Some("7"));
    assert_eq!(set(&[(action, "max"), (number, "3")]).get(number), Some("7"));
    assert_eq!(set(&[(action, "update"), (number, "3")]).get(number), Some("3"));
    assert_eq!(set(&[(action, "increment")]).get(number), Some("4"));
    assert_eq!(verdict(&set(&[(action, "increment"), (number, "1")])), "400 InvalidHeaderValue");
    assert_eq!(verdict(&set(&[(action, "update")])), "400 MissingRequiredHeader");
    set(&[(action, "update"), (number, "9223372036854775807")]).expect(200);
    assert_eq!(verdict(&set(&[(action, "increment")])), "409 SequenceNumberIncrementTooLarge");
    assert_eq!(head(&mut bench).get("content-language"), Some("de"));
    bench.put("disks/b?comp=properties", &[("x-ms-blob-content-type", "x/y")]).expect(200);
    let after = head(&mut bench);
    assert_eq!((after.get("content-type"), after.get("content-language")), (Some("x/y"), None));
}

#[test]
fn metadata_is_checked() {
    let mut bench = disk();
    let mut set = |name: &str, value: &str| verdict(&bench.put("disks/b?comp=metadata", &[(name, value)]));
    assert_eq!(set("x-ms-meta-k", &"v".repeat(8191)), "200");
    assert_eq!(set("x-ms-meta-k", &"v".repeat(8192)), "400 MetadataTooLarge");
    assert_eq!(set("x-ms-meta-1k", "v"), "400 InvalidMetadata");
    assert_eq!(set("x-ms-meta-", "v"), "400 EmptyMetadataKey");
    assert_eq!(set("x-ms-meta-k", "a,b"), "200");
    assert_eq!(bench.get("disks/b?comp=metadata", &[]).get("x-ms-meta-k"), Some("a,b"));
}

#[test]
fn a_paced_copy_is_pending_until_its_time() {
    let mut bench = Bench::open(Config { copy: CopyPace::BytesPerSecond(512), ..Config::default() });
    bench.create("disks/b", 4096);
    bench.update("disks/b", 512, 1024, 9).expect(201);
    let started = bench.put("disks/d", &[COPY]).expect(202);
    assert_eq!(started.get("x-ms-copy-status"), Some("pending"));
    let id = started.get("x-ms-copy-id").unwrap().to_owned();
    assert_eq!(verdict(&bench.clear("disks/d", 0, 512)), "409 PendingCopyOperation");
    assert_eq!(verdict(&bench.put("disks/d?comp=snapshot", &[])), "409 PendingCopyOperation");
    bench.wait(4);
    let half = bench.call("HEAD", "disks/d", &[], Vec::new()).expect(200);
    assert_eq!(half.get("x-ms-copy-progress"), Some("2048/4096"));
    assert_eq!(bench.list("disks/d?comp=pagelist"), "");
    bench.wait(5);
    let done = bench.call("HEAD", "disks/d", &[], Vec::new()).expect(200);
    assert_eq!(done.get("x-ms-copy-status"), Some("success"));
    assert_ne!(done.get("etag"), half.get("etag"));
    assert_eq!(bench.list("disks/d?comp=pagelist"), "P 512-1023");
    let abort = format!("disks/d?comp=copy&copyid={id}");
    assert_eq!(verdict(&bench.put(&abort, &[("x-ms-copy-action", "abort")])), "409 NoPendingCopyOperation");
    let again = bench.put("disks/d", &[COPY, ("x-ms-meta-k", "v")]).expect(202);
    assert_eq!(verdict(&bench.put(&abort, &[("x-ms-copy-action", "abort")])), "409 CopyIdMismatch");
    let abort = format!("disks/d?comp=copy&copyid={}", again.get("x-ms-copy-id").unwrap());
    bench.put(&abort, &[("x-ms-copy-action", "abort")]).expect(204);
    let aborted = bench.call("HEAD", "disks/d", &[], Vec::new()).expect(200);
    assert_eq!((aborted.get("content-length"), aborted.get("x-ms-meta-k")), (Some("0"), Some("v")));
    assert_eq!(aborted.get("x-ms-copy-status"), Some("aborted"));
}

#[test]
fn copies_keep_what_they_should() {
    let mut bench = disk();
    bench.update("disks/b", 0, 512, 3).expect(201);
    bench.create("disks/d", 512);
    acquire(&mut bench, A, "15").expect(201);
    let source = ("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/d");
    let finite = bench.put("disks/b", &[source, ("x-ms-lease-id", A)]);
    assert_eq!(verdict(&finite), "412 InfiniteLeaseDurationRequired");
    let missing = ("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/none");
    assert_eq!(verdict(&bench.put("disks/d", &[missing])), "404 CannotVerifyCopySource");
    let elsewhere = ("x-ms-copy-source", "http://10.1.2.3/devstoreaccount1/disks/b");
    let there = bench.put("disks/d", &[elsewhere, ("host", "127.0.0.1:10000")]);
    assert_eq!(verdict(&there), "404 CannotVerifyCopySource");
    bench.put("disks/d", &[COPY]).expect(202);
    bench.update("disks/d", 1024, 1536, 3).expect(201);
    let kept = bench.call("HEAD", "disks/d", &[], Vec::new());
    assert_eq!(kept.get("x-ms-copy-status"), Some("success"));
    bench.put("disks/d?comp=metadata", &[]).expect(200);
    assert_eq!(bench.call("HEAD", "disks/d", &[], Vec::new()).get("x-ms-copy-id"), None);
    assert_eq!(bench.list("disks/b?comp=pagelist"), "P 0-511");
}

#[test]
fn pages_can_come_from_a_url() {
    let mut bench = disk();
    bench.update("disks/b", 512, 1536, 5).expect(201);
    bench.create("disks/d", 4096);
    let mut put = |headers: &[(&str, &str)]| {
        let mut all = vec![COPY, ("x-ms-page-write", "update")];
        all.extend_from_slice(headers);
        bench.put("disks/d?comp=page", &all)
    };
    let ranges = [("x-ms-source-range", "bytes=0-1023"), ("x-ms-range", "bytes=1024-2047")];
    let done = put(&ranges).expect(201);
    let data = [vec![0; 512], vec![5; 512]].concat();
    assert_eq!(done.get("x-ms-content-crc64"), Some(crc64_header(crc64(&data)).as_str()));
    assert_eq!(verdict(&put(&ranges[..1])), "400 MissingRequiredHeader");
    assert_eq!(verdict(&put(&[ranges[0], ("x-ms-range", "bytes=0-511")])), "400 InvalidHeaderValue");
    let wrong = [ranges[0], ranges[1], ("x-ms-source-content-crc64", "AAAAAAAAAAA=")];
    assert_eq!(verdict(&put(&wrong)), "400 Crc64Mismatch");
    let changed = [ranges[0], ranges[1], ("x-ms-source-if-match", "\"0x1\"")];
    assert_eq!(verdict(&put(&changed)), "412 SourceConditionNotMet");
    // Zeros of the source arrive as written pages.
    assert_eq!(bench.list("disks/d?comp=pagelist"), "P 1024-2047");
    let read = bench.get("disks/d", &[("range", "bytes=1024-2047")]).expect(206);
    assert_eq!(read.body.into_bytes().as_ref(), data);
}

#[test]
fn listings() {
    let mut bench = Bench::new();
    for name in ["a/1", "a/2", "b", "B", "c"] {
        bench.create(&format!("disks/{name}"), 512);
    }
    bench.snapshot("disks/b");
    bench.snapshot("disks/b");
    let mut list = |query: &str| {
        let body = text(bench.get(&format!("disks?restype=container&comp=list&{query}"), &[]).expect(200));
        let names: Vec<_> =
            body.split("<Name>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
        let marker = between(&body, "<NextMarker>", "</NextMarker>").map(|m| m.replace('=', "%3D"));
        (names.join(" "), marker)
    };
    assert_eq!(list("").0, "B a/1 a/2 b c");
    assert_eq!(list("prefix=a").0, "a/1 a/2");
    assert_eq!(list("delimiter=/").0, "B a/ b c");
    assert_eq!(list("include=snapshots").0, "B a/1 a/2 b b b c");
    for (query, whole) in [("include=snapshots", "B a/1 a/2 b b b c"), ("delimiter=/", "B a/ b c")] {
        for size in 1..4 {
            let (mut names, mut marker) = (Vec::new(), Some(String::new()));
            while let Some(at) = marker {
                let (page, next) = list(&format!("{query}&maxresults={size}&marker={at}"));
                names.push(page);
                marker = next;
            }
            assert_eq!(names.join(" "), whole);
        }
    }
    let both = bench.get("disks?restype=container&comp=list&include=snapshots&delimiter=/", &[]);
    assert_eq!(verdict(&both), "400 InvalidQueryParameterValue");
    let body = text(bench.get("disks?restype=container&comp=list&prefix=c", &[]).expect(200));
    let tag = between(&body, "<Etag>", "</Etag>").unwrap();
    assert!(tag.starts_with("0x8D"), "{tag}");
    let containers = text(bench.get("?comp=list", &[]).expect(200));
    assert!(containers.contains("<Name>disks</Name>"));
}

#[test]
fn premium_accounts_have_limits() {
    let mut premium = Account::new(DEV_KEY);
    (premium.premium, premium.limit_snapshots, premium.refuse_snapshot_reads) = (true, true, true);
    let accounts = [("devstoreaccount1".to_owned(), premium)].into();
    let mut bench = Bench::open(Config { accounts, ..Config::default() });
    bench.create("disks/b", 512);
    let snapshot = bench.snapshot("disks/b");
    assert_eq!(verdict(&bench.put("disks/b?comp=snapshot", &[])), "409 SnaphotOperationRateExceeded");
    assert_eq!(verdict(&bench.get(&format!("disks/b?snapshot={snapshot}"), &[])), "400 InvalidOperation");
    bench.create("disks/d", 512);
    bench.put("disks/d", &[COPY]).expect(202);
    assert_eq!(
        verdict(&bench.put("disks/b", &[("x-ms-copy-source", "http://h/devstoreaccount1/disks/d")])),
        "409 SnapshotsPresent"
    );
    for _ in 0..99 {
        bench.wait(600);
        bench.snapshot("disks/b");
    }
    bench.wait(600);
    assert_eq!(verdict(&bench.put("disks/b?comp=snapshot", &[])), "409 SnapshotCountExceeded");
    bench.put("disks/b?comp=tier", &[("x-ms-access-tier", "P20")]).expect(200);
    assert_eq!(verdict(&bench.put("disks/b?comp=tier", &[("x-ms-access-tier", "P10")])), "409 CannotChangeToLowerTier");
}

#[test]
fn eight_tebibytes_cost_what_is_written() {
    const TIB: u64 = 1 << 40;
    let started = std::time::Instant::now();
    let mut bench = Bench::new();
    bench.create("disks/b", 8 * TIB);
    bench.update("disks/b", 0, 4 << 20, 1).expect(201);
    bench.update("disks/b", 8 * TIB - 512, 8 * TIB, 2).expect(201);
    let a = bench.snapshot("disks/b");
    bench.update("disks/b", 5 * TIB, 5 * TIB + 512, 3).expect(201);
    bench.clear("disks/b", 0, 8 * TIB).expect(201);
    bench.update("disks/b", TIB, TIB + 512, 4).expect(201);
    let diff = bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={a}"));
    let (last, end) = (8 * TIB - 1, TIB + 511);
    assert_eq!(diff, format!("C 0-{}, P {TIB}-{end}, C {}-{last}", TIB - 1, TIB + 512));
    assert_eq!(
        bench.list(&format!("disks/b?comp=pagelist&snapshot={a}")),
        format!("P 0-4194303, P {}-{last}", 8 * TIB - 512)
    );
    let whole = bench.get("disks/b", &[]).expect(200);
    assert_eq!(whole.body.len(), 8 * TIB);
    assert!(started.elapsed().as_secs() < 2);
}
