//! Reads the service's list of page ranges while it arrives (REST: Get Page Ranges).
//!
//! A list may be a hundred megabytes long, so nothing of it is kept but the unfinished end of what was fed. Entries come
//! out in the order of the document, since writes and clears are interleaved by address there. And a list that is cut
//! short is an error, never a short list: pages missing from it would be missing from the backup.
//!
//! `document` understands XML in general; `plain` reads entries spelt as the service spells them, which is nearly all.

mod document;
mod plain;

use crate::change::Change;
use document::{Document, Place};

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

fn check_length(bytes: usize) -> Result<(), PageListError> {
    if bytes > TOKEN_BYTES_MAX { Err(PageListError::TokenTooLong) } else { Ok(()) }
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
