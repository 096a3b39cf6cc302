// SPDX-License-Identifier: MPL-2.0
//! Whole calls between the two elements, in one process.

mod common;

use common::{Running, count, eventually, meet};
use gst::prelude::*;

const FRAMES: usize = 60;

fn vp8(frames: usize) -> String {
    format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc deadline=1 keyframe-max-dist=1000"
    )
}

fn h264(frames: usize) -> String {
    format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1000 \
         ! video/x-h264,profile=constrained-baseline"
    )
}

/// Every frame that `encoder` makes comes out as `parsed`.
fn every_frame_arrives(encoder: &str, after: &str, sink: &str, src: &str) {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc {src} {meet} ! {after} ! fakesink name=f"
    ));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let encoder = match encoder.contains("name=frames") {
        true => encoder.to_owned(),
        false => format!("{encoder} ! identity name=frames"),
    };
    let sender = Running::parse(&format!("{encoder} ! rswebrtcsink {sink} {meet}"));
    let sent = count(&sender.element("frames").static_pad("src").unwrap());
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), FRAMES);
    assert!(seen[0], "the first frame is a key frame");
    let sent_keys = sent.lock().unwrap().iter().filter(|key| **key).count();
    assert_eq!(seen.iter().filter(|key| **key).count(), sent_keys);
}

#[test]
fn every_frame_of_a_stored_vp8_stream_arrives() {
    every_frame_arrives(&vp8(FRAMES), "video/x-vp8", "", "");
}

#[test]
fn every_frame_of_a_stored_h264_stream_arrives() {
    let h264 = h264(FRAMES);
    for format in ["stream-format=byte-stream", "stream-format=avc"] {
        every_frame_arrives(
            &format!("{h264},{format},alignment=au"),
            "h264parse",
            "",
            "",
        );
    }
}

#[test]
fn single_nal_units_are_sent_as_whole_frames() {
    let h264 = format!(
        "{} ! identity name=frames ! h264parse \
         ! video/x-h264,stream-format=byte-stream,alignment=nal",
        h264(FRAMES)
    );
    every_frame_arrives(&h264, "h264parse", "", "");
}

#[test]
fn the_roles_can_be_swapped() {
    every_frame_arrives(&vp8(FRAMES), "video/x-vp8", "role=answer", "role=offer");
    every_frame_arrives(
        &h264(FRAMES),
        "h264parse",
        "role=answer",
        "role=offer video-codecs=H264",
    );
}

#[test]
fn rtp_comes_out_where_rtp_is_wanted() {
    every_frame_arrives(&vp8(FRAMES), "application/x-rtp ! rtpvp8depay", "", "");
}

#[test]
fn rtp_of_a_payloader_elsewhere_is_sent_as_it_is() {
    let vp8 = format!("{} ! identity name=frames ! rtpvp8pay", vp8(FRAMES));
    every_frame_arrives(&vp8, "video/x-vp8", "", "");
    let h264 = format!(
        "{} ! identity name=frames ! rtph264pay config-interval=-1",
        h264(FRAMES)
    );
    every_frame_arrives(&h264, "h264parse", "", "");
    // As a user writes them for udpsrc: the profile stands in the stream alone.
    let bare = format!(
        "{h264} ! capssetter replace=true join=false \
         caps=\"application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96\""
    );
    every_frame_arrives(&bare, "h264parse", "", "");
}

#[test]
fn picture_and_sound_come_as_one_pad_each_in_the_order_of_the_offer() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r {meet}  r.video_0 ! queue ! fakesink name=v  r.audio_0 ! queue ! fakesink name=a"
    ));
    let video = count(&receiver.element("v").static_pad("sink").unwrap());
    let audio = count(&receiver.element("a").static_pad("sink").unwrap());
    let sender = Running::play(&format!(
        "{} ! rswebrtcsink name=s {meet}  audiotestsrc num-buffers=100 samplesperbuffer=960 \
         ! audio/x-raw,rate=48000 ! opusenc ! s.",
        vp8(FRAMES)
    ));
    let negotiated = receiver.wait_negotiated();
    let streams = negotiated.get::<gst::List>("streams").unwrap();
    let codecs: Vec<_> = streams
        .iter()
        .map(|s| {
            s.get::<gst::Structure>()
                .unwrap()
                .get::<String>("codec")
                .unwrap()
        })
        .collect();
    assert_eq!(codecs, ["VP8", "opus"]);
    sender.wait_eos();
    receiver.wait_eos();
    assert_eq!(video.lock().unwrap().len(), FRAMES);
    let audio = audio.lock().unwrap().len();
    assert!((100..=102).contains(&audio), "{audio} Opus packets");
}

