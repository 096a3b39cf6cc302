// SPDX-License-Identifier: MPL-2.0
//! What the events of a host do to the source: publishers come, get their pads, and go.

use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::{errors, report};
use crate::logging::SRC as CAT;
use crate::session::error::CallError;
use crate::session::event::Event;
use crate::session::host::HostEvent;

use super::call::SrcCall;
use super::imp::RsWebRtcSrc;
use crate::session::calls::Calls;

impl RsWebRtcSrc {
    /// Runs on the host's event thread. Tells whether more events are wanted.
    pub(super) fn hosted(
        &self,
        call: &Arc<SrcCall>,
        event: HostEvent,
        teller: &mut report::Teller,
    ) -> bool {
        if !self.is_current(call) {
            return false;
        }
        let obj = self.obj();
        match event {
            HostEvent::Listening(url) => teller.listening(obj.upcast_ref(), &url),
            HostEvent::Peer { id, remote, event } => {
                gst::debug!(CAT, imp = self, "{id} from {remote}: {event:?}");
                self.publisher(call, &id, event, teller);
            }
            HostEvent::KeyFrameDue(_) | HostEvent::Ended => {}
            HostEvent::Failed(error) => errors::post(&*obj, &CallError::Signalling(error)),
        }
        true
    }

    fn publisher(&self, call: &Arc<SrcCall>, id: &str, event: Event, teller: &mut report::Teller) {
        let obj = self.obj();
        let peer = call.peer(id);
        match event {
            Event::Agreed(streams) if peer.is_connected() => {
                self.end_pads(id, &streams);
                self.add_pads(call, &peer, streams, teller.tells());
            }
            // An offer alone makes no pads: whoever sent it may never connect.
            Event::Agreed(streams) => {
                teller.agreed(streams.iter().map(|(stream, _)| stream.clone()).collect());
                peer.set_agreed(streams);
            }
            Event::Connected(info) => {
                self.add_pads(call, &peer, peer.take_agreed(), teller.tells());
                self.connected(call, &peer, &info, teller);
            }
            Event::Ended(cause) if peer.is_connected() => {
                teller.ended(obj.upcast_ref(), cause);
                self.publisher_left(call, id);
            }
            Event::Failed(error) if peer.is_connected() => {
                let text = format!("{error}: the streams end with what was received");
                teller.warn(obj.upcast_ref(), &text);
                self.publisher_left(call, id);
            }
            // Of no concern to the pipeline; the client was told.
            Event::Failed(
                error @ (CallError::NoCommonCodec { .. } | CallError::NothingFlows { .. }),
            ) => {
                teller.notice(obj.upcast_ref(), &format!("peer {id} was refused: {error}"));
                call.forget(id);
            }
            Event::Failed(error) => {
                gst::info!(CAT, imp = self, "peer {id}: {error}");
                call.forget(id);
            }
            Event::Ended(_) => {
                call.forget(id);
            }
            Event::Channel(channel) => self.channel_changed(call, &channel, teller),
            Event::Notice(text) => gst::info!(CAT, imp = self, "peer {id}: {text}"),
            Event::LeftOut(..)
            | Event::StreamsOver
            | Event::KeyFrameRequest(_)
            | Event::Estimate(_)
            | Event::Interrupted { .. } => {}
        }
    }

    fn publisher_left(&self, call: &Arc<SrcCall>, id: &str) {
        let peer = call.peer(id);
        if call.ends_with_peer
            && let Calls::Many(host) = &call.calls
        {
            host.finish();
        }
        self.peer_is_gone(call, &peer);
    }
}
