// SPDX-License-Identifier: MPL-2.0
//! State changes, flushes and ends of each element, with and without a peer.

mod common;

use std::time::Duration;

use common::{LIMIT, Running, count, eventually, init, meet};
use gst::prelude::*;

/// A stop has 0.7 s for the call and 0.3 s for encoders, on a machine that is not busy; what is not
/// to be waited for takes 4 s and more.
const AT_ONCE: Duration = Duration::from_secs(3);

const STORED: &str = "videotestsrc num-buffers=300 ! video/x-raw,width=320,height=240,framerate=30/1 \
                      ! vp8enc deadline=1 name=e";
const LIVE: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
                    ! vp8enc deadline=1 name=e";

#[test]
fn a_sender_without_a_peer_plays_and_stops_at_once() {
    for source in [STORED, LIVE] {
        let directory = tempfile::tempdir().unwrap();
        let sender = Running::parse(&format!(
            "{source} ! rswebrtcsink {}",
            meet(directory.path())
        ));
        for end in [gst::State::Ready, gst::State::Null] {
            sender.set_state(gst::State::Playing);
            let (result, state, _) = sender.0.state(LIMIT);
            assert_eq!((result.is_ok(), state), (true, gst::State::Playing));
            let offer = directory.path().join("offer.json");
            eventually("an offer is there", || offer.exists());
            assert!(sender.timed_state(end) < AT_ONCE);
        }
    }
}

#[test]
fn a_receiver_without_a_peer_plays_and_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Running::parse(&format!(
        "rswebrtcsrc {} ! fakesink",
        meet(directory.path())
    ));
    for end in [gst::State::Paused, gst::State::Ready, gst::State::Null] {
        receiver.set_state(gst::State::Playing);
        assert!(receiver.timed_state(end) < AT_ONCE);
    }
}

#[test]
fn a_call_can_be_cut_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let sender = Running::parse(&format!("{STORED} ! rswebrtcsink {meet}"));
    let receiver = Running::parse(&format!("rswebrtcsrc name=r {meet}  fakesink name=f"));
    let input = receiver.element("f").static_pad("sink").unwrap();
    receiver.element("r").connect_pad_added(move |_, pad| {
        let _ = pad.link(&input);
    });
    for millis in (0..60).step_by(3) {
        receiver.set_state(gst::State::Playing);
        sender.set_state(gst::State::Playing);
        // The moment itself is what varies here.
        std::thread::sleep(Duration::from_millis(millis));
        let (first, second) = match millis % 2 {
            0 => (&sender, &receiver),
            _ => (&receiver, &sender),
        };
        assert!(first.timed_state(gst::State::Null) < AT_ONCE);
        assert!(second.timed_state(gst::State::Null) < AT_ONCE);
        for pipeline in [&sender, &receiver] {
            pipeline.0.bus().unwrap().set_flushing(true);
            pipeline.0.bus().unwrap().set_flushing(false);
        }
    }
}

#[test]
fn a_flush_while_a_stream_waits_returns_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let sender = Running::parse(&format!(
        "{STORED} ! rswebrtcsink name=s {}",
        meet(directory.path())
    ));
    let waiting = count(&sender.element("e").static_pad("src").unwrap());
    sender.set_state(gst::State::Playing);
    eventually("the stream waits", || !waiting.lock().unwrap().is_empty());
    let pad = sender.element("s").static_pad("video_0").unwrap();
    let start = std::time::Instant::now();
    let peer = pad.peer().unwrap();
    assert!(peer.push_event(gst::event::FlushStart::new()));
    assert!(peer.push_event(gst::event::FlushStop::new(true)));
    assert!(start.elapsed() < AT_ONCE);
}

#[test]
fn a_seek_during_a_call_goes_on_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::play(&format!("{STORED} ! rswebrtcsink {meet}"));
    eventually("frames arrive", || seen.lock().unwrap().len() > 20);
    sender
        .0
        .seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::from_seconds(8))
        .unwrap();
    sender.wait_eos();
    receiver.wait_eos();
    // The source counts its frames, wherever they are in time; a few are flushed.
    let seen = seen.lock().unwrap().len();
    assert!((280..=300).contains(&seen), "{seen} frames");
}

/// The preview loses its state with the flush, so that the whole pipeline gets a new base time:
/// before the film comes to the other sink, or after.
#[test]
fn a_seek_with_a_preview_beside_goes_on_at_once() {
    for preroll in [0, 50_000] {
        let directory = tempfile::tempdir().unwrap();
        let meet = meet(directory.path());
        let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
        let seen = count(&receiver.element("f").static_pad("sink").unwrap());
        let sender = Running::parse(&format!(
            "{STORED} ! tee name=t ! queue ! rswebrtcsink {meet}  \
             t. ! queue ! identity name=i ! fakesink name=preview sync=true"
        ));
        let preview = count(&sender.element("preview").static_pad("sink").unwrap());
        sender.set_state(gst::State::Playing);
        eventually("three seconds arrive", || seen.lock().unwrap().len() > 90);
        let slow = sender.element("i");
        slow.set_property("sleep-time", preroll as u32);
        sender
            .0
            .seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::ZERO)
            .unwrap();
        slow.set_property("sleep-time", 0u32);
        let (before, shown) = (seen.lock().unwrap().len(), preview.lock().unwrap().len());
        eventually("the preview goes on", || {
            preview.lock().unwrap().len() > shown + 25
        });
        let since = seen.lock().unwrap().len() - before;
        assert!(since > 10, "{since} frames while the preview shows 25");
    }
}

