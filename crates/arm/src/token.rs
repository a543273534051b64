//! Tokens, and how requests carry them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{Duration, OffsetDateTime};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The same token for whoever asks: what an emulator on this machine is content with.
#[derive(Clone)]
pub struct FixedToken(SecretString);

impl FixedToken {
    /// Always answers `token`.
    pub fn new(token: impl Into<String>) -> FixedToken {
        FixedToken(SecretString::from(token.into()))
    }
}

impl fmt::Debug for FixedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedToken")
    }
}

#[async_trait]
impl TokenCredential for FixedToken {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let hour = OffsetDateTime::now_utc() + Duration::hours(1);
        Ok(AccessToken::new(self.0.expose_secret().to_owned(), hour))
    }
}

/// What puts a token into every request to `endpoint`, which is https, or on this machine.
pub(crate) fn policy(token: Arc<dyn TokenCredential>, endpoint: &Url) -> Arc<dyn Policy> {
    let scope = format!("{}/.default", endpoint.origin().ascii_serialization());
    if endpoint.scheme() == "https" {
        Arc::new(BearerTokenAuthorizationPolicy::new(token, [scope]))
    } else {
        Arc::new(PlainBearer { token, scope })
    }
}

/// The SDK's policy refuses http even to this machine, where there is nobody to listen.
#[derive(Debug)]
struct PlainBearer {
    token: Arc<dyn TokenCredential>,
    scope: String,
}

#[async_trait]
impl Policy for PlainBearer {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let token = self.token.get_token(&[&self.scope], None).await?;
        request.insert_header(AUTHORIZATION, format!("Bearer {}", token.token.secret()));
        next[0].send(ctx, request, &next[1..]).await
    }
}
