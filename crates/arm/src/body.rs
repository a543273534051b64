//! The JSON of Resource Manager, and what is made of it.
//!
//! Answers are read leniently: what is not known is passed over, what is missing stays missing. Nothing here has a `Debug`,
//! because an answer may hold a signature.

use std::collections::BTreeMap;

use azure_core::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};

use crate::fault::{Fault, Outcome, Said};
use crate::resource_id::{Kind, ResourceId};
use crate::resources::{Access, CopyKind, Disk, NewDisk, NewSnapshot, Origin, Snapshot};
use crate::scrub::scrub;

/// A disk or a snapshot; they have nearly everything in common.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Resource {
    id: Option<String>,
    name: Option<String>,
    location: Option<String>,
    managed_by: Option<String>,
    sku: Option<Sku>,
    tags: Option<BTreeMap<String, String>>,
    properties: Option<Properties>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sku {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    time_created: Option<String>,
    provisioning_state: Option<String>,
    disk_size_bytes: Option<Number>,
    disk_state: Option<String>,
    unique_id: Option<String>,
    incremental: Option<bool>,
    incremental_snapshot_family_id: Option<String>,
    completion_percent: Option<f64>,
    copy_completion_error: Option<CopyError>,
    network_access_policy: Option<String>,
    data_access_auth_mode: Option<String>,
    encryption: Option<Encryption>,
    creation_data: Option<CreationData>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CopyError {
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Encryption {
    r#type: Option<String>,
    disk_encryption_set_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CreationData {
    create_option: Option<String>,
    source_resource_id: Option<String>,
    source_unique_id: Option<String>,
    upload_size_bytes: Option<Number>,
    logical_sector_size: Option<Number>,
}

/// One page of a list.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Page {
    pub(crate) value: Vec<Resource>,
    pub(crate) next_link: Option<String>,
}

/// How far an operation has come.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) status: Option<String>,
    pub(crate) error: Option<Said>,
    properties: Option<Results>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Results {
    output: Option<Grant>,
}

/// What comes of asking for access.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Grant {
    #[serde(rename = "accessSAS")]
    pub(crate) access_sas: Option<String>,
}

impl Progress {
    /// What came of it, if anything does.
    pub(crate) fn output(self) -> Grant {
        self.properties.and_then(|results| results.output).unwrap_or_default()
    }
}

/// Reads a body. A complaint says where it is wrong, never what is there.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Fault::new(Outcome::Wrong, format!("the answer is not the JSON it should be (line {line}, column {column})"))
    })
}

impl Resource {
    /// What the service says about its making.
    pub(crate) fn provisioning(&self) -> &str {
        self.properties.as_ref().and_then(|properties| properties.provisioning_state.as_deref()).unwrap_or_default()
    }

    /// Why its copy failed.
    pub(crate) fn copy_error(&self) -> Option<Said> {
        let error = self.properties.as_ref()?.copy_completion_error.as_ref()?;
        Some(Said { code: error.error_code.clone(), message: error.error_message.clone() })
    }

    /// As a snapshot. `asked` is its id where the answer does not repeat it.
    pub(crate) fn into_snapshot(self, asked: Option<&ResourceId>) -> Result<Snapshot, Fault> {
        let copy_error = self.copy_error().and_then(|said| sentence(&said));
        let id = id(self.id.as_deref(), Kind::Snapshot, asked)?;
        let properties = self.properties.unwrap_or_default();
        let creation = properties.creation_data.unwrap_or_default();
        let encryption = properties.encryption.unwrap_or_default();
        Ok(Snapshot {
            name: self.name.unwrap_or_else(|| id.name().to_owned()),
            id,
            location: self.location.unwrap_or_default(),
            time_created: properties.time_created.unwrap_or_default(),
            incremental: properties.incremental.unwrap_or_default(),
            family: properties.incremental_snapshot_family_id,
            unique_id: properties.unique_id,
            size_bytes: properties.disk_size_bytes.as_ref().and_then(whole),
            completion_percent: properties.completion_percent,
            provisioning: properties.provisioning_state.unwrap_or_default(),
            disk_state: properties.disk_state,
            source: creation.source_resource_id.and_then(|id| ResourceId::parse(&id).ok()),
            source_unique_id: creation.source_unique_id,
            create_option: creation.create_option,
            sector_size: creation.logical_sector_size.as_ref().and_then(whole).and_then(|size| size.try_into().ok()),
            copy_error,
            network_policy: properties.network_access_policy,
            auth_mode: properties.data_access_auth_mode,
            encryption_type: encryption.r#type,
            disk_encryption_set: encryption.disk_encryption_set_id,
            sku: self.sku.and_then(|sku| sku.name),
            tags: self.tags.unwrap_or_default(),
        })
    }

