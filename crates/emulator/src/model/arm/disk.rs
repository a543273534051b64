//! Making disks: empty ones, from snapshots and other disks, from an upload to come, and from a page blob.

use serde_json::Value;

use crate::diff::{self, Query};
use crate::model::arm::ArmCall;
use crate::model::arm::body::Body;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Key, Kind, region};
use crate::model::arm::operations::Outcome;
use crate::model::arm::progress::Progress;
use crate::model::arm::resource::{
    Creation, Detail, Resource, Upload, is_fast, read_settings, read_sku, with_defaults,
};
use crate::model::arm::store::copy_of;
use crate::model::blob::State;
use crate::model::call::{Call, Target};
use crate::model::source::Source;
use crate::model::{Mode, Model};
use crate::pages::{PAGE, PageTable};
use crate::response::{Body as Content, Response};
use crate::vhd;

const GIB: u64 = 1 << 30;

/// The smallest and the largest upload, with the footer.
const UPLOADS: std::ops::RangeInclusive<u64> = 20_972_032..=35_183_298_347_520;

/// The largest disk.
const MAX_DISK: u64 = 65_536 << 30;

/// What a new disk is to hold.
#[derive(Debug)]
struct NewContent {
    state: State,
    size: u64,
    sector: u64,
    creation: Creation,
    progress: Option<Progress>,
}

impl Model {
    pub(crate) fn put_disk(&mut self, call: &ArmCall<'_>, key: &Key, id: &str) -> Result<Response, ArmError> {
        key.check_name()?;
        let body = Body::read(call.request)?;
        if self.arm.resources.contains_key(key) {
            return self.put_again(call, key, &body);
        }
        let location = body.needed("location")?.to_owned();
        let sku = read_sku(&body, Kind::Disk)?.unwrap_or_else(|| "Standard_LRS".to_owned());
        let settings = read_settings(&body)?;
        let tags = body.object("tags")?.cloned().map(Value::Object);
        let content = match body.needed("properties.creationData.createOption")? {
            "Empty" => self.empty(call, &body, &sku)?,
            "Upload" => self.upload(call, &body, &sku)?,
            "Copy" => self.copied(call, &body, &sku, &location)?,
            "Import" => self.import(call, &body)?,
            other => return Err(ArmError::bad(format!("The createOption {other} is not supported here."))),
        };
        let waiting = content.creation.option == "Upload";
        let prefix = if waiting { "md-impexp-" } else { "md-" };
        let home = self.new_home(prefix, content.state, call.now);
        let unique_id = self.ids.guid();
        let upload = if waiting { Upload::Ready } else { Upload::Over };
        let disk = Resource {
            id: id.to_owned(),
            location,
            sku,
            tags,
            settings: with_defaults(settings),
            created: call.now,
            lineage: unique_id.clone(),
            unique_id,
            size: content.size,
            sector: content.sector,
            creation: content.creation,
            home,
            progress: content.progress,
            failure: None,
            access: None,
            busy: None,
            detail: Detail::Disk { upload, family: self.ids.guid(), taken: Vec::new(), machine: None },
        };
        Ok(self.made(call, key, disk))
    }

    /// Puts a new resource in its place and answers that it is being made.
    pub(crate) fn made(&mut self, call: &ArmCall<'_>, key: &Key, mut resource: Resource) -> Response {
        resource.busy = Some((call.now.plus(self.config.arm.operation_time), "Creating"));
        let location = resource.location.clone();
        self.arm.resources.insert(key.clone(), resource);
        self.accepted(call, key, &location, "Creating")
    }

    /// The answer to a change of a resource that is under way, with the resource in its body.
    pub(crate) fn accepted(&mut self, call: &ArmCall<'_>, key: &Key, location: &str, state: &'static str) -> Response {
        let shown = self.arm.resources.get(key).map(|resource| {
            let mut shown = resource.show(call.now, &self.config.arm);
            shown["properties"]["provisioningState"] = state.into();
            shown
        });
        self.begin(call, location, Outcome::Resource(key.clone()), shown.as_ref())
    }

    fn empty(&mut self, call: &ArmCall<'_>, body: &Body, sku: &str) -> Result<NewContent, ArmError> {
        let size = requested_size(body)?.ok_or_else(|| ArmError::bad("diskSizeGB is missing."))?;
        let sector = requested_sector(body, sku)?;
        let creation = Creation { option: "Empty".to_owned(), ..Creation::default() };
        Ok(NewContent { state: self.blank(size, sector, call.now), size, sector, creation, progress: None })
    }

    fn upload(&mut self, call: &ArmCall<'_>, body: &Body, sku: &str) -> Result<NewContent, ArmError> {
        let whole = body.number("properties.creationData.uploadSizeBytes")?;
        let whole = whole.ok_or_else(|| ArmError::bad("uploadSizeBytes is missing."))?;
        let bad = |why: &str| ArmError::bad(format!("The value {whole} of parameter uploadSizeBytes {why}."));
        if self.config.arm.limits.upload_sizes && !UPLOADS.contains(&whole) {
            return Err(bad("is out of range: it must be between 20972032 and 35183298347520"));
        }
        let size = whole.checked_sub(vhd::FOOTER).filter(|size| *size > 0 && size % (1 << 20) == 0);
        let size = size.ok_or_else(|| bad("must be a whole number of MiB and 512 bytes for the footer"))?;
        let sector = requested_sector(body, sku)?;
        let mut state = self.blank(0, 512, call.now);
        (state.pages, state.size) = (PageTable::default(), whole);
        let creation = Creation { option: "Upload".to_owned(), upload_size: Some(whole), ..Creation::default() };
        Ok(NewContent { state, size, sector, creation, progress: None })
    }

