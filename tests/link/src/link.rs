// SPDX-License-Identifier: MPL-2.0
//! One direction of a link.

use std::time::Duration;

use crate::config::{Conditions, Config, Queue};
use crate::random::Random;

/// One direction of a link. Times are those since its beginning; packets are given in the order in
/// which they are sent.
///
/// A packet first goes through the bottleneck; there it waits, or finds the queue full. What is lost
/// by chance is lost behind it and has used its rate, as on a radio link.
#[derive(Debug, Clone)]
pub struct Link {
    config: Config,
    random: Random,
    /// When the bottleneck has sent all that it has.
    busy: Duration,
    /// The latest arrival of what keeps its order.
    latest: Duration,
    bad: bool,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Arrives, and maybe a second time.
    Arrives {
        at: Duration,
        again: Option<Duration>,
    },
    /// Lost on the way, by chance.
    Lost,
    /// Dropped, because the queue of the bottleneck was full.
    Overflow,
}

/// A packet's way through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    pub fate: Fate,
    /// From when the packet came to the bottleneck until its last bit had left it; where the queue
    /// was full, how long that queue was.
    pub queued: Duration,
}

impl Passage {
    /// When the packet arrives: never, once or twice.
    pub fn arrivals(&self) -> impl Iterator<Item = Duration> + use<> {
        let (first, second) = match self.fate {
            Fate::Arrives { at, again } => (Some(at), again),
            Fate::Lost | Fate::Overflow => (None, None),
        };
        first.into_iter().chain(second)
    }
}

impl Link {
    /// A link that is as `config` says; `seed` decides which packets meet with what.
    pub fn new(config: impl Into<Config>, seed: u64) -> Self {
        Self {
            config: config.into(),
            random: Random::new(seed),
            busy: Duration::ZERO,
            latest: Duration::ZERO,
            bad: false,
        }
    }

    /// Sends a packet of `size` bytes at `now`.
    pub fn send(&mut self, now: Duration, size: usize) -> Passage {
        // As many numbers for each packet, whatever the conditions: what one property does to the
        // packets stays the same when another one is changed.
        let [loss, turn, jitter, reorder, duplicate] = std::array::from_fn(|_| self.random.unit());
        let overhead = self.config.at(now).overhead;
        let Some(left) = self.pass_bottleneck(now, size + overhead) else {
            return Passage {
                fate: Fate::Overflow,
                queued: self.queue_delay(now),
            };
        };
        let queued = left.saturating_sub(now);
        let conditions = *self.config.at(left);
        if self.is_lost(&conditions, left, loss, turn) {
            return Passage {
                fate: Fate::Lost,
                queued,
            };
        }
        let mut at = left + conditions.delay + conditions.jitter.mul_f64(jitter);
        match conditions.reorder {
            Some(late) if reorder < late.share => at += late.by,
            _ => {
                self.latest = self.latest.max(at);
                at = self.latest;
            }
        }
        Passage {
            fate: Fate::Arrives {
                at,
                again: (duplicate < conditions.duplicate).then_some(at),
            },
            queued,
        }
    }

    /// How long a packet that came at `now` would wait before its own transmission begins.
    pub fn queue_delay(&self, now: Duration) -> Duration {
        self.busy.saturating_sub(now)
    }

    /// Bytes that wait before the bottleneck at `now`.
    pub fn queued_bytes(&self, now: Duration) -> u64 {
        let mut bits = 0.0;
        let mut from = now;
        while from < self.busy {
            let until = self
                .config
                .next_change(from)
                .unwrap_or(self.busy)
                .min(self.busy);
            let rate = self.config.at(from).bottleneck.map_or(0, |b| b.rate);
            bits += rate as f64 * (until - from).as_secs_f64();
            from = until;
        }
        (bits / 8.0).round() as u64
    }

    /// When the last bit of a packet that comes at `now` has left the bottleneck; `None` when the
    /// queue is full.
    fn pass_bottleneck(&mut self, now: Duration, size: usize) -> Option<Duration> {
        if let Some(bottleneck) = self.config.at(now).bottleneck {
            let full = match bottleneck.queue {
                Queue::Time(most) => self.queue_delay(now) > most,
                Queue::Bytes(most) => self.queued_bytes(now) + size as u64 > most,
            };
            if full {
                return None;
            }
        }
        let mut bits = size as f64 * 8.0;
        let mut from = self.busy.max(now);
        // The rate may change while the packet waits or leaves.
        while let Some(bottleneck) = self.config.at(from).bottleneck {
            let rate = bottleneck.rate as f64;
            let end = from + Duration::from_secs_f64(bits / rate);
            match self.config.next_change(from) {
                Some(change) if change < end => {
                    bits -= (change - from).as_secs_f64() * rate;
                    from = change;
                }
                _ => {
                    from = end;
                    break;
                }
            }
        }
        self.busy = from;
        Some(from)
    }

    fn is_lost(&mut self, conditions: &Conditions, now: Duration, loss: f64, turn: f64) -> bool {
        let burst = conditions.gilbert.is_some_and(|gilbert| {
            self.bad = turn
                < if self.bad {
                    1.0 - gilbert.end
                } else {
                    gilbert.begin
                };
            self.bad
        });
        let out = conditions.outage.is_some_and(|outage| {
            let every = outage.every.as_nanos().max(1);
            now.as_nanos() % every + outage.length.as_nanos() >= every
        });
        loss < conditions.loss || burst || out
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
