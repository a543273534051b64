//! What makes a page blob a disk image: the footer of a fixed VHD, and the beginning of a VHDX.

use bytes::Bytes;

use crate::time::Timestamp;

/// The size of a footer.
pub(crate) const FOOTER: u64 = 512;

/// What a VHDX has before its data: header, log, metadata and block table.
pub(crate) const VHDX_HEAD: u64 = 4 << 20;

/// How much of that head is written at all.
pub(crate) const VHDX_SIGNATURE: u64 = 4096;

/// 2000-01-01, from which footers count their seconds.
const EPOCH: u64 = 946_684_800;

/// The sectors of the largest disk that cylinders, heads and sectors can describe.
const MOST_SECTORS: u64 = 65_535 * 16 * 255;

/// The footer of a fixed VHD of `size` bytes.
pub(crate) fn footer(size: u64, made: Timestamp, id: [u8; 16]) -> Bytes {
    let mut out = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let seconds = u32::try_from(made.seconds().saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    put(0, b"conectix");
    put(8, &2_u32.to_be_bytes());
    put(12, &0x0001_0000_u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes());
    put(24, &seconds.to_be_bytes());
    put(28, b"win ");
    put(32, &0x000A_0000_u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size.to_be_bytes());
    put(48, &size.to_be_bytes());
    put(56, &geometry(size));
    put(60, &2_u32.to_be_bytes());
    put(68, &id);
    let sum = checksum(&out);
    out[64..68].copy_from_slice(&sum.to_be_bytes());
    out.into()
}

/// What is wrong with a blob of `length` bytes that ends in `footer`, in the service's words.
pub(crate) fn defect(footer: &[u8], length: u64) -> Option<String> {
    let number = |at: usize| footer.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    if footer.get(..8) != Some(b"conectix".as_slice()) {
        return Some(
            "The specified cookie value in VHD footer indicates that disk is not supported. Make sure to \
                     upload a disk with expected cookie 'conectix'."
                .to_owned(),
        );
    }
    if number(60) != 2 {
        return Some(format!("The disk type {} is not supported; only fixed VHD files are.", number(60)));
    }
    let sum = checksum(footer);
    if number(64) != sum {
        return Some("The checksum of the VHD footer is not correct.".to_owned());
    }
    let size = u64::from(number(48)) << 32 | u64::from(number(52));
    if size + FOOTER != length {
        return Some(format!(
            "The VHD footer says {size} bytes, and the blob has {} without it.",
            length.saturating_sub(FOOTER)
        ));
    }
    (size % (1 << 20) != 0)
        .then(|| format!("The virtual size {size} is not supported; it must be a whole number (in MBs)."))
}

/// The beginning of a VHDX: its signature and who made it. What follows is left empty.
pub(crate) fn vhdx_head() -> Bytes {
    let mut out = vec![0_u8; 4096];
    out[..8].copy_from_slice(b"vhdxfile");
    for (place, unit) in out[8..].chunks_exact_mut(2).zip("pageferry-emulator".encode_utf16()) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    out.into()
}

fn checksum(footer: &[u8]) -> u32 {
    let counted = footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at));
    !counted.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

/// Cylinders, heads and sectors, as the format's own text works them out.
fn geometry(size: u64) -> [u8; 4] {
    let total = (size / 512).min(MOST_SECTORS);
    let (cylinders_times_heads, heads, sectors) = if total >= 65_535 * 16 * 63 {
        (total / 255, 16, 255)
    } else {
        let (mut product, mut sectors) = (total / 17, 17);
        let mut heads = product.div_ceil(1024).max(4);
        if product >= heads * 1024 || heads > 16 {
            (sectors, heads, product) = (31, 16, total / 31);
        }
        if product >= heads * 1024 {
            (sectors, heads, product) = (63, 16, total / 63);
        }
        (product, heads, sectors)
    };
    let cylinders = u16::try_from(cylinders_times_heads / heads).unwrap_or(u16::MAX).to_be_bytes();
    [cylinders[0], cylinders[1], u8::try_from(heads).unwrap_or(16), u8::try_from(sectors).unwrap_or(255)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn footer_vector() {
        let made = Timestamp::from_seconds(EPOCH);
        let bytes = footer(1 << 30, made, ID);
        let hex: String = bytes[..86].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "636f6e65637469780000000200010000ffffffffffffffff0000000077696e20000a00005769326b00000000400000000000\
             0000400000000820103f00000002fffff061000102030405060708090a0b0c0d0e0f0000"
        );
        for (gib, want) in [(32, [16_448_u16, 16, 255]), (128, [65_535, 16, 255]), (1024, [65_535, 16, 255])] {
            let [high, low, heads, sectors] = geometry(gib << 30);
            assert_eq!([u16::from_be_bytes([high, low]), heads.into(), sectors.into()], want, "{gib} GiB");
        }
    }

    #[test]
    fn defects_are_named() {
        let good = footer(1 << 20, Timestamp::from_seconds(EPOCH), ID);
        assert_eq!(defect(&good, (1 << 20) + 512), None);
        let broken = |at: usize| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1;
            defect(&bytes, (1 << 20) + 512).unwrap()
        };
        assert!(broken(0).contains("conectix") && broken(63).contains("type") && broken(200).contains("checksum"));
        assert!(defect(&good, 4096).unwrap().contains("bytes"));
        assert!(defect(&[], 512).is_some());
        let odd = footer(512, Timestamp::default(), ID);
        assert!(defect(&odd, 1024).unwrap().contains("whole number"));
    }
}
