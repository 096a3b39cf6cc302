// SPDX-License-Identifier: MPL-2.0
//! When to send a short burst at a higher rate, and what one has shown.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Probe;
use super::groups::micros;
use super::history::Arrived;

/// A probe lasts so long, ...
const DURATION: f64 = 0.015;
/// ... and has so many packets at least.
const PACKETS: usize = 5;
/// Of packets and bytes, so much must have arrived.
const ENOUGH: f64 = 0.8;
/// Nothing is heard any more of a probe that was asked for so long ago.
const TIMEOUT: Duration = Duration::from_secs(2);
/// No probe has more bytes, or it would fill the socket of a receiver that has the least of buffers.
const MOST_BYTES: f64 = 128_000.0;
/// Probes that wait or are under way; the oldest go.
const MAX_PROBES: usize = 8;
/// The first ones, of the start rate.
const INITIAL: [f64; 2] = [3.0, 6.0];
/// One that found so much of its rate is followed by the next, ...
const FURTHER: f64 = 0.7;
/// ... of so much more.
const STEP: f64 = 2.0;
/// From this part of what was carried before on, no probe is needed.
const DROP: f64 = 0.8;
/// Probes to find that again go so far beyond.
const BEYOND: f64 = 1.1;
/// Nobody needs to know of more than this, of what is made; ...
pub(super) const WANTED: f64 = 2.0;
/// ... nor of what lies so near to it.
const FULL: f64 = 0.95;
/// A probe that is followed by a decrease so soon was wrong: the next comes after twice the time.
const DISPROVED: Duration = Duration::from_millis(1500);
const MAX_FAILURES: u32 = 2;
/// Then what was carried before counts so much less.
const FORGET: f64 = 0.8;
/// What arrives slower than it left, by this, has found the end of the path.
const SATURATED: f64 = 0.9;
/// ... or jitter only; this is beyond jitter.
const CLEARLY: f64 = 0.8;
/// What is made of it, to leave room for the queue to drain.
const UTILIZATION: f64 = 0.95;
/// A result by so much over the estimate was at the expense of others.
const TAKEN: f64 = 1.25;
/// A burst that arrives faster than it left by more tells nothing.
const MAX_SPEEDUP: f64 = 2.0;
/// What left or arrived over a longer time was no burst.
const MAX_SPAN: i64 = 1_000_000;
/// A full path shows its limit at least each such time, even if little is known of it.
const QUIET: Duration = Duration::from_secs(5);
/// After a drop the rate is near the limit: then it shows more often, ...
const WIDER: Duration = Duration::from_secs(2);
/// ... and if not, the path may be wide again.
const WIDER_INTERVAL: Duration = Duration::from_millis(1200);
/// Between probes while the encoders make little, ...
const LIMITED_INTERVAL: Duration = Duration::from_secs(5);
/// ... and to find out whether the path is as wide again as it was, ...
const RECOVERY_INTERVAL: Duration = Duration::from_millis(2500);
/// ... and when that was long ago.
const LATER_INTERVAL: Duration = Duration::from_secs(8);
const LATER: Duration = Duration::from_secs(60);

/// Why a probe was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Nothing is known, or what is known is old.
    Unknown,
    /// The path carried more before.
    Recovery,
    /// The probe before came through.
    Further,
}

#[derive(Debug)]
struct Cluster {
    probe: Probe,
    reason: Reason,
    asked: Instant,
    begun: bool,
    /// Departure of the first and the last packet, with the last's size.
    sent: Option<(Instant, Instant, usize)>,
    /// Arrival of the first, with its size, and the last, µs.
    arrival: Option<(i64, usize, i64)>,
    bytes: usize,
    packets: usize,
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    /// bit/s
    rate: f64,
    /// It was more than the path carries.
    saturated: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Probes {
    next: u32,
    clusters: VecDeque<Cluster>,
    last: Option<Instant>,
    /// A result from this on is followed by a further probe, bit/s.
    further: Option<f64>,
    /// What was carried before a drop, bit/s, and when that was.
    before_drop: Option<(f64, Instant)>,
    /// The estimate before a probe raised it, bit/s, and when that was.
    raised_from: Option<(f64, Instant)>,
    /// Probes that promised too much.
    failures: u32,
}

/// What the path looks like to one who thinks of probing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// bit/s
    pub(super) estimate: f64,
    pub(super) max: f64,
    /// What could be made use of, bit/s.
    pub(super) wanted: f64,
    pub(super) application_limited: bool,
    /// No queue, no loss, no decrease of late.
    pub(super) calm: bool,
    /// Growth met with no limit for so long.
    pub(super) quiet: Duration,
}

