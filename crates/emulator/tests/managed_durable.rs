//! Managed disks in a data directory: after a restart everything is there again, and goes on as it would have.

mod common;
mod managed_common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::text;
use managed_common::{Cloud, MIB, clock, copy_start, disk, empty, made, snapshot};
use pageferry_emulator::{Clock, Config, CopyPace, DEV_TOKEN, ManualClock, Service};
use serde_json::json;

fn open(directory: &Path, clock: &Arc<ManualClock>) -> Cloud {
    let mut config = Config::default();
    config.arm.copy_start = CopyPace::BytesPerSecond(MIB);
    config.arm.operation_time = Duration::from_secs(1);
    let service = Service::open(config, Arc::clone(clock) as Arc<dyn Clock>, directory, false).unwrap();
    Cloud { service, clock: Arc::clone(clock) }
}

/// Does a little of everything, refusals among it, and leaves two URLs in force.
async fn exercise(cloud: &Cloud) -> (String, String) {
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![1; 5 << 20]).unwrap();
    let first = cloud.snap(&source, "s1").await;
    cloud.service.clear_disk(&source, 512, 1024).unwrap();
    cloud.call("PATCH", &source, Some(&json!({ "properties": { "diskSizeGB": 2 } }))).await.expect(202);
    cloud.service.resize_disk(&source, (2 << 30) + MIB).unwrap();
    let second = cloud.snap(&source, "s2").await;
    cloud.put(&snapshot("full"), made("eastus", "Copy", &source, false)).await.expect(202);
    // What is refused must not use up a name.
    let mut bad = made("eastus", "Copy", &first, false);
    bad["properties"]["diskSizeGB"] = json!(1);
    bad["tags"] = json!(7);
    assert_eq!(cloud.put(&disk("bad"), bad).await.status, 400);
    assert_eq!(cloud.put(&snapshot("bad"), copy_start(&snapshot("full"), "westus")).await.status, 400);
    cloud.put(&disk("copy"), made("eastus", "Copy", &first, false)).await.expect(202);
    cloud.put(&disk("ultra"), empty(1, "UltraSSD_LRS", 4096)).await.expect(202);
    cloud.copy(&first, "c1", "westus").await;
    cloud.wait(6);
    cloud.copy(&second, "c2", "westus").await;
    let (one, two) = (cloud.try_grant(&first, "Read", 9999).await, cloud.try_grant(&second, "Read", 9999).await);
    cloud.revoke(&source).await.expect(202);
    cloud.wait(1);
    (cloud.granted(one).await, cloud.granted(two).await)
}

async fn picture(cloud: &Cloud, urls: &(String, String)) -> Vec<String> {
    let mut out = Vec::new();
    for kind in ["disks", "snapshots"] {
        let list = format!("/subscriptions/sub/providers/Microsoft.Compute/{kind}");
        out.push(cloud.get(&list).await.to_string());
    }
    for url in [&urls.0, &urls.1] {
        let answer = cloud.data("GET", url, "&comp=pagelist", &[], Vec::new()).await;
        assert_eq!(answer.status, 200);
        out.push(text(answer));
    }
    let diff = cloud.diff(&urls.0, &urls.1).await;
    assert_eq!(diff.status, 200);
    out.push(text(diff));
    out.push(format!("{:?}", cloud.service.grants()));
    out
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let cloud = open(directory.path(), &clock);
    let urls = exercise(&cloud).await;
    let before = picture(&cloud, &urls).await;
    drop(cloud);
    let cloud = open(directory.path(), &clock);
    assert_eq!(picture(&cloud, &urls).await, before);
    // What happens next is what would have happened, names included.
    cloud.snap(&disk("d"), "s3").await;
    let after = cloud.get(&snapshot("s3")).await;
    drop(cloud);
    let cloud = open(directory.path(), &clock);
    assert_eq!(cloud.get(&snapshot("s3")).await, after);

    let journal = std::fs::read(directory.path().join("journal")).unwrap();
    let journal = String::from_utf8_lossy(&journal);
    assert!(journal.contains("beginGetAccess"));
    let signature = urls.0.split_once("sig=").unwrap().1;
    for secret in ["sig=", DEV_TOKEN, signature] {
        assert!(!journal.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn nothing_tells_of_keys() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let url = cloud.grant(&source).await;
    let shown = format!("{:?}", cloud.service);
    let signature = url.split_once("sig=").unwrap().1;
    assert!(shown.contains("md-") && !shown.contains(signature));
    // The keys of such accounts have 96 letters, which nothing else has.
    let other = |c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c);
    assert!(shown.split(other).all(|word| word.len() < 96), "keys are shown");
}
