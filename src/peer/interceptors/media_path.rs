// SPDX-License-Identifier: MPL-2.0
//! The one interceptor that webrtc knows; see [the folder](super).
//!
//! It runs on the driver task, under webrtc's lock: nothing here waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::interceptor::{
    Interceptor, NackGeneratorBuilder, NackResponderBuilder, Packet, RTCPFeedback,
    RTPHeaderExtension, ReceiverReportBuilder, Registry, SenderReportBuilder, Slot, StreamInfo,
    TaggedPacket, TwccReceiverBuilder,
};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::marshal::Marshal;

use super::congestion::Congestion;
use super::repeats::Repeats;
use super::rtcp_tap::RtcpTap;
use super::rtx_unwrap;
use super::source::Source;
use crate::media::codec::Codec;
use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::{Inbound, InboundPacket};
use crate::peer::engine::feedback;
use crate::peer::outbound::Numbered;
use crate::peer::shared::{Belt, Lines, Shared, lock};
use crate::peer::{Direction, StreamStats};

/// Missing packets are asked for this often, ...
const NACK_INTERVAL: Duration = Duration::from_millis(20);
/// ... this many times (600 ms: several tries even over a round trip of 200 ms), ...
const NACK_TRIES: u16 = 30;
/// ... as far back as this.
const NACK_LOG: u16 = 8192;
/// Packets kept for retransmission: a second of 45 Mbit/s; room for each is there from the start.
const HISTORY: u16 = 4096;
/// Often enough that the end of a call is acknowledged soon.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// Packets that go out in one pass of the driver, so that it also reads in between.
pub(super) const BATCH: usize = 512;
/// SSRCs that a remote may use at a time, for each m-line: it may start anew, and repairs count.
const SOURCES_PER_LINE: usize = 16;

/// Where a packet belongs.
struct Route {
    stream: usize,
    /// Of the codec, whether or not this is a retransmission of it.
    payload_type: u8,
    repair: bool,
}

/// What time it is: the driver's clock, or a test's.
pub(in crate::peer) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// See the module.
pub(in crate::peer) struct MediaPath {
    pub(super) shared: Arc<Shared>,
    clock: Clock,
    pub(super) inner: Box<dyn Interceptor>,
    /// Notes the arrival of every packet, see [`Self::note_arrival`].
    pub(super) arrivals: Box<dyn Interceptor>,
    pub(super) tap: RtcpTap,
    pub(super) congestion: Congestion,
    pub(super) repeats: Repeats,
    pub(super) routes: HashMap<u32, usize>,
    pub(super) sources: HashMap<u32, Source>,
    pub(super) primaries: Vec<Option<u32>>,
    /// As [`Self::refresh`] found them.
    pub(super) lines: Lines,
    generation: u64,
    pub(super) writes: Belt,
    pub(super) batch: Vec<Numbered>,
    pub(super) taken: usize,
    pub(super) bye_left: bool,
    /// Number of the last full intra request.
    pub(super) intra_requests: u8,
}

impl MediaPath {
    pub(in crate::peer) fn new(shared: Arc<Shared>) -> Self {
        Self::with_clock(shared, Arc::new(Instant::now))
    }

    /// webrtc gives the time with most calls, but not when it asks for what there is to send.
    pub(in crate::peer) fn with_clock(shared: Arc<Shared>, clock: Clock) -> Self {
        let inner = Registry::new()
            .with(
                Slot::NackResponder,
                NackResponderBuilder::new().with_size(HISTORY).build(),
            )
            .with(
                Slot::NackGenerator,
                NackGeneratorBuilder::new()
                    .with_size(NACK_LOG)
                    .with_interval(NACK_INTERVAL)
                    .with_max_nacks_per_packet(NACK_TRIES)
                    .build(),
            )
            .with(
                Slot::ReceiverReport,
                ReceiverReportBuilder::new()
                    .with_interval(REPORT_INTERVAL)
                    .build(),
            )
            .with(Slot::SenderReport, SenderReportBuilder::new().build())
            .build();
        Self {
            inner: Box::new(inner),
            arrivals: Box::new(TwccReceiverBuilder::new().build()),
            tap: RtcpTap::new(shared.clone()),
            congestion: Congestion::default(),
            repeats: Repeats::default(),
            routes: HashMap::new(),
            sources: HashMap::new(),
            primaries: Vec::new(),
            lines: Lines::default(),
            generation: 0,
            writes: Belt::new(),
            batch: Vec::new(),
            taken: 0,
            bye_left: false,
            intra_requests: 0,
            clock,
            shared,
        }
    }

