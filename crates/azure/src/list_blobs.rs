//! The snapshots of a blob, found in the list of its container (REST: List Blobs).
//!
//! There is no request that lists one blob's snapshots. The name serves as prefix, and what merely begins with it is
//! skipped. Elements we do not know are skipped too; a document that does not end, or that is no list, is an error: it
//! would pass for a blob without snapshots.

use azure_core::http::headers::Headers;
use pageferry_core::{Etag, Metadata, Pages, SnapshotId};
use pageferry_store::Snapshot;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::address::percent_decode;
use crate::fault::{Fault, Outcome};
use crate::wire::{Success, Wire};

/// One page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Option<String>,
}

/// One blob or snapshot, as listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    name: String,
    snapshot: Option<String>,
    etag: String,
    size: String,
    metadata: Metadata,
}

impl Wire {
    /// One page of the container's list, as far as it is about our blob.
    pub(crate) async fn list_blobs_once(&self, marker: Option<&str>) -> Result<Listing, Fault> {
        let mut query = vec![
            ("restype", "container"),
            ("comp", "list"),
            ("prefix", self.address.blob()),
            ("include", "snapshots,metadata,copy"),
        ];
        query.extend(marker.map(|marker| ("marker", marker)));
        let request = self.get(self.address.container_url(), &query);
        let Success { headers, mut body, .. } = self.send(request).await?;
        let mut document = Vec::new();
        while let Some(piece) = self.next(&mut body).await? {
            document.extend_from_slice(&piece);
        }
        let mut listing = parse(&document).map_err(|cause| Fault::in_answer(Outcome::Broken, &headers, cause))?;
        if listing.next.is_some() && listing.next.as_deref() == marker {
            return Err(Fault::in_answer(Outcome::Wrong, &headers, "the list of blobs goes on where it began"));
        }
        listing.entries.retain(|entry| entry.name == self.address.blob());
        Ok(listing)
    }

    /// The snapshot that `entry` is, if it is one.
    pub(crate) fn snapshot_from(&self, entry: Entry) -> Result<Option<Snapshot>, Fault> {
        let Some(id) = entry.snapshot else { return Ok(None) };
        let size = entry.size.trim().parse().ok().and_then(Pages::from_bytes);
        let size = size.ok_or_else(|| {
            let cause = format!("snapshot {id} is listed with a size that is no number of pages");
            Fault::in_answer(Outcome::Wrong, &Headers::new(), cause)
        })?;
        let (id, etag) = (SnapshotId::new(id), Etag::new(&entry.etag));
        Ok(Some(Snapshot { id, etag, size, metadata: entry.metadata, family: None }))
    }
}

/// Reads one page of a listing.
pub(crate) fn parse(document: &[u8]) -> Result<Listing, String> {
    let text = std::str::from_utf8(document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document));
    let text = text.map_err(|_| "the list of blobs is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut listing = Listing::default();
    let mut entry = Entry::default();
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    let mut encoded = false;
    let mut ended = false;
    loop {
        match reader.read_event().map_err(|error| format!("the list of blobs is not well-formed: {error}"))? {
            Event::Start(start) => {
                outermost(&path, &start, &content, ended)?;
                path.push(name(&start));
                encoded = is_encoded(&start);
                content.clear();
                if path_is(&path, &["EnumerationResults", "Blobs", "Blob"]) {
                    entry = Entry::default();
                }
            }
            Event::Text(piece) => content.push_str(&piece.decode().map_err(|error| error.to_string())?),
            Event::CData(piece) => content.push_str(&piece.decode().map_err(|error| error.to_string())?),
            Event::GeneralRef(entity) => {
                let resolved = resolve(&entity);
                content.push_str(&resolved.ok_or("the list of blobs has an entity that XML does not define")?);
            }
            Event::Empty(start) => {
                outermost(&path, &start, &content, ended)?;
                path.push(name(&start));
                end(&path, String::new(), &mut entry, &mut listing);
                path.pop();
                content.clear();
                ended = path.is_empty();
            }
            Event::End(_) => {
                let text = std::mem::take(&mut content);
                let text = if encoded { percent_decode(&text) } else { text };
                encoded = false;
                end(&path, text, &mut entry, &mut listing);
                path.pop();
                ended = path.is_empty();
            }
            Event::DocType(_) => return Err("the list of blobs declares a document type, which is refused".to_owned()),
            Event::Eof if ended && content.trim().is_empty() => return Ok(listing),
            Event::Eof if ended => return Err("the list of blobs is followed by text".to_owned()),
            Event::Eof => return Err("the list of blobs ends early".to_owned()),
            _ => {}
        }
    }
}

