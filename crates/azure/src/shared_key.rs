//! Signing with an account key (REST: Authorize with Shared Key), which the SDK does not offer.
//!
//! A policy, run on every attempt so that the date is fresh. It signs the URL's path as it is sent; on a path-style
//! endpoint that begins with the account, which then stands in the signed text twice.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::error::{Error, ErrorKind};
use azure_core::hmac::hmac_sha256;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::to_rfc7231;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use crate::options::Clock;

/// A storage account's key: base64, known to be well-formed.
#[derive(Clone)]
pub struct AccountKey(SecretString);

impl AccountKey {
    /// The key in `text`; `None` where that is no base64.
    pub fn new(text: &str) -> Option<AccountKey> {
        let text = text.trim();
        let bytes = STANDARD.decode(text).ok()?;
        (!bytes.is_empty()).then(|| AccountKey(SecretString::from(text)))
    }

    /// The base64 of the signature of `text`.
    pub(crate) fn sign(&self, text: &str) -> azure_core::Result<String> {
        hmac_sha256(text, &Secret::new(self.0.expose_secret().to_owned()))
            .map_err(|_| Error::with_message(ErrorKind::Credential, "the account key cannot be used to sign"))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey")
    }
}

/// Signs every request that passes.
#[derive(Debug)]
pub(crate) struct SharedKeyPolicy {
    pub(crate) account: String,
    pub(crate) key: AccountKey,
    pub(crate) clock: Clock,
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("x-ms-date", to_rfc7231(&self.clock.now().into()));
        let signature = self.key.sign(&string_to_sign(&self.account, request))?;
        request.insert_header("authorization", format!("SharedKey {}:{signature}", self.account));
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// The text the service signs too, to compare.
fn string_to_sign(account: &str, request: &Request) -> String {
    let header = |name: &str| {
        request
            .headers()
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    let length = match header("content-length") {
        "0" => "",
        length => length,
    };
    let mut text = format!("{}\n", request.method());
    for name in ["content-encoding", "content-language"] {
        text.push_str(&format!("{}\n", header(name)));
    }
    text.push_str(&format!("{length}\n"));
    for name in ["content-md5", "content-type"] {
        text.push_str(&format!("{}\n", header(name)));
    }
    text.push('\n'); // Date: `x-ms-date` is there and takes its place.
    for name in ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"] {
        text.push_str(&format!("{}\n", header(name)));
    }
    text.push_str(&canonical_headers(request));
    text.push_str(&canonical_resource(account, request));
    text
}

fn canonical_headers(request: &Request) -> String {
    let mut headers: Vec<_> = (request.headers().iter())
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), folded(value.as_str())))
        .collect();
    headers.sort_unstable();
    headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect()
}

fn canonical_resource(account: &str, request: &Request) -> String {
    let mut parameters: Vec<(String, String)> =
        form_urlencoded::parse(request.url().query().unwrap_or_default().as_bytes())
            .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
            .collect();
    parameters.sort_unstable();
    let mut resource = format!("/{account}{}", request.url().path());
    let mut last = None;
    for (name, value) in parameters {
        if last.as_deref() == Some(name.as_str()) {
            resource.push_str(&format!(",{value}"));
        } else {
            resource.push_str(&format!("\n{name}:{value}"));
        }
        last = Some(name);
    }
    resource
}

/// A header's value as it is signed: trimmed, and without line breaks.
fn folded(value: &str) -> String {
    value.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    fn request(method: Method, query: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let url = format!("http://127.0.0.1:10000/devstoreaccount1/disks/base.vhd?{query}");
        let mut request = Request::new(url.parse().unwrap(), method);
        for (name, value) in headers {
            request.insert_header(*name, *value);
        }
        request.insert_header("x-ms-date", "Fri, 27 Jan 2023 22:27:19 GMT");
        request.insert_header("x-ms-version", "2021-12-02");
        request
    }

    fn signature(request: &Request) -> String {
        AccountKey::new(KEY).unwrap().sign(&string_to_sign("devstoreaccount1", request)).unwrap()
    }

    #[test]
    fn a_page_write_is_signed_as_the_service_signs_it() {
        let headers = [
            ("content-length", "512"),
            ("content-type", "application/octet-stream"),
            ("x-ms-content-crc64", "u661BimQ84c="),
            ("x-ms-page-write", "update"),
            ("x-ms-range", "bytes=0-511"),
        ];
        let request = request(Method::Put, "comp=page", &headers);
        assert_eq!(signature(&request), "Pykz+URijJ32yFgWWZzEJ/sHjCBs2S/oSqEtlW4OCKc=");
    }

    #[test]
    fn a_difference_is_signed_with_its_parameters_decoded_and_sorted() {
        let query = "comp=pagelist&snapshot=2023-01-27T22%3A27%3A20.0000000Z&prevsnapshot=2023-01-27T22:27:19.7049036Z";
        let request = request(Method::Get, query, &[]);
        assert_eq!(signature(&request), "2pGtT4G5HShhvnuoWhKDiIiOIuVflGFfcI/2UQ7A+b0=");
    }

    #[test]
    fn a_length_of_nothing_is_signed_as_nothing() {
        let without = request(Method::Put, "comp=snapshot", &[]);
        let with = request(Method::Put, "comp=snapshot", &[("content-length", "0")]);
        assert_eq!(string_to_sign("a", &with), string_to_sign("a", &without));
    }

    #[test]
    fn a_key_must_be_base64_and_is_never_shown() {
        assert!(AccountKey::new("not base64!").is_none());
        assert!(AccountKey::new("").is_none());
        assert_eq!(format!("{:?}", AccountKey::new(KEY).unwrap()), "AccountKey");
    }
}
