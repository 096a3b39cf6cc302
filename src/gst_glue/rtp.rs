// SPDX-License-Identifier: MPL-2.0
//! Buffers and RTP packets.

use bytes::Bytes;
use gst_rtp::rtp_buffer::RTPBuffer;

use crate::media::rtp_packet::{InboundPacket, OutboundPacket};

/// The packet that a payloader made, with `shift` added to its timestamp; `None` when the buffer
/// is no RTP packet. Copies the payload once: it must outlive the buffer and be contiguous.
pub fn outbound(buffer: &gst::BufferRef, shift: u32) -> Option<OutboundPacket> {
    let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
    let payload = rtp
        .payload()
        .map(Bytes::copy_from_slice)
        .unwrap_or_default();
    Some(OutboundPacket {
        timestamp: rtp.timestamp().wrapping_add(shift),
        marker: rtp.is_marker(),
        payload,
    })
}

/// A buffer around a received packet; nothing is copied.
pub fn inbound(packet: InboundPacket, running_time: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    // infallible: a new buffer is writable.
    if let Some(buffer) = buffer.get_mut() {
        buffer.append_memory(gst::Memory::from_slice(packet.header));
        if !packet.payload.is_empty() {
            buffer.append_memory(gst::Memory::from_slice(packet.payload));
        }
        buffer.set_dts(running_time);
        buffer.set_pts(running_time);
    }
    buffer
}
