// SPDX-License-Identifier: MPL-2.0
//! RTX (RFC 4588): back to the packet that was lost.
//!
//! It has to happen before anything counts packets: what was repaired would be asked for again and
//! again.

use rtc::rtp;

/// Turns a retransmission into the original packet. `false`: it carries none (padding).
pub(super) fn unwrap(packet: &mut rtp::Packet, ssrc: u32, payload_type: u8) -> bool {
    let Some((number, _)) = packet.payload.split_first_chunk::<2>() else {
        return false;
    };
    packet.header.sequence_number = u16::from_be_bytes(*number);
    packet.header.ssrc = ssrc;
    packet.header.payload_type = payload_type;
    packet.header.padding = false;
    packet.payload = packet.payload.slice(2..);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_original_packet_comes_back() {
        let mut packet = rtp::Packet {
            header: rtp::header::Header {
                ssrc: 2,
                payload_type: 97,
                ..Default::default()
            },
            payload: Bytes::from_static(&[1, 2, 3]),
        };
        assert!(unwrap(&mut packet, 1, 96));
        assert_eq!(packet.header.sequence_number, 0x102);
        assert_eq!((packet.header.ssrc, packet.header.payload_type), (1, 96));
        assert_eq!(&packet.payload[..], &[3]);
        assert!(!unwrap(&mut packet, 1, 96));
    }
}
