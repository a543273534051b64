//! Chance that is the same every time.

/// SplitMix64: the same day for the same seed, on every machine.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Any number below `below`.
    pub fn number(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Mostly short, and up to two to the power of `bits` less one.
    pub fn stride(&mut self, bits: u64) -> u64 {
        let below = 1 << self.below(bits);
        1 + self.number(below)
    }

    /// Any index below `n`.
    ///
    /// # Panics
    /// Where that is no index on this machine.
    pub fn below(&mut self, n: u64) -> usize {
        usize::try_from(self.number(n)).expect("an index")
    }
}
