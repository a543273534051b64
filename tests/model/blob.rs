//! The service, as far as a target needs it: pages, a lease, a sequence number, metadata, snapshots with lineage.
//!
//! **Tags** are not numbers here. All a tag is ever compared with is the base's tag at that moment, and a tag that has
//! been overtaken never comes back, so each holder of a tag keeps one bit: is it still the base's? Whatever changes the
//! base clears all these bits ([`Effect::Changed`]). **Epochs** are likewise kept relative to the sequence number
//! ([`Age`]), and **ids** are renamed in the order they are met. So two histories that no request can tell apart are one
//! state.

use crate::source::{self, Pages, Set, bit, content};

/// A run, and the lease it holds: both are fresh for each step. Small numbers, renamed as the world moves.
pub type Id = u8;

/// No id.
pub const NOBODY: Id = 0;
/// The lease id that a weakened rule derives from the target's name.
pub const DERIVED: Id = 1;
/// From here on ids are renamed.
pub const FIRST: Id = 2;

/// An epoch, relative to the sequence number of the base.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Age {
    /// Below it: such a write is refused for ever.
    Past,
    /// Equal to it.
    Now,
    /// One above it: what a run that is about to raise it wants it to be.
    Next,
}

impl Age {
    /// After the sequence number was raised by one.
    pub fn later(self) -> Age {
        match self {
            Age::Past | Age::Now => Age::Past,
            Age::Next => Age::Now,
        }
    }
}

/// The lease of the base.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lease {
    /// Nobody holds it, or the last one was given back, or somebody wrote after it had ended.
    Available,
    /// Held.
    Leased(Id),
    /// Ran out, and nobody has written since.
    Expired(Id),
    /// Was broken, and nobody has written since.
    Broken,
}

impl Lease {
    /// Whether it has ended and nobody has written since.
    pub fn has_ended(self) -> bool {
        matches!(self, Lease::Expired(_) | Lease::Broken)
    }
}

/// What the metadata says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Words {
    /// A step is under way.
    Applying {
        /// The source snapshot of the newest point.
        from: u8,
        /// The source snapshot being copied.
        to: u8,
        /// Every change of this step below this page is durable.
        watermark: u8,
    },
    /// The base equals this source snapshot.
    Sealed(u8),
}

/// The metadata.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Meta {
    /// What it says.
    pub words: Words,
    /// The run that says it.
    pub run: Id,
    /// The lease it is said under.
    pub lease: Id,
    /// That run's epoch.
    pub epoch: Age,
}

/// A snapshot of the base with our lineage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Point {
    /// The source snapshot it names.
    pub names: u8,
    /// The run it names.
    pub run: Id,
    /// Its tag is the base's.
    pub tag: bool,
    /// The pages of the base that were touched since.
    pub touched: Set,
}

/// The target.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Blob {
    /// The base's content.
    pub pages: Pages,
    /// The base's lease.
    pub lease: Lease,
    /// The base's metadata.
    pub meta: Meta,
    /// The points, oldest first, as `points()` of `core/src/next.rs` has them: of two with one run, the older.
    pub points: Vec<Point>,
    /// Some point was made whose content is not that of the source snapshot it names.
    pub wrong_point: bool,
}

/// A request that changes something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Request {
    /// The lease id it carries.
    pub lease: Option<Id>,
    /// The tag it is conditional on.
    pub tag: Option<bool>,
    /// The epoch it is conditional on.
    pub epoch: Option<Age>,
    /// What it does.
    pub what: What,
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum What {
    /// Lease Blob: acquire.
    Acquire(Id),
    /// Lease Blob: change to this id.
    Change(Id),
    /// Lease Blob: renew.
    Renew,
    /// Lease Blob: release.
    Release,
    /// Lease Blob: break with period 0. It needs no id.
    Break,
    /// Set Blob Properties: sequence number, action `max`.
    Raise(Age),
    /// Set Blob Metadata.
    Say(Meta),
    /// Put Page, or its clear where the value is zero.
    Put {
        /// The page.
        page: u8,
        /// What it shall hold.
        value: u8,
    },
    /// Snapshot Blob; with metadata of its own only by a weakened rule.
    Snapshot(Option<Meta>),
}

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 409: the lease is held by somebody else.
    Busy,
    /// 412: lease or sequence number.
    Fenced,
    /// 412: the tag.
    Changed,
}

/// What a request did to the base, as far as others must hear of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Its tag stayed.
    Unchanged,
    /// It has a new tag.
    Changed,
    /// It has a new tag, and its sequence number is one higher.
    Raised,
}

impl Blob {
    /// A target whose newest point is source snapshot `at`.
    pub fn sealed(at: u8) -> Blob {
        let meta = Meta { words: Words::Sealed(at), run: FIRST, lease: FIRST, epoch: Age::Now };
        let point = Point { names: at, run: FIRST, tag: true, touched: 0 };
        Blob { pages: content(at), lease: Lease::Available, meta, points: vec![point], wrong_point: false }
    }

    /// The newest point. There always is one: the model starts after the seed.
    pub fn newest(&self) -> Point {
        self.points[self.points.len() - 1]
    }

    /// The base's own difference since the point that `run` made.
    pub fn touched_since(&self, run: Id) -> Set {
        self.points.iter().find(|point| point.run == run).map_or(source::ALL, |point| point.touched)
    }

    /// Whether the base says it is sealed and its point exists.
    pub fn has_its_point(&self) -> bool {
        matches!(self.meta.words, Words::Sealed(_)) && self.points.iter().any(|point| point.run == self.meta.run)
    }

