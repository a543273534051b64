//! Who we are to the service, and how that is found out without a secret on the command line.
//!
//! The order is from the most to the least specific: a SAS in the address; what the flags say; the environment of this
//! side (`PAGEFERRY_SOURCE_…`, `PAGEFERRY_TARGET_…`); the general environment (`AZURE_…`), as far as it is about this
//! account; on this machine, the development account; then a token. Resource Manager knows tokens only, which [`identity`]
//! finds where the last step would.

use std::fmt;
use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::Policy;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use secrecy::{ExposeSecret, SecretString};

use crate::address::Address;
use crate::chain::{Chain, TokenSource};
use crate::connection_string::{ConnectionString, ConnectionStringError, DEVELOPMENT_ACCOUNT, development_key};
use crate::options::Clock;
use crate::shared_key::{AccountKey, SharedKeyPolicy};
use crate::wire::{PlainBearer, SasPolicy};

pub(crate) const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

/// With two slashes: the resource is called `https://disk.azure.com/`, and its slash counts.
const DISK_SCOPE: &str = "https://disk.azure.com//.default";

/// Who we are to the service.
#[derive(Clone)]
pub enum Credential {
    /// A shared access signature: the query it is, to the letter.
    Sas(SecretString),
    /// An account's key.
    AccountKey {
        /// The account.
        account: String,
        /// Its key.
        key: AccountKey,
    },
    /// Tokens of Microsoft Entra ID. https only.
    Token(Arc<dyn TokenCredential>),
    /// Both at once, as managed disks want it that are exported to known identities only (`dataAccessAuthMode`).
    SasAndToken {
        /// The signature: the query it is, to the letter.
        sas: SecretString,
        /// Who we are besides. Its tokens are for managed disks, not for storage accounts.
        token: Arc<dyn TokenCredential>,
    },
    /// Nobody.
    Anonymous,
}

/// Which of the two blobs a credential is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that is read.
    Source,
    /// The one that is written.
    Target,
}

/// Where tokens come from, or whether something else than a token is wanted (`--auth`, `AZURE_STORAGE_AUTH_MODE`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// The first of the token sources that works.
    Login,
    /// The identity of this machine.
    ManagedIdentity,
    /// Whoever is logged in with `az login`.
    AzureCli,
    /// A token file (`AZURE_FEDERATED_TOKEN_FILE`).
    WorkloadIdentity,
    /// A service principal's password (`AZURE_CLIENT_SECRET`).
    ClientSecret,
    /// An account key, a connection string or a SAS; no token.
    Key,
    /// Nothing at all.
    Anonymous,
}

/// What was said on the command line.
#[derive(Clone, Default, Debug)]
pub struct Flags {
    /// Where to find a SAS: `@file` or `env:NAME`.
    pub sas: Option<String>,
    /// How to authenticate.
    pub auth: Option<AuthMode>,
}

/// Why there is no credential.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A connection string that is none.
    #[error("{0}: {1}")]
    ConnectionString(String, ConnectionStringError),
    /// A connection string or key for another account.
    #[error("{name} is for another account than {account}")]
    OtherAccount {
        /// The variable.
        name: String,
        /// The account of the URL.
        account: String,
    },
    /// A key that is not base64.
    #[error("{0} is not a base64 key")]
    Key(String),
    /// A SAS given in place of where to find it.
    #[error("a SAS is not given on the command line but as @file or env:NAME")]
    Literal,
    /// The file or variable with the SAS cannot be had.
    #[error("no SAS in {0}: {1}")]
    NoSas(String, String),
    /// An authentication mode nobody knows.
    #[error(
        "{0} names no way to authenticate; known are login, managed-identity, cli, workload-identity, client-secret, key, anonymous"
    )]
    Mode(String),
    /// Something that a chosen way to authenticate needs.
    #[error("{0} needs {1}")]
    Missing(&'static str, &'static str),
    /// A token over plain http.
    #[error("tokens are sent over https only, and {0} is http; use a key or a SAS")]
    TokenOverHttp(String),
    /// Something else than a token where nothing else will do.
    #[error(
        "Resource Manager takes tokens only, and `{0}` is a way without; choose login, managed-identity, cli, \
         workload-identity or client-secret"
    )]
    TokensOnly(&'static str),
}

impl AuthMode {
    /// The mode called `name`; the names of the az CLI (`login`, `key`) among them.
    ///
    /// # Errors
    /// [`CredentialError::Mode`] for an unknown name.
    pub fn parse(name: &str) -> Result<AuthMode, CredentialError> {
        Ok(match name.trim() {
            "login" => AuthMode::Login,
            "managed-identity" => AuthMode::ManagedIdentity,
            "cli" => AuthMode::AzureCli,
            "workload-identity" => AuthMode::WorkloadIdentity,
            "client-secret" => AuthMode::ClientSecret,
            "key" => AuthMode::Key,
            "anonymous" => AuthMode::Anonymous,
            other => return Err(CredentialError::Mode(other.to_owned())),
        })
    }
}

