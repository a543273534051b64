//! Where the data of managed disks is kept: each disk is a page blob in an account of its own, its incremental
//! snapshots are snapshots of that blob, and a full snapshot is another blob that shares its pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::Model;
use crate::model::arm::resource::Resource;
use crate::model::blob::{Blob, Container, HttpFields, State};
use crate::model::call::Target;
use crate::model::create::with_default_type;
use crate::pages::{PAGE, PageTable};
use crate::time::Timestamp;
use crate::{digest, vhd};

/// The name of every managed disk's blob.
pub(crate) const BLOB: &str = "abcd";

impl Model {
    /// A new blob with this content, in an account of its own.
    pub(crate) fn new_home(&mut self, prefix: &str, state: State, now: Timestamp) -> Target {
        let account = format!("{prefix}{}", self.ids.name(12));
        let home = Target { account, container: self.ids.name(12), blob: BLOB.to_owned() };
        let key: Vec<u8> = [self.ids.guid(), self.ids.guid()].concat().into_bytes();
        let mut blob = Blob::new(state);
        blob.always_tracked = true;
        let container = Container {
            etag: self.ids.etag(now),
            modified: now,
            metadata: Arc::default(),
            public: String::new(),
            policies: Vec::new(),
            blobs: BTreeMap::from([(BLOB.to_owned(), blob)]),
        };
        self.world.add_managed(&home, digest::encode(&key), container);
        home
    }

    /// An empty disk: nothing but what tells its format.
    pub(crate) fn blank(&mut self, size: u64, sector: u64, now: Timestamp) -> State {
        let mut state = State {
            size: 0,
            pages: PageTable::default(),
            stamp: 0,
            generation: 1,
            etag: self.ids.etag(now),
            modified: now,
            created: now,
            metadata: Arc::default(),
            http: with_default_type(HttpFields::default()),
            sequence: 0,
            tier: None,
            copy: None,
        };
        if sector == 512 {
            self.grow(&mut state, size, sector, now);
        } else {
            state.size = vhd::VHDX_HEAD + size;
            put(&mut state, 0, vhd::vhdx_head());
        }
        state
    }

    /// The same disk with more room; the footer of a VHD moves to the new end.
    pub(crate) fn grow(&mut self, state: &mut State, size: u64, sector: u64, now: Timestamp) {
        if sector != 512 {
            state.size = vhd::VHDX_HEAD + size;
        } else {
            if state.size >= vhd::FOOTER {
                state.stamp += 1;
                let (from, to) = ((state.size - vhd::FOOTER) / PAGE, state.size / PAGE);
                state.pages.clear(from, to, state.stamp);
            }
            let id = self.ids.guid();
            let mut bytes = [0; 16];
            let digits: Vec<u8> = id.bytes().filter(u8::is_ascii_hexdigit).collect();
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                let text = std::str::from_utf8(pair).unwrap_or_default();
                *byte = u8::from_str_radix(text, 16).unwrap_or_default();
            }
            state.size = size + vhd::FOOTER;
            put(state, size, vhd::footer(size, now, bytes));
        }
        state.etag = self.ids.etag(now);
        state.modified = now;
    }

    /// The data of a resource as it is now.
    pub(crate) fn content(&self, resource: &Resource) -> Option<&State> {
        self.world.source(&resource.home)?.at(resource.at())
    }

    /// The blob at home.
    pub(crate) fn home_mut(&mut self, home: &Target) -> Option<&mut Blob> {
        self.world.managed_mut(home)?.blobs.get_mut(BLOB)
    }

    /// Freezes a state as the newest snapshot of the blob at home, which need not be the state it has itself.
    pub(crate) fn freeze(&mut self, home: &Target, state: State, now: Timestamp) -> Option<Timestamp> {
        let blob = self.home_mut(home)?;
        let time = now.max(blob.last_snapshot.next());
        blob.last_snapshot = time;
        blob.snapshots.insert(time, state);
        Some(time)
    }

    /// Gives up the data of a resource that was removed, as far as no other needs it.
    pub(crate) fn discard(&mut self, gone: &Resource) {
        self.revoke(gone);
        if let (Some(at), Some(blob)) = (gone.at(), self.home_mut(&gone.home)) {
            blob.snapshots.remove(&at);
            blob.gone.insert(at);
        }
        if !self.arm.resources.values().any(|other| other.home == gone.home) {
            self.world.drop_managed(&gone.home.account);
            self.arm.families.retain(|_, family| family.home != gone.home);
        }
    }

    /// Takes away the policy behind the URL that somebody has.
    pub(crate) fn revoke(&mut self, resource: &Resource) {
        if let (Some(access), Some(container)) = (&resource.access, self.world.managed_mut(&resource.home)) {
            container.policies.retain(|policy| policy.id != access.policy);
        }
    }
}

/// The same content as a blob of its own.
pub(crate) fn copy_of(state: &State, etag: u64, now: Timestamp) -> State {
    State { etag, created: now, modified: now, copy: None, ..state.clone() }
}

/// Writes whole pages as one operation.
fn put(state: &mut State, offset: u64, data: Bytes) {
    state.stamp += 1;
    state.pages.write(offset / PAGE, state.stamp, data);
}
