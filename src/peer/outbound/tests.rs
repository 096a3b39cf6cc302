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

fn line() -> StreamConfig {
    StreamConfig {
        kind: MediaKind::Video,
        direction: Direction::SendOnly,
        mid: "0".to_owned(),
        codecs: vec![codec()],
        extensions: vec![],
        msid: None,
        rtcp_rsize: true,
    }
}

fn outbound() -> Outbound {
    let outbound = Outbound::new(&[line()]);
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

#[test]
fn a_backlog_leaves_paced_and_takes_no_time_and_sound_does_not_wait_for_it() {
    let sound = StreamConfig {
        kind: MediaKind::Audio,
        ..line()
    };
    let outbound = Outbound::new(&[line(), sound]);
    outbound.set_codec(0, codec());
    outbound.set_codec(1, codec());
    outbound.open(None);
    let start = Instant::now();
    let backlog: Vec<_> = (0..10u32)
        .map(|n| frame(n == 0, 100_000).at(n * 3000))
        .collect();
    outbound.push_backlog(0, &backlog, start);
    outbound.push(0, frame(false, 10).at(30_000), start);
    outbound.push(1, frame(false, 10), start);
    let mut taken = Vec::new();
    assert_eq!(outbound.take(start, 1000, &mut taken), [0, 1]);
    let due = outbound.held_until(start).expect("the rest waits");
    assert!(due > start && due < start + Duration::from_secs(1));
    let mut now = due;
    while outbound.has_frames() {
        outbound.take(now, 1000, &mut taken);
        now = outbound.held_until(now).unwrap_or(now);
    }
    // Four times as fast as a third of a second of film was made.
    let whole = now - start;
    assert!(
        whole > Duration::from_millis(50) && whole < Duration::from_secs(1),
        "{whole:?}"
    );
    taken.retain(|t| t.stream == 0);
    let times: Vec<u32> = taken.iter().map(|t| t.packet.header.timestamp).collect();
    assert_eq!(times.len(), 11);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(times[9] - times[0], 810, "9 ms");
    assert_eq!(times[10] - times[9], 3000);
}

#[test]
fn a_stream_may_begin_with_a_key_frame_only_and_asks_for_one() {
    let outbound = Outbound::starting(true);
    outbound.set_streams(&[line()]);
    outbound.set_codec(0, codec());
    outbound.open(None);
    let now = Instant::now();
    let early = |ask| Pushed::TooEarly { ask };
    assert_eq!(outbound.push(0, frame(false, 1), now), early(false));
    assert_eq!(
        outbound.push(0, frame(false, 1), now + ASK_AGAIN),
        early(true)
    );
    assert_eq!(outbound.push(0, frame(true, 1), now), Pushed::Queued);
    assert_eq!(outbound.push(0, frame(false, 1), now), Pushed::Queued);
}
