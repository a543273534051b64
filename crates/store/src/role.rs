//! The two roles of a page blob: what is read from, and what is written to.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use pageferry_core::{Change, Etag, Metadata, PageRange, Pages, SnapshotId};

use crate::crc::crc64;
use crate::error::{ErrorKind, StoreError};
use crate::pass::Pass;

/// Which picture of a blob is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum View {
    /// The writable blob as it is now.
    Base,
    /// An immutable snapshot of it.
    Snapshot(SnapshotId),
}

/// What the service says about a blob or a snapshot.
#[derive(Clone, Debug)]
pub struct Properties {
    /// Its size.
    pub size: Pages,
    /// Changes with every write, and with nothing else but writes.
    pub etag: Etag,
    /// The page blob's sequence number: our epoch.
    pub sequence: u64,
    /// The state of its lease; a snapshot has none.
    pub lease: LeaseState,
    /// When the blob was made, as the service words it: part of a disk's identity.
    pub created: String,
    /// Its metadata.
    pub metadata: Metadata,
    /// A copy onto this blob is not finished (Copy Blob, status `pending`).
    pub copy_pending: bool,
    /// The number of its premium tier, 30 for `P30`; `None` for a blob in a standard account.
    pub premium: Option<u8>,
}

/// The state of a blob's lease (REST: Lease Blob).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseState {
    /// Nobody holds it, and the last holder gave it back or a write came after it ended.
    Available,
    /// Somebody holds it.
    Leased,
    /// It ran out, and nothing was written since.
    Expired,
    /// It is being broken.
    Breaking,
    /// It was broken, and nothing was written since.
    Broken,
}

/// One snapshot of a blob, as listed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// The base's entity tag when it was taken, if the snapshot was taken without metadata of its own.
    pub etag: Etag,
    /// Its size.
    pub size: Pages,
    /// Its metadata.
    pub metadata: Metadata,
    /// Which snapshots the service gives differences between, where it says: those of equal family.
    pub family: Option<String>,
}

/// A question for part of a page list, or of a difference.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Of which picture.
    pub view: View,
    /// Since which earlier snapshot; `None` for the plain list of allocated pages.
    pub since: Option<SnapshotId>,
    /// Within which pages.
    pub window: PageRange,
    /// Where the previous answer to the same question stopped.
    pub marker: Option<String>,
    /// Only if the blob still has this tag.
    pub if_match: Option<Etag>,
}

/// One page of an answer to an [`Ask`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// Changes as the service reported them, in its order and clipped to the window.
    pub changes: Vec<Change>,
    /// Where to go on, if there is more.
    pub next: Option<String>,
    /// The size of the picture asked about.
    pub size: Pages,
}

/// The bytes of a range, with the checksum that vouches for them from the source's disk to the target's.
#[derive(Clone)]
pub struct PageData {
    bytes: Bytes,
    crc: u64,
}

impl PageData {
    /// Bytes whose checksum is computed here.
    pub fn new(bytes: Bytes) -> PageData {
        let crc = crc64(&bytes);
        PageData { bytes, crc }
    }

    /// Bytes that came with a checksum; `None` where the two disagree.
    pub fn verified(bytes: Bytes, crc: u64) -> Option<PageData> {
        (crc64(&bytes) == crc).then_some(PageData { bytes, crc })
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their CRC-64/NVME.
    pub fn crc(&self) -> u64 {
        self.crc
    }
}

impl fmt::Debug for PageData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageData({} bytes, crc {:016x})", self.bytes.len(), self.crc)
    }
}

/// How a read or write went, for the pacing of those that follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Requests sent.
    pub attempts: u32,
    /// Of these, how many the service refused for load (503, 500 `OperationTimedOut`) or that broke on the way.
    pub refused: u32,
    /// When the last attempt ended whose outcome is not known. Only writes have such.
    pub unknown_at: Option<tokio::time::Instant>,
    /// From the first attempt to the final answer.
    pub elapsed: Duration,
}

impl std::ops::AddAssign for Receipt {
    /// What both took together. The outcome is unknown since the later of the two.
    fn add_assign(&mut self, other: Receipt) {
        self.attempts += other.attempts;
        self.refused += other.refused;
        self.unknown_at = self.unknown_at.max(other.unknown_at);
        self.elapsed += other.elapsed;
    }
}

/// The id of a lease: a GUID of our choosing, fresh for every run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseId(pub String);

/// What every page write carries, so that the service itself refuses it once the run that sent it is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// The run's lease.
    pub lease: LeaseId,
    /// The run's epoch: the target's sequence number while it writes.
    pub epoch: u64,
}

