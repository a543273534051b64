//! Finding things: accounts, containers, blobs, snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use crate::auth::token::Policy;
use crate::model::blob::{Blob, Container, State};
use crate::model::call::{Admitted, Call, Target};
use crate::model::config::Account;
use crate::model::fault::Fault;
use crate::model::input;
use crate::time::Timestamp;

/// Everything stored, by account.
#[derive(Debug, Clone)]
pub(crate) struct World {
    accounts: BTreeMap<String, Holdings>,
    /// The targets of copies that are not over.
    copying: BTreeSet<Target>,
}

#[derive(Clone, Default)]
pub(crate) struct Holdings {
    /// The shared key, in base64.
    key: String,
    /// Whether it is the data of a managed disk: nobody but the service knows its key, and little can be done there.
    managed: bool,
    pub(crate) containers: BTreeMap<String, Container>,
    /// The service properties document as it was last set; empty until then.
    pub(crate) properties: Bytes,
}

impl World {
    pub(crate) fn new(accounts: &BTreeMap<String, Account>) -> Self {
        let holdings = |account: &Account| Holdings { key: account.key.clone(), ..Holdings::default() };
        let accounts = accounts.iter().map(|(name, account)| (name.clone(), holdings(account))).collect();
        Self { accounts, copying: BTreeSet::new() }
    }

    /// Whether there is an account of this name.
    pub(crate) fn holds(&self, account: &str) -> bool {
        self.accounts.contains_key(account)
    }

