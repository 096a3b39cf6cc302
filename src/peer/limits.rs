// SPDX-License-Identifier: MPL-2.0
//! Bounds of what we send that a remote's description states: `b=AS` (RFC 8866 section 5.8),
//! `b=TIAS` (RFC 3890), and libwebrtc's `x-google-…-bitrate` in the `fmtp` of a codec.
//!
//! There is one transport, so the bounds of its m-lines add up.

use super::{BitrateLimits, StreamConfig};
use crate::media::codec::MediaKind;
use crate::sdp::{MediaLine, Remote};

/// No bound is taken to be less, bit/s: what is not wanted at all is not agreed on.
const LEAST: u64 = 30_000;

/// What a remote wants, bit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) min: Option<u64>,
    pub(super) start: Option<u64>,
    pub(super) max: Option<u64>,
}

impl Wanted {
    /// Of what `remote` says of the streams that we send, which are its audio and video m-lines.
    pub(super) fn of(remote: &Remote, streams: &[StreamConfig]) -> Self {
        let lines = StreamConfig::with_line(streams);
        let sent = remote.audio_video().zip(lines.map(|(_, config)| config));
        let sent = sent.filter(|(_, config)| config.direction.sends());
        let mut wanted = Self::default();
        // What a video m-line leaves open has no sum.
        let (mut sum, mut open) = (0u64, true);
        for ((line, kind), config) in sent {
            let [start, min, max] = google_bitrates(line, config);
            wanted.start = added(wanted.start, start);
            wanted.min = added(wanted.min, min);
            let stated = least(stated(&line.bandwidth), max);
            match (stated, kind) {
                (Some(max), _) => sum = sum.saturating_add(max),
                (None, MediaKind::Video) => sum = u64::MAX,
                (None, MediaKind::Audio) => {}
            }
            // Audio alone bounds nothing that an encoder of ours makes of its own.
            open &= kind == MediaKind::Audio && stated.is_none();
        }
        let lines = (!open && sum < u64::MAX).then_some(sum);
        wanted.max = least(lines, stated(&remote.bandwidth));
        wanted
    }

    /// The user's bounds within the remote's.
    pub(super) fn within(self, own: BitrateLimits) -> BitrateLimits {
        let max = self.max.map_or(own.max, |max| max.max(LEAST).min(own.max));
        // With a least that is as much as the most, loss and delay would count for nothing: that is
        // not for a remote to ask.
        let most = own.start.min(max / 2);
        let min = self.min.map_or(own.min, |min| min.min(most).max(own.min));
        let min = min.min(max);
        BitrateLimits {
            min,
            // Not cut: that other bounds change is no new start.
            start: self.start.unwrap_or(own.start),
            max,
            ..own
        }
    }
}

/// `TIAS` where there is one, as it says what is meant; `AS` counts IP and UDP headers too, which
/// are 2 or 3 percent of full packets.
fn stated(bandwidth: &[(String, u32)]) -> Option<u64> {
    let value = |name: &str| {
        let mut all = bandwidth.iter();
        let (_, value) = all.find(|(kind, _)| kind.eq_ignore_ascii_case(name))?;
        Some(u64::from(*value))
    };
    value("TIAS").or_else(|| Some(value("AS")?.saturating_mul(970)))
}

/// Start, least and most of the codec that comes first of those agreed on.
fn google_bitrates(line: &MediaLine, config: &StreamConfig) -> [Option<u64>; 3] {
    let agreed = config.codecs.first();
    let mut codecs = line.codecs.iter();
    let theirs = agreed.and_then(|codec| codecs.find(|c| c.payload_type == codec.payload_type));
    theirs.map_or([None; 3], |codec| codec.google_bitrates())
}

