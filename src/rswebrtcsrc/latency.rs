// SPDX-License-Identifier: MPL-2.0
//! How long a jitter buffer has to wait: `latency-mode=auto`. Pure.
//!
//! What counts is how late packets really come, compared with the fastest of the last half minute:
//! jitter, pacing of key frames and retransmissions are all in it, whatever the reason.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So long a stretch has its earliest and its latest packet remembered.
const STRETCH: Duration = Duration::from_secs(1);
/// Stretches that count: whoever was late once will be again.
const STRETCHES: usize = 30;
/// No packet is so much later than others, ns.
const JUMP: u64 = 3_000_000_000;
/// Room for what was not seen yet.
const MARGIN: Duration = Duration::from_millis(10);
/// A repaired packet comes a round trip after its loss was noticed, and that takes so long.
const NOTICED_AFTER: Duration = Duration::from_millis(40);
/// Time between two steps down. Each makes sinks skip a little.
const STEP_AFTER: Duration = Duration::from_secs(5);
/// Changes are a multiple of this: what is less is not worth a new latency of the pipeline.
const STEP: Duration = Duration::from_millis(10);

/// The least that `auto` sets.
pub const LEAST: Duration = Duration::from_millis(20);
/// The most that `auto` sets: who waits longer does not talk any more.
pub const MOST: Duration = Duration::from_secs(1);

/// How late the packets of one stream come.
#[derive(Debug, Default)]
pub struct Lateness {
    first: Option<(Instant, u32)>,
    /// Of the last packet, counted on over the wrap, relative to the first.
    ticks: i64,
    timestamp: u32,
    stretches: VecDeque<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    began: Instant,
    /// Time of arrival less time of the stream, ns.
    earliest: i64,
    latest: i64,
}

impl Lateness {
    /// A packet came. `clock_rate` is that of its codec, Hz.
    pub fn arrived(&mut self, timestamp: u32, clock_rate: u32, arrival: Instant) {
        let Some((began, _)) = self.first else {
            self.first = Some((arrival, timestamp));
            self.timestamp = timestamp;
            self.note(0, arrival);
            return;
        };
        // RFC 3550: timestamps wrap, and those of late packets are behind.
        let step = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
        self.ticks += step;
        self.timestamp = timestamp;
        let media = i128::from(self.ticks) * 1_000_000_000 / i128::from(clock_rate.max(1));
        let passed = arrival.saturating_duration_since(began).as_nanos();
        let transit = i128::try_from(passed)
            .unwrap_or(i128::MAX)
            .saturating_sub(media);
        let transit = i64::try_from(transit).unwrap_or(i64::MAX);
        let known = self.stretches.back().map(|s| s.earliest);
        if known.is_some_and(|known| known.abs_diff(transit) > JUMP) {
            // The sender stopped for a while, or set its clock: no packet is that late.
            self.start_over();
            return;
        }
        self.note(transit, arrival);
    }

    /// Another source of packets follows: its times have nothing to do with those before.
    pub fn start_over(&mut self) {
        *self = Self::default();
    }

    /// How much later than the fastest the slowest packet came.
    pub fn highest(&self) -> Option<Duration> {
        let earliest = self.stretches.iter().map(|s| s.earliest).min()?;
        let latest = self.stretches.iter().map(|s| s.latest).max()?;
        u64::try_from(latest.saturating_sub(earliest))
            .ok()
            .map(Duration::from_nanos)
    }

    fn note(&mut self, transit: i64, now: Instant) {
        let fits = |s: &&mut Stretch| now.saturating_duration_since(s.began) < STRETCH;
        if let Some(stretch) = self.stretches.back_mut().filter(fits) {
            stretch.earliest = stretch.earliest.min(transit);
            stretch.latest = stretch.latest.max(transit);
            return;
        }
        if self.stretches.len() >= STRETCHES {
            self.stretches.pop_front();
        }
        self.stretches.push_back(Stretch {
            began: now,
            earliest: transit,
            latest: transit,
        });
    }
}

/// The latency of one stream.
#[derive(Debug)]
pub struct Auto {
    current: Duration,
    changed: Option<Instant>,
}

impl Auto {
    /// Begins with `current`, until something is known.
    pub fn new(current: Duration) -> Self {
        Self {
            current: current.clamp(LEAST, MOST),
            changed: None,
        }
    }

    /// What holds now.
    pub fn current(&self) -> Duration {
        self.current
    }

