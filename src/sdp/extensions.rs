// SPDX-License-Identifier: MPL-2.0
//! RTP header extensions by the short names that people use.

/// URIs and their short names.
const NAMES: &[(&str, &str)] = &[
    ("urn:ietf:params:rtp-hdrext:sdes:mid", "mid"),
    ("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "rid"),
    (
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "repaired-rid",
    ),
    ("urn:ietf:params:rtp-hdrext:sdes:cname", "cname"),
    (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "transport-wide-cc",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02",
        "transport-wide-cc-02",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "abs-send-time",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
        "abs-capture-time",
    ),
    ("urn:ietf:params:rtp-hdrext:toffset", "toffset"),
    ("urn:ietf:params:rtp-hdrext:ntp-64", "ntp-64"),
    ("urn:ietf:params:rtp-hdrext:ntp-56", "ntp-56"),
    ("urn:3gpp:video-orientation", "video-orientation"),
    ("urn:3gpp:video-orientation:6", "video-orientation-6"),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "playout-delay",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "video-content-type",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
        "video-timing",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
        "color-space",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
        "video-layers-allocation",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/video-frame-tracking-id",
        "video-frame-tracking-id",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/corruption-detection",
        "corruption-detection",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/inband-cn",
        "inband-cn",
    ),
    (
        "http://www.webrtc.org/experiments/rtp-hdrext/generic-frame-descriptor-00",
        "generic-frame-descriptor",
    ),
    (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
        "dependency-descriptor",
    ),
    ("urn:ietf:params:rtp-hdrext:ssrc-audio-level", "audio-level"),
    (
        "urn:ietf:params:rtp-hdrext:csrc-audio-level",
        "mixer-audio-level",
    ),
    ("urn:ietf:params:rtp-hdrext:framemarking", "frame-marking"),
    (
        "http://tools.ietf.org/html/draft-ietf-avtext-framemarking-07",
        "frame-marking-07",
    ),
    ("urn:ietf:params:rtp-hdrext:encrypt", "encrypt"),
];

/// `mid` (RFC 9143 section 15.2).
pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// `rid` (RFC 8852 section 4.1).
pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

/// Short name of an extension; `None` for one that is not in the table.
pub fn short_name(uri: &str) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(known, _)| *known == uri)
        .map(|(_, name)| *name)
}

/// Short name, or the URI.
pub fn name(uri: &str) -> &str {
    short_name(uri).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_extensions_have_short_names_and_others_keep_their_uri() {
        assert_eq!(name(MID), "mid");
        assert_eq!(name(RID), "rid");
        assert_eq!(name("urn:example:mine"), "urn:example:mine");
        let mut names: Vec<_> = NAMES.iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }
}
