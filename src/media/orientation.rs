// SPDX-License-Identifier: MPL-2.0
//! Which way up a picture is: the byte of `urn:3gpp:video-orientation` (CVO, 3GPP TS 26.114
//! section 7.4.5). RFC 7742 section 4 asks for it.

/// What must be done with a picture before it is shown: mirror it left to right, or not, and
/// then turn it clockwise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Orientation {
    /// Nothing.
    #[default]
    Rotate0,
    /// Turn by 90°.
    Rotate90,
    /// Turn by 180°.
    Rotate180,
    /// Turn by 270°.
    Rotate270,
    /// Mirror.
    FlipRotate0,
    /// Mirror, then turn by 90°.
    FlipRotate90,
    /// Mirror, then turn by 180°.
    FlipRotate180,
    /// Mirror, then turn by 270°.
    FlipRotate270,
}

/// Bit F: the picture is to be mirrored left to right.
const FLIP: u8 = 0x04;

impl Orientation {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Rotate0,
        Self::Rotate90,
        Self::Rotate180,
        Self::Rotate270,
        Self::FlipRotate0,
        Self::FlipRotate90,
        Self::FlipRotate180,
        Self::FlipRotate270,
    ];

    /// What the byte `0 0 0 0 C F R1 R0` asks for. R1 R0 (table 7.2) is how often the receiver
    /// turns the picture by 90° clockwise, as libwebrtc does, too (`rtp_cvo.h`). F is read as
    /// done after that, and not before it as in this type, and a picture that is mirrored later
    /// turns the other way; the two orders differ for a mirrored quarter turn only. C, which
    /// camera it is, and the upper bits do not matter.
    pub fn from_cvo(byte: u8) -> Self {
        match (byte & FLIP != 0, byte & 0x03) {
            (false, 0) => Self::Rotate0,
            (false, 1) => Self::Rotate90,
            (false, 2) => Self::Rotate180,
            (false, _) => Self::Rotate270,
            (true, 0) => Self::FlipRotate0,
            (true, 1) => Self::FlipRotate270,
            (true, 2) => Self::FlipRotate180,
            (true, _) => Self::FlipRotate90,
        }
    }

    /// The byte; C is 0, "not known". libwebrtc reads nothing but R1 R0.
    pub fn to_cvo(self) -> u8 {
        match self {
            Self::Rotate0 => 0,
            Self::Rotate90 => 1,
            Self::Rotate180 => 2,
            Self::Rotate270 => 3,
            Self::FlipRotate0 => FLIP,
            Self::FlipRotate270 => FLIP | 1,
            Self::FlipRotate180 => FLIP | 2,
            Self::FlipRotate90 => FLIP | 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corners of a picture, row by row.
    type Corners = [u8; 4];

    fn turned([a, b, c, d]: Corners) -> Corners {
        [c, a, d, b]
    }

    fn mirrored([a, b, c, d]: Corners) -> Corners {
        [b, a, d, c]
    }

    #[test]
    fn every_orientation_does_what_its_byte_says() {
        for (index, orientation) in Orientation::ALL.into_iter().enumerate() {
            let byte = orientation.to_cvo();
            let mut by_cvo = [1, 2, 3, 4];
            for _ in 0..byte & 3 {
                by_cvo = turned(by_cvo);
            }
            if byte & 4 != 0 {
                by_cvo = mirrored(by_cvo);
            }
            let mut by_name = [1, 2, 3, 4];
            if index >= 4 {
                by_name = mirrored(by_name);
            }
            for _ in 0..index % 4 {
                by_name = turned(by_name);
            }
            assert_eq!(by_cvo, by_name, "{orientation:?}");
        }
    }

    #[test]
    fn rotation_is_clockwise_and_in_the_lowest_bits() {
        use Orientation::*;
        let read = [0, 1, 2, 3].map(Orientation::from_cvo);
        assert_eq!(read, [Rotate0, Rotate90, Rotate180, Rotate270]);
    }

    #[test]
    fn bytes_come_back_whatever_the_other_bits_are() {
        for byte in 0..=255 {
            let orientation = Orientation::from_cvo(byte);
            assert_eq!(orientation.to_cvo(), byte & 7);
            assert_eq!(Orientation::from_cvo(orientation.to_cvo()), orientation);
        }
    }
}