    /// Takes what was measured: `highest` of [`Lateness`], and the round trip where lost packets are
    /// sent again. Raises at once and lowers in small steps.
    pub fn update(&mut self, highest: Duration, round_trip: Option<Duration>, now: Instant) {
        let repaired = round_trip.map_or(Duration::ZERO, |rtt| rtt + NOTICED_AFTER);
        let needed = (highest + highest / 10).max(repaired) + MARGIN;
        let needed = rounded_up(needed).clamp(LEAST, MOST);
        let began = *self.changed.get_or_insert(now);
        if needed > self.current {
            self.current = needed;
            self.changed = Some(now);
        } else if needed < self.current && now.saturating_duration_since(began) >= STEP_AFTER {
            let step = rounded_up(self.current / 20);
            self.current = self.current.saturating_sub(step).max(needed);
            self.changed = Some(now);
        }
    }
}

fn rounded_up(time: Duration) -> Duration {
    let steps = time.as_nanos().div_ceil(STEP.as_nanos());
    STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Packets each 10 ms from `from` to `to`, each late by what `late` says.
    fn feed(
        lateness: &mut Lateness,
        start: Instant,
        (from, to): (u32, u32),
        late: impl Fn(u32) -> u64,
    ) {
        for n in from..to {
            let arrival = start + ms(u64::from(n) * 10 + late(n));
            lateness.arrived((n * 900).wrapping_add(u32::MAX - 5000), RATE, arrival);
        }
    }

    #[test]
    fn lateness_is_measured_against_the_fastest_packet_over_the_wrap() {
        let mut lateness = Lateness::default();
        let start = Instant::now();
        assert_eq!(lateness.highest(), None);
        feed(&mut lateness, start, (0, 500), |n| {
            if n == 77 { 65 } else { 20 - u64::from(n % 3) }
        });
        let highest = lateness.highest().unwrap();
        assert!(highest.abs_diff(ms(47)) < ms(1), "{highest:?}");
    }

    #[test]
    fn what_was_late_half_a_minute_ago_is_forgotten() {
        let mut lateness = Lateness::default();
        let start = Instant::now();
        feed(&mut lateness, start, (0, 4500), |n| {
            if n == 50 { 300 } else { 0 }
        });
        assert!(lateness.highest().unwrap() < ms(1));
        assert!(lateness.stretches.len() <= STRETCHES);
    }

    #[test]
    fn a_sender_that_stops_for_a_while_is_not_late() {
        let mut lateness = Lateness::default();
        let start = Instant::now();
        feed(&mut lateness, start, (0, 200), |n| u64::from(n % 3));
        feed(&mut lateness, start + ms(10_000), (200, 400), |n| {
            u64::from(n % 3)
        });
        assert!(lateness.highest().unwrap() <= ms(2));
    }

    #[test]
    fn a_clock_that_runs_off_by_100_ppm_is_no_lateness() {
        let mut lateness = Lateness::default();
        let start = Instant::now();
        for n in 0..360_000u32 {
            // An hour.
            let arrival = start + Duration::from_nanos(u64::from(n) * 10_001_000);
            lateness.arrived(n.wrapping_mul(900), RATE, arrival);
        }
        let highest = lateness.highest().unwrap();
        assert!(highest < ms(4), "{highest:?}");
    }

    #[test]
    fn latency_rises_at_once_and_falls_slowly() {
        let mut auto = Auto::new(ms(100));
        let mut now = Instant::now();
        auto.update(ms(180), None, now);
        assert_eq!(auto.current(), ms(210));
        let mut steps = Vec::new();
        for _ in 0..1200 {
            now += ms(100);
            let before = auto.current();
            auto.update(ms(30), None, now);
            assert!(auto.current() <= before);
            if auto.current() < before {
                steps.push(before - auto.current());
            }
        }
        assert!(steps.iter().all(|step| *step <= ms(20)), "{steps:?}");
        assert_eq!(auto.current(), ms(50), "after two minutes");
        now += ms(100);
        auto.update(ms(90), None, now);
        assert_eq!(auto.current(), ms(110), "at once");
    }

    #[test]
    fn where_lost_packets_come_again_a_round_trip_has_room() {
        let mut auto = Auto::new(ms(20));
        auto.update(ms(5), Some(ms(150)), Instant::now());
        assert_eq!(auto.current(), ms(200));
    }

    #[test]
    fn it_stays_within_bounds() {
        let mut auto = Auto::new(ms(5));
        assert_eq!(auto.current(), LEAST);
        auto.update(Duration::from_secs(9), None, Instant::now());
        assert_eq!(auto.current(), MOST);
        let mut now = Instant::now();
        for _ in 0..300 {
            now += STEP_AFTER;
            auto.update(Duration::ZERO, None, now);
        }
        assert_eq!(auto.current(), LEAST);
    }
}
