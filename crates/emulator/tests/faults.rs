//! Every kind of fault in process, on a clock that stands still: what the client sees, and what was done all the same.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{A, VERSION, between, short, verdict};
use pageferry_emulator::faults::{
    Action, Applied, Break, Delay, Delivery, End, Event, FaultScript, Foreign, Keep, Limit, Loss, Operation, Pace, Per,
    PowerLoss, Refusal, Rule, Select, Which,
};
use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{
    Clock, Config, DEV_ACCOUNT, DEV_KEY, ManualClock, Request, Response, Service, Timestamp, Variants, crc64,
    crc64_header,
};

/// A service without credentials, the container `disks` and the blob `disks/b` of sixteen empty pages.
struct Bench {
    service: Service,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn new() -> Self {
        Self::open(Config::default(), None).await
    }

    async fn open(config: Config, directory: Option<(&std::path::Path, bool)>) -> Self {
        let config = Config { auth: false, ..config };
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)));
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let service = match directory {
            None => Service::new(config, time),
            Some((path, sync)) => Service::open(config, time, path, sync).unwrap(),
        };
        let bench = Self { service, clock };
        bench.setup().await;
        bench
    }

    async fn setup(&self) {
        let put = |target: &str| request("PUT", target);
        self.service.handle(put("disks?restype=container")).await;
        let create = put("disks/b").header("x-ms-blob-type", "PageBlob").header("x-ms-blob-content-length", "8192");
        assert_eq!(self.service.handle(create).await.status, 201);
    }

    fn script(&self, rule: Rule) {
        self.service.set_faults(FaultScript::new(1).rule(rule));
    }

    async fn send(&self, request: Request) -> Delivery {
        self.service.deliver(request).await
    }

    /// The answer to a request that gets one.
    async fn ask(&self, request: Request) -> Response {
        self.send(request).await.answer().unwrap()
    }

    async fn verdict(&self, request: Request) -> String {
        verdict(&self.ask(request).await)
    }

    /// The first byte of a page, read behind the back of all faults.
    async fn byte(&self, page: usize) -> u8 {
        self.service.handle(request("GET", "disks/b")).await.body.into_bytes()[page * 512]
    }

    fn wait(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    /// How often the first rule fired.
    fn fired(&self) -> u64 {
        self.service.fault_report().rules[0].fired
    }
}

fn request(method: &str, target: &str) -> Request {
    Request::new(method, &format!("/{DEV_ACCOUNT}/{target}")).header("x-ms-version", VERSION)
}

/// Writes pages `first..first + count`.
fn write(first: usize, count: usize, fill: u8) -> Request {
    let body = vec![fill; count * 512];
    request("PUT", "disks/b?comp=page&timeout=30")
        .header("x-ms-page-write", "update")
        .header("x-ms-range", format!("bytes={}-{}", first * 512, (first + count) * 512 - 1))
        .header("x-ms-content-crc64", crc64_header(crc64(&body)))
        .with_body(body)
}

fn read(range: &str) -> Request {
    request("GET", "disks/b").header("x-ms-range", range).header("x-ms-range-get-content-crc64", "true")
}

fn list() -> Request {
    request("GET", "disks/b?comp=pagelist")
}

fn set_sequence(number: u64) -> Request {
    request("PUT", "disks/b?comp=properties")
        .header("x-ms-sequence-number-action", "update")
        .header("x-ms-blob-sequence-number", number.to_string())
}

fn lease(action: &str) -> Request {
    let request = request("PUT", "disks/b?comp=lease").header("x-ms-lease-action", action);
    match action {
        "acquire" => request.header("x-ms-lease-duration", "60").header("x-ms-proposed-lease-id", A),
        _ => request.header("x-ms-lease-id", A),
    }
}

fn on_write(action: Action) -> Rule {
    Rule::new(action).on(Operation::PutPageUpdate).times(1)
}

