// SPDX-License-Identifier: MPL-2.0
//! Why a call could not be made or kept: each text names the cause and the cure.

use crate::peer::PeerError;
use crate::sdp::SdpError;
use crate::signalling::SignallingError;
use crate::signalling::message::{Refusal, RefusalKind};

/// Ends a call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The descriptions could not be exchanged.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// A remote description that cannot be used.
    #[error("the remote's {kind} cannot be used: {reason}")]
    BadDescription {
        /// `offer` or `answer`.
        kind: &'static str,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Nothing would flow.
    #[error(
        "no codec in common: this side would {ours}; the remote takes part with {theirs}. Encode \
         to a codec and profile that it has (H264 constrained-baseline and VP8 are taken nearly \
         everywhere; video/x-raw,format=I420 before the encoder keeps it from rarer profiles), or \
         allow that codec on the remote"
    )]
    NoCommonCodec {
        /// What we do.
        ours: String,
        /// What the remote has.
        theirs: String,
    },
    /// The codecs fit, and the directions do not.
    #[error(
        "the remote {what} nothing on any m-line whose codec fits: its directions (a=sendrecv, \
         a=sendonly, a=recvonly, a=inactive) leave nothing to do. Have it take part, or swap the \
         elements"
    )]
    NothingFlows {
        /// `sends` or `receives`.
        what: &'static str,
    },
    /// An offer came before this side knew what it sends.
    #[error("what is to be sent is not known yet: no data came so far")]
    NotReady,
    /// No local address, or no socket.
    #[error("{0}")]
    Address(String),
    /// The connection did not come up.
    #[error("{0}")]
    NotConnected(PeerError),
    /// The connection was up and is lost.
    #[error("{0}")]
    Lost(PeerError),
    /// The peer refused something.
    #[error("{0}")]
    Peer(PeerError),
}

impl CallError {
    /// What a remote is told whose offer comes to nothing.
    pub(super) fn refusal(&self) -> Refusal {
        let kind = match self {
            Self::BadDescription { .. } => RefusalKind::BadDescription,
            Self::NoCommonCodec { .. } | Self::NothingFlows { .. } => RefusalKind::NothingInCommon,
            Self::NotReady => RefusalKind::NotReady,
            _ => RefusalKind::Internal,
        };
        Refusal {
            kind,
            reason: self.to_string(),
        }
    }

    pub(super) fn description(kind: &'static str, error: &SdpError) -> Self {
        Self::BadDescription {
            kind,
            reason: format!(
                "{error}; paste or pass it whole, from the first v= line to the last a= line"
            ),
        }
    }
}
