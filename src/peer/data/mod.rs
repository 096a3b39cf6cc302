// SPDX-License-Identifier: MPL-2.0
//! Data channels (RFC 8831): what elements and sessions hold of them, and where the transport finds
//! those that it is to open.
//!
//! A [`DataChannel`] is two bounded queues and a state. Threads of elements wait at it; the
//! transport never does.

mod channel;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::PeerEvent;
use super::nudge::Nudge;
use super::shared::{Events, lock};

pub use channel::{
    ChannelStats, DataChannel, INBOUND_ROOM, Message, MessageKind, Phase, Received, SendError,
};

/// Channels of one call, both sides' together; the remote's beyond that are closed at once.
pub const MAX_CHANNELS: usize = 256;
/// Ids are below this: as many streams as browsers negotiate.
pub const MAX_ID: u16 = 1023;
/// What an `a=max-message-size` that is not there means (RFC 8841 section 6).
const UNSTATED_MESSAGE_SIZE: u64 = 65_536;
/// The largest message that is ever handed over, bytes, whatever the remote takes.
const LARGEST_MESSAGE: usize = 1 << 30;

/// What a channel is opened with (W3C `RTCDataChannelInit`, RFC 8832 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Its name; need not be unique.
    pub label: String,
    /// Subprotocol, of the IANA registry of WebSocket subprotocols; mostly empty.
    pub protocol: String,
    /// Messages come in the order they were sent.
    pub ordered: bool,
    /// A message is sent again at most so often; `None`: until it arrived.
    pub max_retransmits: Option<u16>,
    /// A message is given up after so many ms; not together with `max_retransmits`.
    pub max_packet_lifetime: Option<u16>,
    /// Both sides know of the channel and its `id`, and nothing is said to open it.
    pub negotiated: bool,
    /// SCTP stream, 0 to [`MAX_ID`]; `None`: a free one.
    pub id: Option<u16>,
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            max_retransmits: None,
            max_packet_lifetime: None,
            negotiated: false,
            id: None,
        }
    }
}

impl ChannelConfig {
    /// Nothing is given up before it arrived.
    pub fn is_reliable(&self) -> bool {
        self.max_retransmits.is_none() && self.max_packet_lifetime.is_none()
    }
}

/// What both sides agreed about data channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataAgreement {
    /// The largest message that the remote takes, bytes.
    pub max_message_size: usize,
}

impl DataAgreement {
    /// With the remote's `a=max-message-size`, where it has one; 0: no limit.
    pub(super) fn of(stated: Option<u64>) -> Self {
        let stated = match stated.unwrap_or(UNSTATED_MESSAGE_SIZE) {
            0 => usize::MAX,
            size => usize::try_from(size).unwrap_or(usize::MAX),
        };
        Self {
            max_message_size: stated.min(LARGEST_MESSAGE),
        }
    }
}

/// Data channels of one peer, as the handle, the description and the transport see them.
#[derive(Default)]
pub(super) struct Data {
    state: Mutex<State>,
    /// [`PeerEvent::Data`] is on its way.
    told: AtomicBool,
}

#[derive(Default)]
struct State {
    offered: bool,
    taken: bool,
    agreed: Option<DataAgreement>,
    /// Why there are none, and will be none.
    over: Option<String>,
    /// To be opened.
    opening: Vec<Arc<DataChannel>>,
    all: Vec<Arc<DataChannel>>,
    /// Channels whose phase changed, since that was asked last.
    changed: Vec<Arc<DataChannel>>,
}

impl Data {
    /// They are taken where the remote offers them, and `offered` too.
    pub(super) fn want(&self, offered: bool) {
        let mut state = lock(&self.state);
        state.taken = true;
        state.offered |= offered;
    }

    /// Whether our offers have them.
    pub(super) fn offered(&self) -> bool {
        lock(&self.state).offered
    }

    /// Whether our answers take them.
    pub(super) fn taken(&self) -> bool {
        lock(&self.state).taken
    }

