// SPDX-License-Identifier: MPL-2.0
//! The end of one track inside the sink: a private `BaseSink` that takes RTP from a payloader in
//! clock time and hands whole frames to the call.
//!
//! GstBase gives clock sync, latency, segments and EOS. It does no preroll (`async` is off): a
//! call may come long after PLAYING. Data waits in a probe on the pad, outside of the preroll
//! lock, which state changes need.

mod describing;
mod imp;
mod timestamps;
mod track;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;

use crate::gst_glue::rtp;
use crate::logging::SINK as CAT;
use crate::media::keyframe;
use crate::media::orientation::Orientation;
use crate::media::rtp_packet::OutboundFrame;

use super::call::SinkCall;
use super::gate::{Closed, Passage};

use self::timestamps::Timestamps;
use self::track::Track;

glib::wrapper! {
    pub struct TrackSink(ObjectSubclass<imp::TrackSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// What an application may want done with data that comes before a peer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcEarlyData")]
pub enum EarlyData {
    /// By the source.
    #[default]
    #[enum_value(name = "Hold a stored stream, drop a live one", nick = "auto")]
    Auto,
    /// Wait.
    #[enum_value(name = "Hold the stream until a peer is there", nick = "hold")]
    Hold,
    /// Drop.
    #[enum_value(name = "Drop everything until a peer is there", nick = "drop")]
    Drop,
}

impl TrackSink {
    /// The end of track `local` of `call`.
    pub fn new(call: Arc<SinkCall>, local: usize, early_data: EarlyData, sync: bool) -> Self {
        let sink: Self = glib::Object::new();
        sink.set_property("async", false);
        sink.set_sync(sync);
        // A late frame is still a frame of the film; the peer's queue bounds what can pile up.
        sink.set_max_lateness(-1);
        sink.imp().attach(call, local, early_data);
        sink
    }

    /// A peer is there: if early data was dropped, so is the rest up to the next key frame.
    /// Tells whether a key frame is needed: held data starts with its own.
    pub fn start_at_key_frame(&self) -> bool {
        self.imp().start_at_key_frame()
    }

    /// Whether early data waits for a peer: a film's.
    pub fn is_held(&self) -> bool {
        let track = self.imp().lock();
        track.as_ref().is_some_and(|t| t.hold == Some(true))
    }

    /// A key frame was asked for: what is before it is of no use.
    pub fn wait_for_key_frame(&self) {
        if let Some(track) = self.imp().lock().as_mut() {
            track.needs_key = true;
            track.key_asked = Some(Instant::now());
        }
    }

    /// The track was agreed on during a call. The peer was told first and may have taken its key
    /// frame by now, behind which nothing is to be left out: only the streaming thread knows, and
    /// sees to it with the next frame. Tells whether a key frame is to be asked for meanwhile.
    /// `anew`: the remote did not take the track before, also of a film.
    pub fn agreed(&self, anew: bool) -> bool {
        self.imp().agreed(anew)
    }

    /// The pipeline has another base time, which the gate knows.
    pub fn base_changed(&self) {
        self.imp().base_changed();
    }

    /// Asks upstream for a key frame.
    /// Tells whether somebody took it.
    pub fn ask_key_frame(&self) -> bool {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build();
        self.sink_pad().push_event(event)
    }

    /// Caps of the stream before its payloader.
    pub fn set_encoded_caps(&self, caps: gst::Caps) {
        self.imp().set_encoded_caps(caps);
    }

    /// Caps that tell too little for a description, if data came with such.
    pub fn undescribed(&self) -> Option<gst::Caps> {
        self.imp().undescribed()
    }

    fn sink_pad(&self) -> gst::Pad {
        self.upcast_ref::<gst_base::BaseSink>().sink_pad().clone()
    }
}
