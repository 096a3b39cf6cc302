// SPDX-License-Identifier: MPL-2.0
//! Many calls at a time: a server, and a [`Session`] for each client that comes.
//!
//! What is sent is made once; each peer adds its headers and its encryption. Invariants: pushing
//! never waits for a peer; a peer that cannot follow loses frames up to the next key frame, and
//! nobody else does; after [`HostEvent::Ended`] or [`HostEvent::Failed`] nothing more is told.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::media::fec::Wanted;
use crate::media::layers::Choice;
use crate::media::rtp_packet::OutboundFrame;
use crate::peer::{BitrateLimits, IceServer, PeerFactory};
use crate::signalling::http::server::{Arrival, Server, ServerConfig};
use crate::signalling::{Role, SignallingError};

use super::calls::PeerStats;
use super::event::Event;
use super::fan::Fan;
use super::negotiation::Wish;
use super::{Done, Session, SessionConfig, SessionOptions};

/// Events of all peers that may wait for the element; the forwarders await room.
const EVENT_CAPACITY: usize = 256;
/// A connection that is not up so soon after its answer never will be.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// An offer that comes before the first data waits so long for it.
const WISH_PATIENCE: Duration = Duration::from_secs(4);

/// Everything a host needs.
pub struct HostConfig {
    /// Where and how clients come.
    pub server: ServerConfig,
    /// Local addresses to gather from.
    pub addresses: Vec<IpAddr>,
    /// Servers that the user named.
    pub ice_servers: Vec<IceServer>,
    /// Congestion control of what is sent to each client.
    pub bitrate: BitrateLimits,
    /// How video is protected for those who take it.
    pub fec: Option<Wanted>,
}

/// What a host tells the element that owns it.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostEvent {
    /// Clients can come, to this URL.
    Listening(String),
    /// What happened in the call with peer `id`, which comes from `remote`.
    Peer {
        /// Its number, counted from 0.
        id: Arc<str>,
        /// Where its HTTP request came from.
        remote: SocketAddr,
        /// What happened.
        event: Event,
    },
    /// [`Host::remind_of_key_frame`]'s time is over.
    KeyFrameDue(usize),
    /// All is delivered and everybody is gone; the last event.
    Ended,
    /// Nobody can come; the last event.
    Failed(SignallingError),
}

/// Many calls.
pub struct Host {
    shared: Arc<Shared>,
    events: mpsc::Sender<HostEvent>,
}

struct Shared {
    handle: Handle,
    fan: Fan,
    begun: Notify,
    /// Of each peer; those who come get it, too.
    bitrate: Mutex<BitrateLimits>,
    /// Which layer of a picture goes on; those who come get it, too.
    layer: Mutex<Choice>,
    finish: CancellationToken,
    cancel: CancellationToken,
    /// All calls are over.
    done: Done,
    /// Nobody listens any more.
    closed: Done,
}

impl Host {
    /// Makes a host on `handle`'s runtime; it listens from [`Self::begin`] on.
    pub fn start(
        config: HostConfig,
        factory: Arc<dyn PeerFactory>,
        handle: &Handle,
    ) -> (Self, mpsc::Receiver<HostEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
        let shared = Arc::new(Shared {
            handle: handle.clone(),
            fan: Fan::default(),
            begun: Notify::new(),
            bitrate: Mutex::new(config.bitrate),
            layer: Mutex::default(),
            finish: CancellationToken::new(),
            cancel: CancellationToken::new(),
            done: Done::default(),
            closed: Done::default(),
        });
        handle.spawn(run(config, factory, shared.clone(), events.clone()));
        (Self { shared, events }, receiver)
    }

    /// Starts to listen. Whoever makes the host must be able to take an error by now.
    pub fn begin(&self) {
        self.shared.begun.notify_one();
    }

    /// Says what is sent or received, to those who are there and to those who come.
    pub fn set_wish(&self, wish: Wish) {
        self.shared.fan.set_wish(wish);
    }

