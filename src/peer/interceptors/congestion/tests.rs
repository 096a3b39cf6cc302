// SPDX-License-Identifier: MPL-2.0
use bytes::Bytes;

use super::*;

const MS: Duration = Duration::from_millis(1);
const MEDIA: u32 = 1;
const RTX: u32 = 2;
const ID: u8 = 3;

fn packet(ssrc: u32) -> rtp::Packet {
    rtp::Packet {
        header: rtp::header::Header {
            version: 2,
            ssrc,
            ..Default::default()
        },
        payload: Bytes::from_static(&[0; 1000]),
    }
}

fn number(packet: &rtp::Packet) -> Option<u16> {
    let value = packet.header.get_extension(ID)?;
    Some(u16::from_be_bytes(value[..].try_into().unwrap()))
}

fn congestion(start: Instant, numbers: Option<u8>) -> Congestion {
    let mut congestion = Congestion::default();
    congestion.set_limits(BitrateLimits::default(), start);
    congestion.bind(MEDIA, MEDIA, numbers);
    congestion.bind(RTX, MEDIA, numbers);
    congestion.prepare(true, None, start);
    congestion
}

/// Sends 1 Mbit/s from `from` on.
fn send(congestion: &mut Congestion, from: Instant, packets: u32) -> Instant {
    for step in 0..packets {
        let now = from + step * 8 * MS;
        congestion.prepare(true, None, now);
        congestion.departs(&mut packet(MEDIA), Purpose::Media, now);
        congestion.report(now);
    }
    from + packets * 8 * MS
}

fn report(fraction_lost: u8, highest: u32) -> Box<dyn rtcp::Packet> {
    let block = ReceptionReport {
        ssrc: MEDIA,
        fraction_lost,
        last_sequence_number: highest,
        ..Default::default()
    };
    Box::new(ReceiverReport {
        ssrc: 9,
        reports: vec![block],
        ..Default::default()
    })
}

#[test]
fn every_packet_of_ours_has_the_next_number_whatever_it_is_for() {
    let now = Instant::now();
    let mut congestion = congestion(now, Some(ID));
    let mut numbers = Vec::new();
    for (ssrc, purpose) in [
        (MEDIA, Purpose::Media),
        (RTX, Purpose::Repair),
        (7, Purpose::Media),
        (MEDIA, Purpose::Repair),
        (RTX, Purpose::Probe),
    ] {
        let mut packet = packet(ssrc);
        // A retransmission may still have the number of the first time.
        packet
            .header
            .set_extension(ID, Bytes::from_static(&[9, 9]))
            .unwrap();
        congestion.departs(&mut packet, purpose, now);
        numbers.push(number(&packet));
    }
    assert_eq!(numbers, [Some(0), Some(1), Some(0x909), Some(2), Some(3)]);
    congestion.unbind(MEDIA);
    let mut late = packet(RTX);
    congestion.departs(&mut late, Purpose::Repair, now);
    assert_eq!(number(&late), None, "the repairs of a stream end with it");
}

#[test]
fn a_remote_without_numbers_gets_none() {
    let now = Instant::now();
    let mut congestion = congestion(now, None);
    let mut packet = packet(MEDIA);
    let size = congestion.departs(&mut packet, Purpose::Media, now);
    assert_eq!((number(&packet), size), (None, 12 + 1000 + SRTP_TAG));
}

#[test]
fn what_the_remote_estimates_is_a_bound() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let now = send(&mut congestion, start, 100);
    let remb = |bitrate| -> Box<dyn rtcp::Packet> {
        Box::new(ReceiverEstimatedMaximumBitrate {
            sender_ssrc: 9,
            bitrate,
            ssrcs: vec![MEDIA],
        })
    };
    congestion.read(&[remb(300_000.0)], None, now);
    let (estimate, _) = congestion.report(now);
    let estimate = estimate.expect("a change is told at once");
    assert_eq!(estimate.total, 300_000);
    assert!(
        estimate.media > 270_000 && estimate.media < 300_000,
        "{estimate:?}"
    );
    // What comes of a REMB of zero lifts the bound, and tells of nothing that would fit.
    let zero = [
        0x8f, 206, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0, 0, 0, 0, 0, 0, 1,
    ];
    let zero = rtcp::packet::unmarshal(&mut &zero[..]).unwrap();
    congestion.read(&zero, None, now);
    let lifted = congestion.estimate(start).map(|e| e.total);
    assert!(
        lifted > Some(300_000) && lifted < Some(8_000_000),
        "{lifted:?}"
    );
    congestion.read(&[remb(300_000.0)], None, now);
    for nonsense in [f32::NAN, f32::INFINITY, -1.0] {
        congestion.read(&[remb(nonsense)], None, now);
        assert_eq!(congestion.estimate(start).map(|e| e.total), Some(300_000));
    }
}

#[test]
fn much_loss_in_reports_means_less() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let mut now = send(&mut congestion, start, 100);
    let before = congestion.estimate(start).expect("there is control").total;
    congestion.read(&[report(0, 100)], Some(50 * MS), now);
    for number in 1..10 {
        now = send(&mut congestion, now, 100);
        // A fifth; and one that is of nobody's, or of the past, says nothing.
        congestion.read(&[report(51, 100 + number * 100)], Some(50 * MS), now);
        congestion.read(&[report(255, 50)], None, now);
    }
    let after = congestion.estimate(start).expect("there is control");
    assert!(after.total < before * 8 / 10, "{before} {after:?}");
    assert!(after.total > BitrateLimits::default().min, "{after:?}");
    assert!(after.loss > 0.1 && after.loss < 0.3, "{after:?}");
    assert_eq!(after.round_trip, Some(50 * MS));
}

