// SPDX-License-Identifier: MPL-2.0
//! Loss against the rate at which it happened: loss that is there at lower rates too is not
//! congestion.

use std::time::Instant;

/// Each rate is so much above the next lower.
const RATIO: f64 = 1.15;
/// The lowest, bit/s.
const LOWEST: f64 = 10_000.0;
/// The highest is 5 Gbit/s.
const RATES: usize = 95;
/// After so many seconds what was seen counts half.
const HALF_LIFE: f64 = 20.0;
/// So many packets at lower rates must have been seen.
const MIN_PACKETS: f64 = 80.0;
/// Nobody can see through more.
const MAX_LOSS: f64 = 0.4;

/// See the module.
#[derive(Debug)]
pub(super) struct LossByRate {
    /// Packets and how many of them were lost.
    seen: [(f64, f64); RATES],
    aged: Option<Instant>,
    learnt: f64,
}

impl Default for LossByRate {
    fn default() -> Self {
        Self {
            seen: [(0.0, 0.0); RATES],
            aged: None,
            learnt: 0.0,
        }
    }
}

impl LossByRate {
    /// What is lost at lower rates than the last one, with what chance may add; 0 if not known.
    pub(super) fn learnt(&self) -> f64 {
        self.learnt
    }

    pub(super) fn add(&mut self, rate: f64, packets: f64, lost: f64, now: Instant) {
        if let Some(aged) = self.aged {
            let elapsed = now.saturating_duration_since(aged).as_secs_f64();
            let keep = 0.5f64.powf(elapsed / HALF_LIFE);
            for (packets, lost) in &mut self.seen {
                *packets *= keep;
                *lost *= keep;
            }
        }
        self.aged = Some(now);
        let place = ((rate / LOWEST).max(1.0).ln() / RATIO.ln()) as usize;
        let place = place.min(RATES - 1);
        if let Some(seen) = self.seen.get_mut(place) {
            seen.0 += packets;
            seen.1 += lost;
        }
        let (packets, lost) = self
            .seen
            .iter()
            .take(place.saturating_sub(1))
            .fold((0.0, 0.0), |sum, seen| (sum.0 + seen.0, sum.1 + seen.1));
        self.learnt = if packets < MIN_PACKETS {
            // Too little is known: what was learnt is forgotten slowly.
            0.995 * self.learnt
        } else {
            let loss = lost / packets;
            (loss + 2.0 * (loss * (1.0 - loss) / packets).sqrt()).min(MAX_LOSS)
        };
    }
}
