//! The service's rules that the emulator is to reproduce, each under its number in the protocol reference, and each
//! with the switch that turns it off where there is one.

mod common;
mod managed_common;

use common::{Bench, Expect as _, text, verdict};
use managed_common::{Cloud, GIB, MIB, copy_start, disk, empty, incremental, made, snapshot};
use pageferry_emulator::{Config, CopyPace, Limits, Timestamp};
use serde_json::json;

/// A service in which copies to other regions and in the background move this many bytes in a second.
fn slow(rate: u64) -> Cloud {
    Cloud::with(|config| {
        config.arm.copy_start = CopyPace::BytesPerSecond(rate);
        config.arm.hydration = CopyPace::BytesPerSecond(rate);
    })
}

/// As [`slow`], without any limit.
fn slow_and_free(rate: u64) -> Cloud {
    Cloud::with(|config| {
        config.arm.copy_start = CopyPace::BytesPerSecond(rate);
        config.arm.hydration = CopyPace::BytesPerSecond(rate);
        config.arm.limits = Limits::off();
    })
}

async fn ultra(cloud: &Cloud, name: &str) -> String {
    cloud.put(&disk(name), empty(1, "UltraSSD_LRS", 512)).await.expect(202);
    cloud.service.write_disk(&disk(name), 0, vec![1; 4096]).unwrap();
    disk(name)
}

#[tokio::test]
async fn rule_01_a_hundred_and_first_parallel_copy_is_refused() {
    for (cloud, limited) in [(slow(1), true), (slow_and_free(1), false)] {
        for number in 0..100 {
            let source = cloud.disk(&format!("d{number}")).await;
            let taken = cloud.snap(&source, &format!("s{number}")).await;
            cloud.copy(&taken, &format!("c{number}"), "westus").await;
        }
        let source = cloud.disk("last").await;
        let taken = cloud.snap(&source, "s").await;
        let one_more = cloud.put(&snapshot("c"), copy_start(&taken, "West US")).await;
        if !limited {
            one_more.expect(202);
            continue;
        }
        assert_eq!(one_more.status, 409, "{}", one_more.message());
        assert!(one_more.message().contains("100 copies"));
        cloud.put(&snapshot("c"), copy_start(&taken, "northeurope")).await.expect(202);
        let elsewhere = snapshot("c").replace("/sub/", "/other/");
        cloud.put(&elsewhere, copy_start(&taken, "westus")).await.expect(202);
        cloud.wait(512);
        cloud.put(&snapshot("late"), copy_start(&taken, "westus")).await.expect(202);
    }
}

#[tokio::test]
async fn rule_02_copies_need_a_version_that_knows_them() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let taken = cloud.snap(&source, "s").await;
    let body = copy_start(&taken, "westus");
    let old = cloud.call("PUT", &format!("{}?api-version=2020-09-30", snapshot("c")), Some(&body)).await;
    assert_eq!(old.verdict(), "400 InvalidParameter");
    cloud.call("PUT", &format!("{}?api-version=2020-12-01", snapshot("c")), Some(&body)).await.expect(202);
}

#[tokio::test]
async fn rule_03_one_snapshot_of_a_disk_is_copied_at_a_time() {
    for (cloud, limited) in [(slow(64), true), (slow_and_free(64), false)] {
        let source = cloud.disk("d").await;
        let (first, second) = (cloud.snap(&source, "s1").await, cloud.snap(&source, "s2").await);
        cloud.copy(&first, "c1", "westus").await;
        cloud.copy(&first, "e1", "northeurope").await;
        let early = cloud.put(&snapshot("c2"), copy_start(&second, "westus")).await;
        assert_eq!(early.status, if limited { 409 } else { 202 });
        cloud.wait(8);
        cloud.put(&snapshot("c2"), copy_start(&second, "westus")).await.expect(202);
    }
}

