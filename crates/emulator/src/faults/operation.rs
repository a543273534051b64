//! What a request is about to do, told from its outside, so that a rule can be about it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::arm::id::{self as arm, Kind, Route};
use crate::request::Request;

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An operation of the service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in scripts, such as `put-page-update`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    /// Put Page with data.
    PutPageUpdate = "put-page-update",
    /// Put Page that clears.
    PutPageClear = "put-page-clear",
    /// Put Page From URL.
    PutPageFromUrl = "put-page-from-url",
    /// Get Blob, of a base or a snapshot.
    GetBlob = "get-blob",
    /// Get Page Ranges without an earlier snapshot.
    GetPageRanges = "get-page-ranges",
    /// Get Page Ranges since an earlier snapshot.
    GetPageRangesDiff = "get-page-ranges-diff",
    /// Get Blob Properties.
    GetBlobProperties = "get-blob-properties",
    /// Get Blob Metadata.
    GetBlobMetadata = "get-blob-metadata",
    /// Put Blob.
    PutBlob = "put-blob",
    /// Set Blob Properties: resize, sequence number, HTTP properties.
    SetBlobProperties = "set-blob-properties",
    /// Set Blob Metadata.
    SetBlobMetadata = "set-blob-metadata",
    /// Set Blob Tier.
    SetBlobTier = "set-blob-tier",
    /// Snapshot Blob.
    SnapshotBlob = "snapshot-blob",
    /// Copy Blob.
    CopyBlob = "copy-blob",
    /// Incremental Copy Blob.
    IncrementalCopy = "incremental-copy",
    /// Abort Copy Blob.
    AbortCopy = "abort-copy",
    /// Delete Blob, of a base.
    DeleteBlob = "delete-blob",
    /// Delete Blob, of a snapshot.
    DeleteSnapshot = "delete-snapshot",
    /// Lease Blob: acquire.
    AcquireLease = "acquire-lease",
    /// Lease Blob: renew.
    RenewLease = "renew-lease",
    /// Lease Blob: change.
    ChangeLease = "change-lease",
    /// Lease Blob: release.
    ReleaseLease = "release-lease",
    /// Lease Blob: break.
    BreakLease = "break-lease",
    /// List Blobs.
    ListBlobs = "list-blobs",
    /// Everything about a container but its listing.
    Container = "container",
    /// Everything about the account, List Containers among it.
    Account = "account",
    /// Managed disks: get one.
    GetDisk = "get-disk",
    /// Managed disks: list them.
    ListDisks = "list-disks",
    /// Managed disks: create or replace one.
    PutDisk = "put-disk",
    /// Managed disks: change one.
    PatchDisk = "patch-disk",
    /// Managed disks: delete one.
    DeleteDisk = "delete-disk",
    /// Snapshots of managed disks: get one.
    GetSnapshot = "get-snapshot",
    /// Snapshots of managed disks: list them.
    ListSnapshots = "list-snapshots",
    /// Snapshots of managed disks: create or replace one.
    PutSnapshot = "put-snapshot",
    /// Snapshots of managed disks: change one.
    PatchSnapshot = "patch-snapshot",
    /// Snapshots of managed disks: delete one.
    DeleteManagedSnapshot = "delete-managed-snapshot",
    /// Managed disks and snapshots: give out a URL.
    BeginGetAccess = "begin-get-access",
    /// Managed disks and snapshots: take the URL back.
    EndGetAccess = "end-get-access",
    /// Managed disks and snapshots: how far something is.
    GetOperation = "get-operation",
    /// Something the service does not know.
    Other = "other",
}

