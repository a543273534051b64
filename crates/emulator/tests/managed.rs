//! Managed disks from end to end: made, written, pictured, read through a grant, uploaded, copied, and back again
//! after a restart.

mod common;
mod managed_common;

use common::{short, text, verdict};
use managed_common::{Cloud, GIB, MIB, disk};

#[tokio::test]
async fn a_snapshot_is_read_and_compared_through_grants() {
    let cloud = Cloud::new();
    let disk = cloud.disk("d").await;
    cloud.service.write_disk(&disk, 4096, vec![1; 1024]).unwrap();
    let first = cloud.snap(&disk, "s1").await;
    cloud.service.write_disk(&disk, MIB, vec![2; 512]).unwrap();
    cloud.service.clear_disk(&disk, 4096, 512).unwrap();
    let second = cloud.snap(&disk, "s2").await;
    cloud.service.write_disk(&disk, 0, vec![9; 512]).unwrap();

    let (from, to) = (cloud.grant(&first).await, cloud.grant(&second).await);
    let listed = cloud.data("GET", &to, "&comp=pagelist", &[], Vec::new()).await;
    assert_eq!(short(&text(listed)), format!("P 4608-5119, P {MIB}-{}, P {GIB}-{}", MIB + 511, GIB + 511));
    assert_eq!(short(&text(cloud.diff(&from, &to).await)), format!("C 4096-4607, P {MIB}-{}", MIB + 511));
    let read = cloud.read(&to, MIB, 512).await;
    assert_eq!((read.status, read.body.into_bytes().as_ref()), (206, [2; 512].as_slice()));
    assert_eq!(verdict(&cloud.diff(&to, &from).await), "400 PreviousSnapshotCannotBeNewer");
}

#[tokio::test]
async fn a_disk_made_from_a_snapshot_has_its_content() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![7; 512]).unwrap();
    let snapshot = cloud.snap(&source, "s").await;
    cloud.service.write_disk(&source, 0, vec![8; 512]).unwrap();
    let body = managed_common::made("East US", "Copy", &snapshot, false);
    cloud.put(&disk("restored"), body).await.expect(202);
    let image = cloud.service.read_disk(&disk("restored")).unwrap();
    assert_eq!((image.size, image.bytes(0, 512).as_ref()), (GIB, [7; 512].as_slice()));
    assert_eq!(cloud.service.read_disk(&source).unwrap().bytes(0, 1).as_ref(), [8]);
}