#[tokio::test]
async fn rule_04_snapshots_are_copied_in_order() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| config.arm.limits.copy_in_order = limited);
        let source = cloud.disk("d").await;
        let (first, second) = (cloud.snap(&source, "s1").await, cloud.snap(&source, "s2").await);
        cloud.copy(&second, "c2", "westus").await;
        let late = cloud.put(&snapshot("c1"), copy_start(&first, "westus")).await;
        assert_eq!(late.status, if limited { 409 } else { 202 });
        cloud.put(&snapshot("e1"), copy_start(&first, "northeurope")).await.expect(202);
    }
}

#[tokio::test]
async fn rule_05_only_incremental_snapshots_are_copied() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| config.arm.limits.copy_only_incremental = limited);
        let source = cloud.disk("d").await;
        cloud.put(&snapshot("full"), made("eastus", "Copy", &source, false)).await.expect(202);
        let copied = cloud.put(&snapshot("c"), copy_start(&snapshot("full"), "westus")).await;
        assert_eq!(copied.status, if limited { 400 } else { 202 });
    }
}

#[tokio::test]
async fn rule_06_an_incomplete_copy_cannot_be_used() {
    for (cloud, limited) in [(slow(64), true), (slow_and_free(64), false)] {
        let source = cloud.disk("d").await;
        let taken = cloud.snap(&source, "s").await;
        let copy = cloud.copy(&taken, "c", "westus").await;
        let expected = if limited { 409 } else { 202 };
        assert_eq!(cloud.try_grant(&copy, "Read", 60).await.status, expected);
        assert_eq!(cloud.put(&disk("r1"), made("westus", "Copy", &copy, false)).await.status, expected);
        assert_eq!(cloud.put(&snapshot("cc"), copy_start(&copy, "uksouth")).await.status, expected);
        cloud.wait(8);
        cloud.grant(&copy).await;
        cloud.put(&disk("r2"), made("westus", "Copy", &copy, false)).await.expect(202);
    }
}

#[tokio::test]
async fn rule_08_a_copy_whose_source_is_deleted_fails() {
    let cloud = slow(64);
    let source = cloud.disk("d").await;
    let taken = cloud.snap(&source, "s").await;
    let copy = cloud.copy(&taken, "c", "westus").await;
    cloud.wait(4);
    cloud.delete(&taken).await.expect(202);
    cloud.wait(100);
    let shown = &cloud.get(&copy).await["properties"];
    assert_eq!(shown["provisioningState"], "Failed");
    assert_eq!(shown["copyCompletionError"]["errorCode"], "CopySourceNotFound");
    assert_eq!(shown["completionPercent"], 50.0);
    assert_eq!(cloud.try_grant(&copy, "Read", 60).await.status, 409);
    // A copy that is whole does not mind.
    let second = cloud.snap(&source, "s2").await;
    let whole = cloud.copy(&second, "c2", "westus").await;
    cloud.wait(8);
    cloud.delete(&second).await.expect(202);
    assert_eq!(cloud.get(&whole).await["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn rule_09_a_failed_copy_is_made_again() {
    let cloud = slow(64);
    let source = cloud.disk("d").await;
    let (first, second) = (cloud.snap(&source, "s1").await, cloud.snap(&source, "s2").await);
    let copy = cloud.copy(&first, "c", "westus").await;
    cloud.delete(&first).await.expect(202);
    assert_eq!(cloud.put(&copy, copy_start(&second, "westus")).await.verdict(), "409 PropertyChangeNotAllowed");
    cloud.delete(&copy).await.expect(202);
    cloud.put(&copy, copy_start(&second, "westus")).await.expect(202);
    cloud.wait(8);
    assert_eq!(cloud.get(&copy).await["properties"]["completionPercent"], 100.0);
}

#[tokio::test]
async fn rule_10_completion_percent_can_be_missing_at_first() {
    let cloud = Cloud::with(|config| {
        config.arm.copy_start = CopyPace::BytesPerSecond(64);
        config.arm.percent_delay = std::time::Duration::from_secs(3);
    });
    let source = cloud.disk("d").await;
    let taken = cloud.snap(&source, "s").await;
    let copy = cloud.copy(&taken, "c", "westus").await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(cloud.get(&copy).await["properties"]["completionPercent"].as_f64());
        cloud.wait(2);
    }
    assert_eq!(seen, [None, None, Some(50.0), Some(75.0), Some(100.0)]);
}

#[tokio::test]
async fn rule_11_a_customers_key_is_not_inherited() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let key = json!({ "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": "/x" });
    let mut body = incremental(&source);
    body["properties"]["encryption"] = key.clone();
    cloud.put(&snapshot("s"), body).await.expect(202);
    let copy = cloud.copy(&snapshot("s"), "c1", "westus").await;
    assert_eq!(cloud.get(&snapshot("s")).await["properties"]["encryption"], key);
    assert_eq!(cloud.get(&copy).await["properties"]["encryption"]["type"], "EncryptionAtRestWithPlatformKey");
}

