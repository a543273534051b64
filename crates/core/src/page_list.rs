//! Reads the service's list of page ranges while it arrives (REST: Get Page Ranges).
//!
//! A list may be a hundred megabytes long, so nothing of it is kept but the unfinished end of what was fed. Entries come
//! out in the order of the document, since writes and clears are interleaved by address there. And a list that is cut
//! short is an error, never a short list: pages missing from it would be missing from the backup.

use std::mem;

use quick_xml::Reader;
use quick_xml::errors::{Error as XmlError, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use crate::change::{Change, Kind};
use crate::page::PageRange;

/// The longest tag, text or comment that is accepted. Real ones stay below a hundred bytes; a limit is what keeps a
/// hostile or broken answer from filling memory.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Reads one answer, fed in pieces that may be cut anywhere.
#[derive(Debug, Default)]
pub struct PageListReader {
    pending: Vec<u8>,
    document: Document,
    failed: Option<PageListError>,
}

/// Why an answer is no list of page ranges.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PageListError {
    /// The body stopped before the list did.
    #[error("the page list ends early, {0}")]
    Truncated(&'static str),
    /// The body goes on after the list has ended.
    #[error("the page list is followed by more: {0:?}")]
    Trailing(String),
    /// The body is XML, but of another kind, such as an error message.
    #[error("the body is <{0}>, not <PageList>")]
    OtherDocument(String),
    /// The body is not XML.
    #[error("the page list is not well-formed: {0}")]
    Malformed(String),
    /// Document types declare entities, which no list needs and which can be made to explode.
    #[error("the page list declares a document type, which is refused")]
    Doctype,
    /// One tag, text or comment is longer than [`TOKEN_BYTES_MAX`].
    #[error("the page list holds a tag or text of more than {TOKEN_BYTES_MAX} bytes")]
    TokenTooLong,
    /// An end tag does not belong to the element that is open.
    #[error("<{0}> is closed by </{1}>")]
    Mismatched(String, String),
    /// Text between elements, where there can be none.
    #[error("the page list has text between its elements: {0:?}")]
    StrayText(String),
    /// A range without one of its ends.
    #[error("a {0} has no {1}")]
    Missing(&'static str, &'static str),
    /// An element that can be there but once is there again.
    #[error("{0} is given twice")]
    Repeated(&'static str),
    /// An end of a range is no number of bytes.
    #[error("{0} is {1:?}, which is no byte offset")]
    BadOffset(&'static str, String),
    /// A range is inverted, or does not begin and end with a page.
    #[error("a {0} of bytes {1}-{2} is not a run of whole pages")]
    BadRange(&'static str, u64, u64),
    /// A reference to an entity that XML does not define by itself.
    #[error("the reference &{0}; is unknown")]
    BadReference(String),
    /// The marker for the next part of the list is not UTF-8.
    #[error("the marker {0:?} is not UTF-8")]
    BadMarker(String),
}

impl PageListReader {
    /// A reader at the start of a body.
    pub fn new() -> PageListReader {
        PageListReader::default()
    }

    /// Takes the next bytes of the body and adds the ranges that they complete to `entries`, in document order.
    ///
    /// # Errors
    /// [`PageListError`] where the body is no page list. The reader then stays failed: entries it has given stand for
    /// nothing.
    pub fn feed(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> Result<(), PageListError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance(bytes, entries);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.pending = Vec::new();
        }
        result
    }

    /// Ends the body; gives back the marker that asks for the next part of the list, if there is one.
    ///
    /// # Errors
    /// [`PageListError`] where the list has not ended, or has failed before.
    pub fn finish(mut self) -> Result<Option<String>, PageListError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        // What is pending was not looked at again with each piece of it, and may be no token at all.
        self.document.read(&self.pending, &mut Vec::new())?;
        if self.document.place != Place::After {
            return Err(PageListError::Truncated(self.document.place.describe()));
        }
        if !is_blank(&self.pending) {
            return Err(PageListError::Trailing(excerpt(&self.pending)));
        }
        Ok(self.document.marker.filter(|marker| !marker.is_empty()))
    }

    fn advance(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> Result<(), PageListError> {
        if self.pending.is_empty() {
            let used = self.document.read(bytes, entries)?;
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            // The third byte of a token may already show that it is none: `<!?`.
            let young = self.pending.len() < 3;
            self.pending.extend_from_slice(bytes);
            // What is pending is one unfinished token, and no other byte ends one: do not scan it again in vain.
            if young || bytes.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b';')) {
                let used = self.document.read(&self.pending, entries)?;
                self.pending.drain(..used);
            }
        }
        check_length(self.pending.len())
    }
}

/// Where in the document the reader is, outside of unknown elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Before,
    List,
    Entry(Kind),
    Bound(Kind, Bound),
    Marker,
    After,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    Start,
    End,
}

