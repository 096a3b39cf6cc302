// SPDX-License-Identifier: MPL-2.0
//! Lets the jitter buffer's thread sleep once for each list that it is given.
//!
//! By itself it wakes for the first packet of a list, finds no other behind it and sleeps again, and
//! meets the one that fills it at their lock. So it sleeps here, in what it pushed into: with the
//! newest packet there is until the next list is in ([`Batch::rest`]); and where it woke for the
//! first packet all the same, until the last one is in, too ([`Batch::wait`]).
//!
//! Invariants: no wait is longer than [`LONGEST`] or [`LONGEST_REST`], whatever became of who is waited
//! for. It rests only while its buffer is empty and nothing but lists can come: events and queries go by
//! the source's own thread, which wakes it first, and a lost packet is told of only where a later one waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A list is taken in within a fraction of this; the rest is for a busy machine.
const LONGEST: Duration = Duration::from_millis(2);
/// Frames that follow each other come sooner.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Batch {
    state: Mutex<State>,
    changed: Condvar,
    longest_rest: Duration,
}

/// What was known as a packet came out.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    ended: u64,
    newest: Option<u16>,
}

/// What became of a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// There was something to do.
    None,
    /// Until something came.
    Called,
    /// Nothing came.
    Over,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::default(),
            longest_rest: LONGEST_REST,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// A list is on its way into the jitter buffer.
    runs: bool,
    /// Lists that are there, and other reasons to look again.
    ended: u64,
    /// Number of the newest packet that went in.
    newest: Option<u16>,
    /// Nothing but lists will come.
    quiet: bool,
    /// Nobody is to sleep.
    closed: bool,
    /// Somebody sleeps.
    awaited: bool,
}

impl State {
    fn has_rest(&self, since: u64) -> bool {
        self.quiet && !self.closed && self.ended == since
    }
}

impl Batch {
    /// A list sets out: of all that went in until it is there, `newest` is the newest.
    pub fn begin(&self, newest: Option<u16>) {
        let mut state = self.lock();
        state.runs = true;
        state.newest = newest;
    }

    /// A packet sets out by itself, and is the newest.
    pub fn note(&self, newest: Option<u16>) {
        self.lock().newest = newest;
    }

    /// All of it is there, or it never will be.
    pub fn end(&self) {
        self.change(|state| {
            state.runs = false;
            state.ended += 1;
        });
    }

    /// From now on nothing but lists will come (`true`), or anything may.
    pub fn set_quiet(&self, quiet: bool) {
        self.change(|state| state.quiet = quiet);
    }

    /// Wakes who sleeps, and has nobody sleep from now on (`true`); or lets them again.
    pub fn set_closed(&self, closed: bool) {
        self.change(|state| state.closed = closed);
    }

    /// Wakes who rests.
    pub fn stir(&self) {
        self.change(|state| state.ended += 1);
    }

    /// Waits for the end of the list that is on its way, if there is one.
    pub fn wait(&self) -> Seen {
        let mut state = self.lock();
        if state.runs && !state.closed {
            (state, _) = self.sleep(state, LONGEST, |state| state.runs && !state.closed);
            // After LONGEST nobody else has to wait for it.
            state.runs = false;
        }
        Seen {
            ended: state.ended,
            newest: state.newest,
        }
    }

    /// Packet `sequence`, which came out as of `seen`, went all the way through: waits for the next list
    /// to be there, if nothing else can be. Most packets are not the newest, and take no lock.
    pub fn rest(&self, sequence: u16, seen: Seen) -> Rest {
        if seen.newest != Some(sequence) {
            return Rest::None;
        }
        let since = seen.ended;
        let state = self.lock();
        if state.newest != Some(sequence) || state.runs || !state.has_rest(since) {
            return Rest::None;
        }
        let (_state, over) = self.sleep(state, self.longest_rest, |state| state.has_rest(since));
        if over { Rest::Over } else { Rest::Called }
    }

