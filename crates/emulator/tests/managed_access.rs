//! Grants: what a URL opens, for how long, and what is refused where a managed disk keeps its data.

mod common;
mod managed_common;

use common::{short, text, verdict};
use managed_common::{Cloud, GIB, HOST, disk, path};
use pageferry_emulator::{DEV_TOKEN, Request};
use serde_json::json;

/// A snapshot with data, and another after it.
async fn pair(cloud: &Cloud) -> (String, String) {
    let disk = cloud.disk("d").await;
    cloud.service.write_disk(&disk, 0, vec![1; 512]).unwrap();
    let first = cloud.snap(&disk, "s1").await;
    cloud.service.write_disk(&disk, 512, vec![2; 512]).unwrap();
    (first, cloud.snap(&disk, "s2").await)
}

fn parameters(url: &str) -> Vec<&str> {
    let query = url.split_once('?').unwrap().1;
    query.split('&').map(|pair| pair.split_once('=').unwrap().0).collect()
}

#[tokio::test]
async fn urls_have_the_recorded_shape() {
    let cloud = Cloud::new();
    let (first, _) = pair(&cloud).await;
    let url = cloud.grant(&first).await;
    assert!(url.starts_with(&format!("http://{HOST}/md-")) && url.contains("/abcd?snapshot="), "{url}");
    assert_eq!(parameters(&url), ["snapshot", "sv", "sr", "si", "sig"]);
    assert!(url.contains("&sv=2018-11-09&sr=bs&si="));
    assert_eq!(url.split_once("si=").unwrap().1.split_once('&').unwrap().0.len(), 64);
    let full = cloud.grant(&disk("d")).await;
    assert_eq!(parameters(&full), ["sv", "sr", "si", "sig"]);
    assert!(full.contains("sv=2018-03-28&sr=b&si="));
    assert_eq!(cloud.read(&full, 512, 512).await.body.into_bytes().as_ref(), [2; 512]);
    let grants = cloud.service.grants();
    assert_eq!(grants.iter().map(|grant| grant.resource.as_str()).collect::<Vec<_>>(), [disk("d"), first]);
}

#[tokio::test]
async fn the_account_can_be_in_the_host() {
    let cloud = Cloud::new();
    let (first, _) = pair(&cloud).await;
    let url = cloud.grant(&first).await;
    let (account, rest) = path(&url).trim_start_matches('/').split_once('/').unwrap();
    let request = Request::new("HEAD", &format!("/{rest}")).header("x-ms-version", "2021-12-02");
    let answer = cloud.service.handle(request.header("host", format!("{account}.z12.blob.storage.azure.net"))).await;
    assert_eq!((answer.status, answer.get("content-length")), (200, Some((GIB + 512).to_string().as_str())));
}

#[tokio::test]
async fn a_revoked_url_is_dead_at_once() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    assert_eq!(cloud.diff(&from, &to).await.status, 200);
    cloud.revoke(&first).await.expect(202);
    assert_eq!(verdict(&cloud.read(&from, 0, 512).await), "403 AuthenticationFailed");
    assert_eq!(verdict(&cloud.diff(&from, &to).await), "403 AuthenticationFailed", "the earlier one counts, too");
    assert_eq!(cloud.read(&to, 0, 512).await.status, 206);
    assert_eq!(cloud.get(&first).await["properties"]["diskState"], "Unattached");
    assert_eq!(cloud.get(&second).await["properties"]["diskState"], "ActiveSAS");
}

#[tokio::test]
async fn a_grant_ends_by_itself() {
    let cloud = Cloud::new();
    let (first, _) = pair(&cloud).await;
    let url = cloud.granted(cloud.try_grant(&first, "Read", 60).await).await;
    cloud.wait(59);
    assert_eq!(cloud.read(&url, 0, 512).await.status, 206);
    cloud.wait(1);
    assert_eq!(verdict(&cloud.read(&url, 0, 512).await), "403 AuthenticationFailed");
    assert_eq!(cloud.get(&first).await["properties"]["diskState"], "Unattached");
    assert!(cloud.service.grants().is_empty());
}

