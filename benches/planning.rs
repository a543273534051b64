//! Planning an 8 TiB disk of which ten million runs of pages were written or cleared: time and peak memory.
//!
//! The service is played by a transport that makes page lists up as they are asked for, so that the memory measured is
//! the engine's. `cargo bench -p pageferry-benches --bench planning [-- RANGES]`

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use pageferry_azure::Side;
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, usage};
use pageferry_core::lineage::{DiskId, Seal, SnapshotRef, State};
use pageferry_core::next::Want;
use pageferry_core::page::BLOB_BYTES_MAX;
use pageferry_core::{Etag, Metadata, SnapshotId};
use pageferry_replicate::plan::{Plan, plan};
use pageferry_replicate::{Engine, Options};

const ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1/disks";
const CREATED: &str = "Fri, 27 Jan 2023 22:27:19 GMT";
const OLDER: &str = "2023-01-27T22:27:19.7049036Z";
const NEWER: &str = "2023-01-28T22:27:19.7049036Z";
const TAG: &str = "0x8DB00B52E4B2C1A";
const PER_PAGE: u64 = 10_000;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let ranges = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(10_000_000);
    let service: Arc<dyn HttpClient> = Arc::new(MadeUp { ranges });
    let source = blob(&format!("{ENDPOINT}/disk"), Side::Source, Some(Arc::clone(&service)));
    let target = blob(&format!("{ENDPOINT}/backup"), Side::Target, Some(service));
    let engine = Engine::new(source, target, Options::default());
    let before = usage::mine().resident_bytes;
    let begun = Instant::now();
    let planned = plan(&engine, &Want::Next).await.expect("a plan");
    let taken = begun.elapsed();
    let peak = usage::mine().peak_bytes;
    let Plan::Step { difference, .. } = planned else { panic!("{planned:?}") };
    assert_eq!(difference.write_ranges + difference.clear_ranges, ranges, "every range is planned");
    let mut table = Table::new("planning");
    let ranges = f64::from(u32::try_from(ranges).expect("a few"));
    table.row("ranges of an 8 TiB disk planned", ranges, "");
    table.row("time, making the lists up included", taken.as_secs_f64(), "s");
    table.row("rate", ranges / taken.as_secs_f64(), "ranges/s");
    table.row("memory before", mib(before), "MiB");
    table.limited("memory at its peak", mib(peak), "MiB", Limit::AtMost(64.0));
    table.finish()
}

/// A service with one disk of 8 TiB and its backup, both of which it makes up.
#[derive(Debug)]
struct MadeUp {
    ranges: u64,
}

impl MadeUp {
    /// The page list, or the difference, from range number `first` on.
    fn list(&self, first: u64, window: (u64, u64), difference: bool) -> String {
        let apart = BLOB_BYTES_MAX / 512 / self.ranges;
        let (from, to) = (window.0.div_ceil(apart * 512), (window.1 + 1).div_ceil(apart * 512).min(self.ranges));
        let first = first.max(from);
        let mut body = String::with_capacity(900_000);
        body.push_str("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList>");
        let end = to.min(first + PER_PAGE).max(first);
        for number in first..end {
            let start = number * apart * 512;
            let kind = if difference && number % 3 == 0 { "ClearRange" } else { "PageRange" };
            let last = start + 511;
            let _ = write!(body, "<{kind}><Start>{start}</Start><End>{last}</End></{kind}>");
        }
        if end < to {
            let _ = write!(body, "<NextMarker>{end}</NextMarker>");
        }
        body.push_str("</PageList>");
        body
    }

    /// The snapshots of a blob, as List Blobs gives them.
    fn snapshots(name: &str, of: &[(&str, Metadata)]) -> String {
        let mut body = String::from("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>");
        for (id, metadata) in of {
            let _ = write!(
                body,
                "<Blob><Name>{name}</Name><Snapshot>{id}</Snapshot><Properties><Etag>{TAG}</Etag>\
                 <Content-Length>{BLOB_BYTES_MAX}</Content-Length><BlobType>PageBlob</BlobType></Properties><Metadata>"
            );
            for (key, value) in metadata {
                let _ = write!(body, "<{key}>{value}</{key}>");
            }
            body.push_str("</Metadata></Blob>");
        }
        body.push_str("</Blobs><NextMarker/></EnumerationResults>");
        body
    }
}

/// The bytes that a request asks about, both inclusive.
fn window(request: &Request) -> (u64, u64) {
    let asked = request.headers().iter().find(|(name, _)| name.as_str().ends_with("range"));
    let range = asked.and_then(|(_, value)| value.as_str().strip_prefix("bytes=")?.split_once('-'));
    range.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?))).unwrap_or((0, BLOB_BYTES_MAX - 1))
}

/// The words of a target that holds the older snapshot.
fn sealed() -> Metadata {
    let seal = Seal {
        disk: DiskId::new(&format!("{ENDPOINT}/disk"), CREATED),
        snapshot: SnapshotRef { id: SnapshotId::new(OLDER), etag: Etag::new(TAG) },
        parent: None,
        plan: "0".repeat(32),
        written_bytes: 0,
        cleared_bytes: 0,
        run: "made-up".to_owned(),
        lease: "made-up".to_owned(),
        epoch: 1,
        sealed_at: "2023-01-28T00:00:00Z".to_owned(),
    };
    State::Sealed(seal).to_metadata(&Metadata::new())
}

#[async_trait]
impl HttpClient for MadeUp {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let mut headers = Headers::new();
        headers.insert("etag", format!("\"{TAG}\""));
        headers.insert("last-modified", CREATED.to_owned());
        headers.insert("x-ms-creation-time", CREATED.to_owned());
        headers.insert("x-ms-blob-type", "PageBlob".to_owned());
        headers.insert("x-ms-blob-sequence-number", "1".to_owned());
        headers.insert("x-ms-blob-content-length", BLOB_BYTES_MAX.to_string());
        headers.insert("x-ms-lease-state", "available".to_owned());
        headers.insert("x-ms-lease-status", "unlocked".to_owned());
        let is_target = url.path().ends_with("/backup") || query("prefix").as_deref() == Some("backup");
        let (status, body) = match query("comp").as_deref() {
            Some("list") if is_target => (200, MadeUp::snapshots("backup", &[(OLDER, sealed())])),
            Some("list") => (200, MadeUp::snapshots("disk", &[(OLDER, Metadata::new()), (NEWER, Metadata::new())])),
            Some("pagelist") if query("prevsnapshot").is_some_and(|since| since != OLDER) => {
                headers.insert("x-ms-error-code", "PreviousSnapshotNotFound".to_owned());
                (409, String::new())
            }
            Some("pagelist") => {
                let first = query("marker").and_then(|marker| marker.parse().ok()).unwrap_or_default();
                (200, self.list(first, window(request), query("prevsnapshot").is_some()))
            }
            _ => {
                headers.insert("content-length", BLOB_BYTES_MAX.to_string());
                if is_target {
                    for (key, value) in sealed() {
                        headers.insert(format!("x-ms-meta-{key}"), value);
                    }
                }
                (200, String::new())
            }
        };
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body.into_bytes()))
    }
}
