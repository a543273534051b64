//! Asking again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use pageferry_store::ErrorKind;
use tokio::time::Instant;

use super::mock::{Mock, Step, answer, error, refused, reset};
use super::{arm, options, snapshot_id, snapshot_json};
use crate::{Access, Arm};

fn good() -> Step {
    answer(200, snapshot_json("s1", "")).into()
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_waits_as_long_as_it_is_told() {
    let (arm, mock) = arm([error(429, "TooManyRequests").header("retry-after", "17").into(), good()]);
    let started = Instant::now();
    arm.snapshot(&snapshot_id()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(17));
    assert_eq!(mock.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_budget_ends_the_asking() {
    let throttled = || Step::from(error(429, "TooManyRequests").header("retry-after", "100"));
    let (arm, mock) = arm([throttled(), throttled(), throttled(), throttled()]);
    let started = Instant::now();
    let error = arm.snapshot(&snapshot_id()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(300), "no attempt starts later");
    let failure = error.failure();
    assert_eq!((failure.kind, failure.status, failure.attempts), (ErrorKind::Transient, Some(429), 4));
    assert_eq!(failure.request_id.as_deref(), Some("req-1"));
    assert!(error.to_string().ends_with("(429 TooManyRequests, request req-1, 4 attempts)"), "{error}");
    mock.seen();
}

#[tokio::test(start_paused = true)]
async fn whatever_passes_by_itself_is_asked_again() {
    let faults = || {
        let statuses = [408, 429, 500, 502, 503, 504].map(|status| error(status, "X").into());
        statuses.into_iter().chain([reset(), refused(), Step::Silence])
    };
    let (arm_, mock) = arm(faults().chain([good()]));
    arm_.snapshot(&snapshot_id()).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen.len(), 10);
    let ids: HashSet<_> = seen.iter().map(|seen| seen.header("x-ms-client-request-id").to_owned()).collect();
    assert_eq!(ids.len(), 10, "every attempt has an id of its own");
    // A grant is asked for again too: it replaces the one before.
    let (arm_, mock) = arm(faults().chain([answer(200, r#"{"accessSAS":"https://a.b/c?sig=x"}"#).into()]));
    arm_.begin_access(&snapshot_id(), Access::Read, Duration::from_secs(60)).await.unwrap();
    assert!(mock.seen().iter().all(|seen| seen.body == r#"{"access":"Read","durationInSeconds":60}"#));
    for status in [301, 400, 401, 403, 404, 409, 412, 501, 505] {
        let (arm, mock) = arm([error(status, "X").into()]);
        assert_eq!(arm.snapshot(&snapshot_id()).await.unwrap_err().failure().status, Some(status));
        mock.seen();
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_about_an_operation_is_asked_again_too() {
    let accepted = answer(202, "").header("azure-asyncoperation", super::STATUS_URL);
    let done = answer(200, r#"{"status":"Succeeded"}"#);
    let (arm, mock) = arm([accepted.into(), reset(), error(503, "ServerBusy").into(), done.into()]);
    arm.end_access(&snapshot_id()).await.unwrap();
    assert_eq!(mock.lines().iter().filter(|line| line.starts_with("POST")).count(), 1, "the operation is begun once");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_depend_on_the_seed() {
    let pause = || async {
        let (arm, _) = arm((0..6).map(|_| reset()).chain([good()]));
        let started = Instant::now();
        arm.snapshot(&snapshot_id()).await.unwrap();
        started.elapsed()
    };
    let total = pause().await;
    // 0.5 + 1 + 2 + 4 + 8 + 16 seconds, each varied by half of itself.
    assert!((15.75..47.25).contains(&total.as_secs_f64()), "{total:?}");
    assert_eq!(total, pause().await);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_inside_an_answer_is_asked_again() {
    let mut broken = answer(500, "<html>Bad gateway</html>");
    broken = broken.header("x-ms-correlation-request-id", "cor-1");
    let (arm, mock) = arm([broken.into(), good()]);
    arm.snapshot(&snapshot_id()).await.unwrap();
    mock.seen();
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_denied_before_anything_is_sent() {
    #[derive(Debug)]
    struct Refusing;
    #[async_trait]
    impl TokenCredential for Refusing {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "nobody is logged in"))
        }
    }
    let mock = Mock::new([]);
    let arm = Arm::new(Arc::new(Refusing), options(&mock)).unwrap();
    let error = arm.snapshot(&snapshot_id()).await.unwrap_err();
    assert_eq!((error.kind(), error.failure().attempts), (ErrorKind::Denied, 1));
    assert!(error.to_string().contains("nobody is logged in"), "{error}");
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_endpoint_as_scope() {
    #[derive(Debug, Default)]
    struct Asked(std::sync::Mutex<Vec<String>>);
    #[async_trait]
    impl TokenCredential for Asked {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            self.0.lock().unwrap().extend(scopes.iter().map(|scope| (*scope).to_owned()));
            crate::FixedToken::new("t").get_token(scopes, None).await
        }
    }
    for (endpoint, scope) in [
        ("https://management.azure.com/", "https://management.azure.com/.default"),
        ("https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default"),
        ("http://localhost:99/", "http://localhost:99/.default"),
    ] {
        let asked = Arc::new(Asked::default());
        let mock = Mock::new([good()]);
        let options = crate::Options { endpoint: endpoint.parse().unwrap(), ..options(&mock) };
        Arm::new(asked.clone(), options).unwrap().snapshot(&snapshot_id()).await.unwrap();
        assert_eq!(*asked.0.lock().unwrap(), [scope]);
    }
}
