//! The source of a copy: whose URL it is, whether it may be read, and in what state it is.

use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use crate::auth::Need;
use crate::model::Model;
use crate::model::blob::{Copy, Pending, State};
use crate::model::call::{Call, Target, account_label};
use crate::model::conditions::{Conditions, Verdict};
use crate::model::config::Config;
use crate::model::fault::Fault;
use crate::model::input;
use crate::model::world::World;
use crate::request;
use crate::time::Timestamp;

/// The longest URL a copy may name.
const MAX_URL: usize = 2 << 10;

/// How long the service keeps trying.
const MAX_COPY: Duration = Duration::from_secs(14 * 24 * 3600);

const GIVEN_UP: &str = "500 OperationCancelled \"The copy did not end within two weeks.\"";

/// A copy source, read from its URL.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) target: Target,
    pub(crate) snapshot: Option<Timestamp>,
    query: Vec<(String, String)>,
    /// The URL without its signature.
    pub(crate) shown: String,
}

impl Source {
    pub(crate) fn parse(text: &str, call: &Call<'_>, config: &Config, world: &World) -> Result<Self, Fault> {
        let bad = || Fault::header("x-ms-copy-source", text.split('?').next().unwrap_or_default());
        if text.len() > MAX_URL {
            return Err(bad());
        }
        let url = Url::parse(text).map_err(|_| bad())?;
        let host = url.host_str().ok_or_else(bad)?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let named = account_label(host).filter(|label| world.holds(label));
        let target = match (named, path.split_once('/')) {
            (Some(account), _) => Target::of(account, path)?,
            (None, Some((account, rest))) if is_here(&url, call, config) => {
                let account = request::decode(account);
                if !world.holds(&account) {
                    return Err(Fault::of("CannotVerifyCopySource"));
                }
                Target::of(&account, rest)?
            }
            // Nothing outside this service can be read from here.
            _ => return Err(Fault::of("CannotVerifyCopySource")),
        };
        let query = request::parse_query(url.query().unwrap_or_default());
        let snapshot = query.iter().find(|(name, _)| name == "snapshot");
        let snapshot = snapshot.map(|(_, text)| input::snapshot_time("snapshot", text)).transpose()?;
        let mut shown = text.split('?').next().unwrap_or_default().to_owned();
        if let Some(time) = snapshot {
            shown.push_str(&format!("?snapshot={}", request::encode(&time.iso())));
        }
        Ok(Self { target, snapshot, query, shown })
    }

    /// Compares the source with the conditions set on it. Put Page From URL passes on the 304 of the inner read.
    pub(crate) fn verify_conditions(conditions: &Conditions, state: &State, copy: bool) -> Result<(), Fault> {
        match conditions.check(state) {
            Verdict::Met => Ok(()),
            Verdict::NotModified if !copy => Err(Fault::of("CannotVerifyCopySource").status(304)),
            _ => Err(Fault::of("SourceConditionNotMet")),
        }
    }

    /// The record that a pending copy from here leaves on its target.
    pub(crate) fn record(&self, id: String, total: u64, incremental: bool) -> Copy {
        let source = self.shown.clone();
        let (description, completed, snapshot) = (None, None, None);
        Copy { id, source, status: "pending", description, done: 0, total, completed, incremental, snapshot }
    }

    /// A copy from here that makes `state` of its target after `takes`, unless the service gives it up before.
    pub(crate) fn pending(self, source_etag: u64, state: State, takes: Duration, now: Timestamp) -> Pending {
        let etag = state.etag;
        let outcome = if takes > MAX_COPY { Err(GIVEN_UP) } else { Ok(Box::new(state)) };
        let ends = now.plus(takes.min(MAX_COPY));
        Pending { outcome, etag, source: self.target, snapshot: self.snapshot, source_etag, started: now, ends, takes }
    }
}

