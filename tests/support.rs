//! A world in one process: the emulator's model, the real engine, and a transport between them that can fail.
//!
//! Time is tokio's and paused, so leases run out and quiet periods pass in no time. Each [`Process`] has a transport of its
//! own; when that dies, nothing the process still tries reaches the service, as if the machine had lost its power.

pub mod sim_world;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use pageferry_azure::{Address, Clock, Credential, Flags, PageBlob, RetryPolicy, Side};
use pageferry_core::next::{Point, Want};
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{PAGE_BYTES, SnapshotId};
use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{Config, DEV_ACCOUNT, DEV_KEY, Service, Timestamp};
use pageferry_replicate as replicate;
use pageferry_replicate::event::StepReport;
use pageferry_replicate::plan::Plan;
use pageferry_replicate::restore::Restored;
use pageferry_replicate::sync::{SyncReport, sync};
use pageferry_replicate::{Engine, Machine, Options, ReplicateError, ThisMachine};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where the world's blobs are.
pub const ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// Time that passes only when everybody waits.
#[derive(Clone, Copy, Debug)]
struct Paused {
    base: SystemTime,
    start: Instant,
}

impl Paused {
    fn now(&self) -> SystemTime {
        self.base + self.start.elapsed()
    }
}

impl Machine for Paused {
    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    fn date(&self) -> OffsetDateTime {
        self.now().into()
    }

    fn fresh_id(&self) -> String {
        ThisMachine.fresh_id()
    }
}

impl pageferry_emulator::Clock for Paused {
    fn now(&self) -> Timestamp {
        Paused::now(self).into()
    }
}

/// The service, its disks, and the truth about them.
#[derive(Debug)]
pub struct World {
    service: Service,
    clock: Paused,
    truth: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// What happens to a request of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It does not reach the service; the process learns of a broken connection.
    Lost,
    /// It is applied; the process learns of a broken connection.
    Unanswered,
    /// It arrives only after this time; the process learns of a broken connection at once.
    Late(Duration),
    /// It arrives twice; the process gets the first answer.
    Twice,
    /// The process is told that it was applied, and it was not: a lie that only a check of the result can find.
    Swallowed,
    /// A bit of this header is wrong when it arrives.
    Altered(&'static str),
    /// The same, and the process dies without the answer.
    AlteredAndDeath(&'static str),
    /// A page write is applied so many pages further on, and the process is told that all is well.
    Shifted(u64),
    /// The process dies before it is sent.
    DeathBefore,
    /// It is applied, and the process dies without the answer.
    DeathAfter,
    /// The process dies, and it arrives only after this time.
    DeathAndLate(Duration),
}

/// Decides about the request with this number, verb and target.
pub type Fates = dyn Fn(u64, &str, &str) -> Fate + Send + Sync;

/// One running program with its own connection to the service.
#[derive(Debug)]
pub struct Process {
    wire: Arc<Wire>,
    clock: Paused,
    /// How the engine works in it.
    pub options: Options,
}

/// A process's connection.
struct Wire {
    service: Service,
    fates: Box<Fates>,
    count: AtomicU64,
    dead: CancellationToken,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("count", &self.count).finish_non_exhaustive()
    }
}

impl World {
    /// A service with one container `disks` and nothing in it.
    pub async fn new() -> Arc<World> {
        World::with(Config::default()).await
    }

    /// A service set up by `config`. Credentials are checked where the service is reached over a socket; here they are
    /// sent, and not looked at.
    pub async fn with(config: Config) -> Arc<World> {
        let world = World::of(Config { auth: false, ..config });
        world.raw("PUT", "disks?restype=container", &[], &[]).await;
        world
    }

    /// The same, where credentials are checked, as they must be where it matters when a grant ends.
    pub async fn checked(config: Config) -> Arc<World> {
        let world = World::of(config);
        let sas = AccountSas {
            version: "2021-12-02",
            services: "b",
            resource_types: "c",
            permissions: "c",
            expiry: "2099-01-01T00:00:00Z",
            ..AccountSas::default()
        };
        let sas = account_sas(DEV_ACCOUNT, DEV_KEY, &sas).expect("the known key");
        world.raw("PUT", &format!("disks?restype=container&{sas}"), &[], &[]).await;
        world
    }

