//! Incremental Copy Blob: the service's own backup of one blob's snapshots into another blob.
//!
//! The target belongs to the service from then on. It can be looked at, copied to again and deleted; its snapshots,
//! one for each that was copied, are ordinary ones.

use crate::auth::Need;
use crate::diff::{self, Query};
use crate::model::Model;
use crate::model::blob::{Blob, Series, State};
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input;
use crate::model::source::Source;
use crate::pages::{PAGE, PageTable};
use crate::response::Response;
use crate::time::Timestamp;

impl Model {
    pub(crate) fn incremental_copy(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let url = request.get("x-ms-copy-source").ok_or_else(|| Fault::missing("x-ms-copy-source"))?;
        let conditions = Conditions::of(request)?;
        let proof = self.admit(call, Need::object("wc"))?;
        let source = Source::parse(url, call, &self.config, &self.world)?;
        self.world.container(call, &proof)?;
        let time = source.snapshot.ok_or_else(|| Fault::of("IncrementalCopySourceMustBeSnapshot"))?;
        let from = self.read_source(call, &source, true)?;
        let existing = self.world.source(&call.target);
        if existing.is_some() && !proof.caller.may_overwrite() {
            return Err(Fault::of("UnauthorizedBlobOverwrite"));
        }
        let since = match existing {
            Some(blob) => self.since(blob, &source, time, &from)?,
            None => None,
        };
        conditions.for_creation(existing.map(|blob| &blob.state))?;
        let (stamp, generation) = (from.stamp, existing.map_or(1, |blob| blob.state.generation));

        let moved = match since {
            None => from.size,
            Some(_) => {
                let query = Query { start: 0, end: from.size / PAGE, since };
                let written = diff::ranges(&from.pages, query).filter(|range| !range.clear);
                written.map(|range| range.end + 1 - range.start).sum()
            }
        };
        let (takes, source_etag) = (self.config.copy.time(moved), from.etag);
        let id = self.ids.guid();
        let copy = Some(source.record(id.clone(), from.size, true));
        let (begun, over) = (self.ids.etag(call.now), self.ids.etag(call.now));
        let container = self.world.container_mut(call, &proof)?;
        // The stamps of the source are kept: so its differences are those between the target's snapshots, too.
        let made = |created| State { stamp, generation, etag: over, created, copy: None, tier: None, ..from };
        let (blob, done) = match container.blobs.get_mut(&call.target.blob) {
            Some(blob) => {
                let done = made(blob.state.created);
                (blob, done)
            }
            None => {
                let done = made(call.now);
                let mut blob = Blob::new(State { pages: PageTable::default(), ..done.clone() });
                blob.series = Some(Series { source: source.target.clone(), last: None });
                (container.blobs.entry(call.target.blob.clone()).or_insert(blob), done)
            }
        };
        (blob.state.etag, blob.state.modified, blob.state.copy) = (begun, call.now, copy);
        blob.pending = Some(source.pending(source_etag, done, takes, call.now));
        // The answer says that it is pending even where it is as good as done.
        let response = changed(&blob.state, 202).with("x-ms-copy-id", id).with("x-ms-copy-status", "pending");
        self.world.watch(&call.target);
        Ok(response)
    }

    /// The stamp after which pages are to be copied to what is there already; `None` for all of them.
    fn since(&self, blob: &Blob, source: &Source, time: Timestamp, from: &State) -> Result<Option<u64>, Fault> {
        let variants = &self.config.variants;
        let other = |usual, alternative| Fault::of(if variants.other_codes { alternative } else { usual });
        let series = blob.series.as_ref();
        let series = series.ok_or_else(|| other("IncrementalCopyBlobMismatch", "BlobAlreadyExists"))?;
        if series.source != source.target {
            return Err(Fault::of("IncrementalCopyBlobMismatch"));
        }
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        let Some(last) = series.last else { return Ok(None) };
        if time < last || (time == last && !variants.incremental_repeats) {
            return Err(other(
                "IncrementalCopyOfEarlierSnapshotNotAllowed",
                "IncrementalCopyOfEralierVersionSnapshotNotAllowed",
            ));
        }
        let base = self.world.source(&source.target);
        let previous = base.and_then(|base| base.snapshots.get(&last));
        match previous.ok_or_else(|| Fault::of("IncrementalCopyBlobPreviousSnapshotDoesNotExist"))? {
            previous if previous.generation != from.generation => Err(Fault::of("BlobOverwritten")),
            previous => Ok(Some(previous.stamp)),
        }
    }
}
