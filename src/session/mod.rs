// SPDX-License-Identifier: MPL-2.0
//! One call: signalling, negotiation and a peer, run by an actor of its own.
//!
//! The handle is separate from any element, so that several elements may share a call later.
//! Invariants: no method of [`Session`] waits for the network unless its name says so; after
//! [`Event::Ended`] or [`Event::Failed`] nothing more is told; dropping the handle stops the call.

mod actor;
pub mod addresses;
mod attempts;
pub mod calls;
mod channels;
mod dialogue;
mod done;
pub mod error;
pub mod event;
mod fan;
mod farewell;
pub mod host;
pub mod negotiation;
pub mod reconnect;
pub mod shared_call;
mod talking;
mod wire;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::media::fec::Wanted;
use crate::media::layers::Choice;
use crate::media::rtp_packet::OutboundFrame;
use crate::peer::data::DataChannel;
use crate::peer::{BitrateLimits, IceServer, PathStats, Peer, PeerFactory, StreamStats};
use crate::signalling::{Role, Signaller};

use done::Done;
use event::Event;
use negotiation::{AgreedStream, Wish};
use reconnect::Reconnect;
use talking::DRAIN_LIMIT;

/// Events that may wait for the element; the actor awaits room.
const EVENT_CAPACITY: usize = 64;

/// Commands that may wait for the actor.
const COMMAND_CAPACITY: usize = 16;

/// Everything a call needs from the start.
pub struct SessionConfig {
    /// Offerer or answerer.
    pub role: Role,
    /// How descriptions travel.
    pub signaller: Box<dyn Signaller>,
    /// Local addresses to gather from.
    pub addresses: Vec<IpAddr>,
    /// Servers that the user named.
    pub ice_servers: Vec<IceServer>,
    /// What differs between ways of signalling.
    pub options: SessionOptions,
}

/// How patient a call is, and what becomes of it when it is lost.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// The connection must be up so soon after both descriptions are known.
    pub patience: Option<Duration>,
    /// What this side sends must be known so soon after the call began.
    pub wish_patience: Option<Duration>,
    /// Video begins with a key frame, whatever is pushed before one.
    pub start_at_key_frame: bool,
    /// Made again when it was up and is lost.
    pub reconnect: Option<Reconnect>,
    /// Congestion control of what this side sends.
    pub bitrate: BitrateLimits,
    /// How video is protected, if the other side takes it.
    pub fec: Option<Wanted>,
    /// Data channels are offered, though this side opens none. They are taken anyway.
    pub offers_data: bool,
}

/// A running call.
pub struct Session {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// What its signaller needs to say bye.
    farewell_limit: Duration,
}

/// What the element asks of the actor.
enum Command {
    /// What this side sends or receives, from now on.
    Wish(Wish),
    /// There is another data channel: it may be the first.
    Data,
    /// Everything was pushed: deliver it, say bye, end.
    Finish,
}

/// What handle and actor both see.
struct Shared {
    handle: Handle,
    current: Mutex<Current>,
    begun: Notify,
    cancel: CancellationToken,
    done: Done,
    /// Data channels that this side opens, on each connection.
    channels: Mutex<Vec<Arc<DataChannel>>>,
}

/// The connection now; a call that reconnects has several, one after the other.
#[derive(Default)]
struct Current {
    peer: Option<Arc<dyn Peer>>,
    agreed: Arc<Vec<AgreedStream>>,
    /// Which layer of a picture goes on.
    layer: Choice,
}

impl Session {
    /// Makes a call on `handle`'s runtime; signalling starts with [`Self::begin`].
    pub fn start(
        config: SessionConfig,
        factory: Arc<dyn PeerFactory>,
        handle: &Handle,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
        let (commands, inbox) = mpsc::channel(COMMAND_CAPACITY);
        let shared = Arc::new(Shared {
            handle: handle.clone(),
            current: Mutex::default(),
            begun: Notify::new(),
            cancel: CancellationToken::new(),
            done: Done::default(),
            channels: Mutex::default(),
        });
        let farewell_limit = config.signaller.farewell_limit();
        handle.spawn(actor::run(config, factory, shared.clone(), inbox, events));
        let session = Self {
            shared,
            commands,
            farewell_limit,
        };
        (session, receiver)
    }

    /// Starts signalling. Whoever makes the call must be able to take an error by now.
    pub fn begin(&self) {
        self.shared.begun.notify_one();
    }

    /// Says what this side sends or receives; the offer or the answer follows. During the call,
    /// a new offer.
    pub fn set_wish(&self, wish: Wish) {
        self.command(Command::Wish(wish));
    }

