//! One page blob of the service, and how it is read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use azure_storage_blob::models::BlobClientGetPropertiesOptions;
use pageferry_core::{Etag, PageRange};
use pageferry_store::error::Failure;
use pageferry_store::{
    Answer, Ask, ErrorKind, PageData, Pass, Properties, Receipt, Snapshot, Source, StoreError, View,
};
use secrecy::SecretString;

use crate::address::Address;
use crate::credentials::Credential;
use crate::operation::Operation;
use crate::options::Options;
use crate::properties::properties;
use crate::read::Halves;
use crate::scratch::Scratch;
use crate::wire::Wire;

/// A page blob of the Azure Blob service: both roles, as far as the credential goes.
///
/// Cloning is cheap and shares the connections. Where the address names a snapshot, [`View::Base`] means that snapshot.
#[derive(Clone)]
pub struct PageBlob(Arc<Inner>);

struct Inner {
    wire: Wire,
    halves: Halves,
    scratch: Option<Scratch>,
    /// The SAS we are known by, for others who are to read this blob.
    /// The account has refused to let a snapshot be read.
    refuses: AtomicBool,
}

impl PageBlob {
    /// The blob at `address`, for whoever `credential` says we are. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where no HTTP client can be set up, or a token would have to be sent over http.
    pub fn new(address: Address, credential: &Credential, options: Options) -> Result<PageBlob, StoreError> {
        PageBlob::with_scratch(address, credential, options, None)
    }

    /// The same, with a blob to which snapshots are copied where the account refuses to let them be read. Whoever is done
    /// with it calls [`PageBlob::discard_scratch`].
    ///
    /// # Errors
    /// As [`PageBlob::new`].
    pub fn with_scratch(
        address: Address,
        credential: &Credential,
        options: Options,
        scratch: Option<PageBlob>,
    ) -> Result<PageBlob, StoreError> {
        let wire = Wire::new(address, credential, options)?;
        let scratch = scratch.map(Scratch::new);
        let (halves, refuses) = (Halves::default(), AtomicBool::new(false));
        Ok(PageBlob(Arc::new(Inner { wire, halves, scratch, refuses })))
    }

    /// Deletes the scratch blob, if one was needed.
    ///
    /// # Errors
    /// Of the service.
    pub async fn discard_scratch(&self) -> Result<(), StoreError> {
        match &self.0.scratch {
            Some(scratch) => scratch.discard().await,
            None => Ok(()),
        }
    }

    /// Where the blob is.
    pub fn location(&self) -> &Address {
        &self.wire().address
    }

    /// One page of what changed on a managed disk since the snapshot at `since`, whose address carries a SAS of its own.
    /// `ask.since` must be empty: the service takes the earlier snapshot by name or by URL.
    ///
    /// # Errors
    /// As [`Source::list`].
    pub async fn list_since_url(&self, ask: &Ask, since: &Address) -> Result<Answer, StoreError> {
        if ask.since.is_some() {
            let cause = "an earlier snapshot is given by name and by URL";
            return Err(self.invalid(Operation::ListRanges, cause));
        }
        self.list_ranges(ask, Some(&since.url_with_sas())).await
    }

    /// The bytes of `range`, never by way of a scratch blob.
    pub(crate) async fn read_directly(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        self.wire().read(&self.0.halves, view, range, if_match).await
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    pub(crate) fn invalid(&self, operation: Operation, cause: impl Into<String>) -> StoreError {
        StoreError::new(ErrorKind::Invalid, operation.name(), self.wire().object.clone(), cause)
    }

    async fn list_ranges(&self, ask: &Ask, since_url: Option<&SecretString>) -> Result<Answer, StoreError> {
        let wire = self.wire();
        wire.settle(Operation::ListRanges, || wire.list_once(ask, since_url)).await.result
    }
}

impl Source for PageBlob {
    fn address(&self) -> String {
        self.wire().object.clone()
    }

    fn in_flight_max(&self) -> usize {
        self.wire().pacer.in_flight_max()
    }

    async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
        self.wire().pass(view).await
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        let wire = self.wire();
        let snapshot = wire.snapshot_of(view).map(|id| id.as_str().to_owned());
        let attempt = || async {
            let options = BlobClientGetPropertiesOptions { snapshot: snapshot.clone(), ..Default::default() };
            properties(&wire.typed(wire.blob.get_properties(Some(options))).await?)
        };
        wire.settle(Operation::GetProperties, attempt).await.result
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let wire = self.wire();
        let mut snapshots: Vec<Snapshot> = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let attempt = || async {
                let listing = wire.list_blobs_once(marker.as_deref()).await?;
                let mut page = Vec::new();
                for entry in listing.entries {
                    page.extend(wire.snapshot_from(entry)?);
                }
                Ok((page, listing.next))
            };
            let (page, next) = wire.settle(Operation::ListBlobs, attempt).await.result.map_err(listing_denied)?;
            snapshots.extend(page);
            marker = next;
            if marker.is_none() {
                break;
            }
        }
        snapshots.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(snapshots)
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        self.list_ranges(ask, None).await
    }

    async fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        let Inner { wire, scratch, refuses, .. } = &*self.0;
        let copied = scratch.as_ref().zip(wire.snapshot_of(view)).filter(|_| if_match.is_none());
        let Some((scratch, snapshot)) = copied else { return self.read_directly(view, range, if_match).await };
        if !refuses.load(Ordering::Relaxed) {
            match self.read_directly(view, range, if_match).await {
                Err(error) if error.kind() == ErrorKind::ReadRefused => refuses.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        scratch.read(self, snapshot, range).await
    }
}

/// A SAS for one blob reads and writes it, but its snapshots are listed by its container.
fn listing_denied(error: StoreError) -> StoreError {
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    let failure = error.failure().clone();
    let cause = format!(
        "{}; listing snapshots needs a SAS of the container with permission to list (`l`), an account key, or a role",
        failure.cause
    );
    StoreError::from_failure(Failure { cause, ..failure })
}

impl fmt::Debug for PageBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageBlob({})", self.wire().address)
    }
}
