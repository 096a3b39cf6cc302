// SPDX-License-Identifier: MPL-2.0
//! The receiving half of the [`MediaPath`]: from SRTP to the streams' queues, and what is asked of
//! the remote on the way.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::interceptor::Packet;
use rtc::rtcp;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp;
use rtc::shared::error::Error;
use rtc::shared::marshal::{Marshal, MarshalSize};

use super::key_frames::KeyFrames;
use super::media_path::MediaPath;
use super::nack::{How, Requests};
use super::routing::Route;
use super::rtx_unwrap;
use super::source::{Arrival, Source};
use crate::media::codec::MediaKind;
use crate::media::header_extension::{AbsSendTime, HeaderExtension};
use crate::media::rtp_packet::{Inbound, InboundPacket, SOURCE_IS_SILENT};
use crate::peer::shared::{Line, lock};

/// Pairs in one NACK, which has to fit into a datagram.
const PAIRS: usize = 250;

/// A packet as the remote first sent it, on its way to the reader.
pub(super) struct Incoming {
    packet: rtp::Packet,
    /// Header and payload as they were on the wire, where the header still says the same.
    wire: Option<Bytes>,
}

impl From<rtp::Packet> for Incoming {
    fn from(packet: rtp::Packet) -> Self {
        Self { packet, wire: None }
    }
}

impl MediaPath {
    /// An RTP packet came. `wire` is all of it as it was then, without padding: its header need not be
    /// written anew for the reader.
    ///
    /// # Errors
    ///
    /// What webrtc's recorder of arrivals says.
    pub(in crate::peer) fn read_rtp(
        &mut self,
        mut packet: rtp::Packet,
        wire: Option<Bytes>,
        now: Instant,
    ) -> Result<(), Error> {
        self.refresh();
        let wire_size = packet.marshal_size();
        self.arrivals.note(&packet.header, wire_size, now)?;
        let Some(route) = self.route(&packet.header) else {
            return Ok(());
        };
        let Route {
            stream,
            payload_type,
            repair,
        } = route;
        if let Some(remb) = &mut self.remb {
            let line = self.lines.get(stream).map(|line| &line.config);
            let id = line.and_then(|config| config.extension(HeaderExtension::AbsSendTime));
            let sent = id.and_then(|id| packet.header.get_extension(id));
            let sent = sent.and_then(|bytes| AbsSendTime::from_bytes(&bytes));
            remb.arrived(wire_size, sent, now);
        }
        if let Some(came) = self.came.get_mut(stream) {
            came.packets += 1;
            came.bytes += packet.payload.len() as u64;
            came.resent += u64::from(repair);
            self.has_come = true;
        }
        if repair {
            let Some(ssrc) = self.repaired_by(&packet.header, stream) else {
                return Ok(());
            };
            if !rtx_unwrap::unwrap(&mut packet, ssrc, payload_type) {
                return Ok(());
            }
        }
        let how = if repair { How::Resent } else { How::Sent };
        if self.is_fec(stream, packet.header.payload_type) {
            return self.read_fec(stream, packet, how, now);
        }
        let wire = wire.filter(|_| !repair);
        self.take(stream, Incoming { packet, wire }, how, now)
    }

    /// A packet of stream `stream`, as the remote first sent it, however it came.
    pub(super) fn take(
        &mut self,
        stream: usize,
        incoming: impl Into<Incoming>,
        how: How,
        now: Instant,
    ) -> Result<(), Error> {
        let incoming = incoming.into();
        let packet = &incoming.packet;
        self.bind(stream, &packet.header, now);
        if how == How::Sent && !packet.payload.is_empty() {
            self.may_come_back(stream, packet.header.ssrc, now);
        }
        let Some(source) = self.sources.get_mut(&packet.header.ssrc) else {
            return Ok(());
        };
        let sequence = packet.header.sequence_number;
        if how != How::Sent && source.is_restart(sequence) {
            return Ok(());
        }
        let arrival = source.accept(sequence);
        let mut repaired = how != How::Sent;
        if !repaired && !matches!(arrival, Arrival::Again(_)) {
            source.came = now;
        }
        match (arrival, &mut source.requests) {
            (Arrival::Next { number, skipped }, Some(requests)) => {
                let marker = packet.header.marker;
                requests.came(number, skipped, marker, how, now, &self.answers);
            }
            (Arrival::Late(number), Some(requests)) => {
                repaired = requests.found(number, how, now, &mut self.answers);
            }
            (Arrival::Again(number), Some(requests)) if how == How::Resent => {
                requests.needless(number);
            }
            (Arrival::Restart(_), Some(requests)) => requests.restart(),
            _ => {}
        }
        let new = !matches!(arrival, Arrival::Again(_));
        source.look_for_key_frame(arrival, packet, now);
        // Reports are about the path: what had to be repaired was lost on it.
        if !repaired {
            self.receiver_reports.came(now);
            source.report(arrival);
        }
        self.answers.hint = self.shared.path_round_trip();
        // Of several layers those of the one that goes on.
        let counts = match self.layers.get(stream) {
            Some(Some(_)) => self.primaries.get(stream) == Some(&Some(packet.header.ssrc)),
            _ => true,
        };
        if let Some(came) = self.came.get_mut(stream).filter(|_| counts) {
            came.lost = Some(source.lost());
            if !repaired && new {
                came.jitter = Some(source.arrived(packet.header.timestamp, now));
            }
            came.round_trip = self.answers.known();
            came.duplicated += u64::from(!new);
            came.repaired += u64::from(new && repaired);
            came.recovered += u64::from(new && how == How::Recovered);
        }
        if matches!(arrival, Arrival::Restart(_)) {
            self.layer_begins(stream, packet.header.ssrc);
        }
        if new {
            let gained = self.protected(stream, packet, how, now);
            // A repair without media repairs nothing, whatever number it has.
            if how == How::Sent || !packet.payload.is_empty() {
                self.deliver(stream, incoming, now);
            }
            self.gain(stream, gained, now)?;
        }
        Ok(())
    }