impl Operation {
    /// The operation this request asks for.
    pub fn of(request: &Request) -> Self {
        if arm::is_arm(request) {
            return Self::of_arm(request);
        }
        let comp = request.query("comp").unwrap_or_default();
        let is = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
        let depth = request.path.trim_matches('/').splitn(3, '/').count();
        let named = request.get("host").is_some_and(|host| host.contains(".blob."));
        let container = request.query("restype").is_some_and(|kind| is(kind, "container"));
        if container || comp.eq_ignore_ascii_case("list") {
            return if container && is(comp, "list") {
                Self::ListBlobs
            } else if container {
                Self::Container
            } else {
                Self::Account
            };
        }
        if !named && depth < 3 {
            return Self::Account;
        }
        let copies = request.get("x-ms-copy-source").is_some();
        let comp =
            ["", "page", "pagelist", "properties", "metadata", "snapshot", "lease", "tier", "copy", "incrementalcopy"]
                .into_iter()
                .find(|name| is(comp, name));
        match (request.method.as_str(), comp) {
            ("PUT", Some("page")) if copies => Self::PutPageFromUrl,
            ("PUT", Some("page")) if request.get("x-ms-page-write").is_some_and(|v| is(v, "clear")) => {
                Self::PutPageClear
            }
            ("PUT", Some("page")) => Self::PutPageUpdate,
            ("PUT", Some("")) if copies => Self::CopyBlob,
            ("PUT", Some("")) => Self::PutBlob,
            ("PUT", Some("properties")) => Self::SetBlobProperties,
            ("PUT", Some("metadata")) => Self::SetBlobMetadata,
            ("PUT", Some("snapshot")) => Self::SnapshotBlob,
            ("PUT", Some("tier")) => Self::SetBlobTier,
            ("PUT", Some("copy")) => Self::AbortCopy,
            ("PUT", Some("incrementalcopy")) => Self::IncrementalCopy,
            ("PUT", Some("lease")) => Self::lease(request.get("x-ms-lease-action").unwrap_or_default()),
            ("GET", Some("")) => Self::GetBlob,
            ("HEAD", Some("")) => Self::GetBlobProperties,
            ("GET" | "HEAD", Some("metadata")) => Self::GetBlobMetadata,
            ("GET", Some("pagelist")) => {
                let since = request.query("prevsnapshot").is_some();
                if since || request.get("x-ms-previous-snapshot-url").is_some() {
                    Self::GetPageRangesDiff
                } else {
                    Self::GetPageRanges
                }
            }
            ("DELETE", Some("")) if request.query("snapshot").is_some() => Self::DeleteSnapshot,
            ("DELETE", Some("")) => Self::DeleteBlob,
            _ => Self::Other,
        }
    }

    /// What is asked of the resource manager.
    fn of_arm(request: &Request) -> Self {
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        match (method, Route::parse(&request.path)) {
            ("GET", Some(Route::Operation(_))) => Self::GetOperation,
            ("GET", Some(Route::List { kind: Kind::Disk, .. })) => Self::ListDisks,
            ("GET", Some(Route::List { kind: Kind::Snapshot, .. })) => Self::ListSnapshots,
            ("POST", Some(Route::Action(_, action))) => match action.as_str() {
                "begingetaccess" => Self::BeginGetAccess,
                "endgetaccess" => Self::EndGetAccess,
                _ => Self::Other,
            },
            (method, Some(Route::One(key, _))) => match (method, key.kind) {
                ("GET", Kind::Disk) => Self::GetDisk,
                ("PUT", Kind::Disk) => Self::PutDisk,
                ("PATCH", Kind::Disk) => Self::PatchDisk,
                ("DELETE", Kind::Disk) => Self::DeleteDisk,
                ("GET", Kind::Snapshot) => Self::GetSnapshot,
                ("PUT", Kind::Snapshot) => Self::PutSnapshot,
                ("PATCH", Kind::Snapshot) => Self::PatchSnapshot,
                ("DELETE", Kind::Snapshot) => Self::DeleteManagedSnapshot,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    fn lease(action: &str) -> Self {
        match action.to_ascii_lowercase().as_str() {
            "acquire" => Self::AcquireLease,
            "renew" => Self::RenewLease,
            "change" => Self::ChangeLease,
            "release" => Self::ReleaseLease,
            "break" => Self::BreakLease,
            _ => Self::Other,
        }
    }
}

/// One operation, or a family of them, as rules name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Select {
    /// Any request whatever: `any`.
    Any,
    /// What changes nothing: `reads`.
    Reads,
    /// What changes something: `writes`.
    Writes,
    /// Put Page in its three forms: `put-page`.
    PutPage,
    /// Both page lists: `page-list`.
    PageList,
    /// The five lease actions: `lease`.
    Lease,
    /// This one, by its name.
    Only(Operation),
}

impl Select {
    const FAMILIES: [(&'static str, Self); 6] = [
        ("any", Self::Any),
        ("reads", Self::Reads),
        ("writes", Self::Writes),
        ("put-page", Self::PutPage),
        ("page-list", Self::PageList),
        ("lease", Self::Lease),
    ];

    /// Whether a request that asks for `operation` is meant.
    pub fn covers(self, operation: Operation, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => !request.is_mutation(),
            Self::Writes => request.is_mutation(),
            Self::PutPage => {
                matches!(operation, Operation::PutPageUpdate | Operation::PutPageClear | Operation::PutPageFromUrl)
            }
            Self::PageList => matches!(operation, Operation::GetPageRanges | Operation::GetPageRangesDiff),
            Self::Lease => matches!(
                operation,
                Operation::AcquireLease
                    | Operation::RenewLease
                    | Operation::ChangeLease
                    | Operation::ReleaseLease
                    | Operation::BreakLease
            ),
            Self::Only(only) => only == operation,
        }
    }

    /// Its name in scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Only(operation) => operation.name(),
            family => Self::FAMILIES.iter().find(|(_, known)| *known == family).map_or("any", |(name, _)| name),
        }
    }
}

