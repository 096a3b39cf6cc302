// SPDX-License-Identifier: MPL-2.0
//! Data channels between two ends without a network, one of which also gets packets that the other never sent. For
//! fuzzing; no part of the interface.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Sctp;
use crate::peer::PeerEvent;
use crate::peer::data::{ChannelConfig, DataAgreement, DataChannel, Message, MessageKind};
use crate::peer::shared::Shared;

/// Packets that cross in one go.
const MOST: usize = 256;
/// Chunks of these kinds have a number after their header: DATA, SACK, FORWARD-TSN.
const NUMBERED: [u8; 3] = [0, 3, 192];

struct End {
    sctp: Sctp,
    shared: Arc<Shared>,
    _events: mpsc::Receiver<PeerEvent>,
}

/// See the module.
pub struct OfflineData {
    /// The one that is tried, and its remote.
    ends: [End; 2],
    channel: Arc<DataChannel>,
    now: Instant,
}

impl OfflineData {
    /// Both are up, each with a channel. `client`: the one that is tried is DTLS client; `lossy`: its channel may lose
    /// and reorder messages.
    pub fn new(client: bool, lossy: bool) -> Self {
        let now = Instant::now();
        let agreed = DataAgreement {
            max_message_size: 1 << 18,
        };
        let end = |client| {
            let (sender, events) = mpsc::channel(64);
            let shared = Arc::new(Shared::new(sender, false, Vec::new()));
            End {
                sctp: Sctp::new(shared.clone(), agreed, client, now),
                shared,
                _events: events,
            }
        };
        let config = ChannelConfig {
            ordered: !lossy,
            max_retransmits: lossy.then_some(1),
            ..ChannelConfig::default()
        };
        let mut data = Self {
            ends: [end(client), end(!client)],
            channel: DataChannel::new(config),
            now,
        };
        data.wait(100);
        let theirs = DataChannel::new(ChannelConfig::default());
        for (end, channel) in data.ends.iter().zip([&data.channel, &theirs]) {
            let shared = &end.shared;
            shared
                .data
                .open(channel.clone(), &shared.nudge, &shared.events);
        }
        let word = Message {
            kind: MessageKind::Text,
            data: Bytes::from_static(b"word"),
        };
        data.wait(100);
        // overflow: DROPS: it goes, or the channel is over; both are to be survived.
        let _ = theirs.try_send(word);
        data.wait(100);
        data
    }

    /// `packet` comes as it is.
    pub fn raw(&mut self, packet: &[u8]) {
        self.comes(Bytes::copy_from_slice(packet));
    }

    /// These chunks come in the remote's name. `numbered`: the first one's number, if it has one, is that far from what
    /// is expected as the last byte says.
    pub fn packet(&mut self, chunks: &[u8], numbered: bool) {
        let mut chunks = chunks.to_vec();
        let guard = &self.ends[0].sctp.guard; // infallible: there are two
        if let Some(offset) = chunks.last().copied().filter(|_| numbered)
            && chunks.first().is_some_and(|kind| NUMBERED.contains(kind))
            && let Some(field) = chunks.get_mut(4..8)
        {
            let tsn = guard.said().wrapping_add(u32::from(offset));
            field.copy_from_slice(&tsn.wrapping_sub(16).to_be_bytes());
        }
        if let Some(packet) = guard.in_their_name(&chunks) {
            self.comes(packet);
        }
    }

    fn comes(&mut self, packet: Bytes) {
        let [end, _] = &mut self.ends;
        end.sctp.read(packet, self.now);
        end.sctp.turn(self.now);
    }

    /// Sends `message`, if there is room.
    pub fn send(&mut self, message: &[u8]) {
        let message = Message {
            kind: MessageKind::Binary,
            data: Bytes::copy_from_slice(message),
        };
        // overflow: DROPS: what is sent does not matter, only that it is tried.
        let _ = self.channel.try_send(message);
        let [end, _] = &mut self.ends;
        end.sctp.turn(self.now);
    }

    /// Reads what came, on all channels.
    pub fn read(&mut self) {
        let mut all = VecDeque::new();
        for end in &mut self.ends {
            for channel in end.shared.data.channels() {
                channel.receive(&mut all, Duration::ZERO);
                all.clear();
            }
            end.sctp.turn(self.now);
        }
    }

    /// Time passes, and packets cross.
    pub fn wait(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(100));
            for end in &mut self.ends {
                if end.sctp.poll_timeout().is_some_and(|at| at <= self.now) {
                    end.sctp.handle_timeout(self.now);
                }
            }
            self.cross();
        }
    }

    fn cross(&mut self) {
        let [one, other] = &mut self.ends;
        for _ in 0..MOST {
            one.sctp.turn(self.now);
            other.sctp.turn(self.now);
            let packets = (one.sctp.poll_write(), other.sctp.poll_write());
            if packets == (None, None) {
                return;
            }
            if let Some(packet) = packets.0 {
                other.sctp.read(packet, self.now);
            }
            if let Some(packet) = packets.1 {
                one.sctp.read(packet, self.now);
            }
        }
    }

    /// Bytes that wait to leave.
    pub fn waiting(&self) -> usize {
        let [end, _] = &self.ends;
        end.sctp.out.iter().map(Bytes::len).sum()
    }
}
