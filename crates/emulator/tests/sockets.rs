//! Faults where only a socket shows them, and the back door over which another process sets them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pageferry_emulator::faults::{
    Action, Applied, End, Event, FaultScript, Keep, Loss, Operation, Pace, PowerLoss, Rule,
};
use pageferry_emulator::{Config, Emulator, Options, Running};

/// How a conversation ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Closed,
    Reset,
    Silent,
}

/// Every connection carries one request, so that the end of its answer is seen at once.
const COMMON: &str = "Host: x\r\nConnection: close\r\nx-ms-version: 2021-12-02\r\n";

async fn start() -> Running {
    let config = Config { auth: false, ..Config::default() };
    let admin = Some("127.0.0.1:0".parse().unwrap());
    let running = Emulator::start(Options { config, admin, ..Options::default() }).await.unwrap();
    let setup = [
        put("disks?restype=container", "", b""),
        put("disks/b", "x-ms-blob-type: PageBlob\r\nx-ms-blob-content-length: 1048576\r\n", b""),
        page(0, &[b'a'; 4096]),
    ];
    for request in setup {
        let (answer, ending) = talk(running.addr(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 201") && ending == Ending::Closed, "{answer}");
    }
    running
}

fn put(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "PUT /devstoreaccount1/{target} HTTP/1.1\r\n{COMMON}{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn page(at: usize, body: &[u8]) -> Vec<u8> {
    let range = format!("x-ms-page-write: update\r\nx-ms-range: bytes={at}-{}\r\n", at + body.len() - 1);
    put("disks/b?comp=page", &range, body)
}

fn get(range: &str) -> Vec<u8> {
    format!("GET /devstoreaccount1/disks/b HTTP/1.1\r\n{COMMON}x-ms-range: {range}\r\n\r\n").into()
}

/// Sends bytes and reads until the connection ends or is silent for a while.
async fn talk(address: SocketAddr, bytes: &[u8]) -> (String, Ending) {
    let bytes = bytes.to_vec();
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
        // The service may end the conversation before it has heard everything.
        let sent = stream.write_all(&bytes);
        let (mut out, mut buffer) = (Vec::new(), [0; 4096]);
        let ending = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break Ending::Closed,
                Ok(count) => out.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break Ending::Reset,
                Err(_) => break Ending::Silent,
            }
        };
        drop(sent);
        (String::from_utf8_lossy(&out).into_owned(), ending)
    })
    .await
    .unwrap()
}

