//! Conditional headers: the four of HTTP, the same four for a copy's source, and the sequence number.

use crate::model::blob::{State, etag};
use crate::model::fault::Fault;
use crate::request::Request;
use crate::time::Timestamp;

/// Names of the four headers, in the order of [`Conditions`]'s fields.
const TARGET: [&str; 4] = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
const SOURCE: [&str; 4] = [
    "x-ms-source-if-match",
    "x-ms-source-if-none-match",
    "x-ms-source-if-modified-since",
    "x-ms-source-if-unmodified-since",
];

/// Conditions of one request, read but not yet compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    matches: Option<Vec<String>>,
    none_match: Option<Vec<String>>,
    modified_since: Option<Timestamp>,
    unmodified_since: Option<Timestamp>,
    weigh_all: bool,
}

/// What is to be done when a condition is not met: 412 always, or 304 for the two that ask for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Failed,
    NotModified,
}

impl Conditions {
    /// The conditions of a write or of a read that takes one condition only.
    pub(crate) fn of(request: &Request) -> Result<Self, Fault> {
        let read = Self::read(request, TARGET)?;
        read.single()?;
        Ok(read)
    }

    /// The conditions of Get Blob and Get Blob Properties, which take all four and several ETags.
    pub(crate) fn of_read(request: &Request, version: &str) -> Result<Self, Fault> {
        if version < "2013-08-15" {
            return Self::of(request);
        }
        Ok(Self { weigh_all: true, ..Self::read(request, TARGET)? })
    }

    /// The conditions on a copy's source.
    pub(crate) fn of_source(request: &Request) -> Result<Self, Fault> {
        Self::read(request, SOURCE)
    }

    /// Refuses all conditions, where the operation knows none.
    pub(crate) fn none(request: &Request) -> Result<(), Fault> {
        match TARGET.iter().any(|name| request.get(name).is_some()) {
            true => Err(Fault::of("ConditionHeadersNotSupported")),
            false => Ok(()),
        }
    }

    /// Compares with a blob.
    pub(crate) fn check(&self, state: &State) -> Verdict {
        self.compare(state.etag, state.modified)
    }

    pub(crate) fn compare(&self, etag_value: u64, modified: Timestamp) -> Verdict {
        let tag = etag(etag_value);
        let named = |tags: &[String]| tags.iter().any(|t| t == "*" || t == tag.trim_matches('"'));
        let modified = modified.seconds();
        let holds = |tags: &Option<Vec<String>>| tags.as_ref().is_none_or(|tags| named(tags));
        let older = self.unmodified_since.is_none_or(|at| modified <= at.seconds());
        // Writes let the ETag speak for the date; Get Blob and Get Blob Properties weigh both.
        let unchanged = match &self.matches {
            Some(_) if !self.weigh_all => holds(&self.matches),
            _ => holds(&self.matches) && older,
        };
        if !unchanged {
            return Verdict::Failed;
        }
        let newer = self.modified_since.map(|at| modified > at.seconds());
        let other = self.none_match.as_ref().map(|tags| !named(tags));
        let news = match (other, newer) {
            (Some(other), Some(newer)) if self.weigh_all => other || newer,
            (Some(other), _) => other,
            (None, newer) => newer.unwrap_or(true),
        };
        if news { Verdict::Met } else { Verdict::NotModified }
    }

    /// For a write: met, or 412.
    pub(crate) fn for_write(&self, state: &State) -> Result<(), Fault> {
        match self.check(state) {
            Verdict::Met => Ok(()),
            _ => Err(Fault::of("ConditionNotMet")),
        }
    }

    /// For a read: met, 304 or 412.
    pub(crate) fn for_read(&self, state: &State) -> Result<(), Fault> {
        match self.check(state) {
            Verdict::Met => Ok(()),
            Verdict::Failed => Err(Fault::of("ConditionNotMet")),
            Verdict::NotModified => Err(Fault::of("ConditionNotMet").status(304)),
        }
    }

    /// For an operation that makes a blob, where there may be none yet.
    pub(crate) fn for_creation(&self, existing: Option<&State>) -> Result<(), Fault> {
        match existing {
            Some(_) if self.none_match.as_ref().is_some_and(|tags| tags.iter().any(|t| t == "*")) => {
                Err(Fault::of("BlobAlreadyExists"))
            }
            Some(state) => self.for_write(state),
            None if self.matches.is_some() => Err(Fault::of("ConditionNotMet")),
            None => Ok(()),
        }
    }

    fn read(request: &Request, names: [&'static str; 4]) -> Result<Self, Fault> {
        if request.get("x-ms-if-tags").is_some() {
            // Ignoring a condition would be worse than refusing it.
            return Err(Fault::of("UnsupportedHeader").with("HeaderName", "x-ms-if-tags"));
        }
        let tags = |name: &str| request.get(name).map(|v| v.split(',').map(unquote).collect::<Vec<_>>());
        let date = |name: &'static str| match request.get(name) {
            None => Ok(None),
            Some(text) => Timestamp::parse_http(text).map(Some).ok_or_else(|| Fault::header(name, text)),
        };
        Ok(Self {
            matches: tags(names[0]),
            none_match: tags(names[1]),
            modified_since: date(names[2])?,
            unmodified_since: date(names[3])?,
            weigh_all: false,
        })
    }

    /// One condition, or one of the two pairs in which the ETag beats the date.
    fn single(&self) -> Result<(), Fault> {
        let many = |tags: &Option<Vec<String>>| tags.as_ref().is_some_and(|t| t.len() > 1);
        let given = (
            self.matches.is_some(),
            self.none_match.is_some(),
            self.modified_since.is_some(),
            self.unmodified_since.is_some(),
        );
        match given {
            _ if many(&self.matches) || many(&self.none_match) => {
                Err(Fault::of("MultipleConditionHeadersNotSupported"))
            }
            (_, false, false, _) | (false, _, _, false) => Ok(()),
            _ => Err(Fault::of("MultipleConditionHeadersNotSupported")),
        }
    }
}

/// Conditions on the sequence number; all that are given must hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SequenceConditions {
    le: Option<u64>,
    lt: Option<u64>,
    eq: Option<u64>,
}

impl SequenceConditions {
    pub(crate) fn of(request: &Request) -> Result<Self, Fault> {
        let read = |name: &str| match request.get(name) {
            None => Ok(None),
            Some(text) => sequence(text).map(Some).ok_or_else(|| Fault::header(name, text)),
        };
        Ok(Self {
            le: read("x-ms-if-sequence-number-le")?,
            lt: read("x-ms-if-sequence-number-lt")?,
            eq: read("x-ms-if-sequence-number-eq")?,
        })
    }

    pub(crate) fn check(self, current: u64) -> Result<(), Fault> {
        let holds = self.le.is_none_or(|v| current <= v)
            && self.lt.is_none_or(|v| current < v)
            && self.eq.is_none_or(|v| current == v);
        if holds { Ok(()) } else { Err(Fault::of("SequenceNumberConditionNotMet")) }
    }
}

/// A sequence number: 0 to 2^63 - 1.
pub(crate) fn sequence(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok().filter(|v| i64::try_from(*v).is_ok())
}

fn unquote(tag: &str) -> String {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
}
