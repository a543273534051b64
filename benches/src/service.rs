//! What the engine is pointed at: blobs of the development account, on the emulator in a process of its own, so that the
//! memory and the processor time measured are the engine's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::HttpClient;
use bytes::Bytes;
use pageferry_azure::{Address, Credential, Flags, Options, PageBlob, Side};
use pageferry_core::{Metadata, PAGE_BYTES, PageRange, Pages, SnapshotId};
use pageferry_emulator::faults::FaultScript;
use pageferry_emulator::{Config, Emulator, Request, ShiftedClock, SystemClock};
use pageferry_store::{Fence, LeaseId, PageData, Target};
use serde::{Deserialize, Serialize};

use crate::tls;

/// A blob at `url`, reached through `transport` or, without one, over a socket.
///
/// # Panics
/// Where `url` is no address of the development account: benches stop at the first surprise.
pub fn blob(url: &str, side: Side, transport: Option<Arc<dyn HttpClient>>) -> PageBlob {
    blob_with(url, side, Options { transport, ..Options::default() })
}

/// A blob at `url`, talked to in a certain way.
///
/// # Panics
/// As [`blob`].
pub fn blob_with(url: &str, side: Side, options: Options) -> PageBlob {
    let address = Address::parse(url).expect("an address");
    let credential =
        Credential::resolve(&address, side, &|_| None, &Flags::default()).expect("the development account");
    PageBlob::new(address, &credential, options).expect("a blob")
}

/// What the service is told, a line each.
#[derive(Debug, Deserialize, Serialize)]
enum Order {
    Faults(FaultScript),
    Stats,
    Advance(Duration),
}

/// What was asked of the service.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Counted {
    /// How many requests.
    pub requests: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// Bytes of their bodies, also of those that were refused.
    pub received: u64,
    /// Bytes of the bodies of the answers.
    pub sent: u64,
}

