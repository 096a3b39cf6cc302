// SPDX-License-Identifier: MPL-2.0
//! `signaller=application`: programs that carry the messages of a call themselves.

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Running, count, eventually};
use gst::glib;
use gst::prelude::*;

const SAYS: &str = "on-signalling-message";
const HEARS: &str = "handle-signalling-message";

const APPLICATION: &str = "signaller=application ice-addresses=127.0.0.1";
const FILM: &str = "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 \
                    ! vp8enc deadline=1";
const LIVE: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
                    ! vp8enc deadline=1";

/// A message for `element`; whether it took it.
fn hear(element: &gst::Element, message: &str) -> bool {
    element.emit_by_name::<bool>(HEARS, &[&message])
}

/// All that `element` says.
fn messages(element: &gst::Element) -> Receiver<String> {
    let (said, receiver): (Sender<String>, _) = channel();
    let said = Mutex::new(said);
    element.connect(SAYS, false, move |values| {
        let message: String = values[1].get().unwrap();
        let _ = said.lock().unwrap().send(message);
        None
    });
    receiver
}

/// The next of them.
fn next(messages: &Receiver<String>) -> String {
    messages
        .recv_timeout(Duration::from_secs(10))
        .expect("a message in time")
}

/// What `from` says, `to` hears at once, on the thread of the signal.
fn join(from: &gst::Element, to: &gst::Element) -> glib::SignalHandlerId {
    let to = to.downgrade();
    from.connect(SAYS, false, move |values| {
        let message: String = values[1].get().unwrap();
        if let Some(to) = to.upgrade() {
            hear(&to, &message);
        }
        None
    })
}

/// Both, and the buffers that arrive.
fn call(sending: &str) -> (Running, Running, Arc<Mutex<Vec<bool>>>) {
    let sender = Running::parse(&format!("{sending} ! rswebrtcsink name=s {APPLICATION}"));
    let receiver = Running::parse(&format!(
        "rswebrtcsrc name=r {APPLICATION}  queue name=q ! fakesink name=f"
    ));
    // The parser's own link would be of the first call only.
    let input = receiver.element("q").static_pad("sink").unwrap();
    receiver.element("r").connect_pad_added(move |_, pad| {
        let _ = pad.link(&input);
    });
    let arrived = count(&receiver.element("f").static_pad("sink").unwrap());
    (sender, receiver, arrived)
}

#[test]
fn two_elements_that_signals_join_make_a_whole_call_whichever_plays_first() {
    for sender_first in [true, false] {
        let (sender, receiver, arrived) = call(FILM);
        let (s, r) = (sender.element("s"), receiver.element("r"));
        join(&s, &r);
        join(&r, &s);
        let mut order = [&sender, &receiver];
        if !sender_first {
            order.reverse();
        }
        // The first one's messages come to an element in NULL, which keeps them.
        let said = messages(
            order[0]
                .0
                .by_name(if sender_first { "s" } else { "r" })
                .as_ref()
                .unwrap(),
        );
        order[0].set_state(gst::State::Playing);
        if sender_first {
            assert!(next(&said).contains("\"type\": \"offer\""));
        }
        order[1].set_state(gst::State::Playing);
        sender.wait_eos();
        receiver.wait_eos();
        assert_eq!(arrived.lock().unwrap().len(), 60);
    }
}

/// Takes what nobody reads off the bus, until the element says this in a warning or an error.
fn wait_text(running: &Running, type_: gst::MessageType, text: &str) {
    let (said, _) = running.wait_text(type_);
    assert!(said.contains(text), "{said}");
}

#[test]
fn a_call_that_nobody_carries_ends_with_the_name_of_the_signal() {
    let (sender, _receiver, _) = call(FILM);
    sender.set_state(gst::State::Playing);
    wait_text(&sender, gst::MessageType::Error, SAYS);
}

#[test]
fn a_handler_that_is_connected_after_the_offer_was_made_still_gets_it() {
    let (sender, receiver, arrived) = call(FILM);
    let (s, r) = (sender.element("s"), receiver.element("r"));
    sender.set_state(gst::State::Playing);
    receiver.set_state(gst::State::Playing);
    let gathered = s.clone();
    eventually("pads have their codec", || {
        gathered
            .pads()
            .iter()
            .any(|pad| pad.current_caps().is_some())
    });
    join(&r, &s);
    join(&s, &r);
    receiver.wait_eos();
    assert_eq!(arrived.lock().unwrap().len(), 60);
}

#[test]
fn what_is_no_message_is_refused_with_a_warning_in_every_state() {
    let (_sender, receiver, _) = call(FILM);
    let r = receiver.element("r");
    for state in [gst::State::Null, gst::State::Ready, gst::State::Playing] {
        receiver.set_state(state);
        assert!(!hear(&r, "{\"type\": \"offer\"}"));
        wait_text(&receiver, gst::MessageType::Warning, "was not taken");
    }
    // NULL, as programs in C may bring it.
    assert!(!r.emit_by_name::<bool>(HEARS, &[&None::<String>]));
    wait_text(&receiver, gst::MessageType::Warning, "it is empty");
}

#[test]
fn a_flood_of_what_is_no_message_does_not_flood_the_bus() {
    let (_sender, receiver, _) = call(FILM);
    receiver.set_state(gst::State::Playing);
    let r = receiver.element("r");
    for _ in 0..1000 {
        assert!(!hear(&r, "junk"));
    }
    let bus = receiver.0.bus().unwrap();
    let warnings = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning]));
    assert_eq!(warnings.count(), 20);
}

