// SPDX-License-Identifier: MPL-2.0
//! What both ends tell of a call while it lasts, and what can be changed in it.

mod common;

use common::{Running, count, eventually, meet};
use gst::prelude::*;

const LIVE: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
                    ! vp8enc deadline=1 target-bitrate=500000 keyframe-max-dist=30";

/// The next message with statistics of the element `name`, and those of its video.
fn told(by: &Running, name: &str) -> (gst::Structure, gst::Structure) {
    loop {
        let message = by.wait(&[gst::MessageType::Element]);
        let from = message.src().map(|src| src.name());
        let Some(all) = message.structure().filter(|s| s.name() == "rswebrtc-stats") else {
            continue;
        };
        if from.as_deref() == Some(name) {
            let peer = all.get::<gst::Structure>("peer-0").unwrap();
            let video = peer.get::<gst::Structure>("video-0").unwrap();
            return (peer, video);
        }
    }
}

#[test]
fn both_ends_tell_rates_frames_and_the_path_at_each_interval() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r stats-interval=200 {meet} ! fakesink name=f"
    ));
    let sender = Running::play(&format!(
        "{LIVE} ! rswebrtcsink name=s stats-interval=200 {meet}"
    ));
    let rate = |stats: &gst::Structure| stats.get::<u64>("bitrate").unwrap_or_default();
    // The first has nothing to compare with.
    let (path, mut sent) = told(&sender, "s");
    assert_eq!(sent.name(), "outbound-rtp");
    assert!(path.has_field("candidate-pair"));
    // In the first interval may be the first frame only.
    let fast = |stats: &gst::Structure| stats.get::<f64>("frames-per-second").unwrap() > 5.0;
    while rate(&sent) == 0 || !fast(&sent) {
        sent = told(&sender, "s").1;
    }
    let (_, mut received) = told(&receiver, "r");
    assert_eq!(received.name(), "inbound-rtp");
    let keys = |stats: &gst::Structure| stats.get::<u64>("key-frames-received").unwrap();
    // Bytes are counted as they come, frames behind the jitter buffer.
    while rate(&received) == 0 || keys(&received) == 0 {
        received = told(&receiver, "r").1;
    }
    let number = |name: &str| received.get::<u64>(name).unwrap();
    assert!(number("frames-received") >= number("key-frames-received"));
    assert!(number("jitter-buffer-emitted-count") > 0);
    assert_eq!((number("frames-broken"), number("frames-dropped")), (0, 0));
    assert_eq!(received.get::<u32>("latency"), Ok(200));
    // And the property has the same.
    let now = receiver.element("r").property::<gst::Structure>("stats");
    let now = now.get::<gst::Structure>("peer-0").unwrap();
    let now = now.get::<gst::Structure>("video-0").unwrap();
    assert!(now.get::<u64>("frames-received").unwrap() >= number("frames-received"));
    assert!(now.has_field("bitrate"));
}

#[test]
fn statistics_can_be_turned_off_and_on_while_playing() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r stats-interval=0 {meet} ! fakesink name=f"
    ));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let _sender = Running::play(&format!("{LIVE} ! rswebrtcsink {meet}"));
    eventually("two seconds of frames", || seen.lock().unwrap().len() > 60);
    let bus = receiver.0.bus().unwrap();
    while let Some(message) = bus.pop_filtered(&[gst::MessageType::Element]) {
        let name = message.structure().map(|s| s.name().to_string());
        assert_ne!(name.as_deref(), Some("rswebrtc-stats"));
    }
    receiver.element("r").set_property("stats-interval", 100u32);
    told(&receiver, "r");
}

#[test]
fn latency_of_each_medium_can_change_while_playing_and_is_what_the_pad_reports() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r video-latency=120 audio-latency=40 {meet}  \
         r.video_0 ! fakesink name=v async=false  r.audio_0 ! fakesink name=a async=false"
    ));
    let seen = ["v", "a"].map(|name| count(&receiver.element(name).static_pad("sink").unwrap()));
    let _sender = Running::play(&format!(
        "{LIVE} ! rswebrtcsink name=s {meet}  \
         audiotestsrc is-live=true samplesperbuffer=960 ! opusenc ! s."
    ));
    let frames = |at: usize| seen[at].lock().unwrap().len();
    eventually("picture and sound", || frames(0) > 10 && frames(1) > 10);
    let source = receiver.element("r");
    let reported = |pad: &str| {
        let mut query = gst::query::Latency::new();
        assert!(source.static_pad(pad).unwrap().query(&mut query));
        let (live, least, _) = query.result();
        assert!(live);
        least.mseconds()
    };
    assert_eq!((reported("video_0"), reported("audio_0")), (120, 40));
    let bus = receiver.0.bus().unwrap();
    while bus.pop().is_some() {}
    source.set_property("video-latency", -1i32);
    source.set_property("latency", 300u32);
    assert_eq!((reported("video_0"), reported("audio_0")), (300, 40));
    receiver.wait(&[gst::MessageType::Latency]);
    let before = (frames(0), frames(1));
    eventually("it goes on", || {
        frames(0) > before.0 + 10 && frames(1) > before.1 + 10
    });
    source.set_property_from_str("latency-mode", "auto");
    eventually("it goes on", || frames(0) > before.0 + 20);
    assert!((20..=1000).contains(&reported("audio_0")));
    source.set_property_from_str("latency-mode", "fixed");
    assert_eq!(reported("video_0"), 300);
}
