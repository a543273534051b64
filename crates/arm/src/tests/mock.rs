//! A transport that answers from a script and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};

/// What happens to one request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Answer(Answer),
    Fail(ErrorKind, String),
    Silence,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Headers,
    body: Bytes,
}

/// One request, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method and URL.
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
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

    /// Their methods and URLs.
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

#[async_trait]
impl HttpClient for Mock {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(body) = request.body() else { panic!("bodies are bytes") };
        let headers =
            request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()));
        self.seen.lock().unwrap().push(Seen {
            line: format!("{} {}", request.method(), request.url()),
            headers: headers.collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        let step = self.script.lock().unwrap().pop_front();
        match step.unwrap_or_else(|| panic!("unexpected request {} {}", request.method(), request.url())) {
            Step::Fail(kind, cause) => Err(Error::with_error(kind, std::io::Error::other(cause), "failed to send")),
            Step::Silence => std::future::pending().await,
            Step::Answer(Answer { status, headers, body }) => {
                Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
            }
        }
    }
}

impl Answer {
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.insert(name, value.into());
        self
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Step {
        Step::Answer(answer)
    }
}

pub(super) fn answer(status: u16, body: impl Into<String>) -> Answer {
    let answer = Answer { status, headers: Headers::new(), body: body.into().into() };
    answer.header("x-ms-request-id", "req-1")
}

/// An error of the service.
pub(super) fn error(status: u16, code: &str) -> Answer {
    answer(status, format!(r#"{{"error":{{"code":"{code}","message":"It went wrong.\r\nTime:now"}}}}"#))
}

pub(super) fn reset() -> Step {
    Step::Fail(ErrorKind::Io, "connection reset by peer".to_owned())
}

pub(super) fn refused() -> Step {
    Step::Fail(ErrorKind::Connection, "connection refused".to_owned())
}
