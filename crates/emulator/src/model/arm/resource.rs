//! A managed disk or a snapshot of one: what is remembered of it, and how it is shown.

use serde_json::{Map, Value, json};

use crate::model::arm::body::Body;
use crate::model::arm::config::ArmConfig;
use crate::model::arm::error::ArmError;
use crate::model::arm::id::{Kind, region};
use crate::model::arm::progress::Progress;
use crate::model::call::Target;
use crate::time::Timestamp;

/// Properties that are kept as they were given and shown again, whatever they mean.
const SETTINGS: [&str; 14] = [
    "osType",
    "hyperVGeneration",
    "networkAccessPolicy",
    "publicNetworkAccess",
    "diskAccessId",
    "dataAccessAuthMode",
    "encryption",
    "securityProfile",
    "supportedCapabilities",
    "supportsHibernation",
    "diskIOPSReadWrite",
    "diskMBpsReadWrite",
    "burstingEnabled",
    "tier",
];

const DISK_SKUS: [&str; 7] = [
    "Standard_LRS",
    "Premium_LRS",
    "Premium_ZRS",
    "StandardSSD_LRS",
    "StandardSSD_ZRS",
    "UltraSSD_LRS",
    "PremiumV2_LRS",
];

const SNAPSHOT_SKUS: [&str; 3] = ["Standard_LRS", "Premium_LRS", "Standard_ZRS"];

/// A disk or a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The id as it was first written.
    pub(crate) id: String,
    /// The region, as it was first written.
    pub(crate) location: String,
    pub(crate) sku: String,
    pub(crate) tags: Option<Value>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) created: Timestamp,
    pub(crate) unique_id: String,
    /// Bytes of data, without a footer.
    pub(crate) size: u64,
    pub(crate) sector: u64,
    pub(crate) creation: Creation,
    /// The blob that holds the data.
    pub(crate) home: Target,
    /// The disk, by its unique id, whose history this is a part of; copies to other regions keep it.
    pub(crate) lineage: String,
    pub(crate) progress: Option<Progress>,
    pub(crate) failure: Option<Failure>,
    pub(crate) access: Option<Access>,
    /// Until when a change is under way, and its name.
    pub(crate) busy: Option<(Timestamp, &'static str)>,
    pub(crate) detail: Detail,
}

/// Where the data came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) option: String,
    pub(crate) source_id: Option<String>,
    pub(crate) source_unique_id: Option<String>,
    pub(crate) source_uri: Option<String>,
    pub(crate) upload_size: Option<u64>,
}

/// Why there will never be all of the data.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

/// A grant: somebody has a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The stored access policy that its signature names.
    pub(crate) policy: String,
    pub(crate) write: bool,
    pub(crate) expires: Timestamp,
}

/// What only one of the two sorts has.
#[derive(Debug, Clone)]
pub(crate) enum Detail {
    Disk {
        upload: Upload,
        /// The family of its incremental snapshots.
        family: String,
        /// When the last incremental snapshots were taken.
        taken: Vec<Timestamp>,
        /// The id of the machine that has it.
        machine: Option<String>,
    },
    Snapshot(Picture),
}

/// What a snapshot is of.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) incremental: bool,
    /// Empty for a full one.
    pub(crate) family: String,
    /// Which snapshot of the blob at home it is; a full one has a blob of its own.
    pub(crate) at: Option<Timestamp>,
    /// When the disk was as the picture shows it.
    pub(crate) shows: Timestamp,
}

/// Where a disk is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    /// Nobody has begun to fill it.
    Ready,
    /// Somebody may write to it.
    Active,
    /// It is an ordinary disk.
    Over,
}

impl Resource {
    pub(crate) fn kind(&self) -> Kind {
        match self.detail {
            Detail::Disk { .. } => Kind::Disk,
            Detail::Snapshot(_) => Kind::Snapshot,
        }
    }

