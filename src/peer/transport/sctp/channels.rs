// SPDX-License-Identifier: MPL-2.0
//! The channels of an association: opened and closed (RFC 8832, RFC 6525), fed and read.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::datachannel::data_channel::DataChannel as Mapping;
use rtc::datachannel::message::Message as Dcep;
use rtc::datachannel::message::message_channel_ack::DataChannelAck;
use rtc::datachannel::message::message_channel_open::{CHANNEL_PRIORITY_NORMAL, DataChannelOpen};
use rtc::sctp::{Association, PayloadProtocolIdentifier as Ppid};
use rtc::shared::marshal::Unmarshal;

use super::entry::{Entry, IN_SCTP, config_of, kind_of, message, word};
use super::flight::Flight;
use crate::peer::data::{DataAgreement, DataChannel, MAX_ID, Phase};
use crate::peer::shared::Shared;

/// Messages that may come before the one that opens their channel (RFC 8832 section 6).
const MOST_EARLY: usize = 64;
/// Their bytes, of all streams together.
const EARLY_ROOM: usize = 1 << 20;
/// The remote closes its half of a channel in this time, or it is over without.
const CLOSING: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Channels {
    shared: Arc<Shared>,
    agreed: DataAgreement,
    /// We are the DTLS client, whose ids are even (RFC 8832 section 6).
    even: bool,
    entries: BTreeMap<u16, Entry>,
    /// Of channels that waited for an id, or for the association.
    opening: Vec<Arc<DataChannel>>,
    /// Ids that are in use anew.
    opened: Vec<u16>,
    /// Where the search for an id begins: one that was just given back is not taken at once.
    next_id: u16,
    /// A message waits for which there is no room.
    stalled: bool,
    /// DATA chunks of messages that were read.
    chunks: usize,
    /// Bytes of messages that came before their channel.
    early_bytes: usize,
    /// The stream that sends first: the one after that which took the last room in SCTP.
    turn: u16,
}

impl Channels {
    pub(super) fn new(shared: Arc<Shared>, agreed: DataAgreement, even: bool) -> Self {
        Self {
            shared,
            agreed,
            even,
            entries: BTreeMap::new(),
            opening: Vec::new(),
            opened: Vec::new(),
            next_id: 0,
            stalled: false,
            chunks: 0,
            early_bytes: 0,
            turn: 0,
        }
    }

    /// The remote sends on stream `id`, of which nothing was known.
    pub(super) fn appeared(&mut self, id: u16) {
        self.entries.entry(id).or_default();
    }

    /// Something came on stream `id`.
    pub(super) fn readable(&mut self, id: u16) {
        self.entries.entry(id).or_default().readable = true;
    }

    /// Both halves of stream `id` are closed.
    pub(super) fn lost(&mut self, id: u16) {
        let Some(mut entry) = self.entries.remove(&id) else {
            return;
        };
        self.early_bytes -= entry
            .take_early()
            .iter()
            .map(|m| m.data.len())
            .sum::<usize>();
        if let Some(channel) = entry.channel.filter(|_| !entry.told) {
            let reason = match entry.closed_at {
                Some(_) => "this side closed it",
                None => "the remote closed it",
            };
            self.over(&channel, reason);
        }
    }