impl Credential {
    /// Finds the credential for `address`. `env` reads environment variables. Nobody is asked for a token yet.
    ///
    /// # Errors
    /// [`CredentialError`] says what is missing or malformed; it never quotes a value.
    pub fn resolve(
        address: &Address,
        side: Side,
        env: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Credential, CredentialError> {
        let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        if let Some(sas) = address.sas() {
            return Ok(Credential::Sas(sas.clone()));
        }
        if let Some(place) = &flags.sas {
            return sas_from(place, &env);
        }
        match flags.auth {
            None | Some(AuthMode::Key) => {}
            Some(mode) => return of_mode(mode, address, &env),
        }
        let prefix = match side {
            Side::Source => "PAGEFERRY_SOURCE_STORAGE_",
            Side::Target => "PAGEFERRY_TARGET_STORAGE_",
        };
        if let Some(credential) = from_environment(prefix, true, address, &env)? {
            return Ok(credential);
        }
        if let Some(credential) = from_environment("AZURE_STORAGE_", false, address, &env)? {
            return Ok(credential);
        }
        if address.is_loopback()
            && address.account() == DEVELOPMENT_ACCOUNT
            && let Some(key) = development_key()
        {
            return Ok(Credential::AccountKey { account: DEVELOPMENT_ACCOUNT.to_owned(), key });
        }
        of_mode(chosen(flags.auth, &env)?, address, &env)
    }

    /// What signs the requests to `address`.
    pub(crate) fn policies(&self, address: &Address, clock: &Clock) -> Vec<Arc<dyn Policy>> {
        match self.clone() {
            Credential::Sas(sas) => vec![Arc::new(SasPolicy(sas))],
            Credential::AccountKey { account, key } => {
                vec![Arc::new(SharedKeyPolicy { account, key, clock: clock.clone() })]
            }
            Credential::Token(source) => vec![Arc::new(BearerTokenAuthorizationPolicy::new(source, [STORAGE_SCOPE]))],
            Credential::SasAndToken { sas, token } => {
                let bearer: Arc<dyn Policy> = if address.url().scheme() == "https" {
                    Arc::new(BearerTokenAuthorizationPolicy::new(token, [DISK_SCOPE]))
                } else {
                    Arc::new(PlainBearer { token, scope: DISK_SCOPE })
                };
                vec![Arc::new(SasPolicy(sas)), bearer]
            }
            Credential::Anonymous => Vec::new(),
        }
    }
}

/// Who we are to Resource Manager, found where a blob's token would be. Nobody is asked for a token yet.
///
/// # Errors
/// [`CredentialError`] says what is missing, and refuses ways to authenticate that give no token.
pub fn identity(
    auth: Option<AuthMode>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<dyn TokenCredential>, CredentialError> {
    let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    Ok(Arc::new(Chain::new(token_sources(chosen(auth, &env)?, &env)?)))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Sas(_) => f.write_str("Sas"),
            Credential::AccountKey { account, .. } => write!(f, "AccountKey({account})"),
            Credential::Token(_) => f.write_str("Token"),
            Credential::SasAndToken { .. } => f.write_str("SasAndToken"),
            Credential::Anonymous => f.write_str("Anonymous"),
        }
    }
}

type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What the variables that begin with `prefix` say about the account of `address`. The general ones may well be about
/// another account; those of one side are a mistake then.
fn from_environment(
    prefix: &str,
    ours: bool,
    address: &Address,
    env: &Env<'_>,
) -> Result<Option<Credential>, CredentialError> {
    let other = |name: String| CredentialError::OtherAccount { name, account: address.account().to_owned() };
    let name = format!("{prefix}CONNECTION_STRING");
    if let Some(text) = env(&name) {
        let parsed = ConnectionString::parse(&text);
        let parsed = parsed.map_err(|error| CredentialError::ConnectionString(name.clone(), error))?;
        match (parsed.is_about(address), parsed.sas(), parsed.key()) {
            (false, ..) if ours => return Err(other(name)),
            (true, Some(sas), _) => return Ok(Some(Credential::Sas(sas.clone()))),
            (true, None, Some(key)) => {
                let account = parsed.account().unwrap_or(address.account()).to_owned();
                return Ok(Some(Credential::AccountKey { account, key: key.clone() }));
            }
            _ => {}
        }
    }
    let name = format!("{prefix}KEY");
    if let Some(key) = env(&name) {
        let account = env(&format!("{prefix}ACCOUNT"));
        // For one side the account may be left out: there is no other it could be about.
        let matches = account.as_deref().map_or(ours, |account| account == address.account());
        if matches {
            let key = AccountKey::new(&key).ok_or(CredentialError::Key(name))?;
            return Ok(Some(Credential::AccountKey { account: address.account().to_owned(), key }));
        }
        if ours {
            return Err(other(name));
        }
    }
    let about_another = env(&format!("{prefix}ACCOUNT")).is_some_and(|account| account != address.account());
    match env(&format!("{prefix}SAS_TOKEN")) {
        Some(sas) if !about_another => Ok(Some(Credential::Sas(tidy(&sas)))),
        _ => Ok(None),
    }
}

