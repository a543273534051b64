//! A page blob in memory: both roles, no service.
//!
//! It is deliberately plain: maps of pages, snapshots that are whole copies, a lease that never runs out by itself.
//! Tests of the pipeline and of whole operations run on it; what the real service does in detail is the emulator's
//! business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pageferry_core::{Change, Etag, Kind, Metadata, PAGE_BYTES, PageRange, Pages, SnapshotId};

use crate::error::{ErrorKind, StoreError};
use crate::role::{
    Answer, Ask, Fence, LeaseId, LeaseState, PageData, Properties, Receipt, Snapshot, Source, Target, View,
};

/// A page blob in memory. Clones are the same blob.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    base: Option<Picture>,
    snapshots: Vec<(SnapshotId, Picture)>,
    clock: u64,
    sequence: u64,
    lease: Option<LeaseId>,
    broken: bool,
}

#[derive(Clone, Debug)]
struct Picture {
    size: Pages,
    etag: Etag,
    metadata: Metadata,
    /// The stamp of the last operation on a page, and its bytes if it is allocated.
    pages: BTreeMap<u64, (u64, Option<Bytes>)>,
    clock: u64,
}

/// How many entries one answer holds: few, so that tests page.
const ANSWER_ENTRIES_MAX: usize = 7;

impl Memory {
    /// A blob that does not exist yet.
    pub fn absent(name: &str) -> Memory {
        Memory { name: name.to_owned(), state: Arc::default() }
    }

    /// An empty blob of `size`.
    pub fn empty(name: &str, size: Pages) -> Memory {
        let memory = Memory::absent(name);
        memory.lock().make(size, Metadata::new());
        memory
    }

    /// Writes as the disk's owner would: no lease, no epoch.
    pub fn poke(&self, range: PageRange, byte: u8) {
        let bytes = Bytes::from(vec![byte; usize::try_from(range.bytes()).unwrap_or(0)]);
        self.lock().put(range, Some(&bytes));
    }

    /// Writes `data` as the disk's owner would.
    pub fn put(&self, range: PageRange, data: &PageData) {
        self.lock().put(range, Some(data.bytes()));
    }

    /// Clears as the disk's owner would.
    pub fn wipe(&self, range: PageRange) {
        self.lock().put(range, None);
    }

