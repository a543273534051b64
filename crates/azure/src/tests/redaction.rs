//! No signature gets out, whatever goes wrong.

use azure_core::error::ErrorKind;
use pageferry_core::SnapshotId;
use pageferry_store::{Ask, Source, StoreError, Target, View};

use super::mock::{Step, answer, error};
use super::{blob_at, fence, range};
use crate::Address;

const SECRET: &str = "https://acct.blob.core.windows.net/disks/base.vhd?sv=2021-12-02&sr=b&sp=rw&sig=CANARY%2Ba%3D";

fn failures() -> Vec<Step> {
    let leak = format!("error sending request for url ({SECRET})");
    let message = format!(
        "<Error><Code>AuthenticationFailed</Code><Message>Signature sig=CANARY%2Ba in {SECRET} is bad\nx</Message>\
        <AuthenticationErrorDetail>{SECRET}</AuthenticationErrorDetail></Error>"
    );
    vec![
        Step::Fail(ErrorKind::Connection, leak.clone()),
        Step::Fail(ErrorKind::Io, leak.clone()),
        Step::Fail(ErrorKind::Other, leak.clone()),
        Step::Fail(ErrorKind::Credential, leak),
        Step::Silence,
        answer(403).body(message.clone()).into(),
        answer(400).body(message).into(),
        answer(200).body(format!("<PageList>{SECRET}")).header("x-ms-blob-content-length", "512").into(),
        answer(302).header("location", SECRET).into(),
        error(503, "ServerBusy").into(),
        answer(500).body(SECRET).into(),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_error_shows_a_signature() {
    let answered = Step::from(answer(206).header("content-range", format!("bytes 9-9/{SECRET}")));
    for step in failures().into_iter().chain([answered]) {
        for operation in 0..6 {
            let (blob, _) = blob_at(SECRET, (0..20).map(|_| step.clone()));
            let since = Some(SnapshotId::new("1"));
            let ask = Ask { view: View::Base, since, window: range(0, 1), marker: None, if_match: None };
            let plain = Ask { since: None, ..ask.clone() };
            let failed: Option<StoreError> = match operation {
                0 => blob.read(&View::Base, range(0, 1), None).await.err(),
                1 => blob.list(&ask).await.err(),
                2 => blob.list_since_url(&plain, &Address::parse(SECRET).unwrap()).await.err(),
                3 => blob.snapshots().await.err(),
                4 => blob.clear(range(0, 1), &fence()).await.err(),
                _ => blob.snapshot(None, None).await.err(),
            };
            let failed = failed.unwrap_or_else(|| panic!("operation {operation} succeeded on {step:?}"));
            let shown = format!("{failed} {failed:?} {blob:?}");
            assert!(!shown.contains("CANARY"), "operation {operation}: {shown}");
        }
    }
}
