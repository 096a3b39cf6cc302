// SPDX-License-Identifier: MPL-2.0
//! What loss says: the second loss-based estimator of libwebrtc's `goog_cc`, which seeks the pair
//! of inherent loss and bandwidth that makes what was seen most likely. Up to the bandwidth only
//! the inherent loss happens; of what is sent beyond, everything is lost.
//!
//! At a steady rate both explain the same loss, so the published one bounds the inherent loss at
//! about 5 %, and gives most of the rate away on a path that loses 10 % whatever is sent. Here the
//! bound is learnt: what is lost at lower rates too, the rate is not to blame for
//! (`by_rate`).

mod by_rate;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::by_rate::LossByRate;
use super::history::News;

/// An observation lasts at least so long; the model sees so many.
const OBSERVATION: Duration = Duration::from_millis(250);
const OBSERVATIONS: usize = 20;
/// Fewer tell nothing.
const MIN_OBSERVATIONS: usize = 3;
/// Weight of each older observation against the next.
const AGING: f64 = 0.9;
/// What is tried for the bandwidth, of the last one.
const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
/// Of two equally likely bandwidths the higher one is taken: by this for each kbit/s, ...
const BIAS: f64 = 0.0002;
/// ... and for its logarithm.
const LOG_BIAS: f64 = 0.02;
const MIN_INHERENT: f64 = 0.001;
const INITIAL_INHERENT: f64 = 0.01;
/// Inherent loss is at most this, and more at low rates: by this many bit/s of lost bandwidth.
const MAX_INHERENT: f64 = 0.05;
const BALANCE: f64 = 75_000.0;
/// Step of Newton's method.
const STEP: f64 = 0.75;
/// Growth in a second after a decrease.
const MAX_INCREASE: f64 = 1.3;
/// A decrease is kept for so long at first, then for twice as long, up to ...
const HOLD: Duration = Duration::from_millis(300);
const MAX_HOLD: Duration = Duration::from_secs(5);
/// Loss bounds the bandwidth no lower than this part of what arrives.
const BACKOFF: f64 = 0.85;
/// So much more than the inherent loss is still by chance.
const CHANCE: f64 = 0.02;
/// What was lost while so much more was sent does not tell of what is sent now.
const FORMER: f64 = 1.25;
/// Weight of the newest in the smoothed loss.
const SMOOTHING: f64 = 0.3;

/// What is lost while so much is sent.
#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    packets: f64,
    lost: f64,
    /// bit/s
    rate: f64,
}

/// Loss and its cause.
#[derive(Debug, Clone, Copy)]
struct Model {
    inherent: f64,
    /// bit/s
    bandwidth: f64,
}

/// Packets since the last observation.
#[derive(Debug, Default)]
struct Partial {
    first: Option<Instant>,
    last: Option<Instant>,
    packets: u64,
    lost: u64,
    bytes: usize,
}

/// What else is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// By delay, bit/s.
    pub(super) delay_based: f64,
    pub(super) acknowledged: Option<f64>,
    pub(super) application_limited: bool,
    pub(super) round_trip: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct LossBased {
    observations: VecDeque<Observation>,
    partial: Partial,
    by_rate: LossByRate,
    inherent: f64,
    /// Below what the delay allows; `None`: loss bounds nothing, bit/s.
    bandwidth: Option<f64>,
    decreased: Option<Instant>,
    increased: Option<Instant>,
    hold: Duration,
    smoothed: f64,
}

impl Default for LossBased {
    fn default() -> Self {
        Self {
            observations: VecDeque::with_capacity(OBSERVATIONS + 1),
            partial: Partial::default(),
            by_rate: LossByRate::default(),
            inherent: INITIAL_INHERENT,
            bandwidth: None,
            decreased: None,
            increased: None,
            hold: HOLD,
            smoothed: 0.0,
        }
    }
}

impl LossBased {
    /// Part of the packets, smoothed.
    pub(super) fn fraction(&self) -> f64 {
        self.smoothed
    }

    /// What is lost however little is sent, as far as is known.
    pub(super) fn inherent(&self) -> f64 {
        self.by_rate.learnt().min(self.smoothed)
    }

