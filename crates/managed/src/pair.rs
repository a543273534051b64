//! A managed disk of which one has nothing but URLs: that of a snapshot, and that of the one before.
//!
//! Nothing here can ask for a new SAS, list what other snapshots there are, or tell which disk it is. What ties a step to
//! the one before is the earlier snapshot, which must be the very one that the target's newest point was made from.

use std::fmt;
use std::sync::Arc;

use pageferry_azure::{Address, Credential, Options, PageBlob};
use pageferry_core::{Etag, Metadata, PageRange, SnapshotId};
use pageferry_store::error::Failure;
use pageferry_store::{Answer, Ask, ErrorKind, PageData, Properties, Receipt, Snapshot, Source, StoreError, View};
use tokio::sync::OnceCell;

use crate::endpoint::{refuse_vhdx, since_nothing};

/// One or two incremental snapshots of a managed disk, by URL.
#[derive(Clone)]
pub struct UrlPair(Arc<Inner>);

struct Inner {
    newer: Picture,
    older: Option<Picture>,
    looked: OnceCell<()>,
}

struct Picture {
    id: SnapshotId,
    blob: PageBlob,
}

impl UrlPair {
    /// The snapshot at `newer`, and the one before it at `older`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a URL names no snapshot or has no SAS, or the two are in the wrong order.
    pub fn new(newer: Address, older: Option<Address>, options: &Options) -> Result<UrlPair, StoreError> {
        let newer = Picture::new(newer, options)?;
        let older = older.map(|address| Picture::new(address, options)).transpose()?;
        if let Some(older) = older.as_ref().filter(|older| older.id >= newer.id) {
            let cause = format!(
                "--previous names snapshot {}, which is not older than snapshot {}: exchange the two",
                older.id, newer.id
            );
            return Err(StoreError::new(ErrorKind::Invalid, "compare", newer.blob.address(), cause));
        }
        Ok(UrlPair(Arc::new(Inner { newer, older, looked: OnceCell::new() })))
    }

    /// The snapshot that was named first.
    pub fn newer(&self) -> &SnapshotId {
        &self.0.newer.id
    }

    /// The one before it, where it was named.
    pub fn older(&self) -> Option<&SnapshotId> {
        self.0.older.as_ref().map(|older| &older.id)
    }

    fn picture(&self, id: &SnapshotId) -> Result<&Picture, StoreError> {
        let all = std::iter::once(&self.0.newer).chain(&self.0.older);
        all.into_iter().find(|picture| picture.id == *id).ok_or_else(|| {
            let cause = format!("no URL of snapshot {id} was given");
            StoreError::new(ErrorKind::NotFound, "Get Blob", self.address(), cause)
        })
    }

    fn of(&self, view: &View) -> Result<&Picture, StoreError> {
        match view {
            View::Base => Ok(&self.0.newer),
            View::Snapshot(id) => self.picture(id),
        }
    }
}

impl Picture {
    fn new(address: Address, options: &Options) -> Result<Picture, StoreError> {
        let invalid = |cause| StoreError::new(ErrorKind::Invalid, "connect", address.url().to_string(), cause);
        let id = address.snapshot().cloned().ok_or_else(|| {
            invalid(
                "the URL names no snapshot (`snapshot=…`): it is that of a disk or of a full snapshot, and only incremental \
                 snapshots can be told apart and differenced",
            )
        })?;
        let sas =
            address.sas().cloned().ok_or_else(|| invalid("the URL of a managed disk is good only with its SAS"))?;
        Ok(Picture { id, blob: PageBlob::new(address, &Credential::Sas(sas), options.clone())? })
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let found = self.blob.properties(&View::Base).await.map_err(expired)?;
        let (id, etag) = (self.id.clone(), found.etag);
        Ok(Snapshot { id, etag, size: found.size, metadata: Metadata::new(), family: None })
    }
}

impl Source for UrlPair {
    /// Which disk it is cannot be told: hosts and paths may differ from one grant to the next.
    fn address(&self) -> String {
        "managed-disk-by-url".to_owned()
    }

    fn in_flight_max(&self) -> usize {
        self.0.newer.blob.in_flight_max()
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        self.of(view)?.blob.properties(&View::Base).await.map_err(expired)
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let Inner { newer, older, looked } = &*self.0;
        let newer_found = newer.snapshot().await?;
        looked.get_or_try_init(|| refuse_vhdx(&newer.blob)).await?;
        let mut all = Vec::new();
        if let Some(older) = older {
            all.push(older.snapshot().await?);
        }
        all.push(newer_found);
        Ok(all)
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        let picture = self.of(&ask.view)?;
        let since = ask.since.as_ref().map(|since| self.picture(since));
        let ask = Ask { view: View::Base, since: None, if_match: None, ..ask.clone() };
        let answer = match since {
            None => picture.blob.list(&ask).await,
            Some(Ok(since)) => picture.blob.list_since_url(&ask, since.blob.location()).await,
            Some(Err(_)) => {
                picture.blob.list(&ask).await.map_err(expired)?;
                return since_nothing(&picture.blob, &ask).await;
            }
        };
        answer.map_err(expired)
    }

    async fn read(&self, view: &View, range: PageRange, _: Option<&Etag>) -> Result<(PageData, Receipt), StoreError> {
        self.of(view)?.blob.read(&View::Base, range, None).await.map_err(expired)
    }
}

/// Says what to do about a SAS that is no good.
fn expired(error: StoreError) -> StoreError {
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    let failure = error.failure().clone();
    let cause = format!(
        "{}; the SAS has expired or was revoked: have a new one granted (az snapshot grant-access) and run again, or name the \
         disk by its resource id, so that pageferry asks for them itself",
        failure.cause
    );
    StoreError::from_failure(Failure { cause, ..failure })
}

impl fmt::Debug for UrlPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlPair({}, {:?})", self.newer(), self.older())
    }
}