    /// Queues a frame of local stream `local` for all peers that were [admitted](Self::admit).
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) {
        self.shared.fan.push(local, frame);
    }

    /// Which local streams peer `id` gets.
    pub fn sent_to(&self, id: &str) -> Vec<usize> {
        self.shared.fan.sent_to(id)
    }

    /// Peer `id` gets media from now on: of the streams in `replay` all that was sent since their
    /// last key frame, of the others the next key frame.
    pub fn admit(&self, id: &str, replay: &[usize]) {
        self.shared.fan.admit(id, replay);
    }

    /// Whether frames since the last key frame are kept for those who come.
    pub fn keep_for_late_comers(&self, keep: bool) {
        self.shared.fan.keep(keep);
    }

    /// New bounds of what is sent to each peer, also to those who come.
    pub fn set_bitrate_limits(&self, limits: BitrateLimits) {
        *self.shared.lock_bitrate() = limits;
        for (_, session) in self.shared.fan.sessions() {
            session.set_bitrate_limits(limits);
        }
    }

    /// Asks peer `id` for a key frame of output `output` of stream `stream` (PLI).
    pub fn request_key_frame(&self, id: &str, stream: usize, output: usize) {
        if let Some(session) = self.shared.fan.session(id) {
            session.request_key_frame(stream, output);
        }
    }

    /// Which layer of a picture goes on, of those who are there and of those who come.
    pub fn set_layer(&self, choice: Choice) {
        *self.shared.lock_layer() = choice.clone();
        for (_, session) in self.shared.fan.sessions() {
            session.set_layer(choice.clone());
        }
    }

    /// Tells [`HostEvent::KeyFrameDue`] after `delay`.
    pub fn remind_of_key_frame(&self, local: usize, delay: Duration) {
        let (events, cancel) = (self.events.clone(), self.shared.cancel.clone());
        self.shared.handle.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(delay) => {
                    // overflow: awaited; the element takes events on a thread of its own.
                    let _ = events.send(HostEvent::KeyFrameDue(local)).await;
                }
            }
        });
    }

    /// Cuts the call with peer `id`.
    pub fn dismiss(&self, id: &str) {
        if let Some(session) = self.shared.fan.session(id) {
            session.cut();
        }
    }

    /// Everything was pushed: nobody new is taken, and the calls end once it is delivered. Those
    /// who come later are told that the stream is over, until [`Self::stop`].
    pub fn finish(&self) {
        self.shared.finish.cancel();
    }

    /// Waits at most `timeout` for all calls to be over; tells whether they are.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        self.shared.done.wait(timeout)
    }

    /// Cuts all calls and stops listening. Waits at most `timeout`; the rest goes on in the
    /// background.
    pub fn stop(&self, timeout: Duration) -> bool {
        self.shared.cancel.cancel();
        self.shared.closed.wait(timeout)
    }

    /// Whether data channels were agreed with a peer.
    pub fn has_data(&self) -> bool {
        let mut sessions = self.shared.fan.sessions().into_iter();
        sessions.any(|(_, session)| session.has_data())
    }

    /// Counters of every stream of every peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        let sessions = self.shared.fan.sessions();
        let of_peer = |(id, session): (_, Arc<Session>)| PeerStats {
            id,
            streams: session.stats(),
            path: session.path_stats(),
            channels: session.channels(),
        };
        sessions.into_iter().map(of_peer).collect()
    }
}

