// SPDX-License-Identifier: MPL-2.0
//! How fast packets leave: a leaky bucket whose rate follows what is known of the path.
//!
//! On a path that never showed a limit nothing is held back for longer than it takes to spread a
//! frame, whatever the estimate: an encoder that nobody can drive, or a film, may be far above it.

use std::time::{Duration, Instant};

/// What leaves at once, so that the timer (1 ms) does not bound the rate.
const BURST: Duration = Duration::from_millis(5);
/// Of a probe: its packets are to be apart.
const PROBE_BURST: Duration = Duration::from_millis(2);
/// Bytes that leave at once on a path without a known limit: most frames of 2.5 Mbit/s at 30 fps. A
/// wake-up for each viewer is dearer than what its spreading would gain.
const FREE_BURST: u64 = 16_000;
/// Where bursts come through and the remote is near ([`Pacing::near`]): most key frames of 8 Mbit/s,
/// which a receiver with a small socket buffer takes while it reads. Farther away some link is narrow:
/// 64 kB at once filled the queue of one of 800 kbit/s, and what the estimator made of the loss was
/// half of it for 10 s.
const NEAR_BURST: u64 = 128_000;
/// A driver that comes late by up to this makes up for it, so that the rate holds.
const LATENESS: Duration = Duration::from_millis(20);
/// Least rate of a path without a known limit, bytes a second.
const LEAST_FREE: u64 = 250_000;
/// A frame that is late already is finished within this.
const AT_ONCE: Duration = Duration::from_millis(5);
/// More than this of what left is not paid for: audio, which leaves unhindered on however narrow a
/// path, would hold up video long after the path is wide again.
const MOST_DEBT: Duration = Duration::from_millis(500);
/// What may wait on a path with a limit, at the pacing rate.
const MOST_WAITING: Duration = Duration::from_millis(400);

/// What is known of the path.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::peer) struct Pacing {
    /// Estimate for all that leaves, bit/s; 0 without congestion control.
    pub(in crate::peer) target: u64,
    /// The path showed its limit: what is above it only fills queues on the way.
    pub(in crate::peer) limited: bool,
    /// Whatever left at once came through.
    pub(in crate::peer) clear: bool,
    /// The round trip is that of one machine or of a wired local network, whose links take a key frame
    /// in less time than a timer would hold it back for.
    pub(in crate::peer) near: bool,
    /// A probe is under way at this rate, bit/s.
    pub(in crate::peer) probe: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::peer) struct Pacer {
    pacing: Pacing,
    /// Bytes a second that finish what waits in time, see [`Self::spread`].
    spread: u64,
    /// When all that left is paid for.
    paid: Option<Instant>,
    /// Something waits for [`Self::next`].
    waited_for: bool,
}

impl Pacer {
    /// What is known now; what is not paid for yet is paid at the new rate.
    pub(in crate::peer) fn set(&mut self, pacing: Pacing, now: Instant) {
        let before = self.rate();
        if pacing.probe.is_some() && self.pacing.probe.is_none() && !pacing.limited {
            // What left at once would hold up the probe for most of its time.
            self.paid = self.paid.map(|paid| paid.min(now));
        }
        self.pacing = pacing;
        let rate = self.rate();
        let debt = self.paid.map(|paid| paid.saturating_duration_since(now));
        if let Some(debt) = debt.filter(|debt| rate != before && !debt.is_zero()) {
            let micros = u64::try_from(debt.as_micros()).unwrap_or(u64::MAX);
            let bytes = micros.saturating_mul(before) / 1_000_000;
            self.paid = Some(now + time_of(bytes, rate).min(MOST_DEBT));
        }
    }

    /// What left is paid for: it went another way.
    pub(in crate::peer) fn forgive(&mut self) {
        self.paid = None;
    }

    pub(in crate::peer) fn is_limited(&self) -> bool {
        self.pacing.limited
    }

    /// What waits and when it should be gone; counts only while the path is without a known limit.
    pub(super) fn spread(&mut self, bytes: usize, deadline: Option<Instant>, now: Instant) {
        let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let micros = u64::try_from(left.max(AT_ONCE).as_micros()).unwrap_or(u64::MAX);
        self.spread = (bytes as u64).saturating_mul(1_000_000) / micros;
    }