/// A SAS from a file or a variable.
fn sas_from(place: &str, env: &Env<'_>) -> Result<Credential, CredentialError> {
    let missing = |why: String| CredentialError::NoSas(place.to_owned(), why);
    let text = if let Some(file) = place.strip_prefix('@') {
        std::fs::read_to_string(file).map_err(|error| missing(error.to_string()))?
    } else if let Some(name) = place.strip_prefix("env:") {
        env(name).ok_or_else(|| missing("it is not set".to_owned()))?
    } else {
        return Err(CredentialError::Literal);
    };
    let sas = tidy(&text);
    if sas.expose_secret().split('&').any(|piece| piece.starts_with("sig=")) {
        Ok(Credential::Sas(sas))
    } else {
        Err(missing("there is no signature in it".to_owned()))
    }
}

/// The query alone, where somebody pasted a whole URL, a leading `?` or a line end.
fn tidy(sas: &str) -> SecretString {
    let sas = sas.trim();
    SecretString::from(sas.split_once('?').map_or(sas, |(_, query)| query))
}

/// The way to authenticate: what the flags say, then the environment, then whatever gives a token.
fn chosen(auth: Option<AuthMode>, env: &Env<'_>) -> Result<AuthMode, CredentialError> {
    match (auth, env("AZURE_STORAGE_AUTH_MODE")) {
        (Some(mode), _) => Ok(mode),
        (None, Some(name)) => AuthMode::parse(&name),
        (None, None) => Ok(AuthMode::Login),
    }
}

fn of_mode(mode: AuthMode, address: &Address, env: &Env<'_>) -> Result<Credential, CredentialError> {
    let sources = match mode {
        AuthMode::Anonymous => return Ok(Credential::Anonymous),
        AuthMode::Key => {
            return Err(CredentialError::Missing(
                "authentication by key",
                "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_KEY with AZURE_STORAGE_ACCOUNT for this account",
            ));
        }
        mode => token_sources(mode, env)?,
    };
    if address.url().scheme() != "https" {
        return Err(CredentialError::TokenOverHttp(address.to_string()));
    }
    Ok(Credential::Token(Arc::new(Chain::new(sources))))
}

/// Where tokens come from in this mode.
fn token_sources(mode: AuthMode, env: &Env<'_>) -> Result<Vec<TokenSource>, CredentialError> {
    let (tenant, client) = (env("AZURE_TENANT_ID"), env("AZURE_CLIENT_ID"));
    let workload = || TokenSource::WorkloadIdentity {
        tenant: env("AZURE_TENANT_ID"),
        client: env("AZURE_CLIENT_ID"),
        file: env("AZURE_FEDERATED_TOKEN_FILE"),
    };
    let secret = || {
        let secret = env("AZURE_CLIENT_SECRET").map(SecretString::from);
        Some(TokenSource::ClientSecret { tenant: tenant.clone()?, client: client.clone()?, secret: secret? })
    };
    let managed = || TokenSource::ManagedIdentity { client: client.clone() };
    Ok(match mode {
        AuthMode::Anonymous => return Err(CredentialError::TokensOnly("anonymous")),
        AuthMode::Key => return Err(CredentialError::TokensOnly("key")),
        AuthMode::ManagedIdentity => vec![managed()],
        AuthMode::AzureCli => vec![TokenSource::AzureCli],
        AuthMode::WorkloadIdentity if env("AZURE_FEDERATED_TOKEN_FILE").is_none() => {
            return Err(CredentialError::Missing("workload identity", "AZURE_FEDERATED_TOKEN_FILE"));
        }
        AuthMode::WorkloadIdentity => vec![workload()],
        AuthMode::ClientSecret => vec![secret().ok_or(CredentialError::Missing(
            "authentication by client secret",
            "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
        ))?],
        AuthMode::Login => {
            let federated = env("AZURE_FEDERATED_TOKEN_FILE").map(|_| workload());
            federated.into_iter().chain(secret()).chain([managed(), TokenSource::AzureCli]).collect()
        }
    })
}
