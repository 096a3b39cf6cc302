// SPDX-License-Identifier: MPL-2.0
//! ULPFEC on the wire (RFC 5109 sections 7.3 and 7.4): one level, which protects whole packets.

use bytes::{Bytes, BytesMut};

use super::Repair;
use super::mask::Mask;
use super::parity::Parity;

/// Packets that a long mask has.
pub(super) const REACH: usize = 48;
/// Packets that a short mask has.
const SHORT: usize = 16;
/// FEC header and level header, without the mask.
const HEADERS: usize = 12;

/// Bytes before the parity's body.
pub(super) fn header_size(mask: Mask) -> usize {
    HEADERS + if mask.span() > SHORT { 6 } else { 2 }
}

/// Finishes the payload of a repair packet, in whose parity the room for the header was left.
pub(super) fn write(parity: Parity, base: u16, mask: Mask) -> BytesMut {
    let long = mask.span() > SHORT;
    let [first, second, l0, l1, t0, t1, t2, t3] = parity.fields;
    let mut payload = parity.body;
    let [b0, b1] = base.to_be_bytes();
    let [p0, p1] = (payload.len().saturating_sub(header_size(mask)) as u16).to_be_bytes();
    let bits = mask.to_wire(REACH as u32) as u64;
    let [_, _, m0, m1, m2, m3, m4, m5] = bits.to_be_bytes();
    let first = first & 0x3f | if long { 0x40 } else { 0 };
    let header = [
        first, second, b0, b1, t0, t1, t2, t3, l0, l1, p0, p1, m0, m1, m2, m3, m4, m5,
    ];
    let header = header.iter().take(header_size(mask));
    payload
        .iter_mut()
        .zip(header)
        .for_each(|(to, from)| *to = *from);
    payload
}

/// Reads the payload of a repair packet. Further levels, which nobody writes, are left alone.
pub(super) fn read(payload: &Bytes) -> Option<Repair> {
    let (fixed, rest) = payload.split_first_chunk::<HEADERS>()?;
    let [first, second, b0, b1, t0, t1, t2, t3, l0, l1, p0, p1] = *fixed;
    // The E bit is for extensions that were never made.
    if first & 0x80 != 0 {
        return None;
    }
    let (mask, headers) = if first & 0x40 != 0 {
        let [m0, m1, m2, m3, m4, m5] = *rest.first_chunk::<6>()?;
        let bits = u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]);
        (Mask::from_wire(bits.into(), 48), HEADERS + 6)
    } else {
        let bits = u16::from_be_bytes(*rest.first_chunk::<2>()?);
        (Mask::from_wire(bits.into(), 16), HEADERS + 2)
    };
    let end = headers + usize::from(u16::from_be_bytes([p0, p1]));
    if mask.is_empty() || payload.len() < end {
        return None;
    }
    Some(Repair {
        base: u16::from_be_bytes([b0, b1]),
        mask,
        fields: [first & 0x3f, second, l0, l1, t0, t1, t2, t3],
        body: payload.slice(headers..end),
    })
}
