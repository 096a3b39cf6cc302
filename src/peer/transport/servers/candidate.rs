// SPDX-License-Identifier: MPL-2.0
//! Candidates that servers gave.

use std::net::SocketAddr;

use rtc::ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc::ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc::ice::candidate::{Candidate, CandidateConfig};
use rtc::shared::error::Error;

/// A candidate that a server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::peer) enum Found {
    /// How the server sees the socket, where that is not the socket's own address.
    Reflexive {
        /// Address of the socket.
        base: SocketAddr,
        /// Address at the NAT.
        mapped: SocketAddr,
        /// The server.
        url: String,
    },
    /// An address at the server.
    Relayed {
        /// Address of the socket.
        base: SocketAddr,
        /// Address at the server.
        relayed: SocketAddr,
        /// How the server sees the socket.
        mapped: SocketAddr,
        /// The server.
        url: String,
    },
}

impl Found {
    /// As the ICE agent takes it. The base of a relayed candidate is the relayed address itself
    /// (RFC 8445 section 5.1.1.2): what the agent sends from there goes through
    /// [`Servers::relay`](super::Servers::relay).
    ///
    /// # Errors
    ///
    /// The agent knows no such address.
    pub(in crate::peer) fn candidate(&self) -> Result<Candidate, Error> {
        let config = |address: &SocketAddr| CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: 1,
            ..CandidateConfig::default()
        };
        match self {
            Self::Reflexive { base, mapped, url } => CandidateServerReflexiveConfig {
                base_config: config(mapped),
                rel_addr: base.ip().to_string(),
                rel_port: base.port(),
                url: Some(url.clone()),
            }
            .new_candidate_server_reflexive(),
            Self::Relayed {
                relayed,
                mapped,
                url,
                ..
            } => CandidateRelayConfig {
                base_config: config(relayed),
                rel_addr: mapped.ip().to_string(),
                rel_port: mapped.port(),
                url: Some(url.clone()),
            }
            .new_candidate_relay(),
        }
    }
}
