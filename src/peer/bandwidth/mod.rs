// SPDX-License-Identifier: MPL-2.0
//! What the path carries: send-side bandwidth estimation by the algorithms of libwebrtc's `goog_cc`,
//! as draft-ietf-rmcat-gcc-02 and its authors describe them.
//!
//! Pure: every function takes the time, nothing here sleeps, locks or sends. The media path tells
//! what left and what the remote reports, and asks what may leave.
//!
//! - `history` matches transport-wide feedback with what left;
//! - by delay: `groups`, `trend` and `queue` tell whether a queue grows or stands, `acknowledged`
//!   what arrives, and `rate` sets the rate by it;
//! - by loss: `loss` bounds that rate;
//! - `bursts` tells whether frames may leave at once;
//! - `probe` finds out what is not known, `sending` tells whether that would be of use;
//! - `reports` is for remotes that give no transport-wide feedback.
//!
//! Own code: of the crates that are kept, str0m has an estimator that it does not export; webrtc-rs's
//! own has no probes and takes all loss for congestion (its parts: see the modules); `goog_cc`, a port
//! of libwebrtc's, asserts on what comes from the network and reads the clock itself.

mod acknowledged;
mod bursts;
mod groups;
mod history;
mod loss;
mod probe;
mod queue;
mod rate;
mod reports;
mod sending;
#[cfg(test)]
mod tests;
mod trend;

use std::time::{Duration, Instant};

use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;

use self::acknowledged::Acknowledged;
use self::bursts::Bursts;
use self::groups::{Grouped, Groups};
use self::history::History;
use self::loss::{Known, LossBased};
use self::probe::{Probes, Situation};
use self::queue::QueueDelay;
use self::rate::{Change, RateControl, ordered, start_of};
use self::reports::Reports;
use self::sending::Sending;
use self::trend::{Trend, Usage};
use super::BitrateLimits;

/// A queue of this is standing, ...
const STANDING: Duration = Duration::from_millis(40);
/// ... when no feedback of such a time told of less.
const STANDING_FOR: Duration = Duration::from_millis(150);
/// For a path that showed its limit it is less, but must last.
const CONGESTED: Duration = Duration::from_millis(25);
const CONGESTED_FOR: Duration = Duration::from_millis(500);
/// How long the limit is believed after it was seen.
const CONGESTED_HOLD: Duration = Duration::from_secs(10);
/// A probe that raised the rate by so much may have promised too much.
const BOLD: f64 = 1.3;
/// Who makes so much more than the target does not follow it.
const UNDRIVEN: f64 = 1.3;
/// So many packets without a number: there will be no transport-wide feedback.
const UNNUMBERED: u32 = 20;
/// Up to this part of the target, what is sent obeys it.
const OBEYED: f64 = 1.5;
/// So much loss is a limit too. Less may be chance, at any rate: of a rate that never changes that
/// cannot be told, and what can be repaired is better sent.
const MUCH_LOSS: f64 = 0.2;
/// One frame makes no demand, seconds.
const DEMAND_TIME: f64 = 1.0;
/// Before one was measured.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// No growth of a queue that is so short is worth a decrease.
const SHORT_QUEUE: Duration = Duration::from_millis(10);
/// A queue of so little is none.
const CALM_QUEUE: Duration = Duration::from_millis(20);
/// After a decrease the path is given so long before it is probed.
const CALM: Duration = Duration::from_millis(800);
/// Nothing was heard for so long, though something was sent: less is sent, and again ...
const SILENCE: Duration = Duration::from_secs(3);
/// ... after each of these.
const SILENCE_INTERVAL: Duration = Duration::from_secs(1);
const SILENCE_FACTOR: f64 = 0.8;

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
    history: History,
    groups: Groups,
    trend: Trend,
    queue: QueueDelay,
    acknowledged: Acknowledged,
    rate: RateControl,
    loss: LossBased,
    reports: Reports,
    sending: Sending,
    probes: Probes,
    round_trip: Option<Duration>,
    connected: bool,
    /// Transport-wide feedback came last.
    heard: Option<Instant>,
    /// Something was sent that it should tell of.
    unheard: Option<Instant>,
    silenced: Option<Instant>,
    /// Packets since the last with a transport-wide number.
    unnumbered: u32,
    /// A standing queue was last seen.
    limit_seen: Option<Instant>,
    bursts: Bursts,
    /// bit/s, smoothed.
    demand: Option<(f64, Instant)>,
}

