//! What the targets share: choices that depend on the input alone.
//!
//! An input is the document itself, so that a seed can be written by hand and a finding read as it is. Where a property
//! needs choices besides (where to cut, which bit to flip), they are drawn from a hash of the input: the same input
//! always makes the same run.

/// Choices drawn from a hash of the input.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The choices of this input.
    pub fn of(input: &[u8]) -> Dice {
        // FNV-1a.
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Dice(input.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// The next number, less than `bound`; zero where there is nothing to choose from.
    pub fn below(&mut self, bound: usize) -> usize {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = mixed ^ (mixed >> 31);
        usize::try_from(drawn % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// `whole` in up to `most` pieces, some of which may be empty.
    pub fn pieces<'a>(&mut self, whole: &'a [u8], most: usize) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = (1..most).map(|_| self.below(whole.len() + 1)).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|cut| &whole[cut[0]..cut[1]]).collect()
    }

    /// Lengths of beginnings of an input of `length` bytes: all where they are few, else some, the longest among them.
    pub fn prefixes(&mut self, length: usize) -> Vec<usize> {
        if length <= 64 {
            return (0..length).collect();
        }
        (0..24).map(|_| self.below(length)).chain(length - 8..length).collect()
    }
}
