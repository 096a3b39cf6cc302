// SPDX-License-Identifier: MPL-2.0
//! Buffers and RTP packets.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use gst_rtp::{calc_header_len, rtp_buffer::RTPBuffer};

use crate::media::header_extension::HeaderExtension;
use crate::media::rtp_packet::{Header, InboundPacket, OutboundPacket};

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
    let (header, extensions) = match plain(buffer, room) {
        Some(header) => (header, Vec::new()),
        None => {
            let rtp = RTPBuffer::from_buffer_readable(buffer).ok()?;
            // Not by `payload`, which makes one memory of those that payloaders put together.
            room.resize(usize::try_from(rtp.payload_size()).ok()?, 0);
            buffer.copy_to_slice(header_length(&rtp)?, room).ok()?;
            let found = known
                .iter()
                .filter_map(|(id, extension)| Some((*extension, element(&rtp, *id)?)));
            let header = Header {
                marker: rtp.is_marker(),
                payload_type: rtp.payload_type(),
                sequence: rtp.seq(),
                timestamp: rtp.timestamp(),
                ssrc: rtp.ssrc(),
            };
            (header, found.collect())
        }
    };
    let packet = OutboundPacket {
        timestamp: header.timestamp.wrapping_add(shift),
        marker: header.marker,
        payload: room.split().freeze(),
        extensions,
        skipped: 0,
    };
    Some((header.sequence, packet))
}

/// Reads a packet with the fixed header alone, as payloaders here make them; its payload goes to
/// `room`. Any other is `None`.
fn plain(buffer: &gst::BufferRef, room: &mut BytesMut) -> Option<Header> {
    const FIXED: usize = 12;
    /// Version 2; no padding, no extension, no contributing sources.
    const PLAIN: u8 = 0x80;
    let count = buffer.n_memory();
    if count == 0 {
        return None;
    }
    let first = buffer.peek_memory(0).map_readable().ok()?;
    let (header, payload) = first.split_at_checked(FIXED)?;
    if header.first() != Some(&PLAIN) {
        return None;
    }
    room.clear();
    room.extend_from_slice(payload);
    for at in 1..count {
        room.extend_from_slice(&buffer.peek_memory(at).map_readable().ok()?);
    }
    Header::read(header)
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
    // Caps may name one that the one-byte form has not (RFC 8285 section 4.2).
    let short = (1..=14)
        .contains(&id)
        .then(|| rtp.extension_onebyte_header(id, 0));
    let found = short.flatten();
    let value = found.or_else(|| rtp.extension_twobytes_header(id, 0).map(|(_, value)| value))?;
    Some(Bytes::copy_from_slice(value))
}

