// SPDX-License-Identifier: MPL-2.0
//! Who pushes what, and in which order it comes out.

use std::sync::mpsc;
use std::thread::{self, ThreadId};

use bytes::Bytes;
use gst_check::Harness;

use super::*;
use crate::media::codec::supported;

struct Bench {
    harness: Harness,
    track: TrackSrc,
    queue: Arc<InboundQueue>,
    /// Of each buffer that goes out: by whom, and its sequence number.
    pushed: mpsc::Receiver<(ThreadId, u16)>,
}

fn numbers(first: u16, count: u16) -> Vec<Inbound> {
    (first..first + count).map(packet).collect()
}

fn packet(number: u16) -> Inbound {
    let [high, low] = number.to_be_bytes();
    let header = Bytes::from(vec![0x80, 96, high, low, 0, 0, 0, 1, 0, 0, 0, 9]);
    Inbound::Rtp(InboundPacket {
        arrival: Instant::now(),
        header,
        payload: Bytes::from_static(b"media"),
        whole: None,
    })
}

fn number_of(buffer: &gst::BufferRef) -> u16 {
    let bytes = buffer.map_readable().unwrap();
    u16::from_be_bytes([bytes[2], bytes[3]])
}

impl Bench {
    fn new() -> Self {
        gst::init().unwrap();
        let mut codec = supported("VP8").unwrap().with_fmtp("");
        codec.payload_type = 96;
        let queue = Arc::new(InboundQueue::new(64));
        let track = TrackSrc::new(Feed {
            queue: queue.clone(),
            caps: crate::gst_glue::caps::rtp_caps(&codec),
            codec,
            alternatives: Vec::new(),
            orientation: None,
            key_frame: Arc::new(Box::new(|| {})),
            batch: Arc::new(Batch::default()),
        });
        let (told, pushed) = mpsc::channel();
        let pad = track.static_pad("src").unwrap();
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(kinds, move |_, info| {
            let tell =
                |buffer: &gst::BufferRef| told.send((thread::current().id(), number_of(buffer)));
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => tell(buffer).unwrap(),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter().for_each(|buffer| tell(buffer).unwrap());
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        let mut harness = Harness::with_element(&track, None, Some("src"));
        harness.use_systemclock();
        harness.play();
        Self {
            harness,
            track,
            queue,
            pushed,
        }
    }

    fn next(&self) -> (ThreadId, u16) {
        self.pushed.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Until the streaming thread waits for what comes.
    fn settle(&self) {
        let start = Instant::now();
        while !self.queue.is_awaited() {
            assert!(start.elapsed() < Duration::from_secs(20), "it never waits");
            thread::yield_now();
        }
    }

    /// With a first packet gone out.
    fn begun() -> Self {
        let bench = Self::new();
        bench.queue.deliver(numbers(0, 1));
        assert_eq!(bench.next().1, 0);
        bench.settle();
        bench
    }
}

#[test]
fn what_follows_goes_out_from_the_thread_that_delivers_it() {
    let bench = Bench::new();
    let own = thread::current().id();
    bench.settle();
    bench.queue.deliver(numbers(0, 1));
    let (streaming, first) = bench.next();
    assert_eq!(first, 0);
    assert_ne!(streaming, own, "the first one brings caps and a segment");
    bench.settle();
    for (first, count) in [(1, 1), (2, 5)] {
        bench.queue.deliver(numbers(first, count));
        let pushed: Vec<_> = bench.pushed.try_iter().collect();
        let expected: Vec<_> = (first..first + count).map(|number| (own, number)).collect();
        assert_eq!(pushed, expected, "all of it went out meanwhile");
    }
    assert_eq!(bench.harness.buffers_received(), 7);
    assert!(bench.queue.is_awaited(), "the streaming thread slept on");
}

#[test]
fn what_comes_behind_something_to_be_told_waits_for_the_streaming_thread() {
    let bench = Bench::begun();
    let own = thread::current().id();
    let mut items = numbers(1, 2);
    items.push(Inbound::SenderReport(Bytes::from_static(&[0; 28])));
    items.extend(numbers(3, 2));
    bench.queue.deliver(items);
    let pushed: Vec<_> = (0..4).map(|_| bench.next()).collect();
    let order: Vec<_> = pushed.iter().map(|(_, number)| *number).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert!(pushed.iter().take(2).all(|(who, _)| *who == own));
    assert!(pushed.iter().skip(2).all(|(who, _)| *who != own));
}

#[test]
fn an_event_for_downstream_comes_before_the_next_packet() {
    let mut bench = Bench::begun();
    let mut tags = gst::TagList::new();
    let title = &"what comes now";
    let writable = tags.get_mut().unwrap();
    writable.add::<gst::tags::Title>(title, gst::TagMergeMode::Replace);
    assert!(bench.track.send_event(gst::event::Tag::new(tags)));
    let pad = bench.track.static_pad("src").unwrap();
    let told = Arc::new(Mutex::new(None));
    let seen = told.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        let tags = pad.sticky_event::<gst::event::Tag>(0);
        let titled = tags.is_some_and(|t| t.tag().index::<gst::tags::Title>(0).is_some());
        seen.lock().unwrap().get_or_insert(titled);
        gst::PadProbeReturn::Ok
    });
    bench.queue.deliver(numbers(1, 1));
    assert_eq!(bench.next().1, 1);
    bench.harness.pull().unwrap();
    bench.harness.pull().unwrap();
    assert_eq!(*told.lock().unwrap(), Some(true));
}

#[test]
fn an_error_of_downstream_ends_the_stream_and_is_told() {
    let bench = Bench::begun();
    let bus = gst::Bus::new();
    bench.track.set_bus(Some(&bus));
    let pad = bench.track.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        info.data = None;
        info.flow_res = Err(gst::FlowError::Error);
        gst::PadProbeReturn::Handled
    });
    bench.queue.deliver(numbers(1, 1));
    let limit = gst::ClockTime::from_seconds(20);
    let message = bus.timed_pop_filtered(limit, &[gst::MessageType::Error]);
    assert!(message.is_some(), "GstBase tells of it");
    bench.track.set_bus(None);
}

