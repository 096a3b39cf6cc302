// SPDX-License-Identifier: MPL-2.0
use super::drain::{REPORT_PATIENCE, TAIL_PROBE};
use super::*;
use crate::media::rtp_packet::OutboundPacket;
use crate::peer::Direction;

mod bounds;
mod picture_loss;

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
        fec: None,
        rtcp_rsize: true,
        layers: Vec::new(),
        layer: None,
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

/// A frame of `packets` of 1000 bytes.
fn picture(key: bool, packets: usize) -> OutboundFrame {
    let whole = frame(key, 1000);
    let packets = (0..packets).flat_map(|_| whole.packets.iter().cloned());
    OutboundFrame {
        key,
        packets: packets.collect(),
    }
}

/// Takes what waits, as the driver does; gives when the last of it left.
fn take_paced(
    outbound: &Outbound,
    pacer: &mut Pacer,
    mut now: Instant,
    until: Instant,
    taken: &mut Vec<(Duration, Numbered)>,
    start: Instant,
) -> Instant {
    while now < until {
        let mut into = Vec::new();
        let more = outbound.take(now, pacer, 1000, &mut into);
        taken.extend(into.into_iter().map(|packet| (now - start, packet)));
        let Some(due) = more.due else {
            return now;
        };
        assert!(due > now, "it is no use to come at once");
        // Timers are of a millisecond, and late.
        now = due + Duration::from_millis(1);
    }
    now
}

fn take_all(outbound: &Outbound, now: Instant, taken: &mut Vec<Numbered>) {
    let end = now + Duration::from_secs(60);
    let mut paced = Vec::new();
    take_paced(outbound, &mut Pacer::default(), now, end, &mut paced, now);
    taken.extend(paced.into_iter().map(|(_, packet)| packet));
}

fn limited(target: u64) -> Pacer {
    let mut pacer = Pacer::default();
    let pacing = Pacing {
        target,
        limited: true,
        ..Pacing::default()
    };
    pacer.set(pacing, Instant::now());
    pacer
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_small_frame_leaves_at_once() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = Pacer::default();
    for number in 0..30 {
        let now = start + number * 33 * MS;
        outbound.push(0, picture(number == 0, 9), now);
        let mut taken = Vec::new();
        let more = outbound.take(now, &mut pacer, 1000, &mut taken);
        assert_eq!((taken.len(), more.due), (9, None), "frame {number}");
    }
}

#[test]
fn to_a_near_remote_where_bursts_come_through_a_frame_leaves_at_once() {
    for (clear, near, at_once) in [(true, true, 55), (true, false, 30), (false, true, 30)] {
        let whole = clear && near;
        let outbound = outbound();
        outbound.open(None);
        let start = Instant::now();
        let mut pacer = Pacer::default();
        let pacing = Pacing {
            target: 8_000_000,
            clear,
            near,
            ..Pacing::default()
        };
        pacer.set(pacing, start);
        for number in 0..30 {
            let now = start + number * 33 * MS;
            outbound.push(0, picture(false, 55), now);
            let mut taken = Vec::new();
            let more = outbound.take(now, &mut pacer, 1000, &mut taken);
            assert_eq!(taken.len() == 55, whole, "{}", taken.len());
            assert!(taken.len() <= at_once, "{}", taken.len());
            assert_eq!(more.due.is_none(), whole);
            let end = now + 33 * MS;
            take_paced(&outbound, &mut pacer, now, end, &mut Vec::new(), start);
            assert!(!outbound.has_frames());
        }
    }
}

#[test]
fn a_key_frame_is_spread_and_is_gone_in_time_whatever_the_estimate() {
    for (target, clear) in [
        (0, false),
        (100_000, false),
        (2_000_000, false),
        (2_000_000, true),
    ] {
        let outbound = outbound();
        outbound.open(None);
        let start = Instant::now();
        let mut pacer = Pacer::default();
        let pacing = Pacing {
            target,
            clear,
            ..Pacing::default()
        };
        pacer.set(pacing, start);
        outbound.push(0, picture(true, 300), start);
        let mut taken = Vec::new();
        let end = take_paced(
            &outbound,
            &mut pacer,
            start,
            start + 500 * MS,
            &mut taken,
            start,
        );
        assert_eq!(taken.len(), 300);
        assert!(end - start <= 115 * MS, "{:?}", end - start);
        let within = |from: u32, to: u32| {
            let times = taken
                .iter()
                .filter(|(at, _)| *at >= from * MS && *at < to * MS);
            times.count()
        };
        for from in (0..100).step_by(10) {
            let burst = if clear && from == 0 { 100 } else { 60 };
            assert!(
                within(from, from + 10) <= burst,
                "{from}: {}",
                within(from, from + 10)
            );
        }
    }
}

