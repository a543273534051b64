//! Taking snapshots of disks: incremental ones, which share the disk's blob, and full ones, which have their own.

use std::time::Duration;

use serde_json::Value;

use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::body::Body;
use crate::model::arm::disk::written_since;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Key, Kind, region};
use crate::model::arm::progress::Progress;
use crate::model::arm::resource::{
    Creation, Detail, Picture, Resource, Upload, read_settings, read_sku, with_defaults,
};
use crate::model::arm::store::copy_of;
use crate::response::Response;
use crate::time::Timestamp;
use crate::vhd;

/// The time in which the number of snapshots of a disk is limited.
const WINDOW: Duration = Duration::from_secs(300);

/// What an incremental snapshot of a disk with 4096-byte sectors costs when nothing has changed.
const EMPTY_4096: u64 = 6 << 20;

impl Model {
    pub(crate) fn put_snapshot(&mut self, call: &ArmCall<'_>, key: &Key, id: &str) -> Result<Response, ArmError> {
        key.check_name()?;
        let body = Body::read(call.request)?;
        if self.arm.resources.contains_key(key) {
            return self.put_again(call, key, &body);
        }
        let location = body.needed("location")?;
        let incremental = body.flag("properties.incremental")?.unwrap_or(false);
        let sku = read_sku(&body, Kind::Snapshot)?;
        let standard = self.config.arm.limits.standard_snapshots && incremental;
        if let Some(sku) = sku.as_ref().filter(|sku| standard && sku.as_str() == "Premium_LRS") {
            return Err(ArmError::bad(format!("SKU {sku} is not allowed for incremental snapshots.")));
        }
        let option = body.needed("properties.creationData.createOption")?;
        let named = body.needed("properties.creationData.sourceResourceId")?;
        let source_key = Key::parse(named);
        let source_key = source_key.ok_or_else(|| ArmError::bad(format!("sourceResourceId {named} is not an id.")))?;
        let source = self.arm.find(&source_key)?.clone();
        let creation = Creation {
            option: option.to_owned(),
            source_id: Some(named.to_owned()),
            source_unique_id: Some(source.unique_id.clone()),
            ..Creation::default()
        };
        let settings = read_settings(&body)?;
        let tags = body.object("tags")?.cloned().map(Value::Object);
        let blank = Resource {
            id: id.to_owned(),
            location: location.to_owned(),
            sku: sku.unwrap_or_else(|| "Standard_LRS".to_owned()),
            tags,
            settings: with_defaults(settings),
            created: call.now,
            unique_id: String::new(),
            size: source.size,
            sector: source.sector,
            creation,
            home: source.home.clone(),
            lineage: source.lineage.clone(),
            progress: None,
            failure: None,
            access: None,
            busy: None,
            detail: Detail::Snapshot(Picture { incremental, family: String::new(), at: None, shows: call.now }),
        };
        let snapshot = match option {
            "Copy" => self.take(call, key, &source_key, &source, blank)?,
            "CopyStart" => self.copy_start(call, key, &source, blank)?,
            other => return Err(ArmError::bad(format!("The createOption {other} is not supported here."))),
        };
        let snapshot = Resource { unique_id: self.ids.guid(), ..snapshot };
        Ok(self.made(call, key, snapshot))
    }

