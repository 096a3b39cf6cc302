// SPDX-License-Identifier: MPL-2.0
//! Where what is sent goes to: one call, or everybody who comes.

use std::time::Duration;

use crate::media::rtp_packet::OutboundFrame;
use crate::session::Session;
use crate::session::host::{Host, PeerStats};
use crate::session::negotiation::Wish;

/// See the module.
pub enum Outlet {
    /// One call.
    One(Session),
    /// Whoever comes.
    Many(Host),
}

/// Name of the one peer of a call.
pub const ONLY_PEER: &str = "0";

impl Outlet {
    /// Starts signalling.
    pub fn begin(&self) {
        match self {
            Self::One(session) => session.begin(),
            Self::Many(host) => host.begin(),
        }
    }

    /// Says what is sent from now on.
    pub fn set_wish(&self, wish: Wish) {
        match self {
            Self::One(session) => session.set_wish(wish),
            Self::Many(host) => host.set_wish(wish),
        }
    }

    /// Queues a frame; `false` when the only peer there is takes no more.
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) -> bool {
        match self {
            Self::One(session) => session.push_frame(local, frame),
            Self::Many(host) => {
                host.push_frame(local, frame);
                true
            }
        }
    }

    /// Everything was pushed: delivers it, then ends.
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

    /// The host, if it is one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::One(_) => None,
            Self::Many(host) => Some(host),
        }
    }
}
