//! The one table from the service's answers to what a caller can do, and the sentence a person reads.
//!
//! Errors come as XML with a byte-order mark, as HTML from a proxy, or (to HEAD) as nothing but headers. The code in the
//! header decides; the body only words the sentence.

use pageferry_store::ErrorKind;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::fault::{Fault, Outcome};
use crate::operation::{Class, Operation};

/// What the caller of `operation` can do about `fault`, once it is not to be tried again.
pub(crate) fn kind(operation: Operation, fault: &Fault) -> ErrorKind {
    let doubtful = operation.class() == Class::Certain && fault.leaves_doubt();
    match fault.outcome {
        _ if doubtful => ErrorKind::Unknown,
        Outcome::Status(status) => of_answer(operation, status, fault.code.as_deref().unwrap_or_default()),
        Outcome::Unsent | Outcome::Silent | Outcome::Broken => ErrorKind::Transient,
        Outcome::Corrupt | Outcome::Wrong => ErrorKind::Integrity,
        Outcome::NoToken => ErrorKind::Denied,
        Outcome::Unmakeable => ErrorKind::Invalid,
    }
}

/// The table.
fn of_answer(operation: Operation, status: u16, code: &str) -> ErrorKind {
    use Operation::{AcquireLease, Copy, CopyIncrementally, Create, ListRanges, Read};
    match (status, code) {
        // Whose chain is broken, and who may not read: before the plain statuses they come with.
        (
            _,
            "BlobOverwritten"
            | "BlobGenerationMismatch"
            | "PreviousSnapshotNotFound"
            | "PreviousSnapshotOperationNotSupported"
            | "PreviousSnapshotCannotBeNewer",
        ) => ErrorKind::ChainBroken,
        (400, "InvalidOperation") if operation == (Read { snapshot: true }) => ErrorKind::ReadRefused,
        (400, "Crc64Mismatch" | "Md5Mismatch") => ErrorKind::Integrity,

        // A new blob meets no lease and no condition but its own: there is one already.
        (409, "BlobAlreadyExists") | (412, _) if operation == Create => ErrorKind::Exists,
        (409, "BlobAlreadyExists") if matches!(operation, Copy | CopyIncrementally) => ErrorKind::Exists,
        (409 | 412, code) if code.starts_with("Lease") && operation == AcquireLease => ErrorKind::Busy,
        (409 | 412, code) if code.starts_with("Lease") || code == "SequenceNumberConditionNotMet" => ErrorKind::Fenced,
        (412, _) => ErrorKind::Changed,
        (409, "ContainerBeingDeleted") => ErrorKind::Transient,

        (404, _) => ErrorKind::NotFound,
        (401 | 403, _) => ErrorKind::Denied,
        (408 | 429, _) => ErrorKind::Transient,
        (400..500, _) => ErrorKind::Invalid,
        (501 | 505, _) => ErrorKind::Invalid,
        (500.., "OperationTimedOut") if operation == ListRanges => ErrorKind::TimedOut,
        (500.., _) => ErrorKind::Transient,
        (300..400, _) => ErrorKind::Invalid,
        // A success, but not the one this operation has.
        _ => ErrorKind::Integrity,
    }
}

/// What the body of an error says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: Option<String>,
    message: String,
    /// The header or parameter that was wrong; its value may be a secret and is not kept.
    about: Option<String>,
}

/// Reads the body of an error as far as it can be read.
pub(crate) fn parse(body: &[u8]) -> Told {
    let body = String::from_utf8_lossy(body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body));
    let mut told = Told::default();
    let mut reader = Reader::from_str(&body);
    reader.config_mut().check_end_names = false;
    let (mut element, mut text) = (String::new(), String::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                element = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                text.clear();
            }
            Ok(Event::Text(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(entity)) => text.push_str(&crate::list_blobs::resolve(&entity).unwrap_or_default()),
            Ok(Event::End(_)) => {
                let said = || Some(text.trim().to_owned());
                match element.as_str() {
                    "Code" => told.code = said(),
                    "Message" => told.message = text.trim().to_owned(),
                    "HeaderName" | "QueryParameterName" => told.about = said(),
                    _ => {}
                }
                element.clear();
                text.clear();
            }
            Ok(Event::Eof) | Err(_) => return told,
            Ok(_) => {}
        }
    }
}

