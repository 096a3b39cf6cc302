// SPDX-License-Identifier: MPL-2.0
//! Freezes and pauses as a viewer sees them (webrtc-stats, `RTCInboundRtpStreamStats`): from the
//! times at which pictures are shown. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// The average is that of so many pictures.
const AVERAGED: usize = 30;
/// Fewer say nothing of an average: a call may begin with a burst.
const FEWEST: usize = 5;
/// A freeze is so much longer than the average, at least.
const MARGIN: Duration = Duration::from_millis(150);
/// A pause.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pictures that were shown at least `max(3 × average, average + 150 ms)` after the one before.
    pub freezes: u64,
    /// Time between these and the ones before.
    pub freezes_duration: Duration,
    /// Pictures that came more than 5 s after the one before.
    pub pauses: u64,
    /// Time between these and the ones before.
    pub pauses_duration: Duration,
    /// Time between all pictures.
    pub total: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Freezes {
    last: Option<Duration>,
    recent: VecDeque<Duration>,
    counts: Counts,
}

impl Freezes {
    /// A picture is shown at `time` (of any clock).
    pub fn shown(&mut self, time: Duration) {
        let Some(last) = self.last.replace(time) else {
            return;
        };
        let interval = time.saturating_sub(last);
        self.counts.total += interval;
        if let Some(average) = self.average()
            && interval >= (average * 3).max(average + MARGIN)
        {
            self.counts.freezes += 1;
            self.counts.freezes_duration += interval;
        }
        if interval > PAUSE {
            self.counts.pauses += 1;
            self.counts.pauses_duration += interval;
        }
        if self.recent.len() >= AVERAGED {
            self.recent.pop_front();
        }
        self.recent.push_back(interval);
    }

    /// Since the beginning.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn average(&self) -> Option<Duration> {
        let enough = self.recent.len() >= FEWEST;
        let count = u32::try_from(self.recent.len()).ok().filter(|_| enough)?;
        Some(self.recent.iter().sum::<Duration>() / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(times: impl IntoIterator<Item = u64>) -> Counts {
        let mut freezes = Freezes::default();
        times
            .into_iter()
            .for_each(|ms| freezes.shown(Duration::from_millis(ms)));
        freezes.counts()
    }

    #[test]
    fn a_steady_stream_of_any_rate_has_no_freezes() {
        assert_eq!(counts((0..300).map(|n| n * 33)).freezes, 0);
        assert_eq!(counts((0..30).map(|n| n * 1000)).freezes, 0);
    }

    #[test]
    fn a_freeze_is_longer_than_the_average_by_150_ms_or_three_times_as_long() {
        let steady = |step: u64| (0..40).map(move |n| n * step);
        let then = |step: u64, gap: u64| counts(steady(step).chain([39 * step + gap]));
        assert_eq!(then(20, 169).freezes, 0);
        let counted = then(20, 170);
        assert_eq!(counted.freezes, 1);
        assert_eq!(counted.freezes_duration, Duration::from_millis(170));
        assert_eq!(then(100, 299).freezes, 0);
        assert_eq!(then(100, 300).freezes, 1);
        assert_eq!(counted.pauses, 0);
    }

    #[test]
    fn after_5_s_it_is_a_pause_as_well() {
        let counted = counts((0..40).map(|n| n * 40).chain([1560 + 5001, 6601]));
        assert_eq!((counted.freezes, counted.pauses), (1, 1));
        assert_eq!(counted.pauses_duration, Duration::from_millis(5001));
        assert_eq!(counted.total, Duration::from_millis(6601));
    }

    #[test]
    fn only_the_last_30_count_for_the_average() {
        let slow = (0..10).map(|n| n * 1000);
        let fast = (0..31).map(|n| 9000 + n * 20);
        assert_eq!(counts(slow.chain(fast).chain([9600 + 170])).freezes, 1);
    }
}
