//! beginGetAccess and endGetAccess: URLs to the data of disks and snapshots, and the end of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::sas::{ServiceSas, service_sas};
use crate::auth::token::Policy;
use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::body::Body;
use crate::model::arm::error::{ArmError, reply};
use crate::model::arm::id::{Key, Kind};
use crate::model::arm::operations::Outcome;
use crate::model::arm::resource::{Access, Detail, Resource, Upload};
use crate::model::arm::store::BLOB;
use crate::model::call::Target;
use crate::pages::PAGE;
use crate::request;
use crate::response::{Body as Content, Response};
use crate::time::Timestamp;
use crate::vhd;

/// The longest grant: what fits the number that the service has for it.
const LONGEST: u64 = 0x7FFF_FFFF;

impl Model {
    pub(crate) fn begin_get_access(&mut self, call: &ArmCall<'_>, key: &Key) -> Result<Response, ArmError> {
        let body = Body::read(call.request)?;
        let write = match body.needed("access")? {
            "Read" => false,
            "Write" => true,
            other => return Err(ArmError::bad(format!("access cannot be {other}."))),
        };
        let seconds = body.number("durationInSeconds")?.filter(|seconds| (1..=LONGEST).contains(seconds));
        let seconds =
            seconds.ok_or_else(|| ArmError::bad(format!("durationInSeconds must be between 1 and {LONGEST}.")))?;
        if let Some(format) = body.text("fileFormat")?.filter(|format| !matches!(*format, "VHD" | "VHDX")) {
            return Err(ArmError::bad(format!("fileFormat cannot be {format}.")));
        }
        let resource = self.arm.find(key)?.clone();
        self.may_grant(call.now, key, &resource, write)?;
        let expires = call.now.plus(Duration::from_secs(seconds));
        let active = resource.granted(call.now).filter(|_| self.config.variants.second_grant_extends);
        let access = match active {
            Some(active) => Access { expires: active.expires.max(expires), ..active.clone() },
            None => Access { policy: self.policy_name(resource.at()), write, expires },
        };
        self.revoke(&resource);
        let policy = Policy {
            id: access.policy.clone(),
            expiry: access.expires.iso(),
            permissions: if write { "rw" } else { "r" }.to_owned(),
            bearer: resource.setting("dataAccessAuthMode") == "AzureActiveDirectory",
            private: resource.setting("networkAccessPolicy") == "AllowPrivate",
            ..Policy::default()
        };
        if let Some(container) = self.world.managed_mut(&resource.home) {
            container.policies.push(policy);
        }
        let name = access.policy.clone();
        if let Some(resource) = self.arm.resources.get_mut(key) {
            resource.access = Some(access);
            if let Detail::Disk { upload: upload @ Upload::Ready, .. } = &mut resource.detail {
                *upload = Upload::Active;
            }
        }
        if self.config.variants.grant_at_once {
            return Ok(reply(200, &self.access_url(call, key, &name)?));
        }
        Ok(self.begin(call, &resource.location, Outcome::Access(key.clone(), name), None))
    }

    pub(crate) fn end_get_access(&mut self, call: &ArmCall<'_>, key: &Key) -> Result<Response, ArmError> {
        let resource = self.arm.find(key)?.clone();
        self.revoke(&resource);
        let ended = (resource.upload() == Upload::Active).then(|| self.uploaded(&resource));
        let (upload, size) = match &ended {
            None => (resource.upload(), resource.size),
            Some(Ok(size)) => (Upload::Over, *size),
            Some(Err(_)) => (Upload::Ready, resource.size),
        };
        if let Some(resource) = self.arm.resources.get_mut(key) {
            resource.access = None;
            resource.size = size;
            if let Detail::Disk { upload: known, .. } = &mut resource.detail {
                *known = upload;
            }
        }
        let outcome = ended.and_then(Result::err).map_or(Outcome::Done, Outcome::Failed);
        Ok(self.begin(call, &resource.location, outcome, None))
    }

    /// The answer with the URL that a policy opens, if that has not been revoked since.
    pub(crate) fn access_url(&self, call: &ArmCall<'_>, key: &Key, policy: &str) -> Result<Value, ArmError> {
        let resource = self.arm.find(key)?;
        let current = resource.access.as_ref().filter(|access| access.policy == policy);
        let signed = current.and_then(|_| self.signed(&resource.home, resource.at(), policy));
        let query = signed.ok_or_else(|| ArmError::conflict("The access was revoked before its URL was asked for."))?;
        let Target { account, container, blob } = &resource.home;
        Ok(json!({ "accessSAS": format!("http://{}/{account}/{container}/{blob}?{query}", call.host()) }))
    }

