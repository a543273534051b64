//! Which credential is taken, and how requests are signed with it.

use std::collections::BTreeMap;
use std::io::Write;

use pageferry_store::{ErrorKind, Source, View};
use secrecy::ExposeSecret;

use super::mock::{Mock, Step, answer};
use super::{URL, range};
use crate::{Address, AuthMode, Credential, CredentialError, Flags, Options, PageBlob, RetryPolicy, Side};

const KEY: &str = "Q0FOQVJZ";
const LOCAL: &str = "http://127.0.0.1:10000/devstoreaccount1/disks/base.vhd";

/// Resolves for the source with these variables; the credential in a word.
fn resolve(url: &str, flags: &Flags, variables: &[(&str, &str)]) -> Result<String, CredentialError> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let env = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let credential = Credential::resolve(&Address::parse(url).unwrap(), Side::Source, &env, flags)?;
    let debug = format!("{credential:?}");
    assert!(!debug.contains("sig=") && !debug.contains(KEY), "{debug}");
    Ok(match credential {
        Credential::Sas(sas) => sas.expose_secret().to_owned(),
        _ => debug,
    })
}

#[test]
fn the_more_specific_wins() {
    let none = Flags::default();
    let connection = format!("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={KEY}");
    let elsewhere = format!("DefaultEndpointsProtocol=https;AccountName=other;AccountKey={KEY}");
    let all: &[(&str, &str)] = &[
        ("PAGEFERRY_SOURCE_STORAGE_SAS_TOKEN", "?sv=1&sig=side"),
        ("PAGEFERRY_TARGET_STORAGE_SAS_TOKEN", "sig=target"),
        ("AZURE_STORAGE_CONNECTION_STRING", &connection),
        ("FROM", "sv=1&sig=flag"),
    ];
    let flag = Flags { sas: Some("env:FROM".to_owned()), auth: None };
    assert_eq!(resolve(&format!("{URL}?sv=1&sig=url"), &flag, all).unwrap(), "sv=1&sig=url");
    assert_eq!(resolve(URL, &flag, all).unwrap(), "sv=1&sig=flag");
    assert_eq!(resolve(URL, &none, all).unwrap(), "sv=1&sig=side");
    assert_eq!(resolve(URL, &none, &all[2..]).unwrap(), "AccountKey(acct)");
    assert_eq!(resolve(URL, &none, &[("AZURE_STORAGE_CONNECTION_STRING", &elsewhere)]).unwrap(), "Token");
    assert_eq!(resolve(URL, &none, &[]).unwrap(), "Token");
    assert_eq!(resolve(LOCAL, &none, &[]).unwrap(), "AccountKey(devstoreaccount1)");
    let chosen = Flags { sas: None, auth: Some(AuthMode::Anonymous) };
    assert_eq!(resolve(URL, &chosen, all).unwrap(), "Anonymous");
}

#[test]
fn a_key_applies_to_its_own_account_only() {
    let none = Flags::default();
    let general = |account: &'static str| [("AZURE_STORAGE_KEY", KEY), ("AZURE_STORAGE_ACCOUNT", account)];
    assert_eq!(resolve(URL, &none, &general("acct")).unwrap(), "AccountKey(acct)");
    assert_eq!(resolve(URL, &none, &general("other")).unwrap(), "Token");
    assert_eq!(resolve(URL, &none, &[("AZURE_STORAGE_KEY", KEY)]).unwrap(), "Token");
    assert_eq!(resolve(URL, &none, &[("PAGEFERRY_SOURCE_STORAGE_KEY", KEY)]).unwrap(), "AccountKey(acct)");
    let ours = [("PAGEFERRY_SOURCE_STORAGE_KEY", KEY), ("PAGEFERRY_SOURCE_STORAGE_ACCOUNT", "other")];
    let error = resolve(URL, &none, &ours).unwrap_err();
    assert_eq!(error.to_string(), "PAGEFERRY_SOURCE_STORAGE_KEY is for another account than acct");
    let sas = [("AZURE_STORAGE_SAS_TOKEN", "sig=a"), ("AZURE_STORAGE_ACCOUNT", "other")];
    assert_eq!(resolve(URL, &none, &sas).unwrap(), "Token");
    assert_eq!(resolve(URL, &none, &sas[..1]).unwrap(), "sig=a");
}

