// SPDX-License-Identifier: MPL-2.0
//! What the path to us carries, for remotes that take no transport-wide feedback but are told
//! (REMB, draft-alvestrand-rmcat-remb-03).
//!
//! Simpler than the send-side estimator, which such a remote lacks: it follows what arrives. While
//! packets do not queue it allows some more, and when they do, somewhat less than what gets through.
//! webrtc has the message, and no estimator behind it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::media::header_extension::AbsSendTime;

/// What comes is measured over this time.
const WINDOW: Duration = Duration::from_millis(500);
/// The least delay of so long counts as the path's own.
const MEMORY: Duration = Duration::from_secs(10);
/// A look at the delays; of each the least counts, so that jitter does not.
const LOOK: Duration = Duration::from_millis(50);
/// Packets that are delayed by more than this over two looks wait somewhere.
const QUEUE: f64 = 0.04;
/// What is left of the rate that gets through when they do.
const BACKOFF: f64 = 0.85;
/// Between two reductions, beside the time that the first takes to show: what is queued must drain.
const DRAIN: Duration = Duration::from_millis(400);
/// The estimate is no more than so many times what arrives, so that nobody trusts in what was never
/// tried.
const HEADROOM: f64 = 1.5;
/// Growth in a second, before the path showed its limit ...
const FAST: f64 = 1.5;
/// ... and after.
const SLOW: f64 = 1.08;
/// It is told this often, ...
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// ... and at once if it is less than this part of what was told.
const TELL_DROP: f64 = 0.97;
/// Never told to be less, bit/s.
const FLOOR: f64 = 50_000.0;
/// Packets in the window that are remembered: 500 ms of 200 Mbit/s.
const MOST: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(super) struct ReceiverEstimate {
    /// Arrivals in the window, and their bits.
    arrivals: VecDeque<(Instant, u32)>,
    bits: u64,
    begun: Option<Instant>,
    delays: Delays,
    /// bit/s
    estimate: Option<f64>,
    limited: bool,
    looked: Option<Instant>,
    reduced: Option<Instant>,
    told: Option<(Instant, f64)>,
}

impl ReceiverEstimate {
    /// A packet of `size` bytes that left at `sent` by the remote's clock, if it says so.
    pub(super) fn arrived(&mut self, size: usize, sent: Option<AbsSendTime>, now: Instant) {
        let bits = u32::try_from(size * 8).unwrap_or(u32::MAX);
        while let Some((at, bits)) = self.arrivals.front().copied()
            && (now.saturating_duration_since(at) > WINDOW || self.arrivals.len() >= MOST)
        {
            self.arrivals.pop_front();
            self.bits -= u64::from(bits);
        }
        if self.arrivals.is_empty() {
            // After a pause, too: part of a window says nothing of the path.
            self.begun = Some(now);
        }
        self.arrivals.push_back((now, bits));
        self.bits += u64::from(bits);
        if let Some(sent) = sent {
            self.delays.add(sent, now);
        }
        let looked = *self.looked.get_or_insert(now);
        let passed = now.saturating_duration_since(looked);
        if passed >= LOOK {
            self.looked = Some(now);
            self.look(passed, now);
        }
    }

    fn look(&mut self, passed: Duration, now: Instant) {
        let standing = self.delays.standing(now);
        let rate = self.bits as f64 / WINDOW.as_secs_f64();
        let full = |at: Instant| now.saturating_duration_since(at) >= WINDOW;
        if !self.begun.is_some_and(full) {
            return;
        }
        let estimate = self.estimate.unwrap_or(rate * HEADROOM);
        let draining = self
            .reduced
            .is_some_and(|at| now.saturating_duration_since(at) < DRAIN);
        let estimate = if standing > QUEUE && !draining {
            self.limited = true;
            self.reduced = Some(now);
            (rate * BACKOFF).min(estimate)
        } else if standing > QUEUE / 2.0 {
            estimate
        } else {
            let growth = if self.limited { SLOW } else { FAST };
            let grown = estimate * growth.powf(passed.as_secs_f64().min(1.0));
            // What stays below it by itself does not pull it down.
            grown.min((rate * HEADROOM).max(estimate))
        };
        self.estimate = Some(estimate.max(FLOOR));
    }

    /// When [`Self::poll`] may have something to tell.
    pub(super) fn next(&self) -> Option<Instant> {
        let estimate = self.estimate?;
        match (self.told, self.looked) {
            (Some((_, told)), Some(looked)) if estimate < told * TELL_DROP => Some(looked),
            // Who receives nothing has nothing to tell.
            (Some((at, _)), Some(looked)) => {
                Some(at + TELL_AGAIN).filter(|due| *due <= looked + TELL_AGAIN * 2)
            }
            (_, looked) => looked,
        }
    }

    /// What to tell now, bit/s.
    pub(super) fn poll(&mut self, now: Instant) -> Option<f64> {
        self.next().filter(|due| *due <= now)?;
        let estimate = self.estimate?;
        self.told = Some((now, estimate));
        Some(estimate)
    }
}

/// How much longer packets take than the fastest of late.
#[derive(Default)]
struct Delays {
    /// Arrival and departure of the first packet, by the two clocks.
    first: Option<(Instant, AbsSendTime)>,
    last_sent: Option<AbsSendTime>,
    /// Since the first, by the remote's clock, seconds.
    sent: f64,
    /// The least delay of each look, seconds.
    least: VecDeque<(Instant, f64)>,
    current: Option<f64>,
    before: f64,
}