    fn of(config: Config) -> Arc<World> {
        let clock = Paused { base: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000), start: Instant::now() };
        let service = Service::new(config, Arc::new(clock));
        Arc::new(World { service, clock, truth: Mutex::default() })
    }

    /// The service itself.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Some bytes of a snapshot, with the rights of the account.
    pub async fn bytes(&self, blob: &str, snapshot: &SnapshotId, at: u64, length: u64) -> Vec<u8> {
        let sas = AccountSas {
            version: "2021-12-02",
            services: "b",
            resource_types: "o",
            permissions: "r",
            expiry: "2099-01-01T00:00:00Z",
            ..AccountSas::default()
        };
        let sas = account_sas(DEV_ACCOUNT, DEV_KEY, &sas).expect("the known key");
        let snapshot = snapshot.as_str().replace(':', "%3A");
        let range = format!("bytes={at}-{}", at + length - 1);
        let target = format!("disks/{blob}?snapshot={snapshot}&{sas}");
        let answer = self.raw("GET", &target, &[("x-ms-range", &range)], &[]).await;
        assert!(answer.is_success(), "GET {blob} {range}: {}", answer.status);
        answer.body.into_bytes().to_vec()
    }

    /// Sends a request as somebody else would; returns status, headers and body.
    pub async fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> pageferry_emulator::Response {
        let mut request = pageferry_emulator::Request::new(method, &format!("/devstoreaccount1/{target}"))
            .header("x-ms-version", "2021-12-02");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.service.handle(request.with_body(body.to_vec())).await
    }

    /// The same, which must succeed.
    pub async fn must(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let answer = self.raw(method, target, headers, body).await;
        assert!(answer.is_success(), "{method} {target}: {} {:?}", answer.status, answer.get("x-ms-error-code"));
    }

    /// Makes an empty page blob.
    pub async fn make(&self, blob: &str, pages: u64) {
        let length = (pages * PAGE_BYTES).to_string();
        let headers = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", length.as_str())];
        self.must("PUT", &format!("disks/{blob}"), &headers, &[]).await;
    }

    /// Writes pages as the disk's owner.
    pub async fn write(&self, blob: &str, start: u64, end: u64, byte: u8) {
        let range = format!("bytes={}-{}", start * PAGE_BYTES, end * PAGE_BYTES - 1);
        let length = usize::try_from((end - start) * PAGE_BYTES).unwrap();
        let headers = [("x-ms-page-write", "update"), ("x-ms-range", range.as_str())];
        self.must("PUT", &format!("disks/{blob}?comp=page"), &headers, &vec![byte; length]).await;
    }

    /// Clears pages as the disk's owner.
    pub async fn clear(&self, blob: &str, start: u64, end: u64) {
        let range = format!("bytes={}-{}", start * PAGE_BYTES, end * PAGE_BYTES - 1);
        let headers = [("x-ms-page-write", "clear"), ("x-ms-range", range.as_str())];
        self.must("PUT", &format!("disks/{blob}?comp=page"), &headers, &[]).await;
    }

    /// Resizes a blob as the disk's owner.
    pub async fn resize(&self, blob: &str, pages: u64) {
        let length = (pages * PAGE_BYTES).to_string();
        let headers = [("x-ms-blob-content-length", length.as_str())];
        self.must("PUT", &format!("disks/{blob}?comp=properties"), &headers, &[]).await;
    }

