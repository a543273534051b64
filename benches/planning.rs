//! Planning an 8 TiB disk of which up to ten million runs of pages were written or cleared: ranges a second on one core, and
//! peak memory.
//!
//! Twice for each size and shape. The *path* is what every planned range takes from the bytes of an answer to a request:
//! parsed, checked for order, walked, decided, counted, digested, cut. The *plan* is the whole of `plan` on top of it, client,
//! listing and all. The service is played by a transport that makes lists up as they are asked for, so that the memory
//! measured is the engine's; the time it takes over that is subtracted, for all runs on one thread.
//!
//! `cargo bench -p pageferry-benches --bench planning [-- RANGES]`

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use pageferry_azure::Side;
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib, usage};
use pageferry_core::draft::{self, Bounds, Draft, Drawn};
use pageferry_core::lineage::{DiskId, Seal, SnapshotRef, State};
use pageferry_core::next::Want;
use pageferry_core::page::BLOB_BYTES_MAX;
use pageferry_core::page_list::PageListReader;
use pageferry_core::{Etag, InOrder, Metadata, SnapshotId};
use pageferry_replicate::plan::{Plan, plan};
use pageferry_replicate::{Engine, Options};

const ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1/disks";
const CREATED: &str = "Fri, 27 Jan 2023 22:27:19 GMT";
const OLDER: &str = "2023-01-27T22:27:19.7049036Z";
const NEWER: &str = "2023-01-28T22:27:19.7049036Z";
const TAG: &str = "0x8DB00B52E4B2C1A";

/// Ranges in one answer, as many as the service gives.
const PER_ANSWER: u64 = 10_000;

/// How an answer arrives.
const PIECE_BYTES: usize = 64 << 10;

/// Small lists are gone through often enough for a clock to measure.
const RANGES_TIMED: u64 = 1_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let only: Option<u64> = std::env::args().filter_map(|word| word.parse().ok()).next();
    let sizes = only.map_or_else(|| (3..=7).map(|power| 10u64.pow(power)).collect(), |size| vec![size]);
    let mut table = Table::new("planning");
    for shape in [Shape::Fragmented, Shape::Dense] {
        for ranges in &sizes {
            let disk = Disk { ranges: *ranges, shape };
            let name = format!("{shape:?}, 10^{}", ranges.checked_ilog10().unwrap_or_default()).to_lowercase();
            let path = path(disk);
            let limit = Limit::AtLeast(2_000_000.0);
            table.limited(format!("{name}: path"), path.rate, "ranges/s", limit);
            table.against(format!("{name}: path, to counting `<`"), path.rate, "ranges/s", path.scan_rate);
            usage::reset_peak();
            let rate = whole_plan(disk).await;
            table.against(format!("{name}: plan, to the path"), rate, "ranges/s", path.rate);
            let peak = mib(usage::mine().peak_bytes);
            table.limited(format!("{name}: memory at its peak"), peak, "MiB", Limit::AtMost(64.0));
        }
    }
    table.finish()
}

/// How fast ranges come through.
struct Rates {
    rate: f64,
    /// Of a scan for the first byte of each tag, which is the least that any reader of the same bytes has to do.
    scan_rate: f64,
}

/// The path alone, over answers made beforehand one at a time.
fn path(disk: Disk) -> Rates {
    let rounds = (RANGES_TIMED / disk.ranges).max(1);
    let (mut timed, mut scanned, mut tags) = (Duration::ZERO, Duration::ZERO, 0);
    for _ in 0..rounds {
        let mut order = InOrder::default();
        let mut draft = Draft::new(Bounds::default());
        for list in [draft::OWN, draft::ALLOCATED, draft::HELD] {
            draft.give(list, None).expect("a list that says nothing");
        }
        let mut changes = Vec::new();
        let mut first = 0;
        while first < disk.ranges {
            let body = disk.list(first, (0, BLOB_BYTES_MAX - 1), true);
            first += PER_ANSWER;
            let begun = Instant::now();
            tags += black_box(body.bytes().filter(|byte| *byte == b'<').count());
            scanned += begun.elapsed();
            let begun = Instant::now();
            let mut reader = PageListReader::new();
            for piece in body.as_bytes().chunks(PIECE_BYTES) {
                reader.feed(piece, &mut changes).expect("a page list");
            }
            reader.finish().expect("all of it");
            for change in changes.drain(..) {
                let news = order.push(change).expect("in order");
                draft.give(draft::SOURCE, news).expect("in order");
                draw(&mut draft);
            }
            timed += begun.elapsed();
        }
        let begun = Instant::now();
        draft.give(draft::SOURCE, None).expect("an end");
        draw(&mut draft);
        let tally = draft.tally();
        assert_eq!(
            tally.difference.write_ranges + tally.difference.clear_ranges,
            disk.ranges,
            "every range is planned"
        );
        black_box(tally.digest.clone().finish());
        timed += begun.elapsed();
    }
    assert!(tags > 0);
    let ranges = figure(disk.ranges * rounds);
    Rates { rate: ranges / timed.as_secs_f64(), scan_rate: ranges / scanned.as_secs_f64() }
}

