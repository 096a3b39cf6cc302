// SPDX-License-Identifier: MPL-2.0
//! One call, or those of everybody who comes: what an element has, by its signaller.

use std::sync::Arc;
use std::time::Duration;

use crate::media::codec::MediaKind;
use crate::media::layers::Choice;
use crate::media::rtp_packet::OutboundFrame;
use crate::peer::data::DataChannel;
use crate::peer::{BitrateLimits, PathStats, StreamStats};

use super::Session;
use super::host::Host;
use super::negotiation::{AgreedStream, Wish};
use super::shared_call::Leg;

/// See the module. Both elements treat either alike, but for their events.
pub enum Calls {
    /// One call.
    One(Session),
    /// Whoever comes.
    Many(Host),
    /// One call, of which another element has the other leg.
    Leg(Leg),
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
    /// Data channels that are not closed.
    pub channels: Vec<Arc<DataChannel>>,
}

/// Name of the one peer of a call.
pub const ONLY_PEER: &str = "0";

impl Calls {
    /// Starts signalling.
    pub fn begin(&self) {
        match self {
            Self::One(session) => session.begin(),
            Self::Many(host) => host.begin(),
            Self::Leg(leg) => leg.begin(),
        }
    }

    /// The element is no longer in PLAYING.
    pub fn pause(&self) {
        if let Self::Leg(leg) = self {
            leg.pause();
        }
    }

    /// Kinds of streams that are not known yet and will be sent, where that is of use.
    pub fn announce(&self, kinds: impl FnOnce() -> Vec<MediaKind>) {
        if let Self::Leg(leg) = self {
            leg.announce(kinds());
        }
    }

    /// Says what is sent from now on.
    pub fn set_wish(&self, wish: Wish) {
        match self {
            Self::One(session) => session.set_wish(wish),
            Self::Many(host) => host.set_wish(wish),
            Self::Leg(leg) => leg.set_wish(wish),
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
            Self::Leg(leg) => leg.push_frame(local, frame),
        }
    }

    /// New bounds of what is sent to each peer.
    pub fn set_bitrate_limits(&self, limits: BitrateLimits) {
        match self {
            Self::One(session) => session.set_bitrate_limits(limits),
            Self::Many(host) => host.set_bitrate_limits(limits),
            Self::Leg(leg) => leg.set_bitrate_limits(limits),
        }
    }

    /// Asks peer `peer` for a key frame of output `output` of its stream `stream`.
    pub fn request_key_frame(&self, peer: &str, stream: usize, output: usize) {
        match self {
            Self::One(session) => session.request_key_frame(stream, output),
            Self::Many(host) => host.request_key_frame(peer, stream, output),
            Self::Leg(leg) => leg.request_key_frame(stream, output),
        }
    }

    /// Which layer of a picture goes on, where a peer sends several.
    pub fn set_layer(&self, choice: Choice) {
        match self {
            Self::One(session) => session.set_layer(choice),
            Self::Many(host) => host.set_layer(choice),
            Self::Leg(leg) => leg.set_layer(choice),
        }
    }

    /// Everything was pushed, or received enough: delivers what there is, then ends.
    pub fn finish(&self) {
        match self {
            Self::One(session) => session.finish(),
            Self::Many(host) => host.finish(),
            Self::Leg(leg) => leg.finish(),
        }
    }

    /// Waits at most `timeout` for the end; tells whether it came.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        match self {
            Self::One(session) => session.wait_done(timeout),
            Self::Many(host) => host.wait_done(timeout),
            Self::Leg(leg) => leg.wait_done(timeout),
        }
    }

    /// Cuts everything. Waits at most `timeout`; the rest goes on in the background.
    pub fn stop(&self, timeout: Duration) -> bool {
        match self {
            Self::One(session) => session.stop(timeout),
            Self::Many(host) => host.stop(timeout),
            Self::Leg(leg) => leg.stop(timeout),
        }
    }

    /// Whether data channels were agreed with a peer.
    pub fn has_data(&self) -> bool {
        match self {
            Self::One(session) => session.has_data(),
            Self::Many(host) => host.has_data(),
            Self::Leg(_) => false,
        }
    }

    /// Counters of every stream of every peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        match self {
            Self::One(session) => vec![PeerStats {
                id: ONLY_PEER.into(),
                streams: session.stats(),
                path: session.path_stats(),
                channels: session.channels(),
            }],
            Self::Many(host) => host.stats(),
            Self::Leg(leg) => vec![PeerStats {
                id: ONLY_PEER.into(),
                streams: leg.stats(),
                path: leg.path_stats(),
                channels: Vec::new(),
            }],
        }
    }

    /// Counters of every stream of `peer`.
    pub fn stats_of(&self, peer: &str) -> Vec<(AgreedStream, StreamStats)> {
        let all = self.stats().into_iter();
        let mut of_peer = all.filter(|p| *p.id == *peer);
        of_peer.next().map(|p| p.streams).unwrap_or_default()
    }

    /// Whether another element has a leg of the same call.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Leg(_))
    }

    /// Whether it is a call of two elements that is up, though nothing may come for this one.
    pub fn is_shared_and_up(&self) -> bool {
        matches!(self, Self::Leg(leg) if leg.is_up())
    }

    /// The host, if it is one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::One(_) | Self::Leg(_) => None,
            Self::Many(host) => Some(host),
        }
    }
}
