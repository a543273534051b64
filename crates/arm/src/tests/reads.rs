//! What there is: answers taken apart, lists followed to their end.

use pageferry_store::ErrorKind;

use super::mock::{answer, error};
use super::{BASE, GROUP, arm, disk_id, options, snapshot_id, snapshot_json};
use crate::{Arm, FixedToken, Options, ResourceId};

/// As recorded, with the names changed.
const SNAPSHOT: &str = r#"{
  "name": "s1",
  "id": "/subscriptions/5AB/resourceGroups/G1/providers/Microsoft.Compute/snapshots/s1",
  "type": "Microsoft.Compute/snapshots",
  "location": "eastus",
  "tags": {"made by": "pageferry"},
  "sku": {"name": "Standard_ZRS", "tier": "Standard"},
  "properties": {
    "osType": "Linux", "hyperVGeneration": "V2", "supportsHibernation": null,
    "creationData": {"createOption": "CopyStart", "logicalSectorSize": 512,
      "sourceResourceId": "/subscriptions/5ab/resourceGroups/other/providers/Microsoft.Compute/disks/d1",
      "sourceUniqueId": "aaaa-1"},
    "diskSizeGB": 10, "diskSizeBytes": 10737418240, "timeCreated": "2022-08-01T10:11:12.1234567+00:00",
    "provisioningState": "Succeeded", "diskState": "Unattached", "uniqueId": "bbbb-2",
    "incremental": true, "incrementalSnapshotFamilyId": "cccc-3", "completionPercent": 37.5,
    "encryption": {"type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": "/subscriptions/5ab/x"},
    "networkAccessPolicy": "AllowAll", "publicNetworkAccess": "Enabled", "dataAccessAuthMode": "AzureActiveDirectory"
  }
}"#;

#[tokio::test]
async fn a_snapshot_is_read() {
    let (arm, mock) = arm([answer(200, format!("\u{feff}{SNAPSHOT}")).into()]);
    let snapshot = arm.snapshot(&snapshot_id()).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen[0].line, format!("GET {BASE}/snapshots/s1?api-version=2022-07-02"));
    assert_eq!(seen[0].header("authorization"), "Bearer CANARY");
    assert_eq!(snapshot.id, snapshot_id());
    assert_eq!(snapshot.id.group(), "G1", "the id is the service's");
    assert_eq!((snapshot.name.as_str(), snapshot.location.as_str()), ("s1", "eastus"));
    assert_eq!(snapshot.time_created, "2022-08-01T10:11:12.1234567+00:00");
    assert!(snapshot.incremental && snapshot.needs_token() && !snapshot.is_complete());
    assert_eq!((snapshot.family.as_deref(), snapshot.unique_id.as_deref()), (Some("cccc-3"), Some("bbbb-2")));
    assert_eq!((snapshot.size_bytes, snapshot.sector_size), (Some(10_737_418_240), Some(512)));
    assert_eq!(snapshot.completion_percent, Some(37.5));
    assert_eq!((snapshot.provisioning.as_str(), snapshot.disk_state.as_deref()), ("Succeeded", Some("Unattached")));
    assert_eq!(snapshot.source.unwrap(), ResourceId::disk("5ab", "other", "d1").unwrap());
    assert_eq!(snapshot.source_unique_id.as_deref(), Some("aaaa-1"));
    assert_eq!(snapshot.create_option.as_deref(), Some("CopyStart"));
    assert_eq!(snapshot.network_policy.as_deref(), Some("AllowAll"));
    assert_eq!(snapshot.encryption_type.as_deref(), Some("EncryptionAtRestWithCustomerKey"));
    assert_eq!(snapshot.disk_encryption_set.as_deref(), Some("/subscriptions/5ab/x"));
    assert_eq!(snapshot.sku.as_deref(), Some("Standard_ZRS"));
    assert_eq!(snapshot.tags["made by"], "pageferry");
}

