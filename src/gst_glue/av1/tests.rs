// SPDX-License-Identifier: MPL-2.0
//! Both elements with a real encoder, parser and decoder.

use gst::prelude::*;
use gst_check::Harness;
use gst_rtp::RTPBuffer;

use super::{Av1Depay, Av1Pay};

const RTP: &str = "application/x-rtp,media=video,clock-rate=90000,encoding-name=AV1,payload=45";
const AV1: &str = "video/x-av1,stream-format=obu-stream,alignment=tu";
const FRAMES: usize = 12;
/// A key frame comes every so many frames.
const KEY_EVERY: usize = 5;

/// What libaom makes of a test picture, parsed; made once, it takes a while.
fn encoded() -> Vec<gst::Buffer> {
    use std::sync::OnceLock;
    static UNITS: OnceLock<Vec<gst::Buffer>> = OnceLock::new();
    UNITS
        .get_or_init(|| {
            gst::init().unwrap();
            let units = run(
                &format!(
                    "videotestsrc num-buffers={FRAMES} ! \
                     video/x-raw,width=320,height=240,framerate=30/1 ! \
                     av1enc cpu-used=8 usage-profile=realtime keyframe-max-dist={KEY_EVERY} ! \
                     av1parse ! capsfilter caps=\"{AV1}\""
                ),
                Vec::new(),
            );
            assert_eq!(units.len(), FRAMES);
            units
        })
        .clone()
}

/// What comes out of a chain of elements, whose first takes `units`, if there are any.
fn run(chain: &str, units: Vec<gst::Buffer>) -> Vec<gst::Buffer> {
    let mut harness = Harness::new_empty();
    harness.add_parse(chain);
    harness.play();
    if !units.is_empty() {
        harness.set_src_caps_str(AV1);
        for unit in units {
            harness.push(unit).unwrap();
        }
        harness.push_event(gst::event::Eos::new());
    }
    std::iter::from_fn(|| harness.pull_until_eos().unwrap()).collect()
}

fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

fn is_key(buffer: &gst::Buffer) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

fn marker(packet: &gst::Buffer) -> bool {
    RTPBuffer::from_buffer_readable(packet).unwrap().is_marker()
}

/// The packets of each temporal unit.
fn packets(units: &[gst::Buffer], mtu: u32) -> Vec<Vec<gst::Buffer>> {
    let pay = Av1Pay::default();
    pay.set_property("mtu", mtu);
    let mut harness = Harness::with_element(&pay, Some("sink"), Some("src"));
    harness.play();
    harness.set_src_caps_str(AV1);
    units
        .iter()
        .map(|unit| {
            harness.push(unit.clone()).unwrap();
            std::iter::from_fn(|| harness.try_pull()).collect()
        })
        .collect()
}

/// A depayloader with what is around it.
struct Receiver {
    harness: Harness,
}

impl Receiver {
    fn new() -> Self {
        gst::init().unwrap();
        let depay = Av1Depay::default();
        depay.set_property("request-keyframe", true);
        let mut harness = Harness::with_element(&depay, Some("sink"), Some("src"));
        harness.play();
        harness.set_src_caps_str(RTP);
        Self { harness }
    }

    fn push<'a>(&mut self, packets: impl IntoIterator<Item = &'a gst::Buffer>) {
        for packet in packets {
            self.harness.push(packet.clone()).unwrap();
        }
    }

    fn units(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.harness.try_pull()).collect()
    }

    /// Key frame requests since the last call.
    fn requests(&mut self) -> usize {
        std::iter::from_fn(|| self.harness.try_pull_upstream_event())
            .filter(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok())
            .count()
    }
}

/// A packet of our own.
fn rtp(seq: u16, timestamp: u32, marker: bool, payload: &[u8]) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(
        [
            &[0x80, 45 | u8::from(marker) << 7][..],
            &seq.to_be_bytes(),
            &timestamp.to_be_bytes(),
            &[0, 0, 0, 1],
            payload,
        ]
        .concat(),
    );
    let time = gst::ClockTime::from_nseconds(u64::from(timestamp) * 100_000 / 9);
    buffer.get_mut().unwrap().set_pts(time);
    buffer
}

#[test]
fn temporal_units_come_out_as_they_went_in_at_any_mtu() {
    let units = encoded();
    assert!(units[0].size() > 1200, "a key frame of several packets");
    for mtu in [28, 200, 1200, 65_000] {
        let packets = packets(&units, mtu);
        let mut receiver = Receiver::new();
        for (index, (unit, packets)) in units.iter().zip(&packets).enumerate() {
            for (number, packet) in packets.iter().enumerate() {
                assert!(packet.size() <= mtu as usize);
                assert_eq!(marker(packet), number + 1 == packets.len());
                assert_eq!(packet.pts(), unit.pts());
                assert_eq!(is_key(packet), index % KEY_EVERY == 0);
            }
            receiver.push(packets);
            let [out] = receiver.units().try_into().unwrap();
            assert_eq!(bytes(&out), bytes(unit), "unit {index}, mtu {mtu}");
            assert_eq!(out.pts(), unit.pts());
            assert_eq!(is_key(&out), index % KEY_EVERY == 0);
        }
        assert_eq!(receiver.requests(), 0);
    }
}

