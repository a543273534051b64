//! Delete Blob.

use crate::auth::Need;
use crate::model::Model;
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::fault::Fault;
use crate::model::input;
use crate::response::Response;

impl Model {
    pub(crate) fn delete_blob(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        const NAME: &str = "x-ms-delete-snapshots";
        let request = call.request;
        let snapshot = input::snapshot(request, "snapshot")?;
        let snapshots = request.get(NAME).map(str::to_ascii_lowercase);
        match (snapshots.as_deref(), request.query("snapshot")) {
            (Some(_), Some(text)) => return Err(Fault::parameter("snapshot", text, "Not together with a header.")),
            (None | Some("include" | "only"), _) => {}
            (Some(other), None) => return Err(Fault::header(NAME, other)),
        }
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;
        let proof = self.admit(call, Need::object("d"))?;
        let done = Response::new(202).with("x-ms-delete-type-permanent", "true");
        let container = self.world.container_mut(call, &proof)?;
        let blob = container.blobs.get_mut(&call.target.blob).ok_or_else(|| Fault::of("BlobNotFound"))?;
        if let Some(time) = snapshot {
            let state = blob.snapshots.get(&time).ok_or_else(|| Fault::of("BlobNotFound"))?;
            conditions.for_write(state)?;
            blob.snapshots.remove(&time);
            blob.gone.insert(time);
            return Ok(done);
        }
        if snapshots.as_deref() == Some("only") {
            conditions.for_write(&blob.state)?;
            blob.gone.extend(std::mem::take(&mut blob.snapshots).into_keys());
            return Ok(done);
        }
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        self.config.variants.lease(blob.lease.check_write(lease.as_deref(), call.now))?;
        conditions.for_write(&blob.state)?;
        if snapshots.is_none() && !blob.snapshots.is_empty() {
            return Err(Fault::of("SnapshotsPresent"));
        }
        container.blobs.remove(&call.target.blob);
        Ok(done)
    }
}
