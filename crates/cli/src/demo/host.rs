//! Where the machine runs: a page-blob service in this process, and the blob that is the machine's disk.
//!
//! A host writes to a disk's blob what the machine wrote to its disk, and takes its snapshots, over the same wire that
//! the engine uses. It holds the blob's lease while it writes, as the owner of a disk does.

use futures::{StreamExt, TryStreamExt, stream};
use pageferry_azure::{Address, Credential, Flags, Options, PageBlob, Side};
use pageferry_core::plan::WRITE_BYTES_MAX;
use pageferry_core::{Metadata, PAGE_BYTES, PageRange, Pages, SnapshotId};
use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY, Emulator, Request, Running, Service};
use pageferry_store::{ErrorKind, Fence, LeaseId, PageData, Source, StoreError, Target, View};

use super::disk::{Changes, Picture};
use crate::exit::{Exit, Failure};

const VERSION: &str = "2021-12-02";
const IN_FLIGHT: usize = 8;
const LEASE: std::time::Duration = std::time::Duration::from_secs(60);

/// The most pages in one request.
pub(super) const GRID: Pages = Pages::new(WRITE_BYTES_MAX / PAGE_BYTES);

/// A service of our own, in memory and on a free port.
#[derive(Debug)]
pub(super) struct Host {
    running: Running,
}

impl Host {
    /// Starts the service with these containers.
    pub(super) async fn start(containers: &[&str]) -> Result<Host, Failure> {
        let started = Emulator::start(pageferry_emulator::Options::default()).await;
        let running = started.map_err(|error| failed(format!("cannot start the emulator: {error}")))?;
        for container in containers {
            create_container(&running, container).await?;
        }
        Ok(Host { running })
    }

    /// The service's endpoint.
    pub(super) fn url(&self) -> String {
        self.running.url()
    }

    /// Where its Resource Manager is.
    pub(super) fn arm_url(&self) -> String {
        self.running.arm_url()
    }

    /// The service itself, for what machines do to managed disks.
    pub(super) fn service(&self) -> &Service {
        self.running.service()
    }

    /// The page blob called `path`, a container and a name.
    pub(super) fn blob(&self, path: &str) -> Result<PageBlob, Failure> {
        let address = Address::parse(&format!("{}/{path}", self.url()))?;
        let credential = Credential::resolve(&address, Side::Source, &|_| None, &Flags::default())?;
        Ok(PageBlob::new(address, &credential, Options::default())?)
    }
}

/// Makes a container. The engine has no such operation, so the request is signed by hand.
async fn create_container(running: &Running, container: &str) -> Result<(), Failure> {
    let sas = AccountSas {
        version: VERSION,
        services: "b",
        resource_types: "c",
        permissions: "c",
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    let sas = account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap_or_default();
    let request = Request::new("PUT", &format!("/{DEV_ACCOUNT}/{container}?restype=container&{sas}"));
    match running.service().handle(request.header("x-ms-version", VERSION)).await.status {
        201 => Ok(()),
        status => Err(failed(format!("the emulator answered {status} when asked for the container {container}"))),
    }
}

/// Writes what happened to the disk to its blob, and takes a snapshot of that.
pub(super) async fn save(blob: &PageBlob, disk: &Picture, changes: &Changes) -> Result<SnapshotId, StoreError> {
    let properties = match blob.properties(&View::Base).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            blob.create(disk.size(), &Metadata::new()).await?;
            blob.properties(&View::Base).await?
        }
        answer => answer?,
    };
    let lease = LeaseId(guid());
    blob.acquire(&lease, LEASE, None).await?;
    if properties.size != disk.size() {
        blob.resize(disk.size(), &lease).await?;
    }
    let fence = &Fence { lease: lease.clone(), epoch: properties.sequence };
    let write = |range: PageRange| async move {
        let data = PageData::new(disk.bytes(range).into());
        blob.write(range, &data, fence).await
    };
    let pieces = changes.written.iter().flat_map(|range| range.cut(GRID));
    stream::iter(pieces.map(write)).buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await?;
    let clears = changes.freed.iter().map(|range| blob.clear(*range, fence));
    stream::iter(clears).buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await?;
    blob.release(&lease).await?;
    Ok(blob.snapshot(None, None).await?.0)
}

/// An id that nobody else has.
fn guid() -> String {
    let id = format!("{:032x}", rand::random::<u128>());
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
}

/// A failure of the demo itself.
pub(super) fn failed(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, message)
}