#[test]
fn a_sas_may_come_from_a_file() {
    let path = std::env::temp_dir().join(format!("pageferry-sas-{}", std::process::id()));
    let from = || Flags { sas: Some(format!("@{}", path.display())), auth: None };
    std::fs::File::create(&path).unwrap().write_all(b"https://x/y?sv=1&sig=file%3D\n").unwrap();
    let read = resolve(URL, &from(), &[]);
    std::fs::write(&path, "CANARY").unwrap();
    let unsigned = resolve(URL, &from(), &[]).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read.unwrap(), "sv=1&sig=file%3D");
    assert!(unsigned.ends_with("there is no signature in it") && !unsigned.contains("CANARY"), "{unsigned}");
    assert!(resolve(URL, &from(), &[]).unwrap_err().to_string().starts_with("no SAS in @"));
    let literal = Flags { sas: Some("sv=1&sig=CANARY".to_owned()), auth: None };
    let refused = resolve(URL, &literal, &[]).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("CANARY"));
}

#[test]
fn what_a_chosen_way_needs_is_named() {
    let chosen = |auth| Flags { sas: None, auth: Some(auth) };
    for (auth, needs) in [
        (AuthMode::Key, "AZURE_STORAGE_KEY"),
        (AuthMode::ClientSecret, "AZURE_CLIENT_SECRET"),
        (AuthMode::WorkloadIdentity, "AZURE_FEDERATED_TOKEN_FILE"),
    ] {
        let error = resolve(URL, &chosen(auth), &[]).unwrap_err();
        assert!(error.to_string().contains(needs), "{error}");
    }
    let error = resolve(LOCAL, &chosen(AuthMode::ManagedIdentity), &[]).unwrap_err();
    assert!(error.to_string().contains("https only"), "{error}");
    let error = resolve(URL, &Flags::default(), &[("AZURE_STORAGE_AUTH_MODE", "magic")]).unwrap_err();
    assert!(error.to_string().contains("magic"), "{error}");
    for (name, mode) in [("login", AuthMode::Login), ("cli", AuthMode::AzureCli), ("key", AuthMode::Key)] {
        assert_eq!(AuthMode::parse(name), Ok(mode));
    }
}

#[tokio::test]
async fn every_attempt_is_signed_with_the_key() {
    let busy = || Step::from(answer(503));
    let found = answer(200).header("content-length", "512").header("etag", "\"1\"");
    let mock = Mock::new([busy(), found.into()]);
    let address = Address::parse(LOCAL).unwrap();
    let credential = Credential::resolve(&address, Side::Target, &|_| None, &Flags::default()).unwrap();
    let options = Options {
        transport: Some(std::sync::Arc::new(mock.clone())),
        retry: RetryPolicy { delay: std::time::Duration::ZERO, ..RetryPolicy::default() },
        ..Options::default()
    };
    let blob = PageBlob::new(address, &credential, options).unwrap();
    blob.properties(&View::Base).await.unwrap();
    for seen in mock.seen() {
        assert!(seen.header("authorization").starts_with("SharedKey devstoreaccount1:"));
        assert!(seen.header("x-ms-date").ends_with(" GMT"));
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_denied_before_anything_is_sent() {
    #[derive(Debug)]
    struct Refusing;
    #[async_trait::async_trait]
    impl azure_core::credentials::TokenCredential for Refusing {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<azure_core::credentials::TokenRequestOptions<'_>>,
        ) -> azure_core::Result<azure_core::credentials::AccessToken> {
            Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "nobody is logged in"))
        }
    }
    let mock = Mock::new([]);
    let options = Options { transport: Some(std::sync::Arc::new(mock.clone())), ..Options::default() };
    let credential = Credential::Token(std::sync::Arc::new(Refusing));
    let local = PageBlob::new(Address::parse(LOCAL).unwrap(), &credential, options.clone());
    assert_eq!(local.unwrap_err().kind(), ErrorKind::Invalid, "tokens over http are refused");
    let blob = PageBlob::new(Address::parse(URL).unwrap(), &credential, options).unwrap();
    let failed = blob.read(&View::Base, range(0, 1), None).await.unwrap_err();
    assert_eq!((failed.kind(), failed.failure().attempts), (ErrorKind::Denied, 1));
    assert!(failed.to_string().contains("nobody is logged in"), "{failed}");
    assert!(mock.seen().is_empty());
}

