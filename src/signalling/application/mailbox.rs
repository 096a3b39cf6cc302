// SPDX-License-Identifier: MPL-2.0
//! Where an application leaves messages for a call, and is told those of the call.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::read;
use crate::signalling::message::{DescriptionType, Message};

/// Messages of the application that may wait: more than the candidates of any description.
const MAX_WAITING: usize = 512;
/// ... and their bytes.
const MAX_BYTES: usize = 4 << 20;

/// Tells the application a message; `false`: nobody listens there. It may block.
pub type Outlet = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Why a message of the application was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is no message.
    #[error("{0}")]
    Unreadable(String),
    /// Nobody reads descriptions any more.
    #[error("this call is over: a new one begins with READY and then PLAYING")]
    Over,
    /// Too many wait.
    #[error(
        "{MAX_WAITING} messages, or {MAX_BYTES} bytes of them, wait already: the element reads them \
         once it is in PLAYING"
    )]
    Full,
}

/// See the module. Clones are of one mailbox.
///
/// Invariants: nothing is locked while the application is told; both ways are bounded; what came
/// before the call began waits for it.
#[derive(Clone, Default)]
pub struct Mailbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    bytes: usize,
    /// A description is among them.
    described: bool,
    /// A call reads them.
    begun: bool,
    /// It does no longer.
    over: bool,
    outlets: Vec<Entry>,
}

struct Entry {
    place: Place,
    outlet: Outlet,
}

/// Which outlet is asked first, where a call has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its element has left the call: it is asked when nobody else listens.
    pub left: bool,
    /// Its element receives: whoever sends is asked before.
    pub receives: bool,
    /// Tells outlets apart.
    pub number: u64,
}

impl Mailbox {
    /// Takes a message of the remote, in any form that the stdio signaller reads. What a call that
    /// is over needs no more (a candidate, a bye) is taken, too, and passed over.
    ///
    /// # Errors
    ///
    /// Why it was not taken. Nothing of it was, then.
    pub fn put(&self, text: &str) -> Result<(), NotTaken> {
        // What names no type is read again when it is known which is due.
        let messages = read(text, DescriptionType::Offer).map_err(NotTaken::Unreadable)?;
        if messages.is_empty() {
            return Ok(());
        }
        let described = messages
            .iter()
            .any(|message| matches!(message, Message::Description(_)));
        let mut state = self.lock();
        if state.over {
            // A candidate or a bye that comes late asks for nothing.
            return if described {
                Err(NotTaken::Over)
            } else {
                Ok(())
            };
        }
        let only_bye = messages.iter().all(|message| *message == Message::Bye);
        if only_bye && !state.begun && !state.described {
            // It is the end of an earlier call, and not of the one to come.
            log::debug!("application: a bye came while there was no call");
            return Ok(());
        }
        if state.waiting.len() >= MAX_WAITING || state.bytes + text.len() > MAX_BYTES {
            return Err(NotTaken::Full);
        }
        state.bytes += text.len();
        state.described |= described;
        state.waiting.push_back(text.to_owned());
        drop(state);
        self.0.arrived.notify_one();
        Ok(())
    }

    /// Moves what waits in `other` here; the rest of what does not fit is lost, and counted.
    pub fn take_from(&self, other: &Self) -> usize {
        let (waiting, described) = {
            let mut theirs = other.lock();
            theirs.bytes = 0;
            (std::mem::take(&mut theirs.waiting), theirs.described)
        };
        let mut lost = 0;
        let mut state = self.lock();
        for text in waiting {
            if state.waiting.len() >= MAX_WAITING || state.bytes + text.len() > MAX_BYTES {
                lost += 1;
                continue;
            }
            state.bytes += text.len();
            state.waiting.push_back(text);
        }
        state.described |= described;
        drop(state);
        self.0.arrived.notify_one();
        lost
    }

    /// Has `outlet` told what the call says. One that has the number of another takes its place.
    pub fn attach(&self, place: Place, outlet: Outlet) {
        let mut state = self.lock();
        state
            .outlets
            .retain(|entry| entry.place.number != place.number);
        state.outlets.push(Entry { place, outlet });
        state.outlets.sort_by_key(|entry| entry.place);
    }

    /// The element of outlet `number` left the call. Who left before it, and was what it is, is not
    /// asked any more.
    pub fn left(&self, number: u64) {
        let mut state = self.lock();
        let mut outlets = state.outlets.iter().map(|entry| entry.place);
        let Some(gone) = outlets.find(|place| place.number == number) else {
            return;
        };
        state.outlets.retain(|entry| {
            let Place { left, receives, .. } = entry.place;
            entry.place == gone || !left || receives != gone.receives
        });
        for entry in &mut state.outlets {
            entry.place.left |= entry.place.number == number;
        }
        state.outlets.sort_by_key(|entry| entry.place);
    }

    /// The element of outlet `number` is in another call now.
    pub fn detach(&self, number: u64) {
        let mut state = self.lock();
        state.outlets.retain(|entry| entry.place.number != number);
    }

    /// No call reads what comes from now on.
    pub fn close(&self) {
        let mut state = self.lock();
        state.over = true;
        state.waiting.clear();
        state.bytes = 0;
    }

    /// Tells the application; `false`: nobody listens. It may block.
    pub(super) fn tell(&self, text: &str) -> bool {
        let outlets: Vec<Outlet> = {
            let state = self.lock();
            state.outlets.iter().map(|e| e.outlet.clone()).collect()
        };
        outlets.iter().any(|outlet| outlet(text))
    }

    /// A call reads what comes.
    pub(super) fn begin(&self) {
        self.lock().begun = true;
    }

    /// The next message of the remote; cancelling loses nothing.
    pub(super) async fn next(&self) -> String {
        loop {
            if let Some(text) = self.pop() {
                return text;
            }
            self.0.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<String> {
        let mut state = self.lock();
        let text = state.waiting.pop_front()?;
        state.bytes = state.bytes.saturating_sub(text.len());
        Some(text)
    }

    /// What waits.
    #[cfg(test)]
    pub(super) fn pop_for_tests(&self) -> Option<String> {
        self.pop()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything that could panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Mailbox {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Mailbox {}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Descriptions hold ICE passwords.
        let state = self.lock();
        write!(f, "Mailbox({} waiting)", state.waiting.len())
    }
}