#[tokio::test]
async fn a_second_grant_revokes_or_extends_the_first() {
    for extends in [false, true] {
        let cloud = Cloud::with(|config| config.variants.second_grant_extends = extends);
        let (first, _) = pair(&cloud).await;
        let old = cloud.granted(cloud.try_grant(&first, "Read", 60).await).await;
        let new = cloud.granted(cloud.try_grant(&first, "Read", 600).await).await;
        assert_eq!(old == new, extends);
        assert_eq!(cloud.read(&old, 0, 512).await.status, if extends { 206 } else { 403 });
        cloud.wait(300);
        assert_eq!(cloud.read(&new, 0, 512).await.status, 206);
    }
}

#[tokio::test]
async fn a_signature_opens_one_snapshot_and_nothing_else() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    let time = |url: &str| url.split_once("snapshot=").unwrap().1.split_once('&').unwrap().0.to_owned();
    let other = from.replace(&time(&from), &time(&to));
    assert_eq!(verdict(&cloud.read(&other, 0, 512).await), "403 AuthenticationFailed");
    let base = from.replace(&format!("snapshot={}&", time(&from)), "");
    assert_eq!(verdict(&cloud.read(&base, 0, 512).await), "403 AuthenticationFailed");
    let bare = from.split('?').next().unwrap();
    assert_eq!(cloud.data("GET", bare, "", &[], Vec::new()).await.status, 401);
}

#[tokio::test]
async fn only_a_few_verbs_are_known_where_disks_are() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    let of = async |method: &str, more: &str, headers: &[(&str, &str)]| {
        verdict(&cloud.data(method, &to, more, headers, Vec::new()).await)
    };
    let size = (GIB + 512).to_string();
    assert_eq!(of("HEAD", "", &[]).await, "200");
    for (method, more, headers) in [
        ("PUT", "", [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", size.as_str())].as_slice()),
        ("PUT", "&comp=properties", &[("x-ms-blob-content-length", "512")]),
        ("PUT", "&comp=metadata", &[("x-ms-meta-a", "b")]),
        ("PUT", "&comp=snapshot", &[]),
        ("PUT", "&comp=lease", &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")]),
        ("GET", "&comp=metadata", &[]),
        ("DELETE", "", &[]),
    ] {
        assert_eq!(of(method, more, headers).await, "403 AuthorizationFailure", "{method} {more}");
    }
    for condition in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"] {
        assert_eq!(of("GET", "", &[(condition, "*")]).await, "400 ConditionHeadersNotSupported");
    }
    assert_eq!(of("GET", "&comp=pagelist&prevsnapshot=x", &[]).await, "400 InvalidQueryParameterValue");
    let clear = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")];
    let full = cloud.grant(&disk("d")).await;
    let written = cloud.data("PUT", &full, "&comp=page", &clear, Vec::new()).await;
    assert_eq!(verdict(&written), "403 AuthorizationPermissionMismatch");
    assert_eq!(cloud.service.read_disk(&disk("d")).unwrap().bytes(0, 1).as_ref(), [1]);
    drop(from);
}

#[tokio::test]
async fn a_difference_needs_two_signatures_of_one_family() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    assert_eq!(short(&text(cloud.diff(&from, &to).await)), "P 512-1023");
    let unsigned = from.split_once("&sv=").unwrap().0;
    assert_eq!(verdict(&cloud.diff(unsigned, &to).await), "403 AuthenticationFailed");
    let stranger = cloud.disk("e").await;
    let foreign = cloud.grant(&cloud.snap(&stranger, "s3").await).await;
    assert_eq!(verdict(&cloud.diff(&foreign, &to).await), "409 PreviousSnapshotNotFound");
}

