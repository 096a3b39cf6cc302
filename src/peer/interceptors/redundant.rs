// SPDX-License-Identifier: MPL-2.0
//! RED around what leaves (RFC 2198), where that was agreed on: the last thing that happens to a
//! packet, so that retransmissions and parity are of the packet inside.

use rtc::rtp;

use crate::media::fec::{Protection, red};

/// Streams of a call at most; there is one for each m-line.
const MAX_STREAMS: usize = 256;

/// One stream whose media goes in RED.
struct Wrapped {
    ssrc: u32,
    red: u8,
}

/// See the module.
#[derive(Default)]
pub(super) struct Redundant {
    wrapped: Vec<Wrapped>,
}

impl Redundant {
    /// What leaves as `ssrc` is protected so from now on.
    pub(super) fn bind(&mut self, ssrc: u32, protection: Option<&Protection>) {
        self.wrapped.retain(|wrapped| wrapped.ssrc != ssrc);
        if let Some((red, _)) = protection.and_then(|p| p.red)
            && self.wrapped.len() < MAX_STREAMS
        {
            self.wrapped.push(Wrapped { ssrc, red });
        }
    }

    /// `packet` leaves: wraps it. `true`: it is a repair packet, and wrapped already.
    pub(super) fn leaves(&self, packet: &mut rtp::Packet) -> bool {
        let header = &mut packet.header;
        let mut all = self.wrapped.iter();
        let Some(wrapped) = all.find(|wrapped| wrapped.ssrc == header.ssrc) else {
            return false;
        };
        if header.payload_type == wrapped.red {
            return true;
        }
        // A copy, as payloads are in one piece and may be shared with other peers.
        packet.payload = red::wrap(header.payload_type, &packet.payload);
        header.payload_type = wrapped.red;
        false
    }
}
