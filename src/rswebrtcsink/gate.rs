// SPDX-License-Identifier: MPL-2.0
//! Holds data back until a peer is there, and decides where in time it starts.
//!
//! A stored film waits here with its first frame and then plays from it in real time; a live
//! source passes, and what passes before a peer is there is dropped further on. Invariant: every
//! wait ends on a flush, on [`Gate::close`] and on [`Gate::shut_down`].

use std::sync::{Condvar, Mutex, MutexGuard};

use gst::{ClockTime, ClockTimeDiff};

/// Why nothing passes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The call ended in good order: upstream may end too.
    Ended,
    /// The call failed; the error was posted.
    Failed,
}

/// What may happen with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// On, with this added to its running time.
    Pass(ClockTimeDiff),
    /// Back, flushing.
    Flushing,
    /// Back, for good.
    Closed(Closed),
}

/// One gate for all tracks of a call.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A peer takes media.
    open: bool,
    /// One did before.
    was_open: bool,
    /// The pipeline runs.
    playing: bool,
    /// Running times of the call count from this time of the clock, ns: the base time that the
    /// pipeline began with, later by the time it paused.
    origin: i64,
    /// The pipeline's base time now, ns, which changes with flushes, too. Below 0 where the clock is
    /// younger than what was played.
    base: i64,
    /// Running time of the call when it was paused, ns.
    paused: Option<i64>,
    shut_down: bool,
    closed: Option<Closed>,
    /// Tracks that are being flushed.
    flushing: Vec<usize>,
    /// First running times of the tracks that wait.
    waiting: Vec<(usize, ClockTime)>,
    /// What is added to every running time, so that all tracks stay in step.
    offset: Option<ClockTimeDiff>,
    /// Tracks that came during the call and are not agreed yet.
    pending: Vec<usize>,
    /// Tracks that waited in vain.
    given_up: Vec<usize>,
    /// Tracks that came during the call and have not passed yet.
    late: Vec<usize>,
    /// Their offsets: a film that is added plays from its start.
    own_offsets: Vec<(usize, ClockTimeDiff)>,
}

