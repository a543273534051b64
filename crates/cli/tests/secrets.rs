//! Whatever goes wrong, and however much is logged: no signature, key, token or connection string is ever shown.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY};
use serde_json::{Value, json};
use support::canary::{Canaries, base64};
use support::chain::{Chain, Shape};
use support::detour::detour;
use support::sas;
use support::service::{Process, Service, binary, url};

const DISK: Shape = Shape { bytes: 1 << 20, snapshots: 2, changes: 4 };

const PATIENCE: Duration = Duration::from_secs(60);

/// A signature that nothing accepts.
const WRONG_SAS: &str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlacup&se=2099-01-01T00%3A00%3A00Z&sig=CANARYbirdSINGS%2Fin%2Bthe%2BcoalmineXYZ0123456789q%3D";

/// A blob that the credentials of the development account are not for.
const FAR: &str = "https://127.0.0.1:1/acct/disks/a";

const TOKEN: &str = "eyJCANARYtoken.ofTheIdentityOfThisMachine.neverToBeSeenAnywhere";
const PASSWORD: &str = "CANARYpassword~of-the-service-principal";
const HEADER: &str = "CANARYheader-that-opens-the-identity-endpoint";
const ASSERTION: &str = "eyJCANARYassertion.fromAFileThatKubernetesMounts.neverSeen";

/// A key that nothing accepts.
fn wrong_key() -> String {
    base64(b"CANARY: the key of an account, sixty-four bytes of it, not seen.")
}

/// Every secret of these tests.
fn canaries() -> &'static Canaries {
    static CANARIES: OnceLock<Canaries> = OnceLock::new();
    CANARIES.get_or_init(|| {
        let (good, expired) = (sas("2099-01-01T00:00:00Z"), sas("2020-01-01T00:00:00Z"));
        let signature = |sas: &str| sas.split("sig=").nth(1).unwrap().to_owned();
        let signatures = [signature(&good), signature(&expired), signature(WRONG_SAS)];
        let [good, expired, wrong] = &signatures;
        Canaries::of(&[good, expired, wrong, &wrong_key(), DEV_KEY, TOKEN, PASSWORD, HEADER, ASSERTION])
    })
}

/// Runs the binary as loudly as it can, in one form and the next time in the other, and searches what it says. It must
/// end with `code`.
#[track_caller]
fn loudly(code: i32, what: &str, environment: &[(&str, &str)], words: &[&str], directory: &Path) {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let form = ["text", "json"][RUNS.fetch_add(1, Ordering::Relaxed) % 2];
    let mut command = binary(&[words, &["--log-level", "trace", "-o", form]].concat());
    command.env("RUST_LOG", "trace").env("AZURE_LOG", "trace").env("RUST_BACKTRACE", "full");
    command.envs(environment.iter().copied()).current_dir(directory);
    heard(code, &format!("{what}, {words:?} {form}"), command);
}

/// Runs `command`, which writes to files: logs are longer than pipes.
#[track_caller]
fn heard(code: i32, what: &str, mut command: std::process::Command) {
    let mut file = tempfile::tempfile().unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
    let status = command.status().unwrap();
    let mut said = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut said).unwrap();
    canaries().search(&said, what);
    let text = String::from_utf8_lossy(&said);
    assert!(!text.contains("SharedKey devstore"), "{what} shows the signature of a request");
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(code), "{what}: {last}");
}

/// Every command that looks at a disk or a target.
fn commands<'a>(disk: &'a str, target: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["sync", disk, target, "--quiesce", "0", "--lock-wait", "1", "--lease-duration", "15"],
        vec!["plan", disk, target],
        vec!["points", target],
        vec!["restore", target, "a.raw", "--point", "latest", "--overwrite"],
        vec!["restore", target, disk, "--point", "latest"],
        vec!["verify", target, "--point", "latest", "--against", disk],
        vec!["snapshot", disk],
    ]
}

