// SPDX-License-Identifier: MPL-2.0
//! One data channel: messages that wait to leave, messages that wait to be read, and its state.
//!
//! Both queues are bounded in bytes. Outward, a reliable channel has its writer wait for room, and
//! one that may lose messages drops the oldest. Inward, what finds no room stays with SCTP, whose
//! receive window closes: the remote then waits.

mod transport_side;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ChannelConfig;
use crate::peer::nudge::Nudge;

/// Bytes that may wait to leave, beyond those that SCTP has.
const OUTBOUND_ROOM: usize = 1 << 20;
/// Bytes that may wait to be read, beyond those that SCTP has.
pub const INBOUND_ROOM: usize = 1 << 20;
/// What a message costs beside its bytes, so that small ones are bounded too.
const OVERHEAD: usize = 64;
/// A thread that tells of a channel's end is waited for so long: it posts one message.
const TELLING_LIMIT: Duration = Duration::from_millis(200);
/// Messages that a reader takes in one go.
const RUN: usize = 256;

/// What kind of data a message is (RFC 8831 section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Bytes.
    Binary,
    /// UTF-8.
    Text,
}

/// One message; it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub kind: MessageKind,
    /// Its bytes.
    pub data: Bytes,
}

impl Message {
    fn cost(&self) -> usize {
        self.data.len() + OVERHEAD
    }
}

/// How far a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for the connection, or for the remote's word.
    Connecting,
    /// Messages flow.
    Open,
    /// What was sent is delivered, then it closes.
    Closing,
    /// It is over; what was received can still be read.
    Closed {
        /// Who closed it, or what went wrong.
        reason: String,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The writer is to return.
    #[error("flushing")]
    Flushing,
    /// The channel is over.
    #[error("the channel is closed: {0}")]
    Closed(String),
    /// The remote does not take so large ones.
    #[error("a message of {size} bytes, and the remote takes at most {most} (a=max-message-size)")]
    TooLarge {
        /// Of the message.
        size: usize,
        /// Largest.
        most: usize,
    },
    /// There is no room, and whoever sent it does not wait.
    #[error("the remote takes it too slowly")]
    Full,
}

/// What a reader got.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Messages, in `into`.
    Messages,
    /// None in this time.
    Timeout,
    /// The reader is to return.
    Flushing,
    /// None will come.
    Ended,
}

/// Counters, named after the W3C's (webrtc-stats, `RTCDataChannelStats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Messages handed to the network.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that came.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Bytes that wait to leave, or for the remote's acknowledgement.
    pub buffered_amount: u64,
    /// Messages of an unreliable channel that were dropped before they left, and messages that came
    /// and nobody wanted, or that were none (text that is not UTF-8).
    pub messages_dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct DataChannel {
    config: ChannelConfig,
    remote: bool,
    state: Mutex<State>,
    changed: Condvar,
}

/// Somebody tells how a channel stands, until this goes.
struct Telling<'a>(&'a DataChannel);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.lock().telling = false;
        self.0.changed.notify_all();
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    id: Option<u16>,
    max_message_size: usize,
    out: VecDeque<Message>,
    out_cost: usize,
    /// Bytes that SCTP has.
    in_sctp: usize,
    /// It closed before all of that had arrived.
    lost: bool,
    incoming: VecDeque<Message>,
    in_cost: usize,
    flushing_writer: bool,
    flushing_reader: bool,
    /// Nobody reads.
    discards: bool,
    /// The transport has taken all there was, and waits for more.
    starved: bool,
    /// The transport has a message for which there was no room.
    parked: bool,
    /// Somebody is telling how it stands, ...
    telling: bool,
    /// ... and of its end somebody did.
    end_told: bool,
    stats: ChannelStats,
    nudge: Option<Arc<Nudge>>,
}

impl DataChannel {
    /// A channel that this side opens.
    pub fn new(config: ChannelConfig) -> Arc<Self> {
        Self::build(config, false)
    }

    /// One that the remote opened.
    pub(in crate::peer) fn of_remote(config: ChannelConfig) -> Arc<Self> {
        Self::build(config, true)
    }

