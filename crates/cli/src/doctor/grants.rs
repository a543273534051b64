//! Grants that nobody uses any more: what a machine that was killed has left.

use std::collections::BTreeSet;

use pageferry_arm::Snapshot;
use pageferry_core::lineage::State;
use pageferry_managed::ManagedDisk;
use pageferry_replicate::look;
use pageferry_store::LeaseState;

use crate::doctor::Finding;
use crate::exit::{Exit, Failure};
use crate::place::Place;

/// Looks for active SAS of the disk's snapshots, and with `revoke` ends those that no run in progress on `target` names.
pub(super) async fn stale(disk: &ManagedDisk, target: Option<&Place>, revoke: bool) -> Vec<Finding> {
    let all = match disk.all_snapshots().await {
        Ok(all) => all,
        Err(error) => {
            let Failure { exit, message } = Failure::from(error);
            return vec![Finding::ill("stale SAS", disk.resource(), exit, message, "see the cause")];
        }
    };
    let used = match target {
        Some(target) => match in_use(target).await {
            Ok(used) => used,
            Err(Failure { exit, message }) => {
                let cause = format!("which of them a run uses cannot be told, so that none is revoked: {message}");
                return vec![Finding::ill("stale SAS", disk.resource(), exit, cause, "see the cause")];
            }
        },
        None => BTreeSet::new(),
    };
    let unique = disk.chain().map(|chain| chain.unique.clone());
    let of_it = |one: &&Snapshot| one.source.as_ref() == Some(disk.resource()) && one.source_unique_id == unique;
    let ours = all.iter().filter(|one| one.incremental).filter(of_it);
    let active = ours.filter(|one| one.disk_state.as_ref().is_some_and(|state| state.starts_with("ActiveSAS")));
    let (held, stale): (Vec<_>, Vec<_>) = active.partition(|one| used.contains(one.id.canonical()));
    let mut findings: Vec<Finding> =
        held.iter().map(|one| Finding::well("SAS", &one.id, "active, for a run that is under way")).collect();
    for one in stale {
        let seen = "a SAS is active, and no run that is known of uses it";
        findings.push(match revoke {
            false => Finding::doubtful(
                "stale SAS",
                &one.id,
                seen,
                "if nobody else reads this snapshot, `pageferry doctor … --revoke-stale` ends it; only five of a disk may be \
                 active",
            ),
            true => match disk.arm().end_access(&one.id).await {
                Ok(()) => Finding::well("stale SAS", &one.id, "was active, and is revoked"),
                Err(error) => {
                    let Failure { message, .. } = Failure::from(error);
                    let fix = "it takes Microsoft.Compute/snapshots/endGetAccess/action; see the cause";
                    Finding::ill("stale SAS", &one.id, Exit::Denied, message, fix)
                }
            },
        });
    }
    if findings.is_empty() {
        findings.push(Finding::well("stale SAS", disk.resource(), "none is active"));
    }
    findings
}

/// What the run that holds `target` says it was granted; nothing where none holds it.
async fn in_use(target: &Place) -> Result<BTreeSet<String>, Failure> {
    let found = look::target(&target.reach().await?).await?;
    Ok(match found.filter(|found| found.properties.lease == LeaseState::Leased).and_then(|found| found.view.state) {
        Some(State::Applying(mark)) => mark.grants.into_iter().collect(),
        _ => BTreeSet::new(),
    })
}
