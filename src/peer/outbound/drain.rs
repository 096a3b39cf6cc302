// SPDX-License-Identifier: MPL-2.0
//! What the remote has of what was sent, and what an end of the call waits for.

use std::time::{Duration, Instant};

use super::{Drained, Outbound};
use crate::peer::shared::lock;

/// An unacknowledged last packet is sent again after this time, while draining.
pub(super) const TAIL_PROBE: Duration = Duration::from_millis(250);
/// A receiver that misses something asks again within this time (RFC 4585 leaves it open; 20 ms
/// to 50 ms are usual).
const SETTLING: Duration = Duration::from_millis(60);
/// How long a drain waits for a first receiver report.
pub(super) const REPORT_PATIENCE: Duration = Duration::from_millis(2500);

impl Outbound {
    /// A receiver report names `highest` as the last packet received of stream `index`.
    pub(in crate::peer) fn acknowledge(&self, index: usize, highest: u32, now: Instant) {
        let mut state = lock(&self.state);
        if let Some(stream) = state.streams.get_mut(index) {
            let more = stream.acknowledged.replace(highest) != Some(highest);
            // Gaps before the packet that is reported now are asked for after the report.
            if more && stream.unsettled.is_some() {
                stream.unsettled = stream.unsettled.max(Some(now + SETTLING));
            }
        }
        drop(state);
        self.progress.notify_waiters();
    }

    /// The remote misses packets of stream `index`, which are sent again now.
    pub(in crate::peer) fn missing(&self, index: usize, now: Instant, round_trip: Duration) {
        let mut state = lock(&self.state);
        if let Some(stream) = state.streams.get_mut(index) {
            stream.unsettled = stream.unsettled.max(Some(now + round_trip + SETTLING));
        }
    }

    /// The last packet of stream `index` is sent once more; gives its SSRC.
    pub(in crate::peer) fn repeat_last(&self, index: usize, now: Instant) -> Option<u32> {
        let mut state = lock(&self.state);
        let stream = state.streams.get_mut(index)?;
        *stream.last.as_mut()? = now;
        Some(stream.ssrc)
    }

    /// What a drain waits for at `now`.
    pub(in crate::peer) fn drained(&self, now: Instant) -> Drained {
        let state = lock(&self.state);
        if state.closed {
            return Drained::Done;
        }
        if !state.is_empty() {
            return Drained::Waiting;
        }
        let patience_is_over = state
            .emptied
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_PATIENCE);
        let mut waiting = false;
        let mut probe = Vec::new();
        for (index, stream) in state.streams.iter().enumerate() {
            let Some(sent) = stream.last else {
                continue;
            };
            match stream.acknowledged {
                Some(highest) if highest >= stream.next.wrapping_sub(1) => {
                    waiting |= stream.unsettled.is_some_and(|at| now < at);
                }
                Some(_) => {
                    waiting = true;
                    if now.saturating_duration_since(sent) >= TAIL_PROBE {
                        probe.push(index);
                    }
                }
                None => waiting |= !patience_is_over,
            }
        }
        match (waiting, probe.is_empty()) {
            (false, _) => Drained::Done,
            (true, true) => Drained::Waiting,
            (true, false) => Drained::Probe(probe),
        }
    }
}
