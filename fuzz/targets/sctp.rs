// SPDX-License-Identifier: MPL-2.0
//! Packets that a remote sends inside DTLS, to data channels of ours and of its own.

use gstwebrtcrs::peer::fuzzing::OfflineData;

/// Packets of one input.
const MOST: usize = 64;

/// The input is a row of packets: a byte that says what is done first, one of the length, and the packet behind its header
/// (RFC 9260 section 3.1), which is that of the association. Chunks that have a TSN get one that the association may expect,
/// by their last byte.
pub fn run(data: &[u8]) {
    let Some((how, mut rest)) = data.split_first() else {
        return;
    };
    let mut ends = OfflineData::new(how & 1 != 0, how & 2 != 0);
    for _ in 0..MOST {
        let Some(([act, length], more)) = rest.split_first_chunk() else {
            break;
        };
        let (body, behind) = more.split_at(more.len().min(4 * usize::from(*length)));
        rest = behind;
        match act & 7 {
            0 => ends.raw(body),
            1 => ends.wait(u64::from(*length) * 20),
            2 => ends.read(),
            3 => ends.send(body),
            _ => ends.packet(body, act & 8 != 0),
        }
        assert!(ends.waiting() < 8 << 20, "{} bytes wait", ends.waiting());
    }
    // Whatever came: it stops, and what is there can be read.
    ends.read();
    ends.wait(1000);
}
