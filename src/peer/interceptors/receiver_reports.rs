// SPDX-License-Identifier: MPL-2.0
//! Receiver reports (RFC 3550 sections 6.4.2 and A.3) on what we receive.
//!
//! By what [`Source`](super::source::Source) knows of each packet: webrtc's interceptor keeps a second
//! account of it, takes each packet into a queue of its own to look at it, and sends a datagram for
//! each source.

use std::time::{Duration, Instant};

use rtc::rtcp::reception_report::ReceptionReport;

use super::arrivals::SLACK;
use super::source::CYCLE;

/// Often enough that the end of a call is acknowledged soon.
const INTERVAL: Duration = Duration::from_millis(250);
/// While nothing comes: a report may have been lost.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Blocks in one report (5 bits).
pub(super) const BLOCKS: usize = 31;
/// Lost packets in a report (24 bits, signed).
const MOST_LOST: i64 = 0x7f_ffff;

/// What the path brought of one source. Repairs do not count: what had to be repaired was lost.
#[derive(Default)]
pub(super) struct Reception {
    /// Numbers, extended, of the first and the newest packet.
    numbers: Option<(u32, u32)>,
    received: i64,
    /// Packets up to the last report: that should have come, and that came.
    reported: (i64, i64),
    /// Middle of the NTP time of the last sender report, and when it came.
    sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Packet `number` came for the first time, as it was sent.
    pub(super) fn came(&mut self, number: u32) {
        let (first, newest) = self.numbers.unwrap_or((number, number));
        self.numbers = Some((first.min(number), newest.max(number)));
        self.received += 1;
    }

    /// Packet `number`, which was here, came once more as it was sent: by a repair first, if it is
    /// beyond the newest. Who waits for a report of its last packet repeats that.
    pub(super) fn again(&mut self, number: u32) {
        if self.numbers.is_none_or(|(_, newest)| number > newest) {
            self.came(number);
        }
    }

    /// Packet `number` begins a new numbering.
    pub(super) fn restart(&mut self, number: u32) {
        self.numbers = Some((number, number));
        self.received = 1;
        self.reported = (0, 0);
    }

    /// A sender report of NTP time `time` came.
    pub(super) fn sender_report(&mut self, time: u64, now: Instant) {
        self.sender_report = Some(((time >> 16) as u32, now));
    }

    /// The block on `ssrc`; `jitter` in units of its clock.
    fn report(&mut self, ssrc: u32, jitter: u32, now: Instant) -> Option<ReceptionReport> {
        let (first, newest) = self.numbers?;
        let expected = i64::from(newest) - i64::from(first) + 1;
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, self.received);
        let due = expected - expected_before;
        let lost = due - (self.received - received_before);
        let fraction = if due > 0 && lost > 0 {
            (lost * 256 / due).min(255)
        } else {
            0
        };
        let (last_sender_report, delay) = match self.sender_report {
            Some((time, at)) => {
                let since = now.saturating_duration_since(at).as_secs_f64();
                (time, (since * 65536.0) as u32)
            }
            None => (0, 0),
        };
        Some(ReceptionReport {
            ssrc,
            fraction_lost: fraction as u8,
            total_lost: (expected - self.received).clamp(0, MOST_LOST) as u32,
            last_sequence_number: newest.wrapping_sub(CYCLE),
            jitter,
            last_sender_report,
            delay,
        })
    }
}

/// When reports leave; see the module.
#[derive(Default)]
pub(super) struct ReceiverReports {
    due: Option<Instant>,
    /// Something came since the last ones.
    fresh: bool,
}

impl ReceiverReports {
    /// A packet came.
    pub(super) fn came(&mut self, now: Instant) {
        if !self.fresh {
            self.fresh = true;
            let due = now + INTERVAL;
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
        }
    }

    /// When to come for [`Self::poll`] if nothing else is a reason to.
    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.due? + SLACK)
    }

    /// The blocks that are due, of `sources`: SSRC, reception, and jitter in units of the clock.
    pub(super) fn poll<'a>(
        &mut self,
        sources: impl Iterator<Item = (u32, &'a mut Reception, u32)>,
        now: Instant,
    ) -> Vec<ReceptionReport> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let fresh = std::mem::take(&mut self.fresh);
        self.due = Some(now + if fresh { INTERVAL } else { IDLE_INTERVAL });
        sources
            .filter_map(|(ssrc, reception, jitter)| reception.report(ssrc, jitter, now))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_was_lost_since_the_last_and_of_all() {
        let mut reception = Reception::default();
        let now = Instant::now();
        assert!(reception.report(7, 0, now).is_none(), "nothing came");
        for number in (100..200).filter(|number| number % 4 != 0) {
            reception.came(CYCLE + number);
        }
        reception.sender_report(0x1_2345_6789_abcd, now);
        let later = now + Duration::from_millis(500);
        let block = reception.report(7, 9, later).unwrap();
        // 101 to 199, of which 104, 108, ... 196 are missing.
        assert_eq!((block.ssrc, block.jitter), (7, 9));
        assert_eq!((block.total_lost, block.last_sequence_number), (24, 199));
        assert_eq!(block.fraction_lost, (24 * 256 / 99) as u8);
        assert_eq!(
            (block.last_sender_report, block.delay),
            (0x2345_6789, 32768)
        );
        // What was overtaken was not lost.
        (200..210).for_each(|number| reception.came(CYCLE + number));
        reception.came(CYCLE + 196);
        let block = reception.report(7, 0, later).unwrap();
        assert_eq!((block.total_lost, block.fraction_lost), (23, 0));
        reception.again(CYCLE + 209);
        reception.again(CYCLE + 211);
        let block = reception.report(7, 0, later).unwrap();
        assert_eq!((block.total_lost, block.last_sequence_number), (24, 211));
        reception.restart(CYCLE + 5);
        let block = reception.report(7, 0, later).unwrap();
        assert_eq!((block.total_lost, block.last_sequence_number), (0, 5));
    }

    #[test]
    fn reports_leave_every_quarter_of_a_second_and_seldom_while_nothing_comes() {
        let mut reports = ReceiverReports::default();
        let mut reception = Reception::default();
        let start = Instant::now();
        assert_eq!(reports.next(), None);
        reception.came(1);
        reports.came(start);
        let mut left = Vec::new();
        while let Some(now) = reports.next()
            && left.len() < 3
        {
            let blocks = reports.poll([(1, &mut reception, 0)].into_iter(), now);
            assert_eq!(blocks.len(), 1);
            left.push((now - start).as_millis());
        }
        assert_eq!(left, [270, 540, 1560]);
        let now = start + Duration::from_secs(2);
        reports.came(now);
        assert_eq!(reports.next(), Some(now + INTERVAL + SLACK));
        // With what leaves anyway.
        let due = now + INTERVAL;
        assert!(
            !reports
                .poll([(1, &mut reception, 0)].into_iter(), due)
                .is_empty()
        );
    }
}
