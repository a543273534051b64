//! The list as an XML document: what each token means where it stands.

use std::mem;

use quick_xml::Reader;
use quick_xml::errors::{Error as XmlError, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::{PageListError, TOKEN_BYTES_MAX, check_length, excerpt, is_blank, plain};
use crate::change::{Change, Kind};
use crate::page::PageRange;

/// Where in the document the reader is, outside of unknown elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Place {
    #[default]
    Before,
    List,
    Entry(Kind),
    Bound(Kind, Bound),
    Marker,
    After,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
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

    pub(super) fn describe(self) -> &'static str {
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
pub(super) struct Document {
    pub(super) place: Place,
    skipped: Skipped,
    text: Vec<u8>,
    start: Option<u64>,
    end: Option<u64>,
    pub(super) marker: Option<String>,
    /// Reads everything as XML in general, for comparison.
    #[cfg(test)]
    pub(super) general: bool,
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
    pub(super) fn read(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> Result<usize, PageListError> {
        let mut used = 0;
        loop {
            used += self.read_plain(&bytes[used..], entries);
            let before = used;
            used += self.read_some(&bytes[used..], entries)?;
            // It stops where plain entries begin, and else where no whole token is left.
            if used == before || !self.is_plain(&bytes[used..]) {
                return Ok(used);
            }
        }
    }

    /// Whether plain entries may begin here: between elements of the list, which is the only place for a range.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        #[cfg(test)]
        if self.general {
            return false;
        }
        self.place == Place::List && self.skipped.is_empty() && plain::begins(bytes)
    }

    /// Reads plain entries as long as there are any.
    fn read_plain(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> usize {
        let mut used = 0;
        if self.is_plain(bytes) {
            while let Some((change, length)) = plain::entry(&bytes[used..]) {
                entries.push(change);
                used += length;
            }
        }
        used
    }

    /// Reads whole tokens of `bytes` up to where plain entries begin; gives back how long they are.
    fn read_some(&mut self, bytes: &[u8], entries: &mut Vec<Change>) -> Result<usize, PageListError> {
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
            if self.is_plain(&slice[used..]) {
                break;
            }
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
