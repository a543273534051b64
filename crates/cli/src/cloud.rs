//! Resource Manager, as it was named: where it is, and who we are to it.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use pageferry_arm::{Arm, FixedToken, Options};
use pageferry_azure::{CredentialError, general_client, identity};
use pageferry_emulator::DEV_TOKEN;
use url::{Host, Url};

use crate::exit::{Exit, Failure};
use crate::place::{auth_mode, guarded};

/// Requests to Resource Manager are few.
const CONNECTIONS: usize = 4;

/// Where Resource Manager is, and how to say who we are.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    endpoint: Url,
    /// The way to authenticate, as it was typed; nobody needs to make sense of it who has no managed disk.
    auth: Option<String>,
}

impl Cloud {
    /// Makes sense of the flags.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub(crate) fn of(endpoint: &str, auth: Option<&str>) -> Result<Cloud, Failure> {
        let endpoint = Url::parse(endpoint.trim())
            .map_err(|error| Failure::usage(format!("--arm-endpoint is not a URL: {error}")))?;
        Ok(Cloud { endpoint, auth: auth.map(str::to_owned) })
    }

    /// A client, and who it is. Nothing is sent yet.
    ///
    /// # Errors
    /// There is no way to get a token.
    pub(crate) fn connect(&self) -> Result<(Arm, Arc<dyn TokenCredential>), Failure> {
        let token: Arc<dyn TokenCredential> = if self.is_emulator() {
            Arc::new(FixedToken::new(DEV_TOKEN))
        } else {
            self.identity().map_err(|error| {
                let failure = Failure::from(error);
                let message = format!("cannot sign in to {}: {}", self.endpoint, failure.message);
                Failure { message, ..failure }
            })?
        };
        let options = Options { endpoint: self.endpoint.clone(), ..Options::default() };
        let patience = options.patience + Duration::from_secs(5);
        let transport = general_client(CONNECTIONS, patience)
            .map_err(|error| Failure::new(Exit::Configuration, format!("cannot set up an HTTP client: {error}")))?;
        let poll = if self.is_emulator() { Duration::from_millis(20) } else { options.poll };
        let options = Options { transport: Some(transport), poll, ..options };
        Ok((Arm::new(Arc::clone(&token), options)?, token))
    }

    fn identity(&self) -> Result<Arc<dyn TokenCredential>, CredentialError> {
        let auth = self.auth.as_deref().map(auth_mode).transpose()?;
        identity(auth, &|name| std::env::var(name).ok()).map_err(guarded)
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Whether it is on this machine.
    pub(crate) fn is_emulator(&self) -> bool {
        match self.endpoint.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}
