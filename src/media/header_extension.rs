// SPDX-License-Identifier: MPL-2.0
//! RTP header extensions (RFC 8285) that we know: their names, and what their elements hold.

use std::time::Duration;

use super::codec::MediaKind;

/// One known header extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderExtension {
    /// Which m-line a packet belongs to (RFC 9143 section 15): text.
    Mid,
    /// Which simulcast encoding (RFC 8852): text.
    Rid,
    /// The encoding that a retransmission repairs (RFC 8852): text.
    RepairedRid,
    /// A number for the feedback on a whole transport (draft-holmer-rmcat-transport-wide-cc): 16 bits.
    TransportWideCc,
    /// When the packet was sent: [`AbsSendTime`].
    AbsSendTime,
    /// Transmission time offset (RFC 5450): 24 bits, signed, RTP clock.
    TransmissionOffset,
    /// Which way up the picture is: [`super::orientation::Orientation`].
    VideoOrientation,
    /// How long a receiver should hold frames: [`PlayoutDelay`].
    PlayoutDelay,
    /// How loud a packet's audio is: [`AudioLevel`].
    AudioLevel,
    /// Camera or screen: [`VideoContentType`].
    VideoContentType,
    /// Which layer of a scalable stream a packet is of, and what its frame is predicted from (AV1 RTP
    /// specification, appendix A): passed on as it is.
    DependencyDescriptor,
}

/// The row of one extension.
struct Row {
    extension: HeaderExtension,
    uri: &'static str,
    short_name: &'static str,
    kinds: &'static [MediaKind],
}

const AUDIO: &[MediaKind] = &[MediaKind::Audio];
const VIDEO: &[MediaKind] = &[MediaKind::Video];
const BOTH: &[MediaKind] = &[MediaKind::Audio, MediaKind::Video];

const fn row(
    extension: HeaderExtension,
    uri: &'static str,
    short_name: &'static str,
    kinds: &'static [MediaKind],
) -> Row {
    Row {
        extension,
        uri,
        short_name,
        kinds,
    }
}

/// The table; the order is that of our descriptions.
const TABLE: &[Row] = &[
    row(
        HeaderExtension::Mid,
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "mid",
        BOTH,
    ),
    row(
        HeaderExtension::Rid,
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "rid",
        VIDEO,
    ),
    row(
        HeaderExtension::RepairedRid,
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "repaired-rid",
        VIDEO,
    ),
    row(
        HeaderExtension::TransportWideCc,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "transport-wide-cc",
        BOTH,
    ),
    row(
        HeaderExtension::AbsSendTime,
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "abs-send-time",
        BOTH,
    ),
    row(
        HeaderExtension::TransmissionOffset,
        "urn:ietf:params:rtp-hdrext:toffset",
        "toffset",
        VIDEO,
    ),
    row(
        HeaderExtension::VideoOrientation,
        "urn:3gpp:video-orientation",
        "video-orientation",
        VIDEO,
    ),
    row(
        HeaderExtension::PlayoutDelay,
        "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "playout-delay",
        VIDEO,
    ),
    row(
        HeaderExtension::AudioLevel,
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "audio-level",
        AUDIO,
    ),
    row(
        HeaderExtension::VideoContentType,
        "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "video-content-type",
        VIDEO,
    ),
    row(
        HeaderExtension::DependencyDescriptor,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
        "dependency-descriptor",
        VIDEO,
    ),
];

/// What an element of the one-byte form holds (RFC 8285 section 4.2): bytes.
const ONE_BYTE_FORM: std::ops::RangeInclusive<usize> = 1..=16;

impl HeaderExtension {
    /// All that are known.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.extension)
    }

    /// Its URI, as in `a=extmap`.
    pub fn uri(self) -> &'static str {
        self.row().map_or("", |row| row.uri)
    }

    /// The extension of a URI; they compare by the character (RFC 8285 section 5).
    pub fn from_uri(uri: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.uri == uri)
            .map(|row| row.extension)
    }

    /// What people call it; the same as the end of its URI where that is clear.
    pub fn short_name(self) -> &'static str {
        self.row().map_or("", |row| row.short_name)
    }

    /// The kinds of m-line that it is used with.
    pub fn kinds(self) -> &'static [MediaKind] {
        self.row().map_or(&[], |row| row.kinds)
    }

    /// Whether its data may not fit the one-byte form: it is of use only where that and the two-byte
    /// form may be mixed (RFC 8285 section 6).
    pub fn needs_mixed_forms(self) -> bool {
        self == Self::DependencyDescriptor
    }

    /// Whether an element with this data can be written in the one-byte form.
    pub fn fits_one_byte_form(data: &[u8]) -> bool {
        ONE_BYTE_FORM.contains(&data.len())
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.extension == self)
    }
}