    /// As a disk. `asked` is its id where the answer does not repeat it.
    pub(crate) fn into_disk(self, asked: Option<&ResourceId>) -> Result<Disk, Fault> {
        let id = id(self.id.as_deref(), Kind::Disk, asked)?;
        let properties = self.properties.unwrap_or_default();
        let creation = properties.creation_data.unwrap_or_default();
        let encryption = properties.encryption.unwrap_or_default();
        Ok(Disk {
            name: self.name.unwrap_or_else(|| id.name().to_owned()),
            id,
            location: self.location.unwrap_or_default(),
            time_created: properties.time_created.unwrap_or_default(),
            unique_id: properties.unique_id,
            size_bytes: properties.disk_size_bytes.as_ref().and_then(whole),
            completion_percent: properties.completion_percent,
            provisioning: properties.provisioning_state.unwrap_or_default(),
            disk_state: properties.disk_state,
            source: creation.source_resource_id.and_then(|id| ResourceId::parse(&id).ok()),
            create_option: creation.create_option,
            upload_size: creation.upload_size_bytes.as_ref().and_then(whole),
            sector_size: creation.logical_sector_size.as_ref().and_then(whole).and_then(|size| size.try_into().ok()),
            network_policy: properties.network_access_policy,
            auth_mode: properties.data_access_auth_mode,
            encryption_type: encryption.r#type,
            disk_encryption_set: encryption.disk_encryption_set_id,
            managed_by: self.managed_by.filter(|machine| !machine.is_empty()),
            sku: self.sku.and_then(|sku| sku.name),
            tags: self.tags.unwrap_or_default(),
        })
    }
}

fn id(said: Option<&str>, kind: Kind, asked: Option<&ResourceId>) -> Result<ResourceId, Fault> {
    let wrong = |cause: String| Fault::new(Outcome::Wrong, cause);
    let id = match (said, asked) {
        (Some(said), _) => ResourceId::parse(said).map_err(|error| wrong(format!("in the answer, {error}")))?,
        (None, Some(asked)) => asked.clone(),
        (None, None) => return Err(wrong(format!("a {} in the answer has no id", kind.word()))),
    };
    if id.kind() == kind { Ok(id) } else { Err(wrong(format!("the answer has a {} in it", id.kind().word()))) }
}

fn sentence(said: &Said) -> Option<String> {
    let parts = [said.code.as_deref(), said.message.as_deref()];
    let said = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    (!said.is_empty()).then(|| scrub(&said))
}

/// A whole number, however it is written: `1073741824` and `1.073741824e9` are the same size.
fn whole(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    })
}

/// The request for a snapshot.
pub(crate) fn new_snapshot(new: &NewSnapshot) -> Bytes {
    let option = match new.copy {
        CopyKind::Copy => "Copy",
        CopyKind::CopyStart => "CopyStart",
    };
    let creation = json!({ "createOption": option, "sourceResourceId": new.source.to_string() });
    let mut properties = Map::new();
    properties.insert("creationData".to_owned(), creation);
    properties.insert("incremental".to_owned(), Value::Bool(new.incremental));
    protect(&mut properties, new.disk_encryption_set.as_deref(), new.network_policy.as_deref());
    resource(&new.location, new.sku.as_deref(), &new.tags, properties)
}

/// The request for a disk.
pub(crate) fn new_disk(new: &NewDisk) -> Bytes {
    let mut properties = Map::new();
    let mut creation = match &new.origin {
        Origin::Upload { bytes } => json!({ "createOption": "Upload", "uploadSizeBytes": bytes }),
        Origin::Copy { source } => json!({ "createOption": "Copy", "sourceResourceId": source.to_string() }),
        Origin::Empty { gib } => {
            properties.insert("diskSizeGB".to_owned(), json!(gib));
            json!({ "createOption": "Empty" })
        }
    };
    if let Some(size) = new.sector_size {
        creation["logicalSectorSize"] = json!(size);
    }
    properties.insert("creationData".to_owned(), creation);
    for (name, value) in [("osType", &new.os_type), ("hyperVGeneration", &new.generation)] {
        if let Some(value) = value {
            properties.insert(name.to_owned(), json!(value));
        }
    }
    protect(&mut properties, new.disk_encryption_set.as_deref(), new.network_policy.as_deref());
    resource(&new.location, new.sku.as_deref(), &new.tags, properties)
}

/// The request for leave to use data.
pub(crate) fn access(access: Access, seconds: u64) -> Bytes {
    let access = match access {
        Access::Read => "Read",
        Access::Write => "Write",
    };
    json!({ "access": access, "durationInSeconds": seconds }).to_string().into()
}

fn protect(properties: &mut Map<String, Value>, encryption_set: Option<&str>, network_policy: Option<&str>) {
    if let Some(set) = encryption_set {
        let encryption = json!({ "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": set });
        properties.insert("encryption".to_owned(), encryption);
    }
    if let Some(policy) = network_policy {
        properties.insert("networkAccessPolicy".to_owned(), json!(policy));
    }
}

fn resource(
    location: &str,
    sku: Option<&str>,
    tags: &BTreeMap<String, String>,
    properties: Map<String, Value>,
) -> Bytes {
    let mut resource = json!({ "location": location, "properties": properties });
    if let Some(sku) = sku {
        resource["sku"] = json!({ "name": sku });
    }
    if !tags.is_empty() {
        resource["tags"] = json!(tags);
    }
    resource.to_string().into()
}
