// SPDX-License-Identifier: MPL-2.0
//! What the rounds of adapting tell: changes as messages, and once what is in their way.

use gst::prelude::*;

use crate::gst_glue::encoders;
use crate::gst_glue::report;
use crate::logging::SINK as CAT;
use crate::peer::Estimate;
use crate::rswebrtcsink::RsWebRtcSink;
use crate::rswebrtcsink::call::SinkCall;

use super::{Driven, Driving};

/// Name of the element message about an encoder's new bitrate, and of its structure.
const BITRATE: &str = "rswebrtc-bitrate";

impl Driving {
    /// Says once that the bitrate of what is sent is what it is.
    pub(super) fn tell_of_nothing(&mut self, sink: &RsWebRtcSink) {
        // Of an encoder that cannot be driven it was said why.
        let stored = self.pads.iter().filter(|pad| pad.video && pad.stored);
        let texts = stored.map(|pad| {
            format!(
                "the bitrate on pad {} does not adapt to the network: no encoder was found before \
                 it, as with a file or a camera that encodes by itself. If there is one, name it \
                 with bitrate-element",
                pad.name
            )
        });
        for text in texts.collect::<Vec<_>>() {
            // Nothing is wrong with a file: no warning.
            self.notice(sink, text);
        }
    }

    /// Posts a note, once.
    pub(super) fn notice(&mut self, sink: &RsWebRtcSink, text: String) {
        if !self.told.insert(text.clone()) {
            return;
        }
        gst::info!(CAT, obj = sink, "{text}");
        let notice = gst::Structure::builder(report::NOTICE).field("text", text);
        let _ = sink.post_message(
            gst::message::Element::builder(notice.build())
                .src(sink)
                .build(),
        );
    }

    /// Names encoders that take requests for key frames and do not answer them.
    pub(super) fn tell_of_key_frames(&mut self, sink: &RsWebRtcSink, call: &SinkCall) {
        let mut texts = Vec::new();
        for pad in self
            .pads
            .iter()
            .filter(|pad| call.ignores_key_frame_requests(pad.track))
        {
            let encoder = pad
                .encoders
                .first()
                .and_then(|place| self.encoders.get(*place));
            let who = encoder.map_or_else(|| "the encoder".to_owned(), |e| e.name.clone());
            texts.push(format!(
                "{who} before pad {} makes no key frame when it is asked for one: viewers who come \
                 or lose data see nothing new until the next regular one. Have it make one every \
                 second or two (key-int-max, gop-size, keyframe-max-dist), or use another encoder",
                pad.name
            ));
        }
        for text in texts {
            self.warn(sink, &text);
        }
    }

    /// Names encoders that keep frames long.
    pub(super) fn tell_of_held_back(&mut self, sink: &RsWebRtcSink) {
        /// They have their caps a moment before they know.
        const ENOUGH: u8 = 2;
        let mut texts = Vec::new();
        for driven in self.encoders.iter_mut().filter(|d| d.asked < ENOUGH) {
            let element = driven.element.upgrade();
            let ready =
                |e: &gst::Element| e.static_pad("src").is_some_and(|p| p.has_current_caps());
            if let Some(element) = element.filter(ready) {
                driven.asked += 1;
                if let Some(text) = encoders::held_back(&element) {
                    driven.asked = ENOUGH;
                    texts.push(text);
                }
            }
        }
        texts.iter().for_each(|text| self.warn(sink, text));
    }

    /// Posts a warning, once.
    pub(super) fn warn(&mut self, sink: &RsWebRtcSink, text: &str) {
        if self.told.insert(text.to_owned()) {
            gst::element_warning!(sink, gst::ResourceError::Settings, ("{}", text));
        }
    }
}

/// An encoder has a new bitrate, of its `share`.
pub(super) fn post(
    sink: &RsWebRtcSink,
    driven: &Driven,
    (set, share): (u64, u64),
    target: &Estimate,
    streams: &[String],
) {
    gst::debug!(
        CAT,
        obj = sink,
        "{}: {set} bit/s of {target:?}",
        driven.name
    );
    let streams = streams.iter().map(|name| name.to_send_value());
    let structure = gst::Structure::builder(BITRATE)
        .field("element", &driven.name)
        .field("property", driven.knob.property())
        .field("bitrate", set)
        .field("target-bitrate", share)
        .field("estimated-bitrate", target.total)
        .field("packet-loss", target.loss)
        .field("streams", gst::List::new(streams))
        .build();
    let message = gst::message::Element::builder(structure).src(sink).build();
    let _ = sink.post_message(message);
}
