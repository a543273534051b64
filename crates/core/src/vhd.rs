//! The footer of a fixed VHD: what makes a page blob a disk image (Microsoft VHD specification).
//!
//! A fixed VHD is the raw disk followed by one footer of 512 bytes, so the footer is the blob's last page and a restore
//! to a raw image leaves it off. That is only right if the footer is sound and speaks of exactly the bytes before it,
//! which is what [`Footer::parse`] and [`Footer::check`] establish.

use crate::page::PAGE_BYTES;

/// The length of the footer: one page.
pub const FOOTER_BYTES: u64 = PAGE_BYTES;

const COOKIE: &[u8; 8] = b"conectix";
const VHDX_COOKIE: &[u8; 8] = b"vhdxfile";
const FEATURES: u32 = 2; // a reserved bit that is always set
const VERSION: u32 = 0x0001_0000;
const CREATOR_VERSION: u32 = 0x000A_0000;
const NO_DATA_OFFSET: u64 = u64::MAX; // a fixed disk has no header to point to
const CHECKSUM_AT: usize = 64;
const MIB: u64 = 1 << 20;

/// The footer of a fixed VHD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footer {
    /// The size of the disk, without the footer.
    pub disk_bytes: u64,
    /// The size the disk was created with.
    pub original_bytes: u64,
    /// When the image was created, in seconds since the year 2000.
    pub timestamp_secs: u32,
    /// The program that created it.
    pub creator: [u8; 4],
    /// That program's version.
    pub creator_version: u32,
    /// The system it ran on.
    pub creator_os: [u8; 4],
    /// The shape that old software believes the disk to have.
    pub geometry: Geometry,
    /// The image's UUID.
    pub unique_id: [u8; 16],
    /// Not zero where the machine was suspended.
    pub saved_state: u8,
}

/// Cylinders, heads and sectors. For information only: the size of a disk is never computed from these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

/// Why 512 bytes are no footer of a fixed VHD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FooterError {
    /// Not a VHD at all.
    #[error("there is no VHD footer: the cookie `conectix` is missing")]
    NoCookie,
    /// A damaged footer.
    #[error("the VHD footer is damaged: its checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    BadChecksum {
        /// The checksum in the footer.
        stored: u32,
        /// The checksum of the footer.
        computed: u32,
    },
    /// A format that came after this program.
    #[error("the VHD footer has version {0:#010x}; only version 1.0 is known")]
    UnknownVersion(u32),
    /// Blocks in any order, only those in use.
    #[error("the VHD is dynamic; page blobs hold fixed ones: convert it first")]
    Dynamic,
    /// Only what differs from another VHD.
    #[error("the VHD is differencing, and means nothing without its parent: merge and convert it first")]
    Differencing,
    /// A type the specification does not define or deprecates.
    #[error("the VHD has type {0}, which is unknown")]
    UnknownType(u32),
}

/// A sound footer that does not fit its blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the VHD footer speaks of a disk of {disk_bytes} bytes, which with its footer does not make a blob of {blob_bytes}"
)]
pub struct SizeMismatch {
    /// The size in the footer.
    pub disk_bytes: u64,
    /// The length of the blob.
    pub blob_bytes: u64,
}

impl Footer {
    /// The footer in `bytes`, the last page of a blob.
    ///
    /// # Errors
    /// [`FooterError`]; the checksum is judged before any field is believed.
    pub fn parse(bytes: &[u8; 512]) -> Result<Footer, FooterError> {
        if !bytes.starts_with(COOKIE) {
            return Err(FooterError::NoCookie);
        }
        let (stored, computed) = (u32_at(bytes, CHECKSUM_AT), checksum(bytes));
        if stored != computed {
            return Err(FooterError::BadChecksum { stored, computed });
        }
        let version = u32_at(bytes, 12);
        if version != VERSION {
            return Err(FooterError::UnknownVersion(version));
        }
        match u32_at(bytes, 60) {
            2 => {}
            3 => return Err(FooterError::Dynamic),
            4 => return Err(FooterError::Differencing),
            other => return Err(FooterError::UnknownType(other)),
        }
        Ok(Footer {
            disk_bytes: u64_at(bytes, 48),
            original_bytes: u64_at(bytes, 40),
            timestamp_secs: u32_at(bytes, 24),
            creator: array_at(bytes, 28),
            creator_version: u32_at(bytes, 32),
            creator_os: array_at(bytes, 36),
            geometry: Geometry {
                cylinders: u16::from_be_bytes(array_at(bytes, 56)),
                heads: bytes[58],
                sectors: bytes[59],
            },
            unique_id: array_at(bytes, 68),
            saved_state: bytes[84],
        })
    }

    /// A new footer for a raw disk of `disk_bytes`, as the common tools would write it.
    pub fn for_size(disk_bytes: u64, unique_id: [u8; 16], timestamp_secs: u32) -> Footer {
        Footer {
            disk_bytes,
            original_bytes: disk_bytes,
            timestamp_secs,
            creator: *b"win ",
            creator_version: CREATOR_VERSION,
            creator_os: *b"Wi2k",
            geometry: Geometry::for_size(disk_bytes),
            unique_id,
            saved_state: 0,
        }
    }

