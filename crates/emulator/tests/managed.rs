//! Managed disks from end to end: made, written, pictured, read through a grant, uploaded, copied, and back again
//! after a restart.

mod common;
mod managed_common;

use common::{short, text, verdict};
use managed_common::{Cloud, GIB, HOST, MIB, disk, empty, made, snapshot};
use pageferry_emulator::faults::{Action, Delivery, FaultScript, Foreign, Operation, Rule};
use pageferry_emulator::{CopyPace, DEV_TOKEN, Emulator, Options, Request};
use serde_json::json;

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
    let body = made("East US", "Copy", &snapshot, false);
    cloud.put(&disk("restored"), body).await.expect(202);
    let image = cloud.service.read_disk(&disk("restored")).unwrap();
    assert_eq!((image.size, image.bytes(0, 512).as_ref()), (GIB, [7; 512].as_slice()));
    assert_eq!(cloud.service.read_disk(&source).unwrap().bytes(0, 1).as_ref(), [8]);
}

#[tokio::test]
async fn copies_in_another_region_can_be_compared() {
    let cloud = Cloud::with(|config| config.arm.copy_start = CopyPace::BytesPerSecond(MIB));
    let source = cloud.disk("d").await;
    cloud.service.write_disk(&source, 0, vec![1; 2048]).unwrap();
    let first = cloud.snap(&source, "s1").await;
    let near = cloud.copy(&first, "c1", "West Europe").await;
    cloud.wait(1);
    // What is cleared while no snapshot is left at the source is still a change.
    cloud.delete(&first).await.expect(202);
    cloud.service.clear_disk(&source, 512, 512).unwrap();
    cloud.service.write_disk(&source, MIB, vec![2; 512]).unwrap();
    let second = cloud.snap(&source, "s2").await;
    let far = cloud.copy(&second, "c2", "westeurope").await;
    cloud.wait(1);
    let (from, to) = (cloud.grant(&near).await, cloud.grant(&far).await);
    assert_eq!(short(&text(cloud.diff(&from, &to).await)), format!("C 512-1023, P {MIB}-{}", MIB + 511));
    let (near, far) = (cloud.get(&near).await, cloud.get(&far).await);
    let family = |shown: &serde_json::Value| shown["properties"]["incrementalSnapshotFamilyId"].clone();
    assert_eq!(family(&near), family(&far));
    assert_ne!(family(&near), family(&cloud.get(&second).await));
    assert_eq!(
        (&near["location"], &near["properties"]["creationData"]["createOption"]),
        (&json!("westeurope"), &json!("CopyStart"))
    );
    // A copy of a copy goes on with the same history.
    let third = cloud.copy(&snapshot("c2"), "e2", "japaneast").await;
    cloud.wait(1);
    assert_eq!(cloud.service.read_disk(&third).unwrap().bytes(MIB, 1).as_ref(), [2]);
}

#[tokio::test]
async fn changes_take_their_time() {
    let cloud = Cloud::with(|config| {
        config.arm.operation_time = std::time::Duration::from_secs(5);
        config.arm.retry_after = 2;
    });
    let begun = cloud.put(&disk("d"), empty(1, "Premium_LRS", 512)).await.expect(202);
    assert_eq!(begun.json["properties"]["provisioningState"], "Creating");
    assert_eq!(begun.header("retry-after"), "2");
    let (status, result) = (begun.header("azure-asyncoperation").to_owned(), begun.header("location").to_owned());
    assert_eq!(result, format!("{status}&monitor=true"));
    let start = format!("http://{HOST}/subscriptions/sub/providers/Microsoft.Compute/locations/eastus/DiskOperations/");
    assert!(status.starts_with(&start) && status.contains("?p=") && status.contains("&api-version=2022-07-02"));
    let running = cloud.poll(&status).await.expect(200);
    assert_eq!((running.json["status"].as_str(), running.header("retry-after")), (Some("InProgress"), "2"));
    assert!(running.json["endTime"].is_null() && running.json["startTime"].is_string());
    cloud.poll(&result).await.expect(202);
    assert_eq!(cloud.get(&disk("d")).await["properties"]["provisioningState"], "Creating");
    cloud.wait(5);
    let over = cloud.poll(&status).await.expect(200);
    assert_eq!((over.json["status"].as_str(), over.maybe("retry-after")), (Some("Succeeded"), None));
    assert_eq!(cloud.poll(&result).await.expect(200).json, cloud.get(&disk("d")).await);
    assert_eq!(cloud.get(&disk("d")).await["properties"]["provisioningState"], "Succeeded");

    let granted = cloud.try_grant(&disk("d"), "Read", 600).await.expect(202);
    assert_eq!(granted.maybe("retry-after"), None, "the answer to a grant does not say when to ask");
    let result = granted.header("location").to_owned();
    cloud.poll(&result).await.expect(202);
    cloud.wait(5);
    let url = cloud.poll(&result).await.expect(200).json["accessSAS"].as_str().unwrap().to_owned();
    assert_eq!(cloud.read(&url, 0, 512).await.status, 206);
    let ended = cloud.revoke(&disk("d")).await.expect(202);
    cloud.wait(5);
    let over = cloud.poll(ended.header("azure-asyncoperation")).await;
    assert_eq!((over.json["status"].as_str(), over.json["properties"].is_null()), (Some("Succeeded"), true));
    assert_eq!(cloud.poll(&start.replace("DiskOperations/", "DiskOperations/none")).await.status, 404);
}

