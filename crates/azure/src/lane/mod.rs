//! Lanes: the connections that pages move on.
//!
//! A general HTTP client reads an answer in a task of its own, into buffers of its own, and hands it over piece by piece.
//! Where bytes are what the time goes into, that is half of the time. A lane is one connection that one request has to
//! itself: the answer is read by the task that wants it, straight into the recycled buffer it is written from. Only reads
//! and writes of pages travel so; everything else, and everything where a proxy is to be used, goes through the
//! general client.
//!
//! `head` is what HTTP/1.1 says before a body, `body` is how far one goes, `socket` is what carries them, and
//! `exchange` is one request and its answer.

mod body;
mod exchange;
mod head;
mod socket;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use futures::stream;
use pageferry_store::buffers::Buffers;
use tokio::time::Instant;

use self::body::Answer;
use self::exchange::exchange;
use self::socket::{Dial, Lane, Origin};

/// An idle lane is not trusted for longer: services, and what lies between, close them without a word.
const IDLE_MAX: Duration = Duration::from_secs(55);

/// Sends what carries pages on lanes, and the rest through another client.
#[derive(Debug)]
pub(crate) struct Lanes {
    others: Arc<dyn HttpClient>,
    dial: Dial,
    idle: Idle,
    patience: Duration,
    buffers: Buffers,
}

/// Lanes that nobody uses, most recently used last.
#[derive(Clone, Debug)]
struct Idle {
    lanes: Arc<Mutex<Vec<(Instant, Lane)>>>,
    max: usize,
}

impl Lanes {
    /// Keeps up to `idle_max` lanes open, and gives up on one on which nothing moves for as long as `patience`.
    ///
    /// # Errors
    /// No root certificates to trust.
    pub(crate) fn new(
        others: Arc<dyn HttpClient>,
        idle_max: usize,
        patience: Duration,
    ) -> Result<Lanes, rustls::Error> {
        let idle = Idle { lanes: Arc::default(), max: idle_max };
        Ok(Lanes { others, dial: Dial::new()?, idle, patience, buffers: Buffers::default() })
    }

    async fn lane(&self, origin: &Origin) -> azure_core::Result<Lane> {
        if let Some(lane) = self.idle.take(origin) {
            return Ok(lane);
        }
        // Nothing has been sent, and the caller may rely on that.
        self.dial.dial(origin).await.map_err(|error| Error::with_error(ErrorKind::Connection, error, "no connection"))
    }
}

#[async_trait]
impl HttpClient for Lanes {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (Some(body), Some(origin)) = (page_body(request), Origin::of(request.url())) else {
            return self.others.execute_request(request).await;
        };
        let head = head::request(request, body.len());
        let mut lane = self.lane(&origin).await?;
        let answered = exchange(&mut lane, head.as_bytes(), body, self.patience).await.map_err(broken)?;
        let mut headers = Headers::new();
        for (name, value) in &answered.fields {
            headers.insert(name.clone(), value.clone());
        }
        let idle = self.idle.clone();
        let answer = Answer::new(lane, &answered, self.buffers.clone(), self.patience, move |lane| idle.give(lane));
        let answer = answer.map_err(broken)?;
        let body = stream::try_unfold(answer, |mut answer| async move {
            Ok(answer.next().await.map_err(broken)?.map(|piece| (piece, answer)))
        });
        Ok(AsyncRawResponse::new(answered.status.into(), headers, Box::pin(body)))
    }
}

impl Idle {
    fn take(&self, origin: &Origin) -> Option<Lane> {
        loop {
            let mut lane = {
                let mut lanes = self.lanes.lock().ok()?;
                lanes.retain(|(since, _)| since.elapsed() < IDLE_MAX);
                let at = lanes.iter().rposition(|(_, lane)| lane.origin() == origin)?;
                lanes.remove(at).1
            };
            if lane.is_quiet() {
                return Some(lane);
            }
        }
    }

    fn give(&self, lane: Lane) {
        if let Ok(mut lanes) = self.lanes.lock()
            && lanes.len() < self.max
        {
            lanes.push((Instant::now(), lane));
        }
    }
}

/// The body of a request that reads or writes pages; other requests have none here.
fn page_body(request: &Request) -> Option<&azure_core::Bytes> {
    let Body::Bytes(body) = request.body() else { return None };
    let reads = || request.headers().iter().any(|(name, _)| name.as_str() == "x-ms-range-get-content-crc64");
    let writes = || request.url().query_pairs().any(|(key, value)| key == "comp" && value == "page");
    match request.method() {
        Method::Get if reads() => Some(body),
        Method::Put if writes() => Some(body),
        _ => None,
    }
}

/// After the request was begun nobody knows what became of it.
fn broken(error: io::Error) -> Error {
    Error::with_error(ErrorKind::Io, error, "the exchange broke")
}

#[cfg(test)]
mod tests;
