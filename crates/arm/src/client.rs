//! The requests, one method each.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::Method;
use pageferry_store::{ErrorKind, StoreError};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use crate::body::{self, Page, Resource};
use crate::errors;
use crate::fault::{Fault, Outcome};
use crate::operation::Operation;
use crate::options::Options;
use crate::resource_id::{self, Kind, ResourceId};
use crate::resources::{Access, Disk, Granted, NewDisk, NewSnapshot, Snapshot};
use crate::waiting::{self, Wait};
use crate::wire::{Answer, Call, Wire};

/// A list of more pages than this has no end.
const PAGES_MAX: usize = 10_000;

/// The longest time that can be asked for: more does not fit the service's parameter.
const LONGEST_ACCESS: Duration = Duration::from_secs(i32::MAX as u64);

/// Azure Resource Manager, as one identity sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Arm(Arc<Wire>);

impl Arm {
    /// Nobody is asked for a token yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an endpoint that a token must not be sent to, and for an `api-version` that is too old.
    pub fn new(token: Arc<dyn TokenCredential>, options: Options) -> Result<Arm, StoreError> {
        Ok(Arm(Arc::new(Wire::new(token, options)?)))
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Url {
        &self.0.options.endpoint
    }

    /// A disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn disk(&self, id: &ResourceId) -> Result<Disk, StoreError> {
        let operation = Operation::Get(Kind::Disk);
        let resource = self.get(operation, id, Kind::Disk).await?;
        resource.into_disk(Some(id)).map_err(|fault| errors::error(operation, &id.to_string(), fault, 1))
    }

    /// A snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and failures of the service.
    pub async fn snapshot(&self, id: &ResourceId) -> Result<Snapshot, StoreError> {
        let operation = Operation::Get(Kind::Snapshot);
        let resource = self.get(operation, id, Kind::Snapshot).await?;
        resource.into_snapshot(Some(id)).map_err(|fault| errors::error(operation, &id.to_string(), fault, 1))
    }

    /// Every snapshot of a subscription.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one, and failures of the service.
    pub async fn snapshots_of_subscription(&self, subscription: &str) -> Result<Vec<Snapshot>, StoreError> {
        let object = format!("/subscriptions/{subscription}");
        named(Operation::ListSnapshots, &object, &[("subscription", subscription)])?;
        let path = ["subscriptions", subscription, "providers", "Microsoft.Compute", "snapshots"];
        self.list(&object, self.0.url(path)).await
    }

    /// Every snapshot of a resource group.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one, and failures of the service.
    pub async fn snapshots_of_group(&self, subscription: &str, group: &str) -> Result<Vec<Snapshot>, StoreError> {
        let object = format!("/subscriptions/{subscription}/resourceGroups/{group}");
        named(Operation::ListSnapshots, &object, &[("subscription", subscription), ("resource group", group)])?;
        let path =
            ["subscriptions", subscription, "resourceGroups", group, "providers", "Microsoft.Compute", "snapshots"];
        self.list(&object, self.0.url(path)).await
    }

    /// Makes a snapshot, and waits until there is one; not until a copy in the background is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Transient`] where it takes too long or failed for now, and other failures of the service.
    pub async fn create_snapshot(&self, id: &ResourceId, new: &NewSnapshot) -> Result<Snapshot, StoreError> {
        let operation = Operation::Create(Kind::Snapshot);
        let resource = self.create(operation, id, Kind::Snapshot, body::new_snapshot(new)).await?;
        resource.into_snapshot(Some(id)).map_err(|fault| errors::error(operation, &id.to_string(), fault, 1))
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there was none to begin with, and failures of the service.
    pub async fn delete_snapshot(&self, id: &ResourceId) -> Result<(), StoreError> {
        self.delete(Operation::Delete(Kind::Snapshot), id, Kind::Snapshot).await
    }

    /// Makes a disk, and waits until there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Transient`] where it takes too long or failed for now, and other failures of the service.
    pub async fn create_disk(&self, id: &ResourceId, new: &NewDisk) -> Result<Disk, StoreError> {
        let operation = Operation::Create(Kind::Disk);
        let resource = self.create(operation, id, Kind::Disk, body::new_disk(new)).await?;
        resource.into_disk(Some(id)).map_err(|fault| errors::error(operation, &id.to_string(), fault, 1))
    }

    /// Deletes a disk.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there was none to begin with, and failures of the service.
    pub async fn delete_disk(&self, id: &ResourceId) -> Result<(), StoreError> {
        self.delete(Operation::Delete(Kind::Disk), id, Kind::Disk).await
    }

    /// Leave to use the data of a disk or snapshot for `duration`. What was given before is replaced or extended, so one
    /// place should ask for all who read the same snapshot.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn begin_access(
        &self,
        id: &ResourceId,
        access: Access,
        duration: Duration,
    ) -> Result<Granted, StoreError> {
        let seconds = duration.clamp(Duration::from_secs(1), LONGEST_ACCESS).as_secs();
        let until = Instant::now() + Duration::from_secs(seconds);
        let (operation, object) = (Operation::BeginAccess(id.kind()), id.to_string());
        let url = self.url(id, Some("beginGetAccess"));
        let call =
            Call { operation, object: &object, method: Method::Post, url, body: Some(body::access(access, seconds)) };
        let wait = Wait::begin();
        let answer = self.0.ask(&call).await?;
        let grant = self.0.finish(&call, answer, &wait).await?;
        match grant.access_sas.filter(|sas| !sas.is_empty()) {
            Some(sas) => Ok(Granted { sas: SecretString::from(sas), until }),
            None => {
                let cause = "the service granted access without saying how (no accessSAS in its answer)";
                Err(errors::error(operation, &object, Fault::new(Outcome::Wrong, cause), 1))
            }
        }
    }

