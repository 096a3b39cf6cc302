// SPDX-License-Identifier: MPL-2.0
//! One call: signalling, negotiation and a peer, run by an actor of its own.
//!
//! The handle is separate from any element, so that several elements may share a call later.
//! Invariants: no method of [`Session`] waits for the network unless its name says so; after
//! [`Event::Ended`] or [`Event::Failed`] nothing more is told; dropping the handle stops the call.

mod actor;
pub mod addresses;
mod dialogue;
pub mod error;
pub mod event;
mod farewell;
pub mod negotiation;

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::media::rtp_packet::OutboundFrame;
use crate::peer::{IceServer, Peer, PeerFactory, StreamStats};
use crate::signalling::{Role, Signaller};

use event::Event;
use negotiation::{AgreedStream, Wish};

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
}

/// A running call.
pub struct Session {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What the element asks of the actor.
enum Command {
    /// What this side sends or receives, from now on.
    Wish(Wish),
    /// Everything was pushed: deliver it, say bye, end.
    Finish,
}

/// What handle and actor both see.
struct Shared {
    handle: Handle,
    peer: OnceLock<Arc<dyn Peer>>,
    agreed: Mutex<Arc<Vec<AgreedStream>>>,
    begun: Notify,
    cancel: CancellationToken,
    done: Mutex<bool>,
    done_changed: Condvar,
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
            peer: OnceLock::new(),
            agreed: Mutex::default(),
            begun: Notify::new(),
            cancel: CancellationToken::new(),
            done: Mutex::new(false),
            done_changed: Condvar::new(),
        });
        handle.spawn(actor::run(config, factory, shared.clone(), inbox, events));
        (Self { shared, commands }, receiver)
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

    /// Queues a frame of local stream `local`; `false` when it was dropped.
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) -> bool {
        match (self.shared.peer.get(), self.shared.stream_of(local)) {
            (Some(peer), Some(stream)) => peer.push_frame(stream, frame),
            _ => false,
        }
    }

    /// Asks the remote for a key frame of stream `stream` (PLI).
    pub fn request_key_frame(&self, stream: usize) {
        if let Some(peer) = self.shared.peer.get() {
            peer.request_key_frame(stream);
        }
    }

    /// Everything was pushed: the call ends once it is delivered; see [`Self::wait_done`].
    pub fn finish(&self) {
        self.command(Command::Finish);
    }

    /// Waits at most `timeout` for the call to be over; tells whether it is.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        let done = self.shared.lock_done();
        let (done, _) = self
            .shared
            .done_changed
            .wait_timeout_while(done, timeout, |done| !*done)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *done
    }

    /// Cuts the call: bye, DTLS close, sockets freed. Waits at most `timeout`; the rest goes on
    /// in the background.
    pub fn stop(&self, timeout: Duration) -> bool {
        self.shared.cancel.cancel();
        self.wait_done(timeout)
    }

    /// Counters of every agreed stream, in the order of the m-lines.
    pub fn stats(&self) -> Vec<(AgreedStream, StreamStats)> {
        let Some(peer) = self.shared.peer.get().cloned() else {
            return Vec::new();
        };
        let agreed = self.shared.agreed();
        let collect = async move {
            let mut all = Vec::with_capacity(agreed.len());
            for stream in agreed.iter() {
                let stats = peer.stats(stream.stream).await;
                all.push((stream.clone(), stats));
            }
            all
        };
        crate::runtime::wait(&self.shared.handle, collect, Duration::from_millis(200))
            .unwrap_or_default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

impl Shared {
    fn stream_of(&self, local: usize) -> Option<usize> {
        self.agreed()
            .iter()
            .find(|a| a.local == local)
            .map(|a| a.stream)
    }

    fn agreed(&self) -> Arc<Vec<AgreedStream>> {
        // Replaced whole.
        self.agreed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn set_agreed(&self, agreed: Vec<AgreedStream>) {
        *self
            .agreed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(agreed);
    }

    fn lock_done(&self) -> std::sync::MutexGuard<'_, bool> {
        // A flag cannot be left half changed.
        self.done
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn set_done(&self) {
        *self.lock_done() = true;
        self.done_changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
