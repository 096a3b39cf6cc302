// SPDX-License-Identifier: MPL-2.0
//! Codecs as SDP names them (RFC 8866 `rtpmap` and `fmtp`), and the rules by which two match.

use std::fmt;

use super::h264;

/// Kind of an m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `m=audio`
    Audio,
    /// `m=video`
    Video,
}

impl MediaKind {
    /// The word in the m-line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// One codec with the payload types it has in one description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// Audio or video.
    pub kind: MediaKind,
    /// Encoding name of the `rtpmap`: `VP8`, `H264`, `opus`.
    pub name: String,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Channels of the `rtpmap`; `None` where it has none (video).
    pub channels: Option<u16>,
    /// Format parameters, as in the `fmtp` line: `packetization-mode=1;profile-level-id=42e01f`.
    pub fmtp: String,
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), if there are any.
    pub rtx_payload_type: Option<u8>,
    /// `rtcp-fb` values: `nack`, `nack pli`, `ccm fir`, `goog-remb`, `transport-cc`.
    pub feedback: Vec<String>,
}

/// What this plugin can carry: one row a codec, the only place that lists them.
#[derive(Debug)]
pub struct Supported {
    /// Encoding name, as written in our descriptions.
    pub name: &'static str,
    /// Audio or video.
    pub kind: MediaKind,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Channels of the `rtpmap`.
    pub channels: Option<u16>,
    /// Payload types that we offer, those of retransmissions, and the format parameters of each.
    pub receive: &'static [(u8, Option<u8>, &'static str)],
    /// Feedback that we give and understand.
    pub feedback: &'static [&'static str],
}

const VIDEO_FEEDBACK: &[&str] = &["nack", "nack pli", "ccm fir", "transport-cc"];
const AUDIO_FEEDBACK: &[&str] = &["transport-cc"];

macro_rules! h264_fmtp {
    ($profile_level_id:literal) => {
        concat!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=",
            $profile_level_id
        )
    };
}

/// The codec table. Any H264 profile can be received: the decoder is the user's.
pub const SUPPORTED: &[Supported] = &[
    Supported {
        name: "VP8",
        kind: MediaKind::Video,
        clock_rate: 90_000,
        channels: None,
        receive: &[(96, Some(97), "")],
        feedback: VIDEO_FEEDBACK,
    },
    Supported {
        name: "H264",
        kind: MediaKind::Video,
        clock_rate: 90_000,
        channels: None,
        // Level 5.2: what is received is decoded by whatever the user has, if at all.
        receive: &[
            (102, Some(103), h264_fmtp!("42e034")),
            (104, Some(105), h264_fmtp!("4d0034")),
            (106, Some(107), h264_fmtp!("640034")),
            (108, Some(109), h264_fmtp!("420034")),
        ],
        feedback: VIDEO_FEEDBACK,
    },
    Supported {
        name: "opus",
        kind: MediaKind::Audio,
        clock_rate: 48_000,
        channels: Some(2),
        receive: &[(111, None, "minptime=10;useinbandfec=1")],
        feedback: AUDIO_FEEDBACK,
    },
];

/// The row of `name` (encoding names compare without case, RFC 8866 section 6.6).
pub fn supported(name: &str) -> Option<&'static Supported> {
    SUPPORTED
        .iter()
        .find(|row| row.name.eq_ignore_ascii_case(name))
}

impl Supported {
    /// What we offer to receive, one entry a profile.
    pub fn to_receive(&self) -> impl Iterator<Item = Codec> + '_ {
        self.receive
            .iter()
            .map(|(pt, rtx, fmtp)| self.codec(*pt, *rtx, fmtp))
    }

    /// This row with format parameters of a stream that we send.
    pub fn with_fmtp(&self, fmtp: &str) -> Codec {
        let (pt, rtx) = match self.receive {
            [(pt, rtx, _), ..] => (*pt, *rtx),
            [] => (96, None),
        };
        self.codec(pt, rtx, fmtp)
    }

    fn codec(&self, payload_type: u8, rtx_payload_type: Option<u8>, fmtp: &str) -> Codec {
        Codec {
            kind: self.kind,
            name: self.name.to_owned(),
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: fmtp.to_owned(),
            payload_type,
            rtx_payload_type,
            feedback: self.feedback.iter().map(|s| (*s).to_owned()).collect(),
        }
    }
}

impl Codec {
    /// Value of one format parameter; names compare without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.fmtp, name)
    }

    /// Whether encoding, clock and channels are the same.
    pub fn same_encoding(&self, other: &Codec) -> bool {
        self.kind == other.kind
            && self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_rate == other.clock_rate
            && self.channels.unwrap_or(1) == other.channels.unwrap_or(1)
    }

    /// Whether a stream of ours in `self` may be sent to a remote that takes `remote`; a lower
    /// number is a better fit.
    pub fn send_fit(&self, remote: &Codec) -> Option<u8> {
        if !self.same_encoding(remote) {
            return None;
        }
        if !self.name.eq_ignore_ascii_case("H264") {
            return Some(0);
        }
        // The payloader fragments: packetization-mode 1 (RFC 6184 section 6.2).
        if remote.parameter("packetization-mode").unwrap_or("0") != "1" {
            return None;
        }
        let ours = h264::Profile::from_fmtp(self.parameter("profile-level-id"));
        let theirs = h264::Profile::from_fmtp(remote.parameter("profile-level-id"));
        ours.fits(theirs)
    }

    /// Whether we can receive what a remote sends in `remote`.
    pub fn receivable(remote: &Codec) -> bool {
        let Some(row) = supported(&remote.name) else {
            return false;
        };
        let ours = row.with_fmtp("");
        // Packetization-mode 2 interleaves; no GStreamer depayloader takes it.
        ours.same_encoding(remote) && remote.parameter("packetization-mode") != Some("2")
    }

    /// Profile as people say it, for H264: `constrained-baseline`.
    pub fn profile(&self) -> Option<&'static str> {
        self.name
            .eq_ignore_ascii_case("H264")
            .then(|| h264::Profile::from_fmtp(self.parameter("profile-level-id")).as_str())
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let (Some(profile), Some(id)) = (self.profile(), self.parameter("profile-level-id")) {
            write!(f, " {profile} ({id})")?;
        }
        Ok(())
    }
}

/// Value of one parameter in a format parameter string.
pub fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(fmtp: &str) -> Codec {
        supported("h264").unwrap().with_fmtp(fmtp)
    }

    #[test]
    fn encoding_names_compare_without_case() {
        assert_eq!(supported("OPUS").unwrap().name, "opus");
        assert!(supported("AV1").is_none());
    }

    #[test]
    fn a_stream_fits_its_own_profile_best_and_wider_ones_next() {
        let ours = h264("packetization-mode=1;profile-level-id=42c01e");
        let same = h264("packetization-mode=1;profile-level-id=42e01f");
        let high = h264("packetization-mode=1;profile-level-id=64001f");
        assert_eq!(ours.send_fit(&same), Some(0));
        assert!(ours.send_fit(&high).unwrap() > 0);
        assert_eq!(high.send_fit(&same), None);
    }

    #[test]
    fn a_fragmented_stream_is_not_sent_to_a_single_nal_receiver() {
        let ours = h264("packetization-mode=1;profile-level-id=42e01f");
        assert_eq!(ours.send_fit(&h264("profile-level-id=42e01f")), None);
    }

    #[test]
    fn no_parameters_are_read_from_garbage() {
        assert_eq!(parameter(";;=;a=1;b", "a"), Some("1"));
        assert_eq!(parameter("", "a"), None);
    }
}
