//! The rules of incremental snapshots (protocol §12.2) that concern taking them, each by its number: what the engine does
//! about it, in a time that passes only when everybody waits.

mod cloud;

use std::time::Duration;

use cloud::{Cloud, MIB, disk, link, says, snapshot};
use pageferry_core::SnapshotId;
use pageferry_emulator::CopyPace;
use pageferry_managed::{Link, ManagedDisk, Naming};
use pageferry_store::{Ask, ErrorKind, Source, StoreError, View};
use serde_json::{Value, json};
use tokio::time::Instant;

const ULTRA: &str = "UltraSSD_LRS";

/// A service whose background copies move 1 MiB in a second, and a disk with 8 MiB on it.
async fn slow(sku: &str) -> Cloud {
    let cloud = Cloud::with(|config| config.arm.hydration = CopyPace::BytesPerSecond(MIB)).await;
    let web1 = cloud.disk("web1", sku).await;
    cloud.write(&web1, 0, 8 * MIB, 1);
    cloud
}

fn called(name: &str) -> Naming {
    Naming { name: Some(name.to_owned()), ..Naming::default() }
}

async fn take(cloud: &Cloud, disk: &ManagedDisk, naming: &Naming) -> Result<Link, StoreError> {
    disk.take(naming, || cloud.now()).await
}

async fn lists(disk: &ManagedDisk, id: &SnapshotId) -> usize {
    let window = pageferry_core::PageRange::new(pageferry_core::Pages::ZERO, pageferry_core::Pages::new(1 << 21));
    let view = View::Snapshot(id.clone());
    let ask = Ask { view, since: None, window: window.unwrap(), marker: None, if_match: None };
    disk.list(&ask).await.unwrap().changes.len()
}

#[tokio::test(start_paused = true)]
async fn rule_21_a_snapshot_is_taken_in_the_subscription_of_its_disk() {
    let cloud = slow("Premium_LRS").await;
    let disk = cloud.find("web1").await;
    let link = take(&cloud, &disk, &Naming { group: Some("vault".to_owned()), ..called("s") }).await.unwrap();
    assert_eq!((link.resource.subscription(), link.resource.group()), (cloud::SUBSCRIPTION, "vault"));
    let nowhere = Naming { group: Some("/subscriptions/other/resourceGroups/rg".to_owned()), ..called("t") };
    let error = take(&cloud, &disk, &nowhere).await.unwrap_err();
    says(&error, "cannot be the resource group");
}

