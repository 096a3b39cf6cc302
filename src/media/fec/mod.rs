// SPDX-License-Identifier: MPL-2.0
//! Forward error correction of video: packets from which a receiver makes what was lost, where a
//! retransmission would come too late.
//!
//! Two formats of one idea, the parity of a group of packets: ULPFEC (RFC 5109) inside of RED
//! (RFC 2198), on the SSRC and in the sequence numbers of the media, and FlexFEC as in
//! draft-ietf-payload-flexible-fec-scheme-03, on an SSRC of its own.
//!
//! Own code where webrtc-rs has some: there is no ULPFEC in it, and its FlexFEC sorts by an order
//! that is none once numbers are far apart (a hostile packet makes that panic), forgets everything
//! when one packet comes a hundred numbers late, as retransmissions do, takes the transport-wide
//! number and the send time for protected though they change after the parity is made, and groups
//! by a count of packets, whatever frames they are of.
//!
//! Invariant: the parity is of packets as the receiver sees them, but for the values of header
//! extensions that are written as the packet leaves; these count as zero on both sides
//! ([`freeze`]), as they do in libwebrtc.

mod decoder;
mod encoder;
mod flexfec;
mod mask;
mod parity;
mod rate;
pub mod red;
#[cfg(test)]
mod tests;
mod ulpfec;

use bytes::Bytes;

use super::header_extension::HeaderExtension;

pub use decoder::{Decoder, Recovered};
pub use encoder::Encoder;
pub use mask::Mask;
pub use rate::Automatic;

/// Bytes of an RTP header without CSRCs and extensions.
const FIXED_HEADER: usize = 12;

/// How video is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 5109 in RED: what Chromium takes.
    Ulpfec,
    /// draft-ietf-payload-flexible-fec-scheme-03.
    Flexfec,
}

impl Scheme {
    /// Encoding name of its `rtpmap`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ulpfec => "ulpfec",
            Self::Flexfec => "flexfec-03",
        }
    }

    /// Whether a sender may use it with `codec`. ULPFEC takes numbers of the media, and who misses
    /// a repair packet misses a number: only where pictures have numbers of their own, as in VP8 and
    /// VP9, a receiver sees that nothing of them is missing. libwebrtc keeps to that too.
    pub fn fits(self, codec: &str) -> bool {
        let numbered = ["VP8", "VP9"];
        self != Self::Ulpfec || numbered.iter().any(|name| name.eq_ignore_ascii_case(codec))
    }

    /// Packets that one repair packet can speak of.
    fn reach(self) -> usize {
        match self {
            Self::Ulpfec => ulpfec::REACH,
            Self::Flexfec => flexfec::REACH,
        }
    }
}

/// What a side wants of FEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The format.
    pub scheme: Scheme,
    /// As [`Protection::percentage`].
    pub percentage: Option<u8>,
}

/// FEC of one m-line, as agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// The format.
    pub scheme: Scheme,
    /// Payload type of the repair packets; with ULPFEC that inside of RED.
    pub payload_type: u8,
    /// Payload type of RED, and of its retransmissions; FlexFEC has none.
    pub red: Option<(u8, Option<u8>)>,
    /// What a sender adds, in percent of the media's bytes; `None`: by the loss, see [`Automatic`].
    pub percentage: Option<u8>,
}

impl Protection {
    /// The payload type that packets of `payload_type` had before they were sent again; `None`: it
    /// is none of these.
    pub fn original(&self, payload_type: u8) -> Option<u8> {
        match self.red {
            Some((red, Some(rtx))) if rtx == payload_type => Some(red),
            _ => self.payload_types().find(|pt| *pt == payload_type),
        }
    }

    /// All payload types.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        let red = self.red.iter().flat_map(|(red, rtx)| [Some(*red), *rtx]);
        std::iter::once(self.payload_type).chain(red.flatten())
    }
}

/// What a repair packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Number of the first packet that it may speak of.
    pub base: u16,
    /// Those that it covers, counted from there.
    pub mask: Mask,
    /// Parity of what a header holds besides number and SSRC.
    fields: [u8; 8],
    /// Parity of all that follows the fixed header.
    body: Bytes,
}

impl Repair {
    /// Reads the payload of a repair packet in format `scheme` for `ssrc`; `None`: it is none.
    pub fn read(scheme: Scheme, payload: &Bytes, ssrc: u32) -> Option<Self> {
        match scheme {
            Scheme::Ulpfec => ulpfec::read(payload),
            Scheme::Flexfec => flexfec::read(payload, ssrc),
        }
    }
}

/// Ids of those of `extensions` that are written as a packet leaves; 0 stands for none.
pub fn mutable(extensions: &[(u8, HeaderExtension)]) -> [u8; 3] {
    [
        HeaderExtension::TransportWideCc,
        HeaderExtension::AbsSendTime,
        HeaderExtension::TransmissionOffset,
    ]
    .map(|late| {
        let mut all = extensions.iter();
        all.find(|(_, e)| *e == late).map_or(0, |(id, _)| *id)
    })
}

/// Zeroes the values of the extensions `mutable` (RFC 8285) in a marshalled RTP header.
pub fn freeze(header: &mut [u8], mutable: &[u8]) {
    let Some(&first) = header.first() else {
        return;
    };
    let start = FIXED_HEADER + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 || mutable.is_empty() {
        return;
    }
    let Some((profile, block)) = header
        .get_mut(start..)
        .and_then(|h| h.split_at_mut_checked(4))
    else {
        return;
    };
    let two_bytes = match profile {
        [0xbe, 0xde, ..] => false,
        [0x10, low, ..] if *low < 16 => true,
        _ => return,
    };
    let mut rest = block;
    while let Some((&mut id, after)) = std::mem::take(&mut rest).split_first_mut() {
        if id == 0 {
            rest = after;
            continue;
        }
        let (id, length, values) = if two_bytes {
            let Some((&mut length, values)) = after.split_first_mut() else {
                return;
            };
            (id, usize::from(length), values)
        } else {
            (id >> 4, usize::from(id & 0x0f) + 1, after)
        };
        let Some((value, next)) = values.split_at_mut_checked(length) else {
            return;
        };
        if mutable.contains(&id) {
            value.fill(0);
        }
        rest = next;
    }
}