/// Reads one page blob and its snapshots. Cloning shares connections, never state.
///
/// Every method retries what is safe to retry and reports the final answer.
pub trait Source: Send + Sync + 'static {
    /// The blob's address without credentials, for people and for a disk's identity.
    fn address(&self) -> String;

    /// How many requests that move pages it is worth having under way, now.
    fn in_flight_max(&self) -> usize {
        usize::MAX
    }

    /// What lets another service read `view` by itself.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where nothing does.
    fn pass(&self, view: &View) -> impl Future<Output = Result<Pass, StoreError>> + Send {
        let _ = view;
        let cause = "no other service can read it";
        std::future::ready(Err(StoreError::new(ErrorKind::Invalid, "Put Page From URL", self.address(), cause)))
    }

    /// What a successor has to take back if this process vanishes while it reads `snapshots`: the service counts whom it
    /// lets read, and allows few.
    fn grants(&self, snapshots: &[SnapshotId]) -> Vec<String> {
        let _ = snapshots;
        Vec::new()
    }

    /// Takes back what a run that is over was granted, as its words on the target tell.
    ///
    /// # Errors
    /// Of the service.
    fn revoke(&self, grants: &[String]) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = grants;
        std::future::ready(Ok(()))
    }

    /// Gives back whatever this process was granted. Reading on asks for it anew.
    ///
    /// # Errors
    /// Of the service; what could not be given back is kept, and can be given back later.
    fn give_back(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

    /// What the service says about `view`.
    fn properties(&self, view: &View) -> impl Future<Output = Result<Properties, StoreError>> + Send;

    /// All snapshots of the blob, oldest first, with metadata.
    fn snapshots(&self) -> impl Future<Output = Result<Vec<Snapshot>, StoreError>> + Send;

    /// One page of a page list or difference.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] asks for a smaller window; a body that ends early is
    /// [`ErrorKind::Transient`] after its retries, never a short answer.
    fn list(&self, ask: &Ask) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// The bytes of `range`, at most 4 MiB, verified against the service's checksum.
    fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> impl Future<Output = Result<(PageData, Receipt), StoreError>> + Send;
}

/// Writes one page blob.
///
/// Methods that take `if_match` are not repeated after an answer was lost: they fail with
/// [`ErrorKind::Unknown`], and the caller looks before it decides.
pub trait Target: Source {
    /// Makes an empty page blob that carries `metadata`, if there is no blob yet (else
    /// [`ErrorKind::Exists`]). Not repeated after a lost answer.
    fn create(&self, size: Pages, metadata: &Metadata) -> impl Future<Output = Result<Etag, StoreError>> + Send;

    /// Takes the lease under an id of ours, or gives one we hold another length; [`ErrorKind::Busy`]
    /// if somebody else holds it. It changes no tag, so that under `if_match` it can be repeated.
    fn acquire(
        &self,
        lease: &LeaseId,
        duration: Duration,
        if_match: Option<&Etag>,
    ) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Extends the lease; [`ErrorKind::Fenced`] if it is no longer ours. One that has run out can be
    /// extended only while nobody has written or leased the blob since (REST: Lease Blob).
    fn renew(&self, lease: &LeaseId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Exchanges the lease's id without letting go of it.
    fn change(&self, from: &LeaseId, to: &LeaseId) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Gives the lease back; its state becomes available.
    fn release(&self, lease: &LeaseId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends whatever lease there is, at once. Needs no id.
    fn break_now(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Raises the sequence number to at least `epoch`.
    fn raise_sequence(
        &self,
        epoch: u64,
        lease: &LeaseId,
        if_match: &Etag,
    ) -> impl Future<Output = Result<Etag, StoreError>> + Send;

    /// Replaces all metadata. Not repeated after a lost answer, with or without `if_match`.
    fn set_metadata(
        &self,
        metadata: &Metadata,
        lease: &LeaseId,
        if_match: Option<&Etag>,
    ) -> impl Future<Output = Result<Etag, StoreError>> + Send;

    /// Changes the size. Repeating it is harmless, so it is retried.
    fn resize(&self, size: Pages, lease: &LeaseId) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Writes `data` to `range`, at most 4 MiB, under the fence; the service checks the checksum before it applies it.
    fn write(
        &self,
        range: PageRange,
        data: &PageData,
        fence: &Fence,
    ) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Has the service itself write `range` with what the picture that `from` opens holds there, at most 4 MiB, under the
    /// fence; returns the checksum that the service computed, if it told.
    fn write_from(
        &self,
        range: PageRange,
        from: &Pass,
        fence: &Fence,
    ) -> impl Future<Output = Result<(Option<u64>, Receipt), StoreError>> + Send {
        let _ = (range, from, fence);
        let cause = "it cannot fetch pages by itself";
        std::future::ready(Err(StoreError::new(ErrorKind::Invalid, "Put Page From URL", self.address(), cause)))
    }

    /// Clears `range`, however long, under the fence.
    fn clear(&self, range: PageRange, fence: &Fence) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Takes a snapshot without metadata of its own, so that it copies the base's. Without `lease` and `if_match` it
    /// snapshots whatever is there (that is how a source snapshot is taken).
    fn snapshot(
        &self,
        lease: Option<&LeaseId>,
        if_match: Option<&Etag>,
    ) -> impl Future<Output = Result<(SnapshotId, Etag), StoreError>> + Send;

    /// Deletes one snapshot.
    fn delete_snapshot(&self, snapshot: &SnapshotId) -> impl Future<Output = Result<(), StoreError>> + Send;
}