    /// `Found::is_clean` of `replicate/src/look.rs`.
    pub fn is_clean(&self) -> bool {
        let newest = self.newest();
        matches!(self.meta.words, Words::Sealed(_)) && newest.run == self.meta.run && newest.tag
    }

    /// Whether the conditions of `request` hold now.
    pub fn admits(&self, request: &Request) -> Result<(), Refusal> {
        let held = match (request.what, request.lease) {
            (What::Acquire(id), _) => match self.lease {
                Lease::Leased(holder) if holder != id => return Err(Refusal::Busy),
                _ => true,
            },
            (What::Change(to), Some(id)) => self.lease == Lease::Leased(id) || self.lease == Lease::Leased(to),
            (What::Renew | What::Release, Some(id)) => {
                self.lease == Lease::Leased(id) || self.lease == Lease::Expired(id)
            }
            (What::Break, _) => self.lease != Lease::Available,
            // Snapshot Blob is the one change that a leased blob lets anybody make.
            (What::Snapshot(_), None) => true,
            (_, Some(id)) => self.lease == Lease::Leased(id),
            (_, None) => !matches!(self.lease, Lease::Leased(_)),
        };
        if !held || request.epoch.is_some_and(|epoch| epoch != Age::Now) {
            return Err(Refusal::Fenced);
        }
        if request.tag == Some(false) { Err(Refusal::Changed) } else { Ok(()) }
    }

    /// Carries out `request`, whose conditions have been checked, now or earlier.
    pub fn apply(&mut self, request: &Request) -> Effect {
        match request.what {
            What::Acquire(id) | What::Change(id) => self.lease = Lease::Leased(id),
            What::Renew => {
                if let Lease::Expired(id) = self.lease {
                    self.lease = Lease::Leased(id);
                }
            }
            What::Release => self.lease = Lease::Available,
            What::Break => self.lease = Lease::Broken,
            What::Snapshot(own) => self.snapshot(own),
            What::Raise(age) => {
                self.written(request);
                return if age == Age::Next { Effect::Raised } else { Effect::Changed };
            }
            What::Say(meta) => {
                self.written(request);
                self.meta = meta;
                return Effect::Changed;
            }
            What::Put { page, value } => {
                self.written(request);
                self.pages[usize::from(page)] = value;
                self.points.iter_mut().for_each(|point| point.touched |= bit(page));
                return Effect::Changed;
            }
        }
        Effect::Unchanged
    }

    /// A write without a lease id turns a lease that has ended into one that is available.
    fn written(&mut self, request: &Request) {
        if request.lease.is_none() && self.lease.has_ended() {
            self.lease = Lease::Available;
        }
    }

    fn snapshot(&mut self, own: Option<Meta>) {
        let meta = own.unwrap_or(self.meta);
        let Words::Sealed(names) = meta.words else { return };
        if self.points.iter().any(|point| point.run == meta.run) {
            return;
        }
        self.wrong_point |= self.pages != content(names);
        self.points.push(Point { names, run: meta.run, tag: own.is_none(), touched: 0 });
    }

    /// The pages where the lists of both sides do not prove the base right: `is_settled` of `replicate/src/gate.rs`.
    pub fn doubted(&self, from: u8, to: u8, since: Id) -> Set {
        let (wanted, done, there) = (source::difference(from, to), self.touched_since(since), content(to));
        source::set(|page| {
            let (allocated_there, allocated_here) = (there[page] != 0, self.pages[page] != 0);
            let differ = (wanted ^ done) & (1 << page) != 0;
            allocated_there != allocated_here || differ && allocated_here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(lease: Option<Id>) -> Request {
        Request { lease, tag: None, epoch: None, what: What::Put { page: 0, value: 7 } }
    }

    #[test]
    fn a_write_without_the_lease_spoils_the_evidence_and_one_with_it_is_refused() {
        let mut blob = Blob { lease: Lease::Expired(5), ..Blob::sealed(0) };
        assert_eq!(blob.admits(&put(Some(5))), Err(Refusal::Fenced));
        assert_eq!(blob.admits(&put(None)), Ok(()));
        assert_eq!(blob.apply(&put(None)), Effect::Changed);
        assert_eq!((blob.lease, blob.newest().touched), (Lease::Available, 0b01));
        assert_eq!(Blob { lease: Lease::Leased(5), ..blob }.admits(&put(None)), Err(Refusal::Fenced));
    }

    #[test]
    fn of_two_snapshots_with_one_run_the_older_is_the_point() {
        let mut blob = Blob::sealed(1);
        let snapshot = Request { lease: None, tag: None, epoch: None, what: What::Snapshot(None) };
        blob.pages = [9, 9];
        blob.apply(&snapshot);
        assert_eq!((blob.points.len(), blob.wrong_point), (1, false));
        blob.meta.run += 1;
        blob.apply(&snapshot);
        assert_eq!((blob.points.len(), blob.wrong_point), (2, true));
    }

    #[test]
    fn the_gate_doubts_what_the_lists_do_not_prove() {
        let mut blob = Blob::sealed(1);
        assert_eq!(blob.doubted(1, 2, FIRST), 0b11, "nothing done yet");
        blob.pages = content(2);
        blob.points[0].touched = 0b11;
        assert_eq!(blob.doubted(1, 2, FIRST), 0);
        assert_eq!(
            blob.doubted(1, 3, FIRST),
            0b11,
            "a page touched that nobody wanted, one allocated on one side only"
        );
    }
}