#[tokio::test]
async fn rule_14_only_changes_since_the_last_copy_are_on_the_way() {
    let cloud = slow(MIB);
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![1; 4 << 20]).unwrap();
    let first = cloud.snap(&source, "s1").await;
    cloud.service.write_disk(&source, 8 * MIB, vec![2; 1 << 20]).unwrap();
    let second = cloud.snap(&source, "s2").await;
    let percent = async |id: &str| cloud.get(id).await["properties"]["completionPercent"].as_f64().unwrap();
    let whole = cloud.copy(&first, "c1", "westus").await;
    cloud.wait(1);
    assert_eq!(percent(&whole).await, 25.0);
    cloud.wait(4);
    let change = cloud.copy(&second, "c2", "westus").await;
    cloud.wait(1);
    assert_eq!((percent(&whole).await, percent(&change).await), (100.0, 100.0));
}

#[tokio::test]
async fn rule_17_deleting_the_target_ends_the_copy() {
    let cloud = slow(1);
    let source = cloud.disk("d").await;
    let (first, second) = (cloud.snap(&source, "s1").await, cloud.snap(&source, "s2").await);
    let copy = cloud.copy(&first, "c1", "westus").await;
    cloud.delete(&copy).await.expect(202);
    assert_eq!(cloud.call("GET", &copy, None).await.verdict(), "404 ResourceNotFound");
    cloud.put(&snapshot("c2"), copy_start(&second, "westus")).await.expect(202);
}

#[tokio::test]
async fn rule_18_a_sixth_sas_of_a_family_is_refused() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| {
            if !limited {
                config.arm.limits = Limits::off();
            }
        });
        let source = cloud.disk("d").await;
        let mut names = Vec::new();
        for number in 0..6 {
            names.push(cloud.snap(&source, &format!("s{number}")).await);
        }
        for name in &names[..5] {
            cloud.grant(name).await;
        }
        let sixth = cloud.try_grant(&names[5], "Read", 60).await;
        assert_eq!(sixth.status, if limited { 409 } else { 202 });
        if limited {
            assert!(sixth.message().contains("active SAS"));
            // One that is active already does not count against itself, and other families have their own five.
            cloud.grant(&names[0]).await;
            let other = cloud.disk("e").await;
            cloud.grant(&cloud.snap(&other, "other").await).await;
            cloud.revoke(&names[2]).await.expect(202);
            cloud.grant(&names[5]).await;
        }
    }
}

#[tokio::test]
async fn rule_21_a_snapshot_is_in_the_subscription_of_its_disk() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| config.arm.limits.same_subscription = limited);
        let source = cloud.disk("d").await;
        let elsewhere = snapshot("s").replace("/sub/", "/other/");
        let taken = cloud.put(&elsewhere, incremental(&source)).await;
        assert_eq!(taken.status, if limited { 400 } else { 202 });
        let group = snapshot("s").replace("/rg/", "/other/");
        cloud.put(&group, incremental(&source)).await.expect(202);
    }
}

