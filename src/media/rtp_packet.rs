// SPDX-License-Identifier: MPL-2.0
//! RTP packets as they cross our layers (RFC 3550 section 5.1).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::header_extension::HeaderExtension;

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
}

impl InboundPacket {
    /// RTP timestamp; `None` of what is no RTP header.
    pub fn timestamp(&self) -> Option<u32> {
        let bytes = self.header.get(4..8)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
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