#[tokio::test]
async fn a_disk_is_read_whatever_its_numbers_look_like() {
    let body = r#"{"location":"eastus","managedBy":"/subscriptions/5ab/vm1","sku":{"name":"Premium_LRS"},"properties":{
        "creationData":{"createOption":"Upload","uploadSizeBytes":1.073742336e9,"logicalSectorSize":512.0},
        "diskSizeBytes":1073741824.0,"completionPercent":100,"diskState":"ReadyToUpload","uniqueId":"u",
        "provisioningState":"Succeeded","dataAccessAuthMode":"None"}}"#;
    let (arm, mock) = arm([answer(200, body).into()]);
    let disk = arm.disk(&disk_id()).await.unwrap();
    assert_eq!(mock.lines(), [format!("GET {BASE}/disks/d1?api-version=2022-07-02")]);
    assert_eq!(
        (disk.id, disk.name.as_str()),
        (disk_id(), "d1"),
        "what the answer leaves out is known from the question"
    );
    assert_eq!((disk.size_bytes, disk.upload_size), (Some(1 << 30), Some((1 << 30) + 512)));
    assert_eq!((disk.sector_size, disk.completion_percent), (Some(512), Some(100.0)));
    assert_eq!(
        (disk.disk_state.as_deref(), disk.managed_by.as_deref()),
        (Some("ReadyToUpload"), Some("/subscriptions/5ab/vm1"))
    );
    assert_eq!((disk.sku.as_deref(), disk.create_option.as_deref()), (Some("Premium_LRS"), Some("Upload")));
}

