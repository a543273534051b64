//! Nothing that is logged shows a signature or a token. Alone in its process, because what others log is remembered as not
//! wanted by anybody.

#[allow(dead_code, reason = "shared with the tests of operations, which need more of it")]
#[path = "../src/tests/mock.rs"]
mod mock;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_core::error::ErrorKind;
use mock::{Mock, Step, answer};
use pageferry_arm::{Access, Arm, FixedToken, Options, ResourceId};

const SAS: &str = "https://md-x1.z21.blob.storage.azure.net/abcd/abcd?sv=2018-03-28&sr=b&sig=CANARY%2B";

fn quoting(status: u16) -> Step {
    let body = format!(r#"{{"error":{{"code":"X sig=CANARY","message":"Cannot open '{SAS}', Bearer CANARY"}}}}"#);
    answer(status, body).into()
}

/// Keeps every word that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().unwrap().push_str(&format!("{field}={value:?} "));
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn no_log_shows_a_signature() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    // The service signs the URLs it is to be asked at.
    let signed = "https://management.azure.com/subscriptions/5ab/op-1?t=1&c=MII&s=CANARY&h=CANARY";
    let accepted = answer(202, "").header("azure-asyncoperation", signed).header("location", signed);
    let granted = format!(r#"{{"status":"Succeeded","properties":{{"output":{{"accessSAS":"{SAS}"}}}}}}"#);
    let broken = Step::Fail(ErrorKind::Io, format!("reset while sending to {SAS}"));
    let mock = Mock::new([quoting(503), accepted.into(), broken, answer(200, granted).into(), quoting(403)]);
    let options = Options { transport: Some(Arc::new(mock.clone())), ..Options::default() };
    let arm = Arm::new(Arc::new(FixedToken::new("CANARY")), options).unwrap();
    let id = ResourceId::snapshot("5ab", "g1", "s1").unwrap();
    arm.begin_access(&id, Access::Read, Duration::from_secs(60)).await.unwrap();
    arm.end_access(&id).await.unwrap_err();
    mock.seen();
    drop(guard);
    let logged = log.0.lock().unwrap();
    assert!(logged.contains("azure-asyncoperation") && logged.contains("attempt failed"), "all is logged: {logged}");
    assert!(!logged.contains("CANARY"), "{logged}");
}
