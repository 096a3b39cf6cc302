// SPDX-License-Identifier: MPL-2.0
//! What is lost is made again from FEC where retransmissions would come too late, on a virtual
//! clock.

use std::collections::HashMap;

use bytes::Bytes;
use rtc::interceptor::{FlexFec03Decoder, FlexFec03Encoder};
use rtc::rtp;
use rtc::shared::marshal::{Marshal, Unmarshal};

use super::harness::Net;
use super::*;
use crate::media::fec::{Decoder, Encoder, Protection, Repair, Scheme};

/// Half of the round trip: an answer to a NACK comes after twice this.
const DELAY: u64 = 150;
/// What a receiver waits for.
const DEADLINE: u64 = 200;

fn protection(scheme: Scheme, percentage: Option<u8>) -> Protection {
    Protection {
        scheme,
        payload_type: 124,
        red: (scheme == Scheme::Ulpfec).then_some((122, Some(123))),
        percentage,
    }
}

/// A call of VP8 over links of `conditions`, protected or not.
fn net(fec: Option<Protection>, conditions: &str, seed: u64) -> Net {
    let lines = |direction| {
        let line = line(direction, 0, vec![vp8()]);
        vec![StreamConfig { fec, ..line }]
    };
    let link = format!("delay={DELAY}ms; 300ms: {conditions}");
    let (sent, received) = (lines(Direction::SendOnly), lines(Direction::RecvOnly));
    Net::of_lines(sent, received, &link, &link, seed)
}

/// Picture `id` at `at`, as a VP8 payloader writes it (RFC 7741 section 4.2), in `packets`.
fn picture(id: u16, first: u32, packets: u32, at: Duration) -> OutboundFrame {
    let packets = (first..first + packets).map(|number| {
        let mut payload = vec![0u8; 1000 + (number % 90) as usize];
        payload[0] = 0x80 | if number == first { 0x10 } else { 0 };
        payload[1] = 0x80;
        payload[2..4].copy_from_slice(&(0x8000 | id).to_be_bytes());
        // Of a key frame, the last bit is 0.
        payload[4] = u8::from(id > 0);
        payload[8..12].copy_from_slice(&number.to_be_bytes());
        OutboundPacket {
            timestamp: (at.as_micros() * 9 / 100) as u32,
            marker: number + 1 == first + packets,
            payload: Bytes::from(payload),
            extensions: Vec::new(),
            skipped: 0,
        }
    });
    OutboundFrame {
        key: id == 0,
        packets: packets.collect(),
    }
}

/// Ten seconds of 30 frames a second, nine packets each; gives the part of the frames that came
/// whole in time, and that of the numbers that were never accounted for.
fn play(net: &mut Net) -> (f64, f64) {
    const PACKETS: u32 = 9;
    let mut pushed = Vec::new();
    for frame in 0..300u32 {
        let at = Duration::from_micros(u64::from(frame) * 33_333);
        net.advance(at);
        net.push(0, picture(frame as u16, frame * PACKETS, PACKETS, at));
        pushed.push(at);
    }
    net.advance(net.now() + Duration::from_secs(2));
    let mut whole: HashMap<u32, u32> = HashMap::new();
    let mut numbers: Vec<u16> = Vec::new();
    for arrived in &net.arrived {
        let mut header = arrived.packet.header.clone();
        let header = rtp::header::Header::unmarshal(&mut header).unwrap();
        numbers.push(header.sequence_number);
        assert_eq!(header.payload_type, 96, "what is delivered is media");
        let payload = &arrived.packet.payload;
        let Some(number) = payload.get(8..12) else {
            assert!(payload.is_empty());
            continue;
        };
        let number = u32::from_be_bytes(number.try_into().unwrap());
        let frame = number / PACKETS;
        let sent = picture(
            frame as u16,
            frame * PACKETS,
            PACKETS,
            pushed[frame as usize],
        );
        let sent = &sent.packets[(number % PACKETS) as usize];
        assert_eq!(*payload, sent.payload);
        assert_eq!(
            (header.marker, header.timestamp),
            (sent.marker, sent.timestamp)
        );
        let limit = Duration::from_millis(DELAY + DEADLINE);
        if arrived.at <= pushed[frame as usize] + limit {
            *whole.entry(frame).or_default() += 1;
        }
    }
    let all = numbers.len();
    let first = numbers[0];
    numbers.sort_unstable_by_key(|number| number.wrapping_sub(first));
    numbers.dedup();
    assert_eq!(numbers.len(), all, "nothing is delivered twice");
    let span = numbers.last().unwrap().wrapping_sub(first) as usize + 1;
    let frames = whole
        .values()
        .filter(|packets| **packets == PACKETS)
        .count();
    let gaps = (span - numbers.len()) as f64 / span as f64;
    println!(
        "whole in time {frames} of 300, gaps {gaps:.4}\n  there {:?}\n  back {:?}\n  {:?}",
        net.there,
        net.back,
        net.receiver.stats(0)
    );
    (frames as f64 / 300.0, gaps)
}