/// A service whose own log is kept, with a disk and its backup.
fn scene(directory: &Path) -> Service {
    let state = directory.join("state").display().to_string();
    let words = ["emulator", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-level", "trace"];
    let mut command = binary(&[&words[..], &["--data-dir", &state]].concat());
    command.stderr(File::create(directory.join("emulator.log")).unwrap());
    let service = Service::launch(command);
    service.make_containers();
    Chain::make(&service, "disks/web1.vhd", 1, DISK);
    let (disk, target) = (service.url("disks/web1.vhd"), service.url("backups/web1.vhd"));
    service.run(&["sync", &disk, &target]).expect(0);
    service
}

/// Searches everything that was left behind: the service's log and journal, files, and the blobs' metadata.
fn search_what_is_left(service: &Service, directory: &Path, but: &[&str]) {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if !but.iter().any(|name| path.ends_with(name)) {
                canaries().search(&std::fs::read(&path).unwrap(), &path.display().to_string());
            }
        }
    }
    for container in ["disks", "backups"] {
        let list = format!("{container}?restype=container&comp=list&include=snapshots,metadata");
        let body = service.expect(200, "GET", &list, &[], &[]).body;
        assert!(container == "disks" || body.windows(13).any(|w| w == b"pageferryseal" || w == b"pageferrystat"));
        canaries().search(&body, &format!("the metadata in {container}"));
    }
}

#[test]
fn whoever_may_not_is_told_so_without_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let service = scene(path);
    let (disk, target) = (service.url("disks/web1.vhd"), service.url("backups/web1.vhd"));
    let expired = sas("2020-01-01T00:00:00Z");
    let key = wrong_key();
    let (with_wrong, with_expired) = (|url: &str| format!("{url}?{WRONG_SAS}"), |url: &str| format!("{url}?{expired}"));
    std::fs::write(path.join("expired.sas"), &expired).unwrap();
    let account = format!("AccountName={DEV_ACCOUNT};AccountKey={key}");
    let no_base64 = format!("AccountName={DEV_ACCOUNT};AccountKey={key}!");
    let misspelt = format!("AccountName={DEV_ACCOUNT};AcountKey={key}");
    let no_value = format!("AccountName={DEV_ACCOUNT};{key}");
    let with_sas = format!("BlobEndpoint=http://{}/x;SharedAccessSignature={WRONG_SAS}", service.address);
    for words in commands(&with_wrong(&disk), &with_wrong(&target)) {
        loudly(77, "a wrong SAS", &[], &words, path);
    }
    for words in commands(&with_expired(&disk), &with_expired(&target)) {
        loudly(77, "an expired SAS", &[], &words, path);
    }
    for words in commands(&disk, &target) {
        loudly(77, "a wrong SAS around", &[("AZURE_STORAGE_SAS_TOKEN", WRONG_SAS)], &words, path);
        let wrong = [("AZURE_STORAGE_ACCOUNT", DEV_ACCOUNT), ("AZURE_STORAGE_KEY", &key)];
        loudly(77, "a wrong key", &wrong, &words, path);
        let mixed_up = [("AZURE_STORAGE_AUTH_MODE", &*key)];
        loudly(2, "a key in place of a mode", &[], &[&words[..], &["--auth", &key]].concat(), path);
        let far: Vec<&str> = words.iter().map(|word| if word.contains("://") { FAR } else { word }).collect();
        loudly(2, "a key in the variable for the mode", &mixed_up, &far, path);
        for (code, string) in [(77, &account), (78, &no_base64), (78, &misspelt), (78, &no_value), (77, &with_sas)] {
            let string = [("AZURE_STORAGE_CONNECTION_STRING", &**string)];
            loudly(code, "a connection string", &string, &words, path);
        }
    }
    for flag in ["--source-sas", "--target-sas"] {
        let sync = ["sync", &disk, &target, flag];
        loudly(77, "a file", &[], &[&sync[..], &["@expired.sas"]].concat(), path);
        loudly(2, "a SAS in place of where it is", &[], &[&sync[..], &[WRONG_SAS]].concat(), path);
        loudly(78, "a SAS as a variable's name", &[], &[&sync[..], &[&format!("env:{WRONG_SAS}")]].concat(), path);
        loudly(78, "a SAS as a file's name", &[], &[&sync[..], &[&format!("@{WRONG_SAS}")]].concat(), path);
    }
    search_what_is_left(&service, path, &["expired.sas"]);
}

