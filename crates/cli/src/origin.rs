//! The disk that was named on the command line: a page blob, a managed disk or one of its snapshots, or URLs of managed
//! snapshots. All of them are read in the same way.

use std::fmt;
use std::time::Duration;

use pageferry_arm::ResourceId;
use pageferry_azure::{Address, PageBlob};
use pageferry_core::next::Want;
use pageferry_core::{Etag, PageRange, SnapshotId};
use pageferry_managed::{ManagedDisk, Reading, Scene as Listener, Terms, UrlPair};
use pageferry_replicate::{Events, look};
use pageferry_store::{Answer, Ask, PageData, Pass, Properties, Receipt, Snapshot, Source, StoreError, View};

use crate::cloud::Cloud;
use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::place::{Named, Place, discard_scratch, options, secret_text};
use crate::settings::QUIESCE;
use crate::speed::Speed;

/// How long a run that was asked to stop takes to give back what it may read.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// A disk as it was named.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A page blob.
    Blob(Box<Place>),
    /// A managed disk, or one of its snapshots.
    Managed(Box<Managed>),
    /// A managed snapshot by its URL, and the one before it.
    Urls(Box<Urls>),
}

/// A managed disk, or one of its snapshots, by resource id.
#[derive(Clone, Debug)]
pub(crate) struct Managed {
    pub(crate) named: ResourceId,
    pub(crate) cloud: Cloud,
    options: pageferry_azure::Options,
}

/// URLs of managed snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    newer: Address,
    older: Option<Address>,
    options: pageferry_azure::Options,
}

/// A disk that can be read.
#[derive(Clone)]
pub(crate) enum Disk {
    Blob(PageBlob),
    Managed(ManagedDisk),
    Urls(UrlPair),
}

/// What beside its own words says which disk is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hints<'a> {
    /// Where the URL of the snapshot before is found.
    pub(crate) previous: Option<&'a str>,
    pub(crate) cloud: &'a Cloud,
    pub(crate) speed: Speed,
    pub(crate) quiesce: Duration,
}

impl<'a> Hints<'a> {
    /// For those who do not tune.
    pub(crate) fn plain(cloud: &'a Cloud) -> Hints<'a> {
        Hints { previous: None, cloud, speed: Speed::default(), quiesce: QUIESCE }
    }
}

impl Origin {
    /// The disk that `named` names.
    ///
    /// # Errors
    /// It names none, or its credentials cannot be.
    pub(crate) fn of(named: Named<'_>, hints: Hints<'_>) -> Result<Origin, Failure> {
        if ResourceId::is_resource_id(named.url) {
            no_previous(hints.previous, "a managed disk finds its own earlier snapshots")?;
            let resource = ResourceId::parse(named.url).map_err(|error| Failure::usage(error.to_string()))?;
            let options = options(hints.speed, hints.quiesce)?;
            return Ok(Origin::Managed(Box::new(Managed { named: resource, cloud: hints.cloud.clone(), options })));
        }
        let typed = secret_text(named.url)?;
        let named = Named { url: &typed, ..named };
        match Address::parse(named.url) {
            Ok(newer) if newer.is_managed_disk() => {
                let newer = named.with_sas(newer)?;
                let older = hints.previous.map(|place| previous(place, named)).transpose()?;
                let options = options(hints.speed, hints.quiesce)?;
                Ok(Origin::Urls(Box::new(Urls { newer, older, options })))
            }
            _ => {
                no_previous(hints.previous, "the snapshots of a page blob are found by themselves")?;
                Ok(Origin::Blob(Box::new(named.place(hints.speed, hints.quiesce)?)))
            }
        }
    }

    /// The same, with a scratch blob.
    ///
    /// # Errors
    /// It is the blob itself, or there is nothing it would be good for.
    pub(crate) fn with_scratch(self, scratch: Option<Place>) -> Result<Origin, Failure> {
        match (self, scratch) {
            (Origin::Blob(place), scratch) => Ok(Origin::Blob(Box::new(place.with_scratch(scratch)?))),
            (other, None) => Ok(other),
            (_, Some(_)) => Err(Failure::usage(
                "--scratch is for premium page blobs whose snapshots may not be read; those of managed disks may",
            )),
        }
    }

    /// The disk, once somebody answers for it, and the one snapshot that was named, if it was one.
    ///
    /// # Errors
    /// Nobody answers, or what was named cannot be backed up.
    pub(crate) async fn reach(&self, scene: &Scene, events: Events) -> Result<(Disk, Option<SnapshotId>), Failure> {
        match self {
            Origin::Blob(place) => Ok((Disk::Blob(place.reach().await?), None)),
            Origin::Managed(managed) => {
                let (disk, snapshot) = managed.reach(scene, events).await?;
                Ok((Disk::Managed(disk), snapshot))
            }
            Origin::Urls(urls) => {
                let pair = urls.open()?;
                let newer = pair.newer().clone();
                Ok((Disk::Urls(pair), Some(newer)))
            }
        }
    }

    /// The page blob, where it is one.
    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Origin::Blob(place) => Some(place),
            _ => None,
        }
    }
}

impl Managed {
    /// The disk, and the one snapshot of it that was named, if it was one.
    ///
    /// # Errors
    /// Nobody answers, or what was named cannot be backed up.
    pub(crate) async fn reach(
        &self,
        scene: &Scene,
        events: Events,
    ) -> Result<(ManagedDisk, Option<SnapshotId>), Failure> {
        let (arm, token) = self.cloud.connect()?;
        let reading = Reading {
            options: self.options.clone(),
            terms: Terms::default(),
            scene: Listener::new(move |said| events.note(said), scene.interrupt.stop().clone()),
        };
        Ok(ManagedDisk::find(arm, token, &self.named, reading).await?)
    }
}

