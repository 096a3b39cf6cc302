// SPDX-License-Identifier: MPL-2.0
//! Data channels beside media, between the two elements.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Running, count, eventually, meet};
use gst::prelude::*;

const VIDEO: &str = "videotestsrc num-buffers=90 is-live=true \
                     ! video/x-raw,width=320,height=240,framerate=30/1 ! vp8enc deadline=1";

#[test]
fn a_data_pad_that_nothing_is_linked_to_does_not_disturb_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!(
        "rswebrtcsrc name=r {meet}  r.video_0 ! fakesink  r.data_0 ! fakesink name=d"
    ));
    let input = receiver.element("d").static_pad("sink").unwrap();
    let messages = count(&input);
    let sender = Running::play(&format!(
        "{VIDEO} ! rswebrtcsink name=s {meet}  fakesrc num-buffers=2000 sizetype=fixed sizemax=9 \
         ! identity sleep-time=1000 ! s.data_0"
    ));
    eventually("data comes", || !messages.lock().unwrap().is_empty());
    let pad = input.peer().unwrap();
    pad.unlink(&input).unwrap();
    // So that the pipeline can end.
    input.send_event(gst::event::Eos::new());
    sender.wait_eos();
    receiver.wait_eos();
}

#[test]
fn a_call_whose_data_channels_are_not_used_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::parse(&format!(
        "rswebrtcsrc name=r {meet}  r.video_0 ! fakesink name=f"
    ));
    let complete = Arc::new(AtomicBool::new(false));
    let seen = complete.clone();
    let src = receiver.element("r");
    src.connect_no_more_pads(move |_| seen.store(true, Ordering::Release));
    let frames = count(&receiver.element("f").static_pad("sink").unwrap());
    receiver.set_state(gst::State::Playing);
    // Nothing is said to open a negotiated channel, and the receiver does not know of it.
    let sender = Running::play(&format!(
        "{VIDEO} ! rswebrtcsink name=s {meet} data_0::negotiated=true data_0::id=4  \
         fakesrc num-buffers=0 ! s.data_0"
    ));
    eventually("no-more-pads", || complete.load(Ordering::Acquire));
    sender.wait_eos();
    receiver.wait_eos();
    // A live source; it passes from when the call is up.
    assert!(!frames.lock().unwrap().is_empty());
}

#[test]
fn a_data_pad_that_goes_before_the_call_begins_leaves_the_call_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let frames = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::parse(&format!(
        "{VIDEO} ! identity name=i  rswebrtcsink name=s {meet}"
    ));
    sender.set_state(gst::State::Paused);
    let sink = sender.element("s");
    let pad = sink.request_pad_simple("data_%u").unwrap();
    let weak = pad.downgrade();
    sink.release_request_pad(&pad);
    drop(pad);
    assert!(weak.upgrade().is_none(), "the pad is held");
    sender.element("i").link(&sink).unwrap();
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    assert!(!frames.lock().unwrap().is_empty());
}

#[test]
fn a_data_pad_of_a_former_call_opens_one_channel_in_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::parse(&format!("rswebrtcsrc name=r {meet}  r.data_0 ! fakesink"));
    let pads = Arc::new(AtomicUsize::new(0));
    let added = pads.clone();
    receiver.element("r").connect_pad_added(move |_, _| {
        added.fetch_add(1, Ordering::AcqRel);
    });
    let sender = Running::parse(&format!(
        "fakesrc name=d num-buffers=20 sizetype=fixed sizemax=9  rswebrtcsink name=s {meet}"
    ));
    let sink = sender.element("s");
    sink.set_state(gst::State::Paused).unwrap();
    let pad = sink.request_pad_simple("data_%u").unwrap();
    sink.set_state(gst::State::Ready).unwrap();
    let from = sender.element("d").static_pad("src").unwrap();
    from.link(&pad).unwrap();
    receiver.set_state(gst::State::Playing);
    sender.set_state(gst::State::Playing);
    sender.wait_eos();
    receiver.wait_eos();
    assert_eq!(pads.load(Ordering::Acquire), 1);
}

/// Whoever waits for EOS, as gst-launch-1.0 does, goes away with it.
#[test]
fn a_sender_whose_channel_the_remote_ends_says_so_before_eos() {
    let directory = tempfile::tempdir().unwrap();
    let meet = meet(directory.path());
    let receiver = Running::play(&format!("rswebrtcsrc {meet} ! fakesink name=f"));
    let came = count(&receiver.element("f").static_pad("sink").unwrap());
    let sender = Running::parse(&format!(
        "rswebrtcsink name=s {meet}  fakesrc sizetype=fixed sizemax=9 ! identity sleep-time=1000 ! s.data_0"
    ));
    let (said, ended) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(AtomicBool::new(false)),
    );
    let (saying, ending) = (said.clone(), ended.clone());
    sender.0.bus().unwrap().set_sync_handler(move |_, message| {
        let structure = message.structure();
        let state = structure.filter(|s| s.name() == "rswebrtc-data-channel");
        if let Some(state) = state.map(|s| s.get::<String>("state").unwrap()) {
            saying.lock().unwrap().push(state.clone());
            // The thread that tells of the call comes late to everything that follows.
            if state == "open" {
                eventually("EOS", || ending.load(Ordering::Acquire));
            }
        }
        if message.type_() == gst::MessageType::Eos {
            saying.lock().unwrap().push("EOS".to_owned());
            ending.store(true, Ordering::Release);
        }
        gst::BusSyncReply::Pass
    });
    sender.set_state(gst::State::Playing);
    eventually("data comes", || !came.lock().unwrap().is_empty());
    receiver.set_state(gst::State::Null);
    sender.wait_eos();
    assert_eq!(*said.lock().unwrap(), ["open", "closed", "EOS"]);
}
