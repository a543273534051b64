//! The requests we make: what they are called, and what an identity must be allowed to do for each.

use crate::resource_id::Kind;

/// One kind of request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Get(Kind),
    ListSnapshots,
    Create(Kind),
    Delete(Kind),
    BeginAccess(Kind),
    EndAccess(Kind),
    /// Asking how far one of the others has come.
    Poll(&'static str),
}

impl Operation {
    /// The name in the service's documentation; of a question about another operation, that operation's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::Get(Kind::Disk) => "Get Disk",
            Operation::Get(Kind::Snapshot) => "Get Snapshot",
            Operation::ListSnapshots => "List Snapshots",
            Operation::Create(Kind::Disk) => "Create Disk",
            Operation::Create(Kind::Snapshot) => "Create Snapshot",
            Operation::Delete(Kind::Disk) => "Delete Disk",
            Operation::Delete(Kind::Snapshot) => "Delete Snapshot",
            Operation::BeginAccess(_) => "Begin Get Access",
            Operation::EndAccess(_) => "End Get Access",
            Operation::Poll(name) => name,
        }
    }

    /// The action that a role must hold for it.
    pub(crate) fn action(self) -> String {
        let (kind, action) = match self {
            Operation::Get(kind) => (kind, "read"),
            Operation::ListSnapshots => (Kind::Snapshot, "read"),
            Operation::Create(kind) => (kind, "write"),
            Operation::Delete(kind) => (kind, "delete"),
            Operation::BeginAccess(kind) => (kind, "beginGetAccess/action"),
            Operation::EndAccess(kind) => (kind, "endGetAccess/action"),
            Operation::Poll(_) => return "Microsoft.Compute/locations/DiskOperations/read".to_owned(),
        };
        format!("Microsoft.Compute/{}/{action}", kind.plural())
    }
}