    /// The descriptions have come to this.
    pub(super) fn agree(&self, agreed: DataAgreement, nudge: &Nudge) {
        lock(&self.state).agreed = Some(agreed);
        nudge.wake();
    }

    pub(super) fn agreed(&self) -> Option<DataAgreement> {
        lock(&self.state).agreed
    }

    /// Has the transport open `channel`, now or once it is up.
    pub(super) fn open(&self, channel: Arc<DataChannel>, nudge: &Arc<Nudge>, events: &Events) {
        channel.attach(nudge.clone());
        let refused = {
            let mut state = lock(&self.state);
            state.all.retain(|known| !known.is_closed());
            match &state.over {
                Some(reason) => Some(reason.clone()),
                None if state.all.len() >= MAX_CHANNELS => {
                    Some(format!("there are {MAX_CHANNELS} channels already"))
                }
                None => {
                    state.all.push(channel.clone());
                    state.opening.push(channel.clone());
                    None
                }
            }
        };
        match refused {
            Some(reason) => self.closed(&channel, &reason, events),
            None => nudge.wake(),
        }
    }

    /// What is to be opened now.
    pub(super) fn take_opening(&self) -> Vec<Arc<DataChannel>> {
        std::mem::take(&mut lock(&self.state).opening)
    }

    /// The remote opened `channel`. `false`: there are too many.
    pub(super) fn accept(
        &self,
        channel: &Arc<DataChannel>,
        nudge: &Arc<Nudge>,
        events: &Events,
    ) -> bool {
        {
            let mut state = lock(&self.state);
            state.all.retain(|known| !known.is_closed());
            // What nobody asked about yet counts too, or a remote could open and close for ever.
            if state.all.len() >= MAX_CHANNELS || state.changed.len() >= 2 * MAX_CHANNELS {
                return false;
            }
            state.all.push(channel.clone());
        }
        channel.attach(nudge.clone());
        self.tell(channel, events);
        true
    }

    /// The phase of `channel` changed.
    pub(super) fn tell(&self, channel: &Arc<DataChannel>, events: &Events) {
        {
            let mut state = lock(&self.state);
            if !state
                .changed
                .iter()
                .any(|known| Arc::ptr_eq(known, channel))
            {
                state.changed.push(channel.clone());
            }
        }
        if !self.told.swap(true, Ordering::AcqRel) {
            events.tell(PeerEvent::Data);
        }
    }

    /// `channel` is over.
    pub(super) fn closed(&self, channel: &Arc<DataChannel>, reason: &str, events: &Events) {
        if channel.closed(reason) {
            self.tell(channel, events);
        }
    }

    /// The channels whose phase changed.
    pub(super) fn take_changed(&self) -> Vec<Arc<DataChannel>> {
        self.told.store(false, Ordering::Release);
        std::mem::take(&mut lock(&self.state).changed)
    }

    /// All channels that are not closed.
    pub(super) fn channels(&self) -> Vec<Arc<DataChannel>> {
        let mut all = lock(&self.state).all.clone();
        all.retain(|channel| !channel.is_closed());
        all
    }

    /// Whether all that was sent arrived, and channels that close are closed.
    pub(super) fn is_drained(&self) -> bool {
        self.channels().iter().all(|channel| {
            channel.phase() != Phase::Closing && channel.stats().buffered_amount == 0
        })
    }

    /// The remote wants none; a later description may.
    pub(super) fn refuse(&self, reason: &str, events: &Events) {
        let all = {
            let mut state = lock(&self.state);
            state.agreed = None;
            state.opening.clear();
            std::mem::take(&mut state.all)
        };
        for channel in all {
            self.closed(&channel, reason, events);
        }
    }

    /// There are none any more, and will be none.
    pub(super) fn end(&self, reason: &str, events: &Events) {
        let all = {
            let mut state = lock(&self.state);
            state.over.get_or_insert_with(|| reason.to_owned());
            state.opening.clear();
            std::mem::take(&mut state.all)
        };
        for channel in all {
            self.closed(&channel, reason, events);
        }
    }
}
