// SPDX-License-Identifier: MPL-2.0
//! Open bitstream units (AV1 bitstream specification, section 5.3), as far as RTP needs them.

use super::Av1Error;

/// Has what is the same for all pictures of a coded video sequence.
pub const SEQUENCE_HEADER: u8 = 1;
/// Stands between temporal units; RTP does without.
pub const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;

const FORBIDDEN: u8 = 0x80;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// A temporal delimiter with its size.
pub const DELIMITER: [u8; 2] = [TEMPORAL_DELIMITER << 3 | HAS_SIZE, 0];

/// The type in the first byte of an OBU.
pub fn kind(header: u8) -> u8 {
    header >> 3 & 0x0f
}

/// Reads a leb128 number (section 4.10.5); gives what follows it, too.
pub fn read_leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, data.get(index + 1..)?));
        }
    }
    None
}

/// Writes a leb128 number, as short as can be.
pub fn write_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that [`write_leb128`] takes.
pub fn leb128_len(value: usize) -> usize {
    let bits = (usize::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// One OBU.
#[derive(Debug, Clone, Copy)]
pub struct Obu<'a> {
    /// Without the bit that tells that a size follows.
    header: u8,
    extension: Option<u8>,
    payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Reads the first OBU of the low-overhead format; gives what follows it, too. Without a size
    /// it is all that there is.
    ///
    /// # Errors
    ///
    /// [`Av1Error::Obu`]
    pub fn read(data: &'a [u8]) -> Result<(Self, &'a [u8]), Av1Error> {
        Self::try_read(data).ok_or(Av1Error::Obu)
    }

    fn try_read(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&header, mut rest) = data.split_first()?;
        if header & FORBIDDEN != 0 {
            return None;
        }
        let mut extension = None;
        if header & HAS_EXTENSION != 0 {
            let (&byte, after) = rest.split_first()?;
            extension = Some(byte);
            rest = after;
        }
        let mut size = rest.len();
        if header & HAS_SIZE != 0 {
            (size, rest) = read_leb128(rest)?;
        }
        let (payload, rest) = rest.split_at_checked(size)?;
        let obu = Self {
            header: header & !HAS_SIZE,
            extension,
            payload,
        };
        Some((obu, rest))
    }

    /// Its type.
    pub fn kind(&self) -> u8 {
        kind(self.header)
    }

    /// The layer that it belongs to: `temporal_id` and `spatial_id`, as in the extension.
    pub fn layer(&self) -> Option<u8> {
        self.extension.map(|byte| byte & 0xf8)
    }

    /// Whether RTP goes without it (RTP payload format, section 5).
    pub fn is_left_out(&self) -> bool {
        matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST)
    }

    /// As in RTP: without its size.
    pub fn to_element(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 2);
        out.push(self.header);
        out.extend(self.extension);
        out.extend_from_slice(self.payload);
        out
    }

    /// As in the low-overhead format: with its size.
    pub fn write_sized(&self, out: &mut Vec<u8>) {
        out.push(self.header | HAS_SIZE);
        out.extend(self.extension);
        write_leb128(out, self.payload.len());
        out.extend_from_slice(self.payload);
    }
}

/// Finds out whether a coded video sequence starts with a temporal unit (section 7.5): a sequence
/// header, then a key frame of the base layer that is shown at once.
#[derive(Debug, Default, Clone, Copy)]
pub struct SequenceStart {
    /// There is a sequence header; whether it is of a reduced still picture, which is a key frame
    /// without saying so.
    sequence_header: Option<bool>,
    /// Whether it is, once the first frame was seen.
    decided: Option<bool>,
}

impl SequenceStart {
    /// Looks at the next OBU of the unit.
    pub fn look(&mut self, obu: &Obu<'_>) {
        let Some(&first) = obu.payload.first() else {
            return;
        };
        match obu.kind() {
            SEQUENCE_HEADER => self.sequence_header = Some(first & 0x08 != 0),
            FRAME_HEADER | FRAME if self.decided.is_none() => {
                // show_existing_frame 0, frame_type KEY_FRAME (0), show_frame 1.
                let shown_key_frame = first & 0xf0 == 0x10;
                let base_layer = obu.extension.is_none_or(|byte| byte >> 5 == 0);
                let key = self
                    .sequence_header
                    .is_some_and(|reduced| reduced || shown_key_frame);
                self.decided = Some(key && base_layer);
            }
            _ => {}
        }
    }

    /// What was found.
    pub fn is_key(&self) -> bool {
        self.decided.unwrap_or(false)
    }
}
