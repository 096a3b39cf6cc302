// SPDX-License-Identifier: MPL-2.0
//! Codecs, several streams in one call, and streams that come and go while it lasts.

mod common;

use std::sync::{Arc, Mutex};

use common::{Running, count, eventually, meet};
use gst::prelude::*;

const FRAMES: usize = 30;

fn video(encoder: &str, frames: usize) -> String {
    format!(
        "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 \
         ! {encoder}"
    )
}

/// 20 ms a buffer.
fn audio(rate: u32, encoder: &str) -> String {
    let samples = rate / 50;
    format!(
        "audiotestsrc num-buffers={FRAMES} samplesperbuffer={samples} ! audio/x-raw,rate={rate},channels=1 \
         ! {encoder}"
    )
}

/// Every frame of `stream` comes out, with these caps.
fn arrives(stream: &str, caps: &str) {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! {caps} ! fakesink name=f"));
    let seen = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::parse(&format!("{stream} ! identity name=i ! rswebrtcsink {meet}"));
    let sent = count(&sender.element("i").static_pad("src").unwrap());
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    assert!(sent.lock().unwrap().len() >= FRAMES, "{caps}");
    assert_eq!(
        seen.lock().unwrap().len(),
        sent.lock().unwrap().len(),
        "{caps}"
    );
}

#[test]
fn every_frame_of_vp9_h265_and_av1_arrives() {
    arrives(
        &video("vp9enc deadline=1 cpu-used=8", FRAMES),
        "video/x-vp9",
    );
    arrives(
        &video("x265enc tune=zerolatency speed-preset=ultrafast", FRAMES),
        "video/x-h265,profile=main",
    );
    arrives(
        &video(
            "av1enc cpu-used=8 usage-profile=realtime ! av1parse",
            FRAMES,
        ),
        "video/x-av1",
    );
}

#[test]
fn every_packet_of_pcmu_pcma_and_g722_arrives() {
    arrives(
        &audio(8000, "mulawenc"),
        "audio/x-mulaw,rate=8000,channels=1",
    );
    arrives(&audio(8000, "alawenc"), "audio/x-alaw,rate=8000,channels=1");
    arrives(
        &audio(16000, "avenc_g722"),
        "audio/G722,rate=16000,channels=1",
    );
}

/// An encoder with the choice makes what every peer decodes.
#[test]
fn x264_is_asked_for_constrained_baseline() {
    let raw = "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1";
    arrives(
        &format!("{raw} ! x264enc tune=zerolatency"),
        "video/x-h264,profile=constrained-baseline",
    );
    arrives(
        &format!("{raw} ! x264enc tune=zerolatency ! video/x-h264,profile=high"),
        "video/x-h264,profile=high",
    );
}

