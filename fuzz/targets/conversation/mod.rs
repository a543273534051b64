//! Reading an input as a conversation with the emulator.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pageferry_emulator::{Config, CopyPace, ManualClock, Request, Timestamp, Variants};

/// The host under which the account is the first part of the path.
pub const HOST: &str = "127.0.0.1:10000";

/// A token that opens everything; the requests of an input carry it unless they bring credentials of their own.
const TOKEN: &str = "Bearer fuzz";

const VERSION: &str = "2021-12-02";

const BODY_MAX: usize = 8 << 10;

const REQUESTS_MAX: usize = 24;

/// One request and its time.
pub struct Said {
    pub request: Request,
    pub body: Vec<u8>,
    pub at: Timestamp,
    /// Whether copies take their time in this conversation.
    pub slow: bool,
}

/// A whole input.
pub struct Conversation {
    pub config: Config,
    pub journal: bool,
    pub requests: Vec<Said>,
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Said {
    /// Whether the request could change anything.
    pub fn is_mutation(&self) -> bool {
        !matches!(self.request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }
}

impl Conversation {
    pub fn read(input: &str) -> Conversation {
        let (first, rest) = input.split_once('\n').unwrap_or((input, ""));
        let (words, rest) = first.strip_prefix("with").map_or(("", input), |words| (words, rest));
        let mut config = config();
        let (mut journal, mut slow) = (false, false);
        for word in words.split_whitespace() {
            let account = config.accounts.values_mut().next().expect("an account");
            match word.split_once('=').unwrap_or((word, "")) {
                ("variants", seed) => config.variants = Variants::draw(seed.parse().unwrap_or(0)),
                ("journal", _) => journal = true,
                ("open", _) => config.auth = false,
                ("premium", _) => account.premium = true,
                ("slow", rate) => {
                    config.copy = CopyPace::BytesPerSecond(rate.parse().unwrap_or(1));
                    slow = true;
                }
                _ => {}
            }
        }
        // The most that is drawn for the length of a list is kept; a diff that lies is not worth asking for.
        config.variants.ignore_prevsnapshot = false;
        let start = Timestamp::from_seconds(START + opening().len() as u64);
        let mut at = start;
        let mut requests = Vec::new();
        for block in rest.split("\n\n").filter(|block| !block.trim().is_empty()).take(REQUESTS_MAX) {
            at = at.plus(Duration::from_secs(1));
            requests.extend(said(block, &mut at, slow));
        }
        Conversation { config, journal, requests, start, end: at.plus(Duration::from_secs(1)) }
    }
}

fn config() -> Config {
    let bearer_tokens = vec!["fuzz".to_owned()];
    Config { bearer_tokens, hosts: vec!["pictures".to_owned()], seed: 7, ..Config::default() }
}

fn said(block: &str, at: &mut Timestamp, slow: bool) -> Option<Said> {
    let mut request = None;
    let mut body = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        if let Some(seconds) = line.strip_prefix('+') {
            *at = at.plus(Duration::from_secs(seconds.parse::<u16>().unwrap_or(1).into()));
        } else if let Some(text) = line.strip_prefix('=') {
            let (fill, length) = text.split_once(' ').unwrap_or((text, "512"));
            let length = length.parse::<usize>().unwrap_or(0).min(BODY_MAX);
            body = match fill.parse::<u8>() {
                Ok(fill) => vec![fill; length],
                Err(_) => text.as_bytes().to_vec(),
            };
        } else {
            request = Some(match request {
                None => {
                    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
                    Request::new(method, target)
                }
                Some(request) => {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    Request::header(request, name.trim(), value.trim())
                }
            });
        }
    }
    let request = owner(request?);
    let request = if body.is_empty() { request } else { request.with_body(body.clone()) };
    Some(Said { request, body, at: *at, slow })
}

/// The request with what every request carries, unless it says otherwise.
pub fn owner(mut request: Request) -> Request {
    if request.get("host").is_none() {
        request = request.header("host", HOST);
    }
    if request.get("x-ms-version").is_none() {
        request = request.header("x-ms-version", VERSION);
    }
    if request.get("authorization").is_none() && request.query("sig").is_none() {
        request = request.header("authorization", TOKEN);
    }
    request
}

const START: u64 = 1_700_000_000;

/// What every service holds when an input begins: two blobs of eight pages, one with two snapshots, one under a lease.
pub fn opening() -> Vec<Said> {
    let base = "PUT /devstoreaccount1/disks/base";
    let leased = "PUT /devstoreaccount1/disks/leased";
    let new = "x-ms-blob-type: PageBlob\nx-ms-blob-content-length: 4096";
    let update = "x-ms-page-write: update";
    let blocks = [
        "PUT /devstoreaccount1/disks?restype=container".to_owned(),
        format!("{base}\n{new}\nx-ms-meta-owner: me"),
        format!("{base}?comp=page\n{update}\nx-ms-range: bytes=0-1535\n=1 1536"),
        format!("{base}?comp=snapshot"),
        format!("{base}?comp=page\nx-ms-page-write: clear\nx-ms-range: bytes=512-1023"),
        format!("{base}?comp=page\n{update}\nx-ms-range: bytes=2048-3071\n=2 1024"),
        format!("{base}?comp=snapshot\nx-ms-meta-point: 2"),
        format!("{base}?comp=page\n{update}\nx-ms-range: bytes=0-511\n=3 512"),
        format!("{leased}\n{new}"),
        format!(
            "{leased}?comp=lease\nx-ms-lease-action: acquire\nx-ms-lease-duration: -1\n\
             x-ms-proposed-lease-id: 11111111-2222-3333-4444-555555555555"
        ),
    ];
    let said = |(second, block): (u64, &String)| said(block, &mut Timestamp::from_seconds(START + second), false);
    (1..).zip(&blocks).filter_map(said).collect()
}

/// The snapshots of the opening. They are named after the time of the request that took them.
pub fn snapshots() -> Vec<(&'static str, String)> {
    [4, 7].map(|second| ("/devstoreaccount1/disks/base", Timestamp::from_seconds(START + second).iso())).into()
}

/// A clock that shows the time before the opening.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_seconds(START)))
}

/// What a restarted service is asked.
pub fn questions() -> Vec<String> {
    let blobs = ["base", "leased", "copy"].map(|blob| format!("/devstoreaccount1/disks/{blob}"));
    let mut all = vec![
        "/devstoreaccount1?comp=list&include=metadata".to_owned(),
        "/devstoreaccount1/disks?restype=container".to_owned(),
        "/devstoreaccount1/disks?restype=container&comp=acl".to_owned(),
        "/devstoreaccount1/disks?restype=container&comp=list&include=snapshots,metadata,copy".to_owned(),
        "/devstoreaccount1?restype=service&comp=properties".to_owned(),
    ];
    for blob in &blobs {
        all.extend([blob.clone(), format!("{blob}?comp=pagelist"), format!("{blob}?comp=metadata")]);
    }
    for (blob, time) in snapshots() {
        let list = format!("{blob}?comp=pagelist");
        all.extend([format!("{blob}?snapshot={time}"), format!("{list}&prevsnapshot={time}")]);
    }
    all
}

/// The outcome of a future that never waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a service that keeps no one waiting"),
    }
}