    /// The machine that has it, if it is a disk and one does.
    pub(crate) fn machine(&self) -> Option<&str> {
        match &self.detail {
            Detail::Disk { machine, .. } => machine.as_deref(),
            Detail::Snapshot(_) => None,
        }
    }

    /// The picture, if it is a snapshot.
    pub(crate) fn picture(&self) -> Option<&Picture> {
        match &self.detail {
            Detail::Snapshot(picture) => Some(picture),
            Detail::Disk { .. } => None,
        }
    }

    /// Where a disk is in its life; a snapshot is past all that.
    pub(crate) fn upload(&self) -> Upload {
        match self.detail {
            Detail::Disk { upload, .. } => upload,
            Detail::Snapshot(_) => Upload::Over,
        }
    }

    /// The snapshot of the blob at home that it is.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.picture().and_then(|picture| picture.at)
    }

    /// The family, if it is an incremental snapshot.
    pub(crate) fn family(&self) -> Option<&str> {
        self.picture().filter(|picture| picture.incremental).map(|picture| picture.family.as_str())
    }

    /// Whether all of its data is there.
    pub(crate) fn is_complete(&self, now: Timestamp) -> bool {
        self.failure.is_none() && self.progress.is_none_or(|progress| progress.is_over(now))
    }

    /// Whether its data is on the way.
    pub(crate) fn is_pending(&self, now: Timestamp) -> bool {
        self.failure.is_none() && self.progress.is_some_and(|progress| !progress.is_over(now))
    }

    /// Ends a copy on its way.
    pub(crate) fn fail(&mut self, code: Option<&'static str>, message: String, at: Timestamp) {
        self.failure = Some(Failure { code, message, at });
    }

    /// The grant in force.
    pub(crate) fn granted(&self, now: Timestamp) -> Option<&Access> {
        self.access.as_ref().filter(|access| now < access.expires)
    }

    /// Whether it is on one of the two sorts of storage that copy in the background and say how far they are.
    pub(crate) fn is_fast(&self) -> bool {
        is_fast(&self.sku)
    }

    /// A setting that is a text.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Takes over what a request says of tags, storage and settings.
    pub(crate) fn change(&mut self, body: &Body, keep_sku: bool) -> Result<(), ArmError> {
        if let Some(sku) = read_sku(body, self.kind())? {
            if keep_sku && !sku.eq_ignore_ascii_case(&self.sku) {
                return Err(ArmError::conflict("The storage type of an incremental snapshot cannot be changed."));
            }
            self.sku = sku;
        }
        if let Some(tags) = body.object("tags")? {
            self.tags = Some(Value::Object(tags.clone()));
        }
        self.settings.extend(read_settings(body)?);
        Ok(())
    }

    /// The per cent that are copied, if it says so.
    fn percent(&self, now: Timestamp, config: &ArmConfig) -> Option<f64> {
        let Some(progress) = self.progress else {
            let copied = matches!(self.creation.option.as_str(), "Copy" | "CopyStart");
            return copied.then_some(100.0);
        };
        let at = self.failure.as_ref().map_or(now, |failure| failure.at);
        let silent = !progress.is_over(at) && at.since(progress.started) < config.percent_delay;
        Some(progress.percent(at)).filter(|percent| !silent && *percent > 0.0)
    }

    fn state(&self, now: Timestamp) -> &'static str {
        match self.upload() {
            Upload::Ready => "ReadyToUpload",
            Upload::Active => "ActiveUpload",
            Upload::Over if self.machine().is_some() => "Attached",
            Upload::Over if self.granted(now).is_some() => "ActiveSAS",
            Upload::Over => "Unattached",
        }
    }

    /// The resource as the service shows it.
    pub(crate) fn show(&self, now: Timestamp, config: &ArmConfig) -> Value {
        let provisioning = match (&self.failure, self.busy) {
            (Some(_), _) => "Failed",
            (None, Some((until, name))) if now < until => name,
            _ => "Succeeded",
        };
        let mut properties = self.settings.clone();
        let mut set = |name: &str, value: Value| drop(properties.insert(name.to_owned(), value));
        set("timeCreated", json!(self.created.iso()));
        set("provisioningState", json!(provisioning));
        set("diskSizeGB", json!(self.size.div_ceil(1 << 30)));
        set("diskSizeBytes", json!(self.size));
        set("diskState", json!(self.state(now)));
        set("uniqueId", json!(self.unique_id));
        set("creationData", self.creation.show(self.sector));
        if let Some(percent) = self.percent(now, config) {
            set("completionPercent", json!(percent));
        }
        if let Some(picture) = self.picture() {
            set("incremental", json!(picture.incremental));
            if picture.incremental {
                set("incrementalSnapshotFamilyId", json!(picture.family));
            }
        }
        if let Some(Failure { code: Some(code), message, .. }) = &self.failure {
            set("copyCompletionError", json!({ "errorCode": code, "errorMessage": message }));
        }
        let (name, kind) = (self.id.rsplit('/').next().unwrap_or_default(), self.kind().plural());
        let mut out = json!({
            "id": self.id,
            "name": name,
            "type": format!("Microsoft.Compute/{kind}"),
            "location": region(&self.location),
            "sku": { "name": self.sku, "tier": self.sku.split('_').next() },
            "properties": properties,
        });
        if let Some(tags) = &self.tags {
            out["tags"] = tags.clone();
        }
        if let Some(machine) = self.machine() {
            out["managedBy"] = json!(machine);
        }
        out
    }
}

