//! A day of change on a Debian system on which packages were installed, with and without gaps filled: requests, bytes, and
//! the time of a standard page blob.
//!
//! What is known of such a day: 29.5 MiB written in 4,710 runs of median 1 KiB, 9.2 MiB freed in 567 runs. The bench makes up
//! a day with these sums from a seed. Half of the runs are of 1 KiB at most, so blocks are of 1 KiB, which `mke2fs` chooses for
//! file systems below 512 MiB: the disk has 480 MiB. Where changes lie follows what ext4 does:
//!
//! - Block groups have 8 MiB, and sixteen of them (flex_bg) have their bitmaps and inode tables together at the start of the
//!   first. A third of the runs are single blocks there, in bursts: the inodes of a directory's files are neighbours.
//! - Packages put the files of a directory into one group, one after the other, with blocks of older files between them:
//!   mostly one or two blocks, one in eight up to forty. What they replace is freed nearby.
//! - The journal is one run; logs and databases rewrite a few blocks anywhere.
//! - What remains of the day's bytes makes some files longer.
//!
//! Pages that are not allocated are never filled, so it matters what was in use: metadata, and of the rest extents of 4 KiB to
//! 1 MiB with holes between them, in which three quarters are used. The last rows spread the same day over 8 GiB with the same
//! small blocks, where changes are seventeen times as far from each other; there nothing is promised.
//!
//! The limit of 0.25 is missed, by seed 1 with 0.39: 1,515 writes and 567 clears remain, and 1,320 requests would be wanted. Of the
//! writes 981 have a hole between them and the one before, 460 a clear, 59 a gap longer than a request is worth, 6 the 4 MiB
//! grid, and 5 the bytes that bind at the beginning. Without any limit to gaps 61 writes less would remain. Only writing into
//! holes, which allocates them, could do more (`docs/notes/0007-gap-filling.md`).
//!
//! `cargo bench -p pageferry-benches --bench day [-- SEED]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use pageferry_azure::{PageBlob, Side};
use pageferry_benches::dice::Dice;
use pageferry_benches::service::{Service, served};
use pageferry_benches::table::Limit;
use pageferry_benches::{Table, blob, mib};
use pageferry_core::limits::{Binding, Limits};
use pageferry_core::next::Want;
use pageferry_core::{Metadata, PageRange, Pages};
use pageferry_replicate::plan::{Plan, plan};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Fill, Options};
use pageferry_store::{Fence, LeaseId, PageData, Target};

/// Sizes are in blocks of 1 KiB.
const GROUP: u64 = 8 << 10;
const FLEX: u64 = 16 * GROUP;

/// The bitmaps and inode tables of sixteen groups, with 256 bytes for every 4 KiB.
const METADATA: u64 = 8 << 10;

/// The day.
const WRITTEN_RUNS: usize = 4710;
const WRITTEN_KIB: u64 = 30_208;
const FREED_RUNS: usize = 567;
const FREED_KIB: u64 = 9421;

/// No gap is filled that is longer than this, in blocks.
const NEAR: u64 = 128;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    served().await;
    let seed = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1);
    let service = Service::start();
    let mut table = Table::new("day");
    let limit = Limit::AtMost(0.25);
    compare(&mut table, &service, "480 MiB", &Day::new(480 << 10, &mut Dice(seed)), Some(limit)).await;
    compare(&mut table, &service, "8 GiB", &Day::new(8 << 20, &mut Dice(seed)), None).await;
    table.finish()
}

