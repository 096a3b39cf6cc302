// SPDX-License-Identifier: MPL-2.0
//! Congestion control of what leaves: numbers each packet for the remote's feedback, tells the
//! estimator of it, runs its probes, and says what the encoders may make.
//!
//! webrtc's `TwccSender` is not used: it numbers only the SSRCs it was told of, and leaves
//! retransmissions out, so that an estimator would take them for a path that carries less.

mod meter;

use std::time::{Duration, Instant};

use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtp;
use rtc::shared::marshal::MarshalSize;

use self::meter::{Meter, Rates};
use super::transport_wide;
use crate::peer::bandwidth::{Bandwidth, Departure, Probe};
use crate::peer::outbound::{Pacer, Pacing, Taken};
use crate::peer::{BitrateLimits, Estimate, PathStats};

/// SRTP authentication tag of the profiles in use (RFC 7714: 16, RFC 5764: 10).
const SRTP_TAG: usize = 16;
/// The round trip to a remote that counts as near, see [`Pacing::near`].
const NEAR: Duration = Duration::from_millis(2);
/// A probe that has nothing to be made of, or no time, ends after this.
const PROBE_PATIENCE: Duration = Duration::from_millis(200);
/// Nothing was sent for this long: nothing is probed, and nothing is told.
const IDLE: Duration = Duration::from_secs(2);
/// An estimate that stays is told this often, ...
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// ... and one that changed by more than this part at once, ...
const TELL_CHANGE: f64 = 0.03;
/// ... which is not more often than this: an encoder has to make something of it.
const TELL_LEAST: Duration = Duration::from_millis(50);
/// What is beyond so many times the media that is sent holds nobody: it need not be told at once.
const BEYOND: u64 = 2;
/// The encoders are told of, and the statistics show, rates no older than this.
const TICK: Duration = Duration::from_millis(100);
/// What waits for longer than this is to be made up for by the encoders, ...
const STANDING: Duration = Duration::from_millis(100);
/// ... within this.
const MAKE_UP: Duration = Duration::from_millis(500);
/// Encoders keep this part of the target, whatever repairs and queues would take.
const LEAST_MEDIA: f64 = 0.5;
/// Bytes by which repairs and what they share the pace with may be ahead of each other.
const TURN: i64 = 16_000;
/// SSRCs at a time: of each m-line its own, its retransmissions' and its FEC's.
const MAX_SOURCES: usize = 256;

/// What rtc-rtcp 0.21 reads a REMB of zero as, bit/s: it puts exponent and mantissa together to a
/// float, in which a mantissa of zero is a one.
const REMB_ZERO: f32 = 8_388_608.0;

/// What a packet is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Media, for the first time.
    Media,
    /// Repair: retransmissions and FEC.
    Repair,
    /// Padding of a probe.
    Probe,
}

/// One of our sources.
struct OwnSource {
    ssrc: u32,
    /// The media it belongs to; its own, if it is media.
    of: u32,
    /// Id of the transport-wide number.
    number: Option<u8>,
    /// Last packet that a report told of.
    highest: Option<u32>,
}

/// A [`Probe`] under way.
struct Running {
    probe: Probe,
    packets: usize,
    bytes: usize,
    until: Instant,
}

/// See the module.
#[derive(Default)]
pub(super) struct Congestion {
    pub(super) pacer: Pacer,
    /// `None`: what is pushed is sent.
    bandwidth: Option<Bandwidth>,
    limits: Option<BitrateLimits>,
    sources: Vec<OwnSource>,
    next_number: u16,
    probe: Option<Running>,
    up: bool,
    meter: Meter,
    rates: Rates,
    last_sent: Option<Instant>,
    told: Option<(Estimate, Instant)>,
    /// Payload that waits to leave, bytes, and for how long.
    waiting: (usize, Duration),
    /// Bytes of repairs less those of media, while both waited to leave.
    repairs_ahead: i64,
    /// No video waits.
    idle: bool,
    /// When what waits may leave.
    pub(super) due: Option<Instant>,
}

