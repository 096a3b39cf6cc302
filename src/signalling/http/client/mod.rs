// SPDX-License-Identifier: MPL-2.0
//! The WHIP or WHEP client: one session with a server.
//!
//! The session's offer, with all its candidates, is posted to the endpoint; the reply is the
//! answer, or with WHEP an offer instead. A later offer is an ICE restart. Whatever ends the
//! session, the server's resource is deleted.

mod endpoint;
mod failure;
mod life;
mod outbox;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

use super::{Protocol, Token};
use crate::signalling::{Exchange, Role, Signaller, SignallingError};
use life::Life;
use transport::Transport;

/// How long the DELETE may take, with a POST that is under way before it.
const FAREWELL_LIMIT: Duration = Duration::from_millis(1500);

/// What a client needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Sends or receives.
    pub protocol: Protocol,
    /// URL of the endpoint: `http`, `https`, or `whip`, `whips`, `whep`, `wheps` for these.
    pub endpoint: String,
    /// What it is opened with. It is sent to the origin in `endpoint` only, wherever that
    /// redirects to.
    pub token: Option<Token>,
    /// A PEM file with certificates to trust beside those of the system.
    pub ca: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// A [`Signaller`] for one session.
pub struct Client {
    config: ClientConfig,
}

impl Client {
    /// A session that begins when the signaller runs.
    pub fn new(config: ClientConfig) -> Self {
        Self { config }
    }
}

#[async_trait::async_trait]
impl Signaller for Client {
    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError> {
        if exchange.role == Role::Answerer {
            return Err(SignallingError::Settings(format!(
                "a {} client offers: set role to offer, or leave it at auto",
                self.config.protocol.as_str()
            )));
        }
        let endpoint = endpoint::read(self.config.protocol, &self.config.endpoint)?;
        let transport = tokio::select! {
            biased;
            () = exchange.cancel.cancelled() => return Ok(()),
            transport = Transport::new(&self.config, endpoint.clone()) => transport?,
        };
        Life::new(transport, exchange).run(endpoint).await
    }

    fn restarts_ice(&self) -> bool {
        true
    }

    fn farewell_limit(&self) -> Duration {
        FAREWELL_LIMIT
    }
}