    /// The footer as it is stored.
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut bytes = [0; 512];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, COOKIE);
        put(8, &FEATURES.to_be_bytes());
        put(12, &VERSION.to_be_bytes());
        put(16, &NO_DATA_OFFSET.to_be_bytes());
        put(24, &self.timestamp_secs.to_be_bytes());
        put(28, &self.creator);
        put(32, &self.creator_version.to_be_bytes());
        put(36, &self.creator_os);
        put(40, &self.original_bytes.to_be_bytes());
        put(48, &self.disk_bytes.to_be_bytes());
        put(56, &self.geometry.cylinders.to_be_bytes());
        put(58, &[self.geometry.heads, self.geometry.sectors]);
        put(60, &2u32.to_be_bytes());
        put(68, &self.unique_id);
        put(84, &[self.saved_state]);
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Whether the disk and this footer are the whole blob.
    ///
    /// # Errors
    /// [`SizeMismatch`] where they are not; the footer then belongs to some other image.
    pub fn check(&self, blob_bytes: u64) -> Result<(), SizeMismatch> {
        if self.disk_bytes.checked_add(FOOTER_BYTES) == Some(blob_bytes) {
            return Ok(());
        }
        Err(SizeMismatch { disk_bytes: self.disk_bytes, blob_bytes })
    }

    /// Whether the disk is a whole number of MiB, without which the service makes no disk of it.
    pub fn is_whole_mib(&self) -> bool {
        self.disk_bytes > 0 && self.disk_bytes.is_multiple_of(MIB)
    }
}

impl Geometry {
    /// The geometry that the specification computes for a disk of `disk_bytes`.
    pub fn for_size(disk_bytes: u64) -> Geometry {
        let total = (disk_bytes / 512).min(65535 * 16 * 255);
        let (sectors, heads) = if total >= 65535 * 16 * 63 {
            (255, 16)
        } else {
            let tracks = total / 17;
            let heads = tracks.div_ceil(1024).max(4);
            if heads <= 16 && tracks < heads * 1024 {
                (17, heads)
            } else if total / 31 < 16 * 1024 {
                (31, 16)
            } else {
                (63, 16)
            }
        };
        Geometry {
            cylinders: u16::try_from(total / sectors / heads).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(16),
            sectors: u8::try_from(sectors).unwrap_or(u8::MAX),
        }
    }
}

/// What a blob holds, judged by its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A raw disk and this footer, which fits the blob.
    FixedVhd(Footer),
    /// A dynamic or differencing VHD, which the service takes for no disk.
    DynamicVhd,
    /// A VHDX, such as the export of a disk with sectors of 4096 bytes; offsets in it are not offsets on the disk.
    Vhdx,
    /// Anything else, to be kept as it is. A fixed footer that does not fit the blob leaves it this: cutting that off would
    /// be a guess.
    Raw,
}

impl Format {
    /// The format of a blob of `blob_bytes` that begins with `first` (a page of it is enough) and ends with `last`.
    ///
    /// A fitting footer at the end goes before anything at the beginning, since there a fixed VHD holds whatever the
    /// guest wrote to its first sector.
    pub fn sniff(first: &[u8], last: &[u8; 512], blob_bytes: u64) -> Format {
        let end = Footer::parse(last);
        if let Ok(footer) = end
            && footer.check(blob_bytes).is_ok()
        {
            return Format::FixedVhd(footer);
        }
        if first.starts_with(VHDX_COOKIE) {
            return Format::Vhdx;
        }
        let beginning = first.first_chunk().map_or(Err(FooterError::NoCookie), Footer::parse);
        let is_sparse = |parsed| matches!(parsed, Err(FooterError::Dynamic | FooterError::Differencing));
        if is_sparse(end) || is_sparse(beginning) { Format::DynamicVhd } else { Format::Raw }
    }
}

/// The ones' complement of the sum of all bytes but those of the checksum itself.
fn checksum(bytes: &[u8; 512]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    !(sum(bytes) - sum(&bytes[CHECKSUM_AT..CHECKSUM_AT + 4]))
}

