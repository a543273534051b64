//! Leave to use data.

use std::time::Duration;

use pageferry_store::ErrorKind;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::mock::{Step, answer, error};
use super::{BASE, STATUS_URL, arm, disk_id, snapshot_id};
use crate::Access;

const SAS: &str =
    "https://md-x1.z21.blob.storage.azure.net/abcdefghijkl/abcd?sv=2018-03-28&sr=b&si=0a&sig=CANARY%2B%3d";
const HOUR: Duration = Duration::from_secs(3600);

fn done(output: &str) -> Step {
    answer(200, format!(r#"{{"status":"Succeeded","properties":{{"output":{output}}}}}"#)).into()
}

fn granted() -> String {
    format!(r#"{{"accessSAS":"{SAS}","securityDataAccessSAS":null}}"#)
}

#[tokio::test(start_paused = true)]
async fn access_is_granted_in_four_ways() {
    let result_url = format!("{STATUS_URL}&monitor=true");
    let accepted = || answer(202, "");
    let both = || accepted().header("azure-asyncoperation", STATUS_URL).header("location", result_url.clone());
    let running = || answer(200, r#"{"status":"InProgress"}"#).header("retry-after", "10");
    let scripts: [(&str, Vec<Step>, u64); 5] = [
        ("at once", vec![answer(200, granted()).into()], 0),
        ("with its status", vec![both().into(), running().into(), done(&granted())], 5 + 10),
        ("apart from its status", vec![both().into(), done("null"), answer(200, granted()).into()], 5 + 5),
        (
            "by its place alone",
            vec![
                accepted().header("location", result_url.clone()).into(),
                accepted().into(),
                answer(200, granted()).into(),
            ],
            5 + 5,
        ),
        (
            "at a very long place",
            vec![
                accepted().header("location", format!("{result_url}&t={}", "x".repeat(5000))).into(),
                answer(200, granted()).into(),
            ],
            5,
        ),
    ];
    for (how, script, seconds) in scripts {
        let (arm, mock) = arm(script);
        let started = Instant::now();
        let granted = arm.begin_access(&snapshot_id(), Access::Read, HOUR).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(seconds), "{how}");
        assert_eq!(granted.sas.expose_secret(), SAS, "{how}");
        assert_eq!(granted.until, started + HOUR, "from before it was asked for: {how}");
        assert_eq!(granted.remaining(), HOUR - started.elapsed());
        assert!(!format!("{granted:?}").contains("CANARY"));
        let seen = mock.seen();
        assert_eq!(seen[0].line, format!("POST {BASE}/snapshots/s1/beginGetAccess?api-version=2022-07-02"));
        assert_eq!(seen[0].body, r#"{"access":"Read","durationInSeconds":3600}"#);
        assert!(seen.iter().all(|seen| seen.header("authorization") == "Bearer CANARY"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_does_not_decide_to_be_asked_never_or_always() {
    let accepted = answer(202, "").header("azure-asyncoperation", STATUS_URL).header("retry-after", "86400");
    let running = answer(200, r#"{"status":"InProgress"}"#).header("retry-after", "0");
    let (arm, _) = arm([accepted.into(), running.into(), done(&granted())]);
    let started = Instant::now();
    arm.begin_access(&snapshot_id(), Access::Read, HOUR).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(60 + 1));
}

#[tokio::test(start_paused = true)]
async fn an_upload_disk_is_written_to() {
    let (arm, mock) = arm([answer(200, granted()).into()]);
    arm.begin_access(&disk_id(), Access::Write, Duration::MAX).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen[0].line, format!("POST {BASE}/disks/d1/beginGetAccess?api-version=2022-07-02"));
    assert_eq!(seen[0].body, r#"{"access":"Write","durationInSeconds":2147483647}"#);
}

#[tokio::test(start_paused = true)]
async fn access_is_given_up() {
    let accepted = answer(202, "").header("azure-asyncoperation", STATUS_URL);
    let (arm, mock) = arm([accepted.into(), answer(200, r#"{"status":"Succeeded"}"#).into(), answer(200, "").into()]);
    arm.end_access(&snapshot_id()).await.unwrap();
    arm.end_access(&disk_id()).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen[0].line, format!("POST {BASE}/snapshots/s1/endGetAccess?api-version=2022-07-02"));
    assert_eq!((seen[0].body.as_str(), seen[0].header("content-length")), ("", "0"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_none_is_refused() {
    for script in [
        vec![answer(200, "{}").into()],
        vec![answer(200, r#"{"accessSAS":""}"#).into()],
        vec![answer(202, "").header("azure-asyncoperation", STATUS_URL).into(), done("{}")],
    ] {
        let (arm, _) = arm(script);
        let error = arm.begin_access(&snapshot_id(), Access::Read, HOUR).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.to_string().contains("no accessSAS"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_tells_its_status_and_what_is_needed() {
    let (arm, _) = arm([error(409, "OperationNotAllowed").into(), error(403, "AuthorizationFailed").into()]);
    let busy = arm.begin_access(&snapshot_id(), Access::Read, HOUR).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.failure().status, busy.code()),
        (ErrorKind::Invalid, Some(409), "OperationNotAllowed")
    );
    let denied = arm.begin_access(&snapshot_id(), Access::Read, HOUR).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert!(denied.to_string().contains("Microsoft.Compute/snapshots/beginGetAccess/action"), "{denied}");
}
