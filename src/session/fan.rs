// SPDX-License-Identifier: MPL-2.0
//! Who gets what is sent: the peers of a host, and what is kept for those who come late.
//!
//! One lock, taken once a frame and never over a wait; what it guards calls into peers' queues,
//! which have their own.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::media::rtp_packet::OutboundFrame;

use super::Session;
use super::negotiation::Wish;

/// Bytes that are kept of one stream since its last key frame; a longer one is not kept.
const MAX_BYTES: usize = 16 << 20;
/// Frames that are kept of one stream.
const MAX_FRAMES: usize = 2048;

/// See the module.
#[derive(Default)]
pub(super) struct Fan(Mutex<State>);

#[derive(Default)]
struct State {
    peers: Vec<Peer>,
    wish: Option<Wish>,
    keep: bool,
    kept: Vec<Kept>,
}

struct Peer {
    id: Arc<str>,
    session: Arc<Session>,
    admitted: bool,
}

/// A stream since its last key frame.
#[derive(Default)]
struct Kept {
    frames: Vec<OutboundFrame>,
    bytes: usize,
}

impl Kept {
    fn take(&mut self, frame: &OutboundFrame) {
        if frame.key {
            self.frames.clear();
            self.bytes = 0;
        } else if self.frames.is_empty() {
            return;
        }
        self.bytes += frame.len();
        if self.bytes > MAX_BYTES || self.frames.len() >= MAX_FRAMES {
            // overflow: DROPS: whoever comes now begins with the next key frame.
            self.frames = Vec::new();
            self.bytes = 0;
            return;
        }
        self.frames.push(frame.clone());
    }
}

impl Fan {
    pub(super) fn add(&self, id: Arc<str>, session: Arc<Session>) {
        let mut state = self.lock();
        if let Some(wish) = &state.wish {
            session.set_wish(wish.clone());
        }
        state.peers.push(Peer {
            id,
            session,
            admitted: false,
        });
    }

    pub(super) fn remove(&self, id: &str) {
        let mut state = self.lock();
        let at = state.peers.iter().position(|p| *p.id == *id);
        let removed = at.map(|at| state.peers.swap_remove(at));
        drop(state);
        drop(removed);
    }

    pub(super) fn set_wish(&self, wish: Wish) {
        let mut state = self.lock();
        for peer in &state.peers {
            peer.session.set_wish(wish.clone());
        }
        state.wish = Some(wish);
    }

    pub(super) fn keep(&self, keep: bool) {
        let mut state = self.lock();
        state.keep = keep;
        if !keep {
            state.kept.clear();
        }
    }

    pub(super) fn push(&self, local: usize, frame: OutboundFrame) {
        let mut state = self.lock();
        if state.keep {
            if state.kept.len() <= local {
                state.kept.resize_with(local + 1, Kept::default);
            }
            if let Some(kept) = state.kept.get_mut(local) {
                kept.take(&frame);
            }
        }
        for peer in state.peers.iter().filter(|p| p.admitted) {
            // A frame that a slow peer has no room for is counted there.
            let _ = peer.session.push_frame(local, frame.clone());
        }
    }

    pub(super) fn admit(&self, id: &str, replay: &[usize]) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(peer) = state.peers.iter_mut().find(|p| *p.id == *id) else {
            return;
        };
        peer.admitted = true;
        for local in replay {
            if let Some(kept) = state.kept.get(*local) {
                peer.session.push_backlog(*local, &kept.frames);
            }
        }
    }

    /// Nothing more is pushed: who got media gets the rest of it, and nobody waits for those whose
    /// connection is not up.
    pub(super) fn finish(&self) {
        for peer in &self.lock().peers {
            if peer.admitted {
                peer.session.finish();
            } else {
                peer.session.cut();
            }
        }
    }

    pub(super) fn sent_to(&self, id: &str) -> Vec<usize> {
        self.session(id).map(|s| s.sent()).unwrap_or_default()
    }

    pub(super) fn session(&self, id: &str) -> Option<Arc<Session>> {
        let state = self.lock();
        let mut peers = state.peers.iter();
        peers.find(|p| *p.id == *id).map(|p| p.session.clone())
    }

    pub(super) fn sessions(&self) -> Vec<(Arc<str>, Arc<Session>)> {
        let state = self.lock();
        let peers = state.peers.iter();
        peers.map(|p| (p.id.clone(), p.session.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Lists that are changed entry by entry.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp_packet::OutboundPacket;

    fn frame(key: bool, size: usize) -> OutboundFrame {
        let packet = OutboundPacket {
            timestamp: 0,
            marker: true,
            payload: vec![0; size].into(),
            extensions: Vec::new(),
            skipped: 0,
        };
        OutboundFrame {
            key,
            packets: vec![packet].into(),
        }
    }

    #[test]
    fn what_is_kept_begins_with_the_last_key_frame_and_is_bounded() {
        let mut kept = Kept::default();
        kept.take(&frame(false, 10));
        assert!(kept.frames.is_empty(), "nothing can be decoded from here");
        kept.take(&frame(true, 10));
        kept.take(&frame(false, 10));
        assert_eq!(kept.frames.len(), 2);
        kept.take(&frame(true, 10));
        assert_eq!(kept.frames.len(), 1);
        kept.take(&frame(false, MAX_BYTES));
        kept.take(&frame(false, 10));
        assert!(kept.frames.is_empty(), "a part of it is of no use");
    }
}