/// Sends an order through the back door; its status and body.
async fn order(running: &Running, method: &str, target: &str, body: &str) -> (u16, String) {
    let address = running.admin_url().unwrap().trim_start_matches("http://").parse().unwrap();
    let length = body.len();
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let (answer, _) = talk(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_break_in_every_way() {
    let running = start().await;
    let set = |action| running.service().set_faults(FaultScript::new(0).rule(Rule::new(action)));
    for (how, ending) in [(Loss::Reset, Ending::Reset), (Loss::Close, Ending::Closed), (Loss::Hang, Ending::Silent)] {
        set(Action::Lose { applied: Applied::Whole, how });
        assert_eq!(talk(running.addr(), &get("bytes=0-4095")).await, (String::new(), ending));
    }
    for (end, ending) in [(End::Reset, Ending::Reset), (End::Close, Ending::Closed), (End::Hang, Ending::Silent)] {
        set(Action::Truncate { keep: Keep::Bytes(1000), end });
        let (answer, seen) = talk(running.addr(), &get("bytes=0-4095")).await;
        assert_eq!((body_of(&answer), seen), ("a".repeat(1000).as_str(), ending));
        assert!(answer.contains("content-length: 4096"), "{answer}");
    }
    set(Action::Truncate { keep: Keep::Bytes(1000), end: End::Short });
    let (answer, seen) = talk(running.addr(), &get("bytes=0-4095")).await;
    assert!(answer.contains("content-length: 1000") && body_of(&answer).len() == 1000, "{answer}");
    assert_eq!(seen, Ending::Closed);
    set(Action::Truncate { keep: Keep::Bytes(1000), end: End::Chunked });
    let (answer, _) = talk(running.addr(), &get("bytes=0-4095")).await;
    assert!(answer.contains("transfer-encoding: chunked") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_break_in_the_middle() {
    let running = start().await;
    let rule = Rule::new(Action::BreakRequest(Loss::Reset)).on(Operation::PutPageUpdate);
    running.service().set_faults(FaultScript::new(0).rule(rule));
    let (answer, ending) = talk(running.addr(), &page(0, &vec![b'b'; 1 << 20])).await;
    assert_eq!((answer.as_str(), ending), ("", Ending::Reset));
    let (answer, _) = talk(running.addr(), &get("bytes=0-3")).await;
    assert_eq!(body_of(&answer), "aaaa");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_crawl_both_ways() {
    let running = start().await;
    let pace = Pace { first: 20, bytes: 1024, pause: 20 };
    for (action, request) in
        [(Action::Slow(pace), get("bytes=0-4095")), (Action::SlowRequest(pace), page(0, &[b'a'; 4096]))]
    {
        running.service().set_faults(FaultScript::new(0).rule(Rule::new(action)));
        let begun = Instant::now();
        let (answer, ending) = talk(running.addr(), &request).await;
        assert_eq!(ending, Ending::Closed);
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_power_ends_every_connection() {
    let running = start().await;
    let idle = TcpStream::connect(running.addr()).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (answer, _) = talk(running.addr(), &get("bytes=0-3")).await;
    assert_eq!(body_of(&answer), "aaaa");
    let event = Action::First(Event::PowerLoss(PowerLoss::default()));
    running.service().set_faults(FaultScript::new(0).rule(Rule::new(event).nth(1)));
    let (answer, ending) = talk(running.addr(), &get("bytes=0-3")).await;
    assert_eq!((answer.as_str(), ending), ("", Ending::Reset));
    let gone = tokio::task::spawn_blocking(move || (&idle).read(&mut [0; 1])).await.unwrap();
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let (answer, _) = talk(running.addr(), &get("bytes=0-3")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_door_gives_orders() {
    let running = start().await;
    let script = r#"{"seed": 3, "rules": [{"on": {"operations": ["get-blob"]}, "when": {"nth": 2},
        "action": {"refuse": {"code": "server-busy", "retry_after": "7"}}}]}"#;
    assert_eq!(order(&running, "POST", "/faults", script).await.0, 200);
    let status = async |request: &[u8]| talk(running.addr(), request).await.0[9..12].to_owned();
    assert_eq!(status(&get("bytes=0-3")).await, "206");
    let (busy, _) = talk(running.addr(), &get("bytes=0-3")).await;
    assert!(busy.starts_with("HTTP/1.1 503") && busy.contains("retry-after: 7"), "{busy}");
    let (_, report) = order(&running, "GET", "/faults", "").await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["rules"][0]["matched"], &report["rules"][0]["fired"]), (&2.into(), &1.into()));
    assert_eq!(order(&running, "DELETE", "/faults", "").await.0, 200);

    // A lease of a minute runs out at once when the clock says so.
    let id = "x-ms-lease-id: aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa\r\n";
    let acquire = "x-ms-lease-action: acquire\r\nx-ms-lease-duration: 60\r\n\
                   x-ms-proposed-lease-id: aaaaaaaa-1111-4111-8111-aaaaaaaaaaaa\r\n";
    let metadata = || put("disks/b?comp=metadata", id, b"");
    let acquired = put("disks/b?comp=lease", acquire, b"");
    assert_eq!(status(&acquired).await, "201");
    assert_eq!(status(&metadata()).await, "200");
    let (code, clock) = order(&running, "POST", "/clock", r#"{"advance": 61.5, "stopped": true}"#).await;
    assert!(code == 200 && clock.contains("\"stopped\": true"), "{clock}");
    assert_eq!(status(&metadata()).await, "412");
    assert_eq!(status(&acquired).await, "201");
    assert_eq!(order(&running, "POST", "/clock", r#"{"set": "2001-01-01T00:00:00Z"}"#).await.0, 409);

    let (_, broken) = order(&running, "POST", "/lease/break?blob=disks/b&take=true", "").await;
    assert!(broken.contains("true"), "{broken}");
    assert_eq!(status(&metadata()).await, "412");
    assert_eq!(status(&put("disks/b?comp=snapshot", "", b"")).await, "201");
    let (_, deleted) = order(&running, "POST", "/snapshot/delete?blob=disks/b&which=all", "").await;
    assert!(deleted.contains("\"deleted\": 1"), "{deleted}");
    let foreign = r#"{"method": "DELETE", "target": "/devstoreaccount1/disks/none"}"#;
    let (_, refused) = order(&running, "POST", "/request", foreign).await;
    assert!(refused.contains("BlobNotFound"), "{refused}");
    let (_, stats) = order(&running, "GET", "/stats", "").await;
    assert!(stats.contains("\"put-page-update\""), "{stats}");
    assert_eq!(order(&running, "POST", "/late/release", "").await.0, 200);
    assert_eq!(order(&running, "POST", "/power-loss", "").await.0, 200);
    assert_eq!(status(&get("bytes=0-3")).await, "404");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_door_is_shut_to_strangers_and_nonsense() {
    let remote = Options { admin: Some("0.0.0.0:0".parse().unwrap()), allow_remote: true, ..Options::default() };
    assert!(Emulator::start(remote).await.is_err());
    assert!(Emulator::start(Options::default()).await.unwrap().admin_url().is_none());
    let running = start().await;
    for (method, target, body, status) in [
        ("GET", "/", "", 404),
        ("POST", "/faults", "{", 400),
        ("POST", "/faults", r#"{"rules": [{"action": "explode"}]}"#, 400),
        ("POST", "/clock", r#"{"advance": -1}"#, 400),
        ("POST", "/clock", r#"{"set": "yesterday"}"#, 400),
        ("POST", "/lease/break", "", 400),
    ] {
        assert_eq!(order(&running, method, target, body).await.0, status, "{method} {target} {body}");
    }
    let browser = "GET /stats HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n";
    let address = running.admin_url().unwrap().trim_start_matches("http://").parse().unwrap();
    assert!(talk(address, browser.as_bytes()).await.0.starts_with("HTTP/1.1 403"));
    running.stop().await;
}