impl Gate {
    /// Waits until the buffer of `track` may pass, and gives the offset that makes the earliest
    /// waiting one due now, for running times of the call ([`Self::in_pipeline`]). `now` gives the
    /// time of the pipeline's clock.
    pub fn wait(
        &self,
        track: usize,
        running_time: ClockTime,
        now: impl Fn() -> Option<ClockTime>,
    ) -> Passage {
        let mut state = self.lock();
        if !state.waiting.iter().any(|(t, _)| *t == track) {
            state.waiting.push((track, running_time));
        }
        loop {
            if state.shut_down || state.flushing.contains(&track) {
                state.waiting.retain(|(t, _)| *t != track);
                return Passage::Flushing;
            }
            if let Some(closed) = state.closed {
                return Passage::Closed(closed);
            }
            if state.given_up.contains(&track) {
                return Passage::Closed(Closed::Ended);
            }
            let pending = state.pending.contains(&track);
            if state.open && state.playing && !pending {
                if let Some((_, offset)) = state.own_offsets.iter().find(|(t, _)| *t == track) {
                    return Passage::Pass(*offset);
                }
                let now = now().map(|now| state.since_origin(now));
                if let Some(offset) = state.offset {
                    return Passage::Pass(state.offset_of(track, offset, running_time, now));
                }
                if let Some(now) = now {
                    let first = state.waiting.iter().map(|(_, t)| *t).min();
                    let first = first.unwrap_or(running_time);
                    let offset = difference(now, first);
                    state.offset = Some(offset);
                    return Passage::Pass(offset);
                }
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// `track` came during the call: it waits until it is agreed (`false`).
    pub fn set_pending(&self, track: usize, pending: bool) {
        self.change(|state| {
            state.pending.retain(|t| *t != track);
            if pending {
                state.pending.push(track);
                state.late.push(track);
            }
        });
    }

    /// Tracks that are not agreed yet do not wait any longer; what they have is over.
    pub fn give_up_pending(&self) {
        self.change(|state| {
            let pending = std::mem::take(&mut state.pending);
            state.given_up.extend(pending);
        });
    }

    /// Whether `track` came during the call and is not agreed yet.
    pub fn is_pending(&self, track: usize) -> bool {
        self.lock().pending.contains(&track)
    }

    /// Whether whoever waits for `track` elsewhere should return.
    pub fn interrupted(&self, track: usize) -> bool {
        let state = self.lock();
        state.shut_down || state.flushing.contains(&track)
    }

    /// Whether a peer takes media now.
    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Whether a peer took media before the connection was lost.
    pub fn was_open(&self) -> bool {
        self.lock().was_open
    }

    /// Why nothing passes any more, if so.
    pub fn closed(&self) -> Option<Closed> {
        self.lock().closed
    }

    /// A peer takes media.
    pub fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// The peer is gone, and another follows: what is held waits for it, and time starts anew.
    pub fn interrupt(&self) {
        self.change(|state| {
            state.was_open |= state.open;
            state.open = false;
            state.offset = None;
            state.own_offsets.clear();
            state.waiting.clear();
        });
    }

    /// The pipeline runs, with this base time, at this time of its clock.
    pub fn play(&self, base: ClockTime, now: ClockTime) {
        self.change(|state| {
            let base = signed(base);
            state.playing = true;
            state.origin = match state.paused.take() {
                // A flush reset the pipeline's time: that of the call goes on from where it was.
                Some(elapsed) if state.offset.is_none() => signed(now).wrapping_sub(elapsed),
                Some(_) => state.origin.wrapping_add(base).wrapping_sub(state.base),
                None => base,
            };
            state.base = base;
        });
    }

    /// The pipeline does not run any more, at this time of its clock.
    pub fn pause(&self, now: ClockTime) {
        self.change(|state| {
            state.playing = false;
            state.paused = Some(signed(now).wrapping_sub(state.origin));
        });
    }

    /// The pipeline runs on, with this base time.
    pub fn count_from(&self, base: ClockTime) {
        self.change(|state| state.base = signed(base));
    }

    /// What `offset`, which [`Self::wait`] gave, is to running times of the pipeline.
    pub fn in_pipeline(&self, offset: ClockTimeDiff) -> ClockTimeDiff {
        let state = self.lock();
        offset.wrapping_add(state.origin).wrapping_sub(state.base)
    }

    /// The call is over; the first reason stays.
    pub fn close(&self, closed: Closed) {
        self.change(|state| {
            state.open = false;
            state.closed.get_or_insert(closed);
        });
    }

    /// The element leaves: every wait returns, now and later.
    pub fn shut_down(&self) {
        self.change(|state| state.shut_down = true);
    }

    /// A flush of `track` starts (`true`) or stops. After it time starts anew.
    pub fn set_flushing(&self, track: usize, flushing: bool) {
        self.change(|state| {
            state.flushing.retain(|t| *t != track);
            if flushing {
                state.flushing.push(track);
            } else {
                state.offset = None;
                state.own_offsets.clear();
                state.waiting.clear();
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock but a comparison of times.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Running time of the call.
    fn since_origin(&self, now: ClockTime) -> ClockTime {
        let passed = signed(now).wrapping_sub(self.origin);
        ClockTime::from_nseconds(u64::try_from(passed).unwrap_or_default())
    }

    /// The offset of a track whose first buffer passes now: that of all, unless it would be late.
    fn offset_of(
        &mut self,
        track: usize,
        offset: ClockTimeDiff,
        running_time: ClockTime,
        now: Option<ClockTime>,
    ) -> ClockTimeDiff {
        let Some(at) = self.late.iter().position(|late| *late == track) else {
            return offset;
        };
        let Some(now) = now else {
            return offset;
        };
        self.late.remove(at);
        let own = offset.max(difference(now, running_time));
        if own != offset {
            self.own_offsets.push((track, own));
        }
        own
    }
}

/// GStreamer's base time may be one below 0, wrapped.
fn signed(time: ClockTime) -> i64 {
    time.nseconds() as i64
}

fn difference(now: ClockTime, then: ClockTime) -> ClockTimeDiff {
    signed(now).wrapping_sub(signed(then))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    const SECOND: ClockTime = ClockTime::SECOND;

    fn now() -> Option<ClockTime> {
        Some(SECOND * 30)
    }

    #[test]
    fn what_waited_starts_now_and_every_track_gets_the_same_offset() {
        let gate = Arc::new(Gate::default());
        let (started, has_started) = mpsc::channel();
        let audio = std::thread::spawn({
            let gate = gate.clone();
            move || {
                started.send(()).unwrap();
                gate.wait(1, SECOND * 2, now)
            }
        });
        has_started.recv().unwrap();
        gate.play(ClockTime::ZERO, SECOND);
        gate.open();
        let video = gate.wait(0, SECOND * 3, now);
        assert_eq!(audio.join().unwrap(), video);
        assert!(matches!(video, Passage::Pass(d) if d >= 27_000_000_000));
    }

    #[test]
    fn nothing_passes_before_the_pipeline_plays() {
        let gate = Arc::new(Gate::default());
        gate.open();
        let waiting = std::thread::spawn({
            let gate = gate.clone();
            move || gate.wait(0, SECOND, now)
        });
        gate.play(ClockTime::ZERO, SECOND);
        assert_eq!(waiting.join().unwrap(), Passage::Pass(29_000_000_000));
    }

    #[test]
    fn a_flush_sends_a_waiting_track_back_and_time_starts_anew() {
        let gate = Gate::default();
        gate.play(ClockTime::ZERO, SECOND);
        gate.open();
        assert_eq!(gate.wait(0, SECOND, now), Passage::Pass(29_000_000_000));
        gate.set_flushing(0, true);
        assert_eq!(gate.wait(0, SECOND, now), Passage::Flushing);
        gate.set_flushing(0, false);
        assert_eq!(gate.wait(0, SECOND * 2, now), Passage::Pass(28_000_000_000));
    }

    #[test]
    fn a_pause_does_not_count_whether_it_ends_with_a_flush_or_not() {
        let gate = Gate::default();
        gate.play(SECOND, SECOND);
        gate.open();
        let pass = |first: u64, now: u64| gate.wait(0, SECOND * first, || Some(SECOND * now));
        assert_eq!(pass(0, 3), Passage::Pass(2_000_000_000));
        // 10 s of the call.
        gate.pause(SECOND * 11);
        gate.play(SECOND * 91, SECOND * 101);
        assert_eq!(gate.in_pipeline(0), 0);
        assert_eq!(pass(8, 101), Passage::Pass(2_000_000_000));
        gate.pause(SECOND * 101);
        gate.set_flushing(0, true);
        gate.set_flushing(0, false);
        gate.play(SECOND * 200, SECOND * 200);
        assert_eq!(pass(0, 200), Passage::Pass(10_000_000_000));
        assert_eq!(gate.in_pipeline(10_000_000_000), 0);
    }

    #[test]
    fn a_base_time_that_changes_moves_nothing_and_may_lie_before_the_clock_began() {
        let gate = Gate::default();
        gate.play(SECOND, SECOND);
        gate.open();
        let pass = |first: u64, now: u64| gate.wait(0, SECOND * first, || Some(SECOND * now));
        assert_eq!(pass(0, 61), Passage::Pass(60_000_000_000));
        // What is due at 61 s of the clock is still.
        gate.count_from(SECOND * 41);
        assert_eq!(gate.in_pipeline(60_000_000_000), 20_000_000_000);
        // Another clock, which shows less than the 80 s that have passed.
        gate.pause(SECOND * 81);
        let base = ClockTime::from_nseconds(5_000_000_000u64.wrapping_sub(40_000_000_000));
        gate.play(base, SECOND * 5);
        assert_eq!(gate.in_pipeline(60_000_000_000), 20_000_000_000);
        assert_eq!(pass(0, 5), Passage::Pass(60_000_000_000));
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let gate = Gate::default();
        gate.close(Closed::Ended);
        gate.close(Closed::Failed);
        assert_eq!(gate.wait(0, SECOND, now), Passage::Closed(Closed::Ended));
        assert!(!gate.is_open());
        gate.shut_down();
        assert_eq!(gate.wait(0, SECOND, now), Passage::Flushing);
    }
}
