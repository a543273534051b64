//! An answer as the model gives it. Page data stays where it is: a body may be a window on a page table.

use bytes::{Bytes, BytesMut};

use crate::digest;
use crate::pages::PageTable;

/// One HTTP response, whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in the order they are sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// A hash header that is still to be computed over the body.
    pub(crate) hash: Option<RangeHash>,
}

/// Which hash a ranged read asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeHash {
    Crc64,
    Md5,
}

/// The bytes of an answer.
#[derive(Debug, Clone, Default)]
pub struct Body(Content);

#[derive(Debug, Clone, Default)]
enum Content {
    #[default]
    Empty,
    Bytes(Bytes),
    Pages {
        table: PageTable,
        at: u64,
        end: u64,
    },
}

impl Response {
    /// An answer without headers or body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::default(), hash: None }
    }

    /// The first header of this (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Sets a header, replacing one of the same name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.headers.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Computes what was put off, such as the hash of a range; done outside any lock.
    pub(crate) fn seal(&mut self) {
        if let Some(hash) = self.hash.take() {
            let pieces: Vec<Bytes> = self.body.clone().collect();
            let slices = pieces.iter().map(AsRef::as_ref);
            match hash {
                RangeHash::Crc64 => self.set("x-ms-content-crc64", digest::crc64_header(digest::crc64_of(slices))),
                RangeHash::Md5 => self.set("content-md5", digest::encode(&digest::md5_of(slices))),
            }
        }
    }
}

impl Body {
    pub(crate) fn pages(table: PageTable, at: u64, end: u64) -> Self {
        Self(Content::Pages { table, at, end })
    }

    /// Bytes not yet taken.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Empty => 0,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Pages { at, end, .. } => end.saturating_sub(*at),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves no more than the first `length` bytes.
    pub fn truncate(&mut self, length: u64) {
        match &mut self.0 {
            Content::Empty => {}
            Content::Bytes(bytes) => bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
            Content::Pages { at, end, .. } => *end = (*end).min(at.saturating_add(length)),
        }
    }

    /// The rest of the body in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        let Some(first) = self.next() else { return Bytes::new() };
        if self.is_empty() {
            return first;
        }
        let mut all = BytesMut::with_capacity(first.len() + usize::try_from(self.len()).unwrap_or(0));
        all.extend_from_slice(&first);
        self.for_each(|piece| all.extend_from_slice(&piece));
        all.freeze()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { Content::Empty } else { Content::Bytes(bytes) })
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

/// Pieces of the body in order, shared with the page table and never copied.
impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Content::Empty => None,
            Content::Bytes(bytes) => {
                let all = std::mem::take(bytes);
                self.0 = Content::Empty;
                Some(all)
            }
            Content::Pages { table, at, end } => {
                let piece = table.piece(*at, *end)?;
                *at += piece.len() as u64;
                Some(piece)
            }
        }
    }
}
