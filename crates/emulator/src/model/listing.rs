//! List Blobs.

use std::ops::Bound;

use crate::auth::{Need, PublicUse};
use crate::digest;
use crate::model::Model;
use crate::model::account::{endpoint, metadata};
use crate::model::blob::{Blob, Container, HTTP_FIELDS, State};
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::fault::Fault;
use crate::model::input;
use crate::model::properties::inferred_tier;
use crate::response::Response;
use crate::time::Timestamp;
use crate::xml::{self, element, escape};

const MAX_BLOBS: usize = 5_000;

/// Everything `include` may ask for; what this service has none of is accepted and adds nothing.
const INCLUDES: [&str; 10] = [
    "snapshots",
    "metadata",
    "copy",
    "deleted",
    "uncommittedblobs",
    "tags",
    "versions",
    "deletedwithversions",
    "immutabilitypolicy",
    "legalhold",
];

/// What a listing is to contain.
#[derive(Debug)]
struct Wish<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    snapshots: bool,
    metadata: bool,
    copy: bool,
    premium: bool,
    version: &'a str,
    now: Timestamp,
}

/// One entry of a listing, in its order: a blob's snapshots, oldest first, then the blob.
#[derive(Debug)]
enum Entry<'a> {
    Prefix(&'a str),
    Blob(&'a str, Option<Timestamp>, &'a State, &'a Blob),
}

impl Model {
    pub(crate) fn list_blobs(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        Conditions::none(request)?;
        let get = |name: &str| request.query(name).unwrap_or_default();
        let most = self.config.variants.blob_page_max.unwrap_or(MAX_BLOBS).clamp(1, MAX_BLOBS);
        let limit = input::page_size(request, most)?.min(call.mode.list_limit.unwrap_or(usize::MAX));
        let include: Vec<&str> = get("include").split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        if let Some(other) = include.iter().find(|item| !INCLUDES.contains(item)) {
            return Err(Fault::parameter("include", other, "Not a known item."));
        }
        let wish = Wish {
            prefix: get("prefix"),
            delimiter: get("delimiter"),
            snapshots: include.contains(&"snapshots"),
            metadata: include.contains(&"metadata"),
            copy: include.contains(&"copy"),
            premium: self.is_premium(&call.target.account),
            version: call.version,
            now: call.now,
        };
        if wish.snapshots && !wish.delimiter.is_empty() {
            return Err(Fault::parameter("delimiter", wish.delimiter, "Not together with include=snapshots."));
        }
        let marker = match get("marker") {
            "" => None,
            text => Some(read_marker(text)?),
        };
        let proof = self.admit(call, Need::container("l", PublicUse::Container))?;
        let container = self.world.container(call, &proof)?;
        let mut out = xml::head();
        let (endpoint, name) = (escape(&endpoint(call)), escape(&call.target.container));
        out.push_str(&if call.version >= "2013-08-15" {
            format!("<EnumerationResults ServiceEndpoint=\"{endpoint}\" ContainerName=\"{name}\">")
        } else {
            format!("<EnumerationResults ContainerName=\"{endpoint}{name}\">")
        });
        for (name, parameter) in
            [("Prefix", "prefix"), ("Marker", "marker"), ("MaxResults", "maxresults"), ("Delimiter", "delimiter")]
        {
            if !get(parameter).is_empty() {
                out.push_str(&element(name, get(parameter)));
            }
        }
        out.push_str("<Blobs>");
        let mut entries = wish.entries(container, marker).peekable();
        for entry in entries.by_ref().take(limit) {
            wish.write(&entry, &mut out);
        }
        out.push_str("</Blobs>");
        out.push_str(&element("NextMarker", &entries.next().map(|entry| entry.marker()).unwrap_or_default()));
        out.push_str("</EnumerationResults>");
        let mut response = Response::new(200).with("content-type", "application/xml");
        response.body = out.into();
        Ok(response)
    }
}

impl Wish<'_> {
    fn entries<'c>(
        &'c self,
        container: &'c Container,
        marker: Option<(String, Option<Timestamp>)>,
    ) -> impl Iterator<Item = Entry<'c>> {
        let (name, time) = marker.unwrap_or_default();
        let from = if name.as_str() > self.prefix { name.clone() } else { self.prefix.to_owned() };
        let blobs = container.blobs.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded));
        let mut last_prefix: Option<&str> = None;
        blobs.take_while(|(name, _)| name.starts_with(self.prefix)).flat_map(move |(blob_name, blob)| {
            if let Some(prefix) = self.folded(blob_name) {
                let again = last_prefix.replace(prefix) == Some(prefix);
                return if again { Vec::new() } else { vec![Entry::Prefix(prefix)] };
            }
            // A marker names the next entry; without a time that is the base, after all its snapshots.
            let here = *blob_name == name;
            let mut entries: Vec<Entry<'c>> = Vec::new();
            if self.snapshots && !(here && time.is_none()) {
                let from = time.filter(|_| here).unwrap_or_default();
                let snapshots = blob.snapshots.range(from..);
                entries.extend(snapshots.map(|(time, state)| Entry::Blob(blob_name, Some(*time), state, blob)));
            }
            entries.push(Entry::Blob(blob_name, None, &blob.state, blob));
            entries
        })
    }

    /// The prefix that stands for this name in a listing with a delimiter.
    fn folded<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = &name[self.prefix.len()..];
        rest.find(self.delimiter).map(|at| &name[..self.prefix.len() + at + self.delimiter.len()])
    }

    fn write(&self, entry: &Entry<'_>, out: &mut String) {
        let (name, snapshot, state, blob) = match entry {
            Entry::Prefix(prefix) => {
                out.push_str(&format!("<BlobPrefix>{}</BlobPrefix>", element("Name", prefix)));
                return;
            }
            Entry::Blob(name, snapshot, state, blob) => (name, snapshot, state, blob),
        };
        out.push_str(&format!("<Blob>{}", element("Name", name)));
        if let Some(time) = snapshot {
            out.push_str(&element("Snapshot", &time.iso()));
        }
        out.push_str("<Properties>");
        let mut put = |name: &str, text: &str| out.push_str(&element(name, text));
        if self.version >= "2017-11-09" {
            put("Creation-Time", &state.created.http());
        }
        put("Last-Modified", &state.modified.http());
        put("Etag", state.etag().trim_matches('"'));
        put("Content-Length", &state.size.to_string());
        for (index, (.., name)) in HTTP_FIELDS.iter().enumerate() {
            put(name, &state.http[index]);
        }
        put("x-ms-blob-sequence-number", &state.sequence.to_string());
        put("BlobType", "PageBlob");
        if snapshot.is_none() {
            if self.version >= "2017-04-17" {
                put("AccessTier", state.tier.as_deref().unwrap_or(inferred_tier(self.premium, state.size)));
                if state.tier.is_none() {
                    put("AccessTierInferred", "true");
                }
            }
            let phase = blob.lease.phase(self.now);
            put("LeaseStatus", phase.status());
            put("LeaseState", phase.name());
            if let Some(duration) = blob.lease.duration(self.now) {
                put("LeaseDuration", duration);
            }
        }
        if let Some(copy) = state.copy.as_ref().filter(|_| self.copy) {
            put("CopyId", &copy.id);
            put("CopyStatus", copy.status);
            put("CopySource", &copy.source);
            put("CopyProgress", &format!("{}/{}", copy.done, copy.total));
            if let Some(time) = copy.completed {
                put("CopyCompletionTime", &time.http());
            }
            if let Some(text) = copy.description {
                put("CopyStatusDescription", text);
            }
            if let Some(time) = copy.snapshot.filter(|_| self.version >= "2016-05-31") {
                put("CopyDestinationSnapshot", &time.iso());
            }
        }
        if self.version >= "2015-12-11" {
            put("ServerEncrypted", "true");
        }
        if self.version >= "2016-05-31" && state.copy.as_ref().is_some_and(|copy| copy.incremental) {
            put("IncrementalCopy", "true");
        }
        out.push_str("</Properties>");
        if self.metadata {
            out.push_str(&metadata(&state.metadata));
        }
        out.push_str("</Blob>");
    }
}

impl Entry<'_> {
    /// A marker that makes a listing begin with this entry.
    fn marker(&self) -> String {
        let text = match self {
            Self::Prefix(prefix) => format!("{prefix}\n"),
            Self::Blob(name, time, ..) => format!("{name}\n{}", time.map(Timestamp::iso).unwrap_or_default()),
        };
        let inner = digest::encode(text.as_bytes());
        format!("2!{}!{inner}", inner.len())
    }
}

fn read_marker(text: &str) -> Result<(String, Option<Timestamp>), Fault> {
    let read = || {
        let (_, inner) = text.strip_prefix("2!")?.split_once('!')?;
        let inner = String::from_utf8(digest::decode(inner)?).ok()?;
        let (name, time) = inner.rsplit_once('\n')?;
        let time = if time.is_empty() { None } else { Some(Timestamp::parse_iso(time)?) };
        Some((name.to_owned(), time))
    };
    read().ok_or_else(|| Fault::parameter("marker", text, "Not a marker of this service."))
}
