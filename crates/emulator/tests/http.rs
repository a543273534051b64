//! The skin: what goes over a socket, and that nothing sent over one can break the service.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pageferry_emulator::{Config, Emulator, Model, Options, Request, Running, Timestamp};
use proptest::prelude::*;

async fn start() -> Running {
    let config = Config { auth: false, ..Config::default() };
    Emulator::start(Options { config, ..Options::default() }).await.unwrap()
}

/// Sends raw bytes and reads until the service closes the connection or falls silent.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    stream.write_all(bytes).unwrap();
    let (mut out, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        out.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&out).into_owned()
}

const COMMON: &str = "Host: x\r\nx-ms-version: 2021-12-02\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_requests() {
    let running = start().await;
    let put = |target: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("PUT /devstoreaccount1/{target} HTTP/1.1\r\n{COMMON}{headers}Content-Length: {length}\r\n\r\n{body}")
    };
    let all = [
        put("disks?restype=container", "", ""),
        put("disks/b", "x-ms-blob-type: PageBlob\r\nx-ms-blob-content-length: 1024\r\n", ""),
        put("disks/b?comp=page", "x-ms-page-write: update\r\nx-ms-range: bytes=0-511\r\n", &"a".repeat(512)),
        format!("HEAD /devstoreaccount1/disks/b HTTP/1.1\r\n{COMMON}\r\n"),
        format!("GET /devstoreaccount1/disks/b?comp=pagelist HTTP/1.1\r\n{COMMON}\r\n"),
        format!("GET /devstoreaccount1/disks/b HTTP/1.1\r\n{COMMON}Range: bytes=510-513\r\nConnection: close\r\n\r\n"),
    ];
    let answer = raw(running.addr(), all.concat().as_bytes());
    let status: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(status, ["201", "201", "201", "200", "200", "206"], "{answer}");
    assert!(answer.contains("content-length: 1024"), "HEAD gives the length: {answer}");
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(answer.ends_with("aa\0\0"), "{answer:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_bounded_and_measured() {
    let running = start().await;
    let put = |rest: &str| {
        raw(running.addr(), format!("PUT /devstoreaccount1/disks/b?comp=page HTTP/1.1\r\n{COMMON}{rest}").as_bytes())
    };
    assert!(put("\r\n").starts_with("HTTP/1.1 411"));
    assert!(put("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").starts_with("HTTP/1.1 411"));
    let large = put("Content-Length: 4194305\r\n\r\n");
    assert!(large.starts_with("HTTP/1.1 413") && large.contains("RequestBodyTooLarge"), "{large}");
    let waiting = put("Expect: 100-continue\r\nContent-Length: 512\r\n\r\n");
    assert!(waiting.starts_with("HTTP/1.1 100"), "{waiting}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_are_kept_out_and_ports_are_given_back() {
    let remote = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    assert!(Emulator::start(remote).await.is_err());
    let running = start().await;
    let address = running.addr();
    assert_eq!(running.url(), format!("http://{address}/devstoreaccount1"));
    running.stop().await;
    assert!(TcpStream::connect(address).is_err());
    let dropped = start().await.addr();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(dropped).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_is_answered_or_dropped() {
    let running = start().await;
    for bytes in [
        &b"\0\0\0\0"[..],
        b"GET\r\n\r\n",
        b"GET /%%%?%=%&&== HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"PUT //// HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        raw(running.addr(), bytes);
    }
    let alive =
        raw(running.addr(), b"GET /devstoreaccount1/?comp=list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
}

/// Values that are plausible, extreme, or neither.
fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "*",
        "0",
        "-1",
        "512",
        "4096",
        "8796093022208",
        "18446744073709551615",
        "99999999999999999999",
        "update",
        "clear",
        "bytes=0-511",
        "bytes=512-1023",
        "bytes=0-",
        "bytes=-5",
        "bytes=18446744073709551615-0",
        "bytes=0-18446744073709551615",
        "bytes=18446744073709551104-18446744073709551615",
        "PageBlob",
        "true",
        "acquire",
        "renew",
        "change",
        "release",
        "break",
        "max",
        "increment",
        "15",
        "60",
        "abort",
        "include",
        "only",
        "aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa",
        "AAAAAAAAAAA=",
        "2023-01-27T22:27:19.7049036Z",
        "2!4!MDAw",
        "http://127.0.0.1/devstoreaccount1/disks/b",
        "http://127.0.0.1/devstoreaccount1/disks/b?snapshot=2023-11-14T22:13:21.0000000Z",
        "http://[::1",
        "Fri, 27 Jan 2023 22:27:19 GMT",
        "\"0x1\"",
        "SharedKey a:b",
        "Bearer x",
        "P10",
        "snapshots,metadata,copy",
        "é\u{1F4A9}",
        "2016-05-31",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn pairs(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    prop::collection::vec((prop::sample::select(names), value()), 0..6)
}

const HEADERS: &[&str] = &[
    "x-ms-range",
    "range",
    "x-ms-page-write",
    "x-ms-blob-type",
    "x-ms-blob-content-length",
    "x-ms-lease-id",
    "x-ms-blob-sequence-number",
    "x-ms-lease-action",
    "x-ms-lease-duration",
    "x-ms-proposed-lease-id",
    "if-match",
    "x-ms-lease-break-period",
    "x-ms-sequence-number-action",
    "x-ms-copy-source",
    "x-ms-source-range",
    "if-none-match",
    "if-modified-since",
    "x-ms-content-crc64",
    "content-md5",
    "x-ms-range-get-content-crc64",
    "x-ms-if-sequence-number-lt",
    "x-ms-delete-snapshots",
    "x-ms-copy-action",
    "x-ms-access-tier",
    "x-ms-meta-a",
    "x-ms-previous-snapshot-url",
    "authorization",
    "host",
    "x-ms-version",
    "x-ms-source-if-match",
];
const QUERY: &[&str] = &[
    "snapshot",
    "prevsnapshot",
    "marker",
    "maxresults",
    "prefix",
    "delimiter",
    "include",
    "sig",
    "copyid",
    "sv",
    "ss",
];
const COMPS: &[&str] = &[
    "",
    "page",
    "pagelist",
    "properties",
    "metadata",
    "snapshot",
    "lease",
    "copy",
    "tier",
    "list",
    "acl",
    "block",
    "incrementalcopy",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_panics(
        auth in prop::bool::weighted(0.2),
        calls in prop::collection::vec(
            (
                prop::sample::select(&["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"][..]),
                prop::sample::select(&["disks/b", "disks/b", "disks/b", "disks", "", "disks/é", "no such/%"][..]),
                prop::sample::select(COMPS),
                pairs(QUERY),
                pairs(HEADERS),
                prop::sample::select(&[0_usize, 1, 512, 1024][..]),
            ),
            1..40,
        ),
    ) {
        let mut model = Model::new(Config { auth, ..Config::default() });
        let version = |r: Request| r.header("x-ms-version", "2021-12-02");
        let now = Timestamp::from_seconds(1_700_000_000);
        model.apply(&version(Request::new("PUT", "/devstoreaccount1/disks?restype=container")), now);
        let create = version(Request::new("PUT", "/devstoreaccount1/disks/b"));
        model.apply(&create.header("x-ms-blob-type", "PageBlob").header("x-ms-blob-content-length", "4096"), now);
        for (index, (method, path, comp, query, headers, body)) in calls.into_iter().enumerate() {
            let kind = if path == "disks" { "restype=container&" } else { "" };
            let mut request = Request::new(method, &format!("/devstoreaccount1/{path}?{kind}comp={comp}"));
            request.query.extend(query.into_iter().map(|(name, value)| (name.to_owned(), value)));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if request.get("x-ms-version").is_none() {
                request = version(request);
            }
            let response = model.apply(&request.with_body(vec![1; body]), Timestamp::from_seconds(1_700_000_000 + index as u64));
            prop_assert!(response.status < 500 || response.status == 501, "{} {:?}", response.status, response.headers);
            if response.body.len() < 1 << 20 {
                prop_assert_eq!(response.body.len(), response.body.clone().into_bytes().len() as u64);
            }
        }
    }
}
