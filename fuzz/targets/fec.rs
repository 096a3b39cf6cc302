// SPDX-License-Identifier: MPL-2.0
//! FEC and RED of whoever sends them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gstwebrtcrs::media::fec::{self, Decoder, Repair, Scheme, red};

const SSRC: u32 = 7;

/// The input is a row of packets: a byte that says what it is, two of its number, one of its length.
pub fn run(data: &[u8]) {
    let start = Instant::now();
    for scheme in [Scheme::Ulpfec, Scheme::Flexfec] {
        let (mut decoder, mut recovered) = (Decoder::new(SSRC), Vec::new());
        let (mut rest, mut now, mut repairs) = (data, start, 0);
        while let Some(([kind, high, low, length], more)) = rest.split_first_chunk() {
            let (packet, behind) = more.split_at(more.len().min(usize::from(*length)));
            rest = behind;
            now += Duration::from_millis(u64::from(kind >> 2));
            let number = u16::from_be_bytes([*high, *low]);
            let packet = Bytes::copy_from_slice(packet);
            match kind & 3 {
                0 => {
                    let mut header = packet.to_vec();
                    fec::freeze(&mut header, &[1, 3]);
                    assert_eq!(header.len(), packet.len());
                    decoder.media(number, header.into(), packet, now, &mut recovered);
                }
                1 => {
                    for block in red::read(&packet).into_iter().flatten() {
                        assert!(block.payload.len() < packet.len());
                    }
                }
                _ => {
                    if let Some(repair) = Repair::read(scheme, &packet, SSRC) {
                        repairs += 1;
                        decoder.repair(repair, now, &mut recovered);
                    }
                }
            }
        }
        // Each repair packet gives one packet at most.
        assert!(recovered.len() <= repairs);
        for found in recovered {
            assert_eq!(found.packet[0] >> 6, 2);
            assert_eq!(found.packet[2..4], found.number.to_be_bytes());
            assert_eq!(found.packet[8..12], SSRC.to_be_bytes());
        }
    }
}
