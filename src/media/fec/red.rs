// SPDX-License-Identifier: MPL-2.0
//! RED (RFC 2198): one packet with several blocks, each with a payload type.

use bytes::{BufMut, Bytes, BytesMut};

/// Blocks that are read of one packet; nobody sends more than a few.
const MAX_BLOCKS: usize = 16;

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub payload_type: u8,
    /// How much older than the packet's timestamp it is; 0 for the primary one.
    pub age: u16,
    /// Its payload.
    pub payload: Bytes,
}

/// The blocks of `payload`, the primary one last. `None`: it is no RED.
pub fn read(payload: &Bytes) -> Option<Vec<Block>> {
    let mut heads = Vec::with_capacity(1);
    let mut at = 0;
    loop {
        let rest = payload.get(at..)?;
        let first = *rest.first()?;
        if first & 0x80 == 0 {
            heads.push((first, 0, None));
            at += 1;
            break;
        }
        if heads.len() + 1 >= MAX_BLOCKS {
            return None;
        }
        let [_, a, b, c] = *rest.first_chunk::<4>()?;
        // 14 bits of age, 10 of length.
        let word = u32::from_be_bytes([0, a, b, c]);
        heads.push((
            first & 0x7f,
            (word >> 10) as u16,
            Some((word & 0x3ff) as usize),
        ));
        at += 4;
    }
    let mut blocks = Vec::with_capacity(heads.len());
    for (payload_type, age, length) in heads {
        let end = length.map_or(payload.len(), |length| at + length);
        if end > payload.len() {
            return None;
        }
        blocks.push(Block {
            payload_type,
            age,
            payload: payload.slice(at..end),
        });
        at = end;
    }
    Some(blocks)
}

/// `payload` of `payload_type` alone in a RED packet.
pub fn wrap(payload_type: u8, payload: &[u8]) -> Bytes {
    let mut wrapped = BytesMut::with_capacity(1 + payload.len());
    wrapped.put_u8(payload_type & 0x7f);
    wrapped.put_slice(payload);
    wrapped.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_read_again() {
        let blocks = read(&wrap(96, &[1, 2, 3])).unwrap();
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].payload_type, blocks[0].age), (96, 0));
        assert_eq!(&blocks[0].payload[..], [1, 2, 3]);
    }

    #[test]
    fn redundant_blocks_come_with_their_age() {
        // Type 111, 960 back, 2 bytes; then type 111.
        let mut packet = vec![0x80 | 111, 0, 0, 0, 111, 7, 8, 9];
        let word = (960u32 << 10) | 2;
        packet[1..4].copy_from_slice(&word.to_be_bytes()[1..]);
        let blocks = read(&packet.into()).unwrap();
        assert_eq!(
            (blocks[0].age, &blocks[0].payload[..]),
            (960, &[7u8, 8][..])
        );
        assert_eq!((blocks[1].age, &blocks[1].payload[..]), (0, &[9u8][..]));
    }

    #[test]
    fn what_is_cut_off_is_no_red() {
        assert_eq!(read(&Bytes::new()), None);
        assert_eq!(read(&Bytes::from_static(&[0x80, 0, 0])), None);
        assert_eq!(read(&Bytes::from_static(&[0x80, 0, 0, 2, 96, 1])), None);
        assert_eq!(read(&Bytes::from(vec![0x80; 200])), None);
    }
}
