// SPDX-License-Identifier: MPL-2.0
//! FlexFEC on the wire, as in draft-ietf-payload-flexible-fec-scheme-03 section 4.2: what
//! libwebrtc and webrtc-rs call `flexfec-03`. RFC 8627 has another header.

use bytes::{Bytes, BytesMut};

use super::Repair;
use super::mask::Mask;
use super::parity::Parity;

/// Packets of the three masks together.
pub(super) const REACH: usize = 109;
/// Up to the first mask, and with it.
const HEADERS: usize = 20;
/// Widths of the three masks; each is preceded by a bit that ends them.
const FIRST: u32 = 15;
const SECOND: u32 = 31;
const THIRD: u32 = 63;

/// Bytes before the parity's body.
pub(super) fn header_size(mask: Mask) -> usize {
    match mask.span() as u32 {
        0..=FIRST => HEADERS,
        span if span <= FIRST + SECOND => HEADERS + 4,
        _ => HEADERS + 12,
    }
}

/// Finishes the payload of a repair packet for `ssrc`, in whose parity the room for the header was
/// left.
pub(super) fn write(parity: Parity, base: u16, mask: Mask, ssrc: u32) -> BytesMut {
    let [first, second, l0, l1, t0, t1, t2, t3] = parity.fields;
    let mut payload = parity.body;
    let size = header_size(mask);
    let [s0, s1, s2, s3] = ssrc.to_be_bytes();
    let [b0, b1] = base.to_be_bytes();
    let bits = mask.to_wire(FIRST + SECOND + THIRD);
    let last = |here: bool| u64::from(here);
    let one = (bits >> (SECOND + THIRD)) as u64 | last(size == HEADERS) << FIRST;
    let two = (bits >> THIRD) as u64 & 0x7fff_ffff | last(size == HEADERS + 4) << SECOND;
    let three = bits as u64 & (u64::MAX >> 1) | 1 << THIRD;
    let [.., m0, m1] = one.to_be_bytes();
    let head = [
        first & 0x3f,
        second,
        l0,
        l1,
        t0,
        t1,
        t2,
        t3,
        1,
        0,
        0,
        0,
        s0,
        s1,
        s2,
        s3,
        b0,
        b1,
        m0,
        m1,
    ];
    let [_, _, _, _, rest @ ..] = two.to_be_bytes();
    let header = head.into_iter().chain(rest).chain(three.to_be_bytes());
    let header = header.take(size);
    payload
        .iter_mut()
        .zip(header)
        .for_each(|(to, from)| *to = from);
    payload
}

/// Reads the payload of a repair packet for `ssrc`. Retransmissions and fixed matrices, which
/// nobody sends, and packets for several SSRCs are none.
pub(super) fn read(payload: &Bytes, ssrc: u32) -> Option<Repair> {
    let (fixed, rest) = payload.split_first_chunk::<HEADERS>()?;
    let [
        first,
        second,
        l0,
        l1,
        t0,
        t1,
        t2,
        t3,
        count,
        _,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        b0,
        b1,
        m0,
        m1,
    ] = *fixed;
    if first & 0xc0 != 0 || count != 1 || u32::from_be_bytes([s0, s1, s2, s3]) != ssrc {
        return None;
    }
    let word = u16::from_be_bytes([m0, m1]);
    let mut mask = Mask::from_wire((word & 0x7fff).into(), FIRST);
    let mut size = HEADERS;
    if word & 0x8000 == 0 {
        let (word, rest) = rest.split_first_chunk::<4>()?;
        let word = u32::from_be_bytes(*word);
        let more = Mask::from_wire((word & 0x7fff_ffff).into(), SECOND);
        mask = mask.or(more.shifted(FIRST));
        size += 4;
        if word & 0x8000_0000 == 0 {
            let word = u64::from_be_bytes(*rest.first_chunk::<8>()?);
            let more = Mask::from_wire((word & (u64::MAX >> 1)).into(), THIRD);
            mask = mask.or(more.shifted(FIRST + SECOND));
            size += 8;
            // The last mask has nothing behind it.
            if word >> 63 == 0 {
                return None;
            }
        }
    }
    if mask.is_empty() {
        return None;
    }
    Some(Repair {
        base: u16::from_be_bytes([b0, b1]),
        mask,
        fields: [first & 0x3f, second, l0, l1, t0, t1, t2, t3],
        body: payload.slice(size..),
    })
}