#[tokio::test]
async fn answers_are_lost_before_and_after_applying() {
    for (how, end) in [(Loss::Reset, Break::Reset), (Loss::Close, Break::Close), (Loss::Hang, Break::Hang)] {
        for (applied, expected) in [(Applied::None, 0), (Applied::Whole, 5)] {
            let bench = Bench::new().await;
            bench.script(on_write(Action::Lose { applied, how }));
            assert!(matches!(bench.send(write(0, 1, 5)).await, Delivery::Lost(lost) if lost == end));
            assert_eq!(bench.byte(0).await, expected, "{applied:?}");
            assert_eq!(bench.verdict(write(0, 1, 6)).await, "201");
        }
    }
}

#[tokio::test]
async fn a_write_can_be_applied_in_part() {
    let bench = Bench::new().await;
    bench.script(on_write(Action::Lose { applied: Applied::Part, how: Loss::TimedOut }));
    assert_eq!(bench.verdict(write(0, 8, 5)).await, "500 OperationTimedOut");
    assert_eq!((bench.byte(0).await, bench.byte(7).await), (5, 0));
    // One that would have been refused leaves nothing behind.
    bench.script(on_write(Action::Lose { applied: Applied::Part, how: Loss::TimedOut }));
    bench.send(write(8, 8, 5).header("x-ms-if-sequence-number-eq", "9")).await.answer();
    assert_eq!(bench.byte(8).await, 0);
}

#[tokio::test]
async fn a_late_write_meets_the_conditions_of_its_arrival() {
    for (sequence, expected) in [(0, 5), (1, 6)] {
        let bench = Bench::new().await;
        bench.script(on_write(Action::Late { after: Delay::Millis(90_000), how: Loss::Reset }));
        let stale = write(0, 1, 5).header("x-ms-if-sequence-number-lt", "1");
        assert!(matches!(bench.send(stale).await, Delivery::Lost(Break::Reset)));
        bench.send(set_sequence(sequence)).await.answer();
        bench.ask(write(0, 1, 6)).await;
        bench.wait(89_999);
        assert_eq!(bench.byte(0).await, 6);
        bench.wait(1);
        assert_eq!(bench.byte(0).await, expected, "the sequence number is {sequence}");
        assert_eq!(bench.service.stats().late, 1);
    }
}

#[tokio::test]
async fn late_requests_can_be_held_counted_and_drawn() {
    let bench = Bench::new().await;
    bench.script(on_write(Action::Late { after: Delay::Held, how: Loss::TimedOut }));
    assert_eq!(bench.verdict(write(0, 1, 5)).await, "500 OperationTimedOut");
    bench.wait(1 << 40);
    assert_eq!((bench.byte(0).await, bench.service.fault_report().late), (0, 1));
    assert_eq!(bench.service.release(), 1);
    assert_eq!(bench.byte(0).await, 5);

    bench.script(on_write(Action::Late { after: Delay::Requests(3), how: Loss::Reset }));
    drop(bench.send(write(1, 1, 5)).await);
    assert_eq!([bench.byte(1).await, bench.byte(1).await, bench.byte(1).await], [0, 0, 5]);

    bench.script(Rule::new(Action::Late { after: Delay::Between(100, 200), how: Loss::Reset }));
    drop(bench.send(write(2, 1, 5)).await);
    bench.wait(99);
    assert_eq!(bench.byte(2).await, 0);
    bench.wait(101);
    assert_eq!(bench.byte(2).await, 5);
}

