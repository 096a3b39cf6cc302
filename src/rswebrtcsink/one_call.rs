// SPDX-License-Identifier: MPL-2.0
//! What the events of the one call of a sink do to it; those of a host are in `viewers`.

use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::{errors, events, report};
use crate::peer::TransportInfo;
use crate::session::calls::ONLY_PEER;
use crate::session::event::Event;
use crate::session::negotiation::AgreedStream;

use super::call::SinkCall;
use super::gate::Closed;
use super::imp::RsWebRtcSink;
use super::track_sink::TrackSink;

/// Pads that brought nothing for so long are named.
const SILENT_PAD: Duration = Duration::from_secs(5);

impl RsWebRtcSink {
    /// Runs on the call's event thread. Tells whether more events are wanted.
    pub(super) fn happened(
        &self,
        call: &Arc<SinkCall>,
        event: Event,
        teller: &mut report::Teller,
    ) -> bool {
        if !self.is_current(call) {
            return false;
        }
        let obj = self.obj();
        let over = matches!(event, Event::Ended(_) | Event::Failed(_));
        match event {
            Event::Notice(text) => teller.notice(obj.upcast_ref(), &text),
            Event::LeftOut(local, reason) => {
                let track = call.track_sent_as(local);
                if let Some(track) = track {
                    call.gate.set_pending(track, false);
                    call.set_left_out(track, true);
                }
                let name = track.and_then(|t| call.pad_name(t)).unwrap_or_default();
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::CodecNotFound,
                    ("pad {name} is not sent: {reason}")
                );
            }
            Event::Agreed(streams) => {
                let streams: Vec<_> = streams.into_iter().map(|(stream, _)| stream).collect();
                let sent = streams.iter().filter(|s| s.direction.sends());
                let taken = sent.filter_map(|s| call.track_sent_as(s.local));
                let anew = taken
                    .filter(|track| call.set_left_out(*track, false))
                    .collect();
                self.agreed(call, streams, anew, teller);
            }
            Event::Connected(info) => self.connected(call, &info, teller),
            Event::KeyFrameRequest(local) => {
                let wanted = call.track_sent_as(local);
                for (track, sink) in self.tracks() {
                    if wanted == Some(track) && call.may_ask_key_frame(track) {
                        call.makes_key_frames(track, sink.ask_key_frame());
                    }
                }
            }
            Event::StreamsOver => {}
            Event::Channel(channel) => {
                let steers = self.steers(call, ONLY_PEER, &channel, teller);
                self.channel_changed(&channel, steers, teller);
            }
            Event::Estimate(estimate) => self.estimated(call, &ONLY_PEER.into(), estimate),
            Event::Interrupted { cause, delay, .. } => {
                call.gate.interrupt();
                teller.interrupted(obj.upcast_ref(), &cause, delay);
            }
            Event::Ended(cause) => {
                teller.ended(obj.upcast_ref(), cause);
                call.gate.close(Closed::Ended);
            }
            Event::Failed(error) => {
                errors::post(&*obj, &error);
                call.gate.close(Closed::Failed);
            }
        }
        if over && call.viewers.remove(ONLY_PEER) {
            obj.emit_by_name::<()>("peer-removed", &[&ONLY_PEER]);
        }
        true
    }

    /// A peer is there: media flows.
    fn connected(&self, call: &Arc<SinkCall>, info: &TransportInfo, teller: &mut report::Teller) {
        let obj = self.obj();
        let in_need = self.in_need(|_, sink| sink.start_at_key_frame());
        if call.gate.was_open() {
            self.begin_held_anew(call);
        }
        call.gate.open();
        self.flows(call);
        // Before anybody else is told, who may take their time.
        ask_key_frames(call, &in_need);
        if call.viewers.add(&ONLY_PEER.into()) {
            obj.emit_by_name::<()>("peer-added", &[&ONLY_PEER]);
        }
        let stats = call.calls().stats_of(ONLY_PEER);
        let pads = self.pad_caps(call);
        if call.calls().is_shared() {
            self.watch_silent_pads(call);
        }
        teller.connected(obj.upcast_ref(), info, &stats, &pads);
    }

    /// Tracks that waited for an agreement go on, and those that the remote takes `anew`.
    fn agreed(
        &self,
        call: &Arc<SinkCall>,
        streams: Vec<AgreedStream>,
        anew: Vec<usize>,
        teller: &mut report::Teller,
    ) {
        let during_call = call.gate.is_open();
        let agreed: Vec<usize> = streams
            .iter()
            .filter_map(|s| call.track_sent_as(s.local))
            .filter(|track| call.gate.is_pending(*track) || anew.contains(track))
            .collect();
        let in_need = self
            .in_need(|track, sink| agreed.contains(&track) && sink.agreed(anew.contains(&track)));
        agreed
            .iter()
            .for_each(|track| call.gate.set_pending(*track, false));
        ask_key_frames(call, &in_need);
        teller.agreed(streams);
        if during_call {
            let stats = call.calls().stats_of(ONLY_PEER);
            let obj = self.obj();
            teller.negotiated_anew(obj.upcast_ref(), &stats, &self.pad_caps(call));
        }
    }

    /// The tracks that begin, as `begins` says, and need a key frame for that.
    /// A film that goes on for another connection: if somebody makes a key frame, it does so at that
    /// one. Otherwise it goes on where it was, for whom that may be of use.
    fn begin_held_anew(&self, call: &SinkCall) {
        for (track, sink) in self.in_need(|_, sink| sink.is_held()) {
            if call.is_video(track)
                && call.may_ask_key_frame(track)
                && call.makes_key_frames(track, sink.ask_key_frame())
            {
                sink.wait_for_key_frame();
            }
        }
    }

    fn in_need(&self, begins: impl Fn(usize, &TrackSink) -> bool) -> Vec<(usize, TrackSink)> {
        let mut in_need = self.tracks();
        in_need.retain(|(track, sink)| begins(*track, sink));
        in_need
    }

    /// A call that never starts because one pad gets no data is the worst riddle: name the pad.
    pub(super) fn watch_silent_pads(&self, call: &Arc<SinkCall>) {
        let weak = self.obj().downgrade();
        let call = call.clone();
        events::spawn_watch(move || {
            if call.calls().wait_done(SILENT_PAD) {
                return;
            }
            let (Some(silent), Some(sink)) = (call.waits_for(), weak.upgrade()) else {
                return;
            };
            let mut sinks = sink.imp().tracks().into_iter();
            let told = sinks.find_map(|(_, track)| track.undescribed());
            let text = if let Some(caps) = told {
                format!(
                    "data comes as {caps}, which tells too little to offer it: RTP needs at least \
                     encoding-name and clock-rate in its caps, and H264 parameter sets, in the \
                     stream or as sprop-parameter-sets"
                )
            } else if silent.is_empty() {
                "nothing is linked to this element: there is nothing to send".to_owned()
            } else {
                format!(
                    "no data came on pad {} yet, and {} only when all pads have some. After a \
                     demuxer every branch needs a queue of its own",
                    silent.join(", "),
                    if call.calls().is_shared() {
                        "media is sent"
                    } else {
                        "the call starts"
                    }
                )
            };
            gst::element_warning!(sink, gst::StreamError::Format, ("{}", text));
        });
    }
}

fn ask_key_frames(call: &SinkCall, tracks: &[(usize, TrackSink)]) {
    for (track, sink) in tracks {
        if call.may_ask_key_frame(*track) {
            call.makes_key_frames(*track, sink.ask_key_frame());
        }
    }
}