#[test]
fn two_videos_of_different_codecs_and_two_audios_go_in_one_call_whoever_offers() {
    for (sink, src) in [
        ("", ""),
        (
            "role=answer",
            "role=offer video-codecs=H264,VP8 video-streams=2 audio-streams=2",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let meet = meet(directory.path());
        let receiver = Running::play(&format!(
            "rswebrtcsrc name=r {src} {meet}  r.video_0 ! queue ! fakesink name=v0  \
             r.video_1 ! queue ! fakesink name=v1  r.audio_0 ! queue ! fakesink name=a0  \
             r.audio_1 ! queue ! fakesink name=a1"
        ));
        let seen = ["v0", "v1", "a0", "a1"]
            .map(|name| count(&receiver.element(name).static_pad("sink").unwrap()));
        let sender = Running::play(&format!(
            "rswebrtcsink name=s {sink} {meet}  {} ! s.video_0  {} ! s.video_1  {} ! s.audio_0  {} ! s.audio_1",
            video("vp8enc deadline=1", FRAMES),
            video("x264enc tune=zerolatency speed-preset=ultrafast", FRAMES),
            audio(48000, "opusenc"),
            audio(8000, "alawenc"),
        ));
        sender.wait_eos();
        receiver.wait_eos();
        for (at, seen) in seen.iter().enumerate() {
            assert!(
                seen.lock().unwrap().len() >= FRAMES,
                "stream {at} with '{src}'"
            );
        }
    }
}

/// What `rswebrtc-negotiated` says of each stream: codec and direction.
fn streams(negotiated: &gst::Structure) -> Vec<(String, String)> {
    let list = negotiated.get::<gst::List>("streams").unwrap();
    list.iter()
        .map(|stream| {
            let stream = stream.get::<gst::Structure>().unwrap();
            (
                stream.get("codec").unwrap(),
                stream.get("direction").unwrap(),
            )
        })
        .collect()
}

/// A live call of one video, and the receiver's pads as they are added.
struct Growing {
    _directory: tempfile::TempDir,
    sender: Running,
    receiver: Running,
    outputs: Arc<Mutex<Vec<Output>>>,
}

/// A pad of the receiver, and the buffers that passed it, from the first one on.
#[derive(Clone)]
struct Output {
    pad: gst::Pad,
    frames: Arc<Mutex<Vec<bool>>>,
}

impl Growing {
    fn new(sink: &str, src: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let meet = meet(directory.path());
        let receiver = Running::parse(&format!("rswebrtcsrc name=r {src} {meet}"));
        let outputs = Arc::new(Mutex::new(Vec::new()));
        let (added, pipeline) = (outputs.clone(), receiver.0.downgrade());
        receiver.element("r").connect_pad_added(move |_, pad| {
            // Here, for a test's own thread may come too late for the first ones.
            let frames = count(pad);
            let pipeline = pipeline.upgrade().unwrap();
            let end = gst::ElementFactory::make("fakesink")
                .property("async", false)
                .build()
                .unwrap();
            pipeline.add(&end).unwrap();
            end.sync_state_with_parent().unwrap();
            pad.link(&end.static_pad("sink").unwrap()).unwrap();
            added.lock().unwrap().push(Output {
                pad: pad.clone(),
                frames,
            });
        });
        receiver.set_state(gst::State::Playing);
        let sender = Running::play(&format!(
            "rswebrtcsink name=s {sink} {meet}  videotestsrc is-live=true \
             ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! vp8enc deadline=1 ! s.video_0"
        ));
        assert_eq!(streams(&sender.wait_negotiated()).len(), 1);
        Self {
            _directory: directory,
            sender,
            receiver,
            outputs,
        }
    }

    /// Adds a branch that plays into a new pad of the sink.
    fn add(&self, branch: &str) -> (gst::Element, gst::Pad) {
        let bin = gst::parse::bin_from_description(branch, true).unwrap();
        self.sender.0.add(&bin).unwrap();
        let pad = self
            .sender
            .element("s")
            .request_pad_simple("audio_%u")
            .unwrap();
        bin.static_pad("src").unwrap().link(&pad).unwrap();
        bin.sync_state_with_parent().unwrap();
        (bin.upcast(), pad)
    }

    fn output(&self, index: usize) -> Output {
        eventually("the pad is there", || {
            self.outputs.lock().unwrap().len() > index
        });
        self.outputs.lock().unwrap()[index].clone()
    }
}

#[test]
fn a_pad_that_is_added_during_the_call_becomes_a_pad_over_there_and_ends_when_released() {
    let call = Growing::new("", "");
    let first = call.output(0).frames;
    let live = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc";
    let (branch, pad) = call.add(live);
    let agreed = streams(&call.sender.wait_negotiated());
    assert_eq!(
        agreed,
        [
            ("VP8".to_owned(), "sendonly".to_owned()),
            ("PCMU".to_owned(), "sendonly".to_owned())
        ]
    );
    let Output {
        pad: second,
        frames: heard,
    } = call.output(1);
    assert_eq!(second.name(), "audio_0");
    eventually("sound arrives", || heard.lock().unwrap().len() > 10);

    let ended = Arc::new(Mutex::new(false));
    let seen = ended.clone();
    second.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        *seen.lock().unwrap() |= info
            .event()
            .is_some_and(|e| e.type_() == gst::EventType::Eos);
        gst::PadProbeReturn::Ok
    });
    branch.set_locked_state(true);
    branch.set_state(gst::State::Null).unwrap();
    call.sender.0.remove(&branch).unwrap();
    call.sender.element("s").release_request_pad(&pad);
    assert_eq!(streams(&call.sender.wait_negotiated()).len(), 1);
    eventually("the added stream ends", || *ended.lock().unwrap());
    let src = call.receiver.element("r");
    eventually("its pad goes", || src.static_pad("audio_0").is_none());
    let so_far = first.lock().unwrap().len();
    eventually("the picture goes on", || {
        first.lock().unwrap().len() > so_far + 10
    });
    assert!(
        call.receiver
            .0
            .bus()
            .unwrap()
            .pop_filtered(&[gst::MessageType::Error])
            .is_none()
    );
}

#[test]
fn a_stored_stream_that_is_added_during_the_call_is_sent_from_its_start() {
    let call = Growing::new("", "");
    call.add(&audio(8000, "alawenc"));
    let heard = call.output(1).frames;
    eventually("all of it arrives", || {
        heard.lock().unwrap().len() == FRAMES
    });
}

