// SPDX-License-Identifier: MPL-2.0
//! What to send by what the delay says: additive and multiplicative increase, multiplicative
//! decrease (draft-ietf-rmcat-gcc-02 section 5.5), and a memory of what the path carried.
//!
//! Beyond the draft, a decrease is as deep as the queue is long, and ends when the queue is gone:
//! a fixed 15 % needs seconds to drain half a second of queue, and wastes as much of a path whose
//! queue is gone at once. `rtc::interceptor::RateController` has neither that nor the memory, and
//! grows without being made use of.

use std::time::{Duration, Instant};

use super::trend::Usage;
use crate::peer::BitrateLimits;

/// What is left after a decrease, of what arrives.
const DECREASE: f64 = 0.85;
/// What is left at least, however long the queue.
const DEEPEST: f64 = 0.5;
/// What is left at least, of the rate, if it was not used.
const INNOCENT: f64 = 0.7;
/// A queue is drained in about such a time, seconds.
const DRAIN: f64 = 0.6;
/// The queue is gone below this, ...
const DRAINED: Duration = Duration::from_millis(25);
/// ... or never goes: it is not ours.
const MAX_DRAIN: Duration = Duration::from_secs(2);
/// It must have shrunk to this part, in such a time and a round trip.
const SHRUNK: f64 = 0.7;
const DRAIN_TIME: Duration = Duration::from_millis(400);
/// So much longer than at the last decrease, it still grows.
const GROWN: Duration = Duration::from_millis(10);
/// What arrived before a probe raised the rate is in the window for so long.
const RAISED: Duration = Duration::from_secs(1);
/// What is sent after it is gone, of what arrived while it stood.
const RESUME: f64 = 0.94;
/// Growth in a second, far from the known capacity.
const INCREASE: f64 = 1.08;
/// Growth is held so far above what arrives.
const AHEAD: f64 = 1.5;
const AHEAD_BITS: f64 = 10_000.0;
/// Growth near the known capacity, packets in two response times; the draft's one packet takes ten
/// seconds to come back from a decrease.
const PACKETS: f64 = 8.0;
/// Of the rate in a second, at most, ...
const MAX_ADDITIVE: f64 = 0.15;
/// ... and at least, bit/s.
const MIN_ADDITIVE: f64 = 4_000.0;
/// A packet, bits.
const PACKET: f64 = 9_600.0;

/// What is known when the rate is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) usage: Usage,
    /// What arrives, bit/s: over a while, ...
    pub(super) acknowledged: Option<f64>,
    /// ... and of late.
    pub(super) recent: Option<f64>,
    pub(super) queue: Option<Duration>,
    pub(super) round_trip: Duration,
    /// The encoders make less than they may.
    pub(super) application_limited: bool,
}

/// What the path carried whenever it was full, in kbit/s, as mean and deviation.
#[derive(Debug, Default, Clone, Copy)]
struct Capacity {
    mean: Option<f64>,
    /// Relative to the mean.
    variance: f64,
}

impl Capacity {
    fn add(&mut self, bitrate: f64) {
        let kbit = bitrate / 1000.0;
        const WEIGHT: f64 = 0.05;
        let Some(mean) = self.mean else {
            self.mean = Some(kbit);
            self.variance = 0.4;
            return;
        };
        let new = mean + WEIGHT * (kbit - mean);
        let error = new - kbit;
        self.variance = (1.0 - WEIGHT) * self.variance + WEIGHT * error * error / new.max(1.0);
        self.variance = self.variance.clamp(0.4, 2.5);
        self.mean = Some(new);
    }

    fn deviation(&self) -> f64 {
        3.0 * (self.variance * self.mean.unwrap_or(0.0)).sqrt()
    }

    /// What it may come to, and still be the same path, bit/s.
    fn contains(&self, bitrate: f64) -> bool {
        self.mean
            .is_none_or(|mean| (bitrate / 1000.0 - mean).abs() <= self.deviation())
    }
}

