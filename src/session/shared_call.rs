// SPDX-License-Identifier: MPL-2.0
//! Calls of two legs: one sends, the other receives, on one connection with m-lines of both
//! directions. Legs find each other by the name of their call, in one process.
//!
//! Invariants: nothing here waits for the network unless its name says so; a leg that leaves takes
//! only its own streams along; the last one to leave ends the call; legs that left are forgotten.

mod room;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::media::codec::MediaKind;
use crate::media::layers::Choice;
use crate::media::rtp_packet::OutboundFrame;
use crate::peer::{BitrateLimits, PathStats, PeerFactory, StreamStats, TransportInfo};
use crate::signalling::application::Mailbox;

use super::done::Done;
use super::event::Event;
use super::negotiation::{AgreedStream, Receiving, Sending, Wish};
use super::{EVENT_CAPACITY, Session, SessionConfig};

pub use terms::Terms;

/// Makes the configuration of a call whose settings are known, with the mailbox of all its legs for
/// a call that an application signals.
///
/// Its error is a text with cause and cure.
pub type Configure = Box<dyn Fn(&Terms, &Mailbox) -> Result<SessionConfig, String> + Send>;

/// What a leg does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Sends.
    Sends,
    /// Receives.
    Receives,
}

/// The calls of a process, by name. A call whose legs are gone is gone, too.
#[derive(Default)]
pub struct Registry(Mutex<HashMap<String, Weak<Room>>>);

/// What a leg brings along.
pub struct Joining {
    /// What it does.
    pub side: Side,
    /// Its settings of the call.
    pub terms: Terms,
    /// Makes the call of the settings of both; that of the leg which sends counts.
    pub configure: Configure,
    /// Makes the call's peer.
    pub factory: Arc<dyn PeerFactory>,
}

/// One leg of a call.
pub struct Leg {
    room: Arc<Room>,
    side: Side,
    number: u64,
    /// Where its streams begin among those of all that ever sent in this call.
    base: usize,
    done: Arc<Done>,
}

/// A call and its legs.
struct Room {
    name: String,
    handle: Handle,
    factory: Arc<dyn PeerFactory>,
    mailbox: Mailbox,
    /// Made once, when the call begins: the packet path takes no lock for it.
    session: OnceLock<Session>,
    state: Mutex<State>,
    /// Something in `state` changed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    terms: Terms,
    legs: Vec<LegState>,
    /// Of all legs that ever sent, those that left included: places in a wish stay.
    streams: Vec<Sending>,
    joined: u64,
    /// The call is up.
    up: Option<TransportInfo>,
    /// The call is over, or nobody is left.
    over: bool,
    /// The wish is to be told anew.
    changed: bool,
}

struct LegState {
    number: u64,
    side: Side,
    configure: Configure,
    events: mpsc::Sender<Event>,
    done: Arc<Done>,
    base: usize,
    receiving: Option<Receiving>,
    /// What it sends is known.
    known: bool,
    /// Kinds of what it will send besides.
    unknown: Vec<MediaKind>,
    /// It was in PLAYING.
    begun: bool,
    playing: bool,
    finish: Finish,
    /// It knows what was agreed, and that the call is up.
    told: bool,
}

/// How far the end of a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    No,
    Asked,
    Delivering,
    Done,
}

