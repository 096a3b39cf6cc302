// SPDX-License-Identifier: MPL-2.0
//! Where what is received comes from: one call, or whoever publishes.

use std::time::Duration;

use crate::peer::StreamStats;
use crate::session::Session;
use crate::session::host::{Host, PeerStats};
use crate::session::negotiation::AgreedStream;

/// See the module.
pub enum Inlet {
    /// One call.
    One(Session),
    /// Whoever publishes.
    Many(Host),
}

/// Name of the one peer of a call.
pub const ONLY_PEER: &str = "0";

impl Inlet {
    /// Starts signalling.
    pub fn begin(&self) {
        match self {
            Self::One(session) => session.begin(),
            Self::Many(host) => host.begin(),
        }
    }

    /// Asks peer `peer` for a key frame of its stream `stream`.
    pub fn request_key_frame(&self, peer: &str, stream: usize) {
        match self {
            Self::One(session) => session.request_key_frame(stream),
            Self::Many(host) => host.request_key_frame(peer, stream),
        }
    }

    /// Ends all calls in good order.
    pub fn finish(&self) {
        match self {
            Self::One(session) => session.finish(),
            Self::Many(host) => host.finish(),
        }
    }

    /// Waits at most `timeout` for the end; tells whether it came.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        match self {
            Self::One(session) => session.wait_done(timeout),
            Self::Many(host) => host.wait_done(timeout),
        }
    }

    /// Cuts everything. Waits at most `timeout`; the rest goes on in the background.
    pub fn stop(&self, timeout: Duration) -> bool {
        match self {
            Self::One(session) => session.stop(timeout),
            Self::Many(host) => host.stop(timeout),
        }
    }

    /// Counters of every stream of every peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        match self {
            Self::One(session) => vec![(ONLY_PEER.into(), session.stats())],
            Self::Many(host) => host.stats(),
        }
    }

    /// Counters of every stream of `peer`.
    pub fn stats_of(&self, peer: &str) -> Vec<(AgreedStream, StreamStats)> {
        let all = self.stats().into_iter();
        let mut of_peer = all.filter(|(id, _)| **id == *peer);
        of_peer.next().map(|(_, stats)| stats).unwrap_or_default()
    }
}
