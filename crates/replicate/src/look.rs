//! Looking, before anything is written: what there is, and whether the service can be trusted with differences.

use pageferry_core::lineage::{DiskId, Mark, SnapshotRef, State};
use pageferry_core::next::{Offer, Point, SourceView, TargetView, points};
use pageferry_core::words::StateError;
use pageferry_core::{PageRange, Pages, SnapshotId};
use pageferry_store::{Ask, ErrorKind, Properties, Source, StoreError, View};

use crate::error::ReplicateError;

/// The picture that a step copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// The snapshot of the blob that is read.
    pub id: SnapshotId,
    /// The earlier snapshot of the same blob to difference from; `None` to copy all that is allocated.
    pub since: Option<SnapshotId>,
    /// Its size.
    pub size: Pages,
}

/// A target as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the service says about the base.
    pub properties: Properties,
    /// What the base says of itself, and its points.
    pub view: TargetView,
    /// How many snapshots it has, points or not.
    pub snapshots: usize,
}

impl Found {
    /// Whether the base says that it equals `newest`, its newest point.
    pub(crate) fn is_at(&self, newest: &Point) -> bool {
        matches!(&self.view.state, Some(State::Sealed(seal) | State::Restored(seal)) if seal.run == newest.seal.run)
    }

    /// Whether the base is byte-identical to its newest point, by the tamper seal: the tag of a snapshot taken without
    /// metadata is the base's, and every write changes the base's.
    pub fn is_clean(&self) -> bool {
        let newest = self.view.points.last();
        let Some(State::Sealed(seal)) = &self.view.state else { return false };
        newest.is_some_and(|point| point.seal.run == seal.run && point.etag == self.properties.etag)
    }
}

/// What there is of a target; `None` where there is no blob.
///
/// # Errors
/// Of the service, and [`ReplicateError::State`] for words that cannot be trusted.
pub async fn target(blob: &impl Source) -> Result<Option<Found>, ReplicateError> {
    let properties = match blob.properties(&View::Base).await {
        Ok(properties) => properties,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let said = State::from_metadata(&properties.metadata);
    // A base that was overwritten has lost its words; its snapshots have not (protocol rule 46).
    let snapshots = blob.snapshots().await?;
    let (points, snapshots) = (points_among(blob, &snapshots)?, snapshots.len());
    let state = match (said, points.last()) {
        // The base can always be brought back to the disk of its newest point; a newer version's words are not damaged.
        (Err(StateError::Damaged(_)), Some(newest)) => Some(State::Applying(Mark::after_damage(&newest.seal))),
        (said, _) => said.map_err(|error| ReplicateError::State { target: blob.address(), error })?,
    };
    Ok(Some(Found { properties, view: TargetView { state, points }, snapshots }))
}

/// The points of a target, oldest first.
///
/// # Errors
/// Of the service, and [`ReplicateError::State`] for a snapshot whose words cannot be trusted.
pub async fn points_of(blob: &impl Source) -> Result<Vec<Point>, ReplicateError> {
    points_among(blob, &blob.snapshots().await?)
}

fn points_among(blob: &impl Source, snapshots: &[pageferry_store::Snapshot]) -> Result<Vec<Point>, ReplicateError> {
    points(snapshots.iter().map(|one| (&one.id, &one.etag, one.size, &one.metadata)))
        .map_err(|(id, error)| ReplicateError::State { target: format!("{}, snapshot {id}", blob.address()), error })
}

/// What there is of a source.
///
/// # Errors
/// Of the service.
pub async fn source(blob: &impl Source) -> Result<SourceView, StoreError> {
    let properties = blob.properties(&View::Base).await?;
    let snapshots = blob.snapshots().await?;
    let offer = |one: pageferry_store::Snapshot| Offer {
        at: SnapshotRef { id: one.id, etag: one.etag },
        size: one.size,
        family: one.family,
    };
    Ok(SourceView {
        disk: DiskId::new(&blob.address(), &properties.created),
        offers: snapshots.into_iter().map(offer).collect(),
    })
}

/// Asks for a difference that cannot exist. A service that answers anything but 409 `PreviousSnapshotNotFound` ignores
/// the question, and would silently give full lists for differences.
///
/// # Errors
/// [`ReplicateError::Untrusted`], or a failure that has nothing to do with the question.
pub async fn probe(blob: &impl Source, view: &View, size: Pages) -> Result<(), ReplicateError> {
    let window = PageRange::new(Pages::ZERO, Pages::new(1).min(size));
    let Some(window) = window else { return Ok(()) };
    let since = Some(SnapshotId::new("2006-01-02T03:04:05.0000000Z"));
    let ask = Ask { view: view.clone(), since, window, marker: None, if_match: None };
    let answered = match blob.list(&ask).await {
        Ok(answer) => format!("answered with {} ranges", answer.changes.len()),
        Err(error) if error.code() == "PreviousSnapshotNotFound" => return Ok(()),
        // The service was not even asked.
        Err(error) if error.failure().status.is_none() => return Err(error.into()),
        Err(error) => match error.kind() {
            ErrorKind::Invalid | ErrorKind::Integrity | ErrorKind::ChainBroken => {
                format!("answered {} {}", error.failure().status.unwrap_or_default(), error.code())
            }
            _ => return Err(error.into()),
        },
    };
    Err(ReplicateError::Untrusted { object: blob.address(), answered })
}

/// The same of the snapshot `offer` of a source, unless the service is known to give no differences of that at all.
///
/// # Errors
/// As [`probe`].
pub(crate) async fn probe_source(blob: &impl Source, source: &SourceView, offer: &Offer) -> Result<(), ReplicateError> {
    if !source.disk.has_differences() {
        return Ok(());
    }
    probe(blob, &View::Snapshot(offer.at.id.clone()), offer.size).await
}

/// Whether the blob is not there, as opposed to its container, or to an answer that comes from something in between.
pub(crate) fn is_absent(error: &StoreError) -> bool {
    error.kind() == ErrorKind::NotFound && error.code() == "BlobNotFound"
}
