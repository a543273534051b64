//! A request as the model sees it: decoded once, independent of any socket.

use std::net::IpAddr;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::digest;

/// One HTTP request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// The verb in upper case.
    pub method: String,
    /// The path as sent, still percent-encoded; signatures cover this form.
    pub path: String,
    /// Query parameters in the order sent, decoded.
    pub query: Vec<(String, String)>,
    /// Headers in the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Payload,
    /// Where the request came from, if it came over a socket.
    pub client: Option<IpAddr>,
}

/// Bytes with hashes that are computed at most once, wherever it is cheapest to do so.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    bytes: Bytes,
    crc64: OnceLock<u64>,
    md5: OnceLock<[u8; 16]>,
}

impl Request {
    /// A request for `target`, a path with an optional query, both percent-encoded.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            query: parse_query(query),
            headers: Vec::new(),
            body: Payload::default(),
            client: None,
        }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The same request with a body; a `Content-Length` header is added when there is none.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Payload::new(body.into());
        if self.get("content-length").is_none() {
            let length = self.body.bytes().len().to_string();
            return self.header("content-length", length);
        }
        self
    }

    /// The first header of this (lower-case) name; empty values count as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The first query parameter of this name, whatever its case.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Whether the request can change anything.
    pub(crate) fn is_mutation(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }

    /// Computes ahead of time the hash a page write will need, so that it is not done under a lock.
    pub(crate) fn warm(&self) {
        let update = self.get("x-ms-page-write").is_some_and(|v| v.eq_ignore_ascii_case("update"));
        if update && !self.body.bytes().is_empty() {
            if self.get("content-md5").is_some() || self.get("x-ms-version").is_some_and(|v| v < "2019-02-02") {
                self.body.md5();
            }
            if self.get("x-ms-version").is_none_or(|v| v >= "2019-02-02") {
                self.body.crc64();
            }
        }
    }
}

impl Payload {
    /// Wraps a body.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// CRC-64/NVME of the body.
    pub fn crc64(&self) -> u64 {
        *self.crc64.get_or_init(|| digest::crc64(&self.bytes))
    }

    /// MD5 of the body.
    pub fn md5(&self) -> [u8; 16] {
        *self.md5.get_or_init(|| digest::md5_of([self.bytes.as_ref()]))
    }
}

/// Splits and decodes a query string; a parameter without `=` has an empty value.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode_form(name), decode_form(value)))
        .collect()
}

/// Percent-decodes; malformed escapes and bytes that are not UTF-8 pass as they are or as U+FFFD, never as a panic.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%').then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?))).flatten();
        if let Some((high, low)) = escape {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode_form(text: &str) -> String {
    if text.contains('+') { decode(&text.replace('+', " ")) } else { decode(text) }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_and_decoded() {
        let r = Request::new("get", "/a/b%20c?comp=pagelist&snapshot=2023-01-27T22%3A27&flag&x=a%2Bb+c");
        assert_eq!((r.method.as_str(), r.path.as_str()), ("GET", "/a/b%20c"));
        assert_eq!(r.query("SNAPSHOT"), Some("2023-01-27T22:27"));
        assert_eq!(r.query("flag"), Some(""));
        assert_eq!(r.query("x"), Some("a+b c"));
    }

    #[test]
    fn broken_escapes_do_no_harm() {
        assert_eq!(decode("%"), "%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%zz%41"), "%zzA");
        assert_eq!(decode("%ff"), "\u{fffd}");
        assert_eq!(decode(&encode("a/ü+%&=")), "a/ü+%&=");
    }
}
