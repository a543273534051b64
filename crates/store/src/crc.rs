//! The service's checksum: CRC-64/NVME, which headers carry as base64 of the eight little-endian bytes.

use crc_fast::CrcAlgorithm;

/// The CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_checksum_the_service_computes() {
        assert_eq!(super::crc64(b"123456789"), 0xAE8B_1486_0A79_9888);
        assert_eq!(super::crc64(b""), 0);
    }
}