#[tokio::test]
async fn entra_mode_wants_a_token_beside_the_signature() {
    let cloud = Cloud::new();
    let mode = json!({ "properties": { "dataAccessAuthMode": "AzureActiveDirectory" } });
    let (first, second) = pair(&cloud).await;
    cloud.call("PATCH", &second, Some(&mode)).await.expect(202);
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    let token = format!("Bearer {DEV_TOKEN}");
    let ask = async |url: &str, token: &str| {
        let headers = [("authorization", token)];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        cloud.data("HEAD", url, "", headers, Vec::new()).await.status
    };
    assert_eq!(ask(&to, "").await, 401);
    assert_eq!(ask(&to, "Bearer wrong").await, 401);
    assert_eq!(ask(&to, &token).await, 200);
    assert_eq!(ask(to.split('?').next().unwrap(), &token).await, 401, "the token alone is not enough");
    assert_eq!(ask(&from, &token).await, 200, "a token does no harm where none is wanted");
    assert_eq!(verdict(&cloud.diff(&to, &from).await), "403 AuthenticationFailed", "nor is it forgotten in a diff");
}

#[tokio::test]
async fn network_policies_close_the_door() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let policy = |name: &str| json!({ "properties": { "networkAccessPolicy": name } });
    cloud.call("PATCH", &first, Some(&policy("DenyAll"))).await.expect(202);
    assert_eq!(cloud.try_grant(&first, "Read", 60).await.verdict(), "409 OperationNotAllowed");
    cloud.call("PATCH", &second, Some(&policy("AllowPrivate"))).await.expect(202);
    let url = cloud.grant(&second).await;
    assert_eq!(verdict(&cloud.read(&url, 0, 512).await), "403 AuthorizationFailure");
    assert_eq!(cloud.call("PATCH", &first, Some(&policy("Open"))).await.verdict(), "400 InvalidParameter");
}

#[tokio::test]
async fn grants_are_checked() {
    let cloud = Cloud::new();
    let (first, _) = pair(&cloud).await;
    for (access, seconds, expected) in [
        ("Read", 0, "400 InvalidParameter"),
        ("Read", 1 << 40, "400 InvalidParameter"),
        ("Write", 60, "400 InvalidParameter"),
        ("Both", 60, "400 InvalidParameter"),
    ] {
        assert_eq!(cloud.try_grant(&first, access, seconds).await.verdict(), expected, "{access} {seconds}");
    }
    assert_eq!(cloud.try_grant(&disk("d"), "Write", 60).await.verdict(), "409 OperationNotAllowed");
    assert_eq!(cloud.try_grant(&disk("none"), "Read", 60).await.verdict(), "404 ResourceNotFound");
    cloud.grant(&first).await;
    assert_eq!(cloud.delete(&first).await.verdict(), "409 OperationNotAllowed");
    cloud.revoke(&first).await.expect(202);
    cloud.delete(&first).await.expect(202);
}

#[tokio::test]
async fn a_full_snapshot_has_a_blob_of_its_own() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![5; 512]).unwrap();
    let body = managed_common::made("eastus", "Copy", &source, false);
    let full = managed_common::snapshot("full");
    cloud.put(&full, body).await.expect(202);
    cloud.service.write_disk(&source, 0, vec![6; 512]).unwrap();
    let url = cloud.grant(&full).await;
    assert!(!url.contains("snapshot=") && url.contains("sr=b&"), "{url}");
    assert_eq!(cloud.read(&url, 0, 512).await.body.into_bytes().as_ref(), [5; 512]);
    let shown = cloud.get(&full).await;
    assert_eq!(shown["properties"]["incremental"], false);
    assert!(shown["properties"]["incrementalSnapshotFamilyId"].is_null());
    cloud.delete(&source).await.expect(202);
    assert_eq!(cloud.read(&url, 0, 512).await.status, 206, "it outlives its disk");
}

#[tokio::test]
async fn snapshots_outlive_their_disk_and_leave_nothing_behind() {
    let cloud = Cloud::new();
    let (first, second) = pair(&cloud).await;
    let full = cloud.grant(&disk("d")).await;
    cloud.revoke(&disk("d")).await.expect(202);
    cloud.delete(&disk("d")).await.expect(202);
    assert_eq!(verdict(&cloud.read(&full, 0, 512).await), "403 AuthenticationFailed");
    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    assert_eq!(short(&text(cloud.diff(&from, &to).await)), "P 512-1023");
    for id in [&first, &second] {
        cloud.revoke(id).await.expect(202);
        cloud.delete(id).await.expect(202);
    }
    assert_eq!(verdict(&cloud.read(&to, 0, 512).await), "404 ResourceNotFound");
}