#[tokio::test]
async fn an_admitted_write_is_applied_whatever_happened_since() {
    let bench = Bench::new().await;
    bench.script(on_write(Action::Admit { after: Delay::Millis(60_000), how: Loss::Reset }));
    let fenced = write(0, 1, 5).header("x-ms-if-sequence-number-lt", "1");
    assert!(matches!(bench.send(fenced.clone()).await, Delivery::Lost(Break::Reset)));
    bench.send(set_sequence(1)).await.answer();
    bench.ask(write(0, 1, 6)).await;
    // It said timeout=30, so it does not take sixty seconds.
    bench.wait(29_999);
    assert_eq!(bench.byte(0).await, 6);
    bench.wait(1);
    assert_eq!(bench.byte(0).await, 5);
    // What does not pass is refused at once and never heard of again.
    bench.script(on_write(Action::Admit { after: Delay::Millis(1), how: Loss::Reset }));
    assert_eq!(bench.verdict(fenced).await, "412 SequenceNumberConditionNotMet");
    assert_eq!((bench.fired(), bench.service.fault_report().late), (0, 0));
    // A blob that took its place is left alone.
    bench.script(on_write(Action::Admit { after: Delay::Held, how: Loss::Reset }));
    drop(bench.send(write(3, 1, 5)).await);
    bench.wait(1_000);
    bench.setup().await;
    bench.service.release();
    assert_eq!(bench.byte(3).await, 0);
}

#[tokio::test]
async fn a_request_is_delivered_twice() {
    let bench = Bench::new().await;
    bench.script(on_write(Action::Duplicate(Delay::Requests(2))));
    assert_eq!(bench.verdict(write(0, 1, 5)).await, "201");
    assert_eq!(bench.verdict(write(0, 1, 6)).await, "201");
    assert_eq!(bench.byte(0).await, 5, "the second delivery has undone what came between");
}

#[tokio::test]
async fn the_service_refuses_once_and_in_storms() {
    for (code, text) in [
        (Refusal::ServerBusy, "503 ServerBusy"),
        (Refusal::OperationTimedOut, "500 OperationTimedOut"),
        (Refusal::InternalError, "500 InternalError"),
    ] {
        for (applied, expected) in [(Applied::None, 0), (Applied::Whole, 5)] {
            let bench = Bench::new().await;
            bench.script(on_write(Action::Refuse { code, applied, retry_after: None }));
            assert_eq!(bench.verdict(write(0, 1, 5)).await, text);
            assert_eq!(bench.byte(0).await, expected);
        }
    }
    let variants = Variants { retry_after: Some(3), ..Variants::default() };
    let bench = Bench::open(Config { variants, ..Config::default() }, None).await;
    bench.script(Rule::new(Action::busy()).storm(1_000, 500));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(bench.ask(read("bytes=0-511")).await);
        bench.wait(500);
    }
    assert_eq!(seen.iter().map(|r| r.status).collect::<Vec<_>>(), [206, 206, 503, 206]);
    assert_eq!(seen[2].get("retry-after"), Some("3"));
}

#[tokio::test]
async fn bodies_end_early() {
    let bench = Bench::new().await;
    bench.ask(write(0, 4, 5)).await;
    for (end, how) in [(End::Reset, Break::Reset), (End::Close, Break::Close), (End::Hang, Break::Hang)] {
        bench.script(Rule::new(Action::Truncate { keep: Keep::Bytes(700), end }));
        let delivery = bench.send(read("bytes=0-2047")).await;
        let Delivery::Cut { response, sent: 700, how: seen } = delivery else { panic!("{delivery:?}") };
        assert_eq!((response.get("content-length"), response.body.len(), seen), (Some("2048"), 2048, how));
    }
    for (end, length) in [(End::Short, Some("700")), (End::Chunked, None)] {
        bench.script(Rule::new(Action::Truncate { keep: Keep::Bytes(700), end }));
        let response = bench.ask(read("bytes=0-2047")).await;
        assert_eq!((response.get("content-length"), response.body.len()), (length, 700));
        assert_eq!(response.get("content-range"), Some("bytes 0-2047/8192"));
    }
    // There is nothing to cut off an answer without a body.
    assert_eq!(bench.verdict(write(0, 1, 1)).await, "201");
    assert_eq!(bench.service.fault_report().rules[0].fired, 1);
}

