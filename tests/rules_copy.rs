//! The rules of managed copy (protocol §12.1), each by its number: what the engine does about it, in a time that passes only
//! when everybody waits.

mod cloud;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use cloud::{Cloud, MIB, link, order, says, snapshot};
use pageferry_arm::ResourceId;
use pageferry_emulator::CopyPace;
use pageferry_managed::{CopyOrder, ManagedDisk};
use pageferry_store::ErrorKind;
use serde_json::{Value, json};
use tokio::time::Instant;

const NORTH: &str = "northeurope";

/// A service whose copies move this many bytes in a second, and a disk with 8 MiB in a first snapshot and 1 MiB more in a
/// second.
async fn slow(rate: u64) -> (Cloud, ManagedDisk) {
    let cloud = Cloud::with(|config| config.arm.copy_start = CopyPace::BytesPerSecond(rate)).await;
    let web1 = cloud.disk("web1", "Premium_LRS").await;
    cloud.write(&web1, 0, 8 * MIB, 1);
    cloud.snap(&web1, "first").await;
    cloud.write(&web1, 64 * MIB, MIB, 2);
    cloud.snap(&web1, "second").await;
    let found = cloud.find("web1").await;
    (cloud, found)
}

async fn copy(
    disk: &ManagedDisk,
    name: &str,
    order: &CopyOrder,
) -> Result<pageferry_managed::Copied, pageferry_store::StoreError> {
    disk.copy(&link(disk, name), order, |_| ()).await
}

/// Another disk with a snapshot of 1 MiB.
async fn another(cloud: &Cloud, name: &str) -> String {
    let other = cloud.disk(name, "Premium_LRS").await;
    cloud.write(&other, 0, MIB, 3);
    cloud.snap(&other, &format!("of-{name}")).await
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn rule_01_the_hundred_and_first_copy_waits_and_gives_up_in_the_end() {
    let (cloud, disk) = slow(64 << 10).await;
    for n in 0..100 {
        let taken = another(&cloud, &format!("d{n}")).await;
        cloud.copy(&taken, &format!("c{n}"), NORTH).await;
    }
    let hasty = CopyOrder { queue: Duration::from_secs(5), ..order("copy", NORTH) };
    let error = copy(&disk, "first", &hasty).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    says(&error, &format!("100 copies already running in {}/{NORTH}; waiting; gave up", cloud::SUBSCRIPTION));
    copy(&disk, "first", &order("elsewhere", "westus")).await.unwrap();
    let begun = Instant::now();
    copy(&disk, "first", &order("copy", NORTH)).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(100), "it did not wait: {:?}", begun.elapsed());
    cloud.heard(&format!("100 copies already running in {}/{NORTH}; waiting", cloud::SUBSCRIPTION));
    assert!(cloud.same(&snapshot("copy"), &snapshot("first")));
}

#[tokio::test(start_paused = true)]
async fn rule_03_a_copy_waits_for_another_of_the_same_disk() {
    let (cloud, disk) = slow(MIB).await;
    cloud.copy(&snapshot("first"), "theirs", NORTH).await;
    let begun = Instant::now();
    copy(&disk, "second", &order("copy", NORTH)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(8), "it did not wait: {:?}", begun.elapsed());
    cloud.heard("copy of second waits for theirs of the same disk");
    assert!(cloud.same(&snapshot("copy"), &snapshot("second")));
}

#[tokio::test(start_paused = true)]
async fn rule_06_a_copy_is_not_said_to_be_there_before_it_is_complete() {
    let (cloud, disk) = slow(MIB).await;
    let seen = Mutex::new(Vec::new());
    let told = |percent| seen.lock().unwrap().push(percent);
    let copied = disk.copy(&link(&disk, "first"), &order("copy", NORTH), told).await.unwrap();
    assert!(copied.took >= Duration::from_secs(8), "{:?}", copied.took);
    cloud.heard("% complete; waiting");
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 5 && seen.is_sorted() && seen.iter().all(|percent| *percent < 100.0), "{seen:?}");
    assert_eq!(cloud.get(&snapshot("copy")).await["properties"]["completionPercent"], 100.0);
}

