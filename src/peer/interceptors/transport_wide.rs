// SPDX-License-Identifier: MPL-2.0
//! Transport-wide numbers of packets (draft-holmer-rmcat-transport-wide-cc-extensions section 2).

use bytes::Bytes;
use rtc::rtp::header::Header;

/// All numbers as they are on the wire: a packet refers to its own, so that two bytes
/// need no memory of their own.
static NUMBERS: [[u8; 2]; 1 << 16] = {
    let mut all = [[0; 2]; 1 << 16];
    let mut number = 0;
    while number < all.len() {
        // infallible: within its length.
        all[number] = (number as u16).to_be_bytes();
        number += 1;
    }
    all
};

/// `number` as a packet carries it.
pub(super) fn on_the_wire(number: u16) -> Bytes {
    // infallible: there is one for each number of 16 bits.
    Bytes::from_static(&NUMBERS[usize::from(number)])
}

/// The number that a packet carries in its header extension `id`.
pub(super) fn number(header: &Header, id: u8) -> Option<u16> {
    let mut all = header.extensions.iter();
    let value = all.find(|extension| extension.id == id)?;
    Some(u16::from_be_bytes(*value.payload.first_chunk()?))
}
