// SPDX-License-Identifier: MPL-2.0
//! Real streams through the whole chain behind a pad, on a virtual clock.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gst_check::TestClock;
use gst_rtp::rtp_buffer::RTPBuffer;

use super::*;
use crate::gst_glue::stats::{FrameFigures, PlayoutFigures};
use crate::media::codec::supported;
use crate::media::rtp_packet::{Inbound, InboundPacket};
use crate::rswebrtcsrc::playout::{BrokenFrames, LatencyMode};

/// Time between two frames.
const STEP: Duration = Duration::from_millis(20);
const FRAMES: usize = 60;
const SLICED: &str = "x264enc tune=zerolatency sliced-threads=true threads=4 speed-preset=ultrafast \
                      key-int-max=15 bitrate=800 ! rtph264pay mtu=300 aggregate-mode=none";

/// (codec, encoder and payloader): small packets, so that frames have several.
const VIDEOS: [(&str, &str); 6] = [
    (
        "VP8",
        "vp8enc deadline=1 keyframe-max-dist=15 target-bitrate=800000 ! rtpvp8pay mtu=300",
    ),
    (
        "VP9",
        "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15 target-bitrate=800000 ! rtpvp9pay mtu=300",
    ),
    (
        "H264",
        "x264enc tune=zerolatency sliced-threads=false threads=1 key-int-max=15 ! rtph264pay mtu=300",
    ),
    ("H264", SLICED),
    (
        "H265",
        "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph265pay mtu=300",
    ),
    ("AV1", ""),
];

fn limited(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
}

/// What `description` gives before it ends.
fn made_by(pipeline: &gst::Pipeline) -> Vec<gst::Buffer> {
    let made = Arc::new(Mutex::new(Vec::new()));
    let into = made.clone();
    let sink = pipeline.by_name("out").unwrap();
    let pad = sink.static_pad("sink").unwrap();
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, info| {
            let mut into = into.lock().unwrap();
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => into.push(buffer.clone()),
                Some(gst::PadProbeData::BufferList(list)) => into.extend(list.iter_owned()),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        },
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &end);
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.unwrap().type_(), gst::MessageType::Eos);
    std::mem::take(&mut *made.lock().unwrap())
}

/// RTP packets, by frame: header and payload.
type Film = Vec<Vec<(Bytes, Bytes)>>;

fn film(codec: &str, encoder: &str, frames: usize) -> Film {
    gst::init().unwrap();
    let source = if codec == "opus" {
        format!("audiotestsrc num-buffers={frames} samplesperbuffer=960 ! audio/x-raw,rate=48000")
    } else {
        format!(
            "videotestsrc num-buffers={frames} pattern=smpte ! \
             video/x-raw,format=I420,width=320,height=240,framerate=50/1"
        )
    };
    let text = match codec {
        "AV1" => format!(
            "{source} ! av1enc cpu-used=8 usage-profile=realtime keyframe-max-dist=15 ! av1parse name=last ! fakesink name=out"
        ),
        _ => format!("{source} ! {encoder} name=last pt=96 ! fakesink name=out"),
    };
    let pipeline = gst::parse::launch(&text).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    if codec == "AV1" {
        let (last, out) = (
            pipeline.by_name("last").unwrap(),
            pipeline.by_name("out").unwrap(),
        );
        last.unlink(&out);
        let pay = Carriage::of("AV1").unwrap().payloader.make().unwrap();
        pay.set_property("mtu", 300u32);
        pay.set_property("pt", 96u32);
        pipeline.add(&pay).unwrap();
        gst::Element::link_many([&last, &pay, &out]).unwrap();
    }
    let mut film = Film::new();
    let mut time = None;
    for buffer in made_by(&pipeline) {
        let rtp = RTPBuffer::from_buffer_readable(&buffer).unwrap();
        let payload = Bytes::copy_from_slice(rtp.payload().unwrap());
        if time.replace(rtp.timestamp()) != Some(rtp.timestamp()) {
            film.push(Vec::new());
        }
        drop(rtp);
        let all = buffer.map_readable().unwrap();
        let header = Bytes::copy_from_slice(&all[..all.len() - payload.len()]);
        film.last_mut().unwrap().push((header, payload));
    }
    film
}

