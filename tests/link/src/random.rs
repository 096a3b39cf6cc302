// SPDX-License-Identifier: MPL-2.0
//! Numbers that look random and are the same for the same seed, on every machine.

/// SplitMix64: small, and good from the first number on, whatever the seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number, at least 0 and less than 1, evenly spread.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a f64 holds.
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}
