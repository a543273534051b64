//! The HTTP client, and the guard between any client and the SDK, whose log prints the errors of clients.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::StreamExt;

use crate::scrub::scrub;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Requests in flight are few: as many connections are kept as there may be grants and copies to look after.
const CONNECTIONS: usize = 8;

/// A client that follows no redirects, so that a token goes where it is meant to go.
pub(crate) fn client() -> azure_core::Result<Arc<dyn HttpClient>> {
    // Somebody else's choice of a provider is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(CONNECTIONS)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| Error::with_error(ErrorKind::Other, error, "no HTTP client"))?;
    Ok(Arc::new(client))
}

/// A transport whose errors hold no secrets.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Arc<dyn HttpClient>);

#[async_trait]
impl HttpClient for Guard {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.0.execute_request(request).await.map_err(|error| scrubbed(&error))?;
        let (status, headers, body) = response.deconstruct();
        let body = body.map(|piece| piece.map_err(|error| scrubbed(&error)));
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

fn scrubbed(error: &Error) -> Error {
    Error::with_message(error.kind().clone(), scrub(&deepest(error)))
}

/// The innermost cause: the outer ones only say that a request failed.
fn deepest(error: &Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(|cause| cause.source()) {
        cause = Some(inner);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
