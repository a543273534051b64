//! Which step comes next: a pure decision from what the target says and what the source offers.

use crate::lineage::{DiskId, Seal, SnapshotRef, State};
use crate::names::{Etag, Metadata, SnapshotId};
use crate::page::{BLOB_BYTES_MAX, PAGE_BYTES, Pages};
use crate::words::StateError;

/// A resize across 4 TB makes the service forget how to difference (protocol rule 23). Whether decimal or binary is meant
/// is not documented, so both count, and a footer may come on top.
const BOUNDARY_BYTES: [u64; 2] = [4_000_000_000_000 + PAGE_BYTES, (4 << 40) + PAGE_BYTES];

/// A snapshot of the target that is byte-identical to the source snapshot it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// The target snapshot.
    pub id: SnapshotId,
    /// Its entity tag: that of the base when it was taken.
    pub etag: Etag,
    /// Its size.
    pub size: Pages,
    /// Its lineage.
    pub seal: Seal,
}

/// The points among a target's snapshots, given oldest first as name, tag, size and metadata.
///
/// Snapshots without our seal are not ours and are passed over. Of two with the same run, left by a repeated Snapshot
/// Blob, the older is the point.
///
/// # Errors
/// The snapshot whose words are ours but cannot be read: to pass it over would be to guess.
pub fn points<'a>(
    snapshots: impl IntoIterator<Item = (&'a SnapshotId, &'a Etag, Pages, &'a Metadata)>,
) -> Result<Vec<Point>, (SnapshotId, StateError)> {
    let mut points: Vec<Point> = Vec::new();
    for (id, etag, size, metadata) in snapshots {
        let Some(State::Sealed(seal)) = State::from_metadata(metadata).map_err(|error| (id.clone(), error))? else {
            continue;
        };
        if points.iter().all(|point| point.seal.run != seal.run) {
            points.push(Point { id: id.clone(), etag: etag.clone(), size, seal });
        }
    }
    Ok(points)
}

/// What there is of a target.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// What it says of itself; `None` where it says nothing of ours.
    pub state: Option<State>,
    /// Its points, oldest first.
    pub points: Vec<Point>,
}

/// A source snapshot on offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The snapshot.
    pub at: SnapshotRef,
    /// Its size.
    pub size: Pages,
    /// Its family, where the service says: only between snapshots of one are there differences.
    pub family: Option<String>,
}

/// What there is of a source.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Which disk it is.
    pub disk: DiskId,
    /// Its snapshots, oldest first.
    pub offers: Vec<Offer>,
}

/// Where the caller wants to get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    /// To the next newer snapshot; a seed starts from the oldest.
    Next,
    /// To the newest in one step.
    Latest,
    /// To this snapshot in one step.
    To(SnapshotId),
}

/// One step to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The newest point, whose source snapshot is differenced from; `None` for a seed.
    pub from: Option<Point>,
    /// The source snapshot to copy.
    pub to: Offer,
    /// What is on the target already.
    pub start: Start,
}

/// How a step starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// The target equals its newest point, or is new.
    Clean,
    /// The very same step was under way: with evidence, it goes on at this watermark.
    Resume(Pages),
    /// The target holds parts of something else since its newest point.
    Dirty,
    /// It is not known what the target holds, nor whether its tracker would tell: everything is compared, and what differs
    /// is written.
    Doubted,
    /// The chain of differences is broken and shall begin anew on the same target: everything is compared, and what
    /// differs is written.
    Reseed,
    /// The target shall belong to another disk, whose snapshot equals its newest point: nothing is written, everything is
    /// compared.
    Adopt,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The newest point is the snapshot wanted.
    UpToDate(Point),
    /// Everything is written and sealed; only the snapshot of the target is missing.
    Finish(Seal),
    /// A step.
    Step(Box<Step>),
}

