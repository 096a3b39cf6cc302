// SPDX-License-Identifier: MPL-2.0
//! The WHIP or WHEP server: an endpoint, and a session resource for each client.
//!
//! Towards HTTP the two are the same: a client posts an offer and we answer. Only the page that
//! a browser gets differs.
//!
//! Invariants: nothing that a client sends, or does not send, holds more than its own connection,
//! and that only for a time; a resource is there exactly as long as its [`Signaller`] is.

mod auth;
mod body;
mod connections;
mod cors;
mod limits;
mod listen;
mod location;
mod page;
mod problem;
mod registry;
mod routes;
mod session;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{IceServerLink, Protocol, Token, link_header};
use crate::signalling::{Signaller, SignallingError};
use connections::Connections;
use limits::Limits;
use location::Location;
use registry::Registry;

/// Arrivals that wait to be taken.
const ARRIVALS: usize = 64;

/// What a server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Receives or sends.
    pub protocol: Protocol,
    /// Where to listen, and the path of the endpoint: `http://127.0.0.1:8080/whep`. Port 0 is any
    /// free one; without a path it is `/whip` or `/whep`.
    pub location: String,
    /// Any of these opens it; empty: anybody may come.
    pub tokens: Vec<Token>,
    /// PEM files with the certificate chain and its key, for `https`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Sessions at a time, at least 1.
    pub max_peers: usize,
    /// Told to clients with `Link` headers.
    pub ice_servers: Vec<IceServerLink>,
    /// A description must be answered within this time.
    pub answer_limit: Duration,
    /// The page has viewers steer with mouse and keyboard.
    pub navigation: bool,
}

/// A client that sent an offer.
pub struct Arrival {
    /// Its session: the last part of the resource's path, not to be guessed.
    pub id: String,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Carries its offer in and everything else both ways. Dropped, it takes the resource along.
    pub signaller: Box<dyn Signaller>,
}

/// A server that listens. Dropped, it stops; the sessions that there are go on without it.
pub struct Server {
    url: String,
    shared: Arc<Shared>,
    cancel: CancellationToken,
    /// Cancelled once no socket of the server is open any more.
    ended: CancellationToken,
}

/// What all requests see.
struct Shared {
    protocol: Protocol,
    /// Path of the endpoint, without a slash at its end.
    endpoint: String,
    page: String,
    tokens: Vec<Token>,
    links: Vec<HeaderValue>,
    answer_limit: Duration,
    limits: Limits,
    registry: Arc<Registry>,
    arrivals: mpsc::Sender<Arrival>,
    refuses_new: AtomicBool,
}

impl Server {
    /// Listens, and serves in tasks of its own until it is dropped or closed. Those who arrive
    /// come through the receiver; when nobody takes them from it, they are told to come later.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, a certificate that cannot be read, a location that
    /// is no URL: each with its cure.
    pub async fn start(
        config: ServerConfig,
    ) -> Result<(Self, mpsc::Receiver<Arrival>), SignallingError> {
        let limits = Limits::for_peers(config.max_peers);
        Self::start_within(config, limits).await
    }

    async fn start_within(
        config: ServerConfig,
        limits: Limits,
    ) -> Result<(Self, mpsc::Receiver<Arrival>), SignallingError> {
        let location = Location::read(&config.location, config.protocol)?;
        let tls = match (&config.tls, location.tls) {
            (Some((certificate, key)), true) => Some(tls::acceptor(certificate, key).await?),
            (None, false) => None,
            (Some(_), false) => {
                return Err(settings(
                    "a certificate is set, but the location begins with http: write https, or \
                     leave the certificate out",
                ));
            }
            (None, true) => {
                return Err(settings(
                    "the location begins with https, which takes a certificate and its key: set \
                     both, or write http",
                ));
            }
        };
        if config.max_peers == 0 {
            return Err(settings("the limit of peers is 0: set at least 1"));
        }
        if config.tokens.iter().any(|token| token.secret().is_empty()) {
            return Err(settings(
                "an empty token would open the server to anybody: leave it out, or write one",
            ));
        }
        let links = links(&config.ice_servers)?;
        let (listener, port) = listen::bind(&location).await?;
        let url = location.url(port);
        let (arrivals, arrived) = mpsc::channel(ARRIVALS.min(config.max_peers));
        let shared = Arc::new(Shared {
            protocol: config.protocol,
            page: page::for_endpoint(config.protocol, &location.path, config.navigation),
            endpoint: location.path,
            tokens: config.tokens,
            links,
            answer_limit: config.answer_limit,
            limits,
            registry: Registry::new(config.max_peers),
            arrivals,
            refuses_new: AtomicBool::new(false),
        });
        let cancel = CancellationToken::new();
        let ended = CancellationToken::new();
        tokio::spawn(connections::serve(
            ended.clone().drop_guard(),
            Connections {
                listener,
                tls,
                router: routes::router(shared.clone()),
                limits,
                answer_limit: config.answer_limit,
                cancel: cancel.clone(),
            },
        ));
        log::debug!(
            target: "rswebrtc::signalling",
            "{} server: listens on {url}", config.protocol.as_str()
        );
        let server = Self {
            url,
            shared,
            cancel,
            ended,
        };
        Ok((server, arrived))
    }

    /// The endpoint with its real port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes no new sessions: new clients are told that the stream is over (410). Those that
    /// there are go on.
    pub fn refuse_new(&self) {
        self.shared.refuses_new.store(true, Ordering::Release);
    }

    /// Stops listening and answers nobody any more. When this returns, the port is free. Sessions
    /// that there are go on, without a way for their clients to say bye.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.ended.cancelled().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn links(servers: &[IceServerLink]) -> Result<Vec<HeaderValue>, SignallingError> {
    servers
        .iter()
        .map(|server| {
            let mut value = HeaderValue::try_from(link_header::write(server)).map_err(|_| {
                settings(
                    "an ICE server's URL, user name or password has characters that no HTTP \
                     header can carry: leave that server out",
                )
            })?;
            value.set_sensitive(true);
            Ok(value)
        })
        .collect()
}

fn settings(text: impl Into<String>) -> SignallingError {
    SignallingError::Settings(text.into())
}
