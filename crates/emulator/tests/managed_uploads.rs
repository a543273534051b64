//! Disks that are filled from outside: uploads and their footers, imported page blobs, and what a VHDX is.

mod common;
mod managed_common;

use common::{short, text, verdict};
use managed_common::{Cloud, GIB, MIB, disk, empty, snapshot};
use pageferry_emulator::{Limits, Request, Response};
use serde_json::{Value, json};

const SIZE: u64 = 20 * MIB;

fn upload(size: u64) -> Value {
    let creation = json!({ "createOption": "Upload", "uploadSizeBytes": size });
    json!({ "location": "eastus", "properties": { "creationData": creation } })
}

async fn write(cloud: &Cloud, url: &str, at: u64, data: &[u8]) -> Response {
    let range = format!("bytes={at}-{}", at + data.len() as u64 - 1);
    let headers = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
    cloud.data("PUT", url, "&comp=page", &headers, data.to_vec()).await
}

/// A footer for a disk of this size, taken from a disk that has one.
async fn footer(cloud: &Cloud, size: u64) -> Vec<u8> {
    let name = format!("of{size}");
    let id = cloud.disk(&name).await;
    cloud.service.resize_disk(&id, GIB + size).unwrap();
    let mut footer = raw(cloud, &id, GIB + size, 512);
    for at in [40, 48] {
        footer[at..at + 8].copy_from_slice(&size.to_be_bytes());
    }
    footer[64..68].fill(0);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Bytes of the blob, with what is around the data.
fn raw(cloud: &Cloud, id: &str, at: u64, length: u64) -> Vec<u8> {
    let image = cloud.service.read_disk(id).unwrap();
    let whole = pageferry_emulator::DiskImage { start: 0, size: image.length, ..image };
    whole.bytes(at, length).to_vec()
}

#[tokio::test]
async fn an_upload_lives_and_ends() {
    let cloud = Cloud::new();
    cloud.put(&disk("d"), upload(SIZE + 512)).await.expect(202);
    let state = async || cloud.get(&disk("d")).await["properties"]["diskState"].as_str().unwrap().to_owned();
    assert_eq!(state().await, "ReadyToUpload");
    assert_eq!(cloud.try_grant(&disk("d"), "Read", 60).await.status, 409);
    assert_eq!(cloud.put(&snapshot("s"), managed_common::incremental(&disk("d"))).await.status, 409);
    let url = cloud.granted(cloud.try_grant(&disk("d"), "Write", 600).await).await;
    assert!(url.contains("/md-impexp-"), "{url}");
    assert_eq!(state().await, "ActiveUpload");
    let head = cloud.data("HEAD", &url, "", &[], Vec::new()).await;
    assert_eq!(head.get("content-length"), Some((SIZE + 512).to_string().as_str()));
    assert_eq!(write(&cloud, &url, 0, &[1; 1024]).await.status, 201);
    let clear = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=512-1023")];
    assert_eq!(cloud.data("PUT", &url, "&comp=page", &clear, Vec::new()).await.status, 201);
    let end = footer(&cloud, SIZE).await;
    assert_eq!(write(&cloud, &url, SIZE, &end).await.status, 201);
    let listed = cloud.data("GET", &url, "&comp=pagelist", &[], Vec::new()).await;
    assert_eq!(short(&text(listed)), format!("P 0-511, P {SIZE}-{}", SIZE + 511));
    for (comp, name) in [("&comp=properties", "x-ms-blob-content-length"), ("&comp=metadata", "x-ms-meta-a")] {
        let refused = cloud.data("PUT", &url, comp, &[(name, "512")], Vec::new()).await;
        assert_eq!(verdict(&refused), "403 AuthorizationFailure");
    }
    let conditional = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511"), ("if-none-match", "*")];
    let refused = cloud.data("PUT", &url, "&comp=page", &conditional, Vec::new()).await;
    assert_eq!(verdict(&refused), "400 ConditionHeadersNotSupported");

    let ended = cloud.revoke(&disk("d")).await.expect(202);
    let outcome = cloud.poll(ended.header("azure-asyncoperation")).await;
    assert_eq!(outcome.json["status"], "Succeeded", "{outcome:?}");
    assert_eq!(state().await, "Unattached");
    assert_eq!(verdict(&write(&cloud, &url, 0, &[2; 512]).await), "403 AuthenticationFailed");
    assert_eq!(cloud.get(&disk("d")).await["properties"]["diskSizeBytes"], SIZE);
    assert_eq!(cloud.try_grant(&disk("d"), "Write", 60).await.status, 409, "it is an ordinary disk now");
    cloud.snap(&disk("d"), "s").await;
    assert_eq!(cloud.service.read_disk(&snapshot("s")).unwrap().bytes(0, 512).as_ref(), [1; 512]);
}

#[tokio::test]
async fn an_upload_without_a_good_footer_fails_and_can_be_repeated() {
    let cloud = Cloud::new();
    cloud.put(&disk("d"), upload(SIZE + 512)).await.expect(202);
    let good = footer(&cloud, SIZE).await;
    let wrong_size = footer(&cloud, SIZE - MIB).await;
    let mut broken = good.clone();
    broken[100] = 1;
    let cases = [(vec![0; 512], "conectix"), (broken, "checksum"), (wrong_size, "bytes")];
    for (end, expected) in cases {
        let url = cloud.granted(cloud.try_grant(&disk("d"), "Write", 600).await).await;
        assert_eq!(write(&cloud, &url, SIZE, &end).await.status, 201);
        let ended = cloud.revoke(&disk("d")).await.expect(202);
        let outcome = cloud.poll(ended.header("azure-asyncoperation")).await.json;
        assert_eq!(outcome["status"], "Failed");
        assert!(outcome["error"]["message"].as_str().unwrap().contains(expected), "{outcome}");
        assert_eq!(cloud.poll(ended.header("location")).await.status, 400);
        assert_eq!(cloud.get(&disk("d")).await["properties"]["diskState"], "ReadyToUpload");
    }
    let url = cloud.granted(cloud.try_grant(&disk("d"), "Write", 600).await).await;
    assert_eq!(write(&cloud, &url, SIZE, &good).await.status, 201);
    cloud.revoke(&disk("d")).await.expect(202);
    assert_eq!(cloud.get(&disk("d")).await["properties"]["diskState"], "Unattached");
}

#[tokio::test]
async fn uploads_are_whole_mebibytes_and_a_footer() {
    let cloud = Cloud::new();
    let free = Cloud::with(|config| config.arm.limits = Limits::off());
    for (size, status, without) in [
        (SIZE + 512, 202, 202),
        (SIZE, 400, 400),
        (SIZE + 1024, 400, 400),
        (MIB + 512, 400, 202),
        (512, 400, 400),
        (0, 400, 400),
    ] {
        let id = disk(&format!("d{size}"));
        assert_eq!(cloud.put(&id, upload(size)).await.status, status, "{size}");
        assert_eq!(free.put(&id, upload(size)).await.status, without, "{size}");
    }
}

#[tokio::test]
async fn pages_can_be_uploaded_from_a_url() {
    let cloud = Cloud::with(|config| config.bearer_tokens.push("known".to_owned()));
    let source = cloud.disk("s").await;
    cloud.service.write_disk(&source, 0, vec![4; 512]).unwrap();
    let from = cloud.grant(&source).await;
    cloud.put(&disk("d"), upload(SIZE + 512)).await.expect(202);
    let url = cloud.granted(cloud.try_grant(&disk("d"), "Write", 600).await).await;
    let copy = async |from: &str| {
        let headers = [
            ("x-ms-copy-source-authorization", "Bearer known"),
            ("x-ms-page-write", "update"),
            ("x-ms-range", "bytes=512-1023"),
            ("x-ms-copy-source", from),
            ("x-ms-source-range", "bytes=0-511"),
        ];
        cloud.data("PUT", &url, "&comp=page", &headers, Vec::new()).await
    };
    // A token opens accounts, but no managed disk.
    assert_eq!(verdict(&copy(from.split('?').next().unwrap()).await), "404 CannotVerifyCopySource");
    assert_eq!(copy(&from).await.status, 201);
    assert_eq!(cloud.service.read_disk(&disk("d")).unwrap().bytes(512, 512).as_ref(), [4; 512]);
}

#[tokio::test]
async fn a_disk_of_512_byte_sectors_ends_in_a_footer() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    let end = raw(&cloud, &id, GIB, 512);
    assert_eq!((&end[..8], &end[48..56]), (b"conectix".as_slice(), GIB.to_be_bytes().as_slice()));
    let image = cloud.service.read_disk(&id).unwrap();
    assert_eq!((image.length, image.bytes(GIB - 512, 4096).len()), (GIB + 512, 512), "the footer is not data");
}

