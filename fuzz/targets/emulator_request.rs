//! The emulator under a conversation: requests of any kind against a service with blobs, snapshots and a lease.
//!
//! An input is text. A first line that begins with `with` chooses the service; then come requests, each a line with
//! method and target, lines with headers, `+seconds` to let time pass before it, `=fill length` for a body, and an empty
//! line at the end. The properties are those a journal and a client rely on; see the functions below `fuzz_target!`.

#![no_main]

mod conversation;

use std::collections::BTreeMap;

use conversation::{Conversation, Said};
use libfuzzer_sys::fuzz_target;
use pageferry_core::page_list::PageListReader;
use pageferry_core::{Change, Kind};
use pageferry_emulator::{Model, Request, Response, Service, Timestamp};

const BLOBS: [&str; 2] = ["/devstoreaccount1/disks/base", "/devstoreaccount1/disks/leased"];

/// The longest content that is looked at whole.
const LOOK: u64 = 64 << 10;

fuzz_target!(|input: &str| {
    let conversation = Conversation::read(input);
    let mut model = Model::new(conversation.config.clone());
    for said in conversation::opening() {
        let response = model.apply(&said.request, said.at);
        assert!(response.is_success(), "{:?} is answered with {}", said.request, response.status);
    }
    let opened = model.clone();
    let mut watch = Watch::new(&model, &conversation);
    let mut answers = Vec::new();
    for said in &conversation.requests {
        let response = model.apply(&said.request, said.at);
        // That reads and refusals change nothing is seen at the end, all at once.
        if response.is_success() && said.is_mutation() {
            watch.look(&model, said, &response);
        }
        answers.push(response);
    }
    let end = conversation.end;
    watch.differences(&model, end);
    only_what_succeeds_leaves_a_trace(opened, model.clone(), &conversation, &answers);
    if conversation.journal {
        a_restart_changes_nothing(&model, &conversation, &answers);
    }
});

/// What is believed of the contents, kept up beside the model.
struct Watch {
    contents: BTreeMap<&'static str, Option<Vec<u8>>>,
    /// Every snapshot that was taken, and what its blob held then.
    snapshots: Vec<(&'static str, String, Vec<u8>)>,
    /// Whether a difference need not report pages that a resize cut off.
    forgetful: bool,
}

impl Watch {
    fn new(model: &Model, conversation: &Conversation) -> Watch {
        let start = conversation.start;
        let contents = BLOBS.iter().map(|blob| (*blob, content(model, blob, None, start))).collect();
        let mut watch =
            Watch { contents, snapshots: Vec::new(), forgetful: !conversation.config.variants.shrink_reported };
        for (blob, time) in conversation::snapshots() {
            let held = content(model, blob, Some(&time), start).expect("a snapshot of the opening");
            watch.snapshots.push((blob, time, held));
        }
        watch
    }

    /// A change of other things leaves contents as they are; a page write changes its range alone; a snapshot keeps what
    /// it was taken of.
    fn look(&mut self, model: &Model, said: &Said, response: &Response) {
        let request = &said.request;
        for blob in BLOBS {
            let (before, after) = (self.contents.remove(blob).flatten(), content(model, blob, None, said.at));
            let meant =
                request.path == blob || request.path.contains('%') || request.get("host") != Some(conversation::HOST);
            match (before, &after) {
                (Some(before), Some(after)) => {
                    let expected = if meant { expected(&before, request, &said.body) } else { Some(before) };
                    // Copies arrive while time passes, whatever is asked meanwhile.
                    if let Some(expected) = expected.filter(|_| !said.slow) {
                        assert!(*after == expected, "{blob} is not what {request:?} should leave");
                    }
                    self.taken(blob, request, response, after);
                }
                (None, None) => {}
                _ => assert!(meant || said.slow, "{blob} came or went by {request:?}"),
            }
            self.contents.insert(blob, after);
        }
        for (blob, time, held) in &self.snapshots {
            let now = content(model, blob, Some(time), said.at);
            assert!(now.is_none_or(|now| now == *held), "snapshot {time} of {blob} was changed by {request:?}");
        }
    }