    /// Whether access may be granted to a resource as it is now.
    fn may_grant(&self, now: Timestamp, key: &Key, resource: &Resource, write: bool) -> Result<(), ArmError> {
        let id = &resource.id;
        if resource.setting("networkAccessPolicy") == "DenyAll" {
            return Err(ArmError::conflict(format!(
                "The network access policy of {id} is DenyAll: no SAS is given out."
            )));
        }
        if let Some(machine) = resource.machine() {
            return Err(ArmError::conflict(format!("{id} is attached to {machine}; no SAS is given out.")));
        }
        match (key.kind, resource.upload(), write) {
            (Kind::Snapshot, _, true) => return Err(ArmError::bad("Only read access is given to a snapshot.")),
            (Kind::Disk, Upload::Over, true) => {
                return Err(ArmError::conflict(format!("{id} is not waiting for an upload; only Read is possible.")));
            }
            (_, Upload::Ready | Upload::Active, false) => {
                return Err(ArmError::conflict(format!("{id} is waiting for an upload; only Write is possible.")));
            }
            _ => {}
        }
        if let Some(failure) = &resource.failure {
            return Err(ArmError::conflict(format!("{id} failed: {}", failure.message)));
        }
        if self.config.arm.limits.incomplete_unusable && key.kind == Kind::Snapshot {
            resource.must_be_complete(now)?;
        }
        let Some(family) = resource.family() else { return Ok(()) };
        let others = self.arm.resources.iter().filter(|(other, _)| *other != key);
        let granted =
            others.filter(|(_, other)| other.family() == Some(family) && other.granted(now).is_some()).count();
        match self.config.arm.limits.family_grants {
            Some(most) if granted >= most => Err(ArmError::limit(format!(
                "{granted} snapshots of the family {family} have an active SAS, which is the most; end one of them."
            ))),
            _ => Ok(()),
        }
    }

    /// The data size of a finished upload, or what is wrong with it.
    fn uploaded(&self, disk: &Resource) -> Result<u64, ArmError> {
        let state = self.content(disk).ok_or_else(|| ArmError::not_found(&disk.id))?;
        if disk.sector != 512 {
            let head = Content::pages(state.pages.clone(), 0, PAGE).into_bytes();
            let fine = head.starts_with(b"vhdxfile");
            return if fine { Ok(disk.size) } else { Err(ArmError::bad("The upload is not a VHDX.")) };
        }
        let footer = Content::pages(state.pages.clone(), state.size - vhd::FOOTER, state.size).into_bytes();
        match vhd::defect(&footer, state.size) {
            Some(defect) => Err(ArmError::new(400, "InvalidParameter", defect)),
            None => Ok(state.size - vhd::FOOTER),
        }
    }

    /// A name for a policy, of the form that the service has for each sort of resource.
    fn policy_name(&mut self, snapshot: Option<Timestamp>) -> String {
        let guids = if snapshot.is_some() { 2 } else { 1 };
        let names: Vec<String> = (0..guids).map(|_| self.ids.guid()).collect();
        if snapshot.is_some() { names.concat().replace('-', "") } else { names.concat() }
    }

    /// The query that opens a blob or one of its snapshots through a stored policy.
    fn signed(&self, home: &Target, snapshot: Option<Timestamp>, policy: &str) -> Option<String> {
        let time = snapshot.map(Timestamp::iso).unwrap_or_default();
        let (version, resource) = if snapshot.is_some() { ("2018-11-09", "bs") } else { ("2018-03-28", "b") };
        let sas = ServiceSas {
            version,
            resource,
            container: &home.container,
            blob: BLOB,
            snapshot: &time,
            identifier: policy,
            ..ServiceSas::default()
        };
        let query = service_sas(&home.account, self.world.key(&home.account)?, &sas)?;
        Some(if time.is_empty() { query } else { format!("snapshot={}&{query}", request::encode(&time)) })
    }
}

impl Resource {
    /// Refuses what needs all of the data while some of it is on its way, or will never come.
    pub(crate) fn must_be_complete(&self, now: Timestamp) -> Result<(), ArmError> {
        match self.is_complete(now) {
            true => Ok(()),
            false => Err(ArmError::conflict(format!(
                "{} is not complete: its completionPercent must be 100 before it can be used.",
                self.id
            ))),
        }
    }
}
