//! Every switch for what is not proven, and the difference it makes.

mod common;

use common::{A, B, Bench, Expect as _, between, short, text, verdict};
use pageferry_emulator::sas::{ServiceSas, service_sas};
use pageferry_emulator::{Account, CheckOrder, Config, DEV_ACCOUNT, DEV_KEY, Variants, crc64, crc64_header};

fn with(change: impl FnOnce(&mut Variants)) -> Bench {
    let mut config = Config::default();
    change(&mut config.variants);
    Bench::open(config)
}

/// What a bench has to say with the switch as it is by default, and with it changed.
fn both(change: impl Fn(&mut Variants), ask: impl Fn(&mut Bench) -> String) -> [String; 2] {
    [ask(&mut Bench::new()), ask(&mut with(change))]
}

/// A blob of sixteen pages, all but the last two written, with a snapshot.
fn tracked(bench: &mut Bench) -> String {
    bench.create("disks/b", 8192);
    bench.update("disks/b", 0, 7168, 1).expect(201);
    bench.snapshot("disks/b")
}

fn since(bench: &mut Bench, snapshot: &str) -> String {
    bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={snapshot}"))
}

#[test]
fn coarse_diffs_cover_what_happened_and_clear_nothing_that_holds_data() {
    let ask = |bench: &mut Bench| {
        let a = tracked(bench);
        bench.update("disks/b", 512, 1024, 2).expect(201);
        bench.clear("disks/b", 2048, 4096).expect(201);
        bench.clear("disks/b", 4608, 5120).expect(201);
        bench.clear("disks/b", 7680, 8192).expect(201);
        since(bench, &a)
    };
    let answers = both(|v| v.diff_granularity = 4, ask);
    assert_eq!(answers, ["P 512-1023, C 2048-4095, C 4608-5119, C 7680-8191", "P 0-2047, C 2048-4095, P 4096-8191"]);
    let cut = |bench: &mut Bench| {
        bench.create("disks/b", 2560);
        let a = bench.snapshot("disks/b");
        bench.clear("disks/b", 2048, 2560).expect(201);
        since(bench, &a)
    };
    assert_eq!(both(|v| v.diff_granularity = 3, cut), ["C 2048-2559", "C 1536-2559"]);
}

#[test]
fn coarse_lists_show_whole_units() {
    let ask = |bench: &mut Bench| {
        bench.create("disks/b", 8192);
        bench.update("disks/b", 512, 1024, 1).expect(201);
        bench.update("disks/b", 3584, 4096, 1).expect(201);
        bench.list("disks/b?comp=pagelist")
    };
    assert_eq!(both(|v| v.list_granularity = 4, ask), ["P 512-1023, P 3584-4095", "P 0-4095"]);
}

#[test]
fn ranges_can_reach_beyond_the_window() {
    let ask = |bench: &mut Bench| {
        bench.create("disks/b", 8192);
        bench.update("disks/b", 512, 4096, 1).expect(201);
        bench.update("disks/b", 5120, 6144, 1).expect(201);
        bench.update("disks/b", 7168, 8192, 1).expect(201);
        let asked = [("x-ms-range", "bytes=1024-5631")];
        let whole = short(&text(bench.get("disks/b?comp=pagelist", &asked).expect(200)));
        let first = text(bench.get("disks/b?comp=pagelist&maxresults=1", &asked).expect(200));
        let marker = between(&first, "<NextMarker>", "</NextMarker>").unwrap().replace('=', "%3D");
        let target = format!("disks/b?comp=pagelist&marker={marker}");
        let rest = short(&text(bench.get(&target, &asked).expect(200)));
        assert_eq!(format!("{}, {rest}", short(&first)), whole);
        whole
    };
    assert_eq!(both(|v| v.ranges_unclipped = true, ask), ["P 1024-4095, P 5120-5631", "P 512-4095, P 5120-6143"]);
}

