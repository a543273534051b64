//! A transport that answers from a script and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;

/// What happens to one request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Answer(Answer),
    Fail(ErrorKind, String),
    Silence,
}

/// One answer; its body arrives in pieces.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Headers,
    pieces: Vec<Bytes>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Clean,
    Reset,
    Never,
}

/// One request, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Bytes,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Mock {
    script: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Mock {
    pub(super) fn new(script: impl IntoIterator<Item = Step>) -> Mock {
        Mock { script: Arc::new(Mutex::new(script.into_iter().collect())), seen: Arc::default() }
    }

    /// The requests so far; panics where the script was not used up.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let left = self.script.lock().unwrap().len();
        assert_eq!(left, 0, "{left} answers were never asked for");
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen[0].clone()
    }
}

#[async_trait]
impl HttpClient for Mock {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(body) = request.body() else { panic!("bodies are bytes") };
        let headers =
            request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()));
        self.seen.lock().unwrap().push(Seen {
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers: headers.collect(),
            body: body.clone(),
        });
        let step = self.script.lock().unwrap().pop_front();
        match step.unwrap_or_else(|| panic!("unexpected request {} {}", request.method(), request.url())) {
            Step::Fail(kind, cause) => Err(Error::with_error(kind, std::io::Error::other(cause), "failed to send")),
            Step::Silence => std::future::pending().await,
            Step::Answer(answer) => Ok(answer.into_response()),
        }
    }
}

impl Answer {
    fn into_response(self) -> AsyncRawResponse {
        use futures::StreamExt;
        let reset = || Error::new(ErrorKind::Io, std::io::Error::other("connection reset by peer"));
        let pieces = futures::stream::iter(self.pieces.into_iter().map(Ok));
        let body = match self.end {
            End::Clean => pieces.boxed(),
            End::Reset => pieces.chain(futures::stream::iter([Err(reset())])).boxed(),
            End::Never => pieces.chain(futures::stream::pending()).boxed(),
        };
        AsyncRawResponse::new(self.status.into(), self.headers, body)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.insert(name, value.into());
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Answer {
        self.pieces.push(body.into());
        self
    }

    /// The body in pieces of `size`.
    pub(super) fn pieces(mut self, body: &[u8], size: usize) -> Answer {
        self.pieces.extend(body.chunks(size).map(Bytes::copy_from_slice));
        self
    }

    /// The connection breaks after the pieces so far.
    pub(super) fn then_reset(mut self) -> Answer {
        self.end = End::Reset;
        self
    }

    /// Nothing more comes after the pieces so far, and the connection stays.
    pub(super) fn then_nothing(mut self) -> Answer {
        self.end = End::Never;
        self
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Step {
        Step::Answer(answer)
    }
}

pub(super) fn answer(status: u16) -> Answer {
    let answer = Answer { status, headers: Headers::new(), pieces: Vec::new(), end: End::Clean };
    answer.header("x-ms-request-id", "req-1")
}

/// An error of the service, with its body.
pub(super) fn error(status: u16, code: &'static str) -> Answer {
    let body = format!(
        "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>It went wrong.\nRequestId:x\n\
         Time:y</Message></Error>"
    );
    answer(status).header("x-ms-error-code", code).body(body)
}

pub(super) fn reset() -> Step {
    Step::Fail(ErrorKind::Io, "connection reset by peer".to_owned())
}

pub(super) fn refused() -> Step {
    Step::Fail(ErrorKind::Connection, "connection refused".to_owned())
}

/// A success that changes the blob.
pub(super) fn done(status: u16) -> Answer {
    answer(status).header("etag", "\"0x8D2\"")
}
