// SPDX-License-Identifier: MPL-2.0
//! How the packets of one layer follow those of another.

use std::time::Instant;

use super::{Passed, Seen};

/// Packets of a layer that was left still go on, if they are no older than this: what was missing
/// of its last frames.
const LATE: u16 = 512;

/// A layer's beginning is not kept further behind than this.
const BEHIND: u16 = 0x4000;

/// What changes of a layer's packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Added to what comes.
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Older than this one is from before the layer went on: the packet at which it did, as it came, or
    /// one of those since.
    first: u16,
    /// Of its last packet before another layer went on, as it went on.
    last: Option<u16>,
}

impl Place {
    /// The layer goes on as it comes.
    pub(super) fn unchanged(seen: &Seen<'_>) -> Self {
        Self {
            sequence_offset: 0,
            timestamp_offset: 0,
            first: seen.sequence,
            last: None,
        }
    }

    /// Another layer goes on behind `sequence`.
    pub(super) fn leave(&mut self, sequence: u16) {
        self.last = Some(sequence);
    }

    /// What `timestamp` is downstream.
    pub(super) fn timestamp_of(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.timestamp_offset)
    }
}

/// NTP and RTP time of a sender report.
type Report = (u64, u32);

/// What went on so far.
#[derive(Debug)]
pub(super) struct Follow {
    /// SSRC downstream.
    pub(super) ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The last packet ended its frame.
    whole: bool,
    arrival: Instant,
}

impl Follow {
    pub(super) fn new(ssrc: u32, first: &Seen<'_>, now: Instant) -> Self {
        Self {
            ssrc,
            sequence: first.sequence.wrapping_sub(1),
            timestamp: first.timestamp,
            whole: true,
            arrival: now,
        }
    }

    /// Highest sequence number that went on.
    pub(super) fn sequence(&self) -> u16 {
        self.sequence
    }

    /// Where the layer goes on that begins with `seen`. By the sender reports of both layers, if
    /// there are any: each has a timestamp base of its own. Else by the time of arrival.
    pub(super) fn next_place(
        &mut self,
        seen: &Seen<'_>,
        reports: Option<((Place, Report), Report)>,
        clock_rate: u32,
        now: Instant,
    ) -> Place {
        // Of a frame that was cut off one number is left out: so it is thrown away downstream, and
        // not taken for a whole one.
        let step = if self.whole { 1 } else { 2 };
        let sequence = self.sequence.wrapping_add(step);
        let passed = now.saturating_duration_since(self.arrival).as_micros();
        // The low 32 bits are all there is.
        let ticks = (passed * u128::from(clock_rate) / 1_000_000).max(1) as u32;
        let by_arrival = self.timestamp.wrapping_add(ticks);
        let by_reports = reports.map(|((place, (ntp, rtp)), (own_ntp, own_rtp))| {
            // 32.32 fixed point seconds.
            let apart = i128::from(own_ntp) - i128::from(ntp);
            let apart = (apart * i128::from(clock_rate)) >> 32;
            let own = seen.timestamp.wrapping_sub(own_rtp);
            place
                .timestamp_of(rtp)
                .wrapping_add(own)
                .wrapping_add(apart as u32)
        });
        // A sender whose reports are a second off has no clock to go by.
        let plausible = |timestamp: &u32| {
            let off = timestamp.wrapping_sub(by_arrival) as i32;
            off.unsigned_abs() < clock_rate
        };
        let timestamp = by_reports.filter(plausible).unwrap_or(by_arrival);
        let ahead = timestamp.wrapping_sub(self.timestamp) as i32;
        // Both layers may show the same moment; time goes on all the same.
        let timestamp = if ahead > 0 {
            timestamp
        } else {
            self.timestamp.wrapping_add(1)
        };
        Place {
            sequence_offset: sequence.wrapping_sub(seen.sequence),
            timestamp_offset: timestamp.wrapping_sub(seen.timestamp),
            first: seen.sequence,
            last: None,
        }
    }

    /// What a packet of the layer at `place` goes on as; that layer is the `current` one, or was.
    pub(super) fn pass(
        &mut self,
        place: &mut Place,
        seen: &Seen<'_>,
        current: bool,
        now: Instant,
    ) -> Option<Passed> {
        // From before the layer went on.
        if seen.sequence.wrapping_sub(place.first) >= 0x8000 {
            return None;
        }
        let sequence = seen.sequence.wrapping_add(place.sequence_offset);
        let timestamp = place.timestamp_of(seen.timestamp);
        let ahead = sequence.wrapping_sub(self.sequence);
        let newest = ahead != 0 && ahead < 0x8000;
        if !current {
            // Missing until now; the numbers after it belong to the layer that follows.
            if place.last?.wrapping_sub(sequence) >= LATE {
                return None;
            }
        } else if newest {
            // Numbers come round again.
            if seen.sequence.wrapping_sub(place.first) > BEHIND {
                place.first = seen.sequence.wrapping_sub(BEHIND / 2);
            }
            self.sequence = sequence;
            self.timestamp = timestamp;
            self.whole = seen.marker;
            self.arrival = now;
        }
        Some(Passed {
            sequence,
            timestamp,
            ssrc: self.ssrc,
        })
    }
}
