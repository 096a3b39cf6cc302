// SPDX-License-Identifier: MPL-2.0
//! The payload format, by the byte, and there and back.

use super::obu::{leb128_len, read_leb128, write_leb128};
use super::*;

const DELIMITER: [u8; 2] = [0x12, 0x00];

/// An OBU in the low-overhead format.
fn sized(kind: u8, extension: Option<u8>, payload: &[u8]) -> Vec<u8> {
    let mut obu = vec![kind << 3 | 0x02 | u8::from(extension.is_some()) << 2];
    obu.extend(extension);
    write_leb128(&mut obu, payload.len());
    obu.extend_from_slice(payload);
    obu
}

fn sequence_header() -> Vec<u8> {
    sized(obu::SEQUENCE_HEADER, None, &[0x00, 0xaa, 0xbb])
}

/// A frame of `size` bytes whose header starts with `first`.
fn frame(first: u8, size: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    payload[0] = first;
    sized(6, None, &payload)
}

fn key_unit(size: usize) -> Vec<u8> {
    [DELIMITER.to_vec(), sequence_header(), frame(0x10, size)].concat()
}

fn delta_unit(size: usize) -> Vec<u8> {
    [DELIMITER.to_vec(), frame(0x30, size)].concat()
}

fn unit(finished: Finished) -> TemporalUnit {
    match finished {
        Finished::Unit(unit) => unit,
        other => panic!("{other:?}"),
    }
}

/// Numbers that look random and are the same every time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn leb128_is_little_endian_in_groups_of_seven_bits() {
    for (value, bytes) in [
        (0, &[0x00][..]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x80, 0x80, 0x01]),
        (u32::MAX as usize, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        let mut out = Vec::new();
        write_leb128(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(leb128_len(value), bytes.len());
        assert_eq!(read_leb128(bytes), Some((value, &[][..])));
    }
    assert_eq!(read_leb128(&[0x85, 0x80, 0x00, 9]), Some((5, &[9][..])));
    assert_eq!(read_leb128(&[]), None);
    assert_eq!(read_leb128(&[0x80]), None);
    assert_eq!(read_leb128(&[0xff; 9]), None);
    assert_eq!(read_leb128(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
}

#[test]
fn a_unit_that_fits_is_one_packet_without_delimiter_and_sizes() {
    let packets = packetize(&key_unit(5), 1200).unwrap();
    assert!(packets.key);
    // W=2, N=1; sequence header with its length; frame without.
    let expected = [
        &[0x28, 4, 0x08, 0x00, 0xaa, 0xbb, 0x30][..],
        &[0x10, 1, 2, 3, 4],
    ];
    assert_eq!(packets.payloads, [expected.concat()]);
}

#[test]
fn a_unit_of_exactly_the_limit_is_not_cut() {
    let unit = delta_unit(98);
    assert_eq!(packetize(&unit, 100).unwrap().payloads.len(), 1);
    let cut = packetize(&unit, 99).unwrap().payloads;
    assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [99, 2]);
    assert_eq!([cut[0][0], cut[1][0]], [0x50, 0x90]);
}

#[test]
fn many_obus_in_a_packet_all_have_their_length() {
    let tiles: Vec<_> = (0..4).map(|i| sized(4, None, &[i])).collect();
    let payloads = packetize(&tiles.concat(), 100).unwrap().payloads;
    let expected = [0x00, 2, 0x20, 0, 2, 0x20, 1, 2, 0x20, 2, 2, 0x20, 3];
    assert_eq!(payloads, [expected]);
}

#[test]
fn layers_do_not_share_a_packet() {
    // TD SH FR(0,0) FR(0,1), as in section 5.1 of the payload format.
    let unit = [
        DELIMITER.to_vec(),
        sequence_header(),
        sized(6, Some(0x00), &[0x10]),
        sized(6, Some(0x08), &[0x30]),
    ]
    .concat();
    let packets = packetize(&unit, 1200).unwrap();
    assert_eq!(
        packets.payloads,
        [
            vec![0x28, 4, 0x08, 0x00, 0xaa, 0xbb, 0x34, 0x00, 0x10],
            vec![0x10, 0x34, 0x08, 0x30]
        ]
    );
}

#[test]
fn a_sequence_header_is_the_first_in_its_packet() {
    let unit = [sized(5, None, &[1]), sequence_header(), frame(0x10, 3)].concat();
    let payloads = packetize(&unit, 1200).unwrap().payloads;
    assert_eq!(payloads.len(), 2);
    assert_eq!(payloads[0], [0x18, 0x28, 1]);
    assert_eq!(payloads[1][..3], [0x20, 4, 0x08]);
}

#[test]
fn only_a_shown_key_frame_behind_a_sequence_header_starts_a_sequence() {
    let key = |unit: &[u8]| packetize(unit, 100).unwrap().key;
    assert!(key(&key_unit(9)));
    assert!(!key(&frame(0x10, 9)));
    assert!(!key(&delta_unit(9)));
    let behind_header = |first| key(&[sequence_header(), frame(first, 9)].concat());
    assert!(!behind_header(0x30)); // inter frame
    assert!(!behind_header(0x00)); // not shown
    assert!(!behind_header(0x90)); // shows another one again
    let reduced = sized(obu::SEQUENCE_HEADER, None, &[0x18]);
    assert!(key(&[reduced, frame(0xff, 9)].concat()));
    let enhancement = sized(6, Some(0x20), &[0x10]);
    assert!(!key(&[sequence_header(), enhancement].concat()));
}

#[test]
fn every_unit_comes_out_as_it_went_in_at_every_packet_size() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for max_payload in [2, 3, 10, 16, 17, 60, 129, 130, 131, 188, 1188] {
        let mut depacketizer = Depacketizer::default();
        let first = key_unit(1 + numbers.below(400));
        let others = (0..60).map(|_| {
            let mut unit = DELIMITER.to_vec();
            for _ in 0..1 + numbers.below(7) {
                let size = numbers.below(300);
                let payload: Vec<u8> = (0..size).map(|_| numbers.below(256) as u8).collect();
                unit.extend(sized(4, Some(0x00), &payload));
            }
            unit
        });
        for expected in std::iter::once(first).chain(others) {
            let packets = packetize(&expected, max_payload).unwrap();
            for (index, payload) in packets.payloads.iter().enumerate() {
                assert!(payload.len() <= max_payload, "{max_payload}");
                assert_eq!(payload[0] & NEW_SEQUENCE != 0, packets.key && index == 0);
                depacketizer.add(payload).unwrap();
            }
            assert_eq!(unit(depacketizer.finish()).data, expected, "{max_payload}");
        }
    }
}