/// Refuses what is no list of blobs by its outermost element, of which there is one, with no text around it.
fn outermost(path: &[String], start: &BytesStart<'_>, before: &str, ended: bool) -> Result<(), String> {
    match name(start).as_str() {
        _ if !path.is_empty() => Ok(()),
        _ if ended => Err("the list of blobs is followed by more".to_owned()),
        "EnumerationResults" if before.trim().is_empty() => Ok(()),
        other => Err(format!("the body is <{other}>, not a list of blobs")),
    }
}

/// Takes in what an element held.
fn end(path: &[String], text: String, entry: &mut Entry, listing: &mut Listing) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["EnumerationResults", "NextMarker"] => listing.next = Some(text).filter(|marker| !marker.is_empty()),
        ["EnumerationResults", "Blobs", "Blob"] => listing.entries.push(std::mem::take(entry)),
        ["EnumerationResults", "Blobs", "Blob", rest @ ..] => match rest {
            ["Name"] => entry.name = text,
            ["Snapshot"] => entry.snapshot = Some(text),
            ["Properties", "Etag"] => entry.etag = text,
            ["Properties", "Content-Length"] => entry.size = text,
            ["Metadata", name] => {
                entry.metadata.insert(name.to_ascii_lowercase(), text);
            }
            _ => {}
        },
        _ => {}
    }
}

/// The text a reference such as `&amp;` or `&#10;` stands for.
pub(crate) fn resolve(entity: &BytesRef<'_>) -> Option<String> {
    if let Ok(Some(c)) = entity.resolve_char_ref() {
        return Some(c.to_string());
    }
    resolve_predefined_entity(&entity.decode().ok()?).map(str::to_owned)
}

fn name(start: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(start.local_name().as_ref()).into_owned()
}

fn is_encoded(start: &BytesStart<'_>) -> bool {
    matches!(start.try_get_attribute("Encoded"), Ok(Some(value)) if value.value.as_ref() == b"true")
}

fn path_is(path: &[String], expected: &[&str]) -> bool {
    path.iter().map(String::as_str).eq(expected.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\" \
        ContainerName=\"c\"><Prefix>base</Prefix><Blobs><Blob><Name>base.vhd</Name><Snapshot>2023-01-27T22:27:19.7049036Z\
        </Snapshot><Properties><Etag>0x8DB</Etag><Content-Length>1024</Content-Length><Unknown><Etag>no</Etag></Unknown>\
        </Properties><Metadata><K>a&amp;b&#33;</K><empty /></Metadata><OrMetadata/></Blob><Blob><Name Encoded=\"true\">\
        a%20b</Name><Properties/></Blob></Blobs><NextMarker>2!3</NextMarker></EnumerationResults>";

    #[test]
    fn what_we_know_is_read_and_the_rest_skipped() {
        let listing = parse(LIST.as_bytes()).unwrap();
        assert_eq!(listing.next.as_deref(), Some("2!3"));
        let [snapshot, base] = listing.entries.as_slice() else { panic!("{listing:?}") };
        assert_eq!(snapshot.name, "base.vhd");
        assert_eq!(snapshot.snapshot.as_deref(), Some("2023-01-27T22:27:19.7049036Z"));
        assert_eq!((snapshot.etag.as_str(), snapshot.size.as_str()), ("0x8DB", "1024"));
        let metadata = Metadata::from([("k".to_owned(), "a&b!".to_owned()), ("empty".to_owned(), String::new())]);
        assert_eq!(snapshot.metadata, metadata);
        assert_eq!((base.name.as_str(), base.snapshot.as_deref()), ("a b", None));
    }

    #[test]
    fn an_empty_marker_is_the_end() {
        for marker in ["<NextMarker/>", "<NextMarker></NextMarker>", ""] {
            let listing =
                parse(format!("<EnumerationResults><Blobs/>{marker}</EnumerationResults>").as_bytes()).unwrap();
            assert!(listing.next.is_none() && listing.entries.is_empty());
        }
    }

    #[test]
    fn another_document_is_no_list_without_entries() {
        for document in [
            "<Error><Code>ServerBusy</Code></Error>",
            "<html/>",
            "busy <EnumerationResults/>",
            "<EnumerationResults/>busy",
            "<EnumerationResults/><EnumerationResults><Blobs>",
            "<!DOCTYPE html><EnumerationResults/>",
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
        assert!(parse(b"<EnumerationResults/>\r\n<!-- end -->").is_ok());
    }

    #[test]
    fn a_list_cut_anywhere_is_an_error() {
        for cut in 0..LIST.len() {
            if LIST.is_char_boundary(cut) {
                assert!(parse(&LIST.as_bytes()[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
