//! The way between a process and the service, and all that can happen on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request as Sent};
use bytes::Bytes;
use futures::{StreamExt, stream};
use pageferry_emulator::{Request, Response, Service, crc64, crc64_header};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::draw::{Draw, Fault, Focus};
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
        if head && self.is(Sabotage::EvidenceForged) && answer.get("x-ms-lease-state") == Some("available") {
            answer.set("x-ms-lease-state", "expired");
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
    async fn apply_admitted(&self, mut request: Request) {
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
    async fn admits(&self, request: &Request) -> bool {
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

/// One process's connection.
pub(super) struct Line {
    site: Arc<Site>,
    dice: Mutex<(Dice, u64)>,
    latency: u64,
    faults: Vec<(Fault, u64)>,
    focus: Focus,
    storms: Vec<(Duration, Duration)>,
    /// It dies at this request.
    dies_at: Option<u64>,
    name: String,
    pub(super) dead: CancellationToken,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What becomes of one request.
struct Lot {
    wait: Duration,
    fault: Option<Fault>,
    /// How much later, where something is late.
    after: Duration,
    /// How much of the time it gives itself the service takes.
    within: Duration,
    at: u64,
    coin: u64,
}

impl Line {
    /// A connection on which everything works.
    pub(super) fn sound(site: &Arc<Site>, name: String, dice: &mut Dice) -> Line {
        Line {
            site: Arc::clone(site),
            dice: Mutex::new((dice.fork(), 0)),
            latency: 2,
            faults: Vec::new(),
            focus: Focus::All,
            storms: Vec::new(),
            dies_at: None,
            name,
            dead: CancellationToken::new(),
        }
    }

    /// A connection in a world that was drawn so.
    pub(super) fn faulty(site: &Arc<Site>, name: String, draw: &Draw, dice: &mut Dice) -> Line {
        let most = if draw.faults.iter().any(|(fault, _)| *fault == Fault::Death) { 700 } else { 150 };
        let now = site.clock.elapsed();
        let storms = (0..if draw.storm > 0 { dice.below(4) } else { 0 }).map(|_| {
            let start = now + Duration::from_millis(dice.spread(1..600_000));
            (start, start + Duration::from_secs(draw.storm))
        });
        let storms = storms.collect();
        Line {
            latency: draw.latency,
            faults: draw.faults.iter().filter(|(fault, _)| *fault != Fault::Death).copied().collect(),
            focus: draw.focus,
            storms,
            dies_at: dice.chance(most).then(|| dice.spread(1..if draw.pages > 500 { 3000 } else { 250 })),
            ..Line::sound(site, name, dice)
        }
    }

    fn draw(&self, request: &Request) -> Lot {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let (dice, count) = &mut *dice;
        *count += 1;
        let wait = Duration::from_millis(1 + dice.below(self.latency));
        let roll = dice.below(10_000);
        let weight = if self.preferred(request) { 8 } else { 1 };
        let mut reached = 0;
        let mut fault = self.faults.iter().find_map(|(fault, rate)| {
            reached += rate * weight / 8;
            (roll < reached).then_some(*fault)
        });
        let now = self.site.clock.elapsed();
        if self.storms.iter().any(|(start, end)| (*start..*end).contains(&now)) && dice.chance(900) {
            fault = Some(Fault::Busy);
        }
        if self.dies_at == Some(*count) {
            fault = Some(Fault::Death);
        }
        let after = Duration::from_millis(dice.spread(1..7_200_000));
        let within = Duration::from_millis(dice.spread(1..29_900));
        Lot { wait, fault, after, within, at: dice.any(), coin: dice.below(3) }
    }

    fn preferred(&self, request: &Request) -> bool {
        let (comp, change) = (request.query("comp"), request.method != "GET" && request.method != "HEAD");
        match self.focus {
            Focus::All => true,
            Focus::Changes => change,
            Focus::PageWrites => change && comp == Some("page"),
            Focus::Control => change && comp != Some("page"),
            Focus::Lists => matches!(comp, Some("pagelist" | "list")),
        }
    }

    /// What the engine meant, less what sabotage takes away.
    fn sabotaged(&self, mut request: Request) -> Request {
        let site = &self.site;
        let change = request.method != "GET" && request.method != "HEAD";
        let mut gone = Vec::new();
        if site.is(Sabotage::NoEpoch) {
            gone.push("x-ms-if-sequence-number-eq");
        }
        if if change { site.is(Sabotage::NoIfMatch) } else { site.is(Sabotage::NoIfMatchInGate) } {
            gone.push("if-match");
        }
        if site.is(Sabotage::NoChecksumSent) {
            gone.push("x-ms-content-crc64");
        }
        if site.is(Sabotage::NoLease) && request.query("comp") != Some("lease") {
            gone.push("x-ms-lease-id");
        }
        request.headers.retain(|(name, _)| !gone.contains(&name.as_str()));
        if site.is(Sabotage::SharedLease) {
            for (name, value) in &mut request.headers {
                if name == "x-ms-lease-id" || name == "x-ms-proposed-lease-id" {
                    "11111111-1111-1111-1111-111111111111".clone_into(value);
                }
            }
        }
        request
    }

    fn later(&self, request: Request, after: Duration) {
        let (site, name) = (Arc::clone(&self.site), self.name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let said = if site.trace { said(&request) } else { String::new() };
            let answer = site.serve(request).await;
            site.tell(&format!("{name} {said}: arrives late, {}", answer.status));
        });
    }

    fn admitted(&self, request: Request, within: Duration) {
        let (site, name) = (Arc::clone(&self.site), self.name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(within).await;
            site.tell(&format!("{name} {}: is applied, having been admitted", said(&request)));
            site.apply_admitted(request).await;
        });
    }

    async fn serve(&self, request: Request) -> AsyncRawResponse {
        let answer = self.site.serve(request).await;
        let (status, headers) = (answer.status, headers(&answer));
        AsyncRawResponse::from_bytes(status.into(), headers, answer.body.into_bytes())
    }

    async fn meet(&self, fault: Fault, lot: &Lot, request: Request) -> azure_core::Result<AsyncRawResponse> {
        let page_write = request.query("comp") == Some("page");
        match fault {
            Fault::Lost => Err(broken()),
            Fault::Unanswered => {
                self.site.serve(request).await;
                Err(broken())
            }
            Fault::Admitted if page_write => {
                if self.site.admits(&request).await {
                    self.admitted(request, lot.within);
                    if lot.coin == 0 { std::future::pending().await } else { Err(broken()) }
                } else {
                    Ok(self.serve(request).await)
                }
            }
            Fault::Late | Fault::Admitted => {
                self.later(request, lot.after);
                if lot.coin == 0 { std::future::pending().await } else { Err(broken()) }
            }
            Fault::Twice => {
                self.later(request.clone(), lot.after);
                Ok(self.serve(request).await)
            }
            Fault::Busy => Ok(refusal(503, "ServerBusy")),
            Fault::TimedOut | Fault::Internal => {
                match lot.coin {
                    0 => {}
                    1 => drop(self.site.serve(request).await),
                    _ if page_write && self.site.admits(&request).await => self.admitted(request, lot.within),
                    _ => self.later(request, lot.within),
                }
                Ok(refusal(500, if fault == Fault::TimedOut { "OperationTimedOut" } else { "InternalError" }))
            }
            Fault::Slow => {
                let slow = Duration::from_millis(lot.after.as_secs() * 8);
                if lot.coin == 0 {
                    let answer = self.serve(request).await;
                    tokio::time::sleep(slow).await;
                    moment().await;
                    Ok(answer)
                } else {
                    tokio::time::sleep(slow).await;
                    moment().await;
                    Ok(self.serve(request).await)
                }
            }
            Fault::Silent => {
                match lot.coin {
                    0 => {}
                    1 => drop(self.site.serve(request).await),
                    _ => self.later(request, lot.after),
                }
                std::future::pending().await
            }
            Fault::Cut => self.cut(lot, request).await,
            Fault::CorruptPages | Fault::CorruptWords => Ok(self.corrupted(fault, lot, request).await),
            Fault::CorruptSent => {
                let mut bytes = request.body.bytes().to_vec();
                flip(&mut bytes, lot.at);
                let request = Request { body: pageferry_emulator::Payload::new(bytes.into()), ..request };
                Ok(self.serve(request).await)
            }
            Fault::Death => {
                match lot.coin {
                    0 => {}
                    1 => drop(self.site.serve(request).await),
                    _ if page_write && lot.at.is_multiple_of(2) && self.site.admits(&request).await => {
                        self.admitted(request, lot.within);
                    }
                    _ => self.later(request, lot.after),
                }
                self.dead.cancel();
                std::future::pending().await
            }
        }
    }

    async fn cut(&self, lot: &Lot, request: Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.site.serve(request).await;
        let (status, headers) = (answer.status, headers(&answer));
        let body = answer.body.into_bytes();
        let length = u64::try_from(body.len()).unwrap_or_default();
        if length == 0 {
            return Err(broken());
        }
        let first = body.slice(..usize::try_from(lot.at % length).unwrap_or_default());
        let first = stream::once(async move { Ok(first) });
        let rest = match lot.coin {
            0 => stream::once(std::future::pending()).boxed(),
            1 => stream::once(async { Err(broken()) }).boxed(),
            _ => stream::empty().boxed(),
        };
        Ok(AsyncRawResponse::new(status.into(), headers, Box::pin(first.chain(rest))))
    }

    async fn corrupted(&self, fault: Fault, lot: &Lot, request: Request) -> AsyncRawResponse {
        let words = request.query("comp").is_some();
        let answer = self.site.serve(request).await;
        let (status, mut headers) = (answer.status, headers(&answer));
        let mut body = answer.body.into_bytes().to_vec();
        if words == (fault == Fault::CorruptWords) {
            flip(&mut body, lot.at);
            if !words && self.site.is(Sabotage::NoChecksumRead) {
                headers.insert("x-ms-content-crc64", crc64_header(crc64(&body)));
            }
        }
        AsyncRawResponse::from_bytes(status.into(), headers, Bytes::from(body))
    }
}

#[async_trait]
impl HttpClient for Line {
    async fn execute_request(&self, request: &Sent) -> azure_core::Result<AsyncRawResponse> {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
        let url = request.url();
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut sent = Request::new(request.method().as_ref(), &target);
        for (name, value) in request.headers().iter() {
            sent = sent.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body() else { panic!("the engine sends bytes") };
        let sent = self.sabotaged(sent.with_body(body.clone()));
        let lot = self.draw(&sent);
        tokio::time::sleep(lot.wait).await;
        moment().await;
        {
            let mut known = self.site.known();
            known.requests += 1;
            if let Some(fault) = lot.fault {
                *known.faults.entry(fault).or_default() += 1;
            }
        }
        let what = if self.site.trace { format!("{} {}", self.name, said(&sent)) } else { String::new() };
        self.site.known().note(&target);
        let answer = match lot.fault {
            None => Ok(self.serve(sent).await),
            Some(fault) => {
                if self.site.trace {
                    self.site.tell(&format!("{what}: {fault:?} {} {:?}", lot.coin, lot.after));
                }
                self.meet(fault, &lot, sent).await
            }
        };
        let status = answer.as_ref().map_or(0, |answer| u16::from(answer.status()));
        self.site.tell(if self.site.trace { &what } else { &self.name });
        if self.site.trace {
            eprintln!("           {status}");
        }
        self.site.known().digest ^= u64::from(status);
        answer
    }
}

/// Lets everything that is due now happen first: of two things that are ready at once, the runtime would choose one by
/// a chance that no seed decides.
pub(super) async fn moment() {
    tokio::task::yield_now().await;
}

fn said(request: &Request) -> String {
    let mut said = format!("{} {}", request.method, request.path.strip_prefix(ROOT).unwrap_or(&request.path));
    for (name, value) in &request.query {
        said.push_str(&format!(" {name}={value}"));
    }
    for name in ["x-ms-range", "range", "x-ms-page-write", "x-ms-lease-action", "x-ms-sequence-number-action"] {
        if let Some(value) = request.get(name) {
            said.push_str(&format!(" {value}"));
        }
    }
    said
}

fn broken() -> Error {
    Error::with_message(ErrorKind::Io, "the connection broke")
}

fn refusal(status: u16, code: &'static str) -> AsyncRawResponse {
    let mut headers = Headers::new();
    headers.insert("x-ms-error-code", code);
    AsyncRawResponse::from_bytes(status.into(), headers, Bytes::new())
}

fn headers(answer: &Response) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in &answer.headers {
        headers.insert(name.clone(), value.clone());
    }
    headers
}

fn flip(bytes: &mut [u8], at: u64) {
    let bits = u64::try_from(bytes.len()).unwrap_or_default() * 8;
    if let Some(bit) = at.checked_rem(bits)
        && let Some(byte) = bytes.get_mut(usize::try_from(bit / 8).unwrap_or_default())
    {
        *byte ^= 1 << (bit % 8);
    }
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
