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

/// A payload type that we offer, that of its retransmissions, and the format parameters.
pub type Offered = (u8, Option<u8>, &'static str);

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
    /// What we offer to receive, best first.
    pub receive: &'static [Offered],
    /// Feedback that we give and understand.
    pub feedback: &'static [&'static str],
}

const VIDEO_FEEDBACK: &[&str] = &["nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"];
const AUDIO_FEEDBACK: &[&str] = &["transport-cc"];

macro_rules! h264_fmtp {
    ($mode:literal, $profile_level_id:literal) => {
        concat!(
            "level-asymmetry-allowed=1;packetization-mode=",
            $mode,
            ";profile-level-id=",
            $profile_level_id
        )
    };
}

const fn video(name: &'static str, receive: &'static [Offered]) -> Supported {
    Supported {
        name,
        kind: MediaKind::Video,
        clock_rate: 90_000,
        channels: None,
        receive,
        feedback: VIDEO_FEEDBACK,
    }
}

const fn audio(
    name: &'static str,
    clock_rate: u32,
    channels: Option<u16>,
    receive: &'static [Offered],
) -> Supported {
    Supported {
        name,
        kind: MediaKind::Audio,
        clock_rate,
        channels,
        receive,
        feedback: AUDIO_FEEDBACK,
    }
}

