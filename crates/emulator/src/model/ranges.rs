//! Get Page Ranges and its differential form.

use crate::auth::Need;
use crate::diff::{self, Query, Range};
use crate::digest;
use crate::model::Model;
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input;
use crate::model::variants::Variants;
use crate::model::world::Subject;
use crate::pages::PAGE;
use crate::response::Response;
use crate::time::Timestamp;
use crate::xml;

/// The most ranges in one answer.
const MAX_RANGES: usize = 10_000;

/// 2016-01-01: of blobs that are older the service has no record of changes.
const TRACKED_SINCE: u64 = 1_451_606_400;

impl Model {
    pub(crate) fn page_ranges(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        match self.list_pages(call) {
            // The service names the type of the list even when it sends none.
            Err(fault) if fault.status == 304 => Ok(fault.bare().with("content-type", "application/xml")),
            outcome => outcome,
        }
    }

    fn list_pages(&self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        let previous_url = request.get("x-ms-previous-snapshot-url").filter(|_| call.version >= "2019-07-07");
        if let Some(text) = request.query("prevsnapshot") {
            if call.version < "2015-07-08" {
                return Err(Fault::of("UnsupportedQueryParameter").with("QueryParameterName", "prevsnapshot"));
            }
            if previous_url.is_some() || text.is_empty() {
                return Err(Fault::parameter("prevsnapshot", text, "Not a snapshot time, or given twice."));
            }
        }
        let previous = input::snapshot(request, "prevsnapshot")?;
        let paged = call.version >= "2020-10-02";
        let most = self.config.variants.list_page_max.unwrap_or(MAX_RANGES).clamp(1, MAX_RANGES);
        let limit = match call.mode.list_limit {
            Some(limit) if paged => input::page_size(request, most)?.min(limit),
            _ if paged => input::page_size(request, most)?,
            _ => usize::MAX,
        };
        let marker = request.query("marker").filter(|text| paged && !text.is_empty()).map(read_marker).transpose()?;
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;
        let range = input::read_range(request);

        let proof = self.admit(call, Need::read())?;
        let previous = match previous_url {
            None => previous,
            Some(text) => Some(self.previous_by_url(call, text)?),
        };
        let subject = self.world.subject(call, &proof)?;
        let variants = &self.config.variants;
        if subject.snapshot.is_none() {
            variants.lease(subject.base.lease.check_read(lease.as_deref(), call.now))?;
        }
        conditions.for_read(subject.state)?;
        let since = match previous {
            Some(previous) if !variants.ignore_prevsnapshot => {
                if let Some(earlier) = subject.base.snapshots.get(&previous) {
                    self.check_boundary(call, earlier, subject.state)?;
                }
                Some(subject.since(previous, variants)?)
            }
            _ => None,
        };
        let size = subject.state.size;
        let (mut start, mut end) = (0, size);
        if let Some(range) = range {
            if range.start >= size {
                return Err(Fault::of("InvalidRange"));
            }
            // Pages are reported whole, so an end inside one is rounded up; the start is the caller's to align.
            start = range.start / PAGE * PAGE;
            end = range.end.map_or(size, |end| end.min(size).next_multiple_of(PAGE));
        }
        let start = start.max(marker.unwrap_or(0));
        let query = Query { start: start / PAGE, end: end.max(start) / PAGE, since };
        let unit = if since.is_some() { variants.diff_granularity } else { variants.list_granularity };
        let (table, pages) = (&subject.state.pages, size / PAGE);
        let end_marker = variants.next_marker_empty && paged;
        let body = match (variants.ranges_unclipped, unit.max(1)) {
            (false, 1) => document(diff::ranges(table, query), query, limit, end_marker),
            (false, unit) => document(diff::coarse(table, query, unit, pages), query, limit, end_marker),
            // What an earlier page of the list has given whole does not come again.
            (true, unit) => {
                let all = diff::coarse(table, Query { start: 0, end: pages, since }, unit, pages);
                let given = marker.is_some();
                let ahead = all.skip_while(move |r| if given { r.start < start } else { r.end < start });
                document(ahead.take_while(move |r| r.start < end), query, limit, end_marker)
            }
        };
        let mut response = changed(subject.state, 200)
            .with("x-ms-blob-content-length", size.to_string())
            .with("content-type", "application/xml");
        response.body = body.into();
        Ok(response)
    }
}

impl Subject<'_> {
    /// The stamp after which a diff from the snapshot `previous` begins.
    fn since(&self, previous: Timestamp, variants: &Variants) -> Result<u64, Fault> {
        let found = self.base.snapshots.get(&previous);
        let found = found.ok_or_else(|| Fault::of("PreviousSnapshotNotFound"))?;
        if self.snapshot.is_some_and(|target| target < previous || (variants.self_diff_refused && target == previous)) {
            return Err(Fault::of("PreviousSnapshotCannotBeNewer"));
        }
        if found.generation != self.state.generation || found.created.seconds() < TRACKED_SINCE {
            return Err(Fault::of("BlobOverwritten"));
        }
        let until = self.snapshot.unwrap_or(Timestamp::from_ticks(u64::MAX));
        if variants.diff_needs_chain && self.base.gone.range(previous..until).next().is_some() {
            return Err(Fault::of("PreviousSnapshotOperationNotSupported"));
        }
        Ok(found.stamp)
    }
}

/// The list as XML, with a marker when there is more.
fn document(mut ranges: impl Iterator<Item = Range>, query: Query, limit: usize, end_marker: bool) -> String {
    let mut out = xml::head();
    out.push_str("<PageList>");
    for range in ranges.by_ref().take(limit) {
        let name = if range.clear { "ClearRange" } else { "PageRange" };
        out.push_str(&format!("<{name}><Start>{}</Start><End>{}</End></{name}>", range.start, range.end));
    }
    match ranges.next() {
        Some(next) => out.push_str(&format!("<NextMarker>{}</NextMarker>", marker(next.start))),
        // A list that is to give nothing gives a way on, even where there is nothing more.
        None if limit == 0 && query.start < query.end => {
            out.push_str(&format!("<NextMarker>{}</NextMarker>", marker(query.end * PAGE)));
        }
        None if end_marker => out.push_str("<NextMarker />"),
        None => {}
    }
    out.push_str("</PageList>");
    out
}

/// A marker of the recorded shape: `2!<length>!<base64>`, where the text is the offset after its length.
fn marker(offset: u64) -> String {
    let offset = offset.to_string();
    let inner = digest::encode(format!("{:06}!{offset}!", offset.len()).as_bytes());
    format!("2!{}!{inner}", inner.len())
}

fn read_marker(text: &str) -> Result<u64, Fault> {
    let read = || {
        let (_, inner) = text.strip_prefix("2!")?.split_once('!')?;
        let inner = String::from_utf8(digest::decode(inner)?).ok()?;
        let offset: u64 = inner.split('!').nth(1)?.parse().ok()?;
        offset.is_multiple_of(PAGE).then_some(offset)
    };
    read().ok_or_else(|| Fault::parameter("marker", text, "Not a marker of this service."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_have_the_recorded_shape() {
        assert_eq!(marker(1024), "2!16!MDAwMDA0ITEwMjQh");
        assert_eq!(read_marker("2!16!MDAwMDA0ITEwMjQh"), Ok(1024));
        for text in ["", "x", "2!", "2!4!", "2!16!%%%", "2!4!MDAw", "2!12!MDAwMDAxITEh"] {
            assert!(read_marker(text).is_err(), "{text}");
        }
    }
}
