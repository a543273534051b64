//! Changing requests and answers in the ways that networks and tired services do.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::digest;
use crate::faults::operation::Operation;
use crate::faults::script::Keep;
use crate::model::input;
use crate::pages::PAGE;
use crate::random::below;
use crate::request::{Payload, Request};
use crate::response::Response;

/// How long a Put Page may take for each MiB when it does not say.
const TIME_PER_MIB: Duration = Duration::from_secs(600);

/// Where the body of an answer is cut; `None` when there is nothing to cut off.
pub(super) fn cut(response: &Response, keep: Keep, drawn: u64) -> Option<u64> {
    let length = response.body.len();
    let last = length.checked_sub(1)?;
    Some(match keep {
        Keep::Bytes(bytes) => bytes.min(last),
        Keep::AllBut(bytes) => length.saturating_sub(bytes.max(1)),
        Keep::Part => below(drawn, length),
    })
}

/// The same bytes with one bit flipped; `None` when there are none.
fn flip(bytes: &Bytes, drawn: u64) -> Option<Bytes> {
    let at = usize::try_from(below(drawn >> 3, bytes.len() as u64)).ok()?;
    let mut out = BytesMut::from(bytes.as_ref());
    *out.get_mut(at)? ^= 1 << (drawn & 7);
    Some(out.freeze())
}

/// The same request with one bit of its body flipped; whether it has any.
pub(crate) fn corrupt_request(request: &mut Request, drawn: u64) -> bool {
    let flipped = flip(request.body.bytes(), drawn);
    let found = flipped.is_some();
    if let Some(bytes) = flipped {
        request.body = Payload::new(bytes);
    }
    found
}

impl Response {
    /// Flips one bit of the body; whether there was one.
    pub(crate) fn corrupt(&mut self, drawn: u64) -> bool {
        let flipped = flip(&std::mem::take(&mut self.body).into_bytes(), drawn);
        let found = flipped.is_some();
        self.body = flipped.unwrap_or_default().into();
        found
    }
}

/// The same answer with a hash that is not that of its body; whether it has one.
pub(crate) fn wrong_hash(response: &mut Response, drawn: u64) -> bool {
    for name in ["x-ms-content-crc64", "content-md5"] {
        let flipped = response.get(name).and_then(digest::decode).and_then(|hash| flip(&hash.into(), drawn));
        if let Some(hash) = flipped {
            response.set(name, digest::encode(&hash));
            return true;
        }
    }
    false
}

/// The Put Page that does only the first pages of this one; `None` for what cannot be done by halves.
pub(crate) fn part_of(request: &Request, drawn: u64) -> Option<Request> {
    let operation = Operation::of(request);
    if !matches!(operation, Operation::PutPageUpdate | Operation::PutPageClear | Operation::PutPageFromUrl) {
        return None;
    }
    let (name, text) = input::range_header(request)?;
    let (start, end) = input::page_range(name, text, false).ok()?;
    let pages = (end - start) / PAGE;
    let length = (1 + below(drawn, pages.checked_sub(1).filter(|more| *more > 0)?)) * PAGE;
    let mut part = request.clone();
    let hashes =
        ["content-md5", "x-ms-content-crc64", "x-ms-source-content-md5", "x-ms-source-content-crc64", "content-length"];
    part.headers.retain(|(name, _)| !hashes.contains(&name.as_str()));
    let mut shorten = |name: &str| {
        let text = request.get(name)?;
        let (start, _) = input::page_range("x-ms-range", text, false).ok()?;
        let (_, value) = part.headers.iter_mut().find(|(known, _)| known == name)?;
        *value = format!("bytes={start}-{}", start + length - 1);
        Some(())
    };
    shorten(name)?;
    if operation == Operation::PutPageFromUrl {
        shorten("x-ms-source-range")?;
    }
    let body = request.body.bytes();
    let kept = usize::try_from(length).ok()?.min(body.len());
    part.body = Payload::default();
    Some(part.with_body(body.slice(..kept)))
}

/// How long the service may take over a request.
pub(crate) fn time_allowed(request: &Request) -> Duration {
    let wanted = request.query("timeout").and_then(|text| text.trim().parse::<u64>().ok());
    let range = input::range_header(request).and_then(|(name, text)| input::page_range(name, text, false).ok());
    let bytes = range.map_or(0, |(start, end)| end - start);
    let mib = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX).max(1);
    let most = TIME_PER_MIB.saturating_mul(mib);
    wanted.map_or(most, |seconds| Duration::from_secs(seconds).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(pages: usize) -> Request {
        let range = format!("bytes=1024-{}", 1024 + pages * 512 - 1);
        Request::new("PUT", "/a/c/b?comp=page&timeout=30")
            .header("x-ms-page-write", "update")
            .header("x-ms-range", range)
            .header("x-ms-content-crc64", "AAAAAAAAAAA=")
            .with_body(vec![7; pages * 512])
    }

    #[test]
    fn a_flip_changes_one_bit() {
        let bytes = Bytes::from(vec![0_u8; 64]);
        for drawn in [0, 1, 7, 8, 12_345, u64::MAX] {
            let flipped = flip(&bytes, drawn).unwrap();
            assert_eq!(flipped.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        }
        assert_eq!(flip(&Bytes::new(), 5), None);
    }

    #[test]
    fn half_a_page_write_is_a_page_write() {
        for drawn in 0..20 {
            let part = part_of(&update(8), drawn).unwrap();
            let length = part.body.bytes().len();
            assert!((512..4096).contains(&length) && length.is_multiple_of(512), "{length}");
            assert_eq!(part.get("x-ms-range").unwrap(), format!("bytes=1024-{}", 1024 + length - 1));
            assert_eq!(part.get("content-length").unwrap(), length.to_string());
            assert_eq!(part.get("x-ms-content-crc64"), None);
        }
        assert!(part_of(&update(1), 0).is_none());
        assert!(part_of(&Request::new("PUT", "/a/c/b?comp=metadata"), 0).is_none());
    }

    #[test]
    fn bodies_are_cut_before_their_end() {
        let mut response = Response::new(200);
        assert_eq!(cut(&response, Keep::Part, 9), None);
        response.body = Bytes::from_static(b"0123456789").into();
        for (keep, expected) in [
            (Keep::Bytes(4), 4),
            (Keep::Bytes(99), 9),
            (Keep::AllBut(0), 9),
            (Keep::AllBut(3), 7),
            (Keep::AllBut(99), 0),
            (Keep::Part, 3),
        ] {
            assert_eq!(cut(&response, keep, 13), Some(expected));
        }
    }

    #[test]
    fn a_request_says_how_long_it_may_take() {
        assert_eq!(time_allowed(&update(8)).as_secs(), 30);
        let unlimited = Request { query: Vec::new(), ..update(4096) };
        assert_eq!(time_allowed(&unlimited).as_secs(), 1200);
    }
}