impl Congestion {
    /// New bounds.
    pub(super) fn set_limits(&mut self, limits: BitrateLimits, now: Instant) {
        if self.limits == Some(limits) {
            return;
        }
        self.limits = Some(limits);
        if !limits.adaptive {
            self.bandwidth = None;
            self.probe = None;
            self.told = None;
        } else if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.set_limits(limits, now);
        } else if self.up {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let Some(limits) = self.limits.filter(|limits| limits.adaptive) else {
            return;
        };
        let mut bandwidth = Bandwidth::new(limits);
        bandwidth.connected(now);
        self.bandwidth = Some(bandwidth);
    }

    /// ICE began anew: what is known may be of another path.
    pub(super) fn another_path(&mut self, now: Instant) {
        self.probe = None;
        self.pacer.forgive();
        if let Some(bandwidth) = &mut self.bandwidth {
            bandwidth.connected(now);
        }
    }

    /// A source of ours, the media that it is or repairs, and the id of the transport-wide number
    /// if the remote takes one.
    pub(super) fn bind(&mut self, ssrc: u32, of: u32, number: Option<u8>) {
        self.sources.retain(|source| source.ssrc != ssrc);
        if self.sources.len() < MAX_SOURCES {
            self.sources.push(OwnSource {
                ssrc,
                of,
                number,
                highest: None,
            });
        }
    }

    /// The media of `ssrc` is over, and what repaired it.
    pub(super) fn unbind(&mut self, ssrc: u32) {
        self.sources.retain(|source| source.of != ssrc);
    }

    /// What packets of `ssrc` are for, if nothing else says it.
    pub(super) fn purpose(&self, ssrc: u32) -> Purpose {
        let mut sources = self.sources.iter();
        match sources.find(|source| source.ssrc == ssrc) {
            Some(source) if source.of != ssrc => Purpose::Repair,
            _ => Purpose::Media,
        }
    }

    /// Something was sent.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Before packets are taken: `flowing` if there are any. Sets the pace.
    pub(super) fn prepare(&mut self, flowing: bool, path: Option<Duration>, now: Instant) {
        if flowing && !self.up {
            // Not before: the first frame is a good probe, and who only receives needs no estimate.
            self.up = true;
            self.begin(now);
        }
        let Some(bandwidth) = &mut self.bandwidth else {
            self.pacer.set(Pacing::default(), now);
            return;
        };
        if self.probe.as_ref().is_some_and(|probe| now >= probe.until) {
            self.probe = None;
        }
        let active = flowing || !is_over(self.last_sent, IDLE, now);
        if self.probe.is_none() && self.up && active {
            self.probe = bandwidth.poll_probe(now).map(|probe| Running {
                packets: probe.packets,
                bytes: probe.bytes,
                until: now + PROBE_PATIENCE,
                probe,
            });
        }
        let target = bandwidth.target();
        let most = self.limits.map_or(u64::MAX, |limits| limits.max);
        let pacing = Pacing {
            target,
            // At the most that the user allows nothing is known of what the path carries above it:
            // a film that is above it is not to suffer from that.
            limited: bandwidth.congested() && target < most,
            clear: bandwidth.takes_bursts(),
            near: path.is_some_and(|round_trip| round_trip < NEAR),
            probe: self.probe.as_ref().map(|running| running.probe.rate),
        };
        self.pacer.set(pacing, now);
    }

    /// Whether padding should leave now, as a probe is under way and media does not fill it.
    pub(super) fn wants_padding(&self, now: Instant) -> bool {
        self.probe.is_some() && self.idle && self.pacer.may_leave(now)
    }

    /// Padding that is to leave later is a reason to come again.
    pub(super) fn come_for_padding(&mut self, now: Instant) {
        if self.probe.is_some() && self.idle {
            let next = self.pacer.next(now);
            self.due = Some(self.due.map_or(next, |due| due.min(next)));
        }
    }

    /// Sources of ours that are no repairs.
    pub(super) fn media(&self) -> impl Iterator<Item = u32> {
        let media = self
            .sources
            .iter()
            .filter(|source| source.of == source.ssrc);
        media.map(|source| source.ssrc)
    }

    /// Whether repairs are to leave before video that waits. They are late already, but what is
    /// asked for is up to the remote: half of the pace is enough.
    pub(super) fn is_turn_of_repairs(&self) -> bool {
        self.pacer.is_free() || self.waiting.0 == 0 || self.repairs_ahead <= 0
    }

