//! The reader of List Blobs, through the blob that asks: never a short list, and one meaning.
//!
//! An input is the body of an answer. The transport below gives it in pieces; a second page, where the first asks for
//! one, is empty.

#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pageferry_azure::{Address, Credential, Options, PageBlob, RetryPolicy};
use pageferry_fuzz::Dice;
use pageferry_store::{ErrorKind, Snapshot, Source};
use tokio::runtime::Runtime;

const LAST_PAGE: &str = "<EnumerationResults><Blobs/></EnumerationResults>";

thread_local! {
    static SERVICE: RefCell<Service> = RefCell::new(Service::new());
}

fuzz_target!(|body: &[u8]| SERVICE.with_borrow_mut(|service| check(service, body)));

fn check(service: &mut Service, body: &[u8]) {
    let mut dice = Dice::of(body);
    let whole = service.list(&[body]);
    assert_eq!(service.list(&dice.pieces(body, 4)), whole, "in pieces");
    let Ok(snapshots) = &whole else { return };
    assert_eq!(root(body).as_deref(), Some("EnumerationResults"), "another document passes for a list");
    for end in dice.prefixes(body.len()) {
        let outcome = service.list(&[&body[..end]]);
        assert!(outcome.is_err() || outcome == whole, "the first {end} bytes pass for {outcome:?}, not {whole:?}");
    }
    let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !name.is_empty();
    if snapshots.iter().all(|(.., metadata)| metadata.iter().all(|(name, _)| plain(name))) {
        let again = written(snapshots);
        assert_eq!(service.list(&[again.as_bytes()]).as_ref(), Ok(snapshots), "written again as {again}");
    }
}

/// What a listing says of one snapshot: name, tag, size, metadata.
type Listed = (String, String, u64, Vec<(String, String)>);

/// A blob whose service answers with what is put in its hand.
struct Service {
    blob: PageBlob,
    hand: Hand,
    runtime: Runtime,
}

#[derive(Clone, Debug, Default)]
struct Hand(Arc<Mutex<Vec<Bytes>>>);

#[async_trait]
impl HttpClient for Hand {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let pieces = std::mem::replace(&mut *self.0.lock().unwrap(), vec![Bytes::from_static(LAST_PAGE.as_bytes())]);
        let body = futures::stream::iter(pieces.into_iter().map(Ok));
        Ok(AsyncRawResponse::new(200.into(), Headers::new(), Box::pin(body)))
    }
}

impl Service {
    fn new() -> Service {
        let hand = Hand::default();
        let options =
            Options { transport: Some(Arc::new(hand.clone())), retry: RetryPolicy::NONE, ..Options::default() };
        let address = Address::parse("https://acct.blob.core.windows.net/disks/base.vhd").unwrap();
        let blob = PageBlob::new(address, &Credential::Anonymous, options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Service { blob, hand, runtime }
    }

    fn list(&mut self, body: &[&[u8]]) -> Result<Vec<Listed>, ErrorKind> {
        *self.hand.0.lock().unwrap() = body.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        let snapshots = self.runtime.block_on(self.blob.snapshots()).map_err(|error| error.kind())?;
        Ok(snapshots.into_iter().map(listed).collect())
    }
}

fn listed(snapshot: Snapshot) -> Listed {
    let metadata = snapshot.metadata.into_iter().collect();
    (snapshot.id.as_str().to_owned(), snapshot.etag.as_str().to_owned(), snapshot.size.bytes(), metadata)
}

/// The listing that says just this.
fn written(snapshots: &[Listed]) -> String {
    let mut out = "<EnumerationResults><Blobs>".to_owned();
    for (id, etag, size, metadata) in snapshots {
        out.push_str(&format!("<Blob><Name>base.vhd</Name><Snapshot>{}</Snapshot>", escaped(id)));
        out.push_str(&format!("<Properties><Etag>{}</Etag>", escaped(etag)));
        out.push_str(&format!("<Content-Length>{size}</Content-Length></Properties><Metadata>"));
        for (name, value) in metadata {
            out.push_str(&format!("<{name}>{}</{name}>", escaped(value)));
        }
        out.push_str("</Metadata></Blob>");
    }
    out + "</Blobs></EnumerationResults>"
}

fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' | '<' | '>' | '\r' => format!("&#{};", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// The name of the outermost element, without its prefix; `None` where there is other text before it.
fn root(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let skipped = [("<?", "?>"), ("<!--", "-->")];
        let Some((start, end)) = skipped.into_iter().find(|(start, _)| rest.starts_with(start)) else { break };
        rest = rest[start.len()..].split_once(end)?.1;
    }
    let name = rest.strip_prefix('<')?.split([' ', '\t', '\r', '\n', '/', '>']).next()?;
    Some(name.split_once(':').map_or(name, |(_, local)| local).to_owned())
}
