// SPDX-License-Identifier: MPL-2.0
//! Maps by SSRC that cost little per packet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By SSRC. A remote chooses its SSRCs, and may choose such that collide: only for maps of few
/// entries.
pub(super) type BySsrc<T> = HashMap<u32, T, BuildHasherDefault<SsrcHasher>>;

/// SSRCs are random (RFC 3550 section 8): one multiplication spreads those that are not.
#[derive(Default)]
pub(super) struct SsrcHasher(u64);

impl Hasher for SsrcHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn write_u32(&mut self, ssrc: u32) {
        // 2^64 by the golden ratio; the map takes its bits from both ends.
        let mixed = (self.0 ^ u64::from(ssrc)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