impl Bandwidth {
    pub(super) fn new(limits: BitrateLimits) -> Self {
        let limits = ordered(limits);
        Self {
            limits,
            history: History::default(),
            groups: Groups::default(),
            trend: Trend::default(),
            queue: QueueDelay::default(),
            acknowledged: Acknowledged::default(),
            rate: RateControl::new(start_of(&limits)),
            loss: LossBased::default(),
            reports: Reports::new(start_of(&limits)),
            sending: Sending::default(),
            probes: Probes::default(),
            round_trip: None,
            connected: false,
            heard: None,
            unheard: None,
            silenced: None,
            unnumbered: 0,
            limit_seen: None,
            bursts: Bursts::default(),
            demand: None,
        }
    }

    /// New bounds; a changed `start` begins anew. One that is only cut by another bound is the same.
    pub(super) fn set_limits(&mut self, limits: BitrateLimits, now: Instant) {
        let limits = ordered(limits);
        let before = std::mem::replace(&mut self.limits, limits);
        if limits.start != before.start {
            let start = start_of(&limits);
            self.rate = RateControl::new(start);
            self.reports = Reports::new(start);
            self.loss.reset();
            self.limit_seen = None;
            if self.connected {
                self.probes.start(start, limits.max as f64, now);
            }
        } else if limits.max > before.max && self.target() >= before.max / 20 * 19 {
            self.probes
                .raised(self.rate.current(), limits.max as f64, now);
        }
        self.clamp();
    }

    /// The connection is up (again): probing begins.
    pub(super) fn connected(&mut self, now: Instant) {
        if self.connected {
            // Another path, perhaps.
            self.groups = Groups::default();
            self.trend = Trend::default();
            self.queue.reset();
            self.acknowledged.reset();
            self.loss.reset();
            self.reports.forget_remote();
            (self.limit_seen, self.bursts) = (None, Bursts::default());
            (self.unheard, self.silenced) = (None, None);
        }
        self.connected = true;
        self.probes
            .start(self.rate.current(), self.limits.max as f64, now);
    }

    /// A packet left, in this order.
    pub(super) fn sent(&mut self, packet: Departure, now: Instant) {
        self.sending.sent(packet.size, self.target() as f64, now);
        if let Some(number) = packet.number {
            self.history.sent(number, packet.size, packet.probe, now);
            self.unheard.get_or_insert(now);
            self.unnumbered = 0;
        } else {
            self.unnumbered = self.unnumbered.saturating_add(1);
        }
    }

    /// Transport-wide feedback came.
    pub(super) fn feedback(&mut self, feedback: &TransportLayerCc, now: Instant) {
        let Some(news) = self.history.feedback(feedback, now) else {
            return;
        };
        self.heard = Some(now);
        self.unheard = None;
        self.silenced = None;
        if news.gap {
            self.acknowledged.reset();
        }
        let mut probed = None;
        let estimate = self.rate.current();
        for packet in &news.arrived {
            self.acknowledged.add(packet);
            match self.groups.add(packet.sent, packet.arrival, now) {
                Grouped::Pending => {}
                Grouped::Step(step) => self.trend.add(step, now),
                Grouped::Reset => {
                    self.trend = Trend::default();
                    self.queue.reset();
                    self.acknowledged.reset();
                }
            }
            probed = self.probes.arrived(packet, estimate).or(probed);
        }
        self.queue.add(&news.arrived, now);
        self.loss.add(news);
        self.round_trip = news.round_trip.or(self.round_trip);
        self.control(probed, now);
        self.consider_probe(now);
    }

