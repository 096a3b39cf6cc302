// SPDX-License-Identifier: MPL-2.0
use super::*;

use crate::media::codec::supported;
use crate::peer::Estimate;

fn peer(direction: Direction, stats: StreamStats) -> PeerStats {
    let stream = AgreedStream {
        stream: 0,
        local: 0,
        mid: "7".to_owned(),
        direction,
        codec: supported("VP8").unwrap().with_fmtp(""),
        alternatives: Vec::new(),
        extensions: Vec::new(),
        msid: None,
        fec: None,
        fec_left_out: None,
        layers: Vec::new(),
        output: 0,
    };
    PeerStats {
        id: "3".into(),
        streams: vec![(stream, stats)],
        path: PathStats::default(),
        channels: Vec::new(),
    }
}

fn part(all: &gst::Structure, name: &str) -> gst::Structure {
    let peer = all.get::<gst::Structure>("peer-3").unwrap();
    peer.get(name).unwrap()
}

#[test]
fn rates_are_those_of_the_last_interval_and_not_of_the_call() {
    gst::init().unwrap();
    let mut sampler = Sampler::default();
    let start = Instant::now();
    let sent = |bytes, frames| {
        let stats = StreamStats {
            bytes_sent: bytes,
            frames_sent: frames,
            ..StreamStats::default()
        };
        [peer(Direction::SendOnly, stats)]
    };
    let none = Playouts::new();
    let rate_of = |sampler: &Sampler, peers: &[PeerStats]| {
        let all = structure(STATS, peers, &none, sampler);
        let stream = part(&all, "video-7");
        let rate = stream.get::<u64>("bitrate").ok();
        (rate, stream.get::<f64>("frames-per-second").ok())
    };
    assert_eq!(rate_of(&sampler, &sent(1, 1)), (None, None));
    sampler.sample(&sent(10_000_000, 9000), &none, start);
    assert_eq!(
        rate_of(&sampler, &sent(1, 1)),
        (None, None),
        "of one sample"
    );
    sampler.sample(
        &sent(10_100_000, 9025),
        &none,
        start + Duration::from_secs(1),
    );
    assert_eq!(rate_of(&sampler, &sent(0, 0)), (Some(800_000), Some(25.0)));
    // A connection that is made again counts from 0.
    sampler.sample(&sent(50, 2), &none, start + Duration::from_secs(2));
    assert_eq!(rate_of(&sampler, &sent(0, 0)), (Some(0), Some(0.0)));
    // A call that was too busy to answer is not one without peers.
    sampler.sample(&[], &none, start + Duration::from_secs(3));
    sampler.sample(&sent(250_050, 52), &none, start + Duration::from_secs(4));
    assert_eq!(
        rate_of(&sampler, &sent(0, 0)),
        (Some(1_000_000), Some(25.0))
    );
    let mut other = sent(0, 0);
    other[0].id = "4".into();
    sampler.sample(&other, &none, start + Duration::from_secs(5));
    assert_eq!(sampler.streams.len(), 1, "who is gone is forgotten");
}

#[test]
fn what_a_source_knows_of_frames_is_with_the_stream() {
    gst::init().unwrap();
    let peers = [peer(
        Direction::RecvOnly,
        StreamStats {
            packets_discarded: 2,
            packets_repaired: 9,
            ..StreamStats::default()
        },
    )];
    let figures = PlayoutFigures {
        frames: Some(FrameFigures {
            received: 100,
            freezes: 2,
            freezes_duration: Duration::from_millis(700),
            ..FrameFigures::default()
        }),
        latency: Duration::from_millis(120),
        late: 3,
        ..PlayoutFigures::default()
    };
    let playouts = Playouts::from([(("3".into(), 0), figures)]);
    let all = structure(STATS, &peers, &playouts, &Sampler::default());
    let stream = part(&all, "video-7");
    assert_eq!(stream.name(), "inbound-rtp");
    assert_eq!(stream.get("frames-received"), Ok(100u64));
    assert_eq!(stream.get("freeze-count"), Ok(2u64));
    assert_eq!(stream.get("total-freezes-duration"), Ok(0.7));
    assert_eq!(stream.get("packets-discarded"), Ok(5u64), "late ones, too");
    assert_eq!(stream.get("packets-repaired"), Ok(9u64));
    assert_eq!(stream.get("latency"), Ok(120u32));
}

#[test]
fn the_path_tells_what_is_known_of_it_and_no_more() {
    gst::init().unwrap();
    let mut peers = [peer(Direction::SendOnly, StreamStats::default())];
    let all = |peers: &[PeerStats]| {
        let all = structure(STATS, peers, &Playouts::new(), &Sampler::default());
        part(&all, "candidate-pair")
    };
    let pair = all(&peers);
    assert!(!pair.has_field("current-round-trip-time"));
    assert!(!pair.has_field("available-outgoing-bitrate"));
    peers[0].path = PathStats {
        estimate: Some(Estimate {
            total: 2_000_000,
            media: 1_900_000,
            loss: 0.05,
            round_trip: None,
            queued_until: None,
        }),
        sending_bitrate: 1_500_000,
        queue_delay: Duration::from_millis(40),
        round_trip: Some(Duration::from_millis(50)),
    };
    let pair = all(&peers);
    assert_eq!(pair.get("current-round-trip-time"), Ok(0.05));
    assert_eq!(pair.get("available-outgoing-bitrate"), Ok(2_000_000u64));
    assert_eq!(pair.get("target-bitrate"), Ok(1_900_000u64));
    assert_eq!(pair.get("fraction-lost"), Ok(0.05));
    assert_eq!(pair.get("queue-delay"), Ok(0.04));
}

#[test]
fn nothing_is_told_of_a_peer_without_streams() {
    gst::init().unwrap();
    let mut peers = [peer(Direction::SendOnly, StreamStats::default())];
    peers[0].streams.clear();
    let all = structure(STATS, &peers, &Playouts::new(), &Sampler::default());
    assert_eq!(all.n_fields(), 0);
}

/// An application that takes no messages must not find its memory filled with them.
#[test]
fn messages_that_nobody_reads_do_not_pile_up() {
    gst::init().unwrap();
    let pipeline = gst::Pipeline::new();
    let inner = gst::Bin::new();
    let element = gst::ElementFactory::make("identity").build().unwrap();
    inner.add(&element).unwrap();
    pipeline.add(&inner).unwrap();
    let bus = pipeline.bus().unwrap();
    let mut poster = Poster::default();
    (0..100).for_each(|_| poster.post(&element, gst::Structure::new_empty(STATS)));
    let mut piled = 0;
    while bus.pop().is_some() {
        piled += 1;
    }
    assert!((1..=2).contains(&piled), "{piled}");
    for _ in 0..5 {
        poster.post(&element, gst::Structure::new_empty(STATS));
        assert!(bus.pop().is_some(), "it is read again");
    }
}