#[test]
fn eos_of_a_receiver_before_any_call_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Running::play(&format!(
        "rswebrtcsrc {} ! fakesink",
        meet(directory.path())
    ));
    receiver.0.send_event(gst::event::Eos::new());
    let (text, error) = receiver.wait_text(gst::MessageType::Error);
    assert!(error.matches(gst::ResourceError::Read), "{error:?}");
    assert!(text.contains("before a call"), "{text}");
}

#[test]
fn eos_of_a_sender_that_waits_for_a_peer_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let sender = Running::play(&format!(
        "{STORED} ! rswebrtcsink {}",
        meet(directory.path())
    ));
    let offer = directory.path().join("offer.json");
    eventually("an offer is there", || offer.exists());
    sender.0.send_event(gst::event::Eos::new());
    sender.wait_eos();
}

#[test]
fn a_sender_with_nothing_linked_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let sender = Running::play(&format!("rswebrtcsink {}", meet(directory.path())));
    let (text, _) = sender.wait_text(gst::MessageType::Warning);
    assert!(text.contains("nothing is linked"), "{text}");
}

#[test]
fn a_pad_that_brings_nothing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let sender = Running::play(&format!(
        "{LIVE} ! rswebrtcsink name=s {}  appsrc is-live=true format=time ! s.audio_7",
        meet(directory.path())
    ));
    let (text, _) = sender.wait_text(gst::MessageType::Warning);
    assert!(text.contains("audio_7") && text.contains("queue"), "{text}");
}

#[test]
fn pads_keep_the_users_names_and_come_and_go() {
    init();
    let sink = gst::ElementFactory::make("rswebrtcsink").build().unwrap();
    let named = sink.request_pad_simple("video_5").unwrap();
    assert_eq!(named.name(), "video_5");
    let template = sink.pad_template("video_%u").unwrap();
    let names: Vec<_> = (0..2)
        .map(|_| {
            sink.request_pad(&template, None, None)
                .unwrap()
                .name()
                .to_string()
        })
        .collect();
    assert_eq!(names, ["video_0", "video_1"]);
    sink.release_request_pad(&named);
    assert!(sink.static_pad("video_5").is_none());
    assert_eq!(
        sink.request_pad_simple("video_%u").unwrap().name(),
        "video_2"
    );
}

#[test]
fn a_codec_that_changes_during_a_call_is_an_error() {
    init();
    let directory = tempfile::tempdir().unwrap();
    let sink = gst::ElementFactory::make("rswebrtcsink")
        .property_from_str("signaller", "file")
        .property("location", directory.path().to_str().unwrap())
        .property("ice-addresses", "127.0.0.1")
        .build()
        .unwrap();
    let mut harness = gst_check::Harness::with_element(&sink, Some("video_0"), None);
    harness.play();
    let bus = gst::Bus::new();
    sink.set_bus(Some(&bus));
    harness.set_src_caps_str("video/x-vp8,width=320,height=240,framerate=30/1");
    harness.set_src_caps_str(
        "video/x-h264,stream-format=byte-stream,alignment=au,width=320,height=240",
    );
    let message = bus
        .timed_pop_filtered(LIMIT, &[gst::MessageType::Error])
        .unwrap();
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!();
    };
    assert!(error.error().matches(gst::StreamError::Format));
    assert!(
        error
            .error()
            .to_string()
            .contains("changed during the call")
    );
    drop(harness);
    sink.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_pad_is_released_at_once_in_any_state() {
    for state in [gst::State::Playing, gst::State::Paused] {
        let directory = tempfile::tempdir().unwrap();
        let meet = meet(directory.path());
        let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
        let seen = count(&receiver.element("f").static_pad("sink").unwrap());
        let sender = Running::play(&format!("{STORED} ! rswebrtcsink name=s {meet}"));
        eventually("frames arrive", || seen.lock().unwrap().len() > 5);
        sender.set_state(state);
        let (sink, encoder) = (sender.element("s"), sender.element("e"));
        let pad = sink.static_pad("video_0").unwrap();
        let start = std::time::Instant::now();
        encoder.unlink(&sink);
        sink.release_request_pad(&pad);
        assert!(start.elapsed() < AT_ONCE, "{state:?}");
        // Nothing is left to send: the call ends.
        receiver.wait_eos();
    }
}

#[test]
fn the_position_of_a_sender_is_that_of_its_film() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let sender = Running::parse(&format!("{STORED} ! rswebrtcsink name=s {meet}"));
    let encoded = count(&sender.element("e").static_pad("src").unwrap());
    sender.set_state(gst::State::Playing);
    let position = || sender.0.query_position::<gst::ClockTime>();
    let later = std::time::Instant::now() + Duration::from_millis(700);
    eventually("some time passes", || std::time::Instant::now() > later);
    assert_eq!(position(), Some(gst::ClockTime::ZERO), "it waits");
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    eventually("a second is sent", || seen.lock().unwrap().len() >= 30);
    let position = position().unwrap();
    let frame = |n: usize| gst::ClockTime::from_seconds(n as u64) / 30;
    let made = encoded.lock().unwrap().len();
    assert!(
        (frame(29)..frame(made)).contains(&position),
        "{position} of {made} frames"
    );
}