#[tokio::test]
async fn bits_flip_on_the_way_and_hashes_show_it() {
    let bench = Bench::new().await;
    bench.ask(write(0, 4, 5)).await;
    let hash = |response: &Response| response.get("x-ms-content-crc64").unwrap().to_owned();
    bench.script(Rule::new(Action::CorruptAnswer));
    let answer = bench.ask(read("bytes=0-2047")).await;
    assert_ne!(crc64_header(crc64(&answer.body.clone().into_bytes())), hash(&answer));
    bench.script(Rule::new(Action::WrongHash));
    let answer = bench.ask(read("bytes=0-2047")).await;
    assert_eq!(answer.body.clone().into_bytes(), vec![5; 2048]);
    assert_ne!(crc64_header(crc64(&[5; 2048])), hash(&answer));
    assert_ne!(hash(&bench.ask(write(0, 1, 5)).await), crc64_header(crc64(&[5; 512])));

    bench.script(Rule::new(Action::CorruptRequest));
    assert_eq!(bench.verdict(write(0, 4, 6)).await, "400 Crc64Mismatch");
    assert_eq!(bench.byte(0).await, 5);
    // Without a hash it is stored as it came, and only the answer tells.
    let mut blind = write(0, 1, 6);
    blind.headers.retain(|(name, _)| name != "x-ms-content-crc64");
    let answer = bench.ask(blind).await;
    assert_eq!(answer.status, 201);
    assert_ne!(hash(&answer), crc64_header(crc64(&[6; 512])));
}

#[tokio::test]
async fn answers_are_slow_or_say_something_else() {
    let bench = Bench::new().await;
    let pace = Pace { first: 10, bytes: 100, pause: 5 };
    bench.script(Rule::new(Action::Slow(pace)));
    assert!(matches!(bench.send(read("bytes=0-511")).await, Delivery::Paced(r, p) if p == pace && r.status == 206));
    let value = Some("bytes 512-1023/8192".to_owned());
    bench.script(Rule::new(Action::SetHeader { name: "content-range".to_owned(), value }));
    let answer = bench.ask(read("bytes=0-511")).await;
    assert_eq!(answer.get("content-range"), Some("bytes 512-1023/8192"));
    bench.script(Rule::new(Action::SetHeader { name: "etag".to_owned(), value: None }));
    assert_eq!(bench.ask(read("bytes=0-511")).await.get("etag"), None);
    bench.script(on_write(Action::BreakRequest(Loss::Close)));
    assert!(matches!(bench.send(write(0, 1, 5)).await, Delivery::Lost(Break::Close)));
    assert_eq!(bench.byte(0).await, 0);
}

#[tokio::test]
async fn page_lists_come_in_small_and_empty_pages() {
    let bench = Bench::new().await;
    for page in [0, 2, 4, 6, 8] {
        bench.ask(write(page, 1, 5)).await;
    }
    let short_list = |most: usize| Rule::new(Action::ShortList(most)).on(Select::PageList);
    bench.service.set_faults(FaultScript::new(0).rule(short_list(0).every(2)).rule(short_list(2)));
    let (mut pages, mut marker) = (Vec::new(), String::new());
    loop {
        let mut request = list();
        request.query.push(("marker".to_owned(), marker.clone()));
        let body = bench.ask(request).await.body.into_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        pages.push(short(&body));
        match between(&body, "<NextMarker>", "</NextMarker>") {
            Some(next) => next.clone_into(&mut marker),
            None => break,
        }
    }
    assert_eq!(pages, ["P 0-511, P 1024-1535", "", "P 2048-2559, P 3072-3583", "", "P 4096-4607"]);
    // A list with nothing left can end in an empty page with a marker, too.
    bench.script(short_list(0).times(1));
    let tail = || list().header("x-ms-range", "bytes=6144-8191");
    let body = bench.ask(tail()).await.body.into_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut request = tail();
    let marker = between(&body, "<NextMarker>", "</NextMarker>").unwrap().to_owned();
    request.query.push(("marker".to_owned(), marker));
    let body = bench.ask(request).await.body.into_bytes();
    assert!(!String::from_utf8(body.to_vec()).unwrap().contains("NextMarker"));
}