#[test]
fn a_film_far_above_the_estimate_loses_nothing_while_the_path_showed_no_limit() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = Pacer::default();
    let pacing = Pacing {
        target: 2_000_000,
        ..Pacing::default()
    };
    pacer.set(pacing, start);
    let mut taken = Vec::new();
    let mut now = start;
    // 40 Mbit/s at 25 fps, a key frame of four times the size each second.
    for number in 0..250 {
        let at = start + number * 40 * MS;
        now = take_paced(
            &outbound,
            &mut pacer,
            now.max(at - 40 * MS),
            at,
            &mut taken,
            start,
        )
        .max(at);
        let size = if number % 25 == 0 { 800 } else { 200 };
        let pushed = outbound.push(0, picture(number % 25 == 0, size), at);
        assert_eq!(pushed, Pushed::Queued, "frame {number}");
        let age = outbound.take(at, &mut pacer, 0, &mut Vec::new()).age;
        assert!(age < 130 * MS, "frame {number}: {age:?}");
    }
    take_paced(
        &outbound,
        &mut pacer,
        now,
        now + 1000 * MS,
        &mut taken,
        start,
    );
    assert_eq!(taken.len(), 10 * (800 + 24 * 200));
}

#[test]
fn sound_does_not_wait_for_a_key_frame_on_a_narrow_path() {
    let sound = StreamConfig {
        kind: MediaKind::Audio,
        ..line()
    };
    let outbound = Outbound::new(&[line(), sound]);
    outbound.set_codec(0, codec());
    outbound.set_codec(1, codec());
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(1_000_000);
    outbound.push(0, picture(true, 100), start);
    let mut now = start;
    let mut taken = Vec::new();
    for number in 0..20 {
        now = now.max(start + number * 20 * MS);
        outbound.push(1, frame(false, 80), now);
        let mut into = Vec::new();
        outbound.take(now, &mut pacer, 1000, &mut into);
        assert_eq!(into.first().map(|packet| packet.stream), Some(1));
        let end = now + 19 * MS;
        now = take_paced(&outbound, &mut pacer, now, end, &mut taken, start);
    }
    assert!(outbound.has_frames(), "the picture is still on its way");
}

#[test]
fn a_narrow_path_gets_what_it_carries() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(1_000_000);
    outbound.push(0, picture(true, 200), start);
    let mut taken = Vec::new();
    take_paced(
        &outbound,
        &mut pacer,
        start,
        start + 1000 * MS,
        &mut taken,
        start,
    );
    // 1.2 times 1 Mbit/s, with headers; 5 ms at a time, and what a late timer makes up for.
    let sent: usize = taken.iter().map(|(_, t)| t.packet.payload.len() + 40).sum();
    assert!((140_000..=156_000).contains(&sent), "{sent}");
    for window in taken.windows(5) {
        assert!(window[4].0 - window[0].0 >= 15 * MS);
    }
}

#[test]
fn what_waits_too_long_is_dropped_up_to_a_key_frame_that_is_asked_for_once() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(1_000_000);
    let mut taken = Vec::new();
    let (mut now, mut asked, mut dropped, mut key_due) = (start, 0, 0, false);
    let mut oldest = Duration::ZERO;
    // Twice what the path carries, from an encoder that nobody can drive but for key frames.
    for number in 0..300u32 {
        let at = start + number * 33 * MS;
        let from = now.max(at - (at - start).min(33 * MS));
        now = take_paced(&outbound, &mut pacer, from, at, &mut taken, start).max(at);
        let key = number == 0 || std::mem::take(&mut key_due);
        let (size, before) = if key { (30, dropped) } else { (8, dropped) };
        match outbound.push(0, picture(key, size), at) {
            Pushed::Queued => {}
            Pushed::Replaced(frames) => dropped += frames,
            Pushed::Dropped { ask } => {
                dropped += 1;
                asked += u32::from(ask);
                key_due |= ask;
            }
            other => panic!("{other:?}"),
        }
        assert!(!key || dropped == before, "a key frame is never dropped");
        oldest = oldest.max(outbound.take(at, &mut pacer, 0, &mut Vec::new()).age);
    }
    assert!((50..250).contains(&dropped), "{dropped} dropped");
    assert!((3..20).contains(&asked), "asked {asked} times");
    assert!(oldest < 700 * MS, "{oldest:?}");
    // What was dropped is no loss to the receiver.
    let numbers: Vec<u16> = taken
        .iter()
        .map(|(_, t)| t.packet.header.sequence_number)
        .collect();
    assert!(
        numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    );
    // And what left is whole frames.
    let marked = taken.iter().filter(|(_, t)| t.packet.header.marker).count();
    assert_eq!(marked, taken.len(), "each packet of these has one");
}

