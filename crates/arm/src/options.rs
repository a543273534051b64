//! What can be set about the way Resource Manager is talked to.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::HttpClient;
use pageferry_store::{ErrorKind, StoreError};
use url::{Host, Url};

/// The first version that copies snapshots between regions.
const OLDEST_VERSION: &str = "2020-12-01";

/// Where the public cloud's Resource Manager is.
const PUBLIC_CLOUD: &str = "https://management.azure.com";

/// How to talk to Resource Manager.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is. Tokens are asked for with its origin as scope, and sent nowhere else.
    pub endpoint: Url,
    /// `api-version`. The default is the one the behaviour described in the documentation was recorded with.
    pub api_version: String,
    /// What sends the requests; `None` makes a client of our own.
    pub transport: Option<Arc<dyn HttpClient>>,
    /// How often a running operation is asked about where the service does not say.
    pub poll: Duration,
    /// It is asked about no more seldom than this, whatever the service says.
    pub poll_max: Duration,
    /// How long to wait for one answer.
    pub patience: Duration,
    /// No attempt of a request starts later than this after its first.
    pub budget: Duration,
    /// How long to wait for one operation to be over.
    pub operation_limit: Duration,
    /// What the variation of delays starts from; `None` for a different one each time.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoint: public_cloud(),
            api_version: "2022-07-02".to_owned(),
            transport: None,
            poll: Duration::from_secs(5),
            poll_max: Duration::from_secs(60),
            patience: Duration::from_secs(60),
            budget: Duration::from_secs(300),
            operation_limit: Duration::from_secs(1800),
            seed: None,
        }
    }
}

impl Options {
    /// Refuses what cannot work, or would give a token away.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let invalid = |cause: String| Err(StoreError::new(ErrorKind::Invalid, "connect", self.shown(), cause));
        let endpoint = &self.endpoint;
        if !endpoint.username().is_empty() || endpoint.password().is_some() || endpoint.query().is_some() {
            return invalid("the endpoint must be a scheme and a host, without user, password and query".to_owned());
        }
        if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && is_loopback(endpoint)) {
            return invalid("tokens are sent over https only; http is for this machine".to_owned());
        }
        let version = &self.api_version;
        let day = version.get(..OLDEST_VERSION.len()).unwrap_or_default();
        let like = |(c, pattern): (u8, u8)| if pattern == b'-' { c == b'-' } else { c.is_ascii_digit() };
        let is_date = day.len() == OLDEST_VERSION.len() && day.bytes().zip(OLDEST_VERSION.bytes()).all(like);
        if !is_date || !matches!(&version[day.len()..], "" | "-preview") {
            return invalid(format!("api-version {version:?} is not a date such as 2022-07-02"));
        }
        if day < OLDEST_VERSION {
            return invalid(format!("api-version {version} too old for CopyStart; need {OLDEST_VERSION} or later"));
        }
        Ok(())
    }

    /// The endpoint, for errors.
    pub(crate) fn shown(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }
}

/// Whether a URL is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn public_cloud() -> Url {
    Url::parse(PUBLIC_CLOUD).expect("a constant that is a URL")
}
