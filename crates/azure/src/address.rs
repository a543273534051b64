//! Where a page blob is: its URL, taken apart once.
//!
//! Host style is `https://account.blob.core.windows.net/container/blob`; where the host is an IP address or `localhost` the
//! account is the first part of the path instead. A managed disk's URL (`md-….blob.storage.azure.net/<id>/abcd`) reads as
//! host style. A `snapshot=` in the query names one picture of the blob; everything else in the query must be a SAS, which
//! is kept to the letter because it is signed.

use std::fmt;

use pageferry_core::SnapshotId;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

/// The address of a page blob, or of one snapshot of it.
#[derive(Clone)]
pub struct Address {
    url: Url,
    account: String,
    path_style: bool,
    container: String,
    blob: String,
    snapshot: Option<SnapshotId>,
    sas: Option<SecretString>,
}

/// Why a text is not the address of a page blob. Never quotes the query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a URL at all.
    #[error("not a URL: {0}")]
    NotAUrl(String),
    /// A scheme other than https, or http beyond this machine.
    #[error("{0} must be https; http is for this machine only")]
    Scheme(String),
    /// User and password before the host.
    #[error("a URL must not carry a user name or password")]
    UserInfo,
    /// A signature where names are, as where the `?` before it was forgotten. Names are shown and stored.
    #[error("a URL must not carry a signature before its query: is there a `?` before the SAS?")]
    SignatureInPath,
    /// A path too short to name a blob.
    #[error("{0} names no blob; expected {1}")]
    NoBlob(String, &'static str),
    /// Something in the query that is neither a snapshot nor part of a SAS.
    #[error("the query of {0} may hold only a snapshot and a SAS; `{1}` is neither")]
    Query(String, String),
    /// Something in the place of a snapshot's name, which may well be a SAS behind a second `?`.
    #[error("the snapshot of {0} is not the time that names one, such as 2023-01-27T22:27:19.7049036Z")]
    Snapshot(String),
    /// An account name where the account should be, but empty.
    #[error("{0} names no storage account")]
    NoAccount(String),
}

