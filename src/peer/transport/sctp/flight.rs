// SPDX-License-Identifier: MPL-2.0
//! How many messages SCTP has of ours, counted in what it really sends.
//!
//! A message's place in its stream is a number of 16 bits (RFC 9260 section 3.3.1): with more than 2^15 under way, one
//! that follows a lost packet looks as if it came before. Small messages are that many long before they fill a window of
//! bytes; the receiver then keeps what it cannot put into order, and Chromium ends the association over it. rtc-sctp
//! bounds bytes only. It also needs some hundred bytes for each message.

use super::guard::{is_after, u32_at};

/// Messages that SCTP has to send, or that the remote has not acknowledged.
const MOST_MESSAGES: usize = 1 << 13;
/// The last fragment of a message.
const END: u8 = 1;
/// What announces a channel (RFC 8832 section 8.1); counted by nobody.
const DCEP: u32 = 50;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Messages that SCTP was given and has not sent.
    pending: usize,
    /// The highest number that left.
    highest: Option<u32>,
    /// The remote has all up to this.
    acknowledged: Option<u32>,
}

impl Flight {
    /// SCTP was given a message.
    pub(super) fn gave(&mut self) {
        self.pending += 1;
    }

    /// SCTP has none: what it gave up before it left is not counted any more. Nor is what the remote
    /// acknowledged under numbers that never left: those of fragments that were given up.
    pub(super) fn idle(&mut self) {
        self.pending = 0;
        self.acknowledged = self.highest.or(self.acknowledged);
    }

    /// Whether the next message has to wait.
    pub(super) fn is_full(&self) -> bool {
        let under_way = match (self.highest, self.acknowledged) {
            (Some(highest), Some(known)) => highest.wrapping_sub(known) as usize,
            _ => 0,
        };
        self.pending + under_way >= MOST_MESSAGES
    }

    /// A DATA chunk leaves.
    pub(super) fn left(&mut self, chunk: &[u8]) {
        let (Some(tsn), Some(ppid)) = (u32_at(chunk, 4), u32_at(chunk, 12)) else {
            return;
        };
        // The first one tells where the numbers begin.
        self.acknowledged.get_or_insert(tsn.wrapping_sub(1));
        if self.highest.is_some_and(|highest| !is_after(tsn, highest)) {
            return;
        }
        self.highest = Some(tsn);
        let ends = chunk.get(1).is_some_and(|flags| flags & END != 0);
        if ends && ppid != DCEP {
            self.pending = self.pending.saturating_sub(1);
        }
    }

    /// The remote says that it has all up to `tsn`.
    pub(super) fn acknowledged(&mut self, tsn: u32) {
        let sent = self.highest.is_some_and(|highest| !is_after(tsn, highest));
        if sent && self.acknowledged.is_some_and(|known| is_after(tsn, known)) {
            self.acknowledged = Some(tsn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(tsn: u32, flags: u8, ppid: u8) -> Vec<u8> {
        let mut chunk = vec![0, flags, 0, 17];
        chunk.extend(tsn.to_be_bytes());
        chunk.extend([0, 1, 0, 0, 0, 0, 0, ppid, 7]);
        chunk
    }

    #[test]
    fn what_is_not_acknowledged_counts() {
        let mut flight = Flight::default();
        let first = u32::MAX - 5;
        flight.left(&chunk(first, 3, 50));
        flight.acknowledged(first);
        for n in 1..=MOST_MESSAGES as u32 {
            assert!(!flight.is_full(), "{n}");
            flight.gave();
            // Sent twice; the numbers begin anew on the way.
            flight.left(&chunk(first.wrapping_add(n), 3, 53));
            flight.left(&chunk(first.wrapping_add(n), 3, 53));
        }
        assert!(flight.is_full());
        flight.acknowledged(first.wrapping_add(100_000));
        assert!(flight.is_full(), "never sent");
        flight.acknowledged(first.wrapping_add(10));
        assert!(!flight.is_full());
        flight.acknowledged(first);
        assert!(!flight.is_full(), "an old one");
    }

    #[test]
    fn what_was_never_sent_counts_until_there_is_nothing() {
        let mut flight = Flight::default();
        for _ in 0..MOST_MESSAGES {
            flight.gave();
        }
        flight.left(&chunk(1, 2, 53));
        assert!(flight.is_full(), "only its first fragment left");
        flight.idle();
        assert!(!flight.is_full());
    }

    #[test]
    fn what_was_acknowledged_beyond_what_left_does_not_count_for_good() {
        let mut flight = Flight::default();
        for tsn in 0..=MOST_MESSAGES as u32 {
            flight.gave();
            flight.left(&chunk(tsn, 3, 53));
        }
        // Its FORWARD-TSN went over fragments that were given up before they left.
        flight.acknowledged(MOST_MESSAGES as u32 + 3);
        flight.idle();
        assert!(!flight.is_full());
    }
}