#[tokio::test]
async fn grants_can_come_in_other_ways() {
    let at_once = Cloud::with(|config| config.variants.grant_at_once = true);
    let id = at_once.disk("d").await;
    let granted = at_once.try_grant(&id, "Read", 60).await.expect(200);
    assert_eq!(at_once.read(granted.json["accessSAS"].as_str().unwrap(), 0, 512).await.status, 206);

    let bare = Cloud::with(|config| {
        config.variants.location_only = true;
        config.variants.grant_retry_after = true;
    });
    let id = bare.disk("d").await;
    let granted = bare.try_grant(&id, "Read", 60).await.expect(202);
    assert_eq!((granted.maybe("azure-asyncoperation"), granted.header("retry-after")), (None, "0"));
    assert!(bare.poll(granted.header("location")).await.expect(200).json["accessSAS"].is_string());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let cloud = Cloud::with(|config| config.arm.page_size = 2);
    let source = cloud.disk("d").await;
    for name in ["e", "a", "c", "B", "d"] {
        cloud.snap(&source, name).await;
    }
    let elsewhere = snapshot("x").replace("/rg/", "/rg2/");
    cloud.put(&elsewhere, managed_common::incremental(&source)).await.expect(202);
    let walk = async |first: String| {
        let (mut names, mut next, mut pages) = (Vec::new(), first, 0);
        loop {
            let page = cloud.call("GET", &next, None).await.expect(200).json;
            names.extend(page["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(link) = page["nextLink"].as_str() else { break (names.join(" "), pages) };
            managed_common::path(link).clone_into(&mut next);
        }
    };
    let group = "/subscriptions/SUB/resourcegroups/RG/providers/microsoft.compute/snapshots";
    assert_eq!(walk(group.to_owned()).await, ("a B c d e".to_owned(), 3));
    let all = "/subscriptions/sub/providers/Microsoft.Compute/snapshots";
    assert_eq!(walk(all.to_owned()).await, ("a B c d e x".to_owned(), 3));
    assert_eq!(walk(all.replace("snapshots", "disks")).await, ("d".to_owned(), 1));
    assert_eq!(walk(all.replace("/sub/", "/none/")).await, (String::new(), 1));
    assert_eq!(cloud.call("GET", &format!("{all}?$skiptoken=x"), None).await.verdict(), "400 InvalidParameter");
}

#[tokio::test]
async fn resources_are_changed_and_keep_their_content() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    cloud.service.write_disk(&id, GIB - 512, vec![3; 512]).unwrap();
    let change = json!({ "tags": { "a": "b" }, "sku": { "name": "standardssd_lrs" },
                         "properties": { "diskSizeGB": 2, "networkAccessPolicy": "DenyAll" } });
    cloud
        .call("PATCH", &id.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions"), Some(&change))
        .await
        .expect(202);
    let shown = cloud.get(&id).await;
    assert_eq!((&shown["tags"]["a"], &shown["sku"]["name"]), (&json!("b"), &json!("StandardSSD_LRS")));
    assert_eq!(shown["properties"]["diskSizeBytes"], 2 * GIB);
    assert_eq!(shown["properties"]["networkAccessPolicy"], "DenyAll");
    let image = cloud.service.read_disk(&id).unwrap();
    assert_eq!((image.length, image.bytes(GIB - 512, 512).as_ref()), (2 * GIB + 512, [3; 512].as_slice()));
    assert!(image.bytes(GIB, 512).iter().all(|byte| *byte == 0), "the old footer is gone");
    let smaller = json!({ "properties": { "diskSizeGB": 1 } });
    assert_eq!(cloud.call("PATCH", &id, Some(&smaller)).await.verdict(), "409 OperationNotAllowed");
    cloud.service.resize_disk(&id, 2 * GIB + MIB).unwrap();
    assert_eq!(cloud.get(&id).await["properties"]["diskSizeGB"], 3);
    assert_eq!(cloud.put(&id, empty(1, "Premium_LRS", 512)).await.status, 409);
    let mut moved = empty(3, "Premium_LRS", 512);
    moved["location"] = json!("westus");
    assert_eq!(cloud.put(&id, moved).await.verdict(), "409 InvalidResourceLocation");
    assert_eq!(cloud.delete(&id).await.expect(202).json, json!(null));
    cloud.delete(&id).await.expect(204);
}

#[tokio::test]
async fn a_machine_writes_whole_sectors_of_a_disk_only() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    let taken = cloud.snap(&id, "s").await;
    for (target, offset, length) in
        [(&id, 1, 512), (&id, 0, 100), (&id, GIB, 512), (&id, u64::MAX, 512), (&taken, 0, 512)]
    {
        assert!(cloud.service.write_disk(target, offset, vec![1; length]).is_err(), "{target} {offset} {length}");
    }
    assert!(cloud.service.clear_disk(&id, GIB - 512, 1024).is_err());
    assert!(cloud.service.resize_disk(&id, 512).is_err());
    assert!(cloud.service.write_disk(&disk("none"), 0, vec![1; 512]).unwrap_err().to_string().starts_with("404"));
    // None of it is on the wire.
    let wire = cloud.call("POST", &format!("{id}/guestClear?offset=0&length=512"), None).await;
    assert_eq!(wire.verdict(), "404 InvalidResourceType");
}

#[tokio::test]
async fn an_attached_disk_is_its_machines_alone() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    cloud.grant(&id).await;
    assert!(cloud.service.attach_disk(&id, "/vm").is_err(), "somebody reads it");
    cloud.revoke(&id).await.expect(202);
    cloud.service.attach_disk(&id, "/vm").unwrap();
    let shown = cloud.get(&id).await;
    assert_eq!((&shown["managedBy"], &shown["properties"]["diskState"]), (&json!("/vm"), &json!("Attached")));
    assert_eq!(cloud.try_grant(&id, "Read", 60).await.verdict(), "409 OperationNotAllowed");
    assert_eq!(cloud.delete(&id).await.verdict(), "409 OperationNotAllowed");
    assert!(cloud.service.attach_disk(&id, "/other").is_err());
    cloud.service.write_disk(&id, 0, vec![1; 512]).unwrap();
    let taken = cloud.snap(&id, "s").await;
    assert!(cloud.service.attach_disk(&taken, "/vm").is_err());
    cloud.grant(&taken).await;
    cloud.service.detach_disk(&id).unwrap();
    cloud.grant(&id).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let cloud = Cloud::with(|config| config.arm.groups = Some(vec!["RG".to_owned()]));
    let id = cloud.disk("d").await;
    let verdict = async |method: &str, target: &str| cloud.call(method, target, None).await.verdict();
    assert_eq!(verdict("GET", &disk("none")).await, "404 ResourceNotFound");
    assert_eq!(verdict("GET", &id.replace("/rg/", "/none/")).await, "404 ResourceGroupNotFound");
    assert_eq!(
        verdict("GET", "/subscriptions/sub/providers/Microsoft.Compute/images").await,
        "404 InvalidResourceType"
    );
    assert_eq!(verdict("GET", "/subscriptions/sub").await, "404 InvalidResourceType");
    assert_eq!(verdict("POST", &format!("{id}/format")).await, "404 InvalidResourceType");
    assert_eq!(verdict("POST", &id).await, "405 MethodNotAllowed");
    assert_eq!(verdict("GET", &format!("{id}/beginGetAccess")).await, "405 MethodNotAllowed");
    assert_eq!(verdict("GET", &format!("{id}?api-version=")).await, "400 MissingApiVersionParameter");
    assert_eq!(verdict("GET", &format!("{id}?api-version=new")).await, "400 InvalidApiVersionParameter");
    let bare = Request::new("GET", &format!("{id}?api-version=2022-07-02"));
    assert_eq!(cloud.send(bare.clone()).await.verdict(), "401 AuthenticationFailed");
    let wrong = bare.header("authorization", "Bearer something");
    assert_eq!(cloud.send(wrong).await.verdict(), "401 AuthenticationFailed");
    let open = Cloud::with(|config| config.auth = false);
    let nobody = Request::new("GET", "/subscriptions/s/providers/Microsoft.Compute/disks?api-version=2022-07-02");
    open.send(nobody).await.expect(200);
}