#[test]
fn identical_rewrites_can_go_unseen() {
    let ask = |bench: &mut Bench| {
        let a = tracked(bench);
        bench.update("disks/b", 0, 1024, 1).expect(201);
        bench.update("disks/b", 512, 1024, 2).expect(201);
        bench.update("disks/b", 2048, 2560, 2).expect(201);
        bench.update("disks/b", 2048, 2560, 1).expect(201);
        // Zeros are news where nothing was written before.
        bench.update("disks/b", 7168, 7680, 0).expect(201);
        let all = bench.get("disks/b", &[]).expect(200).body.into_bytes();
        assert_eq!([all[0], all[600], all[2048], all[7200]], [1, 2, 1, 0]);
        since(bench, &a)
    };
    let answers = both(|v| v.identical_rewrites_reported = false, ask);
    assert_eq!(answers, ["P 0-1023, P 2048-2559, P 7168-7679", "P 512-1023, P 2048-2559, P 7168-7679"]);
}

#[test]
fn growth_can_be_a_clear() {
    let ask = |bench: &mut Bench| {
        let a = tracked(bench);
        bench.put("disks/b?comp=properties", &[("x-ms-blob-content-length", "9216")]).expect(200);
        since(bench, &a)
    };
    assert_eq!(both(|v| v.growth_reported = true, ask), ["", "C 8192-9215"]);
    // A shrink and regrow that the tracker does not show is gone all the same.
    let regrown = |bench: &mut Bench| {
        let a = tracked(bench);
        for size in ["1024", "8192"] {
            bench.put("disks/b?comp=properties", &[("x-ms-blob-content-length", size)]).expect(200);
        }
        assert_eq!(bench.list("disks/b?comp=pagelist"), "P 0-1023");
        since(bench, &a)
    };
    assert_eq!(both(|v| v.shrink_reported = false, regrown), ["C 1024-8191", ""]);
}

#[test]
fn a_diff_with_itself_or_across_a_gap_can_be_refused() {
    let itself = |bench: &mut Bench| {
        let a = tracked(bench);
        verdict(&bench.get(&format!("disks/b?comp=pagelist&snapshot={a}&prevsnapshot={a}"), &[]))
    };
    let answers = both(|v| v.self_diff_refused = true, itself);
    assert_eq!(answers, ["200", "400 PreviousSnapshotCannotBeNewer"]);
    let gap = |bench: &mut Bench| {
        let a = tracked(bench);
        let b = bench.snapshot("disks/b");
        let c = bench.snapshot("disks/b");
        bench.call("DELETE", &format!("disks/b?snapshot={b}"), &[], Vec::new()).expect(202);
        let behind = bench.get(&format!("disks/b?comp=pagelist&prevsnapshot={c}"), &[]);
        assert_eq!(verdict(&behind), "200");
        verdict(&bench.get(&format!("disks/b?comp=pagelist&snapshot={c}&prevsnapshot={a}"), &[]))
    };
    let answers = both(|v| v.diff_needs_chain = true, gap);
    assert_eq!(answers, ["200", "409 PreviousSnapshotOperationNotSupported"]);
}

#[test]
fn a_snapshot_that_was_copied_already_may_be_copied_again() {
    let ask = |bench: &mut Bench| {
        let a = tracked(bench);
        let url = format!("http://127.0.0.1/devstoreaccount1/disks/b?snapshot={a}");
        let source = [("x-ms-copy-source", url.as_str())];
        bench.put("disks/s?comp=incrementalcopy", &source).expect(202);
        verdict(&bench.put("disks/s?comp=incrementalcopy", &source))
    };
    let answers = both(|v| v.incremental_repeats = true, ask);
    assert_eq!(answers, ["409 IncrementalCopyOfEarlierSnapshotNotAllowed", "202"]);
    let answers = both(|v| v.other_codes = true, ask);
    assert_eq!(answers[1], "409 IncrementalCopyOfEralierVersionSnapshotNotAllowed");
    let onto_another = |bench: &mut Bench| {
        let a = tracked(bench);
        bench.create("disks/s", 512);
        let url = format!("http://127.0.0.1/devstoreaccount1/disks/b?snapshot={a}");
        verdict(&bench.put("disks/s?comp=incrementalcopy", &[("x-ms-copy-source", &url)]))
    };
    let answers = both(|v| v.other_codes = true, onto_another);
    assert_eq!(answers, ["409 IncrementalCopyBlobMismatch", "409 BlobAlreadyExists"]);
}

