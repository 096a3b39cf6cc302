// SPDX-License-Identifier: MPL-2.0
//! A data channel as the transport has it: it takes what is to be sent, brings what came, and never waits.

use std::sync::Arc;

use super::{DataChannel, INBOUND_ROOM, Message, OUTBOUND_ROOM, Phase};
use crate::peer::nudge::Nudge;

impl DataChannel {
    pub(in crate::peer) fn attach(&self, nudge: Arc<Nudge>) {
        self.lock().nudge = Some(nudge);
    }

    /// SCTP gave it stream `id`.
    pub(in crate::peer) fn set_id(&self, id: u16, max_message_size: usize) {
        let mut state = self.lock();
        state.id = Some(id);
        state.max_message_size = max_message_size;
    }

    /// Messages flow. `false`: that was known.
    pub(in crate::peer) fn opened(&self) -> bool {
        let mut state = self.lock();
        let new = state.phase == Phase::Connecting;
        if new {
            state.phase = Phase::Open;
        }
        drop(state);
        self.changed.notify_all();
        new
    }

    /// It is over. `false`: that was known.
    pub fn closed(&self, reason: &str) -> bool {
        let mut state = self.lock();
        let new = !matches!(state.phase, Phase::Closed { .. });
        if new {
            state.phase = Phase::Closed {
                reason: reason.to_owned(),
            };
            state.lost = !state.out.is_empty() || state.in_sctp != 0;
            state.out.clear();
            state.out_cost = 0;
            state.in_sctp = 0;
        }
        drop(state);
        self.changed.notify_all();
        new
    }

    /// The next message to send.
    pub(in crate::peer) fn next(&self) -> Option<Message> {
        let mut state = self.lock();
        let Some(message) = state.out.pop_front() else {
            state.starved = true;
            return None;
        };
        let was_full = state.out_cost > OUTBOUND_ROOM / 2;
        state.out_cost -= message.cost();
        state.stats.messages_sent += 1;
        state.stats.bytes_sent += message.data.len() as u64;
        state.in_sctp += message.data.len().max(1);
        let half = was_full && state.out_cost <= OUTBOUND_ROOM / 2;
        let wake = half || state.out.is_empty();
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        Some(message)
    }

    /// Whether a message waits to leave.
    pub(in crate::peer) fn has_next(&self) -> bool {
        !self.lock().out.is_empty()
    }

    /// So many bytes are not acknowledged yet.
    pub(in crate::peer) fn set_in_sctp(&self, bytes: usize) {
        let mut state = self.lock();
        let idle = bytes == 0 && state.in_sctp != 0;
        state.in_sctp = bytes;
        drop(state);
        if idle {
            self.changed.notify_all();
        }
    }

    /// Whether a message can be delivered; if not, the nudge comes once one can.
    pub(in crate::peer) fn has_room(&self) -> bool {
        let mut state = self.lock();
        let room = state.discards || state.in_cost < INBOUND_ROOM;
        state.parked = !room;
        room
    }

    /// So many messages were lost: they could not be sent, came too early, or were no text.
    pub(in crate::peer) fn dropped(&self, count: u64) {
        self.lock().stats.messages_dropped += count;
    }

    /// A message came. Whoever asked [`Self::has_room`] before keeps the bound.
    pub(in crate::peer) fn deliver(&self, message: Message) {
        let mut state = self.lock();
        state.stats.messages_received += 1;
        state.stats.bytes_received += message.data.len() as u64;
        if state.discards {
            // overflow: DROPS (counted): nobody reads.
            state.stats.messages_dropped += 1;
            return;
        }
        let wake = state.incoming.is_empty();
        state.in_cost += message.cost();
        state.incoming.push_back(message);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }
}