#[tokio::test]
async fn windows_time_out_until_they_are_small() {
    let bench = Bench::new().await;
    bench.script(Rule::new(Action::TimeOutAbove(2048)));
    assert_eq!(bench.verdict(list()).await, "500 OperationTimedOut");
    assert_eq!(bench.verdict(list().header("x-ms-range", "bytes=0-4095")).await, "500 OperationTimedOut");
    assert_eq!(bench.verdict(list().header("x-ms-range", "bytes=0-2047")).await, "200");
    assert_eq!(bench.verdict(list().header("x-ms-range", "bytes=7168-99999")).await, "200", "clipped by the blob");
    assert_eq!(bench.verdict(write(0, 1, 1)).await, "201");
    assert_eq!(bench.fired(), 2);
}

#[tokio::test]
async fn limits_refuse_and_never_smooth() {
    let bench = Bench::new().await;
    let limit = |per, requests, bytes, refusal| Limit { per, requests, bytes, refusal };
    let blob = limit(Per::Blob("disks/*".to_owned()), Some(3), None, Refusal::ServerBusy);
    bench.service.set_faults(FaultScript::new(0).limit(blob));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(bench.ask(write(0, 1, 1)).await.status);
    }
    bench.wait(1_000);
    seen.push(bench.ask(write(0, 1, 1)).await.status);
    assert_eq!(seen, [201, 201, 201, 503, 503, 201]);

    let account = limit(Per::Account("*".to_owned()), None, Some(1536), Refusal::OperationTimedOut);
    bench.service.set_faults(FaultScript::new(0).limit(account));
    // What is read counts as what is written does.
    assert_eq!(bench.verdict(read("bytes=0-1023")).await, "206");
    assert_eq!(bench.verdict(write(0, 1, 1)).await, "201");
    assert_eq!(bench.verdict(read("bytes=0-511")).await, "500 OperationTimedOut");
    assert_eq!(bench.service.fault_report().limits, [1]);
}

#[tokio::test]
async fn somebody_breaks_the_lease() {
    let bench = Bench::new().await;
    bench.ask(lease("acquire")).await;
    let fenced = || write(0, 1, 5).header("x-ms-lease-id", A);
    let event = |take| Action::First(Event::BreakLease { blob: None, take });
    bench.script(Rule::new(event(false)).on(Operation::PutPageUpdate).nth(2));
    assert_eq!(bench.verdict(fenced()).await, "201");
    assert_eq!(bench.verdict(fenced()).await, "412 LeaseLost");
    assert_eq!(bench.verdict(lease("renew")).await, "409 LeaseIsBrokenAndCannotBeRenewed");
    assert_eq!(bench.verdict(lease("acquire")).await, "201");
    bench.script(Rule::new(event(true)).on(Operation::RenewLease));
    assert_eq!(bench.verdict(lease("renew")).await, "409 LeaseIdMismatchWithLeaseOperation");
    assert_eq!(bench.verdict(write(0, 1, 5)).await, "412 LeaseIdMissing");
}

#[tokio::test]
async fn snapshots_vanish_under_the_reader() {
    let bench = Bench::new().await;
    let mut names = Vec::new();
    for _ in 0..4 {
        bench.wait(1);
        let response = bench.ask(request("PUT", "disks/b?comp=snapshot")).await;
        names.push(response.get("x-ms-snapshot").unwrap().to_owned());
    }
    let of = |index: usize| request("GET", &format!("disks/b?snapshot={}", names[index]));
    let event = |which| Action::First(Event::DeleteSnapshot { blob: None, which });
    bench.script(Rule::new(event(Which::Addressed)).on(Operation::GetBlob).nth(2));
    assert_eq!(bench.verdict(of(1)).await, "200");
    assert_eq!(bench.verdict(of(1)).await, "404 BlobNotFound");
    bench.script(Rule::new(event(Which::Previous)).on(Operation::GetPageRangesDiff));
    let diff = request("GET", &format!("disks/b?comp=pagelist&prevsnapshot={}", names[0]));
    assert_eq!(bench.verdict(diff).await, "409 PreviousSnapshotNotFound");
    bench.script(Rule::new(event(Which::Newest)).times(1));
    assert_eq!(bench.verdict(of(3)).await, "404 BlobNotFound");
    assert_eq!(bench.verdict(of(2)).await, "200");
    bench.script(Rule::new(event(Which::All)).times(1));
    assert_eq!(bench.verdict(of(2)).await, "404 BlobNotFound");
}

