//! A model with a hand on its clock, and short ways to ask it things.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

use std::time::Duration;

use pageferry_emulator::{Config, Model, Request, Response, Timestamp};

pub const VERSION: &str = "2021-12-02";
pub const A: &str = "aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa";
pub const B: &str = "bbbbbbbb-1111-4111-8111-bbbbbbbbbbbb";

/// A service in which time stands still unless it is told to move.
#[derive(Debug)]
pub struct Bench {
    pub model: Model,
    pub now: Timestamp,
}

impl Bench {
    /// A service that asks for no credentials, with the container `disks`.
    pub fn open(config: Config) -> Self {
        Self::guarded(Config { auth: false, ..config }).with_container()
    }

    pub fn new() -> Self {
        Self::open(Config::default())
    }

    pub fn guarded(config: Config) -> Self {
        Self { model: Model::new(config), now: Timestamp::from_seconds(1_700_000_000) }
    }

    fn with_container(mut self) -> Self {
        self.put("disks?restype=container", &[]).expect(201);
        self
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    pub fn send(&mut self, request: Request) -> Response {
        self.now = self.now.next();
        self.model.apply(&request, self.now)
    }

    pub fn call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = Request::new(method, &format!("/devstoreaccount1/{target}"));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if request.get("x-ms-version").is_none() {
            request = request.header("x-ms-version", VERSION);
        }
        self.send(request.with_body(body))
    }

    pub fn put(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.call("PUT", target, headers, Vec::new())
    }

    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.call("GET", target, headers, Vec::new())
    }

    pub fn create(&mut self, blob: &str, size: u64) -> Response {
        let size = size.to_string();
        self.put(blob, &[("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", &size)]).expect(201)
    }

    pub fn update(&mut self, blob: &str, start: u64, end: u64, fill: u8) -> Response {
        let range = format!("bytes={start}-{}", end - 1);
        let body = vec![fill; usize::try_from(end - start).unwrap()];
        self.call("PUT", &format!("{blob}?comp=page"), &[("x-ms-page-write", "update"), ("x-ms-range", &range)], body)
    }

    pub fn clear(&mut self, blob: &str, start: u64, end: u64) -> Response {
        let range = format!("bytes={start}-{}", end - 1);
        self.put(&format!("{blob}?comp=page"), &[("x-ms-page-write", "clear"), ("x-ms-range", &range)])
    }

    pub fn snapshot(&mut self, blob: &str) -> String {
        let response = self.put(&format!("{blob}?comp=snapshot"), &[]).expect(201);
        response.get("x-ms-snapshot").unwrap().to_owned()
    }

    /// A page list in short: `P 0-511, C 512-1023`.
    pub fn list(&mut self, target: &str) -> String {
        short(&text(self.get(target, &[]).expect(200)))
    }
}

/// Status and code of an answer, such as `409 BlobOverwritten`.
pub fn verdict(response: &Response) -> String {
    match response.get("x-ms-error-code") {
        Some(code) => format!("{} {code}", response.status),
        None => response.status.to_string(),
    }
}

pub fn text(response: Response) -> String {
    String::from_utf8(response.body.into_bytes().to_vec()).unwrap()
}

/// The text between two markers of an XML body.
pub fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0)
}

pub fn short(xml: &str) -> String {
    let list = between(xml, "<PageList>", "</PageList>").unwrap();
    let list = list.split("<NextMarker>").next().unwrap().replace("</PageRange>", "").replace("</ClearRange>", "");
    let list = list.replace("<PageRange><Start>", ", P ").replace("<ClearRange><Start>", ", C ");
    let list = list.replace("</Start><End>", "-").replace("</End>", "");
    list.trim_start_matches(", ").to_owned()
}

pub trait Expect {
    /// The answer itself, if it has this status.
    fn expect(self, status: u16) -> Self;
}

impl Expect for Response {
    #[track_caller]
    fn expect(self, status: u16) -> Self {
        if self.status != status {
            let (headers, body) = (self.headers, self.body.into_bytes());
            panic!("{} instead of {status}: {headers:?} {}", self.status, String::from_utf8_lossy(&body));
        }
        self
    }
}