#[tokio::test]
async fn a_disk_of_4096_byte_sectors_is_a_vhdx() {
    let cloud = Cloud::new();
    cloud.put(&disk("u"), empty(1, "UltraSSD_LRS", 4096)).await.expect(202);
    cloud.service.write_disk(&disk("u"), 4096, vec![3; 4096]).unwrap();
    let taken = cloud.snap(&disk("u"), "s").await;
    let url = cloud.grant(&taken).await;
    assert_eq!(&cloud.read(&url, 0, 8).await.body.into_bytes()[..], b"vhdxfile");
    let head = cloud.data("HEAD", &url, "", &[], Vec::new()).await;
    let length: u64 = head.get("content-length").unwrap().parse().unwrap();
    assert!(length > GIB + 512 && cloud.read(&url, length - 512, 512).await.body.into_bytes().iter().all(|b| *b == 0));
    assert_eq!(cloud.get(&taken).await["properties"]["diskSizeBytes"], GIB);
    assert_eq!(cloud.service.read_disk(&taken).unwrap().bytes(4096, 1).as_ref(), [3]);
}

#[tokio::test]
async fn a_page_blob_can_become_a_disk() {
    let cloud = Cloud::with(|config| config.auth = false);
    let send = async |target: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let request = Request::new("PUT", target).header("x-ms-version", "2021-12-02");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
        cloud.service.handle(request.with_body(body)).await.status
    };
    let length = (SIZE + 512).to_string();
    assert_eq!(send("/devstoreaccount1/vhds?restype=container", &[], Vec::new()).await, 201);
    let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", length.as_str())];
    assert_eq!(send("/devstoreaccount1/vhds/a.vhd", &create, Vec::new()).await, 201);
    let uri = format!("http://{}/devstoreaccount1/vhds/a.vhd", managed_common::HOST);
    let import = |uri: &str| {
        let creation = json!({ "createOption": "Import", "sourceUri": uri, "storageAccountId": "/x" });
        json!({ "location": "eastus", "properties": { "creationData": creation } })
    };
    let refused = cloud.put(&disk("d"), import(&uri)).await;
    assert!(refused.status == 400 && refused.message().contains("conectix"), "{refused:?}");
    let range = format!("bytes={SIZE}-{}", SIZE + 511);
    let page = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
    let end = footer(&cloud, SIZE).await;
    assert_eq!(send("/devstoreaccount1/vhds/a.vhd?comp=page", &page, end).await, 201);
    cloud.put(&disk("d"), import(&uri)).await.expect(202);
    assert_eq!(cloud.get(&disk("d")).await["properties"]["diskSizeBytes"], SIZE);
    assert_eq!(cloud.put(&disk("e"), import(&uri.replace("a.vhd", "none"))).await.verdict(), "404 BlobNotFound");
}
