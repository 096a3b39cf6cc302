// SPDX-License-Identifier: MPL-2.0
//! What the path carries: send-side bandwidth estimation (the algorithms of libwebrtc's
//! `goog_cc`, in the words of draft-ietf-rmcat-gcc and of its sources' documentation).
//!
//! Pure: every function takes the time, nothing here sleeps, locks or sends. The media path tells
//! what left and what the remote reports, and asks what may leave.

use std::time::{Duration, Instant};

use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;

use super::BitrateLimits;

/// One packet that left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    /// Transport-wide sequence number; `None` where the remote takes none.
    pub(super) number: Option<u16>,
    /// On the wire without IP and UDP headers, bytes.
    pub(super) size: usize,
    /// The [`Probe::id`] it is part of.
    pub(super) probe: Option<u32>,
}

/// A burst at a rate above the estimate, to learn whether the path carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) id: u32,
    /// bit/s
    pub(super) rate: u64,
    /// It has at least so many packets, ...
    pub(super) packets: usize,
    /// ... and so many bytes.
    pub(super) bytes: usize,
}

/// See the module.
pub(super) struct Bandwidth {
    limits: BitrateLimits,
}

impl Bandwidth {
    pub(super) fn new(limits: BitrateLimits) -> Self {
        Self { limits }
    }

    /// New bounds; a changed `start` begins anew.
    pub(super) fn set_limits(&mut self, limits: BitrateLimits, _now: Instant) {
        self.limits = limits;
    }

    /// The connection is up (again): probing begins.
    pub(super) fn connected(&mut self, _now: Instant) {}

    /// A packet left, in this order.
    pub(super) fn sent(&mut self, _packet: Departure, _now: Instant) {}

    /// Transport-wide feedback came.
    pub(super) fn feedback(&mut self, _feedback: &TransportLayerCc, _now: Instant) {}

    /// A receiver report came: `fraction` (0 to 1) of `packets` was lost.
    pub(super) fn loss(&mut self, _fraction: f64, _packets: u64, _now: Instant) {}

    /// A round trip was measured.
    pub(super) fn round_trip(&mut self, _round_trip: Duration, _now: Instant) {}

    /// The remote estimates so many bit/s (REMB).
    pub(super) fn remote_estimate(&mut self, _bitrate: u64, _now: Instant) {}

    /// What the encoders make, as far as they were told, bit/s, and what waits to leave, bytes:
    /// an estimate that nobody makes use of does not grow without a probe.
    pub(super) fn demand(&mut self, _bitrate: u64, _queued: usize, _now: Instant) {}

    /// To be called at [`Self::poll_timeout`].
    pub(super) fn handle_timeout(&mut self, _now: Instant) {}

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// All that may leave, bit/s.
    pub(super) fn target(&self) -> u64 {
        self.limits.start
    }

    /// The path showed its limit (delay grew, or much is lost): what is over the target only fills
    /// queues on the way. Otherwise the target is only what is known to fit.
    pub(super) fn congested(&self) -> bool {
        false
    }

    /// Part of the packets that is lost, smoothed.
    pub(super) fn loss_fraction(&self) -> f64 {
        0.0
    }

    /// As last measured, by transport-wide feedback or by [`Self::round_trip`].
    pub(super) fn last_round_trip(&self) -> Option<Duration> {
        None
    }

    /// A probe that should leave now.
    pub(super) fn poll_probe(&mut self, _now: Instant) -> Option<Probe> {
        None
    }
}
