//! The connection pool, and the guard between any transport and the SDK.
//!
//! The SDK would build a client of its own; ours is sized by us, uses rustls with ring, follows no redirects, unpacks
//! nothing and never repeats a request by itself. The guard rewrites every error of a transport, because an HTTP client
//! likes to print the URL it failed on, and the SDK's log policy prints the error.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::StreamExt;

use crate::lane::Lanes;
use crate::scrub::scrub;

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How much longer than the blob's own patience the client waits. The blob's comes first, because it knows a silent
/// service from a broken connection.
const READ_TIMEOUT_MARGIN: Duration = Duration::from_secs(10);

/// The HTTP client for a blob: pages move on lanes, and everything else through a general client.
///
/// `connections` idle ones are kept per host, and an answer that stays silent for longer than `patience` is given up.
///
/// # Errors
/// The client could not be set up, for example for want of root certificates.
pub fn client(connections: usize, patience: Duration) -> azure_core::Result<Arc<dyn HttpClient>> {
    let general = general_client(connections, patience)?;
    // The general client knows how to talk to proxies.
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| [name.to_owned(), name.to_lowercase()]);
    if proxies.iter().flatten().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        return Ok(general);
    }
    let lanes = Lanes::new(general, connections, patience)
        .map_err(|error| Error::with_error(ErrorKind::Other, error, "no HTTP client"))?;
    Ok(Arc::new(lanes))
}

/// The HTTP client for what is not pages: Resource Manager, and whoever gives out tokens.
///
/// # Errors
/// As [`client`].
pub fn general_client(connections: usize, patience: Duration) -> azure_core::Result<Arc<dyn HttpClient>> {
    install_tls();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(patience + READ_TIMEOUT_MARGIN)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(connections)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| Error::with_error(ErrorKind::Other, error, "no HTTP client"))?;
    Ok(Arc::new(client))
}

/// Makes ring the process's TLS provider, unless somebody has chosen already.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_is_told_without_its_query() {
        let inner = std::io::Error::other("reset while sending to https://a.b/c?sig=CANARY");
        let error = Error::with_error(ErrorKind::Io, inner, "failed to execute request");
        let told = scrubbed(&error);
        assert_eq!(told.to_string(), "reset while sending to https://a.b/c?…");
        assert_eq!(told.kind(), &ErrorKind::Io);
        assert!(!format!("{told:?}").contains("CANARY"));
    }
}
