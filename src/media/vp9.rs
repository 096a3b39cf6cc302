// SPDX-License-Identifier: MPL-2.0
//! VP9 in RTP (RFC 9628), as far as we look into it: the payload descriptor of section 4.2.

/// Whether a key frame starts in this payload: its first packet, of the base spatial layer, and
/// not predicted from an earlier picture.
pub fn is_key(payload: &[u8]) -> bool {
    starts_key(payload).unwrap_or(false)
}

const PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const START_OF_FRAME: u8 = 0x08;
const SCALABILITY: u8 = 0x02;

fn starts_key(payload: &[u8]) -> Option<bool> {
    let (&flags, mut rest) = payload.split_first()?;
    if flags & INTER_PREDICTED != 0 || flags & START_OF_FRAME == 0 {
        return Some(false);
    }
    if flags & PICTURE_ID != 0 {
        let long = rest.first()? & 0x80 != 0;
        rest = rest.get(if long { 2 } else { 1 }..)?;
    }
    if flags & LAYERS == 0 {
        return Some(true);
    }
    let spatial_layer = rest.first()? >> 1 & 0x07;
    Some(spatial_layer == 0)
}

/// Width and height of the key frame that starts in this payload; `None` where none does, or where
/// its header is cut short.
pub fn key_frame_size(payload: &[u8]) -> Option<(u32, u32)> {
    if !is_key(payload) {
        return None;
    }
    frame_size(behind_descriptor(payload)?)
}

/// What follows the payload descriptor of a frame that is not predicted.
fn behind_descriptor(payload: &[u8]) -> Option<&[u8]> {
    let (&flags, mut rest) = payload.split_first()?;
    let skip = |rest: &mut &[u8], count: usize| -> Option<()> {
        let all: &[u8] = rest;
        *rest = all.get(count..)?;
        Some(())
    };
    if flags & PICTURE_ID != 0 {
        let long = rest.first()? & 0x80 != 0;
        skip(&mut rest, if long { 2 } else { 1 })?;
    }
    if flags & LAYERS != 0 {
        skip(&mut rest, if flags & FLEXIBLE != 0 { 1 } else { 2 })?;
    }
    if flags & SCALABILITY != 0 {
        let structure = *rest.first()?;
        skip(&mut rest, 1)?;
        if structure & 0x10 != 0 {
            skip(&mut rest, (usize::from(structure >> 5) + 1) * 4)?;
        }
        if structure & 0x08 != 0 {
            let pictures = *rest.first()?;
            skip(&mut rest, 1)?;
            for _ in 0..pictures {
                let references = usize::from(rest.first()? >> 2 & 0x03);
                skip(&mut rest, 1 + references)?;
            }
        }
    }
    Some(rest)
}

/// The size in the uncompressed header of a key frame (VP9 bitstream specification, section 6.2).
fn frame_size(frame: &[u8]) -> Option<(u32, u32)> {
    const SYNC_CODE: u32 = 0x49_83_42;
    const RGB: u32 = 7;
    let mut bits = Bits { data: frame, at: 0 };
    if bits.take(2)? != 2 {
        return None;
    }
    let profile = bits.take(1)? + 2 * bits.take(1)?;
    if profile == 3 {
        bits.take(1)?;
    }
    let (existing, inter) = (bits.take(1)?, bits.take(1)?);
    bits.take(2)?;
    if existing != 0 || inter != 0 || bits.take(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.take(1)?;
    }
    let subsampled = profile % 2 == 1;
    match bits.take(3)? {
        RGB => bits.take(u32::from(subsampled))?,
        _ => bits.take(if subsampled { 4 } else { 1 })?,
    };
    Some((bits.take(16)? + 1, bits.take(16)? + 1))
}

/// Reads from the most significant bit on.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a key frame of 320x180, profile 0, as vp9enc makes it.
    const KEY_FRAME: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x13, 0xf0, 0x0b, 0x30];

    #[test]
    fn the_size_is_read_behind_any_descriptor() {
        for descriptor in [
            &[0x08][..],
            &[0x88, 0x7f],
            &[0xa8, 0x80, 0x01, 0x00, 0x00],
            &[0xb8, 0x80, 0x01, 0x00],
            // One spatial layer with its size, a group of two pictures, the second with one reference.
            &[0x0a, 0x18, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x00, 0x04, 0x01],
        ] {
            let payload = [descriptor, &KEY_FRAME].concat();
            assert_eq!(
                key_frame_size(&payload),
                Some((320, 180)),
                "{descriptor:x?}"
            );
            for cut in 0..payload.len() {
                assert_eq!(key_frame_size(&payload[..cut]), None);
            }
        }
        assert_eq!(key_frame_size(&[0x08, 0x86, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_key_frame_starts_a_frame_of_the_base_layer_and_is_not_predicted() {
        assert!(is_key(&[0x08]));
        assert!(is_key(&[0x0a, 0x00]), "with a scalability structure");
        assert!(!is_key(&[0x48]), "predicted");
        assert!(!is_key(&[0x04]), "the end of a frame");
        assert!(!is_key(&[]));
    }

    #[test]
    fn layer_indices_are_found_behind_picture_ids_of_both_sizes() {
        assert!(is_key(&[0x28, 0x10]));
        assert!(!is_key(&[0x28, 0x02]), "spatial layer 1");
        assert!(is_key(&[0xa8, 0x7f, 0x01]));
        assert!(!is_key(&[0xa8, 0x7f, 0x04]));
        assert!(is_key(&[0xa8, 0x80, 0xff, 0xe0]));
        assert!(!is_key(&[0xa8, 0x80, 0xff, 0x0e]));
        assert!(!is_key(&[0xa8, 0x80, 0xff]), "cut short");
        assert!(!is_key(&[0x88]), "cut short");
    }
}
