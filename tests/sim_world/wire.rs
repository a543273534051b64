//! The way between a process and the service, and all that can happen on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request as Sent};
use bytes::Bytes;
use futures::{StreamExt, stream};
use pageferry_emulator::{Request, Response, crc64, crc64_header};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::draw::{Draw, Fault, Focus};
use super::sabotage::Sabotage;
use super::site::{ROOT, Site, moment};

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
            // A relayed range carries its checksum; of what the service fetches by itself nobody would notice that the
            // source's range was altered. On this machine that cannot happen, and any other is asked over https only
            // (`Address::parse`).
            Fault::CorruptAsked if request.get("x-ms-copy-source").is_some() => Ok(self.serve(request).await),
            Fault::CorruptAsked => Ok(self.serve(garbled(request, lot.at)).await),
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

/// The same request, with one bit of a value wrong.
fn garbled(mut request: Request, at: u64) -> Request {
    // The client keeps its headers in no order, and another one each time.
    request.headers.sort();
    let sent = request.headers.iter_mut().chain(&mut request.query);
    let mut values: Vec<&mut String> = sent.map(|(_, value)| value).filter(|value| !value.is_empty()).collect();
    let nth = |of: usize| usize::try_from(at % u64::try_from(of).unwrap_or(1)).unwrap_or_default();
    let which = nth(values.len());
    if let Some(value) = values.get_mut(which) {
        let mut bytes = value.as_bytes().to_vec();
        let which = nth(bytes.len());
        // A bit that leaves it printable: others are refused before anybody reads them.
        bytes[which] ^= 1 << (at % 3);
        **value = String::from_utf8_lossy(&bytes).into_owned();
    }
    request
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
