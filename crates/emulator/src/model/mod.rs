//! The service as a pure state machine: a request and a time in, an answer out.
//!
//! There are no sockets, clocks or global random numbers here, so the same requests at the same times give the same
//! answers and leave the same state. That is what lets a journal restore a service, and a test replay a disaster.

mod account;
pub(crate) mod arm;
pub(crate) mod blob;
pub(crate) mod call;
mod conditions;
pub(crate) mod config;
mod container;
mod copy;
mod create;
pub(crate) mod fault;
mod ids;
mod incremental;
pub(crate) mod input;
mod lease;
mod lease_ops;
mod listing;
mod managed;
mod properties;
mod ranges;
mod read;
mod remove;
mod source;
pub(crate) mod variants;
pub(crate) mod version;
mod world;
mod write;

use crate::model::arm::Arm;
use crate::model::call::{Call, Target};
use crate::model::config::Config;
use crate::model::fault::Fault;
use crate::model::ids::Ids;
use crate::model::world::World;
use crate::request::Request;
use crate::response::Response;
use crate::time::Timestamp;

/// Headers whose meaning is not implemented and must not be lost: the first frames the body, the others would have
/// to be remembered.
const REFUSED: [&str; 4] = ["x-ms-structured-body", "x-ms-encryption-key", "x-ms-encryption-scope", "x-ms-tags"];

const SERVER: &str = "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0";

/// How a request comes to be carried out, if not in the ordinary way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Credentials were checked earlier, or nobody is to be asked for them.
    pub(crate) trusted: bool,
    /// Lease and conditions were checked earlier.
    pub(crate) admitted: bool,
    /// The most entries in a listing.
    pub(crate) list_limit: Option<usize>,
}

/// The whole state of a service.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: Config,
    world: World,
    ids: Ids,
    arm: Arm,
}

impl Model {
    /// An empty service.
    pub fn new(config: Config) -> Self {
        Self { world: World::new(&config.accounts), ids: Ids::new(config.seed), arm: Arm::default(), config }
    }

    /// How the service is set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Carries out one request at `now`. Times must not go backwards from one call to the next.
    pub fn apply(&mut self, request: &Request, now: Timestamp) -> Response {
        let mut response = self.step(request, now, Mode::default());
        response.seal();
        response
    }

    /// As [`Model::apply`], but a range hash is left to [`Response::seal`], and there are other ways than the ordinary:
    /// requests from a journal, for one, were checked before they were written down.
    pub(crate) fn step(&mut self, request: &Request, now: Timestamp, mode: Mode) -> Response {
        if arm::is_arm(request) {
            return self.arm_step(request, now, mode);
        }
        let id = self.ids.request();
        let version = version::of(request);
        self.world.settle(now);
        let outcome = version.clone().and_then(|version| {
            let target = Target::parse(request, &self.world)?;
            self.dispatch(&Call { request, now, version, target, mode })
        });
        if outcome.is_ok() && request.is_mutation() {
            self.world.check_sources(now);
        }
        let voiced = outcome.map_err(|fault| self.config.variants.voice(fault, request));
        let mut response = voiced.unwrap_or_else(|fault| fault.response(&request.method, &id, now));
        if response.get("content-length").is_none() && self.has_length(request, &response) {
            let length = response.body.len().to_string();
            response.set("content-length", length);
        }
        response.set("server", SERVER);
        response.set("x-ms-request-id", id);
        response.set("date", now.http());
        let version = version.unwrap_or("2021-12-02");
        response.set("x-ms-version", version);
        if let Some(client) = request.get("x-ms-client-request-id").filter(|_| version >= "2019-07-07") {
            response.set("x-ms-client-request-id", client);
        }
        response
    }

    /// Whether an answer says how long it is: lists come in chunks, and what has no body by nature is silent on it.
    fn has_length(&self, request: &Request, response: &Response) -> bool {
        let listing = response.is_success() && response.get("content-type") == Some("application/xml");
        match (request.method.as_str(), response.status) {
            (_, 304) => false,
            ("HEAD", _) => response.is_success(),
            _ => !(listing && self.config.variants.chunked_xml),
        }
    }