#[tokio::test]
async fn rule_22_an_eighth_snapshot_within_five_minutes_is_refused() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| {
            if !limited {
                config.arm.limits = Limits::off();
            }
        });
        let source = cloud.disk("d").await;
        for number in 0..7 {
            cloud.snap(&source, &format!("s{number}")).await;
            cloud.wait(10);
        }
        // A PUT that is sent again is not another snapshot.
        cloud.put(&snapshot("s6"), incremental(&source)).await.expect(202);
        let eighth = cloud.put(&snapshot("s7"), incremental(&source)).await;
        if !limited {
            eighth.expect(202);
            continue;
        }
        assert_eq!(eighth.verdict(), "429 TooManyRequests");
        let seconds: u64 = eighth.header("retry-after").parse().unwrap();
        assert!((229..=231).contains(&seconds), "{seconds}");
        cloud.wait(seconds);
        cloud.put(&snapshot("s7"), incremental(&source)).await.expect(202);
        assert_eq!(cloud.put(&snapshot("s8"), incremental(&source)).await.status, 429);
    }
}

#[tokio::test]
async fn rule_23_no_difference_across_four_tebibytes() {
    for limited in [true, false] {
        let cloud = Cloud::with(|config| config.arm.limits.diff_boundary = limited);
        cloud.put(&disk("d"), empty(4096, "Premium_LRS", 512)).await.expect(202);
        let before = cloud.snap(&disk("d"), "s1").await;
        let still = cloud.snap(&disk("d"), "s2").await;
        cloud.call("PATCH", &disk("d"), Some(&json!({ "properties": { "diskSizeGB": 4097 } }))).await.expect(202);
        let after = cloud.snap(&disk("d"), "s3").await;
        let later = cloud.snap(&disk("d"), "s4").await;
        let mut urls = Vec::new();
        for id in [&before, &still, &after, &later] {
            urls.push(cloud.grant(id).await);
        }
        assert_eq!(verdict(&cloud.diff(&urls[0], &urls[1]).await), "200");
        let across = verdict(&cloud.diff(&urls[1], &urls[2]).await);
        assert_eq!(across, if limited { "409 PreviousSnapshotOperationNotSupported" } else { "200" });
        assert_eq!(verdict(&cloud.diff(&urls[2], &urls[3]).await), "200");
        assert_eq!(cloud.get(&after).await["properties"]["diskSizeBytes"], 4097 * GIB);
    }
}

#[tokio::test]
async fn rule_24_a_disk_has_five_hundred_snapshots_at_most() {
    let cloud = Cloud::with(|config| config.arm.limits.snapshots_per_five_minutes = None);
    let source = cloud.disk("d").await;
    for number in 0..500 {
        cloud.snap(&source, &format!("s{number}")).await;
    }
    let one_more = cloud.put(&snapshot("more"), incremental(&source)).await;
    assert_eq!(one_more.status, 409);
    assert!(one_more.message().contains("500 incremental snapshots"));
    cloud.put(&snapshot("full"), made("eastus", "Copy", &source, false)).await.expect(202);
    cloud.delete(&snapshot("s250")).await.expect(202);
    cloud.put(&snapshot("more"), incremental(&source)).await.expect(202);
}

#[tokio::test]
async fn rule_25_a_disk_made_from_a_snapshot_can_be_attached_and_says_how_far_its_copy_is() {
    let cloud = slow(512);
    let source = ultra(&cloud, "d").await;
    let taken = cloud.snap(&source, "s").await;
    cloud.wait(9);
    let mut body = made("eastus", "Copy", &taken, false);
    body["sku"] = json!({ "name": "UltraSSD_LRS" });
    cloud.put(&disk("r"), body).await.expect(202);
    cloud.wait(4);
    let percent = cloud.get(&disk("r")).await["properties"]["completionPercent"].as_f64().unwrap();
    assert!((40.0..50.0).contains(&percent), "{percent}");
    cloud.service.attach_disk(&disk("r"), "vm").unwrap();
    cloud.service.write_disk(&disk("r"), 8192, vec![2; 512]).unwrap();
    cloud.wait(5);
    assert_eq!(cloud.get(&disk("r")).await["properties"]["completionPercent"], 100.0);
}

