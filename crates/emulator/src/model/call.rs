//! One request on its way through the model, with what was read out of it so far.

use crate::auth::token::{self, Place};
use crate::auth::{Caller, Need, shared_key};
use crate::model::fault::Fault;
use crate::model::version::Version;
use crate::model::world::World;
use crate::model::{Mode, Model};
use crate::request::{self, Request};
use crate::time::Timestamp;

/// How far a client's clock may be off.
const SKEW_SECONDS: u64 = 15 * 60;

/// A request with its time, version and address.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) now: Timestamp,
    pub(crate) version: Version,
    pub(crate) target: Target,
    /// Which checks were made earlier, and what is out of the ordinary.
    pub(crate) mode: Mode,
}

/// What a request is addressed to, decoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) account: String,
    /// Empty for the service itself.
    pub(crate) container: String,
    /// Empty for a container.
    pub(crate) blob: String,
}

/// Proof that a caller may do what the handler is about to do.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) caller: Caller,
}

impl Target {
    /// Reads `/account/container/blob`, or `/container/blob` when the host names the account.
    pub(crate) fn parse(request: &Request, world: &World) -> Result<Self, Fault> {
        let path = request.path.strip_prefix('/').ok_or_else(|| Fault::of("InvalidUri"))?;
        let label = request.get("host").and_then(account_label);
        if let Some(account) = label.filter(|label| world.holds(label)) {
            return Self::of(account, path);
        }
        let (account, rest) = path.split_once('/').unwrap_or((path, ""));
        let account = request::decode(account);
        if !world.holds(&account) {
            return Err(Fault::of("ResourceNotFound"));
        }
        Self::of(&account, rest)
    }

    /// Reads `container/blob` and checks both names.
    pub(crate) fn of(account: &str, rest: &str) -> Result<Self, Fault> {
        let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
        let (container, blob) = (request::decode(container), request::decode(blob));
        if !container.is_empty() && !is_container_name(&container) {
            return Err(Fault::of("InvalidResourceName"));
        }
        if blob.chars().count() > 1024 || blob.contains('\u{fffd}') {
            return Err(Fault::of("InvalidUri"));
        }
        Ok(Self { account: account.to_owned(), container, blob })
    }
}

impl Model {
    /// Checks credentials and permissions. Handlers call this once their input is read and before they look at
    /// anything, and the rest of the model asks for the proof it returns.
    pub(crate) fn admit(&self, call: &Call<'_>, need: Need) -> Result<Admitted, Fault> {
        if call.mode.trusted || !self.config.auth {
            return Ok(Admitted { caller: Caller::Owner });
        }
        let caller = self.authenticate(call)?;
        caller.check(need, self.world.public_access(&call.target))?;
        Ok(Admitted { caller })
    }

    fn authenticate(&self, call: &Call<'_>) -> Result<Caller, Fault> {
        if self.world.is_managed(&call.target.account) {
            return self.disk_caller(call);
        }
        let request = call.request;
        let malformed = || Fault::of("InvalidAuthenticationInfo");
        let signed = request.query("sig").is_some();
        let Some(header) = request.get("authorization") else {
            if !signed {
                return Ok(Caller::Anonymous);
            }
            let snapshot = request.query("snapshot").unwrap_or_default();
            return self.token(&request.query, &call.target, snapshot, call).map(Caller::Token);
        };
        if signed && !self.config.variants.header_beats_signature {
            return Err(malformed());
        }
        match header.split_once(' ') {
            Some(("SharedKey", credentials)) => self.shared_key(call, credentials.trim()),
            Some(("Bearer", token)) if call.version >= "2017-11-09" => {
                let known = self.config.bearer_tokens.iter().any(|t| t == token.trim());
                known.then_some(Caller::Owner).ok_or_else(|| malformed().status(401))
            }
            _ => Err(malformed()),
        }
    }

    /// Checks a shared access signature presented for `target`.
    pub(crate) fn token(
        &self,
        query: &[(String, String)],
        target: &Target,
        snapshot: &str,
        call: &Call<'_>,
    ) -> Result<token::Grant, Fault> {
        let key = self.world.key(&target.account).ok_or_else(|| Fault::of("AuthenticationFailed"))?;
        let place = Place {
            account: &target.account,
            key,
            container: &target.container,
            blob: &target.blob,
            snapshot,
            client: call.request.client,
            https: self.config.https,
        };
        let grant = token::verify(query, place, self.world.policies(target), call.now)?;
        let opens = self.config.variants.blob_signature_opens_snapshots || snapshot.is_empty();
        match query.iter().any(|(name, value)| name == "sr" && value == "b") && !opens {
            true => Err(Fault::of("AuthorizationResourceTypeMismatch")),
            false => Ok(grant),
        }
    }

    fn shared_key(&self, call: &Call<'_>, credentials: &str) -> Result<Caller, Fault> {
        let request = call.request;
        let (name, signature) = credentials.split_once(':').ok_or_else(|| Fault::of("InvalidAuthenticationInfo"))?;
        if name != call.target.account {
            return Err(Fault::authentication("The account of the signature is not the account of the request."));
        }
        let date = request.get("x-ms-date").or_else(|| request.get("date")).unwrap_or_default();
        let date = Timestamp::parse_http(date)
            .ok_or_else(|| Fault::authentication("The date header is missing or not an RFC 1123 date."))?;
        if date.seconds().abs_diff(call.now.seconds()) > SKEW_SECONDS {
            let now = call.now.http();
            let detail = format!("Request date header too old: '{}'. Server time is '{now}'.", date.http());
            return Err(Fault::authentication(detail));
        }
        let text = shared_key::string_to_sign(request, name, call.version);
        let key = self.world.key(name).unwrap_or_default();
        if shared_key::verify(key, &text, signature.trim()) {
            return Ok(Caller::Owner);
        }
        let shown = text.replace('\n', "\\n");
        Err(Fault::authentication(format!(
            "The MAC signature found in the HTTP request is not the same as any computed signature. \
             Server used following string to sign: '{shown}'."
        )))
    }
}

/// The account in a host such as `account.blob.core.windows.net`, or `account.z01.blob.storage.azure.net`.
pub(crate) fn account_label(host: &str) -> Option<&str> {
    host.split_once(".blob.").and_then(|(label, _)| label.split('.').next())
}

fn is_container_name(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let edges = !name.starts_with('-') && !name.ends_with('-') && !name.contains("--");
    matches!(name, "$root" | "$logs" | "$web") || ((3..=63).contains(&name.len()) && inner && edges)
}
