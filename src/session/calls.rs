// SPDX-License-Identifier: MPL-2.0
//! One call, or those of everybody who comes: what an element has, by its signaller.

use std::sync::Arc;
use std::time::Duration;

use crate::media::rtp_packet::OutboundFrame;
use crate::peer::{BitrateLimits, PathStats, StreamStats};

use super::Session;
use super::host::Host;
use super::negotiation::{AgreedStream, Wish};

/// See the module. Both elements treat either alike, but for their events.
pub enum Calls {
    /// One call.
    One(Session),
    /// Whoever comes.
    Many(Host),
}

/// What is known of one peer.
#[derive(Debug, Clone)]
pub struct PeerStats {
    /// Its number.
    pub id: Arc<str>,
    /// Its streams with their counters, in the order of the m-lines.
    pub streams: Vec<(AgreedStream, StreamStats)>,
    /// The path to it.
    pub path: PathStats,
}

/// Name of the one peer of a call.
pub const ONLY_PEER: &str = "0";

impl Calls {
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

    /// New bounds of what is sent to each peer.
    pub fn set_bitrate_limits(&self, limits: BitrateLimits) {
        match self {
            Self::One(session) => session.set_bitrate_limits(limits),
            Self::Many(host) => host.set_bitrate_limits(limits),
        }
    }

    /// Asks peer `peer` for a key frame of its stream `stream`.
    pub fn request_key_frame(&self, peer: &str, stream: usize) {
        match self {
            Self::One(session) => session.request_key_frame(stream),
            Self::Many(host) => host.request_key_frame(peer, stream),
        }
    }

    /// Everything was pushed, or received enough: delivers what there is, then ends.
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
            Self::One(session) => vec![PeerStats {
                id: ONLY_PEER.into(),
                streams: session.stats(),
                path: session.path_stats(),
            }],
            Self::Many(host) => host.stats(),
        }
    }

    /// Counters of every stream of `peer`.
    pub fn stats_of(&self, peer: &str) -> Vec<(AgreedStream, StreamStats)> {
        let all = self.stats().into_iter();
        let mut of_peer = all.filter(|p| *p.id == *peer);
        of_peer.next().map(|p| p.streams).unwrap_or_default()
    }

    /// The host, if it is one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::One(_) => None,
            Self::Many(host) => Some(host),
        }
    }
}
