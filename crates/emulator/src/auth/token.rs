//! Reading shared access signatures: is this one genuine, in force, and meant for what is asked?

use std::net::{IpAddr, Ipv4Addr};

use crate::auth::{Need, sas, shared_key};
use crate::model::fault::Fault;
use crate::model::version;
use crate::time::Timestamp;

/// What a genuine signature allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) permissions: String,
    /// Whether a bearer token is demanded beside the signature.
    pub(crate) bearer: bool,
    /// Whether the signature is good in a private network alone.
    pub(crate) private: bool,
    scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// An account signature, with its resource kinds.
    Account(String),
    Container,
    Blob,
}

/// Where a signature is presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) account: &'a str,
    pub(crate) key: &'a str,
    pub(crate) container: &'a str,
    pub(crate) blob: &'a str,
    pub(crate) snapshot: &'a str,
    pub(crate) client: Option<IpAddr>,
    pub(crate) https: bool,
}

/// A stored access policy; fields it leaves empty may be given by the signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) id: String,
    pub(crate) start: String,
    pub(crate) expiry: String,
    pub(crate) permissions: String,
    /// Whether a bearer token is demanded beside the signature: managed disks alone have this.
    pub(crate) bearer: bool,
    /// Whether the signature is good in a private network alone: managed disks alone have this.
    pub(crate) private: bool,
}

/// Checks the signature in `query`.
pub(crate) fn verify(
    query: &[(String, String)],
    place: Place<'_>,
    policies: &[Policy],
    now: Timestamp,
) -> Result<Grant, Fault> {
    let get = |name: &str| query.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let version = version::known(get("sv")).ok_or_else(|| Fault::authentication("sv is missing or not a version"))?;
    if !get("skoid").is_empty() {
        return Err(Fault::authentication("user delegation signatures are not supported here"));
    }
    let (text, scope) = if !get("ss").is_empty() || !get("srt").is_empty() {
        (sas::account_text(place.account, &get), Scope::Account(get("srt").to_owned()))
    } else {
        let scope = match get("sr") {
            "c" => Scope::Container,
            "b" => Scope::Blob,
            "bs" if !place.snapshot.is_empty() && version >= "2018-11-09" => Scope::Blob,
            _ => return Err(Fault::authentication("sr does not fit the resource")),
        };
        if place.container.is_empty() || (scope == Scope::Blob && place.blob.is_empty()) {
            return Err(Fault::of("AuthorizationFailure"));
        }
        (sas::service_text(place.account, version, place.container, place.blob, place.snapshot, &get), scope)
    };
    if !shared_key::verify(place.key, &text, get("sig")) {
        let detail = format!("Signature did not match. String to sign used was {text}");
        return Err(Fault::authentication(detail));
    }
    let mut fields = Policy {
        id: get("si").to_owned(),
        start: get("st").to_owned(),
        expiry: get("se").to_owned(),
        permissions: get("sp").to_owned(),
        ..Policy::default()
    };
    if !fields.id.is_empty() {
        let policy = policies.iter().find(|p| p.id == fields.id);
        fields.merge(policy.ok_or_else(|| Fault::authentication("the stored access policy does not exist"))?)?;
    }
    fields.in_force(now)?;
    if matches!(&scope, Scope::Account(_)) && !get("ss").contains('b') {
        return Err(Fault::of("AuthorizationServiceMismatch"));
    }
    if get("spr") == "https" && !place.https {
        return Err(Fault::of("AuthorizationProtocolMismatch"));
    }
    if !get("sip").is_empty() && !address_allowed(get("sip"), place.client) {
        return Err(Fault::of("AuthorizationSourceIPMismatch"));
    }
    Ok(Grant { permissions: fields.permissions, bearer: fields.bearer, private: fields.private, scope })
}

impl Grant {
    pub(crate) fn check(&self, need: Need) -> Result<(), Fault> {
        match &self.scope {
            Scope::Account(kinds) if !kinds.contains(need.kind) => {
                return Err(Fault::of("AuthorizationResourceTypeMismatch"));
            }
            // A container signature reaches the blobs and the listing, not the container's own settings.
            Scope::Container if need.kind == 's' || (need.kind == 'c' && need.any_of != "l") => {
                return Err(Fault::of("AuthorizationFailure"));
            }
            Scope::Blob if need.kind != 'o' => return Err(Fault::of("AuthorizationFailure")),
            _ => {}
        }
        if need.any_of.is_empty() || need.any_of.chars().any(|letter| self.permissions.contains(letter)) {
            return Ok(());
        }
        Err(Fault::of("AuthorizationPermissionMismatch"))
    }
}

impl Policy {
    /// Takes what the stored policy says; a field given in both places makes the signature invalid.
    fn merge(&mut self, stored: &Policy) -> Result<(), Fault> {
        for (mine, theirs) in [
            (&mut self.start, &stored.start),
            (&mut self.expiry, &stored.expiry),
            (&mut self.permissions, &stored.permissions),
        ] {
            if !mine.is_empty() && !theirs.is_empty() {
                return Err(Fault::authentication("a field is given both in the signature and in its stored policy"));
            }
            if mine.is_empty() {
                mine.clone_from(theirs);
            }
        }
        (self.bearer, self.private) = (stored.bearer, stored.private);
        Ok(())
    }

    fn in_force(&self, now: Timestamp) -> Result<(), Fault> {
        let bad = || Fault::authentication("st or se is not a valid time");
        let end = Timestamp::parse_iso(&self.expiry).ok_or_else(bad)?;
        let start = match self.start.as_str() {
            "" => Timestamp::default(),
            text => Timestamp::parse_iso(text).ok_or_else(bad)?,
        };
        if start <= now && now < end {
            return Ok(());
        }
        Err(Fault::authentication(format!(
            "Signature not valid in the specified time frame: Start [{}] - Expiry [{}] - Current [{}]",
            self.start,
            self.expiry,
            now.http()
        )))
    }
}

fn address_allowed(range: &str, client: Option<IpAddr>) -> bool {
    let client = match client {
        Some(IpAddr::V4(v4)) => v4,
        Some(IpAddr::V6(v6)) => match v6.to_ipv4() {
            Some(v4) => v4,
            None => return false,
        },
        None => Ipv4Addr::LOCALHOST,
    };
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    match (low.trim().parse::<Ipv4Addr>(), high.trim().parse::<Ipv4Addr>()) {
        (Ok(low), Ok(high)) => (low..=high).contains(&client),
        _ => false,
    }
}