impl Counted {
    /// What came on top of what had been counted `before`.
    #[must_use]
    pub fn since(self, before: Counted) -> Counted {
        Counted {
            requests: self.requests - before.requests,
            refused: self.refused - before.refused,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }

    /// What all operations have in common.
    pub fn total(stats: &BTreeMap<String, Counted>) -> Counted {
        stats.values().fold(Counted::default(), |sum, one| Counted {
            requests: sum.requests + one.requests,
            refused: sum.refused + one.refused,
            received: sum.received + one.received,
            sent: sum.sent + one.sent,
        })
    }
}

/// The emulator, in a process of its own that ends with this value.
#[derive(Debug)]
pub struct Service {
    child: Child,
    answers: BufReader<ChildStdout>,
    container: String,
    secure: Option<String>,
}

impl Service {
    /// Starts it: this program again, whose `main` must begin with [`served`].
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Service {
        let program = std::env::current_exe().expect("this program has a name");
        let mut command = Command::new(program);
        command.arg(SERVE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the emulator starts");
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let container = line(&mut answers);
        let secure = tls::certificates().map(|_| line(&mut answers));
        Service { child, answers, container, secure }
    }

    /// What goes wrong from now on.
    ///
    /// # Panics
    /// Where the service is gone.
    pub fn set_faults(&mut self, script: &FaultScript) {
        self.order(&Order::Faults(script.clone()));
    }

    /// What was asked of it so far, by operation; those never asked for are missing.
    ///
    /// # Panics
    /// Where the service is gone.
    pub fn stats(&mut self) -> BTreeMap<String, Counted> {
        serde_json::from_str(&self.order(&Order::Stats)).expect("counts")
    }

    /// The service's clock moves on: leases run out, and nobody has to wait for it.
    ///
    /// # Panics
    /// Where the service is gone.
    pub fn advance(&mut self, by: Duration) {
        self.order(&Order::Advance(by));
    }

    fn order(&mut self, order: &Order) -> String {
        let order = serde_json::to_string(order).expect("an order");
        let orders = self.child.stdin.as_mut().expect("a pipe");
        writeln!(orders, "{order}").and_then(|()| orders.flush()).expect("the service listens");
        line(&mut self.answers)
    }

    /// The service's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its host and port.
    ///
    /// # Panics
    /// Never: the service gave a URL.
    pub fn authority(&self) -> &str {
        self.container.split('/').nth(2).expect("a URL")
    }

    /// The same under TLS.
    ///
    /// # Panics
    /// Where this program was started without certificates.
    pub fn secure_authority(&self) -> &str {
        self.secure.as_deref().and_then(|url| url.split('/').nth(2)).expect("a URL")
    }

    /// The URL of blob `name` under TLS.
    pub fn secure_url(&self, name: &str) -> String {
        self.url(name).replacen("http:", "https:", 1).replacen(self.authority(), self.secure_authority(), 1)
    }

    /// The path of blob `name`.
    pub fn path(&self, name: &str) -> String {
        let (_, path) = self.container.split_once(self.authority()).unwrap_or_default();
        format!("{path}/{name}")
    }

    /// The URL of blob `name` in the one container there is.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.container)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started to be the service: is it, until it is killed.
///
/// # Panics
/// Where the emulator does not start.
#[expect(clippy::print_stdout, reason = "the parent process reads the address")]
pub async fn served() {
    if !std::env::args().any(|word| word == SERVE) {
        return;
    }
    // Credentials are sent and not looked at, so that the container can be made here without any.
    let config = Config { auth: false, ..Config::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let clock = Arc::new(ShiftedClock::over(Arc::new(SystemClock)));
    let running = Emulator::start(pageferry_emulator::Options { listen, config, clock, ..Default::default() });
    let running = running.await.expect("the emulator starts");
    let container = Request::new("PUT", "/devstoreaccount1/disks?restype=container");
    let made = running.service().handle(container.header("x-ms-version", "2021-12-02").with_body(Bytes::new())).await;
    assert!(made.is_success(), "a container");
    println!("{}/disks", running.url());
    if let Some(directory) = tls::certificates() {
        println!("https://{}/", tls::terminate(&directory, running.addr()).await);
    }
    let service = running.service().clone();
    let orders = tokio::task::spawn_blocking(move || {
        for order in std::io::stdin().lines().map_while(Result::ok) {
            match serde_json::from_str(&order).expect("an order") {
                Order::Faults(script) => service.set_faults(script),
                Order::Advance(by) => assert!(service.clock().shift(by), "a clock that can be moved"),
                Order::Stats => {
                    let stats = serde_json::to_value(service.stats()).expect("counts");
                    println!("{}", stats["operations"]);
                    continue;
                }
            }
            println!("done");
        }
    });
    orders.await.expect("orders are understood");
    std::process::exit(0);
}

fn line(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the service answers");
    line.trim().to_owned()
}

const SERVE: &str = "--serve";

/// Makes a disk at `url` of `disk_bytes` in which `ranges` are written, and takes a snapshot of it.
///
/// # Panics
/// Where the service refuses anything.
pub async fn make_disk(
    url: &str,
    disk_bytes: u64,
    ranges: impl IntoIterator<Item = PageRange>,
) -> (PageBlob, SnapshotId) {
    let disk = blob(url, Side::Source, None);
    disk.create(Pages::new(disk_bytes / PAGE_BYTES), &Metadata::new()).await.expect("a disk");
    let snapshot = write(&disk, ranges, 1).await;
    (disk, snapshot)
}

/// Writes `ranges` of `disk`, each in one request, with content that depends on `version`, and takes a snapshot of it.
///
/// # Panics
/// Where the service refuses anything.
pub async fn write(disk: &PageBlob, ranges: impl IntoIterator<Item = PageRange>, version: u64) -> SnapshotId {
    let fence = fence();
    disk.acquire(&fence.lease, Duration::from_secs(60), None).await.expect("a lease");
    let pattern: Vec<u8> = (0..4u64 << 20).map(|at| u8::try_from((at * 31 + version) % 251).unwrap_or(0)).collect();
    let pattern = Bytes::from(pattern);
    for range in ranges {
        let length = usize::try_from(range.bytes()).expect("at most 4 MiB");
        disk.write(range, &PageData::new(pattern.slice(..length)), &fence).await.expect("a write");
    }
    disk.release(&fence.lease).await.expect("a release");
    let (snapshot, _) = disk.snapshot(None, None).await.expect("a snapshot");
    snapshot
}

/// The pages of a disk of `disk_bytes`, in pieces of 4 MiB.
pub fn dense(disk_bytes: u64) -> impl Iterator<Item = PageRange> {
    let whole = PageRange::whole(Pages::new(disk_bytes / PAGE_BYTES));
    whole.into_iter().flat_map(|whole| whole.cut(Pages::new((4 << 20) / PAGE_BYTES)))
}

/// What every write of a bench carries.
pub fn fence() -> Fence {
    Fence { lease: LeaseId("5c1d3c2e-7f5a-4a3e-9a55-3f7f2b6a0c11".to_owned()), epoch: 0 }
}

/// Makes an empty blob of `disk_bytes` that can be written under [`fence`] for as long as this process lives.
///
/// # Panics
/// Where the service refuses anything.
pub async fn take(blob: &PageBlob, disk_bytes: u64) {
    blob.create(Pages::new(disk_bytes / PAGE_BYTES), &Metadata::new()).await.expect("a blob");
    blob.acquire(&fence().lease, Duration::from_secs(60), None).await.expect("a lease");
    let renewed = blob.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(15)).await;
            // A lease that is gone makes itself heard with the next write.
            let _ = renewed.renew(&fence().lease).await;
        }
    });
}

/// Frees the memory that the service needs for a blob under [`fence`].
///
/// # Panics
/// Where the service refuses it.
pub async fn discard(blob: &PageBlob, disk_bytes: u64) {
    let whole = PageRange::whole(Pages::new(disk_bytes / PAGE_BYTES)).expect("some pages");
    blob.clear(whole, &fence()).await.expect("a clear");
}
