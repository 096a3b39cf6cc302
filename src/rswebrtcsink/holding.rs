// SPDX-License-Identifier: MPL-2.0
//! Leaves pictures out before an encoder while what it made before waits to leave.
//!
//! Where a path narrows, an encoder hears of it a round trip later, and what it made meanwhile has to
//! wait. Frames that are dropped behind the encoder cost a key frame, which is several times as
//! large; a picture that is never encoded costs nothing but itself. libwebrtc pauses its encoders so.
//!
//! The end of each pause is a time: nothing that is told late or never can hold an encoder for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;

use crate::logging::SINK as CAT;

/// Frames that need longer than this to leave hold the encoder, ...
const LONG: Duration = Duration::from_millis(120);
/// ... until they need no longer than this.
const SHORT: Duration = Duration::from_millis(60);
/// No pause is longer: who waits more than this is dropped from the queue all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// What the probe before an encoder reads; times are µs since `began`.
struct Pause {
    began: Instant,
    until: AtomicU64,
    left_out: AtomicU64,
}

impl Pause {
    fn new(began: Instant) -> Self {
        Self {
            began,
            until: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// What is queued will have left at `queued_until`.
    fn follow(&self, queued_until: Option<Instant>, now: Instant) {
        let wait = queued_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let paused = self.is_paused(now);
        if wait > LONG || (paused && wait > SHORT) {
            let until = now + wait.saturating_sub(SHORT).min(LONGEST);
            self.until.store(self.micros(until), Ordering::Relaxed);
        } else {
            self.until.store(0, Ordering::Relaxed);
        }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.micros(now) < self.until.load(Ordering::Relaxed)
    }

    /// Whether a picture that comes now is to be left out.
    fn leaves_out(&self, now: Instant) -> bool {
        let paused = self.is_paused(now);
        if paused {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        paused
    }
}

/// The probe before one encoder; it goes with the last handle.
pub struct Hold {
    pad: glib::WeakRef<gst::Pad>,
    probe: Option<gst::PadProbeId>,
    pause: Arc<Pause>,
    was_paused: AtomicBool,
}

impl Hold {
    /// Before the video encoder `element`; `None` if it has no input of raw pictures.
    pub fn new(element: &gst::Element) -> Option<Arc<Self>> {
        let pad = element.static_pad("sink")?;
        let raw = gst::Caps::builder("video/x-raw").any_features().build();
        if !pad.pad_template_caps().can_intersect(&raw) {
            return None;
        }
        let pause = Arc::new(Pause::new(Instant::now()));
        let read = pause.clone();
        let probe = pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if read.leaves_out(Instant::now()) {
                // As `Drop`, which gstreamer 0.25 over a 1.22 answers with a critical warning.
                gst::PadProbeReturn::Handled
            } else {
                gst::PadProbeReturn::Ok
            }
        });
        Some(Arc::new(Self {
            pad: pad.downgrade(),
            probe,
            pause,
            was_paused: AtomicBool::new(false),
        }))
    }

    /// What is queued to the viewers that count will have left at `queued_until`.
    pub fn follow(&self, queued_until: Option<Instant>, now: Instant) {
        self.pause.follow(queued_until, now);
        let paused = self.pause.is_paused(now);
        if self.was_paused.swap(paused, Ordering::Relaxed) != paused
            && let Some(pad) = self.pad.upgrade()
        {
            let left_out = self.pause.left_out.load(Ordering::Relaxed);
            gst::debug!(
                CAT,
                obj = pad,
                "paused: {paused}; {left_out} pictures were left out so far"
            );
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (Some(pad), Some(probe)) = (self.pad.upgrade(), self.probe.take()) {
            pad.remove_probe(probe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_encoder_pauses_until_little_waits_and_no_longer() {
        let now = Instant::now();
        let pause = Pause::new(now);
        pause.follow(Some(now + 100 * MS), now);
        assert!(!pause.leaves_out(now), "three frames are not much");
        pause.follow(Some(now + 300 * MS), now);
        assert!(pause.leaves_out(now + 239 * MS));
        assert!(!pause.leaves_out(now + 240 * MS), "nothing else was told");
        // It goes faster than was thought, ...
        pause.follow(Some(now + 300 * MS), now);
        pause.follow(Some(now + 170 * MS), now + 50 * MS);
        assert!(pause.leaves_out(now + 109 * MS), "until little waits");
        assert!(!pause.leaves_out(now + 110 * MS));
        // ... or the last viewer left.
        pause.follow(Some(now + 900 * MS), now + 200 * MS);
        pause.follow(None, now + 210 * MS);
        assert!(!pause.leaves_out(now + 210 * MS));
    }

    #[test]
    fn no_queue_holds_an_encoder_for_long() {
        let now = Instant::now();
        let pause = Pause::new(now);
        pause.follow(Some(now + Duration::from_secs(3600)), now);
        assert!(pause.leaves_out(now + LONGEST - MS));
        assert!(!pause.leaves_out(now + LONGEST));
    }

    #[test]
    fn pictures_are_left_out_before_an_encoder_and_none_once_it_is_let_go() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(
            "appsrc name=a caps=video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
             format=time ! vp8enc name=e deadline=1 ! appsink name=o sync=false",
        );
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        let encoder = pipeline.by_name("e").unwrap();
        let hold = Hold::new(&encoder).expect("it takes raw pictures");
        let (source, out) = (
            pipeline.by_name("a").unwrap(),
            pipeline.by_name("o").unwrap(),
        );
        pipeline.set_state(gst::State::Playing).unwrap();
        let picture = |number: u64| {
            let mut buffer = gst::Buffer::with_size(64 * 96).unwrap();
            let time = gst::ClockTime::from_mseconds(number * 33);
            buffer.get_mut().unwrap().set_pts(time);
            let flow = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
            assert_eq!(flow, gst::FlowReturn::Ok);
        };
        let next = || {
            let limit = gst::ClockTime::from_seconds(60).nseconds();
            let sample = out.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&limit]);
            sample.unwrap().buffer().unwrap().pts().unwrap().mseconds()
        };
        picture(0);
        assert_eq!(next(), 0);
        // A pause that does not end by itself, however late this picture comes to the probe.
        hold.pause.until.store(u64::MAX, Ordering::Relaxed);
        picture(1);
        // Behind the probe, in the same thread: it decided about the first of them before.
        while hold.pause.left_out.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        drop(hold);
        picture(2);
        assert_eq!(next(), 66, "the one between was left out");
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn what_takes_no_raw_pictures_is_not_held() {
        gst::init().unwrap();
        let made = |name: &str| gst::ElementFactory::make(name).build().unwrap();
        assert!(Hold::new(&made("opusenc")).is_none());
        assert!(Hold::new(&made("videotestsrc")).is_none());
        assert!(Hold::new(&made("x264enc")).is_some());
    }
}
