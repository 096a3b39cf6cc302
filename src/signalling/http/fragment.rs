// SPDX-License-Identifier: MPL-2.0
//! `application/trickle-ice-sdpfrag` (RFC 8840): ICE credentials and candidates apart from their
//! description, and descriptions renewed by them.

use crate::signalling::message::Candidate;

/// What a fragment says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    /// `a=ice-ufrag` and `a=ice-pwd`, if both are there.
    pub(super) credentials: Option<(String, String)>,
    /// All candidates, with the mid above each.
    pub(super) candidates: Vec<Candidate>,
}
