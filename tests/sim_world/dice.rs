//! Chance that is nothing but its seed.

use std::ops::Range;

/// A sequence of numbers that a seed decides: the finaliser of splitmix64 over a counter.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of this seed.
    pub fn new(seed: u64) -> Dice {
        // Neighbouring seeds shall have nothing in common.
        Dice(mix(seed ^ 0x5EED_5EED_5EED_5EED))
    }

    /// Further dice, independent of how often these are thrown afterwards.
    pub fn fork(&mut self) -> Dice {
        Dice::new(self.any())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `n`; zero where there is none.
    pub fn below(&mut self, n: u64) -> u64 {
        self.any().checked_rem(n).unwrap_or_default()
    }

    /// A number of `range`.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A number of `range`, small ones as likely as large ones: its logarithm is uniform.
    pub fn spread(&mut self, range: Range<u64>) -> u64 {
        let bits = |n: u64| u64::from(n.max(1).ilog2());
        let bit = self.within(bits(range.start)..bits(range.end.max(1)) + 1);
        self.within(1 << bit..2 << bit).clamp(range.start, range.end.saturating_sub(1).max(range.start))
    }

    /// Whether something happens that does in `per_mille` of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.below(choices.len() as u64);
        &choices[usize::try_from(at).unwrap_or_default()]
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