/// When a packet was sent: 24 bits, seconds in 6.18 fixed point, so it wraps every 64 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    const FRACTION_BITS: u32 = 18;
    const MASK: u32 = 0x00ff_ffff;

    /// From the time since any fixed moment; the receiver looks at differences only. Rounds to
    /// the nearest 3.8 µs.
    pub fn from_time(since_epoch: Duration) -> Self {
        const NANOS: u64 = 1_000_000_000;
        let whole = (since_epoch.as_secs() & 63) << Self::FRACTION_BITS;
        let nanos = u64::from(since_epoch.subsec_nanos());
        let fraction = ((nanos << Self::FRACTION_BITS) + NANOS / 2) / NANOS;
        Self(((whole + fraction) & u64::from(Self::MASK)) as u32)
    }

    /// The time, 0 to 64 s.
    pub fn time(self) -> Duration {
        let nanos = (u64::from(self.0) * 1_000_000_000) >> Self::FRACTION_BITS;
        Duration::from_nanos(nanos)
    }

    /// The element's data.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    /// Reads the element's data; `None` if there are not 3 bytes.
    pub fn from_bytes(data: &[u8]) -> Option<Self> {
        let [a, b, c] = *data else {
            return None;
        };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }
}

/// Loudness of the audio in a packet (RFC 6464 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The encoder believes that this is speech.
    pub voice: bool,
    /// -dBov: 0 is the loudest, 127 is silence. Written as 127 if it is more.
    pub level: u8,
}

impl AudioLevel {
    /// The element's data.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.level.min(127)]
    }

    /// Reads the element's data. In two-byte form there may be padding after it (RFC 6464 section 3).
    pub fn from_bytes(data: &[u8]) -> Option<Self> {
        let first = *data.first()?;
        Some(Self {
            voice: first & 0x80 != 0,
            level: first & 0x7f,
        })
    }
}

/// How long a receiver should hold a frame, from capture to display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    min: u16,
    max: u16,
}

impl PlayoutDelay {
    /// Milliseconds in one unit on the wire.
    const UNIT_MS: u128 = 10;
    const UNITS_MAX: u16 = 0xfff;

    /// From limits of 0 to 40.95 s, in steps of 10 ms, rounded down; `None` when `min` is more
    /// than `max`, or `max` is more than can be said.
    pub fn new(min: Duration, max: Duration) -> Option<Self> {
        let units = |time: Duration| u16::try_from(time.as_millis() / Self::UNIT_MS).ok();
        let (min, max) = (units(min)?, units(max)?);
        (min <= max && max <= Self::UNITS_MAX).then_some(Self { min, max })
    }

    /// The least delay.
    pub fn min(self) -> Duration {
        Duration::from_millis(u64::from(self.min) * Self::UNIT_MS as u64)
    }

    /// The greatest delay.
    pub fn max(self) -> Duration {
        Duration::from_millis(u64::from(self.max) * Self::UNIT_MS as u64)
    }

    /// The element's data: 12 bits each.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = (u32::from(self.min) << 12 | u32::from(self.max)).to_be_bytes();
        [a, b, c]
    }

    /// Reads the element's data; `None` if there are not 3 bytes, or the limits are the wrong way
    /// round.
    pub fn from_bytes(data: &[u8]) -> Option<Self> {
        let [a, b, c] = *data else {
            return None;
        };
        let min = u16::from_be_bytes([a, b]) >> 4;
        let max = u16::from_be_bytes([b, c]) & Self::UNITS_MAX;
        (min <= max).then_some(Self { min, max })
    }
}

/// What a video shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoContentType {
    /// A camera, or not known.
    Unspecified,
    /// A screen.
    Screenshare,
}