#[test]
fn zeros_can_be_left_out_of_a_copy() {
    let ask = |bench: &mut Bench| {
        bench.create("disks/s", 4096);
        bench.update("disks/s", 512, 1024, 7).expect(201);
        bench.update("disks/s", 2048, 2560, 0).expect(201);
        let a = tracked(bench);
        let headers = [
            ("x-ms-page-write", "update"),
            ("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/s"),
            ("x-ms-source-range", "bytes=0-4095"),
            ("x-ms-range", "bytes=0-4095"),
        ];
        bench.put("disks/b?comp=page", &headers).expect(201);
        let all = bench.get("disks/b", &[]).expect(200).body.into_bytes();
        assert_eq!([all[0], all[512], all[1024], all[4096]], [0, 7, 0, 1]);
        format!("{} | {}", bench.list("disks/b?comp=pagelist"), since(bench, &a))
    };
    let answers = both(|v| v.copy_zeros_elided = true, ask);
    assert_eq!(answers, ["P 0-7167 | P 0-4095", "P 512-1023, P 4096-7167 | C 0-511, P 512-1023, C 1024-4095"]);
}

#[test]
fn leases_are_refused_in_other_words() {
    let lease = |bench: &mut Bench, seconds: &str| {
        tracked(bench);
        let headers =
            [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", seconds), ("x-ms-proposed-lease-id", A)];
        bench.put("disks/b?comp=lease", &headers).expect(201);
    };
    let write = |bench: &mut Bench, headers: &[(&str, &str)]| {
        let mut all = vec![("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")];
        all.extend_from_slice(headers);
        verdict(&bench.put("disks/b?comp=page", &all))
    };
    let foreign = |bench: &mut Bench| {
        lease(bench, "-1");
        write(bench, &[("x-ms-lease-id", B)])
    };
    let answers = both(|v| v.lease_mismatch_status = 409, foreign);
    assert_eq!(answers, ["412 LeaseIdMismatchWithBlobOperation", "409 LeaseIdMismatchWithBlobOperation"]);
    let lost = |bench: &mut Bench| {
        lease(bench, "15");
        bench.wait(16);
        write(bench, &[("x-ms-lease-id", A)])
    };
    let answers = both(|v| v.lost_lease_is_absent = true, lost);
    assert_eq!(answers, ["412 LeaseLost", "412 LeaseNotPresentWithBlobOperation"]);
    let many = |order| {
        let mut bench = with(|v| v.checks = order);
        lease(&mut bench, "-1");
        write(&mut bench, &[("if-match", "\"0x1\""), ("x-ms-if-sequence-number-eq", "7")])
    };
    assert_eq!(many(CheckOrder::LeaseFirst), "412 LeaseIdMissing");
    assert_eq!(many(CheckOrder::ConditionsFirst), "412 ConditionNotMet");
    assert_eq!(many(CheckOrder::SequenceFirst), "412 SequenceNumberConditionNotMet");
}

#[test]
fn hashes_are_checked_early_or_late_and_given_with_or_without_each_other() {
    let ask = |bench: &mut Bench| {
        tracked(bench);
        let wrong = crc64_header(1);
        let headers = [
            ("x-ms-page-write", "update"),
            ("x-ms-range", "bytes=0-511"),
            ("x-ms-content-crc64", wrong.as_str()),
            ("x-ms-if-sequence-number-eq", "7"),
        ];
        verdict(&bench.call("PUT", "disks/b?comp=page", &headers, vec![1; 512]))
    };
    let answers = both(|v| v.hash_first = true, ask);
    assert_eq!(answers, ["412 SequenceNumberConditionNotMet", "400 Crc64Mismatch"]);
    let md5 = |bench: &mut Bench| {
        tracked(bench);
        let md5 = "v2GerAzfP2jUluqTRBN+iw==";
        let headers = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511"), ("content-md5", md5)];
        let response = bench.call("PUT", "disks/b?comp=page", &headers, vec![0; 512]).expect(201);
        assert_eq!(response.get("content-md5"), Some(md5));
        response.get("x-ms-content-crc64").unwrap_or("none").to_owned()
    };
    assert_eq!(both(|v| v.crc_beside_md5 = false, md5), [crc64_header(crc64(&[0; 512])), "none".to_owned()]);
    let most = |bench: &mut Bench| {
        bench.create("disks/large", 8 << 20);
        let headers = [("x-ms-range", "bytes=0-4194303"), ("x-ms-range-get-content-crc64", "true")];
        verdict(&bench.get("disks/large", &headers))
    };
    assert_eq!(both(|v| v.hash_range_below_4mib = true, most), ["206", "400 InvalidHeaderValue"]);
}

#[test]
fn mistakes_have_two_names() {
    let misaligned = |bench: &mut Bench| {
        tracked(bench);
        verdict(&bench.clear("disks/b", 1, 512))
    };
    assert_eq!(both(|v| v.misaligned_is_416 = true, misaligned), ["400 InvalidHeaderValue", "416 InvalidPageRange"]);
    let length = |bench: &mut Bench| {
        tracked(bench);
        let headers = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")];
        verdict(&bench.call("PUT", "disks/b?comp=page", &headers, vec![1; 1024]))
    };
    assert_eq!(both(|v| v.length_mismatch_is_416 = true, length), ["400 InvalidHeaderValue", "416 InvalidPageRange"]);
    let overrun = |bench: &mut Bench| {
        tracked(bench);
        bench.create("disks/s", 512);
        let headers = [
            ("x-ms-page-write", "update"),
            ("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/s"),
            ("x-ms-source-range", "bytes=512-1023"),
            ("x-ms-range", "bytes=0-511"),
        ];
        verdict(&bench.put("disks/b?comp=page", &headers))
    };
    assert_eq!(both(|v| v.source_overrun_is_400 = true, overrun), ["416 InvalidRange", "400 InvalidHeaderValue"]);
    let others = |bench: &mut Bench| {
        let a = tracked(bench);
        let changed = verdict(&bench.put(&format!("disks/b?comp=metadata&snapshot={a}"), &[]));
        let sized = verdict(&bench.get("disks/b?comp=pagelist&maxresults=0", &[]));
        let header = [("x-ms-delete-snapshots", "only")];
        let gone = verdict(&bench.call("DELETE", &format!("disks/b?snapshot={a}"), &header, Vec::new()));
        [changed, sized, gone].join(", ")
    };
    let answers = both(|v| v.other_codes = true, others);
    assert_eq!(
        answers,
        [
            "400 InvalidOperation, 400 OutOfRangeQueryParameterValue, 400 InvalidQueryParameterValue",
            "400 InvalidQueryParameterValue, 400 InvalidQueryParameterValue, 400 InvalidHeaderValue"
        ]
    );
}

#[test]
fn long_clears_can_time_out() {
    let ask = |bench: &mut Bench| {
        tracked(bench);
        verdict(&bench.clear("disks/b", 0, 2048))
    };
    assert_eq!(both(|v| v.clear_max = Some(1024), ask), ["201", "500 OperationTimedOut"]);
}

#[test]
fn snapshots_of_premium_accounts_have_their_own_rules() {
    let account =
        Account { premium: true, limit_snapshots: true, refuse_snapshot_reads: true, ..Account::new(DEV_KEY) };
    for (interval, misspelt, waits, code) in
        [(600, true, 599, "409 SnaphotOperationRateExceeded"), (60, false, 59, "409 SnapshotOperationRateExceeded")]
    {
        let variants = Variants { snapshot_interval: interval, misspelt_rate_code: misspelt, ..Variants::default() };
        let accounts = [(DEV_ACCOUNT.to_owned(), account.clone())].into();
        let mut bench = Bench::open(Config { accounts, variants, ..Config::default() });
        let a = tracked(&mut bench);
        assert_eq!(verdict(&bench.get(&format!("disks/b?snapshot={a}"), &[])), "400 InvalidOperation");
        bench.wait(waits);
        assert_eq!(verdict(&bench.put("disks/b?comp=snapshot", &[])), code);
        bench.wait(2);
        bench.snapshot("disks/b");
    }
}

#[test]
fn lists_come_in_chunks_or_not() {
    let ask = |bench: &mut Bench| {
        tracked(bench);
        let response = bench.get("disks/b?comp=pagelist", &[]).expect(200);
        let sized = response.get("content-length").is_some();
        format!("{sized} {}", text(response).contains("NextMarker"))
    };
    let change = |v: &mut Variants| (v.chunked_xml, v.next_marker_empty) = (false, true);
    assert_eq!(both(change, ask), ["false false", "true true"]);
    let entries = |bench: &mut Bench| {
        bench.create("disks/a", 512);
        bench.create("disks/b", 512);
        text(bench.get("disks?restype=container&comp=list", &[]).expect(200)).matches("<Blob>").count().to_string()
    };
    assert_eq!(both(|v| v.blob_page_max = Some(1), entries), ["2", "1"]);
}

#[test]
fn strangers_are_turned_away_in_three_ways() {
    for (status, expected) in
        [(401, "401 NoAuthenticationInformation"), (404, "404 ResourceNotFound"), (409, "409 PublicAccessNotPermitted")]
    {
        let variants = Variants { anonymous_status: status, ..Variants::default() };
        let mut bench = Bench::guarded(Config { variants, ..Config::default() });
        assert_eq!(verdict(&bench.get("disks/b", &[])), expected);
    }
}

#[test]
fn a_header_beside_a_signature_is_refused_or_wins() {
    for (wins, expected) in [(false, "400 InvalidAuthenticationInfo"), (true, "404 ContainerNotFound")] {
        let variants = Variants { header_beats_signature: wins, ..Variants::default() };
        let bearer_tokens = vec!["t".to_owned()];
        let mut bench = Bench::guarded(Config { variants, bearer_tokens, ..Config::default() });
        let refused = bench.get("disks/b?sv=2021-12-02&sig=x", &[("authorization", "Bearer t")]);
        assert_eq!(verdict(&refused), expected);
    }
}

#[test]
fn a_signature_for_a_blob_opens_its_snapshots_or_does_not() {
    let sas = |resource, snapshot: &str| {
        let sas = ServiceSas {
            version: "2021-12-02",
            resource,
            container: "disks",
            blob: "b",
            snapshot,
            permissions: "r",
            expiry: "2099-01-01T00:00:00Z",
            ..ServiceSas::default()
        };
        service_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
    };
    for (opens, expected) in [(true, "404 ContainerNotFound"), (false, "403 AuthorizationResourceTypeMismatch")] {
        let variants = Variants { blob_signature_opens_snapshots: opens, ..Variants::default() };
        let mut bench = Bench::guarded(Config { variants, ..Config::default() });
        let at = "2023-11-14T22:13:20.0000000Z";
        let blob = sas("b", "");
        assert_eq!(verdict(&bench.get(&format!("disks/b?{blob}"), &[])), "404 ContainerNotFound");
        assert_eq!(verdict(&bench.get(&format!("disks/b?snapshot={at}&{blob}"), &[])), expected);
        let own = sas("bs", at);
        assert_eq!(verdict(&bench.get(&format!("disks/b?snapshot={at}&{own}"), &[])), "404 ContainerNotFound");
    }
}

#[test]
fn every_drawn_service_serves_the_same_bytes() {
    for seed in 0..60 {
        let mut bench = with(|v| *v = Variants::draw(seed));
        let a = tracked(&mut bench);
        bench.update("disks/b", 1024, 2048, 9).expect(201);
        bench.clear("disks/b", 3072, 4096).expect(201);
        let all = bench.get("disks/b", &[]).expect(200).body.into_bytes();
        let old = bench.get(&format!("disks/b?snapshot={a}"), &[]).expect(200).body.into_bytes();
        // Whatever a diff looks like: with it the old bytes become the new ones.
        let (mut patched, mut marker) = (old.to_vec(), String::new());
        loop {
            let target = format!("disks/b?comp=pagelist&prevsnapshot={a}&marker={marker}");
            let page = text(bench.get(&target, &[]).expect(200));
            for range in short(&page.replace("<NextMarker />", "")).split(", ").filter(|range| !range.is_empty()) {
                let (start, end) = range[2..].split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                match range.starts_with('C') {
                    true => patched[start..=end].fill(0),
                    false => patched[start..=end].copy_from_slice(&all[start..=end]),
                }
            }
            match between(&page, "<NextMarker>", "</NextMarker>") {
                Some(next) => next.replace('=', "%3D").clone_into(&mut marker),
                None => break,
            }
        }
        assert_eq!(patched, all, "seed {seed}");
    }
}