#[tokio::test]
async fn no_body_does_harm() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    let mut bodies: Vec<String> =
        ["", "{", "[]", "7", "null", "{}", "\u{feff}{}", "{\"location\": 7}"].map(str::to_owned).into();
    bodies.push(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    for option in ["null", "7", "\"Empty\"", "\"Copy\"", "\"CopyStart\"", "\"Upload\"", "\"Import\"", "\"Attach\""] {
        for extra in [
            "",
            ",\"diskSizeGB\": -1",
            ",\"diskSizeGB\": 18446744073709551615",
            ",\"diskSizeGB\": 1.5",
            ",\"diskSizeGB\": 1, \"incremental\": 7",
        ] {
            bodies.push(format!(
                "{{\"location\": \"x\", \"sku\": 7, \"properties\": {{\"creationData\": {{\"createOption\": {option}, \
                 \"sourceResourceId\": \"/x\", \"sourceUri\": \"y\", \"uploadSizeBytes\": 513}}{extra}}}}}"
            ));
        }
    }
    let targets = [
        ("PUT", disk("x")),
        ("PUT", snapshot("x")),
        ("PUT", disk("bad name")),
        ("PATCH", disk("x")),
        ("POST", format!("{id}/beginGetAccess")),
    ];
    for (method, target) in &targets {
        for body in &bodies {
            let path = target.replace(' ', "%20");
            let request = Request::new(method, &format!("{path}?api-version=2022-07-02"))
                .header("authorization", format!("Bearer {DEV_TOKEN}"))
                .with_body(body.clone());
            let answer = cloud.send(request).await;
            assert!((400..500).contains(&answer.status), "{method} {target} {body:.300} {answer:?}");
            assert!(!answer.message().is_empty());
        }
    }
    assert_eq!(
        cloud.call("GET", "/subscriptions/sub/providers/Microsoft.Compute/disks", None).await.json["value"][0],
        cloud.get(&id).await
    );
}

