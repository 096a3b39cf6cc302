// SPDX-License-Identifier: MPL-2.0
//! Bookkeeping of one source that we receive (RFC 3550 appendix A).

use std::time::Instant;

use rtc::rtp;

use super::key_frames::KeyFrames;
use super::nack::Requests;
use super::receiver_reports::Reception;

/// Sequence numbers that are remembered, to drop what arrives twice.
const WINDOW: u32 = 16384;
/// A number this far back is a restart, not a late packet.
const RESTART: i32 = 8192;

/// One cycle of numbers: the first packet has its number in the second, so that packets before it have
/// a number too.
pub(super) const CYCLE: u32 = 0x1_0000;

/// What a packet is to those that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The newest.
    Next {
        /// Its sequence number, extended.
        number: u32,
        /// So many before it have not come.
        skipped: u32,
    },
    /// One that was missing.
    Late(u32),
    /// It was here before.
    Again(u32),
    /// Of a new numbering.
    Restart(u32),
}

/// One SSRC that we receive: its sequence numbers, its jitter, and what is asked of it.
pub(super) struct Source {
    /// The m-line it belongs to.
    pub(super) stream: usize,
    /// What to ask for again; `None` where the remote answers no NACKs.
    pub(super) requests: Option<Requests>,
    /// Whether a key frame is needed.
    pub(super) key_frames: Option<KeyFrames>,
    /// For receiver reports.
    pub(super) reception: Reception,
    clock_rate: u32,
    /// When something of it came last.
    pub(super) came: Instant,
    lowest: u32,
    highest: u32,
    received: u64,
    bits: Vec<u64>,
    transit: Option<f64>,
    jitter: f64,
    epoch: Instant,
}

impl Source {
    /// A source on m-line `stream` whose first packet has number `sequence`.
    pub(super) fn new(stream: usize, clock_rate: u32, sequence: u16, now: Instant) -> Self {
        let first = u32::from(sequence) + CYCLE;
        Self {
            stream,
            requests: None,
            key_frames: None,
            reception: Reception::default(),
            clock_rate: clock_rate.max(1),
            came: now,
            lowest: first,
            highest: first,
            received: 0,
            bits: vec![0; WINDOW as usize / 64],
            transit: None,
            jitter: 0.0,
            epoch: now,
        }
    }

    /// Whether `sequence` is of a new numbering, if it is media as it was sent: what is repeated or
    /// made again is of the old one, and too late.
    pub(super) fn is_restart(&self, sequence: u16) -> bool {
        self.step(sequence) <= -RESTART
    }

    /// From the highest number to `sequence`.
    fn step(&self, sequence: u16) -> i32 {
        i32::from(sequence.wrapping_sub(self.highest as u16) as i16)
    }

    /// Notes a packet.
    pub(super) fn accept(&mut self, sequence: u16) -> Arrival {
        let step = self.step(sequence);
        if self.is_restart(sequence) {
            let first = u32::from(sequence) + CYCLE;
            (self.lowest, self.highest, self.received) = (first, first, 1);
            self.bits.fill(0);
            self.mark(first, true);
            return Arrival::Restart(first);
        }
        let number = self.highest.wrapping_add_signed(step);
        if step > 0 {
            let first = self.highest.wrapping_add(1);
            for skipped in first.max(number.saturating_sub(WINDOW - 1))..=number {
                self.mark(skipped, false);
            }
            self.highest = number;
        }
        self.lowest = self.lowest.min(number);
        if self.mark(number, true) {
            return Arrival::Again(number);
        }
        self.received += 1;
        let skipped = step.unsigned_abs().saturating_sub(1);
        if step > 0 {
            Arrival::Next { number, skipped }
        } else if self.received == 1 {
            Arrival::Next { number, skipped: 0 }
        } else {
            Arrival::Late(number)
        }
    }

    /// Notes whether a key frame is needed after `packet`, as which [`Self::accept`] took it.
    pub(super) fn look_for_key_frame(
        &mut self,
        arrival: Arrival,
        packet: &rtp::Packet,
        now: Instant,
    ) {
        let Some(key_frames) = &mut self.key_frames else {
            return;
        };
        let timestamp = packet.header.timestamp;
        match arrival {
            Arrival::Next { number, .. } | Arrival::Late(number) => {
                key_frames.came(number, timestamp, &packet.payload, now);
            }
            Arrival::Restart(_) => key_frames.restart(timestamp),
            Arrival::Again(_) => {}
        }
    }

    /// Notes for receiver reports what [`Self::accept`] said of a packet.
    pub(super) fn report(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Next { number, .. } | Arrival::Late(number) => self.reception.came(number),
            Arrival::Restart(number) => self.reception.restart(number),
            Arrival::Again(number) => self.reception.again(number),
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

    /// In units of the clock.
    pub(super) fn jitter(&self) -> u32 {
        self.jitter as u32
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

    fn source(first: u16) -> Source {
        Source::new(0, 90000, first, Instant::now())
    }

    fn is_new(arrival: Arrival) -> bool {
        !matches!(arrival, Arrival::Again(_))
    }

    #[test]
    fn counts_losses_and_drops_what_comes_twice_across_a_wrap() {
        let mut source = source(65534);
        let next = |number, skipped| Arrival::Next { number, skipped };
        assert_eq!(source.accept(65534), next(0x1_fffe, 0));
        assert_eq!(source.accept(1), next(0x2_0001, 2));
        assert_eq!(source.lost(), 2);
        assert_eq!(source.accept(65535), Arrival::Late(0x1_ffff));
        assert_eq!(source.accept(65535), Arrival::Again(0x1_ffff));
        assert_eq!(source.accept(1), Arrival::Again(0x2_0001));
        assert_eq!(source.accept(0), Arrival::Late(0x2_0000));
        assert_eq!(source.lost(), 0);
        assert_eq!(source.accept(65533), Arrival::Late(0x1_fffd));
        assert_eq!(source.lost(), 0);
    }

    #[test]
    fn old_numbers_leave_the_window() {
        let mut source = source(0);
        (0..40000u16).for_each(|n| assert!(is_new(source.accept(n)), "{n}"));
        (40000..65535u16).for_each(|n| assert!(is_new(source.accept(n)), "{n}"));
        (0..100u16).for_each(|n| assert!(is_new(source.accept(n)), "{n}"));
        assert!(!is_new(source.accept(0)));
        assert_eq!(source.lost(), 1);
    }

    #[test]
    fn a_number_far_back_begins_a_new_numbering() {
        let mut source = source(20000);
        source.accept(20000);
        assert_eq!(source.accept(1000), Arrival::Restart(0x1_03e8));
        assert_eq!(source.accept(1000), Arrival::Again(0x1_03e8));
        assert_eq!(source.lost(), 0);
    }
}