fn added(sum: Option<u64>, more: Option<u64>) -> Option<u64> {
    more.map_or(sum, |more| Some(sum.unwrap_or(0).saturating_add(more)))
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Direction;

    const OWN: BitrateLimits = BitrateLimits {
        adaptive: true,
        min: 50_000,
        start: 2_000_000,
        max: 8_000_000,
    };

    /// Two m-lines, video and audio, with lines of their own.
    fn wanted(session: &str, video: &str, audio: &str) -> Wanted {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n{session}t=0 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n{video}\
             a=rtpmap:96 VP8/90000\r\na=recvonly\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n{audio}\
             a=rtpmap:111 opus/48000/2\r\na=recvonly\r\n"
        );
        let remote = Remote::parse(&text).unwrap();
        let streams = remote.audio_video().map(|(line, kind)| StreamConfig {
            kind,
            direction: Direction::SendOnly,
            mid: line.mid.clone(),
            codecs: line.codecs.clone(),
            extensions: vec![],
            msid: None,
            fec: None,
            rtcp_rsize: true,
            layers: Vec::new(),
            layer: None,
        });
        let streams: Vec<_> = streams.collect();
        Wanted::of(&remote, &streams)
    }

    #[test]
    fn a_description_without_bounds_leaves_ours() {
        let wanted = wanted("", "", "");
        assert_eq!(wanted, Wanted::default());
        assert_eq!(wanted.within(OWN), OWN);
    }

    #[test]
    fn bandwidths_of_m_lines_add_up_and_that_of_the_session_is_above_them() {
        let most = |session, video, audio| wanted(session, video, audio).max;
        assert_eq!(most("", "b=AS:1000\r\n", ""), Some(970_000));
        assert_eq!(
            most("", "b=AS:1000\r\nb=TIAS:900000\r\n", ""),
            Some(900_000)
        );
        assert_eq!(
            most("", "b=TIAS:900000\r\n", "b=TIAS:64000\r\n"),
            Some(964_000)
        );
        assert_eq!(most("", "", "b=AS:64\r\n"), None, "video is open");
        assert_eq!(most("b=AS:500\r\n", "b=TIAS:900000\r\n", ""), Some(485_000));
        assert_eq!(most("b=AS:500\r\n", "", ""), Some(485_000));
    }

    #[test]
    fn bitrates_of_the_codec_count_too() {
        let fmtp = "a=fmtp:96 x-google-min-bitrate=300;x-google-start-bitrate=1500;\
                    x-google-max-bitrate=2500\r\n";
        let wanted = wanted("", fmtp, "");
        let limits = wanted.within(OWN);
        assert_eq!(
            (limits.min, limits.start, limits.max),
            (300_000, 1_500_000, 2_500_000)
        );
    }

    #[test]
    fn no_least_that_a_remote_states_turns_congestion_control_off() {
        let fmtp = "a=fmtp:96 x-google-min-bitrate=8000
";
        let sound = "a=fmtp:111 x-google-min-bitrate=8000
";
        let limits = wanted("", fmtp, sound).within(OWN);
        assert_eq!((limits.min, limits.max), (2_000_000, 8_000_000));
        let limits = wanted(
            "b=TIAS:1000000
",
            fmtp,
            "",
        )
        .within(OWN);
        assert_eq!((limits.min, limits.max), (500_000, 1_000_000));
        let own = BitrateLimits {
            min: 6_000_000,
            ..OWN
        };
        assert_eq!(
            wanted("", fmtp, "").within(own).min,
            6_000_000,
            "as the user wants"
        );
    }

    #[test]
    fn a_bound_below_the_start_leaves_the_start() {
        let bound = Wanted {
            max: Some(1_000_000),
            ..Wanted::default()
        };
        let limits = bound.within(OWN);
        assert_eq!((limits.start, limits.max), (OWN.start, 1_000_000));
    }

    #[test]
    fn whatever_is_stated_the_bounds_stay_in_order_and_within_ours() {
        for max in [None, Some(0), Some(1), Some(40_000), Some(u64::MAX)] {
            for min in [None, Some(0), Some(u64::MAX)] {
                for start in [None, Some(0), Some(u64::MAX)] {
                    let limits = Wanted { min, start, max }.within(OWN);
                    assert!(limits.min <= limits.max);
                    assert!(limits.max <= OWN.max && limits.max >= LEAST);
                }
            }
        }
    }
}