impl Registry {
    /// Adds a leg to the call `name`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// A text with cause and cure: the call has such a leg, or the settings of the two disagree.
    pub fn join(
        &self,
        name: &str,
        joining: Joining,
        handle: &Handle,
    ) -> Result<(Leg, mpsc::Receiver<Event>), String> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.strong_count() > 0);
        if let Some(room) = rooms.get(name).and_then(Weak::upgrade) {
            // Held for both: a call may end at any time, and nobody tells who enters later.
            let mut state = room.lock();
            if let Some(terms) = room.join(&state, &joining.terms, joining.side)? {
                return Ok(room.enter(&mut state, joining, terms));
            }
        }
        let room = Arc::new(Room {
            name: name.to_owned(),
            handle: handle.clone(),
            factory: joining.factory.clone(),
            mailbox: Mailbox::default(),
            session: OnceLock::new(),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        rooms.insert(name.to_owned(), Arc::downgrade(&room));
        let terms = joining.terms.clone();
        let entered = room.enter(&mut room.lock(), joining, terms);
        handle.spawn(room::run(room));
        Ok(entered)
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of the call with those of a leg that would join; `None`: it is over.
    fn join(&self, state: &State, terms: &Terms, side: Side) -> Result<Option<Terms>, String> {
        if state.over || state.legs.is_empty() {
            return Ok(None);
        }
        let name = &self.name;
        if state.legs.iter().any(|leg| leg.side == side) {
            let (what, cure) = match side {
                Side::Sends => ("sends", "all that is sent goes to pads of one element"),
                Side::Receives => ("receives", "one element has a pad for all that comes"),
            };
            return Err(format!(
                "call={name} has an element that {what} already: {cure}, or choose another name"
            ));
        }
        let running = self.session.get().is_some();
        let merged = state.terms.merged(terms, running);
        merged.map(Some).map_err(|what| {
            format!(
                "the two elements of call={name} share one connection, and {what}: set what belongs \
                 to the call on one of them, or the same on both"
            )
        })
    }

    fn enter(
        self: &Arc<Self>,
        state: &mut State,
        joining: Joining,
        terms: Terms,
    ) -> (Leg, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
        let done = Arc::new(Done::default());
        state.terms = terms;
        state.joined += 1;
        let (number, base) = (state.joined, state.streams.len());
        state.legs.push(LegState {
            number,
            side: joining.side,
            configure: joining.configure,
            events,
            done: done.clone(),
            base,
            receiving: None,
            known: false,
            unknown: Vec::new(),
            begun: false,
            playing: false,
            finish: Finish::No,
            told: false,
        });
        let leg = Leg {
            room: self.clone(),
            side: joining.side,
            number,
            base,
            done,
        };
        (leg, receiver)
    }

    /// Removes leg `number`; tells whether it was the last.
    fn leave(&self, number: u64) -> bool {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(at) = state.legs.iter().position(|leg| leg.number == number) else {
            return state.legs.is_empty();
        };
        let leg = state.legs.remove(at);
        if leg.side == Side::Sends {
            let own = state.streams.iter_mut().skip(leg.base);
            own.for_each(|stream| stream.removed = true);
        }
        state.changed = true;
        let last = state.legs.is_empty();
        state.over |= last;
        drop(guard);
        leg.done.set();
        self.changed.notify_one();
        last
    }
}

impl Leg {
    /// Changes what is known of this leg, and has the call look at it.
    fn change(&self, change: impl FnOnce(&mut LegState, &mut Vec<Sending>)) {
        let mut guard = self.room.lock();
        let state = &mut *guard;
        let Some(leg) = state.legs.iter_mut().find(|l| l.number == self.number) else {
            return;
        };
        change(leg, &mut state.streams);
        state.changed = true;
        drop(guard);
        self.room.changed.notify_one();
    }

    /// Its element is in PLAYING: signalling starts when the other one is, too, or soon.
    pub fn begin(&self) {
        self.change(|leg, _| (leg.begun, leg.playing) = (true, true));
    }

    /// Its element is no longer in PLAYING. Nothing is negotiated for its sake until it is again.
    pub fn pause(&self) {
        self.change(|leg, _| leg.playing = false);
    }

    /// What this leg sends or receives from now on.
    pub fn set_wish(&self, wish: Wish) {
        match wish {
            Wish::Receive(receiving) => self.change(|leg, _| leg.receiving = Some(receiving)),
            Wish::Send(sent) => self.change(|leg, streams| {
                streams.truncate(leg.base);
                streams.extend(sent);
                leg.known = true;
            }),
            Wish::Both(_) => {}
        }
    }

    /// Kinds of streams that this leg will send, whose codecs are not known yet.
    pub fn announce(&self, kinds: Vec<MediaKind>) {
        self.change(|leg, _| leg.unknown = kinds);
    }

    /// Queues a frame of this leg's stream `local`; `false` when it was dropped.
    pub fn push_frame(&self, local: usize, frame: OutboundFrame) -> bool {
        let session = self.room.session.get();
        session.is_some_and(|session| session.push_frame(self.base + local, frame))
    }

    /// Asks the remote for a key frame of output `output` of stream `stream` (PLI).
    pub fn request_key_frame(&self, stream: usize, output: usize) {
        if let Some(session) = self.room.session.get() {
            session.request_key_frame(stream, output);
        }
    }

    /// Which layer of a picture goes on, where the remote sends several.
    pub fn set_layer(&self, choice: Choice) {
        // A call that begins or is joined later takes it from here.
        let mut state = self.room.lock();
        let own = state.legs.iter_mut().find(|leg| leg.number == self.number);
        if let Some(receiving) = own.and_then(|leg| leg.receiving.as_mut()) {
            receiving.layers = choice.clone();
        }
        drop(state);
        if let Some(session) = self.room.session.get() {
            session.set_layer(choice);
        }
    }

    /// New bounds of what is sent.
    pub fn set_bitrate_limits(&self, limits: BitrateLimits) {
        if let Some(session) = self.room.session.get() {
            session.set_bitrate_limits(limits);
        }
    }

    /// What is known of the path to the remote.
    pub fn path_stats(&self) -> PathStats {
        let session = self.room.session.get();
        session.map(Session::path_stats).unwrap_or_default()
    }

    /// Counters of every agreed stream of the call, those of the other leg too.
    pub fn stats(&self) -> Vec<(AgreedStream, StreamStats)> {
        let session = self.room.session.get();
        let mut all = session.map(Session::stats).unwrap_or_default();
        for (stream, _) in &mut all {
            if stream.direction.sends() {
                // As its own element knows it.
                stream.local = stream.local.saturating_sub(self.base);
            }
        }
        all
    }

    /// This leg is done: what it sent is delivered, and its m-lines stay. The call ends once the
    /// other leg is done, too.
    pub fn finish(&self) {
        self.change(|leg, _| {
            if leg.finish == Finish::No {
                leg.finish = Finish::Asked;
            }
        });
    }

    /// Waits at most `timeout` for this leg to be done; tells whether it is.
    pub fn wait_done(&self, timeout: Duration) -> bool {
        self.done.wait(timeout)
    }

    /// Leaves the call. The last one to leave ends it, and waits at most `timeout` for that.
    pub fn stop(&self, timeout: Duration) -> bool {
        if !self.room.leave(self.number) {
            return true;
        }
        let session = self.room.session.get();
        session.is_none_or(|session| session.stop(timeout))
    }

    /// Whether the call is up, or was until it ended.
    pub fn is_up(&self) -> bool {
        self.room.lock().up.is_some()
    }

    /// Where an application leaves messages for the call, whichever leg it brings them to.
    pub fn mailbox(&self) -> &Mailbox {
        &self.room.mailbox
    }

    /// What it does.
    pub fn side(&self) -> Side {
        self.side
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if self.room.leave(self.number)
            && let Some(session) = self.room.session.get()
        {
            session.cut();
        }
    }
}
