// SPDX-License-Identifier: MPL-2.0
//! What is to leave for the servers.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::BytesMut;

/// Datagrams that wait for [`super::Servers::poll_transmit`]. Whoever drives us fetches them after
/// every call, so only a fault lets this fill; then the newest is dropped, as a network would.
const MAX_WAITING: usize = 512;

/// A datagram to a server.
#[derive(Debug)]
pub(in crate::peer) struct Outgoing {
    /// Address of the socket that it leaves from.
    pub(in crate::peer) base: SocketAddr,
    /// The server.
    pub(in crate::peer) to: SocketAddr,
    /// All of it.
    pub(in crate::peer) data: BytesMut,
}

/// The way from one socket to one server.
pub(super) struct Port<'a> {
    pub(super) out: &'a mut VecDeque<Outgoing>,
    pub(super) base: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Port<'_> {
    pub(super) fn put(&mut self, data: &[u8]) {
        if self.out.len() >= MAX_WAITING {
            log::debug!(target: "rswebrtc::peer", "nobody sends what is for {}", self.to);
            return;
        }
        self.out.push_back(Outgoing {
            base: self.base,
            to: self.to,
            data: BytesMut::from(data),
        });
    }
}
