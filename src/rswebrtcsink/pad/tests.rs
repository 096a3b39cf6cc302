// SPDX-License-Identifier: MPL-2.0

use std::sync::mpsc;
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Access units as a parser gives them, and their caps.
fn parsed() -> (gst::Caps, Vec<gst::Buffer>) {
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=4 ! video/x-raw,width=64,height=64 ! x264enc key-int-max=1 \
         tune=zerolatency ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au ! \
         fakesink name=end signal-handoffs=true sync=false",
    )
    .unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let end = pipeline.by_name("end").unwrap();
    let (give, take) = mpsc::channel();
    end.connect("handoff", false, move |values| {
        give.send(values[1].get::<gst::Buffer>().unwrap()).unwrap();
        None
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let units: Vec<_> = (0..4).map(|_| take.recv_timeout(LIMIT).unwrap()).collect();
    let caps = end.static_pad("sink").unwrap().current_caps().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    (caps, units)
}

/// Without the delimiter that the parser put before it.
fn undelimited(unit: &gst::Buffer) -> Vec<u8> {
    let data = unit.map_readable().unwrap();
    assert_eq!(data[..5], [0, 0, 0, 1, 9]);
    data[6..].to_vec()
}

/// A sink with what was given to a pad of it.
struct Rig {
    sink: gst::Element,
    pad: gst::Pad,
    source: gst::Pad,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        gst::init().unwrap();
        let type_ = super::super::RsWebRtcSink::static_type();
        // Again is no fault: tests share a process.
        let _ = gst::Element::register(None, "rswebrtcsink", gst::Rank::NONE, type_);
        let directory = tempfile::tempdir().unwrap();
        let sink = gst::ElementFactory::make("rswebrtcsink")
            .property_from_str("signaller", "file")
            .property("location", directory.path().to_str().unwrap())
            .property("ice-addresses", "127.0.0.1")
            .property_from_str("early-data", "drop")
            .property("sync", false)
            .build()
            .unwrap();
        let pad = sink.request_pad_simple("video_%u").unwrap();
        let source = gst::Pad::new(gst::PadDirection::Src);
        source.set_active(true).unwrap();
        source.link(&pad).unwrap();
        sink.set_state(gst::State::Playing).unwrap();
        source.push_event(gst::event::StreamStart::new("a"));
        Self {
            sink,
            pad,
            source,
            _directory: directory,
        }
    }

    fn tell(&self, caps: &gst::Caps) {
        assert!(self.source.push_event(gst::event::Caps::new(caps)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(self.source.push_event(gst::event::Segment::new(&segment)));
    }

    fn parts(&self) -> Vec<String> {
        let bin = self.sink.downcast_ref::<gst::Bin>().unwrap();
        let all = bin.iterate_recurse().into_iter().flatten();
        let factories = all.filter_map(|e| Some(e.factory()?.name().to_string()));
        factories.filter(|name| name == "h264parse").collect()
    }

    /// What comes to the payloader.
    fn payloaded(&self) -> mpsc::Receiver<Vec<u8>> {
        let bin = self.sink.downcast_ref::<gst::Bin>().unwrap();
        let mut all = bin.iterate_recurse().into_iter().flatten();
        let is_payloader = |e: &gst::Element| e.factory().is_some_and(|f| f.name() == "rtph264pay");
        let payloader = all.find(is_payloader).unwrap();
        let (give, take) = mpsc::channel();
        let pad = payloader.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let data = info.buffer().unwrap().map_readable().unwrap().to_vec();
            give.send(data).unwrap();
            gst::PadProbeReturn::Ok
        });
        take
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.sink.set_state(gst::State::Null).unwrap();
        let _ = self.pad;
    }
}

#[test]
fn what_was_parsed_before_is_not_parsed_again_until_something_else_comes() {
    let rig = Rig::new();
    let (caps, units) = parsed();
    rig.tell(&caps);
    let payloaded = rig.payloaded();
    assert!(rig.parts().is_empty());
    rig.source.push(units[0].clone()).unwrap();
    let first = undelimited(&units[0]);
    assert_eq!(payloaded.recv_timeout(LIMIT).unwrap(), first);

    let mut bare = caps.clone();
    bare.make_mut()
        .structure_mut(0)
        .unwrap()
        .remove_field("parsed");
    rig.tell(&bare);
    assert_eq!(rig.parts(), ["h264parse"]);
    for unit in &units[1..] {
        rig.source.push(unit.clone()).unwrap();
    }
    rig.source.push_event(gst::event::Eos::new());
    for unit in &units[1..] {
        let came = payloaded.recv_timeout(LIMIT).unwrap();
        assert_eq!(came, undelimited(unit));
    }
    // And stays, whatever comes later.
    assert_eq!(rig.parts(), ["h264parse"]);
}

#[test]
fn a_key_frame_that_was_parsed_before_comes_with_its_parameter_sets() {
    let rig = Rig::new();
    let (caps, units) = parsed();
    rig.tell(&caps);
    let payloaded = rig.payloaded();
    rig.source.push(units[0].clone()).unwrap();
    let first = payloaded.recv_timeout(LIMIT).unwrap();
    let picture = first
        .windows(4)
        .rposition(|code| code[..3] == [0, 0, 1] && code[3] & 0x1f == 5);
    let (sets, picture) = first.split_at(picture.unwrap());
    let mut bare = gst::Buffer::from_slice([&[0], picture].concat());
    bare.make_mut().set_pts(gst::ClockTime::from_mseconds(40));
    rig.source.push(bare).unwrap();
    let second = payloaded.recv_timeout(LIMIT).unwrap();
    let has = |kind: u8| {
        second
            .windows(4)
            .any(|code| code[..3] == [0, 0, 1] && code[3] & 0x1f == kind)
    };
    assert!(has(7) && has(8) && has(5), "of {} bytes before", sets.len());
}
