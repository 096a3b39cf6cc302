// SPDX-License-Identifier: MPL-2.0
//! Mouse and keyboard of viewers, from a data channel to GstNavigation events upstream.
//!
//! A thread for each viewer that has such a channel: whatever makes the picture may take its time.
//! What a viewer pressed is released when its channel ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{NavigationEvent, NavigationModifierType};

use crate::gst_glue::navigation;
use crate::gst_glue::report;
use crate::logging::SINK as CAT;
use crate::peer::data::{DataChannel, Message, Phase, Received};

use super::call::SinkCall;
use super::imp::RsWebRtcSink;

/// The property, as webrtcsink has it.
pub const PROPERTY: &str = "enable-data-channel-navigation";
/// Label of the channel, as webrtcsink and its players have it.
const LABEL: &str = "input";
/// Events of a viewer in a second; more are dropped, but for releases.
const RATE: u32 = 500;
/// What a viewer holds down at a time; what it presses besides is dropped.
const HELD: usize = 32;
/// Between two looks whether the call is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The viewers that steer, each with its channel.
#[derive(Default)]
pub struct Navigators(Mutex<Vec<(String, Weak<DataChannel>)>>);

impl Navigators {
    /// Viewer `id` would steer by `channel`.
    fn enter(&self, id: &str, channel: &Arc<DataChannel>) -> Entered {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter().find(|(known, _)| known == id) {
            None => {
                all.push((id.to_owned(), Arc::downgrade(channel)));
                Entered::New
            }
            Some((_, known)) if known.as_ptr() == Arc::as_ptr(channel) => Entered::Known,
            Some(_) => Entered::HasAnother,
        }
    }
}

impl Navigators {
    /// The thread that reads `channel` ends.
    fn leave(&self, channel: &Arc<DataChannel>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, known)| known.as_ptr() != Arc::as_ptr(channel));
    }
}

enum Entered {
    New,
    Known,
    HasAnother,
}

/// The specification.
pub fn property() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(PROPERTY)
        .nick("Navigation by viewers")
        .blurb(
            "Viewers steer with mouse and keyboard: what they do on the player page comes out \
             upstream as GstNavigation events. A server needs auth-token for it",
        )
        .mutable_ready()
        .build()
}

impl RsWebRtcSink {
    /// Whether `channel`, which viewer `id` opened, is for its mouse and keyboard, and is read now.
    pub(super) fn steers(
        &self,
        call: &Arc<SinkCall>,
        id: &str,
        channel: &Arc<DataChannel>,
        teller: &mut report::Teller,
    ) -> bool {
        let opened = channel.is_of_remote() && channel.phase() == Phase::Open;
        if !self.navigation() || channel.config().label != LABEL || !opened {
            return false;
        }
        match call.navigators.enter(id, channel) {
            Entered::New => {}
            Entered::Known => return true,
            Entered::HasAnother => return false,
        }
        let steering = Steering {
            sink: self.obj().downgrade(),
            call: Arc::downgrade(call),
            id: id.to_owned(),
            channel: channel.clone(),
            held: Vec::new(),
            at: (0.0, 0.0),
            second: (Instant::now(), 0),
            dropped: 0,
        };
        let started = std::thread::Builder::new()
            .name("rswebrtc-navigation".to_owned())
            .spawn(move || steering.run());
        let obj = self.obj();
        match &started {
            Ok(_) => teller.notice(
                obj.upcast_ref(),
                &format!("peer {id} steers with mouse and keyboard ({PROPERTY})"),
            ),
            Err(error) => teller.warn(
                obj.upcast_ref(),
                &format!("peer {id} cannot steer: no thread: {error}"),
            ),
        }
        started.is_ok()
    }

    /// Where events go: the first video pad that something is linked to, and the size of its picture.
    fn steered_pad(&self) -> Option<(gst::Pad, (f64, f64))> {
        let call = self.call()?;
        let (_, pad) = self
            .ghosts()
            .into_iter()
            .find(|(track, pad)| pad.is_linked() && call.is_video(*track))?;
        let caps = pad.current_caps()?;
        let structure = caps.structure(0)?;
        let pixels = |name| structure.get::<i32>(name).ok().map(f64::from);
        // RTP and some streams tell no size: any that a picture can have.
        let size = (
            pixels("width").unwrap_or(65_535.0),
            pixels("height").unwrap_or(65_535.0),
        );
        Some((pad.upcast(), size))
    }
}

