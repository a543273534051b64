//! Page lists, differences and the list of snapshots.

use pageferry_core::{Change, Etag, Pages, SnapshotId};
use pageferry_store::{Ask, ErrorKind, Source, View};

use super::mock::{Answer, Step, answer, error, reset};
use super::{URL, blob, blob_at, range};
use crate::Address;

const BLOB_LENGTH: &str = "x-ms-blob-content-length";

fn ask() -> Ask {
    let (view, since) = (View::Snapshot(SnapshotId::new("2023:2")), Some(SnapshotId::new("2023:1")));
    Ask { view, since, window: range(0, 16), marker: None, if_match: None }
}

fn page_list(inner: &str) -> Answer {
    let body = format!("\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList>{inner}</PageList>");
    answer(200).header(BLOB_LENGTH, "8192").pieces(body.as_bytes(), 7)
}

fn page(element: &str, first: u64, last: u64) -> String {
    format!("<{element}><Start>{first}</Start><End>{last}</End></{element}>")
}

#[tokio::test]
async fn a_difference_keeps_the_order_of_the_document_over_several_pages() {
    let first = [page("PageRange", 0, 511), page("ClearRange", 512, 1023), page("PageRange", 1024, 1535)].concat();
    let second = page("ClearRange", 1536, 2047);
    let marker = "2!16!MDAwMDA0ITEwMjQh";
    let script: [Step; 2] = [
        page_list(&format!("{first}<NextMarker>{marker}</NextMarker>")).into(),
        page_list(&format!("{second}<NextMarker />")).into(),
    ];
    let (blob, mock) = blob(script);
    let answered = blob.list(&ask()).await.unwrap();
    assert_eq!(answered.changes, [Change::write(range(0, 1)), Change::clear(range(1, 2)), Change::write(range(2, 3))]);
    assert_eq!((answered.next.as_deref(), answered.size), (Some(marker), Pages::new(16)));
    let answered = blob.list(&Ask { marker: answered.next, ..ask() }).await.unwrap();
    assert_eq!((answered.changes, answered.next), (vec![Change::clear(range(3, 4))], None));
    let seen = mock.seen();
    let query = "comp=pagelist&snapshot=2023%3A2&prevsnapshot=2023%3A1";
    assert_eq!(seen[0].url, format!("{URL}?{query}&maxresults=10000"));
    assert_eq!(seen[1].url, format!("{URL}?{query}&marker=2%2116%21MDAwMDA0ITEwMjQh&maxresults=10000"));
    assert_eq!(seen[0].header("x-ms-range"), "bytes=0-8191");
    assert_eq!((seen[0].method.as_str(), seen[0].header("x-ms-version")), ("GET", "2021-12-02"));
}

#[tokio::test]
async fn rule_39_a_difference_is_asked_for_with_a_version_that_has_it() {
    let (blob, mock) = blob([page_list("").into()]);
    blob.list(&ask()).await.unwrap();
    let seen = mock.only();
    assert!(seen.query().contains("prevsnapshot="), "{}", seen.query());
    assert!(seen.header("x-ms-version") >= "2015-07-08", "{}", seen.header("x-ms-version"));
}

