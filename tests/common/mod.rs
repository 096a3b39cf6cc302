// SPDX-License-Identifier: MPL-2.0
//! What the element tests share: the plugin, pipelines that meet in a directory, bus waits.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use gst::prelude::*;

/// Longer than anything here takes; a test that needs it has failed.
pub const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Registers the elements, once.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstwebrtcrs::plugin_register_static().unwrap();
    });
}

/// Properties that let two elements of this machine meet in `directory`.
pub fn meet(directory: &Path) -> String {
    format!(
        "signaller=file location={} ice-addresses=127.0.0.1",
        directory.display()
    )
}

/// A running pipeline that is stopped when dropped.
pub struct Running(pub gst::Pipeline);

impl Running {
    /// Parses `description` without playing it.
    pub fn parse(description: &str) -> Self {
        init();
        let parsed = gst::parse::launch(description).unwrap();
        Self(parsed.downcast().unwrap_or_else(|single| {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&single).unwrap();
            pipeline
        }))
    }

    /// Parses and plays `description`.
    pub fn play(description: &str) -> Self {
        let running = Self::parse(description);
        running.set_state(gst::State::Playing);
        running
    }

    /// Changes state; returns as soon as the change is under way.
    pub fn set_state(&self, state: gst::State) {
        self.0.set_state(state).unwrap();
    }

    /// The element with this name.
    pub fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).unwrap()
    }

    /// Waits for a message of one of `types`; panics on an error that is not awaited.
    pub fn wait(&self, types: &[gst::MessageType]) -> gst::Message {
        let bus = self.0.bus().unwrap();
        let mut awaited = types.to_vec();
        awaited.push(gst::MessageType::Error);
        let message = bus
            .timed_pop_filtered(LIMIT, &awaited)
            .unwrap_or_else(|| panic!("no {types:?} in time"));
        assert!(types.contains(&message.type_()), "{message:?}");
        message
    }

    /// Waits for the end of all streams.
    pub fn wait_eos(&self) {
        self.wait(&[gst::MessageType::Eos]);
    }

    /// Waits for the message that tells what was negotiated.
    pub fn wait_negotiated(&self) -> gst::Structure {
        loop {
            let message = self.wait(&[gst::MessageType::Element]);
            if let Some(s) = message.structure()
                && s.name() == "rswebrtc-negotiated"
            {
                return s.to_owned();
            }
        }
    }

    /// The text and code of the next message of `type_` (error or warning).
    pub fn wait_text(&self, type_: gst::MessageType) -> (String, gst::glib::Error) {
        let bus = self.0.bus().unwrap();
        let message = bus.timed_pop_filtered(LIMIT, &[type_]).expect("in time");
        match message.view() {
            gst::MessageView::Error(e) => (e.error().to_string(), e.error()),
            gst::MessageView::Warning(w) => (w.error().to_string(), w.error()),
            _ => unreachable!(),
        }
    }

    /// Changes state and tells how long that took.
    pub fn timed_state(&self, state: gst::State) -> Duration {
        let start = Instant::now();
        self.0.set_state(state).unwrap();
        start.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Counts buffers that pass `pad` and remembers whether each is a key frame.
pub fn count(pad: &gst::Pad) -> Arc<Mutex<Vec<bool>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let key = info
            .buffer()
            .is_some_and(|b| !b.flags().contains(gst::BufferFlags::DELTA_UNIT));
        into.lock().unwrap().push(key);
        gst::PadProbeReturn::Ok
    });
    seen
}

/// Waits until `done` says so; it is asked at every change that a test can see.
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(15), "never: {what}");
        std::thread::yield_now();
    }
}