/// A viewer's channel, and what it holds down.
struct Steering {
    sink: glib::WeakRef<super::RsWebRtcSink>,
    call: Weak<SinkCall>,
    id: String,
    channel: Arc<DataChannel>,
    held: Vec<Held>,
    /// Where its mouse was last.
    at: (f64, f64),
    /// When this second began, and the events in it.
    second: (Instant, u32),
    dropped: u64,
}

/// What is pressed, as it will be released.
#[derive(PartialEq)]
enum Held {
    Key(String),
    Button(i32),
}

impl Steering {
    fn run(mut self) {
        let mut messages = VecDeque::new();
        loop {
            let received = self.channel.receive(&mut messages, LOOK);
            let Some(sink) = self.current() else {
                // What was held is no more: the streams are stopped.
                return;
            };
            if matches!(received, Received::Ended | Received::Flushing) {
                return self.release(&sink);
            }
            for Message { data, .. } in messages.drain(..) {
                self.take(&sink, &data);
            }
        }
    }

    /// The element, while it is in the viewer's call.
    fn current(&self) -> Option<super::RsWebRtcSink> {
        let (sink, call) = (self.sink.upgrade()?, self.call.upgrade()?);
        sink.imp().is_current(&call).then_some(sink)
    }

    fn take(&mut self, sink: &super::RsWebRtcSink, text: &[u8]) {
        let now = Instant::now();
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        let Some((pad, size)) = sink.imp().steered_pad() else {
            return;
        };
        match navigation::event(text, size) {
            // What was pressed is released, however much there is.
            Ok(event) if self.second.1 > RATE && !self.releases(&event) => {
                self.drop_one(sink, "they come too fast");
            }
            Ok(event) if !self.hold(&event) => self.drop_one(sink, "too much is held down"),
            Ok(event) => push(&pad, &event),
            Err(why) => self.drop_one(sink, why),
        }
    }

    fn releases(&self, event: &NavigationEvent) -> bool {
        match event {
            NavigationEvent::KeyRelease { key, .. } => self.held.contains(&Held::Key(key.clone())),
            NavigationEvent::MouseButtonRelease { button, .. } => {
                self.held.contains(&Held::Button(*button))
            }
            _ => false,
        }
    }

    /// Says so of the first.
    fn drop_one(&mut self, sink: &super::RsWebRtcSink, why: &str) {
        self.dropped += 1;
        if self.dropped == 1 {
            gst::warning!(
                CAT,
                obj = sink,
                "input of peer {} is dropped: {why}",
                self.id
            );
        }
    }

    /// Remembers what is held down after `event`; `false`: there is no room for it.
    fn hold(&mut self, event: &NavigationEvent) -> bool {
        let (held, pressed) = match event {
            NavigationEvent::KeyPress { key, .. } => (Held::Key(key.clone()), true),
            NavigationEvent::KeyRelease { key, .. } => (Held::Key(key.clone()), false),
            NavigationEvent::MouseMove { x, y, .. } => {
                self.at = (*x, *y);
                return true;
            }
            NavigationEvent::MouseButtonPress { button, x, y, .. } => {
                self.at = (*x, *y);
                (Held::Button(*button), true)
            }
            NavigationEvent::MouseButtonRelease { button, .. } => (Held::Button(*button), false),
            _ => return true,
        };
        self.held.retain(|known| *known != held);
        if pressed && self.held.len() >= HELD {
            return false;
        }
        if pressed {
            self.held.push(held);
        }
        true
    }

    /// Who is gone holds nothing down.
    fn release(&mut self, sink: &super::RsWebRtcSink) {
        let Some((pad, _)) = sink.imp().steered_pad() else {
            return;
        };
        let modifier_state = NavigationModifierType::empty();
        for held in self.held.drain(..) {
            let event = match held {
                Held::Key(key) => NavigationEvent::KeyRelease {
                    key,
                    modifier_state,
                },
                Held::Button(button) => NavigationEvent::MouseButtonRelease {
                    button,
                    x: self.at.0,
                    y: self.at.1,
                    modifier_state,
                },
            };
            push(&pad, &event);
        }
    }
}

impl Drop for Steering {
    fn drop(&mut self) {
        if let Some(call) = self.call.upgrade() {
            call.navigators.leave(&self.channel);
        }
    }
}

fn push(pad: &gst::Pad, event: &NavigationEvent) {
    // Whether anybody upstream cares is not ours to know.
    let _ = pad.push_event(gst::event::Navigation::new(event.structure()));
}
