//! The requests, one method each.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use pageferry_store::{ErrorKind, StoreError};
use url::Url;

use crate::options::Options;
use crate::resource_id::ResourceId;
use crate::resources::{Access, Disk, Granted, NewDisk, NewSnapshot, Snapshot};

/// Azure Resource Manager, as one identity sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Arm {
    options: Arc<Options>,
}

#[allow(clippy::unused_async, unused_variables)]
impl Arm {
    /// Nobody is asked for a token yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an endpoint that a token must not be sent to, or an `api-version` that is too old.
    pub fn new(token: Arc<dyn TokenCredential>, options: Options) -> Result<Arm, StoreError> {
        options.check()?;
        let _ = crate::token::policy(token, &options.endpoint);
        Ok(Arm { options: Arc::new(options) })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Url {
        &self.options.endpoint
    }

    fn soon<T>(&self, id: &str) -> Result<T, StoreError> {
        Err(StoreError::new(ErrorKind::Invalid, "Get Snapshot", id, "not written yet"))
    }

    /// A disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn disk(&self, id: &ResourceId) -> Result<Disk, StoreError> {
        self.soon(id.canonical())
    }

    /// A snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn snapshot(&self, id: &ResourceId) -> Result<Snapshot, StoreError> {
        self.soon(id.canonical())
    }

    /// Every snapshot of a subscription.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn snapshots_of_subscription(&self, subscription: &str) -> Result<Vec<Snapshot>, StoreError> {
        self.soon(subscription)
    }

    /// Every snapshot of a resource group.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn snapshots_of_group(&self, subscription: &str, group: &str) -> Result<Vec<Snapshot>, StoreError> {
        self.soon(group)
    }

    /// Makes a snapshot and waits until it exists; not until a copy in the background is complete.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn create_snapshot(&self, id: &ResourceId, new: &NewSnapshot) -> Result<Snapshot, StoreError> {
        self.soon(id.canonical())
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn delete_snapshot(&self, id: &ResourceId) -> Result<(), StoreError> {
        self.soon(id.canonical())
    }

    /// Makes a disk and waits until it exists.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn create_disk(&self, id: &ResourceId, new: &NewDisk) -> Result<Disk, StoreError> {
        self.soon(id.canonical())
    }

    /// Deletes a disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn delete_disk(&self, id: &ResourceId) -> Result<(), StoreError> {
        self.soon(id.canonical())
    }

    /// Leave to use the data of a disk or snapshot for `duration`. Asking again replaces or extends what was given before.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn begin_access(
        &self,
        id: &ResourceId,
        access: Access,
        duration: Duration,
    ) -> Result<Granted, StoreError> {
        self.soon(id.canonical())
    }

    /// Gives up every leave to use the data of a disk or snapshot.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn end_access(&self, id: &ResourceId) -> Result<(), StoreError> {
        self.soon(id.canonical())
    }
}