#[test]
fn what_is_not_there_is_named_without_its_signature() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let service = scene(path);
    let good = sas("2099-01-01T00:00:00Z");
    let at = |blob: &str| format!("{}?{good}", service.url(blob));
    let (disk, target) = (at("disks/web1.vhd"), at("backups/web1.vhd"));
    for words in
        commands(&at("disks/none.vhd"), &at("backups/none.vhd")).iter().chain(&commands(&at("nope/a"), &at("nope/b")))
    {
        loudly(3, "nothing there", &[], words, path);
    }
    let nobody = format!("http://127.0.0.1:1/{DEV_ACCOUNT}/disks/a?{good}");
    loudly(1, "nobody there", &[], &["snapshot", &nobody], path);
    for (what, bad) in [
        ("an encoded question mark", target.replacen('?', "%3F", 1)),
        ("encoded twice", target.replacen('?', "%253F", 1).replace('=', "%253D")),
        ("user information", target.replacen("//", "//user:pass@", 1)),
        ("no URL", format!("backups?{good}")),
        ("a foreign word", format!("{target}&comp=page")),
        ("http elsewhere", format!("http://acct.blob.core.windows.net/a/b?{good}")),
        ("a connection string", format!("AccountName=a;AccountKey={}", wrong_key())),
        ("only a SAS", format!("?{good}")),
    ] {
        loudly(2, what, &[], &["points", &bad], path);
        loudly(2, what, &[], &["sync", &disk, &bad], path);
    }
    // The words of a connection string may end up anywhere.
    let name = format!("disks/AccountName=a;AccountKey={}", wrong_key());
    loudly(3, "a key in a blob's name", &[], &["points", &service.url(&name)], path);
    loudly(2, "a snapshot", &[], &["sync", &format!("{disk}&snapshot=2020-01-01T00:00:00.0000000Z"), &target], path);
    loudly(2, "twice the same", &[], &["sync", &disk, &disk], path);
    loudly(2, "a flag's value", &[], &["sync", &disk, &target, "--lock-wait", &good], path);
    loudly(2, "a word too many", &[], &["points", &target, &target], path);
    loudly(2, "a file", &[], &["restore", &target, &format!("a?{good}"), "--point", "latest"], path);
    loudly(3, "a point", &[], &["restore", &target, "a.raw", "--point", &target], path);
    loudly(3, "a snapshot", &[], &["sync", &disk, &target, "--to", &format!("x?{good}")], path);
    search_what_is_left(&service, path, &[]);
}

#[test]
fn a_service_in_trouble_is_described_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let service = scene(path);
    let good = sas("2099-01-01T00:00:00Z");
    let at = |blob: &str| format!("{}?{good}", service.url(blob));
    let (disk, target) = (at("disks/web1.vhd"), at("backups/web1.vhd"));
    loudly(0, "all is well", &[], &["points", &target], path);
    let on = |operation: &str, action: Value| json!({ "on": { "operations": [operation] }, "action": action });
    let once = |operation: &str, action: Value| json!({ "on": { "operations": [operation] }, "when": { "times": 1 }, "action": action });
    let reset = json!({ "lose": { "applied": "none", "how": "reset" } });
    let location = json!({ "action": { "set-header": { "name": "location", "value": disk } } });
    for (code, words, rules) in [
        (0, "points", vec![once("list-blobs", json!({ "truncate": { "keep": { "bytes": 300 }, "end": "short" } }))]),
        (0, "points", vec![once("any", reset.clone())]),
        (0, "points", vec![once("any", json!({ "refuse": { "code": "server-busy", "retry_after": "0" } })), location]),
        (0, "plan", vec![once("page-list", json!("corrupt-answer"))]),
        (0, "verify", vec![once("get-blob", json!("wrong-hash"))]),
        (4, "verify", vec![on("get-blob", json!("corrupt-answer"))]),
        (0, "snapshot", vec![once("any", json!({ "refuse": { "code": "internal-error" } }))]),
        (0, "sync", vec![once("writes", reset.clone()), once("put-page", json!("corrupt-request"))]),
    ] {
        let all = commands(&disk, &target);
        let words = all.iter().find(|all| all[0] == words).unwrap();
        service.order("POST", "/faults", &json!({ "rules": rules }));
        loudly(code, &format!("under {rules:?}"), &[], words, path);
    }
    service.order("DELETE", "/faults", &json!({}));
    // Now the service is handed what opens the source, and then is not let in.
    let (other, another) = (at("backups/web2.vhd"), at("backups/web3.vhd"));
    loudly(0, "the service fetches", &[], &["sync", &disk, &other, "--engine", "service"], path);
    let outside = detour(&disk);
    loudly(3, "the service cannot fetch", &[], &["sync", &outside, &another, "--engine", "service"], path);
    interrupted(&service, &good);
    search_what_is_left(&service, path, &[]);
}