    /// A reader has to make room before more is read.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    fn over(&self, channel: &Arc<DataChannel>, reason: &str) {
        let events = &self.shared.events;
        self.shared.data.closed(channel, reason, events);
    }

    fn open_now(&self, channel: &Arc<DataChannel>) {
        if channel.opened() {
            self.shared.data.tell(channel, &self.shared.events);
        }
    }

    /// Ends all; nothing follows.
    pub(super) fn end(&mut self, reason: &str) {
        self.entries.clear();
        self.early_bytes = 0;
        self.shared.data.end(reason, &self.shared.events);
    }

    /// Opens, reads, sends and closes. `true`: something was read.
    pub(super) fn exchange(
        &mut self,
        association: &mut Association,
        flight: &mut Flight,
        now: Instant,
    ) -> bool {
        self.opening.extend(self.shared.data.take_opening());
        for channel in std::mem::take(&mut self.opening) {
            self.open(association, channel, now);
        }
        let read = self.read(association, now, false);
        self.send(association, flight, now);
        self.close(association, now);
        read
    }

    /// Ids that are in use anew since that was asked last.
    pub(super) fn take_opened(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.opened)
    }

    /// DATA chunks of messages that were read since that was asked last.
    pub(super) fn take_read(&mut self) -> usize {
        std::mem::take(&mut self.chunks)
    }

    #[cfg(test)]
    pub(super) fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    fn free_id(&mut self) -> Option<u16> {
        let first = u16::from(!self.even);
        let ids = (first..=MAX_ID).step_by(2);
        let late = ids.clone().filter(|id| *id >= self.next_id);
        let mut all = late.chain(ids);
        let id = all.find(|id| !self.entries.contains_key(id))?;
        self.next_id = id + 1;
        Some(id)
    }

    fn open(&mut self, association: &mut Association, channel: Arc<DataChannel>, now: Instant) {
        if channel.is_closed() {
            return;
        }
        let config = channel.config().clone();
        let Some(id) = config.id.or_else(|| self.free_id()) else {
            return self.over(&channel, "there is no stream left for it");
        };
        let known = self.entries.get(&id);
        if known.is_some_and(|entry| entry.channel.is_some()) {
            return self.over(&channel, &format!("another channel has the id {id}"));
        }
        let stream = match known {
            // What the remote sends on a channel that was negotiated apart may come first.
            Some(_) => association.stream(id),
            None => association.open_stream(id, Ppid::Binary),
        };
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => return self.over(&channel, &error.to_string()),
        };
        let (kind, value) = kind_of(&config);
        let (unordered, reliability) = Mapping::get_reliability_params(kind);
        let _ = stream.set_reliability_params(unordered, reliability, value);
        channel.set_id(id, self.agreed.max_message_size);
        if !config.negotiated {
            let open = Dcep::DataChannelOpen(DataChannelOpen {
                channel_type: kind,
                priority: CHANNEL_PRIORITY_NORMAL,
                reliability_parameter: value,
                label: config.label.into_bytes(),
                protocol: config.protocol.into_bytes(),
            });
            let sent = word(&open).and_then(|w| stream.write_sctp(now, &w, Ppid::Dcep).ok());
            if sent.is_none() {
                return self.over(&channel, "it cannot be announced to the remote");
            }
        }
        self.opened.push(id);
        self.assign(id, channel.clone());
        if config.negotiated {
            self.open_now(&channel);
        }
    }

    /// Reads what there is room for, or `all` there is.
    fn read(&mut self, association: &mut Association, now: Instant, all: bool) -> bool {
        self.stalled = false;
        let mut any = false;
        let waiting: Vec<u16> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.readable || entry.parked)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            any |= self.read_stream(association, id, now, all);
        }
        any
    }

    fn read_stream(
        &mut self,
        association: &mut Association,
        id: u16,
        now: Instant,
        all: bool,
    ) -> bool {
        let mut any = false;
        loop {
            let Some(entry) = self.entries.get_mut(&id) else {
                return any;
            };
            (entry.readable, entry.parked) = (false, false);
            if !all && entry.channel.as_ref().is_some_and(|c| !c.has_room()) {
                entry.parked = true;
                // Or there is nothing for it, and nothing that the remote would have to wait for.
                self.stalled |= association.stream(id).is_ok_and(|s| s.is_readable());
                return any;
            }
            let next = association.stream(id).and_then(|mut s| s.read_sctp());
            let Ok(Some(chunks)) = next else {
                return any;
            };
            any = true;
            self.chunks += chunks.chunks.len();
            let Ok(data) = chunks.to_payload(usize::MAX) else {
                continue;
            };
            if chunks.ppi == Ppid::Dcep {
                self.heard(association, id, &data, now);
            } else if let Some(message) = message(chunks.ppi, data.freeze()) {
                match &entry.channel {
                    Some(channel) => channel.deliver(message),
                    None if entry.early.len() < MOST_EARLY
                        && self.early_bytes + message.data.len() <= EARLY_ROOM =>
                    {
                        self.early_bytes += message.data.len();
                        entry.early.push(message);
                    }
                    // overflow: DROPS (counted): no channel was ever opened for them.
                    None => entry.early_lost += 1,
                }
            } else {
                log::debug!(target: "rswebrtc::peer", "on stream {id}: no message, or no UTF-8");
                match &entry.channel {
                    Some(channel) => channel.dropped(1),
                    None => entry.early_lost += 1,
                }
            }
        }
    }

    /// The remote opens a channel, or has taken ours.
    fn heard(&mut self, association: &mut Association, id: u16, word: &[u8], now: Instant) {
        let known = self.entries.get(&id).and_then(|e| e.channel.clone());
        match (Dcep::unmarshal(&mut &word[..]), known) {
            (Ok(Dcep::DataChannelAck(_)), Some(channel)) => self.open_now(&channel),
            (Ok(Dcep::DataChannelOpen(open)), None) => {
                self.accept(association, id, open, now);
            }
            (heard, _) => {
                log::debug!(target: "rswebrtc::peer", "on stream {id}: {heard:?} is passed over");
            }
        }
    }

    fn accept(
        &mut self,
        association: &mut Association,
        id: u16,
        open: DataChannelOpen,
        now: Instant,
    ) {
        let (unordered, reliability) = Mapping::get_reliability_params(open.channel_type);
        let value = open.reliability_parameter;
        let Ok(mut stream) = association.stream(id) else {
            return;
        };
        let channel = config_of(open, id).map(DataChannel::of_remote);
        let (nudge, events) = (&self.shared.nudge, &self.shared.events);
        let taken = channel.filter(|channel| {
            channel.set_id(id, self.agreed.max_message_size);
            channel.opened();
            self.shared.data.accept(channel, nudge, events)
        });
        let Some(channel) = taken else {
            let _ = stream.close(now);
            return;
        };
        let _ = stream.set_reliability_params(unordered, reliability, value);
        if let Some(word) = word(&Dcep::DataChannelAck(DataChannelAck {})) {
            let _ = stream.write_sctp(now, &word, Ppid::Dcep);
        }
        self.assign(id, channel);
    }

    /// Stream `id` is `channel`'s, and so is what came on it before.
    fn assign(&mut self, id: u16, channel: Arc<DataChannel>) {
        let entry = self.entries.entry(id).or_default();
        for message in entry.take_early() {
            self.early_bytes -= message.data.len();
            channel.deliver(message);
        }
        channel.dropped(std::mem::take(&mut entry.early_lost));
        entry.channel = Some(channel);
    }

    /// Gives SCTP what it has room for, channel by channel.
    fn send(&mut self, association: &mut Association, flight: &mut Flight, now: Instant) {
        let mut total = 0;
        for (id, entry) in &mut self.entries {
            let buffered = association.stream(*id).and_then(|s| s.buffered_amount());
            entry.buffered = buffered.unwrap_or(0);
            total += entry.buffered;
        }
        if total == 0 {
            flight.idle();
        }
        let mut failed = Vec::new();
        let mut more = true;
        while more && total < IN_SCTP && !flight.is_full() {
            more = false;
            let turn = self.turn;
            let rest = (Bound::Included(turn), Bound::Unbounded);
            for range in [rest, (Bound::Unbounded, Bound::Excluded(turn))] {
                for (id, entry) in self.entries.range_mut(range) {
                    if total >= IN_SCTP || flight.is_full() {
                        break;
                    }
                    match entry.feed(association, *id, &mut total, flight, now) {
                        Ok(some) => more |= some,
                        Err(error) => failed.extend(entry.channel.clone().map(|c| (c, error))),
                    }
                    if total >= IN_SCTP || flight.is_full() {
                        self.turn = id + 1;
                    }
                }
            }
        }
        // First: what it lost is not delivered.
        for (channel, error) in failed {
            self.over(&channel, &error);
        }
        for entry in self.entries.values() {
            if let Some(channel) = &entry.channel {
                channel.set_in_sctp(entry.buffered);
            }
        }
    }

    /// Closes our half of channels that are to be closed and have delivered everything: a reset
    /// that overtakes data is answered with "not yet".
    fn close(&mut self, association: &mut Association, now: Instant) {
        let mut over = Vec::new();
        for (id, entry) in &mut self.entries {
            let Some(channel) = &entry.channel else {
                continue;
            };
            match entry.closed_at {
                None if channel.phase() == Phase::Closing
                    && entry.buffered == 0
                    && !channel.has_next() =>
                {
                    entry.closed_at = Some(now);
                    let _ = association.stream(*id).and_then(|mut s| s.close(now));
                }
                Some(at) if !entry.told && now.saturating_duration_since(at) >= CLOSING => {
                    entry.told = true;
                    over.push(channel.clone());
                }
                _ => {}
            }
        }
        for channel in over {
            self.over(&channel, "this side closed it");
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let closing = self.entries.values().filter(|entry| !entry.told);
        closing.filter_map(|e| Some(e.closed_at? + CLOSING)).min()
    }

    /// Delivers all that came, whatever the bounds: nothing more does.
    pub(super) fn deliver_rest(&mut self, association: &mut Association) {
        for entry in self.entries.values_mut() {
            entry.readable = true;
        }
        self.read(association, Instant::now(), true);
    }
}
