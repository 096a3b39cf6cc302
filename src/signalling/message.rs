// SPDX-License-Identifier: MPL-2.0
//! What two signalling ends say to each other.

use std::fmt;

/// Which of the two a session description is (RFC 3264).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptionType {
    /// The first one.
    Offer,
    /// The reply.
    Answer,
}

impl DescriptionType {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

impl fmt::Display for DescriptionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session description; its `Debug` shows no SDP, which holds ICE passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    /// Offer or answer.
    pub kind: DescriptionType,
    /// The SDP text, CRLF line ends.
    pub sdp: String,
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Description({}, {} bytes)", self.kind, self.sdp.len())
    }
}

/// One trickled ICE candidate (RFC 8838).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The attribute without `a=`: `candidate:…`.
    pub candidate: String,
    /// `mid` of its m-line.
    pub mid: Option<String>,
    /// Index of its m-line.
    pub mline_index: Option<u16>,
}

/// One signalling message, either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An offer or an answer.
    Description(Description),
    /// A candidate that came apart.
    Candidate(Candidate),
    /// The call is over.
    Bye,
}