fn array_at<const N: usize>(bytes: &[u8; 512], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn u32_at(bytes: &[u8; 512], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; 512], at: usize) -> u64 {
    u64::from_be_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    const GIB: u64 = 1 << 30;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn gibibyte() -> Footer {
        Footer::for_size(GIB, std::array::from_fn(|i| u8::try_from(i).unwrap()), 0)
    }

    /// A footer whose `field` at `at` is replaced and whose checksum is right again.
    fn with(at: usize, field: &[u8]) -> [u8; 512] {
        let mut bytes = gibibyte().to_bytes();
        bytes[at..at + field.len()].copy_from_slice(field);
        let sum = checksum(&bytes);
        bytes[64..68].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn a_footer_is_written_as_others_write_it() {
        let bytes = gibibyte().to_bytes();
        assert_eq!(
            hex(&bytes[..86]),
            "636f6e65637469780000000200010000ffffffffffffffff0000000077696e20000a00005769326b00000000400000000000000040000000\
             0820103f00000002fffff061000102030405060708090a0b0c0d0e0f0000"
        );
        assert_eq!(hex(&Sha256::digest(bytes)), "a4c5279e590a24597c7021b5879bc9b0048a891e497014a3f014730cacf7e32a");
    }

    #[test]
    fn geometry_follows_the_size() {
        let geometry = |bytes| {
            let Geometry { cylinders, heads, sectors } = Geometry::for_size(bytes);
            (cylinders, heads, sectors)
        };
        assert_eq!(geometry(GIB), (2080, 16, 63));
        assert_eq!(geometry(32 * GIB), (16448, 16, 255));
        assert_eq!(geometry(128 * GIB), (65535, 16, 255));
        assert_eq!(geometry(8 << 40), (65535, 16, 255));
        assert_eq!(geometry(1 << 20), (30, 4, 17));
        assert_eq!(geometry(200 << 20), (825, 16, 31));
        assert_eq!(geometry(0), (0, 4, 17));
    }

    #[test]
    fn each_refusal_says_why() {
        assert_eq!(Footer::parse(&[0; 512]), Err(FooterError::NoCookie));
        assert_eq!(Footer::parse(&with(12, &[0, 2, 0, 0])), Err(FooterError::UnknownVersion(0x0002_0000)));
        assert_eq!(Footer::parse(&with(60, &[0, 0, 0, 3])), Err(FooterError::Dynamic));
        assert_eq!(Footer::parse(&with(60, &[0, 0, 0, 4])), Err(FooterError::Differencing));
        assert_eq!(Footer::parse(&with(60, &[0, 0, 0, 0])), Err(FooterError::UnknownType(0)));
    }

    #[test]
    fn a_footer_fits_one_length_of_blob() {
        assert_eq!(gibibyte().check(1_073_742_336), Ok(()));
        for blob_bytes in [0, GIB, GIB + 511, GIB + 1024] {
            assert_eq!(gibibyte().check(blob_bytes), Err(SizeMismatch { disk_bytes: GIB, blob_bytes }));
        }
        assert!(Footer::for_size(u64::MAX, [0; 16], 0).check(511).is_err());
        assert!(gibibyte().is_whole_mib());
        assert!(!Footer::for_size(GIB + 512, [0; 16], 0).is_whole_mib());
    }

    #[test]
    fn formats_are_told_apart() {
        let (fixed, dynamic, zeros) = (gibibyte().to_bytes(), with(60, &[0, 0, 0, 3]), [0; 512]);
        let vhdx = b"vhdxfileM\0i\0";
        assert_eq!(Format::sniff(&zeros, &fixed, GIB + 512), Format::FixedVhd(gibibyte()));
        assert_eq!(Format::sniff(vhdx, &fixed, GIB + 512), Format::FixedVhd(gibibyte()));
        assert_eq!(Format::sniff(&dynamic, &fixed, GIB + 512), Format::FixedVhd(gibibyte()));
        assert_eq!(Format::sniff(vhdx, &zeros, GIB), Format::Vhdx);
        assert_eq!(Format::sniff(&dynamic, &dynamic, GIB), Format::DynamicVhd);
        assert_eq!(Format::sniff(&dynamic, &zeros, GIB), Format::DynamicVhd);
        assert_eq!(Format::sniff(&zeros, &dynamic, GIB), Format::DynamicVhd);
        assert_eq!(Format::sniff(&zeros, &fixed, GIB), Format::Raw);
        assert_eq!(Format::sniff(&fixed, &zeros, GIB), Format::Raw);
        assert_eq!(Format::sniff(b"", &zeros, 512), Format::Raw);
    }

    #[test]
    fn one_wrong_byte_is_always_seen() {
        let footer = gibibyte().to_bytes();
        for at in 0..512 {
            for flip in 1..=255 {
                let mut bytes = footer;
                bytes[at] ^= flip;
                assert!(Footer::parse(&bytes).is_err(), "byte {at} ^ {flip}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            sizes: (u64, u64), timestamp_secs: u32, creator: ([u8; 4], u32, [u8; 4]),
            shape: (u16, u8, u8), unique_id: [u8; 16], saved_state: u8,
        ) {
            let footer = Footer {
                disk_bytes: sizes.0,
                original_bytes: sizes.1,
                timestamp_secs,
                creator: creator.0,
                creator_version: creator.1,
                creator_os: creator.2,
                geometry: Geometry { cylinders: shape.0, heads: shape.1, sectors: shape.2 },
                unique_id,
                saved_state,
            };
            prop_assert_eq!(Footer::parse(&footer.to_bytes()), Ok(footer));
        }

        #[test]
        fn no_size_is_too_odd(disk_bytes: u64) {
            let footer = Footer::for_size(disk_bytes, [7; 16], 1);
            prop_assert_eq!(Footer::parse(&footer.to_bytes()), Ok(footer));
            let shape = footer.geometry;
            let sectors = u64::from(shape.cylinders) * u64::from(shape.heads) * u64::from(shape.sectors);
            prop_assert!(sectors * 512 <= disk_bytes, "CHS never promises more than there is");
        }
    }
}
