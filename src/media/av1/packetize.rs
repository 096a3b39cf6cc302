// SPDX-License-Identifier: MPL-2.0
//! From temporal units to RTP payloads (section 5 of the payload format).

use super::obu::{self, Obu, SequenceStart, leb128_len, write_leb128};
use super::{Av1Error, CONTINUED, CONTINUES, COUNT_MAX, COUNT_SHIFT, NEW_SEQUENCE};

/// A fragment of less than this goes into the next packet: its length and its trouble cost more.
const FRAGMENT_MIN: usize = 8;

/// What one temporal unit becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packets {
    /// RTP payloads, in order; none if the unit has nothing to send.
    pub payloads: Vec<Vec<u8>>,
    /// A coded video sequence starts here, so a decoder can, too.
    pub key: bool,
}

/// Makes payloads of at most `max_payload` bytes of a temporal unit in the low-overhead format.
/// Packets are filled one after the other; what does not fit is continued in the next one.
///
/// # Errors
///
/// [`Av1Error::Obu`], [`Av1Error::PacketTooSmall`]
pub fn packetize(unit: &[u8], max_payload: usize) -> Result<Packets, Av1Error> {
    if max_payload < 2 {
        return Err(Av1Error::PacketTooSmall);
    }
    let (obus, key) = obus_to_send(unit)?;
    let mut packer = Packer {
        max_payload,
        key,
        payloads: Vec::new(),
    };
    let mut draft = Draft::default();
    for obu in &obus {
        draft = packer.add(draft, obu);
    }
    packer.close(draft, false);
    Ok(Packets {
        payloads: packer.payloads,
        key,
    })
}

/// One OBU without its size.
struct Element {
    data: Vec<u8>,
    layer: Option<u8>,
    sequence_header: bool,
}

fn obus_to_send(unit: &[u8]) -> Result<(Vec<Element>, bool), Av1Error> {
    let mut start = SequenceStart::default();
    let mut elements = Vec::new();
    let mut rest = unit;
    while !rest.is_empty() {
        let obu;
        (obu, rest) = Obu::read(rest)?;
        if obu.is_left_out() {
            continue;
        }
        start.look(&obu);
        elements.push(Element {
            layer: obu.layer(),
            sequence_header: obu.kind() == obu::SEQUENCE_HEADER,
            data: obu.to_element(),
        });
    }
    Ok((elements, start.is_key()))
}

/// A packet that is being filled.
#[derive(Default)]
struct Draft<'a> {
    elements: Vec<&'a [u8]>,
    /// Bytes of the elements, each with its length before it.
    used: usize,
    layer: Option<u8>,
    /// The first element continues an OBU.
    continues: bool,
}

impl<'a> Draft<'a> {
    fn push(&mut self, element: &'a [u8], layer: Option<u8>) {
        self.elements.push(element);
        self.used += element.len() + leb128_len(element.len());
        self.layer = self.layer.or(layer);
    }

    /// Bytes that one more element may have.
    fn room(&self, max_payload: usize) -> usize {
        let free = max_payload.saturating_sub(1 + self.used);
        if self.elements.len() < COUNT_MAX {
            return free;
        }
        // The last element has a length, too. That of a smaller number is never longer.
        free.saturating_sub(leb128_len(free))
    }

    /// Whether `obu` must not be in this packet, or should be the first in one.
    fn refuses(&self, obu: &Element) -> bool {
        let other_layer = self.layer.is_some() && obu.layer.is_some() && self.layer != obu.layer;
        !self.elements.is_empty() && (obu.sequence_header || other_layer)
    }
}

struct Packer {
    max_payload: usize,
    key: bool,
    payloads: Vec<Vec<u8>>,
}

impl Packer {
    /// Puts `obu` into packets; gives the last one, which may have room for more.
    fn add<'a>(&mut self, mut draft: Draft<'a>, obu: &'a Element) -> Draft<'a> {
        if draft.refuses(obu) {
            draft = self.close(draft, false);
        }
        let mut rest = obu.data.as_slice();
        loop {
            let room = draft.room(self.max_payload);
            match rest.split_at_checked(room) {
                Some((now, later)) if !later.is_empty() => {
                    if draft.elements.is_empty() || room >= FRAGMENT_MIN {
                        draft.push(now, obu.layer);
                        draft = self.close(draft, true);
                        rest = later;
                    } else {
                        draft = self.close(draft, false);
                    }
                }
                _ => {
                    draft.push(rest, obu.layer);
                    return draft;
                }
            }
        }
    }

    /// Writes a packet; gives the next one.
    fn close<'a>(&mut self, draft: Draft<'a>, continued: bool) -> Draft<'a> {
        let Some((last, others)) = draft.elements.split_last() else {
            return draft;
        };
        let count = draft.elements.len();
        let counted = count <= COUNT_MAX;
        let mut header = 0;
        if draft.continues {
            header |= CONTINUES;
        }
        if continued {
            header |= CONTINUED;
        }
        if counted {
            header |= (count as u8) << COUNT_SHIFT;
        }
        if self.key && self.payloads.is_empty() {
            header |= NEW_SEQUENCE;
        }
        let mut payload = Vec::with_capacity(1 + draft.used);
        payload.push(header);
        for element in others {
            write_leb128(&mut payload, element.len());
            payload.extend_from_slice(element);
        }
        if !counted {
            write_leb128(&mut payload, last.len());
        }
        payload.extend_from_slice(last);
        self.payloads.push(payload);
        Draft {
            continues: continued,
            ..Draft::default()
        }
    }
}
