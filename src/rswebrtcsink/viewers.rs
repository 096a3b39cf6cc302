// SPDX-License-Identifier: MPL-2.0
//! What the events of a host do to the sink: viewers come, begin with a picture, and go.

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::{errors, report};
use crate::logging::SINK as CAT;
use crate::session::error::CallError;
use crate::session::event::{EndCause, Event};
use crate::session::host::{Host, HostEvent};

use super::call::SinkCall;
use super::gate::Closed;
use super::imp::RsWebRtcSink;
use super::key_frames::KeyFrame;

/// What those get who come while the stream runs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcGopCache")]
pub enum GopCache {
    /// By the source.
    #[default]
    #[enum_value(
        name = "A new key frame, or, where nobody upstream makes one, all since the last",
        nick = "auto"
    )]
    Auto,
    /// Kept.
    #[enum_value(name = "All since the last key frame", nick = "on")]
    On,
    /// Not kept.
    #[enum_value(name = "A new key frame, or the next one that comes", nick = "off")]
    Off,
}

impl RsWebRtcSink {
    /// Runs on the host's event thread. Tells whether more events are wanted.
    pub(super) fn hosted(
        &self,
        call: &Arc<SinkCall>,
        event: HostEvent,
        teller: &mut report::Teller,
    ) -> bool {
        let Some(host) = call.calls().host().filter(|_| self.is_current(call)) else {
            return false;
        };
        let obj = self.obj();
        match event {
            HostEvent::Listening(url) => teller.listening(obj.upcast_ref(), &url),
            HostEvent::Peer { id, remote, event } => {
                gst::debug!(CAT, imp = self, "{id} from {remote}: {event:?}");
                self.viewer(call, host, &id, event, teller);
            }
            HostEvent::KeyFrameDue(local) => {
                if let Some(track) = call.track_sent_as(local) {
                    call.key_frame_is_due(track);
                    self.want_key_frame(call, host, track);
                }
            }
            HostEvent::Ended => {
                teller.ended(obj.upcast_ref(), EndCause::Local);
                call.gate.close(Closed::Ended);
            }
            HostEvent::Failed(error) => {
                errors::post(&*obj, &CallError::Signalling(error));
                call.gate.close(Closed::Failed);
            }
        }
        true
    }

    fn viewer(
        &self,
        call: &Arc<SinkCall>,
        host: &Host,
        id: &Arc<str>,
        event: Event,
        teller: &mut report::Teller,
    ) {
        let obj = self.obj();
        match event {
            Event::Connected(transport) => {
                call.viewers.add(id);
                let what = format!("connected ({})", transport.remote_candidate);
                teller.peer(obj.upcast_ref(), id, &what);
                self.begin_with_a_picture(call, host, id);
                call.gate.open();
                self.flows(call);
                obj.emit_by_name::<()>("peer-added", &[&&**id]);
            }
            Event::KeyFrameRequest(local) => {
                if let Some(track) = call.track_sent_as(local) {
                    self.want_key_frame(call, host, track);
                }
            }
            Event::Ended(_) => self.viewer_left(call, id, "left", teller),
            Event::Failed(
                error @ (CallError::NoCommonCodec { .. } | CallError::NothingFlows { .. }),
            ) => {
                // It was told, and whoever encodes so that nobody can watch should know as well.
                teller.notice(obj.upcast_ref(), &format!("peer {id} was refused: {error}"));
                call.viewers.remove(id);
            }
            Event::Failed(error) => {
                // Of no concern to the others, nor to the pipeline; the client was told.
                gst::info!(CAT, imp = self, "peer {id}: {error}");
                self.viewer_left(call, id, &error.to_string(), teller);
            }
            // What a viewer does not get is told to it, by its description.
            Event::LeftOut(_, reason) => gst::info!(CAT, imp = self, "peer {id}: {reason}"),
            Event::Notice(text) => gst::info!(CAT, imp = self, "peer {id}: {text}"),
            Event::Channel(channel) => {
                let steers = self.steers(call, id, &channel, teller);
                self.channel_changed(&channel, steers, teller);
            }
            Event::Estimate(estimate) => self.estimated(call, id, estimate),
            Event::Agreed(_) | Event::Interrupted { .. } | Event::StreamsOver => {}
        }
    }

    fn viewer_left(
        &self,
        call: &Arc<SinkCall>,
        id: &Arc<str>,
        why: &str,
        teller: &mut report::Teller,
    ) {
        self.is_gone(call, id);
        let known = call.viewers.remove(id);
        if known {
            teller.peer(self.obj().upcast_ref(), id, why);
            self.obj().emit_by_name::<()>("peer-removed", &[&&**id]);
        }
    }

    /// Gives the viewer media, so that it sees something at once.
    fn begin_with_a_picture(&self, call: &SinkCall, host: &Host, id: &str) {
        let mode = self.gop_cache();
        let mut replay = Vec::new();
        for local in host.sent_to(id) {
            let Some(track) = call.track_sent_as(local).filter(|t| call.is_video(*t)) else {
                continue;
            };
            let made = mode != GopCache::On && self.want_key_frame(call, host, track);
            if mode == GopCache::On || (mode == GopCache::Auto && !made) {
                replay.push(local);
            }
        }
        host.admit(id, &replay);
    }

    /// Asks the encoder of `track` for a key frame, now or as soon as it may be asked again. Tells
    /// whether somebody upstream makes one, as far as is known.
    fn want_key_frame(&self, call: &SinkCall, host: &Host, track: usize) -> bool {
        match call.key_frame(track) {
            KeyFrame::Now => {
                let mut tracks = self.tracks().into_iter();
                let sink = tracks.find(|(t, _)| *t == track).map(|(_, sink)| sink);
                let taken = sink.is_some_and(|sink| sink.ask_key_frame());
                call.makes_key_frames(track, taken)
            }
            KeyFrame::After { delay, made } => {
                if let Some(local) = call.sent_as(track) {
                    host.remind_of_key_frame(local, delay);
                }
                made
            }
            KeyFrame::Pending { made } => made,
        }
    }
}