    /// The newest packet, if nothing but lists will come.
    #[cfg(test)]
    pub fn quiet_at(&self) -> Option<u16> {
        let state = self.lock();
        state.newest.filter(|_| state.quiet && !state.runs)
    }

    /// Whether somebody sleeps.
    #[cfg(test)]
    pub fn is_awaited(&self) -> bool {
        self.lock().awaited
    }

    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        longest: Duration,
        until: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'a, State>, bool) {
        state.awaited = true;
        let waited = self
            .changed
            .wait_timeout_while(state, longest, |state| until(state));
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.awaited = false;
        (state, waited.timed_out())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let wake = state.awaited;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Flags; never held over a wait but its own.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_is_taken_out_waits_for_the_end_of_the_list() {
        let batch = Arc::new(Batch::default());
        batch.begin(None);
        let (out, is_out) = mpsc::channel();
        let reader = std::thread::spawn({
            let batch = batch.clone();
            move || {
                batch.wait();
                out.send(batch.lock().runs).unwrap();
            }
        });
        batch.end();
        assert!(!is_out.recv().unwrap());
        reader.join().unwrap();
    }

    #[test]
    fn a_list_that_never_ends_is_waited_for_once() {
        let batch = Batch::default();
        batch.begin(None);
        batch.wait();
        assert!(!batch.lock().runs, "whoever comes next does not wait");
    }

    /// A list up to packet 7 is in, and nothing but lists can come; a rest ends by time after `longest`.
    fn quiet(longest: Duration) -> Arc<Batch> {
        let batch = Arc::new(Batch {
            longest_rest: longest,
            ..Batch::default()
        });
        batch.set_quiet(true);
        batch.begin(Some(7));
        batch.end();
        batch
    }

    /// No test takes so long.
    const NEVER: Duration = Duration::from_secs(60);

    /// Rests with packet 7 on another thread, and tells how that ended.
    fn resting(batch: &Arc<Batch>) -> std::thread::JoinHandle<Rest> {
        let resting = std::thread::spawn({
            let batch = batch.clone();
            move || {
                let seen = batch.wait();
                batch.rest(7, seen)
            }
        });
        while !batch.is_awaited() && !resting.is_finished() {
            std::thread::yield_now();
        }
        resting
    }

    #[test]
    fn whoever_has_the_newest_packet_rests_until_the_next_list_is_in() {
        let batch = quiet(NEVER);
        let resting = resting(&batch);
        batch.begin(Some(9));
        assert!(batch.is_awaited(), "not for its first packet");
        batch.end();
        assert_eq!(resting.join().unwrap(), Rest::Called);
    }

    #[test]
    fn whatever_else_comes_ends_the_rest() {
        let wakes: [fn(&Batch); 3] = [
            |batch| batch.set_quiet(false),
            |batch| batch.set_closed(true),
            Batch::stir,
        ];
        for wake in wakes {
            let batch = quiet(NEVER);
            let resting = resting(&batch);
            wake(&batch);
            assert_eq!(resting.join().unwrap(), Rest::Called);
        }
        let resting = resting(&quiet(Duration::from_millis(1)));
        assert_eq!(resting.join().unwrap(), Rest::Over, "and time does");
    }

    #[test]
    fn nobody_rests_while_something_is_left_or_may_come() {
        let prepare: [fn(&Batch); 7] = [
            |batch| batch.note(Some(8)),
            // It stays inside, behind a hole.
            |batch| {
                batch.begin(Some(9));
                batch.end();
            },
            |batch| batch.begin(Some(7)),
            |batch| batch.set_quiet(false),
            |batch| batch.set_closed(true),
            // While the packet was on its way.
            Batch::end,
            Batch::stir,
        ];
        for prepare in prepare {
            let batch = quiet(NEVER);
            let seen = batch.wait();
            prepare(&batch);
            assert_eq!(batch.rest(7, seen), Rest::None);
        }
    }
}
