//! A subscription to play with: a service, a hand on its clock, and short ways to ask its resource manager things.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

use std::sync::Arc;
use std::time::Duration;

use pageferry_emulator::{Clock, Config, DEV_TOKEN, ManualClock, Request, Response, Service, Timestamp};
use serde_json::{Value, json};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
pub const HOST: &str = "127.0.0.1:4711";
pub const API: &str = "2022-07-02";

#[derive(Debug)]
pub struct Cloud {
    pub service: Service,
    pub clock: Arc<ManualClock>,
}

/// An answer with its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub json: Value,
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)))
}

pub fn disk(name: &str) -> String {
    format!("/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute/disks/{name}")
}

pub fn snapshot(name: &str) -> String {
    format!("/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Compute/snapshots/{name}")
}

/// The body of an incremental snapshot.
pub fn incremental(source: &str) -> Value {
    made("eastus", "Copy", source, true)
}

/// The body of a copy to another region.
pub fn copy_start(source: &str, location: &str) -> Value {
    made(location, "CopyStart", source, true)
}

pub fn made(location: &str, option: &str, source: &str, incremental: bool) -> Value {
    let creation = json!({ "createOption": option, "sourceResourceId": source });
    json!({ "location": location, "properties": { "creationData": creation, "incremental": incremental } })
}

pub fn empty(gib: u64, sku: &str, sector: u64) -> Value {
    let creation = json!({ "createOption": "Empty", "logicalSectorSize": sector });
    json!({ "location": "eastus", "sku": { "name": sku },
            "properties": { "creationData": creation, "diskSizeGB": gib } })
}

impl Cloud {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let clock = clock();
        Self { service: Service::new(config, Arc::clone(&clock) as Arc<dyn Clock>), clock }
    }

    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A request with the token and a version, unless the target names one.
    pub async fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let separator = if target.contains('?') { '&' } else { '?' };
        let version =
            if target.contains("api-version=") { String::new() } else { format!("{separator}api-version={API}") };
        let request = Request::new(method, &format!("{target}{version}"))
            .header("host", HOST)
            .header("authorization", format!("Bearer {DEV_TOKEN}"));
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        self.send(request.with_body(body)).await
    }

    pub async fn send(&self, request: Request) -> Answer {
        let response = self.service.handle(request).await;
        let headers = response.headers.clone();
        let bytes = response.body.into_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: response.status, headers, json }
    }

    pub async fn get(&self, id: &str) -> Value {
        self.call("GET", id, None).await.expect(200).json
    }

    pub async fn put(&self, id: &str, body: Value) -> Answer {
        self.clock.advance(Duration::from_millis(1));
        self.call("PUT", id, Some(&body)).await
    }

    pub async fn delete(&self, id: &str) -> Answer {
        self.call("DELETE", id, None).await
    }

    /// An ordinary empty disk.
    pub async fn disk(&self, name: &str) -> String {
        self.put(&disk(name), empty(1, "Premium_LRS", 512)).await.expect(202);
        disk(name)
    }

    /// An incremental snapshot of a disk.
    pub async fn snap(&self, source: &str, name: &str) -> String {
        self.put(&snapshot(name), incremental(source)).await.expect(202);
        snapshot(name)
    }

    pub async fn copy(&self, source: &str, name: &str, location: &str) -> String {
        self.put(&snapshot(name), copy_start(source, location)).await.expect(202);
        snapshot(name)
    }

    pub async fn try_grant(&self, id: &str, access: &str, seconds: u64) -> Answer {
        let body = json!({ "access": access, "durationInSeconds": seconds });
        self.call("POST", &format!("{id}/beginGetAccess"), Some(&body)).await
    }

    /// The URL that a grant gives, from its operation.
    pub async fn grant(&self, id: &str) -> String {
        self.granted(self.try_grant(id, "Read", 3600).await).await
    }

    pub async fn granted(&self, begun: Answer) -> String {
        let begun = begun.expect(202);
        let done = self.poll(begun.header("azure-asyncoperation")).await.expect(200);
        assert_eq!(done.json["status"], "Succeeded", "{done:?}");
        done.json["properties"]["output"]["accessSAS"].as_str().unwrap().to_owned()
    }

    pub async fn revoke(&self, id: &str) -> Answer {
        self.call("POST", &format!("{id}/endGetAccess"), None).await
    }

    /// Asks at an absolute URL.
    pub async fn poll(&self, url: &str) -> Answer {
        self.call("GET", path(url), None).await
    }

    /// A request with a URL that a grant gave.
    pub async fn data(&self, method: &str, url: &str, more: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = Request::new(method, &format!("{}{more}", path(url)))
            .header("host", HOST)
            .header("x-ms-version", "2021-12-02");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.service.handle(request.with_body(body)).await
    }

    pub async fn read(&self, url: &str, from: u64, length: u64) -> Response {
        let range = format!("bytes={from}-{}", from + length - 1);
        self.data("GET", url, "", &[("x-ms-range", &range)], Vec::new()).await
    }

    /// The difference between two snapshots, by their URLs.
    pub async fn diff(&self, from: &str, to: &str) -> Response {
        self.data("GET", to, "&comp=pagelist", &[("x-ms-previous-snapshot-url", from)], Vec::new()).await
    }
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.json);
        self
    }

    /// A header that must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers))
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Status and code of a refusal.
    pub fn verdict(&self) -> String {
        match self.json["error"]["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }

    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }
}

/// The path and query of an absolute URL.
pub fn path(url: &str) -> &str {
    url.strip_prefix(&format!("http://{HOST}")).unwrap_or_else(|| panic!("{url} leads elsewhere"))
}
