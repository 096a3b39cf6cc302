// SPDX-License-Identifier: MPL-2.0
//! The end of a frame that does not come. That a packet is missing shows when the next one is here,
//! and behind the last ones of a frame that is the next frame: at 30 fps half of what a jitter
//! buffer of 200 ms leaves for a second repair over 50 ms would be gone. So, where packets get lost,
//! a frame whose packets stop coming before their marker is asked to go on. A remote that has not
//! sent that packet yet has nothing to answer.

use std::time::{Duration, Instant};

/// The packets of a frame that are sent together come within this, ...
const LEAST_GAP: Duration = Duration::from_millis(8);
/// ... or this, where they are spread; later the next frame tells.
const MOST_GAP: Duration = Duration::from_millis(100);
/// Losses of so long ago say nothing any more.
const MEMORY: Duration = Duration::from_secs(5);
/// What one needless request adds to the wait; each one that was right takes as much away.
const CAUTION: Duration = Duration::from_millis(2);

/// The packet that is expected next, and since when.
struct Open {
    number: u32,
    due: Instant,
    asked: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Tail {
    open: Option<Open>,
    newest: Option<Instant>,
    /// Between packets of a frame, seconds: mean and deviation.
    gap: f64,
    deviation: f64,
    caution: Duration,
    lossy: Option<Instant>,
}

impl Tail {
    /// Something was lost.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lossy = Some(now);
    }

    /// Packet `number` is the newest, the last of its frame if it has the `marker`, and `skipped`
    /// before it have not come. `sent`: it is no repair.
    pub(super) fn came(
        &mut self,
        number: u32,
        skipped: u32,
        marker: bool,
        sent: bool,
        now: Instant,
    ) {
        let open = self.open.take();
        if let (Some(open), true) = (&open, skipped == 0 && sent)
            && let Some(newest) = self.newest
        {
            let gap = now.saturating_duration_since(newest).min(MOST_GAP);
            let gap = gap.as_secs_f64();
            self.deviation += ((gap - self.gap).abs() - self.deviation) / 16.0;
            self.gap += (gap - self.gap) / 16.0;
            if open.asked.is_some() {
                self.caution = (self.caution + CAUTION).min(MOST_GAP);
            }
        }
        if open.is_some_and(|open| open.asked.is_some()) && !sent {
            self.caution = self.caution.saturating_sub(CAUTION);
        }
        self.newest = Some(now);
        let lossy = self
            .lossy
            .is_some_and(|at| now.saturating_duration_since(at) < MEMORY);
        let gap = Duration::from_secs_f64(self.gap + 4.0 * self.deviation);
        let wait = gap.max(LEAST_GAP) + self.caution;
        if lossy && !marker && wait < MOST_GAP {
            self.open = Some(Open {
                number: number.wrapping_add(1),
                due: now + wait,
                asked: None,
            });
        }
    }

    /// A new numbering.
    pub(super) fn restart(&mut self) {
        self.open = None;
        self.newest = None;
    }

    /// When [`Self::poll`] has something to ask for.
    pub(super) fn next(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        open.asked.is_none().then_some(open.due)
    }

    /// The packet to ask for now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u32> {
        let open = self.open.as_mut()?;
        if open.asked.is_some() || now < open.due {
            return None;
        }
        open.asked = Some(now);
        Some(open.number)
    }

    /// The packet that was asked for, if its answer did not come, and when.
    pub(super) fn asked(&self) -> Option<(u32, Instant)> {
        let open = self.open.as_ref()?;
        Some((open.number, open.asked?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_frame_that_stops_before_its_marker_is_asked_to_go_on() {
        let mut tail = Tail::default();
        let start = Instant::now();
        // Not on a path that loses nothing.
        tail.came(1, 0, false, true, start);
        assert_eq!(tail.next(), None);
        tail.lost(start);
        tail.came(2, 0, false, true, start);
        assert_eq!(tail.poll(start + ms(7)), None);
        assert_eq!(tail.poll(start + ms(8)), Some(3));
        assert_eq!(tail.poll(start + ms(9)), None);
        assert_eq!(tail.asked(), Some((3, start + ms(8))));
        // The answer is not the end yet.
        tail.came(3, 0, false, false, start + ms(60));
        assert_eq!(tail.poll(start + ms(68)), Some(4));
        tail.came(4, 0, true, false, start + ms(110));
        assert_eq!(tail.next(), None);
    }

    #[test]
    fn where_packets_of_a_frame_are_spread_it_waits_longer() {
        let mut tail = Tail::default();
        let mut now = Instant::now();
        tail.lost(now);
        for number in 0..200 {
            now += ms(if number % 2 == 0 { 2 } else { 20 });
            tail.came(number, 0, false, true, now);
        }
        assert!(tail.next().is_some_and(|due| due > now + ms(30)));
    }

    #[test]
    fn a_stream_without_markers_is_left_alone() {
        let mut tail = Tail::default();
        let mut now = Instant::now();
        let mut asked = 0;
        for number in 0..600 {
            tail.lost(now);
            let next = now + ms(33);
            asked += u32::from(tail.poll(next - ms(1)).is_some());
            now = next;
            tail.came(number, 0, false, true, now);
        }
        assert!(asked < 30, "{asked}");
    }
}
