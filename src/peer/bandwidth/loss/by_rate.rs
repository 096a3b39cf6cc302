// SPDX-License-Identifier: MPL-2.0
//! Loss against the rate at which it happened: where more arrives the more is sent, what is lost
//! at the lowest rates is lost by chance, not for want of bandwidth.

use std::time::Instant;

/// Each rate is so much above the next lower.
const RATIO: f64 = 1.15;
/// The lowest, bit/s.
const LOWEST: f64 = 10_000.0;
/// The highest is 5 Gbit/s.
const RATES: usize = 95;
/// After so many seconds what was seen counts half.
const HALF_LIFE: f64 = 20.0;
/// So many packets must have been seen at low and at high rates.
const MIN_PACKETS: f64 = 80.0;
/// Nobody can see through more.
const MAX_LOSS: f64 = 0.4;
/// So much of what is sent in addition must arrive.
const ARRIVES: f64 = 0.5;
/// What is not seen again is forgotten, in each observation by this.
const FORGET: f64 = 0.99;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    packets: f64,
    lost: f64,
    /// Sum over packets, bit/s.
    rates: f64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.rates += other.rates;
    }

    fn loss(&self) -> f64 {
        self.lost / self.packets.max(1.0)
    }

    fn rate(&self) -> f64 {
        self.rates / self.packets.max(1.0)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct LossByRate {
    seen: [Seen; RATES],
    aged: Option<Instant>,
    learnt: f64,
}

impl Default for LossByRate {
    fn default() -> Self {
        Self {
            seen: [Seen::default(); RATES],
            aged: None,
            learnt: 0.0,
        }
    }
}

impl LossByRate {
    /// What is lost by chance, with what chance may add to it; 0 where that is not known.
    pub(super) fn learnt(&self) -> f64 {
        self.learnt
    }

    pub(super) fn add(&mut self, rate: f64, packets: f64, lost: f64, now: Instant) {
        if let Some(aged) = self.aged {
            let elapsed = now.saturating_duration_since(aged).as_secs_f64();
            let keep = 0.5f64.powf(elapsed / HALF_LIFE);
            for seen in &mut self.seen {
                seen.packets *= keep;
                seen.lost *= keep;
                seen.rates *= keep;
            }
        }
        self.aged = Some(now);
        let place = ((rate / LOWEST).max(1.0).ln() / RATIO.ln()) as usize;
        if let Some(seen) = self.seen.get_mut(place.min(RATES - 1)) {
            seen.add(&Seen {
                packets,
                lost,
                rates: rate * packets,
            });
        }
        self.learnt = self.learn().unwrap_or(FORGET * self.learnt);
    }

    fn learn(&self) -> Option<f64> {
        let mut seen = self.seen.iter();
        let mut low = Seen::default();
        while low.packets < MIN_PACKETS {
            low.add(seen.next()?);
        }
        // Those next to them are hardly higher.
        seen.next();
        let mut high = Seen::default();
        seen.for_each(|seen| high.add(seen));
        if high.packets < MIN_PACKETS {
            return None;
        }
        let more = high.rate() / low.rate().max(1.0) - 1.0;
        let arrives =
            high.rate() * (1.0 - high.loss()) / (low.rate() * (1.0 - low.loss())).max(1.0);
        if arrives < 1.0 + ARRIVES * more {
            // The path is full at the lower rate already.
            return None;
        }
        let loss = low.loss();
        let chance = 2.0 * (loss * (1.0 - loss) / low.packets).sqrt();
        Some((loss + chance).min(MAX_LOSS))
    }
}
