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
    /// What was asked for is refused: to the remote, an offer of its that this side cannot answer;
    /// from it, an ICE restart that it cannot make.
    Refuse(Refusal),
}

/// Why a description comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// It cannot be read, or contradicts itself.
    BadDescription,
    /// It can be read, and nothing in it fits what this side does.
    NothingInCommon,
    /// What would be sent is not known yet: worth another try soon.
    NotReady,
    /// This side has a fault.
    Internal,
}

/// A refusal with its reason, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What sort of reason.
    pub kind: RefusalKind,
    /// The reason; holds no secret.
    pub reason: String,
}
