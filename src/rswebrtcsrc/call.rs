// SPDX-License-Identifier: MPL-2.0
//! One time from READY to READY of a source: who sends, and what was agreed with each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::media::queue::InboundQueue;
use crate::peer::data::DataChannel;
use crate::session::negotiation::AgreedStream;

use super::lip_sync::LipSync;
use crate::session::calls::Calls;

/// A stream with the queue that it comes from.
pub type Incoming = (AgreedStream, Option<Arc<InboundQueue>>);

/// Shared by the element and its threads.
pub struct SrcCall {
    /// Where the streams come from.
    pub calls: Calls,
    /// It ends when its first peer leaves.
    pub ends_with_peer: bool,
    /// Somebody was there.
    pub was_up: AtomicBool,
    /// The pads that an application waits for are there.
    pub no_more_pads: AtomicBool,
    peers: Mutex<Vec<Arc<SrcPeer>>>,
    /// Data channels that got a pad.
    channels: Mutex<Vec<Weak<DataChannel>>>,
}

/// Somebody who sends.
pub struct SrcPeer {
    /// Its session.
    pub id: Arc<str>,
    /// Keeps its streams in step.
    pub lip_sync: Arc<LipSync>,
    connected: AtomicBool,
    interrupted: AtomicBool,
    agreed: Mutex<Vec<Incoming>>,
}

impl SrcCall {
    /// A call with nobody yet.
    pub fn new(calls: Calls, ends_with_peer: bool) -> Arc<Self> {
        Arc::new(Self {
            calls,
            ends_with_peer,
            was_up: AtomicBool::new(false),
            no_more_pads: AtomicBool::new(false),
            peers: Mutex::default(),
            channels: Mutex::default(),
        })
    }

    /// Whether `channel` is to get a pad: it had none yet. Its pad goes when all of it was read, and it
    /// may be told of once more after that.
    pub fn is_new(&self, channel: &Arc<DataChannel>) -> bool {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|known| known.strong_count() > 0);
        let mut known = channels.iter();
        let new = known.all(|known| known.as_ptr() != Arc::as_ptr(channel));
        if new {
            channels.push(Arc::downgrade(channel));
        }
        new
    }

    /// The peer `id`, which may be new.
    pub fn peer(&self, id: &str) -> Arc<SrcPeer> {
        let mut peers = self.lock();
        if let Some(peer) = peers.iter().find(|p| *p.id == *id) {
            return peer.clone();
        }
        let peer = Arc::new(SrcPeer {
            id: id.into(),
            lip_sync: Arc::default(),
            connected: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            agreed: Mutex::default(),
        });
        peers.push(peer.clone());
        peer
    }

    /// The peer `id` is gone; tells whether it was there.
    pub fn forget(&self, id: &str) -> bool {
        let mut peers = self.lock();
        let before = peers.len();
        peers.retain(|p| *p.id != *id);
        peers.len() < before
    }

    /// Forgets all.
    pub fn take_peers(&self) -> Vec<Arc<SrcPeer>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SrcPeer>>> {
        self.peers
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl SrcPeer {
    /// Whether media flows, or did.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Media flows.
    pub fn set_connected(&self) {
        self.connected.store(true, Ordering::Release);
        self.interrupted.store(false, Ordering::Release);
    }

    /// The connection is lost, and another follows.
    pub fn set_interrupted(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.lip_sync.start_over();
    }

    /// Whether [`Self::set_interrupted`] holds.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Remembers what was agreed until media flows.
    pub fn set_agreed(&self, agreed: Vec<Incoming>) {
        *self.lock() = agreed;
    }

    /// What was remembered.
    pub fn take_agreed(&self) -> Vec<Incoming> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Incoming>> {
        self.agreed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