#[tokio::test]
async fn somebody_writes_between() {
    let bench = Bench::new().await;
    let foreign = Foreign {
        method: "PUT".to_owned(),
        target: format!("/{DEV_ACCOUNT}/disks/b?comp=page"),
        headers: [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        length: 512,
        fill: 9,
    };
    bench.script(Rule::new(Action::First(Event::Request(foreign))).on(Operation::GetBlob).nth(1));
    assert_eq!(bench.ask(read("bytes=0-511")).await.body.into_bytes()[0], 9);
}

#[tokio::test]
async fn a_signature_expires_in_the_middle() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_700_000_000)));
    let service = Service::new(Config::default(), clock);
    let expiry = Timestamp::from_seconds(1_700_000_600).iso();
    let sas = AccountSas {
        version: VERSION,
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: &expiry,
        ..AccountSas::default()
    };
    let sas = account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap();
    let container = || request("GET", &format!("disks?restype=container&{sas}"));
    let create = request("PUT", &format!("disks?restype=container&{sas}"));
    assert_eq!(service.handle(create).await.status, 201);
    service.set_faults(FaultScript::new(0).rule(Rule::new(Action::First(Event::Advance(600_000))).nth(3)));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(verdict(&service.deliver(container()).await.answer().unwrap()));
    }
    assert_eq!(seen, ["200", "200", "403 AuthenticationFailed", "403 AuthenticationFailed"]);
}

#[tokio::test]
async fn power_fails() {
    for (sync, loss, kept) in [
        (false, PowerLoss::default(), 6),
        (false, PowerLoss { records: 2, ..PowerLoss::default() }, 4),
        (false, PowerLoss { records: 2, torn: true, lying: false }, 4),
        (false, PowerLoss { records: 0, torn: true, lying: false }, 6),
        (false, PowerLoss { records: 99, torn: true, lying: false }, 0),
        (true, PowerLoss { records: 2, torn: true, lying: false }, 6),
        (true, PowerLoss { records: 2, torn: true, lying: true }, 4),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench::open(Config::default(), Some((directory.path(), sync))).await;
        for page in 0..6 {
            bench.ask(write(page, 1, 5)).await;
        }
        bench.script(Rule::new(Action::First(Event::PowerLoss(loss))).nth(1));
        assert!(matches!(bench.send(write(9, 1, 5)).await, Delivery::Lost(Break::Reset)));
        let count = async |bench: &Bench| {
            let body = bench.service.handle(request("GET", "disks/b")).await;
            let pages = body.body.into_bytes();
            if body.status == 200 { pages.chunks(512).filter(|page| page[0] == 5).count() } else { 0 }
        };
        assert_eq!(count(&bench).await, kept, "{sync} {loss:?}");
        // It goes on from there, and what it does then is on the disk again.
        bench.setup().await;
        bench.ask(write(15, 1, 5)).await;
        assert_eq!(bench.service.stats().outages, 1);
        let Bench { service, clock } = bench;
        drop(service);
        let config = Config { auth: false, ..Config::default() };
        let service = Service::open(config, Arc::clone(&clock) as Arc<dyn Clock>, directory.path(), sync).unwrap();
        assert_eq!(count(&Bench { service, clock }).await, 1);
    }
    // Without a disk everything is gone.
    let bench = Bench::new().await;
    bench.service.lose_power(PowerLoss::default()).unwrap();
    assert_eq!(bench.verdict(read("bytes=0-1")).await, "404 ContainerNotFound");
}

