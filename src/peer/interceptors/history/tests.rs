// SPDX-License-Identifier: MPL-2.0
use super::*;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::nack_pairs_from_sequence_numbers;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Test {
    history: History,
    start: Instant,
}

impl Test {
    fn new(how: Resending) -> Self {
        let mut history = History::default();
        history.bind(1, how);
        Self {
            history,
            start: Instant::now(),
        }
    }

    fn sent(&mut self, number: u16, size: usize, at: u64) {
        let packet = rtp::Packet {
            header: rtp::header::Header {
                version: 2,
                marker: true,
                payload_type: 96,
                sequence_number: number,
                timestamp: 90,
                ssrc: 1,
                ..Default::default()
            },
            payload: Bytes::from(vec![7; size]),
        };
        self.history.sent(&packet, self.start + ms(at));
    }

    fn asked(&mut self, numbers: &[u16], at: u64, round_trip: Option<u64>) -> Vec<rtp::Packet> {
        let nack = TransportLayerNack {
            sender_ssrc: 5,
            media_ssrc: 1,
            nacks: nack_pairs_from_sequence_numbers(numbers),
        };
        let now = self.start + ms(at);
        self.history.asked(&nack, now, round_trip.map(ms));
        std::iter::from_fn(|| self.history.next(now)).collect()
    }
}

fn rtx() -> Resending {
    Resending {
        rtx: Some((2, 97)),
        mid: Some((1, Bytes::from_static(b"v"))),
        rid: None,
        media_rid: None,
        send_time: None,
    }
}

/// The number that an RTX packet brings back.
fn original(packet: &rtp::Packet) -> u16 {
    u16::from_be_bytes([packet.payload[0], packet.payload[1]])
}

#[test]
fn rtx_brings_the_packet_back_under_its_own_numbers() {
    let mut test = Test::new(rtx());
    (65534..65536u32).for_each(|n| test.sent(n as u16, 3, 0));
    (0..3).for_each(|n| test.sent(n, 3, 0));
    let packets = test.asked(&[65535, 1], 10, None);
    assert_eq!(packets.iter().map(original).collect::<Vec<_>>(), [65535, 1]);
    let header = &packets[0].header;
    assert_eq!(
        (header.ssrc, header.payload_type, header.version),
        (2, 97, 2)
    );
    assert!(header.marker);
    assert_eq!(header.timestamp, 90);
    assert_eq!(header.get_extension(1).as_deref(), Some(&b"v"[..]));
    assert_eq!(&packets[0].payload[2..], &[7, 7, 7]);
    let numbers = [0, 1].map(|n: usize| packets[n].header.sequence_number);
    assert_eq!(numbers[1], numbers[0].wrapping_add(1));
}

#[test]
fn rtx_never_uses_a_number_twice_however_often_its_stream_is_bound() {
    let mut test = Test::new(rtx());
    let resent = |test: &mut Test, number| {
        test.sent(number, 3, 0);
        let packets = test.asked(&[number], 10, None);
        packets[0].header.sequence_number
    };
    let first = resent(&mut test, 1);
    test.history.bind(1, rtx());
    assert_eq!(resent(&mut test, 2), first.wrapping_add(1));
    test.history.unbind(1);
    test.history.unbind(1);
    test.history.bind(1, rtx());
    assert_eq!(resent(&mut test, 3), first.wrapping_add(2));
    assert!(test.history.numbers.is_empty());
    test.history.forget(1);
    assert!(test.history.streams.is_empty() && test.history.numbers.is_empty());
}

