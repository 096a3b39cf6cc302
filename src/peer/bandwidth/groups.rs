// SPDX-License-Identifier: MPL-2.0
//! Packets that left together, and how their distance changed on the way
//! (draft-ietf-rmcat-gcc-02 section 5.2).
//!
//! `rtc::interceptor::ArrivalGroupAccumulator` groups by departure only: a path that hands packets
//! over in bunches, as Wi-Fi does, then looks as if it were congested.

use std::time::{Duration, Instant};

/// What left so close together is one group.
const GROUP: Duration = Duration::from_millis(5);
/// What arrives so close together, though it left further apart, was held and let go: one group.
const BUNCH: i64 = 5_000;
/// A bunch lasts no longer, µs.
const MAX_BUNCH: i64 = 100_000;
/// The remote's clock was set when it is so far from ours, µs.
const CLOCK_JUMP: i64 = 3_000_000;
/// So many groups one after the other seem to arrive before the one that left before: likewise.
const MAX_REORDERED: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: Instant,
    sent: Instant,
    first_arrival: i64,
    arrival: i64,
    /// When it was reported.
    reported: Instant,
}

/// Between two groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// How far apart they left, ms.
    pub(super) sent: f64,
    /// How far apart they arrived, ms.
    pub(super) arrived: f64,
    /// When the later one arrived, by the remote's clock, ms.
    pub(super) at: f64,
}

/// What a packet brought about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grouped {
    /// Nothing is known yet.
    Pending,
    /// A group is complete.
    Step(Step),
    /// The clocks make no sense together: all that was learnt of delays is void.
    Reset,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Groups {
    current: Option<Group>,
    previous: Option<Group>,
    reordered: u32,
}

impl Groups {
    /// A packet arrived; `now` is when we heard of it.
    pub(super) fn add(&mut self, sent: Instant, arrival: i64, now: Instant) -> Grouped {
        let new = Group {
            first_sent: sent,
            sent,
            first_arrival: arrival,
            arrival,
            reported: now,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(new);
            return Grouped::Pending;
        };
        if sent < current.first_sent {
            // It was overtaken by a whole group.
            return Grouped::Pending;
        }
        if belongs(current, sent, arrival) {
            current.sent = current.sent.max(sent);
            current.arrival = current.arrival.max(arrival);
            current.reported = now;
            return Grouped::Pending;
        }
        let done = *current;
        let before = self.previous.replace(done);
        self.current = Some(new);
        let Some(before) = before else {
            return Grouped::Pending;
        };
        let arrived = done.arrival.saturating_sub(before.arrival);
        let elapsed = micros(done.reported.saturating_duration_since(before.reported));
        if arrived.saturating_sub(elapsed).saturating_abs() >= CLOCK_JUMP {
            *self = Self::default();
            return Grouped::Reset;
        }
        if arrived < 0 {
            self.reordered += 1;
            if self.reordered >= MAX_REORDERED {
                *self = Self::default();
                return Grouped::Reset;
            }
            return Grouped::Pending;
        }
        self.reordered = 0;
        Grouped::Step(Step {
            sent: micros(done.sent.saturating_duration_since(before.sent)) as f64 / 1000.0,
            arrived: arrived as f64 / 1000.0,
            at: done.arrival as f64 / 1000.0,
        })
    }
}

fn belongs(group: &Group, sent: Instant, arrival: i64) -> bool {
    if sent.saturating_duration_since(group.first_sent) <= GROUP {
        return true;
    }
    let arrived = arrival.saturating_sub(group.arrival);
    let left = micros(sent.saturating_duration_since(group.sent));
    arrived < left && arrived <= BUNCH && arrival.saturating_sub(group.first_arrival) < MAX_BUNCH
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