impl Address {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`AddressError`] says which part is missing or not allowed.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let mut url = Url::parse(text.trim()).map_err(|error| AddressError::NotAUrl(error.to_string()))?;
        let query = url.query().unwrap_or_default().to_owned();
        url.set_query(None);
        url.set_fragment(None);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo);
        }
        let names = url.as_str().to_ascii_lowercase().replace("%26", "&").replace("%3f", "?").replace("%3d", "=");
        if names.contains("&sig=") || names.contains("?sig=") {
            return Err(AddressError::SignatureInPath);
        }
        let loopback = is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(AddressError::Scheme(url.to_string()));
        }
        let path_style = loopback || matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        let path = url.path().trim_start_matches('/').to_owned();
        let (account, rest) = if path_style {
            let (account, rest) = path.split_once('/').unwrap_or((&path, ""));
            (percent_decode(account), rest)
        } else {
            let host = url.host_str().unwrap_or_default();
            (host.split('.').next().unwrap_or_default().to_owned(), path.as_str())
        };
        let expected = if path_style { "/<account>/<container>/<blob>" } else { "/<container>/<blob>" };
        let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
        if container.is_empty() || blob.is_empty() {
            return Err(AddressError::NoBlob(url.to_string(), expected));
        }
        if account.is_empty() {
            return Err(AddressError::NoAccount(url.to_string()));
        }
        let (container, blob) = (percent_decode(container), percent_decode(blob));
        let (snapshot, sas) = split_query(&url, &query)?;
        Ok(Address { url, account, path_style, container, blob, snapshot, sas })
    }

    /// The blob's URL without any query.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The storage account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The blob's name, decoded.
    pub fn blob(&self) -> &str {
        &self.blob
    }

    /// The snapshot the address names, if it names one.
    pub fn snapshot(&self) -> Option<&SnapshotId> {
        self.snapshot.as_ref()
    }

    /// The SAS that came with the address.
    pub fn sas(&self) -> Option<&SecretString> {
        self.sas.as_ref()
    }

    /// Whether the blob is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// Whether the account is one through which the service hands out managed disks and their snapshots: no other can
    /// have a hyphen in its name. Such accounts know page lists, reads and page writes, and refuse conditional headers.
    pub fn is_managed_disk(&self) -> bool {
        self.account.starts_with("md-")
    }

    /// The URL of the container the blob is in.
    pub(crate) fn container_url(&self) -> Url {
        let mut url = self.url.clone();
        let path = url.path().trim_start_matches('/');
        let parts = if self.path_style { 2 } else { 1 };
        let path = path.split('/').take(parts).collect::<Vec<_>>().join("/");
        url.set_path(&path);
        url
    }

    /// The blob itself, whichever of its snapshots the address names.
    #[must_use]
    pub fn base(&self) -> Address {
        Address { snapshot: None, ..self.clone() }
    }

    /// The same address, which `sas` opens.
    #[must_use]
    pub fn with_sas(&self, sas: SecretString) -> Address {
        Address { sas: Some(sas), ..self.clone() }
    }

    /// The snapshot of the blob that was taken at `snapshot`, with the same SAS, which may be good for another one only.
    #[must_use]
    pub fn at(&self, snapshot: SnapshotId) -> Address {
        Address { snapshot: Some(snapshot), ..self.clone() }
    }

    /// The blob in the same container, with the same SAS, whose name is this one's with `suffix`, which must need no
    /// encoding in a URL.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> Address {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{suffix}", self.url.path()));
        Address { url, blob: format!("{}{suffix}", self.blob), snapshot: None, ..self.clone() }
    }

    /// The address with its password, for a request that must carry it. Never to be shown.
    pub(crate) fn url_with_sas(&self) -> SecretString {
        let mut query = Vec::new();
        if let Some(snapshot) = &self.snapshot {
            query.push(format!("snapshot={}", snapshot.as_str().replace(':', "%3A")));
        }
        if let Some(sas) = &self.sas {
            query.push(sas.expose_secret().to_owned());
        }
        let separator = if query.is_empty() { "" } else { "?" };
        SecretString::from(format!("{}{separator}{}", self.url, query.join("&")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)?;
        match &self.snapshot {
            Some(snapshot) => write!(f, "?snapshot={snapshot}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}{})", if self.sas.is_some() { ", with a SAS" } else { "" })
    }
}

/// The snapshot and the SAS of a query; the SAS to the letter.
fn split_query(url: &Url, query: &str) -> Result<(Option<SnapshotId>, Option<SecretString>), AddressError> {
    let mut snapshot = None;
    let mut sas = Vec::new();
    let mut signed = false;
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        match name {
            "snapshot" => {
                let name = percent_decode(value);
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.".contains(&b)) {
                    return Err(AddressError::Snapshot(url.to_string()));
                }
                snapshot = Some(SnapshotId::new(name));
            }
            _ => {
                signed |= name == "sig";
                sas.push(piece);
            }
        }
    }
    let stray = sas.iter().map(|piece| piece.split('=').next().unwrap_or_default());
    let mut stray = stray.filter(|name| !signed || matches!(*name, "comp" | "restype" | "prevsnapshot" | "versionid"));
    if let Some(name) = stray.next() {
        // A short word is a parameter's name; anything else may be a secret in the wrong place.
        let is_word = name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_lowercase());
        return Err(AddressError::Query(url.to_string(), if is_word { name } else { "…" }.to_owned()));
    }
    Ok((snapshot, signed.then(|| SecretString::from(sas.join("&")))))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Undoes percent-encoding; what is not an encoding stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_styles_name_account_container_and_blob() {
        for (text, account, container, blob) in [
            ("https://acct.blob.core.windows.net/disks/a%20b/c.vhd", "acct", "disks", "a b/c.vhd"),
            ("http://127.0.0.1:10000/devstoreaccount1/disks/base.vhd", "devstoreaccount1", "disks", "base.vhd"),
            ("http://localhost/devstoreaccount1/disks/base.vhd", "devstoreaccount1", "disks", "base.vhd"),
            ("https://10.1.2.3/acct/disks/base.vhd", "acct", "disks", "base.vhd"),
            ("http://[::1]:10000/acct/disks/base.vhd", "acct", "disks", "base.vhd"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.account(), address.container(), address.blob()), (account, container, blob), "{text}");
            assert!(!address.is_managed_disk());
        }
    }

    #[test]
    fn only_two_hexadecimal_digits_are_an_encoding() {
        for (text, decoded) in [("a%20b", "a b"), ("a%+1b", "a%+1b"), ("%2", "%2"), ("%-1%4a", "%-1J"), ("%ff", "%ff")]
        {
            assert_eq!(percent_decode(text), decoded);
        }
    }

    #[test]
    fn the_container_keeps_its_style() {
        let container = |text| Address::parse(text).unwrap().container_url().to_string();
        assert_eq!(container("https://a.blob.core.windows.net/c/b/d"), "https://a.blob.core.windows.net/c");
        assert_eq!(container("http://127.0.0.1:1/a/c/b/d"), "http://127.0.0.1:1/a/c");
    }

    #[test]
    fn a_blob_beside_another_has_its_container_and_its_signature() {
        let address = Address::parse(
            "https://a.blob.core.windows.net/c/a%20b/d.vhd?snapshot=2026-05-16T20%3A11%3A11.0777366Z&sr=c&sig=CANARY",
        );
        let address = address.unwrap();
        let beside = address.beside(".pageferry-bench-1-read");
        assert_eq!(beside.to_string(), "https://a.blob.core.windows.net/c/a%20b/d.vhd.pageferry-bench-1-read");
        assert_eq!(beside.blob(), "a b/d.vhd.pageferry-bench-1-read");
        assert_eq!(beside.url_with_sas().expose_secret(), format!("{beside}?sr=c&sig=CANARY"));
        assert_eq!(address.base().to_string(), "https://a.blob.core.windows.net/c/a%20b/d.vhd");
    }

    #[test]
    fn a_managed_disk_keeps_its_signature_to_the_letter() {
        let sas = "sv=2018-11-09&sr=bs&si=0a&sig=CANARY%2Bb%2Fc%3d%3D";
        let host = "https://md-x1.z21.blob.storage.azure.net/abcdefghijkl/abcd";
        let address = Address::parse(&format!("{host}?snapshot=2026-05-16T20%3A11%3A11.0777366Z&{sas}")).unwrap();
        assert!(address.is_managed_disk());
        assert_eq!(address.sas().unwrap().expose_secret(), sas);
        assert_eq!(address.snapshot().unwrap().as_str(), "2026-05-16T20:11:11.0777366Z");
        assert_eq!(
            address.url_with_sas().expose_secret(),
            format!("{host}?snapshot=2026-05-16T20%3A11%3A11.0777366Z&{sas}")
        );
        assert!(!format!("{address:?} {address}").contains("CANARY"));
    }

    #[test]
    fn a_managed_disk_may_be_on_this_machine() {
        for (text, is_one) in [
            ("http://127.0.0.1:10000/md-x1/abcdefghijkl/abcd?sv=1&sig=a", true),
            ("http://localhost/md-impexp-x1/abcdefghijkl/abcd", true),
            ("http://127.0.0.1:10000/devstoreaccount1/md-x1/abcd", false),
            ("https://acct.blob.core.windows.net/md-x1/abcd", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_managed_disk(), is_one, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_secrets() {
        for (text, part) in [
            ("disks/base.vhd", "not a URL"),
            ("http://acct.blob.core.windows.net/c/b?sig=CANARY", "must be https"),
            ("https://acct.blob.core.windows.net/c", "names no blob"),
            ("https://u:CANARY@acct.blob.core.windows.net/c/b", "password"),
            ("https://acct.blob.core.windows.net/c/b?comp=page", "`comp`"),
            ("https://acct.blob.core.windows.net/c/b?sv=2020&sig=CANARY&comp=page", "`comp`"),
            ("https://acct.blob.core.windows.net/c/b?sv=2020-10-02", "`sv`"),
            ("https://acct.blob.core.windows.net/c/b?sig%3DCANARY", "`…`"),
            (
                "https://acct.blob.core.windows.net/c/b?snapshot=2023-01-27T22:27:19.7049036Z?sig=CANARY",
                "the snapshot of",
            ),
            ("https://acct.blob.core.windows.net/c/b?snapshot=2023%26sig%3DCANARY", "the snapshot of"),
            ("https://acct.blob.core.windows.net/c/b?snapshot=&sig=CANARY", "the snapshot of"),
            ("http://127.0.0.1/c/b", "names no blob"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
        }
    }
}
