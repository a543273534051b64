//! Tokens, from whichever source this machine has.
//!
//! A chain is made without asking anybody: sources are set up and tried when the first token is needed, in order, and the
//! one that answers is kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

use crate::scrub::scrub;
use crate::transport;

/// How long a machine may take to tell that it has an identity, when it is only one of several sources.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// One place to get tokens from, with what it takes.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// A token file that Kubernetes mounts.
    WorkloadIdentity { tenant: Option<String>, client: Option<String>, file: Option<String> },
    /// A service principal with a password.
    ClientSecret { tenant: String, client: String, secret: SecretString },
    /// The identity of the machine we run on.
    ManagedIdentity { client: Option<String> },
    /// Whoever is logged in with `az login`.
    AzureCli,
}

impl TokenSource {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            TokenSource::WorkloadIdentity { .. } => "workload identity",
            TokenSource::ClientSecret { .. } => "client secret",
            TokenSource::ManagedIdentity { .. } => "managed identity",
            TokenSource::AzureCli => "az CLI",
        }
    }

    fn open(&self, sole: bool) -> azure_core::Result<Arc<dyn TokenCredential>> {
        transport::install_tls();
        // Where there are other sources to try, one that does not answer is not asked a second time.
        let retry = if sole { RetryOptions::default() } else { RetryOptions::none() };
        let client = Transport::new(transport::general_client(1, Duration::from_secs(60))?);
        let client_options = ClientOptions { retry, transport: Some(client), ..ClientOptions::default() };
        Ok(match self.clone() {
            TokenSource::WorkloadIdentity { tenant, client, file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: client,
                    tenant_id: tenant,
                    token_file_path: file.map(Into::into),
                }))?
            }
            TokenSource::ClientSecret { tenant, client, secret } => ClientSecretCredential::new(
                &tenant,
                client,
                Secret::new(secret.expose_secret().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )?,
            TokenSource::ManagedIdentity { client } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client.map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            TokenSource::AzureCli => AzureCliCredential::new(None)?,
        })
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Several sources of tokens, the first that works being the one.
#[derive(Debug)]
pub(crate) struct Chain {
    sources: Vec<TokenSource>,
    chosen: OnceCell<Arc<dyn TokenCredential>>,
}

impl Chain {
    pub(crate) fn new(sources: Vec<TokenSource>) -> Chain {
        Chain { sources, chosen: OnceCell::new() }
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.sources.iter().map(TokenSource::name).collect()
    }

    async fn choose(&self, scopes: &[&str]) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let sole = self.sources.len() == 1;
        let mut reasons = Vec::new();
        for source in &self.sources {
            let asked = async {
                let credential = source.open(sole)?;
                if !sole {
                    credential.get_token(scopes, None).await?;
                }
                Ok::<_, Error>(credential)
            };
            let impatient = !sole && matches!(source, TokenSource::ManagedIdentity { .. });
            let answer = if impatient {
                let silent = || Err(Error::with_message(ErrorKind::Credential, "this machine has none"));
                tokio::time::timeout(PROBE_TIMEOUT, asked).await.unwrap_or_else(|_| silent())
            } else {
                asked.await
            };
            match answer {
                Ok(credential) => {
                    tracing::info!(source = source.name(), "tokens come from");
                    return Ok(credential);
                }
                Err(error) => reasons.push(format!("{}: {}", source.name(), first_line(&error))),
            }
        }
        Err(Error::with_message(ErrorKind::Credential, format!("no token to be had ({})", reasons.join("; "))))
    }
}

#[async_trait]
impl TokenCredential for Chain {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let chosen = self.chosen.get_or_try_init(|| self.choose(scopes)).await?;
        // Whatever keeps a token from us, the request it was meant for has not been sent.
        let denied = |error: Error| Error::with_message(ErrorKind::Credential, first_line(&error));
        chosen.get_token(scopes, options).await.map_err(denied)
    }
}

fn first_line(error: &Error) -> String {
    scrub(error.to_string().lines().next().unwrap_or_default())
}