    fn taken(&mut self, blob: &'static str, request: &Request, response: &Response, held: &[u8]) {
        let comp = request.query("comp").unwrap_or_default();
        if request.path != blob || !response.is_success() || request.method != "PUT" {
            return;
        }
        if comp.eq_ignore_ascii_case("snapshot") && request.get("host") == Some(conversation::HOST) {
            let time = response.get("x-ms-snapshot").expect("the name of the snapshot");
            assert!(
                self.snapshots.iter().all(|(of, known, _)| *of != blob || known.as_str() < time),
                "{time} is older"
            );
            self.snapshots.push((blob, time.to_owned(), held.to_vec()));
        }
    }

    /// What a difference does not report is the same in both pictures; what it reports as cleared reads as zeros.
    fn differences(&self, model: &Model, end: Timestamp) {
        if self.forgetful {
            return;
        }
        for (blob, time, held) in &self.snapshots {
            let later = self.snapshots.iter().filter(|(of, name, _)| of == blob && name > time);
            let later = later.map(|(_, name, held)| (Some(name.as_str()), held.clone()));
            let base = content(model, blob, None, end).map(|held| (None, held));
            for (view, now) in later.chain(base) {
                let Some(changes) = difference(model, blob, view, time, end) else { continue };
                let page = |content: &[u8], at: usize| content.get(at * 512..at * 512 + 512).map(<[u8]>::to_vec);
                for at in 0..now.len() / 512 {
                    let number = at as u64;
                    let said = changes
                        .iter()
                        .find(|change| (change.range.start().count()..change.range.end().count()).contains(&number));
                    let (old, new) = (page(held, at).unwrap_or(vec![0; 512]), page(&now, at).unwrap());
                    match said.map(|change| change.kind) {
                        None => assert_eq!(old, new, "page {at} of {blob} since {time} up to {view:?}"),
                        Some(Kind::Clear) => assert_eq!(new, [0; 512], "page {at} of {blob} since {time}"),
                        Some(Kind::Write) => {}
                    }
                }
            }
        }
    }
}

/// What the blob holds once a request has succeeded on it; `None` where that is not said here.
fn expected(before: &[u8], request: &Request, body: &[u8]) -> Option<Vec<u8>> {
    let comp = request.query("comp").unwrap_or_default().to_ascii_lowercase();
    match (request.method.as_str(), comp.as_str()) {
        ("PUT", "metadata" | "snapshot" | "lease" | "tier") => Some(before.to_vec()),
        ("PUT", "properties") => {
            let mut after = before.to_vec();
            let size = request.get("x-ms-blob-content-length").map(|size| size.trim().parse::<usize>().unwrap());
            after.resize(size.unwrap_or(before.len()), 0);
            Some(after)
        }
        ("PUT", "page") if request.get("x-ms-copy-source").is_none() && !request.path.contains('%') => {
            let range = request.get("x-ms-range").or_else(|| request.get("range")).unwrap();
            let (first, last) = range.trim().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.trim().parse().unwrap(), last.trim().parse().unwrap());
            let mut after = before.to_vec();
            let update = request.get("x-ms-page-write").unwrap().eq_ignore_ascii_case("update");
            let zeros = vec![0; last + 1 - first];
            after[first..=last].copy_from_slice(if update { body } else { &zeros });
            Some(after)
        }
        _ => None,
    }
}

/// Asks a copy of the model, so that asking cannot be what changes it.
fn ask(model: &Model, target: &str, headers: &[(&str, &str)], at: Timestamp) -> Response {
    let request = conversation::owner(Request::new("GET", target));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, *value));
    model.clone().apply(&request, at)
}

/// The bytes of a blob or of a snapshot of it, where it is there and not too long.
fn content(model: &Model, blob: &str, snapshot: Option<&str>, at: Timestamp) -> Option<Vec<u8>> {
    let query = snapshot.map_or(String::new(), |time| format!("?snapshot={time}"));
    let response = ask(model, &format!("{blob}{query}"), &[], at);
    (response.status == 200 && response.body.len() <= LOOK).then(|| response.body.into_bytes().to_vec())
}