    fn build(config: ChannelConfig, remote: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Connecting,
                id: config.id,
                max_message_size: usize::MAX,
                out: VecDeque::new(),
                out_cost: 0,
                in_sctp: 0,
                lost: false,
                incoming: VecDeque::new(),
                in_cost: 0,
                flushing_writer: false,
                flushing_reader: false,
                discards: false,
                starved: true,
                parked: false,
                telling: false,
                end_told: false,
                stats: ChannelStats::default(),
                nudge: None,
            }),
            config,
            remote,
            changed: Condvar::new(),
        })
    }

    /// What it was opened with.
    pub fn config(&self) -> &ChannelConfig {
        &self.config
    }

    /// Whether the remote opened it.
    pub fn is_of_remote(&self) -> bool {
        self.remote
    }

    /// Its SCTP stream, once that is known.
    pub fn id(&self) -> Option<u16> {
        self.lock().id
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.lock().phase.clone()
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed { .. })
    }

    /// Has `tell` say how it stands, of its end once, and nothing after that. A stream that ends with
    /// it may be there before the element: whoever waits for the end of the stream must know why by
    /// then. So where another thread is telling, this waits for it.
    pub fn tell(&self, tell: impl FnOnce(&Phase)) {
        let (phase, _telling) = {
            let state = self.lock();
            let waits = |state: &mut State| state.telling;
            let waited = self.changed.wait_timeout_while(state, TELLING_LIMIT, waits);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.end_told {
                return;
            }
            state.telling = true;
            state.end_told = matches!(state.phase, Phase::Closed { .. });
            (state.phase.clone(), Telling(self))
        };
        tell(&phase);
    }

    /// Its counters.
    pub fn stats(&self) -> ChannelStats {
        let state = self.lock();
        let waiting: usize = state.out.iter().map(|m| m.data.len()).sum();
        ChannelStats {
            buffered_amount: (waiting + state.in_sctp) as u64,
            ..state.stats
        }
    }

    /// Queues `message`. A reliable channel waits for room, and for the connection; another one
    /// drops what is oldest, and all before the connection is there.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; the message was not taken.
    pub fn send(&self, message: Message) -> Result<(), SendError> {
        self.queue(message, true)
    }

    /// As [`Self::send`], without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] too.
    pub fn try_send(&self, message: Message) -> Result<(), SendError> {
        self.queue(message, false)
    }

    fn queue(&self, message: Message, wait: bool) -> Result<(), SendError> {
        let reliable = self.config.is_reliable();
        let mut state = self.lock();
        loop {
            if state.flushing_writer {
                return Err(SendError::Flushing);
            }
            match &state.phase {
                Phase::Closed { reason } => return Err(SendError::Closed(reason.clone())),
                Phase::Closing => {
                    return Err(SendError::Closed("this side closes it".to_owned()));
                }
                Phase::Connecting if !reliable => {
                    // overflow: DROPS (counted): it would be out of date.
                    state.stats.messages_dropped += 1;
                    return Ok(());
                }
                Phase::Open if message.data.len() > state.max_message_size => {
                    return Err(SendError::TooLarge {
                        size: message.data.len(),
                        most: state.max_message_size,
                    });
                }
                Phase::Open => {
                    if state.out.is_empty() || state.out_cost + message.cost() <= OUTBOUND_ROOM {
                        break;
                    }
                    if !reliable {
                        // overflow: DROPS (counted): the oldest is the one that is late anyway.
                        if let Some(oldest) = state.out.pop_front() {
                            state.out_cost -= oldest.cost();
                        }
                        state.stats.messages_dropped += 1;
                        continue;
                    }
                }
                Phase::Connecting => {}
            }
            if !wait {
                return Err(SendError::Full);
            }
            state = self.wait(state);
        }
        state.out_cost += message.cost();
        state.out.push_back(message);
        let nudge = std::mem::take(&mut state.starved).then(|| state.nudge.clone());
        drop(state);
        if let Some(Some(nudge)) = nudge {
            nudge.wake();
        }
        Ok(())
    }

    /// Waits until all that was sent arrived, as far as the channel promises that. `false`: it
    /// closed before, or the writer is to return.
    pub fn wait_delivered(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.flushing_writer || state.lost {
                return false;
            }
            if state.out.is_empty() && state.in_sctp == 0 {
                return true;
            }
            state = self.wait(state);
        }
    }

    /// Closes it, once what was sent is delivered.
    pub fn close(&self) {
        let nudge = {
            let mut state = self.lock();
            if !matches!(state.phase, Phase::Open | Phase::Connecting) {
                return;
            }
            state.phase = Phase::Closing;
            state.nudge.clone()
        };
        self.changed.notify_all();
        if let Some(nudge) = nudge {
            nudge.wake();
        }
    }

    /// Has a waiting writer return (`true`), or wait again.
    pub fn set_writer_flushing(&self, flushing: bool) {
        self.lock().flushing_writer = flushing;
        self.changed.notify_all();
    }

    /// Has a waiting reader return (`true`), or wait again.
    pub fn set_reader_flushing(&self, flushing: bool) {
        self.lock().flushing_reader = flushing;
        self.changed.notify_all();
    }

    /// Nobody reads: what comes is counted and dropped.
    pub fn discard(&self, discards: bool) {
        let nudge = {
            let mut state = self.lock();
            state.discards = discards;
            if !discards {
                return;
            }
            // overflow: DROPS (counted): nobody reads them.
            state.stats.messages_dropped += state.incoming.len() as u64;
            state.incoming.clear();
            state.in_cost = 0;
            std::mem::take(&mut state.parked).then(|| state.nudge.clone())
        };
        if let Some(Some(nudge)) = nudge {
            nudge.wake();
        }
    }

    /// Waits at most `timeout` for messages, and moves those that are there, at most 256, to `into`.
    pub fn receive(&self, into: &mut VecDeque<Message>, timeout: Duration) -> Received {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        while state.incoming.is_empty() {
            if state.flushing_reader {
                return Received::Flushing;
            }
            if matches!(state.phase, Phase::Closed { .. }) {
                return Received::Ended;
            }
            let left = deadline.map_or(Duration::MAX, |at| {
                at.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Received::Timeout;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.flushing_reader {
            return Received::Flushing;
        }
        let count = state.incoming.len().min(RUN);
        let taken = into.len();
        into.extend(state.incoming.drain(..count));
        let cost: usize = into.iter().skip(taken).map(Message::cost).sum();
        state.in_cost = state.in_cost.saturating_sub(cost);
        // At half, so that a reader who takes one message at a time wakes nobody for each.
        let nudge = (state.parked && state.in_cost <= INBOUND_ROOM / 2)
            .then(|| std::mem::take(&mut state.parked))
            .and_then(|_| state.nudge.clone());
        drop(state);
        if let Some(nudge) = nudge {
            nudge.wake();
        }
        Received::Messages
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and queues; none is left half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
