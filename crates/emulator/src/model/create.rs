//! Put Blob and Snapshot Blob: how blobs and their frozen pictures come to be.

use std::time::Duration;

use crate::auth::Need;
use crate::model::Model;
use crate::model::blob::{Blob, HTTP_FIELDS, HttpFields, State};
use crate::model::call::Call;
use crate::model::conditions::{Conditions, sequence};
use crate::model::fault::Fault;
use crate::model::input;
use crate::pages::PageTable;
use crate::response::Response;

const MAX_PREMIUM_SNAPSHOTS: usize = 100;

impl Model {
    pub(crate) fn put_blob(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        match request.get("x-ms-blob-type") {
            None => return Err(Fault::missing("x-ms-blob-type")),
            // Only page blobs live here; other types are refused by name, not half supported.
            Some("PageBlob") => {}
            Some(other) => return Err(Fault::header("x-ms-blob-type", other)),
        }
        let size = input::blob_length(request)?.ok_or_else(|| Fault::missing("x-ms-blob-content-length"))?;
        if !request.body.bytes().is_empty() {
            return Err(Fault::header("Content-Length", request.get("content-length").unwrap_or_default()));
        }
        let sequence = match request.get("x-ms-blob-sequence-number") {
            None => 0,
            Some(text) => sequence(text).ok_or_else(|| Fault::header("x-ms-blob-sequence-number", text))?,
        };
        let tier = self.requested_tier(call, size)?;
        let http = input::http_fields(request).unwrap_or_default();
        let metadata = input::metadata(request)?.unwrap_or_default();
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;

        let proof = self.admit(call, Need::object("wc"))?;
        let container = self.world.container_mut(call, &proof)?;
        let existing = container.blobs.get_mut(&call.target.blob);
        match &existing {
            Some(_) if !proof.caller.may_overwrite() => return Err(Fault::of("UnauthorizedBlobOverwrite")),
            Some(blob) if blob.series.is_some() => return Err(Fault::of("OperationNotAllowedOnIncrementalCopyBlob")),
            Some(blob) if blob.pending.is_some() => return Err(Fault::of("PendingCopyOperation")),
            Some(blob) => self.config.variants.lease(blob.lease.check_write(lease.as_deref(), call.now))?,
            None if lease.is_some() => return Err(Fault::of("LeaseNotPresentWithBlobOperation")),
            None => {}
        }
        conditions.for_creation(existing.as_deref().map(|blob| &blob.state))?;

        let old = existing.as_deref().map(|blob| &blob.state);
        let state = State {
            size,
            pages: PageTable::default(),
            stamp: old.map_or(0, |old| old.stamp) + 1,
            generation: old.map_or(0, |old| old.generation) + 1,
            etag: self.ids.etag(call.now),
            modified: call.now,
            created: call.now,
            metadata,
            http: with_default_type(http),
            sequence,
            tier,
            copy: None,
        };
        let response = changed(&state, 201).with("x-ms-request-server-encrypted", "true");
        match existing {
            Some(blob) => {
                blob.state = state;
                blob.lease.written(call.now);
            }
            None => drop(container.blobs.insert(call.target.blob.clone(), Blob::new(state))),
        }
        Ok(response)
    }

    pub(crate) fn snapshot(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let metadata = input::metadata(request)?;
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;

        let proof = self.admit(call, Need::object("cw"))?;
        let account = self.config.accounts.get(&call.target.account);
        let limited = account.is_some_and(|account| account.limit_snapshots);
        let variants = &self.config.variants;
        let blob = self.world.blob_mut(call, &proof)?;
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        // A snapshot needs no lease id; one that is given must hold.
        variants.lease(blob.lease.check_read(lease.as_deref(), call.now))?;
        conditions.for_write(&blob.state)?;
        if limited && blob.snapshots.len() >= MAX_PREMIUM_SNAPSHOTS {
            return Err(Fault::of("SnapshotCountExceeded"));
        }
        let interval = Duration::from_secs(variants.snapshot_interval);
        let resting = call.now.since(blob.last_snapshot) < interval;
        if limited && resting && blob.last_snapshot.ticks() > 0 {
            let misspelt = variants.misspelt_rate_code;
            return Err(Fault::of(if misspelt {
                "SnaphotOperationRateExceeded"
            } else {
                "SnapshotOperationRateExceeded"
            }));
        }

        let time = call.now.max(blob.last_snapshot.next());
        let mut state = blob.state.clone();
        let encrypted = metadata.is_some();
        if let Some(metadata) = metadata {
            // Its own metadata makes the snapshot differ from the base, and its ETag says so.
            state.metadata = metadata;
            state.etag = self.ids.etag(call.now);
            state.modified = call.now;
        }
        let response = changed(&state, 201)
            .with("x-ms-snapshot", time.iso())
            .with("x-ms-request-server-encrypted", if encrypted { "true" } else { "false" });
        blob.last_snapshot = time;
        blob.snapshots.insert(time, state);
        Ok(response)
    }
}

/// The answer to a request that left a blob in this state.
pub(crate) fn changed(state: &State, status: u16) -> Response {
    Response::new(status).with("etag", state.etag()).with("last-modified", state.modified.http())
}

/// HTTP properties with the content type that a new blob has when none is given.
pub(crate) fn with_default_type(mut http: HttpFields) -> HttpFields {
    debug_assert_eq!(HTTP_FIELDS[0].1, "content-type");
    if http[0].is_empty() {
        "application/octet-stream".clone_into(&mut http[0]);
    }
    http
}