/// The codec table, in our order of preference. Any H264 profile can be received: the decoder is
/// the user's.
pub const SUPPORTED: &[Supported] = &[
    video("VP8", &[(96, Some(97), "")]),
    video(
        "H264",
        // Level 5.2: what is received is decoded by whatever the user has, if at all.
        &[
            (102, Some(103), h264_fmtp!("1", "42e034")),
            (104, Some(105), h264_fmtp!("1", "4d0034")),
            (106, Some(107), h264_fmtp!("1", "640034")),
            (112, Some(113), h264_fmtp!("1", "640c34")),
            (108, Some(109), h264_fmtp!("1", "420034")),
            (114, Some(115), h264_fmtp!("0", "42e034")),
        ],
    ),
    video(
        "VP9",
        &[
            (98, Some(99), "profile-id=0"),
            (100, Some(101), "profile-id=2"),
        ],
    ),
    video("AV1", &[(118, Some(119), "level-idx=15;profile=0;tier=0")]),
    video(
        "H265",
        &[
            (
                116,
                Some(117),
                "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
            ),
            (
                120,
                Some(121),
                "level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST",
            ),
        ],
    ),
    audio(
        "opus",
        48_000,
        Some(2),
        &[(111, None, "minptime=10;stereo=1;useinbandfec=1")],
    ),
    // The RTP clock of G722 is 8 kHz by an old mistake (RFC 3551 section 4.5.2).
    audio("G722", 8_000, None, &[(9, None, "")]),
    audio("PCMU", 8_000, None, &[(0, None, "")]),
    audio("PCMA", 8_000, None, &[(8, None, "")]),
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
        match self.name.to_ascii_uppercase().as_str() {
            "H264" => {
                let mode = |codec: &Codec| match codec.parameter("packetization-mode") {
                    None | Some("0") => Some(0),
                    Some("1") => Some(1),
                    // Interleaved: no GStreamer element makes or takes it.
                    Some(_) => None,
                };
                // RFC 6184 section 6: a receiver of mode 1 takes mode 0 too, not the reverse.
                let (ours, theirs) = (mode(self)?, mode(remote)?);
                let fit = h264::Profile::from_fmtp(self.parameter("profile-level-id")).fits(
                    h264::Profile::from_fmtp(remote.parameter("profile-level-id")),
                )?;
                (ours <= theirs).then(|| fit + u8::from(ours != theirs))
            }
            _ => self.same_profile(remote).then_some(0),
        }
    }

    /// Whether the parameters that choose a bitstream's tools are the same (RFC 9628 section 6,
    /// RFC 7798 section 7.1, AV1 RTP section 7.2); those that bound a level may differ.
    fn same_profile(&self, other: &Codec) -> bool {
        let names: &[(&str, &str)] = match self.name.to_ascii_uppercase().as_str() {
            "VP9" => &[("profile-id", "0")],
            "AV1" => &[("profile", "0")],
            "H265" => &[
                ("profile-space", "0"),
                ("profile-id", "1"),
                ("tier-flag", "0"),
                ("tx-mode", "SRST"),
            ],
            _ => &[],
        };
        names.iter().all(|(name, default)| {
            let value = |codec: &Codec| codec.parameter(name).unwrap_or(default).to_owned();
            value(self).eq_ignore_ascii_case(&value(other))
        })
    }

    /// Whether we can receive what a remote sends in `remote`.
    pub fn receivable(remote: &Codec) -> bool {
        let Some(row) = supported(&remote.name) else {
            return false;
        };
        if remote.name.eq_ignore_ascii_case("H264") {
            // Packetization-mode 2 interleaves; no GStreamer depayloader takes it.
            return row.with_fmtp("").same_encoding(remote)
                && remote.parameter("packetization-mode") != Some("2");
        }
        row.to_receive()
            .any(|ours| ours.same_encoding(remote) && ours.same_profile(remote))
    }

    /// The remote's `self` as our description states it: its payload types, the feedback that we
    /// have too, and format parameters that are ours. `sent` is the stream that we send in it.
    pub fn stated_by_us(&self, sent: Option<&Codec>) -> Codec {
        let mut codec = self.clone();
        let row = supported(&self.name);
        let ours = row.map(|row| row.feedback).unwrap_or_default();
        codec.feedback.retain(|f| ours.contains(&f.as_str()));
        codec.feedback.dedup();
        codec.fmtp = match self.name.to_ascii_uppercase().as_str() {
            "H264" => self.h264_answer(sent),
            // Declared by each side for itself (RFC 7587 section 7.1).
            "OPUS" => match (sent, row.and_then(|row| row.receive.first())) {
                (Some(sent), _) => sent.fmtp.clone(),
                (None, Some((_, _, fmtp))) => (*fmtp).to_owned(),
                (None, None) => String::new(),
            },
            // Limits of the other side's decoder are not ours to repeat (RFC 7741 section 6.1).
            "VP8" => String::new(),
            "VP9" => only(&self.fmtp, &["profile-id"]),
            _ => only(
                &self.fmtp,
                &[
                    "profile",
                    "profile-id",
                    "profile-space",
                    "tier",
                    "tier-flag",
                    "level-idx",
                    "level-id",
                    "tx-mode",
                ],
            ),
        };
        codec
    }

    /// RFC 6184 section 8.2.2: the profile and the mode as offered; the level is our own where
    /// both sides allow that it differs.
    fn h264_answer(&self, sent: Option<&Codec>) -> String {
        let mut parts = Vec::new();
        let asymmetric = self.parameter("level-asymmetry-allowed") == Some("1");
        if asymmetric {
            parts.push("level-asymmetry-allowed=1".to_owned());
        }
        if let Some(mode) = self.parameter("packetization-mode") {
            parts.push(format!("packetization-mode={mode}"));
        }
        if let Some(id) = self.parameter("profile-level-id") {
            let own = match sent {
                Some(sent) => sent
                    .parameter("profile-level-id")
                    .and_then(|id| id.get(4..6)),
                None => Some("34"),
            };
            let id = match (id.get(..4), own) {
                (Some(profile), Some(level)) if asymmetric && id.len() == 6 => {
                    format!("{profile}{level}")
                }
                _ => id.to_owned(),
            };
            parts.push(format!("profile-level-id={id}"));
        }
        if let Some(sets) = sent.and_then(|sent| sent.parameter("sprop-parameter-sets")) {
            parts.push(format!("sprop-parameter-sets={sets}"));
        }
        parts.join(";")
    }

    /// Bit/s that the remote wants: libwebrtc's `x-google-start-bitrate`, `-min-` and `-max-`
    /// (written in kbit/s).
    pub fn google_bitrates(&self) -> [Option<u64>; 3] {
        ["start", "min", "max"].map(|which| {
            let kilobits: u64 = self
                .parameter(&format!("x-google-{which}-bitrate"))?
                .parse()
                .ok()?;
            kilobits.checked_mul(1000)
        })
    }

    /// Profile in GStreamer's words: `constrained-baseline` (H264), `main-10` (H265), `0` (VP9);
    /// `None` for codecs without profiles.
    pub fn profile(&self) -> Option<String> {
        let value = |name, default: &str| self.parameter(name).unwrap_or(default).to_owned();
        match self.name.to_ascii_uppercase().as_str() {
            "H264" => Some(
                h264::Profile::from_fmtp(self.parameter("profile-level-id"))
                    .as_str()
                    .to_owned(),
            ),
            "VP9" => Some(value("profile-id", "0")),
            "AV1" => Some(match value("profile", "0").as_str() {
                "0" => "main".to_owned(),
                "1" => "high".to_owned(),
                "2" => "professional".to_owned(),
                other => other.to_owned(),
            }),
            "H265" => Some(match value("profile-id", "1").as_str() {
                "1" => "main".to_owned(),
                "2" => "main-10".to_owned(),
                "3" => "main-still-picture".to_owned(),
                other => other.to_owned(),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (self.profile(), self.parameter("profile-level-id")) {
            (Some(profile), Some(id)) => write!(f, " {profile} ({id})")?,
            (Some(profile), None) if profile.starts_with(|c: char| c.is_ascii_digit()) => {
                write!(f, " profile {profile}")?;
            }
            (Some(profile), None) => write!(f, " {profile}")?,
            (None, _) => {}
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

/// The parameters of `fmtp` that `names` lists.
fn only(fmtp: &str, names: &[&str]) -> String {
    let parts = fmtp.split(';').map(str::trim).filter(|part| {
        part.split_once('=')
            .is_some_and(|(key, _)| names.iter().any(|n| n.eq_ignore_ascii_case(key.trim())))
    });
    parts.collect::<Vec<_>>().join(";")
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
        assert!(supported("AV2").is_none());
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

    fn codec(name: &str, fmtp: &str) -> Codec {
        supported(name).unwrap().with_fmtp(fmtp)
    }

    #[test]
    fn profiles_that_differ_do_not_match_and_defaults_count() {
        let vp9 = |fmtp| codec("VP9", fmtp);
        assert_eq!(vp9("").send_fit(&vp9("profile-id=0;max-fs=1")), Some(0));
        assert_eq!(vp9("profile-id=2").send_fit(&vp9("")), None);
        assert!(Codec::receivable(&vp9("profile-id=2")));
        assert!(!Codec::receivable(&vp9("profile-id=1")));
        let h265 = |fmtp| codec("H265", fmtp);
        assert_eq!(
            h265("").send_fit(&h265("level-id=93;profile-id=1;tier-flag=0;tx-mode=srst")),
            Some(0)
        );
        assert_eq!(h265("profile-id=2").send_fit(&h265("profile-id=1")), None);
    }

    #[test]
    fn a_single_nal_stream_fits_both_packetization_modes() {
        let single = h264("packetization-mode=0;profile-level-id=42e01f");
        assert_eq!(single.send_fit(&h264("profile-level-id=42e01f")), Some(0));
        let fragments = h264("packetization-mode=1;profile-level-id=42e01f");
        assert_eq!(single.send_fit(&fragments), Some(1));
        let interleaved = h264("packetization-mode=2;profile-level-id=42e01f");
        assert_eq!(single.send_fit(&interleaved), None);
    }

    #[test]
    fn an_answer_states_our_level_only_where_levels_may_differ() {
        let offered =
            h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
        let fmtp = offered.stated_by_us(None).fmtp;
        assert_eq!(parameter(&fmtp, "profile-level-id"), Some("42e034"));
        let offered = h264("packetization-mode=1;profile-level-id=42e01f");
        let fmtp = offered.stated_by_us(None).fmtp;
        assert_eq!(fmtp, "packetization-mode=1;profile-level-id=42e01f");
        let sent = h264("packetization-mode=1;profile-level-id=42c028;sprop-parameter-sets=Z,a");
        let offered =
            h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
        let fmtp = offered.stated_by_us(Some(&sent)).fmtp;
        assert_eq!(parameter(&fmtp, "profile-level-id"), Some("42e028"));
        assert_eq!(parameter(&fmtp, "sprop-parameter-sets"), Some("Z,a"));
    }

    #[test]
    fn limits_of_the_other_decoder_are_not_repeated() {
        assert_eq!(
            codec("VP8", "max-fs=12288;max-fr=60")
                .stated_by_us(None)
                .fmtp,
            ""
        );
        let wanted = codec("H264", "profile-level-id=42e01f;x-google-max-bitrate=1000");
        assert_eq!(wanted.google_bitrates(), [None, None, Some(1_000_000)]);
    }

    #[test]
    fn no_parameters_are_read_from_garbage() {
        assert_eq!(parameter(";;=;a=1;b", "a"), Some("1"));
        assert_eq!(parameter("", "a"), None);
    }
}
