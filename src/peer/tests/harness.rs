// SPDX-License-Identifier: MPL-2.0
//! Two media paths joined by a link, on a clock of its own: a second of a call takes
//! milliseconds, and the same seed gives the same call. Everything between our queues and SRTP is
//! the real thing; sockets, ICE, DTLS and the driver are left out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use impaired_link::{Config, Fate, Link};
use rtc::interceptor::{AttributedPacket, Packet, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::marshal::{Marshal, Unmarshal};
use tokio::sync::mpsc;

use super::super::interceptors::MediaPath;
use super::super::shared::{EVENT_CAPACITY, Shared, lock};
use super::super::{Direction, PeerEvent, StreamConfig, StreamStats};
use crate::media::codec::Codec;
use crate::media::queue::Popped;
use crate::media::rtp_packet::{Inbound, InboundPacket, OutboundFrame, OutboundPacket};
use crate::sdp::Declared;

/// What SRTP adds to a packet, bytes.
const SRTP: usize = 16;
/// A driver that finds a timer in the past comes back after this time.
const LEAST_SLEEP: Duration = Duration::from_millis(1);

/// One end of the call.
pub(super) struct Side {
    pub(super) shared: Arc<Shared>,
    pub(super) events: mpsc::Receiver<PeerEvent>,
    path: MediaPath,
    due: Option<Duration>,
}

impl Side {
    pub(super) fn stats(&self, stream: usize) -> StreamStats {
        let line = &self.shared.lines()[stream];
        match line.config.direction.sends() {
            true => lock(&line.sent).clone(),
            false => lock(&line.stats).clone(),
        }
    }
}

/// What one side sent, and what of it the link lost.
#[derive(Debug, Default, Clone)]
pub(super) struct Traffic {
    /// Packets sent for the first time, and
    pub(super) media: u64,
    pub(super) media_lost: u64,
    /// retransmissions, by RTX or under the same SSRC, and
    pub(super) repairs: u64,
    pub(super) repairs_lost: u64,
    /// of these packets, those of RTX without `mid` (1) or any without a transport-wide number (3).
    pub(super) bare: u64,
    /// Packets under an SSRC and a number that another packet had.
    pub(super) rewritten: u64,
    pub(super) rtp_bytes: u64,
    pub(super) rtcp: u64,
    pub(super) rtcp_bytes: u64,
    pub(super) nacks: u64,
    /// Numbers named in NACKs, each as often as it was named.
    pub(super) asked: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
    /// Transport-wide feedback.
    pub(super) feedback: u64,
    /// What REMB told, bit/s.
    pub(super) estimates: Vec<f32>,
}

/// A packet in a stream's queue, and when it came there.
pub(super) struct Arrived {
    pub(super) at: Duration,
    #[allow(dead_code)] // of use where there are several
    pub(super) stream: usize,
    pub(super) packet: InboundPacket,
}

impl Arrived {
    /// As [`picture`] wrote it.
    pub(super) fn number(&self) -> u32 {
        u32::from_be_bytes(self.packet.payload[4..8].try_into().unwrap())
    }
}

struct Flight {
    to_receiver: bool,
    rtp: bool,
    bytes: Vec<u8>,
}

/// See the module.
pub(super) struct Net {
    pub(super) sender: Side,
    pub(super) receiver: Side,
    /// From the sender to the receiver, and back.
    pub(super) there: Traffic,
    pub(super) back: Traffic,
    pub(super) arrived: Vec<Arrived>,
    start: Instant,
    clock: Arc<Mutex<Instant>>,
    links: [Link; 2],
    flight: BinaryHeap<Reverse<(Duration, u64)>>,
    packets: BTreeMap<u64, Flight>,
    order: u64,
    /// SSRCs and numbers that were sent, and a hash of what was sent first.
    seen: HashMap<(u32, u16), u64>,
    repair_ssrcs: Vec<u32>,
}

/// A VP8 frame at `at`: `packets` of `size` bytes, numbered from `first`.
pub(super) fn picture(
    first: u32,
    packets: u32,
    size: usize,
    at: Duration,
    key: bool,
) -> OutboundFrame {
    let timestamp = (at.as_micros() * 9 / 100) as u32;
    let packets = (first..first + packets).map(|number| {
        let mut payload = vec![0u8; size.max(8)];
        // RFC 7741: a frame's first packet starts partition 0, whose first bit tells key frames.
        payload[0] = if number == first { 0x10 } else { 0 };
        payload[1] = u8::from(!key);
        payload[4..8].copy_from_slice(&number.to_be_bytes());
        OutboundPacket {
            timestamp,
            marker: number + 1 == first + packets,
            payload: Bytes::from(payload),
            extensions: Vec::new(),
            skipped: 0,
        }
    });
    OutboundFrame {
        key,
        packets: packets.collect(),
    }
}

fn lines(codecs: &[Codec], direction: Direction) -> Vec<StreamConfig> {
    let lines = codecs.iter().enumerate();
    lines
        .map(|(mid, codec)| super::line(direction, mid, vec![codec.clone()]))
        .collect()
}

impl Net {
    /// A call of a stream for each of `codecs` over two links, each as [`Config`] writes it.
    pub(super) fn new(codecs: &[Codec], there: &str, back: &str, seed: u64) -> Self {
        Self::of_lines(
            lines(codecs, Direction::SendOnly),
            lines(codecs, Direction::RecvOnly),
            there,
            back,
            seed,
        )
    }

    pub(super) fn of_lines(
        sent: Vec<StreamConfig>,
        received: Vec<StreamConfig>,
        there: &str,
        back: &str,
        seed: u64,
    ) -> Self {
        let start = Instant::now();
        let clock = Arc::new(Mutex::new(start));
        let side = || {
            let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
            let shared = Arc::new(Shared::new(events, false, Vec::new()));
            let clock = clock.clone();
            let path = MediaPath::with_clock(shared.clone(), Arc::new(move || *lock(&clock)));
            Side {
                shared,
                path,
                events: receiver,
                due: None,
            }
        };
        let (sender, receiver) = (side(), side());
        let codecs: Vec<Codec> = sent.iter().map(|line| line.codecs[0].clone()).collect();
        sender.shared.set_lines(sent, None);
        let mut repair_ssrcs = Vec::new();
        let declared = codecs.iter().enumerate().map(|(index, codec)| {
            let (ssrc, rtx) = sender.shared.outbound.ssrcs(index);
            repair_ssrcs.push(rtx);
            let rtx = codec.rtx_payload_type.map(|_| (rtx, ssrc));
            Declared {
                ssrcs: vec![ssrc],
                rtx: rtx.into_iter().collect(),
                fec: vec![(sender.shared.outbound.fec_ssrc(index), ssrc)],
            }
        });
        receiver
            .shared
            .set_lines(received, Some(declared.collect()));
        for (index, codec) in codecs.into_iter().enumerate() {
            sender.shared.outbound.set_codec(index, codec);
        }
        sender.shared.outbound.open(None);
        let link = |text: &str, seed| Link::new(text.parse::<Config>().unwrap(), seed);
        Self {
            sender,
            receiver,
            there: Traffic::default(),
            back: Traffic::default(),
            arrived: Vec::new(),
            start,
            clock,
            links: [link(there, seed), link(back, seed ^ 0x5555)],
            flight: BinaryHeap::new(),
            packets: BTreeMap::new(),
            order: 0,
            seen: HashMap::new(),
            repair_ssrcs,
        }
    }

    /// Time since the call began.
    pub(super) fn now(&self) -> Duration {
        *lock(&self.clock) - self.start
    }

    pub(super) fn instant(&self) -> Instant {
        *lock(&self.clock)
    }

    /// The sender's stream `stream` has a frame to send.
    pub(super) fn push(&mut self, stream: usize, frame: OutboundFrame) {
        let now = self.instant();
        self.sender.shared.outbound.push(stream, frame, now);
        self.drain();
    }

    /// The sender's stream 0 is `seconds` of video: 30 frames a second of `packets` packets, 1100
    /// bytes each, and a key frame first. Gives when each packet was pushed.
    pub(super) fn video(&mut self, seconds: u32, packets: u32) -> Vec<Duration> {
        let begin = self.now();
        let mut pushed = Vec::new();
        for frame in 0..seconds * 30 {
            let at = begin + Duration::from_micros(u64::from(frame) * 33_333);
            self.advance(at);
            let first = pushed.len() as u32;
            self.push(0, picture(first, packets, 1100, at, frame == 0));
            pushed.extend((0..packets).map(|_| at));
        }
        pushed
    }

    /// Lets time pass up to `until`.
    pub(super) fn advance(&mut self, until: Duration) {
        self.drain();
        loop {
            let arrival = self.flight.peek().map(|Reverse((at, _))| *at);
            let due = [arrival, self.sender.due, self.receiver.due];
            let Some(next) = due.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.set(next.max(self.now()));
            while let Some(Reverse((at, number))) = self.flight.peek().copied()
                && at <= self.now()
            {
                self.flight.pop();
                let flight = self.packets.remove(&number).unwrap();
                self.arrive(&flight);
            }
            let (now, instant) = (self.now(), self.instant());
            for side in [&mut self.sender, &mut self.receiver] {
                if side.due.is_some_and(|due| due <= now) {
                    side.path.handle_timeout(instant).unwrap();
                }
            }
            self.drain();
        }
        self.set(until.max(self.now()));
    }

    /// The sender gets this RTCP now.
    pub(super) fn tell_sender(&mut self, packet: impl rtcp::Packet + 'static) {
        let message = TaggedPacket {
            now: self.instant(),
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(packet)])),
        };
        self.sender.path.handle_read(message).unwrap();
    }

    fn set(&mut self, now: Duration) {
        *lock(&self.clock) = self.start + now;
    }

    /// What both drivers do after each event.
    fn drain(&mut self) {
        for to_receiver in [true, false] {
            loop {
                let now = self.now();
                let mut came = false;
                while let Some(message) = self.side(to_receiver).path.poll_write() {
                    came = true;
                    self.depart(message, to_receiver);
                }
                let start = self.start;
                let side = self.side(to_receiver);
                let due = side.path.poll_timeout();
                side.due = due.map(|at| (at - start).max(now + LEAST_SLEEP));
                if !came {
                    break;
                }
            }
        }
        let now = self.now();
        for (stream, line) in self.receiver.shared.lines().iter().enumerate() {
            while let Popped::Item(item) = line.inbound.pop(Duration::ZERO) {
                if let Inbound::Rtp(packet) = item {
                    self.arrived.push(Arrived {
                        at: now,
                        stream,
                        packet,
                    });
                }
            }
        }
    }

    fn side(&mut self, sender: bool) -> &mut Side {
        if sender {
            &mut self.sender
        } else {
            &mut self.receiver
        }
    }

    fn depart(&mut self, message: TaggedPacket, to_receiver: bool) {
        let now = self.now();
        let (rtp, bytes) = match &message.message.packet {
            Packet::Rtp(packet) => (true, packet.marshal().unwrap().to_vec()),
            Packet::Rtcp(packets) => (false, rtcp::packet::marshal(packets).unwrap().to_vec()),
            _ => return,
        };
        let link = &mut self.links[usize::from(!to_receiver)];
        let fate = link.send(now, bytes.len() + SRTP).fate;
        let lost = !matches!(fate, Fate::Arrives { .. });
        let traffic = if to_receiver {
            &mut self.there
        } else {
            &mut self.back
        };
        match &message.message.packet {
            Packet::Rtp(packet) => {
                let header = &packet.header;
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                let hash = hasher.finish();
                let key = (header.ssrc, header.sequence_number);
                let first = self.seen.insert(key, hash);
                let again = first.is_some();
                traffic.rewritten += u64::from(first.is_some_and(|first| first != hash));
                let rtx = self.repair_ssrcs.contains(&header.ssrc);
                let repair = again || rtx;
                let has = |id| header.get_extension(id).is_some();
                traffic.bare += u64::from(!has(3) || (rtx && !has(1)));
                traffic.rtp_bytes += bytes.len() as u64;
                traffic.repairs += u64::from(repair);
                traffic.repairs_lost += u64::from(repair && lost);
                traffic.media += u64::from(!repair);
                traffic.media_lost += u64::from(!repair && lost);
            }
            Packet::Rtcp(packets) => {
                traffic.rtcp += 1;
                traffic.rtcp_bytes += bytes.len() as u64;
                packets.iter().for_each(|packet| traffic.rtcp(&**packet));
            }
            _ => {}
        }
        if let Fate::Arrives { at, again } = fate {
            for at in std::iter::once(at).chain(again) {
                self.order += 1;
                self.flight.push(Reverse((at, self.order)));
                let flight = Flight {
                    to_receiver,
                    rtp,
                    bytes: bytes.clone(),
                };
                self.packets.insert(self.order, flight);
            }
        }
    }

    fn arrive(&mut self, flight: &Flight) {
        let now = self.instant();
        let mut bytes = Bytes::copy_from_slice(&flight.bytes);
        let packet = if flight.rtp {
            Packet::Rtp(rtp::Packet::unmarshal(&mut bytes).unwrap())
        } else {
            Packet::Rtcp(rtcp::packet::unmarshal(&mut bytes).unwrap())
        };
        let message = TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        };
        let side = self.side(!flight.to_receiver);
        side.path.handle_read(message).unwrap();
    }
}

impl Traffic {
    fn rtcp(&mut self, packet: &dyn rtcp::Packet) {
        let any = packet.as_any();
        if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            self.nacks += 1;
            let numbers = nack
                .nacks
                .iter()
                .map(|pair| pair.packet_list().len() as u64);
            self.asked += numbers.sum::<u64>();
        }
        self.plis += u64::from(any.is::<PictureLossIndication>());
        self.firs += u64::from(any.is::<FullIntraRequest>());
        self.feedback += u64::from(any.is::<TransportLayerCc>());
        let remb = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>();
        self.estimates.extend(remb.map(|remb| remb.bitrate));
    }
}
