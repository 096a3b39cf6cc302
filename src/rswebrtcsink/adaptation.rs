// SPDX-License-Identifier: MPL-2.0
//! Has the encoders follow the network, on a thread of its own: setting a bitrate may wait for an
//! encoder, which may wait for the call's events to open the gate.
//!
//! Invariants: nothing is locked while an encoder is set, a message posted or a property notified;
//! encoders are held weakly.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use gst::glib;
use gst::subclass::prelude::*;

use crate::logging::SINK as CAT;
use crate::peer::Estimate;

use super::bitrate::{Policy, Viewers};
use super::call::SinkCall;
use super::driving::Driving;
use super::flow::FIRST_INTERVAL;
use super::imp::RsWebRtcSink;

/// Time counts too: for viewers that are behind, and for small differences.
const TICK: Duration = Duration::from_millis(500);
/// The same where nothing is driven: what comes is measured.
const FILM_TICK: Duration = Duration::from_secs(1);
/// The same without an estimate.
const IDLE_TICK: Duration = Duration::from_secs(2);
/// The end of the thread is waited for so long: it holds the element for moments.
const STOP_LIMIT: Duration = Duration::from_millis(300);

/// What the event thread tells the one that adapts.
#[derive(Default)]
pub struct Adaptation {
    state: Mutex<State>,
    woken: Condvar,
    /// bit/s, for the property.
    estimated: AtomicU32,
}

#[derive(Default)]
struct State {
    viewers: Viewers,
    /// Something changed since the last round.
    changed: bool,
    todo: Todo,
    running: bool,
    stopped: bool,
}

/// What a round has to do beside its usual work.
#[derive(Debug, Default, Clone, Copy)]
pub struct Todo {
    /// The encoders may be others than before.
    pub look: bool,
    /// A new peer does not know the limits.
    pub tell_limits: bool,
}

impl Adaptation {
    /// Bit/s as last estimated; 0 before that.
    pub fn estimated(&self) -> u32 {
        self.estimated.load(Ordering::Relaxed)
    }

    /// Takes a new estimate; tells whether it is another one than before.
    pub fn set_estimated(&self, bitrate: u64) -> bool {
        let bitrate = u32::try_from(bitrate).unwrap_or(u32::MAX);
        self.estimated.swap(bitrate, Ordering::Relaxed) != bitrate
    }

    /// What the encoders are to follow now.
    pub fn target(&self, policy: Policy, now: Instant) -> Option<Estimate> {
        self.lock().viewers.target(policy, now)
    }

    /// What is sent changed: has the thread look again, if it runs.
    pub fn look_again(&self) {
        let mut state = self.lock();
        state.todo.look = true;
        state.changed = true;
        self.woken.notify_all();
    }

    /// Ends the thread; waits a moment for it.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.woken.notify_all();
        let limit = Instant::now() + STOP_LIMIT;
        while state.running {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.woken.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Changes what is known, and wakes the thread; tells whether it has to be started.
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.lock();
        change(&mut state);
        state.changed = true;
        self.woken.notify_all();
        let start = !state.running && !state.stopped;
        state.running |= start;
        start
    }

    /// Waits for something to do, or for a measurement; `None` when that is nothing any more.
    fn wait(&self, driving: &Driving) -> Option<Todo> {
        let mut state = self.lock();
        if !state.changed && !state.stopped {
            let tick = match (driving.is_measuring(), state.viewers.is_empty()) {
                (true, _) => FIRST_INTERVAL,
                (false, true) => IDLE_TICK,
                (false, false) if driving.has_encoders() => TICK,
                (false, false) => FILM_TICK,
            };
            let waited = self.woken.wait_timeout(state, tick);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stopped {
            return None;
        }
        state.changed = false;
        Some(std::mem::take(&mut state.todo))
    }

    fn ended(&self) {
        self.lock().running = false;
        self.woken.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Entries are replaced one by one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RsWebRtcSink {
    /// A new estimate of the path to peer `id`.
    pub(super) fn estimated(&self, call: &Arc<SinkCall>, id: &Arc<str>, estimate: Estimate) {
        let now = Instant::now();
        self.adapt(call, |state| state.viewers.tell(id, estimate, now));
    }

    /// Media flows to a peer, which may be a new one.
    pub(super) fn flows(&self, call: &Arc<SinkCall>) {
        self.adapt(call, |state| {
            state.todo = Todo {
                look: true,
                tell_limits: true,
            };
        });
    }

    /// Peer `id` left.
    pub(super) fn is_gone(&self, call: &Arc<SinkCall>, id: &str) {
        self.adapt(call, |state| state.viewers.remove(id));
    }

    /// Settings changed, or what is linked.
    pub(super) fn look_for_encoders(&self, call: &Arc<SinkCall>) {
        self.adapt(call, |state| state.todo.look = true);
    }

    fn adapt(&self, call: &Arc<SinkCall>, change: impl FnOnce(&mut State)) {
        let adaptation = call.adaptation();
        if !adaptation.change(change) {
            return;
        }
        let (weak, of_call) = (self.obj().downgrade(), Arc::downgrade(call));
        let shared = adaptation.clone();
        let started = std::thread::Builder::new()
            .name("rswebrtc-bitrate".to_owned())
            .spawn(move || {
                // Also if an encoder's own code panics in it.
                let running = Running(shared);
                run(&running.0, &weak, &of_call);
            });
        if let Err(error) = started {
            adaptation.ended();
            gst::warning!(CAT, imp = self, "no thread to drive encoders: {error}");
        }
    }
}

/// The thread, while it runs.
struct Running(Arc<Adaptation>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended();
    }
}

fn run(
    adaptation: &Adaptation,
    weak: &glib::WeakRef<super::RsWebRtcSink>,
    of_call: &Weak<SinkCall>,
) {
    let mut driving = Driving::default();
    while let Some(todo) = adaptation.wait(&driving) {
        let (Some(sink), Some(call)) = (weak.upgrade(), of_call.upgrade()) else {
            break;
        };
        driving.round(&sink, &call, todo, Instant::now());
    }
    driving.end();
}

#[cfg(test)]
mod tests;