    fn copied(&mut self, call: &ArmCall<'_>, body: &Body, sku: &str, location: &str) -> Result<NewContent, ArmError> {
        let named = body.needed("properties.creationData.sourceResourceId")?;
        let key = Key::parse(named).ok_or_else(|| ArmError::bad(format!("sourceResourceId {named} is not an id.")))?;
        let source = self.arm.find(&key)?.clone();
        if region(&source.location) != region(location) {
            return Err(ArmError::bad(format!("{named} is in another region than the disk to be made.")));
        }
        if source.upload() != Upload::Over {
            return Err(ArmError::conflict(format!("{named} is waiting for an upload.")));
        }
        let limits = self.config.arm.limits;
        if limits.incomplete_unusable {
            source.must_be_complete(call.now)?;
        }
        if source.sector != 512 && !is_fast(sku) {
            let what = format!("{named} has sectors of 4096 bytes; only Ultra and Premium SSD v2 disks have those.");
            return Err(ArmError::bad(what));
        }
        let same = |other: &&Resource| {
            let from = other.creation.source_id.as_deref().and_then(Key::parse);
            other.kind() == Kind::Disk && from.as_ref() == Some(&key) && other.is_pending(call.now)
        };
        let filling = self.arm.resources.values().filter(same).count();
        if limits.disks_at_once.is_some_and(|most| filling >= most) {
            return Err(ArmError::limit(format!("{filling} disks are being made from {named}, which is the most.")));
        }
        let state = self.content(&source).cloned().ok_or_else(|| ArmError::not_found(named))?;
        let size = requested_size(body)?.unwrap_or(source.size);
        if size < source.size {
            return Err(ArmError::bad(format!("diskSizeGB is smaller than {named}.")));
        }
        let etag = self.ids.etag(call.now);
        let mut state = copy_of(&state, etag, call.now);
        if size > source.size {
            self.grow(&mut state, size, source.sector, call.now);
        }
        let creation = Creation {
            option: "Copy".to_owned(),
            source_id: Some(named.to_owned()),
            source_unique_id: Some(source.unique_id.clone()),
            ..Creation::default()
        };
        let takes = self.config.arm.hydration.time(written_since(&state, None));
        let progress = is_fast(sku).then_some(Progress { started: call.now, takes });
        Ok(NewContent { state, size, sector: source.sector, creation, progress })
    }

    /// A disk with the content of a page blob of this service, which must be a fixed VHD.
    fn import(&mut self, call: &ArmCall<'_>, body: &Body) -> Result<NewContent, ArmError> {
        let uri = body.needed("properties.creationData.sourceUri")?;
        let shown = uri.split('?').next().unwrap_or_default();
        let target = Target { account: String::new(), container: String::new(), blob: String::new() };
        // The service reads the blob by itself, in the name of the owner of the storage account.
        let mode = Mode { trusted: true, ..Mode::default() };
        let read = Call { request: call.request, now: call.now, version: "2021-12-02", target, mode };
        let source = Source::parse(uri, &read, &self.config, &self.world);
        let found = source.and_then(|source| self.read_source(&read, &source, false));
        let state = found.map_err(|_| ArmError::new(404, "BlobNotFound", format!("There is no blob {shown} here.")))?;
        let footer = Content::pages(state.pages.clone(), state.size.saturating_sub(vhd::FOOTER), state.size);
        if let Some(defect) = vhd::defect(&footer.into_bytes(), state.size) {
            return Err(ArmError::bad(defect));
        }
        let size = state.size - vhd::FOOTER;
        let etag = self.ids.etag(call.now);
        let state = copy_of(&state, etag, call.now);
        let uri = Some(shown.to_owned());
        let creation = Creation { option: "Import".to_owned(), source_uri: uri, ..Creation::default() };
        Ok(NewContent { state, size, sector: 512, creation, progress: None })
    }
}

/// Bytes that were written since an operation, or ever, and are there now.
pub(crate) fn written_since(state: &State, since: Option<u64>) -> u64 {
    let query = Query { start: 0, end: state.size / PAGE, since };
    let written = diff::ranges(&state.pages, query).filter(|range| !range.clear);
    written.map(|range| range.end + 1 - range.start).sum()
}

/// The size that a request asks for, in bytes.
pub(crate) fn requested_size(body: &Body) -> Result<Option<u64>, ArmError> {
    let Some(gib) = body.number("properties.diskSizeGB")? else { return Ok(None) };
    let size = gib.checked_mul(GIB).filter(|size| (1..=MAX_DISK).contains(size));
    size.map(Some).ok_or_else(|| ArmError::bad(format!("The value {gib} of parameter diskSizeGB is out of range.")))
}

/// The sector size that a request asks for, or that its storage has by itself.
fn requested_sector(body: &Body, sku: &str) -> Result<u64, ArmError> {
    match body.number("properties.creationData.logicalSectorSize")? {
        None => Ok(if is_fast(sku) { 4096 } else { 512 }),
        Some(512) => Ok(512),
        Some(4096) if is_fast(sku) => Ok(4096),
        Some(4096) => Err(ArmError::bad("Only Ultra and Premium SSD v2 disks have sectors of 4096 bytes.")),
        Some(other) => Err(ArmError::bad(format!("logicalSectorSize cannot be {other}."))),
    }
}
