//! The disk and its owner, and what anybody can see of the blobs: asked of the service itself, without the engine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pageferry_emulator::{Request, Response};

use super::dice::Dice;
use super::site::{ROOT, Site};

const PAGE: u64 = 512;

/// A disk that somebody uses.
#[derive(Debug)]
pub(super) struct Disk {
    site: Arc<Site>,
    pub(super) name: String,
    pub(super) pages: u64,
    /// The snapshots that exist, oldest first.
    pub(super) snapshots: Vec<String>,
}

/// What each source snapshot holds, by disk and name, and which points were compared with that.
#[derive(Debug, Default)]
pub(super) struct Truth {
    images: HashMap<(String, String), Bytes>,
    proven: HashSet<(String, String)>,
}

/// A blob or a snapshot, as a listing shows it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) snapshot: Option<String>,
    etag: String,
    /// The disk and the snapshot that a sealed blob names.
    pub(super) seal: Option<(String, String)>,
}

impl Site {
    pub(super) fn request(method: &str, path: &str, query: &[(&str, &str)]) -> Request {
        let mut request = Request::new(method, &format!("{ROOT}{path}")).header("x-ms-version", "2021-12-02");
        request.query.extend(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        request
    }

    /// All bytes of a blob or snapshot.
    pub(super) async fn image(&self, blob: &str, snapshot: Option<&str>) -> Bytes {
        let query = snapshot.map(|id| ("snapshot", id));
        let answer = self.service.handle(Site::request("GET", &format!("/{blob}"), query.as_slice())).await;
        assert!(answer.is_success(), "GET {blob} {snapshot:?}: {}", answer.status);
        answer.body.into_bytes()
    }

    /// The snapshots of a blob, oldest first, and then the blob.
    pub(super) async fn entries(&self, blob: &str) -> Vec<Entry> {
        let (mut entries, mut marker) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("restype", "container"), ("comp", "list"), ("include", "snapshots,metadata")];
            query.push(("prefix", blob));
            if !marker.is_empty() {
                query.push(("marker", &marker));
            }
            let answer = self.service.handle(Site::request("GET", "", &query)).await;
            assert!(answer.is_success(), "listing {blob}: {}", answer.status);
            let text = String::from_utf8_lossy(&answer.body.into_bytes()).into_owned();
            for part in text.split("<Blob>").skip(1).filter(|part| element(part, "Name") == Some(blob)) {
                let word = |name: &str| element(part, &format!("pageferry{name}")).map(str::to_owned);
                let sealed = word("state").as_deref() == Some("sealed");
                let seal = word("disk").zip(word("snapshot")).filter(|_| sealed);
                entries.push(Entry {
                    snapshot: element(part, "Snapshot").map(str::to_owned),
                    etag: element(part, "Etag").unwrap_or_default().to_owned(),
                    seal: seal.map(|(disk, snapshot)| (name_of(&disk), snapshot)),
                });
            }
            marker = element(&text, "NextMarker").unwrap_or_default().to_owned();
            if marker.is_empty() {
                return entries;
            }
        }
    }

    /// Compares every point of `blob` with the source snapshot that it names, and its base, where that is at a point;
    /// returns what the points name, oldest first.
    pub(super) async fn prove(&self, blob: &str, truth: &mut Truth) -> Result<Vec<(String, String)>, String> {
        let entries = self.entries(blob).await;
        let mut named = Vec::new();
        for entry in &entries {
            let (Some(id), Some(seal)) = (&entry.snapshot, &entry.seal) else { continue };
            named.push(seal.clone());
            if !truth.proven.contains(&(blob.to_owned(), id.clone())) {
                let image = self.image(blob, Some(id)).await;
                truth.compare(&format!("point {id} of {blob}"), &image, seal)?;
                truth.proven.insert((blob.to_owned(), id.clone()));
            }
        }
        let base = entries.iter().find(|entry| entry.snapshot.is_none());
        let clean = base.filter(|base| {
            entries.iter().any(|entry| entry.snapshot.is_some() && entry.seal.is_some() && entry.etag == base.etag)
        });
        if let Some(seal) = clean.and_then(|base| base.seal.as_ref()) {
            let image = self.image(blob, None).await;
            truth.compare(&format!("the base of {blob}, which looks clean,"), &image, seal)?;
        }
        Ok(named)
    }
}

impl Truth {
    /// What a snapshot of a disk holds.
    pub(super) fn learn(&mut self, disk: &str, snapshot: &str, image: Bytes) {
        self.images.insert((disk.to_owned(), snapshot.to_owned()), image);
    }

    pub(super) fn points(&self) -> usize {
        self.proven.len()
    }

    pub(super) fn compare(&self, what: &str, image: &Bytes, seal: &(String, String)) -> Result<(), String> {
        let (disk, snapshot) = seal;
        let Some(truth) = self.images.get(seal) else {
            return Err(format!("{what} names {snapshot} of {disk}, which nobody took"));
        };
        if image == truth {
            return Ok(());
        }
        let page = usize::try_from(PAGE).unwrap_or_default();
        let wrong: Vec<usize> = (0..image.len().max(truth.len()) / page)
            .filter(|at| image.get(at * page..(at + 1) * page) != truth.get(at * page..(at + 1) * page))
            .collect();
        let sizes = (image.len() / page, truth.len() / page);
        Err(format!("{what} is not {snapshot} of {disk}: pages {wrong:?} differ, of {} and {}", sizes.0, sizes.1))
    }
}

