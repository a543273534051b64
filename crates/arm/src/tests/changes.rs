//! Making and deleting: what is sent, and what is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use pageferry_store::ErrorKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::mock::{Step, answer, error, reset};
use super::{BASE, STATUS_URL, arm, disk_id, snapshot_id, snapshot_json};
use crate::{CopyKind, NewDisk, NewSnapshot, Origin};

fn new_snapshot() -> NewSnapshot {
    NewSnapshot {
        location: "westus".to_owned(),
        source: disk_id(),
        copy: CopyKind::Copy,
        incremental: true,
        sku: None,
        tags: BTreeMap::new(),
        disk_encryption_set: None,
        network_policy: None,
    }
}

fn new_disk(origin: Origin) -> NewDisk {
    NewDisk {
        location: "westus".to_owned(),
        sku: None,
        origin,
        tags: BTreeMap::new(),
        os_type: None,
        generation: None,
        sector_size: None,
        disk_encryption_set: None,
        network_policy: None,
    }
}

fn ready(state: &str) -> Step {
    answer(200, snapshot_json("s1", &format!(r#""provisioningState":"{state}""#))).into()
}

fn running(status: &str) -> Step {
    answer(200, format!(r#"{{"startTime":"now","status":"{status}","name":"op-1"}}"#)).into()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_made_and_waited_for() {
    let accepted = answer(202, snapshot_json("s1", r#""provisioningState":"Updating""#))
        .header("azure-asyncoperation", STATUS_URL)
        .header("location", format!("{STATUS_URL}&monitor=true"))
        .header("retry-after", "2");
    let (arm, mock) =
        arm([accepted.into(), running("InProgress"), running("Succeeded"), ready("Creating"), ready("Succeeded")]);
    let started = Instant::now();
    let snapshot = arm.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap();
    assert_eq!(started.elapsed(), Duration::from_secs(2 + 5 + 5), "as the service says, then as the options say");
    assert_eq!((snapshot.id, snapshot.provisioning.as_str()), (snapshot_id(), "Succeeded"));
    let resource = format!("{BASE}/snapshots/s1?api-version=2022-07-02");
    let expected = [
        format!("PUT {resource}"),
        format!("GET {STATUS_URL}"),
        format!("GET {STATUS_URL}"),
        format!("GET {resource}"),
        format!("GET {resource}"),
    ];
    assert_eq!(mock.lines(), expected);
    assert_eq!(mock.seen()[0].header("content-type"), "application/json");
}

#[tokio::test]
async fn what_is_made_at_once_is_looked_at_once() {
    for status in [200, 201] {
        let (arm, mock) = arm([answer(status, "{}").into(), ready("Succeeded")]);
        arm.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap();
        assert_eq!(mock.seen().len(), 2);
    }
}

#[tokio::test]
async fn rule_36_incremental_is_always_sent() {
    for incremental in [true, false] {
        let (arm, mock) = arm([answer(200, "{}").into(), ready("Succeeded")]);
        arm.create_snapshot(&snapshot_id(), &NewSnapshot { incremental, ..new_snapshot() }).await.unwrap();
        let body: Value = serde_json::from_str(&mock.seen()[0].body).unwrap();
        let creation = json!({ "createOption": "Copy", "sourceResourceId": disk_id().to_string() });
        let expected =
            json!({ "location": "westus", "properties": { "creationData": creation, "incremental": incremental } });
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn everything_that_is_said_about_a_snapshot_is_sent() {
    let new = NewSnapshot {
        copy: CopyKind::CopyStart,
        source: snapshot_id(),
        sku: Some("Standard_ZRS".to_owned()),
        tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        disk_encryption_set: Some("/subscriptions/5ab/set".to_owned()),
        network_policy: Some("DenyAll".to_owned()),
        ..new_snapshot()
    };
    // A copy in the background has only begun; that is enough.
    let begun = snapshot_json("s1", r#""provisioningState":"Succeeded","completionPercent":0.0"#);
    let (arm, mock) = arm([answer(200, "{}").into(), answer(200, begun).into()]);
    arm.create_snapshot(&snapshot_id(), &new).await.unwrap();
    let body: Value = serde_json::from_str(&mock.seen()[0].body).unwrap();
    let expected = json!({
        "location": "westus",
        "sku": { "name": "Standard_ZRS" },
        "tags": { "a": "b" },
        "properties": {
            "creationData": { "createOption": "CopyStart", "sourceResourceId": snapshot_id().to_string() },
            "incremental": true,
            "encryption": { "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": "/subscriptions/5ab/set" },
            "networkAccessPolicy": "DenyAll",
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn disks_begin_in_three_ways() {
    for (origin, creation, gib) in [
        (
            Origin::Upload { bytes: 10_737_418_752 },
            json!({ "createOption": "Upload", "uploadSizeBytes": 10_737_418_752_u64, "logicalSectorSize": 512 }),
            Value::Null,
        ),
        (
            Origin::Copy { source: snapshot_id() },
            json!({ "createOption": "Copy", "sourceResourceId": snapshot_id().to_string(), "logicalSectorSize": 512 }),
            Value::Null,
        ),
        (Origin::Empty { gib: 4 }, json!({ "createOption": "Empty", "logicalSectorSize": 512 }), json!(4)),
    ] {
        let done = answer(200, r#"{"properties":{"provisioningState":"Succeeded"}}"#);
        let (arm, mock) = arm([answer(200, "{}").into(), done.into()]);
        let new = NewDisk {
            sector_size: Some(512),
            sku: Some("Premium_LRS".to_owned()),
            os_type: Some("Linux".to_owned()),
            generation: Some("V2".to_owned()),
            ..new_disk(origin)
        };
        assert_eq!(arm.create_disk(&disk_id(), &new).await.unwrap().id, disk_id());
        let seen = mock.seen();
        assert_eq!(seen[0].line, format!("PUT {BASE}/disks/d1?api-version=2022-07-02"));
        let body: Value = serde_json::from_str(&seen[0].body).unwrap();
        assert_eq!((&body["properties"]["creationData"], &body["properties"]["diskSizeGB"]), (&creation, &gib));
        assert_eq!((&body["sku"]["name"], &body["location"]), (&json!("Premium_LRS"), &json!("westus")));
        let machine = (&body["properties"]["osType"], &body["properties"]["hyperVGeneration"]);
        assert_eq!(machine, (&json!("Linux"), &json!("V2")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_may_fail_after_all() {
    let accepted = || Step::from(answer(202, "").header("azure-asyncoperation", STATUS_URL));
    let failed = r#"{"status":"Failed","error":{"code":"SnapshotCountExceeded","message":"Too many."}}"#;
    let broken = r#"{"status":"failed","error":{"code":"InternalServerError","message":"Oops."}}"#;
    for (body, kind, code, cause) in [
        (failed, ErrorKind::Invalid, "SnapshotCountExceeded", "Too many"),
        (broken, ErrorKind::Transient, "InternalServerError", "Oops"),
        (r#"{"status":"Canceled"}"#, ErrorKind::Invalid, "", "reports it as canceled"),
        (r#"{"nothing":1}"#, ErrorKind::Integrity, "", "does not say how far"),
    ] {
        let (arm, mock) = arm([accepted(), answer(200, body).into()]);
        let error = arm.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap_err();
        assert_eq!((error.kind(), error.code(), error.failure().operation), (kind, code, "Create Snapshot"));
        assert!(error.to_string().contains(cause), "{error}");
        mock.seen();
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_may_fail_after_its_operation() {
    let failed = r#""provisioningState":"Failed","copyCompletionError":{"errorCode":"CopySourceNotFound","errorMessage":"Gone."}"#;
    let (arm, _) = arm([answer(201, "{}").into(), ready("Updating"), answer(200, snapshot_json("s1", failed)).into()]);
    let error = arm.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "CopySourceNotFound"));
    assert!(error.to_string().contains("Gone"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_left_to_the_service() {
    // Half an hour in steps of five seconds.
    let polls = (0..360).map(|_| running("InProgress"));
    let accepted = answer(202, "").header("azure-asyncoperation", STATUS_URL).into();
    let (slow, mock) = arm(std::iter::once(accepted).chain(polls));
    let error = slow.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap_err();
    assert_eq!((error.kind(), mock.seen().len()), (ErrorKind::Transient, 361));
    assert!(error.to_string().contains("not finished after 1800 s"), "{error}");
    // The same limit holds for a resource that is never ready.
    let polls = (0..361).map(|_| ready("Updating"));
    let (slow, mock) = arm(std::iter::once(answer(200, "{}").into()).chain(polls));
    let error = slow.create_snapshot(&snapshot_id(), &new_snapshot()).await.unwrap_err();
    assert_eq!((error.kind(), mock.seen().len()), (ErrorKind::Transient, 362));
}

#[tokio::test(start_paused = true)]
async fn an_accepted_request_must_say_where_to_ask() {
    let (arm, _) = arm([answer(202, "").into()]);
    let error = arm.delete_snapshot(&snapshot_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains("where to ask"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_operation_elsewhere_is_not_asked_about() {
    for header in ["azure-asyncoperation", "location"] {
        let (arm, mock) = arm([answer(202, "").header(header, "https://evil.example/CANARY").into()]);
        let error = arm.delete_disk(&disk_id()).await.unwrap_err();
        assert_eq!((error.kind(), error.failure().operation), (ErrorKind::Integrity, "Delete Disk"));
        assert!(error.to_string().contains("are not sent there"), "{error}");
        assert_eq!(mock.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn deleting_has_three_good_answers() {
    let at = format!("{STATUS_URL}&monitor=true");
    let location =
        |status: u16, url: &str| Step::from(answer(status, "").header("location", url).header("retry-after", "0"));
    let moved = format!("{at}&moved=1");
    let (arm, mock) = arm([
        answer(200, "").into(),
        answer(204, "").into(),
        location(202, &at),
        location(202, &moved),
        answer(200, "").into(),
    ]);
    for _ in 0..3 {
        arm.delete_snapshot(&snapshot_id()).await.unwrap();
    }
    let delete = format!("DELETE {BASE}/snapshots/s1?api-version=2022-07-02");
    let expected = [delete.clone(), delete.clone(), delete, format!("GET {at}"), format!("GET {moved}")];
    assert_eq!(mock.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_attempt_deleted_is_deleted() {
    for lost in [reset(), Step::Silence, error(500, "InternalServerError").into()] {
        let (arm, mock) = arm([lost, error(404, "ResourceNotFound").into()]);
        arm.delete_snapshot(&snapshot_id()).await.unwrap();
        assert_eq!(mock.seen().len(), 2);
    }
    for certain in [None, Some(error(429, "TooManyRequests"))] {
        let script = certain.into_iter().chain([error(404, "ResourceNotFound")]).map(Step::from);
        let (arm, mock) = arm(script);
        assert_eq!(arm.delete_disk(&disk_id()).await.unwrap_err().kind(), ErrorKind::NotFound);
        mock.seen();
    }
}
