//! The requests we make, and what their nature allows: asking again, or not.

/// One kind of request, as far as errors and retries tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    GetProperties,
    ListBlobs,
    /// A page list, or a difference.
    ListRanges,
    /// Of the base, or of a snapshot, which some accounts refuse to read.
    Read {
        snapshot: bool,
    },
    Create,
    AcquireLease,
    RenewLease,
    ChangeLease,
    ReleaseLease,
    BreakLease,
    SetSequence,
    SetMetadata,
    Resize,
    PutPage,
    PutPageFromUrl,
    /// Of a range long enough to be halved, or not.
    ClearPages {
        long: bool,
    },
    Snapshot,
    DeleteSnapshot,
    Copy,
    CopyIncrementally,
    AbortCopy,
    Delete,
}

/// When a request may be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Repeating is harmless: after every passing fault.
    Safe,
    /// Repeating is harmless, but where the service runs out of time it should be asked for less.
    Less,
    /// Only when it is certain that the service did not apply it.
    Certain,
}

impl Operation {
    /// The name in the service's documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::GetProperties => "Get Blob Properties",
            Operation::ListBlobs => "List Blobs",
            Operation::ListRanges => "Get Page Ranges",
            Operation::Read { .. } => "Get Blob",
            Operation::Create => "Put Blob",
            Operation::AcquireLease => "Lease Blob (acquire)",
            Operation::RenewLease => "Lease Blob (renew)",
            Operation::ChangeLease => "Lease Blob (change)",
            Operation::ReleaseLease => "Lease Blob (release)",
            Operation::BreakLease => "Lease Blob (break)",
            Operation::SetSequence => "Set Blob Properties (sequence number)",
            Operation::SetMetadata => "Set Blob Metadata",
            Operation::Resize => "Set Blob Properties (resize)",
            Operation::PutPage => "Put Page",
            Operation::PutPageFromUrl => "Put Page From URL",
            Operation::ClearPages { .. } => "Put Page (clear)",
            Operation::Snapshot => "Snapshot Blob",
            Operation::DeleteSnapshot | Operation::Delete => "Delete Blob",
            Operation::Copy => "Copy Blob",
            Operation::CopyIncrementally => "Incremental Copy Blob",
            Operation::AbortCopy => "Abort Copy Blob",
        }
    }

    /// When it may be sent again.
    pub(crate) fn class(self) -> Class {
        match self {
            Operation::ListRanges | Operation::ClearPages { long: true } => Class::Less,
            Operation::GetProperties | Operation::ListBlobs | Operation::Read { .. } => Class::Safe,
            // Under an id of our own choosing these end in the same state however often they arrive.
            Operation::AcquireLease | Operation::RenewLease | Operation::ChangeLease | Operation::ReleaseLease => {
                Class::Safe
            }
            // Disjoint pages under lease and epoch; a size; what is gone either way.
            Operation::PutPage
            | Operation::PutPageFromUrl
            | Operation::ClearPages { long: false }
            | Operation::Resize
            | Operation::DeleteSnapshot
            | Operation::AbortCopy
            | Operation::Delete => Class::Safe,
            // Conditional, or each arrival has an effect of its own. A second Break could end somebody else's lease.
            Operation::Create
            | Operation::SetSequence
            | Operation::SetMetadata
            | Operation::Snapshot
            | Operation::BreakLease
            | Operation::Copy
            | Operation::CopyIncrementally => Class::Certain,
        }
    }

    /// Whether it changes anything, so that a lost answer leaves a doubt.
    pub(crate) fn mutates(self) -> bool {
        !matches!(
            self,
            Operation::GetProperties | Operation::ListBlobs | Operation::ListRanges | Operation::Read { .. }
        )
    }
}
