// SPDX-License-Identifier: MPL-2.0
//! What clients may take of us.

use std::time::Duration;

/// Times and sizes; other than the usual ones only in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The head of a request; also how long a connection may be idle between two requests.
    pub(super) head: Duration,
    /// A TLS handshake.
    pub(super) handshake: Duration,
    /// The body of a request.
    pub(super) body: Duration,
    /// Bytes of a body.
    pub(super) body_size: usize,
    /// A session answers a request within this time.
    pub(super) request: Duration,
    /// A connection takes new requests for this long.
    pub(super) connection: Duration,
    /// Connections at a time; those above are closed at once.
    pub(super) connections: usize,
}

impl Limits {
    /// The usual ones, for a server with so many sessions.
    pub(super) fn for_peers(peers: usize) -> Self {
        const SECONDS: Duration = Duration::from_secs(5);
        Self {
            head: SECONDS,
            handshake: SECONDS,
            body: SECONDS,
            body_size: 128 * 1024,
            request: SECONDS,
            connection: Duration::from_secs(60),
            connections: peers.saturating_mul(4).saturating_add(512).min(4096),
        }
    }
}
