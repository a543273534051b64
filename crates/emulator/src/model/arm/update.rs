//! Changing and deleting resources.

use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::body::Body;
use crate::model::arm::disk::requested_size;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Key, Kind, region};
use crate::model::arm::operations::Outcome;
use crate::model::arm::resource::Resource;
use crate::response::Response;
use crate::time::Timestamp;

impl Model {
    /// A PUT on what is there already: the same again, or a change; but never other content.
    pub(crate) fn put_again(&mut self, call: &ArmCall<'_>, key: &Key, body: &Body) -> Result<Response, ArmError> {
        let old = self.arm.find(key)?;
        let option = body.needed("properties.creationData.createOption")?;
        let source = body.text("properties.creationData.sourceResourceId")?.map(Key::parse);
        let same_source = source.is_none_or(|key| key == old.creation.source_id.as_deref().and_then(Key::parse));
        let upload = body.number("properties.creationData.uploadSizeBytes")?;
        let same_upload = upload.is_none_or(|size| old.creation.upload_size == Some(size));
        if body.text("location")?.is_some_and(|location| region(location) != region(&old.location)) {
            let what = format!("{} is in {} and cannot be moved.", old.id, region(&old.location));
            return Err(ArmError::new(409, "InvalidResourceLocation", what));
        }
        if option != old.creation.option || !same_source || !same_upload {
            let what = format!("Changing property 'creationData' of {} is not allowed.", old.id);
            return Err(ArmError::new(409, "PropertyChangeNotAllowed", what));
        }
        self.patch(call, key)
    }

    pub(crate) fn patch(&mut self, call: &ArmCall<'_>, key: &Key) -> Result<Response, ArmError> {
        let body = Body::read(call.request)?;
        let mut changed = self.arm.find(key)?.clone();
        let keep_sku = self.config.arm.limits.standard_snapshots && changed.family().is_some();
        changed.change(&body, keep_sku)?;
        let size = match key.kind {
            Kind::Disk => requested_size(&body)?.filter(|size| *size != changed.size),
            Kind::Snapshot => None,
        };
        // A disk whose size is no whole number of GiB shows the next one.
        let size = size.filter(|size| size >> 30 != changed.size.div_ceil(1 << 30));
        if let Some(size) = size {
            self.check_growth(&changed, size)?;
        }
        changed.busy = Some((call.now.plus(self.config.arm.operation_time), "Updating"));
        let location = changed.location.clone();
        self.arm.resources.insert(key.clone(), changed);
        if let Some(size) = size {
            self.resize(key, size, call.now)?;
        }
        Ok(self.accepted(call, key, &location, "Updating"))
    }

    pub(crate) fn delete(&mut self, call: &ArmCall<'_>, key: &Key) -> Result<Response, ArmError> {
        let Some(found) = self.arm.resources.get(key) else { return Ok(Response::new(204)) };
        if self.config.arm.limits.no_delete_while_granted && found.granted(call.now).is_some() {
            let what = format!(
                "There is an active shared access signature outstanding for {}. Call EndGetAccess before deleting it.",
                found.id
            );
            return Err(ArmError::conflict(what));
        }
        if let Some(machine) = found.machine() {
            return Err(ArmError::conflict(format!("{} is attached to {machine} and cannot be deleted.", found.id)));
        }
        let gone = self.arm.resources.remove(key).ok_or_else(|| ArmError::not_found(&key.id()))?;
        self.abandon_copies(call, key);
        self.discard(&gone);
        Ok(self.begin(call, &gone.location, Outcome::Done, None))
    }

    /// Whether a disk may become this large.
    pub(crate) fn check_growth(&self, disk: &Resource, size: u64) -> Result<(), ArmError> {
        match size >= disk.size {
            true => Ok(()),
            false => Err(ArmError::conflict(format!("{} cannot become smaller.", disk.id))),
        }
    }

    /// Makes a disk larger.
    pub(crate) fn resize(&mut self, key: &Key, size: u64, now: Timestamp) -> Result<(), ArmError> {
        let disk = self.arm.find(key)?.clone();
        let state = self.content(&disk).cloned().ok_or_else(|| ArmError::not_found(&disk.id))?;
        let mut grown = state;
        self.grow(&mut grown, size, disk.sector, now);
        if let Some(blob) = self.home_mut(&disk.home) {
            blob.state = grown;
        }
        if let Some(disk) = self.arm.resources.get_mut(key) {
            disk.size = size;
        }
        if self.config.arm.limits.growth_fails_pending && disk.is_fast() {
            let own = |other: &&mut Resource| other.creation.option == "Copy" && other.lineage == disk.unique_id;
            let snapshots = self.arm.resources.values_mut().filter(|other| other.family().is_some()).filter(own);
            for snapshot in snapshots.filter(|other| other.is_pending(now)) {
                snapshot.fail(None, "The disk was resized while the snapshot was being copied.".to_owned(), now);
            }
        }
        Ok(())
    }
}
