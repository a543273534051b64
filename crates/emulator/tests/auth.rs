//! Who may do what: keys, both kinds of signatures, stored policies, tokens, public containers.

mod common;

use common::{Bench, Expect as _, VERSION, between, text, verdict};
use pageferry_emulator::sas::{AccountSas, ServiceSas, account_sas, service_sas};
use pageferry_emulator::{Config, DEV_ACCOUNT, DEV_KEY, Request, Response};

const FAR: &str = "2099-01-01T00:00:00Z";

fn everything() -> String {
    let sas = AccountSas {
        version: VERSION,
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: FAR,
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
}

fn blob_sas<'a>() -> ServiceSas<'a> {
    ServiceSas {
        version: VERSION,
        resource: "b",
        container: "disks",
        blob: "b",
        permissions: "r",
        expiry: FAR,
        ..ServiceSas::default()
    }
}

fn signed(sas: &ServiceSas<'_>) -> String {
    service_sas(DEV_ACCOUNT, DEV_KEY, sas).unwrap()
}

fn guarded() -> Bench {
    let mut bench = Bench::guarded(Config { bearer_tokens: vec!["let-me-in".into()], ..Config::default() });
    let all = everything();
    bench.put(&format!("disks?restype=container&{all}"), &[]).expect(201);
    let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "1024")];
    bench.put(&format!("disks/b?{all}"), &create).expect(201);
    bench
}

fn get(bench: &mut Bench, target: &str, query: &str) -> String {
    verdict(&bench.get(&format!("{target}?{query}"), &[]))
}

#[test]
fn no_credentials_no_answer() {
    let mut bench = guarded();
    assert_eq!(get(&mut bench, "disks/b", ""), "401 NoAuthenticationInformation");
    let ask = |bench: &mut Bench, value: &str, version: &str| {
        verdict(&bench.get("disks/b", &[("authorization", value), ("x-ms-version", version)]))
    };
    assert_eq!(ask(&mut bench, "Bearer let-me-in", VERSION), "200");
    assert_eq!(ask(&mut bench, "Bearer something", VERSION), "401 InvalidAuthenticationInfo");
    assert_eq!(ask(&mut bench, "Basic x", VERSION), "400 InvalidAuthenticationInfo");
    assert_eq!(ask(&mut bench, "SharedKey x", VERSION), "400 InvalidAuthenticationInfo");
    assert_eq!(ask(&mut bench, "SharedKey other:AAAA", VERSION), "403 AuthenticationFailed");
    assert_eq!(ask(&mut bench, "Bearer let-me-in", "2022-22-22"), "400 InvalidHeaderValue");
    let both = bench.get(&format!("disks/b?{}", everything()), &[("authorization", "Bearer let-me-in")]);
    assert_eq!(verdict(&both), "400 InvalidAuthenticationInfo");
}

#[test]
fn shared_key_dates_must_be_fresh() {
    let mut bench = guarded();
    let ask = |bench: &mut Bench, date: &str| -> Response {
        let request = Request::new("GET", "/devstoreaccount1/disks/b")
            .header("x-ms-version", VERSION)
            .header("x-ms-date", date)
            .header("authorization", "SharedKey devstoreaccount1:AAAA");
        bench.send(request)
    };
    let now = bench.now.http();
    let mismatch = ask(&mut bench, &now).expect(403);
    let detail = text(mismatch);
    assert!(
        between(&detail, "<AuthenticationErrorDetail>", "<").unwrap().contains("string to sign: &apos;GET")
            || detail.contains("string to sign: 'GET"),
        "{detail}"
    );
    bench.wait(16 * 60);
    assert!(text(ask(&mut bench, &now).expect(403)).contains("too old"));
}

#[test]
fn account_signatures() {
    let mut bench = guarded();
    let base = AccountSas {
        version: VERSION,
        services: "b",
        resource_types: "o",
        permissions: "r",
        expiry: FAR,
        ..AccountSas::default()
    };
    let of = |sas: &AccountSas<'_>| account_sas(DEV_ACCOUNT, DEV_KEY, sas).unwrap();
    assert_eq!(get(&mut bench, "disks/b", &of(&base)), "200");
    let list = format!("restype=container&comp=list&{}", of(&base));
    assert_eq!(get(&mut bench, "disks", &list), "403 AuthorizationResourceTypeMismatch");
    let mut denied = |sas: AccountSas<'_>, code: &str| assert_eq!(get(&mut bench, "disks/b", &of(&sas)), code);
    denied(AccountSas { services: "q", ..base.clone() }, "403 AuthorizationServiceMismatch");
    denied(AccountSas { permissions: "w", ..base.clone() }, "403 AuthorizationPermissionMismatch");
    denied(AccountSas { protocol: "https", ..base.clone() }, "403 AuthorizationProtocolMismatch");
    denied(AccountSas { protocol: "https,http", ..base.clone() }, "200");
    denied(AccountSas { ip: "10.0.0.1-10.0.0.9", ..base.clone() }, "403 AuthorizationSourceIPMismatch");
    denied(AccountSas { ip: "127.0.0.0-127.0.0.9", ..base.clone() }, "200");
    denied(AccountSas { expiry: "2020-01-01", ..base.clone() }, "403 AuthenticationFailed");
    denied(AccountSas { start: "2098-01-01", ..base.clone() }, "403 AuthenticationFailed");
    denied(AccountSas { version: "2018-11-09", ..base.clone() }, "200");
    let tampered = of(&base).replace("sp=r", "sp=rw");
    assert_eq!(get(&mut bench, "disks/b", &tampered), "403 AuthenticationFailed");
}