    /// Puts `packet` into its stream's queue.
    pub(super) fn deliver(&mut self, stream: usize, incoming: impl Into<Incoming>, now: Instant) {
        let Incoming { packet, wire } = incoming.into();
        let rtp::Packet {
            mut header,
            payload,
        } = packet;
        let Some(line) = self.lines.get(stream) else {
            return;
        };
        // Padding, or FEC among video: its number goes on, or the reader would wait for it; whoever
        // finds the frames takes it out. Nobody pads audio.
        if payload.is_empty() && line.config.kind == MediaKind::Audio {
            return;
        }
        let layered = matches!(self.layers.get(stream), Some(Some(_)));
        let (output, changed) = if layered {
            match self.select(stream, &mut header, &payload, now) {
                Some(place) => place,
                None => return,
            }
        } else {
            (0, false)
        };
        let wire = wire.filter(|_| !changed);
        let written = || {
            header.padding = false;
            header.marshal().map(BytesMut::freeze).ok()
        };
        let begins = |whole: &Bytes| whole.slice(..whole.len().saturating_sub(payload.len()));
        let kept = wire.as_ref().map(begins);
        if let (Some(header), Some(came)) = (kept.or_else(written), self.came.get_mut(stream)) {
            came.items_of(output).push(Inbound::Rtp(InboundPacket {
                arrival: now,
                header,
                payload,
                whole: wire,
            }));
            self.has_come = true;
        }
    }

    /// Makes a new source known.
    fn bind(&mut self, stream: usize, header: &rtp::header::Header, now: Instant) {
        if self.sources.contains_key(&header.ssrc) {
            return;
        }
        let room = self.routes.contains_key(&header.ssrc) || !self.is_full();
        let lines = self.lines.clone();
        let Some(line) = lines.get(stream).filter(|_| room) else {
            return;
        };
        let mut codecs = line.config.codecs.iter();
        let Some(codec) = codecs.find(|codec| codec.payload_type == header.payload_type) else {
            return;
        };
        if !self.bind_layer(stream, header) {
            return;
        }
        let mut source = Source::new(stream, codec.clock_rate, header.sequence_number, now);
        if codec.feedback.iter().any(|feedback| feedback == "nack") {
            let rtx = codec.rtx_payload_type.is_some();
            source.requests = Some(Requests::new(rtx, codec.kind));
        }
        source.key_frames = KeyFrames::new(codec, header.timestamp);
        self.sources.insert(header.ssrc, source);
        self.routes.insert(header.ssrc, stream);
        let layered = matches!(self.layers.get(stream), Some(Some(_)));
        if let Some(primary) = self.primaries.get_mut(stream)
            && (!layered || primary.is_none())
        {
            *primary = Some(header.ssrc);
        }
        self.tell_source(stream, header.ssrc);
        log::debug!(target: "rswebrtc::peer", "stream {stream} receives {} as {}", codec.name, header.ssrc);
    }

    /// The remote may go back to a source that it sent with before: key frames are asked of the one
    /// that sends.
    fn may_come_back(&mut self, stream: usize, ssrc: u32, now: Instant) {
        let Some(Some(primary)) = self.primaries.get(stream) else {
            return;
        };
        if *primary == ssrc || matches!(self.layers.get(stream), Some(Some(_))) {
            return;
        }
        let silent = self
            .sources
            .get(primary)
            .is_none_or(|source| now.saturating_duration_since(source.came) >= SOURCE_IS_SILENT);
        if silent && let Some(primary) = self.primaries.get_mut(stream) {
            *primary = Some(ssrc);
            self.tell_source(stream, ssrc);
        }
    }

    /// Notes what stream `stream` is received as.
    fn tell_source(&self, stream: usize, ssrc: u32) {
        let line = self.lines.get(stream);
        let mut rtx = line.into_iter().flat_map(|line| line.declared.rtx.iter());
        let rtx = rtx.find(|(_, media)| *media == ssrc).map(|(rtx, _)| *rtx);
        self.count(stream, |stats| {
            stats.ssrc = ssrc;
            stats.rtx_ssrc = rtx.unwrap_or_default();
        });
    }

