// SPDX-License-Identifier: MPL-2.0
//! RTP payloader and depayloader for AV1, private: GStreamer has its own from 1.24 on, in another
//! plugin. What they put on the wire is in [`crate::media::av1`].

mod depay;
mod pay;

pub use depay::Av1Depay;
pub use pay::Av1Pay;

/// Temporal units in the low-overhead format: what a parser makes of any other AV1.
fn encoded_caps() -> gst::Caps {
    gst::Caps::builder("video/x-av1")
        .field("stream-format", "obu-stream")
        .field("alignment", "tu")
        .build()
}

fn template(
    name: &str,
    direction: gst::PadDirection,
    caps: &gst::Caps,
) -> Result<gst::PadTemplate, gst::glib::BoolError> {
    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
}

/// RTP of AV1, without what is fixed in a call only.
fn rtp_caps() -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("encoding-name", "AV1")
        .field("clock-rate", 90_000)
        .build()
}

#[cfg(test)]
mod tests;
