// SPDX-License-Identifier: MPL-2.0
//! For remotes without transport-wide feedback: receiver reports tell of loss
//! (draft-ietf-rmcat-gcc-02 section 6), and REMB of what the remote believes to fit
//! (draft-alvestrand-rmcat-remb-03).

use std::time::{Duration, Instant};

/// Less loss than this is none, ...
const LOW_LOSS: f64 = 0.02;
/// ... and more than this is too much.
const HIGH_LOSS: f64 = 0.1;
/// Growth in a second without loss.
const INCREASE: f64 = 1.08;
/// Reports further apart tell of no more growth, seconds.
const MAX_ELAPSED: f64 = 2.0;
/// Reports on fewer packets are put together.
const MIN_PACKETS: u64 = 20;
/// After a decrease and a round trip.
const PATIENCE: Duration = Duration::from_millis(300);
/// The remote's estimate is followed upwards for so long, as nothing else is known.
const START_PHASE: Duration = Duration::from_secs(3);
/// Weight of the newest in the smoothed loss.
const SMOOTHING: f64 = 0.3;

/// See the module.
#[derive(Debug)]
pub(super) struct Reports {
    /// bit/s
    estimate: f64,
    /// REMB: bit/s, and when the first came.
    remote: Option<(f64, Instant)>,
    packets: u64,
    lost: f64,
    updated: Option<Instant>,
    decreased: Option<Instant>,
    smoothed: f64,
}

impl Reports {
    pub(super) fn new(start: f64) -> Self {
        Self {
            estimate: start,
            remote: None,
            packets: 0,
            lost: 0.0,
            updated: None,
            decreased: None,
            smoothed: 0.0,
        }
    }

    /// By loss alone, bit/s.
    pub(super) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// By the remote, bit/s.
    pub(super) fn remote(&self) -> Option<f64> {
        self.remote.map(|(bitrate, _)| bitrate)
    }

    /// What the remote estimated was of another path.
    pub(super) fn forget_remote(&mut self) {
        self.remote = None;
    }

    /// Part of the packets, smoothed.
    pub(super) fn fraction(&self) -> f64 {
        self.smoothed
    }

    /// Reports told of enough packets.
    pub(super) fn is_heard(&self) -> bool {
        self.updated.is_some()
    }

    pub(super) fn clamp(&mut self, min: f64, max: f64) {
        self.estimate = self.estimate.clamp(min, max);
    }

    /// The remote's estimate; 0 lifts it, and tells of nothing that would fit.
    pub(super) fn remb(&mut self, bitrate: f64, now: Instant) {
        if bitrate <= 0.0 {
            if let Some((remote, _)) = &mut self.remote {
                *remote = f64::INFINITY;
            }
            return;
        }
        let (_, first) = *self.remote.get_or_insert((bitrate, now));
        self.remote = Some((bitrate, first));
        let early = now.saturating_duration_since(first) < START_PHASE;
        if early && self.smoothed < LOW_LOSS && self.decreased.is_none() {
            self.estimate = self.estimate.max(bitrate);
        }
    }

    /// `fraction` of `packets` was lost. `limited`: less is sent than may be.
    pub(super) fn loss(
        &mut self,
        fraction: f64,
        packets: u64,
        round_trip: Duration,
        limited: bool,
        now: Instant,
    ) {
        if !fraction.is_finite() {
            return;
        }
        self.packets = self.packets.saturating_add(packets);
        self.lost += fraction.clamp(0.0, 1.0) * packets as f64;
        if self.packets < MIN_PACKETS {
            return;
        }
        let fraction = self.lost / self.packets as f64;
        (self.packets, self.lost) = (0, 0.0);
        self.smoothed += SMOOTHING * (fraction - self.smoothed);
        let updated = self.updated.replace(now);
        if fraction > HIGH_LOSS {
            let patience = PATIENCE + round_trip.min(Duration::from_secs(1));
            if self
                .decreased
                .is_none_or(|at| now.saturating_duration_since(at) >= patience)
            {
                self.estimate *= 1.0 - fraction / 2.0;
                self.decreased = Some(now);
            }
        } else if fraction < LOW_LOSS && !limited {
            let elapsed = updated.map_or(1.0, |at| now.saturating_duration_since(at).as_secs_f64());
            let grown = self.estimate * INCREASE.powf(elapsed.min(MAX_ELAPSED)) + 1000.0;
            // What the remote does not believe in is no use.
            let bound = self.remote().unwrap_or(f64::INFINITY).max(self.estimate);
            self.estimate = grown.min(bound);
        }
    }
}
