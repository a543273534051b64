//! A disk of which every page of every snapshot is known, and the comparison of points with it.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::service::Service;

pub const PAGE: usize = 512;

/// The most that one request reads or writes.
const PIECE: usize = (4 << 20) / PAGE;

/// What each page of a disk holds: the number of the write that filled it, zero where there is none.
type Picture = Vec<u32>;

/// A disk on the service and its snapshots, oldest first, with what each of them must hold.
pub struct Chain {
    pub blob: String,
    pub snapshots: Vec<(String, Picture)>,
}

/// A snapshot of a target that carries a seal.
pub struct Sealed {
    pub snapshot: String,
    pub source_snapshot: String,
    pub run: String,
    pub bytes: usize,
}

/// How a chain is made.
#[derive(Clone, Copy)]
pub struct Shape {
    pub bytes: usize,
    pub snapshots: usize,
    /// Writes and clears between two snapshots.
    pub changes: usize,
}

impl Chain {
    /// Makes the disk on `service`, the same for the same seed.
    pub fn make(service: &Service, blob: &str, seed: u64, shape: Shape) -> Chain {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut disk: Picture = vec![0; shape.bytes / PAGE];
        let length = shape.bytes.to_string();
        let head = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", &length)];
        service.expect(201, "PUT", blob, &head, &[]);
        let mut snapshots: Vec<(String, Picture)> = Vec::new();
        let mut written = 0;
        for number in 0..shape.snapshots {
            if number > 0 && dice.random_bool(0.5) {
                let grown = disk.len() + dice.random_range(1..=4 * PIECE);
                disk.resize(grown, 0);
                let length = (grown * PAGE).to_string();
                let head = [("x-ms-blob-content-length", &*length)];
                service.expect(200, "PUT", &format!("{blob}?comp=properties"), &head, &[]);
            }
            for _ in 0..shape.changes {
                let longest = if dice.random_ratio(1, 20) { PIECE } else { 64 };
                let start = dice.random_range(0..disk.len());
                let end = disk.len().min(start + dice.random_range(1..=longest));
                written += 1;
                let earlier = snapshots.len().checked_sub(2).map(|index| &snapshots[index].1);
                match (dice.random_range(0..10), earlier) {
                    (0..3, _) => disk[start..end].fill(0),
                    // A disk that goes back to what it was is what content alone cannot tell.
                    (3, Some(earlier)) if end <= earlier.len() => {
                        disk[start..end].copy_from_slice(&earlier[start..end])
                    }
                    _ => disk[start..end].fill(written),
                }
                change(service, blob, &disk, start..end);
            }
            let answer = service.expect(201, "PUT", &format!("{blob}?comp=snapshot"), &[], &[]);
            snapshots.push((answer.headers["x-ms-snapshot"].clone(), disk.clone()));
        }
        Chain { blob: blob.to_owned(), snapshots }
    }

    /// Compares every sealed snapshot of `target` with the source snapshot that it names, byte for byte.
    #[track_caller]
    pub fn check(&self, service: &Service, target: &str) -> Vec<Sealed> {
        let sealed = sealed(service, target);
        for point in &sealed {
            let picture = self.picture(&point.source_snapshot);
            let picture = picture.unwrap_or_else(|| panic!("{target} names {}", point.source_snapshot));
            assert_eq!(point.bytes, picture.len() * PAGE, "the size of point {} of {target}", point.snapshot);
            self.compare(service, &format!("{target}?snapshot={}", point.snapshot), picture);
        }
        sealed
    }

    /// Checks that each source snapshot has exactly one point, and that the base equals the last.
    #[track_caller]
    pub fn check_complete(&self, service: &Service, target: &str) {
        let sealed = self.check(service, target);
        let points: Vec<&String> = sealed.iter().map(|point| &point.source_snapshot).collect();
        let snapshots: Vec<&String> = self.snapshots.iter().map(|(name, _)| name).collect();
        assert_eq!(points, snapshots, "{target}");
        self.compare(service, target, &self.snapshots.last().unwrap().1);
    }

    fn picture(&self, snapshot: &str) -> Option<&Picture> {
        self.snapshots.iter().find(|(name, _)| name == snapshot).map(|(_, picture)| picture)
    }

    #[track_caller]
    fn compare(&self, service: &Service, what: &str, picture: &Picture) {
        for start in (0..picture.len()).step_by(PIECE) {
            let end = picture.len().min(start + PIECE);
            let range = format!("bytes={}-{}", start * PAGE, end * PAGE - 1);
            let found = service.expect(206, "GET", what, &[("x-ms-range", &range)], &[]).body;
            let expected = bytes(picture, start..end);
            if found != expected {
                let differs = |page: &usize| found[page * PAGE..][..PAGE] != expected[page * PAGE..][..PAGE];
                let pages: Vec<usize> = (0..end - start).filter(differs).map(|page| start + page).collect();
                panic!("{what} is wrong on {} pages, from page {} on", pages.len(), pages[0]);
            }
        }
    }
}

/// Makes `pages` of the blob what `disk` says.
fn change(service: &Service, blob: &str, disk: &Picture, pages: Range<usize>) {
    // A range that goes back to an earlier content may be of both kinds.
    let mut start = pages.start;
    while start < pages.end {
        let same = |page: &usize| (disk[*page] == 0) == (disk[start] == 0);
        let end = start + (start..pages.end).take_while(same).count();
        let range = format!("bytes={}-{}", start * PAGE, end * PAGE - 1);
        let (how, body) = if disk[start] == 0 { ("clear", Vec::new()) } else { ("update", bytes(disk, start..end)) };
        let head = [("x-ms-page-write", how), ("x-ms-range", &range)];
        service.expect(201, "PUT", &format!("{blob}?comp=page"), &head, &body);
        start = end;
    }
}

/// The bytes of `pages`, each different from every other page ever written.
fn bytes(picture: &Picture, pages: Range<usize>) -> Vec<u8> {
    let mut bytes = vec![0; pages.len() * PAGE];
    for (page, out) in pages.zip(bytes.chunks_exact_mut(PAGE)) {
        if picture[page] == 0 {
            continue;
        }
        let mut state = (page as u64) << 32 | u64::from(picture[page]);
        for word in out.chunks_exact_mut(8) {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            word.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
        }
    }
    bytes
}

/// The snapshots of `target` that carry a seal, oldest first.
pub fn sealed(service: &Service, target: &str) -> Vec<Sealed> {
    let (container, name) = target.split_once('/').unwrap();
    let list = format!("{container}?restype=container&comp=list&include=snapshots,metadata&prefix={name}");
    let answer = service.expect(200, "GET", &list, &[], &[]);
    let text = String::from_utf8(answer.body).unwrap();
    let sealed = text.split("<Blob>").skip(1).filter_map(|blob| {
        let (snapshot, state) = (tag(blob, "Snapshot")?, tag(blob, "pageferrystate")?);
        (state == "sealed" && tag(blob, "Name")? == name).then(|| Sealed {
            snapshot,
            source_snapshot: tag(blob, "pageferrysnapshot").unwrap(),
            run: tag(blob, "pageferryrun").unwrap(),
            bytes: tag(blob, "Content-Length").unwrap().parse().unwrap(),
        })
    });
    sealed.collect()
}

/// The text of the first element called `name`.
pub fn tag(xml: &str, name: &str) -> Option<String> {
    let rest = xml.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once("</")?.0.to_owned())
}
