//! Reading the parts of a request that several operations share.

use std::sync::Arc;

use crate::model::blob::{HTTP_FIELDS, HttpFields, Metadata};
use crate::model::fault::Fault;
use crate::pages::PAGE;
use crate::request::Request;
use crate::time::Timestamp;

/// The largest page blob.
pub(crate) const MAX_BLOB: u64 = 8 << 40;

/// The largest page write, and the largest range with a hash.
pub(crate) const MAX_WRITE: u64 = 4 << 20;

/// All names and values of a blob's metadata together.
const MAX_METADATA: usize = 8 << 10;

/// A range of bytes; `end` is one past the last byte, or the end of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
}

/// The snapshot time in a query parameter, if it is given.
pub(crate) fn snapshot(request: &Request, name: &str) -> Result<Option<Timestamp>, Fault> {
    request.query(name).filter(|text| !text.is_empty()).map(|text| snapshot_time(name, text)).transpose()
}

/// Reads a snapshot time, which has exactly seven fraction digits.
pub(crate) fn snapshot_time(name: &str, text: &str) -> Result<Timestamp, Fault> {
    let parsed = Timestamp::parse_iso(text).filter(|time| time.iso() == text);
    parsed.ok_or_else(|| Fault::parameter(name, text, "Not a snapshot time."))
}

/// Refuses what would change a snapshot.
pub(crate) fn on_base(request: &Request) -> Result<(), Fault> {
    match request.query("snapshot") {
        Some(_) => Err(Fault::of("InvalidOperation")),
        None => Ok(()),
    }
}

/// The range header of a read; one that makes no sense counts as absent, as the service has it.
pub(crate) fn read_range(request: &Request) -> Option<ByteRange> {
    byte_range(range_header(request)?.1)
}

/// The range of a page operation: both ends given, both on page edges.
pub(crate) fn page_range(name: &'static str, text: &str, misaligned_is_416: bool) -> Result<(u64, u64), Fault> {
    let bad = || if misaligned_is_416 { Fault::of("InvalidPageRange") } else { Fault::header(name, text) };
    match byte_range(text) {
        Some(ByteRange { start, end: Some(end) }) if start % PAGE == 0 && end % PAGE == 0 => Ok((start, end)),
        _ => Err(bad()),
    }
}

/// The range header with its name; `x-ms-range` wins over `Range`.
pub(crate) fn range_header(request: &Request) -> Option<(&'static str, &str)> {
    ["x-ms-range", "range"].into_iter().find_map(|name| request.get(name).map(|text| (name, text)))
}

/// `bytes=a-b` or `bytes=a-`.
fn byte_range(text: &str) -> Option<ByteRange> {
    let (start, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let start = number(start.trim())?;
    let end = match last.trim() {
        "" => None,
        last => Some(number(last)?.checked_add(1)?),
    };
    end.is_none_or(|end| start < end).then_some(ByteRange { start, end })
}

/// A blob's length: a multiple of the page, at most 8 TiB.
pub(crate) fn blob_length(request: &Request) -> Result<Option<u64>, Fault> {
    const NAME: &str = "x-ms-blob-content-length";
    let Some(text) = request.get(NAME) else { return Ok(None) };
    let size = text.trim().parse::<u64>().ok().filter(|size| size % PAGE == 0);
    match size.ok_or_else(|| Fault::header(NAME, text))? {
        size if size > MAX_BLOB => Err(Fault::of("RequestBodyTooLarge")),
        size => Ok(Some(size)),
    }
}

/// The metadata a request carries; `None` when it carries none.
pub(crate) fn metadata(request: &Request) -> Result<Option<Metadata>, Fault> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.headers {
        let Some(name) = name.strip_prefix("x-ms-meta-") else { continue };
        if name.is_empty() {
            return Err(Fault::of("EmptyMetadataKey"));
        }
        let identifier = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !identifier || name.starts_with(|c: char| c.is_ascii_digit()) || value.chars().any(|c| c.is_control()) {
            return Err(Fault::of("InvalidMetadata"));
        }
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.push_str(&format!(",{value}")),
            None => found.push((name.to_owned(), value.clone())),
        }
    }
    if found.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_METADATA {
        return Err(Fault::of("MetadataTooLarge"));
    }
    found.sort_unstable();
    Ok((!found.is_empty()).then(|| Arc::new(found)))
}

/// The HTTP properties a request carries; `None` when it carries none of them.
pub(crate) fn http_fields(request: &Request) -> Option<HttpFields> {
    let given = HTTP_FIELDS.map(|(header, ..)| request.get(header));
    given.iter().any(Option::is_some).then(|| given.map(|value| value.unwrap_or_default().to_owned()))
}

/// A number between limits in a query parameter.
pub(crate) fn page_size(request: &Request, most: usize) -> Result<usize, Fault> {
    let Some(text) = request.query("maxresults").filter(|text| !text.is_empty()) else { return Ok(most) };
    match text.parse::<i64>() {
        Ok(n) if n <= 0 => Err(Fault::out_of_range("maxresults", text, "Must be greater than 0.")),
        Ok(n) => Ok(usize::try_from(n).unwrap_or(most).min(most)),
        Err(_) => Err(Fault::parameter("maxresults", text, "Not a number.")),
    }
}

/// A GUID in the usual form, in lower case.
pub(crate) fn guid(name: &'static str, text: &str) -> Result<String, Fault> {
    let bare = text.trim().trim_start_matches(['{', '(']).trim_end_matches(['}', ')']);
    let hex: String = bare.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Fault::header(name, text));
    }
    let hex = hex.to_ascii_lowercase();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// The lease id of a request.
pub(crate) fn lease_id(request: &Request) -> Result<Option<String>, Fault> {
    request.get("x-ms-lease-id").map(|text| guid("x-ms-lease-id", text)).transpose()
}
