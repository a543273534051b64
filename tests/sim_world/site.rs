//! The service of a world, what everybody may know about it, and what sabotage makes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pageferry_emulator::{Request, Response, Service};

use super::draw::Fault;
use super::machine::Paused;
use super::sabotage::Sabotage;

/// Where everything is, on the service's side.
pub(super) const ROOT: &str = "/devstoreaccount1/disks";

/// The target of the backups.
pub(super) const BACKUP: &str = "backup";

/// The service, and what everybody may know about it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) service: Service,
    pub(super) clock: Paused,
    pub(super) sabotage: Vec<Sabotage>,
    pub(super) trace: bool,
    pub(super) known: Mutex<Known>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The lease id in force, or the last one that was, by path.
    leases: HashMap<String, String>,
    pub(super) requests: u64,
    pub(super) faults: BTreeMap<Fault, u64>,
    /// Steps that filled gaps and were sealed.
    pub(super) filled: u64,
    /// Of everything that was sent and what became of it: two runs of one seed have the same.
    pub(super) digest: u64,
    /// The number of page writes, for sabotage that hits some of them.
    writes: u64,
}

impl Known {
    pub(super) fn note(&mut self, text: &str) {
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
        }
    }
}

impl Site {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage.contains(&sabotage)
    }

    /// Tells whoever watches, and makes it part of what must repeat itself.
    pub(super) fn tell(&self, text: &str) {
        let now = self.clock.elapsed();
        let mut known = self.known();
        known.digest = known.digest.wrapping_mul(31).wrapping_add(u64::try_from(now.as_nanos()).unwrap_or_default());
        known.note(text);
        drop(known);
        if self.trace {
            eprintln!("{:>10.3} {text}", now.as_secs_f64());
        }
    }

    /// Lets a request reach the service.
    pub(super) async fn serve(&self, request: Request) -> Response {
        if self.is(Sabotage::NoLease) && request.query("comp") == Some("lease") {
            return granted(&request);
        }
        let blob = request.path.strip_prefix(ROOT).map(str::to_owned).unwrap_or_default();
        let write = request.get("x-ms-page-write").map(str::to_owned);
        if write.is_some() && blob.trim_start_matches('/') == BACKUP {
            let number = {
                let mut known = self.known();
                known.writes += 1;
                known.writes
            };
            let clear = write.as_deref() == Some("clear");
            let swallowed = clear && self.is(Sabotage::SwallowedClears)
                || !clear && number.is_multiple_of(16) && self.is(Sabotage::SwallowedWrites);
            if swallowed {
                return self.acknowledged(&request).await;
            }
            if number.is_multiple_of(16) && self.is(Sabotage::ShiftedWrites) {
                let answer = self.acknowledged(&request).await;
                self.service.handle(shifted(request)).await;
                return answer;
            }
        }
        let request = if self.is(Sabotage::BlindGate) { self.blinded(request).await } else { request };
        let own_list = request.query("comp") == Some("pagelist")
            && request.query("snapshot").is_none()
            && request.get("if-match").is_none()
            && request.path.ends_with(BACKUP);
        let granting = (request.query("comp") == Some("lease"))
            .then(|| request.get("x-ms-proposed-lease-id").map(|id| (request.path.clone(), id.to_owned())))
            .flatten();
        let head = request.method == "HEAD" && request.path.ends_with(BACKUP);
        let renewing = request.get("x-ms-lease-action") == Some("renew");
        let granting_anew = acquiring(&request);
        let sent_crc = request.get("x-ms-page-write").is_some();
        let mut answer = self.service.handle(request).await;
        if let Some((path, id)) = granting.filter(|_| answer.is_success()) {
            self.known().leases.insert(path, id);
        }
        if own_list && answer.is_success() && self.is(Sabotage::NoOwnDifference) {
            answer.body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><PageList></PageList>".to_owned().into();
        }
        if head && self.is(Sabotage::WatermarkAhead) && answer.get("x-ms-meta-pageferrywatermark").is_some() {
            let end = answer.get("content-length").unwrap_or("0").to_owned();
            answer.set("x-ms-meta-pageferrywatermark", end);
        }
        if head && self.is(Sabotage::RenewalForged) && answer.get("x-ms-lease-state") == Some("available") {
            answer.set("x-ms-lease-state", "expired");
        }
        if renewing && self.is(Sabotage::RenewalForged) && !answer.is_success() {
            answer = self.service.handle(granting_anew).await;
        }
        if self.is(Sabotage::SharedLease) {
            // Or the engine would see that it was granted another lease than its own.
            answer.headers.retain(|(name, _)| name != "x-ms-lease-id");
        }
        if sent_crc && self.is(Sabotage::NoChecksumSent) {
            answer.headers.retain(|(name, _)| name != "x-ms-content-crc64");
        }
        answer
    }

    /// The answer to a page write that is not carried out.
    async fn acknowledged(&self, request: &Request) -> Response {
        let head = self.service.handle(Request::new("HEAD", &request.path).header("x-ms-version", "2021-12-02")).await;
        let mut answer = Response::new(201);
        for name in ["etag", "last-modified", "x-ms-blob-sequence-number"] {
            answer.set(name, head.get(name).unwrap_or_default());
        }
        if let Some(crc) = request.get("x-ms-content-crc64") {
            answer.set("x-ms-content-crc64", crc);
        }
        answer
    }

    /// What the gate asks of the target is asked of the source instead.
    async fn blinded(&self, mut request: Request) -> Request {
        let gate = request.method == "GET"
            && request.path.ends_with(BACKUP)
            && request.query("snapshot").is_none()
            && request.get("if-match").is_some();
        if !gate {
            return request;
        }
        let head = self.service.handle(Request::new("HEAD", &request.path).header("x-ms-version", "2021-12-02")).await;
        let word = |name: &str| head.get(&format!("x-ms-meta-pageferry{name}")).map(str::to_owned);
        let (Some(disk), Some(to), Some(from)) = (word("disk"), word("to"), word("from")) else { return request };
        let disk = disk.rsplit_once('@').map_or(disk.as_str(), |(url, _)| url);
        let name = disk.rsplit('/').next().unwrap_or_default();
        request.path = format!("{ROOT}/{name}");
        request.headers.retain(|(name, _)| name != "if-match");
        for (name, value) in &mut request.query {
            // The answer to the question that tests the service must stay as it is.
            if name == "prevsnapshot" && !value.starts_with("2006") {
                value.clone_from(&from);
            }
        }
        request.query.push(("snapshot".to_owned(), to));
        request
    }

    /// Lets a page write that was admitted before be applied, whatever has become of its conditions.
    pub(super) async fn apply_admitted(&self, mut request: Request) {
        let head = self.service.handle(Request::new("HEAD", &request.path).header("x-ms-version", "2021-12-02")).await;
        let gone = ["x-ms-lease-id", "if-match", "x-ms-if-sequence-number-eq"];
        request.headers.retain(|(name, _)| !gone.contains(&name.as_str()));
        let held = matches!(head.get("x-ms-lease-state"), Some("leased" | "breaking"));
        let lease = self.known().leases.get(&request.path).cloned();
        if let Some(id) = lease.filter(|_| held) {
            request = request.header("x-ms-lease-id", id);
        }
        self.service.handle(request).await;
    }

    /// Whether a page write would be applied now.
    pub(super) async fn admits(&self, request: &Request) -> bool {
        let mut question = Request::new("HEAD", &request.path).header("x-ms-version", "2021-12-02");
        for name in ["x-ms-lease-id", "if-match"] {
            if let Some(value) = request.get(name) {
                question = question.header(name, value);
            }
        }
        let head = self.service.handle(question).await;
        let epoch = request.get("x-ms-if-sequence-number-eq");
        head.is_success() && epoch.is_none_or(|epoch| head.get("x-ms-blob-sequence-number") == Some(epoch))
    }
}