fn draw(draft: &mut Draft) {
    while let Drawn::Request(change) = draft.next().expect("no contradiction") {
        black_box(change);
    }
}

/// Ranges a second of `plan`, the time the service takes over its lists subtracted.
async fn whole_plan(disk: Disk) -> f64 {
    let making = Arc::new(AtomicU64::new(0));
    let service: Arc<dyn HttpClient> = Arc::new(MadeUp { disk, making_ns: Arc::clone(&making) });
    let source = blob(&format!("{ENDPOINT}/disk"), Side::Source, Some(Arc::clone(&service)));
    let target = blob(&format!("{ENDPOINT}/backup"), Side::Target, Some(service));
    let engine = Engine::new(source, target, Options::default());
    let begun = Instant::now();
    let planned = plan(&engine, &Want::Next).await.expect("a plan");
    let taken = begun.elapsed() - Duration::from_nanos(making.load(Ordering::Relaxed));
    let Plan::Step { difference, .. } = planned else { panic!("{planned:?}") };
    assert_eq!(difference.write_ranges + difference.clear_ranges, disk.ranges, "every range is planned");
    figure(disk.ranges) / taken.as_secs_f64()
}

fn figure(ranges: u64) -> f64 {
    f64::from(u32::try_from(ranges).expect("a few"))
}

/// How a disk was changed.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Single pages, spread evenly over the disk, written and here and there cleared.
    Fragmented,
    /// Ranges of 819 KiB, each next to the other, written and cleared in turn.
    Dense,
}

/// A disk of 8 TiB.
#[derive(Clone, Copy, Debug)]
struct Disk {
    ranges: u64,
    shape: Shape,
}

impl Disk {
    /// From the start of one range to the start of the next, in pages.
    fn apart(self) -> u64 {
        let ranges = match self.shape {
            Shape::Fragmented => self.ranges,
            Shape::Dense => 10_000_000,
        };
        BLOB_BYTES_MAX / 512 / ranges
    }

    /// The page list, or the difference, from range number `first` on.
    fn list(self, first: u64, window: (u64, u64), difference: bool) -> String {
        let apart = self.apart();
        let (from, to) = (window.0.div_ceil(apart * 512), (window.1 + 1).div_ceil(apart * 512).min(self.ranges));
        let from = if matches!(self.shape, Shape::Dense) { window.0 / (apart * 512) } else { from };
        let first = first.max(from);
        let mut body = String::with_capacity(900_000);
        body.push_str("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList>");
        let end = to.min(first + PER_ANSWER).max(first);
        for number in first..end {
            let start = number * apart * 512;
            let (every, last) = match self.shape {
                Shape::Fragmented => (3, start + 511),
                Shape::Dense => (2, start + apart * 512 - 1),
            };
            let kind = if difference && number % every == 0 { "ClearRange" } else { "PageRange" };
            let (start, last) = (start.max(window.0), last.min(window.1));
            let _ = write!(body, "<{kind}><Start>{start}</Start><End>{last}</End></{kind}>");
        }
        if end < to {
            let _ = write!(body, "<NextMarker>{end}</NextMarker>");
        }
        body.push_str("</PageList>");
        body
    }
}

/// A service with one disk of 8 TiB and its backup, both of which it makes up.
#[derive(Debug)]
struct MadeUp {
    disk: Disk,
    making_ns: Arc<AtomicU64>,
}

impl MadeUp {
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
                let begun = Instant::now();
                let body = self.disk.list(first, window(request), query("prevsnapshot").is_some());
                let taken = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.making_ns.fetch_add(taken, Ordering::Relaxed);
                (200, body)
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
