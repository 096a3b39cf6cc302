// SPDX-License-Identifier: MPL-2.0
//! Which missing numbers belong to no picture. ULPFEC takes numbers of the media: a repair packet
//! that is lost looks like media that is lost, and what waits for it would wait in vain. VP8 and
//! VP9 number their pictures: between the last packet of one and the first of the next there is
//! nothing to wait for.

/// Numbers that are remembered; the oldest make room.
const WINDOW: usize = 256;
/// Numbers between two pictures at most.
const MOST_BETWEEN: u16 = 64;

/// What a packet says of its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    /// Its number, ...
    id: u16,
    /// ... which has so many bits.
    bits: u32,
    first: bool,
    last: bool,
}

impl Picture {
    /// Of a packet with `payload` (RFC 7741 section 4.2, RFC 9628 section 4.2); `None`: it does not
    /// say. `marker`: it is the last one of its picture.
    pub(super) fn of(codec: &str, payload: &[u8], marker: bool) -> Option<Self> {
        let (&head, rest) = payload.split_first()?;
        let (first, rest) = if codec.eq_ignore_ascii_case("VP8") {
            let (&more, rest) = rest.split_first()?;
            if head & 0x80 == 0 || more & 0x80 == 0 {
                return None;
            }
            (head & 0x17 == 0x10, rest)
        } else if codec.eq_ignore_ascii_case("VP9") && head & 0x80 != 0 {
            (head & 0x08 != 0, rest)
        } else {
            return None;
        };
        let (&high, rest) = rest.split_first()?;
        let (id, bits, rest) = if high & 0x80 != 0 {
            let (&low, rest) = rest.split_first()?;
            (u16::from_be_bytes([high & 0x7f, low]), 15, rest)
        } else {
            (u16::from(high), 7, rest)
        };
        // A picture of several layers begins with the lowest one.
        let layered = codec.eq_ignore_ascii_case("VP9") && head & 0x20 != 0;
        let lowest = !layered || rest.first()? & 0x0e == 0;
        Some(Self {
            id,
            bits,
            first: first && lowest,
            last: marker,
        })
    }

    fn is_followed_by(self, next: Self) -> bool {
        let mask = (1u16 << self.bits) - 1;
        self.last
            && next.first
            && self.bits == next.bits
            && self.id.wrapping_add(1) & mask == next.id
    }
}

#[derive(Debug, Clone, Copy)]
enum Seen {
    Media(Picture),
    Repair,
    /// It was found to be nothing.
    Nothing,
}

/// See the module.
#[derive(Default)]
pub(super) struct Pictures {
    /// By number.
    seen: Vec<Option<(u16, Seen)>>,
}

impl Pictures {
    /// Number `number` is a repair packet.
    pub(super) fn repair(&mut self, number: u16) {
        self.note(number, Seen::Repair);
    }

    /// Number `number` is of `picture`. Adds the numbers that are now known to be nothing to
    /// `empty`.
    pub(super) fn media(&mut self, number: u16, picture: Picture, empty: &mut Vec<u16>) {
        self.note(number, Seen::Media(picture));
        let from = empty.len();
        if picture.first {
            let before = (1..=MOST_BETWEEN).map(|n| number.wrapping_sub(n));
            self.between(before, |other| other.is_followed_by(picture), empty);
        }
        if picture.last {
            let behind = (1..=MOST_BETWEEN).map(|n| number.wrapping_add(n));
            self.between(behind, |other| picture.is_followed_by(other), empty);
        }
        for number in empty.iter().skip(from) {
            self.note(*number, Seen::Nothing);
        }
    }

    /// Adds to `empty` the unknown ones of `numbers` up to a picture that `fits`.
    fn between(
        &self,
        numbers: impl Iterator<Item = u16>,
        fits: impl Fn(Picture) -> bool,
        empty: &mut Vec<u16>,
    ) {
        let from = empty.len();
        for number in numbers {
            match self.find(number) {
                Some(Seen::Media(other)) => {
                    if !fits(other) {
                        empty.truncate(from);
                    }
                    return;
                }
                Some(Seen::Repair | Seen::Nothing) => {}
                None => empty.push(number),
            }
        }
        empty.truncate(from);
    }

    fn find(&self, number: u16) -> Option<Seen> {
        let (found, seen) = (*self.seen.get(usize::from(number) % WINDOW)?)?;
        (found == number).then_some(seen)
    }

    fn note(&mut self, number: u16, seen: Seen) {
        if self.seen.is_empty() {
            self.seen.resize(WINDOW, None);
        }
        if let Some(place) = self.seen.get_mut(usize::from(number) % WINDOW) {
            *place = Some((number, seen));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8(id: u16, first: bool, last: bool) -> Picture {
        let [high, low] = id.to_be_bytes();
        let payload = [0x80 | u8::from(first) << 4, 0x80, 0x80 | high, low, 0];
        Picture::of("VP8", &payload, last).unwrap()
    }

    /// Takes what came in this order; gives the numbers that are nothing.
    fn empty(came: &[(u16, Option<Picture>)]) -> Vec<u16> {
        let (mut pictures, mut empty) = (Pictures::default(), Vec::new());
        for (number, picture) in came {
            match picture {
                Some(picture) => pictures.media(*number, *picture, &mut empty),
                None => pictures.repair(*number),
            }
        }
        empty.sort_unstable();
        empty
    }

    #[test]
    fn what_is_missing_between_two_pictures_is_nothing() {
        let (last, first) = (vp8(0x7fff, false, true), vp8(0, true, false));
        assert_eq!(empty(&[(65535, Some(last)), (2, Some(first))]), [0, 1]);
        assert_eq!(empty(&[(2, Some(first)), (65535, Some(last))]), [0, 1]);
        assert_eq!(
            empty(&[(65535, Some(last)), (0, None), (2, Some(first))]),
            [1]
        );
        assert!(empty(&[(65535, Some(last)), (0, Some(first))]).is_empty());
    }

    #[test]
    fn a_missing_packet_of_a_picture_is_not_nothing() {
        let end = vp8(1, false, true);
        // The picture between them, the start of the next one, the end of the former one.
        assert!(empty(&[(1, Some(end)), (3, Some(vp8(3, true, true)))]).is_empty());
        assert!(empty(&[(1, Some(end)), (3, Some(vp8(2, false, true)))]).is_empty());
        assert!(
            empty(&[
                (1, Some(vp8(1, true, false))),
                (3, Some(vp8(2, true, true)))
            ])
            .is_empty()
        );
    }

    #[test]
    fn a_layer_of_vp9_is_not_a_picture() {
        let layer = |sid: u8, last| Picture::of("VP9", &[0xa8, 5, sid << 1, 0], last).unwrap();
        assert!(layer(0, false).first && !layer(1, true).first);
        assert_eq!(Picture::of("VP9", &[0x08, 1], true), None);
        assert_eq!(Picture::of("H264", &[0x80, 1, 2], true), None);
        assert_eq!(Picture::of("VP8", &[0x90], true), None);
    }
}
