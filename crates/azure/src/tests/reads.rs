//! Properties and ranged reads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pageferry_core::{Etag, PageRange, SnapshotId};
use pageferry_store::crc::crc64;
use pageferry_store::{ErrorKind, LeaseState, Source, View};

use super::mock::{Answer, Step, answer, error, reset};
use super::{URL, blob, blob_at, range};

fn bytes(range: PageRange) -> Vec<u8> {
    let (first, last) = range.inclusive_bytes();
    (first..=last).map(|at| (at % 251) as u8).collect()
}

/// The right head for an answer about `range`.
fn head(range: PageRange) -> Answer {
    let (first, last) = range.inclusive_bytes();
    let crc = STANDARD.encode(crc64(&bytes(range)).to_le_bytes());
    let partial = answer(206).header("content-range", format!("bytes {first}-{last}/1073741824"));
    partial.header("x-ms-content-crc64", crc)
}

fn good(range: PageRange) -> Answer {
    head(range).pieces(&bytes(range), 700)
}

#[tokio::test]
async fn a_read_asks_for_a_checksum_and_verifies_it() {
    let (blob, mock) = blob([good(range(8, 16)).into()]);
    let view = View::Snapshot(SnapshotId::new("2023-01-27T22:27:19.7049036Z"));
    let (data, receipt) = blob.read(&view, range(8, 16), Some(&Etag::new("0x1"))).await.unwrap();
    assert_eq!(data.bytes(), &bytes(range(8, 16)));
    assert_eq!((receipt.attempts, receipt.unknown_at), (1, None));
    let seen = mock.only();
    assert_eq!(seen.url, format!("{URL}?snapshot=2023-01-27T22%3A27%3A19.7049036Z"));
    for (name, value) in [
        ("x-ms-range", "bytes=4096-8191"),
        ("x-ms-range-get-content-crc64", "true"),
        ("if-match", "\"0x1\""),
        ("x-ms-version", "2021-12-02"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_not_copied() {
    let body = bytes::Bytes::from(bytes(range(0, 2)));
    let (blob, _) = blob([head(range(0, 2)).body(body.clone()).into()]);
    let (data, _) = blob.read(&View::Base, range(0, 2), None).await.unwrap();
    assert_eq!(data.bytes().as_ptr(), body.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_or_breaks_is_read_again_whole() {
    let wanted = range(0, 4);
    let half = &bytes(wanted)[..1000];
    let script: [Step; 6] = [
        head(wanted).pieces(half, 300).into(),
        head(wanted).pieces(half, 300).then_reset().into(),
        head(wanted).pieces(half, 300).then_nothing().into(),
        reset(),
        error(503, "ServerBusy").into(),
        good(wanted).into(),
    ];
    let (blob, _) = blob(script);
    let (data, receipt) = blob.read(&View::Base, wanted, None).await.unwrap();
    assert_eq!(data.bytes(), &bytes(wanted));
    assert_eq!((receipt.attempts, receipt.refused, receipt.unknown_at), (6, 5, None));
}

#[tokio::test(start_paused = true)]
async fn corrupt_bytes_are_read_again_and_then_refused() {
    let wanted = range(0, 2);
    let mut wrong = bytes(wanted);
    wrong[77] ^= 1;
    let corrupt = || Step::from(head(wanted).pieces(&wrong, 512));
    let (healed, _) = blob([corrupt(), corrupt(), good(wanted).into()]);
    assert_eq!(healed.read(&View::Base, wanted, None).await.unwrap().0.bytes(), &bytes(wanted));
    let (failing, mock) = blob([corrupt(), corrupt(), corrupt()]);
    assert_eq!(failing.read(&View::Base, wanted, None).await.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(mock.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_question_is_refused() {
    let wanted = range(0, 2);
    let body = bytes(wanted);
    let crc = STANDARD.encode(crc64(&body).to_le_bytes());
    let partial = |content: &str| answer(206).header("content-range", content).pieces(&body, 4096);
    for wrong in [
        partial("bytes 0-1023/4096"),
        partial("bytes 512-1535/4096").header("x-ms-content-crc64", crc.clone()),
        partial("bytes 0-10230/99999").header("x-ms-content-crc64", crc.clone()),
        answer(206).header("x-ms-content-crc64", crc.clone()).pieces(&body, 4096),
        answer(200).header("content-range", "bytes 0-1023/4096").header("x-ms-content-crc64", crc).pieces(&body, 4096),
    ] {
        let (blob, mock) = blob([wrong.clone().into()]);
        let failed = blob.read(&View::Base, wanted, None).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Integrity, "{wrong:?}: {failed}");
        mock.only();
    }
    let too_long = || Step::from(head(wanted).pieces(&[&body[..], &[0]].concat(), 600));
    let (blob, _) = blob([too_long(), too_long(), too_long()]);
    assert_eq!(blob.read(&View::Base, wanted, None).await.unwrap_err().kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn a_service_that_refuses_long_checksums_is_asked_for_halves() {
    let whole = range(0, 8192);
    let (first, second) = (range(0, 4096), range(4096, 8192));
    let script: [Step; 5] = [
        error(400, "InvalidHeaderValue").into(),
        good(first).into(),
        good(second).into(),
        good(first).into(),
        good(second).into(),
    ];
    let (blob, mock) = blob(script);
    for attempts in [2, 2] {
        let (data, receipt) = blob.read(&View::Base, whole, None).await.unwrap();
        assert!(data.bytes() == &bytes(whole) && data.crc() == crc64(&bytes(whole)));
        assert_eq!(receipt.attempts, attempts);
    }
    let ranges: Vec<_> = mock.seen().iter().map(|seen| seen.header("x-ms-range").to_owned()).collect();
    assert_eq!(ranges[1..3], ["bytes=0-2097151", "bytes=2097152-4194303"]);
}

#[tokio::test]
async fn failures_of_reads_are_told_apart() {
    let snapshot = View::Snapshot(SnapshotId::new("t"));
    for (status, code, kind) in [
        (400, "InvalidOperation", ErrorKind::ReadRefused),
        (403, "AuthenticationFailed", ErrorKind::Denied),
        (404, "BlobNotFound", ErrorKind::NotFound),
        (412, "ConditionNotMet", ErrorKind::Changed),
        (416, "InvalidRange", ErrorKind::Invalid),
        (409, "SystemInUse", ErrorKind::Invalid),
    ] {
        let (blob, mock) = blob([error(status, code).into()]);
        let failed = blob.read(&snapshot, range(0, 1), None).await.unwrap_err();
        assert_eq!(failed.kind(), kind, "{failed}");
        mock.only();
    }
}

#[tokio::test]
async fn an_error_whose_body_breaks_off_keeps_its_status() {
    let (blob, _) = blob([error(404, "BlobNotFound").then_reset().into()]);
    assert_eq!(blob.read(&View::Base, range(0, 1), None).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn properties_are_taken_from_headers() {
    let full = answer(200)
        .header("content-length", "1073741824")
        .header("etag", "\"0x8D1\"")
        .header("x-ms-blob-type", "PageBlob")
        .header("x-ms-blob-sequence-number", "12")
        .header("x-ms-lease-state", "expired")
        .header("x-ms-creation-time", "Fri, 27 Jan 2023 22:27:19 GMT")
        .header("x-ms-copy-status", "pending")
        .header("x-ms-meta-pageferryrun", "r1");
    let (base, mock) = blob([full.into()]);
    let properties = base.properties(&View::Base).await.unwrap();
    assert_eq!(properties.size.bytes(), 1 << 30);
    assert_eq!((properties.etag.as_str(), properties.sequence), ("0x8D1", 12));
    assert_eq!((properties.lease, properties.copy_pending), (LeaseState::Expired, true));
    assert_eq!(properties.created, "Fri, 27 Jan 2023 22:27:19 GMT");
    assert_eq!(properties.metadata["pageferryrun"], "r1");
    let seen = mock.only();
    assert_eq!((seen.method.as_str(), seen.url.as_str()), ("HEAD", URL));

    let little = answer(200).header("content-length", "512").header("etag", "\"1\"");
    let (snapshot, mock) = blob([little.into()]);
    let properties = snapshot.properties(&View::Snapshot(SnapshotId::new("a:b"))).await.unwrap();
    assert_eq!((properties.lease, properties.sequence), (LeaseState::Available, 0));
    assert_eq!(mock.only().query(), "snapshot=a%3Ab");

    let (missing, _) = blob([answer(404).header("x-ms-error-code", "ContainerNotFound").into()]);
    let failed = missing.properties(&View::Base).await.unwrap_err();
    assert_eq!((failed.kind(), failed.code()), (ErrorKind::NotFound, "ContainerNotFound"));

    let block = answer(200).header("content-length", "5").header("etag", "\"1\"").header("x-ms-blob-type", "BlockBlob");
    let (block, _) = blob([block.into()]);
    let failed = block.properties(&View::Base).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Invalid);
    assert!(failed.to_string().contains("it is a BlockBlob"), "{failed}");
}

#[tokio::test]
async fn an_address_with_a_snapshot_means_it_where_the_base_would_be_meant() {
    let url = "https://md-x.blob.storage.azure.net/abcdefghijkl/abcd?snapshot=2026-05-16T20%3A11%3A11.0777366Z\
        &sv=2018-11-09&sr=bs&sig=CANARY%2b";
    let (blob, mock) = blob_at(url, [good(range(0, 1)).into()]);
    blob.read(&View::Base, range(0, 1), Some(&Etag::new("1"))).await.unwrap();
    let seen = mock.only();
    assert_eq!(seen.query(), "snapshot=2026-05-16T20%3A11%3A11.0777366Z&sv=2018-11-09&sr=bs&sig=CANARY%2b");
    assert_eq!(seen.header("if-match"), "", "managed disks refuse conditions");
}
