//! The resource manager, as far as managed disks and their snapshots go: JSON over the same socket.
//!
//! It is part of the same pure state machine as the blobs, so that one journal holds both. Its paths begin with
//! `/subscriptions/`; the data of a disk is an ordinary page blob, reached through the URL that a grant gives.

mod access;
mod body;
pub(crate) mod config;
mod copies;
mod disk;
pub(crate) mod error;
mod guest;
pub(crate) mod id;
mod listing;
mod operations;
mod progress;
mod resource;
mod snapshot;
mod store;
mod update;

use std::collections::BTreeMap;

use crate::DEV_TOKEN;
use crate::model::arm::error::{ArmError, reply};
use crate::model::arm::id::{Key, Kind, Route};
use crate::model::arm::operations::Operation;
use crate::model::arm::resource::Resource;
use crate::model::call::Target;
use crate::model::{Mode, Model};
use crate::request::Request;
use crate::response::Response;
use crate::time::Timestamp;

pub use guest::{ActiveGrant, DiskImage};
pub(crate) use id::is_arm;

/// Everything the resource manager remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arm {
    resources: BTreeMap<Key, Resource>,
    operations: BTreeMap<String, Operation>,
    /// The families of copied snapshots: by the disk they began with, and the region and subscription they are in.
    families: BTreeMap<(String, String, String), Family>,
}

/// Copied snapshots of one disk that can be compared with each other.
#[derive(Debug, Clone)]
struct Family {
    id: String,
    home: Target,
}

/// A request to the resource manager on its way.
#[derive(Debug)]
pub(crate) struct ArmCall<'a> {
    request: &'a Request,
    now: Timestamp,
    mode: Mode,
}

impl ArmCall<'_> {
    /// The host by which the caller knows the service.
    fn host(&self) -> &str {
        self.request.get("host").unwrap_or("127.0.0.1")
    }

    /// The version of the interface; a journal does not keep it.
    fn api(&self) -> &str {
        self.request.query("api-version").unwrap_or_default()
    }
}

impl Arm {
    fn find(&self, key: &Key) -> Result<&Resource, ArmError> {
        self.resources.get(key).ok_or_else(|| ArmError::not_found(&key.id()))
    }
}

impl Model {
    /// Carries out one request to the resource manager.
    pub(crate) fn arm_step(&mut self, request: &Request, now: Timestamp, mode: Mode) -> Response {
        let id = self.ids.request();
        self.world.settle(now);
        let call = ArmCall { request, now, mode };
        let outcome = self.arm_dispatch(&call);
        if outcome.is_ok() && request.is_mutation() {
            self.world.check_sources(now);
        }
        let mut response = outcome.unwrap_or_else(|error| error.response());
        if response.status == 401 {
            response.set("www-authenticate", "Bearer authorization_uri=\"https://login.microsoftonline.com/common\"");
        }
        if request.method == "HEAD" {
            response.body = crate::response::Body::default();
        }
        let length = response.body.len().to_string();
        response.set("content-length", length);
        response.set("x-ms-request-id", id.as_str());
        response.set("x-ms-correlation-request-id", id);
        response.set("x-ms-ratelimit-remaining-subscription-reads", "11999");
        response.set("date", now.http());
        if let Some(client) = request.get("x-ms-client-request-id") {
            response.set("x-ms-client-request-id", client);
        }
        response
    }

    /// Whether a request carries a token that is known here.
    pub(crate) fn has_token(&self, request: &Request) -> bool {
        let bearer = request.get("authorization").and_then(|header| header.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        token.is_some_and(|token| token == DEV_TOKEN || self.config.bearer_tokens.iter().any(|known| known == token))
    }

    fn arm_dispatch(&mut self, call: &ArmCall<'_>) -> Result<Response, ArmError> {
        let request = call.request;
        if !call.mode.trusted {
            if self.config.auth && !self.has_token(request) {
                let what = "Authentication failed. The 'Authorization' header is missing or its token is not valid.";
                return Err(ArmError::new(401, "AuthenticationFailed", what));
            }
            check_version(call.api())?;
        }
        let route = Route::parse(&request.path);
        let nowhere = || ArmError::new(404, "InvalidResourceType", "There is no such resource or operation here.");
        let route = route.ok_or_else(nowhere)?;
        if let (Some(group), Some(known)) = (route.group(), &self.config.arm.groups)
            && !known.iter().any(|name| name.eq_ignore_ascii_case(group))
        {
            let what = format!("Resource group '{group}' could not be found.");
            return Err(ArmError::new(404, "ResourceGroupNotFound", what));
        }
        match (request.method.as_str(), &route) {
            ("GET" | "HEAD", Route::One(key, _)) => {
                Ok(reply(200, &self.arm.find(key)?.show(call.now, &self.config.arm)))
            }
            ("PUT", Route::One(key, id)) => match key.kind {
                Kind::Disk => self.put_disk(call, key, id),
                Kind::Snapshot => self.put_snapshot(call, key, id),
            },
            ("PATCH", Route::One(key, _)) => self.patch(call, key),
            ("DELETE", Route::One(key, _)) => self.delete(call, key),
            ("GET" | "HEAD", Route::List { .. }) => self.list_resources(call, &route),
            ("GET" | "HEAD", Route::Operation(id)) => self.operation(call, id),
            ("POST", Route::Action(key, action)) => match action.as_str() {
                "begingetaccess" => self.begin_get_access(call, key),
                "endgetaccess" => self.end_get_access(call, key),
                // What a machine does to its disk is not the resource manager's business, and never on the wire.
                action if call.mode.trusted => self.guest(call, key, action).unwrap_or_else(|| Err(nowhere())),
                _ => Err(nowhere()),
            },
            (method, _) => {
                let what = format!("The HTTP method '{method}' is not supported here.");
                Err(ArmError::new(405, "MethodNotAllowed", what))
            }
        }
    }
}

/// A version is a date, with or without `-preview`.
fn check_version(text: &str) -> Result<(), ArmError> {
    if text.is_empty() {
        let what = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(ArmError::new(400, "MissingApiVersionParameter", what));
    }
    let date = text.trim_end_matches("-preview");
    match date.len() == 10 && Timestamp::parse_iso(date).is_some() {
        true => Ok(()),
        false => Err(ArmError::new(400, "InvalidApiVersionParameter", format!("The api-version '{text}' is invalid."))),
    }
}
