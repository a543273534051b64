//! CopyStart: an incremental snapshot is copied to a region or subscription, and only what changed is on the way.
//!
//! What the copy will be is settled when it begins; how far it is follows from the time. The copies of one disk in one
//! region and subscription are snapshots of one blob, so that they can be compared with each other there.

use crate::model::Model;
use crate::model::arm::disk::written_since;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Key, region};
use crate::model::arm::progress::Progress;
use crate::model::arm::resource::{Detail, Picture, Resource};
use crate::model::arm::store::copy_of;
use crate::model::arm::{ArmCall, Family};
use crate::model::call::Target;

/// The first version of the interface that knows this.
const SINCE: &str = "2020-12-01";

impl Model {
    pub(crate) fn copy_start(
        &mut self,
        call: &ArmCall<'_>,
        key: &Key,
        source: &Resource,
        blank: Resource,
    ) -> Result<Resource, ArmError> {
        let limits = self.config.arm.limits;
        let named = &source.id;
        if !call.mode.trusted && call.api() < SINCE {
            return Err(ArmError::bad(format!("createOption CopyStart needs api-version {SINCE} or later.")));
        }
        let Some(shown) = source.picture() else {
            return Err(ArmError::bad("The source of a CopyStart is a snapshot."));
        };
        if !blank.picture().is_some_and(|picture| picture.incremental) {
            return Err(ArmError::bad("CopyStart needs incremental = true."));
        }
        if limits.copy_only_incremental && !shown.incremental {
            return Err(ArmError::bad(format!("{named} is a full snapshot; only incremental ones are copied.")));
        }
        if limits.incomplete_unusable {
            source.must_be_complete(call.now)?;
        }
        let place = (source.lineage.clone(), region(&blank.location), key.subscription.clone());
        self.may_copy(call, &place, source)?;

        let state = self.content(source).cloned().ok_or_else(|| ArmError::not_found(named))?;
        let (since, family) = match self.arm.families.get(&place).cloned() {
            Some(family) => (self.last_copied(&family.home), family),
            None => {
                let etag = self.ids.etag(call.now);
                let home = self.new_home("md-", copy_of(&state, etag, call.now), call.now);
                let family = Family { id: self.ids.guid(), home };
                self.arm.families.insert(place, family.clone());
                (None, family)
            }
        };
        let bytes = written_since(&state, since);
        let etag = self.ids.etag(call.now);
        let at = self.freeze(&family.home, copy_of(&state, etag, call.now), call.now);
        let progress = Progress { started: call.now, takes: self.config.arm.copy_start.time(bytes) };
        let picture = Picture { incremental: true, family: family.id, at, shows: shown.shows };
        let (progress, detail) = (Some(progress), Detail::Snapshot(picture));
        Ok(Resource { home: family.home, progress, detail, ..blank })
    }

    /// The stamp of the last snapshot that was copied whole, or is being copied.
    fn last_copied(&self, home: &Target) -> Option<u64> {
        let good = self.arm.resources.values().filter(|other| other.home == *home && other.failure.is_none());
        good.filter_map(|other| self.content(other)).map(|state| state.stamp).max()
    }

    /// Whether one more copy may begin now.
    fn may_copy(
        &self,
        call: &ArmCall<'_>,
        place: &(String, String, String),
        source: &Resource,
    ) -> Result<(), ArmError> {
        let limits = self.config.arm.limits;
        let (lineage, target, subscription) = place;
        let copies = self.arm.resources.iter().filter(|(other, copy)| {
            copy.creation.option == "CopyStart"
                && other.subscription == *subscription
                && region(&copy.location) == *target
        });
        let running = copies.clone().filter(|(_, copy)| copy.is_pending(call.now)).count();
        if limits.parallel_copies.is_some_and(|most| running >= most) {
            let what = format!("{running} copies are running in {subscription} and {target}, which is the most.");
            return Err(ArmError::limit(what));
        }
        let mut same = copies.filter(|(_, copy)| copy.lineage == *lineage && copy.failure.is_none());
        if let Some((_, other)) = same.clone().find(|(_, copy)| limits.one_copy_per_disk && copy.is_pending(call.now)) {
            return Err(ArmError::limit(format!("{} of the same disk is still being copied.", other.id)));
        }
        let shows = |resource: &Resource| resource.picture().map(|picture| picture.shows);
        match same.find(|(_, copy)| limits.copy_in_order && shows(copy) > shows(source)) {
            Some((_, newer)) => Err(ArmError::conflict(format!(
                "{} is older than {}, which is copied already; snapshots are copied in the order of their creation.",
                source.id, newer.id
            ))),
            None => Ok(()),
        }
    }

    /// Ends the copies whose source is gone before they were whole.
    pub(crate) fn abandon_copies(&mut self, call: &ArmCall<'_>, gone: &Key) {
        for copy in self.arm.resources.values_mut() {
            let from = copy.creation.source_id.as_deref().and_then(Key::parse);
            if copy.creation.option == "CopyStart" && from.as_ref() == Some(gone) && copy.is_pending(call.now) {
                let what = "The source snapshot was deleted while it was being copied.".to_owned();
                copy.fail(Some("CopySourceNotFound"), what, call.now);
            }
        }
    }
}
