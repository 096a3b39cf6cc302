// SPDX-License-Identifier: MPL-2.0
//! One request to a server, sent again until it is answered (RFC 8489 section 6.2.1).

use std::time::{Duration, Instant};

use rtc::stun::message::{Message, TransactionId};

/// First wait for an answer; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A request is sent so often (Rc).
const SENDS: u32 = 7;
/// Last wait, in units of the first (Rm).
const LAST_WAIT: u32 = 16;
/// How long a request is tried at most: 39.5 s.
pub(super) const LIFETIME: Duration = FIRST_WAIT.saturating_mul((1 << (SENDS - 1)) - 1 + LAST_WAIT);

/// A request that waits for its answer.
pub(super) struct Transaction {
    message: Message,
    sent: u32,
    /// When it is sent again.
    next: Instant,
    limit: Instant,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    Send,
    GiveUp,
}

impl Transaction {
    /// `message` is first due at `start`, and given up at `limit` at the latest.
    pub(super) fn new(message: Message, start: Instant, limit: Instant) -> Self {
        Self {
            message,
            sent: 0,
            next: start,
            limit: limit.min(start + LIFETIME),
        }
    }

    pub(super) fn id(&self) -> TransactionId {
        self.message.transaction_id
    }

    /// What is on the wire.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.message.raw
    }

    /// Gives it no more time than until `limit`.
    pub(super) fn hasten(&mut self, limit: Instant) {
        self.limit = self.limit.min(limit);
    }

    /// When to call [`Self::step`].
    pub(super) fn deadline(&self) -> Instant {
        if self.sent < SENDS {
            self.next.min(self.limit)
        } else {
            self.limit
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        if now >= self.limit {
            return Step::GiveUp;
        }
        if self.sent >= SENDS || now < self.next {
            return Step::Wait;
        }
        // From now, not from when it was due: what comes late makes no burst.
        self.next = now + FIRST_WAIT * (1 << self.sent);
        self.sent += 1;
        Step::Send
    }
}
