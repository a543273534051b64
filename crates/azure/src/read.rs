//! Ranged reads, believed only with the service's checksum.
//!
//! An answer counts when it is about the range that was asked for, has its length, and has the CRC64 that the service
//! computed from its disk. Bytes are copied once, into a buffer of the right size, or not at all where they arrive in one
//! piece.

use std::sync::atomic::{AtomicBool, Ordering};

use azure_core::http::AsyncResponseBody;
use azure_core::http::headers::Headers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum_combine};
use pageferry_core::{Etag, PageRange, Pages};
use pageferry_store::buffers::Buffer;
use pageferry_store::{ErrorKind, PageData, Receipt, StoreError, View};

use crate::fault::{Fault, Outcome, text};
use crate::operation::Operation;
use crate::wire::{Success, Wire};

/// The longest range the service reads with a checksum, or writes (REST: Get Blob, Put Page).
pub(crate) const REQUEST_BYTES_MAX: u64 = 4 << 20;

/// Where the service refuses a checksum for the longest range, though its documentation allows it, we ask for halves.
const HALF: Pages = Pages::new((REQUEST_BYTES_MAX / 2) / pageferry_core::PAGE_BYTES);

/// Whether a service has refused a checksum of the longest range.
#[derive(Debug, Default)]
pub(crate) struct Halves(AtomicBool);

impl Wire {
    /// Reads `range`, in two halves where the service wants it so.
    pub(crate) async fn read(
        &self,
        halves: &Halves,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        let operation = Operation::Read { snapshot: self.snapshot_of(view).is_some() };
        if range.bytes() > REQUEST_BYTES_MAX {
            let cause = format!("{} bytes are more than one request reads", range.bytes());
            return Err(StoreError::new(ErrorKind::Invalid, operation.name(), self.object.clone(), cause));
        }
        let long = range.pages() > HALF;
        if !(long && halves.0.load(Ordering::Relaxed)) {
            let read = self
                .settle_in_turn(operation, Some(range.bytes()), || self.read_once(view, range, if_match))
                .await
                .with_receipt();
            match read {
                Err(error) if long && refuses_checksum(&error) => halves.0.store(true, Ordering::Relaxed),
                settled => return settled,
            }
        }
        let middle = range.start() + HALF;
        let (Some(first), Some(second)) = (PageRange::new(range.start(), middle), PageRange::new(middle, range.end()))
        else {
            return Err(StoreError::new(ErrorKind::Invalid, operation.name(), self.object.clone(), "no such half"));
        };
        let (first, mut receipt) = self
            .settle_in_turn(operation, Some(first.bytes()), || self.read_once(view, first, if_match))
            .await
            .with_receipt()?;
        let (second, more) = self
            .settle_in_turn(operation, Some(second.bytes()), || self.read_once(view, second, if_match))
            .await
            .with_receipt()?;
        let joined = join(&first, &second).ok_or_else(|| {
            StoreError::new(
                ErrorKind::Integrity,
                operation.name(),
                self.object.clone(),
                "two halves do not make a whole",
            )
        })?;
        receipt += more;
        Ok((joined, receipt))
    }

    async fn read_once(&self, view: &View, range: PageRange, if_match: Option<&Etag>) -> Result<PageData, Fault> {
        let snapshot = self.snapshot_of(view).map(|id| ("snapshot", id.as_str()));
        let mut request = self.get(self.address.url().clone(), snapshot.as_slice());
        let (first, last) = range.inclusive_bytes();
        request.insert_header("x-ms-range", format!("bytes={first}-{last}"));
        request.insert_header("x-ms-range-get-content-crc64", "true");
        if let Some(tag) = if_match.filter(|_| !self.address.is_managed_disk()) {
            request.insert_header("if-match", tag.quoted());
        }
        let Success { status, headers, body } = self.send(request).await?;
        check_range(status, &headers, range)?;
        let crc = checksum(&headers).ok_or_else(|| {
            Fault::in_answer(Outcome::Wrong, &headers, "the answer has no checksum to verify it with")
        })?;
        let bytes = self.collect(body, &headers, range.bytes()).await?;
        PageData::verified(bytes, crc).ok_or_else(|| {
            Fault::in_answer(
                Outcome::Corrupt,
                &headers,
                format!("{range} arrived with another checksum than they left with"),
            )
        })
    }

