//! What a machine does to its disk. It reaches the model as requests like all others, so that the journal has them,
//! but only from within this process.

use bytes::Bytes;

use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Key, Kind};
use crate::model::arm::resource::{Detail, Upload};
use crate::pages::{PAGE, PageTable};
use crate::response::{Body, Response};
use crate::time::Timestamp;
use crate::vhd;

/// The content of a disk or a snapshot, as the machine sees it.
#[derive(Debug, Clone)]
pub struct DiskImage {
    /// The whole blob, with whatever its format puts around the data.
    pub pages: PageTable,
    /// The length of the blob.
    pub length: u64,
    /// Where in the blob the data begins.
    pub start: u64,
    /// The bytes of data.
    pub size: u64,
}

/// A grant in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveGrant {
    /// The id of the disk or snapshot.
    pub resource: String,
    /// Whether it may be written to.
    pub write: bool,
    /// When it ends by itself.
    pub expires: Timestamp,
}

impl DiskImage {
    /// The data from `offset` on, zeros where there is none; nothing beyond the end.
    pub fn bytes(&self, offset: u64, length: u64) -> Bytes {
        let (from, end) = (offset.min(self.size), offset.saturating_add(length).min(self.size));
        Body::pages(self.pages.clone(), self.start + from, self.start + end.max(from)).into_bytes()
    }
}

impl Model {
    /// Does what a machine does; `None` for what no machine does.
    pub(crate) fn guest(&mut self, call: &ArmCall<'_>, key: &Key, action: &str) -> Option<Result<Response, ArmError>> {
        let number = |name: &str| call.request.query(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (offset, length) = (number("offset"), number("length"));
        let outcome = match action {
            "guestwrite" => {
                let data = call.request.body.bytes().clone();
                self.guest_pages(call, key, offset, data.len() as u64, Some(data))
            }
            "guestclear" => self.guest_pages(call, key, offset, length, None),
            "guestresize" => self.guest_resize(call, key, length),
            "guestattach" => {
                self.guest_attach(call, key, call.request.query("machine").filter(|name| !name.is_empty()))
            }
            _ => return None,
        };
        Some(outcome.map(|()| Response::new(200)))
    }

    /// The content of a disk or snapshot.
    pub(crate) fn image(&self, key: &Key) -> Option<DiskImage> {
        let resource = self.arm.resources.get(key)?;
        let state = self.content(resource)?;
        let start = if resource.sector == 512 { 0 } else { vhd::VHDX_HEAD };
        Some(DiskImage { pages: state.pages.clone(), length: state.size, start, size: resource.size })
    }

    /// The grants that are in force.
    pub(crate) fn grants(&self, now: Timestamp) -> Vec<ActiveGrant> {
        let active = self.arm.resources.values().filter_map(|resource| Some((resource, resource.granted(now)?)));
        active
            .map(|(resource, access)| ActiveGrant {
                resource: resource.id.clone(),
                write: access.write,
                expires: access.expires,
            })
            .collect()
    }

    fn guest_pages(
        &mut self,
        call: &ArmCall<'_>,
        key: &Key,
        offset: u64,
        length: u64,
        data: Option<Bytes>,
    ) -> Result<(), ArmError> {
        let disk = self.arm.find(key)?.clone();
        let end = offset.checked_add(length).filter(|end| *end <= disk.size);
        let aligned = offset.is_multiple_of(PAGE) && length.is_multiple_of(PAGE);
        if key.kind != Kind::Disk || disk.upload() != Upload::Over {
            return Err(ArmError::conflict(format!("{} is not a disk that a machine could have.", disk.id)));
        }
        let (Some(end), true) = (end, aligned) else {
            return Err(ArmError::bad(format!("{length} bytes at {offset} are not whole sectors of {}.", disk.id)));
        };
        let start = if disk.sector == 512 { 0 } else { vhd::VHDX_HEAD };
        let (etag, variants) = (self.ids.etag(call.now), self.config.variants.clone());
        let blob = self.home_mut(&disk.home).ok_or_else(|| ArmError::not_found(&disk.id))?;
        match data {
            Some(data) => blob.write((start + offset) / PAGE, std::iter::once(data), &variants),
            None => blob.clear((start + offset) / PAGE, (start + end) / PAGE, variants.clear_of_empty_reported),
        }
        (blob.state.etag, blob.state.modified) = (etag, call.now);
        Ok(())
    }

    fn guest_attach(&mut self, call: &ArmCall<'_>, key: &Key, machine: Option<&str>) -> Result<(), ArmError> {
        let disk = self.arm.find(key)?;
        let other = disk.machine().is_some() || disk.granted(call.now).is_some() || disk.upload() != Upload::Over;
        if machine.is_some() && other {
            return Err(ArmError::conflict(format!("{} is in use and cannot be attached.", disk.id)));
        }
        match self.arm.resources.get_mut(key).map(|disk| &mut disk.detail) {
            Some(Detail::Disk { machine: known, .. }) => {
                *known = machine.map(str::to_owned);
                Ok(())
            }
            _ => Err(ArmError::bad(format!("{} is no disk.", key.id()))),
        }
    }

    fn guest_resize(&mut self, call: &ArmCall<'_>, key: &Key, size: u64) -> Result<(), ArmError> {
        let disk = self.arm.find(key)?.clone();
        if key.kind != Kind::Disk || !size.is_multiple_of(PAGE) {
            return Err(ArmError::bad(format!("{} cannot have {size} bytes.", disk.id)));
        }
        self.check_growth(&disk, size)?;
        self.resize(key, size, call.now)
    }
}