/// All pages of the list of what changed since `since`; `None` where the service refuses it.
fn difference(model: &Model, blob: &str, view: Option<&str>, since: &str, at: Timestamp) -> Option<Vec<Change>> {
    let view = view.map_or(String::new(), |time| format!("&snapshot={time}"));
    let target = format!("{blob}?comp=pagelist&prevsnapshot={since}{view}");
    let (mut changes, mut marker) = (Vec::new(), String::new());
    for _ in 0..1000 {
        let response = ask(model, &format!("{target}{marker}"), &[], at);
        if response.status != 200 {
            return None;
        }
        let mut reader = PageListReader::new();
        reader.feed(&response.body.into_bytes(), &mut changes).expect("a page list");
        match reader.finish().expect("a whole page list") {
            Some(next) => marker = format!("&marker={}", next.replace('+', "%2B")),
            None => return Some(changes),
        }
    }
    panic!("the list of {target} has no end");
}

/// The requests that succeeded and could change something, played alone at their times, are answered as they were and
/// leave the same service: reads and refusals leave nothing behind. A journal holds no others.
fn only_what_succeeds_leaves_a_trace(
    mut quiet: Model,
    mut model: Model,
    conversation: &Conversation,
    answers: &[Response],
) {
    for (said, answer) in conversation.requests.iter().zip(answers) {
        // A request to nothing is counted, as every request is, and does nothing else.
        if !said.is_mutation() || !answer.is_success() {
            quiet.apply(&Request::new("OPTIONS", "/"), said.at);
            continue;
        }
        let again = quiet.apply(&said.request, said.at);
        assert_eq!(spoken(&again), spoken(answer), "{:?} is answered otherwise when played again", said.request);
    }
    settle(&mut quiet, conversation.end);
    settle(&mut model, conversation.end);
    let (quiet, model) = (format!("{quiet:?}"), format!("{model:?}"));
    let at = quiet.bytes().zip(model.bytes()).take_while(|(one, other)| one == other).count();
    let excerpt = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..text.len().min(at + 200)]).into_owned()
    };
    assert!(quiet == model, "a refusal left a trace:\n{}\n{}", excerpt(&quiet), excerpt(&model));
}

/// Lets copies arrive that are due: looking at a blob brings it up to the present.
fn settle(model: &mut Model, at: Timestamp) {
    let list = conversation::owner(Request::new("GET", "/devstoreaccount1?comp=list"));
    let body = model.apply(&list, at).body.into_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    for name in body.split("<Name>").skip(1).filter_map(|rest| rest.split_once("</Name>")) {
        model.apply(&Request::new("OPTIONS", &format!("/devstoreaccount1/{}", name.0)), at);
    }
}

/// An answer as far as a client can hold it against another.
fn spoken(response: &Response) -> (u16, Vec<(String, String)>, Option<Vec<u8>>) {
    let body = response.body.clone();
    let body = (body.len() <= LOOK).then(|| body.into_bytes().to_vec());
    (response.status, response.headers.clone(), body)
}

/// A service with a journal answers as the model does, and once more after it was started again.
fn a_restart_changes_nothing(model: &Model, conversation: &Conversation, answers: &[Response]) {
    let directory = std::env::temp_dir().join(format!("pageferry-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let clock = conversation::clock();
    let open = || Service::open(conversation.config.clone(), clock.clone(), &directory, false);
    let service = open().expect("a new service");
    let opening = conversation::opening();
    for said in opening.iter().chain(&conversation.requests) {
        clock.advance(said.at.since(service.now()));
        let response = conversation::now(service.handle(said.request.clone()));
        if let Some(index) = conversation.requests.iter().position(|one| std::ptr::eq(one, said)) {
            assert_eq!(spoken(&response), spoken(&answers[index]), "the service is not the model: {:?}", said.request);
        }
    }
    clock.advance(conversation.end.since(service.now()));
    drop(service);
    let service = open().expect("a service that starts again");
    for target in conversation::questions() {
        let asked = conversation::owner(Request::new("GET", &target));
        let (one, other) = (conversation::now(service.handle(asked)), ask(model, &target, &[], conversation.end));
        let plain = |response: &Response| {
            let (status, mut headers, body) = spoken(response);
            headers.retain(|(name, _)| name != "x-ms-request-id");
            (status, headers, body.filter(|_| response.is_success()))
        };
        assert_eq!(plain(&one), plain(&other), "{target} after a restart");
    }
    drop(service);
    let _ = std::fs::remove_dir_all(&directory);
}