#[test]
fn header_extensions_of_the_stream_are_repeated_and_the_time_is_that_of_the_repair() {
    let mut test = Test::new(Resending {
        send_time: Some(2),
        ..rtx()
    });
    let time = |ms_| AbsSendTime::from_time(ms(ms_)).to_bytes();
    let mut header = rtp::header::Header {
        version: 2,
        sequence_number: 9,
        ssrc: 1,
        ..Default::default()
    };
    header.set_extension(4, Bytes::from_static(&[1])).unwrap();
    let sent = Bytes::copy_from_slice(&time(63_990));
    header.set_extension(2, sent).unwrap();
    let packet = rtp::Packet {
        header,
        payload: Bytes::from_static(&[1]),
    };
    test.history.sent(&packet, test.start);
    let packets = test.asked(&[9], 1000, None);
    let again = &packets[0].header;
    assert_eq!(again.get_extension(4).as_deref(), Some(&[1][..]));
    let delay = |bytes: &[u8]| AbsSendTime::from_bytes(bytes).unwrap().time();
    // 63.99 s and one second more: the field begins anew at 64 s.
    let passed = delay(&again.get_extension(2).unwrap());
    assert!(
        passed.abs_diff(ms(990)) < Duration::from_micros(8),
        "{passed:?}"
    );
}

#[test]
fn a_long_header_extension_is_repeated_with_the_mid_of_rtx_beside_it() {
    let mut test = Test::new(Resending {
        mid: Some((1, Bytes::from_static(b"0"))),
        ..rtx()
    });
    let mut header = rtp::header::Header {
        version: 2,
        sequence_number: 9,
        ssrc: 1,
        ..Default::default()
    };
    let long = Bytes::from_static(&[7; 40]);
    header.set_extension(4, long.clone()).unwrap();
    let payload = Bytes::from_static(&[1]);
    test.history
        .sent(&rtp::Packet { header, payload }, test.start);
    let packets = test.asked(&[9], 1000, None);
    let again = &packets[0].header;
    assert_eq!(again.get_extension(4), Some(long));
    assert_eq!(again.get_extension(1).as_deref(), Some(&b"0"[..]));
    assert_eq!(again.extension_profile, 0x1000);
}

#[test]
fn without_rtx_the_packet_goes_out_as_it_was() {
    let mut test = Test::new(Resending {
        send_time: Some(2),
        ..Resending::default()
    });
    test.sent(5, 3, 0);
    // In RED, with its send time and its transport-wide number.
    let stream = &test.history.streams[&1];
    let mut left = stream.packets[0].packet();
    left.payload = Bytes::from_static(&[96, 7, 7, 7]);
    for (id, value) in [(2, &[1, 2, 3][..]), (3, &[0, 9])] {
        let value = Bytes::from_static(value);
        left.header.set_extension(id, value).unwrap();
    }
    test.history.left(&left, true);
    assert_eq!(test.history.streams[&1].bytes, 4);
    let packets = test.asked(&[4, 5, 6], 1000, None);
    assert_eq!(packets, [left.clone()]);
    assert_eq!(test.history.last(1), Some(left));
    assert!(test.history.probe(1, test.start).is_none());
}

#[test]
fn a_packet_is_sent_again_once_in_a_round_trip() {
    let mut test = Test::new(rtx());
    (1..4).for_each(|n| test.sent(n, 3, 0));
    let numbers = |packets: Vec<rtp::Packet>| packets.iter().map(original).collect::<Vec<_>>();
    assert_eq!(numbers(test.asked(&[1, 2], 0, Some(100))), [1, 2]);
    assert_eq!(numbers(test.asked(&[1, 2, 3], 20, Some(100))), [3]);
    assert!(test.asked(&[1, 2], 60, Some(100)).is_empty());
    // Its repair was lost, too.
    assert_eq!(numbers(test.asked(&[1, 3], 90, Some(100))), [1, 1]);
}

#[test]
fn a_packet_is_sent_again_a_few_times_and_no_more() {
    let mut test = Test::new(rtx());
    test.sent(1, 3, 0);
    let copies: Vec<usize> = (0..20)
        .map(|round| test.asked(&[1], round * 50, Some(50)).len())
        .collect();
    assert_eq!(copies[..6], [1, 2, 3, 3, 3, 0]);
    assert_eq!(copies.iter().sum::<usize>(), 12);
}

#[test]
fn repairs_are_little_more_than_the_media() {
    let mut test = Test::new(rtx());
    let (mut sent, mut repairs) = (0, 0);
    for round in 0..200u16 {
        let numbers: Vec<u16> = (round * 10..round * 10 + 10).collect();
        let at = u64::from(round) * 20;
        numbers.iter().for_each(|n| test.sent(*n, 1000, at));
        sent += 10;
        // All of the last second is asked for, as often as it may be.
        let all: Vec<u16> = (numbers[0].saturating_sub(500)..numbers[0] + 10).collect();
        repairs += test.asked(&all, at, Some(20)).len();
    }
    let most = sent + MOST_AHEAD / 1000;
    assert!(repairs > sent && repairs <= most, "{repairs} of {sent}");
}