impl Model {
    /// The state of a source that the caller may read. `own_key` says whether the caller's key for this account also
    /// opens the source.
    pub(crate) fn read_source(&self, call: &Call<'_>, source: &Source, own_key: bool) -> Result<State, Fault> {
        let unverified = |status, code| Fault::of("CannotVerifyCopySource").status(status).text_of(code);
        let bearer = call.request.get("x-ms-copy-source-authorization").and_then(|h| h.strip_prefix("Bearer "));
        let passed = bearer.is_some_and(|token| self.config.bearer_tokens.iter().any(|t| t == token.trim()));
        // A managed disk is opened by a signature alone, if with a token beside it.
        let managed = self.world.is_managed(&source.target.account);
        let owned = passed
            || (own_key && call.request.get("authorization").is_some() && source.target.account == call.target.account)
            || matches!(self.world.public_access(&source.target), "blob" | "container");
        let open = call.mode.trusted || !self.config.auth || (owned && !managed);
        if !open {
            if !source.query.iter().any(|(name, _)| name == "sig") {
                return Err(unverified(404, "ResourceNotFound"));
            }
            let snapshot = source.query.iter().find(|(n, _)| n == "snapshot").map_or("", |(_, v)| v);
            self.token(&source.query, &source.target, snapshot, call)
                .and_then(|grant| {
                    let proven = passed || self.has_token(call.request);
                    if grant.private || (grant.bearer && !proven) {
                        return Err(Fault::of("AuthorizationFailure"));
                    }
                    grant.check(Need::read())
                })
                .map_err(|fault| unverified(403, fault.code))?;
        }
        let blob = self.world.source(&source.target).ok_or_else(|| unverified(404, "BlobNotFound"))?;
        if blob.series.is_some() && source.snapshot.is_none() {
            return Err(Fault::of("CopySourceCannotBeIncrementalCopyBlob"));
        }
        blob.at(source.snapshot).cloned().ok_or_else(|| unverified(404, "BlobNotFound"))
    }

    /// As [`Model::read_source`], for the earlier snapshot of a diff that is named by URL.
    pub(crate) fn previous_by_url(&self, call: &Call<'_>, text: &str) -> Result<Timestamp, Fault> {
        const NAME: &str = "x-ms-previous-snapshot-url";
        let source = Source::parse(text, call, &self.config, &self.world);
        let source = source.map_err(|_| Fault::header(NAME, "(not shown)"))?;
        let time = source.snapshot.ok_or_else(|| Fault::header(NAME, "(no snapshot)"))?;
        // Nobody has the key of a managed disk, so there each of the two snapshots needs a signature of its own.
        let managed = self.world.is_managed(&source.target.account);
        let signed = source.query.iter().any(|(name, _)| name == "sig");
        let bare = managed && !signed && self.config.auth && !call.mode.trusted;
        match self.read_source(call, &source, !managed) {
            _ if bare => Err(Fault::authentication("The previous snapshot's URL has no signature.")),
            Ok(_) if source.target == call.target => Ok(time),
            Ok(_) => Err(Fault::of("PreviousSnapshotNotFound")),
            Err(fault) if fault.status == 404 => Err(Fault::of("PreviousSnapshotNotFound")),
            Err(_) => Err(Fault::authentication("The previous snapshot's URL does not allow reading it.")),
        }
    }
}

/// Whether a URL leads to the very service that the request was sent to.
fn is_here(url: &Url, call: &Call<'_>, config: &Config) -> bool {
    let authority = url.authority().rsplit('@').next().unwrap_or_default();
    if config.hosts.iter().any(|host| host.eq_ignore_ascii_case(authority)) {
        return true;
    }
    let Some(own) = call.request.get("host") else { return true };
    let (own_name, own_port) = split(own);
    let (name, port) = split(authority);
    own_port == port && (own_name.eq_ignore_ascii_case(name) || (is_loopback(own_name) && is_loopback(name)))
}

fn split(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (authority, "80"),
    }
}

fn is_loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
