// SPDX-License-Identifier: MPL-2.0
//! How much comes to a pad. Pure: every function takes the time.

use std::time::{Duration, Instant};

/// What comes is measured over this time, ...
const INTERVAL: Duration = Duration::from_secs(1);
/// ... but for the first sample: until then it counts for nothing, and others get its share.
pub const FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    bytes: u64,
    then: Instant,
    /// bit/s
    rate: Option<u64>,
    /// The highest of a whole interval, bit/s.
    most: u64,
}

impl Flow {
    /// `bytes` came before it is measured.
    pub fn new(bytes: u64, now: Instant) -> Self {
        Self {
            bytes,
            then: now,
            rate: None,
            most: 0,
        }
    }

    /// `bytes` came so far. At the end of a whole interval gives bit/s, and when it began.
    pub fn measure(&mut self, bytes: u64, now: Instant) -> Option<(u64, Instant)> {
        let passed = now.saturating_duration_since(self.then);
        let whole = passed >= INTERVAL;
        if !whole && (self.rate.is_some() || passed < FIRST_INTERVAL) {
            return None;
        }
        let bits = u128::from(bytes.saturating_sub(self.bytes)) * 8 * 1000;
        let rate = u64::try_from(bits / passed.as_millis().max(1)).unwrap_or(u64::MAX);
        let since = std::mem::replace(&mut self.then, now);
        self.bytes = bytes;
        self.rate = Some(rate);
        whole.then(|| {
            self.most = self.most.max(rate);
            (rate, since)
        })
    }

    /// What came since then says nothing: nobody took it.
    pub fn skip(&mut self, bytes: u64, now: Instant) {
        self.bytes = bytes;
        self.then = now;
    }

    /// Whether there is a first sample.
    pub fn is_known(&self) -> bool {
        self.rate.is_some()
    }

    /// bit/s, as last measured.
    pub fn rate(&self) -> u64 {
        self.rate.unwrap_or(0)
    }

    /// A bound that it stays below, bit/s, by a round number that seldom changes.
    pub fn bound(&self) -> u64 {
        let most = self.most.max(self.rate());
        match most {
            0 => 0,
            most => most.checked_next_power_of_two().unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_comes_soon_and_only_whole_ones_tell_of_an_encoder() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut flow = Flow::new(1000, start);
        assert_eq!(flow.measure(2000, at(100)), None);
        assert!(!flow.is_known());
        assert_eq!(flow.measure(26_000, at(200)), None);
        assert_eq!(flow.rate(), 1_000_000);
        assert_eq!(flow.measure(30_000, at(700)), None);
        assert_eq!(flow.rate(), 1_000_000);
        assert_eq!(flow.measure(276_000, at(1200)), Some((2_000_000, at(200))));
        assert_eq!(flow.rate(), 2_000_000);
    }

    #[test]
    fn what_nobody_took_does_not_count() {
        let start = Instant::now();
        let mut flow = Flow::new(0, start);
        flow.measure(125_000, start + INTERVAL);
        flow.skip(9_000_000, start + 9 * INTERVAL);
        assert_eq!(flow.rate(), 1_000_000);
        flow.measure(9_125_000, start + 10 * INTERVAL);
        assert_eq!(flow.rate(), 1_000_000);
    }

    #[test]
    fn the_bound_does_not_follow_each_sample() {
        let start = Instant::now();
        let mut flow = Flow::new(0, start);
        assert_eq!(flow.bound(), 0);
        let mut bytes = 0;
        let mut bounds = Vec::new();
        for (second, rate) in [5_000_000, 8_000_000, 2_000_000, 6_000_000]
            .iter()
            .enumerate()
        {
            bytes += rate / 8;
            flow.measure(bytes, start + (second as u32 + 1) * INTERVAL);
            bounds.push(flow.bound());
        }
        assert_eq!(bounds, [8_388_608; 4]);
    }
}