#[test]
fn what_is_no_av1_is_refused_by_the_packetizer() {
    for bad in [
        &[0x32, 0x05, 1, 2][..], // longer than what there is
        &[0x36],                 // no extension
        &[0x32],                 // no size
        &[0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xb2, 0x00], // forbidden bit
    ] {
        assert_eq!(packetize(bad, 100), Err(Av1Error::Obu), "{bad:?}");
    }
    assert_eq!(packetize(&[], 1), Err(Av1Error::PacketTooSmall));
    assert!(packetize(&DELIMITER, 100).unwrap().payloads.is_empty());
}

#[test]
fn obus_may_have_their_size_on_the_wire_and_delimiters_are_passed_over() {
    let mut depacketizer = Depacketizer::default();
    let mut payload = vec![0x08];
    for obu in [&DELIMITER[..], &sequence_header(), &frame(0x10, 4)] {
        write_leb128(&mut payload, obu.len());
        payload.extend_from_slice(obu);
    }
    depacketizer.add(&payload).unwrap();
    let unit = unit(depacketizer.finish());
    assert_eq!(unit.data, key_unit(4));
    assert!(unit.key);
}

#[test]
fn nothing_comes_out_before_a_key_frame() {
    let mut depacketizer = Depacketizer::default();
    assert_eq!(depacketizer.finish(), Finished::Empty);
    for payload in packetize(&delta_unit(300), 100).unwrap().payloads {
        depacketizer.add(&payload).unwrap();
    }
    assert_eq!(depacketizer.finish(), Finished::Dropped);
    depacketizer
        .add(&packetize(&key_unit(9), 100).unwrap().payloads[0])
        .unwrap();
    assert!(unit(depacketizer.finish()).key);
    depacketizer
        .add(&packetize(&delta_unit(9), 100).unwrap().payloads[0])
        .unwrap();
    assert!(!unit(depacketizer.finish()).key);
}

#[test]
fn after_any_loss_nothing_comes_out_before_the_next_key_frame() {
    let key = packetize(&key_unit(450), 100).unwrap().payloads;
    let delta = packetize(&delta_unit(450), 100).unwrap().payloads;
    for (broken, whole) in [(&key, &delta), (&delta, &key)] {
        for lost in 0..broken.len() {
            let mut depacketizer = Depacketizer::default();
            key.iter().for_each(|p| depacketizer.add(p).unwrap());
            unit(depacketizer.finish());
            for (index, payload) in broken.iter().enumerate() {
                if index == lost {
                    assert!(depacketizer.lose());
                } else {
                    depacketizer.add(payload).unwrap();
                }
            }
            // Nothing is left of it where its end was lost.
            let end = depacketizer.finish();
            assert!(!matches!(end, Finished::Unit(_)), "{lost}: {end:?}");
            whole.iter().for_each(|p| depacketizer.add(p).unwrap());
            let next = depacketizer.finish();
            assert_eq!(matches!(next, Finished::Unit(_)), *whole == key, "{lost}");
        }
    }
}

