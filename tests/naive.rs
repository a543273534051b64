//! A naive disk beside the whole system: a vector of pages, two loops, and no line of the engine.
//!
//! Operations are data. After each of them the system must look as the naive disk says: the same disk, the same points
//! with the same bytes, the same refusals. A failure shrinks to few operations; pasted into a test of its own below, with
//! a name that says what went wrong, it stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use pageferry_azure::Side;
use pageferry_core::SnapshotId;
use pageferry_core::next::Want;
use pageferry_replicate::Class;
use pageferry_tests::{Fate, World, find_point, restore};
use proptest::prelude::*;

const PAGES: usize = 40;
const ROOM: usize = 64;

/// A snapshot that nobody took, long ago.
const NEVER_TAKEN: &str = "2026-01-01T00:00:00.0000000Z";

/// One operation. Numbers that choose among things are taken modulo how many there are.
#[derive(Clone, Debug)]
enum Op {
    /// Pages from here on, so many, with this byte; zero is a byte like any other.
    Write(usize, usize, u8),
    Clear(usize, usize),
    Grow(usize),
    Snapshot,
    /// Deletes one of the source snapshots.
    Forget(usize),
    SyncNext,
    SyncLatest,
    SyncTo(usize),
    /// A sync that dies at this request: lost, or applied, or applied much later.
    Interrupted(u64, u8),
    /// Of one of the points, to a new blob.
    Restore(usize),
    Hour,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let span = || (0..PAGES, 1..=PAGES / 2);
    let op = prop_oneof![
        6 => (span(), 0..4u8).prop_map(|((at, n), byte)| Op::Write(at, n, byte)),
        4 => span().prop_map(|(at, n)| Op::Clear(at, n)),
        1 => (1..8usize).prop_map(Op::Grow),
        5 => Just(Op::Snapshot),
        1 => (0..8usize).prop_map(Op::Forget),
        4 => Just(Op::SyncNext),
        1 => Just(Op::SyncLatest),
        1 => (0..8usize).prop_map(Op::SyncTo),
        3 => (1..80u64, 0..3u8).prop_map(|(at, how)| Op::Interrupted(at, how)),
        1 => (0..8usize).prop_map(Op::Restore),
        1 => Just(Op::Hour),
    ];
    proptest::collection::vec(op, 1..40)
}

/// What a sync must come to.
#[derive(Debug, PartialEq, Eq)]
enum Comes {
    Fine,
    Refused(Class),
}

/// The disk, its snapshots, and the backup, as anybody would write them down.
#[derive(Default)]
struct Naive {
    disk: Vec<u8>,
    /// What every snapshot ever taken holds, a byte for each page.
    images: BTreeMap<String, Vec<u8>>,
    /// Those that still exist, oldest first.
    snapshots: Vec<String>,
    /// The source snapshots that have points, oldest first.
    points: Vec<String>,
    /// A sync died, so the target may be between two points.
    torn: bool,
}

impl Naive {
    fn set(&mut self, at: usize, n: usize, byte: u8) {
        for page in at..(at + n).min(self.disk.len()) {
            self.disk[page] = byte;
        }
    }

    /// Whether points could be these after a sync that died, however far it had got: those that there were, and newer
    /// ones in order. What they hold is compared as ever.
    fn is_plausible(&self, made: &[String]) {
        let known = made.iter().all(|id| self.images.contains_key(id));
        assert!(made.starts_with(&self.points) && made.is_sorted() && known, "{made:?} after {:?}", self.points);
    }

    /// The points after a sync, and how it ends.
    fn sync(&self, want: &Op) -> (Vec<String>, Comes) {
        let mut points = self.points.clone();
        let newest = points.last().cloned().unwrap_or_default();
        let newer: Vec<String> = self.snapshots.iter().filter(|id| **id > newest).cloned().collect();
        let steps = match want {
            Op::SyncLatest => newer.last().cloned().into_iter().collect(),
            Op::SyncTo(at) => {
                let asked = self.snapshots.get(at % self.snapshots.len().max(1)).map_or(NEVER_TAKEN, String::as_str);
                if asked < newest.as_str() {
                    return (points, Comes::Refused(Class::Configuration));
                }
                if asked == NEVER_TAKEN {
                    return (points, Comes::Refused(Class::NotFound));
                }
                newer.into_iter().filter(|id| id == asked).collect()
            }
            _ => newer,
        };
        if points.is_empty() && steps.is_empty() {
            return (points, Comes::Refused(Class::NotFound));
        }
        let needs_parent = !points.is_empty() && (!steps.is_empty() || self.torn);
        if needs_parent && !self.snapshots.contains(&newest) {
            return (points, Comes::Refused(Class::ChainBroken));
        }
        points.extend(steps);
        (points, Comes::Fine)
    }
}

