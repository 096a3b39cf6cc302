// SPDX-License-Identifier: MPL-2.0
//! RTP packets as they cross our layers (RFC 3550 section 5.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::header_extension::HeaderExtension;

/// A source of a stream that sent nothing for so long has given way to another one that sends: what
/// comes of that one is not just late. Longer than between two frames of a slow camera.
pub const SOURCE_IS_SILENT: Duration = Duration::from_millis(300);

/// One packet on its way out. SSRC, payload type and sequence number are the peer's: it numbers
/// the packets it really sends, so that what was dropped before never looks like loss.
#[derive(Debug, Clone)]
pub struct OutboundPacket {
    /// Media clock, in units of the codec's clock rate.
    pub timestamp: u32,
    /// Last packet of a frame (video), first of a talk spurt (audio).
    pub marker: bool,
    /// The payload, shared between peers.
    pub payload: Bytes,
    /// Header extensions that the stream brought along (RFC 8285); what was not negotiated stays
    /// behind.
    pub extensions: Vec<(HeaderExtension, Bytes)>,
    /// Packets of the same stream that were lost before this one, on their way to us: they stay
    /// visible as a loss, so that the receiver asks for a key frame.
    pub skipped: u16,
}

/// The packets of one frame, handed over at once.
#[derive(Debug, Clone)]
pub struct OutboundFrame {
    /// A decoder can start here.
    pub key: bool,
    /// In sending order; never empty. Made once, for all peers.
    pub packets: Arc<[OutboundPacket]>,
}

impl OutboundFrame {
    /// Payload bytes of all packets.
    pub fn len(&self) -> usize {
        self.packets.iter().map(|p| p.payload.len()).sum()
    }

    /// The same frame at another time.
    pub fn at(&self, timestamp: u32) -> Self {
        let packets = self.packets.iter().map(|packet| OutboundPacket {
            timestamp,
            ..packet.clone()
        });
        Self {
            key: self.key,
            packets: packets.collect(),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

/// One packet that came in, after decryption and RTX unwrapping.
#[derive(Debug, Clone)]
pub struct InboundPacket {
    /// When it was taken from the socket.
    pub arrival: Instant,
    /// The RTP header as on the wire, extensions included.
    pub header: Bytes,
    /// The payload, without padding.
    pub payload: Bytes,
    /// Both in one piece, where they are.
    pub whole: Option<Bytes>,
}

impl InboundPacket {
    /// RTP timestamp; `None` of what is no RTP header.
    pub fn timestamp(&self) -> Option<u32> {
        let bytes = self.header.get(4..8)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Sequence number; `None` of what is no RTP header.
    pub fn sequence(&self) -> Option<u16> {
        let bytes = self.header.get(2..4)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Payload type; `None` of what is no RTP header.
    pub fn payload_type(&self) -> Option<u8> {
        self.header.get(1).map(|byte| byte & 0x7f)
    }

    /// The value of header extension `id` (RFC 8285), in its one-byte or its two-byte form.
    pub fn extension(&self, id: u8) -> Option<&[u8]> {
        const EXTENDED: u8 = 0x10;
        let first = *self.header.first()?;
        if first & EXTENDED == 0 {
            return None;
        }
        let at = 12 + usize::from(first & 0x0f) * 4;
        let profile = u16::from_be_bytes(self.header.get(at..at + 2)?.try_into().ok()?);
        let words = u16::from_be_bytes(self.header.get(at + 2..at + 4)?.try_into().ok()?);
        let mut rest = self.header.get(at + 4..)?;
        rest = rest.get(..usize::from(words) * 4)?;
        let two_bytes = match profile {
            0xbede => false,
            // The low bits are the application's.
            _ if profile >> 4 == 0x100 => true,
            _ => return None,
        };
        while let Some((&byte, after)) = rest.split_first() {
            let (found, length, after) = match (byte, two_bytes) {
                // Padding.
                (0, _) => {
                    rest = after;
                    continue;
                }
                (_, true) => {
                    let (&length, after) = after.split_first()?;
                    (byte, usize::from(length), after)
                }
                // Reserved: nothing behind it counts.
                (0xf0.., false) => return None,
                (_, false) => (byte >> 4, usize::from(byte & 0x0f) + 1, after),
            };
            let value = after.get(..length)?;
            if found == id {
                return Some(value);
            }
            rest = after.get(length..)?;
        }
        None
    }
}

/// The fixed part of an RTP header (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Last packet of a frame (video), first of a talk spurt (audio).
    pub marker: bool,
    /// What is in the packet, as negotiated.
    pub payload_type: u8,
    /// Goes up by one with each packet.
    pub sequence: u16,
    /// Media clock, in units of the codec's clock rate.
    pub timestamp: u32,
    /// Whose it is.
    pub ssrc: u32,
}

impl Header {
    /// Reads the beginning of a packet; `None` of what is too short.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[_, kind, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3, ..] = bytes else {
            return None;
        };
        Some(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        })
    }
}

/// What a receiving stream gets, in order of arrival.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// Media.
    Rtp(InboundPacket),
    /// A compound RTCP packet that holds a sender report (RFC 3550 section 6.4.1), marshalled.
    SenderReport(Bytes),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(profile: u16, extensions: &[u8]) -> InboundPacket {
        let mut header = vec![0x90, 0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        header.extend(profile.to_be_bytes());
        header.extend(u16::try_from(extensions.len() / 4).unwrap().to_be_bytes());
        header.extend(extensions);
        InboundPacket {
            arrival: Instant::now(),
            header: header.into(),
            payload: Bytes::new(),
            whole: None,
        }
    }

    #[test]
    fn extensions_are_found_in_both_forms() {
        let one = packet(0xbede, &[0x10, b'0', 0, 0x31, 7, 8, 0, 0]);
        assert_eq!(one.extension(1), Some(&b"0"[..]));
        assert_eq!(one.extension(3), Some(&[7, 8][..]));
        assert_eq!(one.extension(2), None);
        let two = packet(0x1005, &[1, 0, 0, 20, 2, 7, 8, 0]);
        assert_eq!(two.extension(1), Some(&[][..]));
        assert_eq!(two.extension(20), Some(&[7, 8][..]));
        assert_eq!((two.payload_type(), two.timestamp()), (Some(0x60), Some(2)));
    }

    #[test]
    fn what_goes_past_its_end_or_is_reserved_is_no_extension() {
        assert_eq!(packet(0xbede, &[0x13, 1, 2, 3]).extension(1), None);
        assert_eq!(packet(0xbede, &[0xf0, 0, 0x10, 1]).extension(1), None);
        assert_eq!(packet(0x1000, &[1, 3, 1, 2]).extension(1), None);
        assert_eq!(packet(0xabcd, &[0x10, 1, 0, 0]).extension(1), None);
        let cut = packet(0xbede, &[0x10, 1, 0, 0]);
        for length in 0..cut.header.len() {
            let header = cut.header.slice(..length);
            assert_eq!(
                InboundPacket {
                    header,
                    ..cut.clone()
                }
                .extension(1),
                None
            );
        }
    }
}