impl VideoContentType {
    /// The element's data.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self == Self::Screenshare)]
    }

    /// Reads the element's data. Only the lowest bit means anything; older senders set the five
    /// above it.
    pub fn from_bytes(data: &[u8]) -> Option<Self> {
        match *data {
            [value] if value & 0xc0 != 0 => None,
            [value] if value & 1 == 1 => Some(Self::Screenshare),
            [_] => Some(Self::Unspecified),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_is_found_by_its_uri() {
        for extension in HeaderExtension::all() {
            assert_eq!(HeaderExtension::from_uri(extension.uri()), Some(extension));
            assert!(!extension.short_name().is_empty());
            assert!(!extension.kinds().is_empty());
        }
        assert_eq!(HeaderExtension::all().count(), 11);
        assert_eq!(
            HeaderExtension::from_uri("urn:3gpp:Video-orientation"),
            None
        );
        assert_eq!(HeaderExtension::from_uri(""), None);
    }

    #[test]
    fn every_extension_has_a_row() {
        use HeaderExtension::*;
        for (extension, end) in [
            (Mid, "sdes:mid"),
            (Rid, "sdes:rtp-stream-id"),
            (RepairedRid, "sdes:repaired-rtp-stream-id"),
            (TransportWideCc, "transport-wide-cc-extensions-01"),
            (AbsSendTime, "abs-send-time"),
            (TransmissionOffset, "toffset"),
            (VideoOrientation, "video-orientation"),
            (PlayoutDelay, "playout-delay"),
            (AudioLevel, "audio-level"),
            (VideoContentType, "video-content-type"),
            (
                DependencyDescriptor,
                "#dependency-descriptor-rtp-header-extension",
            ),
        ] {
            assert!(extension.uri().ends_with(end), "{extension:?}");
        }
        assert_eq!(AudioLevel.kinds(), [MediaKind::Audio]);
        assert_eq!(VideoOrientation.kinds(), [MediaKind::Video]);
        assert_eq!(Mid.kinds(), [MediaKind::Audio, MediaKind::Video]);
    }

    #[test]
    fn send_time_is_fixed_point_and_wraps_after_64_seconds() {
        let bytes = |ms| AbsSendTime::from_time(Duration::from_millis(ms)).to_bytes();
        assert_eq!(bytes(0), [0, 0, 0]);
        assert_eq!(bytes(1_000), [0x04, 0, 0]);
        assert_eq!(bytes(500), [0x02, 0, 0]);
        assert_eq!(bytes(63_750), [0xff, 0, 0]);
        assert_eq!(bytes(64_000), [0, 0, 0]);
        let rounds_over = Duration::new(63, 999_999_999);
        assert_eq!(AbsSendTime::from_time(rounds_over).to_bytes(), [0, 0, 0]);
        let read = AbsSendTime::from_bytes(&[0xff, 0, 0]).unwrap();
        assert_eq!(read.time(), Duration::from_millis(63_750));
        assert_eq!(AbsSendTime::from_bytes(&[0xff, 0]), None);
        assert_eq!(AbsSendTime::from_bytes(&[1, 2, 3, 4]), None);
    }

    #[test]
    fn audio_level_has_speech_in_the_top_bit() {
        let level = |voice, level| AudioLevel { voice, level };
        assert_eq!(level(true, 5).to_bytes(), [0x85]);
        assert_eq!(level(false, 200).to_bytes(), [0x7f]);
        assert_eq!(AudioLevel::from_bytes(&[0xff]), Some(level(true, 127)));
        assert_eq!(AudioLevel::from_bytes(&[0x05, 0]), Some(level(false, 5)));
        assert_eq!(AudioLevel::from_bytes(&[]), None);
    }

    #[test]
    fn playout_delay_is_two_numbers_of_12_bits_in_10_ms() {
        let ms = Duration::from_millis;
        let delay = PlayoutDelay::new(ms(10), ms(40_950)).unwrap();
        assert_eq!(delay.to_bytes(), [0x00, 0x1f, 0xff]);
        let read = PlayoutDelay::from_bytes(&[0x12, 0x34, 0x56]).unwrap();
        assert_eq!((read.min(), read.max()), (ms(0x123 * 10), ms(0x456 * 10)));
        assert_eq!(PlayoutDelay::new(ms(0), ms(40_960)), None);
        assert_eq!(PlayoutDelay::new(ms(20), ms(10)), None);
        assert_eq!(PlayoutDelay::from_bytes(&[0xff, 0xf0, 0x00]), None);
        assert_eq!(PlayoutDelay::from_bytes(&[0, 0]), None);
    }

    #[test]
    fn content_type_is_the_lowest_bit() {
        use VideoContentType::*;
        assert_eq!(Screenshare.to_bytes(), [1]);
        assert_eq!(Unspecified.to_bytes(), [0]);
        assert_eq!(VideoContentType::from_bytes(&[0x01]), Some(Screenshare));
        assert_eq!(VideoContentType::from_bytes(&[0x3e]), Some(Unspecified));
        assert_eq!(VideoContentType::from_bytes(&[0x41]), None);
        assert_eq!(VideoContentType::from_bytes(&[]), None);
    }
}