    /// The whole of a body that must be `expected` bytes long.
    async fn collect(&self, mut body: AsyncResponseBody, headers: &Headers, expected: u64) -> Result<Bytes, Fault> {
        let length = usize::try_from(expected).unwrap_or(usize::MAX);
        let mut buffer: Option<Buffer> = None;
        let mut held = 0;
        while let Some(piece) = self.next_of(&mut body, expected).await? {
            held += piece.len();
            if held > length {
                return Err(too_much(headers, expected));
            }
            if buffer.is_none() && held == length {
                // In one piece: nothing to copy, but whatever follows is too much.
                return match self.next(&mut body).await? {
                    Some(more) if !more.is_empty() => Err(too_much(headers, expected)),
                    _ => Ok(piece),
                };
            }
            buffer.get_or_insert_with(|| self.buffers.take(length)).bytes_mut().extend_from_slice(&piece);
        }
        let whole = buffer.filter(|_| held == length);
        let cause = || format!("the answer ended after {held} of {expected} bytes");
        let whole = whole.ok_or_else(|| Fault::in_answer(Outcome::Broken, headers, cause()))?;
        Ok(whole.freeze())
    }
}

/// The checksum the service sent along.
pub(crate) fn checksum(headers: &Headers) -> Option<u64> {
    let bytes = STANDARD.decode(text(headers, "x-ms-content-crc64")?.trim()).ok()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn check_range(status: u16, headers: &Headers, range: PageRange) -> Result<(), Fault> {
    let (first, last) = range.inclusive_bytes();
    let expected = format!("bytes {first}-{last}/");
    match text(headers, "content-range") {
        Some(answered) if status == 206 && answered.starts_with(&expected) => Ok(()),
        Some(answered) => {
            let cause = format!("asked for {range}, the service answered with {answered}");
            Err(Fault::in_answer(Outcome::Wrong, headers, cause))
        }
        None => Err(Fault::in_answer(Outcome::Wrong, headers, "the answer does not say which range it holds")),
    }
}

fn refuses_checksum(error: &StoreError) -> bool {
    error.failure().status == Some(400) && error.code() == "InvalidHeaderValue"
}

fn too_much(headers: &Headers, expected: u64) -> Fault {
    Fault::in_answer(Outcome::Corrupt, headers, format!("the answer is longer than the {expected} bytes asked for"))
}

/// Two verified neighbours as one, vouched for by the combination of their checksums.
fn join(first: &PageData, second: &PageData) -> Option<PageData> {
    let mut bytes = BytesMut::with_capacity(first.bytes().len() + second.bytes().len());
    bytes.extend_from_slice(first.bytes());
    bytes.extend_from_slice(second.bytes());
    let length = second.bytes().len() as u64;
    let crc = checksum_combine(CrcAlgorithm::Crc64Nvme, first.crc(), second.crc(), length);
    PageData::verified(bytes.freeze(), crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_verified_halves_are_a_verified_whole() {
        let bytes: Vec<u8> = (0..3072u32).map(|n| (n % 251) as u8).collect();
        let (first, second) = bytes.split_at(1024);
        let data = |bytes: &[u8]| PageData::new(Bytes::copy_from_slice(bytes));
        let whole = join(&data(first), &data(second)).unwrap();
        assert_eq!(whole.bytes(), &bytes);
        assert_eq!(whole.crc(), data(&bytes).crc());
    }

    #[test]
    fn a_checksum_is_eight_little_endian_bytes() {
        let header = |value: &'static str| {
            let mut headers = Headers::new();
            headers.insert("x-ms-content-crc64", value);
            checksum(&headers)
        };
        assert_eq!(header("u661BimQ84c="), Some(pageferry_store::crc::crc64(&[b'a'; 512])));
        assert_eq!(header("AAAA"), None);
        assert_eq!(header("12577168950156296156"), None);
    }
}