#[test]
fn the_default_chain_has_what_the_environment_offers() {
    use crate::chain::{Chain, TokenSource};
    let chain = Chain::new(vec![TokenSource::ManagedIdentity { client: None }, TokenSource::AzureCli]);
    assert_eq!(chain.names(), ["managed identity", "az CLI"]);
    let secret = TokenSource::ClientSecret {
        tenant: "t".to_owned(),
        client: "c".to_owned(),
        secret: "CANARY".to_owned().into(),
    };
    assert_eq!(format!("{secret:?}"), "client secret");
}

#[test]
fn resource_manager_is_given_tokens_only() {
    let find = |auth, variables: &[(&str, &str)]| {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        crate::identity(auth, &|name| variables.get(name).map(|value| (*value).to_owned()))
    };
    let mode = |name| [("AZURE_STORAGE_AUTH_MODE", name)];
    let secret = ("AZURE_CLIENT_SECRET", "CANARY");
    let sources = |auth, variables: &[(&str, &str)]| {
        let told = format!("{:?}", find(auth, variables).unwrap());
        assert!(!told.contains("CANARY"), "{told}");
        told.split_once("sources: [").unwrap().1.split_once(']').unwrap().0.to_owned()
    };
    assert_eq!(sources(None, &[]), "managed identity, az CLI");
    let service = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), secret];
    assert_eq!(sources(None, &service), "client secret, managed identity, az CLI");
    assert_eq!(sources(None, &mode("cli")), "az CLI");
    assert_eq!(sources(Some(AuthMode::ManagedIdentity), &mode("key")), "managed identity", "flags come first");
    for (auth, variables, part) in [
        (None, &mode("key")[..], "`key` is a way without"),
        (Some(AuthMode::Key), &[][..], "`key` is a way without"),
        (Some(AuthMode::Anonymous), &[][..], "`anonymous` is a way without"),
        (Some(AuthMode::ClientSecret), &[secret][..], "AZURE_TENANT_ID"),
        (None, &mode("magic")[..], "magic"),
    ] {
        let error = find(auth, variables).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("CANARY"), "{error}");
    }
}

/// A source of tokens that remembers what they were asked for.
#[derive(Clone, Debug, Default)]
struct Asked(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl azure_core::credentials::TokenCredential for Asked {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<azure_core::credentials::TokenRequestOptions<'_>>,
    ) -> azure_core::Result<azure_core::credentials::AccessToken> {
        self.0.lock().unwrap().extend(scopes.iter().map(|scope| (*scope).to_owned()));
        let later = azure_core::time::OffsetDateTime::now_utc() + std::time::Duration::from_secs(3600);
        Ok(azure_core::credentials::AccessToken::new("CANARY", later))
    }
}

#[tokio::test]
async fn a_disk_may_want_a_token_besides_its_signature() {
    const SAS: &str = "sv=2018-11-09&sr=bs&si=0a&sig=CANARY%2Bb%2Fc%3d%3D";
    for url in ["https://md-x1.z21.blob.storage.azure.net/abcd/abcd", "http://127.0.0.1:10000/md-x1/abcd/abcd"] {
        let mock = Mock::new([Step::from(answer(200).header("content-length", "512").header("etag", "\"1\""))]);
        let asked = Asked::default();
        let token = std::sync::Arc::new(asked.clone());
        let credential = Credential::SasAndToken { sas: SAS.to_owned().into(), token };
        assert_eq!(format!("{credential:?}"), "SasAndToken");
        let options = Options { transport: Some(std::sync::Arc::new(mock.clone())), ..Options::default() };
        let disk = PageBlob::new(Address::parse(url).unwrap(), &credential, options).unwrap();
        disk.properties(&View::Base).await.unwrap();
        let seen = mock.only();
        assert_eq!(seen.query(), SAS);
        assert_eq!(seen.header("authorization"), "Bearer CANARY");
        assert_eq!(*asked.0.lock().unwrap(), ["https://disk.azure.com//.default"]);
        let refused = disk.pass(&View::Base).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(!format!("{refused} {refused:?} {disk:?}").contains("CANARY"));
    }
}