#[tokio::test]
async fn refusals_under_a_script_are_those_of_the_resource_manager() {
    let cloud = Cloud::new();
    let source = cloud.disk("d").await;
    let rule = Rule::new(Action::busy()).on(Operation::PutSnapshot).times(1);
    cloud.service.set_faults(FaultScript::new(1).rule(rule));
    let put = |name: &str| {
        Request::new("PUT", &format!("{}?api-version=2022-07-02", snapshot(name)))
            .header("authorization", format!("Bearer {DEV_TOKEN}"))
            .with_body(managed_common::incremental(&source).to_string().into_bytes())
    };
    let Delivery::Answer(refused) = cloud.service.deliver(put("s")).await else { panic!("no answer") };
    assert_eq!((refused.status, refused.get("retry-after")), (429, Some("0")));
    assert!(text(refused).contains("\"code\":\"TooManyRequests\""));
    assert_eq!(cloud.call("GET", &snapshot("s"), None).await.status, 404);
    let Delivery::Answer(taken) = cloud.service.deliver(put("s")).await else { panic!("no answer") };
    assert_eq!(taken.status, 202);
    assert_eq!(cloud.service.stats().operations[&Operation::PutSnapshot].refused, 1);
}

#[tokio::test]
async fn the_socket_speaks_both_languages() {
    let running = Emulator::start(Options::default()).await.unwrap();
    assert_eq!(running.arm_url(), format!("http://{}", running.addr()));
    let exchange = async |request: String| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(running.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let host = running.addr();
    let arm = async |method: &str, target: &str, body: &str| {
        let length = body.len();
        exchange(format!(
            "{method} {target}?api-version=2022-07-02 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {DEV_TOKEN}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
        .await
    };
    let made = arm("PUT", &disk("d"), &empty(1, "Premium_LRS", 512).to_string()).await;
    assert!(made.starts_with("HTTP/1.1 202") && made.contains("azure-asyncoperation: http://127.0.0.1:"), "{made}");
    let grant = format!("{}/beginGetAccess", disk("d"));
    let granted = arm("POST", &grant, "{\"access\": \"Read\", \"durationInSeconds\": 60}").await;
    let location = granted.split_once("location: ").unwrap().1.split_once("\r\n").unwrap().0;
    let ask = |url: &str, more: &str| {
        let path = url.strip_prefix(&format!("http://{host}")).unwrap();
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
    };
    let token = format!("Authorization: Bearer {DEV_TOKEN}\r\n");
    let answer = exchange(ask(location, &token)).await;
    let url = answer.split_once("\"accessSAS\":\"").unwrap().1.split_once('"').unwrap().0;
    let listed = exchange(ask(&format!("{url}&comp=pagelist"), "x-ms-version: 2021-12-02\r\n")).await;
    assert!(listed.contains(&format!("<Start>{GIB}</Start>")), "{listed}");
    let bare = exchange(format!("POST {grant} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    assert!(bare.starts_with("HTTP/1.1 411") && bare.contains("LengthRequired"), "{bare}");
    running.stop().await;
}

#[tokio::test]
async fn another_process_can_be_the_machine() {
    let cloud = Cloud::new();
    let id = cloud.disk("d").await;
    let target = format!("{id}/guestWrite?offset=512");
    let write = Foreign { method: "POST".to_owned(), target, length: 512, fill: 6, ..Foreign::default() };
    assert_eq!(cloud.service.intrude(&write.request()).status, 200);
    assert_eq!(cloud.service.read_disk(&id).unwrap().bytes(512, 512).as_ref(), [6; 512]);
}
