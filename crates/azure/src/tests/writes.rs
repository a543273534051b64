//! The requests that change a blob.

use std::time::Duration;

use bytes::Bytes;
use pageferry_core::{Etag, Metadata, Pages, SnapshotId};
use pageferry_store::{ErrorKind, LeaseId, PageData, Pass, Source, Target};
use tokio::time::Instant;

use super::mock::{Step, answer, done, error, refused, reset};
use super::{LEASE, URL, blob, blob_at, fence, lease, range};

/// Method, query and some headers.
type Expected = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

fn data() -> PageData {
    PageData::new(Bytes::from(vec![b'a'; 512]))
}

#[tokio::test]
async fn a_page_write_carries_everything_that_fences_it() {
    let (blob, mock) = blob([done(201).header("x-ms-content-crc64", "u661BimQ84c=").into()]);
    let data = data();
    let receipt = blob.write(range(8, 9), &data, &fence()).await.unwrap();
    let seen = mock.only();
    assert_eq!((seen.method.as_str(), seen.url.as_str()), ("PUT", format!("{URL}?comp=page&timeout=30").as_str()));
    for (name, value) in [
        ("x-ms-page-write", "update"),
        ("range", "bytes=4096-4607"),
        ("content-length", "512"),
        ("x-ms-content-crc64", "u661BimQ84c="),
        ("x-ms-if-sequence-number-eq", "7"),
        ("x-ms-lease-id", LEASE),
        ("x-ms-version", "2021-12-02"),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(!seen.header("x-ms-client-request-id").is_empty());
    assert_eq!(seen.body.as_ptr(), data.bytes().as_ptr(), "the body is not copied");
    assert_eq!((receipt.attempts, receipt.refused, receipt.unknown_at), (1, 0, None));
}

#[tokio::test]
async fn a_clear_carries_the_same_fence_and_no_body() {
    let (blob, mock) = blob([done(201).into()]);
    blob.clear(range(0, 1 << 21), &fence()).await.unwrap();
    let seen = mock.only();
    assert_eq!(seen.query(), "comp=page&timeout=30");
    for (name, value) in [
        ("x-ms-page-write", "clear"),
        ("range", "bytes=0-1073741823"),
        ("content-length", "0"),
        ("x-ms-if-sequence-number-eq", "7"),
        ("x-ms-lease-id", LEASE),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(seen.body.is_empty());
}

#[tokio::test]
async fn the_upload_of_a_managed_disk_is_written_without_what_it_does_not_know() {
    let url = "https://md-impexp-x1.z21.blob.storage.azure.net/abcdefghijkl/abcd?sr=b&sig=s";
    let (blob, mock) = blob_at(url, [done(201).into(), done(201).into()]);
    blob.write_unfenced(range(8, 9), &data()).await.unwrap();
    blob.clear_unfenced(range(9, 10)).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen[0].header("x-ms-content-crc64"), "u661BimQ84c=");
    for (request, action) in seen.iter().zip(["update", "clear"]) {
        assert_eq!(request.header("x-ms-page-write"), action);
        for name in ["x-ms-if-sequence-number-eq", "x-ms-lease-id", "if-match", "if-none-match"] {
            assert_eq!(request.header(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn nothing_else_is_written_without_a_fence() {
    let (blob, mock) = blob([]);
    let refusals =
        [blob.write_unfenced(range(8, 9), &data()).await.err(), blob.clear_unfenced(range(8, 9)).await.err()];
    for refusal in refusals {
        assert_eq!(refusal.unwrap().kind(), ErrorKind::Invalid);
    }
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn every_other_change_says_what_it_must() {
    let etag = Etag::new("0x8D1");
    let metadata = Metadata::from([("pageferrystate".to_owned(), "sealed".to_owned())]);
    let (blob, mock) = blob([
        done(201).into(),
        answer(201).header("x-ms-lease-id", LEASE).into(),
        answer(200).header("x-ms-lease-id", LEASE).into(),
        answer(200).header("x-ms-lease-id", "b").into(),
        answer(200).into(),
        answer(202).header("x-ms-lease-time", "0").into(),
        done(200).into(),
        done(200).into(),
        done(200).into(),
        done(200).into(),
        done(201).header("x-ms-snapshot", "2023-01-27T22:27:19.7049036Z").into(),
        done(201).header("x-ms-snapshot", "2023-01-27T22:27:20.7049036Z").into(),
        answer(202).into(),
    ]);
    assert_eq!(blob.create(Pages::new(2), &metadata).await.unwrap(), Etag::new("0x8D2"));
    blob.acquire(&lease(), Duration::from_secs(60), None).await.unwrap();
    blob.renew(&lease()).await.unwrap();
    blob.change(&lease(), &LeaseId("b".to_owned())).await.unwrap();
    blob.release(&lease()).await.unwrap();
    blob.break_now().await.unwrap();
    blob.raise_sequence(9, &lease(), &etag).await.unwrap();
    blob.set_metadata(&metadata, &lease(), Some(&etag)).await.unwrap();
    blob.set_metadata(&metadata, &lease(), None).await.unwrap();
    blob.resize(Pages::new(4), &lease()).await.unwrap();
    let (id, tag) = blob.snapshot(Some(&lease()), Some(&etag)).await.unwrap();
    assert_eq!((id.as_str(), tag.as_str()), ("2023-01-27T22:27:19.7049036Z", "0x8D2"));
    blob.snapshot(None, None).await.unwrap();
    blob.delete_snapshot(&id).await.unwrap();

    let expected: &[Expected] = &[
        (
            "PUT",
            "timeout=30",
            &[
                ("x-ms-blob-type", "PageBlob"),
                ("x-ms-blob-content-length", "1024"),
                ("if-none-match", "*"),
                ("x-ms-meta-pageferrystate", "sealed"),
            ],
        ),
        (
            "PUT",
            "comp=lease&timeout=30",
            &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60"), ("x-ms-proposed-lease-id", LEASE)],
        ),
        ("PUT", "comp=lease&timeout=30", &[("x-ms-lease-action", "renew"), ("x-ms-lease-id", LEASE)]),
        (
            "PUT",
            "comp=lease&timeout=30",
            &[("x-ms-lease-action", "change"), ("x-ms-lease-id", LEASE), ("x-ms-proposed-lease-id", "b")],
        ),
        ("PUT", "comp=lease&timeout=30", &[("x-ms-lease-action", "release"), ("x-ms-lease-id", LEASE)]),
        ("PUT", "comp=lease&timeout=30", &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")]),
        (
            "PUT",
            "comp=properties&timeout=30",
            &[
                ("x-ms-sequence-number-action", "max"),
                ("x-ms-blob-sequence-number", "9"),
                ("if-match", "\"0x8D1\""),
                ("x-ms-lease-id", LEASE),
            ],
        ),
        (
            "PUT",
            "comp=metadata&timeout=30",
            &[("x-ms-meta-pageferrystate", "sealed"), ("if-match", "\"0x8D1\""), ("x-ms-lease-id", LEASE)],
        ),
        ("PUT", "comp=metadata&timeout=30", &[("if-match", ""), ("x-ms-lease-id", LEASE)]),
        ("PUT", "comp=properties&timeout=30", &[("x-ms-blob-content-length", "2048"), ("x-ms-lease-id", LEASE)]),
        ("PUT", "comp=snapshot&timeout=30", &[("if-match", "\"0x8D1\""), ("x-ms-lease-id", LEASE)]),
        ("PUT", "comp=snapshot&timeout=30", &[("if-match", ""), ("x-ms-lease-id", "")]),
        ("DELETE", "snapshot=2023-01-27T22%3A27%3A19.7049036Z&timeout=30", &[("x-ms-delete-snapshots", "")]),
    ];
    let seen = mock.seen();
    assert_eq!(seen.len(), expected.len());
    for (seen, (method, query, headers)) in seen.iter().zip(expected) {
        assert_eq!((seen.method.as_str(), seen.query()), (*method, *query));
        for (name, value) in *headers {
            assert_eq!(seen.header(name), *value, "{name} of {query}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_write_is_repeated_until_its_outcome_is_certain() {
    let script = [
        error(503, "ServerBusy").header("retry-after", "20").into(),
        reset(),
        Step::Silence,
        error(500, "InternalError").into(),
        refused(),
        done(201).into(),
    ];
    let (blob, mock) = blob(script);
    let started = Instant::now();
    let receipt = blob.write(range(0, 1), &data(), &fence()).await.unwrap();
    assert_eq!((receipt.attempts, receipt.refused), (6, 4));
    assert!(receipt.unknown_at.is_some_and(|at| at >= started + Duration::from_secs(80) && at < Instant::now()));
    assert!(receipt.elapsed >= Duration::from_secs(80), "Retry-After and one time-out are part of it");
    let mut ids: Vec<_> = mock.seen().iter().map(|seen| seen.header("x-ms-client-request-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each attempt has an id of its own");
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_attempts_or_with_the_budget() {
    let (spent, _) = blob((0..8).map(|_| Step::from(error(503, "ServerBusy"))));
    let failed = spent.write(range(0, 1), &data(), &fence()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.failure().attempts, failed.code()), (ErrorKind::Transient, 8, "ServerBusy"));

    let (late, _) = blob([error(503, "ServerBusy").header("retry-after", "3600").into()]);
    let started = Instant::now();
    let failed = late.write(range(0, 1), &data(), &fence()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.failure().attempts), (ErrorKind::Transient, 1));
    assert_eq!(started.elapsed(), Duration::ZERO, "no sleep beyond the budget");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_repeated_is_unknown_at_once() {
    for lost in [reset(), Step::Silence, error(500, "InternalError").into(), error(502, "BadGateway").into()] {
        let (blob, mock) = blob([lost]);
        let failed = blob.snapshot(Some(&lease()), None).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unknown, "{failed}");
        mock.only();
    }
    let etag = Etag::new("0x1");
    let (certain, mock) = blob([error(503, "ServerBusy").into(), refused(), done(200).into()]);
    certain.set_metadata(&Metadata::new(), &lease(), Some(&etag)).await.unwrap();
    assert_eq!(mock.seen().len(), 3);
    for unrepeatable in 0..4 {
        let (blob, mock) = blob([reset()]);
        let failed = match unrepeatable {
            0 => blob.create(Pages::new(1), &Metadata::new()).await.unwrap_err(),
            1 => blob.raise_sequence(1, &lease(), &etag).await.unwrap_err(),
            2 => blob.set_metadata(&Metadata::new(), &lease(), None).await.unwrap_err(),
            _ => blob.break_now().await.unwrap_err(),
        };
        assert_eq!((failed.kind(), failed.failure().attempts), (ErrorKind::Unknown, 1), "{failed}");
        mock.only();
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_leaves_out_what_was_asked_for_is_unknown_too() {
    let (blob, _) = blob([done(201).into()]);
    assert_eq!(blob.snapshot(None, None).await.unwrap_err().kind(), ErrorKind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_lost_release_or_delete_that_was_applied_is_a_success() {
    let (released, _) = blob([reset(), error(409, "LeaseIdMismatchWithLeaseOperation").into()]);
    released.release(&lease()).await.unwrap();
    let (deleted, _) = blob([reset(), error(404, "BlobNotFound").into()]);
    deleted.delete_snapshot(&SnapshotId::new("t")).await.unwrap();

    let (fenced, _) = blob([error(409, "LeaseIdMismatchWithLeaseOperation").into()]);
    assert_eq!(fenced.release(&lease()).await.unwrap_err().kind(), ErrorKind::Fenced);
    let (missing, _) = blob([error(404, "BlobNotFound").into()]);
    assert_eq!(missing.delete_snapshot(&SnapshotId::new("t")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn checksums_are_compared_both_ways() {
    let (stored_otherwise, _) = blob([done(201).header("x-ms-content-crc64", "AAAAAAAAAAA=").into()]);
    let failed = stored_otherwise.write(range(0, 1), &data(), &fence()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Integrity, "{failed}");

    let (garbled_once, mock) = blob([error(400, "Crc64Mismatch").into(), done(201).into()]);
    garbled_once.write(range(0, 1), &data(), &fence()).await.unwrap();
    assert_eq!(mock.seen().len(), 2);

    let (garbled, mock) = blob((0..3).map(|_| Step::from(error(400, "Crc64Mismatch"))));
    let failed = garbled.write(range(0, 1), &data(), &fence()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Integrity);
    assert_eq!(mock.seen().len(), 3);
}

#[tokio::test]
async fn being_fenced_stops_at_once() {
    for code in ["SequenceNumberConditionNotMet", "LeaseIdMismatchWithBlobOperation", "LeaseLost", "LeaseIdMissing"] {
        let (blob, mock) = blob([error(412, code).into()]);
        assert_eq!(blob.write(range(0, 1), &data(), &fence()).await.unwrap_err().kind(), ErrorKind::Fenced, "{code}");
        mock.only();
    }
    let (busy, _) = blob([error(409, "LeaseAlreadyPresent").into()]);
    assert_eq!(busy.acquire(&lease(), Duration::from_secs(60), None).await.unwrap_err().kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn a_lease_under_another_id_is_not_believed() {
    let (blob, _) = blob([answer(201).header("x-ms-lease-id", "somebody").into()]);
    let failed = blob.acquire(&lease(), Duration::from_secs(60), None).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_not_sent() {
    let (blob, mock) = blob([]);
    for failed in [
        blob.write(range(0, 2), &data(), &fence()).await.unwrap_err(),
        blob.write(range(0, 8193), &PageData::new(Bytes::from(vec![0; (4 << 20) + 512])), &fence()).await.unwrap_err(),
        blob.raise_sequence(u64::MAX, &lease(), &Etag::new("1")).await.unwrap_err(),
    ] {
        assert_eq!(failed.kind(), ErrorKind::Invalid, "{failed}");
    }
    assert!(mock.seen().is_empty());

    let (snapshot, mock) = blob_at(&format!("{URL}?snapshot=2023-01-27T22%3A27%3A19.7049036Z"), []);
    let failed = snapshot.clear(range(0, 1), &fence()).await.unwrap_err();
    assert!(failed.to_string().contains("snapshots cannot be changed"), "{failed}");
    assert!(mock.seen().is_empty());
    assert_eq!(snapshot.address(), URL);
}

#[tokio::test]
async fn the_message_names_operation_object_cause_and_request() {
    let (blob, _) = blob([error(409, "SnaphotOperationRateExceeded").into()]);
    let failed = blob.snapshot(None, None).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Invalid);
    assert_eq!(
        failed.to_string(),
        format!(
            "Snapshot Blob on {URL} failed: a premium account takes one snapshot of a blob per 10 minutes, and the last \
             one is younger (409 SnaphotOperationRateExceeded, request req-1)"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_clear_that_runs_out_of_time_twice_is_halved() {
    let timed_out = || Step::from(error(500, "OperationTimedOut"));
    let (blob, mock) = blob([
        timed_out(),
        timed_out(),
        done(201).into(),
        timed_out(),
        timed_out(),
        done(201).into(),
        done(201).into(),
    ]);
    let receipt = blob.clear(range(0, 1 << 15), &fence()).await.unwrap();
    let ranges: Vec<String> = mock.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
    let (whole, first, second) = ("bytes=0-16777215", "bytes=0-8388607", "bytes=8388608-16777215");
    assert_eq!(ranges, [whole, whole, first, second, second, "bytes=8388608-12582911", "bytes=12582912-16777215"]);
    assert!(receipt.unknown_at.is_some(), "the one that timed out may still be applied");
    assert_eq!((receipt.attempts, receipt.refused), (7, 4));
}

#[tokio::test]
async fn what_the_service_fetches_itself_is_fenced_like_any_write() {
    let (blob, mock) = blob([done(201).header("x-ms-content-crc64", "u661BimQ84c=").into()]);
    let pass = Pass { url: "https://a.example/c/d?snapshot=1&sig=x".into(), authorization: Some("Bearer t".into()) };
    let (crc, _) = blob.write_from(range(8, 9), &pass, &fence()).await.unwrap();
    assert_eq!(crc, Some(pageferry_store::crc::crc64(&[b'a'; 512])));
    let seen = mock.only();
    assert_eq!(seen.query(), "comp=page&timeout=30");
    for (name, value) in [
        ("x-ms-page-write", "update"),
        ("x-ms-copy-source", "https://a.example/c/d?snapshot=1&sig=x"),
        ("x-ms-copy-source-authorization", "Bearer t"),
        ("x-ms-source-range", "bytes=4096-4607"),
        ("range", "bytes=4096-4607"),
        ("content-length", "0"),
        ("x-ms-if-sequence-number-eq", "7"),
        ("x-ms-lease-id", LEASE),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert!(seen.body.is_empty());
}