#[test]
fn a_key_frame_takes_the_place_of_what_waits_too_long() {
    let outbound = outbound();
    outbound.open(None);
    let start = Instant::now();
    let mut pacer = limited(1_000_000);
    outbound.take(start, &mut pacer, 0, &mut Vec::new());
    for number in 0..5 {
        assert_eq!(
            outbound.push(0, picture(number == 0, 20), start),
            Pushed::Queued
        );
    }
    let mut taken = Vec::new();
    outbound.take(start, &mut pacer, 1000, &mut taken);
    assert!((1..20).contains(&taken.len()), "a part of the first frame");
    assert_eq!(
        outbound.push(0, picture(true, 20), start),
        Pushed::Replaced(4)
    );
    take_all(&outbound, start + 1000 * MS, &mut taken);
    assert_eq!(taken.len(), 40, "what was begun is finished");
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
    take_all(&outbound, Instant::now(), &mut taken);
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
    take_all(&outbound, Instant::now(), &mut taken);
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
    take_all(&outbound, now, &mut taken);
    assert_eq!(outbound.drained(now), Drained::Waiting);
    assert_eq!(outbound.drained(now + REPORT_PATIENCE), Drained::Done);
    let number = u32::from(taken[0].packet.header.sequence_number);
    outbound.acknowledge(0, number.wrapping_sub(1), now);
    assert_eq!(outbound.drained(now + TAIL_PROBE), Drained::Probe(vec![0]));
    outbound.acknowledge(0, number, now);
    assert_eq!(outbound.drained(now), Drained::Done);
}

#[test]
fn fec_of_its_own_ssrc_never_uses_a_number_twice() {
    use crate::media::fec::Scheme;
    let with_fec = |percentage: Option<u8>| StreamConfig {
        fec: percentage.map(|percentage| Protection {
            scheme: Scheme::Flexfec,
            payload_type: 124,
            red: None,
            percentage: Some(percentage),
        }),
        ..line()
    };
    let outbound = outbound();
    outbound.open(None);
    let ssrc = outbound.fec_ssrc(0);
    let mut numbers = Vec::new();
    for percentage in [Some(50), Some(60), None, Some(50)] {
        outbound.set_streams(&[with_fec(percentage)]);
        outbound.push(0, picture(true, 10), Instant::now());
        let mut taken = Vec::new();
        take_all(&outbound, Instant::now(), &mut taken);
        let headers = taken.iter().map(|t| &t.packet.header);
        let fec = headers.filter(|header| header.ssrc == ssrc);
        numbers.extend(fec.map(|header| header.sequence_number));
    }
    assert!(numbers.len() >= 9, "{numbers:?}");
    let follow = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!(numbers.windows(2).all(follow), "{numbers:?}");
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
    let mut pacer = Pacer::default();
    let first = outbound.take(start, &mut pacer, 1000, &mut taken);
    assert_eq!(first.frames, [1, 0], "sound goes first");
    let due = first.due.expect("the rest waits");
    assert!(due > start && due < start + Duration::from_secs(1));
    let mut now = due;
    while outbound.has_frames() {
        let more = outbound.take(now, &mut pacer, 1000, &mut taken);
        now = more.due.unwrap_or(now);
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

#[test]
fn what_waited_for_the_opening_leaves_in_its_order() {
    let sound = Codec {
        kind: MediaKind::Audio,
        name: "opus".into(),
        clock_rate: 48000,
        ..codec()
    };
    let lines = [
        line(),
        StreamConfig {
            kind: MediaKind::Audio,
            codecs: vec![sound.clone()],
            ..line()
        },
    ];
    let outbound = Outbound::new(&lines);
    outbound.set_codec(0, codec());
    outbound.set_codec(1, sound);
    let start = Instant::now();
    outbound.open(Some(start + 100 * MS));
    for number in 0..3 {
        let now = start + number * 20 * MS;
        outbound.push(0, picture(number == 0, 9), now);
        outbound.push(1, frame(false, 100), now);
    }
    let later = start + 101 * MS;
    let mut pacer = Pacer::default();
    let mut taken = Vec::new();
    let first = outbound.take(later, &mut pacer, 9, &mut taken);
    assert!(first.due.is_some() || !first.empty);
    outbound.push(1, frame(false, 100), later);
    let mut paced = Vec::new();
    let end = start + Duration::from_secs(1);
    take_paced(&outbound, &mut pacer, later, end, &mut paced, later);
    taken.extend(paced.into_iter().map(|(_, packet)| packet));
    let mut pictures = 0;
    let mut before = Vec::new();
    for packet in &taken {
        match packet.stream {
            0 => pictures += 1,
            _ => before.push(pictures),
        }
    }
    let each = before.iter().zip([9, 18, 27, 27]);
    assert!(each.clone().all(|(got, least)| *got >= least), "{before:?}");
    assert_eq!((each.count(), pictures), (4, 27));
    assert!(
        before[0] < 18,
        "sound waits for its own picture only: {before:?}"
    );

    // On a path with a limit sound goes first.
    let narrow = Outbound::new(&lines);
    narrow.set_codec(0, codec());
    narrow.open(Some(start + 100 * MS));
    narrow.push(0, picture(true, 9), start);
    narrow.set_codec(1, lines[1].codecs[0].clone());
    narrow.push(1, frame(false, 100), start);
    let mut taken = Vec::new();
    narrow.take(start + 100 * MS, &mut limited(10_000), 1000, &mut taken);
    assert_eq!(taken.first().map(|packet| packet.stream), Some(1));
}
