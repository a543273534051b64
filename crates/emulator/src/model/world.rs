//! Finding things: accounts, containers, blobs, snapshots.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::auth::token::Policy;
use crate::model::blob::{Blob, Container, State};
use crate::model::call::{Admitted, Call, Target};
use crate::model::fault::Fault;
use crate::model::input;
use crate::time::Timestamp;

/// Everything stored, by account.
#[derive(Debug, Clone)]
pub(crate) struct World {
    accounts: BTreeMap<String, Holdings>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings {
    pub(crate) containers: BTreeMap<String, Container>,
    /// The service properties document as it was last set; empty until then.
    pub(crate) properties: Bytes,
}

impl World {
    pub(crate) fn new<'a>(accounts: impl Iterator<Item = &'a String>) -> Self {
        Self { accounts: accounts.map(|name| (name.clone(), Holdings::default())).collect() }
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

    /// The base blob.
    pub(crate) fn blob_mut(&mut self, call: &Call<'_>, proof: &Admitted) -> Result<&mut Blob, Fault> {
        let found = self.container_mut(call, proof)?.blobs.get_mut(&call.target.blob);
        found.ok_or_else(|| Fault::of("BlobNotFound"))
    }

    /// What a read is addressed to, with its base: the base itself, or one of its snapshots.
    pub(crate) fn subject(&self, call: &Call<'_>, proof: &Admitted) -> Result<Subject<'_>, Fault> {
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

    /// Brings a pending copy onto the addressed blob up to `now`.
    pub(crate) fn settle(&mut self, target: &Target, now: Timestamp) {
        let holdings = self.accounts.get_mut(&target.account);
        let Some(container) = holdings.and_then(|h| h.containers.get_mut(&target.container)) else { return };
        match target.blob.as_str() {
            "" => container.blobs.values_mut().for_each(|blob| blob.settle(now)),
            name => container.blobs.get_mut(name).into_iter().for_each(|blob| blob.settle(now)),
        }
    }

    fn find(&self, target: &Target) -> Option<&Container> {
        self.accounts.get(&target.account)?.containers.get(&target.container)
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