    /// The times of the snapshots of the addressed blob, the oldest first.
    pub(crate) fn snapshots(&self, request: &Request) -> Vec<Timestamp> {
        let target = Target::parse(request, &self.world).ok();
        let blob = target.as_ref().and_then(|target| self.world.source(target));
        blob.map(|blob| blob.snapshots.keys().copied().collect()).unwrap_or_default()
    }

    /// Which of the blobs of this name the addressed one is, so that it can be told from a later one.
    pub(crate) fn incarnation(&self, request: &Request) -> Option<(Timestamp, u64)> {
        let target = Target::parse(request, &self.world).ok()?;
        self.world.source(&target).map(|blob| (blob.state.created, blob.state.generation))
    }

    fn dispatch(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        let lower = |name: &str| request.query(name).unwrap_or_default().to_ascii_lowercase();
        let (kind, comp) = (lower("restype"), lower("comp"));
        let method = request.method.as_str();
        if !matches!(method, "GET" | "HEAD" | "PUT" | "POST" | "DELETE") {
            return Err(Fault::of("UnsupportedHttpVerb"));
        }
        if let Some(name) = REFUSED.into_iter().find(|name| request.get(name).is_some()) {
            return Err(Fault::of("UnsupportedHeader").with("HeaderName", name));
        }
        self.guard_disk(call, &comp)?;
        if kind == "account" && comp == "properties" && matches!(method, "GET" | "HEAD") {
            return self.account_information(call);
        }
        let target = &call.target;
        if target.container.is_empty() {
            return match (method, kind.as_str(), comp.as_str()) {
                ("GET", _, "list") => self.list_containers(call),
                ("GET", "service", "properties") => self.service_properties(call),
                ("PUT", "service", "properties") => self.set_service_properties(call),
                ("POST", "service", "userdelegationkey") => Err(Fault::of("NotImplemented")),
                _ => Err(unknown(method, &comp)),
            };
        }
        if target.blob.is_empty() {
            return match (method, comp.as_str()) {
                _ if kind != "container" => Err(Fault::of("InvalidUri")),
                ("PUT", "") => self.create_container(call),
                ("DELETE", "") => self.delete_container(call),
                ("GET" | "HEAD", "" | "metadata") => self.container_properties(call),
                ("PUT", "metadata") => self.set_container_metadata(call),
                ("GET" | "HEAD", "acl") => self.container_acl(call),
                ("PUT", "acl") => self.set_container_acl(call),
                ("GET", "list") => self.list_blobs(call),
                ("PUT" | "POST", "lease" | "batch" | "undelete" | "rename") => Err(Fault::of("NotImplemented")),
                _ => Err(unknown(method, &comp)),
            };
        }
        if call.version < "2009-09-19" {
            return Err(Fault::of("InvalidVersionForPageBlobOperation"));
        }
        match (method, comp.as_str()) {
            ("PUT", "") if request.get("x-ms-copy-source").is_some() => self.copy_blob(call),
            ("PUT", "") => self.put_blob(call),
            ("PUT", "page") => self.put_page(call),
            ("PUT", "properties") => self.set_properties(call),
            ("PUT", "metadata") => self.set_metadata(call),
            ("PUT", "snapshot") => self.snapshot(call),
            ("PUT", "lease") => self.lease(call),
            ("PUT", "tier") => self.set_tier(call),
            ("PUT", "copy") => self.abort_copy(call),
            ("PUT", "incrementalcopy") if call.version >= "2016-05-31" => self.incremental_copy(call),
            ("PUT", "undelete" | "tags" | "expiry" | "legalhold") => Err(Fault::of("NotImplemented")),
            ("PUT", "block" | "blocklist" | "appendblock" | "seal") | ("GET", "blocklist") => self.wrong_type(call),
            ("GET", "pagelist") => self.page_ranges(call),
            ("GET", "") => self.get_blob(call),
            ("HEAD", "") => self.get_properties(call),
            ("GET" | "HEAD", "metadata") => self.get_metadata(call),
            ("DELETE", "") => self.delete_blob(call),
            _ => Err(unknown(method, &comp)),
        }
    }
}

/// The refusal of something the service does not have.
fn unknown(method: &str, comp: &str) -> Fault {
    match (method, comp) {
        (_, "") => Fault::of("UnsupportedHttpVerb"),
        _ => Fault::parameter("comp", comp, "Not a known operation on this resource."),
    }
}
