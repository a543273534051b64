//! How one attempt failed, before anybody has decided what to do about it.

use std::time::{Duration, SystemTime};

use azure_core::error::{Error, ErrorKind};
use azure_core::http::RawResponse;
use azure_core::http::headers::{HeaderName, Headers};

use pageferry_pace::Ended;

use crate::errors;
use crate::operation::{Class, Operation};
use crate::scrub::scrub;

/// How far the request got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The service answered with this status.
    Status(u16),
    /// No connection was made, so nothing was sent.
    Unsent,
    /// No answer, or no more of it, in the time we wait.
    Silent,
    /// The connection broke, or the answer ended early.
    Broken,
    /// What arrived is not what was sent; it may be better next time.
    Corrupt,
    /// An answer that contradicts the question.
    Wrong,
    /// No token could be had, so nothing was sent.
    NoToken,
    /// The request cannot be made.
    Unmakeable,
}

/// One failed attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    pub(crate) code: Option<String>,
    pub(crate) cause: String,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<RetryAfter>,
}

/// What passes by itself where a copy's source says it.
const PASSING: [&str; 3] = ["OperationTimedOut", "InternalError", "ServerBusy"];

/// When the service wants to be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RetryAfter {
    In(Duration),
    At(SystemTime),
}

impl Fault {
    /// Every cause is made here, so that none can hold a secret, whoever worded it.
    pub(crate) fn new(outcome: Outcome, cause: impl AsRef<str>) -> Fault {
        Fault { outcome, code: None, cause: scrub(cause.as_ref()), request_id: None, retry_after: None }
    }

    /// An answer whose headers tell which request it belongs to, but whose content is no good.
    pub(crate) fn in_answer(outcome: Outcome, headers: &Headers, cause: impl AsRef<str>) -> Fault {
        Fault { request_id: text(headers, "x-ms-request-id"), ..Fault::new(outcome, cause) }
    }

    /// An answer that reports a failure. `body` is as much of it as arrived.
    pub(crate) fn from_answer(status: u16, headers: &Headers, body: &[u8]) -> Fault {
        let mut told = errors::parse(body);
        told.code = text(headers, "x-ms-error-code").or(told.code).filter(|code| !code.is_empty());
        let cause = errors::sentence(status, &told);
        // The service could not read what it was to copy, and only for now: nothing was changed.
        let source = text(headers, "x-ms-copy-source-error-code").filter(|code| PASSING.contains(&code.as_str()));
        let status = if source.is_some() { 503 } else { status };
        Fault {
            code: source.or(told.code),
            retry_after: retry_after(headers),
            ..Fault::in_answer(Outcome::Status(status), headers, cause)
        }
    }

    /// Whether this is the service's error `code`.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether a changing request that failed so may have been applied, or may yet be (REST: Put Page).
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self.outcome {
            Outcome::Status(status) => !(100..500).contains(&status) && status != 503,
            Outcome::Silent | Outcome::Broken | Outcome::Corrupt | Outcome::Wrong => true,
            Outcome::Unsent | Outcome::NoToken | Outcome::Unmakeable => false,
        }
    }

    /// Whether the service, or the way to it, seems to have too much to do.
    pub(crate) fn is_refusal(&self) -> bool {
        match self.outcome {
            Outcome::Status(503 | 429) => true,
            Outcome::Status(500) => self.is("OperationTimedOut"),
            Outcome::Silent | Outcome::Broken | Outcome::Unsent => true,
            _ => false,
        }
    }
}

impl Fault {
    /// What this says about the load on the service.
    pub(crate) fn ended(&self, operation: Operation) -> Ended {
        match self.outcome {
            Outcome::Silent | Outcome::Broken | Outcome::Unsent => Ended::Lost,
            // A long clear may be too much by itself.
            Outcome::Status(500) if operation.class() == Class::Less => Ended::Answered,
            _ if self.is_refusal() => Ended::Refused,
            _ => Ended::Answered,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error.kind() {
            ErrorKind::HttpResponse { status, raw_response: Some(raw), .. } => {
                Fault::from_answer(u16::from(*status), raw.headers(), body(raw))
            }
            ErrorKind::HttpResponse { status, .. } => {
                Fault::from_answer(u16::from(*status), &Headers::new(), error.to_string().as_bytes())
            }
            ErrorKind::Connection => Fault::new(Outcome::Unsent, format!("no connection: {error}")),
            ErrorKind::Io => Fault::new(Outcome::Broken, format!("the connection broke: {error}")),
            ErrorKind::Credential => Fault::new(Outcome::NoToken, error.to_string()),
            // The SDK met something it has no name for, before or after sending: assume the worse.
            _ => Fault::new(Outcome::Broken, error.to_string()),
        }
    }
}

fn body(raw: &RawResponse) -> &[u8] {
    raw.body()
}

/// The text of a header.
pub(crate) fn text(headers: &Headers, name: &'static str) -> Option<String> {
    headers.get_optional_string(&HeaderName::from_static(name))
}

fn retry_after(headers: &Headers) -> Option<RetryAfter> {
    for name in ["x-ms-retry-after-ms", "retry-after-ms"] {
        if let Some(millis) = text(headers, name).and_then(|value| value.trim().parse().ok()) {
            return Some(RetryAfter::In(Duration::from_millis(millis)));
        }
    }
    let value = text(headers, "retry-after")?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(RetryAfter::In(Duration::from_secs(seconds)));
    }
    let date = azure_core::time::parse_rfc7231(value.trim()).ok()?;
    Some(RetryAfter::At(SystemTime::from(date)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: &str) -> Fault {
        let mut headers = Headers::new();
        headers.insert("x-ms-error-code", code.to_owned());
        Fault::from_answer(status, &headers, b"")
    }

    #[test]
    fn only_some_answers_are_certain() {
        for certain in [200, 304, 400, 404, 408, 409, 412, 429, 499, 503] {
            assert!(!status(certain, "X").leaves_doubt(), "{certain}");
        }
        for doubtful in [500, 501, 502, 504, 599] {
            assert!(status(doubtful, "X").leaves_doubt(), "{doubtful}");
        }
        assert!(Fault::new(Outcome::Silent, "").leaves_doubt());
        assert!(Fault::new(Outcome::Broken, "").leaves_doubt());
        assert!(!Fault::new(Outcome::Unsent, "").leaves_doubt());
    }

    #[test]
    fn being_busy_has_several_faces() {
        assert!(status(503, "ServerBusy").is_refusal());
        assert!(status(500, "OperationTimedOut").is_refusal());
        assert!(!status(500, "InternalError").is_refusal());
        assert!(!status(404, "BlobNotFound").is_refusal());
    }

    #[test]
    fn the_service_may_say_when_to_come_back() {
        let header = |name: &'static str, value: &'static str| {
            let mut headers = Headers::new();
            headers.insert(name, value);
            retry_after(&headers)
        };
        assert_eq!(header("retry-after", "7"), Some(RetryAfter::In(Duration::from_secs(7))));
        assert_eq!(header("x-ms-retry-after-ms", "1500"), Some(RetryAfter::In(Duration::from_millis(1500))));
        let date = header("retry-after", "Fri, 27 Jan 2023 22:27:19 GMT");
        assert_eq!(date, Some(RetryAfter::At(SystemTime::UNIX_EPOCH + Duration::from_secs(1_674_858_439))));
        assert_eq!(header("retry-after", "soon"), None);
    }
}