impl Probes {
    /// The connection is up.
    pub(super) fn start(&mut self, start: f64, max: f64, now: Instant) {
        self.clusters.clear();
        self.before_drop = None;
        for factor in INITIAL {
            let rate = (start * factor).min(max);
            if rate <= start {
                break;
            }
            self.ask(rate, Reason::Unknown, now);
            if rate >= max {
                break;
            }
        }
        self.further = Some(FURTHER * start * INITIAL.last().copied().unwrap_or(1.0));
    }

    fn ask(&mut self, rate: f64, reason: Reason, now: Instant) {
        let rate = rate.clamp(1_000.0, 1e10);
        self.next = self.next.wrapping_add(1);
        if self.clusters.len() >= MAX_PROBES {
            self.clusters.pop_front();
        }
        self.clusters.push_back(Cluster {
            probe: Probe {
                id: self.next,
                rate: rate as u64,
                packets: PACKETS,
                bytes: (rate * DURATION / 8.0).min(MOST_BYTES) as usize,
            },
            reason,
            asked: now,
            begun: false,
            sent: None,
            arrival: None,
            bytes: 0,
            packets: 0,
        });
        self.last = Some(now);
    }

    /// The bound was raised while it was what held us, bit/s.
    pub(super) fn raised(&mut self, estimate: f64, max: f64, now: Instant) {
        if max > estimate {
            self.ask(max.min(STEP * estimate), Reason::Unknown, now);
            self.further = Some(FURTHER * STEP * estimate);
        }
    }

    /// The estimate fell from `before`, bit/s.
    pub(super) fn dropped(&mut self, before: f64, now: Instant) {
        self.further = None;
        // What was to be found out is known.
        self.clusters.retain(|cluster| cluster.begun);
        if let Some((prior, at)) = self.raised_from.take()
            && now.saturating_duration_since(at) < DISPROVED
        {
            // A burst came through where a stream does not.
            self.failures = (self.failures + 1).min(MAX_FAILURES);
            if let Some((rate, _)) = &mut self.before_drop {
                *rate = prior.max(*rate * FORGET);
            }
            return;
        }
        match self.before_drop {
            Some((rate, _)) if rate >= before => {}
            _ => self.before_drop = Some((before, now)),
        }
    }

    /// A probe led from this estimate to a higher one, bit/s.
    pub(super) fn taken(&mut self, before: f64, now: Instant) {
        self.raised_from = Some((before, now));
    }