    /// The time now.
    pub(super) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Takes up m-lines that were negotiated since.
    pub(super) fn refresh(&mut self) {
        let generation = self.shared.generation();
        if generation != self.generation {
            self.generation = generation;
            self.lines = self.shared.lines();
            self.primaries.resize(self.lines.len(), None);
            self.forget_idle_lines();
            self.bind_arrivals();
        }
    }

    /// Transport-wide numbers count for the transport, not for a stream, and one id stands for
    /// them on all m-lines (RFC 8843 section 9.1).
    fn bind_arrivals(&mut self) {
        let mut receiving = self.lines.iter().filter_map(|line| {
            let id = line.config.extension(HeaderExtension::TransportWideCc)?;
            let receives = line.config.direction == Direction::RecvOnly;
            let codec = line.config.codecs.first().filter(|_| receives)?;
            Some(stream_info(codec, 0, None, Some(id)))
        });
        match receiving.next() {
            Some(info) => self.arrivals.bind_remote_stream(&info),
            None => self.arrivals.unbind_remote_stream(&StreamInfo::default()),
        }
    }

    /// Before anything is known of a packet: padding, repairs of what is there already and
    /// unknown sources are what bandwidth is probed with, and to leave them out of the feedback
    /// makes the remote believe that all of it is lost.
    fn note_arrival(&mut self, message: TaggedPacket) -> Result<Option<TaggedPacket>, Error> {
        self.arrivals.handle_read(message)?;
        Ok(self.arrivals.poll_read())
    }

    /// What no line receives any more makes room for others.
    fn forget_idle_lines(&mut self) {
        let lines = self.lines.clone();
        let idle = |stream: &usize| {
            let line = lines.get(*stream);
            line.is_none_or(|line| line.config.direction != Direction::RecvOnly)
        };
        let gone: Vec<u32> = self
            .routes
            .iter()
            .filter(|(_, stream)| idle(stream))
            .map(|(ssrc, _)| *ssrc)
            .collect();
        for ssrc in gone {
            self.forget(ssrc);
        }
        for (stream, primary) in self.primaries.iter_mut().enumerate() {
            if idle(&stream) {
                *primary = None;
            }
        }
    }

    fn forget(&mut self, ssrc: u32) {
        self.routes.remove(&ssrc);
        if self.sources.remove(&ssrc).is_some() {
            self.inner.unbind_remote_stream(&StreamInfo {
                ssrc,
                ..Default::default()
            });
        }
    }

    fn is_full(&self) -> bool {
        self.routes.len() >= SOURCES_PER_LINE * self.lines.len().max(1)
    }

    pub(super) fn count(&self, stream: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(line) = self.lines.get(stream) {
            change(&mut lock(&line.stats));
        }
    }

    fn read_rtp(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.refresh();
        let Some(mut message) = self.note_arrival(message)? else {
            return Ok(());
        };
        let nothing = Packet::Rtcp(Vec::new());
        let Packet::Rtp(mut packet) = std::mem::replace(&mut message.message.packet, nothing)
        else {
            return Ok(());
        };
        let now = message.now;
        let Some(route) = self.route(&packet.header) else {
            return Ok(());
        };
        let Route {
            stream,
            payload_type,
            repair,
        } = route;
        let size = packet.payload.len() as u64;
        self.count(stream, |stats| {
            stats.packets_received += 1;
            stats.bytes_received += size;
            stats.retransmitted_packets_received += u64::from(repair);
        });
        if repair {
            let Some(ssrc) = self.repaired_by(packet.header.ssrc, stream) else {
                return Ok(());
            };
            if !rtx_unwrap::unwrap(&mut packet, ssrc, payload_type) {
                return Ok(());
            }
        }
        self.bind(stream, &packet.header, now);
        if !self.note(stream, &packet.header, repair, now) {
            return Ok(());
        }
        message.message.packet = Packet::Rtp(packet);
        self.inner.handle_read(message)?;
        self.deliver();
        Ok(())
    }