#[test]
fn a_live_source_starts_at_a_key_frame_that_its_encoder_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let sender = Running::parse(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc name=e deadline=1 keyframe-max-dist=100000 ! rswebrtcsink {meet}"
    ));
    let encoded = count(&sender.element("e").static_pad("src").unwrap());
    sender.set_state(gst::State::Playing);
    eventually("frames pass while nobody is there", || {
        encoded.lock().unwrap().len() > 10
    });
    assert_eq!(
        encoded.lock().unwrap().iter().filter(|key| **key).count(),
        1
    );
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    eventually("frames arrive", || seen.lock().unwrap().len() > 5);
    assert!(seen.lock().unwrap()[0], "the first frame is a key frame");
    // A decoder downstream asks for another one.
    let event = gst_video::UpstreamForceKeyUnitEvent::builder().build();
    let before = seen.lock().unwrap().len();
    let one_in_500_ms = std::time::Instant::now() + std::time::Duration::from_millis(600);
    eventually("the next request may go out", || {
        std::time::Instant::now() > one_in_500_ms
    });
    assert!(
        receiver
            .element("f")
            .static_pad("sink")
            .unwrap()
            .push_event(event)
    );
    eventually("a key frame that was asked for arrives", || {
        seen.lock().unwrap().iter().skip(before).any(|key| *key)
    });
}

#[test]
fn a_key_frame_that_a_live_stream_must_start_at_is_asked_for_until_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let sender = Running::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! vp8enc name=e deadline=1 keyframe-max-dist=100000 ! rswebrtcsink name=s {meet}"
    ));
    let encoder = sender.element("e").static_pad("src").unwrap();
    let encoded = count(&encoder);
    // The first request is taken, and nothing comes of it.
    let passed_over = std::sync::atomic::AtomicBool::new(false);
    encoder.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let request = info
            .event()
            .is_some_and(|event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok());
        if request && !passed_over.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    eventually("frames pass while nobody is there", || {
        encoded.lock().unwrap().len() > 10
    });
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    eventually("frames arrive", || seen.lock().unwrap().len() > 5);
    assert!(seen.lock().unwrap()[0], "the first frame is a key frame");
    let stats = sender.element("s").property::<gst::Structure>("stats");
    let peer = stats.get::<gst::Structure>("peer-0").unwrap();
    let sent = peer.get::<gst::Structure>("video-0").unwrap();
    // A receiver without any media asks for itself after some seconds.
    assert_eq!(sent.get::<u64>("pli-count"), Ok(0), "it was not the remote");
}

#[test]
fn the_same_elements_make_a_second_call_after_ready() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::parse(&format!("rswebrtcsrc name=r {meet}  fakesink name=f"));
    let input = receiver.element("f").static_pad("sink").unwrap();
    let seen = count(&input);
    receiver.element("r").connect_pad_added(move |_, pad| {
        pad.link(&input).unwrap();
    });
    let sender = Running::parse(&format!("{} ! rswebrtcsink {meet}", vp8(FRAMES)));
    for call in 1..=3 {
        receiver.set_state(gst::State::Playing);
        sender.set_state(gst::State::Playing);
        sender.wait_eos();
        receiver.wait_eos();
        assert_eq!(seen.lock().unwrap().len(), call * FRAMES);
        sender.set_state(gst::State::Ready);
        receiver.set_state(gst::State::Ready);
        assert!(receiver.element("r").pads().is_empty());
    }
}