/// Why there is no next step, in words for people, each with its way out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Conflict {
    /// A blob that is no target of ours.
    #[error(
        "the target exists but carries no pageferry metadata, so it is not ours to write: name another target blob, or \
         delete this one yourself if it can go"
    )]
    NotOurs,
    /// Another disk's backup.
    #[error("the target holds the backup of another disk, {have}: give this disk a target of its own ({got})")]
    OtherDisk {
        /// The disk in the target's metadata.
        have: DiskId,
        /// The disk asked for.
        got: DiskId,
    },
    /// The same address, created again.
    #[error(
        "the source was created again since the newest point (now {got}, then {have}), so the service cannot difference \
         it: `sync --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    Recreated {
        /// The disk in the target's metadata.
        have: DiskId,
        /// The disk at the same address now.
        got: DiskId,
    },
    /// Asked to go back.
    #[error(
        "source snapshot {asked} is older than {newest}, which the target's newest point already holds: points are made in \
         order, restore an older one instead"
    )]
    OutOfOrder {
        /// The snapshot asked for.
        asked: SnapshotId,
        /// The source snapshot of the newest point.
        newest: SnapshotId,
    },
    /// The snapshot to difference from is gone.
    #[error(
        "source snapshot {0}, from which the next difference must start, no longer exists: the chain is broken; \
         `sync --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    ParentGone(SnapshotId),
    /// A snapshot of that name with other content.
    #[error(
        "source snapshot {0} is not the one the newest point was made from (its ETag differs): the chain is broken; \
         `sync --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    ParentReplaced(SnapshotId),
    /// Not on offer.
    #[error("the source has no snapshot {0}: `--to` takes the exact name of an existing one")]
    NoSuchSnapshot(SnapshotId),
    /// Nothing to copy.
    #[error("the source has no snapshots: take one first with `pageferry snapshot`")]
    NoSnapshots,
    /// Smaller than before.
    #[error(
        "the source shrank from {from_bytes} to {to_bytes} bytes since the newest point, which a difference cannot \
         express safely: `sync --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    Shrunk {
        /// The newest point's size.
        from_bytes: u64,
        /// The source snapshot's size.
        to_bytes: u64,
    },
    /// Too large for a page blob.
    #[error("the source has {0} bytes, and a page blob holds at most 8 TiB ({BLOB_BYTES_MAX} bytes)")]
    TooLarge(u64),
    /// The tracker forgets across this size.
    #[error(
        "the source grew across 4 TiB (from {from_bytes} to {to_bytes} bytes), across which the service gives no \
         difference: `sync --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    AcrossBoundary {
        /// The newest point's size.
        from_bytes: u64,
        /// The source snapshot's size.
        to_bytes: u64,
    },
    /// The service has no record of what changes in it.
    #[error(
        "{0} was made before 2016 and cannot be differenced: `sync --reseed` compares everything and goes on with the same \
         target, whose points stay"
    )]
    NoDifferences(DiskId),
    /// The service keeps the snapshots of the disk in another place since.
    #[error(
        "source snapshots {from} and {to} are of two families, between which the service gives no difference: `sync \
         --reseed` compares everything and goes on with the same target, whose points stay"
    )]
    OtherFamily {
        /// The source snapshot of the newest point.
        from: SnapshotId,
        /// The one to copy.
        to: SnapshotId,
    },
}

/// Whether a resize across 4 TB lies between snapshots of these sizes, footers included, wherever the service draws the line.
pub fn crosses_boundary(from_bytes: u64, to_bytes: u64) -> bool {
    let [decimal, binary] = BOUNDARY_BYTES;
    from_bytes != to_bytes && from_bytes <= binary && to_bytes > decimal
}

/// The next step from what is there.
///
/// `target` is `None` where there is no blob yet. `evidence` says whether it is sure that nobody touched the target
/// since our last words on it; without it, a sealed target whose snapshot is missing counts as dirty.
///
/// # Errors
/// A [`Conflict`] that a person must resolve.
pub fn next_step(
    target: Option<&TargetView>,
    source: &SourceView,
    want: &Want,
    evidence: bool,
) -> Result<Decision, Conflict> {
    let Some(target) = target else {
        let to = wanted(None, source, want)?.ok_or(Conflict::NoSnapshots)?;
        return fitting(Step { from: None, to, start: Start::Clean });
    };
    let Some(state) = &target.state else { return Err(Conflict::NotOurs) };
    same_disk(state.disk(), &source.disk)?;
    let newest = target.points.last();
    if let State::Sealed(seal) = state {
        let has_point = target.points.iter().any(|point| point.seal.run == seal.run);
        if !has_point && evidence {
            return Ok(Decision::Finish(seal.clone()));
        }
    }
    let dirty = match state {
        State::Sealed(seal) | State::Restored(seal) => newest.is_none_or(|point| point.seal.run != seal.run),
        State::Applying(_) => true,
    };
    let to = match (wanted(newest, source, want)?, newest, state) {
        (Some(to), _, _) => to,
        (None, Some(point), State::Sealed(_) | State::Restored(_)) if !dirty => {
            return Ok(Decision::UpToDate(point.clone()));
        }
        // Nothing newer is on offer, yet the target is in the middle of something: only its own newest source snapshot
        // can bring it back to a point.
        (None, Some(point), _) => offered(source, &point.seal.snapshot)?,
        (None, None, _) => return Err(Conflict::NoSnapshots),
    };
    if let Some(point) = newest {
        let parent = offered(source, &point.seal.snapshot)?;
        if parent.family != to.family {
            return Err(Conflict::OtherFamily { from: parent.at.id, to: to.at.id });
        }
        if parent.at != to.at && !source.disk.has_differences() {
            return Err(Conflict::NoDifferences(source.disk.clone()));
        }
    }
    let start = match state {
        State::Sealed(_) | State::Restored(_) if !dirty => Start::Clean,
        State::Applying(mark) if !mark.known => Start::Doubted,
        State::Applying(mark) if mark.to == to.at && mark.from.as_ref() == newest.map(|point| &point.seal.snapshot) => {
            Start::Resume(mark.watermark)
        }
        _ => Start::Dirty,
    };
    fitting(Step { from: newest.cloned(), to, start })
}