#[tokio::test]
async fn rule_26_sectors_of_4096_bytes_are_for_ultra_and_premium_v2() {
    let cloud = Cloud::new();
    assert_eq!(cloud.put(&disk("p"), empty(1, "Premium_LRS", 4096)).await.status, 400);
    cloud.put(&disk("u"), empty(1, "UltraSSD_LRS", 4096)).await.expect(202);
    let taken = cloud.snap(&disk("u"), "s").await;
    assert_eq!(cloud.put(&disk("r"), made("eastus", "Copy", &taken, false)).await.status, 400);
    let mut body = made("eastus", "Copy", &taken, false);
    body["sku"] = json!({ "name": "PremiumV2_LRS" });
    cloud.put(&disk("r"), body).await.expect(202);
    assert_eq!(cloud.get(&disk("r")).await["properties"]["creationData"]["logicalSectorSize"], 4096);
}

#[tokio::test]
async fn rule_27_five_disks_at_once_from_one_ultra_snapshot() {
    for (cloud, limited) in [(slow(512), true), (slow_and_free(512), false)] {
        let source = ultra(&cloud, "d").await;
        let taken = cloud.snap(&source, "s").await;
        cloud.wait(9);
        let mut body = made("eastus", "Copy", &taken, false);
        body["sku"] = json!({ "name": "UltraSSD_LRS" });
        for number in 0..5 {
            cloud.put(&disk(&format!("r{number}")), body.clone()).await.expect(202);
        }
        let sixth = cloud.put(&disk("r5"), body.clone()).await;
        assert_eq!(sixth.status, if limited { 409 } else { 202 });
        cloud.wait(9);
        cloud.put(&disk("r5"), body).await.expect(202);
    }
}

#[tokio::test]
async fn rule_28_a_fourth_pending_snapshot_of_an_ultra_disk_is_refused() {
    for (cloud, limited) in [(slow(512), true), (slow_and_free(512), false)] {
        let source = ultra(&cloud, "d").await;
        for number in 0..3 {
            cloud.service.write_disk(&source, 0, vec![2; 4096]).unwrap();
            cloud.snap(&source, &format!("s{number}")).await;
        }
        let fourth = cloud.put(&snapshot("s3"), incremental(&source)).await;
        assert_eq!(fourth.status, if limited { 409 } else { 202 });
        cloud.wait(9);
        cloud.put(&snapshot("s3"), incremental(&source)).await.expect(202);
    }
}

#[tokio::test]
async fn rule_29_an_ultra_snapshot_is_unusable_until_it_is_complete() {
    let cloud = slow(512);
    let source = ultra(&cloud, "d").await;
    let taken = cloud.snap(&source, "s").await;
    cloud.wait(4);
    let shown = cloud.get(&taken).await;
    let percent = shown["properties"]["completionPercent"].as_f64().unwrap();
    assert!((40.0..50.0).contains(&percent), "{percent}");
    assert_eq!(cloud.try_grant(&taken, "Read", 60).await.status, 409);
    cloud.wait(5);
    cloud.grant(&taken).await;
}

#[tokio::test]
async fn rule_30_a_disk_that_is_being_filled_has_no_snapshots() {
    for (cloud, limited) in [(slow(512), true), (slow_and_free(512), false)] {
        let source = ultra(&cloud, "d").await;
        let taken = cloud.snap(&source, "s").await;
        cloud.wait(9);
        let mut body = made("eastus", "Copy", &taken, false);
        body["sku"] = json!({ "name": "PremiumV2_LRS" });
        cloud.put(&disk("r"), body).await.expect(202);
        cloud.wait(4);
        assert!(cloud.get(&disk("r")).await["properties"]["completionPercent"].as_f64().unwrap() < 100.0);
        let early = cloud.put(&snapshot("t1"), incremental(&disk("r"))).await;
        assert_eq!(early.status, if limited { 409 } else { 202 });
        let full = cloud.put(&snapshot("full"), made("eastus", "Copy", &disk("r"), false)).await;
        assert_eq!(full.status, if limited { 409 } else { 202 });
        cloud.wait(5);
        cloud.put(&snapshot("t2"), incremental(&disk("r"))).await.expect(202);
    }
}

