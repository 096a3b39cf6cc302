// SPDX-License-Identifier: MPL-2.0
//! Bookkeeping of one source that we receive (RFC 3550 appendix A).

use std::time::Instant;

/// Sequence numbers that are remembered, to drop what arrives twice.
const WINDOW: u32 = 16384;
/// A number this far back is a restart, not a late packet.
const RESTART: i32 = 8192;

/// Sequence numbers and jitter of one SSRC.
pub(super) struct Source {
    clock_rate: u32,
    lowest: u32,
    highest: u32,
    received: u64,
    bits: Vec<u64>,
    transit: Option<f64>,
    jitter: f64,
    epoch: Instant,
}

impl Source {
    /// A source whose first packet has number `sequence`.
    pub(super) fn new(clock_rate: u32, sequence: u16, now: Instant) -> Self {
        // One cycle ahead, so that packets before the first have a number too.
        let first = u32::from(sequence) + 0x1_0000;
        Self {
            clock_rate: clock_rate.max(1),
            lowest: first,
            highest: first,
            received: 0,
            bits: vec![0; WINDOW as usize / 64],
            transit: None,
            jitter: 0.0,
            epoch: now,
        }
    }

    /// Notes a packet; `false` if it was here before.
    pub(super) fn accept(&mut self, sequence: u16) -> bool {
        let step = i32::from(sequence.wrapping_sub(self.highest as u16) as i16);
        if step <= -RESTART {
            *self = Self::new(self.clock_rate, sequence, self.epoch);
        }
        let number = if step <= -RESTART {
            self.highest
        } else {
            self.highest.wrapping_add_signed(step)
        };
        if step > 0 {
            let first = self.highest + 1;
            for skipped in first.max(number.saturating_sub(WINDOW - 1))..=number {
                self.mark(skipped, false);
            }
            self.highest = number;
        }
        self.lowest = self.lowest.min(number);
        !self.mark(number, true) && {
            self.received += 1;
            true
        }
    }

    /// Packets that are missing.
    pub(super) fn lost(&self) -> i64 {
        let expected = i64::from(self.highest.wrapping_sub(self.lowest)) + 1;
        expected.saturating_sub(self.received as i64).max(0)
    }

    /// Takes the arrival of a packet into account; gives the jitter in seconds.
    pub(super) fn arrived(&mut self, timestamp: u32, now: Instant) -> f64 {
        let rate = f64::from(self.clock_rate);
        let arrival = now.saturating_duration_since(self.epoch).as_secs_f64() * rate;
        let transit = arrival - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs();
            // A jump of a second is a new timestamp base (or its wrap), not jitter.
            if difference < rate {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.jitter / rate
    }

    /// Sets the bit of `number`; gives its former value.
    fn mark(&mut self, number: u32, value: bool) -> bool {
        let position = number % WINDOW;
        let Some(word) = self.bits.get_mut(position as usize / 64) else {
            return false;
        };
        let mask = 1u64 << (position % 64);
        let before = *word & mask != 0;
        *word = if value { *word | mask } else { *word & !mask };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_losses_and_drops_what_comes_twice_across_a_wrap() {
        let mut source = Source::new(90000, 65534, Instant::now());
        assert!(source.accept(65534));
        assert!(source.accept(1));
        assert_eq!(source.lost(), 2);
        assert!(source.accept(65535));
        assert!(!source.accept(65535));
        assert!(!source.accept(1));
        assert!(source.accept(0));
        assert_eq!(source.lost(), 0);
        assert!(source.accept(65533));
        assert_eq!(source.lost(), 0);
    }

    #[test]
    fn old_numbers_leave_the_window() {
        let mut source = Source::new(90000, 0, Instant::now());
        (0..40000u16).for_each(|n| assert!(source.accept(n), "{n}"));
        (40000..65535u16).for_each(|n| assert!(source.accept(n), "{n}"));
        (0..100u16).for_each(|n| assert!(source.accept(n), "{n}"));
        assert!(!source.accept(0));
        assert_eq!(source.lost(), 1);
    }
}
