// SPDX-License-Identifier: MPL-2.0
//! Tells from an RTP payload whether a decoder can start there.

/// Whether `payload` belongs to a frame that a decoder can start at. Audio always can.
pub fn is_key(encoding_name: &str, payload: &[u8]) -> bool {
    let named = |name: &str| encoding_name.eq_ignore_ascii_case(name);
    if named("VP8") {
        vp8(payload)
    } else if named("H264") {
        h264(payload)
    } else if named("VP9") {
        super::vp9::is_key(payload)
    } else if named("H265") {
        super::h265::is_key(payload)
    } else if named("AV1") {
        super::av1::is_key(payload)
    } else {
        true
    }
}

/// As [`is_key`], and not for parameter sets that come before a picture of whatever kind.
pub fn has_key_picture(encoding_name: &str, payload: &[u8]) -> bool {
    if encoding_name.eq_ignore_ascii_case("H265") {
        super::h265::has_key_picture(payload)
    } else {
        is_key(encoding_name, payload)
    }
}

/// Whether `payload` is the first of a key frame that needs nothing before it: with its parameter
/// sets, where the encoding has such.
pub fn starts_key(encoding_name: &str, payload: &[u8]) -> bool {
    let named = |name: &str| encoding_name.eq_ignore_ascii_case(name);
    // NAL unit types of what begins a sequence: alone, or first in an aggregation packet.
    let first_unit = |aggregated: bool, at: usize| payload.get(if aggregated { at } else { 0 });
    let Some(&first) = payload.first() else {
        return false;
    };
    if named("H264") {
        let unit = first_unit(first & 0x1f == 24, 3);
        unit.is_some_and(|unit| unit & 0x1f == 7)
    } else if named("H265") {
        let unit = first_unit(first >> 1 & 0x3f == 48, 4);
        unit.is_some_and(|unit| matches!(unit >> 1 & 0x3f, 32 | 33))
    } else {
        is_key(encoding_name, payload)
    }
}

/// How many pixels the picture has whose key frame `payload` begins, where it says so plainly.
pub fn pixels(encoding_name: &str, payload: &[u8]) -> Option<u32> {
    let (width, height) = if encoding_name.eq_ignore_ascii_case("VP8") {
        vp8_size(payload)?
    } else if encoding_name.eq_ignore_ascii_case("VP9") {
        super::vp9::key_frame_size(payload)?
    } else {
        return None;
    };
    Some(width.saturating_mul(height))
}

/// RFC 6386 section 9.1: the frame tag, a start code, and 14 bits each.
fn vp8_size(payload: &[u8]) -> Option<(u32, u32)> {
    let frame = vp8_key_frame(payload)?;
    let [_, _, _, 0x9d, 0x01, 0x2a, width @ .., h0, h1] = *frame.first_chunk::<10>()? else {
        return None;
    };
    let size = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff);
    Some((size(width), size([h0, h1])))
}

/// RFC 7741 section 4: the first partition's first byte has its inverse key frame bit clear.
fn vp8(payload: &[u8]) -> bool {
    vp8_key_frame(payload).is_some()
}

/// A key frame of which `payload` has the beginning, behind its descriptor.
fn vp8_key_frame(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    let starts_frame = first & 0x10 != 0 && first & 0x07 == 0;
    if !starts_frame {
        return None;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(at)?;
        at += 1;
        if extensions & 0x80 != 0 {
            let long = payload.get(at).is_some_and(|b| b & 0x80 != 0);
            at += if long { 2 } else { 1 };
        }
        at += usize::from(extensions & 0x40 != 0);
        at += usize::from(extensions & 0x30 != 0);
    }
    let frame = payload.get(at..)?;
    (frame.first()? & 0x01 == 0).then_some(frame)
}

/// RFC 6184 section 5.2: an IDR slice, alone, aggregated (STAP-A) or fragmented (FU-A).
fn h264(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    let Some(&first) = payload.first() else {
        return false;
    };
    match first & 0x1f {
        IDR => true,
        28 => payload
            .get(1)
            .is_some_and(|fu| fu & 0x80 != 0 && fu & 0x1f == IDR),
        24 => {
            let mut rest = payload.get(1..).unwrap_or_default();
            while let [high, low, nal @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                if nal.first().is_some_and(|b| b & 0x1f == IDR) {
                    return true;
                }
                rest = nal.get(size..).unwrap_or_default();
            }
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_key_frames_are_found_behind_a_payload_descriptor() {
        assert!(is_key("VP8", &[0x10, 0x00]));
        assert!(!is_key("VP8", &[0x10, 0x01]));
        assert!(is_key("VP8", &[0x90, 0x80, 0x80, 0x01, 0x00]));
        assert!(!is_key("VP8", &[0x00, 0x00]));
        assert!(!is_key("VP8", &[0x90, 0x80]));
        assert!(!is_key("VP8", &[]));
    }

    #[test]
    fn h264_idr_is_found_alone_aggregated_and_fragmented() {
        assert!(is_key("H264", &[0x65]));
        assert!(!is_key("H264", &[0x41]));
        assert!(is_key("H264", &[0x7c, 0x85]));
        assert!(!is_key("H264", &[0x7c, 0x05]));
        assert!(is_key("H264", &[0x78, 0, 1, 0x67, 0, 2, 0x65, 0]));
        assert!(!is_key("H264", &[0x78, 0xff, 0xff, 0x67]));
        assert!(!is_key("H264", &[0x78, 0]));
    }
}