    /// Whether the account is where a managed disk keeps its data.
    pub(crate) fn is_managed(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|holdings| holdings.managed)
    }

    /// The shared key of an account.
    pub(crate) fn key(&self, account: &str) -> Option<&str> {
        self.accounts.get(account).map(|holdings| holdings.key.as_str())
    }

    /// Makes room for the data of a managed disk: an account of its own, with the container that holds its blob.
    pub(crate) fn add_managed(&mut self, home: &Target, key: String, container: Container) {
        let containers = BTreeMap::from([(home.container.clone(), container)]);
        let holdings = Holdings { key, managed: true, containers, properties: Bytes::new() };
        self.accounts.insert(home.account.clone(), holdings);
    }

    /// Gives up the data of a managed disk.
    pub(crate) fn drop_managed(&mut self, account: &str) {
        if self.is_managed(account) {
            self.accounts.remove(account);
        }
    }

    /// The container of a managed disk's blob, for the service itself.
    pub(crate) fn managed_mut(&mut self, home: &Target) -> Option<&mut Container> {
        self.find_mut(home)
    }

    pub(crate) fn holdings(&self, call: &Call<'_>, _: &Admitted) -> Result<&Holdings, Fault> {
        self.accounts.get(&call.target.account).ok_or_else(|| Fault::of("ResourceNotFound"))
    }

    pub(crate) fn holdings_mut(&mut self, call: &Call<'_>, _: &Admitted) -> Result<&mut Holdings, Fault> {
        self.accounts.get_mut(&call.target.account).ok_or_else(|| Fault::of("ResourceNotFound"))
    }

    pub(crate) fn container(&self, call: &Call<'_>, _: &Admitted) -> Result<&Container, Fault> {
        self.find(&call.target).ok_or_else(|| Fault::of("ContainerNotFound"))
    }

    pub(crate) fn container_mut(&mut self, call: &Call<'_>, proof: &Admitted) -> Result<&mut Container, Fault> {
        let found = self.holdings_mut(call, proof)?.containers.get_mut(&call.target.container);
        found.ok_or_else(|| Fault::of("ContainerNotFound"))
    }

    /// The base blob, unless it belongs to the service: the target of incremental copies.
    pub(crate) fn blob_mut(&mut self, call: &Call<'_>, proof: &Admitted) -> Result<&mut Blob, Fault> {
        let found = self.container_mut(call, proof)?.blobs.get_mut(&call.target.blob);
        match found.ok_or_else(|| Fault::of("BlobNotFound"))? {
            blob if blob.series.is_some() => Err(Fault::of("OperationNotAllowedOnIncrementalCopyBlob")),
            blob => Ok(blob),
        }
    }

    /// What a read is addressed to, with its base: the base itself, or one of its snapshots. Of a target of
    /// incremental copies only the snapshots can be read.
    pub(crate) fn subject(&self, call: &Call<'_>, proof: &Admitted) -> Result<Subject<'_>, Fault> {
        match self.described(call, proof)? {
            subject if subject.snapshot.is_none() && subject.base.series.is_some() => {
                Err(Fault::of("OperationNotAllowedOnIncrementalCopyBlob"))
            }
            subject => Ok(subject),
        }
    }

    /// As [`World::subject`], for those who only ask what it is.
    pub(crate) fn described(&self, call: &Call<'_>, proof: &Admitted) -> Result<Subject<'_>, Fault> {
        let snapshot = input::snapshot(call.request, "snapshot")?;
        let found = self.container(call, proof)?.blobs.get(&call.target.blob);
        let base = found.ok_or_else(|| Fault::of("BlobNotFound"))?;
        let state = base.at(snapshot).ok_or_else(|| Fault::of("BlobNotFound"))?;
        Ok(Subject { base, state, snapshot })
    }

    /// A blob named by the URL of a copy, whose access was checked separately.
    pub(crate) fn source(&self, target: &Target) -> Option<&Blob> {
        self.find(target)?.blobs.get(&target.blob)
    }

    pub(crate) fn policies(&self, target: &Target) -> &[Policy] {
        self.find(target).map_or(&[], |container| &container.policies)
    }

    pub(crate) fn public_access(&self, target: &Target) -> &str {
        self.find(target).map_or("", |container| &container.public)
    }

    /// Notes that a copy onto `target` has begun.
    pub(crate) fn watch(&mut self, target: &Target) {
        self.copying.insert(target.clone());
    }

    /// Brings every pending copy up to `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if self.copying.is_empty() {
            return;
        }
        let mut copying = std::mem::take(&mut self.copying);
        copying.retain(|target| {
            let Some(blob) = self.find_mut(target).and_then(|container| container.blobs.get_mut(&target.blob)) else {
                return false;
            };
            blob.settle(now);
            blob.pending.is_some()
        });
        self.copying = copying;
    }

    /// Ends the copies whose source is gone, or is no longer what it was when they began.
    pub(crate) fn check_sources(&mut self, now: Timestamp) {
        for target in self.copying.clone() {
            let pending = self.source(&target).and_then(|blob| blob.pending.as_ref());
            let Some(pending) = pending else { continue };
            if pending.source == target && pending.snapshot.is_none() {
                continue;
            }
            let state = self.source(&pending.source).and_then(|blob| blob.at(pending.snapshot));
            let why = match state {
                None => "404 ResourceNotFound \"The source of the copy is gone.\"",
                Some(state) if state.etag != pending.source_etag => {
                    "412 ConditionNotMet \"The source of the copy was changed.\""
                }
                Some(_) => continue,
            };
            let container = self.find_mut(&target);
            container
                .and_then(|container| container.blobs.get_mut(&target.blob))
                .into_iter()
                .for_each(|blob| blob.fail(why, now));
        }
    }

    fn find_mut(&mut self, target: &Target) -> Option<&mut Container> {
        self.accounts.get_mut(&target.account)?.containers.get_mut(&target.container)
    }

    fn find(&self, target: &Target) -> Option<&Container> {
        self.accounts.get(&target.account)?.containers.get(&target.container)
    }
}

/// Keys stay out of every log.
impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings")
            .field("managed", &self.managed)
            .field("containers", &self.containers)
            .finish_non_exhaustive()
    }
}

/// What a read is about.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) base: &'a Blob,
    pub(crate) state: &'a State,
    pub(crate) snapshot: Option<Timestamp>,
}

impl Blob {
    /// The base, or the snapshot of this time.
    pub(crate) fn at(&self, snapshot: Option<Timestamp>) -> Option<&State> {
        snapshot.map_or(Some(&self.state), |time| self.snapshots.get(&time))
    }
}