#[test]
fn a_temporal_unit_goes_out_as_one_list() {
    let pay = Av1Pay::default();
    let (sender, lists) = std::sync::mpsc::channel();
    pay.static_pad("src").unwrap().add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, info| {
            let length = match &info.data {
                Some(gst::PadProbeData::BufferList(list)) => list.len(),
                _ => 0,
            };
            sender.send(length).unwrap();
            gst::PadProbeReturn::Ok
        },
    );
    let mut harness = Harness::with_element(&pay, Some("sink"), Some("src"));
    harness.play();
    harness.set_src_caps_str(AV1);
    let unit = encoded().swap_remove(0);
    harness.push(unit.clone()).unwrap();
    let length = lists.try_iter().collect::<Vec<_>>();
    assert_eq!(length, [unit.size().div_ceil(1400 - 13)]);
}

#[test]
fn the_parser_links_and_negotiates_with_both_ends() {
    gst::init().unwrap();
    let pipeline = gst::Pipeline::new();
    let encoder = gst::parse::bin_from_description(
        "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64,framerate=30/1 ! \
         av1enc cpu-used=8 usage-profile=realtime ! av1parse",
        true,
    )
    .unwrap();
    let decoder =
        gst::parse::bin_from_description("av1parse ! av1dec ! fakesink name=f", true).unwrap();
    let (pay, depay) = (Av1Pay::default(), Av1Depay::default());
    let elements = [
        encoder.upcast_ref::<gst::Element>(),
        pay.upcast_ref(),
        depay.upcast_ref(),
        decoder.upcast_ref(),
    ];
    pipeline.add_many(elements).unwrap();
    gst::Element::link_many(elements).unwrap();
    let sink = decoder.by_name("f").unwrap();
    let (sender, pictures) = std::sync::mpsc::channel();
    let pad = sink.static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        sender.send(()).unwrap();
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let message = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    let caps = depay.static_pad("src").unwrap().current_caps();
    pipeline.set_state(gst::State::Null).unwrap();
    let message = message.expect("in time");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    assert_eq!(pictures.try_iter().count(), 3);
    assert_eq!(caps.unwrap().to_string(), super::encoded_caps().to_string());
}

#[test]
fn every_picture_is_decoded_at_a_small_mtu() {
    let units = encoded();
    let mut receiver = Receiver::new();
    receiver.push(packets(&units, 200).iter().flatten());
    let pictures = run("av1parse ! av1dec", receiver.units());
    assert_eq!(pictures.len(), FRAMES);
}

#[test]
fn after_a_loss_a_key_frame_is_asked_for_and_nothing_else_comes_out() {
    let units = encoded();
    let packets = packets(&units, 1200);
    for lost in 0..packets[1].len() {
        let mut receiver = Receiver::new();
        receiver.push(&packets[0]);
        assert_eq!(receiver.units().len(), 1);
        assert_eq!(receiver.requests(), 0);
        let received = packets[1].iter().enumerate().filter(|(i, _)| *i != lost);
        receiver.push(received.map(|(_, packet)| packet));
        receiver.push(packets[2..KEY_EVERY].iter().flatten());
        assert!(receiver.units().is_empty(), "packet {lost}");
        assert!(receiver.requests() > 0, "packet {lost}");
        receiver.push(packets[KEY_EVERY..].iter().flatten());
        let out = receiver.units();
        assert_eq!(out.len(), FRAMES - KEY_EVERY);
        assert_eq!(bytes(&out[0]), bytes(&units[KEY_EVERY]));
        assert!(out[0].flags().contains(gst::BufferFlags::DISCONT));
        assert_eq!(receiver.requests(), 0);
    }
}

#[test]
fn a_lost_event_asks_for_a_key_frame_at_once() {
    let packets = packets(&encoded(), 1200);
    let mut receiver = Receiver::new();
    receiver.push(&packets[0]);
    let lost = gst::Structure::builder("GstRTPPacketLost")
        .field("seqnum", 7u32)
        .field("timestamp", gst::ClockTime::from_mseconds(33))
        .field("duration", gst::ClockTime::from_mseconds(33))
        .build();
    receiver
        .harness
        .push_event(gst::event::CustomDownstream::new(lost));
    assert_eq!(receiver.requests(), 1);
    receiver.units();
    // The jitter buffer marks what follows.
    let mut packet = packets[1][0].clone();
    packet.make_mut().set_flags(gst::BufferFlags::DISCONT);
    receiver.push([&packet]);
    assert_eq!(receiver.requests(), 0, "not twice for one loss");
    assert!(!marker(&packets[1][0]));
    receiver.push(&packets[1][1..]);
    assert!(receiver.units().is_empty());
    assert_eq!(receiver.requests(), 1, "again, it may have been lost");
}

