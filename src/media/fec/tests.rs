// SPDX-License-Identifier: MPL-2.0

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

const SSRC: u32 = 0x1234_5678;
const SCHEMES: [Scheme; 2] = [Scheme::Ulpfec, Scheme::Flexfec];

/// What a packet is made of.
#[derive(Debug, Clone)]
struct Sketch {
    marker: bool,
    payload_type: u8,
    csrcs: u8,
    extension: Option<Vec<u8>>,
    payload: Vec<u8>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let extension = prop::option::of(prop::collection::vec(any::<u8>(), 1..=16));
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    (any::<bool>(), 0..128u8, 0..4u8, extension, payload).prop_map(
        |(marker, payload_type, csrcs, extension, payload)| Sketch {
            marker,
            payload_type,
            csrcs,
            extension,
            payload,
        },
    )
}

/// Its header as on the wire; extension 3 is `extension`.
fn header(sketch: &Sketch, number: u16, timestamp: u32) -> BytesMut {
    let mut out = BytesMut::new();
    let extended = u8::from(sketch.extension.is_some()) << 4;
    let marker = u8::from(sketch.marker) << 7;
    out.extend_from_slice(&[0x80 | extended | sketch.csrcs, marker | sketch.payload_type]);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&SSRC.to_be_bytes());
    (0..sketch.csrcs).for_each(|n| out.extend_from_slice(&[n, 1, 2, 3]));
    if let Some(value) = &sketch.extension {
        let words = (1 + value.len()).div_ceil(4);
        out.extend_from_slice(&[0xbe, 0xde, 0, words as u8]);
        out.extend_from_slice(&[3 << 4 | (value.len() - 1) as u8]);
        out.extend_from_slice(value);
        out.resize(out.len() + words * 4 - 1 - value.len(), 0);
    }
    out
}

/// Sends `frames`; gives the packets that left by number, and the repairs.
fn send(
    encoder: &mut Encoder,
    frames: &[Vec<Sketch>],
    first: u16,
) -> (BTreeMap<u32, (BytesMut, Bytes)>, Vec<Bytes>) {
    let (mut packets, mut repairs) = (BTreeMap::new(), Vec::new());
    let mut order = 0u32;
    for (frame, sketches) in frames.iter().enumerate() {
        for (at, sketch) in sketches.iter().enumerate() {
            let number = first.wrapping_add(order as u16);
            let timestamp = 3000u32.wrapping_mul(frame as u32 + 1);
            let header = header(sketch, number, timestamp);
            let payload = Bytes::from(sketch.payload.clone());
            packets.insert(order, (header.clone(), payload.clone()));
            order += 1;
            let left = sketches.len() - 1 - at;
            let more = encoder.push(number, timestamp, header, payload, left);
            if encoder.scheme() == Scheme::Ulpfec {
                order += more.len() as u32;
            }
            repairs.extend(more);
        }
    }
    (packets, repairs)
}

fn receive(
    scheme: Scheme,
    packets: &BTreeMap<u32, (BytesMut, Bytes)>,
    repairs: &[Bytes],
    first: u16,
    lost: &[u32],
) -> Vec<Recovered> {
    let mut decoder = Decoder::new(SSRC);
    let now = Instant::now();
    let mut recovered = Vec::new();
    for (order, (header, payload)) in packets.iter().filter(|(n, _)| !lost.contains(n)) {
        let number = first.wrapping_add(*order as u16);
        let header = header.clone().freeze();
        decoder.media(number, header, payload.clone(), now, &mut recovered);
    }
    for payload in repairs {
        let repair = Repair::read(scheme, payload, SSRC).expect("our own");
        decoder.repair(repair, now, &mut recovered);
    }
    recovered
}

