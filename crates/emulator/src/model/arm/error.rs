//! Refusals of the resource manager: JSON, where the blob service has XML.

use std::fmt;

use serde_json::json;

use crate::response::Response;

/// Why the resource manager did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmError {
    /// The status code.
    pub status: u16,
    /// The code in the body, such as `ResourceNotFound`.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The seconds after which asking again makes sense, if it does.
    pub retry_after: Option<u64>,
}

impl ArmError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// A body or a parameter that makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message)
    }

    /// Something that cannot be done to the resource as it is now.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "OperationNotAllowed", message)
    }

    /// A limit that is reached, and may not be later.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(409, "ConflictingUserInput", message)
    }

    /// A resource that is not there.
    pub(crate) fn not_found(id: &str) -> Self {
        Self::new(404, "ResourceNotFound", format!("The Resource '{id}' was not found."))
    }

    /// The error as the body of an answer has it.
    pub(crate) fn body(&self) -> serde_json::Value {
        json!({ "code": self.code, "message": self.message })
    }

    /// The answer that tells a client of it.
    pub(crate) fn response(&self) -> Response {
        let mut response = reply(self.status, &json!({ "error": self.body() }));
        response.set("x-ms-failure-cause", "service");
        if let Some(seconds) = self.retry_after {
            response.set("retry-after", seconds.to_string());
        }
        response
    }

    /// The refusal of a request under a script of faults; the codes are those of the blob service.
    pub(crate) fn injected(code: &str) -> Self {
        match code {
            "ServerBusy" => Self {
                retry_after: Some(0),
                ..Self::new(429, "TooManyRequests", "The request was throttled. Please try again later.")
            },
            "OperationTimedOut" => Self::new(504, "GatewayTimeout", "The gateway did not receive a response in time."),
            "MissingContentLengthHeader" => Self::new(411, "LengthRequired", "The request has no Content-Length."),
            "RequestBodyTooLarge" => Self::new(413, "RequestEntityTooLarge", "The request body is too large."),
            "InvalidInput" => Self::new(400, "InvalidRequestContent", "The request body ended early."),
            _ => Self::new(500, "InternalServerError", "An internal error occurred. Please try again later."),
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn reply(status: u16, body: &serde_json::Value) -> Response {
    let mut response = Response::new(status).with("content-type", "application/json; charset=utf-8");
    response.body = body.to_string().into();
    response
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for ArmError {}
