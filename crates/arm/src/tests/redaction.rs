//! Nothing shows a signature or a token, whoever quotes it.

use std::sync::Arc;
use std::time::Duration;

use azure_core::error::ErrorKind as WireErrorKind;

use super::mock::{Step, answer};
use super::{STATUS_URL, arm, options, snapshot_id};
use crate::{Access, FixedToken, Options};

const SAS: &str = "https://md-x1.z21.blob.storage.azure.net/abcd/abcd?sv=2018-03-28&sr=b&sig=CANARY%2B";

fn quoting(status: u16) -> Step {
    let body = format!(r#"{{"error":{{"code":"X sig=CANARY","message":"Cannot open '{SAS}', Bearer CANARY"}}}}"#);
    answer(status, body).into()
}

#[tokio::test(start_paused = true)]
async fn no_error_shows_a_signature() {
    let accepted = |header, url: &str| Step::from(answer(202, "").header(header, url));
    let failed = format!(r#"{{"status":"Failed","error":{{"code":"X","message":"Cannot open {SAS}"}}}}"#);
    let misplaced = format!(r#"{{"status":{{"a":"{SAS}"}},"properties":{{"output":{{"accessSAS":"{SAS}"}}}}}}"#);
    let scripts: [Vec<Step>; 7] = [
        vec![quoting(400)],
        vec![quoting(403)],
        vec![Step::Fail(WireErrorKind::Io, format!("reset while sending to {SAS}")); 40],
        vec![accepted("azure-asyncoperation", STATUS_URL), answer(200, failed).into()],
        vec![accepted("azure-asyncoperation", STATUS_URL), answer(200, misplaced).into()],
        vec![accepted("azure-asyncoperation", "https://a.b/?sig=CANARY")],
        vec![accepted("location", "https://sig=CANARY/")],
    ];
    for script in scripts {
        let (arm, _) = arm(script);
        let error = arm.begin_access(&snapshot_id(), Access::Read, Duration::from_secs(60)).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("CANARY"), "{told}");
        assert!(told.contains("Begin Get Access on /subscriptions/5ab/"), "{told}");
    }
}

#[test]
fn no_debug_shows_a_token() {
    let (arm, mock) = arm([]);
    let options: Options = options(&mock);
    let told = format!("{arm:?} {options:?} {:?}", Arc::new(FixedToken::new("CANARY")));
    assert!(!told.contains("CANARY"), "{told}");
    assert!(told.contains("management.azure.com"), "{told}");
}