#[tokio::test]
async fn a_plain_list_of_the_base_may_be_bound_to_its_tag() {
    let plain = Ask { view: View::Base, since: None, if_match: Some(Etag::new("0x1")), ..ask() };
    let (current, mock) = blob([page_list("").into()]);
    assert!(current.list(&plain).await.unwrap().changes.is_empty());
    let seen = mock.only();
    assert_eq!((seen.query(), seen.header("if-match")), ("comp=pagelist&maxresults=10000", "\"0x1\""));
    let (changed, _) = blob([error(412, "ConditionNotMet").into()]);
    assert_eq!(changed.list(&plain).await.unwrap_err().kind(), ErrorKind::Changed);
    let (confused, _) = blob([page_list(&page("ClearRange", 0, 511)).into()]);
    assert_eq!(confused.list(&plain).await.unwrap_err().kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn changes_are_clipped_to_the_window_and_to_the_blob() {
    let all = [page("PageRange", 0, 4095), page("ClearRange", 6144, 16383), page("PageRange", 20480, 20991)].concat();
    let (blob, _) = blob([page_list(&all).into()]);
    let answered = blob.list(&Ask { window: range(4, 99), ..ask() }).await.unwrap();
    assert_eq!(answered.changes, [Change::write(range(4, 8)), Change::clear(range(12, 16))]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_ends_early_is_asked_for_again_and_never_short() {
    let body = format!("<PageList>{}</PageList>", page("PageRange", 0, 511));
    let whole = || answer(200).header(BLOB_LENGTH, "8192");
    for cut in 0..body.len() {
        let script: [Step; 3] = [
            whole().pieces(&body.as_bytes()[..cut], 16).into(),
            whole().pieces(&body.as_bytes()[..cut], 16).then_reset().into(),
            whole().pieces(body.as_bytes(), 16).into(),
        ];
        let (blob, mock) = blob(script);
        assert_eq!(blob.list(&ask()).await.unwrap().changes, [Change::write(range(0, 1))], "cut at {cut}");
        mock.seen();
    }
    let (never, _) = blob((0..8).map(|_| Step::from(whole().body(&b"<PageList>"[..]))));
    let failed = never.list(&ask()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.failure().attempts), (ErrorKind::Transient, 8), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn running_out_of_time_twice_asks_for_a_smaller_window() {
    for slow in [
        [Step::from(error(500, "OperationTimedOut")), error(503, "ServerBusy").into()],
        [Step::Silence, page_list("").then_nothing().into()],
    ] {
        let (blob, mock) = blob(slow);
        assert_eq!(blob.list(&ask()).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(mock.seen().len(), 2);
    }
    let (recovered, _) = blob([error(503, "ServerBusy").into(), reset(), page_list("").into()]);
    recovered.list(&ask()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lists_that_make_no_sense_are_refused() {
    for inner in [page("PageRange", 0, 100), page("PageRange", 1, 511), page("PageRange", 1024, 511)] {
        let (blob, mock) = blob([page_list(&inner).into()]);
        assert_eq!(blob.list(&ask()).await.unwrap_err().kind(), ErrorKind::Integrity, "{inner}");
        mock.only();
    }
    let unsized_list = answer(200).body(&b"<PageList/>"[..]);
    let (blob_, _) = blob([unsized_list.into()]);
    assert_eq!(blob_.list(&ask()).await.unwrap_err().kind(), ErrorKind::Integrity);
    let (circle, _) = blob([page_list("<NextMarker>m</NextMarker>").into()]);
    let again = Ask { marker: Some("m".to_owned()), ..ask() };
    assert_eq!(circle.list(&again).await.unwrap_err().kind(), ErrorKind::Integrity);
    let (html, _) = blob((0..3).map(|_| Step::from(answer(200).header(BLOB_LENGTH, "8192").body(&b"<html>"[..]))));
    assert_eq!(html.list(&ask()).await.unwrap_err().kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn a_broken_chain_is_told_with_its_code() {
    for (status, code) in [
        (409, "PreviousSnapshotNotFound"),
        (409, "BlobOverwritten"),
        (409, "BlobGenerationMismatch"),
        (409, "PreviousSnapshotOperationNotSupported"),
        (400, "PreviousSnapshotCannotBeNewer"),
    ] {
        let (blob, _) = blob([error(status, code).into()]);
        let failed = blob.list(&ask()).await.unwrap_err();
        assert_eq!((failed.kind(), failed.code()), (ErrorKind::ChainBroken, code));
    }
}

#[tokio::test]
async fn a_managed_disk_is_differenced_by_the_url_of_its_earlier_snapshot() {
    let url = |n: u32| {
        format!(
            "https://md-x.z2.blob.storage.azure.net/abcdefghijkl/abcd?snapshot=2026-05-16T20%3A11%3A1{n}.0777366Z\
             &sv=2018-11-09&sr=bs&si=ab{n}&sig=CANARY{n}%2b"
        )
    };
    let (blob, mock) = blob_at(&url(2), [page_list(&page("PageRange", 0, 511)).into()]);
    let since = Address::parse(&url(1)).unwrap();
    let ask = Ask { view: View::Base, since: None, if_match: Some(Etag::new("1")), ..ask() };
    assert_eq!(blob.list_since_url(&ask, &since).await.unwrap().changes, [Change::write(range(0, 1))]);
    let seen = mock.only();
    assert_eq!(seen.header("x-ms-previous-snapshot-url"), url(1));
    assert_eq!(
        seen.query(),
        "comp=pagelist&snapshot=2026-05-16T20%3A11%3A12.0777366Z&maxresults=10000\
         &sv=2018-11-09&sr=bs&si=ab2&sig=CANARY2%2b"
    );
    assert_eq!(seen.header("if-match"), "");
    let both = Ask { since: Some(SnapshotId::new("1")), ..ask };
    assert_eq!(blob.list_since_url(&both, &since).await.unwrap_err().kind(), ErrorKind::Invalid);
}

fn blobs(inner: &str, marker: &str) -> Step {
    let body = format!(
        "\u{FEFF}<EnumerationResults><Blobs>{inner}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    );
    answer(200).pieces(body.as_bytes(), 50).into()
}

fn entry(name: &str, snapshot: &str) -> String {
    let snapshot = if snapshot.is_empty() { String::new() } else { format!("<Snapshot>{snapshot}</Snapshot>") };
    format!(
        "<Blob><Name>{name}</Name>{snapshot}<Properties><Etag>0x{name}</Etag><Content-Length>1024</Content-Length>\
         </Properties><Metadata><pageferryrun>r</pageferryrun></Metadata></Blob>"
    )
}

#[tokio::test]
async fn snapshots_are_those_of_this_blob_alone_oldest_first() {
    let first = [entry("base.vhd", "2023-3"), entry("base.vhd", "2023-1"), entry("base.vhd.old", "2023-0")].concat();
    let second = [entry("base.vhd", "2023-2"), entry("base.vhd", "")].concat();
    let (blob, mock) = blob([blobs(&first, "m 1"), blobs("", "m2"), blobs(&second, "")]);
    let snapshots = blob.snapshots().await.unwrap();
    let ids: Vec<_> = snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    assert_eq!(ids, ["2023-1", "2023-2", "2023-3"]);
    assert_eq!((snapshots[0].etag.as_str(), snapshots[0].size), ("0xbase.vhd", Pages::new(2)));
    assert_eq!(snapshots[0].metadata["pageferryrun"], "r");
    let seen = mock.seen();
    let query = "restype=container&comp=list&prefix=base.vhd&include=snapshots%2Cmetadata%2Ccopy";
    assert_eq!(seen[0].url, format!("https://acct.blob.core.windows.net/disks?{query}"));
    assert_eq!(seen[1].query(), format!("{query}&marker=m+1"));
}

#[tokio::test]
async fn who_may_not_list_is_told_what_is_needed() {
    let (blob, _) = blob([error(403, "AuthorizationPermissionMismatch").into()]);
    let failed = blob.snapshots().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Denied);
    assert!(failed.to_string().contains("SAS of the container with permission to list (`l`)"), "{failed}");
}