impl Shared {
    fn lock_bitrate(&self) -> MutexGuard<'_, BitrateLimits> {
        // Replaced whole.
        self.bitrate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_layer(&self) -> MutexGuard<'_, Choice> {
        // Replaced whole.
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

async fn run(
    config: HostConfig,
    factory: Arc<dyn PeerFactory>,
    shared: Arc<Shared>,
    events: mpsc::Sender<HostEvent>,
) {
    tokio::select! {
        () = shared.begun.notified() => {}
        () = shared.cancel.cancelled() => {
            shared.done.set();
            shared.closed.set();
            return;
        }
    }
    let HostConfig {
        server,
        addresses,
        ice_servers,
        bitrate: _,
        fec,
    } = config;
    let host = Running {
        addresses,
        ice_servers,
        fec,
        factory,
        shared: shared.clone(),
        events,
        arrivals: AtomicU64::new(0),
    };
    let (last, server) = host.serve(server).await;
    // overflow: nudge: room is plenty unless the element stopped reading, then it is stopping.
    let _ = host.events.try_send(last);
    shared.done.set();
    if let Some(server) = server {
        // Whoever comes now is told that the stream is over, and not nothing at all.
        shared.cancel.cancelled().await;
        server.close().await;
    }
    shared.closed.set();
}

struct Running {
    addresses: Vec<IpAddr>,
    ice_servers: Vec<IceServer>,
    fec: Option<Wanted>,
    factory: Arc<dyn PeerFactory>,
    shared: Arc<Shared>,
    events: mpsc::Sender<HostEvent>,
    /// Counts those who came.
    arrivals: AtomicU64,
}

impl Running {
    /// Until there is nobody left; gives the last event, and the server, which takes nobody new.
    async fn serve(&self, config: ServerConfig) -> (HostEvent, Option<Server>) {
        let (server, mut arrivals) = match Server::start(config).await {
            Ok(started) => started,
            Err(error) => return (HostEvent::Failed(error), None),
        };
        self.tell(HostEvent::Listening(server.url().to_owned()))
            .await;
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.shared.cancel.cancelled() => break,
                () = self.shared.finish.cancelled() => break,
                Some(_) = calls.join_next() => {}
                arrival = arrivals.recv() => match arrival {
                    Some(arrival) => {
                        calls.spawn(self.receive(arrival));
                    }
                    None => break,
                },
            }
        }
        server.refuse_new();
        self.shared.fan.finish();
        loop {
            tokio::select! {
                biased;
                ended = calls.join_next() => if ended.is_none() { break },
                () = self.shared.cancel.cancelled() => {
                    for (_, session) in self.shared.fan.sessions() {
                        session.cut();
                    }
                    while calls.join_next().await.is_some() {}
                    break;
                }
            }
        }
        (HostEvent::Ended, Some(server))
    }

    /// Makes the call with a client; the future goes on until it is over.
    fn receive(&self, arrival: Arrival) -> impl Future<Output = ()> + Send + use<> {
        let Arrival {
            id,
            remote,
            signaller,
        } = arrival;
        // Its own name opens the session to whoever knows it: not for logs, signals and statistics.
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        log::debug!(target: "rswebrtc::session", "peer {number} from {remote}");
        drop(id);
        let id: Arc<str> = number.to_string().into();
        let config = SessionConfig {
            role: Role::Answerer,
            signaller,
            addresses: self.addresses.clone(),
            ice_servers: self.ice_servers.clone(),
            options: SessionOptions {
                patience: Some(HANDSHAKE_LIMIT),
                wish_patience: Some(WISH_PATIENCE),
                start_at_key_frame: true,
                reconnect: None,
                bitrate: *self.shared.lock_bitrate(),
                fec: self.fec,
                offers_data: false,
            },
        };
        let (session, mut from_session) =
            Session::start(config, self.factory.clone(), &self.shared.handle);
        let session = Arc::new(session);
        session.set_layer(self.shared.lock_layer().clone());
        session.begin();
        self.shared.fan.add(id.clone(), session.clone());
        let (shared, events) = (self.shared.clone(), self.events.clone());
        async move {
            while let Some(event) = from_session.recv().await {
                let last = matches!(event, Event::Ended(_) | Event::Failed(_));
                if last {
                    shared.fan.remove(&id);
                }
                let event = HostEvent::Peer {
                    id: id.clone(),
                    remote,
                    event,
                };
                // overflow: awaited; the element takes events on a thread of its own.
                let _ = events.send(event).await;
                if last {
                    break;
                }
            }
            shared.fan.remove(&id);
            // The session waits until its last event was taken.
            drop(from_session);
            session.done().await;
        }
    }

    async fn tell(&self, event: HostEvent) {
        // overflow: awaited; the element takes events on a thread of its own.
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests;
