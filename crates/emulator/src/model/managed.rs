//! What is different where a managed disk keeps its data: few verbs, no conditions, and a signature for everything.

use crate::auth::Caller;
use crate::model::Model;
use crate::model::blob::State;
use crate::model::call::Call;
use crate::model::fault::Fault;

/// No difference is told between snapshots on different sides of this size.
const BOUNDARY: u64 = 4 << 40;

impl Model {
    /// Refuses what cannot be done to the data of a managed disk, whatever the signature.
    pub(crate) fn guard_disk(&self, call: &Call<'_>, comp: &str) -> Result<(), Fault> {
        let request = call.request;
        if call.mode.trusted || !self.world.is_managed(&call.target.account) {
            return Ok(());
        }
        let known =
            matches!((request.method.as_str(), comp), ("HEAD" | "GET", "") | ("GET", "pagelist") | ("PUT", "page"));
        if !known || call.target.blob.is_empty() {
            return Err(Fault::of("AuthorizationFailure"));
        }
        if request.headers.iter().any(|(name, _)| name.starts_with("if-")) {
            return Err(Fault::of("ConditionHeadersNotSupported"));
        }
        // The earlier snapshot is named by a URL that can be read, or not at all: a time alone proves no right to it.
        match request.query("prevsnapshot") {
            Some(text) => Err(Fault::parameter("prevsnapshot", text, "Managed disks take x-ms-previous-snapshot-url.")),
            None => Ok(()),
        }
    }

    /// Checks the signature for a managed disk, and the token that some of them demand beside it.
    pub(crate) fn disk_caller(&self, call: &Call<'_>) -> Result<Caller, Fault> {
        let request = call.request;
        if request.query("sig").is_none() {
            return Ok(Caller::Anonymous);
        }
        let grant = self.token(&request.query, &call.target, request.query("snapshot").unwrap_or_default(), call)?;
        if grant.private {
            return Err(Fault::of("AuthorizationFailure"));
        }
        match grant.bearer && !self.has_token(request) {
            true => Err(Fault::of("InvalidAuthenticationInfo").status(401)),
            false => Ok(Caller::Token(grant)),
        }
    }

    /// Refuses the difference of two snapshots between which the disk grew past the boundary.
    pub(crate) fn check_boundary(&self, call: &Call<'_>, earlier: &State, later: &State) -> Result<(), Fault> {
        let checked = self.config.arm.limits.diff_boundary && self.world.is_managed(&call.target.account);
        match checked && (earlier.size > BOUNDARY + 512) != (later.size > BOUNDARY + 512) {
            true => Err(Fault::of("PreviousSnapshotOperationNotSupported")),
            false => Ok(()),
        }
    }
}
