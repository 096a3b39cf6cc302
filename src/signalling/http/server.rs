// SPDX-License-Identifier: MPL-2.0
//! The WHIP or WHEP server: an endpoint, and a session resource for each client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{IceServerLink, Protocol, Token};
use crate::signalling::{Signaller, SignallingError};

/// What a server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Receives or sends.
    pub protocol: Protocol,
    /// Where to listen, and the path of the endpoint: `http://127.0.0.1:8080/whep`.
    pub location: String,
    /// Any of these opens it; empty: anybody may come.
    pub tokens: Vec<Token>,
    /// PEM files with the certificate chain and its key, for `https`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Sessions at a time.
    pub max_peers: usize,
    /// Told to clients with `Link` headers.
    pub ice_servers: Vec<IceServerLink>,
    /// A description must be answered within this time.
    pub answer_limit: Duration,
}

/// A client that sent an offer.
pub struct Arrival {
    /// Its session: the last part of the resource's path, not to be guessed.
    pub id: String,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Carries its offer in and everything else both ways.
    pub signaller: Box<dyn Signaller>,
}

/// A server that listens.
pub struct Server {
    url: String,
    _cancel: CancellationToken,
}

impl Server {
    /// Listens, and serves in tasks of its own until it is dropped or closed.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, a certificate that cannot be read, a location that
    /// is no URL: each with its cure.
    pub async fn start(
        config: ServerConfig,
    ) -> Result<(Self, mpsc::Receiver<Arrival>), SignallingError> {
        Err(SignallingError::Settings(format!(
            "{} as a server is not there yet ({})",
            config.protocol.as_str(),
            config.location
        )))
    }

    /// The endpoint with its real port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes no new sessions: new clients are told that the stream is over (410). Those that
    /// there are go on.
    pub fn refuse_new(&self) {}

    /// Stops listening and answers nobody any more.
    pub async fn close(&self) {}
}