/// Lets everything that is due now happen first: of two things that are ready at once, the runtime would choose one by
/// a chance that no seed decides.
pub(super) async fn moment() {
    tokio::task::yield_now().await;
}

/// The answer to any question about a lease where there are none.
fn granted(request: &Request) -> Response {
    let action = request.get("x-ms-lease-action").unwrap_or_default();
    let id = request.get("x-ms-proposed-lease-id").or(request.get("x-ms-lease-id")).unwrap_or_default();
    let status = match action {
        "acquire" => 201,
        "break" => 202,
        _ => 200,
    };
    let etag = "\"0x8DFFFFFFFFFFFFF\"";
    let answer = Response::new(status).with("etag", etag).with("last-modified", "Fri, 15 Jan 2027 08:00:00 GMT");
    if action == "break" { answer.with("x-ms-lease-time", "0") } else { answer.with("x-ms-lease-id", id) }
}

/// A request for the lease that `request` asks to be renewed.
fn acquiring(request: &Request) -> Request {
    let id = request.get("x-ms-lease-id").unwrap_or_default();
    Request::new("PUT", &format!("{}?comp=lease", request.path))
        .header("x-ms-version", "2021-12-02")
        .header("x-ms-lease-action", "acquire")
        .header("x-ms-lease-duration", "60")
        .header("x-ms-proposed-lease-id", id.to_owned())
}

/// The same page write, a page further on.
fn shifted(mut request: Request) -> Request {
    for (name, value) in &mut request.headers {
        let range = value.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        if let (true, Some((first, last))) = (name.ends_with("range"), range)
            && let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>())
        {
            *value = format!("bytes={}-{}", first + 512, last + 512);
        }
    }
    request
}
