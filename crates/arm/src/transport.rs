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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use pageferry_store::ErrorKind as Kind;

    use super::*;
    use crate::{Arm, FixedToken, Options, ResourceId};

    #[test]
    fn the_innermost_cause_is_told_without_its_query() {
        let inner = std::io::Error::other("reset while sending to https://a.b/c?s=CANARY");
        let told = scrubbed(&Error::with_error(ErrorKind::Io, inner, "failed to execute request"));
        assert_eq!(told.to_string(), "reset while sending to https://a.b/c?…");
        assert_eq!(told.kind(), &ErrorKind::Io);
        assert!(!format!("{told:?}").contains("CANARY"));
    }

    #[tokio::test]
    async fn a_client_of_our_own_asks_and_follows_no_redirect() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let away = format!("HTTP/1.1 302 Found\r\nlocation: {endpoint}away\r\ncontent-length: 0\r\n\r\n");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", &away] {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                asked.push(String::from_utf8(head).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let options = Options { endpoint: endpoint.parse().unwrap(), ..Options::default() };
        let arm = Arm::new(Arc::new(FixedToken::new("t")), options).unwrap();
        let id = ResourceId::snapshot("s", "g", "n").unwrap();
        assert_eq!(arm.snapshot(&id).await.unwrap().id, id);
        assert_eq!(arm.end_access(&id).await.unwrap_err().kind(), Kind::Invalid);
        let asked = server.join().unwrap();
        assert!(asked[0].starts_with("GET /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/n?"));
        assert!(asked.iter().all(|head| head.contains("authorization: Bearer t\r\n")), "{asked:?}");
        assert!(asked[1].starts_with("POST ") && asked[1].contains("content-length: 0\r\n"), "{asked:?}");
    }
}
