//! The footer of a VHD: what is read is written again, and damage is seen.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pageferry_core::vhd::{FOOTER_BYTES, Footer, Format};
use pageferry_fuzz::Dice;

/// Where a fixed disk's footer keeps what this program knows of; the rest is reserved.
const KNOWN: usize = 85;

fuzz_target!(|input: &[u8]| {
    let mut dice = Dice::of(input);
    let mut bytes = [0; 512];
    let length = input.len().min(512);
    bytes[..length].copy_from_slice(&input[..length]);
    check(&bytes, &mut dice);
    // Few inputs have the right checksum; the fields deserve to be reached nevertheless.
    bytes[..8].copy_from_slice(b"conectix");
    bytes[64..68].fill(0);
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[64..68].copy_from_slice(&(!sum).to_be_bytes());
    check(&bytes, &mut dice);
});

fn check(bytes: &[u8; 512], dice: &mut Dice) {
    let parsed = Footer::parse(bytes);
    let first = if dice.below(2) == 0 { bytes.as_slice() } else { b"vhdxfile" };
    for blob_bytes in [0, 512, 1 << 20, u64::MAX] {
        let fits = parsed.is_ok_and(|footer| footer.check(blob_bytes).is_ok());
        assert_eq!(matches!(Format::sniff(first, bytes, blob_bytes), Format::FixedVhd(_)), fits);
    }
    let Ok(footer) = parsed else { return };
    let written = footer.to_bytes();
    assert_eq!(Footer::parse(&written), Ok(footer), "what was read is not what was written");
    let plain = bytes[8..12] == written[8..12]
        && bytes[16..24] == written[16..24]
        && bytes[KNOWN..].iter().all(|byte| *byte == 0);
    if plain {
        assert_eq!(&written, bytes, "a footer without anything unknown changes when it is written again");
    }
    if let Some(blob_bytes) = footer.disk_bytes.checked_add(FOOTER_BYTES) {
        assert_eq!(Format::sniff(first, bytes, blob_bytes), Format::FixedVhd(footer));
    }
    for _ in 0..32 {
        let (at, bit) = (dice.below(512), dice.below(8));
        let mut damaged = *bytes;
        damaged[at] ^= 1 << bit;
        assert!(Footer::parse(&damaged).is_err(), "bit {bit} of byte {at} is flipped and nobody minds");
    }
}