/// A chain that plays what is given to it.
struct Chain {
    pipeline: gst::Pipeline,
    clock: TestClock,
    stream: Stream,
    queue: Arc<InboundQueue>,
    taken: Arc<AtomicU32>,
    given: u32,
    asked: Arc<AtomicU32>,
    out: Arc<Mutex<Vec<Vec<u8>>>>,
    time: Duration,
}

fn wanted(ms: u64) -> Wanted {
    Wanted {
        latency: Duration::from_millis(ms),
        mode: LatencyMode::Fixed,
        broken_frames: BrokenFrames::Drop,
        overtime: Duration::ZERO,
    }
}

impl Chain {
    fn new(codec: &str, wanted: Wanted) -> Self {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let clock = TestClock::new();
        clock.set_time(gst::ClockTime::from_seconds(1));
        pipeline.use_clock(Some(&clock));
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .unwrap();
        let bin = gst::Bin::new();
        pipeline.add_many([bin.upcast_ref(), &sink]).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let caps = crate::gst_glue::caps::encoded_and_rtp_caps(MediaKind::Video);
        let direction = gst::PadDirection::Src;
        let template =
            gst::PadTemplate::new("%u", direction, gst::PadPresence::Sometimes, &caps).unwrap();
        let linked_to = sink.clone();
        let linked = bin.connect_pad_added(move |bin, pad| {
            bin.upcast_ref::<gst::Element>()
                .link_pads(Some(&pad.name()), &linked_to, None)
                .unwrap();
        });
        let queue = Arc::new(InboundQueue::new(4096));
        let asked = Arc::new(AtomicU32::new(0));
        let asks = asked.clone();
        let row = supported(codec).unwrap();
        let mut codec = row.with_fmtp("");
        codec.payload_type = 96;
        codec.feedback = vec!["nack".to_owned()];
        let config = Config {
            name: "0".to_owned(),
            peer: "0".into(),
            index: 0,
            output: 0,
            codec,
            msid: None,
            rid: None,
            alternatives: Vec::new(),
            extensions: Vec::new(),
            queue: queue.clone(),
            wanted,
            key_frame: Box::new(move || {
                asks.fetch_add(1, Ordering::Relaxed);
            }),
            tells: false,
        };
        let stream = Stream::build(&bin, &template, config, &Arc::default()).unwrap();
        bin.disconnect(linked);
        let out = Arc::new(Mutex::new(Vec::new()));
        let into = out.clone();
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let data = info.buffer().unwrap().map_readable().unwrap().to_vec();
            into.lock().unwrap().push(data);
            gst::PadProbeReturn::Ok
        });
        let taken = Arc::new(AtomicU32::new(0));
        let counted = taken.clone();
        let pad = stream.jitter_buffer.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        Self {
            pipeline,
            clock,
            stream,
            queue,
            taken,
            given: 0,
            asked,
            out,
            time: Duration::from_secs(1),
        }
    }

    /// Time passes; whoever waited for it is woken.
    fn pass(&mut self, time: Duration) {
        self.time += time;
        self.clock
            .set_time(gst::ClockTime::from_nseconds(self.time.as_nanos() as u64));
        self.wake();
    }

    fn wake(&self) {
        while self.clock.process_next_clock_id().is_some() {}
    }

    /// A packet arrives now.
    fn give(&mut self, packet: &(Bytes, Bytes)) {
        self.give_of(packet, Instant::now());
    }

    /// A packet that arrived then.
    fn give_of(&mut self, (header, payload): &(Bytes, Bytes), arrival: Instant) {
        self.queue.push(Inbound::Rtp(InboundPacket {
            arrival,
            header: header.clone(),
            payload: payload.clone(),
            whole: Some([&header[..], payload].concat().into()),
        }));
        self.given += 1;
        limited("it is taken", || {
            self.wake();
            self.taken.load(Ordering::Relaxed) >= self.given
        });
    }

    /// Packets arrive together.
    fn deliver(&mut self, packets: &[(Bytes, Bytes)]) {
        let arrival = Instant::now();
        let arrived = packets.iter().map(|(header, payload)| {
            Inbound::Rtp(InboundPacket {
                arrival,
                header: header.clone(),
                payload: payload.clone(),
                whole: Some([&header[..], payload].concat().into()),
            })
        });
        self.queue.deliver(arrived);
        self.given += packets.len() as u32;
    }

    /// Waits until all that was given is out of the jitter buffer: nothing is missing, or it was
    /// given up.
    fn settle(&mut self) {
        let mut patience = Instant::now() + Duration::from_millis(200);
        let playout = self.stream.playout.clone();
        let jitter_buffer = self.stream.jitter_buffer.clone();
        limited("it is played out", || {
            if Instant::now() > patience {
                // Packets of which the times are guessed are waited for a little longer.
                self.pass(STEP / 4);
                patience = Instant::now() + Duration::from_millis(20);
            }
            self.wake();
            let figures = playout.figures();
            // What comes as it is given up is a duplicate of its loss.
            let stats = jitter_buffer.property::<gst::Structure>("stats");
            let duplicates = stats.get::<u64>("num-duplicates").unwrap();
            figures.emitted + figures.late + duplicates >= u64::from(self.given)
        });
    }

    /// Waits until the jitter buffer has given up so many packets since the beginning.
    fn wait_until_given_up(&mut self, count: u64) {
        let playout = self.stream.playout.clone();
        let mut patience = Instant::now() + Duration::from_millis(20);
        limited("packets are given up", || {
            if Instant::now() > patience {
                // Times of packets that are missing are guessed.
                self.pass(STEP / 4);
                patience = Instant::now() + Duration::from_millis(20);
            }
            self.wake();
            playout.figures().given_up >= count
        });
    }

    /// The end; what came out.
    fn finish(mut self) -> (Vec<Vec<u8>>, PlayoutFigures, u32) {
        let latency = self.stream.playout.figures().latency;
        self.pass(latency + STEP);
        self.settle();
        self.stream.end();
        let bus = self.pipeline.bus().unwrap();
        limited("the end", || {
            self.wake();
            bus.pop_filtered(&[gst::MessageType::Eos]).is_some()
        });
        let figures = self.stream.playout.figures();
        let out = std::mem::take(&mut *self.out.lock().unwrap());
        (out, figures, self.asked.load(Ordering::Relaxed))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn play(codec: &str, film: &Film, wanted: Wanted, lost: impl Fn(usize) -> bool) -> Chain {
    let mut chain = Chain::new(codec, wanted);
    let mut number = 0;
    let mut hole = Duration::ZERO;
    for frame in film {
        for packet in frame {
            if lost(number) {
                hole = chain.time + wanted.latency + 2 * STEP;
            } else {
                chain.give(packet);
            }
            number += 1;
        }
        if chain.time > hole {
            chain.settle();
        }
        chain.pass(STEP);
    }
    chain
}

#[test]
fn the_jitter_buffers_thread_rests_between_frames_and_wakes_for_the_end() {
    let film = film("H264", SLICED, FRAMES);
    let mut chain = Chain::new("H264", wanted(40));
    let batch = chain.stream.track.batch();
    let mut rested = 0;
    for frame in &film {
        let queue = chain.queue.clone();
        limited("its reader waits", || {
            chain.wake();
            queue.is_awaited()
        });
        chain.deliver(frame);
        let patience = Instant::now() + Duration::from_millis(50);
        while Instant::now() < patience && !batch.is_awaited() {
            std::thread::yield_now();
        }
        rested += usize::from(batch.is_awaited());
        chain.pass(STEP);
    }
    assert!(rested > FRAMES / 2, "{rested}");
    let (out, figures, _) = chain.finish();
    assert_eq!(out.len(), FRAMES);
    assert_eq!((figures.late, figures.given_up), (0, 0));
}

#[test]
fn after_holes_only_whole_frames_come_out_whatever_the_codec() {
    for (codec, encoder) in VIDEOS {
        let what = format!("{codec} {encoder}");
        let film = film(codec, encoder, FRAMES);
        assert_eq!(film.len(), FRAMES, "{what}");
        assert!(
            film.iter().any(|frame| frame.len() > 1),
            "{what}: one packet a frame"
        );
        let (reference, figures, asked) = play(codec, &film, wanted(40), |_| false).finish();
        let frames = figures.frames.unwrap();
        assert_eq!(
            (frames.received, frames.dropped),
            (FRAMES as u64, 0),
            "{what}"
        );
        // rtph264depay asks at what comes before the parameter sets.
        let start = if codec == "H264" { 3 } else { 0 };
        assert!(asked <= start, "{what}: {asked}");
        assert_eq!(reference.len(), FRAMES, "{what}");

        // The first packet of one frame, one amid another, the last of a third; and in a key frame.
        let holes = [(8, 0.0), (20, 0.5), (33, 1.0), (45, 0.5)];
        let holes = holes.map(|(frame, part)| number_of(&film, frame, part));
        let chain = play(codec, &film, wanted(40), |n| holes.contains(&n));
        let (out, figures, asked) = chain.finish();
        let broken = [8, 20, 33, 45];
        let expected = shown(codec, &film, |frame| broken.contains(&frame));
        assert!((10..40).contains(&expected.len()), "{what}: {expected:?}");
        let places: Vec<_> = out
            .iter()
            .map(|frame| reference.iter().position(|other| other == frame))
            .collect();
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        assert_eq!(places, expected, "{what}");
        let frames = figures.frames.unwrap();
        assert!(frames.broken > 0 && asked > 0, "{what}: {frames:?}");
        assert_eq!(frames.received, out.len() as u64, "{what}: {frames:?}");
    }
}

#[test]
fn who_links_the_pad_late_gets_the_video_from_a_key_frame_on_that_is_asked_for() {
    for (codec, encoder) in VIDEOS {
        let what = format!("{codec} {encoder}");
        let film = film(codec, encoder, FRAMES);
        let (reference, ..) = play(codec, &film, wanted(40), |_| false).finish();
        let mut chain = Chain::new(codec, wanted(40));
        let sink = chain.stream.ghost.peer().unwrap();
        let unlinked = 5..10;
        for (n, frame) in film.iter().enumerate() {
            if n == unlinked.start {
                chain.settle();
                limited("it is out", || chain.out.lock().unwrap().len() == n);
                chain.stream.ghost.unlink(&sink).unwrap();
            }
            if n == unlinked.end {
                chain.settle();
                let before = chain.asked.load(Ordering::Relaxed);
                chain.stream.ghost.link(&sink).unwrap();
                frame.iter().for_each(|packet| chain.give(packet));
                chain.pass(STEP);
                limited("a key frame is asked for", || {
                    chain.wake();
                    chain.asked.load(Ordering::Relaxed) > before
                });
                continue;
            }
            frame.iter().for_each(|packet| chain.give(packet));
            chain.pass(STEP);
        }
        let (out, figures, _) = chain.finish();
        let expected = shown(codec, &film, |frame| unlinked.contains(&frame));
        let places: Vec<_> = out
            .iter()
            .map(|frame| reference.iter().position(|other| other == frame))
            .collect();
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        assert_eq!(places, expected, "{what}");
        assert_eq!(figures.frames.unwrap().broken, 0, "{what}");
    }
}

/// Number of a packet of `frame`: the first (0.0) to the last (1.0).
fn number_of(film: &Film, frame: usize, part: f64) -> usize {
    let before: usize = film[..frame].iter().map(Vec::len).sum();
    before + ((film[frame].len() - 1) as f64 * part) as usize
}

/// The frames that a decoder can show without those that are `broken`.
fn shown(codec: &str, film: &Film, broken: impl Fn(usize) -> bool) -> Vec<usize> {
    let is_key = |payload: &Bytes| crate::media::keyframe::is_key(codec, payload);
    let mut waiting = true;
    let frames = film.iter().enumerate().filter(|(n, frame)| {
        if broken(*n) {
            waiting = true;
        } else if frame.iter().any(|(_, payload)| is_key(payload)) {
            waiting = false;
        }
        !waiting
    });
    frames.map(|(n, _)| n).collect()
}

#[test]
fn to_pass_broken_frames_loses_nothing_that_came() {
    let film = film("H264", SLICED, FRAMES);
    let pass = Wanted {
        broken_frames: BrokenFrames::Pass,
        ..wanted(40)
    };
    let holes = [8, 20, 33, 45].map(|frame| number_of(&film, frame, 0.9));
    let (out, figures, asked) = play("H264", &film, pass, |n| holes.contains(&n)).finish();
    let frames = figures.frames.unwrap();
    assert!(frames.broken > 0 && asked > 0, "{frames:?}");
    assert_eq!(frames.dropped, 0);
    // A frame of four slices that lost one is there; only one that lost all is not.
    assert!(out.len() > FRAMES - 4, "{}", out.len());
    assert!(figures.given_up > 0);
}

#[test]
fn a_packet_that_comes_again_in_time_mends_its_frame_and_no_key_frame_is_asked_for() {
    let film = film("VP8", VIDEOS[0].1, 30);
    let mut chain = Chain::new("VP8", wanted(100));
    let mut missing = None;
    for (n, frame) in film.iter().enumerate() {
        for (at, packet) in frame.iter().enumerate() {
            if n % 7 == 3 && at == 0 {
                missing = Some(packet.clone());
            } else {
                chain.give(packet);
            }
        }
        chain.pass(STEP);
        // 60 ms later.
        if n % 7 == 5 {
            chain.give(&missing.take().unwrap());
        }
    }
    let (out, figures, asked) = chain.finish();
    assert_eq!((out.len(), asked), (30, 0));
    assert_eq!((figures.late, figures.given_up), (0, 0));
    assert!(
        figures.buffer_delay > Duration::ZERO && figures.emitted > 30,
        "{figures:?}"
    );
}

#[test]
fn what_is_sent_again_in_overtime_comes_late_rather_than_never() {
    let film = film("VP8", VIDEOS[0].1, 30);
    for (overtime, whole) in [(100, true), (0, false)] {
        let overtime = Duration::from_millis(overtime);
        let wanted = wanted(40);
        let mut chain = Chain::new("VP8", Wanted { overtime, ..wanted });
        assert_eq!(chain.queue.patience(), (wanted.latency, overtime));
        let mut query = gst::query::Latency::new();
        assert!(chain.stream.ghost.query(&mut query));
        // Sinks would show everything late by what is needed now and then.
        assert_eq!(query.result().1, gst::ClockTime::from_mseconds(40));
        let mut missing = None;
        for (n, frame) in film.iter().enumerate() {
            for (at, packet) in frame.iter().enumerate() {
                match n == 13 && at == 0 {
                    true => missing = Some(packet.clone()),
                    false => chain.give(packet),
                }
            }
            chain.pass(STEP);
            if n == 15 && !whole {
                chain.wait_until_given_up(1);
            }
            // 100 ms later.
            if n == 15 {
                chain.give(&missing.take().unwrap());
            }
        }
        let (out, figures, asked) = chain.finish();
        assert_eq!((out.len() == 30, asked == 0), (whole, whole), "{figures:?}");
        assert_eq!(figures.given_up == 0, whole, "{figures:?}");
    }
}

#[test]
fn nobody_waits_in_overtime_for_what_may_go_out_with_holes_or_is_not_sent_again() {
    let late = Wanted {
        overtime: Duration::from_millis(100),
        ..wanted(40)
    };
    let chain = Chain::new("VP8", late);
    let size = || chain.stream.jitter_buffer.property::<u32>("latency");
    assert_eq!(size(), 140);
    let pass = BrokenFrames::Pass;
    chain.stream.playout.set(&Wanted {
        broken_frames: pass,
        ..late
    });
    assert_eq!((size(), chain.queue.patience().1), (40, Duration::ZERO));
    chain.stream.playout.set(&late);
    let mut codec = supported("VP8").unwrap().with_fmtp("");
    codec.feedback.clear();
    chain.stream.playout.renew(&codec);
    assert_eq!((size(), chain.queue.patience().1), (40, Duration::ZERO));
    codec.feedback.push("nack".to_owned());
    chain.stream.playout.renew(&codec);
    assert_eq!(size(), 140);
    // What comes in it would raise the latency.
    let auto = LatencyMode::Auto;
    chain.stream.playout.set(&Wanted { mode: auto, ..late });
    assert_eq!(size(), 60);
}

#[test]
fn latency_that_changes_while_it_plays_holds_at_once_and_the_pipeline_is_told() {
    let film = film("VP8", VIDEOS[0].1, FRAMES);
    let mut chain = Chain::new("VP8", wanted(20));
    let bus = chain.pipeline.bus().unwrap();
    let mut late = 0;
    for (n, frame) in film.iter().enumerate() {
        if (6..9).contains(&(n % 10)) {
            continue;
        }
        if n == 30 {
            while bus.pop().is_some() {}
            assert!(late > 0, "too late for 20 ms");
            chain.stream.playout.set(&wanted(200));
            limited("the pipeline is told", || {
                bus.pop_filtered(&[gst::MessageType::Latency]).is_some()
            });
            late = chain.stream.playout.figures().late;
        }
        let (last, others) = frame.split_last().unwrap();
        others.iter().for_each(|packet| chain.give(packet));
        // Each tenth frame's last packet is 60 ms late, and what is behind it is not.
        if n % 10 == 5 {
            for behind in &film[n + 1..n + 4] {
                chain.pass(STEP);
                behind.iter().for_each(|packet| chain.give(packet));
            }
            if n < 30 {
                chain.wait_until_given_up(n as u64 / 10 + 1);
            }
            chain.give(last);
        } else {
            chain.give(last);
            chain.pass(STEP);
        }
        if n < 30 {
            late = chain.stream.playout.figures().late;
        }
    }
    let (_, figures, _) = chain.finish();
    assert_eq!(figures.late, late, "none since");
    assert_eq!(figures.latency, Duration::from_millis(200));
}

#[test]
fn automatic_latency_rises_when_packets_come_late_and_they_are_used_then() {
    let film = film("VP8", VIDEOS[0].1, FRAMES);
    let auto = Wanted {
        mode: LatencyMode::Auto,
        ..wanted(20)
    };
    let mut lateness = crate::rswebrtcsrc::latency::Lateness::default();
    assert_eq!(lateness.highest(), None);
    lateness.arrived(0, 90_000, Instant::now());
    let mut chain = Chain::new("VP8", auto);
    let together = Instant::now();
    let first = film[0].iter();
    first.for_each(|packet| chain.give_of(packet, together));
    assert_eq!(
        chain.stream.playout.figures().latency,
        Duration::from_millis(20)
    );
    // Arrival is by the machine's clock: with the film standing still in time, a packet is as late
    // as it takes to wait for it.
    let start = Instant::now();
    limited("80 ms", || start.elapsed() > Duration::from_millis(80));
    // Nobody waits for padding.
    chain.give(&(film[0][0].0.clone(), Bytes::new()));
    chain.stream.playout.adapt(None, Instant::now());
    let latency = chain.stream.playout.figures().latency;
    assert_eq!(latency, Duration::from_millis(20));
    film[1].iter().for_each(|packet| chain.give(packet));
    chain.stream.playout.adapt(None, Instant::now());
    let latency = chain.stream.playout.figures().latency;
    assert!(latency >= Duration::from_millis(70), "{latency:?}");
    let set = chain.stream.jitter_buffer.property::<u32>("latency");
    assert_eq!(u128::from(set), latency.as_millis());
    // And the user may say otherwise.
    chain.stream.playout.set(&wanted(150));
    chain.stream.playout.adapt(None, Instant::now());
    assert_eq!(chain.stream.jitter_buffer.property::<u32>("latency"), 150);
}

#[test]
fn of_latencies_that_are_set_at_once_the_later_one_holds_everywhere() {
    let chain = Chain::new("VP8", wanted(20));
    let playout = Arc::downgrade(&chain.stream.playout);
    let again = std::sync::Once::new();
    // Another thread comes in between.
    let jitter_buffer = &chain.stream.jitter_buffer;
    jitter_buffer.connect_notify(Some("latency"), move |_, _| {
        again.call_once(|| playout.upgrade().unwrap().set(&wanted(200)));
    });
    chain.stream.playout.set(&wanted(100));
    assert_eq!(chain.queue.patience().0, Duration::from_millis(200));
    assert_eq!(jitter_buffer.property::<u32>("latency"), 200);
    let latency = chain.stream.playout.figures().latency;
    assert_eq!(latency, Duration::from_millis(200));
}

#[test]
fn a_key_frame_that_comes_in_one_burst_is_not_dropped() {
    let codec = "vp8enc deadline=1 target-bitrate=20000000 max-quantizer=4 ! rtpvp8pay mtu=60";
    let film = film("VP8", codec, 10);
    assert!(film[0].len() > 100, "{}", film[0].len());
    // The whole film in no time, and the least of latencies.
    let mut chain = Chain::new("VP8", wanted(20));
    film.iter().flatten().for_each(|packet| chain.give(packet));
    let (out, figures, asked) = chain.finish();
    assert_eq!((out.len(), asked, figures.late), (10, 0, 0));
}

#[test]
fn a_lost_packet_of_sound_holds_up_the_others_for_its_latency_and_no_longer() {
    let film = film("opus", "opusenc ! rtpopuspay", 50);
    let mut chain = Chain::new("opus", wanted(60));
    for (n, frame) in film.iter().enumerate() {
        if n != 20 {
            frame.iter().for_each(|packet| chain.give(packet));
        }
        let came = |chain: &Chain| chain.out.lock().unwrap().len();
        if n == 22 {
            limited("what is before the hole comes out", || {
                chain.wake();
                came(&chain) >= 20
            });
            assert_eq!(came(&chain), 20);
        }
        if n == 25 {
            limited("what is behind the hole comes out", || {
                chain.wake();
                came(&chain) == 25
            });
        }
        chain.pass(STEP);
    }
    let (out, figures, _) = chain.finish();
    assert_eq!((out.len(), figures.given_up), (film.len() - 1, 1));
    assert!(figures.frames.is_none());
}

#[test]
fn a_stall_is_counted_as_a_freeze_and_a_hole_too() {
    let film = film("VP8", VIDEOS[0].1, FRAMES);
    let freezes = |figures: FrameFigures| (figures.freezes, figures.freezes_duration.as_millis());
    // Frames 20 to 29 are lost, and what follows waits for the key frame 30.
    let mut packets = 0;
    let places: Vec<_> = film
        .iter()
        .map(|frame| {
            packets += frame.len();
            packets
        })
        .collect();
    let lost = |n: usize| (places[19]..places[20]).contains(&n);
    let (_, figures, _) = play("VP8", &film, wanted(100), lost).finish();
    let (count, duration) = freezes(figures.frames.unwrap());
    assert_eq!(count, 1);
    assert!((200..=300).contains(&duration), "{duration} ms");
    let (_, figures, _) = play("VP8", &film, wanted(100), |_| false).finish();
    assert_eq!(figures.frames.unwrap().freezes, 0);
}