/// A sync of a disk that takes a while is stopped in the middle.
fn interrupted(service: &Service, good: &str) {
    let chain = Chain::make(service, "disks/big.vhd", 2, Shape { bytes: 8 << 20, snapshots: 1, changes: 60 });
    service.slow_writes(200);
    let (disk, target) = (service.url(&chain.blob), service.url("backups/big.vhd"));
    let log = tempfile::NamedTempFile::new().unwrap();
    let (disk, target) = (format!("{disk}?{good}"), format!("{target}?{good}"));
    let mut command = binary(&["sync", &disk, &target, "--log-level", "trace", "--quiesce", "1", "--concurrency", "1"]);
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
    let mut process = Process::of(command.spawn().unwrap());
    while !String::from_utf8_lossy(&std::fs::read(log.path()).unwrap()).contains("copying") {
        std::thread::sleep(Duration::from_millis(20));
    }
    process.signal("-INT");
    assert_eq!(process.wait(PATIENCE).and_then(|status| status.code()), Some(130));
    canaries().search(&std::fs::read(log.path()).unwrap(), "an interrupted sync");
    service.slow_writes(0);
}

/// Answers every request on a connection with what `answer` makes of it.
fn parrot(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            // A body may come after the head; nobody sends more before there is an answer.
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..length]);
            }
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&request)).as_bytes());
        }
    });
    address
}

/// Gateways print what they were asked, and the service itself quotes signatures in the detail of a refusal.
#[test]
fn an_answer_that_quotes_the_request_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let reply = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
    };
    let key = wrong_key();
    let with_key = [("AZURE_STORAGE_ACCOUNT", DEV_ACCOUNT), ("AZURE_STORAGE_KEY", &*key)];
    let detail = move |request: &str| {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to \
             authenticate the request.\nRequestId:1</Message><AuthenticationErrorDetail>The MAC signature found in the \
             HTTP request is not the same as any computed signature. {request}</AuthenticationErrorDetail></Error>"
        );
        reply("403 Forbidden", "content-type: application/xml\r\nx-ms-error-code: AuthenticationFailed\r\n", &body)
    };
    let gateway = move |request: &str| reply("400 Bad Request", "", &format!("<html><p>you said {request}</p></html>"));
    let elsewhere = move |request: &str| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        reply("302 Found", &format!("location: http://127.0.0.1:1{path}\r\n"), "")
    };
    let garbage =
        move |request: &str| reply("200 OK", &format!("x-ms-meta-pageferrydisk: {}\r\n", request.len()), request);
    let servers = [(77, parrot(detail)), (78, parrot(gateway)), (78, parrot(elsewhere)), (4, parrot(garbage))];
    for (code, address) in servers {
        let plain = url(address, "disks/a");
        let signed = format!("{plain}?{WRONG_SAS}");
        loudly(code, "a parrot, with a SAS", &[], &["points", &signed], directory.path());
        loudly(code, "a parrot, with a key", &with_key, &["points", &plain], directory.path());
    }
}

#[test]
fn tokens_and_what_they_are_had_for_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("assertion"), ASSERTION).unwrap();
    let token = parrot(|_| {
        let body =
            json!({ "access_token": TOKEN, "expires_on": "4102444800", "resource": "x", "token_type": "Bearer" });
        let body = body.to_string();
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    });
    let endpoint = format!("http://{token}/token");
    let far = "https://127.0.0.1:1/acct/disks/a";
    let points = |auth: &'static str| ["points", far, "--auth", auth];
    let identity = [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", HEADER)];
    loudly(1, "a token", &identity, &points("managed-identity"), directory.path());
    // The authority quotes what it was sent, as authorities do.
    let authority = parrot(|request| {
        let body = json!({ "error": "invalid_client", "error_description": request }).to_string();
        let length = body.len();
        format!("HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    });
    let (tenant, authority) = ("00000000-0000-4000-8000-000000000000", format!("http://{authority}"));
    let principal = [("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", tenant), ("AZURE_AUTHORITY_HOST", &*authority)];
    let secret = [&principal[..], &[("AZURE_CLIENT_SECRET", PASSWORD)]].concat();
    loudly(77, "a password", &secret, &points("client-secret"), directory.path());
    let file = [&principal[..], &[("AZURE_FEDERATED_TOKEN_FILE", "assertion")]].concat();
    loudly(77, "an assertion", &file, &points("workload-identity"), directory.path());
}

#[test]
fn the_demo_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    loudly(0, "the demo", &[], &["demo"], directory.path());
}
