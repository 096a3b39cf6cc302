// SPDX-License-Identifier: MPL-2.0
//! Calls between two peers of this process, over loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::connection::WebRtcPeer;
use super::{Direction, Peer, PeerConfig, PeerError, PeerEvent, StreamConfig};
use crate::media::codec::{Codec, MediaKind};
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
        feedback: feedback(&["nack", "nack pli", "ccm fir", "transport-cc"]),
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

fn config(direction: Direction) -> PeerConfig {
    let stream = |codecs: Vec<Codec>| StreamConfig { kind: codecs[0].kind, direction, codecs };
    PeerConfig {
        streams: vec![stream(vec![vp8(), h264()]), stream(vec![opus()])],
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ice_servers: vec![],
    }
}

struct End {
    peer: Arc<WebRtcPeer>,
    events: mpsc::Receiver<PeerEvent>,
}

impl End {
    fn new(config: PeerConfig) -> Self {
        let (peer, events) = WebRtcPeer::new(config).unwrap();
        Self { peer: Arc::new(peer), events }
    }

    async fn event(&mut self) -> PeerEvent {
        tokio::time::timeout(DEADLINE, self.events.recv()).await.expect("an event in time").unwrap()
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
}

impl Call {
    async fn new(sender_offers: bool) -> Self {
        let mut call = Self {
            sender: End::new(config(Direction::SendOnly)),
            receiver: End::new(config(Direction::RecvOnly)),
        };
        let (offerer, answerer) = if sender_offers {
            (&call.sender.peer, &call.receiver.peer)
        } else {
            (&call.receiver.peer, &call.sender.peer)
        };
        let offer = offerer.create_offer().await.unwrap();
        let answer = answerer.answer(offer).await.unwrap();
        call.sender.peer.set_send_codec(0, vp8());
        call.sender.peer.set_send_codec(1, opus());
        offerer.set_answer(answer).await.unwrap();
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
        }
    });
    OutboundFrame { key: true, packets: packets.collect() }
}

