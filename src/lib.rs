// SPDX-License-Identifier: MPL-2.0
//! WebRTC for GStreamer: `rswebrtcsink` and `rswebrtcsrc`, around a webrtc-rs peer.
//!
//! See `docs/architecture.md` for the layers and what may depend on what.

mod gst_glue;
mod logging;
pub mod media;
pub mod peer;
mod rswebrtcsink;
mod rswebrtcsrc;
mod runtime;
pub mod sdp;
pub mod session;
pub mod signalling;

use gst::glib;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    logging::init();
    rswebrtcsink::register(plugin)?;
    rswebrtcsrc::register(plugin)
}

gst::plugin_define!(
    webrtcrs,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // The form that every GStreamer since 1.0 knows.
    "MPL",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
