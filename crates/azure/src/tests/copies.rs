//! The service's own copies: what is asked, and what is made of the answers.

use pageferry_core::{Etag, Metadata, SnapshotId};
use pageferry_store::ErrorKind;

use super::mock::{Answer, Mock, Step, answer, done, error, reset};
use super::{blob, blob_at};
use crate::{CopyPhase, PageBlob};

const SIGNED: &str = "https://other.blob.core.windows.net/vhds/disk.vhd?sv=2021-12-02&sr=c&sig=CANARY%2B";

fn disk() -> PageBlob {
    blob_at(SIGNED, []).0
}

/// A blob whose service gives these answers.
fn answering<const N: usize>(answers: [Answer; N]) -> (PageBlob, Mock) {
    blob(answers.map(Step::from))
}

fn snapshot() -> SnapshotId {
    SnapshotId::new("2026-05-16T20:11:11.0777366Z")
}

#[tokio::test]
async fn a_copy_carries_the_signature_of_its_source_and_meets_no_other_blob() {
    let (target, mock) = answering([done(202).header("x-ms-copy-id", "id-1")]);
    let metadata = Metadata::from([("pageferrybench".to_owned(), "1".to_owned())]);
    assert_eq!(target.copy_from(&disk(), &snapshot(), None, &metadata).await.unwrap(), "id-1");
    let seen = mock.only();
    let url = "https://other.blob.core.windows.net/vhds/disk.vhd?snapshot=2026-05-16T20%3A11%3A11.0777366Z&sv=2021-12-02\
               &sr=c&sig=CANARY%2B";
    assert_eq!(seen.header("x-ms-copy-source"), url);
    assert_eq!((seen.header("if-none-match"), seen.header("if-match")), ("*", ""));
    assert_eq!(seen.header("x-ms-meta-pageferrybench"), "1");
    assert!(seen.query().contains("timeout=30"), "{}", seen.query());

    let (target, mock) = answering([done(202)]);
    target.copy_from(&disk(), &snapshot(), Some(&Etag::new("0x1")), &Metadata::new()).await.unwrap();
    assert_eq!((mock.only().header("if-none-match"), mock.only().header("if-match")), ("", "\"0x1\""));
}

#[tokio::test]
async fn an_incremental_copy_is_asked_for_where_there_is_nothing() {
    let (target, mock) = answering([done(202).header("x-ms-copy-id", "id-2")]);
    assert_eq!(target.copy_incrementally_from(&disk(), &snapshot()).await.unwrap(), "id-2");
    let seen = mock.only();
    assert_eq!((seen.method.as_str(), seen.query()), ("PUT", "comp=incrementalcopy&timeout=30"));
    assert_eq!((seen.header("if-none-match"), seen.header("content-length")), ("*", "0"));
    assert!(seen.header("x-ms-copy-source").ends_with("&sig=CANARY%2B"));
    assert!(!seen.header("x-ms-version").is_empty());
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_not_asked_for_again() {
    let (target, mock) = blob([reset()]);
    let lost = target.copy_from(&disk(), &snapshot(), None, &Metadata::new()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unknown);
    assert!(!lost.to_string().contains("CANARY"), "{lost}");
    mock.only();
    let (target, mock) = blob([reset()]);
    assert_eq!(target.copy_incrementally_from(&disk(), &snapshot()).await.unwrap_err().kind(), ErrorKind::Unknown);
    mock.only();
    let (target, _mock) = answering([error(409, "BlobAlreadyExists")]);
    let there = target.copy_from(&disk(), &snapshot(), None, &Metadata::new()).await.unwrap_err();
    assert_eq!(there.kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn how_far_a_copy_is() {
    let said = |status: &'static str, progress: &'static str| {
        done(200).header("x-ms-copy-id", "id").header("x-ms-copy-status", status).header("x-ms-copy-progress", progress)
    };
    let failed = said("failed", "x").header("x-ms-copy-status-description", "404 ResourceNotFound \"gone\" sig=CANARY");
    let (target, _mock) =
        answering([said("pending", "512/4096"), said("success", "4096/4096"), said("aborted", ""), failed, done(200)]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let state = target.copy_state().await.unwrap().unwrap();
        seen.push((state.phase, state.done_bytes, state.total_bytes));
        if state.phase == CopyPhase::Failed {
            let why = state.description.unwrap();
            assert!(why.starts_with("404 ResourceNotFound") && !why.contains("CANARY"), "{why}");
        }
    }
    let phases = [
        (CopyPhase::Pending, 512, 4096),
        (CopyPhase::Success, 4096, 4096),
        (CopyPhase::Aborted, 0, 0),
        (CopyPhase::Failed, 0, 0),
    ];
    assert_eq!(seen, phases);
    assert_eq!(target.copy_state().await.unwrap(), None);
    let (target, _mock) = answering([said("confused", "")]);
    assert_eq!(target.copy_state().await.unwrap_err().kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn giving_up_and_deleting_can_be_repeated() {
    let (target, mock) = blob([reset(), Step::from(error(409, "NoPendingCopyOperation"))]);
    target.abort_copy("id-3").await.unwrap();
    assert!(mock.seen()[1].query().contains("copyid=id-3"));
    assert_eq!(mock.seen()[1].header("x-ms-copy-action"), "abort");
    let (target, mock) = blob([reset(), Step::from(error(404, "BlobNotFound"))]);
    target.delete_with_snapshots().await.unwrap();
    assert_eq!(mock.seen()[1].header("x-ms-delete-snapshots"), "include");
    let (target, _mock) = answering([answer(202)]);
    target.delete_with_snapshots().await.unwrap();
}