#[test]
fn what_is_asked_for_twice_waits_once_and_what_waited_too_long_stays() {
    let mut test = Test::new(rtx());
    test.sent(1, 3, 0);
    let nack = TransportLayerNack {
        sender_ssrc: 5,
        media_ssrc: 1,
        nacks: nack_pairs_from_sequence_numbers(&[1]),
    };
    test.history.asked(&nack, test.start, None);
    test.history.asked(&nack, test.start, None);
    assert_eq!(test.history.waiting.len(), 1);
    assert!(
        test.history
            .next(test.start + LONGEST_WAIT + ms(1))
            .is_none()
    );
    assert!(!test.history.has_waiting());
}

#[test]
fn history_is_bounded_in_time_packets_and_bytes() {
    let mut test = Test::new(rtx());
    (0..100).for_each(|n| test.sent(n, 1000, 0));
    test.sent(100, 1000, KEPT.as_millis() as u64 + 1);
    assert_eq!(test.history.streams[&1].packets.len(), 1);
    assert_eq!(test.history.streams[&1].bytes, 1000);
    (101..30000).for_each(|n| test.sent(n, 10, 3000));
    assert_eq!(test.history.streams[&1].packets.len(), MOST_PACKETS);
    (30000..30200).for_each(|n| test.sent(n, 1 << 20, 3000));
    assert!(test.history.streams[&1].bytes <= MOST_BYTES);
    let packets = &test.history.streams[&1].packets;
    let bytes: usize = packets.iter().map(|entry| entry.payload.len()).sum();
    assert_eq!(bytes, test.history.streams[&1].bytes);
}

#[test]
fn what_was_sent_before_a_pause_is_neither_repeated_nor_kept() {
    let late = KEPT.as_millis() as u64 + 1;
    let mut test = Test::new(rtx());
    test.sent(1, 3, 0);
    assert!(test.asked(&[1], late, None).is_empty());
    test.sent(2, 3, 0);
    assert!(test.history.probe(1, test.start + ms(late)).is_none());
    test.sent(3, 3, 0);
    test.history.handle_timeout(test.start + ms(late));
    assert!(test.history.streams[&1].packets.is_empty());
    assert_eq!(test.history.streams[&1].bytes, 0);
}

#[test]
fn numbers_that_were_left_out_are_not_found() {
    let mut test = Test::new(rtx());
    [1, 2, 7, 8].into_iter().for_each(|n| test.sent(n, 3, 0));
    let packets = test.asked(&[1, 2, 3, 6, 7, 8, 9, 60000], 10, None);
    assert_eq!(
        packets.iter().map(original).collect::<Vec<_>>(),
        [1, 2, 7, 8]
    );
}

#[test]
fn no_more_repairs_wait_than_there_is_room_for() {
    let mut test = Test::new(rtx());
    (0..5000).for_each(|n| test.sent(n, 3, 0));
    let numbers: Vec<u16> = (0..5000).collect();
    assert_eq!(test.asked(&numbers, 10, None).len(), MOST_WAITING);
}

#[test]
fn what_waits_is_not_repaired_once_a_key_frame_is_wanted() {
    let mut test = Test::new(rtx());
    (1..=3).for_each(|number| test.sent(number, 1000, 0));
    let nack = TransportLayerNack {
        sender_ssrc: 5,
        media_ssrc: 1,
        nacks: nack_pairs_from_sequence_numbers(&[1, 2]),
    };
    test.history.asked(&nack, test.start + ms(50), None);
    test.history.given_up(7);
    assert!(test.history.has_waiting(), "that was another stream's");
    test.history.given_up(1);
    assert!(!test.history.has_waiting());
    assert_eq!(
        test.asked(&[2, 3], 60, None).len(),
        3,
        "what is asked for later is sent, and what it wants twice is sent twice"
    );
}
