// SPDX-License-Identifier: MPL-2.0
//! Tells from an RTP payload whether it is the first of its frame, and whether a picture is in it.

use super::codec::MediaKind;

/// Where in its frame a payload is, as far as it tells: the less, the more may be before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// It goes on, or it cannot be told: a frame whose beginning may be lost counts as broken.
    Later,
    /// The first slice. Parameter sets go before that of a key frame, if they are sent in-band.
    Slice,
    /// What goes before slices and behind other things: SEI, PPS, and SPS of H265.
    Prefix,
    /// Nothing of the frame is before it.
    Head,
}

/// Where in its frame `payload` is.
pub fn start(encoding_name: &str, payload: &[u8]) -> Start {
    let named = |name: &str| encoding_name.eq_ignore_ascii_case(name);
    let begins = if named("VP8") {
        // RFC 7741 section 4.2: S, and partition 0.
        payload.first().is_some_and(|first| first & 0x17 == 0x10)
    } else if named("VP9") {
        // RFC 9628 section 4.2: B. The layers above the first are predicted from it.
        payload.first().is_some_and(|first| first & 0x08 != 0)
    } else if named("AV1") {
        // AV1 RTP section 4.4: not Z.
        payload.first().is_some_and(|first| first & 0x80 == 0)
    } else if named("H264") {
        return h264(payload).unwrap_or(Start::Later);
    } else if named("H265") {
        return h265(payload).unwrap_or(Start::Later);
    } else {
        super::codec::supported(encoding_name).is_some_and(|row| row.kind == MediaKind::Audio)
    };
    if begins { Start::Head } else { Start::Later }
}

/// Whether `payload` has parameter sets, SEI or delimiters and nothing of a picture.
pub fn is_bare(encoding_name: &str, payload: &[u8]) -> bool {
    let named = |name: &str| encoding_name.eq_ignore_ascii_case(name);
    let Some(&first) = payload.first() else {
        return false;
    };
    if named("H264") {
        let is_set = |first: &u8| matches!(first & 0x1f, 6..=9);
        match first & 0x1f {
            28 => payload.get(1).is_some_and(is_set),
            24 => payload.get(1..).is_some_and(|units| all(units, is_set)),
            _ => is_set(&first),
        }
    } else if named("H265") {
        let is_set = |kind: u8| matches!(kind, 32..=35 | 39);
        match first >> 1 & 0x3f {
            49 => payload.get(2).is_some_and(|fu| is_set(fu & 0x3f)),
            48 => payload
                .get(2..)
                .is_some_and(|units| all(units, |first| is_set(first >> 1 & 0x3f))),
            kind => is_set(kind),
        }
    } else {
        false
    }
}

/// Whether all units of an aggregation packet are such, by their first bytes. Each has its size
/// before it, in 16 bits.
fn all(mut units: &[u8], is: impl Fn(&u8) -> bool) -> bool {
    let mut any = false;
    while let [high, low, rest @ ..] = units {
        if !rest.first().is_some_and(&is) {
            return false;
        }
        any = true;
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        units = rest.get(size..).unwrap_or_default();
    }
    any
}

/// What a slice is, by the first byte behind its header: that it is the first of its picture is one
/// bit in H264 and in H265.
fn slice(body: Option<&u8>) -> Start {
    match body {
        Some(byte) if byte & 0x80 != 0 => Start::Slice,
        _ => Start::Later,
    }
}

/// RFC 6184 section 5.2. A slice is the first of its picture if its `first_mb_in_slice` is 0, which
/// is a single bit 1 (H.264 section 7.3.3).
fn h264(payload: &[u8]) -> Option<Start> {
    let (&first, rest) = payload.split_first()?;
    let nal = |kind: u8, body: Option<&u8>| match kind {
        1 | 2 | 5 => slice(body),
        // SEI, PPS
        6 | 8 => Start::Prefix,
        // SPS, access unit delimiter
        7 | 9 => Start::Head,
        _ => Start::Later,
    };
    Some(match first & 0x1f {
        // FU-A
        28 => {
            let fu = *rest.first()?;
            if fu & 0x80 == 0 {
                return None;
            }
            nal(fu & 0x1f, rest.get(1))
        }
        // STAP-A
        24 => {
            let inner = rest.get(2..)?;
            nal(inner.first()? & 0x1f, inner.get(1))
        }
        kind => nal(kind, rest.first()),
    })
}

