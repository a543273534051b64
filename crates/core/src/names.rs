//! Names the service gives to things: snapshots, entity tags, and the metadata that carries our words.

use std::collections::BTreeMap;
use std::fmt;

/// Metadata of a blob or snapshot: names in lower case, values as sent.
pub type Metadata = BTreeMap<String, String>;

/// A snapshot's name: an opaque UTC time with seven fraction digits, unique and increasing within one blob. Ordered as
/// text, which for the service's fixed width is the order of time (REST: Snapshot Blob).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The snapshot the service calls `name`.
    pub fn new(name: impl Into<String>) -> SnapshotId {
        SnapshotId(name.into())
    }

    /// The name, to be sent back to the letter.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An entity tag without its quotes: headers carry it quoted, listings do not.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Etag(String);

impl Etag {
    /// The tag in `text`, quoted or not. The tag of a tag is the same tag.
    pub fn new(text: &str) -> Etag {
        Etag(text.trim_matches(|c: char| c.is_whitespace() || c == '"').to_owned())
    }

    /// The tag as stored: without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag as a condition header wants it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_however_often_it_is_read() {
        for text in ["0x8D1", "\"0x8D1\"", " \"0x8D1\" ", "\" 0x8D1\"", "\" \" 0x8D1"] {
            assert_eq!(Etag::new(text).as_str(), "0x8D1");
            assert_eq!(Etag::new(&Etag::new(text).quoted()), Etag::new(text));
        }
    }
}
