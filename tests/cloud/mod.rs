//! A subscription in a world: managed disks past the engine, and the engine's own [`ManagedDisk`] with somebody who listens.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use azure_core::http::HttpClient;
use pageferry_arm::{Arm, FixedToken, ResourceId};
use pageferry_azure::RetryPolicy;
use pageferry_emulator::{Config, DEV_TOKEN, Request};
use pageferry_managed::{CopyOrder, Link, ManagedDisk, Reading, Scene, Terms};
use pageferry_tests::World;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
pub const MIB: u64 = 1 << 20;

/// The id of a disk.
pub fn disk(name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/disks/{name}")
}

/// The id of a snapshot.
pub fn snapshot(name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/snapshots/{name}")
}

/// The same, as the engine names it.
pub fn resource(name: &str) -> ResourceId {
    ResourceId::parse(&snapshot(name)).unwrap()
}

/// A subscription.
pub struct Cloud {
    pub world: Arc<World>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    pub async fn new() -> Cloud {
        Cloud::with(|_| ()).await
    }

    pub async fn with(set: impl FnOnce(&mut Config)) -> Cloud {
        let mut config = Config::default();
        set(&mut config);
        Cloud { world: World::checked(config).await, said: Arc::default() }
    }

    /// Asks Resource Manager, past the engine.
    pub async fn arm(&self, method: &str, id: &str, body: &Value) -> (u16, Value) {
        let request = Request::new(method, &format!("{id}?api-version=2022-07-02"))
            .header("authorization", format!("Bearer {DEV_TOKEN}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.world.service().handle(request.with_body(body)).await;
        let status = answer.status;
        (status, serde_json::from_slice(&answer.body.into_bytes()).unwrap_or_default())
    }

    /// The same, which must be granted.
    pub async fn must(&self, method: &str, id: &str, body: &Value) -> Value {
        let (status, answer) = self.arm(method, id, body).await;
        assert!((200..300).contains(&status), "{method} {id}: {status} {answer}");
        answer
    }

    /// What Resource Manager tells of a disk or snapshot.
    pub async fn get(&self, id: &str) -> Value {
        self.must("GET", id, &Value::Null).await
    }

    /// A disk of 1 GiB, of some kind.
    pub async fn disk(&self, name: &str, sku: &str) -> String {
        let creation = json!({ "createOption": "Empty", "logicalSectorSize": 512 });
        let properties = json!({ "creationData": creation, "diskSizeGB": 1 });
        let body = json!({ "location": "westeurope", "sku": { "name": sku }, "properties": properties });
        self.must("PUT", &disk(name), &body).await;
        disk(name)
    }

    /// Writes to a disk as its machine does.
    pub fn write(&self, disk: &str, at: u64, bytes: u64, with: u8) {
        self.world.service().write_disk(disk, at, vec![with; usize::try_from(bytes).unwrap()]).unwrap();
    }

    /// Takes an incremental snapshot past the engine, at a time of its own.
    pub async fn snap(&self, disk: &str, name: &str) -> String {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.put(name, "westeurope", &json!({ "createOption": "Copy", "sourceResourceId": disk })).await
    }

    /// Begins a copy past the engine.
    pub async fn copy(&self, from: &str, name: &str, location: &str) -> String {
        self.put(name, location, &json!({ "createOption": "CopyStart", "sourceResourceId": from })).await
    }

    async fn put(&self, name: &str, location: &str, creation: &Value) -> String {
        let properties = json!({ "creationData": creation, "incremental": true });
        self.must("PUT", &snapshot(name), &json!({ "location": location, "properties": properties })).await;
        snapshot(name)
    }

    /// The disk called `name`, as the engine finds it.
    pub async fn find(&self, name: &str) -> ManagedDisk {
        self.find_by(name, self.world.process().transport()).await
    }

    /// The same, over a connection of its own kind.
    pub async fn find_by(&self, name: &str, transport: Arc<dyn HttpClient>) -> ManagedDisk {
        let token = Arc::new(FixedToken::new(DEV_TOKEN));
        let options = pageferry_arm::Options {
            endpoint: "http://127.0.0.1".parse().unwrap(),
            transport: Some(Arc::clone(&transport)),
            seed: Some(7),
            ..pageferry_arm::Options::default()
        };
        let said = Arc::clone(&self.said);
        let reading = Reading {
            options: pageferry_azure::Options {
                transport: Some(transport),
                retry: RetryPolicy { seed: Some(7), ..RetryPolicy::default() },
                ..pageferry_azure::Options::default()
            },
            terms: Terms::default(),
            scene: Scene::new(move |sentence| said.lock().unwrap().push(sentence), CancellationToken::new()),
        };
        let arm = Arm::new(token.clone(), options).unwrap();
        let named = ResourceId::parse(&disk(name)).unwrap();
        ManagedDisk::find(arm, token, &named, reading).await.unwrap().0
    }

    /// What was said to people.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Fails unless somebody was told this.
    #[track_caller]
    pub fn heard(&self, words: &str) {
        let said = self.said();
        assert!(said.iter().any(|sentence| sentence.contains(words)), "nobody said `{words}`: {said:?}");
    }

    /// The time, as the service has it.
    pub fn now(&self) -> OffsetDateTime {
        SystemTime::from(self.world.service().now()).into()
    }

    /// Whether two disks or snapshots hold the same, as far as anything is written here: in the first 80 MiB.
    pub fn same(&self, one: &str, other: &str) -> bool {
        let image = |id: &str| self.world.service().read_disk(id).unwrap();
        let (one, other) = (image(one), image(other));
        one.size == other.size && one.bytes(0, 80 * MIB) == other.bytes(0, 80 * MIB)
    }
}

/// The snapshot called `name`.
pub fn link(disk: &ManagedDisk, name: &str) -> Link {
    disk.chain().unwrap().named(name).unwrap_or_else(|| panic!("no {name} in the chain")).clone()
}

/// An order to copy to a snapshot called `target`.
pub fn order(target: &str, location: &str) -> CopyOrder {
    CopyOrder {
        target: resource(target),
        location: location.to_owned(),
        encryption: None,
        platform_key: false,
        poll: Duration::from_secs(1),
        queue: Duration::from_secs(600),
    }
}

/// What a refusal says must hold these words.
#[track_caller]
pub fn says(error: &pageferry_store::StoreError, words: &str) {
    assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
}