proptest! {
    #[test]
    fn any_one_lost_packet_comes_back_bit_by_bit(
        frames in prop::collection::vec(prop::collection::vec(sketch(), 1..60), 1..5),
        first in any::<u16>(),
        pick in any::<prop::sample::Index>(),
    ) {
        for scheme in SCHEMES {
            let mut encoder = Encoder::new(scheme, SSRC, 90_000);
            encoder.set_percentage(100);
            let (packets, repairs) = send(&mut encoder, &frames, first);
            let numbers: Vec<u32> = packets.keys().copied().collect();
            let covered: Vec<u16> = repairs
                .iter()
                .map(|payload| Repair::read(scheme, payload, SSRC).unwrap())
                .flat_map(|r| r.mask.positions().map(move |n| r.base.wrapping_add(n as u16)))
                .collect();
            let lost = numbers[pick.index(numbers.len())];
            let number = first.wrapping_add(lost as u16);
            prop_assume!(covered.contains(&number));
            let recovered = receive(scheme, &packets, &repairs, first, &[lost]);
            let (header, payload) = &packets[&lost];
            let whole = [&header[..], &payload[..]].concat();
            prop_assert_eq!(recovered.len(), 1);
            prop_assert_eq!(recovered[0].number, number);
            prop_assert_eq!(&recovered[0].packet[..], &whole[..]);
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(
        packets in prop::collection::vec(
            (any::<bool>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..80)), 0..60),
    ) {
        for scheme in SCHEMES {
            let mut decoder = Decoder::new(SSRC);
            let mut recovered = Vec::new();
            let now = Instant::now();
            for (is_repair, number, bytes) in &packets {
                let bytes = Bytes::from(bytes.clone());
                if !is_repair {
                    decoder.media(*number, bytes.clone(), bytes, now, &mut recovered);
                } else if let Some(repair) = Repair::read(scheme, &bytes, SSRC) {
                    decoder.repair(repair, now, &mut recovered);
                }
            }
            for Recovered { packet, .. } in recovered {
                prop_assert!(packet.len() >= FIXED_HEADER);
            }
            for (_, _, bytes) in &packets {
                let mut header = bytes.clone();
                freeze(&mut header, &[1, 3]);
                prop_assert_eq!(header.len(), bytes.len());
            }
        }
    }
}

fn plain(size: usize) -> Sketch {
    Sketch {
        marker: false,
        payload_type: 96,
        csrcs: 0,
        extension: None,
        payload: vec![7; size],
    }
}

#[test]
fn what_is_added_is_what_was_asked_for() {
    for scheme in SCHEMES {
        for (percentage, packets) in [(5, 2), (10, 1), (20, 5), (30, 120), (50, 10), (100, 3)] {
            let mut encoder = Encoder::new(scheme, SSRC, 90_000);
            encoder.set_percentage(percentage);
            let frames = vec![vec![plain(1000); packets]; 300];
            let (_, repairs) = send(&mut encoder, &frames, 0);
            let added: usize = repairs.iter().map(Bytes::len).sum();
            let part = added as f64 / (300 * packets * 1000) as f64 * 100.0;
            let wanted = f64::from(percentage);
            assert!(
                (part - wanted).abs() <= 0.05 * wanted,
                "{scheme:?} {wanted}: {part}"
            );
        }
    }
}

#[test]
fn a_burst_in_a_large_frame_comes_back() {
    for scheme in SCHEMES {
        let mut encoder = Encoder::new(scheme, SSRC, 90_000);
        encoder.set_percentage(20);
        let frame: Vec<Sketch> = (0..40).map(|n| plain(900 + n)).collect();
        let (packets, repairs) = send(&mut encoder, &[frame], 65_500);
        let lost: Vec<u32> = (20..27).collect();
        let recovered = receive(scheme, &packets, &repairs, 65_500, &lost);
        assert_eq!(recovered.len(), lost.len());
    }
}

#[test]
fn a_repair_is_made_within_three_frames_and_a_tenth_of_a_second() {
    let repairs_after = |interval: u32| {
        let mut encoder = Encoder::new(Scheme::Flexfec, SSRC, 90_000);
        encoder.set_percentage(50);
        (0..20u32).find(|frame| {
            let timestamp = frame * interval;
            let head = header(&plain(0), *frame as u16, timestamp);
            let payload = Bytes::from(vec![1; 500]);
            !encoder
                .push(*frame as u16, timestamp, head, payload, 0)
                .is_empty()
        })
    };
    assert_eq!(repairs_after(90_000 / 60), Some(2));
    assert_eq!(repairs_after(90_000 / 25), Some(2));
    // The interval is known with the second frame.
    assert_eq!(repairs_after(90_000 / 5), Some(1));
}

#[test]
fn repairs_chain_what_one_cannot_do_alone() {
    let number = |n: usize| n as u16;
    let packet = |n: usize| {
        (
            header(&plain(0), number(n), 1),
            Bytes::from(vec![n as u8; 50]),
        )
    };
    let repair = |covered: &[usize]| {
        let mut mask = Mask::default();
        covered.iter().for_each(|n| mask.insert(*n));
        let mut parity = parity::Parity::new(ulpfec::header_size(mask), 60);
        for n in covered {
            let (header, payload) = packet(*n);
            parity.add(ulpfec::header_size(mask), &header, &payload);
        }
        Repair::read(
            Scheme::Ulpfec,
            &ulpfec::write(parity, 0, mask).freeze(),
            SSRC,
        )
        .unwrap()
    };
    let (mut decoder, mut recovered) = (Decoder::new(SSRC), Vec::new());
    let now = Instant::now();
    decoder.repair(repair(&[0, 1, 2]), now, &mut recovered);
    decoder.repair(repair(&[1, 2]), now, &mut recovered);
    assert!(recovered.is_empty());
    let (header, payload) = packet(2);
    decoder.media(2, header.freeze(), payload, now, &mut recovered);
    let numbers: Vec<u16> = recovered.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 0]);
    assert_eq!(recovered[1].packet[12..], packet(0).1[..]);
}