    /// The stream a packet belongs to, its codec, and whether it is a retransmission.
    fn route(&mut self, header: &rtp::header::Header) -> Option<Route> {
        let payload_type = header.payload_type;
        let stream = match self.routes.get(&header.ssrc) {
            Some(stream) if header.extensions.is_empty() => *stream,
            // A mid counts for more than what was guessed before (RFC 9143 section 9.2).
            Some(stream) => self.stream_by_mid(header).unwrap_or(*stream),
            None => self.find_stream(header)?,
        };
        let codecs = &self.lines.get(stream)?.config.codecs;
        let codec = codecs.iter().find(|codec| {
            codec.payload_type == payload_type || codec.rtx_payload_type == Some(payload_type)
        })?;
        let found = Route {
            stream,
            payload_type: codec.payload_type,
            repair: codec.payload_type != payload_type,
        };
        if !self.is_full() || self.routes.contains_key(&header.ssrc) {
            self.routes.insert(header.ssrc, stream);
        }
        Some(found)
    }

    /// RFC 8843 section 9.2: by mid, else by what the description declared, else by payload type.
    fn find_stream(&self, header: &rtp::header::Header) -> Option<usize> {
        let lines = || self.lines.iter();
        let declared = || {
            lines().position(|line| {
                line.declared.ssrcs.contains(&header.ssrc)
                    || line.declared.rtx.iter().any(|(rtx, _)| *rtx == header.ssrc)
            })
        };
        let by_type = || {
            lines().position(|line| {
                line.config.direction == Direction::RecvOnly
                    && line.config.codecs.iter().any(|codec| {
                        codec.payload_type == header.payload_type
                            || codec.rtx_payload_type == Some(header.payload_type)
                    })
            })
        };
        self.stream_by_mid(header)
            .or_else(declared)
            .or_else(by_type)
    }

    fn stream_by_mid(&self, header: &rtp::header::Header) -> Option<usize> {
        self.lines.iter().position(|line| {
            line.config
                .extension(HeaderExtension::Mid)
                .and_then(|id| header.get_extension(id))
                .is_some_and(|mid| *mid == *line.config.mid.as_bytes())
        })
    }

    fn repaired_by(&self, rtx: u32, stream: usize) -> Option<u32> {
        let declared = &self.lines.get(stream)?.declared;
        let declared = declared
            .rtx
            .iter()
            .find(|(ssrc, _)| *ssrc == rtx)
            .map(|(_, ssrc)| *ssrc);
        declared.or_else(|| self.primaries.get(stream).copied().flatten())
    }

    /// Makes a new source known to the interceptors inside.
    fn bind(&mut self, stream: usize, header: &rtp::header::Header, now: Instant) {
        let room = self.routes.contains_key(&header.ssrc) || !self.is_full();
        if self.sources.contains_key(&header.ssrc) || !room {
            return;
        }
        let lines = self.lines.clone();
        let Some(line) = lines.get(stream) else {
            return;
        };
        let mut codecs = line.config.codecs.iter();
        let Some(codec) = codecs.find(|codec| codec.payload_type == header.payload_type) else {
            return;
        };
        let twcc = line.config.extension(HeaderExtension::TransportWideCc);
        let info = stream_info(codec, header.ssrc, None, twcc);
        self.inner.bind_remote_stream(&info);
        self.sources.insert(
            header.ssrc,
            Source::new(codec.clock_rate, header.sequence_number, now),
        );
        self.routes.insert(header.ssrc, stream);
        if let Some(primary) = self.primaries.get_mut(stream) {
            *primary = Some(header.ssrc);
        }
        let mut rtx = line.declared.rtx.iter();
        let rtx = rtx
            .find(|(_, ssrc)| *ssrc == header.ssrc)
            .map(|(rtx, _)| *rtx);
        self.count(stream, |stats| {
            stats.ssrc = header.ssrc;
            stats.rtx_ssrc = rtx.unwrap_or_default();
        });
        log::debug!(target: "rswebrtc::peer", "stream {stream} receives {} as {}", codec.name, header.ssrc);
    }

    /// Takes the packet into account; `false` if it came before.
    fn note(
        &mut self,
        stream: usize,
        header: &rtp::header::Header,
        repair: bool,
        now: Instant,
    ) -> bool {
        let Some(source) = self.sources.get_mut(&header.ssrc) else {
            return true;
        };
        let new = source.accept(header.sequence_number);
        let lost = source.lost();
        let jitter = (!repair && new).then(|| source.arrived(header.timestamp, now));
        self.count(stream, |stats| {
            stats.packets_lost = lost;
            stats.jitter = jitter.or(stats.jitter);
        });
        new
    }

