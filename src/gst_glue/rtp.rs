// SPDX-License-Identifier: MPL-2.0
//! Buffers and RTP packets.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gst_rtp::{calc_header_len, rtp_buffer::RTPBuffer};

use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::{InboundPacket, OutboundPacket};

/// The header extensions that RTP caps announce (`extmap-ID`, RFC 8285), as far as we know them.
pub fn extension_map(caps: &gst::CapsRef) -> Vec<(u8, HeaderExtension)> {
    let Some(structure) = caps.structure(0) else {
        return Vec::new();
    };
    structure
        .iter()
        .filter_map(|(name, value)| {
            let id = name.strip_prefix("extmap-")?.parse().ok()?;
            // Either the URI, or direction, URI and attributes.
            let uri = value.get::<String>().ok().or_else(|| {
                let parts = value.get::<gst::Array>().ok()?;
                parts.get(1)?.get::<String>().ok()
            })?;
            Some((id, HeaderExtension::from_uri(&uri)?))
        })
        .collect()
}

/// The packet that a payloader made, with `shift` added to its timestamp and those header
/// extensions that `known` names; `None` when the buffer is no RTP packet. Copies the payload once,
/// to the end of `room`: it must outlive the buffer, which may be one of few, and be contiguous.
/// With it comes its sequence number.
pub fn outbound(
    buffer: &gst::BufferRef,
    shift: u32,
    known: &[(u8, HeaderExtension)],
    room: &mut BytesMut,
) -> Option<(u16, OutboundPacket)> {
    let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
    // Not by `payload`, which makes one memory of those that payloaders put together.
    room.resize(usize::try_from(rtp.payload_size()).ok()?, 0);
    buffer.copy_to_slice(header_length(&rtp)?, room).ok()?;
    let extensions = known
        .iter()
        .filter_map(|(id, extension)| Some((*extension, element(&rtp, *id)?)))
        .collect();
    let packet = OutboundPacket {
        timestamp: rtp.timestamp().wrapping_add(shift),
        marker: rtp.is_marker(),
        payload: room.split().freeze(),
        extensions,
        skipped: 0,
    };
    Some((rtp.seq(), packet))
}

fn header_length(rtp: &RTPBuffer<'_, gst_rtp::rtp_buffer::Readable>) -> Option<usize> {
    /// Profile and length.
    const EXTENSION_HEADER: usize = 4;
    let fixed = usize::try_from(calc_header_len(rtp.csrc_count())).ok()?;
    if !rtp.is_extension() {
        return Some(fixed);
    }
    let (_, extension) = rtp.extension_bytes()?;
    Some(fixed + EXTENSION_HEADER + extension.len())
}

fn element(rtp: &RTPBuffer<'_, gst_rtp::rtp_buffer::Readable>, id: u8) -> Option<Bytes> {
    let found = rtp.extension_onebyte_header(id, 0);
    let value = found.or_else(|| rtp.extension_twobytes_header(id, 0).map(|(_, value)| value))?;
    Some(Bytes::copy_from_slice(value))
}

/// A buffer around a received packet, which came at `running_time`; nothing is copied. Its offset,
/// which jitter buffers leave alone, is the [`moment`] of its arrival.
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
        buffer.set_offset(moment(packet.arrival));
    }
    buffer
}

/// What `read` makes of header and payload of a packet that [`inbound`] made, where they are.
pub fn read_inbound<T>(
    buffer: &gst::BufferRef,
    read: impl FnOnce(&[u8], &[u8]) -> Option<T>,
) -> Option<T> {
    let count = buffer.n_memory();
    if count == 0 {
        return None;
    }
    let header = buffer.peek_memory(0).map_readable().ok()?;
    if count == 1 {
        return read(&header, &[]);
    }
    let payload = buffer.peek_memory(1).map_readable().ok()?;
    read(&header, &payload)
}

/// A moment as a number that fits into a buffer: ns since the first that was asked for.
pub fn moment(at: Instant) -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let passed = at.saturating_duration_since(*FIRST.get_or_init(|| at));
    // 584 years.
    u64::try_from(passed.as_nanos()).unwrap_or_default()
}