#[test]
fn a_unit_that_ends_within_an_obu_is_dropped() {
    let mut depacketizer = Depacketizer::default();
    let payloads = packetize(&key_unit(150), 100).unwrap().payloads;
    depacketizer.add(&payloads[0]).unwrap();
    assert_eq!(depacketizer.finish(), Finished::Dropped);
}

#[test]
fn a_fragment_must_follow_its_beginning() {
    let start = || {
        let mut depacketizer = Depacketizer::default();
        let payloads = packetize(&key_unit(150), 100).unwrap().payloads;
        depacketizer.add(&payloads[0]).unwrap();
        (depacketizer, payloads)
    };
    let (mut depacketizer, _) = start();
    assert_eq!(depacketizer.add(&[0x10, 0x30, 1]), Err(Av1Error::Fragment));
    assert_eq!(depacketizer.finish(), Finished::Dropped);
    let (mut depacketizer, payloads) = start();
    depacketizer.add(&payloads[1]).unwrap();
    assert_eq!(depacketizer.add(&payloads[1]), Err(Av1Error::Fragment));
    assert_eq!(depacketizer.finish(), Finished::Dropped);
}

#[test]
fn a_fragment_that_never_ends_is_given_up() {
    let mut depacketizer = Depacketizer::default();
    let mut payload = vec![0; 1 << 20];
    payload[..2].copy_from_slice(&[0x58, 0x08]);
    depacketizer.add(&payload).unwrap();
    payload[0] = 0xd0;
    let error = (0..20).find_map(|_| depacketizer.add(&payload).err());
    assert_eq!(error, Some(Av1Error::TooLarge));
    assert_eq!(depacketizer.finish(), Finished::Dropped);
}

#[test]
fn hostile_payloads_are_refused_and_never_panic() {
    for bad in [
        &[0x18, 0x36][..],            // an extension that is not there
        &[0x18, 0x32],                // a size that is not there
        &[0x18, 0x32, 0x7f],          // a size of more than there is
        &[0x18, 0x32, 0x00, 0x00],    // a size of less than there is
        &[0x28, 0xff, 0xff],          // a length that does not end
        &[0x38, 1, 0x30],             // two elements of three
        &[0x08, 200, 1, 2],           // a length of more than there is
        &[0x88, 2, 0x08, 0, 1, 2, 3], // continues nothing
        &[0x18, 0xff, 0xff, 0xff],    // forbidden bit
    ] {
        let mut depacketizer = Depacketizer::default();
        // A first OBU, so that the payload is not passed over.
        depacketizer.add(&[0x18, 0x08, 0x00]).unwrap();
        assert!(depacketizer.add(bad).is_err(), "{bad:x?}");
        assert_eq!(depacketizer.finish(), Finished::Dropped, "{bad:x?}");
    }
    let mut numbers = Numbers(42);
    let mut depacketizer = Depacketizer::default();
    let key = packetize(&key_unit(200), 60).unwrap().payloads;
    for _ in 0..200_000 {
        let mut payload = key[numbers.below(key.len())].clone();
        payload.truncate(numbers.below(payload.len() + 1));
        for _ in 0..numbers.below(6) {
            if let Some(last) = payload.len().checked_sub(1) {
                payload[numbers.below(last + 1)] = numbers.below(256) as u8;
            }
        }
        is_key(&payload);
        let _ = packetize(&payload, 2 + numbers.below(60));
        let _ = depacketizer.add(&payload);
        match numbers.below(8) {
            0 => drop(depacketizer.finish()),
            1 => drop(depacketizer.lose()),
            _ => {}
        }
    }
    depacketizer.lose();
    key.iter().for_each(|p| depacketizer.add(p).unwrap());
    assert_eq!(unit(depacketizer.finish()).data, key_unit(200));
}

#[test]
fn key_payloads_are_those_of_a_new_sequence_or_with_a_sequence_header() {
    let key = packetize(&key_unit(450), 100).unwrap().payloads;
    assert_eq!(
        key.iter().map(|p| is_key(p)).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    assert!(is_key(&[0x18]));
    assert!(is_key(&[0x10, 0x08, 0x00]));
    assert!(is_key(&[0x20, 1, 0x30, 0x08]));
    assert!(is_key(&[0xa0, 1, 0xff, 0x08]));
    assert!(!is_key(&[0x90, 0x08, 0x00]), "the inside of another OBU");
    assert!(!is_key(&[0x10, 0x30, 0x08]));
    assert!(!is_key(&[0x20, 9, 0x08]));
    assert!(!is_key(&[0x10]));
    assert!(!is_key(&[]));
}
