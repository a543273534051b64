//! A managed disk as a source: its chain of incremental snapshots, each read through a grant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use azure_core::credentials::TokenCredential;
use pageferry_arm::{Access, Arm, Kind, ResourceId};
use pageferry_azure::{Address, PageBlob};
use pageferry_core::{Etag, Metadata, PageRange, Pages, SnapshotId};
use pageferry_store::error::Failure;
use pageferry_store::{
    Answer, Ask, ErrorKind, LeaseState, PageData, Properties, Receipt, Snapshot, Source, StoreError, View,
};

use crate::chain::{Chain, Link};
use crate::endpoint::{address, credential, denied, of_resource, refuse_vhdx, replaced, since_nothing};
use crate::grants::{Grant, Grants, Terms, made_again};
use crate::scene::Scene;

/// How often a request is sent again with a new grant, after the service stopped honouring the one before. More than one
/// other reader of the same snapshot cannot be outrun.
pub(crate) const GRANTS_MAX: usize = 4;

/// How a managed disk is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// How its pages are read.
    pub options: pageferry_azure::Options,
    /// Of grants.
    pub terms: Terms,
    /// Who waits with us.
    pub scene: Scene,
}

impl Reading {
    /// How many requests it is worth having under way, now.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.options.pacer.as_ref().map_or(usize::MAX, |pacer| pacer.in_flight_max())
    }
}

/// A managed disk, seen through its incremental snapshots. Cloning shares everything.
#[derive(Clone)]
pub struct ManagedDisk(Arc<Inner>);

struct Inner {
    arm: Arm,
    disk: ResourceId,
    /// What the disk's unique id must be, where the disk was named by one of its snapshots.
    unique: Option<String>,
    token: Arc<dyn TokenCredential>,
    reading: Reading,
    grants: Grants,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chain: Option<Arc<Chain>>,
    /// The notes that were told.
    told: Vec<String>,
    /// Of each snapshot the blob that its newest grant opens.
    open: BTreeMap<ResourceId, Open>,
}

#[derive(Clone)]
struct Open {
    generation: u64,
    blob: PageBlob,
    /// Whether the beginning of the blob has been looked at.
    looked: bool,
}

impl ManagedDisk {
    /// The disk that `named` is, or that it is a snapshot of; in the second case that snapshot, too.
    ///
    /// # Errors
    /// Of Resource Manager, and [`ErrorKind::Invalid`] for a snapshot of something else than a disk.
    pub async fn find(
        arm: Arm,
        token: Arc<dyn TokenCredential>,
        named: &ResourceId,
        reading: Reading,
    ) -> Result<(ManagedDisk, Option<SnapshotId>), StoreError> {
        let (disk, unique, snapshot) = match named.kind() {
            Kind::Disk => (named.clone(), None, None),
            Kind::Snapshot => {
                let snapshot = arm.snapshot(named).await?;
                let of = snapshot.source.clone().filter(|source| source.kind() == Kind::Disk);
                let (Some(disk), Some(unique)) = (of, snapshot.source_unique_id.clone()) else {
                    let cause = "it was not taken of a disk, so there is no chain it belongs to";
                    return Err(refused("Get Snapshot", named, cause));
                };
                if !snapshot.incremental {
                    let cause = format!(
                        "{} is a full snapshot; differences and CopyStart need incremental=true: name an incremental one",
                        snapshot.name
                    );
                    return Err(refused("Get Snapshot", named, cause));
                }
                if !snapshot.is_complete() {
                    let percent = snapshot.completion_percent.unwrap_or_default();
                    let cause = format!("it is {percent} % complete: wait until it is complete, then run again");
                    return Err(refused("Get Snapshot", named, cause));
                }
                (disk, Some(unique), Some(snapshot.id))
            }
        };
        let grants = Grants::new(arm.clone(), Access::Read, reading.terms, reading.scene.clone());
        let found = ManagedDisk(Arc::new(Inner { arm, disk, unique, token, reading, grants, state: Mutex::default() }));
        let chain = found.look().await?;
        let snapshot = match snapshot {
            None => None,
            Some(resource) => {
                let link = chain.links.iter().find(|link| link.resource == resource);
                let cause = "it cannot be backed up yet, because an earlier snapshot of its disk is not complete";
                Some(link.ok_or_else(|| refused("Get Snapshot", &resource, cause))?.id.clone())
            }
        };
        Ok((found, snapshot))
    }

    /// The disk's resource id.
    pub fn resource(&self) -> &ResourceId {
        &self.0.disk
    }

    /// The chain as it was when it was last looked at.
    pub fn chain(&self) -> Option<Arc<Chain>> {
        self.state().chain.clone()
    }