#[test]
fn nothing_is_made_of_what_is_too_old() {
    let mut encoder = Encoder::new(Scheme::Ulpfec, SSRC, 90_000);
    encoder.set_percentage(50);
    let (packets, repairs) = send(&mut encoder, &[vec![plain(100); 12]], 0);
    let start = Instant::now();
    let (mut decoder, mut recovered) = (Decoder::new(SSRC), Vec::new());
    for (number, (header, payload)) in packets.iter().skip(1) {
        let header = header.clone().freeze();
        decoder.media(
            *number as u16,
            header,
            payload.clone(),
            start,
            &mut recovered,
        );
    }
    for payload in &repairs {
        let repair = Repair::read(Scheme::Ulpfec, payload, SSRC).unwrap();
        decoder.repair(repair, start + Duration::from_secs(2), &mut recovered);
    }
    assert!(recovered.is_empty());
}

#[test]
fn values_that_change_on_the_way_out_do_not_count() {
    let mut sketch = plain(3);
    sketch.extension = Some(vec![1, 2]);
    let mut ours = header(&sketch, 1, 2);
    sketch.extension = Some(vec![3, 4]);
    let mut theirs = header(&sketch, 1, 2);
    freeze(&mut ours, &[5]);
    assert_ne!(ours, theirs);
    freeze(&mut ours, &[3]);
    freeze(&mut theirs, &[3]);
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 12 + 8);
}

#[test]
fn a_repair_for_another_stream_is_none() {
    let mut encoder = Encoder::new(Scheme::Flexfec, SSRC, 90_000);
    encoder.set_percentage(100);
    let (_, repairs) = send(&mut encoder, &[vec![plain(10); 70]], 0);
    let repair = Repair::read(Scheme::Flexfec, &repairs[0], SSRC).unwrap();
    assert_eq!(repair.base, 0);
    assert_eq!(Repair::read(Scheme::Flexfec, &repairs[0], SSRC + 1), None);
}
