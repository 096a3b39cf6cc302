// SPDX-License-Identifier: MPL-2.0
//! AV1 in RTP ("RTP Payload Format For AV1", Alliance for Open Media, v1.0).
//!
//! Own code although crate `rtc-rtp` has some: its depacketizer panics on an OBU of one byte that
//! announces an extension, grows without limit with fragments that never end and gives out frames
//! with a part missing; its packetizer panics on an OBU that is longer than its buffer and puts
//! OBUs of several layers into one packet, which section 5 forbids. Seen in 0.21.1.

mod depacketize;
mod obu;
mod packetize;

pub use depacketize::{Depacketizer, Finished, TemporalUnit};
pub use packetize::{Packets, packetize};

/// Why AV1 data was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Av1Error {
    /// A size is more than what there is, or a header is cut short.
    #[error("a malformed OBU")]
    Obu,
    /// The packets' aggregation headers contradict each other.
    #[error("a fragment without its beginning or its end")]
    Fragment,
    /// More than any picture needs.
    #[error("a temporal unit of more than {} MiB", depacketize::UNIT_LIMIT >> 20)]
    TooLarge,
    /// A packet must have room for its header and one byte.
    #[error("packets of less than 2 bytes of payload")]
    PacketTooSmall,
}

/// Aggregation header (section 4.4): the first element continues an OBU of the packet before.
const CONTINUES: u8 = 0x80;
/// Aggregation header: the last element is continued in the next packet.
const CONTINUED: u8 = 0x40;
/// Aggregation header: the number of elements, if it is not 0, above these bits.
const COUNT_SHIFT: u32 = 4;
/// Aggregation header: the first packet of a coded video sequence.
const NEW_SEQUENCE: u8 = 0x08;
/// The largest number of elements that the aggregation header can tell.
const COUNT_MAX: usize = 3;

/// Whether a decoder can start with this RTP payload: it begins a coded video sequence, or has a
/// sequence header.
pub fn is_key(payload: &[u8]) -> bool {
    let Some((&header, elements)) = payload.split_first() else {
        return false;
    };
    if header & NEW_SEQUENCE != 0 {
        return true;
    }
    let continued = usize::from(header & CONTINUES != 0);
    Elements::new(header, elements)
        .map_while(Result::ok)
        .skip(continued)
        .any(|element| {
            element
                .first()
                .is_some_and(|first| obu::kind(*first) == obu::SEQUENCE_HEADER)
        })
}

/// The OBU elements of one payload (section 4.5).
struct Elements<'a> {
    rest: &'a [u8],
    /// How many there are, if the aggregation header tells.
    left: Option<usize>,
}

impl<'a> Elements<'a> {
    fn new(aggregation_header: u8, rest: &'a [u8]) -> Self {
        let count = usize::from(aggregation_header >> COUNT_SHIFT) & COUNT_MAX;
        Self {
            rest,
            left: (count > 0).then_some(count),
        }
    }

    fn next_element(&mut self) -> Option<&'a [u8]> {
        let (size, rest) = match self.left {
            Some(1) => (self.rest.len(), self.rest),
            _ => obu::read_leb128(self.rest)?,
        };
        let (element, rest) = rest.split_at_checked(size)?;
        self.rest = rest;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Some(element)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], Av1Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.left {
            Some(0) => return None,
            None if self.rest.is_empty() => return None,
            _ => {}
        }
        let element = self.next_element().ok_or(Av1Error::Obu);
        if element.is_err() {
            self.left = Some(0);
        }
        Some(element)
    }
}

#[cfg(test)]
mod tests;