impl Creation {
    fn show(&self, sector: u64) -> Value {
        let mut out = json!({ "createOption": self.option, "logicalSectorSize": sector });
        let texts = [
            ("sourceResourceId", &self.source_id),
            ("sourceUniqueId", &self.source_unique_id),
            ("sourceUri", &self.source_uri),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                out[name] = json!(value);
            }
        }
        if let Some(size) = self.upload_size {
            out["uploadSizeBytes"] = json!(size);
        }
        out
    }
}

/// Whether a sort of storage copies in the background and says how far it is.
pub(crate) fn is_fast(sku: &str) -> bool {
    matches!(sku, "UltraSSD_LRS" | "PremiumV2_LRS")
}

/// The sort of storage that a request names.
pub(crate) fn read_sku(body: &Body, kind: Kind) -> Result<Option<String>, ArmError> {
    let known: &[&str] = match kind {
        Kind::Disk => &DISK_SKUS,
        Kind::Snapshot => &SNAPSHOT_SKUS,
    };
    let Some(name) = body.text("sku.name")? else { return Ok(None) };
    let found = known.iter().find(|sku| sku.eq_ignore_ascii_case(name));
    let bad = || ArmError::bad(format!("SKU {name} is not supported for resource type {}.", kind.plural()));
    found.map(|sku| Some((*sku).to_owned())).ok_or_else(bad)
}

/// The settings that a request names.
pub(crate) fn read_settings(body: &Body) -> Result<Map<String, Value>, ArmError> {
    let one_of = |name: &str, known: &[&str]| match body.text(&format!("properties.{name}"))? {
        Some(text) if !known.contains(&text) => Err(ArmError::bad(format!("{name} cannot be {text}."))),
        _ => Ok(()),
    };
    one_of("networkAccessPolicy", &["AllowAll", "AllowPrivate", "DenyAll"])?;
    one_of("dataAccessAuthMode", &["None", "AzureActiveDirectory"])?;
    let given = |name: &&str| Some(((*name).to_owned(), body.get(&format!("properties.{name}"))?.clone()));
    Ok(SETTINGS.iter().filter_map(given).collect())
}

/// Settings with what holds when nothing is said.
pub(crate) fn with_defaults(mut settings: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in [
        ("networkAccessPolicy", json!("AllowAll")),
        ("publicNetworkAccess", json!("Enabled")),
        ("encryption", json!({ "type": "EncryptionAtRestWithPlatformKey" })),
    ] {
        settings.entry(name).or_insert(value);
    }
    settings
}
