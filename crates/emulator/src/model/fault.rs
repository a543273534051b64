//! Refusals: the status, the code and the body of every error the service gives.

use crate::response::Response;
use crate::time::Timestamp;
use crate::xml::{self, escape};

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    message: &'static str,
    extra: Vec<(&'static str, String)>,
}

/// Status and text by code. Codes with more than one status are listed with the usual one.
const CATALOGUE: &[(&str, u16, &str)] = &[
    ("ConditionNotMet", 412, "The condition specified using HTTP conditional header(s) is not met."),
    ("BothCrc64AndMd5HeaderPresent", 400, "Both x-ms-content-crc64 header and Content-MD5 header are present."),
    ("MultipleConditionHeadersNotSupported", 400, "Multiple condition headers are not supported."),
    ("ConditionHeadersNotSupported", 400, "Condition headers are not supported."),
    (
        "Crc64Mismatch",
        400,
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.",
    ),
    (
        "Md5Mismatch",
        400,
        "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
    ),
    (
        "InvalidMd5",
        400,
        "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded.",
    ),
    ("EmptyMetadataKey", 400, "The key for one of the metadata key-value pairs is empty."),
    ("InvalidMetadata", 400, "The metadata specified is invalid. It has characters that are not permitted."),
    ("MetadataTooLarge", 400, "The metadata specified exceeds the maximum permissible limit."),
    (
        "InvalidAuthenticationInfo",
        400,
        "Authentication information is not given in the correct format. Check the value of Authorization header.",
    ),
    ("InvalidBlobTier", 400, "The specified blob tier is invalid."),
    ("InvalidHeaderValue", 400, "The value for one of the HTTP headers is not in the correct format."),
    ("InvalidInput", 400, "One of the request inputs is not valid."),
    ("InvalidUri", 400, "The requested URI does not represent any resource on the server."),
    ("InvalidResourceName", 400, "The specified resource name contains invalid characters."),
    ("InvalidXmlDocument", 400, "XML specified is not syntactically valid."),
    ("InvalidHttpVerb", 400, "The HTTP verb specified is invalid - it is not recognized by the server."),
    ("InvalidOperation", 400, "The operation is not valid on a snapshot."),
    (
        "InvalidQueryParameterValue",
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    ("InvalidVersionForPageBlobOperation", 400, "All operations on page blobs require at least version 2009-09-19."),
    ("MissingRequiredHeader", 400, "An HTTP header that's mandatory for this request is not specified."),
    ("MissingRequiredQueryParameter", 400, "A query parameter that's mandatory for this request is not specified."),
    ("UnsupportedHeader", 400, "One of the HTTP headers specified in the request is not supported."),
    ("UnsupportedQueryParameter", 400, "One of the query parameters specified in the request URI is not supported."),
    ("OutOfRangeInput", 400, "One of the request inputs is out of range."),
    (
        "OutOfRangeQueryParameterValue",
        400,
        "One of the query parameters specified in the request URI is outside the permissible range.",
    ),
    (
        "PreviousSnapshotCannotBeNewer",
        400,
        "The prevsnapshot query parameter value cannot be newer than snapshot query parameter value.",
    ),
    (
        "NoAuthenticationInformation",
        401,
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
    ),
    (
        "AuthenticationFailed",
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
    ),
    ("AuthorizationFailure", 403, "This request is not authorized to perform this operation."),
    (
        "AuthorizationPermissionMismatch",
        403,
        "This request is not authorized to perform this operation using this permission.",
    ),
    (
        "AuthorizationProtocolMismatch",
        403,
        "This request is not authorized to perform this operation using this protocol.",
    ),
    (
        "AuthorizationSourceIPMismatch",
        403,
        "This request is not authorized to perform this operation using this source IP.",
    ),
    (
        "AuthorizationResourceTypeMismatch",
        403,
        "This request is not authorized to perform this operation using this resource type.",
    ),
    (
        "AuthorizationServiceMismatch",
        403,
        "This request is not authorized to perform this operation using this service.",
    ),
    ("UnauthorizedBlobOverwrite", 403, "This request is not authorized to perform blob overwrites."),
    ("BlobNotFound", 404, "The specified blob does not exist."),
    ("ContainerNotFound", 404, "The specified container does not exist."),
    ("ResourceNotFound", 404, "The specified resource does not exist."),
    ("CannotVerifyCopySource", 404, "The specified blob does not exist."),
    ("UnsupportedHttpVerb", 405, "The resource doesn't support specified Http Verb."),
    ("BlobAlreadyExists", 409, "The specified blob already exists."),
    ("BlobOverwritten", 409, "The blob has been recreated since the previous snapshot was taken."),
    (
        "BlobTierInadequateForContentLength",
        409,
        "The specified blob tier size limit cannot be less than content length.",
    ),
    ("ContentLengthLargerThanTierLimit", 409, "The blob's content length cannot exceed its tier limit."),
    ("CannotChangeToLowerTier", 409, "A higher blob tier has already been explicitly set."),
    ("PublicAccessNotPermitted", 409, "Public access is not permitted on this storage account."),
    ("ContainerAlreadyExists", 409, "The specified container already exists."),
    ("CopyIdMismatch", 409, "The specified copy ID did not match the copy ID for the pending copy operation."),
    ("NoPendingCopyOperation", 409, "There is currently no pending copy operation."),
    ("PendingCopyOperation", 409, "There is currently a pending copy operation."),
    ("IncrementalCopySourceMustBeSnapshot", 409, "The source for incremental copy request must be a snapshot."),
    (
        "IncrementalCopyBlobMismatch",
        409,
        "The specified source blob is different than the copy source of the existing incremental copy blob.",
    ),
    (
        "IncrementalCopyOfEarlierSnapshotNotAllowed",
        409,
        "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob.",
    ),
    (
        "IncrementalCopyOfEralierVersionSnapshotNotAllowed",
        409,
        "The specified snapshot is earlier than the last snapshot copied into the incremental copy blob.",
    ),
    (
        "IncrementalCopyBlobPreviousSnapshotDoesNotExist",
        409,
        "The last snapshot copied into the incremental copy blob does not exist any more.",
    ),
    ("CopySourceCannotBeIncrementalCopyBlob", 409, "The source of a copy cannot be an incremental copy blob."),
    (
        "OperationNotAllowedOnIncrementalCopyBlob",
        409,
        "The specified operation is not allowed on an incremental copy blob.",
    ),
    ("InvalidBlobType", 409, "The blob type is invalid for this operation."),
    ("LeaseAlreadyPresent", 409, "There is already a lease present."),
    ("LeaseIdMismatchWithLeaseOperation", 409, "The lease ID specified did not match the lease ID for the blob."),
    ("LeaseNotPresentWithLeaseOperation", 409, "There is currently no lease on the blob."),
    (
        "LeaseIsBreakingAndCannotBeAcquired",
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be acquired until it is broken.",
    ),
    (
        "LeaseIsBreakingAndCannotBeChanged",
        409,
        "The lease ID matched, but the lease is currently in breaking state and cannot be changed.",
    ),
    (
        "LeaseIsBrokenAndCannotBeRenewed",
        409,
        "The lease ID matched, but the lease has been broken explicitly and cannot be renewed.",
    ),
    ("PreviousSnapshotNotFound", 409, "The previous snapshot is not found."),
    (
        "PreviousSnapshotOperationNotSupported",
        409,
        "Differential Get Page Ranges is not supported on the previous snapshot.",
    ),
    (
        "SequenceNumberIncrementTooLarge",
        409,
        "The sequence number increment cannot be performed because it would result in overflow of the sequence number.",
    ),
    ("SnapshotCountExceeded", 409, "The snapshot count against this blob has been exceeded."),
    ("SnaphotOperationRateExceeded", 409, "The rate of snapshot operations against this blob has been exceeded."),
    ("SnapshotOperationRateExceeded", 409, "The rate of snapshot operations against this blob has been exceeded."),
    ("SnapshotsPresent", 409, "This operation is not permitted while the blob has snapshots."),
    ("MissingContentLengthHeader", 411, "The content length HTTP header was not specified."),
    ("SequenceNumberConditionNotMet", 412, "The sequence number condition specified was not met."),
    ("SourceConditionNotMet", 412, "The source condition specified using HTTP conditional header(s) is not met."),
    ("LeaseIdMissing", 412, "There is currently a lease on the blob and no lease ID was specified in the request."),
    ("LeaseLost", 412, "A lease ID was specified, but the lease for the blob has expired."),
    ("LeaseIdMismatchWithBlobOperation", 412, "The lease ID specified did not match the lease ID for the blob."),
    ("LeaseNotPresentWithBlobOperation", 412, "There is currently no lease on the blob."),
    (
        "LeaseIdMismatchWithContainerOperation",
        412,
        "The lease ID specified did not match the lease ID for the container.",
    ),
    (
        "InfiniteLeaseDurationRequired",
        412,
        "The lease ID matched, but the specified lease must be an infinite-duration lease.",
    ),
    ("RequestBodyTooLarge", 413, "The request body is too large and exceeds the maximum permissible limit."),
    ("InvalidRange", 416, "The range specified is invalid for the current size of the resource."),
    ("InvalidPageRange", 416, "The page range specified is invalid."),
    ("InternalError", 500, "Server encountered an internal error. Please try again after some time."),
    ("OperationTimedOut", 500, "Operation could not be completed within the permitted time."),
    ("ServerBusy", 503, "The server is currently unable to receive requests. Please retry your request."),
    ("NotImplemented", 501, "The requested operation is not implemented on the specified resource."),
];

impl Fault {
    /// The fault with this code, as the catalogue has it.
    pub(crate) fn of(code: &'static str) -> Self {
        let found = CATALOGUE.iter().find(|(known, ..)| *known == code);
        debug_assert!(found.is_some(), "{code} is not in the catalogue");
        let (_, status, message) = found.copied().unwrap_or((code, 500, "Unknown error."));
        Self { status, code, message, extra: Vec::new() }
    }

    /// A header whose value makes no sense.
    pub(crate) fn header(name: &str, value: &str) -> Self {
        Self::of("InvalidHeaderValue").with("HeaderName", name).with("HeaderValue", value)
    }

    /// A header that is needed and not there.
    pub(crate) fn missing(name: &str) -> Self {
        Self::of("MissingRequiredHeader").with("HeaderName", name)
    }

    /// A query parameter whose value makes no sense.
    pub(crate) fn parameter(name: &str, value: &str, reason: &str) -> Self {
        Self::of("InvalidQueryParameterValue").about(name, value, reason)
    }

    /// A query parameter that is outside its limits.
    pub(crate) fn out_of_range(name: &str, value: &str, reason: &str) -> Self {
        Self::of("OutOfRangeQueryParameterValue").about(name, value, reason)
    }

    /// Credentials that do not hold, and why.
    pub(crate) fn authentication(detail: impl Into<String>) -> Self {
        Self::of("AuthenticationFailed").with("AuthenticationErrorDetail", detail)
    }

    /// The same fault with one more element in its body.
    pub(crate) fn with(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.extra.push((element, text.into()));
        self
    }

    /// The same fault under another status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same fault with the text of another code, as the service does when it passes on what a source said.
    pub(crate) fn text_of(mut self, code: &'static str) -> Self {
        self.message = Self::of(code).message;
        self
    }

    /// The answer without a body.
    pub(crate) fn bare(&self) -> Response {
        Response::new(self.status).with("x-ms-error-code", self.code)
    }

    fn about(self, name: &str, value: &str, reason: &str) -> Self {
        self.with("QueryParameterName", name).with("QueryParameterValue", value).with("Reason", reason)
    }

    /// The answer that tells a client of this fault. HEAD and 304 carry no body.
    pub(crate) fn response(&self, method: &str, id: &str, now: Timestamp) -> Response {
        let mut response = self.bare();
        if self.code == "NoAuthenticationInformation" {
            response.set("www-authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/common");
        }
        if self.status == 304 || method == "HEAD" {
            return response;
        }
        let mut body = xml::head();
        body.push_str(&format!("<Error><Code>{}</Code><Message>{}\n", self.code, escape(self.message)));
        body.push_str(&format!("RequestId:{id}\nTime:{}</Message>", now.iso()));
        for (element, text) in &self.extra {
            body.push_str(&format!("<{element}>{}</{element}>", escape(text)));
        }
        body.push_str("</Error>");
        response.body = body.into();
        response.with("content-type", "application/xml")
    }
}
