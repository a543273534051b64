//! A data directory: everything is there again after a restart, secrets are not, and a torn end does no harm.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{
    Clock, Config, DEV_ACCOUNT, DEV_KEY, Emulator, ManualClock, Model, Options, Request, Response, Service, Timestamp,
};

fn open(directory: &Path, config: Config, clock: &Arc<ManualClock>) -> Service {
    Service::open(config, Arc::clone(clock) as Arc<dyn Clock>, directory, false).unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)))
}

fn sas() -> String {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
}

async fn send(service: &Service, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let separator = if target.contains('?') { '&' } else { '?' };
    let mut request = Request::new(method, &format!("/{DEV_ACCOUNT}/{target}{separator}{}", sas()));
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    service.handle(request.with_body(body.to_vec())).await
}

/// Does a little of everything.
async fn exercise(service: &Service, clock: &ManualClock) {
    let ok = |response: Response| assert!(response.is_success(), "{:?}", response.headers);
    ok(send(service, "PUT", "disks?restype=container", &[], &[]).await);
    let create = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "1048576")];
    ok(send(service, "PUT", "disks/b", &create, &[]).await);
    for page in 0..20_usize {
        clock.advance(std::time::Duration::from_millis(7));
        let range = format!("bytes={}-{}", page * 1536, page * 1536 + 1023);
        let action = if page % 4 == 3 { "clear" } else { "update" };
        let body = vec![b'x'; if action == "update" { 1024 } else { 0 }];
        let headers = [("x-ms-page-write", action), ("x-ms-range", range.as_str())];
        ok(send(service, "PUT", "disks/b?comp=page", &headers, &body).await);
        if page % 6 == 5 {
            ok(send(service, "PUT", "disks/b?comp=snapshot", &[], &[]).await);
        }
        // Refusals and reads between must leave no trace.
        let refused = send(service, "PUT", "disks/none?comp=page", &headers, &body).await;
        assert_eq!(refused.status, 404);
    }
    let url = format!("http://127.0.0.1/{DEV_ACCOUNT}/disks/b?{}", sas());
    ok(send(service, "PUT", "disks/copy", &[("x-ms-copy-source", &url), ("x-ms-meta-k", "ü")], &[]).await);
    let lease = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60")];
    ok(send(service, "PUT", "disks/copy?comp=lease", &lease, &[]).await);
    let taken = send(service, "PUT", "disks/b?comp=snapshot", &[], &[]).await;
    let snapshot = taken.get("x-ms-snapshot").unwrap();
    let url = format!("http://127.0.0.1/{DEV_ACCOUNT}/disks/b?snapshot={snapshot}&{}", sas());
    ok(send(service, "PUT", "disks/series?comp=incrementalcopy", &[("x-ms-copy-source", &url)], &[]).await);
}

async fn picture(service: &Service) -> Vec<String> {
    let mut out = Vec::new();
    let listing = "disks?restype=container&comp=list&include=snapshots,metadata,copy";
    for (method, target) in [
        ("GET", listing),
        ("GET", "disks/b?comp=pagelist"),
        ("GET", "disks/b"),
        ("GET", "disks/copy"),
        ("HEAD", "disks/copy"),
        ("HEAD", "disks/series"),
    ] {
        let mut response = send(service, method, target, &[], &[]).await;
        response.headers.retain(|(name, _)| name != "x-ms-request-id");
        let body = response.body.into_bytes();
        out.push(format!("{} {:?} {}", response.status, response.headers, String::from_utf8_lossy(&body)));
    }
    out
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let service = open(directory.path(), Config::default(), &clock);
    exercise(&service, &clock).await;
    let before = picture(&service).await;
    assert!(before.iter().all(|answer| answer.starts_with("200")), "{before:?}");
    let second = Service::open(Config::default(), clock.clone(), directory.path(), false);
    assert!(second.is_err(), "two services must not share a directory");
    drop(service);

    let service = open(directory.path(), Config::default(), &clock);
    assert_eq!(picture(&service).await, before);
    // New names go on where the old ones ended.
    let snapshot = send(&service, "PUT", "disks/b?comp=snapshot", &[], &[]).await;
    assert_eq!(snapshot.status, 201);
    drop(service);

    let journal = std::fs::read(directory.path().join("journal")).unwrap();
    let text = String::from_utf8_lossy(&journal);
    assert!(text.contains("x-ms-copy-source"));
    for secret in ["sig=", "authorization", DEV_KEY] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_torn_end_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let service = open(directory.path(), Config::default(), &clock);
    exercise(&service, &clock).await;
    let before = picture(&service).await;
    drop(service);
    let path = directory.path().join("journal");
    let whole = std::fs::metadata(&path).unwrap().len();
    let service = open(directory.path(), Config::default(), &clock);
    let metadata = send(&service, "PUT", "disks/b?comp=metadata", &[("x-ms-meta-lost", "yes")], &[]).await;
    assert_eq!(metadata.status, 200);
    drop(service);
    let longer = std::fs::metadata(&path).unwrap().len();
    for keep in [longer - 1, whole + 20, whole + 3] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let service = open(directory.path(), Config::default(), &clock);
        assert_eq!(picture(&service).await, before, "cut at {keep}");
        drop(service);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    }
    std::fs::write(&path, b"something else entirely").unwrap();
    assert!(Service::open(Config::default(), clock, directory.path(), false).is_err());
}

#[test]
fn the_same_requests_give_the_same_answers() {
    let run = || {
        let mut model = Model::new(Config { auth: false, ..Config::default() });
        let mut out = Vec::new();
        for (index, (method, target)) in [
            ("PUT", "disks?restype=container"),
            ("PUT", "disks/b"),
            ("PUT", "disks/b?comp=lease"),
            ("PUT", "disks/b?comp=snapshot"),
            ("GET", "disks/b"),
        ]
        .into_iter()
        .enumerate()
        {
            let request = Request::new(method, &format!("/{DEV_ACCOUNT}/{target}"))
                .header("x-ms-version", "2021-12-02")
                .header("x-ms-blob-type", "PageBlob")
                .header("x-ms-blob-content-length", "512")
                .header("x-ms-lease-action", "acquire")
                .header("x-ms-lease-duration", "60");
            let request =
                if index >= 3 { Request { headers: request.headers[..1].to_vec(), ..request } } else { request };
            let response = model.apply(&request, Timestamp::from_seconds(1_700_000_000 + index as u64));
            assert!(response.is_success(), "{response:?}");
            out.push(format!("{} {:?}", response.status, response.headers));
        }
        out
    };
    assert_eq!(run(), run());
}

#[tokio::test]
async fn a_stopped_service_gives_its_directory_back() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = Some(directory.path().to_owned());
    for round in 0..3 {
        let options = Options { data_dir: data_dir.clone(), sync: true, ..Options::default() };
        let running = Emulator::start(options).await.unwrap();
        let target = format!("round{round}?restype=container");
        assert_eq!(send(running.service(), "PUT", &target, &[], &[]).await.status, 201);
        running.stop().await;
    }
    let running = Emulator::start(Options { data_dir, ..Options::default() }).await.unwrap();
    for round in 0..3 {
        let target = format!("round{round}?restype=container");
        assert_eq!(send(running.service(), "GET", &target, &[], &[]).await.status, 200);
    }
}
