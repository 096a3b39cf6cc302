// SPDX-License-Identifier: MPL-2.0
//! What the remote's RTCP says about our streams and its own (RFC 3550, 4585, 5104).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::rtcp::Packet;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::by_ssrc::BySsrc;
use crate::media::rtp_packet::Inbound;
use crate::peer::PeerEvent;
use crate::peer::shared::Shared;

/// Sender reports whose time is remembered per stream, for the round-trip time.
const REPORTS: usize = 16;

/// A key frame that was asked for is there by then, if it was not lost.
const INTRA_REQUEST_LASTS: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct RtcpTap {
    shared: Arc<Shared>,
    reports: HashMap<usize, VecDeque<(u32, Instant)>>,
    intra_requests: HashMap<usize, (u8, Instant)>,
    gone: Vec<u32>,
    /// As a report just told.
    pub(super) round_trip: Option<Duration>,
}

impl RtcpTap {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            reports: HashMap::new(),
            intra_requests: HashMap::new(),
            gone: Vec::new(),
            round_trip: None,
            shared,
        }
    }

    /// A compound packet that came in.
    pub(super) fn read(
        &mut self,
        packets: &[Box<dyn Packet>],
        now: Instant,
        routes: &BySsrc<usize>,
        primaries: &[Option<u32>],
    ) {
        for packet in packets {
            let any = packet.as_any();
            if let Some(report) = any.downcast_ref::<ReceiverReport>() {
                report
                    .reports
                    .iter()
                    .for_each(|block| self.report(block, now));
            } else if let Some(report) = any.downcast_ref::<SenderReport>() {
                report
                    .reports
                    .iter()
                    .for_each(|block| self.report(block, now));
                self.pass_on(report.ssrc, packets, routes);
            } else if let Some(request) = any.downcast_ref::<PictureLossIndication>() {
                if let Some(stream) = self.shared.outbound.stream_of(request.media_ssrc) {
                    let dropped = self.shared.outbound.picture_lost(stream, now);
                    self.shared.count_sent(stream, |stats| {
                        stats.pli_count += 1;
                        stats.frames_dropped += dropped;
                    });
                    self.shared.events.tell(PeerEvent::KeyFrameRequest(stream));
                }
            } else if let Some(request) = any.downcast_ref::<FullIntraRequest>() {
                self.intra_request(request, now);
            } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
                if let Some(stream) = self.shared.outbound.stream_of(nack.media_ssrc) {
                    let mut round_trip = None;
                    self.shared.count_sent(stream, |stats| {
                        stats.nack_count += 1;
                        round_trip = stats.round_trip_time;
                    });
                    let round_trip = Duration::from_secs_f64(round_trip.unwrap_or_default());
                    self.shared.outbound.missing(stream, now, round_trip);
                }
            } else if let Some(goodbye) = any.downcast_ref::<Goodbye>() {
                self.goodbye(&goodbye.sources, primaries);
            }
        }
    }

    /// A compound packet that goes out.
    pub(super) fn written(
        &mut self,
        packets: &[Box<dyn Packet>],
        now: Instant,
        routes: &BySsrc<usize>,
    ) {
        for packet in packets {
            let any = packet.as_any();
            if let Some(report) = any.downcast_ref::<SenderReport>() {
                if let Some(stream) = self.shared.outbound.stream_of(report.ssrc) {
                    let reports = self.reports.entry(stream).or_default();
                    if reports.len() >= REPORTS {
                        reports.pop_front();
                    }
                    reports.push_back(((report.ntp_time >> 16) as u32, now));
                }
            } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>()
                && let Some(stream) = routes.get(&nack.media_ssrc)
            {
                self.shared.count(*stream, |stats| stats.nack_count += 1);
            }
        }
    }

    /// How one of our streams arrives.
    fn report(&mut self, block: &ReceptionReport, now: Instant) {
        let Some(stream) = self.shared.outbound.stream_of(block.ssrc) else {
            return;
        };
        let clock_rate = self.shared.outbound.clock_rate(stream);
        let round_trip = self.round_trip(stream, block, now);
        self.round_trip = round_trip.map(Duration::from_secs_f64).or(self.round_trip);
        self.shared.count_sent(stream, |stats| {
            // 24 bits, signed.
            stats.packets_lost = i64::from((block.total_lost << 8) as i32 >> 8);
            stats.jitter = clock_rate.map(|rate| f64::from(block.jitter) / f64::from(rate));
            stats.round_trip_time = round_trip.or(stats.round_trip_time);
        });
        let loss = f64::from(block.fraction_lost) / 256.0;
        self.shared.outbound.reported_loss(stream, loss);
        self.shared
            .outbound
            .acknowledge(stream, block.last_sequence_number, now);
    }

    fn round_trip(&self, stream: usize, block: &ReceptionReport, now: Instant) -> Option<f64> {
        let reports = self.reports.get(&stream)?;
        let (_, sent) = reports
            .iter()
            .rev()
            .find(|(time, _)| *time == block.last_sender_report)?;
        let held = Duration::from_secs_f64(f64::from(block.delay) / 65536.0);
        let round_trip = now.saturating_duration_since(*sent).saturating_sub(held);
        Some(round_trip.as_secs_f64())
    }

    fn pass_on(&self, ssrc: u32, packets: &[Box<dyn Packet>], routes: &BySsrc<usize>) {
        let lines = self.shared.lines();
        let declared = || lines.iter().position(|l| l.declared.ssrcs.contains(&ssrc));
        let stream = routes.get(&ssrc).copied().or_else(declared);
        let Some(line) = stream.and_then(|stream| lines.get(stream)) else {
            return;
        };
        // Of several layers only what goes on is told, as what it goes on as.
        if !line.config.layers.is_empty() {
            return;
        }
        if let Ok(bytes) = rtc::rtcp::packet::marshal(packets) {
            line.inbound.push(Inbound::SenderReport(bytes.into()));
        }
    }

    fn intra_request(&mut self, request: &FullIntraRequest, now: Instant) {
        for entry in &request.fir {
            let Some(stream) = self.shared.outbound.stream_of(entry.ssrc) else {
                continue;
            };
            let number = entry.sequence_number;
            // RFC 5104 section 4.3.1.1: the same number is the same request, repeated. One that is
            // still repeated later says that its key frame did not arrive.
            let same = |(known, then): &&(u8, Instant)| {
                *known == number && now.saturating_duration_since(*then) < INTRA_REQUEST_LASTS
            };
            if self.intra_requests.get(&stream).filter(same).is_some() {
                continue;
            }
            self.intra_requests.insert(stream, (number, now));
            self.shared.count_sent(stream, |stats| stats.fir_count += 1);
            self.shared.events.tell(PeerEvent::KeyFrameRequest(stream));
        }
    }

    /// A source that said BYE sends again.
    pub(super) fn came_back(&mut self, ssrc: u32) {
        if !self.gone.is_empty() {
            self.gone.retain(|gone| *gone != ssrc);
        }
    }

    fn goodbye(&mut self, sources: &[u32], primaries: &[Option<u32>]) {
        let mut seen = primaries.iter().flatten().peekable();
        if seen.peek().is_none() {
            return;
        }
        let before = self.gone.len();
        for ssrc in sources {
            if primaries.contains(&Some(*ssrc)) && !self.gone.contains(ssrc) {
                self.gone.push(*ssrc);
            }
        }
        let lines = self.shared.lines();
        if lines.iter().any(|line| line.config.direction.sends()) {
            if self.gone.len() > before && seen.all(|ssrc| self.gone.contains(ssrc)) {
                self.shared.events.tell(PeerEvent::StreamsOver);
            }
            return;
        }
        if seen.all(|ssrc| self.gone.contains(ssrc))
            && !self.shared.remote_left.swap(true, Ordering::AcqRel)
        {
            self.shared
                .events
                .tell(PeerEvent::RemoteClosed { said_bye: true });
            self.shared.left.notify_one();
        }
    }
}