#[test]
fn service_signatures_open_only_what_they_name() {
    let mut bench = guarded();
    let all = everything();
    let snapshot = bench.put(&format!("disks/b?comp=snapshot&{all}"), &[]).expect(201);
    let snapshot = snapshot.get("x-ms-snapshot").unwrap().to_owned();
    let sas = blob_sas();
    let read = signed(&sas);
    assert_eq!(get(&mut bench, "disks/b", &read), "200");
    assert_eq!(get(&mut bench, "disks/b", &format!("comp=pagelist&{read}")), "200");
    assert_eq!(get(&mut bench, "disks/b", &format!("snapshot={snapshot}&{read}")), "200");
    assert_eq!(get(&mut bench, "disks/other", &read), "403 AuthenticationFailed");
    assert_eq!(get(&mut bench, "disks", &format!("restype=container&comp=list&{read}")), "403 AuthorizationFailure");
    let write = bench.put(&format!("disks/b?comp=metadata&{read}"), &[]);
    assert_eq!(verdict(&write), "403 AuthorizationPermissionMismatch");
    let one = signed(&ServiceSas { resource: "bs", snapshot: &snapshot, ..sas.clone() });
    assert_eq!(get(&mut bench, "disks/b", &format!("snapshot={snapshot}&{one}")), "200");
    assert_eq!(get(&mut bench, "disks/b", &one), "403 AuthenticationFailed");
    let container = signed(&ServiceSas { resource: "c", blob: "", permissions: "rl", ..sas.clone() });
    assert_eq!(get(&mut bench, "disks", &format!("restype=container&comp=list&{container}")), "200");
    assert_eq!(get(&mut bench, "disks", &format!("restype=container&{container}")), "403 AuthorizationFailure");
    assert_eq!(get(&mut bench, "disks/b", &container), "200");
    let create = signed(&ServiceSas { permissions: "c", ..sas });
    let new = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512")];
    let overwrite = bench.put(&format!("disks/b?{create}"), &new);
    assert_eq!(verdict(&overwrite), "403 UnauthorizedBlobOverwrite");
}

#[test]
fn stored_policies_can_be_revoked() {
    let mut bench = guarded();
    let set = |bench: &mut Bench, policy: &str| {
        let body = format!(
            "<SignedIdentifiers><SignedIdentifier><Id>{policy}</Id><AccessPolicy><Expiry>{FAR}</Expiry>\
             <Permission>r</Permission></AccessPolicy></SignedIdentifier></SignedIdentifiers>"
        );
        let headers = [("authorization", "Bearer let-me-in")];
        bench.call("PUT", "disks?restype=container&comp=acl", &headers, body.into_bytes()).expect(200);
    };
    set(&mut bench, "one");
    let sas = signed(&ServiceSas { identifier: "one", permissions: "", expiry: "", ..blob_sas() });
    assert_eq!(get(&mut bench, "disks/b", &sas), "200");
    let twice = signed(&ServiceSas { identifier: "one", permissions: "r", expiry: "", ..blob_sas() });
    assert_eq!(get(&mut bench, "disks/b", &twice), "403 AuthenticationFailed");
    set(&mut bench, "two");
    assert_eq!(get(&mut bench, "disks/b", &sas), "403 AuthenticationFailed");
}

#[test]
fn copy_sources_need_their_own_credentials() {
    let mut bench = guarded();
    let all = everything();
    let url = "http://127.0.0.1/devstoreaccount1/disks/b";
    let mut copy = |target: &str, source: String, headers: &[(&str, &str)]| {
        let mut every = vec![("x-ms-copy-source", source.as_str())];
        every.extend_from_slice(headers);
        verdict(&bench.put(&format!("{target}{all}"), &every))
    };
    assert_eq!(copy("disks/d?", url.into(), &[]), "404 CannotVerifyCopySource");
    assert_eq!(copy("disks/d?", format!("{url}?{}", signed(&blob_sas())), &[]), "202");
    let writer = signed(&ServiceSas { permissions: "w", ..blob_sas() });
    assert_eq!(copy("disks/d?", format!("{url}?{writer}"), &[]), "403 CannotVerifyCopySource");
    let page = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511"), ("x-ms-source-range", "bytes=0-511")];
    assert_eq!(copy("disks/d?comp=page&", url.into(), &page), "404 CannotVerifyCopySource");
    let token = ("x-ms-copy-source-authorization", "Bearer let-me-in");
    assert_eq!(copy("disks/d?comp=page&", url.into(), &[page[0], page[1], page[2], token]), "201");
}

#[test]
fn public_containers_can_be_read() {
    let mut bench = guarded();
    let headers = [("authorization", "Bearer let-me-in"), ("x-ms-blob-public-access", "blob")];
    bench.put("disks?restype=container&comp=acl", &headers).expect(200);
    assert_eq!(get(&mut bench, "disks/b", ""), "200");
    assert_eq!(get(&mut bench, "disks", "restype=container&comp=list"), "401 NoAuthenticationInformation");
    assert_eq!(verdict(&bench.put("disks/b?comp=metadata", &[])), "401 NoAuthenticationInformation");
}