impl FromStr for Select {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let family = Self::FAMILIES.into_iter().find(|(name, _)| *name == text).map(|(_, family)| family);
        let only = || Operation::ALL.iter().find(|operation| operation.name() == text).copied().map(Self::Only);
        family.or_else(only).ok_or_else(|| format!("{text} is not an operation"))
    }
}

impl TryFrom<String> for Select {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Select> for String {
    fn from(select: Select) -> Self {
        select.name().to_owned()
    }
}

impl From<Operation> for Select {
    fn from(operation: Operation) -> Self {
        Self::Only(operation)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let of = |method: &str, target: &str, header: &str| {
            let (name, value) = header.split_once('=').unwrap_or(("x", "y"));
            Operation::of(&Request::new(method, target).header(name, value)).name()
        };
        for (method, target, header, name) in [
            ("PUT", "/a/c/b?comp=page", "x-ms-page-write=update", "put-page-update"),
            ("PUT", "/a/c/b?comp=page", "x-ms-page-write=Clear", "put-page-clear"),
            ("PUT", "/a/c/b?comp=page", "x-ms-copy-source=http://x/", "put-page-from-url"),
            ("PUT", "/a/c/b", "x-ms-copy-source=http://x/", "copy-blob"),
            ("PUT", "/a/c/b?comp=incrementalCopy", "x-ms-copy-source=http://x/", "incremental-copy"),
            ("PUT", "/a/c/b/d", "", "put-blob"),
            ("GET", "/a/c/b?snapshot=x", "", "get-blob"),
            ("HEAD", "/a/c/b", "", "get-blob-properties"),
            ("GET", "/a/c/b?comp=PAGELIST", "", "get-page-ranges"),
            ("GET", "/a/c/b?comp=pagelist&prevsnapshot=x", "", "get-page-ranges-diff"),
            ("PUT", "/a/c/b?comp=lease", "x-ms-lease-action=Renew", "renew-lease"),
            ("DELETE", "/a/c/b?snapshot=x", "", "delete-snapshot"),
            ("GET", "/a/c?restype=container&comp=list", "", "list-blobs"),
            ("PUT", "/a/c?restype=container", "", "container"),
            ("GET", "/a?comp=list", "", "account"),
            ("GET", "/c/b", "host=a.blob.core", "get-blob"),
            ("PATCH", "/a/c/b", "", "other"),
            ("GET", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/x", "", "get-snapshot"),
            ("PUT", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/Disks/x", "", "put-disk"),
            ("GET", "/subscriptions/s/providers/Microsoft.Compute/snapshots", "", "list-snapshots"),
            (
                "POST",
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/x/BeginGetAccess",
                "",
                "begin-get-access",
            ),
            ("GET", "/subscriptions/s/providers/Microsoft.Compute/locations/l/DiskOperations/1", "", "get-operation"),
        ] {
            assert_eq!(of(method, target, header), name, "{method} {target}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        let families = Select::FAMILIES.iter().map(|(_, family)| *family);
        for select in families.chain(Operation::ALL.iter().map(|operation| Select::Only(*operation))) {
            assert_eq!(select.name().parse(), Ok(select));
        }
        assert!("putpage".parse::<Select>().is_err());
    }
}