    /// A picture of a disk as it is now, or a full copy of another snapshot.
    fn take(
        &mut self,
        call: &ArmCall<'_>,
        key: &Key,
        source_key: &Key,
        source: &Resource,
        blank: Resource,
    ) -> Result<Resource, ArmError> {
        let named = &source.id;
        let limits = self.config.arm.limits;
        if source.upload() != Upload::Over {
            return Err(ArmError::conflict(format!("{named} is waiting for an upload.")));
        }
        if region(&source.location) != region(&blank.location) {
            let what = format!("{named} is in another region; copy an incremental snapshot with CopyStart instead.");
            return Err(ArmError::bad(what));
        }
        if limits.incomplete_unusable && source_key.kind == Kind::Snapshot {
            source.must_be_complete(call.now)?;
        }
        if limits.no_snapshot_while_hydrating && source_key.kind == Kind::Disk && source.is_pending(call.now) {
            let what = format!("{named} is still being filled in the background; no snapshot of it can be taken yet.");
            return Err(ArmError::conflict(what));
        }
        let state = self.content(source).cloned().ok_or_else(|| ArmError::not_found(named))?;
        let incremental = blank.picture().is_some_and(|picture| picture.incremental);
        if !incremental {
            let etag = self.ids.etag(call.now);
            let home = self.new_home("md-", copy_of(&state, etag, call.now), call.now);
            return Ok(Resource { home, ..blank });
        }
        if source_key.kind == Kind::Snapshot {
            return Err(ArmError::bad("An incremental snapshot of a snapshot is made with createOption CopyStart."));
        }
        self.may_take(call.now, key, source_key, source)?;
        let since = self.newest_before(source, None);
        let at = self.freeze(&source.home, state.clone(), call.now);
        let at = at.ok_or_else(|| ArmError::not_found(named))?;
        let takes = self.config.arm.hydration.time(written_since(&state, since));
        let progress = source.is_fast().then_some(Progress { started: call.now, takes });
        let mut family = String::new();
        if let Some(Resource { detail: Detail::Disk { taken, family: own, .. }, .. }) =
            self.arm.resources.get_mut(source_key)
        {
            taken.retain(|time| call.now.since(*time) < WINDOW);
            taken.push(call.now);
            family.clone_from(own);
        }
        let picture = Picture { incremental, family, at: Some(at), shows: call.now };
        Ok(Resource { progress, detail: Detail::Snapshot(picture), ..blank })
    }

    /// Whether one more incremental snapshot of a disk may be taken now.
    fn may_take(&self, now: Timestamp, key: &Key, disk_key: &Key, disk: &Resource) -> Result<(), ArmError> {
        let (limits, id) = (self.config.arm.limits, &disk.id);
        if limits.same_subscription && key.subscription != disk_key.subscription {
            let what =
                format!("An incremental snapshot must be in the subscription of its disk, {}.", disk_key.subscription);
            return Err(ArmError::bad(what));
        }
        let own = |other: &&Resource| {
            let disk_copy = other.creation.option == "Copy" && other.family().is_some();
            disk_copy && other.lineage == disk.unique_id
        };
        let existing = self.arm.resources.values().filter(own).count();
        if limits.snapshots_per_disk.is_some_and(|most| existing >= most) {
            return Err(ArmError::limit(format!("{existing} incremental snapshots of {id} exist, which is the most.")));
        }
        let pending = self.arm.resources.values().filter(own).filter(|other| other.is_pending(now)).count();
        if disk.is_fast() && limits.pending_snapshots.is_some_and(|most| pending >= most) {
            return Err(ArmError::limit(format!("{pending} snapshots of {id} are still copying, which is the most.")));
        }
        let Detail::Disk { taken, .. } = &disk.detail else { return Ok(()) };
        let lately: Vec<Timestamp> = taken.iter().copied().filter(|time| now.since(*time) < WINDOW).collect();
        match (limits.snapshots_per_five_minutes, lately.first()) {
            (Some(most), Some(first)) if lately.len() >= most => {
                let wait = WINDOW.saturating_sub(now.since(*first)).as_secs() + 1;
                let what =
                    format!("{} snapshots of {id} were taken within five minutes, which is the most.", lately.len());
                Err(ArmError { retry_after: Some(wait), ..ArmError::new(429, "TooManyRequests", what) })
            }
            _ => Ok(()),
        }
    }

    /// The number of the last operation in the newest snapshot of a blob, before a time if one is given.
    pub(crate) fn newest_before(&self, resource: &Resource, time: Option<Timestamp>) -> Option<u64> {
        let snapshots = &self.world.source(&resource.home)?.snapshots;
        let end = time.unwrap_or(Timestamp::from_ticks(u64::MAX));
        snapshots.range(..end).next_back().map(|(_, state)| state.stamp)
    }

    /// The bytes that an incremental snapshot is billed for: what was written since the one before it.
    pub(crate) fn billed(&self, key: &Key) -> Option<u64> {
        let snapshot = self.arm.resources.get(key)?;
        snapshot.family()?;
        let state = self.content(snapshot)?;
        let since = self.newest_before(snapshot, snapshot.at());
        let written = written_since(state, since);
        let (frame, least) = if snapshot.sector == 512 { (vhd::FOOTER, 0) } else { (vhd::VHDX_SIGNATURE, EMPTY_4096) };
        // What makes an image of a disk is there from the start and is not the customer's.
        let frame = if since.is_none() { frame } else { 0 };
        Some(written.saturating_sub(frame) + least)
    }
}
