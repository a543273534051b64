//! What changed between two snapshots: the recorded golden case, refusals, paging, resizes and every variant.

mod common;

use common::{Bench, Expect as _, between, short, text, verdict};
use pageferry_emulator::{Config, Variants};

fn with(change: impl FnOnce(&mut Variants)) -> Bench {
    let mut config = Config::default();
    change(&mut config.variants);
    Bench::open(config)
}

#[test]
fn the_golden_case() {
    let mut bench = Bench::new();
    bench.create("disks/b", 2048);
    let a = bench.snapshot("disks/b");
    bench.update("disks/b", 0, 1536, 1).expect(201);
    let b = bench.snapshot("disks/b");
    bench.clear("disks/b", 512, 1024).expect(201);

    assert_eq!(bench.list("disks/b?comp=pagelist"), "P 0-511, P 1024-1535");
    let from_a = format!("disks/b?comp=pagelist&prevsnapshot={a}");
    assert_eq!(bench.list(&from_a), "P 0-511, C 512-1023, P 1024-1535");
    assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={b}")), "C 512-1023");
    let a_to_b = format!("disks/b?comp=pagelist&snapshot={b}&prevsnapshot={a}");
    assert_eq!(bench.list(&a_to_b), "P 0-1535");
    assert_eq!(bench.list(&format!("disks/b?comp=pagelist&snapshot={a}&prevsnapshot={a}")), "");
    let backwards = bench.get(&format!("disks/b?comp=pagelist&snapshot={a}&prevsnapshot={b}"), &[]);
    assert_eq!(verdict(&backwards), "400 PreviousSnapshotCannotBeNewer");

    bench.create("disks/b", 2048);
    assert_eq!(verdict(&bench.get(&from_a, &[])), "409 BlobOverwritten");
    assert_eq!(bench.list(&a_to_b), "P 0-1535");
}

#[test]
fn diffs_are_refused_with_the_right_code() {
    let mut bench = Bench::new();
    bench.create("disks/b", 2048);
    let a = bench.snapshot("disks/b");
    bench.create("disks/other", 2048);
    let of = |bench: &mut Bench, query: &str| verdict(&bench.get(&format!("disks/b?comp=pagelist&{query}"), &[]));
    let absent = "2020-01-01T00:00:00.0000000Z";
    assert_eq!(of(&mut bench, &format!("prevsnapshot={absent}")), "409 PreviousSnapshotNotFound");
    assert_eq!(of(&mut bench, &format!("snapshot={absent}&prevsnapshot={a}")), "404 BlobNotFound");
    assert_eq!(of(&mut bench, "prevsnapshot=http://127.0.0.1/x"), "400 InvalidQueryParameterValue");
    assert_eq!(of(&mut bench, &format!("prevsnapshot={}", &a[..26])), "400 InvalidQueryParameterValue");
    let old = bench.get(&format!("disks/b?comp=pagelist&prevsnapshot={a}"), &[("x-ms-version", "2014-02-14")]);
    assert_eq!(verdict(&old), "400 UnsupportedQueryParameter");
    let foreign = bench.get(&format!("disks/other?comp=pagelist&prevsnapshot={a}"), &[]);
    assert_eq!(verdict(&foreign), "409 PreviousSnapshotNotFound");
    bench.put("disks/b", &[("x-ms-copy-source", "http://127.0.0.1/devstoreaccount1/disks/other")]).expect(202);
    assert_eq!(of(&mut bench, &format!("prevsnapshot={a}")), "409 BlobOverwritten");
    bench.call("DELETE", &format!("disks/b?snapshot={a}"), &[], Vec::new()).expect(202);
    assert_eq!(of(&mut bench, &format!("prevsnapshot={a}")), "409 PreviousSnapshotNotFound");
}

#[test]
fn a_previous_snapshot_can_be_named_by_url() {
    let mut bench = Bench::new();
    bench.create("disks/b", 2048);
    let a = bench.snapshot("disks/b");
    bench.update("disks/b", 512, 1024, 1).expect(201);
    let url = format!("http://127.0.0.1:1/devstoreaccount1/disks/b?snapshot={a}");
    let listed = bench.get("disks/b?comp=pagelist", &[("x-ms-previous-snapshot-url", &url)]).expect(200);
    assert_eq!(short(&text(listed)), "P 512-1023");
}

#[test]
fn only_prev_must_exist_and_promotion_starts_anew() {
    let mut bench = Bench::new();
    bench.create("disks/b", 2048);
    let a = bench.snapshot("disks/b");
    bench.update("disks/b", 0, 512, 1).expect(201);
    let b = bench.snapshot("disks/b");
    bench.update("disks/b", 512, 1024, 1).expect(201);
    bench.call("DELETE", &format!("disks/b?snapshot={b}"), &[], Vec::new()).expect(202);
    assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={a}")), "P 0-1023");
    let source = format!("http://127.0.0.1/devstoreaccount1/disks/b?snapshot={a}");
    bench.put("disks/b", &[("x-ms-copy-source", &source)]).expect(202);
    let after = bench.get(&format!("disks/b?comp=pagelist&prevsnapshot={a}"), &[]);
    assert_eq!(verdict(&after), "409 BlobOverwritten");
    assert_eq!(bench.list("disks/b?comp=pagelist"), "");
    // The promoted base can be tracked again from its own first snapshot on.
    let c = bench.snapshot("disks/b");
    bench.update("disks/b", 1024, 1536, 1).expect(201);
    assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={c}")), "P 1024-1535");
}

