//! What is peculiar to the endpoint through which the service hands out managed disks (`md-…`; protocol §6).

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use pageferry_arm::ResourceId;
use pageferry_azure::{Address, Credential, PageBlob};
use pageferry_core::{PageRange, Pages, SnapshotId};
use pageferry_store::error::Failure;
use pageferry_store::{Answer, Ask, ErrorKind, Source, StoreError, View};
use secrecy::ExposeSecret;

use crate::grants::Grant;

/// When no snapshot of a managed disk can have been taken: before there were any.
const NO_SNAPSHOT: &str = "2006-01-02T03:04:05.0000000Z";

/// What a VHDX begins with (MS-VHDX 2.2.1).
const VHDX: &[u8] = b"vhdxfile";

/// Asks for the difference between `blob`, a snapshot that is known to be readable, and one that does not exist. What the
/// service says of it is not documented; every refusal shows that it has looked for the earlier snapshot.
///
/// # Errors
/// [`ErrorKind::ChainBroken`] with the code of a page blob that has no such snapshot, as it should be.
pub(crate) async fn since_nothing(blob: &PageBlob, ask: &Ask) -> Result<Answer, StoreError> {
    let nothing = blob.location().at(SnapshotId::new(NO_SNAPSHOT));
    blob.list_since_url(ask, &nothing).await.map_err(|error| match error.failure().status {
        Some(400 | 401 | 403 | 404 | 409) => StoreError::from_failure(Failure {
            kind: ErrorKind::ChainBroken,
            code: Some("PreviousSnapshotNotFound".to_owned()),
            ..error.failure().clone()
        }),
        _ => error,
    })
}

/// Refuses a VHDX, whatever is said of it elsewhere: its offsets are not the disk's.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a VHDX, and those of the service.
pub(crate) async fn refuse_vhdx(blob: &PageBlob) -> Result<(), StoreError> {
    let Some(first) = PageRange::new(Pages::ZERO, Pages::new(1)) else { return Ok(()) };
    let (data, _) = blob.read(&View::Base, first, None).await?;
    if !data.bytes().starts_with(VHDX) {
        return Ok(());
    }
    let cause = "it is a VHDX, as disks with 4096-byte sectors are, and its pages are not the disk's: pageferry copies disks \
                 with 512-byte sectors";
    Err(StoreError::new(ErrorKind::Invalid, "Get Blob", blob.address(), cause))
}

/// The address that `grant` opens.
pub(crate) fn address(grant: &Grant) -> Result<Address, StoreError> {
    Address::parse(grant.sas.expose_secret()).map_err(|error| {
        let cause = format!("the URL that was granted is not that of a page blob: {error}");
        StoreError::new(ErrorKind::Integrity, "Begin Get Access", grant.resource.to_string(), cause)
    })
}

/// What opens `address`: the SAS in it, and where the snapshot wants that, a token beside it.
pub(crate) fn credential(
    address: &Address,
    token: Option<Arc<dyn TokenCredential>>,
    resource: &ResourceId,
) -> Result<Credential, StoreError> {
    let sas = address.sas().cloned().ok_or_else(|| {
        let cause = "the URL that was granted holds no SAS";
        StoreError::new(ErrorKind::Integrity, "Begin Get Access", resource.to_string(), cause)
    })?;
    Ok(match token {
        Some(token) => Credential::SasAndToken { sas, token },
        None => Credential::Sas(sas),
    })
}

/// Names `resource` in place of the address that a grant happened to have.
pub(crate) fn of_resource(error: &StoreError, resource: &ResourceId) -> StoreError {
    StoreError::from_failure(Failure { object: resource.to_string(), ..error.failure().clone() })
}

/// What to do where `resource` may not be used although a SAS was granted, and granted again.
pub(crate) fn denied(error: &StoreError, resource: &ResourceId, needs_token: bool) -> StoreError {
    let cause = &error.failure().cause;
    let cause = match needs_token {
        true => format!(
            "{cause}; the {} wants a token beside the SAS (dataAccessAuthMode AzureActiveDirectory): give this identity the \
             role Data Operator for Managed Disks",
            resource.kind().word()
        ),
        false => format!("{cause}, even after a new SAS was granted"),
    };
    of_resource(&StoreError::from_failure(Failure { cause, ..error.failure().clone() }), resource)
}

/// What people are told when the service no longer honours the SAS of `resource`.
pub(crate) fn replaced(resource: &ResourceId) -> String {
    format!("SAS of {} replaced; the transfer goes on with a new SAS", resource.name())
}