    /// A compound packet came.
    pub(in crate::peer) fn read_rtcp(&mut self, packets: &[Box<dyn rtcp::Packet>], now: Instant) {
        self.refresh();
        // A sender report comes behind what came before it.
        self.flush();
        let sources = self.current_sources();
        self.tap.read(packets, now, &self.routes, &sources);
        let round_trip = self.tap.round_trip.take();
        self.congestion.read(packets, round_trip, now);
        for packet in packets {
            // Receiver reports answer sender reports.
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>()
                && let Some(source) = self.sources.get_mut(&report.ssrc)
            {
                source.reception.sender_report(report.ntp_time, now);
                self.pass_report(report);
            }
            if let Some(goodbye) = packet.as_any().downcast_ref::<Goodbye>() {
                self.layers_stop(&goodbye.sources);
            }
            if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                let stream = self.shared.outbound.stream_of(nack.media_ssrc);
                let line = stream.and_then(|stream| self.lines.get(stream));
                let round_trip = line.and_then(|line| lock(&line.stats).round_trip_time);
                let round_trip = round_trip.map(Duration::from_secs_f64);
                self.history.asked(nack, now, round_trip);
            }
            if let Some(request) = packet.as_any().downcast_ref::<PictureLossIndication>() {
                self.history.given_up(request.media_ssrc);
            }
        }
    }

    /// Whether the remote is told what the path carries: where a video line has REMB, and none
    /// transport-wide feedback.
    pub(super) fn bind_remb(&mut self) {
        let receives = |line: &&Line| line.config.direction.receives();
        let has = |name: &str| {
            let mut lines = self.lines.iter().filter(receives);
            lines.any(|line| line.has_feedback(name))
        };
        if has("goog-remb") && !has("transport-cc") {
            self.remb.get_or_insert_default();
        } else {
            self.remb = None;
        }
    }

    fn fill_remb(&mut self, now: Instant) {
        let Some(bitrate) = self.remb.as_mut().and_then(|remb| remb.poll(now)) else {
            return;
        };
        let ssrcs: Vec<u32> = self.primaries.iter().copied().flatten().collect();
        let remb = ReceiverEstimatedMaximumBitrate {
            sender_ssrc: self.shared.outbound.ssrcs(0).0,
            bitrate: bitrate as f32,
            ssrcs,
        };
        self.write(now, Packet::Rtcp(vec![Box::new(remb)]));
    }

    /// When there is something to ask of the remote.
    pub(super) fn requests_due(&self) -> Option<Instant> {
        let due = |source: &Source| {
            let packets = source.requests.as_ref().and_then(Requests::next);
            let picture = source.key_frames.as_ref().and_then(KeyFrames::next);
            [packets, picture].into_iter().flatten().min()
        };
        self.sources.values().filter_map(due).min()
    }

    /// Asks the remote for what is missing, once for all of a source.
    pub(super) fn fill_requests(&mut self, now: Instant) {
        self.fill_remb(now);
        self.ask_for_layers(now);
        if self.requests_due().is_none_or(|due| now < due) {
            return;
        }
        let mut nacks = Vec::new();
        let mut key_frames = Vec::new();
        let round_trip = self.answers.expected();
        let mut sources = std::mem::take(&mut self.sources);
        for (ssrc, source) in &mut sources {
            let Some(line) = self.lines.get(source.stream) else {
                continue;
            };
            let output = self.output_of(source.stream, *ssrc);
            let patience = line.inbound.patience();
            let requests = source.requests.as_mut();
            if let Some(due) = requests.and_then(|r| r.poll(now, &self.answers, patience)) {
                // Of a layer that does not go on nothing is missing.
                if !due.ask.is_empty() && output.is_some() {
                    nacks.push((source.stream, *ssrc, due.ask));
                }
                if let (Some(number), Some(need)) = (due.given_up, &mut source.key_frames) {
                    log::debug!(target: "rswebrtc::peer", "stream {}: packets up to {} are given up", source.stream, number as u16);
                    need.missed(number, now);
                }
            }
            let layered = matches!(self.layers.get(source.stream), Some(Some(_)));
            let current = layered || self.primaries.get(source.stream) == Some(&Some(*ssrc));
            if let Some(need) = &mut source.key_frames
                && need.poll(now, round_trip)
                && let Some(output) = output.filter(|_| current)
            {
                key_frames.push((source.stream, output));
            }
        }
        self.sources = sources;
        for (stream, media_ssrc, numbers) in nacks {
            let (sender_ssrc, _) = self.shared.outbound.ssrcs(stream);
            let pairs = nack_pairs_from_sequence_numbers(&numbers);
            for pairs in pairs.chunks(PAIRS) {
                let nack = TransportLayerNack {
                    sender_ssrc,
                    media_ssrc,
                    nacks: pairs.to_vec(),
                };
                self.write(now, Packet::Rtcp(vec![Box::new(nack)]));
            }
        }
        for stream in key_frames {
            self.shared.request_key_frame_of(stream, now, round_trip);
        }
    }
}
