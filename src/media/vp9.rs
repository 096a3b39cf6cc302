// SPDX-License-Identifier: MPL-2.0
//! VP9 in RTP (RFC 9628), as far as we look into it: the payload descriptor of section 4.2.

/// Whether a key frame starts in this payload: its first packet, of the base spatial layer, and
/// not predicted from an earlier picture.
pub fn is_key(payload: &[u8]) -> bool {
    starts_key(payload).unwrap_or(false)
}

fn starts_key(payload: &[u8]) -> Option<bool> {
    const PICTURE_ID: u8 = 0x80;
    const INTER_PREDICTED: u8 = 0x40;
    const LAYERS: u8 = 0x20;
    const START_OF_FRAME: u8 = 0x08;
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

#[cfg(test)]
mod tests {
    use super::*;

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