    /// Looks at the disk and its snapshots.
    ///
    /// # Errors
    /// Of Resource Manager, and [`ErrorKind::Invalid`] for what a person must look at first.
    pub async fn look(&self) -> Result<Arc<Chain>, StoreError> {
        let Inner { disk, reading, .. } = &*self.0;
        let chain = reading.scene.or_stop("List Snapshots", disk, self.list_chain()).await?;
        if self.chain().is_some_and(|before| before.unique != chain.unique) {
            return Err(made_again(disk));
        }
        let chain = Arc::new(chain);
        let new: Vec<String> = {
            let mut state = self.state();
            state.chain = Some(Arc::clone(&chain));
            let new = chain.notes.iter().filter(|note| !state.told.contains(note)).cloned().collect();
            state.told.clone_from(&chain.notes);
            new
        };
        new.into_iter().for_each(|note| reading.scene.say(note));
        Ok(chain)
    }

    /// Resource Manager, for what else is to be done with the disk.
    pub fn arm(&self) -> &Arm {
        &self.0.arm
    }

    pub(crate) fn scene(&self) -> &Scene {
        &self.0.reading.scene
    }

    pub(crate) fn terms(&self) -> Terms {
        self.0.reading.terms
    }

    /// All snapshots that may be seen and may be of this disk.
    ///
    /// # Errors
    /// Of Resource Manager.
    pub async fn all_snapshots(&self) -> Result<Vec<pageferry_arm::Snapshot>, StoreError> {
        let Inner { arm, disk, .. } = &*self.0;
        match arm.snapshots_of_subscription(disk.subscription()).await {
            // Whoever may not look at the whole subscription may still look at the disk's own group.
            Err(error) if error.kind() == ErrorKind::Denied => {
                arm.snapshots_of_group(disk.subscription(), disk.group()).await.map_err(|_| error)
            }
            listed => listed,
        }
    }

    async fn list_chain(&self) -> Result<Chain, StoreError> {
        let Inner { arm, disk, .. } = &*self.0;
        let (unique, absent) = match (&self.0.unique, arm.disk(disk).await) {
            (Some(unique), _) => (Some(unique.clone()), None),
            (None, Ok(found)) => (found.unique_id, None),
            // Its snapshots outlive a disk.
            (None, Err(error)) if error.kind() == ErrorKind::NotFound => (None, Some(error)),
            (None, Err(error)) => return Err(error),
        };
        let snapshots = self.all_snapshots().await?;
        let of_it = |one: &pageferry_arm::Snapshot| one.source.as_ref() == Some(disk);
        if let Some(absent) = absent.filter(|_| !snapshots.iter().any(of_it)) {
            let cause = format!("neither {disk} nor any snapshot of it exists");
            return Err(StoreError::from_failure(Failure { cause, ..absent.failure().clone() }));
        }
        let chain = Chain::of(disk, unique.as_deref(), snapshots);
        chain.map_err(|cause| refused("List Snapshots", disk, cause))
    }

    /// Does something with the blob of `link`, and with that of `since`, for as long as the service honours the grants.
    async fn with<R, F>(
        &self,
        link: &Link,
        since: Option<&Link>,
        what: impl Fn(PageBlob, Option<Address>) -> F,
    ) -> Result<R, StoreError>
    where
        F: Future<Output = Result<R, StoreError>>,
    {
        let (mut stale, mut stale_since) = (None, None);
        let mut tries = 0;
        loop {
            let lost = |error| if tries > 0 { gone(error) } else { error };
            let grant = self.granted(link, stale).await.map_err(lost)?;
            let blob = self.open(link, &grant).await?;
            let earlier = match since {
                None => None,
                Some(since) => Some(self.granted(since, stale_since).await.map_err(lost)?),
            };
            let address = earlier.as_ref().map(|grant| address(grant)).transpose()?;
            tries += 1;
            match what(blob, address).await {
                // The service ends a grant when somebody asks for another one, and says no more than that it is no good.
                Err(error) if error.kind() == ErrorKind::Denied && tries < GRANTS_MAX => {
                    self.0.reading.scene.say(replaced(&link.resource));
                    stale = Some(grant.generation);
                    stale_since = earlier.map(|grant| grant.generation);
                }
                Err(error) if error.kind() == ErrorKind::Denied => {
                    return Err(denied(&error, &link.resource, link.needs_token));
                }
                Err(error) => return Err(of_resource(&error, &link.resource)),
                Ok(result) => return Ok(result),
            }
        }
    }

    /// A grant of `link`, and of no other snapshot that has its name by now.
    async fn granted(&self, link: &Link, stale: Option<u64>) -> Result<Arc<Grant>, StoreError> {
        let grant = self.0.grants.get(&link.resource, stale).await?;
        if grant.unique.as_deref() == Some(link.etag.as_str()) { Ok(grant) } else { Err(made_again(&link.resource)) }
    }

    /// The blob that `grant` opens.
    async fn open(&self, link: &Link, grant: &Grant) -> Result<PageBlob, StoreError> {
        let open = self.state().open.get(&link.resource).filter(|open| open.generation == grant.generation).cloned();
        let open = match open {
            Some(open) => open,
            None => {
                let address = address(grant)?;
                let token = link.needs_token.then(|| Arc::clone(&self.0.token));
                let credential = credential(&address, token, &link.resource)?;
                let blob = PageBlob::new(address, &credential, self.0.reading.options.clone())?;
                let looked = self.state().open.get(&link.resource).is_some_and(|before| before.looked);
                Open { generation: grant.generation, blob, looked }
            }
        };
        if !open.looked {
            refuse_vhdx(&open.blob).await.map_err(|error| of_resource(&error, &link.resource))?;
        }
        let open = Open { looked: true, ..open };
        let blob = open.blob.clone();
        self.state().open.insert(link.resource.clone(), open);
        Ok(blob)
    }