    /// Sets the rate by what is known now.
    fn control(&mut self, probed: Option<f64>, now: Instant) {
        let usage = self.usage(now);
        // Of what is sent as much is lost as always: more may be sent than arrives.
        let arriving = 1.0 - self.loss.inherent();
        let arrived = self.acknowledged.bitrate();
        let acknowledged = arrived.map(|rate| rate / arriving);
        let before = self.rate.current();
        let input = rate::Input {
            usage,
            acknowledged,
            recent: self.acknowledged.recent().map(|rate| rate / arriving),
            queue: self.queue.delay(),
            round_trip: self.round_trip.unwrap_or(ROUND_TRIP),
            application_limited: self.sending.limited(),
        };
        match self.rate.update(&input, now) {
            Change::Decreased => self.probes.dropped(before, now),
            // Unless more is sent than was decided: then it is ours.
            Change::Stuck if self.sending.rate() < OBEYED * before => self.queue.rebase(),
            Change::None | Change::Increased | Change::Stuck => {}
        }
        if usage != Usage::Over {
            self.raise(probed, &input, now);
        }
        self.clamp();
        self.loss.update(
            &Known {
                delay_based: self.rate.current(),
                acknowledged: arrived,
                application_limited: input.application_limited,
                round_trip: input.round_trip,
            },
            now,
        );
        if self.loss.limiting() && self.loss.fraction() > MUCH_LOSS + self.loss.inherent() {
            self.limit_seen = Some(now);
        }
        self.note_bursts(now);
    }

    /// What the delay says, by its trend or by a queue that stands.
    fn usage(&mut self, now: Instant) -> Usage {
        let standing = self.queue.above(CONGESTED, now).unwrap_or_default();
        if standing >= CONGESTED_FOR {
            self.limit_seen = Some(now);
        }
        self.forget_limit(now);
        let full = self.queue.delay().is_some_and(|queue| queue >= STANDING);
        if full && standing >= STANDING_FOR && !self.rate.draining() {
            return Usage::Over;
        }
        let short = self.queue.delay().is_some_and(|queue| queue < SHORT_QUEUE);
        match self.trend.usage() {
            // Jitter, or what is smoothed and late.
            Usage::Over if short => Usage::Under,
            usage => usage,
        }
    }

    /// To what is known to come through.
    fn raise(&mut self, probed: Option<f64>, input: &rate::Input, now: Instant) {
        let before = self.rate.current();
        let max = self.limits.max as f64;
        if let Some(result) = probed.map(|result| result.min(max)) {
            if result > BOLD * before {
                self.probes.taken(before, now);
            }
            self.rate.probed(result, now);
            self.loss.probed(result);
            self.probes.found(result, self.useful(), max, now);
        }
        let follows = self
            .demand
            .is_none_or(|(demand, _)| demand <= UNDRIVEN * before);
        // Of an encoder that follows nobody: what comes through at once, the path carries.
        if let Some(acknowledged) = input.acknowledged
            && !follows
            && input.usage == Usage::Normal
            && input.queue.is_some_and(|queue| queue < CALM_QUEUE)
            && !self.rate.draining()
        {
            self.rate.probed(acknowledged, now);
        }
    }

    /// What could be made use of, bit/s: on a fast path each probe would find room for the next, twice
    /// as large, until one of many megabytes fills the socket of a receiver that stands still.
    fn useful(&self) -> f64 {
        let max = self.limits.max as f64;
        if self.limits.max < BitrateLimits::UNLIMITED {
            return max;
        }
        let demand = self.demand.map_or(0.0, |(demand, _)| demand);
        max.min(probe::WANTED * demand)
    }

    fn consider_probe(&mut self, now: Instant) {
        if !self.connected {
            return;
        }
        let decreased = self.rate.decreased();
        let calm = self.trend.usage() == Usage::Normal
            && !self.rate.draining()
            && self.queue.delay().is_some_and(|queue| queue < CALM_QUEUE)
            && decreased.is_none_or(|at| now.saturating_duration_since(at) > CALM);
        self.probes.consider(
            &Situation {
                estimate: self.target() as f64,
                max: self.limits.max as f64,
                wanted: self
                    .demand
                    .map_or(self.limits.max as f64, |(demand, _)| demand),
                application_limited: self.sending.limited(),
                calm,
                quiet: decreased.map_or(Duration::MAX, |at| now.saturating_duration_since(at)),
            },
            now,
        );
    }

    /// Never beyond the bounds, whatever was measured.
    fn clamp(&mut self) {
        let (min, max) = (self.limits.min as f64, self.limits.max as f64);
        self.rate.clamp(min, max);
        self.reports.clamp(min, max);
    }

    fn forget_limit(&mut self, now: Instant) {
        self.limit_seen = self
            .limit_seen
            .filter(|seen| now.saturating_duration_since(*seen) < CONGESTED_HOLD);
    }

