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

/// What differs by so many deviations, and by this besides, is not by chance, ...
const FITS: f64 = 1.5;
const CHANGE: f64 = 0.01;
/// ... if so many observations in a row do, of so many packets each.
const MISFITS: i32 = 3;
const MIN_OBSERVED: f64 = 10.0;

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
    /// Observations one after the other in which more is lost than was seen; negative: less.
    misfits: i32,
}

impl Default for LossByRate {
    fn default() -> Self {
        Self {
            seen: [Seen::default(); RATES],
            aged: None,
            learnt: 0.0,
            misfits: 0,
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
        let place = place.min(RATES - 1);
        self.compare(place, packets, lost);
        if let Some(seen) = self.seen.get_mut(place) {
            seen.add(&Seen {
                packets,
                lost,
                rates: rate * packets,
            });
        }
        self.learnt = self.learn().unwrap_or(FORGET * self.learnt);
    }

    /// Forgets all when the path no longer is what it was: more is lost than at higher rates before,
    /// or less than at lower ones.
    fn compare(&mut self, place: usize, packets: f64, lost: f64) {
        if packets < MIN_OBSERVED {
            return;
        }
        let loss = lost / packets;
        let more = differs(
            self.seen.iter().skip(place.saturating_sub(1)),
            loss,
            packets,
        );
        let less = differs(self.seen.iter().take(place + 2), loss, packets);
        let sign = match (more, less) {
            (Some(change), _) if change > 0.0 => 1,
            (_, Some(change)) if change < 0.0 => -1,
            (None, None) => return,
            _ => 0,
        };
        self.misfits = if sign * self.misfits > 0 {
            self.misfits + sign
        } else {
            sign
        };
        if self.misfits.abs() >= MISFITS {
            self.misfits = 0;
            self.seen = [Seen::default(); RATES];
        }
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

/// How much more is lost than what was seen, if that is not by chance; `None` where little was seen.
fn differs<'a>(seen: impl Iterator<Item = &'a Seen>, loss: f64, packets: f64) -> Option<f64> {
    let mut before = Seen::default();
    seen.for_each(|seen| before.add(seen));
    if before.packets < MIN_PACKETS {
        return None;
    }
    let usual = before.loss().max(0.01);
    let chance = FITS * (usual * (1.0 - usual) / packets).sqrt() + CHANGE;
    let change = loss - before.loss();
    Some(if change.abs() < chance { 0.0 } else { change })
}
