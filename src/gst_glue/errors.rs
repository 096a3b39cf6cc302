// SPDX-License-Identifier: MPL-2.0
//! From a call's errors to bus messages: the one place that picks domain and code.

use gst::glib;
use gst::prelude::*;

use crate::peer::PeerError;
use crate::session::error::CallError;
use crate::signalling::SignallingError;

/// Posts `error` on the bus for `element`, with its cause as the text.
pub fn post(element: &impl IsA<gst::Element>, error: &CallError) {
    let sending = element.as_ref().has_property("early-data");
    let text = format!("{error}{}", cure(error));
    match error {
        CallError::Signalling(error) => post_signalling(element, error, &text),
        CallError::BadDescription { .. } => {
            gst::element_error!(element, gst::StreamError::Format, ("{}", text));
        }
        CallError::NoCommonCodec { .. } | CallError::NothingFlows { .. } => {
            gst::element_error!(element, gst::StreamError::CodecNotFound, ("{}", text));
        }
        CallError::NotReady => {
            gst::element_error!(element, gst::ResourceError::Busy, ("{}", text));
        }
        CallError::Address(_) => {
            gst::element_error!(element, gst::ResourceError::NotFound, ("{}", text));
        }
        CallError::NotConnected(PeerError::Dtls(_)) => {
            gst::element_error!(element, gst::ResourceError::NotAuthorized, ("{}", text));
        }
        CallError::NotConnected(_) => {
            gst::element_error!(element, gst::ResourceError::OpenReadWrite, ("{}", text));
        }
        CallError::Lost(_) if sending => {
            gst::element_error!(element, gst::ResourceError::Write, ("{}", text));
        }
        CallError::Lost(_) => {
            gst::element_error!(element, gst::ResourceError::Read, ("{}", text));
        }
        CallError::Peer(_) => {
            gst::element_error!(element, gst::ResourceError::Failed, ("{}", text));
        }
    }
}

fn post_signalling(element: &impl IsA<gst::Element>, error: &SignallingError, text: &str) {
    match error {
        SignallingError::Closed(_) | SignallingError::Read { .. } => {
            gst::element_error!(element, gst::ResourceError::Read, ("{}", text));
        }
        SignallingError::Unexpected(_) => {
            gst::element_error!(element, gst::StreamError::WrongType, ("{}", text));
        }
        SignallingError::Write { .. } => {
            gst::element_error!(element, gst::ResourceError::Write, ("{}", text));
        }
        SignallingError::Http { status, .. } => post_http(element, *status, text),
        SignallingError::Settings(_) => {
            gst::element_error!(element, gst::ResourceError::Settings, ("{}", text));
        }
    }
}

fn post_http(element: &impl IsA<gst::Element>, status: Option<u16>, text: &str) {
    match status {
        Some(401 | 403) => {
            gst::element_error!(element, gst::ResourceError::NotAuthorized, ("{}", text));
        }
        Some(404 | 410) => {
            gst::element_error!(element, gst::ResourceError::NotFound, ("{}", text));
        }
        Some(406 | 415 | 422) => {
            gst::element_error!(element, gst::StreamError::CodecNotFound, ("{}", text));
        }
        Some(503) => {
            gst::element_error!(element, gst::ResourceError::Busy, ("{}", text));
        }
        _ => {
            gst::element_error!(element, gst::ResourceError::OpenReadWrite, ("{}", text));
        }
    }
}

/// What the text of the error itself does not say.
fn cure(error: &CallError) -> &'static str {
    match error {
        CallError::NotConnected(PeerError::Ice(_)) => {
            ". Check that one of the addresses in each description can be reached from the other \
             side (firewall, VPN, ice-addresses), or name a server with stun-server or \
             turn-servers"
        }
        CallError::NotConnected(PeerError::Dtls(_)) => {
            ". The description must come from the peer that is connected to, unchanged: exchange \
             both descriptions anew"
        }
        CallError::Lost(_) => ". The other side died or the network between broke: call again",
        _ => "",
    }
}

/// What was wrong with a setting, for use before a call starts.
pub fn settings_error(text: &str) -> gst::ErrorMessage {
    gst::error_msg!(gst::ResourceError::Settings, ("{}", text))
}

/// An internal element that this machine lacks.
pub fn missing_element(name: &str, error: &glib::BoolError) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::CoreError::MissingPlugin,
        (
            "the element '{}' is missing: install the GStreamer plugin that has it \
             (gstreamer1.0-plugins-good for RTP, gstreamer1.0-plugins-bad for h264parse)",
            name
        ),
        ["{error}"]
    )
}
