// SPDX-License-Identifier: MPL-2.0
//! The pads of a source, and what comes out of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::caps::source_pad_caps;
use crate::gst_glue::media_pad::MediaPad;
use crate::gst_glue::report;
use crate::media::codec::{Codec, MediaKind};

/// A pad `name` for a stream of `codec` that the remote calls `msid`, and its layer `rid`.
///
/// # Errors
///
/// GStreamer's word for a template that cannot be.
pub fn ghost_pad(
    template: &gst::PadTemplate,
    name: &str,
    codec: &Codec,
    (msid, rid): (Option<&str>, Option<&str>),
) -> Result<gst::GhostPad, glib::BoolError> {
    // A template of its own, so that linking sees this stream's caps and not all that there are.
    let narrowed = gst::PadTemplate::new(
        template.name_template(),
        gst::PadDirection::Src,
        gst::PadPresence::Sometimes,
        &source_pad_caps(codec),
    )?;
    let pad = gst::PadBuilder::<MediaPad>::from_template(&narrowed)
        .name(name)
        .build();
    pad.set_property("msid", msid);
    pad.set_property("rid", rid);
    Ok(pad.upcast())
}

/// What became of the data of one pad.
#[derive(Debug)]
pub struct Flow {
    pad: glib::WeakRef<gst::GhostPad>,
    flows: AtomicBool,
    /// Data was thrown away, as nothing was linked, on which what follows depends. The streaming
    /// thread's alone.
    cut: AtomicBool,
}

impl Flow {
    /// Whether data came out of the pad.
    pub fn flows(&self) -> bool {
        self.flows.load(Ordering::Relaxed)
    }

    /// Whether what comes next has to depend on nothing that came before: the pad was linked after
    /// data had been thrown away, and nothing comes out until this was asked. On the streaming
    /// thread.
    pub fn begins_anew(&self) -> bool {
        let linked = || self.pad.upgrade().is_some_and(|pad| pad.is_linked());
        let anew = self.cut.load(Ordering::Relaxed) && linked();
        if anew {
            self.cut.store(false, Ordering::Relaxed);
        }
        anew
    }
}

/// Notes whether data flows, and tells the caps that come out.
pub fn watch(ghost: &gst::GhostPad, codec: &Codec, tells: bool) -> Arc<Flow> {
    let reorders = ["H264", "H265"].contains(&codec.name.as_str());
    let depends = codec.kind == MediaKind::Video;
    let flow = Arc::new(Flow {
        pad: ghost.downgrade(),
        flows: AtomicBool::new(false),
        cut: AtomicBool::new(false),
    });
    let seen = flow.clone();
    let times = Mutex::new(FrameTimes::default());
    ghost.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |pad, info| {
            if !pad.is_linked() {
                seen.cut.store(depends, Ordering::Relaxed);
            } else if !seen.cut.load(Ordering::Relaxed) {
                seen.flows.store(true, Ordering::Relaxed);
                let reordered = info.buffer_mut().is_some_and(|buffer| {
                    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
                    times.complete(buffer)
                });
                if reordered && reorders {
                    warn_reordered(pad);
                }
                return gst::PadProbeReturn::Ok;
            }
            // Nobody wants this stream; an error would end the others too.
            info.data = None;
            gst::PadProbeReturn::Handled
        },
    );
    ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view()) {
            report::caps_known(tells, &pad.name(), caps.caps());
        }
        gst::PadProbeReturn::Ok
    });
    flow
}

/// Gives frames the duration of the one before, where the stream names none: the last one of a
/// recording would last no time at all, and players would leave it out.
#[derive(Debug, Default)]
struct FrameTimes {
    last: Option<gst::ClockTime>,
    step: Option<gst::ClockTime>,
    reordered: bool,
}

impl FrameTimes {
    /// Tells whether this is the first frame that is sent out of the order of its time.
    fn complete(&mut self, buffer: &mut gst::Buffer) -> bool {
        let Some(pts) = buffer.pts() else {
            return false;
        };
        let backwards = self.last.is_some_and(|last| pts < last);
        let first = backwards && !self.reordered && buffer.dts().is_none();
        self.reordered |= backwards;
        self.step = self
            .last
            .and_then(|last| pts.checked_sub(last))
            .filter(|step| !step.is_zero())
            .or(self.step);
        self.last = Some(pts);
        if buffer.duration().is_none() && self.step.is_some() && !self.reordered {
            buffer.make_mut().set_duration(self.step);
        }
        first
    }
}

fn warn_reordered(pad: &gst::GhostPad) {
    if let Some(element) = pad.parent_element() {
        gst::element_warning!(
            element,
            gst::StreamError::Format,
            (
                "the video on pad {} has B-frames: mp4mux needs h264timestamper before it, or the \
                 recording gets wrong times. Better still, have the sender encode without them",
                pad.name()
            )
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_duration_lasts_as_long_as_the_one_before() {
        gst::init().unwrap();
        let mut times = FrameTimes::default();
        let lasts: Vec<_> = [0, 40, 80]
            .map(|ms| {
                let mut buffer = gst::Buffer::new();
                buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(ms));
                times.complete(&mut buffer);
                buffer.duration().map(|d| d.mseconds())
            })
            .into();
        assert_eq!(lasts, [None, Some(40), Some(40)]);
    }

    #[test]
    fn frames_out_of_order_are_told_once() {
        gst::init().unwrap();
        let mut times = FrameTimes::default();
        let told: Vec<_> = [0, 100, 33, 66, 200, 133]
            .map(|ms| {
                let mut buffer = gst::Buffer::new();
                buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(ms));
                times.complete(&mut buffer)
            })
            .into();
        assert_eq!(told, [false, false, true, false, false, false]);
    }
}