impl Disk {
    /// A new blob.
    pub(super) async fn make(site: &Arc<Site>, name: &str, pages: u64) -> Disk {
        let length = (pages * PAGE).to_string();
        let request = Site::request("PUT", &format!("/{name}"), &[])
            .header("x-ms-blob-type", "PageBlob")
            .header("x-ms-blob-content-length", length)
            .with_body(Bytes::new());
        let answer = site.service.handle(request).await;
        assert!(answer.is_success(), "PUT {name}: {}", answer.status);
        Disk { site: Arc::clone(site), name: name.to_owned(), pages, snapshots: Vec::new() }
    }

    /// A blob that is there, with its snapshots, is used as a disk from now on.
    pub(super) async fn of(site: &Arc<Site>, name: &str, truth: &mut Truth) -> Disk {
        let mut disk = Disk { site: Arc::clone(site), name: name.to_owned(), pages: 0, snapshots: Vec::new() };
        disk.pages = u64::try_from(site.image(name, None).await.len()).unwrap_or_default() / PAGE;
        for id in site.entries(name).await.into_iter().filter_map(|entry| entry.snapshot) {
            truth.learn(name, &id, site.image(name, Some(&id)).await);
            disk.snapshots.push(id);
        }
        disk
    }

    async fn send(&self, query: &[(&str, &str)], headers: &[(&str, String)], body: Bytes) -> Response {
        let mut request = Site::request("PUT", &format!("/{}", self.name), query);
        for (name, value) in headers {
            request = request.header(name, value.clone());
        }
        self.site.service.handle(request.with_body(body)).await
    }

    /// Some writes, clears and sometimes growth.
    pub(super) async fn use_it(&mut self, dice: &mut Dice, room: u64) {
        for _ in 0..dice.within(1..5) {
            let start = dice.below(self.pages);
            let end = (start + dice.spread(1..self.pages / 2 + 2)).min(self.pages);
            match dice.below(10) {
                0..6 => self.write(start, end, dice.below(5)).await,
                6..9 => self.clear(start, end).await,
                _ if self.pages < room => {
                    self.pages = (self.pages + dice.spread(1..33)).min(room);
                    let length = (self.pages * PAGE).to_string();
                    let answer = self
                        .send(&[("comp", "properties")], &[("x-ms-blob-content-length", length)], Bytes::new())
                        .await;
                    assert!(answer.is_success(), "growing: {}", answer.status);
                }
                _ => {}
            }
        }
        self.site.tell("the disk is used");
    }

    async fn write(&self, start: u64, end: u64, stamp: u64) {
        let range = format!("bytes={}-{}", start * PAGE, end * PAGE - 1);
        let headers = [("x-ms-page-write", "update".to_owned()), ("x-ms-range", range)];
        let answer = self.send(&[("comp", "page")], &headers, pages(start, end, stamp)).await;
        assert!(answer.is_success(), "writing: {}", answer.status);
    }

    async fn clear(&self, start: u64, end: u64) {
        let range = format!("bytes={}-{}", start * PAGE, end * PAGE - 1);
        let headers = [("x-ms-page-write", "clear".to_owned()), ("x-ms-range", range)];
        let answer = self.send(&[("comp", "page")], &headers, Bytes::new()).await;
        assert!(answer.is_success(), "clearing: {}", answer.status);
    }

    /// Takes a snapshot and remembers its truth.
    pub(super) async fn snapshot(&mut self, truth: &mut Truth) {
        let answer = loop {
            let answer = self.send(&[("comp", "snapshot")], &[], Bytes::new()).await;
            // A premium account takes one in ten minutes.
            if answer.is_success() {
                break answer;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        };
        let id = answer.get("x-ms-snapshot").unwrap_or_default().to_owned();
        truth.learn(&self.name, &id, self.site.image(&self.name, Some(&id)).await);
        self.site.tell(&format!("snapshot {id}"));
        self.snapshots.push(id);
    }

    /// Deletes one of the snapshots.
    pub(super) async fn forget(&mut self, dice: &mut Dice) {
        if self.snapshots.is_empty() {
            return;
        }
        let at = usize::try_from(dice.below(self.snapshots.len() as u64)).unwrap_or_default();
        let id = self.snapshots.remove(at);
        let request = Site::request("DELETE", &format!("/{}", self.name), &[("snapshot", &id)]);
        self.site.service.handle(request).await;
        self.site.tell(&format!("snapshot {id} is deleted"));
    }
}

/// The bytes of pages that were written with `stamp`: no two pages are alike, a stamp makes the same bytes every time,
/// and stamp zero makes zeros.
fn pages(start: u64, end: u64, stamp: u64) -> Bytes {
    let mut bytes = Vec::new();
    for page in start..end {
        let word = if stamp > 0 { (page << 8) ^ (stamp * 0x0101_0101_0101_0101) } else { 0 };
        for _ in 0..PAGE / 8 {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes.into()
}

/// The last part of a disk's address.
fn name_of(disk: &str) -> String {
    let url = disk.rsplit_once('@').map_or(disk, |(url, _)| url);
    url.rsplit('/').next().unwrap_or_default().to_owned()
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}
