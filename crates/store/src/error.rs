//! Failures, sorted by what the caller can do next.

use std::fmt;

/// What to do about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Retries are spent on a passing fault: run again.
    Transient,
    /// The service gave up on time: ask for less. Listings only; elsewhere it is [`ErrorKind::Transient`].
    TimedOut,
    /// The request may or may not have been applied, and must not simply be repeated: look, then decide.
    Unknown,
    /// The blob, snapshot or container is not there.
    NotFound,
    /// The credentials do not suffice.
    Denied,
    /// Somebody else holds the lease.
    Busy,
    /// Our lease or epoch no longer holds: stop at once.
    Fenced,
    /// An `If-Match` did not hold: the blob has changed since we looked.
    Changed,
    /// The blob exists already.
    Exists,
    /// The service cannot difference from that snapshot (any more): the chain is broken.
    ChainBroken,
    /// The service refuses to read this snapshot (premium accounts).
    ReadRefused,
    /// Bytes arrived that are not what was sent, or an answer that contradicts itself: do not continue.
    Integrity,
    /// The request is wrong for this service or this blob: a person must change something.
    Invalid,
    /// Asked to stop while it waited for its turn; nothing was sent.
    Stopped,
}

/// A failed request: operation, object, cause, and what support will ask for. Never holds a signature or key.
#[derive(Clone, Debug)]
pub struct StoreError(Box<Failure>);

/// The particulars of a [`StoreError`].
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// What was tried, as the service's documentation calls it: `Put Page`.
    pub operation: &'static str,
    /// The blob or container, without query.
    pub object: String,
    /// What happened, in a few words.
    pub cause: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's error code, if it gave one.
    pub code: Option<String>,
    /// The service's request id, if it gave one.
    pub request_id: Option<String>,
    /// How many times it was tried.
    pub attempts: u32,
}

impl StoreError {
    /// A failure of `operation` on `object`.
    pub fn new(kind: ErrorKind, operation: &'static str, object: impl Into<String>, cause: impl Into<String>) -> Self {
        StoreError(Box::new(Failure {
            kind,
            operation,
            object: object.into(),
            cause: cause.into(),
            status: None,
            code: None,
            request_id: None,
            attempts: 1,
        }))
    }

    /// The failure with all its particulars.
    pub fn from_failure(failure: Failure) -> Self {
        StoreError(Box::new(failure))
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The service's error code, or nothing.
    pub fn code(&self) -> &str {
        self.0.code.as_deref().unwrap_or_default()
    }

    /// The particulars.
    pub fn failure(&self) -> &Failure {
        &self.0
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { operation, object, cause, status, code, request_id, attempts, .. } = &*self.0;
        write!(f, "{operation} on {object} failed: {cause}")?;
        let mut details = Vec::new();
        match (status, code) {
            (Some(status), Some(code)) => details.push(format!("{status} {code}")),
            (Some(status), None) => details.push(format!("status {status}")),
            (None, Some(code)) => details.push(code.clone()),
            (None, None) => {}
        }
        if let Some(id) = request_id {
            details.push(format!("request {id}"));
        }
        if *attempts > 1 {
            details.push(format!("{attempts} attempts"));
        }
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join(", ")) }
    }
}

impl std::error::Error for StoreError {}
