// SPDX-License-Identifier: MPL-2.0
//! The streams of a source: their pads come, go on, and go.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::report;
use crate::media::codec::MediaKind;
use crate::media::queue::InboundQueue;
use crate::session::negotiation::AgreedStream;

use super::call::{Incoming, SrcCall, SrcPeer};
use super::imp::RsWebRtcSrc;
use super::pad::{Config, Stream};

impl RsWebRtcSrc {
    /// Gives each agreed stream its pad, or lets the one that it had go on.
    pub(super) fn add_pads(
        &self,
        call: &Arc<SrcCall>,
        peer: &Arc<SrcPeer>,
        agreed: Vec<Incoming>,
        tells: bool,
    ) {
        let obj = self.obj();
        let mut added = false;
        for (stream, queue) in agreed {
            let (Some(queue), true) = (queue, self.is_current(call)) else {
                continue;
            };
            if self.goes_on(peer, &stream, &queue) {
                continue;
            }
            let prefix = match stream.codec.kind {
                MediaKind::Video => "video_",
                MediaKind::Audio => "audio_",
            };
            let name = (0u32..)
                .map(|number| format!("{prefix}{number}"))
                .find(|name| obj.static_pad(name).is_none())
                .unwrap_or_default();
            added = true;
            let Some(template) = obj.pad_template(&format!("{prefix}%u")) else {
                continue;
            };
            let of_call = Arc::downgrade(call);
            let id = peer.id.clone();
            let (index, output) = (stream.stream, stream.output);
            let rid = stream.rid().map(ToOwned::to_owned);
            let wanted = self.wanted(stream.codec.kind);
            let config = Config {
                name,
                peer: peer.id.clone(),
                index,
                output,
                codec: stream.codec,
                msid: stream.msid,
                rid,
                alternatives: stream.alternatives,
                extensions: stream.extensions,
                queue,
                wanted,
                key_frame: Box::new(move || {
                    if let Some(call) = of_call.upgrade() {
                        call.calls.request_key_frame(&id, index, output);
                    }
                }),
                tells,
            };
            match Stream::build(obj.upcast_ref(), &template, config, &peer.lip_sync) {
                Ok(stream) => self.keep(call, stream),
                Err(message) => self.post_error_message(message),
            }
        }
        if self.awaits_channels(call) {
            // gst-launch takes no-more-pads for the end of its hopes.
            if peer.is_connected() {
                self.limit_wait_for_channels(call);
            }
        } else if !self.pads_are_complete(call) && !added {
            return;
        }
        let _ = self.post_message(gst::message::Latency::builder().src(&*obj).build());
    }

    /// Whether a pad has this stream already, from before a new negotiation or a new connection.
    fn goes_on(&self, peer: &SrcPeer, agreed: &AgreedStream, queue: &Arc<InboundQueue>) -> bool {
        let (goes_on, playout, name) = {
            let streams = self.streams();
            let Some(stream) = streams.iter().find(|s| s.is_fed_by(queue)) else {
                return false;
            };
            if !peer.is_interrupted() {
                return true;
            }
            let name = stream.ghost.name();
            (stream.renew(agreed), stream.playout.clone(), name)
        };
        // Not under the lock: it may post a message, whose handler may read anything.
        playout.renew(&agreed.codec);
        if !goes_on {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                (
                    "the remote sends {} now, and pad {name} was made for another codec: it ends",
                    agreed.codec
                )
            );
        }
        true
    }

    /// Where nothing took any stream, no EOS can end the pipeline: an error does.
    pub(super) fn check_linked(&self) {
        let names: Vec<_> = self
            .streams()
            .iter()
            .map(|s| (s.ghost.is_linked(), s.ghost.name().to_string()))
            .collect();
        if names.is_empty() || names.iter().any(|(linked, _)| *linked) {
            return;
        }
        let names: Vec<_> = names.into_iter().map(|(_, name)| name).collect();
        gst::element_imp_error!(
            self,
            gst::StreamError::WrongType,
            (
                "the call is over, and nothing was linked to {}: link what takes its codec, or \
                 choose another with video-codecs or audio-codecs",
                names.join(", ")
            )
        );
    }

    /// Keeps `stream`, unless the call was stopped while it was built.
    fn keep(&self, call: &Arc<SrcCall>, stream: Stream) {
        let too_late = {
            let mut streams = self.streams();
            // `stop_call` takes the call before it takes the streams.
            if self.is_current(call) {
                streams.push(stream);
                None
            } else {
                Some(stream)
            }
        };
        if let Some(stream) = too_late {
            stream.remove(self.obj().upcast_ref());
        }
    }

    pub(super) fn pads(&self, peer: &str) -> Vec<report::Pad> {
        self.streams()
            .iter()
            .filter(|s| *s.peer == *peer && !s.ended())
            .map(|s| report::Pad {
                local: s.index,
                output: s.output,
                name: s.ghost.name().to_string(),
                caps: None,
            })
            .collect()
    }

    /// Streams that the remote took back end after what was received; then their pads go.
    pub(super) fn end_pads(&self, peer: &str, agreed: &[Incoming]) {
        for stream in self.streams().iter().filter(|s| *s.peer == *peer) {
            let mut queues = agreed.iter().filter_map(|(_, queue)| queue.as_ref());
            if stream.ended() || queues.any(|queue| stream.is_fed_by(queue)) {
                continue;
            }
            let weak = self.obj().downgrade();
            stream
                .ghost
                .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
                    let eos = info
                        .event()
                        .is_some_and(|e| e.type_() == gst::EventType::Eos);
                    if let Some(src) = weak.upgrade().filter(|_| eos) {
                        let pad = pad.clone();
                        // Not from the streaming thread, which is to be stopped.
                        src.call_async(move |src| src.imp().remove_stream(&pad));
                    }
                    gst::PadProbeReturn::Ok
                });
            stream.end();
            // The peer ended the queue with the negotiation: the event may have passed already.
            if stream.ghost.sticky_event::<gst::event::Eos>(0).is_some() {
                let pad = stream.ghost.clone();
                self.obj()
                    .call_async(move |src| src.imp().remove_stream(&pad));
            }
        }
    }

    fn remove_stream(&self, pad: &gst::GhostPad) {
        let stream = {
            let mut streams = self.streams();
            let at = streams.iter().position(|s| s.ghost == *pad);
            at.map(|at| streams.remove(at))
        };
        if let Some(stream) = stream {
            stream.remove(self.obj().upcast_ref());
        }
    }
}