/// The same day twice, without and with gaps filled.
async fn compare(table: &mut Table, service: &Service, disk: &str, day: &Day, limit: Option<Limit>) {
    let mut lengths: Vec<u64> = day.written.iter().map(|(start, end)| end - start).collect();
    lengths.sort_unstable();
    assert_eq!((lengths.len(), day.freed.len()), (WRITTEN_RUNS, FREED_RUNS));
    assert_eq!(lengths.iter().sum::<u64>(), WRITTEN_KIB);
    table.row(format!("{disk}: median of the written runs"), number(lengths[lengths.len() / 2]), "KiB");
    let url = |name: &str| service.url(&format!("{name}-{}", disk.replace(' ', "").to_lowercase()));
    day.make(&url("disk")).await;
    let limits = Limits::of(None);
    let mut one_per_run = None;
    for (name, fill) in [("as it is", None), ("filled", Some(Fill::AUTO))] {
        let target = url(if fill.is_some() { "filled" } else { "plain" });
        let engine = || {
            let source = blob(&url("disk"), Side::Source, None);
            Engine::new(source, blob(&target, Side::Target, None), Options { fill, ..Options::default() })
        };
        sync(&engine(), &Want::To(day_before(&engine()).await)).await.expect("a seed");
        let planned = plan(&engine(), &Want::Next).await.expect("a plan");
        let Plan::Step { planned, .. } = planned else { panic!("{planned:?}") };
        let begun = Instant::now();
        let report = sync(&engine(), &Want::Next).await.expect("a step");
        let taken = begun.elapsed();
        let step = &report.steps[0];
        assert_eq!(step.written_bytes, planned.write_pages.bytes(), "bytes sent are those of the plan");
        assert_eq!(step.requests, 2 * planned.write_requests + planned.clear_requests, "and so are requests");
        let (least, binding) = limits.least(planned.write_pages.bytes(), planned.requests());
        let seconds = least.as_secs_f64();
        let reference = *one_per_run.get_or_insert(count(WRITTEN_RUNS + FREED_RUNS) / 500.0);
        table.row(format!("{disk}, {name}: writes, planned and sent"), number(planned.write_requests), "requests");
        table.row(format!("{disk}, {name}: clears, planned and sent"), number(planned.clear_requests), "requests");
        table.row(format!("{disk}, {name}: written, planned and sent"), mib(planned.write_pages.bytes()), "MiB");
        table.row(format!("{disk}, {name}: of that filled"), mib(step.filled_bytes), "MiB");
        table.row(format!("{disk}, {name}: this machine"), taken.as_secs_f64(), "s");
        let what = format!("{disk}, {name}: standard blob, to a request per run");
        match limit.filter(|_| fill.is_some()) {
            None => table.against(what, seconds, "s", reference),
            Some(limit) => table.compared(what, seconds, "s", reference, limit),
        }
        table.row(format!("{disk}, {name}: bound by requests"), f64::from(u8::from(binding == Binding::Requests)), "");
    }
}

/// The older of the disk's two snapshots.
async fn day_before(engine: &Engine<PageBlob, PageBlob>) -> pageferry_core::SnapshotId {
    use pageferry_store::Source;
    engine.source.snapshots().await.expect("snapshots").first().expect("two").id.clone()
}

/// What was there, and what became of it: runs of blocks, half-open.
struct Day {
    blocks: u64,
    used: Vec<(u64, u64)>,
    written: Vec<(u64, u64)>,
    freed: Vec<(u64, u64)>,
}

impl Day {
    fn new(blocks: u64, dice: &mut Dice) -> Day {
        let used = used(blocks, dice);
        let mut changed = Changed { blocks, ..Changed::default() };
        // A third of the runs, in bursts.
        while changed.written < WRITTEN_RUNS / 3 {
            let mut at = dice.number(blocks.div_ceil(FLEX)) * FLEX + dice.number(METADATA - 1024);
            for _ in 0..4 + dice.number(24) {
                at += dice.stride(6);
                changed.write(at, 1);
                at += 1;
            }
        }
        // The journal, in the middle of the disk, and what is appended or rewritten anywhere.
        changed.write(blocks / 2, 4096);
        for _ in 0..400 {
            let at = used[dice.below(used.len() as u64)].0;
            changed.write(at, 1 + dice.number(4));
        }
        // Packages: the directories of one after the other, files of mostly a few KiB, replaced files freed nearby.
        while changed.written < WRITTEN_RUNS {
            let mut at = dice.number(blocks / GROUP) * GROUP + dice.number(GROUP);
            for _ in 0..10 + dice.number(60) {
                at += dice.stride(8);
                let length = if dice.number(8) == 0 { 1 + dice.number(40) } else { 1 + dice.number(2) };
                if changed.freed < FREED_RUNS && dice.number(6) == 0 {
                    changed.free(at, 1 + dice.number(32));
                } else if changed.written < WRITTEN_RUNS {
                    changed.write(at, length);
                }
                at += length;
            }
        }
        while changed.freed < FREED_RUNS {
            changed.free(dice.number(blocks), 1 + dice.number(32));
        }
        changed.size(dice, true, WRITTEN_KIB);
        changed.size(dice, false, FREED_KIB);
        let near: Vec<(u64, u64)> =
            changed.runs.iter().map(|(start, (end, _))| (start.saturating_sub(NEAR), end + NEAR)).collect();
        let used = near_only(&used, &near);
        let of =
            |kind| changed.runs.iter().filter(|run| run.1.1 == kind).map(|(start, (end, _))| (*start, *end)).collect();
        Day { blocks, used, written: of(true), freed: of(false) }
    }

