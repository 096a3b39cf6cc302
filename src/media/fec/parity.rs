// SPDX-License-Identifier: MPL-2.0
//! The parity of RTP packets (RFC 5109 section 8, which FlexFEC shares).

use bytes::{BufMut, Bytes, BytesMut};

use super::{FIXED_HEADER, Repair};

/// The sum, modulo two, of some packets.
pub(super) struct Parity {
    /// First two bytes of the header without the version, length of what follows the fixed header,
    /// timestamp.
    pub(super) fields: [u8; 8],
    /// What follows the fixed header, as long as that of the longest packet.
    pub(super) body: BytesMut,
}

impl Parity {
    /// Of nothing, with room for a body of `size` bytes after `before` bytes that are not its own.
    pub(super) fn new(before: usize, size: usize) -> Self {
        let mut body = BytesMut::with_capacity(before + size);
        body.put_bytes(0, before);
        Self {
            fields: [0; 8],
            body,
        }
    }

    /// Adds a packet: `header` with CSRCs and extensions, and `payload`.
    pub(super) fn add(&mut self, before: usize, header: &[u8], payload: &[u8]) {
        let Some((fixed, rest)) = header.split_first_chunk::<FIXED_HEADER>() else {
            return;
        };
        let size = rest.len() + payload.len();
        let [first, second, _, _, t0, t1, t2, t3, ..] = *fixed;
        let [high, low] = (size as u16).to_be_bytes();
        let own = [first & 0x3f, second, high, low, t0, t1, t2, t3];
        self.fields.iter_mut().zip(own).for_each(|(a, b)| *a ^= b);
        if self.body.len() < before + size {
            self.body.resize(before + size, 0);
        }
        let body = self.body.get_mut(before..).unwrap_or_default();
        let (start, end) = body.split_at_mut(rest.len().min(body.len()));
        xor(start, rest);
        xor(end, payload);
    }
}

/// `a ^= b` as far as both go.
fn xor(a: &mut [u8], b: &[u8]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
}

/// The packet `number` of `ssrc` that is left when `others` are taken out of what `repair` covers:
/// a whole RTP packet. `None`: there is no such packet.
pub(super) fn recover<'a>(
    repair: &Repair,
    others: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    number: u16,
    ssrc: u32,
) -> Option<Bytes> {
    let mut parity = Parity {
        fields: repair.fields,
        body: BytesMut::with_capacity(FIXED_HEADER + repair.body.len()),
    };
    parity.body.put_bytes(0, FIXED_HEADER);
    parity.body.extend_from_slice(&repair.body);
    let room = parity.body.len();
    for (header, payload) in others {
        // It would not fit into what this packet says to protect: not of this group.
        if header.len() + payload.len() > room {
            return None;
        }
        parity.add(FIXED_HEADER, header, payload);
    }
    let [first, second, high, low, t0, t1, t2, t3] = parity.fields;
    let size = usize::from(u16::from_be_bytes([high, low]));
    if FIXED_HEADER + size > parity.body.len() {
        return None;
    }
    parity.body.truncate(FIXED_HEADER + size);
    let [n0, n1] = number.to_be_bytes();
    let [s0, s1, s2, s3] = ssrc.to_be_bytes();
    let version = 0x80 | (first & 0x3f);
    let header = [version, second, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3];
    parity
        .body
        .first_chunk_mut::<FIXED_HEADER>()?
        .copy_from_slice(&header);
    Some(parity.body.freeze())
}
