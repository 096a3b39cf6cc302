// SPDX-License-Identifier: MPL-2.0
//! Lets the jitter buffer take in a whole list before it gives anything out.
//!
//! Its thread is as quick as the one that fills it: it would wake for each packet of a list, find
//! no other behind it, and sleep again, and both would wait for each other's lock in between. Here
//! it waits once, with the first packet, for the end of the list. Invariant: no wait is longer than
//! [`LONGEST`], whatever became of the one that is waited for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A list is taken in within a fraction of this; the rest is for a busy machine.
const LONGEST: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug, Default)]
pub struct Batch {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A list is on its way into the jitter buffer.
    runs: bool,
    /// Somebody sleeps until it is there.
    awaited: bool,
}

impl Batch {
    /// A list sets out.
    pub fn begin(&self) {
        self.lock().runs = true;
    }

    /// All of it is there, or it never will be.
    pub fn end(&self) {
        let mut state = self.lock();
        state.runs = false;
        let wake = std::mem::take(&mut state.awaited);
        drop(state);
        if wake {
            self.ended.notify_all();
        }
    }

    /// Waits for the end of the list that is on its way, if there is one.
    pub fn wait(&self) {
        let mut state = self.lock();
        if !state.runs {
            return;
        }
        state.awaited = true;
        let waited = self
            .ended
            .wait_timeout_while(state, LONGEST, |state| state.runs);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // After LONGEST nobody else has to wait for it.
        state.runs = false;
    }

    /// Two flags; never held over a wait but its own.
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
        batch.begin();
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
        batch.begin();
        batch.wait();
        assert!(!batch.lock().runs, "whoever comes next does not wait");
    }
}
