// SPDX-License-Identifier: MPL-2.0
//! Accepts connections and speaks HTTP/1.1 on each, in a task of its own.
//!
//! Connections above the limit are accepted and closed at once: their clients learn that, where
//! they would wait for nothing in the system's backlog.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service as _;

use super::limits::Limits;
use super::routes::Remote;

/// After the system refused a connection, for want of descriptors mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Of a request's head, and of what is read ahead of its body.
const BUFFER: usize = 32 * 1024;

/// Header lines of a request.
const HEADERS: usize = 64;

/// The way in.
pub(super) struct Connections {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) answer_limit: Duration,
    pub(super) cancel: CancellationToken,
}

/// Serves until it is cancelled; `_ended` is dropped when every socket is closed.
pub(super) async fn serve(_ended: DropGuard, connections: Connections) {
    let mut tasks = JoinSet::new();
    let (mut turned_away, mut failures) = (0_u64, 0_u64);
    loop {
        let accepted = tokio::select! {
            biased;
            () = connections.cancel.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = connections.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) if tasks.len() < connections.limits.connections => {
                tasks.spawn(connections.connection(stream, remote));
            }
            Ok(_) => {
                turned_away += 1;
                // Not a line for each: a flood would fill the log.
                if turned_away.is_power_of_two() {
                    log::debug!(
                        target: "rswebrtc::signalling",
                        "HTTP server: {turned_away} connections turned away so far, above the \
                         limit of {}", connections.limits.connections
                    );
                }
            }
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    log::warn!(
                        target: "rswebrtc::signalling",
                        "HTTP server: no connection can be accepted ({error}), {failures} times so \
                         far; trying again"
                    );
                }
                tokio::select! {
                    () = connections.cancel.cancelled() => break,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
    drop(connections);
    tasks.shutdown().await;
}

impl Connections {
    /// All that happens on one connection.
    fn connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, router, limits) = (self.tls.clone(), self.router.clone(), self.limits);
        let last_request = limits.body + limits.request * 2 + self.answer_limit;
        async move {
            // Answers are short and awaited; without this some wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else {
                return speak(stream, remote, router, limits, last_request).await;
            };
            match timeout(limits.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => speak(stream, remote, router, limits, last_request).await,
                Ok(Err(error)) => ended(remote, &format_args!("TLS: {error}")),
                Err(_) => ended(remote, &"the TLS handshake took too long"),
            }
        }
    }
}

/// HTTP on one connection, for as long as one may last.
async fn speak<S>(
    stream: S,
    remote: SocketAddr,
    router: Router,
    limits: Limits,
    last_request: Duration,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Remote(remote));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = sleep(limits.connection) => {
            // Also ends those that never read what we answer.
            connection.as_mut().graceful_shutdown();
            match timeout(last_request, connection).await {
                Ok(result) => result,
                Err(_) => return ended(remote, &"it does not take its answer"),
            }
        }
    };
    if let Err(error) = result {
        ended(remote, &error);
    }
}

fn ended(remote: SocketAddr, why: &dyn std::fmt::Display) {
    log::debug!(target: "rswebrtc::signalling", "HTTP server: connection of {remote} ended: {why}");
}
