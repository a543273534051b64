//! What the service remembers: containers, blobs, and the picture of a blob that a snapshot freezes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::token::Policy;
use crate::model::call::Target;
use crate::model::lease::Lease;
use crate::pages::PageTable;
use crate::time::Timestamp;

/// Names and values, in the order of the names.
pub(crate) type Metadata = Arc<Vec<(String, String)>>;

/// The header of a request that sets an HTTP property, the one of an answer that gives it, and its name in listings.
pub(crate) const HTTP_FIELDS: [(&str, &str, &str); 6] = [
    ("x-ms-blob-content-type", "content-type", "Content-Type"),
    ("x-ms-blob-content-encoding", "content-encoding", "Content-Encoding"),
    ("x-ms-blob-content-language", "content-language", "Content-Language"),
    ("x-ms-blob-content-md5", "content-md5", "Content-MD5"),
    ("x-ms-blob-cache-control", "cache-control", "Cache-Control"),
    ("x-ms-blob-content-disposition", "content-disposition", "Content-Disposition"),
];

/// Where [`HTTP_FIELDS`] has the whole-blob MD5, which ranged reads give under another name.
pub(crate) const MD5_FIELD: usize = 3;

/// Values of [`HTTP_FIELDS`]; empty means not set.
pub(crate) type HttpFields = [String; 6];

#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) etag: u64,
    pub(crate) modified: Timestamp,
    pub(crate) metadata: Metadata,
    /// `blob`, `container` or empty.
    pub(crate) public: String,
    pub(crate) policies: Vec<Policy>,
    pub(crate) blobs: BTreeMap<String, Blob>,
}

/// A base blob with its snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) state: State,
    pub(crate) lease: Lease,
    pub(crate) snapshots: BTreeMap<Timestamp, State>,
    /// The newest snapshot time ever given, whether it still exists or not.
    pub(crate) last_snapshot: Timestamp,
    pub(crate) pending: Option<Pending>,
    /// What the blob is a series of, if Incremental Copy Blob made it.
    pub(crate) series: Option<Series>,
    /// The times of snapshots that were deleted.
    pub(crate) gone: BTreeSet<Timestamp>,
    /// Whether every clear is recorded though no snapshot is here to ask: those of a managed disk may be elsewhere.
    pub(crate) always_tracked: bool,
}

/// Everything a snapshot keeps of its base.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) size: u64,
    pub(crate) pages: PageTable,
    /// The number of the last page operation; a diff reports operations with greater numbers than that of its start.
    pub(crate) stamp: u64,
    /// Which of the blobs that lived under this name; Put Blob and Copy Blob start a new one.
    pub(crate) generation: u64,
    pub(crate) etag: u64,
    pub(crate) modified: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) metadata: Metadata,
    pub(crate) http: HttpFields,
    pub(crate) sequence: u64,
    pub(crate) tier: Option<String>,
    pub(crate) copy: Option<Copy>,
}

/// The outcome of the copy that made a blob, as its properties tell it.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) status: &'static str,
    /// Why it failed: `<http status> <code> "<text>"`.
    pub(crate) description: Option<&'static str>,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) completed: Option<Timestamp>,
    /// Whether it was an incremental one.
    pub(crate) incremental: bool,
    /// The snapshot of the target that an incremental copy ended with.
    pub(crate) snapshot: Option<Timestamp>,
}

/// The snapshots of one source that incremental copies have brought to a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) source: Target,
    /// The source's newest snapshot that is complete here.
    pub(crate) last: Option<Timestamp>,
}

/// A copy on its way. All it will change is settled at its start, so that looking at it does not change the outcome.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// What the blob will be, or why the copy will have failed.
    pub(crate) outcome: Result<Box<State>, &'static str>,
    /// The ETag of the target once it is over, whichever way.
    pub(crate) etag: u64,
    pub(crate) source: Target,
    pub(crate) snapshot: Option<Timestamp>,
    /// The ETag of the source; a source that changes ends the copy.
    pub(crate) source_etag: u64,
    pub(crate) started: Timestamp,
    pub(crate) ends: Timestamp,
    /// The time that the whole of it would take.
    pub(crate) takes: Duration,
}

impl Blob {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            lease: Lease::default(),
            snapshots: BTreeMap::new(),
            last_snapshot: Timestamp::default(),
            pending: None,
            series: None,
            gone: BTreeSet::new(),
            always_tracked: false,
        }
    }

    /// Whether an older snapshot can ask what became of the pages of this base.
    pub(crate) fn is_tracked(&self) -> bool {
        self.always_tracked || self.snapshots.values().any(|s| s.generation == self.state.generation)
    }

    /// Brings a pending copy up to `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let Some(pending) = &self.pending else { return };
        let Some(copy) = &mut self.state.copy else { return };
        let (at, ends) = (now.min(pending.ends), pending.ends);
        let done = u128::from(copy.total) * at.since(pending.started).as_nanos() / pending.takes.as_nanos().max(1);
        copy.done = u64::try_from(done).unwrap_or(copy.total);
        if now < ends {
            return;
        }
        if let Err(why) = pending.outcome {
            self.fail(why, ends);
            return;
        }
        let (Some(Pending { outcome: Ok(state), etag, snapshot, .. }), Some(mut copy)) =
            (self.pending.take(), self.state.copy.take())
        else {
            return;
        };
        (copy.status, copy.done, copy.completed) = ("success", copy.total, Some(ends));
        if let Some(series) = &mut self.series {
            let time = ends.max(self.last_snapshot.next());
            (series.last, self.last_snapshot, copy.snapshot) = (snapshot, time, Some(time));
        }
        self.state = State { etag, modified: ends, copy: Some(copy), ..*state };
        if self.series.is_some() {
            self.snapshots.insert(self.last_snapshot, self.state.clone());
        }
    }

    /// Ends a pending copy as a failure.
    pub(crate) fn fail(&mut self, why: &'static str, now: Timestamp) {
        let (Some(pending), Some(copy)) = (self.pending.take(), &mut self.state.copy) else { return };
        (copy.status, copy.description, copy.completed) = ("failed", Some(why), Some(now));
        (self.state.etag, self.state.modified) = (pending.etag, now);
    }
}

impl State {
    pub(crate) fn etag(&self) -> String {
        etag(self.etag)
    }
}

/// `0x8D82762514DDC4C` in quotes.
pub(crate) fn etag(value: u64) -> String {
    format!("\"0x{value:X}\"")
}