#[tokio::test(start_paused = true)]
async fn rule_22_the_eighth_snapshot_within_five_minutes_is_taken_when_there_is_room() {
    let cloud = slow("Premium_LRS").await;
    for n in 0..7 {
        cloud.snap(&disk("web1"), &format!("s{n}")).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let disk = cloud.find("web1").await;
    let begun = Instant::now();
    take(&cloud, &disk, &called("s7")).await.unwrap();
    assert!((155..175).contains(&begun.elapsed().as_secs()), "it waited for {:?}", begun.elapsed());
    cloud.heard("snapshot rate limit; next at 2027-01-15T08:05:00Z");
}

#[tokio::test(start_paused = true)]
async fn rule_24_of_a_disk_with_five_hundred_snapshots_no_more_is_taken() {
    let cloud = Cloud::with(|config| config.arm.limits.snapshots_per_five_minutes = None).await;
    let web1 = cloud.disk("web1", "Premium_LRS").await;
    for n in 0..500 {
        cloud.snap(&web1, &format!("s{n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let disk = cloud.find("web1").await;
    assert_eq!(disk.chain().unwrap().links.len(), 500, "a list of five pages");
    let error = take(&cloud, &disk, &called("more")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    says(&error, "500 snapshots exist for web1");
    says(&error, "delete some or change retention");
    assert_eq!(cloud.arm("GET", &snapshot("more"), &Value::Null).await.0, 404);
    disk.delete(&link(&disk, "s0")).await.unwrap();
    take(&cloud, &disk, &called("more")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_28_a_fourth_pending_snapshot_waits_for_one_that_is_complete() {
    let cloud = slow(ULTRA).await;
    let web1 = disk("web1");
    for n in 0..3 {
        cloud.write(&web1, n * 64 * MIB, 60 * MIB, 2);
        cloud.snap(&web1, &format!("s{n}")).await;
    }
    let disk = cloud.find("web1").await;
    let begun = Instant::now();
    take(&cloud, &disk, &called("s3")).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(50), "it did not wait: {:?}", begun.elapsed());
    cloud.heard("3 snapshots of web1 are still copying; waiting");
}

#[tokio::test(start_paused = true)]
async fn rule_29_a_snapshot_that_is_taken_is_there_once_it_is_complete() {
    let cloud = slow(ULTRA).await;
    let disk = cloud.find("web1").await;
    let begun = Instant::now();
    let link = take(&cloud, &disk, &called("s")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    cloud.heard("s is 12.5 % complete; waiting");
    assert!(lists(&disk, &link.id).await > 0);
}

#[tokio::test(start_paused = true)]
async fn rule_30_no_snapshot_is_taken_of_a_disk_that_is_being_filled() {
    let cloud = slow(ULTRA).await;
    let taken = cloud.snap(&disk("web1"), "s").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let properties = json!({ "creationData": { "createOption": "Copy", "sourceResourceId": taken } });
    let body = json!({ "location": "westeurope", "sku": { "name": ULTRA }, "properties": properties });
    cloud.must("PUT", &disk("new"), &body).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let new = cloud.find("new").await;
    let error = take(&cloud, &new, &called("early")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    says(&error, "disk new is still hydrating (");
    says(&error, "snapshot not supported yet");
    assert_eq!(cloud.arm("GET", &snapshot("early"), &Value::Null).await.0, 404);
    tokio::time::sleep(Duration::from_secs(10)).await;
    take(&cloud, &new, &called("late")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_31_a_snapshot_that_a_resize_spoils_is_named_with_its_reason() {
    let cloud = slow(ULTRA).await;
    let found = cloud.find("web1").await;
    let resize = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        cloud.must("PATCH", &disk("web1"), &json!({ "properties": { "diskSizeGB": 2 } })).await;
    };
    let naming = called("s");
    let (error, ()) = tokio::join!(take(&cloud, &found, &naming), resize);
    says(&error.unwrap_err(), "snapshot s failed because web1 was resized; delete it and take a new one");
    // The next one is taken past it.
    let link = take(&cloud, &found, &called("t")).await.unwrap();
    assert_eq!(link.size.bytes(), (2 << 30) + 512);
    cloud.heard("snapshots s have failed");
}

#[tokio::test(start_paused = true)]
async fn rule_35_snapshots_are_taken_on_the_storage_that_the_service_chooses() {
    let cloud = slow(ULTRA).await;
    let disk = cloud.find("web1").await;
    take(&cloud, &disk, &called("s")).await.unwrap();
    let sku = cloud.get(&snapshot("s")).await["sku"]["name"].clone();
    assert!(sku.as_str().is_some_and(|sku| sku.starts_with("Standard_")), "{sku}");
}

#[tokio::test(start_paused = true)]
async fn rule_36_snapshots_are_taken_as_incremental_ones() {
    let cloud = slow("Premium_LRS").await;
    let disk = cloud.find("web1").await;
    take(&cloud, &disk, &called("s")).await.unwrap();
    assert_eq!(cloud.get(&snapshot("s")).await["properties"]["incremental"], true);
}

#[tokio::test(start_paused = true)]
async fn rule_37_the_snapshot_of_an_ordinary_disk_is_there_at_once() {
    let cloud = slow("Premium_LRS").await;
    let disk = cloud.find("web1").await;
    let begun = Instant::now();
    let link = take(&cloud, &disk, &called("s")).await.unwrap();
    assert!(lists(&disk, &link.id).await > 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited for {:?}", begun.elapsed());
    assert!(!cloud.said().iter().any(|said| said.contains("waiting")), "{:?}", cloud.said());
}