#[derive(Debug, Clone, Copy)]
struct Draining {
    since: Instant,
    /// As long as at the last decrease.
    queue: Duration,
    /// What the path carries meanwhile, bit/s.
    capacity: f64,
}

/// What became of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Increased,
    Decreased,
    /// The queue does not go away, however little we send.
    Stuck,
}

/// See the module.
#[derive(Debug)]
pub(super) struct RateControl {
    current: f64,
    capacity: Capacity,
    draining: Option<Draining>,
    /// Grows only after one quiet report.
    held: bool,
    changed: Option<Instant>,
    raised: Option<Instant>,
    decreased: Option<Instant>,
}

impl RateControl {
    pub(super) fn new(start: f64) -> Self {
        Self {
            current: start,
            capacity: Capacity::default(),
            draining: None,
            held: false,
            changed: None,
            raised: None,
            decreased: None,
        }
    }

    /// bit/s
    pub(super) fn current(&self) -> f64 {
        self.current
    }

    /// The last decrease.
    pub(super) fn decreased(&self) -> Option<Instant> {
        self.decreased
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.is_some()
    }

    /// A probe showed what the path carries, bit/s.
    pub(super) fn probed(&mut self, bitrate: f64, now: Instant) {
        if bitrate > self.current {
            self.current = bitrate;
            self.changed = Some(now);
            self.raised = Some(now);
            self.draining = None;
            if !self.capacity.contains(bitrate) {
                self.capacity = Capacity::default();
            }
        }
    }

    /// Something else than the delay tells that it is too much, bit/s.
    pub(super) fn lower(&mut self, bitrate: f64, now: Instant) {
        if bitrate < self.current {
            self.current = bitrate;
            self.changed = Some(now);
            self.decreased = Some(now);
        }
    }

    pub(super) fn clamp(&mut self, min: f64, max: f64) {
        self.current = self.current.clamp(min, max);
    }

    pub(super) fn update(&mut self, input: &Input, now: Instant) -> Change {
        if input.usage == Usage::Over {
            return self.overuse(input, now);
        }
        if self.draining.is_some() {
            return self.drain(input, now);
        }
        if input.usage == Usage::Under {
            self.held = true;
            self.changed = Some(now);
            return Change::None;
        }
        if self.held {
            self.held = false;
            self.changed = Some(now);
            return Change::None;
        }
        self.increase(input, now)
    }

    /// Waits for the queue to go.
    fn drain(&mut self, input: &Input, now: Instant) -> Change {
        let Some(draining) = self.draining else {
            return Change::None;
        };
        let queue = input.queue.unwrap_or_default();
        let gone = queue < DRAINED;
        let patience = DRAIN_TIME + input.round_trip.min(DRAIN_TIME);
        if !gone
            && queue > 2 * DRAINED
            && queue.as_secs_f64() > SHRUNK * draining.queue.as_secs_f64()
            && self
                .decreased
                .is_some_and(|at| now.saturating_duration_since(at) > patience)
        {
            // Somebody else fills it.
            self.draining = Some(Draining { queue, ..draining });
            return self.decrease(DECREASE * self.current, now);
        }
        let stuck = now.saturating_duration_since(draining.since) > MAX_DRAIN;
        if !gone && !stuck {
            return Change::None;
        }
        let part = if gone { RESUME } else { DECREASE };
        self.draining = None;
        self.changed = Some(now);
        self.current = self.current.max(part * draining.capacity);
        if gone {
            Change::Increased
        } else {
            Change::Stuck
        }
    }