    /// Gives up every leave to use the data of a disk or snapshot.
    ///
    /// # Errors
    /// Failures of the service.
    pub async fn end_access(&self, id: &ResourceId) -> Result<(), StoreError> {
        let (operation, object) = (Operation::EndAccess(id.kind()), id.to_string());
        let url = self.url(id, Some("endGetAccess"));
        let call = Call { operation, object: &object, method: Method::Post, url, body: None };
        let wait = Wait::begin();
        let answer = self.0.ask(&call).await?;
        self.0.finish(&call, answer, &wait).await.map(drop)
    }

    async fn get(&self, operation: Operation, id: &ResourceId, kind: Kind) -> Result<Resource, StoreError> {
        expect(operation, id, kind)?;
        let object = id.to_string();
        let url = self.url(id, None);
        let answer = self.0.ask(&Call { operation, object: &object, method: Method::Get, url, body: None }).await?;
        parse(operation, &object, &answer)
    }

    async fn create(
        &self,
        operation: Operation,
        id: &ResourceId,
        kind: Kind,
        body: Bytes,
    ) -> Result<Resource, StoreError> {
        expect(operation, id, kind)?;
        let object = id.to_string();
        let url = self.url(id, None);
        let call = Call { operation, object: &object, method: Method::Put, url, body: Some(body) };
        let wait = Wait::begin();
        let answer = self.0.ask(&call).await?;
        self.0.finish(&call, answer, &wait).await?;
        // The end of the operation says nothing about the resource.
        loop {
            let resource = self.get(Operation::Get(kind), id, kind).await?;
            match resource.provisioning() {
                state if state.eq_ignore_ascii_case("Succeeded") => return Ok(resource),
                state if waiting::is_failure(state) => {
                    let words = format!("its provisioningState is {state}");
                    let said = resource.copy_error().unwrap_or_default();
                    return Err(errors::error(operation, &object, Fault::said(Outcome::GivenUp, said, &words), 1));
                }
                _ => self.0.rest(operation, &object, None, &wait).await?,
            }
        }
    }

    async fn delete(&self, operation: Operation, id: &ResourceId, kind: Kind) -> Result<(), StoreError> {
        expect(operation, id, kind)?;
        let object = id.to_string();
        let url = self.url(id, None);
        let call = Call { operation, object: &object, method: Method::Delete, url, body: None };
        let wait = Wait::begin();
        let answer = self.0.ask(&call).await?;
        self.0.finish(&call, answer, &wait).await.map(drop)
    }

    async fn list(&self, object: &str, first: Url) -> Result<Vec<Snapshot>, StoreError> {
        let operation = Operation::ListSnapshots;
        let failed = |fault| errors::error(operation, object, fault, 1);
        let mut snapshots = Vec::new();
        let mut been = HashSet::new();
        let mut next = Some(first);
        while let Some(url) = next {
            if been.len() >= PAGES_MAX || !been.insert(url.clone()) {
                return Err(failed(Fault::new(
                    Outcome::Wrong,
                    "the list has no end: its pages lead back to each other",
                )));
            }
            let answer = self.0.ask(&Call { operation, object, method: Method::Get, url, body: None }).await?;
            let page: Page = parse(operation, object, &answer)?;
            for resource in page.value {
                snapshots.push(resource.into_snapshot(None).map_err(failed)?);
            }
            let link = page.next_link.filter(|link| !link.is_empty());
            next = link.map(|link| self.0.follow(&link)).transpose().map_err(failed)?;
        }
        Ok(snapshots)
    }

    fn url(&self, id: &ResourceId, action: Option<&str>) -> Url {
        let (kind, compute) = (id.kind().plural(), "Microsoft.Compute");
        let path = ["subscriptions", id.subscription(), "resourceGroups", id.group(), "providers", compute, kind];
        self.0.url(path.into_iter().chain([id.name()]).chain(action))
    }
}

/// Refuses the id of something else, which the service would find or not find to our surprise.
fn expect(operation: Operation, id: &ResourceId, kind: Kind) -> Result<(), StoreError> {
    if id.kind() == kind {
        return Ok(());
    }
    let cause = format!("this is the id of a {}, not of a {}", id.kind().word(), kind.word());
    Err(StoreError::new(ErrorKind::Invalid, operation.name(), id.to_string(), cause))
}

fn named(operation: Operation, object: &str, parts: &[(&'static str, &str)]) -> Result<(), StoreError> {
    parts
        .iter()
        .try_for_each(|(part, value)| resource_id::check(part, value))
        .map_err(|error| StoreError::new(ErrorKind::Invalid, operation.name(), object, error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(operation: Operation, object: &str, answer: &Answer) -> Result<T, StoreError> {
    body::parse(&answer.body).map_err(|fault| errors::error(operation, object, fault, 1))
}