    /// A repair of `bytes` left by the pace.
    pub(super) fn repaired(&mut self, bytes: usize, now: Instant) {
        // Without congestion control the pace is that of media alone.
        if !self.pacer.is_free() {
            self.pacer.left(bytes, now);
            let bytes = i64::try_from(bytes).unwrap_or(TURN);
            self.repairs_ahead = (self.repairs_ahead + bytes).min(TURN);
        }
    }

    /// What is left after all that could was taken.
    pub(super) fn left_behind(&mut self, taken: &Taken, now: Instant) {
        let charged = i64::try_from(taken.charged).unwrap_or(TURN);
        self.repairs_ahead = (self.repairs_ahead - charged).max(-TURN);
        // What is left of the pace is of no use to video.
        if taken.waiting == 0 || self.pacer.may_leave(now) {
            self.repairs_ahead = self.repairs_ahead.min(0);
        }
        self.waiting = (taken.waiting, taken.age);
        self.idle = taken.empty;
        self.due = taken.due;
    }

    /// A packet leaves: numbers it and takes it into account. Gives its size on the wire, without
    /// IP and UDP headers.
    pub(super) fn departs(
        &mut self,
        packet: &mut rtp::Packet,
        purpose: Purpose,
        now: Instant,
    ) -> usize {
        let number = self.number(&mut packet.header);
        self.account(packet, number, purpose, now)
    }

    /// A packet leaves once more under its own number, as it is: [`Self::departs`] without a new
    /// transport-wide number.
    pub(super) fn repeats(&mut self, packet: &rtp::Packet, now: Instant) -> usize {
        self.account(packet, None, Purpose::Repair, now)
    }

    fn account(
        &mut self,
        packet: &rtp::Packet,
        number: Option<u16>,
        purpose: Purpose,
        now: Instant,
    ) -> usize {
        let size = packet.header.marshal_size() + packet.payload.len() + SRTP_TAG;
        self.meter.add(purpose, packet.payload.len(), size);
        self.last_sent = Some(now);
        let Some(bandwidth) = &mut self.bandwidth else {
            return size;
        };
        let probe = self.probe.as_mut().map(|running| {
            running.packets = running.packets.saturating_sub(1);
            running.bytes = running.bytes.saturating_sub(size);
            running.probe.id
        });
        let departure = Departure {
            number,
            size,
            probe,
        };
        bandwidth.sent(departure, now);
        if let Some(running) = &self.probe
            && running.packets == 0
            && running.bytes == 0
        {
            self.probe = None;
        }
        size
    }

    fn number(&mut self, header: &mut rtp::header::Header) -> Option<u16> {
        let mut sources = self.sources.iter();
        let id = sources.find(|source| source.ssrc == header.ssrc)?.number?;
        let number = self.next_number;
        let value = transport_wide::on_the_wire(number);
        if let Err(error) = header.set_extension(id, value) {
            log::debug!(target: "rswebrtc::peer", "not numbered: {error}");
            return None;
        }
        self.next_number = number.wrapping_add(1);
        Some(number)
    }

