// SPDX-License-Identifier: MPL-2.0
//! How much leaves, and what for.

use std::time::{Duration, Instant};

use super::Purpose;

/// Time constant of the smoothing.
const SMOOTHING: f64 = 0.5;

/// What leaves, bit/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// All of it.
    pub(super) total: u64,
    /// Media with its headers.
    pub(super) media: u64,
    /// Retransmissions and FEC.
    pub(super) repair: u64,
    /// Part of the media that is payload, 0 to 1.
    pub(super) payload_part: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            total: 0,
            media: 0,
            repair: 0,
            // Packets of 1200 bytes with the usual headers.
            payload_part: 0.965,
        }
    }
}

/// Bytes since the last look, and rates up to then.
#[derive(Default)]
pub(super) struct Meter {
    since: Option<Instant>,
    media: usize,
    payload: usize,
    repair: usize,
    probe: usize,
    smoothed: Option<[f64; 4]>,
}

impl Meter {
    /// A packet with so much payload left, in so many bytes.
    pub(super) fn add(&mut self, purpose: Purpose, payload: usize, size: usize) {
        match purpose {
            Purpose::Media => {
                self.media += size;
                self.payload += payload;
            }
            Purpose::Repair => self.repair += size,
            Purpose::Probe => self.probe += size,
        }
    }

    /// The rates, if the last look is `least` ago.
    pub(super) fn rates(&mut self, now: Instant, least: Duration) -> Option<Rates> {
        let Some(since) = self.since else {
            if self.media > 0 {
                self.since = Some(now);
            }
            return None;
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed < least {
            return None;
        }
        self.since = Some(now);
        let seconds = elapsed.as_secs_f64();
        let bytes = [self.media, self.payload, self.repair, self.probe];
        let rates = bytes.map(|bytes| bytes as f64 * 8.0 / seconds);
        (self.media, self.payload, self.repair, self.probe) = (0, 0, 0, 0);
        let weight = 1.0 - (-seconds / SMOOTHING).exp();
        let before = self.smoothed.unwrap_or(rates);
        let mut smoothed = before;
        for (value, rate) in smoothed.iter_mut().zip(rates) {
            *value += (rate - *value) * weight;
        }
        self.smoothed = Some(smoothed);
        let [media, payload, repair, probe] = smoothed;
        let payload_part = if media > 1.0 {
            payload / media
        } else {
            Rates::default().payload_part
        };
        Some(Rates {
            total: (media + repair + probe) as u64,
            media: media as u64,
            repair: repair as u64,
            payload_part,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_leaves() {
        let mut meter = Meter::default();
        let start = Instant::now();
        meter.add(Purpose::Media, 1, 1);
        assert_eq!(meter.rates(start, Duration::ZERO), None);
        let mut last = None;
        for tick in 1..=50u32 {
            meter.add(Purpose::Media, 9_000, 10_000);
            meter.add(Purpose::Repair, 900, 1_000);
            meter.add(Purpose::Probe, 0, 500);
            let now = start + tick * Duration::from_millis(100);
            assert_eq!(meter.rates(now, Duration::from_secs(1)), None);
            last = meter.rates(now, Duration::from_millis(100));
        }
        let last = last.expect("a tick is over");
        let near = |value: u64, wanted: u64| value.abs_diff(wanted) < wanted / 100;
        assert!(near(last.media, 800_000), "{last:?}");
        assert!(near(last.repair, 80_000), "{last:?}");
        assert!(near(last.total, 920_000), "{last:?}");
        assert!((last.payload_part - 0.9).abs() < 0.01, "{last:?}");
    }
}