#[tokio::test]
async fn rule_31_growing_an_ultra_disk_fails_its_pending_snapshots() {
    for (cloud, limited) in [(slow(512), true), (slow_and_free(512), false)] {
        let source = ultra(&cloud, "d").await;
        let whole = cloud.snap(&source, "s1").await;
        cloud.wait(9);
        cloud.service.write_disk(&source, 0, vec![2; 4096]).unwrap();
        let pending = cloud.snap(&source, "s2").await;
        cloud.call("PATCH", &source, Some(&json!({ "properties": { "diskSizeGB": 2 } }))).await.expect(202);
        let state = async |id: &str| cloud.get(id).await["properties"]["provisioningState"].clone();
        assert_eq!(state(&whole).await, "Succeeded");
        assert_eq!(state(&pending).await, if limited { "Failed" } else { "Succeeded" });
    }
}

#[tokio::test]
async fn rule_33_an_empty_incremental_snapshot_costs_nothing() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let billed = |id: &str| cloud.service.billed_bytes(id).unwrap();
    assert_eq!(billed(&cloud.snap(&source, "s1").await), 0);
    cloud.service.write_disk(&source, 0, vec![1; 4 << 20]).unwrap();
    assert_eq!(billed(&cloud.snap(&source, "s2").await), 4 * MIB);
    assert_eq!(billed(&cloud.snap(&source, "s3").await), 0);
    cloud.put(&disk("u"), empty(1, "UltraSSD_LRS", 4096)).await.expect(202);
    assert_eq!(billed(&cloud.snap(&disk("u"), "u1").await), 6 * MIB);
    assert_eq!(billed(&cloud.snap(&disk("u"), "u2").await), 6 * MIB);
}

#[tokio::test]
async fn rule_34_other_disks_are_always_complete() {
    let cloud = slow(1);
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![1; 4 << 20]).unwrap();
    let taken = cloud.snap(&source, "s").await;
    assert_eq!(cloud.get(&taken).await["properties"]["completionPercent"], 100.0);
    cloud.grant(&taken).await;
}

#[tokio::test]
async fn rule_35_incremental_snapshots_are_on_standard_storage() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let on = |sku: &str, incremental: bool| {
        let mut body = made("eastus", "Copy", &source, incremental);
        body["sku"] = json!({ "name": sku });
        body
    };
    assert_eq!(cloud.put(&snapshot("s"), on("Premium_LRS", true)).await.status, 400);
    cloud.put(&snapshot("f"), on("Premium_LRS", false)).await.expect(202);
    cloud.put(&snapshot("s"), on("Standard_ZRS", true)).await.expect(202);
    let change = json!({ "sku": { "name": "Standard_LRS" } });
    assert_eq!(cloud.call("PATCH", &snapshot("s"), Some(&change)).await.status, 409);
}

#[tokio::test]
async fn rule_38_a_name_that_is_used_again_is_another_disk() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let first = cloud.snap(&source, "s1").await;
    cloud.delete(&source).await.expect(202);
    cloud.disk("d").await;
    let second = cloud.snap(&source, "s2").await;
    let (old, new) = (cloud.get(&first).await, cloud.get(&second).await);
    let field = |shown: &serde_json::Value, name: &str| shown["properties"]["creationData"][name].clone();
    assert_eq!(field(&old, "sourceResourceId"), field(&new, "sourceResourceId"));
    assert_ne!(field(&old, "sourceUniqueId"), field(&new, "sourceUniqueId"));
    assert_eq!(field(&new, "sourceUniqueId"), cloud.get(&source).await["properties"]["uniqueId"]);
    let family = |shown: &serde_json::Value| shown["properties"]["incrementalSnapshotFamilyId"].clone();
    assert_ne!(family(&old), family(&new));
    let urls = (cloud.grant(&first).await, cloud.grant(&second).await);
    assert_eq!(verdict(&cloud.diff(&urls.0, &urls.1).await), "409 PreviousSnapshotNotFound");
}

