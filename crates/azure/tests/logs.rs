//! Nothing that is logged shows a signature. Alone in its process, because what others log is remembered as not wanted by
//! anybody.

#[allow(dead_code, reason = "shared with the tests of operations, which need more of it")]
#[path = "../src/tests/mock.rs"]
mod mock;

use std::sync::{Arc, Mutex};

use azure_core::error::ErrorKind;
use mock::{Mock, Step, answer, error};
use pageferry_azure::{Address, Credential, Options, PageBlob, RetryPolicy};
use pageferry_core::{PageRange, Pages};
use pageferry_store::{Ask, Fence, LeaseId, Source, Target, View};

const SECRET: &str = "https://acct.blob.core.windows.net/disks/base.vhd?sv=2021-12-02&sr=b&sp=rw&sig=CANARY%2Ba%3D";

fn failures() -> Vec<Step> {
    let leak = format!("error sending request for url ({SECRET})");
    let message =
        format!("<Error><Code>AuthenticationFailed</Code><Message>Signature of {SECRET} is bad</Message></Error>");
    vec![
        Step::Fail(ErrorKind::Connection, leak.clone()),
        Step::Fail(ErrorKind::Io, leak),
        Step::Silence,
        answer(403).body(message).into(),
        answer(302).header("location", SECRET).into(),
        error(503, "ServerBusy").into(),
        answer(500).body(SECRET).into(),
    ]
}

fn blob(script: impl IntoIterator<Item = Step>) -> PageBlob {
    let address = Address::parse(SECRET).unwrap();
    let credential = Credential::Sas(address.sas().unwrap().clone());
    let options = Options {
        transport: Some(Arc::new(Mock::new(script))),
        retry: RetryPolicy { seed: Some(1), ..RetryPolicy::default() },
        ..Options::default()
    };
    PageBlob::new(address, &credential, options).unwrap()
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
    let page = PageRange::new(Pages::ZERO, Pages::new(1)).unwrap();
    let fence = Fence { lease: LeaseId("11111111-2222-3333-4444-555555555555".to_owned()), epoch: 7 };
    for step in failures() {
        let blob = blob((0..40).map(|_| step.clone()));
        let ask = Ask { view: View::Base, since: None, window: page, marker: None, if_match: None };
        let _ = blob.list_since_url(&ask, &Address::parse(SECRET).unwrap()).await;
        let _ = blob.read(&View::Base, page, None).await;
        let _ = blob.clear(page, &fence).await;
    }
    drop(guard);
    let logged = log.0.lock().unwrap();
    assert!(logged.contains("x-ms-previous-snapshot-url"), "the SDK logs headers: {logged}");
    assert!(logged.contains("attempt failed"), "so do we: {logged}");
    assert!(!logged.contains("CANARY"), "{logged}");
}
