// SPDX-License-Identifier: MPL-2.0
//! The two legs of the media path without a network, for `benches/packets`; no part of the
//! interface.
//!
//! Time is a virtual clock, so that pacing and timers cost what they cost in a call, and no more.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::interceptor::Packet;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::marshal::Marshal;
use tokio::sync::mpsc;

use super::interceptors::MediaPath;
use super::shared::{EVENT_CAPACITY, Shared, lock};
use super::{BitrateLimits, Direction, PeerEvent, StreamConfig};
use crate::media::codec::{Codec, MediaKind};
use crate::media::header_extension::HeaderExtension;
use crate::media::queue::{InboundQueue, Popped};
use crate::media::rtp_packet::OutboundFrame;

const TRANSPORT_WIDE: u8 = 3;
const PAYLOAD_TYPE: u8 = 96;
/// Packets in one transport-wide feedback at most.
const REPORTED: usize = 8000;

/// One line of H264 with all that is usually agreed on.
fn line(direction: Direction) -> StreamConfig {
    let feedback = ["nack", "nack pli", "transport-cc"];
    StreamConfig {
        kind: MediaKind::Video,
        direction,
        mid: "0".to_owned(),
        codecs: vec![Codec {
            kind: MediaKind::Video,
            name: "H264".to_owned(),
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
            payload_type: PAYLOAD_TYPE,
            rtx_payload_type: Some(PAYLOAD_TYPE + 1),
            feedback: feedback.map(str::to_owned).to_vec(),
        }],
        extensions: vec![
            (1, HeaderExtension::Mid),
            (TRANSPORT_WIDE, HeaderExtension::TransportWideCc),
        ],
        msid: None,
        fec: None,
        rtcp_rsize: true,
        layers: Vec::new(),
        layer: None,
    }
}

/// What happened while time passed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passed {
    /// RTP packets that left.
    pub packets: usize,
    /// Times that a timer was due.
    pub wakes: usize,
}

/// A media path on a clock that only we advance.
struct Rig {
    path: MediaPath,
    shared: Arc<Shared>,
    clock: Arc<Mutex<Instant>>,
    /// When each RTP packet left that no feedback has told of.
    left: Vec<Instant>,
    events: mpsc::Receiver<PeerEvent>,
}

impl Rig {
    fn new(direction: Direction) -> Self {
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        let shared = Arc::new(Shared::new(sender, false, Vec::new()));
        let line = line(direction);
        let codec = line.codecs.first().cloned();
        shared.set_lines(vec![line], None);
        if let Some(codec) = codec.filter(|_| direction == Direction::SendOnly) {
            shared.outbound.set_codec(0, codec);
            shared.set_bitrate_limits(BitrateLimits::default());
            shared.outbound.open(None);
        }
        let clock = Arc::new(Mutex::new(Instant::now()));
        let read = clock.clone();
        let path = MediaPath::with_clock(shared.clone(), Arc::new(move || *lock(&read)));
        Self {
            path,
            shared,
            clock,
            left: Vec::new(),
            events,
        }
    }

    fn now(&self) -> Instant {
        *lock(&self.clock)
    }

    /// Time passes, up to `time` from now: whenever a timer is due, it gets its turn and what leaves
    /// is taken. Gives how often that was, and the RTP packets.
    fn pass(&mut self, time: Duration) -> Passed {
        let end = self.now() + time;
        let mut passed = Passed::default();
        while let Some(due) = self.path.poll_timeout().filter(|due| *due <= end) {
            let now = self.now().max(due);
            *lock(&self.clock) = now;
            let _ = self.path.handle_timeout(now);
            passed.packets += self.take();
            passed.wakes += 1;
        }
        *lock(&self.clock) = end;
        while self.events.try_recv().is_ok() {}
        passed
    }

    /// Takes what leaves now; gives the number of RTP packets.
    fn take(&mut self) -> usize {
        let (now, before) = (self.now(), self.left.len());
        while let Some(message) = self.path.poll_write() {
            if matches!(message.message.packet, Packet::Rtp(_)) {
                self.left.push(now);
            }
            std::hint::black_box(&message);
        }
        self.left.len() - before
    }
}

/// From a pushed frame to the packets that leave.
pub struct SendLeg {
    rig: Rig,
    /// Transport-wide number of the first packet that feedback has not told of.
    unreported: u16,
    feedbacks: u8,
    began: Instant,
}

impl Default for SendLeg {
    fn default() -> Self {
        let rig = Rig::new(Direction::SendOnly);
        Self {
            unreported: 0,
            feedbacks: 0,
            began: rig.now(),
            rig,
        }
    }
}

