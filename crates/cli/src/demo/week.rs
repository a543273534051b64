//! What happens to the machine: the days of the story, each as deeds on a disk.
//!
//! Contents come from a seeded generator, so every run of the demo moves the same bytes.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::disk::Disk;
use super::guest::{self, Deed, Files};

const MIB: u64 = 1 << 20;
const SYSTEM: Range<u64> = MIB..SMALL;
const ARCHIVE_BYTES: u64 = 64 * MIB;
const PHOTOS: usize = 24;
const DATABASE: &str = "db/orders.db";
const DATABASE_BYTES: usize = 6 << 20;
const DATABASE_PAGE_BYTES: usize = 4096;
const LOG: &str = "log/access.log";

/// The smallest disk that the story fits on.
pub(super) const SMALL: u64 = 256 * MIB;

/// A machine, its disk, and the files that should be on it.
#[derive(Debug)]
pub(super) struct Machine {
    /// What it writes to.
    pub(super) disk: Disk,
    /// What should be on it, by path.
    pub(super) files: Files,
    chance: StdRng,
}

/// A day: what people would call it, and what it does to the machine.
pub(super) struct Day {
    /// The day.
    pub(super) name: &'static str,
    /// What happens.
    pub(super) story: &'static str,
    /// How it happens.
    pub(super) happen: fn(&mut Machine) -> io::Result<()>,
}

/// The days, in order.
pub(super) const WEEK: [Day; 4] = [
    Day {
        name: "Monday",
        story: "a web shop is installed: pages, photographs, a database of orders",
        happen: Machine::install,
    },
    Day {
        name: "Tuesday",
        story: "orders come in: records rewritten in place, a longer log, two new photographs",
        happen: Machine::take_orders,
    },
    Day {
        name: "Wednesday",
        story: "half of the photographs are deleted, and the file system trims what they held",
        happen: Machine::clear_out,
    },
    Day {
        name: "Thursday",
        story: "the disk grows by 64 MiB: its footer moves, a second volume takes the archive",
        happen: Machine::grow,
    },
];

impl Machine {
    /// A machine with an empty disk of `disk_bytes`.
    pub(super) fn on(disk_bytes: u64) -> Machine {
        let disk = Disk::new(disk_bytes, *b"pageferry's demo");
        Machine { disk, files: Files::new(), chance: StdRng::seed_from_u64(1) }
    }

    fn install(&mut self) -> io::Result<()> {
        guest::partition(&mut self.disk, &[SYSTEM])?;
        guest::format(&mut self.disk, SYSTEM, b"SYSTEM     ")?;
        let mut deeds = vec![
            Deed::Create("www/index.html".into(), Bytes::from_static(b"<!doctype html><title>A shop</title>\n")),
            Deed::Create(DATABASE.into(), self.noise(DATABASE_BYTES)),
            Deed::Create(LOG.into(), self.log(4000)),
        ];
        deeds.extend((0..PHOTOS).map(|number| self.photo(number)));
        self.work(deeds)
    }

    fn take_orders(&mut self) -> io::Result<()> {
        let mut records: Vec<usize> =
            (0..150).map(|_| self.chance.random_range(0..DATABASE_BYTES / DATABASE_PAGE_BYTES)).collect();
        records.sort_unstable();
        records.dedup();
        let part = |record| (record * DATABASE_PAGE_BYTES, self.noise(DATABASE_PAGE_BYTES));
        let parts = records.into_iter().map(part).collect();
        let log = self.log(2500);
        let photos = [self.photo(PHOTOS), self.photo(PHOTOS + 1)];
        self.work([Deed::Patch(DATABASE.into(), parts), Deed::Append(LOG.into(), log)].into_iter().chain(photos))
    }

    fn clear_out(&mut self) -> io::Result<()> {
        let log = self.log(800);
        let deletions = (0..PHOTOS).step_by(2).map(|number| Deed::Delete(photo_path(number)));
        self.work(deletions.chain([Deed::Append(LOG.into(), log)]))?;
        guest::trim(&mut self.disk, SYSTEM)
    }

    fn grow(&mut self) -> io::Result<()> {
        // Begins where the footer was before the disk grew: the moved footer leaves a page that becomes a boot sector.
        let end = self.disk.disk_bytes();
        let archive = end..end + ARCHIVE_BYTES;
        self.disk.grow(archive.end);
        guest::partition(&mut self.disk, &[SYSTEM, archive.clone()])?;
        guest::format(&mut self.disk, archive.clone(), b"ARCHIVE    ")?;
        let ledger = Deed::Create("ledger.tar".into(), self.noise(9 << 20));
        guest::work(&mut self.disk, archive, &mut self.files, vec![ledger])?;
        let log = self.log(800);
        self.work([Deed::Append(LOG.into(), log)])
    }

    fn work(&mut self, deeds: impl IntoIterator<Item = Deed>) -> io::Result<()> {
        guest::work(&mut self.disk, SYSTEM, &mut self.files, deeds.into_iter().collect())
    }

    fn photo(&mut self, number: usize) -> Deed {
        let bytes = self.chance.random_range(700_000..1_400_000);
        Deed::Create(photo_path(number), self.noise(bytes))
    }

    /// Bytes that nothing can guess or compress.
    fn noise(&mut self, bytes: usize) -> Bytes {
        let mut noise = vec![0; bytes];
        self.chance.fill_bytes(&mut noise);
        noise.into()
    }

    fn log(&mut self, lines: u32) -> Bytes {
        let mut log = String::new();
        for _ in 0..lines {
            let (host, page) = (self.chance.random_range(1..255), self.chance.random_range(1..900));
            log.push_str(&format!("10.0.3.{host} \"GET /orders/{page:03} HTTP/1.1\" 200\n"));
        }
        log.into()
    }
}

fn photo_path(number: usize) -> String {
    format!("www/photos/photo-{number:02}.jpg")
}
