// SPDX-License-Identifier: MPL-2.0
//! The WHIP or WHEP client: one session with a server.

use std::path::PathBuf;
use std::time::Duration;

use super::{Protocol, Token};
use crate::signalling::{Exchange, Signaller, SignallingError};

/// What a client needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Sends or receives.
    pub protocol: Protocol,
    /// URL of the endpoint.
    pub endpoint: String,
    /// What it is opened with.
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
    async fn run(self: Box<Self>, _exchange: Exchange) -> Result<(), SignallingError> {
        Err(SignallingError::Settings(format!(
            "{} as a client is not there yet",
            self.config.protocol.as_str()
        )))
    }
}
