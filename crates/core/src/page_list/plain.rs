//! Entries spelt exactly as the service spells them, read without a general XML reader.
//!
//! A list of ten million ranges is nearly a gigabyte of `<PageRange><Start>0</Start><End>511</End></PageRange>`, and
//! planning waits for its reader. What is spelt in any other way, is wrong, or is not whole yet is no plain entry, and is
//! left to [`super::document`], which alone decides what it means.

use crate::change::{Change, Kind};
use crate::page::PageRange;

const WRITE: (&[u8], &[u8]) = (b"<PageRange><Start>", b"</End></PageRange>");
const CLEAR: (&[u8], &[u8]) = (b"<ClearRange><Start>", b"</End></ClearRange>");
const BETWEEN: &[u8] = b"</Start><End>";

/// Digits that cannot overflow 64 bits. No blob has a longer offset.
const DIGITS_MAX: usize = 19;

/// Whether a whole plain entry stands at the start of `bytes`.
pub(super) fn begins(bytes: &[u8]) -> bool {
    entry(bytes).is_some()
}

/// The plain entry at the start of `bytes`, and its length; `None` for anything that is not one from end to end.
pub(super) fn entry(bytes: &[u8]) -> Option<(Change, usize)> {
    let (kind, (opening, closing)) = match bytes.get(1)? {
        b'P' => (Kind::Write, WRITE),
        b'C' => (Kind::Clear, CLEAR),
        _ => return None,
    };
    let (first, rest) = offset(bytes.strip_prefix(opening)?)?;
    let (last, rest) = offset(rest.strip_prefix(BETWEEN)?)?;
    let rest = rest.strip_prefix(closing)?;
    let range = PageRange::from_inclusive_bytes(first, last)?;
    Some((Change { kind, range }, bytes.len() - rest.len()))
}

/// The number at the start of `bytes`, and what follows it.
fn offset(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (length, byte) in bytes.iter().enumerate().take(DIGITS_MAX + 1) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return (length > 0).then_some((value, &bytes[length..]));
        }
        if length < DIGITS_MAX {
            value = value * 10 + u64::from(digit);
        }
    }
    None
}
