//! Random numbers that depend on nothing but what they are drawn for.
//!
//! A draw is a hash of its seed and of what it is for, not the next number of a sequence, so one decision never
//! changes another, and requests that overtake each other do not shuffle the rest of a test.

/// The finaliser of splitmix64.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A number drawn for the purpose that `parts` name.
pub(crate) fn draw(seed: u64, parts: &[u64]) -> u64 {
    let start = mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15));
    parts.iter().fold(start, |sum, part| mix(sum ^ mix(part.wrapping_add(0xD134_2543_DE82_EF95))))
}

/// A drawn number cut down to less than `bound`; zero when there is nothing to choose from.
pub(crate) const fn below(draw: u64, bound: u64) -> u64 {
    if bound == 0 { 0 } else { draw % bound }
}