/// RFC 7798 section 4.4; `first_slice_segment_in_pic_flag` is the first bit of a slice (H.265
/// section 7.3.6.1).
fn h265(payload: &[u8]) -> Option<Start> {
    const HEADER: usize = 2;
    let kind_of = |first: u8| first >> 1 & 0x3f;
    let nal = |kind: u8, body: Option<&u8>| match kind {
        0..=31 => slice(body),
        // SPS, PPS, SEI before the picture
        33 | 34 | 39 => Start::Prefix,
        // VPS, access unit delimiter
        32 | 35 => Start::Head,
        _ => Start::Later,
    };
    let rest = payload.get(HEADER..)?;
    Some(match kind_of(*payload.first()?) {
        // Fragmentation unit
        49 => {
            let fu = *rest.first()?;
            if fu & 0x80 == 0 {
                return None;
            }
            nal(fu & 0x3f, rest.get(1))
        }
        // Aggregation packet
        48 => {
            let inner = rest.get(2..)?;
            nal(kind_of(*inner.first()?), inner.get(HEADER))
        }
        kind => nal(kind, rest.first()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(encoding_name: &str, payload: &[u8]) -> bool {
        start(encoding_name, payload) != Start::Later
    }

    #[test]
    fn the_first_packet_of_a_vpx_or_av1_frame_is_known_by_its_descriptor() {
        assert!(begins("VP8", &[0x90, 0x80]));
        assert!(!begins("VP8", &[0x00]), "goes on");
        assert!(!begins("VP8", &[0x11]), "a later partition");
        assert!(begins("VP9", &[0x08]));
        assert!(!begins("VP9", &[0x04]));
        assert!(begins("AV1", &[0x10]));
        assert!(!begins("AV1", &[0x80]));
    }

    #[test]
    fn the_first_slice_of_an_h264_picture_is_told_from_the_others() {
        assert!(begins("H264", &[0x67, 0x42]), "SPS");
        assert!(begins("H264", &[0x65, 0x88]), "first_mb_in_slice is 0");
        assert!(!begins("H264", &[0x65, 0x40]), "it is not");
        assert!(begins("H264", &[0x7c, 0x85, 0x88]), "first fragment");
        assert!(!begins("H264", &[0x7c, 0x05, 0x88]), "a later one");
        assert!(begins("H264", &[0x78, 0, 2, 0x67, 0x42]));
        assert!(!begins("H264", &[0x78, 0, 2, 0x41, 0x40]));
    }

    #[test]
    fn the_first_slice_of_an_h265_picture_is_told_from_the_others() {
        assert!(begins("H265", &[0x40, 1, 0]), "VPS");
        assert!(begins("H265", &[0x26, 1, 0x80]));
        assert!(!begins("H265", &[0x02, 1, 0x40]));
        assert!(begins("H265", &[0x62, 1, 0x93, 0x80]));
        assert!(!begins("H265", &[0x62, 1, 0x13, 0x80]));
        assert!(begins("H265", &[0x60, 1, 0, 3, 0x40, 1, 0]));
    }

    #[test]
    fn what_goes_before_slices_is_told_from_what_goes_before_all() {
        assert_eq!(start("H264", &[0x65, 0x88]), Start::Slice);
        assert_eq!(start("H264", &[0x68, 0xce]), Start::Prefix, "PPS");
        assert_eq!(start("H264", &[0x78, 0, 2, 0x06, 5]), Start::Prefix, "SEI");
        assert_eq!(start("H264", &[0x67, 0x42]), Start::Head);
        assert_eq!(start("H264", &[0x09, 0x10]), Start::Head);
        for (kind, expected) in [
            (32, Start::Head),
            (33, Start::Prefix),
            (34, Start::Prefix),
            (35, Start::Head),
            (39, Start::Prefix),
        ] {
            assert_eq!(start("H265", &[kind << 1, 1, 0]), expected, "{kind}");
        }
    }

    #[test]
    fn parameter_sets_alone_are_told_from_pictures() {
        for bare in [
            &[0x67u8, 0x42][..],
            &[0x68, 0xce],
            &[0x06, 5],
            &[0x7c, 0x06, 5],
            &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68],
        ] {
            assert!(is_bare("H264", bare), "{bare:x?}");
        }
        for picture in [
            &[0x65u8, 0x88][..],
            &[0x7c, 0x85],
            &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x65],
            &[0x78],
            &[],
        ] {
            assert!(!is_bare("H264", picture), "{picture:x?}");
        }
        assert!(is_bare("H265", &[0x40, 1, 0]));
        assert!(is_bare("H265", &[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x42, 1]));
        assert!(!is_bare("H265", &[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x26, 1]));
        assert!(is_bare("H265", &[0x62, 1, 0x22]));
        assert!(!is_bare("H265", &[0x26, 1, 0x80]));
        assert!(!is_bare("VP8", &[0x10, 0]));
    }

    #[test]
    fn payloads_that_are_cut_short_begin_nothing_that_can_be_told() {
        for name in ["VP8", "VP9", "AV1", "H264", "H265", "unknown"] {
            assert!(!begins(name, &[]), "{name}");
        }
        for payload in [
            &[0x7c][..],
            &[0x78, 0],
            &[0x78, 0, 1],
            &[0x62, 1],
            &[0x60, 1, 0],
        ] {
            assert!(!begins("H264", payload) && !begins("H265", payload));
        }
    }
}
