// SPDX-License-Identifier: MPL-2.0
//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep), as client and as server.
//!
//! Invariants: only this folder names HTTP and TLS crates; a token never reaches a log, an error
//! or a `Debug`; every wait for the network has a limit.

pub mod client;
mod fragment;
mod link_header;
pub mod server;

use std::fmt;

/// Which of the two protocols is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The client sends media (RFC 9725).
    Whip,
    /// The client receives media.
    Whep,
}

impl Protocol {
    /// `WHIP` or `WHEP`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whip => "WHIP",
            Self::Whep => "WHEP",
        }
    }
}

/// A bearer token (RFC 6750); its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps `token`.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself: for a header, never for a log.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// An ICE server as a `Link` header names it (RFC 9725 section 4.6).
#[derive(Clone, PartialEq, Eq)]
pub struct IceServerLink {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub url: String,
    /// User name; empty for STUN.
    pub username: String,
    /// Password; empty for STUN, never logged.
    pub credential: String,
}

impl fmt::Debug for IceServerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceServerLink({})", self.url)
    }
}
