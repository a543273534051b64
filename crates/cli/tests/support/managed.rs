//! Managed disks in the service of this process, and what their machines do to them.

use std::collections::HashMap;

use pageferry_emulator::{DEV_TOKEN, Options, Request, Service};
use serde_json::{Value, json};

use super::{Ran, World};

/// The subscription of all disks.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Compute";

/// The id of a disk.
pub fn disk(name: &str) -> String {
    format!("{GROUP}/disks/{name}")
}

/// The id of a snapshot.
pub fn snapshot(name: &str) -> String {
    format!("{GROUP}/snapshots/{name}")
}

/// A world whose resource manager behaves as `arm` says.
pub fn world(set: impl FnOnce(&mut Options)) -> World {
    let mut options = Options::default();
    set(&mut options);
    World::with(options)
}

impl World {
    /// The service itself.
    pub fn service(&self) -> &Service {
        self.running().service()
    }

    /// Sends a request to Resource Manager with the rights of its owner; returns the status and the body.
    pub fn arm(&self, method: &str, id: &str, body: &Value) -> (u16, Value) {
        let separator = if id.contains('?') { '&' } else { '?' };
        let request = Request::new(method, &format!("{id}{separator}api-version=2022-07-02"))
            .header("authorization", format!("Bearer {DEV_TOKEN}"))
            .header("host", self.host())
            .header("content-type", "application/json");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let response = self.block_on(self.service().handle(request.with_body(body)));
        let status = response.status;
        (status, serde_json::from_slice(&response.body.into_bytes()).unwrap_or_default())
    }

    /// The body of the answer to a request.
    pub fn answer(&self, request: Request) -> bytes::Bytes {
        self.block_on(self.service().handle(request)).body.into_bytes()
    }

    /// The same, which must be granted.
    #[track_caller]
    pub fn arm_ok(&self, method: &str, id: &str, body: &Value) -> Value {
        let (status, answer) = self.arm(method, id, body);
        assert!((200..300).contains(&status), "{method} {id}: {status} {answer}");
        answer
    }

    /// Makes an empty managed disk.
    pub fn managed(&self, name: &str, gib: u64) -> String {
        let properties = json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": gib });
        self.arm_ok("PUT", &disk(name), &json!({ "location": "westeurope", "properties": properties }));
        disk(name)
    }

    /// Writes to a disk as its machine does.
    pub fn guest_writes(&self, disk: &str, at: u64, bytes: usize, with: u8) {
        self.service().write_disk(disk, at, vec![with; bytes]).unwrap();
    }

    /// Clears part of a disk as its machine does.
    pub fn guest_clears(&self, disk: &str, at: u64, bytes: u64) {
        self.service().clear_disk(disk, at, bytes).unwrap();
    }

    /// Takes an incremental snapshot, past the engine.
    pub fn managed_snapshot(&self, of: &str, name: &str) -> String {
        self.managed_snapshot_with(of, name, &json!({}))
    }

    /// The same, with more properties.
    pub fn managed_snapshot_with(&self, of: &str, name: &str, more: &Value) -> String {
        let mut properties =
            json!({ "creationData": { "createOption": "Copy", "sourceResourceId": of }, "incremental": true });
        for (name, value) in more.as_object().unwrap() {
            properties[name] = value.clone();
        }
        self.arm_ok("PUT", &snapshot(name), &json!({ "location": "westeurope", "properties": properties }));
        snapshot(name)
    }

    /// What is granted now, by resource.
    pub fn granted(&self) -> Vec<String> {
        self.service().grants().into_iter().map(|grant| grant.resource).collect()
    }

    /// Whether the machines of two disks or snapshots see the same.
    #[track_caller]
    pub fn same_disks(&self, one: &str, other: &str) {
        let (left, right) = (self.service().read_disk(one).unwrap(), self.service().read_disk(other).unwrap());
        assert_eq!(left.size, right.size, "{one} and {other} are not of one size");
        for at in (0..left.size).step_by(4 << 20) {
            assert!(left.bytes(at, 4 << 20) == right.bytes(at, 4 << 20), "{one} is not {other} from {at} on");
        }
    }

    /// What Resource Manager says the state of a disk is.
    pub fn disk_state(&self, disk: &str) -> String {
        let found = self.arm_ok("GET", disk, &Value::Null);
        found["properties"]["diskState"].as_str().unwrap().to_owned()
    }

    /// Fills part of a disk that is being uploaded, past the engine.
    pub fn upload_by_hand(&self, disk: &str, at: u64, bytes: usize, with: u8) {
        let url = self.grant_to(disk, "Write");
        let target = url.split_once("://").unwrap().1.split_once('/').unwrap().1;
        let request = Request::new("PUT", &format!("/{target}&comp=page"))
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-page-write", "update")
            .header("x-ms-range", format!("bytes={at}-{}", at + bytes as u64 - 1))
            .with_body(vec![with; bytes]);
        let response = self.block_on(self.service().handle(request));
        assert!(response.is_success(), "{}", response.status);
    }

    /// The URL that opens a snapshot for an hour, past the engine.
    pub fn grant(&self, snapshot: &str) -> String {
        self.grant_to(snapshot, "Read")
    }

    fn grant_to(&self, snapshot: &str, access: &str) -> String {
        let order = json!({ "access": access, "durationInSeconds": 3600 });
        let begun = self.arm_ok("POST", &format!("{snapshot}/beginGetAccess"), &order);
        assert!(begun.is_null() || begun["accessSAS"].is_string(), "{begun}");
        let url = begun["accessSAS"].as_str().map(str::to_owned);
        url.unwrap_or_else(|| self.operation_of(&format!("{snapshot}/beginGetAccess"), &order))
    }

    /// Begins an operation and returns the URL it ends with.
    fn operation_of(&self, action: &str, order: &Value) -> String {
        let request = Request::new("POST", &format!("{action}?api-version=2022-07-02"))
            .header("authorization", format!("Bearer {DEV_TOKEN}"))
            .header("host", self.host())
            .with_body(order.to_string());
        let response = self.block_on(self.service().handle(request));
        let headers: HashMap<String, String> = response.headers.iter().cloned().collect();
        let follow = headers["location"].clone();
        let path = follow.split_once("/subscriptions/").unwrap().1;
        let request = Request::new("GET", &format!("/subscriptions/{path}"))
            .header("authorization", format!("Bearer {DEV_TOKEN}"))
            .header("host", self.host());
        let response = self.block_on(self.service().handle(request));
        let answer: Value = serde_json::from_slice(&response.body.into_bytes()).unwrap();
        answer["accessSAS"].as_str().unwrap().to_owned()
    }

    /// Whether the raw file at `path` holds what the machine of `id`, a disk or a snapshot, sees.
    #[track_caller]
    pub fn same_as_truth(&self, path: &str, id: &str) {
        let image = self.service().read_disk(id).unwrap();
        let file = std::fs::File::open(path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), image.size, "{path} and {id} are not of one size");
        let mut buffer = vec![0; 4 << 20];
        for at in (0..image.size).step_by(4 << 20) {
            let truth = image.bytes(at, 4 << 20);
            let piece = &mut buffer[..truth.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, piece, at).unwrap();
            assert!(piece == &truth[..], "{path} is not {id} within 4 MiB from {at} on");
        }
    }

    /// Runs the binary with this service's Resource Manager.
    pub fn run_arm(&self, words: &[&str]) -> Ran {
        let endpoint = self.arm_endpoint();
        self.run_with(&[("PAGEFERRY_ARM_ENDPOINT", &endpoint)], words)
    }
}