    /// Bytes a second.
    fn rate(&self) -> u64 {
        let target = self.pacing.target / 8;
        if self.pacing.limited {
            // Over the target by less than the estimator stays below what got through (15 %), so
            // that what waits here does not go and wait on the way. A probe ends by itself.
            let rate = self.pacing.probe.map_or(0, |rate| rate / 8);
            return rate.max(target * 6 / 5).max(1_000);
        }
        match self.pacing.probe {
            Some(rate) => (rate / 8).max(self.spread),
            None => (target * 5 / 2).max(self.spread).max(LEAST_FREE),
        }
    }

    fn burst(&self) -> Duration {
        match (self.pacing.probe, self.pacing.limited) {
            (Some(_), _) => PROBE_BURST,
            (None, true) => BURST,
            (None, false) => {
                let bytes = match (self.pacing.clear, self.pacing.near) {
                    (true, true) => NEAR_BURST,
                    _ => FREE_BURST,
                };
                BURST.max(time_of(bytes, self.rate()))
            }
        }
    }

    /// Nothing is known of the path, nor will be.
    pub(in crate::peer) fn is_free(&self) -> bool {
        self.pacing.target == 0
    }

    /// Whether a packet may leave now.
    pub(in crate::peer) fn may_leave(&self, now: Instant) -> bool {
        self.paid.is_none_or(|paid| paid <= now + self.burst())
    }

    /// `bytes` left.
    pub(in crate::peer) fn left(&mut self, bytes: usize, now: Instant) {
        let credit = if self.waited_for {
            LATENESS
        } else {
            Duration::ZERO
        };
        let from = now.checked_sub(credit).unwrap_or(now);
        let paid = self.paid.map_or(now, |paid| paid.max(from));
        let paid = paid + time_of(bytes as u64, self.rate());
        self.paid = Some(paid.min(now + MOST_DEBT));
    }

    /// When the next packet may leave, as one waits: a burst later, not a packet later.
    pub(in crate::peer) fn next(&mut self, now: Instant) -> Instant {
        self.waited_for = true;
        let paid = self.paid.unwrap_or(now);
        let burst = self.burst();
        let due = paid + burst.min(BURST);
        due.checked_sub(burst).unwrap_or(due).max(now)
    }

    /// How long `bytes` take to leave.
    pub(in crate::peer) fn time_for(&self, bytes: usize) -> Duration {
        time_of(bytes as u64, self.rate())
    }

    /// Nothing waits: time that passes from now on is not made up for.
    pub(in crate::peer) fn idle(&mut self) {
        self.waited_for = false;
    }

    /// Bytes that may wait before frames are dropped; `None` while the path is without a known
    /// limit.
    pub(super) fn most_waiting(&self) -> Option<usize> {
        let millis = MOST_WAITING.as_millis() as u64;
        let bytes = self.rate().saturating_mul(millis) / 1000;
        self.pacing
            .limited
            .then(|| usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

fn time_of(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn limited(target: u64) -> Pacing {
        Pacing {
            target,
            limited: true,
            ..Pacing::default()
        }
    }

    #[test]
    fn what_left_unhindered_holds_nothing_up_for_long() {
        let mut now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set(limited(20_000), now);
        // Sound of 64 kbit/s.
        for _ in 0..1000 {
            pacer.left(160, now);
            now += 20 * MS;
        }
        assert!(!pacer.may_leave(now), "there is no room for anything else");
        let mut wide = pacer;
        assert!(wide.next(now) <= now + MOST_DEBT);
        wide.set(limited(1_000_000), now);
        assert!(wide.may_leave(now + 20 * MS), "{:?}", wide.next(now) - now);
    }

    #[test]
    fn what_is_owed_is_owed_at_another_rate_too() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set(limited(800_000), now);
        pacer.left(12_000, now);
        let owed = |pacer: &mut Pacer| pacer.next(now).saturating_duration_since(now);
        assert_eq!(owed(&mut pacer), 100 * MS);
        pacer.set(limited(400_000), now);
        assert_eq!(owed(&mut pacer), 200 * MS);
        pacer.set(limited(400_000), now + 100 * MS);
        pacer.set(limited(800_000), now + 100 * MS);
        assert_eq!(owed(&mut pacer), 150 * MS);
    }
}