struct Beside {
    world: Arc<World>,
    naive: Naive,
    restored: usize,
}

impl Beside {
    async fn new() -> Beside {
        let world = World::new().await;
        world.make("disk", PAGES as u64).await;
        Beside { world, naive: Naive { disk: vec![0; PAGES], ..Naive::default() }, restored: 0 }
    }

    async fn step(&mut self, op: &Op) {
        let (world, naive) = (&self.world, &mut self.naive);
        match *op {
            Op::Write(at, n, byte) => {
                let end = (at + n).min(naive.disk.len());
                naive.set(at, n, byte);
                world.write("disk", at as u64, end as u64, byte).await;
            }
            Op::Clear(at, n) => {
                let end = (at + n).min(naive.disk.len());
                naive.set(at, n, 0);
                world.clear("disk", at as u64, end as u64).await;
            }
            Op::Grow(n) => {
                naive.disk.resize((naive.disk.len() + n).min(ROOM), 0);
                world.resize("disk", naive.disk.len() as u64).await;
            }
            Op::Snapshot => {
                let id = world.snapshot("disk").await.to_string();
                naive.images.insert(id.clone(), naive.disk.clone());
                naive.snapshots.push(id);
            }
            Op::Forget(at) => {
                if !naive.snapshots.is_empty() {
                    let id = naive.snapshots.remove(at % naive.snapshots.len());
                    world.forget("disk", &SnapshotId::new(&id)).await;
                }
            }
            Op::SyncNext | Op::SyncLatest | Op::SyncTo(_) => self.sync(op).await,
            Op::Interrupted(at, how) => self.interrupted(at, how).await,
            Op::Restore(at) => self.restore(at).await,
            Op::Hour => tokio::time::sleep(std::time::Duration::from_secs(3600)).await,
        }
    }

    async fn sync(&mut self, op: &Op) {
        let naive = &mut self.naive;
        let want = match op {
            Op::SyncLatest => Want::Latest,
            Op::SyncTo(at) if !naive.snapshots.is_empty() => {
                Want::To(SnapshotId::new(&naive.snapshots[at % naive.snapshots.len()]))
            }
            Op::SyncTo(_) => Want::To(SnapshotId::new(NEVER_TAKEN)),
            _ => Want::Next,
        };
        let (points, comes) = naive.sync(op);
        let mut result = self.world.process().sync_alive("disk", "backup", want.clone()).await;
        if result.as_ref().is_err_and(|error| error.class() == Class::Busy) {
            // A renewal of the dead process that arrived late keeps its lease for longer than anybody waits.
            tokio::time::sleep(std::time::Duration::from_secs(120)).await;
            result = self.world.process().sync_alive("disk", "backup", want).await;
        }
        let came = match &result {
            Ok(_) => Comes::Fine,
            Err(error) => Comes::Refused(error.class()),
        };
        if !naive.torn {
            assert_eq!(came, comes, "{op:?} came to {result:?}");
            naive.points = points;
            return;
        }
        // Only a sync that died knows whether it had begun to write, and whether only its point was missing. Then the
        // next one makes that point before it looks at what it was asked for, which may now be older.
        let made = self.points().await;
        let naive = &mut self.naive;
        naive.is_plausible(&made);
        let finished = made.len() > naive.points.len();
        if came == Comes::Fine {
            assert!(made.last() >= points.last(), "{op:?} of a torn target made {made:?}, expected {points:?}");
        }
        let chain = came == Comes::Fine || came == Comes::Refused(Class::ChainBroken);
        let older = finished && came == Comes::Refused(Class::Configuration);
        assert!(came == comes || chain || older, "{op:?} came to {result:?}, expected {comes:?}");
        naive.torn = came != Comes::Fine;
        naive.points = made;
    }