    fn command(&self, command: Command) {
        // overflow: detached: without room the rest waits in a task of its own, in this order.
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            let commands = self.commands.clone();
            // overflow: awaited there
            self.shared
                .handle
                .spawn(async move { commands.send(command).await });
        }
    }

    /// Opens a data channel, now or once there is a connection.
    pub fn open_channel(&self, channel: Arc<DataChannel>) {
        self.shared.lock_channels().push(channel.clone());
        if let Some(peer) = self.shared.peer() {
            peer.open_channel(channel);
            self.command(Command::Data);
        }
    }

    /// Whether both sides agreed on data channels.
    pub fn has_data(&self) -> bool {
        self.shared.peer().is_some_and(|peer| peer.has_data())
    }

    /// Data channels that are not closed, those of the remote among them.
    pub fn channels(&self) -> Vec<Arc<DataChannel>> {
        let peer = self.shared.peer();
        peer.map(|peer| peer.channels()).unwrap_or_default()
    }

    /// Queues a frame of local stream `local`; `false` when it was dropped.
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) -> bool {
        match self.shared.sender(local) {
            Some((peer, stream)) => peer.push_frame(stream, frame),
            None => false,
        }
    }

    /// Queues what others were sent of local stream `local` since a key frame; it leaves paced.
    pub fn push_backlog(&self, local: usize, frames: &[OutboundFrame]) {
        if let Some((peer, stream)) = self.shared.sender(local) {
            peer.push_backlog(stream, frames);
        }
    }

    /// Which local streams flow.
    pub fn sent(&self) -> Vec<usize> {
        let agreed = self.shared.agreed();
        let sent = agreed.iter().filter(|a| a.direction.sends());
        sent.map(|a| a.local).collect()
    }

    /// Asks the remote for a key frame of output `output` of stream `stream` (PLI).
    pub fn request_key_frame(&self, stream: usize, output: usize) {
        if let Some(peer) = self.shared.peer() {
            peer.request_key_frame_of(stream, output);
        }
    }

    /// Which layer of a picture goes on from now on, where the remote sends several.
    pub fn set_layer(&self, choice: Choice) {
        self.shared.lock_current().layer = choice.clone();
        if let Some(peer) = self.shared.peer() {
            peer.set_layer(choice);
        }
    }

    /// New bounds of what this side sends.
    pub fn set_bitrate_limits(&self, limits: BitrateLimits) {
        if let Some(peer) = self.shared.peer() {
            peer.set_bitrate_limits(limits);
        }
    }

    /// What is known of the path to the remote.
    pub fn path_stats(&self) -> PathStats {
        let peer = self.shared.peer();
        peer.map(|peer| peer.path_stats()).unwrap_or_default()
    }

    /// Everything was pushed: the call ends once it is delivered; see [`Self::wait_done`].
    pub fn finish(&self) {
        self.command(Command::Finish);
    }

    /// Waits at most `timeout` for the call to be over; tells whether it is.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        self.shared.done.wait(timeout)
    }

    /// Cuts the call: bye, DTLS close, sockets freed. Waits at most `timeout`, or as long as its
    /// signaller may take to say bye: a program that ends with it would leave the remote's
    /// session behind. The rest goes on in the background.
    pub fn stop(&self, timeout: Duration) -> bool {
        self.shared.cancel.cancel();
        self.wait_done(timeout.max(self.farewell_limit))
    }

    /// As [`Self::stop`], without waiting.
    pub(super) fn cut(&self) {
        self.shared.cancel.cancel();
    }

    /// Waits at most `limit` until the remote has all that was pushed; tells whether it has.
    pub(super) async fn delivered(&self, limit: Duration) -> bool {
        let Some(peer) = self.shared.peer() else {
            return true;
        };
        tokio::time::timeout(limit, peer.drained()).await.is_ok()
    }

    /// Nothing more is sent of the streams at these places of the wish, and their m-lines stay as
    /// they are.
    pub(super) fn end_sending(&self, own: Range<usize>) {
        let Some(peer) = self.shared.peer() else {
            return;
        };
        for stream in self.shared.agreed().iter() {
            if stream.direction.sends() && own.contains(&stream.local) {
                peer.end_sending(stream.stream);
            }
        }
    }

    /// Completes when the call is over.
    pub(super) async fn done(&self) {
        self.shared.done.reached().await;
    }

    /// Counters of every agreed stream, in the order of the m-lines.
    pub fn stats(&self) -> Vec<(AgreedStream, StreamStats)> {
        self.shared.stats()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

impl Shared {
    fn lock_current(&self) -> std::sync::MutexGuard<'_, Current> {
        // Both are replaced whole.
        self.current
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Nobody waits at a channel of a call that is over.
    fn end_channels(&self) {
        for channel in self.lock_channels().drain(..) {
            channel.closed("the call ended");
        }
    }

    fn lock_channels(&self) -> std::sync::MutexGuard<'_, Vec<Arc<DataChannel>>> {
        // Only ever grows by one.
        self.channels
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The peer that sends local stream `local`, and what it calls it.
    fn sender(&self, local: usize) -> Option<(Arc<dyn Peer>, usize)> {
        let current = self.lock_current();
        let mut sent = current.agreed.iter().filter(|a| a.direction.sends());
        let stream = sent.find(|a| a.local == local)?.stream;
        Some((current.peer.clone()?, stream))
    }

    fn peer(&self) -> Option<Arc<dyn Peer>> {
        self.lock_current().peer.clone()
    }

    fn set_peer(&self, peer: Arc<dyn Peer>) {
        let mut current = self.lock_current();
        peer.set_layer(current.layer.clone());
        current.peer = Some(peer);
        current.agreed = Arc::default();
    }

    fn take_peer(&self) -> Option<Arc<dyn Peer>> {
        let mut current = self.lock_current();
        current.agreed = Arc::default();
        current.peer.take()
    }

    fn agreed(&self) -> Arc<Vec<AgreedStream>> {
        self.lock_current().agreed.clone()
    }

    fn set_agreed(&self, agreed: Vec<AgreedStream>) {
        self.lock_current().agreed = Arc::new(agreed);
    }

    fn stats(&self) -> Vec<(AgreedStream, StreamStats)> {
        let (peer, agreed) = {
            let current = self.lock_current();
            (current.peer.clone(), current.agreed.clone())
        };
        let mut all = Vec::with_capacity(agreed.len());
        if let Some(peer) = peer {
            for stream in agreed.iter() {
                let stats = match stream.direction.sends() {
                    true => peer.sent_stats(stream.stream),
                    false => peer.stats(stream.stream),
                };
                all.push((stream.clone(), stats));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
