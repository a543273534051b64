//! One request, sent until it is answered.
//!
//! Every request made here ends in the same state however often it arrives (a PUT, a DELETE, a GET; a grant, which replaces
//! the one before; its end), so whatever may pass by itself is tried again within the budget. Deleting alone has a second
//! answer: what an attempt without an answer has deleted is not there for the next.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{
    ClientOptions, Context, Method, Pipeline, PipelineSendOptions, Request, RetryOptions, Transport,
};
use pageferry_store::{ErrorKind, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use url::Url;

use crate::errors;
use crate::fault::{Fault, Outcome};
use crate::operation::Operation;
use crate::options::Options;
use crate::scrub::scrub;
use crate::{token, transport};

/// The delay before the second attempt; doubled before each further one, and varied by half of itself.
const DELAY: Duration = Duration::from_millis(500);

/// No delay is longer, unless the service asks for a longer one.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// What sends requests.
pub(crate) struct Wire {
    pub(crate) options: Options,
    pipeline: Pipeline,
    rng: Mutex<StdRng>,
}

/// One request, and what it is about.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    /// The resource, for errors.
    pub(crate) object: &'a str,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Bytes>,
}

/// A success.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

impl Wire {
    pub(crate) fn new(token: Arc<dyn TokenCredential>, options: Options) -> Result<Wire, StoreError> {
        options.check()?;
        let transport = match options.transport.clone() {
            Some(transport) => transport,
            None => transport::client().map_err(|error| {
                StoreError::new(ErrorKind::Invalid, "connect", options.shown(), scrub(&error.to_string()))
            })?,
        };
        let client_options = ClientOptions {
            per_try_policies: vec![token::policy(token, &options.endpoint)],
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(transport::Guard(transport)))),
            ..ClientOptions::default()
        };
        let (name, version) = (option_env!("CARGO_PKG_NAME"), option_env!("CARGO_PKG_VERSION"));
        let pipeline = Pipeline::new(name, version, client_options, Vec::new(), Vec::new(), None);
        let rng = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        Ok(Wire { options, pipeline, rng: Mutex::new(rng) })
    }

    /// The URL at the endpoint with this path and our `api-version`.
    pub(crate) fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.options.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_query(None);
        url.query_pairs_mut().append_pair("api-version", &self.options.api_version);
        url
    }

    /// The URL that an answer names, if our token may go there.
    pub(crate) fn follow(&self, text: &str) -> Result<Url, Fault> {
        let endpoint = &self.options.endpoint;
        let url = endpoint.join(text).map_err(|_| Fault::new(Outcome::Wrong, "the answer names a URL that is none"))?;
        if url.origin() == endpoint.origin() {
            return Ok(url);
        }
        let (theirs, ours) = (url.origin().ascii_serialization(), endpoint.origin().ascii_serialization());
        let cause = format!("the answer leads to {theirs}, and tokens for {ours} are not sent there");
        Err(Fault::new(Outcome::Wrong, cause))
    }

    /// Sends `call` until it is answered well, or must not be sent again.
    pub(crate) async fn ask(&self, call: &Call<'_>) -> Result<Answer, StoreError> {
        let started = Instant::now();
        let mut attempts = 0;
        let mut doubt = false;
        loop {
            attempts += 1;
            let fault = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let (operation, object) = (call.operation.name(), call.object);
            tracing::debug!(operation, object, attempts, ?fault, "attempt failed");
            if doubt && call.method == Method::Delete && fault.outcome == Outcome::Status(404) {
                return Ok(Answer { status: 204, headers: Headers::new(), body: Bytes::new() });
            }
            doubt |= fault.leaves_doubt();
            let pause = self.pause(attempts).max(fault.retry_after.unwrap_or_default());
            if !fault.is_passing() || started.elapsed().saturating_add(pause) > self.options.budget {
                return Err(errors::error(call.operation, call.object, fault, attempts));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let mut request = Request::new(call.url.clone(), call.method);
        request.insert_header("accept", "application/json");
        if let Some(body) = &call.body {
            request.insert_header("content-type", "application/json");
            request.set_body(body.clone());
        }
        let context = Context::new();
        let unchecked = PipelineSendOptions { skip_checks: true, ..PipelineSendOptions::default() };
        let sent = self.pipeline.send(&context, &mut request, Some(unchecked));
        let patience = self.options.patience;
        let silent = |_| Fault::new(Outcome::Lost, format!("no answer within {} s", patience.as_secs()));
        let (status, headers, body) = tokio::time::timeout(patience, sent).await.map_err(silent)??.deconstruct();
        let (status, body) = (u16::from(status), Bytes::from(body));
        if (200..300).contains(&status) {
            Ok(Answer { status, headers, body })
        } else {
            Err(Fault::from_answer(status, &headers, &body))
        }
    }

    fn pause(&self, attempts: u32) -> Duration {
        let longest = DELAY.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(DELAY_MAX);
        match self.rng.lock() {
            Ok(mut rng) => longest.mul_f64(rng.random_range(0.5..1.5)),
            Err(_) => longest,
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { endpoint, api_version, .. } = &self.options;
        write!(f, "Arm({endpoint}, {api_version})")
    }
}
