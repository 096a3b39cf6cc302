// SPDX-License-Identifier: MPL-2.0
//! Ways for two peers to exchange descriptions. Each is a [`Signaller`]; all are equals.
//!
//! Invariant: this layer sees text, never a pad, a caps or a peer; nothing it reads from outside
//! can make it panic, and every wait in it ends when its cancellation token is cancelled.

pub mod application;
mod document;
pub mod file;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod intake;
mod line_codec;
pub mod message;
pub mod stdio;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use message::{DescriptionType, Message};

pub use document::{FoundDescription, find_description};

/// Which description we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We offer.
    Offerer,
    /// We answer.
    Answerer,
}

/// Something the user should know that does not end the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);

/// The two mailboxes of a call, and what ends it.
pub struct Exchange {
    /// Offerer or answerer.
    pub role: Role,
    /// To the remote. Closed by the session when nothing more will come: then flush and return.
    pub outgoing: mpsc::Receiver<Message>,
    /// From the remote.
    pub incoming: mpsc::Sender<Message>,
    /// To the user.
    pub notices: mpsc::Sender<Notice>,
    /// The call was cut: return at once (a bye that is already in `outgoing` is still sent).
    pub cancel: CancellationToken,
}

/// Why signalling ended before its time. The text names cause and cure.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SignallingError {
    /// The other end is gone before the description that was due.
    #[error("{0}")]
    Closed(String),
    /// What came is not what is due (an answer where an offer is due, an offer twice).
    #[error("{0}")]
    Unexpected(String),
    /// A file or a terminal could not be read.
    #[error("{what}: {source}")]
    Read {
        /// What was read.
        what: String,
        /// The system's word.
        source: Arc<std::io::Error>,
    },
    /// A file or a terminal could not be written.
    #[error("{what}: {source}")]
    Write {
        /// What was written.
        what: String,
        /// The system's word.
        source: Arc<std::io::Error>,
    },
    /// The settings do not make sense together.
    #[error("{0}")]
    Settings(String),
    /// An HTTP endpoint could not be reached, or refused.
    #[error("{text}")]
    Http {
        /// Cause and cure.
        text: String,
        /// The status code, where an answer came.
        status: Option<u16>,
        /// Whether another try has a chance.
        retry: Retry,
    },
}

/// Whether, and when, to try again what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again: a wrong token, a wrong URL, nothing in common.
    Never,
    /// After a while that whoever tries chooses.
    Later,
    /// Not before this time has passed (`Retry-After`, RFC 9110 section 10.2.3).
    After(Duration),
}

/// One way of signalling, for one call.
#[async_trait::async_trait]
pub trait Signaller: Send {
    /// Carries messages until signalling ends: with `Ok` after a bye (either way), after
    /// `outgoing` was closed or `cancel` was cancelled, with an error otherwise. A bye from the
    /// remote is passed on before.
    async fn run(self: Box<Self>, exchange: Exchange) -> Result<(), SignallingError>;

    /// Whether both sides may send an offer during the call, or only the one that offered it.
    fn either_side_offers(&self) -> bool {
        false
    }

    /// Whether a [`Message::Refuse`] reaches the remote.
    fn takes_refusals(&self) -> bool {
        false
    }

    /// Whether an offer with new ICE credentials can be carried while the connection is broken
    /// (RFC 9725 section 4.3.3). It is answered with a description, or a [`Message::Refuse`].
    fn restarts_ice(&self) -> bool {
        false
    }

    /// How long saying bye may take.
    fn farewell_limit(&self) -> Duration {
        Duration::from_millis(300)
    }
}

/// What the remote owes us, by our role.
pub(crate) fn due(role: Role) -> DescriptionType {
    match role {
        Role::Offerer => DescriptionType::Answer,
        Role::Answerer => DescriptionType::Offer,
    }
}

/// The signallers a user can choose, with what each needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignallerConfig {
    /// Copy and paste.
    Stdio,
    /// Files in a directory.
    File(PathBuf),
    /// By the application that has this mailbox.
    Application(application::Mailbox),
    /// A WHIP or WHEP server.
    Http(self::http::client::ClientConfig),
}

impl SignallerConfig {
    /// A new one, for one call.
    pub fn build(&self) -> Box<dyn Signaller> {
        match self {
            Self::Stdio => Box::new(stdio::Stdio::new()),
            Self::File(directory) => Box::new(file::FileExchange::new(directory.clone())),
            Self::Application(mailbox) => Box::new(application::Application::new(mailbox.clone())),
            Self::Http(config) => Box::new(self::http::client::Client::new(config.clone())),
        }
    }
}