    /// Hands what comes out of the interceptors inside to the streams' queues.
    fn deliver(&mut self) {
        while let Some(message) = self.inner.poll_read() {
            let Packet::Rtp(packet) = message.message.packet else {
                continue;
            };
            let Some(stream) = self.routes.get(&packet.header.ssrc).copied() else {
                continue;
            };
            let rtp::Packet {
                mut header,
                payload,
            } = packet;
            header.padding = false;
            // Padding only: it counted above, and that is all it is for.
            if payload.is_empty() {
                continue;
            }
            let (Ok(header), Some(line)) = (header.marshal(), self.lines.get(stream)) else {
                continue;
            };
            line.inbound.push(Inbound::Rtp(InboundPacket {
                arrival: message.now,
                header: header.freeze(),
                payload,
            }));
        }
    }
}

pub(super) fn stream_info(
    codec: &Codec,
    ssrc: u32,
    rtx: Option<u32>,
    twcc: Option<u8>,
) -> StreamInfo {
    let wants = |name: &str| codec.feedback.iter().any(|f| f == name);
    let twcc = twcc.filter(|_| wants("transport-cc"));
    StreamInfo {
        ssrc,
        ssrc_rtx: rtx,
        payload_type: codec.payload_type,
        payload_type_rtx: rtx.and(codec.rtx_payload_type),
        mime_type: format!("{}/{}", codec.kind.as_str(), codec.name),
        clock_rate: codec.clock_rate,
        channels: codec.channels.unwrap_or_default(),
        sdp_fmtp_line: codec.fmtp.clone(),
        rtp_header_extensions: twcc
            .map(|id| RTPHeaderExtension {
                uri: HeaderExtension::TransportWideCc.uri().to_owned(),
                id: id.into(),
            })
            .into_iter()
            .collect(),
        rtcp_feedback: codec
            .feedback
            .iter()
            .map(|text| {
                let (typ, parameter) = feedback(text);
                RTCPFeedback { typ, parameter }
            })
            .collect(),
        ..Default::default()
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for MediaPath {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        if matches!(message.message.packet, Packet::Rtp(_)) {
            return self.read_rtp(message);
        }
        match std::mem::replace(&mut message.message.packet, Packet::Rtcp(Vec::new())) {
            Packet::Rtcp(packets) => {
                self.refresh();
                self.tap
                    .read(&packets, message.now, &self.routes, &self.primaries);
                let round_trip = self.tap.round_trip.take();
                self.congestion.read(&packets, round_trip, message.now);
                let (outbound, lines) = (&self.shared.outbound, &self.lines);
                let packets = self.repeats.filter(packets, message.now, |ssrc| {
                    let line = lines.get(outbound.stream_of(ssrc)?)?;
                    lock(&line.stats)
                        .round_trip_time
                        .map(Duration::from_secs_f64)
                });
                message.message.packet = Packet::Rtcp(packets);
                self.inner.handle_read(message)?;
                self.deliver();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nothing goes further up: our queues have it all.
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.inner.handle_write(message)
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        if self.writes.is_empty() {
            self.fill();
        }
        self.writes.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.arrivals.handle_timeout(now)?;
        self.congestion.handle_timeout(now);
        self.inner.handle_timeout(now)
    }

    /// The driver asks this once per pass, after it has sent what `poll_write` gave.
    fn poll_timeout(&mut self) -> Option<Instant> {
        if std::mem::take(&mut self.bye_left) {
            self.shared.bye_sent.notify_one();
        }
        let was_full = std::mem::take(&mut self.taken) >= BATCH;
        if was_full && self.shared.outbound.has_frames() {
            self.shared.nudge.wake();
        }
        let held = self.congestion.poll_timeout();
        let arrivals = self.arrivals.poll_timeout();
        [self.inner.poll_timeout(), arrivals, held]
            .into_iter()
            .flatten()
            .min()
    }

    fn close(&mut self) -> Result<(), Error> {
        self.inner.close()
    }
}

/// Streams are bound as we negotiated them, so that webrtc's own idea of them is not asked.
impl Interceptor for MediaPath {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