#[test]
fn rule_39_a_difference_needs_version_2015_07_08() {
    let mut bench = Bench::new();
    bench.create("disks/b", 1024);
    let first = bench.snapshot("disks/b");
    let target = format!("disks/b?comp=pagelist&prevsnapshot={first}");
    for (version, expected) in [("2015-04-05", "400 UnsupportedQueryParameter"), ("2015-07-08", "200")] {
        assert_eq!(verdict(&bench.get(&target, &[("x-ms-version", version)])), expected);
    }
}

#[test]
fn rule_40_a_blob_from_before_2016_has_no_differences() {
    for (made, expected) in [("2015-12-31T23:59:58Z", "409 BlobOverwritten"), ("2016-01-01T00:00:00Z", "200")] {
        let mut bench = Bench::guarded(Config { auth: false, ..Config::default() });
        bench.now = Timestamp::parse_iso(made).unwrap();
        bench.put("disks?restype=container", &[]).expect(201);
        bench.create("disks/b", 1024);
        bench.wait(86_400);
        let first = bench.snapshot("disks/b");
        bench.update("disks/b", 0, 512, 1).expect(201);
        let answer = bench.get(&format!("disks/b?comp=pagelist&prevsnapshot={first}"), &[]);
        assert_eq!(verdict(&answer), expected, "made {made}");
    }
}

#[test]
fn rule_41_overwriting_a_base_cuts_the_chain() {
    let mut bench = Bench::new();
    for overwrite in ["put", "copy"] {
        bench.create("disks/b", 1024);
        bench.create("disks/other", 1024);
        let first = bench.snapshot("disks/b");
        let target = format!("disks/b?comp=pagelist&prevsnapshot={first}");
        bench.update("disks/b", 0, 512, 1).expect(201);
        assert_eq!(verdict(&bench.get(&target, &[])), "200", "a page write does not cut it");
        if overwrite == "put" {
            bench.create("disks/b", 1024);
        } else {
            let source = "http://127.0.0.1/devstoreaccount1/disks/other";
            bench.put("disks/b", &[("x-ms-copy-source", source)]).expect(202);
        }
        assert_eq!(verdict(&bench.get(&target, &[])), "409 BlobOverwritten", "{overwrite}");
    }
}

#[test]
fn rule_44_snapshots_cannot_be_written() {
    let mut bench = Bench::new();
    bench.create("disks/b", 1024);
    let taken = bench.snapshot("disks/b");
    let range = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")];
    let written = bench.put(&format!("disks/b?snapshot={taken}&comp=page"), &range);
    assert_eq!(verdict(&written), "400 InvalidOperation");
    for comp in ["metadata", "properties", "snapshot"] {
        let changed = bench.put(&format!("disks/b?snapshot={taken}&comp={comp}"), &[("x-ms-meta-a", "b")]);
        assert_eq!(verdict(&changed), "400 InvalidOperation", "{comp}");
    }
}

#[test]
fn rule_46_overwriting_a_base_leaves_its_snapshots() {
    let mut bench = Bench::new();
    bench.create("disks/b", 1024);
    bench.update("disks/b", 0, 512, 7).expect(201);
    let taken = bench.snapshot("disks/b");
    bench.create("disks/b", 512);
    let kept = bench.get(&format!("disks/b?snapshot={taken}"), &[]).expect(200);
    assert_eq!(kept.body.into_bytes()[..512], [7; 512]);
}

#[test]
fn rule_47_a_promoted_snapshot_remains_and_its_base_can_be_written() {
    let mut bench = Bench::new();
    bench.create("disks/b", 1024);
    bench.update("disks/b", 0, 512, 7).expect(201);
    let taken = bench.snapshot("disks/b");
    bench.update("disks/b", 0, 1024, 8).expect(201);
    let source = format!("http://127.0.0.1/devstoreaccount1/disks/b?snapshot={taken}");
    bench.put("disks/b", &[("x-ms-copy-source", &source)]).expect(202);
    let promoted = bench.get("disks/b", &[]).expect(200).body.into_bytes();
    assert_eq!((promoted[0], promoted[512]), (7, 0));
    bench.update("disks/b", 512, 1024, 9).expect(201);
    let listed = text(bench.get("disks?restype=container&comp=list&include=snapshots", &[]).expect(200));
    assert!(listed.contains(&taken));
}
