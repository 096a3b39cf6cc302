// SPDX-License-Identifier: MPL-2.0
//! Does the delay grow? A line through the last groups' delays, and a threshold that adapts
//! (the trendline filter that followed the Kalman filter of draft-ietf-rmcat-gcc-02 section 5.3,
//! and section 5.4).
//!
//! `rtc::interceptor` has the Kalman filter; its threshold adapts by the draft's first gains and
//! its detector compares a gradient per group, whatever the groups' distance.

use std::collections::VecDeque;
use std::time::Instant;

use super::groups::Step;

/// Groups that the line goes through.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f64 = 0.9;
/// The slope counts by so many groups at most.
const MAX_GROUPS: u32 = 60;
const GAIN: f64 = 4.0;
/// The threshold rises and falls so fast, per ms.
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
const THRESHOLD: f64 = 12.5;
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
/// Outliers further off do not move the threshold.
const MAX_ADAPT: f64 = 15.0;
/// The slope is over the threshold for longer than this, ms of departures.
const OVERUSE_TIME: f64 = 10.0;

/// What the delay says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// A queue grows.
    Over,
    /// A queue shrinks.
    Under,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trend {
    /// Arrival and smoothed delay, ms.
    points: VecDeque<(f64, f64)>,
    first_arrival: Option<f64>,
    groups: u32,
    accumulated: f64,
    smoothed: f64,
    previous: f64,
    threshold: f64,
    adapted: Option<Instant>,
    /// How long the slope is over the threshold, ms, and by how many groups.
    over: Option<f64>,
    over_groups: u32,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            points: VecDeque::with_capacity(WINDOW + 1),
            first_arrival: None,
            groups: 0,
            accumulated: 0.0,
            smoothed: 0.0,
            previous: 0.0,
            threshold: THRESHOLD,
            adapted: None,
            over: None,
            over_groups: 0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn add(&mut self, step: Step, now: Instant) {
        let first = *self.first_arrival.get_or_insert(step.at);
        self.groups = (self.groups + 1).min(1000);
        self.accumulated += step.arrived - step.sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        self.points.push_back((step.at - first, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let slope = if self.points.len() == WINDOW {
            slope(&self.points).unwrap_or(self.previous)
        } else {
            self.previous
        };
        self.detect(slope, step.sent, now);
    }

    fn detect(&mut self, slope: f64, elapsed: f64, now: Instant) {
        if self.groups < 2 {
            return;
        }
        let value = f64::from(self.groups.min(MAX_GROUPS)) * slope * GAIN;
        if value > self.threshold {
            // Nobody knows when between the two it went over.
            let over = self.over.map_or(elapsed / 2.0, |over| over + elapsed);
            self.over = Some(over);
            self.over_groups += 1;
            if over > OVERUSE_TIME && self.over_groups > 1 && slope >= self.previous {
                self.over = Some(0.0);
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over = None;
            self.over_groups = 0;
            self.usage = if value < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.previous = slope;
        self.adapt(value.abs(), now);
    }

    fn adapt(&mut self, value: f64, now: Instant) {
        let last = *self.adapted.get_or_insert(now);
        self.adapted = Some(now);
        if value > self.threshold + MAX_ADAPT {
            return;
        }
        let gain = if value < self.threshold { FALL } else { RISE };
        let elapsed = now.saturating_duration_since(last).as_secs_f64() * 1000.0;
        self.threshold += gain * (value - self.threshold) * elapsed.min(100.0);
        self.threshold = self.threshold.clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }
}

/// Least squares; `None` when all points have one time.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (mut rise, mut run) = (0.0, 0.0);
    for (x, y) in points {
        rise += (x - mean_x) * (y - mean_y);
        run += (x - mean_x) * (x - mean_x);
    }
    (run > 0.0).then(|| rise / run)
}
