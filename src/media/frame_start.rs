// SPDX-License-Identifier: MPL-2.0
//! Tells from an RTP payload whether it is the first of its frame.

use super::codec::MediaKind;

/// Whether `payload` begins a frame: nothing of that frame came before it. Where it cannot be told
/// the answer is no, so that a frame whose beginning may be lost counts as broken.
pub fn begins(encoding_name: &str, payload: &[u8]) -> bool {
    let named = |name: &str| encoding_name.eq_ignore_ascii_case(name);
    if named("VP8") {
        // RFC 7741 section 4.2: S, and partition 0.
        payload.first().is_some_and(|first| first & 0x17 == 0x10)
    } else if named("VP9") {
        // RFC 9628 section 4.2: B. The layers above the first are predicted from it.
        payload.first().is_some_and(|first| first & 0x08 != 0)
    } else if named("AV1") {
        // AV1 RTP section 4.4: not Z.
        payload.first().is_some_and(|first| first & 0x80 == 0)
    } else if named("H264") {
        h264(payload).unwrap_or(false)
    } else if named("H265") {
        h265(payload).unwrap_or(false)
    } else {
        super::codec::supported(encoding_name).is_some_and(|row| row.kind == MediaKind::Audio)
    }
}

/// RFC 6184 section 5.2. A slice is the first of its picture if its `first_mb_in_slice` is 0, which
/// is a single bit 1 (H.264 section 7.3.3).
fn h264(payload: &[u8]) -> Option<bool> {
    let (&first, rest) = payload.split_first()?;
    let nal = |kind: u8, body: Option<&u8>| match kind {
        1 | 2 | 5 => body.is_some_and(|byte| byte & 0x80 != 0),
        // SEI, SPS, PPS, access unit delimiter.
        6..=9 => true,
        _ => false,
    };
    Some(match first & 0x1f {
        // FU-A
        28 => {
            let fu = *rest.first()?;
            fu & 0x80 != 0 && nal(fu & 0x1f, rest.get(1))
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
fn h265(payload: &[u8]) -> Option<bool> {
    const HEADER: usize = 2;
    let kind_of = |first: u8| first >> 1 & 0x3f;
    let nal = |kind: u8, body: Option<&u8>| match kind {
        0..=31 => body.is_some_and(|byte| byte & 0x80 != 0),
        // Parameter sets, delimiter, SEI before the picture.
        32..=35 | 39 => true,
        _ => false,
    };
    let rest = payload.get(HEADER..)?;
    Some(match kind_of(*payload.first()?) {
        // Fragmentation unit
        49 => {
            let fu = *rest.first()?;
            fu & 0x80 != 0 && nal(fu & 0x3f, rest.get(1))
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
