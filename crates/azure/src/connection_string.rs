//! Connection strings: `Name=value;Name=value`, as the portal and the other tools hand them out.
//!
//! Of the parts, those that say who we are are used: account, key, SAS; and the endpoint, to tell whether the string is
//! about the blob at hand. Errors name the part, never its value.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use crate::address::Address;
use crate::shared_key::AccountKey;

/// The account of every emulator of the service, and its key. Both are published by Microsoft and open nothing.
pub(crate) const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: [&str; 2] =
    ["Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6", "IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="];

/// The key of the development account.
pub(crate) fn development_key() -> Option<AccountKey> {
    AccountKey::new(&DEVELOPMENT_KEY.concat())
}

/// What a connection string says.
#[derive(Clone)]
pub struct ConnectionString {
    account: Option<String>,
    key: Option<AccountKey>,
    sas: Option<SecretString>,
    endpoint: Option<Url>,
}

/// Why a text is no connection string.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// A part without `=`.
    #[error("part {0} of the connection string is not of the form Name=value")]
    NoValue(usize),
    /// Neither a key nor a SAS.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// A key that is not base64.
    #[error("the AccountKey of the connection string is not base64")]
    Key,
    /// An endpoint that is not a URL.
    #[error("the BlobEndpoint of the connection string is not a URL")]
    Endpoint,
}

impl ConnectionString {
    /// Reads a connection string. Names are matched without regard to case, unknown ones are skipped.
    ///
    /// # Errors
    /// [`ConnectionStringError`] names the part that is missing or malformed.
    pub fn parse(text: &str) -> Result<ConnectionString, ConnectionStringError> {
        let mut parsed = ConnectionString { account: None, key: None, sas: None, endpoint: None };
        let (mut suffix, mut protocol) = ("core.windows.net".to_owned(), "https".to_owned());
        for (number, part) in text.trim().split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(ConnectionStringError::NoValue(number + 1))?;
            match name.trim().to_ascii_lowercase().as_str() {
                "accountname" => parsed.account = Some(value.to_owned()),
                "accountkey" => parsed.key = Some(AccountKey::new(value).ok_or(ConnectionStringError::Key)?),
                "sharedaccesssignature" => parsed.sas = Some(SecretString::from(value.trim_start_matches('?'))),
                "blobendpoint" => {
                    parsed.endpoint = Some(value.parse().map_err(|_| ConnectionStringError::Endpoint)?);
                }
                "endpointsuffix" => suffix = value.to_owned(),
                "defaultendpointsprotocol" => protocol = value.to_owned(),
                "usedevelopmentstorage" if value.eq_ignore_ascii_case("true") => {
                    parsed.account = Some(DEVELOPMENT_ACCOUNT.to_owned());
                    parsed.key = development_key();
                }
                _ => {}
            }
        }
        if parsed.sas.is_none() {
            if parsed.account.is_none() {
                return Err(ConnectionStringError::Missing("AccountName"));
            }
            if parsed.key.is_none() {
                return Err(ConnectionStringError::Missing("AccountKey or SharedAccessSignature"));
            }
        }
        let development = parsed.account.as_deref() == Some(DEVELOPMENT_ACCOUNT);
        if let (None, Some(account), false) = (&parsed.endpoint, &parsed.account, development) {
            parsed.endpoint = format!("{protocol}://{account}.blob.{suffix}").parse().ok();
        }
        Ok(parsed)
    }

    /// Whether the string speaks of the account that `address` is in.
    pub fn is_about(&self, address: &Address) -> bool {
        match (&self.account, &self.endpoint) {
            (Some(account), _) if account == address.account() => true,
            (_, Some(endpoint)) => endpoint.host() == address.url().host() && endpoint.port() == address.url().port(),
            _ => false,
        }
    }

    /// The account, where the string names one.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The account's key, where the string has one.
    pub fn key(&self) -> Option<&AccountKey> {
        self.key.as_ref()
    }

    /// The SAS, where the string has one.
    pub fn sas(&self) -> Option<&SecretString> {
        self.sas.as_ref()
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionString({})", self.account.as_deref().unwrap_or("a SAS"))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn about(text: &str, url: &str) -> bool {
        ConnectionString::parse(text).unwrap().is_about(&Address::parse(url).unwrap())
    }

    #[test]
    fn the_forms_people_have_are_read() {
        let key =
            "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=Q0FOQVJZ;EndpointSuffix=core.windows.net;";
        let parsed = ConnectionString::parse(key).unwrap();
        assert_eq!(parsed.account(), Some("acct"));
        assert!(parsed.key().is_some() && parsed.sas().is_none());
        assert!(about(key, "https://acct.blob.core.windows.net/c/b"));
        assert!(!about(key, "https://other.blob.core.windows.net/c/b"));

        let sas = "BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=sv=2021&sig=CANARY%3D";
        assert_eq!(ConnectionString::parse(sas).unwrap().sas().unwrap().expose_secret(), "sv=2021&sig=CANARY%3D");
        assert!(about(sas, "https://acct.blob.core.windows.net/c/b"));
        assert!(!about(sas, "https://other.blob.core.windows.net/c/b"));

        assert!(about("UseDevelopmentStorage=true", "http://127.0.0.1:10000/devstoreaccount1/c/b"));
        assert!(about("accountname=a;ACCOUNTKEY=Q0FOQVJZ", "http://127.0.0.1:9/a/c/b"));
    }

    #[test]
    fn errors_name_the_part_and_not_its_value() {
        for (text, expected) in [
            ("AccountName=acct;AccountKey", "part 2 of the connection string is not of the form Name=value"),
            ("AccountName=acct", "the connection string has no AccountKey or SharedAccessSignature"),
            ("AccountKey=Q0FOQVJZ", "the connection string has no AccountName"),
            ("AccountName=acct;AccountKey=CANARY!", "the AccountKey of the connection string is not base64"),
            ("BlobEndpoint=CANARY;SharedAccessSignature=x", "the BlobEndpoint of the connection string is not a URL"),
            ("", "the connection string has no AccountName"),
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("CANARY"));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let parsed = ConnectionString::parse("AccountName=acct;AccountKey=Q0FOQVJZ").unwrap();
        assert_eq!(format!("{parsed:?}"), "ConnectionString(acct)");
    }
}