/// One line for people.
pub(crate) fn sentence(status: u16, told: &Told) -> String {
    let first = told.message.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let mut sentence = match (first, status, told.code.as_deref().unwrap_or_default()) {
        // To HEAD the service answers without words.
        ("", 404, "ContainerNotFound") => "the container does not exist".to_owned(),
        ("", 404, _) => "it does not exist".to_owned(),
        ("", 400, "InvalidResourceName") => {
            "the container's name is none that can be: 3 to 63 lower-case letters, digits and single hyphens".to_owned()
        }
        ("", 401 | 403, _) => "the credentials do not suffice".to_owned(),
        ("", 412, _) => "a condition of the request does not hold".to_owned(),
        ("", 503, _) => "the service is busy".to_owned(),
        ("", ..) => format!("the service answered with status {status}"),
        (message, ..) => message.to_owned(),
    };
    if let Some(about) = &told.about {
        sentence.push_str(&format!(" ({about})"));
    }
    sentence
}

/// What the codes that need an explanation mean for us; nothing for the others, whose own words will do.
pub(crate) fn explanation(operation: Operation, code: &str) -> Option<&'static str> {
    Some(match code {
        "SnaphotOperationRateExceeded" | "SnapshotOperationRateExceeded" => {
            "a premium account takes one snapshot of a blob per 10 minutes, and the last one is younger"
        }
        "SnapshotCountExceeded" => "the blob has as many snapshots as a premium account keeps (100); delete some",
        "SystemInUse" => "the disk is attached to a virtual machine; take a snapshot and use that",
        "PendingCopyOperation" => "a copy onto this blob is still running",
        "InvalidOperation" if operation == (Operation::Read { snapshot: true }) => {
            "this account does not let snapshots be read: name a blob of it with --scratch, to which they are copied and read"
        }
        "CannotVerifyCopySource" if operation == Operation::PutPageFromUrl => {
            "the target's service cannot read the source by itself (a firewall, a private endpoint or the SAS may keep it out): \
             use --engine relay"
        }
        "InvalidBlobType" => "it is not a page blob",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_place() {
        use ErrorKind as K;
        use Operation as O;
        let read = O::Read { snapshot: true };
        for (operation, status, code, expected) in [
            (O::GetProperties, 404, "", K::NotFound),
            (O::GetProperties, 404, "ContainerNotFound", K::NotFound),
            (read, 401, "NoAuthenticationInformation", K::Denied),
            (read, 403, "AuthenticationFailed", K::Denied),
            (O::AcquireLease, 409, "LeaseAlreadyPresent", K::Busy),
            (O::AcquireLease, 409, "LeaseIsBreakingAndCannotBeAcquired", K::Busy),
            (O::RenewLease, 409, "LeaseIdMismatchWithLeaseOperation", K::Fenced),
            (O::RenewLease, 409, "LeaseIsBrokenAndCannotBeRenewed", K::Fenced),
            (O::PutPage, 412, "LeaseIdMismatchWithBlobOperation", K::Fenced),
            (O::PutPage, 409, "LeaseIdMismatchWithBlobOperation", K::Fenced),
            (O::PutPage, 412, "LeaseLost", K::Fenced),
            (O::ClearPages { long: false }, 412, "SequenceNumberConditionNotMet", K::Fenced),
            (O::SetMetadata, 412, "ConditionNotMet", K::Changed),
            (O::Snapshot, 412, "TargetConditionNotMet", K::Changed),
            (O::SetMetadata, 412, "LeaseIdMissing", K::Fenced),
            (O::ListRanges, 412, "ConditionNotMet", K::Changed),
            (O::Create, 409, "BlobAlreadyExists", K::Exists),
            (O::Create, 412, "ConditionNotMet", K::Exists),
            (O::Create, 412, "LeaseIdMissing", K::Exists),
            (O::ListRanges, 409, "BlobOverwritten", K::ChainBroken),
            (O::ListRanges, 409, "BlobGenerationMismatch", K::ChainBroken),
            (O::ListRanges, 409, "PreviousSnapshotNotFound", K::ChainBroken),
            (O::ListRanges, 409, "PreviousSnapshotOperationNotSupported", K::ChainBroken),
            (O::ListRanges, 400, "PreviousSnapshotCannotBeNewer", K::ChainBroken),
            (read, 400, "InvalidOperation", K::ReadRefused),
            (O::Read { snapshot: false }, 400, "InvalidOperation", K::Invalid),
            (O::PutPage, 400, "Crc64Mismatch", K::Integrity),
            (O::Snapshot, 409, "SnaphotOperationRateExceeded", K::Invalid),
            (O::Snapshot, 409, "SnapshotOperationRateExceeded", K::Invalid),
            (O::Snapshot, 409, "SnapshotCountExceeded", K::Invalid),
            (O::PutPage, 416, "InvalidPageRange", K::Invalid),
            (O::PutPage, 429, "", K::Transient),
            (O::PutPage, 503, "ServerBusy", K::Transient),
            (O::PutPage, 500, "OperationTimedOut", K::Transient),
            (O::ListRanges, 500, "OperationTimedOut", K::TimedOut),
            (O::ListRanges, 500, "InternalError", K::Transient),
            (O::ListRanges, 501, "NotImplemented", K::Invalid),
            (O::GetProperties, 302, "", K::Invalid),
            (O::PutPage, 202, "", K::Integrity),
        ] {
            assert_eq!(of_answer(operation, status, code), expected, "{operation:?} {status} {code}");
        }
    }

    #[test]
    fn a_lost_answer_to_an_unrepeatable_request_is_unknown() {
        let lost = Fault::new(Outcome::Broken, "reset");
        assert_eq!(kind(Operation::Snapshot, &lost), ErrorKind::Unknown);
        assert_eq!(kind(Operation::PutPage, &lost), ErrorKind::Transient);
        let internal = Fault::new(Outcome::Status(500), "");
        assert_eq!(kind(Operation::SetMetadata, &internal), ErrorKind::Unknown);
        let unsent = Fault::new(Outcome::Unsent, "refused");
        assert_eq!(kind(Operation::SetMetadata, &unsent), ErrorKind::Transient);
    }

    #[test]
    fn the_message_is_one_line_without_ids_and_values() {
        let body = "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>InvalidHeaderValue</Code>\
            <Message>The value for one of the HTTP headers isn&apos;t right.\nRequestId:e4de\nTime:2022</Message>\
            <HeaderName>x-ms-previous-snapshot-url</HeaderName><HeaderValue>https://x?sig=CANARY</HeaderValue></Error>";
        let told = parse(body.as_bytes());
        assert_eq!(told.code.as_deref(), Some("InvalidHeaderValue"));
        let expected = "The value for one of the HTTP headers isn't right (x-ms-previous-snapshot-url)";
        assert_eq!(sentence(400, &told), expected);
    }

    #[test]
    fn an_answer_without_words_gets_some() {
        let told = |code: &str| Told { code: Some(code.to_owned()), ..Told::default() };
        assert_eq!(sentence(404, &told("ContainerNotFound")), "the container does not exist");
        assert_eq!(sentence(404, &told("BlobNotFound")), "it does not exist");
        assert_eq!(sentence(403, &Told::default()), "the credentials do not suffice");
    }

    #[test]
    fn bodies_that_are_no_errors_leave_the_status() {
        for body in ["", "<html><body>Bad <b>gateway</body>", "<Error><Code>", "\u{0}\u{1}", "{\"error\":1}"] {
            let told = parse(body.as_bytes());
            assert_eq!(sentence(502, &told), "the service answered with status 502", "{body}");
        }
    }
}
