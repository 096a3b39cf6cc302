// SPDX-License-Identifier: MPL-2.0
//! Streams that are connected and give nothing: the worst riddle, so they are named.

use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::gst_glue::events;

use super::call::{SrcCall, SrcPeer};
use super::frame_gate::NO_KEY_FRAME;
use super::imp::RsWebRtcSrc;

/// A connected stream that gives nothing for so long is asked for a key frame; after the second
/// time the user is told.
const SILENT_STREAM: Duration = Duration::from_secs(4);

impl RsWebRtcSrc {
    /// A stream that is connected and gives nothing: ask, then tell.
    pub(super) fn watch_silent_streams(&self, call: &Arc<SrcCall>, peer: &Arc<SrcPeer>) {
        let weak = self.obj().downgrade();
        let (call, id) = (call.clone(), peer.id.clone());
        events::spawn_watch(move || {
            for asked in [false, true] {
                if call.calls.wait_done(SILENT_STREAM) {
                    return;
                }
                let Some(src) = weak.upgrade() else {
                    return;
                };
                if !src.imp().is_current(&call) {
                    return;
                }
                src.imp().ask_silent_streams(&call, &id, asked);
            }
        });
    }

    fn ask_silent_streams(&self, call: &SrcCall, id: &str, tell: bool) {
        let stats = call.calls.stats_of(id);
        let silent: Vec<_> = self
            .streams()
            .iter()
            .filter(|s| *s.peer == *id && !s.flows() && !s.ended())
            .map(|s| {
                (
                    (s.index, s.output),
                    s.ghost.name().to_string(),
                    s.ghost.is_linked(),
                )
            })
            .collect();
        for ((index, output), name, linked) in silent {
            let of_stream = stats.iter().find(|(agreed, _)| agreed.stream == index);
            let received = of_stream.map_or(0, |(_, s)| s.packets_received);
            call.calls.request_key_frame(id, index, output);
            if !tell {
                continue;
            }
            if !linked {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Failed,
                    ("pad {name} is not linked to anything: what the remote sends there is \
                         lost. Link it, or refuse it with video-codecs or audio-codecs")
                );
            } else if received > 0 {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Decode,
                    ("{received} packets came for pad {name}, but no key frame to start at: \
                         {NO_KEY_FRAME}")
                );
            } else {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Read,
                    ("connected, but nothing comes for pad {name}: does the remote send?")
                );
            }
        }
    }
}
