//! Addresses with a SAS, connection strings, and text that others wrote: no secret gets out.
//!
//! The secret of an input is the word `TELLTALE`, wherever it stands; it begins with no hexadecimal digit, so that no
//! percent-encoding makes one. Where a secret can stand by the rules of the format (the query of an address, the values
//! of a connection string, behind `sig=`), no `Display`, `Debug` or error may show it. Elsewhere it is a name like any
//! other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pageferry_azure::{Address, AuthMode, ConnectionString, Credential, Flags, Side, scrub};
use secrecy::ExposeSecret;

const TELLTALE: &str = "TELLTALE";

/// What stands before a secret in text.
const INTRODUCTIONS: [&str; 6] =
    ["sig=", "sig%3d", "accountkey=", "sharedaccesssignature=", "bearer ", "client_secret="];

fuzz_target!(|text: &str| {
    address(text);
    connection_string(text);
    environment(text);
    scrubbed(text);
});

fn hides(shown: &str, text: &str) {
    assert!(!shown.contains(TELLTALE), "{text:?} is shown as {shown:?}");
}

fn address(text: &str) {
    let parsed = Address::parse(text);
    // URLs lose these characters before anything else is read.
    let plain: String = text.trim().chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    if is_secret(&plain) {
        match &parsed {
            Ok(address) => hides(&format!("{address} {address:?} {}", address.url()), text),
            Err(error) => hides(&format!("{error} {error:?}"), text),
        }
    }
    let Ok(address) = parsed else { return };
    let mut names = address.url().path().trim_start_matches('/');
    let host = address.url().host_str().unwrap_or_default();
    if host.split('.').next() != Some(address.account()) || address.is_loopback() || is_number(host) {
        names = names.split_once('/').map_or("", |(_, rest)| rest);
    }
    let blob = names.split_once('/').map_or("", |(_, blob)| blob);
    assert_eq!(address.blob(), decoded(blob), "the blob of {text:?}");
    // What is kept is the address again, its signature to the letter.
    let mut query = Vec::new();
    query.extend(address.snapshot().map(|id| format!("snapshot={}", encoded(id.as_str()))));
    query.extend(address.sas().map(|sas| sas.expose_secret().to_owned()));
    let again = format!("{}?{}", address.url(), query.join("&"));
    let again = Address::parse(&again).unwrap_or_else(|error| panic!("{again:?} of {text:?}: {error}"));
    let parts = |address: &Address| {
        let names = (address.account().to_owned(), address.container().to_owned(), address.blob().to_owned());
        let sas = address.sas().map(|sas| sas.expose_secret().to_owned());
        (address.url().clone(), names, address.snapshot().cloned(), sas)
    };
    assert_eq!(parts(&again), parts(&address), "{text:?}");
}

fn is_number(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

/// Whether the telltale stands only where an address has its secrets: before the host, behind `sig=`, or in the query,
/// but for what could be the name of a snapshot.
fn is_secret(url: &str) -> bool {
    let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let user = path.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let user = user.map_or("", |(_, rest)| {
        let authority = rest.split(['/', '\\']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or("", |(user, _)| user)
    });
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:.%".contains(&byte));
    let mut values = query.split(['?', '&', '#']).filter_map(|piece| piece.strip_prefix("snapshot="));
    let named = values.any(|value| is_name(value) && value.contains(TELLTALE));
    let signs = |before: &str| ["&sig=", "%26sig%3d", "%3fsig%3d"].iter().any(|words| before.ends_with(words));
    let signed = path.match_indices(TELLTALE).filter(|(at, _)| signs(&path[..*at].to_ascii_lowercase())).count();
    !named && path.matches(TELLTALE).count() == user.matches(TELLTALE).count().max(signed)
}

/// Percent-decoding, by the rule: `%` and two hexadecimal digits are a byte, and all else is itself.
fn decoded(text: &str) -> String {
    let digit = |at: usize| text.as_bytes().get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.as_bytes().get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap());
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn connection_string(text: &str) {
    let parsed = ConnectionString::parse(text);
    if !names_the_telltale(text) {
        match &parsed {
            Ok(parsed) => hides(&format!("{parsed:?} {:?}", parsed.key()), text),
            Err(error) => hides(&format!("{error} {error:?}"), text),
        }
    }
    if let Ok(parsed) = parsed {
        assert!(parsed.key().is_some() || parsed.sas().is_some(), "{text:?} says nothing");
    }
}

/// Whether an account is called after the telltale.
fn names_the_telltale(text: &str) -> bool {
    let name = |part: &str| part.split_once('=').map_or("", |(name, _)| name).trim().to_ascii_lowercase();
    text.split(';').any(|part| name(part) == "accountname" && part.contains(TELLTALE))
}

/// The text as each variable of the environment from which a credential is read.
fn environment(text: &str) {
    if names_the_telltale(text) {
        return;
    }
    let address = Address::parse("https://acct.blob.core.windows.net/c/b").unwrap();
    let flags = Flags { sas: None, auth: Some(AuthMode::Key) };
    for variable in ["CONNECTION_STRING", "KEY", "SAS_TOKEN"] {
        for (prefix, side) in [("PAGEFERRY_SOURCE_STORAGE_", Side::Source), ("AZURE_STORAGE_", Side::Target)] {
            let env = |name: &str| match name.strip_prefix(prefix) {
                Some(rest) if rest == variable => Some(text.to_owned()),
                Some("ACCOUNT") => Some("acct".to_owned()),
                _ => None,
            };
            match Credential::resolve(&address, side, &env, &flags) {
                Ok(credential) => hides(&format!("{credential:?}"), text),
                Err(error) => hides(&format!("{error} {error:?}"), text),
            }
        }
    }
    let env = |name: &str| (name == "SECRET").then(|| text.to_owned());
    let flags = Flags { sas: Some("env:SECRET".to_owned()), auth: None };
    match Credential::resolve(&address, Side::Source, &env, &flags) {
        Ok(credential) => hides(&format!("{credential:?}"), text),
        Err(error) => hides(&format!("{error} {error:?}"), text),
    }
}

fn scrubbed(text: &str) {
    let clean = scrub(text);
    if text.match_indices(TELLTALE).all(|(at, _)| is_introduced(&text[..at])) {
        hides(&clean, text);
    }
    assert_eq!(scrub(&clean), clean, "scrubbing twice changes what was scrubbed once");
}

/// Whether a secret follows what is `before`: directly behind an introduction, or in the query of a URL.
fn is_introduced(before: &str) -> bool {
    let lower = before.to_ascii_lowercase();
    let delimiter = |c: char| c.is_whitespace() || "\"'()<>;,".contains(c);
    let word = before.rsplit(delimiter).next().unwrap_or_default();
    let in_query = word.split_once("://").is_some_and(|(_, rest)| rest.contains('?'));
    in_query || INTRODUCTIONS.iter().any(|words| lower.ends_with(words))
}