impl Urls {
    /// The snapshot that was named first.
    pub(crate) fn newer(&self) -> &Address {
        &self.newer
    }

    /// The one before it, where it was named.
    pub(crate) fn older(&self) -> Option<&Address> {
        self.older.as_ref()
    }

    /// A source. Nothing is sent yet.
    ///
    /// # Errors
    /// The URLs name no snapshots, or in the wrong order.
    pub(crate) fn open(&self) -> Result<UrlPair, StoreError> {
        UrlPair::new(self.newer.clone(), self.older.clone(), &self.options)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Blob(place) => place.address.fmt(f),
            Origin::Managed(managed) => managed.named.fmt(f),
            Origin::Urls(urls) => urls.newer.fmt(f),
        }
    }
}

impl Disk {
    /// Where to go: to what was asked for, as far as the name of the disk does not say it already.
    ///
    /// # Errors
    /// Two different snapshots are asked for.
    pub(crate) fn want(&self, asked: &Want, named: Option<SnapshotId>) -> Result<Want, Failure> {
        let asked = match (asked, self) {
            (Want::To(text), Disk::Managed(disk)) => {
                let link = disk.chain().and_then(|chain| chain.named(text.as_str()).cloned());
                Want::To(link.map_or_else(|| text.clone(), |link| link.id))
            }
            (asked, _) => asked.clone(),
        };
        match (asked, named) {
            (asked, None) => Ok(asked),
            (Want::To(asked), Some(named)) if asked != named => {
                Err(Failure::usage(format!("SOURCE names snapshot {named}, and --to snapshot {asked}: leave --to off")))
            }
            (_, Some(named)) => Ok(Want::To(named)),
        }
    }

    /// Checks that snapshots which are given by their URLs go on where `target` is: nothing but the one before says that they
    /// are of the same disk.
    ///
    /// # Errors
    /// The chain would be broken.
    pub(crate) async fn continues(&self, target: &PageBlob) -> Result<(), Failure> {
        let Disk::Urls(pair) = self else { return Ok(()) };
        let points = look::target(target).await?.map(|found| found.view.points).unwrap_or_default();
        let newest = points.last().map(|point| &point.seal);
        // Another disk's backup is refused as that.
        if newest.is_some_and(|seal| seal.disk.address() != pair.address()) {
            return Ok(());
        }
        let target = target.address();
        let broken = |why: String| Err(Failure::new(Exit::ChainBroken, why));
        match (newest.map(|seal| &seal.snapshot.id), pair.older()) {
            (None, Some(older)) => broken(format!(
                "--previous names snapshot {older}, and {target} has no point made from it, or from any other: check TARGET, or \
                 leave --previous off to copy the snapshot as a whole"
            )),
            (Some(held), None) if held != pair.newer() => broken(format!(
                "the newest point of {target} was made from source snapshot {held}: say --previous with that snapshot's URL, \
                 or --reseed to compare everything"
            )),
            (Some(held), Some(older)) if held != older && held != pair.newer() => broken(format!(
                "--previous names snapshot {older}, and the newest point of {target} was made from {held}: give the URL of \
                 that one"
            )),
            _ => Ok(()),
        }
    }

    /// Gives back what was granted and deletes what was made for reading. That one of it cannot be done is worth a word and
    /// no failure.
    pub(crate) async fn leave(&self) {
        if let Disk::Blob(blob) = self {
            discard_scratch(blob).await;
        }
        match tokio::time::timeout(LAST_WORDS, self.give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => not_given_back(&error.to_string()),
            Err(_) => not_given_back("Resource Manager takes too long"),
        }
    }
}

fn not_given_back(why: &str) {
    tracing::warn!(
        "a SAS could not be given back: {why}; the next run to the same target does it, or `pageferry doctor --revoke-stale`"
    );
}

fn no_previous(previous: Option<&str>, why: &str) -> Result<(), Failure> {
    match previous {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            format!("--previous is for managed snapshots that are given by their URLs; {why}: leave it off"),
        )),
    }
}

/// The URL of the snapshot before.
fn previous(place: &str, named: Named<'_>) -> Result<Address, Failure> {
    let url = secret_text(place)?;
    let wrong = |why: String| Failure::usage(format!("--previous is not the URL of a managed snapshot: {why}"));
    let address = Address::parse(&url).map_err(|error| wrong(error.to_string()))?;
    if !address.is_managed_disk() {
        return Err(wrong(format!("{address} is not at a managed disk's endpoint (md-…)")));
    }
    Named { sas: None, what: "--previous", ..named }.with_sas(address)
}

/// Passes a call on to whichever disk it is.
macro_rules! each {
    ($self:ident, $disk:ident => $call:expr) => {
        match $self {
            Disk::Blob($disk) => $call,
            Disk::Managed($disk) => $call,
            Disk::Urls($disk) => $call,
        }
    };
}

impl Source for Disk {
    fn address(&self) -> String {
        each!(self, disk => disk.address())
    }

    fn in_flight_max(&self) -> usize {
        each!(self, disk => disk.in_flight_max())
    }

    async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
        each!(self, disk => disk.pass(view).await)
    }

    fn grants(&self, snapshots: &[SnapshotId]) -> Vec<String> {
        each!(self, disk => disk.grants(snapshots))
    }

    async fn revoke(&self, grants: &[String]) -> Result<(), StoreError> {
        each!(self, disk => disk.revoke(grants).await)
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        each!(self, disk => disk.give_back().await)
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        each!(self, disk => disk.properties(view).await)
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        each!(self, disk => disk.snapshots().await)
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        each!(self, disk => disk.list(ask).await)
    }

    async fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        each!(self, disk => disk.read(view, range, if_match).await)
    }
}
