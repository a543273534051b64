//! From a fault to what a caller can do, and to the sentence a person reads.

use pageferry_store::error::Failure;
use pageferry_store::{ErrorKind, StoreError};

use crate::fault::{Fault, Outcome};
use crate::operation::Operation;

/// The error of `operation` on `object`, once it is not to be tried again.
pub(crate) fn error(operation: Operation, object: &str, fault: Fault, attempts: u32) -> StoreError {
    let kind = kind(operation, &fault);
    let denied_by_role = matches!(fault.outcome, Outcome::Status(401 | 403)) && !is_policy(&fault);
    let cause = if denied_by_role {
        format!("{}; the identity needs a role with the action {}", fault.cause, operation.action())
    } else {
        fault.cause
    };
    StoreError::from_failure(Failure {
        kind,
        operation: operation.name(),
        object: object.to_owned(),
        cause,
        status: match fault.outcome {
            Outcome::Status(status) => Some(status),
            _ => None,
        },
        code: fault.code,
        request_id: fault.request_id,
        attempts,
    })
}

fn kind(operation: Operation, fault: &Fault) -> ErrorKind {
    match fault.outcome {
        Outcome::Unsent | Outcome::Lost | Outcome::Unfinished => ErrorKind::Transient,
        Outcome::NoToken => ErrorKind::Denied,
        Outcome::Wrong => ErrorKind::Integrity,
        Outcome::GivenUp => of_code(fault.code.as_deref().unwrap_or_default()),
        // What is not there any more is the operation, not the resource.
        Outcome::Status(404) if matches!(operation, Operation::Poll(_)) => ErrorKind::Transient,
        Outcome::Status(404) => ErrorKind::NotFound,
        Outcome::Status(401 | 403) => ErrorKind::Denied,
        Outcome::Status(408 | 429) => ErrorKind::Transient,
        Outcome::Status(501 | 505) => ErrorKind::Invalid,
        Outcome::Status(500..) => ErrorKind::Transient,
        Outcome::Status(_) => ErrorKind::Invalid,
    }
}

/// What can be done about an operation that the service undertook and gave up.
fn of_code(code: &str) -> ErrorKind {
    match code {
        "ResourceNotFound" | "ResourceGroupNotFound" | "NotFound" => ErrorKind::NotFound,
        "InternalServerError" | "InternalExecutionError" | "InternalError" | "InternalOperationError" => {
            ErrorKind::Transient
        }
        "ServerBusy" | "ServerTimeout" | "TooManyRequests" | "OperationTimedOut" | "RetryableError" => {
            ErrorKind::Transient
        }
        _ => ErrorKind::Invalid,
    }
}

/// Whether a rule of the organisation refused, against which no role helps.
fn is_policy(fault: &Fault) -> bool {
    fault.code.as_deref().is_some_and(|code| code.starts_with("RequestDisallowed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Said;
    use crate::resource_id::Kind;

    #[test]
    fn every_answer_has_its_place() {
        use ErrorKind as K;
        use Outcome::{GivenUp, Lost, NoToken, Status, Unfinished, Unsent, Wrong};
        let get = Operation::Get(Kind::Snapshot);
        for (operation, outcome, code, expected) in [
            (get, Status(404), "ResourceNotFound", K::NotFound),
            (Operation::Poll("Create Disk"), Status(404), "NotFound", K::Transient),
            (get, Status(401), "", K::Denied),
            (get, Status(403), "AuthorizationFailed", K::Denied),
            (get, Status(400), "InvalidParameter", K::Invalid),
            (get, Status(409), "OperationNotAllowed", K::Invalid),
            (get, Status(302), "", K::Invalid),
            (get, Status(408), "", K::Transient),
            (get, Status(429), "", K::Transient),
            (get, Status(500), "", K::Transient),
            (get, Status(503), "", K::Transient),
            (get, Status(501), "", K::Invalid),
            (get, Unsent, "", K::Transient),
            (get, Lost, "", K::Transient),
            (get, Unfinished, "", K::Transient),
            (get, NoToken, "", K::Denied),
            (get, Wrong, "", K::Integrity),
            (get, GivenUp, "ResourceNotFound", K::NotFound),
            (get, GivenUp, "InternalServerError", K::Transient),
            (get, GivenUp, "SnapshotCountExceeded", K::Invalid),
        ] {
            let said = Said { code: Some(code.to_owned()), message: None };
            let fault = Fault::said(outcome, said, "no words");
            assert_eq!(error(operation, "x", fault, 1).kind(), expected, "{operation:?} {outcome:?} {code}");
        }
    }

    #[test]
    fn who_is_denied_is_told_what_to_ask_for() {
        let denied = |code: &str, operation| {
            let said = Said { code: Some(code.to_owned()), message: Some("No".to_owned()) };
            error(operation, "x", Fault::said(Outcome::Status(403), said, ""), 1).to_string()
        };
        for (operation, action) in [
            (Operation::Get(Kind::Disk), "Microsoft.Compute/disks/read"),
            (Operation::ListSnapshots, "Microsoft.Compute/snapshots/read"),
            (Operation::Create(Kind::Snapshot), "Microsoft.Compute/snapshots/write"),
            (Operation::Delete(Kind::Disk), "Microsoft.Compute/disks/delete"),
            (Operation::BeginAccess(Kind::Snapshot), "Microsoft.Compute/snapshots/beginGetAccess/action"),
            (Operation::EndAccess(Kind::Disk), "Microsoft.Compute/disks/endGetAccess/action"),
            (Operation::Poll("Create Disk"), "Microsoft.Compute/locations/DiskOperations/read"),
        ] {
            let told = denied("AuthorizationFailed", operation);
            assert!(told.contains(&format!("needs a role with the action {action} ")), "{told}");
        }
        let policy = denied("RequestDisallowedByPolicy", Operation::Create(Kind::Disk));
        assert!(!policy.contains("role"), "{policy}");
    }
}