    /// What a compound packet of the remote's says about what it gets of us.
    pub(super) fn read(
        &mut self,
        packets: &[Box<dyn rtcp::Packet>],
        round_trip: Option<Duration>,
        now: Instant,
    ) {
        let Some(bandwidth) = &mut self.bandwidth else {
            return;
        };
        if let Some(round_trip) = round_trip {
            bandwidth.round_trip(round_trip, now);
        }
        for packet in packets {
            let any = packet.as_any();
            if let Some(feedback) = any.downcast_ref::<TransportLayerCc>() {
                bandwidth.feedback(feedback, now);
            } else if let Some(remb) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
                let bitrate = remb.bitrate;
                log::trace!(target: "rswebrtc::peer", "the remote allows {bitrate} bit/s");
                if bitrate == REMB_ZERO {
                    bandwidth.remote_estimate(0, now);
                } else if bitrate.is_finite() && bitrate >= 0.0 {
                    bandwidth.remote_estimate(bitrate as u64, now);
                }
            } else if let Some(report) = any.downcast_ref::<ReceiverReport>() {
                report_loss(&mut self.sources, bandwidth, &report.reports, now);
            } else if let Some(report) = any.downcast_ref::<SenderReport>() {
                report_loss(&mut self.sources, bandwidth, &report.reports, now);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(bandwidth) = &mut self.bandwidth
            && bandwidth.poll_timeout().is_some_and(|at| at <= now)
        {
            bandwidth.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let bandwidth = self.bandwidth.as_ref().filter(|_| self.up);
        let told = self.told.as_ref();
        let told = told.map(|(_, at)| *at + TELL_AGAIN + TELL_LEAST);
        // Who sends nothing has nothing to tell.
        let told = told
            .zip(self.last_sent)
            .filter(|(at, sent)| *at < *sent + IDLE);
        let probe = self.probe.as_ref().map(|running| running.until);
        let times = [
            bandwidth.and_then(Bandwidth::poll_timeout),
            told.map(|(at, _)| at),
            probe,
            self.due,
        ];
        times.into_iter().flatten().min()
    }

    /// What is to be told and shown now, if anything is: the estimate, and the path's statistics.
    pub(super) fn report(&mut self, now: Instant) -> (Option<Estimate>, Option<PathStats>) {
        let rates = self.meter.rates(now, TICK);
        self.rates = rates.unwrap_or(self.rates);
        if let (Some(bandwidth), true) = (&mut self.bandwidth, rates.is_some()) {
            bandwidth.demand(self.rates.media, self.waiting.0, now);
        }
        let estimate = self.estimate(now);
        let told = estimate.filter(|estimate| self.up && self.is_news(estimate, now));
        if let Some(estimate) = told {
            self.told = Some((estimate, now));
        }
        let stats = (rates.is_some() || told.is_some()).then(|| PathStats {
            estimate,
            sending_bitrate: self.rates.total,
            queue_delay: self.waiting.1,
            round_trip: estimate.and_then(|e| e.round_trip),
        });
        (told, stats)
    }

    fn is_news(&self, estimate: &Estimate, now: Instant) -> bool {
        let Some((told, at)) = &self.told else {
            return true;
        };
        let change = estimate.media.abs_diff(told.media) as f64;
        let of_use = self.rates.media.saturating_mul(BEYOND);
        let congested = self.bandwidth.as_ref().is_some_and(Bandwidth::congested);
        let holds = congested || told.media.min(estimate.media) <= of_use;
        let changed = holds && change > told.media as f64 * TELL_CHANGE && now >= *at + TELL_LEAST;
        // Encoders are held by it, which is of no use when it comes late.
        let waits = estimate.queued_until.is_some_and(|at| at > now + STANDING);
        let waited = told.queued_until.is_some_and(|at| at > now + STANDING);
        let wait = if waits || waited {
            TELL_LEAST
        } else {
            TELL_AGAIN
        };
        changed || now >= *at + wait
    }

    fn estimate(&self, now: Instant) -> Option<Estimate> {
        let bandwidth = self.bandwidth.as_ref()?;
        let total = bandwidth.target();
        let mut media = total as f64 - self.rates.repair as f64;
        if bandwidth.congested() {
            let standing = total as f64 / 8.0 * STANDING.as_secs_f64();
            let excess = (self.waiting.0 as f64 - standing).max(0.0);
            media -= excess * 8.0 / MAKE_UP.as_secs_f64();
        }
        let media = media.max(total as f64 * LEAST_MEDIA) * self.rates.payload_part;
        Some(Estimate {
            total,
            media: media as u64,
            loss: bandwidth.loss_fraction(),
            round_trip: bandwidth.last_round_trip(),
            queued_until: Some(now + self.pacer.time_for(self.waiting.0))
                .filter(|at| *at > now && self.pacer.is_limited()),
        })
    }
}

fn is_over(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    since.is_none_or(|at| now.saturating_duration_since(at) >= time)
}

/// Receiver reports (RFC 3550 section 6.4.1) about sources of ours.
fn report_loss(
    sources: &mut [OwnSource],
    bandwidth: &mut Bandwidth,
    blocks: &[ReceptionReport],
    now: Instant,
) {
    for block in blocks {
        let Some(source) = sources.iter_mut().find(|s| s.ssrc == block.ssrc) else {
            continue;
        };
        let highest = block.last_sequence_number;
        let former = source.highest.replace(highest);
        let packets = former.map_or(0, |former| highest.wrapping_sub(former));
        // What went back is a remote that began anew; its next report can be used.
        if packets > 0 && packets < u32::MAX / 2 {
            let fraction = f64::from(block.fraction_lost) / 256.0;
            bandwidth.loss(fraction, u64::from(packets), now);
        }
    }
}

#[cfg(test)]
mod tests;