    /// A receiver report came: `fraction` (0 to 1) of `packets` was lost. Of no interest where
    /// transport-wide feedback tells more.
    pub(super) fn loss(&mut self, fraction: f64, packets: u64, now: Instant) {
        if self.heard.is_some() {
            return;
        }
        let round_trip = self.round_trip.unwrap_or(ROUND_TRIP);
        self.reports
            .loss(fraction, packets, round_trip, self.sending.limited(), now);
        if self.reports.fraction() > MUCH_LOSS {
            self.limit_seen = Some(now);
        }
        self.forget_limit(now);
        self.note_bursts(now);
        self.clamp();
    }

    fn note_bursts(&mut self, now: Instant) {
        let (limit, loss) = (self.limit_seen.is_some(), self.loss_fraction());
        self.bursts.note(limit, loss, now);
    }

    /// A round trip was measured.
    pub(super) fn round_trip(&mut self, round_trip: Duration, _now: Instant) {
        if self.heard.is_none() {
            self.round_trip = Some(round_trip);
        }
    }

    /// The remote estimates so many bit/s (REMB); 0 is no estimate, as libwebrtc takes it.
    pub(super) fn remote_estimate(&mut self, bitrate: u64, now: Instant) {
        self.reports.remb(bitrate as f64, now);
        self.clamp();
    }

    /// What the encoders make, as far as they were told, bit/s, and what waits to leave, bytes:
    /// an estimate that nobody makes use of does not grow without a probe.
    pub(super) fn demand(&mut self, bitrate: u64, _queued: usize, now: Instant) {
        let bitrate = bitrate as f64;
        let smoothed = self.demand.map_or(bitrate, |(demand, at)| {
            let elapsed = now.saturating_duration_since(at).as_secs_f64();
            demand + (bitrate - demand) * (elapsed / DEMAND_TIME).min(1.0)
        });
        self.demand = Some((smoothed, now));
    }

    /// To be called at [`Self::poll_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.silence_over().is_some_and(|at| at <= now) {
            // Packets or feedback no longer come through.
            self.silenced = Some(now);
            // Only of what is sent from now on: who pauses is to hear nothing.
            self.unheard = None;
            let before = self.rate.current();
            self.rate.lower(SILENCE_FACTOR * before, now);
            self.probes.dropped(before, now);
            self.clamp();
        }
    }

    /// When too long nothing was heard of what is sent.
    fn silence_over(&self) -> Option<Instant> {
        // A remote that never gave feedback gives none.
        self.heard?;
        let patience = self.silenced.map_or(SILENCE, |_| SILENCE_INTERVAL);
        Some(self.unheard? + patience)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.silence_over()
    }

    /// All that may leave, bit/s.
    pub(super) fn target(&self) -> u64 {
        let estimate = if self.heard.is_some() {
            let delay_based = self.rate.current();
            delay_based.min(self.loss.bandwidth().unwrap_or(delay_based))
        } else {
            self.reports.estimate()
        };
        let remote = self.reports.remote().unwrap_or(f64::INFINITY);
        (estimate.min(remote) as u64).clamp(self.limits.min, self.limits.max)
    }

    /// The path showed its limit (delay grew, or much is lost): what is over the target only fills
    /// queues on the way. Otherwise the target is only what is known to fit.
    ///
    /// By a queue that stood for half a second, and for 10 s after: neither a key frame's burst
    /// nor a thread that runs late for some tens of milliseconds is a limit of the path.
    pub(super) fn congested(&self) -> bool {
        self.limit_seen.is_some()
    }

    /// The remote tells of what it gets, and nothing tells against sending a frame at once.
    pub(super) fn takes_bursts(&self) -> bool {
        (self.heard.is_some() || self.reports.is_heard()) && self.bursts.come_through()
    }

    /// Part of the packets that is lost, smoothed.
    pub(super) fn loss_fraction(&self) -> f64 {
        match self.heard {
            Some(_) => self.loss.fraction(),
            None => self.reports.fraction(),
        }
    }

    /// As last measured, by transport-wide feedback or by [`Self::round_trip`].
    pub(super) fn last_round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// A probe that should leave now; none where nobody would tell what became of it.
    pub(super) fn poll_probe(&mut self, _now: Instant) -> Option<Probe> {
        if self.unnumbered > UNNUMBERED {
            return None;
        }
        self.probes.poll()
    }
}