    async fn interrupted(&mut self, at: u64, how: u8) {
        let late = std::time::Duration::from_secs(if how == 2 { 29 } else { 100 });
        let fates = [Fate::DeathBefore, Fate::DeathAfter, Fate::DeathAndLate(late)];
        let fate = fates[usize::from(how) % 3];
        let process = self.world.process_with(move |number, _, _| if number == at { fate } else { Fate::Answered });
        let (expected, comes) = self.naive.sync(&Op::SyncNext);
        let result = process.sync("disk", "backup", Want::Next).await;
        let made = self.points().await;
        if self.naive.torn {
            self.naive.is_plausible(&made);
        } else {
            assert!(expected.starts_with(&made), "points {made:?}, expected the first of {expected:?}");
        }
        match result {
            None => self.naive.torn = true,
            Some(Ok(_)) => self.naive.torn = false,
            Some(Err(error)) => {
                let busy = error.class() == Class::Busy;
                assert!(busy || self.naive.torn || comes == Comes::Refused(error.class()), "{error}");
            }
        }
        self.naive.points = made;
    }

    async fn restore(&mut self, at: usize) {
        let points = &self.naive.points;
        let Some(id) = points.get(at % points.len().max(1)) else { return };
        let name = format!("restored{}", self.restored);
        self.restored += 1;
        let process = self.world.process();
        let point = find_point(&process.blob("backup", Side::Target), id).await.expect("the point");
        restore(&process.engine("backup", &name), &point, false).await.expect("a restore");
        assert_eq!(pages(&self.world.image(&name, None).await), self.naive.images[id], "the restore of {id}");
    }

    /// What the points name, each once; a torn target may have been brought back to a point it already had.
    async fn points(&self) -> Vec<String> {
        if self.world.raw("HEAD", "disks/backup", &[], &[]).await.status != 200 {
            return Vec::new();
        }
        let mut names: Vec<String> =
            self.world.proven_points("backup").await.into_iter().map(|(source, _)| source.to_string()).collect();
        names.dedup();
        names
    }

    async fn compare(&mut self) {
        assert_eq!(pages(&self.world.image("disk", None).await), self.naive.disk, "the disk");
        let made = self.points().await;
        if self.naive.torn && made.len() == self.naive.points.len() + 1 && made.starts_with(&self.naive.points) {
            // The snapshot that the dead process had asked for arrived.
            self.naive.points.clone_from(&made);
        }
        assert_eq!(made, self.naive.points, "the points");
        for (source, point) in
            if self.naive.points.is_empty() { Vec::new() } else { self.world.proven_points("backup").await }
        {
            let image = pages(&self.world.image("backup", Some(&point)).await);
            assert_eq!(image, self.naive.images[source.as_str()], "point {point} of {source}");
        }
        if let Some(newest) = self.naive.points.last().filter(|_| !self.naive.torn) {
            assert_eq!(pages(&self.world.image("backup", None).await), self.naive.images[newest], "the base");
        }
    }
}

/// A byte for each page; every page is the same byte all over.
fn pages(image: &[u8]) -> Vec<u8> {
    image
        .chunks(512)
        .map(|page| {
            assert!(page.iter().all(|byte| *byte == page[0]), "a page of two writes");
            page[0]
        })
        .collect()
}

fn run(ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut beside = Beside::new().await;
        for op in ops {
            beside.step(op).await;
            beside.compare().await;
        }
        // In the end a sync that nobody disturbs is right about everything.
        beside.step(&Op::Hour).await;
        beside.step(&Op::SyncNext).await;
        beside.compare().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_system_does_what_the_naive_disk_does(ops in ops()) {
        run(&ops);
    }
}

#[test]
fn the_snapshot_of_an_interrupted_step_is_deleted_and_its_pages_are_set_right() {
    run(&[
        Op::Write(0, 20, 1),
        Op::Snapshot,
        Op::SyncNext,
        Op::Write(5, 10, 2),
        Op::Snapshot,
        Op::Interrupted(30, 1),
        Op::Write(5, 10, 1),
        Op::Forget(1),
        Op::Clear(30, 2),
        Op::Snapshot,
        Op::SyncNext,
    ]);
}

#[test]
fn a_point_that_only_lacked_its_snapshot_is_made_before_anything_else() {
    run(&[
        Op::Snapshot,
        Op::SyncNext,
        Op::Write(2, 7, 0),
        Op::Snapshot,
        Op::Interrupted(7, 0),
        Op::Interrupted(57, 0),
        Op::SyncTo(0),
    ]);
}

#[test]
fn written_zeros_and_cleared_pages_read_alike_and_restore_alike() {
    run(&[
        Op::Write(0, 20, 0),
        Op::Write(10, 20, 3),
        Op::Snapshot,
        Op::SyncNext,
        Op::Clear(5, 20),
        Op::Write(12, 2, 0),
        Op::Grow(7),
        Op::Snapshot,
        Op::SyncNext,
        Op::Restore(0),
        Op::Restore(1),
    ]);
}