/// Reads packets from `queue` on a thread of its own until there are `count`.
async fn read(queue: Arc<InboundQueue>, count: usize) -> Vec<InboundPacket> {
    let read = move || {
        let end = Instant::now() + DEADLINE;
        let mut packets = Vec::new();
        while packets.len() < count && Instant::now() < end {
            match queue.pop(Duration::from_millis(100)) {
                Popped::Item(Inbound::Rtp(packet)) => packets.push(packet),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_arrive_complete_and_in_order_in_both_roles() {
    for sender_offers in [true, false] {
        let call = Call::new(sender_offers).await;
        let reader = tokio::spawn(read(call.receiver.peer.inbound(0).unwrap(), 10_000));
        let audio = tokio::spawn(read(call.receiver.peer.inbound(1).unwrap(), 25));
        for burst in 0..25 {
            assert!(call.sender.peer.push_frame(0, frame(burst * 400, 400, 1200)));
            assert!(call.sender.peer.push_frame(1, frame(burst, 1, 80)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let packets = reader.await.unwrap();
        assert_eq!(packets.len(), 10_000, "{:?}", call.receiver.peer.stats(0).await);
        assert!(packets.iter().zip(0u32..).all(|(packet, position)| number(packet) == position));
        let first = sequence(&packets[0]);
        assert!(packets.iter().zip(0u16..).all(|(p, n)| sequence(p) == first.wrapping_add(n)));
        assert_eq!(audio.await.unwrap().len(), 25);
        let start = Instant::now();
        tokio::time::timeout(DEADLINE, call.sender.peer.drained()).await.unwrap();
        println!("drained in {:?}", start.elapsed());
        let (sent, received) = (call.sender.peer.stats(0).await, call.receiver.peer.stats(0).await);
        assert_eq!((sent.packets_sent, sent.frames_sent), (10_000, 25));
        assert_eq!((received.packets_received, received.packets_lost), (10_000, 0));
        assert_eq!((sent.ssrc, sent.rtx_ssrc), (received.ssrc, received.rtx_ssrc));
        let info = call.sender.peer.transport_info().await;
        assert!(info.local_candidate.starts_with("127.0.0.1:"), "{info:?}");
        assert_eq!(info.dtls_role, "client");
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_right_at_connected_arrives() {
    for round in 0..50 {
        let call = Call::new(round % 2 == 0).await;
        assert!(call.sender.peer.push_frame(0, frame(0, 50, 1000)));
        let packets = read(call.receiver.peer.inbound(0).unwrap(), 50).await;
        assert_eq!(packets.len(), 50, "call {round}");
        assert_eq!(number(&packets[0]), 0);
        assert_eq!(call.sender.peer.stats(0).await.retransmitted_packets_sent, 0);
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_is_dtls_server_waits_for_its_receiver() {
    for round in 0..20 {
        let mut sender = End::new(config(Direction::SendOnly));
        let receiver = End::new(config(Direction::RecvOnly));
        let offer = sender.peer.create_offer().await.unwrap();
        let offer = offer.replace("a=setup:actpass", "a=setup:passive");
        let answer = receiver.peer.answer(offer).await.unwrap();
        assert!(answer.contains("a=setup:active"));
        sender.peer.set_send_codec(0, vp8());
        sender.peer.set_answer(answer).await.unwrap();
        sender.connected().await;
        assert!(sender.peer.push_frame(0, frame(0, 50, 1000)));
        let packets = read(receiver.peer.inbound(0).unwrap(), 50).await;
        assert_eq!(packets.len(), 50, "call {round}");
        assert_eq!(sender.peer.stats(0).await.retransmitted_packets_sent, 0);
        assert_eq!(sender.peer.transport_info().await.dtls_role, "server");
        tokio::join!(sender.peer.close(), receiver.peer.close());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_up_a_moment_after_the_answer() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let mut sender = End::new(config(Direction::SendOnly));
        let mut receiver = End::new(config(Direction::RecvOnly));
        let offer = sender.peer.create_offer().await.unwrap();
        let answer = receiver.peer.answer(offer).await.unwrap();
        let start = Instant::now();
        sender.peer.set_answer(answer).await.unwrap();
        sender.connected().await;
        receiver.connected().await;
        best = best.min(start.elapsed());
        tokio::join!(sender.peer.close(), receiver.peer.close());
    }
    println!("connected in {best:?}");
    assert!(best < Duration::from_millis(60), "{best:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_frame_requests_reach_the_sender_at_a_bounded_rate() {
    let mut call = Call::new(true).await;
    assert!(call.sender.peer.push_frame(0, frame(0, 1, 100)));
    assert_eq!(read(call.receiver.peer.inbound(0).unwrap(), 1).await.len(), 1);
    (0..5).for_each(|_| call.receiver.peer.request_key_frame(0));
    let event = call.sender.event().await;
    assert!(matches!(event, PeerEvent::KeyFrameRequest(0)), "{event:?}");
    assert_eq!(call.receiver.peer.stats(0).await.pli_count, 1);
    assert_eq!(call.sender.peer.stats(0).await.pli_count, 1);
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_learns_at_once_that_the_other_closed() {
    for sender_closes in [true, false] {
        let mut call = Call::new(true).await;
        call.receiver.connected().await;
        assert!(call.sender.peer.push_frame(0, frame(0, 1, 100)));
        let queue = call.receiver.peer.inbound(0).unwrap();
        assert_eq!(read(queue.clone(), 1).await.len(), 1);
        let (closing, other) = if sender_closes {
            (&mut call.sender, &mut call.receiver)
        } else {
            (&mut call.receiver, &mut call.sender)
        };
        let start = Instant::now();
        closing.peer.close().await;
        let closed = start.elapsed();
        let event = other.event().await;
        let seen = start.elapsed();
        assert!(matches!(event, PeerEvent::RemoteClosed), "{event:?}");
        println!("closed in {closed:?}, seen after {seen:?}");
        assert!(closed < Duration::from_millis(500), "{closed:?}");
        assert!(seen < Duration::from_millis(400), "{seen:?}");
        assert!(read(queue, 1).await.is_empty());
        call.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_remote_is_noticed_within_six_seconds() {
    let mut call = Call::new(true).await;
    call.receiver.connected().await;
    call.sender.peer.shared.nudge.blackhole.store(true, Ordering::Release);
    let start = Instant::now();
    let event = call.receiver.event().await;
    let seen = start.elapsed();
    println!("dead remote seen after {seen:?}");
    assert!(matches!(event, PeerEvent::Failed(PeerError::Ice(_))), "{event:?}");
    assert!(seen > Duration::from_secs(4) && seen < Duration::from_millis(6200), "{seen:?}");
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_the_described_one_is_refused() {
    let mut sender = End::new(config(Direction::SendOnly));
    let mut receiver = End::new(config(Direction::RecvOnly));
    let offer = sender.peer.create_offer().await.unwrap();
    let answer = receiver.peer.answer(offer).await.unwrap();
    let at = answer.find("sha-256 ").unwrap() + "sha-256 ".len();
    let digit = if &answer[at..=at] == "0" { "1" } else { "0" };
    let answer = format!("{}{digit}{}", &answer[..at], &answer[at + 1..]);
    let start = Instant::now();
    sender.peer.set_answer(answer).await.unwrap();
    let event = sender.event().await;
    println!("{event:?} after {:?}", start.elapsed());
    assert!(matches!(event, PeerEvent::Failed(PeerError::Dtls(_))), "{event:?}");
    let event = receiver.event().await;
    println!("{event:?} after {:?}", start.elapsed());
    assert!(matches!(event, PeerEvent::Failed(PeerError::Dtls(_))), "{event:?}");
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_carried_over_slowly() {
    let seconds = std::env::var("RSWEBRTC_TEST_DELAY").ok().and_then(|s| s.parse().ok());
    let mut sender = End::new(config(Direction::SendOnly));
    let mut receiver = End::new(config(Direction::RecvOnly));
    let offer = sender.peer.create_offer().await.unwrap();
    let answer = receiver.peer.answer(offer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(8))).await;
    let start = Instant::now();
    sender.peer.set_answer(answer).await.unwrap();
    sender.connected().await;
    receiver.connected().await;
    println!("late answer: connected in {:?}", start.elapsed());
    tokio::join!(sender.peer.close(), receiver.peer.close());
}

/// Open files and threads of this process.
fn open() -> (usize, usize) {
    let count = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
    (count("/proc/self/fd"), count("/proc/self/task"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_and_dropped_peers_leave_nothing_behind() {
    Call::new(true).await.close().await;
    let before = open();
    for round in 0..50 {
        let call = Call::new(round % 2 == 0).await;
        if round % 5 != 0 {
            call.close().await;
        }
    }
    // Other tests of this process have some files open too.
    let end = Instant::now() + DEADLINE;
    while open().0 > before.0 + 20 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = open();
    println!("files and threads: {before:?} before, {after:?} after");
    assert!(after.0 <= before.0 + 20, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_twice_or_early_is_fine() {
    let end = End::new(config(Direction::SendOnly));
    end.peer.create_offer().await.unwrap();
    assert!(!end.peer.push_frame(0, frame(0, 1, 100)));
    end.peer.drained().await;
    end.peer.close().await;
    end.peer.close().await;
    assert!(matches!(end.peer.create_offer().await, Err(PeerError::Closed)));
    assert!(matches!(end.peer.set_answer(String::new()).await, Err(PeerError::Closed)));
    let end = End::new(config(Direction::RecvOnly));
    let refused = end.peer.answer("nonsense".to_owned()).await;
    assert!(matches!(refused, Err(PeerError::Description(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_exactly_what_was_asked_for() {
    let offerer = End::new(config(Direction::SendOnly));
    let offer = offerer.peer.create_offer().await.unwrap();
    let offer = offer.replace("a=sendonly", "a=sendrecv")
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
           a=mid:2\r\na=setup:actpass\r\na=sctp-port:5000\r\n";
    let mut refusing = config(Direction::RecvOnly);
    refusing.streams[0].codecs.clear();
    let answerer = End::new(refusing);
    let answer = answerer.peer.answer(offer).await.unwrap();
    assert!(answer.contains("m=video 0 "), "{answer}");
    assert!(answer.contains("m=application 0 "), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 1\r\n"), "{answer}");
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"), "{answer}");
    assert!(answer.contains("a=recvonly") && !answer.contains("a=sendrecv"), "{answer}");
    assert!(!answer.contains("a=ssrc") && !answer.contains("a=msid:"), "{answer}");
    let audio = answer.find("m=audio").unwrap();
    assert!(answer.find("a=candidate").unwrap() > audio, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_video_lines_may_have_different_codecs() {
    let two = |direction| {
        let mut config = config(direction);
        config.streams[0].codecs = vec![vp8()];
        config.streams[1] = StreamConfig {
            kind: MediaKind::Video,
            direction,
            codecs: vec![h264()],
        };
        config
    };
    let mut sender = End::new(two(Direction::SendOnly));
    let receiver = End::new(two(Direction::RecvOnly));
    let offer = sender.peer.create_offer().await.unwrap();
    let answer = receiver.peer.answer(offer).await.unwrap();
    assert!(answer.contains("SAVPF 96 97\r\n") && answer.contains("SAVPF 102 103\r\n"), "{answer}");
    sender.peer.set_send_codec(0, vp8());
    sender.peer.set_send_codec(1, h264());
    sender.peer.set_answer(answer).await.unwrap();
    sender.connected().await;
    for stream in 0..2 {
        assert!(sender.peer.push_frame(stream, frame(stream as u32, 1, 100)));
        let packets = read(receiver.peer.inbound(stream).unwrap(), 1).await;
        assert_eq!(packets.len(), 1);
        assert_eq!(number(&packets[0]), stream as u32);
    }
    tokio::join!(sender.peer.close(), receiver.peer.close());
}
