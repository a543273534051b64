//! How one attempt failed, and what the service says about it.

use std::time::Duration;

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, Headers};
use serde::Deserialize;

use crate::scrub::scrub;

/// How far the request got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The service answered with this status.
    Status(u16),
    /// No connection was made, so nothing was sent.
    Unsent,
    /// No answer in the time we wait, or one that broke off.
    Lost,
    /// No token could be had, so nothing was sent.
    NoToken,
    /// An answer that is not one to the question, or that must not be followed.
    Wrong,
    /// The service undertook it and gave it up.
    GivenUp,
    /// The service has not finished it in the time we wait.
    Unfinished,
}

/// One failed attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    pub(crate) code: Option<String>,
    pub(crate) cause: String,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

/// What Resource Manager says about an error: `{"error":{"code":…,"message":…}}`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    error: Option<Said>,
    // Some providers leave the envelope out.
    code: Option<String>,
    message: Option<String>,
}

/// An error in the service's words.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
}

impl Fault {
    /// Every cause is made here, so that none can hold a secret, whoever worded it.
    pub(crate) fn new(outcome: Outcome, cause: impl AsRef<str>) -> Fault {
        let cause = scrub(cause.as_ref().trim());
        Fault { outcome, code: None, cause, request_id: None, retry_after: None }
    }

    /// An answer that reports a failure.
    pub(crate) fn from_answer(status: u16, headers: &Headers, body: &[u8]) -> Fault {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let envelope: Envelope = serde_json::from_slice(body).unwrap_or_default();
        let said = envelope.error.unwrap_or(Said { code: envelope.code, message: envelope.message });
        let without_words = match status {
            401 | 403 => "the identity does not suffice".to_owned(),
            404 => "it does not exist".to_owned(),
            429 => "the service asks for fewer requests".to_owned(),
            status => format!("the service answered with status {status}"),
        };
        Fault {
            request_id: request_id(headers),
            retry_after: retry_after(headers),
            ..Fault::said(Outcome::Status(status), said, &without_words)
        }
    }

    /// A failure in the service's words, or in ours where it has none.
    pub(crate) fn said(outcome: Outcome, said: Said, without_words: &str) -> Fault {
        let message = said.message.unwrap_or_default();
        let first = message.lines().next().unwrap_or_default().trim().trim_end_matches('.');
        let code = said.code.map(|code| scrub(code.trim())).filter(|code| !code.is_empty());
        Fault { code, ..Fault::new(outcome, if first.is_empty() { without_words } else { first }) }
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn leaves_doubt(&self) -> bool {
        matches!(self.outcome, Outcome::Lost | Outcome::Status(500..))
    }

    /// Whether the same request may well succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self.outcome {
            Outcome::Unsent | Outcome::Lost | Outcome::Status(408 | 429) => true,
            Outcome::Status(501 | 505) => false,
            Outcome::Status(status) => status >= 500,
            Outcome::NoToken | Outcome::Wrong | Outcome::GivenUp | Outcome::Unfinished => false,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error.kind() {
            ErrorKind::Connection => Fault::new(Outcome::Unsent, format!("no connection: {error}")),
            ErrorKind::Credential => Fault::new(Outcome::NoToken, error.to_string()),
            _ => Fault::new(Outcome::Lost, format!("the connection broke: {error}")),
        }
    }
}

/// The text of a header.
pub(crate) fn text(headers: &Headers, name: &'static str) -> Option<String> {
    headers.get_optional_string(&HeaderName::from_static(name)).filter(|text| !text.is_empty())
}

/// What support asks for.
pub(crate) fn request_id(headers: &Headers) -> Option<String> {
    text(headers, "x-ms-request-id").or_else(|| text(headers, "x-ms-correlation-request-id"))
}

/// When the service wants to be asked again. Resource Manager gives seconds.
pub(crate) fn retry_after(headers: &Headers) -> Option<Duration> {
    text(headers, "retry-after")?.trim().parse().ok().map(Duration::from_secs)
}