    /// Asks for the difference since a snapshot that does not exist.
    async fn ask_since_nothing(&self, link: &Link, ask: &Ask) -> Result<Answer, StoreError> {
        // A plain list first: a refusal after that is about the earlier snapshot.
        let plain = |blob: PageBlob, _| async move { blob.list(ask).await };
        self.with(link, None, plain).await?;
        let grant = self.granted(link, None).await?;
        since_nothing(&self.open(link, &grant).await?, ask).await
    }

    fn link(&self, id: &SnapshotId) -> Result<Link, StoreError> {
        let chain = self.state().chain.clone();
        let link = chain.and_then(|chain| chain.link(id).cloned());
        let link = link.ok_or_else(|| {
            let cause = format!("the disk has no snapshot of {id} (any more)");
            StoreError::new(ErrorKind::NotFound, "Get Snapshot", self.address(), cause)
        })?;
        match &link.barred {
            Some(why) => Err(refused("Begin Get Access", &link.resource, why)),
            None => Ok(link),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for ManagedDisk {
    fn address(&self) -> String {
        self.0.disk.canonical().to_owned()
    }

    fn in_flight_max(&self) -> usize {
        self.0.reading.in_flight_max()
    }

    fn grants(&self, snapshots: &[SnapshotId]) -> Vec<String> {
        let chain = self.state().chain.clone();
        let link = |id| chain.as_ref()?.link(id).map(|link| link.resource.canonical().to_owned());
        snapshots.iter().filter_map(link).collect()
    }

    async fn revoke(&self, grants: &[String]) -> Result<(), StoreError> {
        for grant in grants {
            // What a target says is not believed: only grants of this disk's own snapshots are ended.
            let chain = self.state().chain.clone();
            let ours = chain.as_ref().and_then(|chain| chain.named(grant));
            if let Some(link) = ours {
                self.0.grants.revoke(&link.resource).await?;
            }
        }
        Ok(())
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        self.0.grants.give_back().await
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        // Its snapshots are asked for next, which looks again.
        let chain = match self.chain() {
            Some(chain) => chain,
            None => self.look().await?,
        };
        let link = match view {
            View::Base => chain.links.last().cloned(),
            View::Snapshot(id) => Some(self.link(id)?),
        };
        Ok(Properties {
            size: link.as_ref().map_or(Pages::ZERO, |link| link.size),
            etag: link.map_or_else(|| Etag::new(""), |link| link.etag),
            sequence: 0,
            lease: LeaseState::Available,
            created: chain.unique.clone(),
            metadata: Metadata::new(),
            copy_pending: false,
            premium: None,
        })
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let snapshot = |link: &Link| Snapshot {
            id: link.id.clone(),
            etag: link.etag.clone(),
            size: link.size,
            metadata: Metadata::new(),
            family: link.family.clone(),
        };
        Ok(self.look().await?.links.iter().map(snapshot).collect())
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        let View::Snapshot(id) = &ask.view else { return Err(no_base(self)) };
        let link = self.link(id)?;
        let since = ask.since.as_ref().map(|since| self.link(since));
        let ask = Ask { view: View::Base, since: None, if_match: None, ..ask.clone() };
        let since = match since.transpose() {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.ask_since_nothing(&link, &ask).await,
            since => since?,
        };
        let what = |blob: PageBlob, since: Option<Address>| {
            let ask = ask.clone();
            async move {
                match since {
                    Some(since) => blob.list_since_url(&ask, &since).await,
                    None => blob.list(&ask).await,
                }
            }
        };
        self.with(&link, since.as_ref(), what).await
    }

    async fn read(&self, view: &View, range: PageRange, _: Option<&Etag>) -> Result<(PageData, Receipt), StoreError> {
        let View::Snapshot(id) = view else { return Err(no_base(self)) };
        let link = self.link(id)?;
        self.with(&link, None, |blob, _| async move { blob.read(&View::Base, range, None).await }).await
    }
}

/// Says what it means that a snapshot is not there that was there before.
fn gone(error: StoreError) -> StoreError {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let cause =
        "it was deleted while it was read; the target keeps its points, and the next run goes on to another snapshot";
    StoreError::from_failure(Failure { cause: cause.to_owned(), ..error.failure().clone() })
}

fn no_base(disk: &ManagedDisk) -> StoreError {
    let cause = "a managed disk is read by its snapshots only";
    StoreError::new(ErrorKind::Invalid, "Get Blob", disk.address(), cause)
}

/// What a person must change.
pub(crate) fn refused(operation: &'static str, object: &ResourceId, cause: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, operation, object.to_string(), cause)
}

impl fmt::Debug for ManagedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagedDisk({})", self.0.disk)
    }
}