#[test]
fn pages_of_a_list_join_up() {
    let mut bench = Bench::new();
    bench.create("disks/b", 64 * 512);
    bench.update("disks/b", 0, 64 * 512, 1).expect(201);
    let a = bench.snapshot("disks/b");
    for page in 0..32 {
        let (start, end) = (page * 1024, page * 1024 + 512);
        if page % 3 == 0 { bench.clear("disks/b", start, end) } else { bench.update("disks/b", start, end, 2) }
            .expect(201);
    }
    let whole = bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={a}"));
    assert_eq!(whole.split(", ").count(), 32);
    for size in [1, 2, 5, 31, 32, 33] {
        let (mut parts, mut marker) = (Vec::new(), String::new());
        loop {
            let target = format!("disks/b?comp=pagelist&prevsnapshot={a}&maxresults={size}&marker={marker}");
            let page = text(bench.get(&target, &[]).expect(200));
            parts.push(short(&page));
            assert!(parts.last().unwrap().split(", ").count() <= size);
            match between(&page, "<NextMarker>", "</NextMarker>") {
                Some(next) => next.replace('=', "%3D").clone_into(&mut marker),
                None => break,
            }
        }
        assert_eq!(parts.join(", "), whole, "pages of {size}");
    }
    let target = format!("disks/b?comp=pagelist&prevsnapshot={a}&maxresults=0");
    assert_eq!(verdict(&bench.get(&target, &[])), "400 OutOfRangeQueryParameterValue");
    let target = "disks/b?comp=pagelist&maxresults=2&marker=nonsense";
    assert_eq!(verdict(&bench.get(target, &[])), "400 InvalidQueryParameterValue");
    // Before 2020-10-02 there are no pages, and what asks for them is ignored.
    let old = bench.get("disks/b?comp=pagelist&maxresults=1", &[("x-ms-version", "2020-08-04")]).expect(200);
    assert!(!text(old).contains("NextMarker"));
}

#[test]
fn ranges_are_clipped_and_checked() {
    let mut bench = Bench::new();
    bench.create("disks/b", 8192);
    bench.update("disks/b", 0, 8192, 1).expect(201);
    let list = |bench: &mut Bench, range: &str| bench.get("disks/b?comp=pagelist", &[("x-ms-range", range)]);
    assert_eq!(short(&text(list(&mut bench, "bytes=512-1535"))), "P 512-1535");
    assert_eq!(short(&text(list(&mut bench, "bytes=7680-99999999"))), "P 7680-8191");
    assert_eq!(verdict(&list(&mut bench, "bytes=8192-9000")), "416 InvalidRange");
}

#[test]
fn a_shrink_that_grew_back_is_a_clear() {
    for (reported, expected) in [(true, "C 1024-2047"), (false, "")] {
        let mut bench = with(|v| v.shrink_reported = reported);
        bench.create("disks/b", 2048);
        bench.update("disks/b", 0, 2048, 1).expect(201);
        let a = bench.snapshot("disks/b");
        for size in ["1024", "4096"] {
            bench.put("disks/b?comp=properties", &[("x-ms-blob-content-length", size)]).expect(200);
        }
        assert_eq!(bench.list("disks/b?comp=pagelist"), "P 0-1023");
        assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={a}")), expected);
        assert_eq!(bench.list(&format!("disks/b?comp=pagelist&snapshot={a}")), "P 0-2047");
    }
}

#[test]
fn clears_of_empty_pages_can_be_left_out() {
    for (reported, first, second) in [(true, "C 0-2047", "C 0-1023"), (false, "", "C 0-511")] {
        let mut bench = with(|v| v.clear_of_empty_reported = reported);
        bench.create("disks/b", 2048);
        let a = bench.snapshot("disks/b");
        bench.clear("disks/b", 0, 2048).expect(201);
        assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={a}")), first);
        let b = bench.snapshot("disks/b");
        bench.update("disks/b", 0, 512, 1).expect(201);
        bench.clear("disks/b", 0, 1024).expect(201);
        assert_eq!(bench.list(&format!("disks/b?comp=pagelist&prevsnapshot={b}")), second, "{reported}");
    }
}

#[test]
fn the_lie_of_other_emulators_and_small_pages_can_be_had() {
    let mut bench = with(|v| {
        v.ignore_prevsnapshot = true;
        v.list_page_max = Some(1);
        v.next_marker_empty = true;
    });
    bench.create("disks/b", 2048);
    let a = bench.snapshot("disks/b");
    bench.update("disks/b", 0, 512, 1).expect(201);
    bench.update("disks/b", 1024, 1536, 1).expect(201);
    let absent = "2020-01-01T00:00:00.0000000Z";
    for prev in [a.as_str(), absent] {
        let page = text(bench.get(&format!("disks/b?comp=pagelist&prevsnapshot={prev}"), &[]).expect(200));
        assert_eq!(short(&page), "P 0-511");
        let marker = between(&page, "<NextMarker>", "</NextMarker>").unwrap();
        let rest = text(bench.get(&format!("disks/b?comp=pagelist&marker={marker}"), &[]).expect(200));
        assert!(rest.contains("<NextMarker />"), "{rest}");
    }
}
