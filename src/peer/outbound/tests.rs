// SPDX-License-Identifier: MPL-2.0
use super::*;
use crate::media::rtp_packet::OutboundPacket;
use crate::peer::Direction;

fn codec() -> Codec {
    Codec {
        kind: MediaKind::Video,
        name: "VP8".into(),
        clock_rate: 90000,
        channels: None,
        fmtp: String::new(),
        payload_type: 96,
        rtx_payload_type: None,
        feedback: vec![],
    }
}

fn outbound() -> Outbound {
    let stream = StreamConfig {
        kind: MediaKind::Video,
        direction: Direction::SendOnly,
        mid: "0".to_owned(),
        codecs: vec![codec()],
        extensions: vec![],
        msid: None,
        rtcp_rsize: true,
    };
    let outbound = Outbound::new(&[stream]);
    outbound.set_codec(0, codec());
    outbound
}

fn frame(key: bool, size: usize) -> OutboundFrame {
    let payload = Bytes::from(vec![0; size]);
    let packet = OutboundPacket {
        timestamp: 1,
        marker: true,
        payload,
        extensions: vec![],
        skipped: 0,
    };
    OutboundFrame {
        key,
        packets: vec![packet].into(),
    }
}

#[test]
fn nothing_is_accepted_before_the_call_is_up() {
    let outbound = outbound();
    assert_eq!(
        outbound.push(0, frame(true, 1), Instant::now()),
        Pushed::Refused
    );
    outbound.open(None);
    assert_eq!(
        outbound.push(0, frame(true, 1), Instant::now()),
        Pushed::Queued
    );
    assert_eq!(
        outbound.push(1, frame(true, 1), Instant::now()),
        Pushed::Refused
    );
    outbound.close();
    assert_eq!(
        outbound.push(0, frame(true, 1), Instant::now()),
        Pushed::Refused
    );
}

#[test]
fn a_full_queue_drops_up_to_the_next_key_frame_and_numbers_stay_contiguous() {
    let outbound = outbound();
    outbound.open(None);
    assert_eq!(
        outbound.push(0, frame(true, MAX_BYTES), Instant::now()),
        Pushed::Queued
    );
    assert_eq!(
        outbound.push(0, frame(false, 1), Instant::now()),
        Pushed::Dropped { ask: true }
    );
    let mut taken = Vec::new();
    outbound.take(Instant::now(), 1000, &mut taken);
    assert_eq!(
        outbound.push(0, frame(false, 1), Instant::now()),
        Pushed::Dropped { ask: false }
    );
    assert_eq!(
        outbound.push(0, frame(true, 1), Instant::now()),
        Pushed::Queued
    );
    assert_eq!(
        outbound.push(0, frame(false, 1), Instant::now()),
        Pushed::Queued
    );
    outbound.take(Instant::now(), 1000, &mut taken);
    let numbers: Vec<u16> = taken
        .iter()
        .map(|t| t.packet.header.sequence_number)
        .collect();
    assert_eq!(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 2]);
}

#[test]
fn a_drain_waits_for_the_last_packet_and_probes_for_it() {
    let outbound = outbound();
    outbound.open(None);
    outbound.push(0, frame(true, 1), Instant::now());
    let now = Instant::now();
    assert_eq!(outbound.drained(now), Drained::Waiting);
    let mut taken = Vec::new();
    outbound.take(now, 1000, &mut taken);
    assert_eq!(outbound.drained(now), Drained::Waiting);
    assert_eq!(outbound.drained(now + REPORT_PATIENCE), Drained::Done);
    let number = u32::from(taken[0].packet.header.sequence_number);
    outbound.acknowledge(0, number.wrapping_sub(1), now);
    assert_eq!(outbound.drained(now + TAIL_PROBE), Drained::Probe(vec![0]));
    outbound.acknowledge(0, number, now);
    assert_eq!(outbound.drained(now), Drained::Done);
}