/// A buffer around a received packet, which came at `running_time`; nothing is copied. Its offset,
/// which jitter buffers leave alone, is the [`moment`] of its arrival.
pub fn inbound(packet: InboundPacket, running_time: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    // infallible: a new buffer is writable.
    if let Some(buffer) = buffer.get_mut() {
        if let Some(whole) = packet.whole {
            buffer.append_memory(gst::Memory::from_slice(whole));
        } else {
            buffer.append_memory(gst::Memory::from_slice(packet.header));
            if !packet.payload.is_empty() {
                buffer.append_memory(gst::Memory::from_slice(packet.payload));
            }
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
    let first = buffer.peek_memory(0).map_readable().ok()?;
    if count == 1 {
        let (header, payload) = first.split_at_checked(size_of_header(&first)?)?;
        return read(header, payload);
    }
    let payload = buffer.peek_memory(1).map_readable().ok()?;
    read(&first, &payload)
}

/// Bytes of the header that `packet` begins with (RFC 3550 section 5.1).
pub fn size_of_header(packet: &[u8]) -> Option<usize> {
    const FIXED: usize = 12;
    const EXTENDED: u8 = 0x10;
    let first = *packet.first()?;
    let fixed = FIXED + usize::from(first & 0x0f) * 4;
    if first & EXTENDED == 0 {
        return Some(fixed);
    }
    let words = packet.get(fixed + 2..fixed + 4)?.first_chunk()?;
    Some(fixed + 4 + usize::from(u16::from_be_bytes(*words)) * 4)
}

/// A moment as a number that fits into a buffer: ns since the first that was asked for.
pub fn moment(at: Instant) -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let passed = at.saturating_duration_since(*FIRST.get_or_init(|| at));
    // 584 years.
    u64::try_from(passed.as_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One packet, in memories that end at `cuts`.
    fn packet(bytes: &[u8], cuts: &[usize]) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([bytes.len()]) {
            let memory = gst::Memory::from_slice(bytes[start..end].to_vec());
            buffer.get_mut().unwrap().append_memory(memory);
            start = end;
        }
        buffer
    }

    #[test]
    fn a_packet_is_read_whatever_memories_it_is_in() {
        gst::init().unwrap();
        let fixed = [0x80, 0xe0, 1, 2, 0, 0, 0, 90, 0, 0, 0, 3];
        let plain = [&fixed[..], b"fragment"].concat();
        let mut room = BytesMut::from(&b"left by another"[..]);
        for cuts in [&[][..], &[12], &[14], &[12, 14, 17]] {
            let (number, packet) = outbound(&packet(&plain, cuts), 10, &[], &mut room).unwrap();
            assert_eq!(
                (number, packet.timestamp, packet.marker),
                (0x102, 100, true)
            );
            assert_eq!(&packet.payload[..], b"fragment", "{cuts:?}");
        }
    }

    #[test]
    fn extensions_sources_and_padding_are_no_payload() {
        gst::init().unwrap();
        let known = [(4, HeaderExtension::VideoOrientation)];
        // Padding, extension, one contributing source.
        let bytes = [
            &[0xb1, 0x60, 0, 7, 0, 0, 0, 90, 0, 0, 0, 3, 0, 0, 0, 5][..],
            &[0xbe, 0xde, 0, 1, 0x40, 2, 0, 0],
            b"payload",
            &[0, 2],
        ]
        .concat();
        for cuts in [&[][..], &[24], &[24, 28]] {
            let mut room = BytesMut::new();
            let (_, packet) = outbound(&packet(&bytes, cuts), 0, &known, &mut room).unwrap();
            assert_eq!(&packet.payload[..], b"payload", "{cuts:?}");
            let expected = (HeaderExtension::VideoOrientation, Bytes::from_static(&[2]));
            assert_eq!(packet.extensions, [expected]);
            assert!(!packet.marker);
        }
    }

    #[test]
    fn a_packet_that_came_is_read_in_one_piece_and_in_two() {
        gst::init().unwrap();
        let extended = [0x91, 0xe0, 0, 7, 0, 0, 0, 90, 0, 0, 0, 3, 0, 0, 0, 5];
        let extended = [&extended[..], &[0xbe, 0xde, 0, 1, 0x40, 2, 0, 0]].concat();
        let plain = vec![0x80, 0x60, 0, 7, 0, 0, 0, 90, 0, 0, 0, 3];
        for (header, payload) in [
            (&extended, &b"payload"[..]),
            (&plain, b"payload"),
            (&extended, b""),
        ] {
            let whole = Bytes::from([&header[..], payload].concat());
            for whole in [Some(whole.clone()), None] {
                let pieces = if whole.is_some() || payload.is_empty() {
                    1
                } else {
                    2
                };
                let buffer = inbound(
                    InboundPacket {
                        arrival: Instant::now(),
                        header: Bytes::copy_from_slice(header),
                        payload: Bytes::copy_from_slice(payload),
                        whole,
                    },
                    gst::ClockTime::ZERO,
                );
                assert_eq!(buffer.n_memory(), pieces);
                let read = read_inbound(&buffer, |h, p| Some((h.to_vec(), p.to_vec())));
                assert_eq!(read, Some((header.clone(), payload.to_vec())));
            }
        }
        for length in 0..extended.len() {
            let cut = packet(&extended[..length], &[]);
            assert_eq!(read_inbound(&cut, |_, _| Some(())), None, "{length}");
        }
    }

    #[test]
    fn what_is_too_short_is_no_packet() {
        gst::init().unwrap();
        for length in 0..12 {
            let buffer = packet(&[0x80; 12][..length], &[]);
            assert!(outbound(&buffer, 0, &[], &mut BytesMut::new()).is_none());
        }
    }
}