impl Conflict {
    /// Whether seeding anew, over what the target holds, would resolve it.
    pub fn is_broken_chain(&self) -> bool {
        matches!(
            self,
            Conflict::Recreated { .. }
                | Conflict::ParentGone(_)
                | Conflict::ParentReplaced(_)
                | Conflict::Shrunk { .. }
                | Conflict::AcrossBoundary { .. }
                | Conflict::NoDifferences(_)
                | Conflict::OtherFamily { .. }
        )
    }

    /// Whether the service itself broke the chain, of one and the same disk, as it is documented to do: then nothing is
    /// amiss that a person would have to look at before everything is compared.
    pub fn is_expected(&self) -> bool {
        matches!(self, Conflict::AcrossBoundary { .. } | Conflict::NoDifferences(_) | Conflict::OtherFamily { .. })
    }
}

/// The step that begins a broken chain anew on a target that keeps its points.
///
/// # Errors
/// A [`Conflict`] that seeding anew does not resolve: the target is not ours or another disk's, or there is nothing newer
/// on offer than its newest point.
pub fn reseed_step(target: &TargetView, source: &SourceView, want: &Want) -> Result<Step, Conflict> {
    let Some(state) = &target.state else { return Err(Conflict::NotOurs) };
    match same_disk(state.disk(), &source.disk) {
        Ok(()) | Err(Conflict::Recreated { .. }) => {}
        Err(other) => return Err(other),
    }
    let newest = target.points.last();
    let to = wanted(newest, source, want)?.ok_or(Conflict::NoSnapshots)?;
    if to.size.bytes() > BLOB_BYTES_MAX {
        return Err(Conflict::TooLarge(to.size.bytes()));
    }
    Ok(Step { from: newest.cloned(), to, start: Start::Reseed })
}

/// The step that brings a target that was changed outside back to its newest point.
///
/// # Errors
/// A [`Conflict`] where the source no longer has the snapshot of that point.
pub fn repair_step(newest: &Point, source: &SourceView) -> Result<Step, Conflict> {
    let to = offered(source, &newest.seal.snapshot)?;
    Ok(Step { from: Some(newest.clone()), to, start: Start::Doubted })
}

/// The snapshot to go to, or `None` where the newest point already holds it.
fn wanted(newest: Option<&Point>, source: &SourceView, want: &Want) -> Result<Option<Offer>, Conflict> {
    let held = newest.map(|point| &point.seal.snapshot.id);
    let newer = |offer: &&Offer| held.is_none_or(|held| offer.at.id > *held);
    match want {
        Want::Next => Ok(source.offers.iter().find(newer).cloned()),
        Want::Latest => Ok(source.offers.iter().rfind(newer).cloned()),
        Want::To(asked) => match held {
            Some(held) if asked < held => Err(Conflict::OutOfOrder { asked: asked.clone(), newest: held.clone() }),
            Some(held) if asked == held => Ok(None),
            _ => match source.offers.iter().find(|offer| offer.at.id == *asked) {
                Some(offer) => Ok(Some(offer.clone())),
                None => Err(Conflict::NoSuchSnapshot(asked.clone())),
            },
        },
    }
}

/// The offer that is exactly `wanted`.
fn offered(source: &SourceView, wanted: &SnapshotRef) -> Result<Offer, Conflict> {
    let offer = source.offers.iter().find(|offer| offer.at.id == wanted.id);
    let offer = offer.ok_or_else(|| Conflict::ParentGone(wanted.id.clone()))?;
    if offer.at.etag == wanted.etag { Ok(offer.clone()) } else { Err(Conflict::ParentReplaced(wanted.id.clone())) }
}

fn same_disk(have: &DiskId, got: &DiskId) -> Result<(), Conflict> {
    if have == got {
        return Ok(());
    }
    let (have, got) = (have.clone(), got.clone());
    // Of a disk that is known by URLs alone the time of its creation is all that is known.
    Err(if have.address() == got.address() && have.address().contains('/') {
        Conflict::Recreated { have, got }
    } else {
        Conflict::OtherDisk { have, got }
    })
}

fn fitting(step: Step) -> Result<Decision, Conflict> {
    let to_bytes = step.to.size.bytes();
    if to_bytes > BLOB_BYTES_MAX {
        return Err(Conflict::TooLarge(to_bytes));
    }
    if let Some(from) = &step.from {
        let from_bytes = from.size.bytes();
        if to_bytes < from_bytes {
            return Err(Conflict::Shrunk { from_bytes, to_bytes });
        }
        if crosses_boundary(from_bytes, to_bytes) {
            return Err(Conflict::AcrossBoundary { from_bytes, to_bytes });
        }
    }
    Ok(Decision::Step(Box::new(step)))
}

#[cfg(test)]
mod tests;