    /// Makes the disk, with a snapshot before and one after.
    async fn make(&self, url: &str) {
        let disk = blob(url, Side::Source, None);
        disk.create(pages(self.blocks), &Metadata::new()).await.expect("a disk");
        let lease = LeaseId("5c1d3c2e-7f5a-4a3e-9a55-3f7f2b6a0c11".to_owned());
        disk.acquire(&lease, std::time::Duration::from_secs(60), None).await.expect("a lease");
        let fence = Fence { lease: lease.clone(), epoch: 0 };
        let whole = Bytes::from(vec![1; 4 << 20]);
        let put = async |start: u64, end: u64, byte: u8| {
            let Some(run) = range(start, end) else { return };
            for piece in run.cut(Pages::new(8192)) {
                let length = usize::try_from(piece.bytes()).expect("at most 4 MiB");
                let data = if byte == 1 { whole.slice(..length) } else { Bytes::from(vec![byte; length]) };
                disk.write(piece, &PageData::new(data), &fence).await.expect("a write");
            }
        };
        for (start, end) in &self.used {
            put(*start, *end, 1).await;
        }
        for (start, end) in &self.freed {
            put(*start, *end, 1).await;
        }
        disk.snapshot(None, None).await.expect("a snapshot");
        disk.renew(&lease).await.expect("still ours");
        for (start, end) in &self.written {
            put(*start, *end, 2).await;
        }
        for (start, end) in &self.freed {
            if let Some(run) = range(*start, *end) {
                disk.clear(run, &fence).await.expect("a clear");
            }
        }
        disk.snapshot(None, None).await.expect("a snapshot");
        disk.release(&lease).await.expect("a release");
    }
}

/// Disjoint runs of blocks that do not touch, by their start: their end, and whether they are written or else freed.
#[derive(Default)]
struct Changed {
    blocks: u64,
    runs: BTreeMap<u64, (u64, bool)>,
    written: usize,
    freed: usize,
}

impl Changed {
    fn write(&mut self, start: u64, length: u64) {
        self.written += usize::from(self.put(start, length, true));
    }

    fn free(&mut self, start: u64, length: u64) {
        self.freed += usize::from(self.put(start, length, false));
    }

    /// Puts a run where there is room for it.
    fn put(&mut self, start: u64, length: u64, kind: bool) -> bool {
        let end = start + length;
        let before = self.runs.range(..=start).next_back().is_none_or(|(_, (end, _))| *end < start);
        let after = self.runs.range(start..).next().is_none_or(|(next, _)| end < *next);
        let fits = before && after && end <= self.blocks;
        if fits {
            self.runs.insert(start, (end, kind));
        }
        fits
    }

    /// Makes runs of a kind longer or shorter until they have so many blocks together.
    fn size(&mut self, dice: &mut Dice, kind: bool, wanted: u64) {
        let starts: Vec<u64> = self.runs.iter().filter(|run| run.1.1 == kind).map(|run| *run.0).collect();
        let mut total: u64 = starts.iter().map(|start| self.runs[start].0 - start).sum();
        while total != wanted {
            let start = starts[dice.below(starts.len() as u64)];
            let end = self.runs[&start].0;
            let room = self.runs.range(start + 1..).next().map_or(self.blocks, |(next, _)| next - 1);
            let longest = if total < wanted { room.min(end + wanted - total) } else { end };
            let shortest = if total < wanted { end } else { (start + 1).max(end.saturating_sub(total - wanted)) };
            // Mostly large files: small ones stay as they are, or the median would move.
            let new = if total < wanted { longest.min(end + 64 + dice.number(448)) } else { shortest };
            if total < wanted && new < end + 64 && wanted - total > 64 {
                continue;
            }
            total = total + new - end;
            self.runs.insert(start, (new, kind));
        }
    }
}

/// What was in use: the metadata of each sixteen groups, and of the rest extents with shorter holes between them.
fn used(blocks: u64, dice: &mut Dice) -> Vec<(u64, u64)> {
    let mut used = Vec::new();
    let mut at = 0;
    while at < blocks {
        if at.is_multiple_of(FLEX) {
            used.push((at, (at + METADATA).min(blocks)));
            at += METADATA;
        }
        let end = (at + (4 << dice.below(9))).min((at / FLEX + 1) * FLEX).min(blocks);
        if at < end {
            used.push((at, end));
        }
        let hole = (4 << dice.below(9)) / 3;
        at = (end + hole).min((end.saturating_sub(1) / FLEX + 1) * FLEX).max(end);
    }
    used
}

/// The parts of sorted runs that lie in `near`, which is sorted and may overlap.
fn near_only(runs: &[(u64, u64)], near: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let mut first = 0;
    for (from, to) in near {
        while first < runs.len() && runs[first].1 <= *from {
            first += 1;
        }
        for (start, end) in runs[first..].iter().take_while(|run| run.0 < *to) {
            let begun = parts.last().map_or(0, |last| last.1);
            let (start, end) = ((*start).max(*from).max(begun), (*end).min(*to));
            if start < end {
                parts.push((start, end));
            }
        }
    }
    parts
}

fn pages(blocks: u64) -> Pages {
    Pages::new(blocks * 2)
}

fn range(start: u64, end: u64) -> Option<PageRange> {
    PageRange::new(pages(start), pages(end))
}

fn count(figure: usize) -> f64 {
    number(figure as u64)
}

fn number(figure: u64) -> f64 {
    f64::from(u32::try_from(figure).expect("a few"))
}
