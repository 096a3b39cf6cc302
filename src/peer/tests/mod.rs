// SPDX-License-Identifier: MPL-2.0
//! Calls between two peers of this process, over loopback.

mod adaptive;
mod calls;
mod data;
mod endings;
mod extensions;
mod fec;
mod harness;
mod negotiation;
mod network;
mod repair;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::connection::WebRtcPeer;
use super::{
    BitrateLimits, Direction, Estimate, Peer, PeerConfig, PeerError, PeerEvent, StreamConfig,
};
use crate::media::codec::{Codec, MediaKind};
use crate::media::header_extension::HeaderExtension;
use crate::media::queue::{InboundQueue, Popped};
use crate::media::rtp_packet::{Inbound, InboundPacket, OutboundFrame, OutboundPacket};

const DEADLINE: Duration = Duration::from_secs(15);

fn feedback(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn vp8() -> Codec {
    Codec {
        kind: MediaKind::Video,
        name: "VP8".to_owned(),
        clock_rate: 90000,
        channels: None,
        fmtp: String::new(),
        payload_type: 96,
        rtx_payload_type: Some(97),
        feedback: feedback(&["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"]),
    }
}

fn h264() -> Codec {
    Codec {
        name: "H264".to_owned(),
        fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        payload_type: 102,
        rtx_payload_type: Some(103),
        ..vp8()
    }
}

fn opus() -> Codec {
    Codec {
        kind: MediaKind::Audio,
        name: "opus".to_owned(),
        clock_rate: 48000,
        channels: Some(2),
        fmtp: "minptime=10;useinbandfec=1".to_owned(),
        payload_type: 111,
        rtx_payload_type: None,
        feedback: feedback(&["transport-cc"]),
    }
}

fn line(direction: Direction, mid: usize, codecs: Vec<Codec>) -> StreamConfig {
    StreamConfig {
        kind: codecs[0].kind,
        direction,
        mid: mid.to_string(),
        codecs,
        extensions: vec![
            (1, HeaderExtension::Mid),
            (3, HeaderExtension::TransportWideCc),
        ],
        msid: None,
        fec: None,
        rtcp_rsize: true,
        layers: Vec::new(),
        layer: None,
    }
}

fn lines(direction: Direction) -> Vec<StreamConfig> {
    vec![
        line(direction, 0, vec![vp8(), h264()]),
        line(direction, 1, vec![opus()]),
    ]
}

fn config() -> PeerConfig {
    PeerConfig {
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ice_servers: vec![],
        patience: None,
        start_at_key_frame: false,
        inline: true,
        queues: Vec::new(),
        bitrate: BitrateLimits::default(),
    }
}

struct End {
    peer: Arc<WebRtcPeer>,
    lines: Vec<StreamConfig>,
    events: mpsc::Receiver<PeerEvent>,
}

impl End {
    fn new(direction: Direction) -> Self {
        Self::with(lines(direction))
    }

    fn with(lines: Vec<StreamConfig>) -> Self {
        let (peer, events) = WebRtcPeer::new(config()).unwrap();
        Self {
            peer: Arc::new(peer),
            lines,
            events,
        }
    }

    async fn offer(&self) -> String {
        self.peer.create_offer(self.lines.clone()).await.unwrap()
    }

    async fn answer(&self, offer: String) -> String {
        self.peer.answer(offer, self.lines.clone()).await.unwrap()
    }

    async fn set_answer(&self, answer: String) {
        let lines = self.lines.clone();
        self.peer.set_answer(answer, lines).await.unwrap();
    }

    async fn any_event(&mut self) -> PeerEvent {
        tokio::time::timeout(DEADLINE, self.events.recv())
            .await
            .expect("an event in time")
            .unwrap()
    }

    /// The next event that is no estimate: those come at any time.
    async fn event(&mut self) -> PeerEvent {
        loop {
            match self.any_event().await {
                PeerEvent::Estimate(_) => {}
                event => return event,
            }
        }
    }

    async fn estimate(&mut self) -> Estimate {
        loop {
            if let PeerEvent::Estimate(estimate) = self.any_event().await {
                return estimate;
            }
        }
    }

    async fn connected(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, PeerEvent::Connected), "{event:?}");
    }
}

/// Sender and receiver; the sender offers or answers.
struct Call {
    sender: End,
    receiver: End,
    /// `a=ice-ufrag` of the sender and of the receiver.
    ufrags: (String, String),
}

impl Call {
    async fn new(sender_offers: bool) -> Self {
        let mut call = Self {
            sender: End::new(Direction::SendOnly),
            receiver: End::new(Direction::RecvOnly),
            ufrags: Default::default(),
        };
        let (offerer, answerer) = if sender_offers {
            (&call.sender, &call.receiver)
        } else {
            (&call.receiver, &call.sender)
        };
        let offer = offerer.offer().await;
        let answer = answerer.answer(offer.clone()).await;
        let ufrag = |text: &str| {
            let mut lines = text.lines().filter_map(|l| l.strip_prefix("a=ice-ufrag:"));
            lines.next().unwrap().to_owned()
        };
        let (offered, answered) = (ufrag(&offer), ufrag(&answer));
        let ufrags = if sender_offers {
            (offered, answered)
        } else {
            (answered, offered)
        };
        call.sender.peer.set_send_codec(0, vp8());
        call.sender.peer.set_send_codec(1, opus());
        offerer.set_answer(answer).await;
        call.ufrags = ufrags;
        call.sender.connected().await;
        call
    }

    async fn close(self) {
        tokio::join!(self.sender.peer.close(), self.receiver.peer.close());
    }
}

fn frame(first: u32, packets: u32, size: usize) -> OutboundFrame {
    let packets = (first..first + packets).map(|number| {
        let mut payload = vec![0u8; size.max(4)];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        OutboundPacket {
            timestamp: first * 3000,
            marker: number + 1 == first + packets,
            payload: Bytes::from(payload),
            extensions: Vec::new(),
            skipped: 0,
        }
    });
    OutboundFrame {
        key: true,
        packets: packets.collect(),
    }
}

/// Reads packets from `queue` on a thread of its own until there are `count`, or no more come.
async fn read(queue: Arc<InboundQueue>, count: usize) -> Vec<InboundPacket> {
    let read = move || {
        let mut end = Instant::now() + DEADLINE;
        let mut packets = Vec::new();
        while packets.len() < count && Instant::now() < end {
            match queue.pop(Duration::from_millis(100)) {
                Popped::Item(Inbound::Rtp(packet)) => {
                    packets.push(packet);
                    end = Instant::now() + DEADLINE;
                }
                Popped::Item(Inbound::SenderReport(_)) | Popped::Timeout => {}
                Popped::Flushing | Popped::Ended => break,
            }
        }
        packets
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn number(packet: &InboundPacket) -> u32 {
    u32::from_be_bytes(packet.payload[..4].try_into().unwrap())
}

fn sequence(packet: &InboundPacket) -> u16 {
    u16::from_be_bytes(packet.header[2..4].try_into().unwrap())
}