impl Delays {
    fn add(&mut self, sent: AbsSendTime, now: Instant) {
        let (start, _) = *self.first.get_or_insert((now, sent));
        // The field begins anew every 64 s.
        let last = self.last_sent.replace(sent).unwrap_or(sent);
        let mut step = sent.time().as_secs_f64() - last.time().as_secs_f64();
        if step < -32.0 {
            step += 64.0;
        } else if step > 32.0 {
            step -= 64.0;
        }
        self.sent += step;
        let delay = now.saturating_duration_since(start).as_secs_f64() - self.sent;
        self.current = Some(self.current.map_or(delay, |least| least.min(delay)));
    }

    /// What even the fastest packets of this look and of the one before waited, seconds.
    fn standing(&mut self, now: Instant) -> f64 {
        let Some(current) = self.current.take() else {
            return self.before;
        };
        self.least.push_back((now, current));
        while let Some((at, _)) = self.least.front()
            && now.saturating_duration_since(*at) > MEMORY
        {
            self.least.pop_front();
        }
        let own = self.least.iter().map(|(_, delay)| *delay);
        let waited = current - own.fold(current, f64::min);
        let before = std::mem::replace(&mut self.before, waited);
        waited.min(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impaired_link::{Config, Link};

    /// A sender of 30 frames a second that follows what it is told, up to `most` bit/s, over a link.
    /// Gives, for each second, what arrived (bit/s) and the longest wait in the link.
    fn run(link: &str, most: f64, seconds: u64) -> Vec<(f64, Duration)> {
        let mut link = Link::new(link.parse::<Config>().unwrap(), 1);
        let start = Instant::now();
        let mut remote = ReceiverEstimate::default();
        let mut target: f64 = 500_000.0;
        let mut seen = vec![(0.0, Duration::ZERO); seconds as usize];
        // (arrival, size, departure)
        let mut flight: Vec<(Duration, usize, Duration)> = Vec::new();
        for tick in 0..seconds * 1000 {
            let now = Duration::from_millis(tick);
            if tick % 33 == 0 {
                let bytes = (target.min(most) / 30.0 / 8.0) as usize;
                for _ in 0..bytes.div_ceil(1200) {
                    let size = bytes / bytes.div_ceil(1200);
                    let passage = link.send(now, size);
                    seen[tick as usize / 1000].1 = seen[tick as usize / 1000].1.max(passage.queued);
                    flight.extend(passage.arrivals().map(|at| (at, size, now)));
                }
            }
            flight.sort_by_key(|(at, _, _)| *at);
            while let Some((at, size, sent)) = flight.first().copied()
                && at <= now
            {
                flight.remove(0);
                seen[tick as usize / 1000].0 += size as f64 * 8.0;
                remote.arrived(size, Some(AbsSendTime::from_time(sent)), start + at);
            }
            target = remote.poll(start + now).unwrap_or(target);
        }
        seen
    }

    #[test]
    fn a_free_path_is_used_up_to_what_the_sender_wants() {
        let seen = run("delay=25ms jitter=10ms", 3e6, 15);
        assert!(seen[10..].iter().all(|(rate, _)| *rate > 2.9e6), "{seen:?}");
    }

    #[test]
    fn a_narrow_path_is_used_and_not_flooded() {
        let seen = run("delay=25ms rate=2M queue=500ms", 8e6, 60);
        let late = &seen[20..];
        let rate = late.iter().map(|(rate, _)| rate).sum::<f64>() / late.len() as f64;
        assert!(rate > 1.5e6, "{rate} {seen:?}");
        let mut queues: Vec<Duration> = late.iter().map(|(_, queue)| *queue).collect();
        queues.sort_unstable();
        assert!(
            queues[queues.len() / 2] < Duration::from_millis(120),
            "{seen:?}"
        );
    }

    #[test]
    fn random_loss_is_not_taken_for_a_narrow_path() {
        let seen = run("delay=25ms loss=10%", 3e6, 20);
        assert!(seen[12..].iter().all(|(rate, _)| *rate > 2.4e6), "{seen:?}");
    }

    #[test]
    fn what_queues_after_a_pause_is_measured_before_less_is_told() {
        let mut remote = ReceiverEstimate::default();
        let start = Instant::now();
        let mut least = f64::MAX;
        let waits = [(0, 0), (10_000, 100)];
        for (begin, wait) in waits {
            // 2 Mbit/s for 5 s, each time.
            for tick in 0..1000 {
                let sent = Duration::from_millis(begin + tick * 5);
                let now = start + sent + Duration::from_millis(wait);
                remote.arrived(1250, Some(AbsSendTime::from_time(sent)), now);
                least = remote
                    .estimate
                    .map_or(least, |estimate| estimate.min(least));
            }
        }
        assert!(remote.limited, "what waited was seen");
        assert!(least > 1.5e6, "{least}");
    }

    #[test]
    fn it_is_told_every_second_while_something_comes() {
        let mut remote = ReceiverEstimate::default();
        let start = Instant::now();
        let mut told = 0;
        for tick in 0..500u64 {
            let now = start + Duration::from_millis(tick * 20);
            remote.arrived(500, None, now);
            told += u32::from(remote.poll(now).is_some());
        }
        assert!((9..=11).contains(&told), "{told}");
        let later = start + Duration::from_secs(60);
        assert!(remote.next().is_none_or(|due| due < later - TELL_AGAIN));
    }
}