    /// All bytes of `view`.
    pub fn image(&self, view: &View) -> Vec<u8> {
        let state = self.lock();
        state.picture(view).map_or_else(Vec::new, |picture| {
            PageRange::whole(picture.size).map_or_else(Vec::new, |whole| picture.bytes(whole).to_vec())
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, cause: &str) -> StoreError {
        StoreError::new(kind, operation, self.name.clone(), cause)
    }

    /// Runs `change` on the base if lease and tag hold.
    fn change<T>(
        &self,
        operation: &'static str,
        lease: Option<&LeaseId>,
        if_match: Option<&Etag>,
        change: impl FnOnce(&mut State) -> T,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        let Some(base) = &state.base else { return Err(self.error(ErrorKind::NotFound, operation, "no such blob")) };
        if state.lease.as_ref() != lease {
            return Err(self.error(ErrorKind::Fenced, operation, "the lease is not held under this id"));
        }
        if if_match.is_some_and(|tag| *tag != base.etag) {
            return Err(self.error(ErrorKind::Changed, operation, "the blob has changed"));
        }
        Ok(change(&mut state))
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn make(&mut self, size: Pages, metadata: Metadata) -> Etag {
        let clock = self.tick();
        let etag = Etag::new(&format!("0x{clock:X}"));
        self.base = Some(Picture { size, etag: etag.clone(), metadata, pages: BTreeMap::new(), clock });
        etag
    }

    /// Stamps the base as changed and lets `change` do it.
    fn touch(&mut self, change: impl FnOnce(&mut Picture, u64)) -> Etag {
        let clock = self.tick();
        let etag = Etag::new(&format!("0x{clock:X}"));
        if let Some(base) = &mut self.base {
            base.etag = etag.clone();
            base.clock = clock;
            change(base, clock);
        }
        etag
    }

    fn put(&mut self, range: PageRange, bytes: Option<&Bytes>) {
        self.touch(|base, clock| {
            let step = usize::try_from(PAGE_BYTES).unwrap_or(0);
            for (i, page) in (range.start().count()..range.end().count()).enumerate() {
                base.pages.insert(page, (clock, bytes.map(|bytes| bytes.slice(i * step..(i + 1) * step))));
            }
        });
    }

    fn picture(&self, view: &View) -> Option<&Picture> {
        match view {
            View::Base => self.base.as_ref(),
            View::Snapshot(id) => self.snapshots.iter().find(|(have, _)| have == id).map(|(_, picture)| picture),
        }
    }
}

impl Picture {
    fn bytes(&self, range: PageRange) -> Bytes {
        let mut bytes = BytesMut::zeroed(usize::try_from(range.bytes()).unwrap_or(0));
        for (page, (_, data)) in self.pages.range(range.start().count()..range.end().count()) {
            if let Some(data) = data {
                let at = usize::try_from((Pages::new(*page) - range.start()).bytes()).unwrap_or(0);
                if let Some(slot) = bytes.get_mut(at..at + data.len()) {
                    slot.copy_from_slice(data);
                }
            }
        }
        bytes.freeze()
    }
}

impl Source for Memory {
    fn address(&self) -> String {
        self.name.clone()
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        let state = self.lock();
        let picture = state.picture(view);
        let picture = picture.ok_or_else(|| self.error(ErrorKind::NotFound, "Get Blob Properties", "no such blob"))?;
        let lease = match (&state.lease, state.broken) {
            (Some(_), _) => LeaseState::Leased,
            (None, true) => LeaseState::Broken,
            (None, false) => LeaseState::Available,
        };
        Ok(Properties {
            size: picture.size,
            etag: picture.etag.clone(),
            sequence: state.sequence,
            lease,
            created: "then".to_owned(),
            metadata: picture.metadata.clone(),
            premium: None,
            copy_pending: false,
        })
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let snapshot = |(id, picture): &(SnapshotId, Picture)| Snapshot {
            id: id.clone(),
            etag: picture.etag.clone(),
            size: picture.size,
            metadata: picture.metadata.clone(),
            family: None,
        };
        Ok(self.lock().snapshots.iter().map(snapshot).collect())
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        const OPERATION: &str = "Get Page Ranges";
        let state = self.lock();
        let picture = state.picture(&ask.view);
        let picture = picture.ok_or_else(|| self.error(ErrorKind::NotFound, OPERATION, "no such blob or snapshot"))?;
        if ask.if_match.as_ref().is_some_and(|tag| *tag != picture.etag) {
            return Err(self.error(ErrorKind::Changed, OPERATION, "the blob has changed"));
        }
        let since = match &ask.since {
            None => None,
            Some(id) => {
                Some(state.picture(&View::Snapshot(id.clone())).map(|earlier| earlier.clock).ok_or_else(|| {
                    let mut failure =
                        self.error(ErrorKind::ChainBroken, OPERATION, "no such snapshot").failure().clone();
                    failure.status = Some(409);
                    failure.code = Some("PreviousSnapshotNotFound".to_owned());
                    StoreError::from_failure(failure)
                })?)
            }
        };
        let start = ask.marker.as_ref().and_then(|marker| marker.parse().ok()).unwrap_or(ask.window.start().count());
        let mut changes = Vec::new();
        let mut next = None;
        for (page, (stamp, data)) in picture.pages.range(start..ask.window.end().min(picture.size).count().max(start)) {
            let kind = if data.is_some() { Kind::Write } else { Kind::Clear };
            let reported = since.map_or(kind == Kind::Write, |since| *stamp > since);
            let range = PageRange::new(Pages::new(*page), Pages::new(page + 1));
            if let (true, Some(range)) = (reported, range) {
                if changes.len() == ANSWER_ENTRIES_MAX {
                    next = Some(page.to_string());
                    break;
                }
                changes.push(Change { kind, range });
            }
        }
        Ok(Answer { changes, next, size: picture.size })
    }

    async fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        let state = self.lock();
        let picture = state.picture(view);
        let picture = picture.ok_or_else(|| self.error(ErrorKind::NotFound, "Get Blob", "no such blob or snapshot"))?;
        if if_match.is_some_and(|tag| *tag != picture.etag) {
            return Err(self.error(ErrorKind::Changed, "Get Blob", "the blob has changed"));
        }
        if range.end() > picture.size {
            return Err(self.error(ErrorKind::Invalid, "Get Blob", "the range ends beyond the blob"));
        }
        Ok((PageData::new(picture.bytes(range)), once()))
    }
}

impl Target for Memory {
    async fn create(&self, size: Pages, metadata: &Metadata) -> Result<Etag, StoreError> {
        let mut state = self.lock();
        if state.base.is_some() {
            return Err(self.error(ErrorKind::Exists, "Put Blob", "the blob exists"));
        }
        Ok(state.make(size, metadata.clone()))
    }

    async fn acquire(
        &self,
        lease: &LeaseId,
        _duration: Duration,
        if_match: Option<&Etag>,
    ) -> Result<Receipt, StoreError> {
        let mut state = self.lock();
        let Some(base) = &state.base else {
            return Err(self.error(ErrorKind::NotFound, "Lease Blob", "no such blob"));
        };
        if if_match.is_some_and(|tag| *tag != base.etag) {
            return Err(self.error(ErrorKind::Changed, "Lease Blob", "the blob has changed"));
        }
        if state.lease.as_ref().is_some_and(|held| held != lease) {
            return Err(self.error(ErrorKind::Busy, "Lease Blob", "somebody holds the lease"));
        }
        state.lease = Some(lease.clone());
        Ok(once())
    }

    async fn renew(&self, lease: &LeaseId) -> Result<(), StoreError> {
        self.change("Lease Blob", Some(lease), None, |_| ())
    }

    async fn change(&self, from: &LeaseId, to: &LeaseId) -> Result<Receipt, StoreError> {
        Memory::change(self, "Lease Blob", Some(from), None, |state| state.lease = Some(to.clone()))?;
        Ok(once())
    }

    async fn release(&self, lease: &LeaseId) -> Result<(), StoreError> {
        Memory::change(self, "Lease Blob", Some(lease), None, |state| {
            state.lease = None;
            state.broken = false;
        })
    }

    async fn break_now(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.lease.take().is_none() {
            return Err(self.error(ErrorKind::Fenced, "Lease Blob", "there is no lease"));
        }
        state.broken = true;
        Ok(())
    }

    async fn raise_sequence(&self, epoch: u64, lease: &LeaseId, if_match: &Etag) -> Result<Etag, StoreError> {
        Memory::change(self, "Set Blob Properties", Some(lease), Some(if_match), |state| {
            state.sequence = state.sequence.max(epoch);
            state.touch(|_, _| ())
        })
    }

    async fn set_metadata(
        &self,
        metadata: &Metadata,
        lease: &LeaseId,
        if_match: Option<&Etag>,
    ) -> Result<Etag, StoreError> {
        Memory::change(self, "Set Blob Metadata", Some(lease), if_match, |state| {
            state.touch(|base, _| base.metadata = metadata.clone())
        })
    }

    async fn resize(&self, size: Pages, lease: &LeaseId) -> Result<Receipt, StoreError> {
        Memory::change(self, "Set Blob Properties", Some(lease), None, |state| {
            state.touch(|base, clock| {
                base.size = size;
                for (_, (stamp, data)) in base.pages.range_mut(size.count()..) {
                    (*stamp, *data) = (clock, None);
                }
            })
        })?;
        Ok(once())
    }

    async fn write(&self, range: PageRange, data: &PageData, fence: &Fence) -> Result<Receipt, StoreError> {
        self.put_page(range, Some(data.bytes()), fence)
    }

    async fn clear(&self, range: PageRange, fence: &Fence) -> Result<Receipt, StoreError> {
        self.put_page(range, None, fence)
    }

    async fn snapshot(
        &self,
        lease: Option<&LeaseId>,
        if_match: Option<&Etag>,
    ) -> Result<(SnapshotId, Etag), StoreError> {
        let take = |state: &mut State| {
            let id = SnapshotId::new(format!("{:020}", state.tick()));
            let base = state.base.clone();
            let etag = base.as_ref().map_or_else(|| Etag::new(""), |base| base.etag.clone());
            state.snapshots.extend(base.map(|base| (id.clone(), base)));
            (id, etag)
        };
        let held = self.lock().lease.clone();
        Memory::change(self, "Snapshot Blob", lease.or(held.as_ref()), if_match, take)
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId) -> Result<(), StoreError> {
        self.lock().snapshots.retain(|(id, _)| id != snapshot);
        Ok(())
    }
}

/// How a request went that was sent once.
fn once() -> Receipt {
    Receipt { attempts: 1, ..Receipt::default() }
}

impl Memory {
    fn put_page(&self, range: PageRange, bytes: Option<&Bytes>, fence: &Fence) -> Result<Receipt, StoreError> {
        if self.lock().sequence != fence.epoch {
            return Err(self.error(ErrorKind::Fenced, "Put Page", "another epoch has begun"));
        }
        Memory::change(self, "Put Page", Some(&fence.lease), None, |state| state.put(range, bytes))?;
        Ok(once())
    }
}
