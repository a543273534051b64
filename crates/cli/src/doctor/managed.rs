//! Managed disks: tokens, roles, and what there is of a chain.

use pageferry_managed::{ManagedDisk, Reading, UrlPair};
use pageferry_store::{ErrorKind, Source, StoreError, View};
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use crate::doctor::{Finding, network, sas};
use crate::exit::{Exit, Failure};
use crate::origin::{Managed, Urls};

/// What a snapshot is read with.
const READS: [(&str, &str); 1] = [("r", "reading")];

/// Looks at a managed disk; gives it back where it could be found.
pub(super) async fn disk(managed: &Managed) -> (Vec<Finding>, Option<ManagedDisk>) {
    let (named, endpoint) = (&managed.named, managed.cloud.endpoint());
    let (arm, token) = match managed.cloud.connect() {
        Ok(connected) => connected,
        Err(failure) => {
            let fix = "`az login`, or a managed or workload identity, gives tokens";
            return (vec![Finding::ill("credentials", endpoint, failure.exit, failure.message, fix)], None);
        }
    };
    let mut findings = network::path(endpoint).await;
    if findings.iter().any(Finding::is_ill) {
        return (findings, None);
    }
    let scope = format!("{}/.default", endpoint.as_str().trim_end_matches('/'));
    if let Err(error) = token.get_token(&[scope.as_str()], None).await {
        let fix = "`az login`, or a managed or workload identity, gives tokens; --auth chooses";
        let cause = pageferry_azure::scrub(&error.to_string());
        findings.push(Finding::ill("credentials", endpoint, Exit::Denied, cause, fix));
        return (findings, None);
    }
    findings.push(Finding::well("credentials", endpoint, "tokens of Microsoft Entra ID"));
    let disk = match ManagedDisk::find(arm, token, named, Reading::default()).await {
        Ok((disk, _)) => disk,
        Err(error) => {
            findings.push(refused(named.to_string(), &error));
            return (findings, None);
        }
    };
    if let Some(chain) = disk.chain() {
        findings.push(Finding::well("roles", named, "the disk and its snapshots can be looked at"));
        findings.push(match chain.links.len() {
            0 => Finding::doubtful(
                "snapshots",
                named,
                "there is no complete incremental one yet",
                "`pageferry snapshot` takes one; `pageferry backup` does it each time",
            ),
            count => Finding::well("snapshots", named, format!("{count} in the chain")),
        });
        let left_out = "nothing, if that is what you expect";
        findings.extend(chain.notes.iter().map(|note| Finding::doubtful("snapshots", named, note, left_out)));
        findings.extend(chain.links.iter().filter_map(|link| {
            let fix = "change the network access policy of the snapshot, and of the disk for those to come";
            Some(Finding::ill("access", &link.resource, Exit::Denied, link.barred.clone()?, fix))
        }));
    }
    (findings, Some(disk))
}

/// Looks at managed snapshots that are given by their URLs.
pub(super) async fn urls(urls: &Urls) -> Vec<Finding> {
    let mut findings = network::path(urls.newer().url()).await;
    let now = OffsetDateTime::now_utc();
    for address in [Some(urls.newer()), urls.older()].into_iter().flatten() {
        let query = address.sas().map(|sas| sas.expose_secret().to_owned()).unwrap_or_default();
        findings.push(sas::look(&address.to_string(), &query, &READS, now));
    }
    let pair: Result<UrlPair, StoreError> = urls.open();
    let answered = match pair {
        Ok(pair) => pair.properties(&View::Base).await.map(|found| found.size.bytes()),
        Err(error) => Err(error),
    };
    findings.push(match answered {
        Ok(bytes) => Finding::well("snapshot", urls.newer(), format!("{bytes} bytes")),
        Err(error) => refused(urls.newer().to_string(), &error),
    });
    findings
}

fn refused(object: String, error: &StoreError) -> Finding {
    let what = if error.kind() == ErrorKind::Denied { "roles" } else { "disk" };
    let fix = match error.kind() {
        ErrorKind::Denied => {
            "give this identity the role Disk Snapshot Contributor on the subscription or resource group: it reads disks and \
             snapshots, takes and deletes snapshots, and grants and revokes access"
        }
        ErrorKind::NotFound => "check the resource id: `az disk list --query [].id`",
        _ => "see the cause",
    };
    let Failure { exit, message } = Failure::from(error.clone());
    Finding::ill(what, object, exit, message, fix)
}