#[test]
fn an_element_with_another_signaller_takes_no_messages_and_says_so() {
    let receiver = Running::parse("rswebrtcsrc name=r ! fakesink");
    assert!(!hear(&receiver.element("r"), "{\"type\": \"bye\"}"));
    wait_text(
        &receiver,
        gst::MessageType::Warning,
        "set signaller=application",
    );
}

#[test]
fn the_answer_where_an_offer_is_due_ends_the_call_with_the_cure() {
    let (_sender, receiver, _) = call(FILM);
    receiver.set_state(gst::State::Playing);
    let answer = "{\"type\": \"answer\", \"sdp\": \"v=0\\r\\ns=-\\r\\nm=video 9 X 0\\r\\n\"}";
    assert!(hear(&receiver.element("r"), answer));
    wait_text(&receiver, gst::MessageType::Error, "set role=offer");
}

#[test]
fn a_bye_of_the_application_ends_the_streams_and_a_new_call_follows() {
    let (sender, receiver, arrived) = call(LIVE);
    let (s, r) = (sender.element("s"), receiver.element("r"));
    join(&s, &r);
    join(&r, &s);
    for _ in 0..2 {
        receiver.set_state(gst::State::Playing);
        sender.set_state(gst::State::Playing);
        let before = arrived.lock().unwrap().len();
        eventually("frames arrive", || {
            arrived.lock().unwrap().len() > before + 3
        });
        assert!(hear(&r, "{\"type\": \"bye\"}"));
        receiver.wait_eos();
        // What follows a call is passed over, and an offer would be missed.
        assert!(hear(&r, "{\"type\": \"bye\"}"));
        receiver.set_state(gst::State::Ready);
        sender.set_state(gst::State::Ready);
    }
}

#[test]
fn stopping_says_bye_and_stops_at_once_even_within_a_handler() {
    let (sender, receiver, arrived) = call(LIVE);
    let (s, r) = (sender.element("s"), receiver.element("r"));
    join(&s, &r);
    join(&r, &s);
    let said = messages(&s);
    receiver.set_state(gst::State::Playing);
    sender.set_state(gst::State::Playing);
    eventually("frames arrive", || !arrived.lock().unwrap().is_empty());
    assert!(next(&said).contains("offer"));
    assert!(sender.timed_state(gst::State::Null) < Duration::from_secs(3));
    assert_eq!(next(&said), "{\"type\": \"bye\"}");
    receiver.wait_eos();

    // In the handler itself, where the end cannot wait for the handler.
    let (sender, _receiver, _) = call(LIVE);
    let s = sender.element("s");
    let (stopped, stop) = channel();
    let stopped = Mutex::new(stopped);
    let pipeline = sender.0.downgrade();
    s.connect(SAYS, false, move |_| {
        let result = pipeline.upgrade()?.set_state(gst::State::Null);
        let _ = stopped.lock().unwrap().send(result.is_ok());
        None
    });
    sender.set_state(gst::State::Playing);
    assert_eq!(stop.recv_timeout(Duration::from_secs(10)), Ok(true));
}

/// A two-way call of one pipeline: sends, and counts what comes.
fn both(name: &str, sink: &str, source: &str) -> (Running, Arc<Mutex<Vec<bool>>>) {
    let running = Running::parse(&format!(
        "{FILM} ! rswebrtcsink name=s call={name} {sink}  rswebrtcsrc name=r call={name} {source} ! queue ! fakesink name=f"
    ));
    let arrived = count(&running.element("f").static_pad("sink").unwrap());
    (running, arrived)
}

#[test]
fn a_shared_call_says_it_once_and_hears_at_either_element() {
    for (one_says, other_says) in [("s", "s"), ("s", "r"), ("r", "r")] {
        // What belongs to the call may be set on either.
        let (one, to_one) = both("app-one", APPLICATION, "");
        let (other, to_other) = both("app-other", "", APPLICATION);
        other.element("r").set_property_from_str("role", "answer");
        for (from, says, to) in [(&one, one_says, &other), (&other, other_says, &one)] {
            let from = from.element(says);
            // The sink hears the first message, the source the next, and so on.
            let ears = ["s", "r"].map(|name| to.element(name).downgrade());
            let told = Mutex::new(0);
            from.connect(SAYS, false, move |values| {
                let message: String = values[1].get().unwrap();
                let mut told = told.lock().unwrap();
                assert!(hear(&ears[*told % 2].upgrade()?, &message), "{message}");
                *told += 1;
                None
            });
        }
        one.set_state(gst::State::Playing);
        other.set_state(gst::State::Playing);
        one.wait_eos();
        other.wait_eos();
        for arrived in [to_one, to_other] {
            assert_eq!(arrived.lock().unwrap().len(), 60, "{one_says} {other_says}");
        }
    }
}

#[test]
fn with_handlers_at_both_elements_of_a_shared_call_the_sink_says_it() {
    let (both, _) = both("app-both", APPLICATION, APPLICATION);
    let (sink, source) = (messages(&both.element("s")), messages(&both.element("r")));
    both.set_state(gst::State::Playing);
    assert!(next(&sink).contains("offer"));
    both.set_state(gst::State::Null);
    assert_eq!(next(&sink), "{\"type\": \"bye\"}");
    assert!(source.try_recv().is_err());
}

#[test]
fn nothing_holds_the_elements_after_their_call() {
    let (sender, receiver, _) = call(FILM);
    let (s, r) = (sender.element("s"), receiver.element("r"));
    join(&s, &r);
    join(&r, &s);
    receiver.set_state(gst::State::Playing);
    sender.set_state(gst::State::Playing);
    receiver.wait_eos();
    let weak = [s.downgrade(), r.downgrade()];
    drop((sender, receiver, s, r));
    eventually("both elements are gone", || {
        weak.iter().all(|element| element.upgrade().is_none())
    });
}