    /// Takes a snapshot as the disk's owner and remembers its truth.
    pub async fn snapshot(&self, blob: &str) -> SnapshotId {
        let answer = self.raw("PUT", &format!("disks/{blob}?comp=snapshot"), &[], &[]).await;
        let id = SnapshotId::new(answer.get("x-ms-snapshot").expect("a snapshot has a name"));
        // Nobody writes in between, and an account may refuse to let snapshots be read.
        let image = self.image(blob, None).await;
        self.truth.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_string(), image);
        id
    }

    /// Deletes a snapshot as the disk's owner.
    pub async fn forget(&self, blob: &str, snapshot: &SnapshotId) {
        let target = format!("disks/{blob}?snapshot={}", snapshot.as_str().replace(':', "%3A"));
        self.must("DELETE", &target, &[], &[]).await;
    }

    /// All bytes of a blob or snapshot.
    pub async fn image(&self, blob: &str, snapshot: Option<&SnapshotId>) -> Vec<u8> {
        let query = snapshot.map(|id| format!("?snapshot={}", id.as_str().replace(':', "%3A"))).unwrap_or_default();
        let answer = self.raw("GET", &format!("disks/{blob}{query}"), &[], &[]).await;
        assert!(answer.is_success(), "GET {blob}{query}: {}", answer.status);
        answer.body.into_bytes().to_vec()
    }

    /// Lets `snapshot` be known as identical to `other`.
    pub fn know(&self, snapshot: &SnapshotId, other: &SnapshotId) {
        let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
        let image = truth.get(other.as_str()).cloned().expect("a known snapshot");
        truth.insert(snapshot.to_string(), image);
    }

    /// The oldest snapshot of a restored disk: the point that the restore made.
    pub async fn proven_restore(&self, process: &Process, blob: &str) -> String {
        let points = pageferry_replicate::look::points_of(&process.blob(blob, Side::Target)).await.expect("points");
        points.first().expect("a point").id.to_string()
    }

    /// A process whose every request is answered.
    pub fn process(&self) -> Process {
        self.process_with(|_, _, _| Fate::Answered)
    }

    /// A process whose requests meet `fates`.
    pub fn process_with(&self, fates: impl Fn(u64, &str, &str) -> Fate + Send + Sync + 'static) -> Process {
        let wire = Wire {
            service: self.service.clone(),
            fates: Box::new(fates),
            count: AtomicU64::new(0),
            dead: CancellationToken::new(),
        };
        Process { wire: Arc::new(wire), clock: self.clock, options: small_options(self.clock) }
    }

    /// The points of a target, as anybody can read them: source snapshot and target snapshot, oldest first. Fails where a
    /// point is not byte-identical to the source snapshot that it names.
    pub async fn proven_points(&self, target: &str) -> Vec<(SnapshotId, SnapshotId)> {
        let process = self.process();
        let blob = process.blob(target, Side::Target);
        let points = pageferry_replicate::look::points_of(&blob).await.expect("the points can be read");
        let mut named = Vec::new();
        for point in points {
            let source = point.seal.snapshot.id;
            let truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner).get(source.as_str()).cloned();
            let truth = truth.unwrap_or_else(|| panic!("point {} names {source}, which nobody took", point.id));
            let image = self.image(target, Some(&point.id)).await;
            assert_eq!(image.len(), truth.len(), "the size of point {} of {source}", point.id);
            let wrong: Vec<usize> = (0..image.len() / 512)
                .filter(|page| image[page * 512..(page + 1) * 512] != truth[page * 512..(page + 1) * 512])
                .collect();
            assert!(wrong.is_empty(), "pages {wrong:?} of point {} differ from {source}", point.id);
            named.push((source, point.id));
        }
        named
    }
}

/// Requests of a few pages, so that small disks make many of them.
fn small_options(clock: Paused) -> Options {
    Options {
        chunks: ChunkPolicy::with_request_bytes(8 * PAGE_BYTES).expect("a power of two"),
        host: "testhost".to_owned(),
        machine: Arc::new(clock),
        ..Options::default()
    }
}

impl Process {
    /// A blob as this process reaches it.
    pub fn blob(&self, name: &str, side: Side) -> PageBlob {
        self.blob_with(name, side, None)
    }

    /// The same, with a scratch blob.
    pub fn blob_with(&self, name: &str, side: Side, scratch: Option<PageBlob>) -> PageBlob {
        let address = Address::parse(&format!("{ENDPOINT}/disks/{name}")).expect("an address");
        let credential = Credential::resolve(&address, side, &|_| None, &Flags::default()).expect("the known key");
        let (clock, wire) = (self.clock, Arc::clone(&self.wire));
        let options = pageferry_azure::Options {
            transport: Some(wire),
            retry: RetryPolicy { seed: Some(7), ..RetryPolicy::default() },
            clock: Clock::new(move || clock.now()),
            ..pageferry_azure::Options::default()
        };
        PageBlob::with_scratch(address, &credential, options, scratch).expect("a blob")
    }