impl Place {
    /// The element that is open here.
    fn name(self) -> &'static str {
        match self {
            Place::Before | Place::After => "",
            Place::List => "PageList",
            Place::Entry(kind) => entry_name(kind),
            Place::Bound(_, bound) => bound.name(),
            Place::Marker => "NextMarker",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Place::Before => "before it began",
            Place::List => "between ranges",
            Place::Entry(_) | Place::Bound(..) => "inside a range",
            Place::Marker => "inside the marker",
            Place::After => "after its end",
        }
    }
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Bound::Start => "Start",
            Bound::End => "End",
        }
    }
}

fn entry_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Write => "PageRange",
        Kind::Clear => "ClearRange",
    }
}

/// What has been understood so far, kept across feeds.
#[derive(Debug, Default)]
struct Document {
    place: Place,
    skipped: Skipped,
    text: Vec<u8>,
    start: Option<u64>,
    end: Option<u64>,
    marker: Option<String>,
}

/// The names of the unknown elements that are open, end to end.
#[derive(Debug, Default)]
struct Skipped {
    names: Vec<u8>,
    starts: Vec<usize>,
}

impl Document {
    /// Reads all whole tokens of `bytes`; gives back how long they are. Text counts as whole once a tag follows, so that
    /// the tokens are the same however the body was cut.
    fn read(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> Result<usize, PageListError> {
        // The XML reader drops a byte order mark at the start of a slice and miscounts by it, so give it none.
        let Some(markup) = bytes.iter().position(|byte| matches!(byte, b'<' | b'&')) else {
            return Ok(0);
        };
        check_length(markup)?;
        self.content(&bytes[..markup])?;
        let slice = &bytes[markup..];
        let mut reader = Reader::from_reader(slice);
        let config = reader.config_mut();
        config.check_end_names = false; // it knows the tags of one slice only
        config.allow_unmatched_ends = true;
        let mut used = 0;
        loop {
            let event = reader.read_event();
            let position = usize::try_from(reader.buffer_position()).unwrap_or(slice.len()).min(slice.len());
            let event = match event {
                Ok(Event::Eof) => break,
                Ok(Event::Text(_)) if position == slice.len() => break,
                Ok(event) => event,
                Err(error) if is_unfinished(&error, &slice[used..], position == slice.len()) => break,
                Err(XmlError::Syntax(SyntaxError::UnclosedDoctype))
                | Err(XmlError::IllFormed(IllFormedError::MissingDoctypeName)) => return Err(PageListError::Doctype),
                Err(error) => return Err(PageListError::Malformed(error.to_string())),
            };
            check_length(position - used)?;
            self.token(event, entries)?;
            used = position;
        }
        Ok(markup + used)
    }

    fn token(&mut self, event: Event<'_>, entries: &mut Vec<Change>) -> Result<(), PageListError> {
        match event {
            Event::Start(tag) => self.open(&tag, tag.name().as_ref()),
            Event::End(tag) => self.close(tag.name().as_ref(), entries),
            Event::Empty(tag) => {
                self.open(&tag, tag.name().as_ref())?;
                self.close(tag.name().as_ref(), entries)
            }
            Event::Text(text) => self.content(&text),
            Event::CData(text) => self.content(&text),
            Event::GeneralRef(reference) => self.reference(&reference),
            Event::DocType(_) => Err(PageListError::Doctype),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Eof => Ok(()),
        }
    }

    fn open(&mut self, tag: &[u8], name: &[u8]) -> Result<(), PageListError> {
        let place = if self.skipped.is_empty() { self.place } else { return self.skipped.open(tag, name) };
        self.place = match (place, name) {
            (Place::Before, b"PageList") => Place::List,
            (Place::Before, _) => return Err(PageListError::OtherDocument(excerpt(name))),
            (Place::After, _) => return Err(PageListError::Trailing(excerpt(tag))),
            (Place::List, b"PageRange") => self.entry(Kind::Write),
            (Place::List, b"ClearRange") => self.entry(Kind::Clear),
            (Place::List, b"NextMarker") if self.marker.is_some() => return Err(PageListError::Repeated("NextMarker")),
            (Place::List, b"NextMarker") => self.value(Place::Marker),
            (Place::Entry(_), b"Start") if self.start.is_some() => return Err(PageListError::Repeated("Start")),
            (Place::Entry(_), b"End") if self.end.is_some() => return Err(PageListError::Repeated("End")),
            (Place::Entry(kind), b"Start") => self.value(Place::Bound(kind, Bound::Start)),
            (Place::Entry(kind), b"End") => self.value(Place::Bound(kind, Bound::End)),
            _ => return self.skipped.open(tag, name),
        };
        if tag.len() == name.len() { Ok(()) } else { check_tag(tag) }
    }

    fn entry(&mut self, kind: Kind) -> Place {
        (self.start, self.end) = (None, None);
        Place::Entry(kind)
    }

    fn value(&mut self, place: Place) -> Place {
        self.text.clear();
        place
    }

    fn close(&mut self, name: &[u8], entries: &mut Vec<Change>) -> Result<(), PageListError> {
        if !self.skipped.is_empty() {
            return self.skipped.close(name);
        }
        let open = self.place.name().as_bytes();
        if name != open && !open.is_empty() {
            return Err(mismatched(open, name));
        }
        self.place = match self.place {
            Place::Before => return Err(PageListError::OtherDocument(format!("/{}", excerpt(name)))),
            Place::After => return Err(PageListError::Trailing(format!("</{}>", excerpt(name)))),
            Place::List => Place::After,
            Place::Entry(kind) => {
                entries.push(self.change(kind)?);
                Place::List
            }
            Place::Bound(kind, bound) => {
                let offset = parse_offset(&self.text)
                    .ok_or_else(|| PageListError::BadOffset(bound.name(), excerpt(&self.text)))?;
                match bound {
                    Bound::Start => self.start = Some(offset),
                    Bound::End => self.end = Some(offset),
                }
                Place::Entry(kind)
            }
            Place::Marker => {
                let marker = String::from_utf8(mem::take(&mut self.text));
                self.marker = Some(marker.map_err(|error| PageListError::BadMarker(excerpt(error.as_bytes())))?);
                Place::List
            }
        };
        Ok(())
    }

    fn change(&self, kind: Kind) -> Result<Change, PageListError> {
        let entry = entry_name(kind);
        let first = self.start.ok_or(PageListError::Missing(entry, "Start"))?;
        let last = self.end.ok_or(PageListError::Missing(entry, "End"))?;
        let range = PageRange::from_inclusive_bytes(first, last);
        Ok(Change { kind, range: range.ok_or(PageListError::BadRange(entry, first, last))? })
    }

    fn content(&mut self, text: &[u8]) -> Result<(), PageListError> {
        if !self.skipped.is_empty() {
            return Ok(());
        }
        match self.place {
            Place::Bound(..) | Place::Marker => {
                self.text.extend_from_slice(text);
                check_length(self.text.len())
            }
            Place::Before if is_blank(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)) => Ok(()),
            Place::After if !is_blank(text) => Err(PageListError::Trailing(excerpt(text))),
            _ if is_blank(text) => Ok(()),
            _ => Err(PageListError::StrayText(excerpt(text))),
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), PageListError> {
        if !self.skipped.is_empty() {
            return Ok(());
        }
        let unknown = || PageListError::BadReference(excerpt(reference));
        if let Some(char) = reference.resolve_char_ref().map_err(|_| unknown())? {
            return self.content(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        let name = std::str::from_utf8(reference).map_err(|_| unknown())?;
        self.content(resolve_predefined_entity(name).ok_or_else(unknown)?.as_bytes())
    }
}

impl Skipped {
    fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn open(&mut self, tag: &[u8], name: &[u8]) -> Result<(), PageListError> {
        check_tag(tag)?;
        if name.is_empty() {
            return Err(PageListError::Malformed("a tag has no name".to_owned()));
        }
        if self.names.len() + name.len() > TOKEN_BYTES_MAX {
            return Err(PageListError::Malformed("elements are nested too deeply".to_owned()));
        }
        self.starts.push(self.names.len());
        self.names.extend_from_slice(name);
        Ok(())
    }

    fn close(&mut self, name: &[u8]) -> Result<(), PageListError> {
        let start = self.starts.pop().unwrap_or_default();
        if &self.names[start..] != name {
            return Err(mismatched(&self.names[start..], name));
        }
        self.names.truncate(start);
        Ok(())
    }
}

/// Whether more bytes could make `rest`, which the reader refused, into a token.
fn is_unfinished(error: &XmlError, rest: &[u8], at_end: bool) -> bool {
    match error {
        XmlError::Syntax(SyntaxError::InvalidBangMarkup) => rest.len() < b"<!-".len(),
        XmlError::Syntax(SyntaxError::UnclosedDoctype) => false,
        XmlError::Syntax(_) => true,
        XmlError::IllFormed(IllFormedError::UnclosedReference) => at_end,
        _ => false,
    }
}

/// A `<` inside a tag means that its end, and perhaps a whole range, was lost; the XML reader would take it for an
/// attribute.
fn check_tag(tag: &[u8]) -> Result<(), PageListError> {
    if tag.contains(&b'<') { Err(PageListError::Malformed(format!("<{}> is no tag", excerpt(tag)))) } else { Ok(()) }
}

fn check_length(bytes: usize) -> Result<(), PageListError> {
    if bytes > TOKEN_BYTES_MAX { Err(PageListError::TokenTooLong) } else { Ok(()) }
}

fn mismatched(open: &[u8], close: &[u8]) -> PageListError {
    PageListError::Mismatched(excerpt(open), excerpt(close))
}

fn parse_offset(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |offset, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        offset.checked_mul(10)?.checked_add(digit)
    })
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Enough of `bytes` to recognise them by in a message.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}

#[cfg(test)]
mod tests;
