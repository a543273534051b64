//! Page blobs: a disk that is one, and a target.

use pageferry_azure::Credential;
use pageferry_replicate::look;
use pageferry_store::{ErrorKind, LeaseState, Source, StoreError, View};
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use crate::doctor::{Finding, network, sas};
use crate::exit::{Exit, Failure};
use crate::place::Place;

/// What a disk is read with.
const READS: [(&str, &str); 1] = [("r", "reading")];

/// What a target is written with. Put Page takes `w`; so do leases and metadata.
const WRITES: [(&str, &str); 2] = [("r", "reading"), ("w", "writing")];

/// Looks at a disk.
pub(super) async fn source(place: &Place) -> Vec<Finding> {
    let mut findings = way_in(place, &READS).await;
    if findings.iter().any(Finding::is_ill) {
        return findings;
    }
    let Some(blob) = reach(place, &mut findings).await else { return findings };
    match blob.properties(&View::Base).await {
        Ok(found) => {
            findings.push(Finding::well("disk", &place.address, format!("{} bytes", found.size.bytes())));
            findings.push(snapshots(place, blob.snapshots().await.map(|all| all.len())));
        }
        Err(error) => findings.push(refused("disk", place, &error, "Storage Blob Data Reader")),
    }
    findings
}

/// Looks at a target, which need not exist yet.
pub(super) async fn target(place: &Place) -> Vec<Finding> {
    let mut findings = way_in(place, &WRITES).await;
    if findings.iter().any(Finding::is_ill) {
        return findings;
    }
    let Some(blob) = reach(place, &mut findings).await else { return findings };
    let address = &place.address;
    let finding = match look::target(&blob).await {
        Ok(None) => Finding::well("target", address, "does not exist yet; the first sync makes it"),
        Ok(Some(found)) => match (&found.view.state, found.properties.lease) {
            (None, _) => Finding::ill(
                "target",
                address,
                Exit::NotOurs,
                "it exists but carries no pageferry metadata, so it is not ours to write",
                "name another blob, or delete this one yourself if it can go",
            ),
            (Some(_), LeaseState::Leased) => Finding::doubtful(
                "target",
                address,
                format!("{} points; somebody is writing it now", found.view.points.len()),
                "wait for that run; one that died holds it for a minute at most",
            ),
            (Some(_), _) => Finding::well("target", address, format!("{} points", found.view.points.len())),
        },
        Err(error) => {
            let Failure { exit, message } = Failure::from(error);
            let role = "give this identity the role Storage Blob Data Contributor, or a SAS with rwl of the container";
            Finding::ill("target", address, exit, message, if exit == Exit::Denied { role } else { "see the cause" })
        }
    };
    findings.push(finding);
    findings
}

/// Credential, SAS, network path and clock.
async fn way_in(place: &Place, needs: &[(&str, &str)]) -> Vec<Finding> {
    let address = &place.address;
    let mut findings = vec![Finding::well("credentials", address, of_kind(place.credential()))];
    if let Credential::Sas(query) = place.credential() {
        findings.push(sas::look(&address.to_string(), query.expose_secret(), needs, OffsetDateTime::now_utc()));
    }
    findings.extend(network::path(address.url()).await);
    findings
}

fn of_kind(credential: &Credential) -> &'static str {
    match credential {
        Credential::Sas(_) => "a SAS",
        Credential::AccountKey { .. } => "the account's key",
        Credential::Token(_) => "tokens of Microsoft Entra ID",
        Credential::SasAndToken { .. } => "a SAS and tokens of Microsoft Entra ID",
        _ => "none",
    }
}

async fn reach(place: &Place, findings: &mut Vec<Finding>) -> Option<pageferry_azure::PageBlob> {
    match place.reach().await {
        Ok(blob) => Some(blob),
        Err(failure) => {
            findings.push(Finding::ill("network path", &place.address, failure.exit, failure.message, "see the cause"));
            None
        }
    }
}

fn snapshots(place: &Place, count: Result<usize, StoreError>) -> Finding {
    match count {
        Ok(0) => Finding::doubtful(
            "snapshots",
            &place.address,
            "there are none yet",
            "`pageferry snapshot` takes one; `pageferry backup` does it each time",
        ),
        Ok(count) => Finding::well("snapshots", &place.address, format!("{count} listed")),
        Err(error) => refused("snapshots", place, &error, "Storage Blob Data Reader"),
    }
}

fn refused(what: &'static str, place: &Place, error: &StoreError, role: &str) -> Finding {
    let fix = match error.kind() {
        ErrorKind::Denied => format!("give this identity the role {role}, or use a SAS of the container with rl"),
        ErrorKind::NotFound => "check the address".to_owned(),
        _ => "see the cause".to_owned(),
    };
    let Failure { exit, message } = Failure::from(error.clone());
    Finding::ill(what, &place.address, exit, message, fix)
}