    /// What sends this process's requests.
    pub fn transport(&self) -> Arc<dyn HttpClient> {
        Arc::clone(&self.wire) as Arc<dyn HttpClient>
    }

    /// An engine from `source` to `target` in this process.
    pub fn engine(&self, source: &str, target: &str) -> Engine<PageBlob, PageBlob> {
        Engine::new(self.blob(source, Side::Source), self.blob(target, Side::Target), self.options.clone())
    }

    /// Syncs; `None` where the process died under it.
    pub fn sync(&self, source: &str, target: &str, want: Want) -> Ran<'_, Option<Result<SyncReport, ReplicateError>>> {
        self.sync_by(self.engine(source, target), want)
    }

    /// Syncs with an engine of its own.
    pub fn sync_by(&self, engine: Lab, want: Want) -> Ran<'_, Option<Result<SyncReport, ReplicateError>>> {
        Box::pin(self.live(async move { sync(&engine, &want).await }))
    }

    /// A sync of one step in a process of its own kind of trouble, as a plain result.
    pub fn sync_alive(&self, source: &str, target: &str, want: Want) -> Ran<'_, Result<SyncReport, ReplicateError>> {
        let synced = self.sync(source, target, want);
        Box::pin(async move { synced.await.expect("this process does not die") })
    }

    /// Runs `work` until it ends or the process dies.
    pub async fn live<R>(&self, work: impl Future<Output = R>) -> Option<R> {
        tokio::select! {
            biased;
            () = self.wire.dead.cancelled() => None,
            done = work => Some(done),
        }
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.wire.count.load(Ordering::SeqCst)
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.wire.dead.is_cancelled()
    }
}

/// Work of the engine, boxed here: the engine is generic, and each test binary would compile all of it again.
pub type Ran<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// An engine as tests use it.
pub type Lab = Engine<PageBlob, PageBlob>;

/// [`pageferry_replicate::restore::restore`].
pub fn restore<'a>(engine: &'a Lab, point: &'a Point, overwrite: bool) -> Ran<'a, Result<Restored, ReplicateError>> {
    Box::pin(replicate::restore::restore(engine, point, overwrite))
}

/// [`pageferry_replicate::restore::find_point`].
pub fn find_point<'a>(target: &'a PageBlob, asked: &'a str) -> Ran<'a, Result<Point, ReplicateError>> {
    Box::pin(replicate::restore::find_point(target, asked))
}

/// [`pageferry_replicate::adopt::adopt`].
pub fn adopt(engine: &Lab) -> Ran<'_, Result<Option<StepReport>, ReplicateError>> {
    Box::pin(replicate::adopt::adopt(engine))
}

/// [`pageferry_replicate::plan::plan`].
pub fn plan<'a>(engine: &'a Lab, want: &'a Want) -> Ran<'a, Result<Plan, ReplicateError>> {
    Box::pin(replicate::plan::plan(engine, want))
}

impl Wire {
    async fn apply(&self, request: pageferry_emulator::Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.service.handle(request).await;
        let mut headers = Headers::new();
        for (name, value) in answer.headers {
            headers.insert(name, value);
        }
        Ok(AsyncRawResponse::from_bytes(answer.status.into(), headers, answer.body.into_bytes()))
    }

