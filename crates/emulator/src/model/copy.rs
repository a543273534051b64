//! Copy Blob and Abort Copy Blob.

use crate::auth::Need;
use crate::model::Model;
use crate::model::blob::{Blob, State};
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input;
use crate::model::source::Source;
use crate::pages::PageTable;
use crate::response::Response;

impl Model {
    pub(crate) fn copy_blob(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let url = request.get("x-ms-copy-source").unwrap_or_default();
        let metadata = input::metadata(request)?;
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;
        let source_conditions = Conditions::of_source(request)?;
        let proof = self.admit(call, Need::object("wc"))?;
        let source = Source::parse(url, call, &self.config, &self.world)?;
        self.world.container(call, &proof)?;
        let from = self.read_source(call, &source, true)?;
        let tier = self.requested_tier(call, from.size)?;
        let premium = self.is_premium(&call.target.account);
        let container = self.world.container_mut(call, &proof)?;
        let existing = container.blobs.get_mut(&call.target.blob);
        match &existing {
            Some(_) if !proof.caller.may_overwrite() => return Err(Fault::of("UnauthorizedBlobOverwrite")),
            Some(blob) if blob.series.is_some() => return Err(Fault::of("OperationNotAllowedOnIncrementalCopyBlob")),
            Some(blob) if blob.pending.is_some() => return Err(Fault::of("PendingCopyOperation")),
            Some(blob) => {
                self.config.variants.lease(blob.lease.check_write(lease.as_deref(), call.now))?;
                if lease.is_some() && !blob.lease.is_infinite() {
                    return Err(Fault::of("InfiniteLeaseDurationRequired"));
                }
            }
            None if lease.is_some() => return Err(Fault::of("LeaseNotPresentWithBlobOperation")),
            None => {}
        }
        conditions.for_creation(existing.as_deref().map(|blob| &blob.state))?;
        Source::verify_conditions(&source_conditions, &from, true)?;
        if premium && existing.as_deref().is_some_and(|blob| !blob.snapshots.is_empty()) {
            return Err(Fault::of("SnapshotsPresent"));
        }

        let old = existing.as_deref().map(|blob| &blob.state);
        let id = self.ids.guid();
        let (takes, source_etag) = (self.config.copy.time(from.size), from.etag);
        let copy = source.record(id.clone(), from.size, false);
        let done = State {
            stamp: old.map_or(0, |old| old.stamp).max(from.stamp) + 1,
            generation: old.map_or(0, |old| old.generation) + 1,
            etag: self.ids.etag(call.now),
            modified: call.now,
            created: call.now,
            metadata: metadata.unwrap_or_else(|| from.metadata.clone()),
            tier,
            copy: Some(copy),
            ..from
        };
        // Until it is complete the target has its full length and reads as zeros.
        let state = State { pages: PageTable::default(), ..done.clone() };
        let etag = if takes.is_zero() { state.etag } else { self.ids.etag(call.now) };
        let pending = source.pending(source_etag, State { etag, ..done }, takes, call.now);
        let blob = match existing {
            Some(blob) => {
                blob.state = state;
                blob.lease.written(call.now);
                blob
            }
            None => container.blobs.entry(call.target.blob.clone()).or_insert_with(|| Blob::new(state)),
        };
        blob.pending = Some(pending);
        blob.settle(call.now);
        let status = blob.state.copy.as_ref().map_or("success", |copy| copy.status);
        let response = changed(&blob.state, 202).with("x-ms-copy-id", id).with("x-ms-copy-status", status);
        self.world.watch(&call.target);
        Ok(response)
    }

    pub(crate) fn abort_copy(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        Conditions::none(request)?;
        let action = request.get("x-ms-copy-action").ok_or_else(|| Fault::missing("x-ms-copy-action"))?;
        if !action.eq_ignore_ascii_case("abort") {
            return Err(Fault::header("x-ms-copy-action", action));
        }
        let id = request.query("copyid").unwrap_or_default();
        if id.is_empty() {
            return Err(Fault::of("MissingRequiredQueryParameter").with("QueryParameterName", "copyid"));
        }
        let lease = input::lease_id(request)?;
        let proof = self.admit(call, Need::object("w"))?;
        let blob = self.world.blob_mut(call, &proof)?;
        self.config.variants.lease(blob.lease.check_write(lease.as_deref(), call.now))?;
        let copy = blob.state.copy.as_mut().filter(|_| blob.pending.is_some());
        let copy = copy.ok_or_else(|| Fault::of("NoPendingCopyOperation"))?;
        if !copy.id.eq_ignore_ascii_case(id) {
            return Err(Fault::of("CopyIdMismatch"));
        }
        (copy.status, copy.completed) = ("aborted", Some(call.now));
        blob.pending = None;
        // What is left is an empty blob that still has its metadata.
        blob.state.size = 0;
        blob.state.pages = PageTable::default();
        blob.state.etag = self.ids.etag(call.now);
        blob.state.modified = call.now;
        blob.lease.written(call.now);
        Ok(Response::new(204))
    }
}
