// SPDX-License-Identifier: MPL-2.0
//! H265 in RTP (RFC 7798), as far as we look into it.

/// Aggregation packet (section 4.4.2).
const AGGREGATION: u8 = 48;
/// Fragmentation unit (section 4.4.3).
const FRAGMENT: u8 = 49;

/// Whether a decoder can start with this payload: a random access picture starts in it, or it
/// has parameter sets, which encoders put before one. DONL fields are not expected: nothing here
/// negotiates `sprop-max-don-diff`.
pub fn is_key(payload: &[u8]) -> bool {
    starts(payload, is_key_type)
}

/// Whether a random access picture itself starts in this payload: some encoders have parameter sets
/// before each picture.
pub fn has_key_picture(payload: &[u8]) -> bool {
    starts(payload, is_key_picture)
}

/// Whether a NAL unit of such a type starts in `payload`.
fn starts(payload: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let Some((&[first, _], rest)) = payload.split_first_chunk::<2>() else {
        return false;
    };
    match nal_type(first) {
        FRAGMENT => rest
            .first()
            .is_some_and(|fu| fu & 0x80 != 0 && is(fu & 0x3f)),
        AGGREGATION => {
            let mut rest = rest;
            while let [high, low, nal @ ..] = rest {
                if nal.first().is_some_and(|b| is(nal_type(*b))) {
                    return true;
                }
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                rest = nal.get(size..).unwrap_or_default();
            }
            false
        }
        kind => is(kind),
    }
}

/// The type in the first byte of a NAL unit header (section 1.1.4).
fn nal_type(first: u8) -> u8 {
    first >> 1 & 0x3f
}

/// BLA, IDR and CRA pictures; VPS, SPS and PPS (H.265 table 7-1).
fn is_key_type(kind: u8) -> bool {
    is_key_picture(kind) || matches!(kind, 32..=34)
}

fn is_key_picture(kind: u8) -> bool {
    matches!(kind, 16..=21)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn header(kind: u8) -> u8 {
        kind << 1
    }

    #[test]
    fn random_access_pictures_and_parameter_sets_are_found() {
        for kind in 0..48 {
            let expected = (16..=21).contains(&kind) || (32..=34).contains(&kind);
            assert_eq!(is_key(&[header(kind), 1]), expected, "{kind}");
            let picture = (16..=21).contains(&kind);
            assert_eq!(has_key_picture(&[header(kind), 1]), picture, "{kind}");
        }
        assert!(!is_key(&[]));
        assert!(!is_key(&[header(19)]), "half a header");
    }

    #[test]
    fn they_are_found_in_aggregation_packets() {
        let delta = [0, 3, header(1), 1, 0xff];
        let key = [0, 2, header(19), 1];
        let ap = |nals: &[&[u8]]| [&[header(48), 1], nals.concat().as_slice()].concat();
        assert!(is_key(&ap(&[&key])));
        assert!(is_key(&ap(&[&delta, &key])));
        let pps = [0, 2, header(34), 1];
        assert!(has_key_picture(&ap(&[&pps, &key])));
        assert!(!has_key_picture(&ap(&[&pps, &delta])));
        assert!(!is_key(&ap(&[&delta, &delta])));
        assert!(!is_key(&ap(&[&[0xff, 0xff, header(1), 1], &key])));
        assert!(!is_key(&ap(&[&[0]])));
    }

    #[test]
    fn they_are_found_at_the_start_of_fragments() {
        assert!(is_key(&[header(49), 1, 0x80 | 19]));
        assert!(has_key_picture(&[header(49), 1, 0x80 | 19]));
        assert!(!is_key(&[header(49), 1, 19]), "not the start");
        assert!(!is_key(&[header(49), 1, 0x80 | 1]));
        assert!(!is_key(&[header(49), 1]));
    }
}