#[tokio::test(start_paused = true)]
async fn rule_07_the_source_of_a_running_copy_is_not_deleted() {
    let (cloud, disk) = slow(MIB).await;
    cloud.copy(&snapshot("first"), "theirs", NORTH).await;
    let error = disk.delete(&link(&disk, "first")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    says(&error, "first is the source of a running copy");
    says(&error, "deletion refused");
    disk.delete(&link(&disk, "second")).await.unwrap();
    after(10).await;
    disk.delete(&link(&disk, "first")).await.unwrap();
    assert_eq!(cloud.get(&snapshot("theirs")).await["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn rule_08_a_copy_whose_source_is_deleted_fails_and_says_what_to_do() {
    for a_namesake_is_made in [false, true] {
        let (cloud, disk) = slow(MIB).await;
        let deletion = async {
            after(3).await;
            cloud.must("DELETE", &snapshot("first"), &Value::Null).await;
            if a_namesake_is_made {
                cloud.snap(&cloud::disk("web1"), "first").await;
            }
        };
        let order = order("copy", NORTH);
        let (error, ()) = tokio::join!(copy(&disk, "first", &order), deletion);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        says(&error, "copy of first failed: source deleted; recreate the target from an existing source");
    }
}

/// A Resource Manager that says of a copy that it has failed, although its source is there, until it is deleted.
#[derive(Debug)]
struct Spoilt(Arc<dyn HttpClient>, AtomicBool);

#[async_trait]
impl HttpClient for Spoilt {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let about = request.url().path().ends_with("/snapshots/copy");
        self.1.fetch_or(about && request.method() == Method::Delete, Ordering::SeqCst);
        let answer = self.0.execute_request(request).await?;
        let status = answer.status();
        if !about || request.method() != Method::Get || u16::from(status) != 200 || self.1.load(Ordering::SeqCst) {
            return Ok(answer);
        }
        let headers = answer.headers().clone();
        let body = answer.try_into_raw_response().await?.into_body();
        let mut body: Value = serde_json::from_slice(body.as_ref()).unwrap();
        body["properties"]["provisioningState"] = json!("Failed");
        body["properties"]["copyCompletionError"] = json!({ "errorCode": "Internal", "errorMessage": "a bad day" });
        Ok(AsyncRawResponse::from_bytes(status, headers, body.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn rule_09_a_copy_that_failed_is_made_again() {
    let (cloud, _) = slow(MIB).await;
    let transport = Spoilt(cloud.world.process().transport(), AtomicBool::new(false));
    let disk = cloud.find_by("web1", Arc::new(transport)).await;
    let copied = copy(&disk, "first", &order("copy", NORTH)).await.unwrap();
    assert_eq!(copied.retries, 1);
    cloud.heard("copy of first failed (Internal: a bad day); retry 1: recreating copy");
    assert!(cloud.same(&snapshot("copy"), &snapshot("first")));
}

#[tokio::test(start_paused = true)]
async fn rule_10_a_copy_that_does_not_say_how_far_it_is_is_not_complete() {
    let cloud = Cloud::with(|config| {
        config.arm.copy_start = CopyPace::BytesPerSecond(MIB / 60);
        config.arm.percent_delay = Duration::from_secs(30);
    })
    .await;
    let taken = another(&cloud, "web1").await;
    let disk = cloud.find("web1").await;
    let copied = copy(&disk, "of-web1", &order("copy", NORTH)).await.unwrap();
    assert!(copied.took >= Duration::from_secs(60), "{:?}", copied.took);
    cloud.heard("copy is 0 % complete; waiting");
    assert!(cloud.same(&snapshot("copy"), &taken));
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_customers_key_is_asked_for_and_not_inherited() {
    let cloud = Cloud::new().await;
    let web1 = cloud.disk("web1", "Premium_LRS").await;
    let set = |name: &str| {
        format!("/subscriptions/x/resourceGroups/rg/providers/Microsoft.Compute/diskEncryptionSets/{name}")
    };
    let properties = json!({
        "creationData": { "createOption": "Copy", "sourceResourceId": web1 }, "incremental": true,
        "encryption": { "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": set("a") }
    });
    cloud.must("PUT", &snapshot("s"), &json!({ "location": "westeurope", "properties": properties })).await;
    let disk = cloud.find("web1").await;
    let error = copy(&disk, "s", &order("copy", NORTH)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    says(&error, "source uses a customer-managed key");
    says(&error, "--allow-platform-key");
    assert_eq!(cloud.arm("GET", &snapshot("copy"), &Value::Null).await.0, 404, "it was made all the same");
    let own = CopyOrder { encryption: Some(set("b")), ..order("own", NORTH) };
    copy(&disk, "s", &own).await.unwrap();
    assert_eq!(cloud.get(&snapshot("own")).await["properties"]["encryption"]["diskEncryptionSetId"], set("b"));
    copy(&disk, "s", &CopyOrder { platform_key: true, ..order("plain", "westus") }).await.unwrap();
    let kind = &cloud.get(&snapshot("plain")).await["properties"]["encryption"]["type"];
    assert_eq!(kind, "EncryptionAtRestWithPlatformKey");
}

#[tokio::test(start_paused = true)]
async fn rule_12_a_copy_goes_to_another_region_and_within_one() {
    let (cloud, disk) = slow(MIB).await;
    for (name, region) in [("there", NORTH), ("here", "westeurope")] {
        copy(&disk, "first", &order(name, region)).await.unwrap();
        assert!(cloud.same(&snapshot(name), &snapshot("first")), "{region}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_19_a_snapshot_gets_to_another_subscription_by_a_copy() {
    let (cloud, disk) = slow(MIB).await;
    let target = ResourceId::snapshot("00000000-0000-0000-0000-000000000002", "vault", "copy").unwrap();
    copy(&disk, "first", &CopyOrder { target: target.clone(), ..order("x", NORTH) }).await.unwrap();
    assert!(cloud.same(&target.to_string(), &snapshot("first")));
}

#[tokio::test(start_paused = true)]
async fn rule_20_a_snapshot_gets_to_another_group_by_a_copy() {
    let (cloud, disk) = slow(MIB).await;
    let target = ResourceId::snapshot(cloud::SUBSCRIPTION, "vault", "copy").unwrap();
    copy(&disk, "first", &CopyOrder { target: target.clone(), ..order("x", "westeurope") }).await.unwrap();
    assert!(cloud.same(&target.to_string(), &snapshot("first")));
}

#[tokio::test(start_paused = true)]
async fn rule_13_copies_of_two_disks_run_at_once() {
    let (cloud, disk) = slow(MIB).await;
    let other = cloud.disk("web2", "Premium_LRS").await;
    cloud.write(&other, 0, 8 * MIB, 3);
    cloud.snap(&other, "of-web2").await;
    let second = cloud.find("web2").await;
    let begun = Instant::now();
    let orders = (order("c1", NORTH), order("c2", NORTH));
    let (one, two) = tokio::join!(copy(&disk, "first", &orders.0), copy(&second, "of-web2", &orders.1));
    assert!(one.is_ok() && two.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(12), "one waited for the other: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn rule_14_only_what_changed_since_the_last_copy_is_on_the_way() {
    let (_cloud, disk) = slow(MIB / 4).await;
    let first = copy(&disk, "first", &order("c1", NORTH)).await.unwrap();
    let second = copy(&disk, "second", &order("c2", NORTH)).await.unwrap();
    assert!(first.took >= Duration::from_secs(32), "8 MiB took {:?}", first.took);
    assert!((4..12).contains(&second.took.as_secs()), "1 MiB took {:?}", second.took);
}

#[tokio::test(start_paused = true)]
async fn rule_17_deleting_the_target_ends_the_copy() {
    let (cloud, disk) = slow(MIB).await;
    let deletion = async {
        after(3).await;
        cloud.must("DELETE", &snapshot("copy"), &Value::Null).await;
    };
    let order = order("copy", NORTH);
    let (error, ()) = tokio::join!(copy(&disk, "first", &order), deletion);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    says(&error, "copy cancelled by deletion of copy");
}

#[tokio::test(start_paused = true)]
async fn rule_34_that_the_source_is_complete_proves_nothing_of_its_copy() {
    let (cloud, disk) = slow(MIB).await;
    let watched = async {
        after(4).await;
        let percent = async |name: &str| cloud.get(&snapshot(name)).await["properties"]["completionPercent"].as_f64();
        (percent("first").await, percent("copy").await)
    };
    let order = order("copy", NORTH);
    let (copied, (source, target)) = tokio::join!(copy(&disk, "first", &order), watched);
    assert_eq!(source, Some(100.0));
    assert!(target.is_some_and(|percent| percent < 60.0), "{target:?}");
    assert!(copied.unwrap().took >= Duration::from_secs(8));
}