impl SendLeg {
    /// Pushes a frame, and takes all that leaves in `time` from then on.
    #[inline(never)]
    pub fn send(&mut self, frame: OutboundFrame, time: Duration) -> Passed {
        let now = self.rig.now();
        self.rig.shared.outbound.push(0, frame, now);
        let at_once = self.rig.take();
        let mut passed = self.rig.pass(time);
        passed.packets += at_once;
        passed
    }

    /// The remote reports on all packets: none was lost, and none had to wait.
    #[inline(never)]
    pub fn feedback(&mut self) {
        let feedback = self.report();
        let now = self.rig.now();
        self.rig.path.read_rtcp(&[Box::new(feedback)], now);
    }

    fn report(&mut self) -> TransportLayerCc {
        let since = |at: &Instant| at.saturating_duration_since(self.began).as_micros() as i64;
        let count = self.rig.left.len().min(REPORTED);
        let reference = self.rig.left.first().map_or(0, since) / 64_000;
        let mut before = reference * 64_000;
        let deltas = self.rig.left.iter().take(count).map(|at| {
            // In units of 250 µs, as on the wire.
            let delta = (since(at) - before) / 250 * 250;
            before += delta;
            RecvDelta {
                type_tcc_packet: SymbolTypeTcc::PacketReceivedSmallDelta,
                delta,
            }
        });
        let feedback = TransportLayerCc {
            sender_ssrc: 1,
            media_ssrc: 2,
            base_sequence_number: self.unreported,
            packet_status_count: count as u16,
            reference_time: reference as u32,
            fb_pkt_count: self.feedbacks,
            recv_deltas: deltas.collect(),
            packet_chunks: vec![PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                packet_status_symbol: SymbolTypeTcc::PacketReceivedSmallDelta,
                run_length: count as u16,
                ..Default::default()
            })],
        };
        self.unreported = self.unreported.wrapping_add(count as u16);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        self.rig.left.clear();
        feedback
    }
}

/// A packet as SRTP gives it.
pub struct Decrypted {
    packet: rtp::Packet,
    /// Its header as it was.
    wire: Option<Bytes>,
}

/// From decrypted packets to the queue of their stream.
pub struct ReceiveLeg {
    rig: Rig,
    queue: Arc<InboundQueue>,
    number: u16,
    timestamp: u32,
    transport_wide: u16,
    payload: Bytes,
}

impl ReceiveLeg {
    /// For packets with so much payload, bytes.
    pub fn new(payload: usize) -> Option<Self> {
        let rig = Rig::new(Direction::RecvOnly);
        let queue = rig.shared.lines().first()?.inbound.clone();
        Some(Self {
            rig,
            queue,
            number: 0,
            timestamp: 0,
            transport_wide: 0,
            // The first octets are those of a slice of H264 that is no key frame.
            payload: [&[0x41, 0x9a][..], &vec![0; payload]].concat().into(),
        })
    }

    /// The next packets of a frame, as SRTP gives them.
    pub fn frame(&mut self, packets: usize) -> Vec<Decrypted> {
        self.timestamp = self.timestamp.wrapping_add(3000);
        let numbers = 1..=packets;
        let all = numbers.map(|nth| {
            self.number = self.number.wrapping_add(1);
            self.transport_wide = self.transport_wide.wrapping_add(1);
            let mut header = rtp::header::Header {
                version: 2,
                payload_type: PAYLOAD_TYPE,
                sequence_number: self.number,
                timestamp: self.timestamp,
                ssrc: 7,
                marker: nth == packets,
                ..Default::default()
            };
            let value = Bytes::copy_from_slice(&self.transport_wide.to_be_bytes());
            let _ = header.set_extension(TRANSPORT_WIDE, value);
            let payload = self.payload.clone();
            let wire = header.marshal().map(BytesMut::freeze).ok();
            let packet = rtp::Packet { header, payload };
            Decrypted { packet, wire }
        });
        all.collect()
    }

    /// Takes `packets`; what is measured.
    #[inline(never)]
    pub fn receive(&mut self, packets: Vec<Decrypted>) {
        let now = self.rig.now();
        for Decrypted { packet, wire } in packets {
            let _ = self.rig.path.read_rtp(packet, wire, now);
        }
        let _ = self.rig.take();
    }

    /// Time passes, RTCP leaves, and the reader empties the queue: what it got, and the timers.
    #[inline(never)]
    pub fn pass(&mut self, time: Duration) -> Passed {
        let entries = std::iter::from_fn(|| match self.queue.pop(Duration::ZERO) {
            Popped::Item(item) => Some(item),
            _ => None,
        });
        let packets = entries.count();
        let Passed { wakes, .. } = self.rig.pass(time);
        Passed { packets, wakes }
    }
}