#[tokio::test]
async fn what_was_late_or_in_part_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::open(Config::default(), Some((directory.path(), false))).await;
    bench.script(on_write(Action::Admit { after: Delay::Held, how: Loss::Reset }));
    drop(bench.send(write(0, 1, 5).header("x-ms-if-sequence-number-lt", "1")).await);
    bench.send(set_sequence(4)).await.answer();
    bench.service.release();
    bench.script(on_write(Action::Lose { applied: Applied::Part, how: Loss::Reset }));
    drop(bench.send(write(4, 8, 6)).await);
    let before = bench.service.handle(request("GET", "disks/b")).await.body.into_bytes();
    assert_eq!((before[0], before[4 * 512]), (5, 6));
    let Bench { service, clock } = bench;
    drop(service);
    let config = Config { auth: false, ..Config::default() };
    let service = Service::open(config, clock, directory.path(), false).unwrap();
    assert_eq!(service.handle(request("GET", "disks/b")).await.body.into_bytes(), before);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_day() {
    let day = async |seed: u64| {
        let bench = Bench::new().await;
        let script = FaultScript::new(seed)
            .rule(Rule::new(Action::reset()).per_mille(50))
            .rule(Rule::new(Action::lost_answer()).per_mille(50))
            .rule(Rule::new(Action::Late { after: Delay::Between(1, 5_000), how: Loss::Reset }).per_mille(50))
            .rule(Rule::new(Action::Duplicate(Delay::Between(1, 5_000))).per_mille(50))
            .rule(Rule::new(Action::Lose { applied: Applied::Part, how: Loss::Hang }).on(Select::PutPage).per_mille(50))
            .rule(Rule::new(Action::CorruptAnswer).on(Select::Reads).per_mille(200))
            .rule(Rule::new(Action::Truncate { keep: Keep::Part, end: End::Short }).on(Select::Reads).per_mille(200));
        bench.service.set_faults(script);
        let mut seen = Vec::new();
        for step in 0..300_u32 {
            let fill = u8::try_from(step % 251).unwrap();
            let at = usize::try_from(step * 7 % 12).unwrap();
            let request = if step % 3 == 2 { read("bytes=0-8191") } else { write(at, 4, fill) };
            seen.push(match bench.send(request).await {
                Delivery::Answer(answer) => format!("{} {:x}", answer.status, crc64(&answer.body.into_bytes())),
                Delivery::Lost(how) => format!("{how:?}"),
                other => panic!("{other:?}"),
            });
            bench.wait(100);
        }
        let end = crc64(&bench.service.handle(request("GET", "disks/b")).await.body.into_bytes());
        (seen, end, bench.service.fault_report().rules)
    };
    let first = day(11).await;
    assert!(first.2.iter().all(|tally| tally.fired > 0), "{:?}", first.2);
    assert_eq!(day(11).await, first);
    assert_ne!(day(12).await.0, first.0);
}

#[tokio::test]
async fn requests_are_counted() {
    let bench = Bench::new().await;
    bench.script(Rule::new(Action::busy()).on(Operation::GetBlob).nth(2));
    bench.ask(write(0, 2, 1)).await;
    bench.ask(read("bytes=0-511")).await;
    bench.ask(read("bytes=0-511")).await;
    let stats = bench.service.stats();
    let writes = stats.operations[&Operation::PutPageUpdate];
    assert_eq!((writes.requests, writes.received, writes.faults), (1, 1024, 0));
    let reads = stats.operations[&Operation::GetBlob];
    assert_eq!((reads.requests, reads.refused, reads.faults), (2, 1, 1));
    assert_eq!(stats.total().requests, 5);
}