#[test]
fn a_receiver_that_is_asked_to_end_gives_eos_and_ends_the_sender() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::play(&format!("{} ! rswebrtcsink {meet}", vp8(3000)));
    eventually("frames arrive", || seen.lock().unwrap().len() > 10);
    receiver.0.send_event(gst::event::Eos::new());
    receiver.wait_eos();
    sender.wait_eos();
}

#[test]
fn stats_count_what_was_sent_and_received_under_w3c_names() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc name=r {meet} ! fakesink name=f"));
    let empty = receiver.element("r").property::<gst::Structure>("stats");
    assert_eq!(empty.n_fields(), 0);
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::play(&format!("{} ! rswebrtcsink name=s {meet}", vp8(3000)));
    eventually("frames arrive", || seen.lock().unwrap().len() > 10);
    let stream = |of: &Running, name: &str| {
        let stats = of.element(name).property::<gst::Structure>("stats");
        let peer = stats.get::<gst::Structure>("peer-0").unwrap();
        peer.get::<gst::Structure>("video-0").unwrap()
    };
    let (sent, received) = (stream(&sender, "s"), stream(&receiver, "r"));
    assert_eq!(sent.name(), "outbound-rtp");
    assert_eq!(received.name(), "inbound-rtp");
    assert!(sent.get::<u64>("frames-sent").unwrap() > 10);
    assert!(received.get::<u64>("packets-received").unwrap() > 10);
    assert_eq!(sent.get::<u32>("ssrc"), received.get::<u32>("ssrc"));
    assert_eq!(received.get::<i64>("packets-lost"), Ok(0));
}

#[test]
fn a_call_can_be_made_inside_a_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async { every_frame_arrives(&vp8(FRAMES), "video/x-vp8", "", "") });
}

#[test]
fn an_encoder_keeps_the_profile_that_was_offered() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink"));
    // Nothing says which profile: this source and encoder agree on 4:4:4.
    let sender = Running::play(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast ! identity name=i ! rswebrtcsink {meet}"
    ));
    let offered = sender
        .wait_negotiated()
        .get::<gst::List>("streams")
        .unwrap();
    let stream = offered[0].get::<gst::Structure>().unwrap();
    sender.wait_eos();
    receiver.wait_eos();
    let caps = sender
        .element("i")
        .static_pad("src")
        .unwrap()
        .current_caps();
    let caps = caps.unwrap();
    let sent = caps.structure(0).unwrap().get::<String>("profile").unwrap();
    let fmtp = stream.get::<String>("fmtp").unwrap();
    let idc = match sent.as_str() {
        "high-4:4:4" => "f4",
        "constrained-baseline" | "baseline" => "42",
        "main" => "4d",
        _ => "64",
    };
    assert!(
        fmtp.contains(&format!("profile-level-id={idc}")),
        "{sent}: {fmtp}"
    );
}

#[test]
fn a_receiver_that_nothing_is_linked_to_ends_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet}"));
    let sender = Running::play(&format!("{} ! rswebrtcsink {meet}", vp8(10)));
    sender.wait_eos();
    let (text, error) = receiver.wait_text(gst::MessageType::Error);
    assert!(error.matches(gst::StreamError::WrongType), "{error:?}");
    assert!(text.contains("video_0"), "{text}");
}

#[test]
fn an_offerer_hears_that_its_offer_was_refused() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc video-codecs=H264 {meet} ! fakesink"));
    let sender = Running::play(&format!("{} ! rswebrtcsink {meet}", vp8(10)));
    let (text, error) = receiver.wait_text(gst::MessageType::Error);
    assert!(error.matches(gst::StreamError::CodecNotFound), "{error:?}");
    assert!(text.contains("VP8"), "{text}");
    let (text, _) = sender.wait_text(gst::MessageType::Error);
    assert!(text.contains("said bye"), "{text}");
}

#[test]
fn an_unlinked_stream_does_not_disturb_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r {meet}  r.video_0 ! fakesink name=f"
    ));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::play(&format!(
        "{} ! rswebrtcsink name=s {meet}  audiotestsrc num-buffers=100 ! opusenc ! s.",
        vp8(FRAMES)
    ));
    sender.wait_eos();
    receiver.wait_eos();
    assert_eq!(seen.lock().unwrap().len(), FRAMES);
}