#[test]
fn repairs_and_what_waits_go_off_what_the_encoders_get_but_not_all() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let media = |congestion: &Congestion| congestion.estimate(start).map_or(0, |e| e.media);
    send(&mut congestion, start, 100);
    let calm = media(&congestion);
    let total = congestion.estimate(start).map_or(0, |e| e.total);
    assert!(calm > total * 9 / 10 && calm < total, "{calm} of {total}");
    for step in 100..400 {
        let now = start + step * 8 * MS;
        congestion.departs(&mut packet(MEDIA), Purpose::Media, now);
        if step.is_multiple_of(5) {
            congestion.departs(&mut packet(RTX), Purpose::Repair, now);
        }
        congestion.report(now);
    }
    let repairing = media(&congestion);
    let off = calm - repairing;
    assert!(
        off.abs_diff(200_000) < 40_000,
        "a fifth of 1 Mbit/s, not {off}"
    );
}

#[test]
fn repairs_leave_half_of_the_pace_to_video_that_waits() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let (mut repairs, mut video) = (0, 0);
    for step in 0..2000 {
        let now = start + step * MS;
        congestion.prepare(true, None, now);
        while congestion.pacer.may_leave(now) && congestion.is_turn_of_repairs() {
            congestion.repaired(1000, now);
            repairs += 1;
        }
        let mut taken = Taken {
            waiting: 100_000,
            ..Taken::default()
        };
        while congestion.pacer.may_leave(now) {
            congestion.pacer.left(1000, now);
            taken.charged += 1000;
            video += 1;
        }
        congestion.left_behind(&taken, now);
    }
    let part = f64::from(repairs) / f64::from(repairs + video);
    assert!((0.4..0.6).contains(&part), "{repairs} and {video}");
    // Nothing else waits: all of it is theirs.
    congestion.left_behind(&Taken::default(), start);
    congestion.repaired(1000, start);
    assert!(congestion.is_turn_of_repairs());
}

#[test]
fn an_estimate_is_told_each_second_while_something_is_sent_and_no_longer() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let mut told = 0;
    for step in 0..1000 {
        let now = start + step * 10 * MS;
        congestion.departs(&mut packet(MEDIA), Purpose::Media, now);
        told += u32::from(congestion.report(now).0.is_some());
    }
    assert!((9..=13).contains(&told), "{told} in 10 s");
    let end = start + 10_000 * MS;
    let due = congestion.poll_timeout().expect("the next one is due");
    assert!(due <= end + TELL_AGAIN);
    for step in 0..20 {
        congestion.report(end + step * 500 * MS);
    }
    assert_eq!(congestion.poll_timeout(), None, "nothing to wake up for");
}

#[test]
fn without_control_nothing_is_estimated() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    let limits = BitrateLimits {
        adaptive: false,
        ..BitrateLimits::default()
    };
    congestion.set_limits(limits, start);
    send(&mut congestion, start, 100);
    congestion.read(&[report(255, 200)], None, start);
    let (estimate, stats) = congestion.report(start + 2000 * MS);
    assert_eq!(estimate, None);
    let stats = stats.expect("statistics go on");
    assert!(stats.estimate.is_none() && stats.sending_bitrate > 0);
}

#[test]
fn what_was_measured_of_a_former_path_holds_nothing_back() {
    let start = Instant::now();
    let mut congestion = congestion(start, Some(ID));
    let now = send(&mut congestion, start, 100);
    let remb = ReceiverEstimatedMaximumBitrate {
        sender_ssrc: 9,
        bitrate: 300_000.0,
        ssrcs: vec![MEDIA],
    };
    congestion.read(&[Box::new(remb)], None, now);
    congestion.prepare(true, None, now);
    congestion.pacer.left(1_000_000, now);
    assert!(!congestion.pacer.may_leave(now));
    congestion.another_path(now);
    congestion.prepare(true, None, now);
    assert!(congestion.pacer.may_leave(now));
    assert!(congestion.estimate(start).map(|e| e.total) > Some(300_000));
    assert!(congestion.probe.is_some(), "the new one is probed");
}

#[test]
fn what_is_beyond_twice_what_is_sent_is_told_each_second_and_the_rest_at_once() {
    let start = Instant::now();
    let mut congestion = congestion(start, None);
    congestion.rates.media = 1_000_000;
    let estimate = |media| Estimate {
        total: media,
        media,
        loss: 0.0,
        round_trip: None,
        queued_until: None,
    };
    let mut is_news = |told, new, after: Duration| {
        congestion.told = Some((estimate(told), start));
        congestion.is_news(&estimate(new), start + after)
    };
    let soon = 60 * MS;
    assert!(!is_news(5_000_000, 10_000_000, soon), "it holds nobody");
    assert!(!is_news(5_000_000, 3_000_000, soon), "nor does this");
    assert!(is_news(5_000_000, 10_000_000, TELL_AGAIN));
    assert!(is_news(5_000_000, 1_900_000, soon), "a fall that may hold");
    assert!(
        is_news(1_000_000, 5_000_000, soon),
        "what held, and does not"
    );
    assert!(
        !is_news(1_000_000, 1_010_000, soon),
        "too little of a change"
    );
}
