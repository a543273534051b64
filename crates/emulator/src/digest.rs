//! The two hashes of the wire, CRC-64/NVME and MD5, and their base64 dress.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};

/// CRC-64/NVME of one piece.
pub fn crc64(data: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, data)
}

/// CRC-64/NVME of pieces in order.
pub(crate) fn crc64_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    pieces.into_iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}

/// MD5 of pieces in order.
pub(crate) fn md5_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Md5::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hash.finalize().into()
}

/// The header form of a CRC: base64 of its eight bytes, little end first.
pub fn crc64_header(crc: u64) -> String {
    STANDARD.encode(crc.to_le_bytes())
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc64_matches_what_the_service_computed() {
        assert_eq!(crc64(b"123456789"), 0xAE8B_1486_0A79_9888);
        assert_eq!(crc64_header(crc64(&[b'a'; 512])), "u661BimQ84c=");
        assert_eq!(crc64_header(crc64(&[b'b'; 1024])), "pK+ypU+jreM=");
        assert_eq!(crc64_header(crc64(&[0; 512])), "6YKnaCgO5h0=");
        assert_eq!(crc64_header(crc64_of([&b"123"[..], b"456789"])), crc64_header(crc64(b"123456789")));
        assert_eq!(crc64_header(crc64(b"")), "AAAAAAAAAAA=");
    }
}