#[test]
fn a_stream_starts_with_a_key_frame() {
    let packets = packets(&encoded(), 1200);
    let mut receiver = Receiver::new();
    receiver.push(packets[1..].iter().flatten());
    assert_eq!(receiver.requests(), KEY_EVERY - 1);
    let out = receiver.units();
    assert_eq!(out.len(), FRAMES - KEY_EVERY);
    assert!(is_key(&out[0]));
}

#[test]
fn a_flush_and_a_new_stream_start_anew() {
    let units = encoded();
    let packets = packets(&units, 1200);
    let mut receiver = Receiver::new();
    receiver.push(&packets[0]);
    receiver.harness.push_event(gst::event::FlushStart::new());
    receiver
        .harness
        .push_event(gst::event::FlushStop::new(true));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    receiver
        .harness
        .push_event(gst::event::Segment::new(&segment));
    receiver.units();
    receiver.push(packets[2..=KEY_EVERY].iter().flatten());
    let [out] = receiver.units().try_into().unwrap();
    assert_eq!(bytes(&out), bytes(&units[KEY_EVERY]));
    receiver
        .harness
        .set_src_caps_str(&format!("{RTP},ssrc=(uint)5"));
    receiver.push(packets[KEY_EVERY + 1..].iter().flatten());
    let out = receiver.units();
    assert_eq!(out.len(), FRAMES - 2 * KEY_EVERY);
    assert!(is_key(&out[0]));
}

#[test]
fn a_last_packet_without_a_marker_is_known_by_the_next_timestamp() {
    let mut receiver = Receiver::new();
    let key = [0x28, 3, 0x08, 0x00, 0xaa, 0x30, 0x10];
    receiver.push([
        &rtp(1, 9_000, false, &key),
        &rtp(2, 18_000, false, &[0x10, 0x30, 0x30]),
        &rtp(3, 27_000, true, &[0x10, 0x30, 0x31]),
    ]);
    let out = receiver.units();
    let ms: Vec<_> = out.iter().map(|b| b.pts().unwrap().mseconds()).collect();
    assert_eq!(ms, [100, 200, 300]);
    assert_eq!(bytes(&out[1]), [0x12, 0x00, 0x32, 0x01, 0x30]);
    assert_eq!(receiver.requests(), 0);
}

#[test]
fn padding_alone_changes_nothing() {
    let mut receiver = Receiver::new();
    let key = [0x28, 3, 0x08, 0x00, 0xaa, 0x30, 0x10];
    receiver.push([
        &rtp(1, 9_000, true, &key),
        &rtp(2, 9_000, false, &[]),
        &rtp(3, 18_000, true, &[0x10, 0x30, 0x30]),
    ]);
    assert_eq!(receiver.units().len(), 2);
    assert_eq!(receiver.requests(), 0);
}

#[test]
fn hostile_payloads_never_stop_the_stream() {
    let units = encoded();
    let mut receiver = Receiver::new();
    let mut seq = 0u16;
    for first in 0..=255 {
        for rest in [
            &[][..],
            &[0x36],
            &[0x08, 0xff],
            &[0xff; 30],
            &[0x01, 0x36, 0x80],
        ] {
            seq += 1;
            let payload = [&[first][..], rest].concat();
            let packet = rtp(seq, u32::from(seq) * 3000, seq.is_multiple_of(3), &payload);
            receiver.push([&packet]);
        }
    }
    receiver.units();
    assert!(receiver.requests() > 0);
    receiver.push(packets(&units, 1200).iter().flatten());
    assert_eq!(receiver.units().len(), FRAMES);
}

#[test]
fn what_is_no_av1_is_an_error_of_the_payloader() {
    gst::init().unwrap();
    let pay = Av1Pay::default();
    let mut harness = Harness::with_element(&pay, Some("sink"), Some("src"));
    let bus = gst::Bus::new();
    pay.set_bus(Some(&bus));
    harness.play();
    harness.set_src_caps_str(AV1);
    let flow = harness.push(gst::Buffer::from_slice([0x32, 0x7f, 0]));
    assert_eq!(flow, Err(gst::FlowError::Error));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!();
    };
    assert!(error.error().matches(gst::StreamError::Format));
}