#[test]
fn an_answerer_by_files_says_why_a_new_pad_is_not_sent() {
    let call = Growing::new("role=answer", "role=offer");
    call.add("audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc");
    let (text, _) = call.sender.wait_text(gst::MessageType::Warning);
    assert!(
        text.contains("audio_0") && text.contains("role=offer"),
        "{text}"
    );
}

#[test]
fn a_picture_that_lies_on_its_side_says_so_over_there() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let sender = Running::play(&format!(
        "{} ! taginject tags=\"image-orientation=rotate-90\" ! rswebrtcsink {meet}",
        video("vp8enc deadline=1", FRAMES)
    ));
    let tags = receiver.wait(&[gst::MessageType::Tag]);
    let gst::MessageView::Tag(tags) = tags.view() else {
        unreachable!()
    };
    let orientation = tags.tags().get::<gst::tags::ImageOrientation>().unwrap();
    assert_eq!(orientation.get(), "rotate-90");
    sender.wait_eos();
}

#[test]
fn the_name_of_a_stream_is_the_same_on_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc name=r {meet} ! fakesink"));
    let sender = Running::play(&format!(
        "{} ! s.video_0  rswebrtcsink name=s video_0::msid=\"cameras  left\" {meet}",
        video("vp8enc deadline=1", FRAMES)
    ));
    receiver.wait_negotiated();
    let pad = receiver.element("r").static_pad("video_0").unwrap();
    assert_eq!(pad.property::<String>("msid"), "cameras left");
    sender.wait_eos();
}

/// The payloader stands outside and writes an extension of its own; RTP comes out with it.
#[test]
fn header_extensions_of_rtp_that_comes_in_go_through_to_rtp_that_comes_out() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    let receiver = Running::play(&format!(
        "rswebrtcsrc {meet} ! application/x-rtp ! fakesink name=f"
    ));
    let values = Arc::new(Mutex::new(Vec::new()));
    let into = values.clone();
    let end = receiver.element("f").static_pad("sink").unwrap();
    end.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps().unwrap();
        let id = caps.structure(0).unwrap().iter().find_map(|(name, value)| {
            let id = name.strip_prefix("extmap-")?;
            (value.get::<String>().as_deref() == Ok(uri)).then(|| id.parse().unwrap())
        });
        let buffer = info.buffer().unwrap();
        let rtp = gst_rtp::RTPBuffer::from_buffer_readable(buffer).unwrap();
        let value = rtp.extension_onebyte_header(id.expect("announced"), 0);
        into.lock().unwrap().push(value.map(<[u8]>::to_vec));
        gst::PadProbeReturn::Ok
    });
    let sender = Running::parse(&format!(
        "{} ! rtppcmupay ! capssetter name=c join=true replace=false \
         caps=\"application/x-rtp,extmap-5=(string){uri}\" ! rswebrtcsink {meet}",
        audio(8000, "mulawenc")
    ));
    let pad = sender.element("c").static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        let buffer = info.buffer_mut().unwrap().make_mut();
        let mut rtp = gst_rtp::RTPBuffer::from_buffer_writable(buffer).unwrap();
        rtp.add_extension_onebyte_header(5, &[0x2a]).unwrap();
        gst::PadProbeReturn::Ok
    });
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    let values = values.lock().unwrap();
    assert_eq!(values.len(), FRAMES);
    assert!(
        values.iter().all(|value| value.as_deref() == Some(&[0x2a])),
        "{values:?}"
    );
}

/// A burst out of a jitter buffer has one time for many frames: a receiver would take them for one.
#[test]
fn frames_of_one_time_leave_with_timestamps_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc {meet} ! application/x-rtp ! fakesink name=f"
    ));
    let times = Arc::new(Mutex::new(Vec::new()));
    let into = times.clone();
    let end = receiver.element("f").static_pad("sink").unwrap();
    end.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let rtp = gst_rtp::RTPBuffer::from_buffer_readable(info.buffer().unwrap()).unwrap();
        if rtp.is_marker() {
            into.lock().unwrap().push(rtp.timestamp());
        }
        gst::PadProbeReturn::Ok
    });
    let sender = Running::parse(&format!(
        "{} ! identity name=i ! rswebrtcsink {meet}",
        video("vp8enc deadline=1", FRAMES)
    ));
    let pad = sender.element("i").static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        // Ten frames each have the time of the first of them.
        let buffer = info.buffer_mut().unwrap().make_mut();
        let time = buffer.pts().unwrap().mseconds() / 333 * 333;
        buffer.set_pts(gst::ClockTime::from_mseconds(time));
        gst::PadProbeReturn::Ok
    });
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    let mut times = times.lock().unwrap().clone();
    assert_eq!(times.len(), FRAMES);
    times.dedup();
    assert_eq!(times.len(), FRAMES, "{times:?}");
}