    fn overuse(&mut self, input: &Input, now: Instant) -> Change {
        self.held = true;
        let Some(acknowledged) = input.acknowledged else {
            // Nothing is known of what arrives: half of it, seldom.
            let since = self.decreased.or(self.changed);
            let wait = input.round_trip.max(Duration::from_millis(300));
            if since.is_some_and(|since| now.saturating_duration_since(since) < wait) {
                return Change::None;
            }
            return self.decrease(self.current / 2.0, now);
        };
        let queue = input.queue.unwrap_or_default();
        if self
            .draining
            .is_some_and(|draining| queue <= draining.queue + GROWN)
        {
            // The trend is smoothed and late: the queue no longer grows.
            return self.drain(input, now);
        }
        // While a queue stands, what comes out of it is the capacity; the window knows older times.
        // After a probe the window knows what was sent before it.
        let raised = self
            .raised
            .is_some_and(|at| now.saturating_duration_since(at) < RAISED);
        let capacity = match input.recent {
            Some(recent) if raised => recent.max(acknowledged),
            Some(recent) if queue > 2 * DRAINED => recent.min(acknowledged),
            _ => acknowledged,
        };
        let interval = input
            .round_trip
            .clamp(Duration::from_millis(10), Duration::from_millis(200));
        let soon = self
            .decreased
            .is_some_and(|at| now.saturating_duration_since(at) < interval);
        if soon && capacity > self.current / 2.0 {
            return Change::None;
        }
        if !self.capacity.contains(capacity) {
            self.capacity = Capacity::default();
        }
        self.capacity.add(capacity);
        let left = (1.0 - queue.as_secs_f64() / DRAIN).clamp(DEEPEST, DECREASE);
        let mut target = left * capacity;
        if input.application_limited {
            // It was not us, or not much of it.
            target = target.max(INNOCENT * self.current);
        }
        self.draining = Some(Draining {
            since: self.draining.map_or(now, |draining| draining.since),
            queue,
            capacity,
        });
        self.decrease(target, now)
    }

    fn decrease(&mut self, target: f64, now: Instant) -> Change {
        self.changed = Some(now);
        self.decreased = Some(now);
        if target >= self.current {
            return Change::None;
        }
        self.current = target;
        Change::Decreased
    }

    fn increase(&mut self, input: &Input, now: Instant) -> Change {
        let elapsed = self.changed.map_or(Duration::ZERO, |changed| {
            now.saturating_duration_since(changed)
        });
        self.changed = Some(now);
        if let Some(acknowledged) = input.acknowledged
            && acknowledged / 1000.0
                > self.capacity.mean.unwrap_or(f64::MAX) + self.capacity.deviation()
        {
            // The path is not what it was.
            self.capacity = Capacity::default();
        }
        if input.application_limited {
            return Change::None;
        }
        let seconds = elapsed.as_secs_f64().min(1.0);
        let step = if self.capacity.mean.is_some() {
            self.additive(input.round_trip) * seconds
        } else {
            (self.current * (INCREASE.powf(seconds) - 1.0)).max(1000.0 * seconds)
        };
        let limit = input
            .acknowledged
            .map_or(self.current, |rate| AHEAD * rate + AHEAD_BITS);
        let new = (self.current + step).min(limit.max(self.current));
        if new <= self.current {
            return Change::None;
        }
        self.current = new;
        Change::Increased
    }

    /// Some packets in the time that the other side takes to react, bit/s in a second.
    fn additive(&self, round_trip: Duration) -> f64 {
        let frame = self.current / 30.0;
        let packet = frame / (frame / PACKET).ceil().max(1.0);
        let response = 2.0 * (round_trip + Duration::from_millis(100)).as_secs_f64();
        (PACKETS * packet / response)
            .min(MAX_ADDITIVE * self.current)
            .max(MIN_ADDITIVE)
    }
}

/// A floor above the ceiling gives way. `start` stays as it was asked for, see
/// `Bandwidth::set_limits`.
pub(super) fn ordered(limits: BitrateLimits) -> BitrateLimits {
    let max = limits.max.max(1);
    let min = limits.min.clamp(1, max);
    BitrateLimits { min, max, ..limits }
}

/// The start within the bounds, which are in order.
pub(super) fn start_of(limits: &BitrateLimits) -> f64 {
    limits.start.clamp(limits.min, limits.max) as f64
}
