// SPDX-License-Identifier: MPL-2.0
//! How long packets wait on the way: their delay over the least one of late.
//!
//! The trend alone misses a queue that grows slowly or no longer grows. Of each feedback the
//! packet counts that waited least: a key frame's own burst is no standing queue, nor is a thread
//! that ran late, as CoDel (RFC 8289 section 3.2) tells them apart.

use std::time::{Duration, Instant};

use super::groups::micros;
use super::history::Arrived;

/// The least delay is that of so many spans, ...
const SPANS: usize = 6;
/// ... each so long; clocks that drift by 100 ppm are 3 ms apart after that.
const SPAN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct QueueDelay {
    epoch: Option<Instant>,
    /// Least delay of each span, newest last, µs of two unrelated clocks.
    least: [Option<i64>; SPANS],
    span_began: Option<Instant>,
    current: Option<i64>,
    above: Option<(Duration, Instant)>,
}

impl QueueDelay {
    /// Packets that one feedback reports.
    pub(super) fn add(&mut self, packets: &[Arrived], now: Instant) {
        let Some(first) = packets.first() else {
            return;
        };
        let epoch = *self.epoch.get_or_insert(first.sent);
        let delay = |packet: &Arrived| {
            let sent = match packet.sent.checked_duration_since(epoch) {
                Some(since) => micros(since),
                None => -micros(epoch.saturating_duration_since(packet.sent)),
            };
            packet.arrival.saturating_sub(sent)
        };
        let Some(least) = packets.iter().map(delay).min() else {
            return;
        };
        let began = *self.span_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= SPAN {
            self.least.rotate_left(1);
            if let Some(last) = self.least.last_mut() {
                *last = None;
            }
            self.span_began = Some(now);
        }
        if let Some(last) = self.least.last_mut() {
            *last = Some(last.map_or(least, |last| last.min(least)));
        }
        self.current = Some(least);
    }

    /// The clocks or the path changed.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// What is now is as short as it gets: the path became longer, or somebody else keeps the
    /// queue full.
    pub(super) fn rebase(&mut self) {
        self.least = [None; SPANS];
        if let Some(last) = self.least.last_mut() {
            *last = self.current;
        }
        self.above = None;
    }

    /// As of the last feedback.
    pub(super) fn delay(&self) -> Option<Duration> {
        let base = self.least.iter().flatten().min()?;
        let delay = self.current?.saturating_sub(*base);
        Some(Duration::from_micros(u64::try_from(delay).unwrap_or(0)))
    }

    /// Since when no feedback told of less than `limit`; to be asked after each one.
    pub(super) fn above(&mut self, limit: Duration, now: Instant) -> Option<Duration> {
        if self.delay().is_none_or(|delay| delay < limit) {
            self.above = None;
            return None;
        }
        let since = match self.above {
            Some((of, since)) if of == limit => since,
            _ => {
                self.above = Some((limit, now));
                now
            }
        };
        Some(now.saturating_duration_since(since))
    }
}