    /// What loss leaves of what the delay allows, bit/s.
    pub(super) fn bandwidth(&self) -> Option<f64> {
        self.bandwidth
    }

    /// More is lost than by chance, and less is sent for it.
    pub(super) fn limiting(&self) -> bool {
        self.bandwidth.is_some()
    }

    /// A probe came through at this rate, bit/s.
    pub(super) fn probed(&mut self, bitrate: f64) {
        if self.bandwidth.is_some_and(|bandwidth| bitrate > bandwidth) {
            self.bandwidth = Some(bitrate);
        }
    }

    /// The path is another one.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn add(&mut self, news: &News) {
        for packet in &news.arrived {
            self.partial.seen(packet.sent, packet.size);
            if packet.late {
                // Counted before, as lost.
                self.partial.packets -= 1;
                self.partial.lost = self.partial.lost.saturating_sub(1);
            }
        }
        for packet in &news.lost {
            self.partial.seen(packet.sent, packet.size);
            self.partial.lost += 1;
        }
    }

    /// Takes what was added into account once it is enough.
    pub(super) fn update(&mut self, known: &Known, now: Instant) {
        let Some(observation) = self.partial.take() else {
            return;
        };
        let fraction = observation.lost / observation.packets;
        self.smoothed += SMOOTHING * (fraction - self.smoothed);
        self.by_rate
            .add(observation.rate, observation.packets, observation.lost, now);
        self.observations.push_back(observation);
        if self.observations.len() > OBSERVATIONS {
            self.observations.pop_front();
        }
        if self.observations.len() < MIN_OBSERVATIONS {
            return;
        }
        let average = self.average_now();
        let bandwidth = self.bandwidth.unwrap_or(known.delay_based);
        let current = Model {
            inherent: self.inherent,
            bandwidth: bandwidth.min(known.delay_based),
        };
        let mut best = self.most_likely(&current, known);
        let loses_more = average > best.inherent + CHANCE;
        if average <= self.by_rate.learnt() + CHANCE {
            self.hold = HOLD;
        }
        if best.bandwidth > current.bandwidth && loses_more {
            best.bandwidth = current.bandwidth;
        }
        best.bandwidth = best.bandwidth.min(self.instant_bound(average, known));
        self.inherent = best.inherent;
        self.settle(current.bandwidth, best.bandwidth, known, now);
    }

    /// Takes the new bandwidth, no faster than evidence comes.
    fn settle(&mut self, current: f64, best: f64, known: &Known, now: Instant) {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let mut new = best;
        if best < 0.995 * current {
            // What was seen of the last decrease is needed for the next.
            let wait = OBSERVATION + known.round_trip.min(Duration::from_secs(1));
            if since(self.decreased).is_some_and(|since| since < wait) {
                return;
            }
            self.hold = match self.decreased {
                Some(_) => (2 * self.hold).min(MAX_HOLD),
                None => HOLD,
            };
            self.decreased = Some(now);
        } else if let Some(held) = since(self.decreased) {
            if held < self.hold {
                new = new.min(current);
            } else {
                let elapsed = since(self.increased.max(self.decreased)).unwrap_or(OBSERVATION);
                new = new.min(current * MAX_INCREASE.powf(elapsed.as_secs_f64().min(1.0)));
            }
        }
        if new > current {
            self.increased = Some(now);
        }
        if new >= known.delay_based {
            self.bandwidth = None;
            self.decreased = None;
        } else {
            self.bandwidth = Some(new);
        }
    }

    fn most_likely(&self, current: &Model, known: &Known) -> Model {
        let mut best = Model {
            inherent: current.inherent,
            bandwidth: current.bandwidth,
        };
        let mut highest = f64::NEG_INFINITY;
        let scaled = CANDIDATES.map(|factor| Some(factor * current.bandwidth));
        let acknowledged = known
            .acknowledged
            .filter(|rate| !known.application_limited && *rate < current.bandwidth);
        let others = [acknowledged, Some(known.delay_based)];
        for bandwidth in scaled.into_iter().chain(others).flatten() {
            let candidate = self.newton(Model {
                inherent: current.inherent,
                bandwidth: bandwidth.min(known.delay_based),
            });
            let likelihood = self.likelihood(&candidate);
            if likelihood > highest {
                (highest, best) = (likelihood, candidate);
            }
        }
        best
    }

    /// Observations with their weights, newest first.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * AGING));
        weights.zip(self.observations.iter().rev())
    }

    fn average(&self, highest: f64) -> f64 {
        let (packets, lost) = self
            .weighted()
            .filter(|(_, seen)| seen.rate <= highest)
            .fold((0.0, 0.0), |(packets, lost), (weight, seen)| {
                (packets + weight * seen.packets, lost + weight * seen.lost)
            });
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    /// What is lost at about the rate of now, if that is less. After a fall from far above the
    /// path's width, the loss of then would hold the rate down until it is out of the window, five
    /// seconds later.
    fn average_now(&self) -> f64 {
        let newest = self.observations.back().map_or(0.0, |seen| seen.rate);
        let now = FORMER * newest.max(self.bandwidth.unwrap_or_default());
        self.average(f64::INFINITY).min(self.average(now))
    }

    /// One step towards the inherent loss that explains most.
    fn newton(&self, model: Model) -> Model {
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, seen) in self.weighted() {
            let loss = model.loss(seen.rate);
            let received = seen.packets - seen.lost;
            first += weight * (seen.lost / loss - received / (1.0 - loss));
            second -=
                weight * (seen.lost / (loss * loss) + received / ((1.0 - loss) * (1.0 - loss)));
        }
        let inherent = if second < 0.0 {
            model.inherent - STEP * first / second
        } else {
            model.inherent
        };
        let bound = self.inherent_bound(model.bandwidth);
        Model {
            inherent: inherent.clamp(MIN_INHERENT, bound),
            ..model
        }
    }

    fn inherent_bound(&self, bandwidth: f64) -> f64 {
        (MAX_INHERENT + BALANCE / bandwidth.max(1.0))
            .max(self.by_rate.learnt())
            .clamp(MIN_INHERENT, 0.5)
    }

    fn likelihood(&self, model: &Model) -> f64 {
        let kbit = model.bandwidth / 1000.0;
        let bias = BIAS * kbit + LOG_BIAS * (1.0 + kbit).ln();
        self.weighted()
            .map(|(weight, seen)| {
                let loss = model.loss(seen.rate);
                let received = seen.packets - seen.lost;
                weight
                    * (seen.lost * loss.ln() + received * (1.0 - loss).ln() + bias * seen.packets)
            })
            .sum()
    }

    /// Whatever is most likely: so much loss is too much, bit/s.
    fn instant_bound(&self, average: f64, known: &Known) -> f64 {
        let excess = average - MAX_INHERENT.max(self.by_rate.learnt() + CHANCE);
        if excess <= 0.0 {
            return f64::INFINITY;
        }
        let floor = known
            .acknowledged
            .map_or(0.0, |acknowledged| BACKOFF * acknowledged);
        (BALANCE / excess).max(floor)
    }
}

impl Model {
    /// Probability that a packet is lost, when so much is sent.
    fn loss(&self, rate: f64) -> f64 {
        let beyond = if rate > self.bandwidth {
            (1.0 - self.inherent) * (rate - self.bandwidth) / rate
        } else {
            0.0
        };
        (self.inherent + beyond).clamp(1e-6, 1.0 - 1e-6)
    }
}

impl Partial {
    fn seen(&mut self, sent: Instant, size: usize) {
        self.first = Some(self.first.map_or(sent, |first| first.min(sent)));
        self.last = Some(self.last.map_or(sent, |last| last.max(sent)));
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(size);
    }

    fn take(&mut self) -> Option<Observation> {
        let span = self.last?.saturating_duration_since(self.first?);
        if span < OBSERVATION || self.packets == 0 {
            return None;
        }
        let partial = std::mem::take(self);
        let packets = partial.packets as f64;
        Some(Observation {
            packets,
            lost: (partial.lost as f64).min(packets),
            rate: partial.bytes as f64 * 8.0 / span.as_secs_f64(),
        })
    }
}