    /// To be asked for now and then: asks for a probe when it is time.
    pub(super) fn consider(&mut self, situation: &Situation, now: Instant) {
        self.clusters
            .retain(|cluster| now.saturating_duration_since(cluster.asked) < TIMEOUT);
        if self.clusters.is_empty() {
            self.further = None;
        }
        let &Situation { estimate, max, .. } = situation;
        if let Some((rate, _)) = self.before_drop
            && estimate >= DROP * rate.min(max)
        {
            // The rest is left to the rate control.
            self.before_drop = None;
        }
        if let Some((_, at)) = self.raised_from
            && now.saturating_duration_since(at) >= DISPROVED
        {
            self.raised_from = None;
            self.failures = 0;
        }
        let room = max.min(WANTED * situation.wanted);
        if !situation.calm || !self.clusters.is_empty() || estimate >= FULL * room {
            return;
        }
        let interval = match self.before_drop {
            Some(_) if situation.quiet > WIDER => WIDER_INTERVAL,
            Some((_, at)) if now.saturating_duration_since(at) < LATER => {
                RECOVERY_INTERVAL * 2u32.pow(self.failures)
            }
            Some(_) => LATER_INTERVAL,
            None if situation.application_limited => LIMITED_INTERVAL,
            None if situation.quiet > QUIET => RECOVERY_INTERVAL * 2u32.pow(self.failures),
            None => return,
        };
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < interval)
        {
            return;
        }
        let (rate, reason) = match self.before_drop {
            Some((rate, _)) => ((STEP * estimate).min(BEYOND * rate), Reason::Recovery),
            None if situation.application_limited => (STEP * estimate, Reason::Unknown),
            None => (STEP * estimate, Reason::Recovery),
        };
        self.ask(rate.min(room), reason, now);
        self.further = Some(FURTHER * rate.min(room));
    }

    /// The next one that should leave.
    pub(super) fn poll(&mut self) -> Option<Probe> {
        let cluster = self.clusters.iter_mut().find(|cluster| !cluster.begun)?;
        cluster.begun = true;
        Some(cluster.probe)
    }

    /// A packet of a probe arrived. Gives what the probe has shown by now beyond `estimate`, bit/s.
    pub(super) fn arrived(&mut self, packet: &Arrived, estimate: f64) -> Option<f64> {
        let id = packet.probe?;
        let cluster = self
            .clusters
            .iter_mut()
            .find(|cluster| cluster.probe.id == id)?;
        cluster.packets += 1;
        cluster.bytes += packet.size;
        cluster.sent = Some(match cluster.sent {
            None => (packet.sent, packet.sent, packet.size),
            Some((first, last, _)) if packet.sent >= last => (first, packet.sent, packet.size),
            Some((first, last, size)) => (first.min(packet.sent), last, size),
        });
        cluster.arrival = Some(match cluster.arrival {
            None => (packet.arrival, packet.size, packet.arrival),
            Some((first, _, last)) if packet.arrival < first => (packet.arrival, packet.size, last),
            Some((first, size, last)) => (first, size, last.max(packet.arrival)),
        });
        let shown = cluster.result()?;
        if shown.rate <= estimate {
            return None;
        }
        if !shown.saturated || cluster.reason != Reason::Recovery {
            return Some(shown.rate);
        }
        // A burst takes from whoever shares the path. If the path were as wide again as it was,
        // the burst had come through: of what it took, half, and that is all there was.
        if let Some((rate, _)) = &mut self.before_drop
            && shown.rate > TAKEN * estimate
        {
            *rate = shown.rate.max(FORGET * *rate).min(*rate);
        }
        Some((estimate + shown.rate) / 2.0)
    }

    /// A probe has shown `result`, and what it is worth was taken over: perhaps there is more, up to
    /// what is `useful` and to the bound, `max`.
    pub(super) fn found(&mut self, result: f64, useful: f64, max: f64, now: Instant) {
        // What is sent on a narrow path tells nothing of what is of use.
        let known = self.before_drop.map(|(rate, _)| BEYOND * rate);
        let max = known.unwrap_or(useful).min(max);
        if self.further.is_some_and(|least| result >= least) && result < max {
            let rate = (STEP * result).min(max);
            if rate <= result {
                return;
            }
            self.further = Some(FURTHER * rate);
            self.ask(rate, Reason::Further, now);
        }
    }
}

impl Cluster {
    fn result(&self) -> Option<Shown> {
        let packets = (ENOUGH * self.probe.packets as f64).ceil() as usize;
        let bytes = (ENOUGH * self.probe.bytes as f64) as usize;
        if self.packets < packets.max(2) || self.bytes < bytes {
            return None;
        }
        let (first_sent, last_sent, last_size) = self.sent?;
        let (first_arrival, first_size, last_arrival) = self.arrival?;
        let sending = micros(last_sent.saturating_duration_since(first_sent));
        let arriving = last_arrival.saturating_sub(first_arrival);
        if sending <= 0 || arriving <= 0 || sending > MAX_SPAN || arriving > MAX_SPAN {
            return None;
        }
        let send_rate = self.bytes.saturating_sub(last_size) as f64 * 8e6 / sending as f64;
        let receive_rate = self.bytes.saturating_sub(first_size) as f64 * 8e6 / arriving as f64;
        if send_rate <= 0.0 || receive_rate > MAX_SPEEDUP * send_rate {
            return None;
        }
        let saturated = receive_rate < SATURATED * send_rate;
        let rate = if saturated {
            UTILIZATION * receive_rate
        } else {
            send_rate.min(receive_rate)
        };
        Some(Shown {
            rate,
            saturated: receive_rate < CLEARLY * send_rate,
        })
    }
}
