// SPDX-License-Identifier: MPL-2.0
//! What tests outside of this crate need of this layer's inside; no part of the interface.

use super::line_codec::{self, Decoded, LineDecoder};
use super::message::{DescriptionType, Message};

/// What one text of the other end turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A message.
    Message(Message),
    /// What the user is told.
    Notice(String),
}

/// Reads `pieces` as they come from a terminal; with `pauses`, nothing comes for a while after
/// each of them.
pub fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    due: DescriptionType,
    pauses: bool,
) -> Vec<Read> {
    let mut decoder = LineDecoder::new(due);
    let mut out = Vec::new();
    for piece in pieces {
        decoder.feed(piece, &mut out);
        if pauses {
            decoder.idle(&mut out);
        }
    }
    decoder.finish(&mut out);
    out.into_iter()
        .map(|decoded| match decoded {
            Decoded::Message(message) => Read::Message(message),
            Decoded::Notice(text) => Read::Notice(text),
        })
        .collect()
}

/// The message in a whole file.
pub fn decode_document(text: &str, due: DescriptionType) -> Option<Message> {
    line_codec::decode_document(text, due)
}

/// The message as a line of ours, without the line end.
pub fn encode(message: &Message) -> String {
    line_codec::encode(message)
}