    fn later(&self, request: pageferry_emulator::Request, after: Duration) {
        let service = self.service.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            service.handle(request).await;
        });
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let (url, method) = (request.url(), request.method().to_string());
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut sent = pageferry_emulator::Request::new(&method, &target);
        for (name, value) in request.headers().iter() {
            sent = sent.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body() else { panic!("the engine sends bytes") };
        let sent = sent.with_body(body.clone());
        let broken = || Err(Error::with_message(ErrorKind::Io, "the connection broke"));
        // Answers take a moment, so that requests overlap and time moves.
        tokio::time::sleep(Duration::from_millis(1 + number % 3)).await;
        match (self.fates)(number, &method, &target) {
            Fate::Answered => self.apply(sent).await,
            Fate::Lost => broken(),
            Fate::Unanswered => {
                self.service.handle(sent).await;
                broken()
            }
            Fate::Late(after) => {
                self.later(sent, after);
                broken()
            }
            Fate::Twice => {
                self.later(sent.clone(), Duration::from_millis(5));
                self.apply(sent).await
            }
            Fate::Swallowed => Ok(AsyncRawResponse::from_bytes(201.into(), applied(&sent), bytes::Bytes::new())),
            Fate::Shifted(pages) => {
                let answer = applied(&sent);
                let answer = AsyncRawResponse::from_bytes(201.into(), answer, bytes::Bytes::new());
                self.service.handle(shifted(sent, pages)).await;
                Ok(answer)
            }
            Fate::Altered(name) => self.apply(altered(sent, name)).await,
            Fate::AlteredAndDeath(name) => {
                self.service.handle(altered(sent, name)).await;
                self.dead.cancel();
                std::future::pending().await
            }
            Fate::DeathBefore => {
                self.dead.cancel();
                std::future::pending().await
            }
            Fate::DeathAfter => {
                self.service.handle(sent).await;
                self.dead.cancel();
                std::future::pending().await
            }
            Fate::DeathAndLate(after) => {
                self.later(sent, after);
                self.dead.cancel();
                std::future::pending().await
            }
        }
    }
}

/// The headers of a page write that went well.
fn applied(request: &pageferry_emulator::Request) -> Headers {
    let mut headers = Headers::new();
    headers.insert("etag", "\"0x8DFFFFFFFFFFFFF\"".to_owned());
    headers.insert("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT".to_owned());
    headers.insert("x-ms-blob-sequence-number", "1".to_owned());
    if let Some(crc) = request.get("x-ms-content-crc64") {
        headers.insert("x-ms-content-crc64", crc.to_owned());
    }
    headers
}

/// The same request, with a bit of this header wrong.
fn altered(mut request: pageferry_emulator::Request, name: &str) -> pageferry_emulator::Request {
    for (_, value) in request.headers.iter_mut().filter(|(found, _)| found == name) {
        let last = value.rfind(|letter: char| letter.is_ascii_digit()).expect("a digit");
        let digit = if value.as_bytes()[last] == b'0' { "1" } else { "0" };
        value.replace_range(last..=last, digit);
    }
    request
}

/// The same page write, elsewhere.
fn shifted(mut request: pageferry_emulator::Request, pages: u64) -> pageferry_emulator::Request {
    for (name, value) in &mut request.headers {
        let range = value.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        if let (true, Some((first, last))) = (name.ends_with("range"), range) {
            let by = pages * PAGE_BYTES;
            *value = format!("bytes={}-{}", first.parse::<u64>().unwrap() + by, last.parse::<u64>().unwrap() + by);
        }
    }
    request
}

/// The disk that most tests back up: a seed and three differences, with writes, clears and growth.
pub async fn four_snapshots(world: &World, disk: &str) -> Vec<SnapshotId> {
    let mut snapshots = Vec::new();
    world.make(disk, 96).await;
    world.write(disk, 0, 20, 1).await;
    world.write(disk, 30, 31, 2).await;
    world.write(disk, 64, 96, 3).await;
    snapshots.push(world.snapshot(disk).await);
    world.write(disk, 5, 9, 4).await;
    world.clear(disk, 66, 80).await;
    world.write(disk, 40, 44, 5).await;
    world.clear(disk, 41, 42).await;
    snapshots.push(world.snapshot(disk).await);
    world.resize(disk, 128).await;
    world.write(disk, 90, 110, 6).await;
    world.clear(disk, 0, 3).await;
    snapshots.push(world.snapshot(disk).await);
    world.write(disk, 0, 2, 7).await;
    world.clear(disk, 100, 128).await;
    world.write(disk, 70, 71, 8).await;
    snapshots.push(world.snapshot(disk).await);
    snapshots
}

/// The source snapshots that steps went to.
pub fn went_to(steps: &[StepReport]) -> Vec<SnapshotId> {
    steps.iter().map(|step| step.to.clone()).collect()
}