#[test]
fn where_a_nack_comes_too_late_fec_repairs_most() {
    let (without, _) = play(&mut net(None, "loss=10%", 1));
    assert!(without < 0.5, "{without}: this is no test of FEC");
    for scheme in [Scheme::Ulpfec, Scheme::Flexfec] {
        for seed in 1..4 {
            let mut net = net(Some(protection(scheme, Some(50))), "loss=10%", seed);
            let (with, _) = play(&mut net);
            assert!(with > 0.9, "{scheme:?}: {with} of the frames");
            let (sent, received) = (net.sender.stats(0), net.receiver.stats(0));
            assert!(sent.fec_packets_sent > 1000, "{sent:?}");
            assert!(received.fec_packets_received > 900, "{received:?}");
            assert!(received.fec_packets_recovered > 100, "{received:?}");
        }
    }
}

#[test]
fn a_repair_packet_that_is_lost_is_no_gap_in_the_media() {
    let mut net = net(Some(protection(Scheme::Ulpfec, Some(50))), "loss=10%", 5);
    let (_, gaps) = play(&mut net);
    assert!(gaps < 0.01, "{gaps} of the numbers");
    let received = net.receiver.stats(0);
    assert!(received.packets_lost < 10, "{received:?}");
}

#[test]
fn without_loss_nothing_is_added_when_it_is_left_to_us() {
    for (conditions, least, most) in [("loss=0%", 0, 0), ("loss=5%", 100, 600)] {
        let mut net = net(Some(protection(Scheme::Flexfec, None)), conditions, 1);
        play(&mut net);
        let sent = net.sender.stats(0).fec_packets_sent;
        assert!((least..=most).contains(&sent), "{conditions}: {sent}");
    }
}

#[test]
fn what_is_added_is_what_was_asked_for_and_repairs_are_not_repaired() {
    for scheme in [Scheme::Ulpfec, Scheme::Flexfec] {
        let mut net = net(Some(protection(scheme, Some(20))), "loss=0%", 1);
        let (whole, gaps) = play(&mut net);
        assert_eq!((whole, gaps), (1.0, 0.0));
        let sent = net.sender.stats(0);
        let media = 300.0 * 9.0;
        let part = sent.fec_packets_sent as f64 / media;
        assert!((0.17..=0.21).contains(&part), "{scheme:?}: {part}");
        assert_eq!(sent.retransmitted_packets_sent, 0, "{sent:?}");
    }
}

/// Twelve packets of one frame, with a header extension.
fn frame_of(ssrc: u32) -> Vec<rtp::Packet> {
    let packets = (0..12u16).map(|number| {
        let mut header = rtp::header::Header {
            version: 2,
            marker: number == 11,
            payload_type: 96,
            sequence_number: 65_530u16.wrapping_add(number),
            timestamp: 90_000,
            ssrc,
            ..Default::default()
        };
        header.set_extension(1, Bytes::from_static(b"0")).unwrap();
        rtp::Packet {
            header,
            payload: vec![number as u8; 100 + usize::from(number)].into(),
        }
    });
    packets.collect()
}

#[test]
fn webrtc_repairs_with_our_flexfec() {
    let packets = frame_of(7);
    let mut encoder = Encoder::new(Scheme::Flexfec, 7, 90_000);
    encoder.set_percentage(50);
    let mut payloads = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        let header = packet.header.marshal().unwrap();
        let (number, timestamp) = (packet.header.sequence_number, packet.header.timestamp);
        let payload = packet.payload.clone();
        payloads.extend(encoder.push(number, timestamp, header, payload, 11 - at));
    }
    assert!(payloads.len() >= 4);
    let mut decoder = FlexFec03Decoder::new(8, 7);
    for (at, packet) in packets.iter().enumerate() {
        if at != 5 {
            decoder.decode(packet.clone());
        }
    }
    let repairs = payloads.into_iter().zip(0u16..).map(|(payload, number)| {
        let header = rtp::header::Header {
            version: 2,
            sequence_number: number,
            ssrc: 8,
            ..Default::default()
        };
        decoder.decode(rtp::Packet { header, payload })
    });
    let recovered: Vec<rtp::Packet> = repairs.flatten().collect();
    assert_eq!(recovered, packets[5..6]);
}

#[test]
fn we_repair_with_webrtcs_flexfec() {
    let packets = frame_of(7);
    let repairs = FlexFec03Encoder::new(125, 8).encode(&packets, 3);
    let (mut decoder, mut recovered) = (Decoder::new(7), Vec::new());
    let now = Instant::now();
    for packet in packets.iter().enumerate().filter(|(n, _)| *n != 4) {
        let (header, payload) = (packet.1.header.marshal().unwrap(), packet.1.payload.clone());
        let number = packet.1.header.sequence_number;
        decoder.media(number, header.freeze(), payload, now, &mut recovered);
    }
    for packet in repairs {
        let repair = Repair::read(Scheme::Flexfec, &packet.payload, 7).unwrap();
        decoder.repair(repair, now, &mut recovered);
    }
    assert_eq!(recovered.len(), 1);
    let mut whole = recovered[0].packet.clone();
    assert_eq!(rtp::Packet::unmarshal(&mut whole).unwrap(), packets[4]);
}