#[tokio::test]
async fn rule_10_a_missing_completion_percent_is_not_complete() {
    let (arm, mock) = arm([
        answer(200, snapshot_json("s1", r#""provisioningState":"Succeeded""#)).into(),
        answer(200, snapshot_json("s1", r#""completionPercent":null"#)).into(),
        answer(200, snapshot_json("s1", r#""completionPercent":99.99"#)).into(),
        answer(200, snapshot_json("s1", r#""completionPercent":100"#)).into(),
    ]);
    let mut complete = Vec::new();
    for _ in 0..4 {
        let snapshot = arm.snapshot(&snapshot_id()).await.unwrap();
        complete.push((snapshot.completion_percent, snapshot.is_complete()));
    }
    assert_eq!(complete, [(None, false), (None, false), (Some(99.99), false), (Some(100.0), true)]);
    mock.seen();
}

#[tokio::test]
async fn why_a_copy_failed_is_told() {
    let failed = r#""provisioningState":"Failed","copyCompletionError":{"errorCode":"CopySourceNotFound","errorMessage":"gone"}"#;
    let (arm, _) = arm([answer(200, snapshot_json("s1", failed)).into()]);
    let snapshot = arm.snapshot(&snapshot_id()).await.unwrap();
    assert_eq!(snapshot.copy_error.as_deref(), Some("CopySourceNotFound: gone"));
}

#[tokio::test]
async fn a_list_is_followed_page_by_page_to_the_letter() {
    let next = format!("{BASE}/snapshots?api-version=2022-07-02&$skiptoken=a%2Bb%3d");
    let (arm, mock) = arm([
        answer(200, format!(r#"{{"value":[{}],"nextLink":"{next}"}}"#, snapshot_json("a", ""))).into(),
        answer(200, format!(r#"{{"value":[],"nextLink":"{next}2"}}"#)).into(),
        answer(200, format!(r#"{{"value":[{}],"nextLink":""}}"#, snapshot_json("b", ""))).into(),
        answer(200, format!(r#"{{"value":[{}]}}"#, snapshot_json("c", ""))).into(),
    ]);
    let names = |list: Vec<crate::Snapshot>| list.into_iter().map(|snapshot| snapshot.name).collect::<Vec<_>>();
    assert_eq!(names(arm.snapshots_of_group("5ab", "g1").await.unwrap()), ["a", "b"]);
    assert_eq!(names(arm.snapshots_of_subscription("5ab").await.unwrap()), ["c"]);
    let all = "https://management.azure.com/subscriptions/5ab/providers/Microsoft.Compute/snapshots";
    let expected = [
        format!("GET {BASE}/snapshots?api-version=2022-07-02"),
        format!("GET {next}"),
        format!("GET {next}2"),
        format!("GET {all}?api-version=2022-07-02"),
    ];
    assert_eq!(mock.lines(), expected);
}

#[tokio::test]
async fn a_token_does_not_follow_a_link_to_another_host() {
    for elsewhere in [
        "https://evil.example/?CANARY",
        "//evil.example/x",
        "https://management.azure.com:444/x",
        "http://management.azure.com/x",
        "https://management.azure.com@evil.example/x",
    ] {
        let (arm, mock) = arm([answer(200, format!(r#"{{"value":[],"nextLink":"{elsewhere}"}}"#)).into()]);
        let refused = arm.snapshots_of_subscription("5ab").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Integrity);
        assert!(refused.to_string().contains("are not sent there"), "{refused}");
        assert!(!refused.to_string().contains("CANARY"), "{refused}");
        assert_eq!(mock.seen().len(), 1, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let page =
        |number: u32| answer(200, format!(r#"{{"value":[],"nextLink":"{BASE}/snapshots?page={number}"}}"#)).into();
    let (looped, mock) = arm([page(1), page(2), page(1)]);
    let error = looped.snapshots_of_subscription("5ab").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains("no end"), "{error}");
    assert_eq!(mock.seen().len(), 3);
    let (endless, _) = arm((0..10_001).map(page));
    assert!(endless.snapshots_of_subscription("5ab").await.unwrap_err().to_string().contains("no end"));
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    let get = [r#"{"properties":"CANARY"}"#, "<html>", "", r#"{"id":"/CANARY"}"#];
    for body in get {
        let (arm, _) = arm([answer(200, body).into()]);
        let error = arm.snapshot(&snapshot_id()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{body}: {error}");
        assert!(body.contains("id") || !error.to_string().contains("CANARY"), "{error}");
    }
    let disk = format!(r#"{{"id":"{GROUP}/disks/d1"}}"#);
    for page in [r#"{"value":[{}]}"#.to_owned(), format!(r#"{{"value":[{disk}]}}"#)] {
        let (arm, _) = arm([answer(200, page).into()]);
        assert_eq!(arm.snapshots_of_subscription("5ab").await.unwrap_err().kind(), ErrorKind::Integrity);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_told_apart() {
    let (arm, mock) = arm([error(404, "ResourceNotFound").into(), error(403, "AuthorizationFailed").into()]);
    let missing = arm.snapshot(&snapshot_id()).await.unwrap_err();
    assert_eq!((missing.kind(), missing.failure().status), (ErrorKind::NotFound, Some(404)));
    let expected =
        format!("Get Snapshot on {GROUP}/snapshots/s1 failed: It went wrong (404 ResourceNotFound, request req-1)");
    assert_eq!(missing.to_string(), expected);
    let denied = arm.disk(&disk_id()).await.unwrap_err();
    assert_eq!((denied.kind(), denied.code()), (ErrorKind::Denied, "AuthorizationFailed"));
    assert!(denied.to_string().contains("Microsoft.Compute/disks/read"), "{denied}");
    let confused = arm.disk(&snapshot_id()).await.unwrap_err();
    assert_eq!(confused.kind(), ErrorKind::Invalid);
    assert!(confused.to_string().contains("of a snapshot, not of a disk"), "{confused}");
    assert_eq!(arm.snapshots_of_group("5ab", "..").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(mock.seen().len(), 2);
}

#[test]
fn rule_02_a_version_without_copy_start_is_refused() {
    let with = |version: &str| {
        let options = Options { api_version: version.to_owned(), ..options(&super::Mock::new([])) };
        Arm::new(std::sync::Arc::new(FixedToken::new("t")), options)
    };
    for good in ["2020-12-01", "2022-07-02", "2026-01-01-preview"] {
        assert!(with(good).is_ok(), "{good}");
    }
    let old = with("2020-11-30").unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Invalid);
    assert!(old.to_string().contains("2020-11-30 too old for CopyStart; need 2020-12-01 or later"), "{old}");
    for bad in ["", "latest", "2022-07-02&x=y", "2022/07/02", "2022-07-0é"] {
        assert!(with(bad).unwrap_err().to_string().contains("not a date"), "{bad}");
    }
}

#[tokio::test]
async fn tokens_go_over_plain_http_to_this_machine_only() {
    let at = |endpoint: &str, mock: &super::Mock| {
        let options = Options { endpoint: endpoint.parse().unwrap(), ..options(mock) };
        Arm::new(std::sync::Arc::new(FixedToken::new("CANARY")), options)
    };
    let none = super::Mock::new([]);
    for bad in
        ["http://management.azure.com", "ftp://127.0.0.1", "https://u:p@management.azure.com", "https://a.b/?c=d"]
    {
        assert_eq!(at(bad, &none).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    let mock = super::Mock::new([answer(200, SNAPSHOT).into()]);
    let local = at("http://127.0.0.1:1234/arm/", &mock).unwrap();
    assert_eq!(local.endpoint().as_str(), "http://127.0.0.1:1234/arm/");
    local.snapshot(&snapshot_id()).await.unwrap();
    let seen = mock.seen();
    assert_eq!(seen[0].line, format!("GET http://127.0.0.1:1234/arm{GROUP}/snapshots/s1?api-version=2022-07-02"));
    assert_eq!(seen[0].header("authorization"), "Bearer CANARY");
    assert_eq!(Options::default().endpoint.as_str(), "https://management.azure.com/");
}