#[test]
fn nothing_goes_out_in_paused_and_what_came_then_never_does() {
    let bench = Bench::begun();
    bench.track.set_state(gst::State::Paused).unwrap();
    bench.queue.deliver(numbers(1, 3));
    bench.settle();
    assert_eq!(bench.pushed.try_iter().count(), 0);
    bench.track.set_state(gst::State::Playing).unwrap();
    bench.settle();
    bench.queue.deliver(numbers(4, 1));
    assert_eq!(bench.next().1, 4);
}

#[test]
fn nothing_follows_the_end() {
    let mut bench = Bench::begun();
    bench.queue.deliver(numbers(1, 2));
    bench.track.end();
    bench.queue.deliver(numbers(3, 1));
    let eos = std::iter::from_fn(|| bench.harness.pull_event().ok());
    assert!(eos.into_iter().any(|e| e.type_() == gst::EventType::Eos));
    assert_eq!(bench.harness.buffers_received(), 3);
}

#[test]
fn a_push_that_met_a_flush_does_not_end_the_stream_behind_it() {
    let bench = Bench::begun();
    let pad = bench.track.static_pad("src").unwrap();
    let refuse = |pad: &gst::Pad| {
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            info.data = None;
            info.flow_res = Err(gst::FlowError::Flushing);
            gst::PadProbeReturn::Handled
        })
    };
    for first in [1, 3, 5] {
        let refused = refuse(&pad).unwrap();
        bench.queue.deliver(numbers(first, 1));
        assert_eq!(bench.next().1, first);
        assert!(bench.track.send_event(gst::event::FlushStart::new()));
        pad.remove_probe(refused);
        assert!(bench.track.send_event(gst::event::FlushStop::new(true)));
        bench.settle();
        bench.queue.deliver(numbers(first + 1, 1));
        let (who, number) = bench.next();
        assert_eq!(number, first + 1);
        assert_ne!(who, thread::current().id(), "it brings a segment");
        bench.settle();
    }
}

#[test]
fn who_rests_behind_it_knows_the_newest_packet_however_that_went() {
    let bench = Bench::begun();
    let newest = || bench.track.batch().quiet_at();
    assert_eq!(newest(), Some(0), "by itself, the first");
    bench.queue.deliver(numbers(1, 3));
    assert_eq!(newest(), Some(3), "as a list");
    bench.queue.deliver([5, 4].map(packet));
    assert_eq!(newest(), Some(5), "in another order");
    bench.queue.deliver(numbers(6, 1));
    assert_eq!(
        newest(),
        Some(6),
        "by itself, from the thread that delivers"
    );
    // The streaming thread sees to what is behind a report.
    let report = Inbound::SenderReport(Bytes::from_static(b"report"));
    bench.queue.deliver([report, packet(7)]);
    while bench.next().1 != 7 {}
    bench.settle();
    assert_eq!(newest(), Some(7), "by itself, behind a report");
}
