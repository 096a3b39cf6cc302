// SPDX-License-Identifier: MPL-2.0
//! The bounded hand-over from the peer's tasks to a streaming thread.
//!
//! Invariant: pushing never blocks. A full queue drops its oldest entry and counts it; the
//! reader may block, and [`InboundQueue::set_flushing`] always wakes it. What arrives together is
//! put in together and read together: one lock and at most one wake-up each way.
//!
//! A reader that sleeps may have left word what is to be done with what comes ([`Shortcut`]): then
//! whoever [delivers](InboundQueue::deliver) does it in its place, and it sleeps on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::rtp_packet::Inbound;

/// What [`InboundQueue::pop`] came back with.
#[derive(Debug)]
pub enum Popped {
    /// The oldest entry.
    Item(Inbound),
    /// Nothing arrived in time.
    Timeout,
    /// The reader was told to return.
    Flushing,
    /// The stream is over and everything before its end was read.
    Ended,
}

/// What [`InboundQueue::take`] came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// At least one entry.
    Items,
    /// Nothing arrived in time.
    Timeout,
    /// The reader was told to return.
    Flushing,
    /// The stream is over and everything before its end was read.
    Ended,
}

/// What to do with what came, at once, while the reader sleeps: takes from the front what it can,
/// and leaves what needs the reader. `false` calls the reader whatever is left. It runs under the
/// queue's lock, on a thread that others share: it must not wait for anybody, nor ask the queue anything.
pub type Shortcut = Box<dyn FnMut(&mut VecDeque<Inbound>) -> bool + Send>;

/// One receiving stream's queue; see the module for its invariant.
#[derive(Debug)]
pub struct InboundQueue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
    /// Not under the lock, which is held over a [`Shortcut`]: whoever asks may be called from there.
    dropped: AtomicU64,
    /// Microseconds; and how much longer what is late is taken all the same.
    patience: AtomicU64,
    overtime: AtomicU64,
}

/// How long readers wait for a missing packet, unless they say otherwise.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    items: VecDeque<Inbound>,
    shortcut: Option<Shortcut>,
    /// A reader sleeps: only then is there somebody to wake.
    waiting: bool,
    /// The reader is to come, though there may be nothing for it.
    called: bool,
    flushing: bool,
    ended: bool,
    /// Another source follows when this one ends.
    kept: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("items", &self.items.len())
            .field("waiting", &self.waiting)
            .field("flushing", &self.flushing)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Adds entries; `false`: none.
    fn add(&mut self, items: impl IntoIterator<Item = Inbound>, queue: &InboundQueue) -> bool {
        if self.ended {
            return false;
        }
        let mut any = false;
        for item in items {
            if self.items.len() >= queue.capacity {
                // overflow: DROPS (counted in `dropped`): the oldest is the one that is late anyway.
                self.items.pop_front();
                queue.dropped.fetch_add(1, Ordering::Relaxed);
            }
            self.items.push_back(item);
            any = true;
        }
        any
    }

    /// The sleeping reader's part by its shortcut; `false`: it has to come.
    fn passed(&mut self) -> bool {
        if !self.waiting || self.flushing {
            return false;
        }
        let Some(shortcut) = &mut self.shortcut else {
            return false;
        };
        self.called = !shortcut(&mut self.items);
        !self.called && self.items.is_empty()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl InboundQueue {
    /// A queue that holds at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            capacity: capacity.max(1),
            dropped: AtomicU64::new(0),
            patience: AtomicU64::new(micros(PATIENCE)),
            overtime: AtomicU64::new(0),
        }
    }

    /// From now on a missing packet is in time for so long, and the reader waits for it `overtime`
    /// longer: together they are its jitter buffer's size.
    pub fn set_patience(&self, in_time: Duration, overtime: Duration) {
        self.patience.store(micros(in_time), Ordering::Relaxed);
        self.overtime.store(micros(overtime), Ordering::Relaxed);
    }

    /// Until when after it was missed a packet is in time, and how much longer it is of use.
    pub fn patience(&self) -> (Duration, Duration) {
        let read = |time: &AtomicU64| Duration::from_micros(time.load(Ordering::Relaxed));
        (read(&self.patience), read(&self.overtime))
    }

    /// Adds an entry; drops the oldest when full. Ignored after [`end`](Self::end).
    pub fn push(&self, item: Inbound) {
        self.push_all(std::iter::once(item));
    }

    /// Adds what arrived together, as [`push`](Self::push) would one by one, under one lock and with
    /// one wake-up.
    pub fn push_all(&self, items: impl IntoIterator<Item = Inbound>) {
        let mut state = self.lock();
        if state.add(items, self) {
            self.wake(state);
        }
    }

    /// As [`push_all`](Self::push_all), for who may do the reader's work: by its [`Shortcut`], if it
    /// sleeps and left one.
    pub fn deliver(&self, items: impl IntoIterator<Item = Inbound>) {
        let mut state = self.lock();
        if state.add(items, self) && !state.passed() {
            self.wake(state);
        }
    }

    /// What [`deliver`](Self::deliver) does while the reader of [`take`](Self::take) sleeps.
    pub fn set_shortcut(&self, shortcut: Shortcut) {
        self.lock().shortcut = Some(shortcut);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Waits at most `timeout` for the oldest entry.
    pub fn pop(&self, timeout: Duration) -> Popped {
        let mut state = self.wait(timeout);
        if state.flushing {
            return Popped::Flushing;
        }
        match state.items.pop_front() {
            Some(item) => Popped::Item(item),
            None if state.ended => Popped::Ended,
            None => Popped::Timeout,
        }
    }

    /// Waits at most `timeout` for entries and appends all that are there to `into`. The room of an
    /// empty `into` is used for what comes next: two of them take turns. [`Taken::Timeout`] comes
    /// earlier where a [`Shortcut`] calls.
    pub fn take(&self, into: &mut VecDeque<Inbound>, timeout: Duration) -> Taken {
        let mut state = self.wait(timeout);
        if state.flushing {
            return Taken::Flushing;
        }
        if state.items.is_empty() {
            return match state.ended {
                true => Taken::Ended,
                false => Taken::Timeout,
            };
        }
        if into.is_empty() {
            std::mem::swap(&mut state.items, into);
        } else {
            into.append(&mut state.items);
        }
        Taken::Items
    }

    fn wait(&self, timeout: Duration) -> MutexGuard<'_, State> {
        let state = self.lock();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |s| {
                s.waiting = s.items.is_empty() && !s.flushing && !s.ended && !s.called;
                s.waiting
            })
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // After a timeout, too: nobody sleeps here now.
        (state.waiting, state.called) = (false, false);
        state
    }

    /// No entry will follow; what is queued is still read.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether the stream goes on when its source ends (`true`): a call has one queue for all its
    /// connections, and ends it itself.
    pub fn keep(&self, keep: bool) {
        self.lock().kept = keep;
    }

    /// The connection that filled the queue is over; so is the stream, unless it is [kept].
    ///
    /// [kept]: Self::keep
    pub fn source_ended(&self) {
        let mut state = self.lock();
        state.ended |= !state.kept;
        drop(state);
        self.changed.notify_all();
    }

    /// Forgets what is queued.
    pub fn clear(&self) {
        self.lock().items.clear();
    }

    /// Whether nothing will follow.
    pub fn is_over(&self) -> bool {
        self.lock().ended
    }

    /// Makes the reader return at once (`true`) or lets it wait again (`false`).
    pub fn set_flushing(&self, flushing: bool) {
        self.lock().flushing = flushing;
        self.changed.notify_all();
    }

    /// Entries that were dropped because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A reader sleeps.
    #[cfg(test)]
    pub fn is_awaited(&self) -> bool {
        let state = self.lock();
        state.waiting && !state.flushing && !state.called
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Poisoned only if a reader panicked; the queue itself is never left half changed.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn report(n: u8) -> Inbound {
        Inbound::SenderReport(Bytes::copy_from_slice(&[n]))
    }

    fn number(popped: Popped) -> u8 {
        match popped {
            Popped::Item(Inbound::SenderReport(b)) => b[0],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_entry_and_counts_it() {
        let queue = InboundQueue::new(2);
        (0..3).for_each(|n| queue.push(report(n)));
        assert_eq!(queue.dropped(), 1);
        assert_eq!(number(queue.pop(Duration::ZERO)), 1);
        assert_eq!(number(queue.pop(Duration::ZERO)), 2);
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Timeout));
    }

    #[test]
    fn what_arrived_together_is_taken_together_in_its_order() {
        let queue = InboundQueue::new(3);
        queue.push_all((0..4).map(report));
        assert_eq!(queue.dropped(), 1);
        let mut taken = VecDeque::new();
        assert_eq!(queue.take(&mut taken, Duration::ZERO), Taken::Items);
        assert_eq!(queue.take(&mut taken, Duration::ZERO), Taken::Timeout);
        queue.push(report(4));
        queue.end();
        assert_eq!(queue.take(&mut taken, Duration::MAX), Taken::Items);
        assert_eq!(queue.take(&mut taken, Duration::MAX), Taken::Ended);
        let taken: Vec<_> = taken
            .into_iter()
            .map(|item| number(Popped::Item(item)))
            .collect();
        assert_eq!(taken, [1, 2, 3, 4]);
    }

    #[test]
    fn what_arrives_wakes_a_waiting_reader_again_and_again() {
        let queue = std::sync::Arc::new(InboundQueue::new(8));
        let (read, was_read) = std::sync::mpsc::channel();
        let reader = std::thread::spawn({
            let queue = queue.clone();
            move || {
                let mut taken = VecDeque::new();
                while queue.take(&mut taken, Duration::MAX) == Taken::Items {
                    for item in taken.drain(..) {
                        read.send(number(Popped::Item(item))).unwrap();
                    }
                }
            }
        });
        for n in 0..100 {
            queue.push(report(n));
            assert_eq!(was_read.recv().unwrap(), n);
        }
        queue.end();
        reader.join().unwrap();
    }

    #[test]
    fn what_was_queued_before_the_end_is_still_read() {
        let queue = InboundQueue::new(2);
        queue.push(report(7));
        queue.end();
        queue.push(report(8));
        assert_eq!(number(queue.pop(Duration::ZERO)), 7);
        assert!(matches!(queue.pop(Duration::MAX), Popped::Ended));
    }

    /// A reader that tells what it takes; its shortcut takes reports below 100, and fails at 200.
    fn reader(queue: &std::sync::Arc<InboundQueue>) -> std::sync::mpsc::Receiver<Vec<u8>> {
        let (read, was_read) = std::sync::mpsc::channel();
        queue.set_shortcut(Box::new(|items| {
            let first = |items: &VecDeque<Inbound>| match items.front() {
                Some(Inbound::SenderReport(bytes)) => bytes[0],
                _ => 100,
            };
            while first(items) < 100 {
                items.pop_front();
            }
            first(items) != 200 || items.pop_front().is_none()
        }));
        std::thread::spawn({
            let queue = queue.clone();
            move || {
                let mut taken = VecDeque::new();
                while let Taken::Items | Taken::Timeout = queue.take(&mut taken, Duration::MAX) {
                    let taken = taken.drain(..).map(|item| number(Popped::Item(item)));
                    read.send(taken.collect()).unwrap();
                }
            }
        });
        was_read
    }

    #[test]
    fn a_sleeping_reader_has_its_shortcut_taken_and_comes_for_the_rest() {
        let queue = std::sync::Arc::new(InboundQueue::new(8));
        let was_read = reader(&queue);
        let slept = || {
            while !queue.is_awaited() {
                std::thread::yield_now();
            }
        };
        slept();
        queue.deliver([1, 2].map(report));
        assert!(queue.is_awaited(), "it sleeps on");
        queue.deliver([3, 100, 4].map(report));
        assert_eq!(was_read.recv().unwrap(), [100, 4]);
        slept();
        queue.deliver([5, 200].map(report));
        assert!(was_read.recv().unwrap().is_empty(), "it was called");
        slept();
        queue.push(report(6));
        assert_eq!(
            was_read.recv().unwrap(),
            [6],
            "who only pushes leaves it to the reader"
        );
        queue.end();
        assert!(was_read.recv().is_err());
    }

    #[test]
    fn whoever_is_called_from_a_shortcut_may_ask_what_was_dropped() {
        let queue = std::sync::Arc::new(InboundQueue::new(8));
        let (asked, was_asked) = std::sync::mpsc::channel();
        let weak = std::sync::Arc::downgrade(&queue);
        queue.set_shortcut(Box::new(move |items| {
            items.clear();
            let dropped = weak.upgrade().map(|queue| queue.dropped());
            asked.send(dropped).is_ok()
        }));
        let reader = std::thread::spawn({
            let queue = queue.clone();
            move || queue.take(&mut VecDeque::new(), Duration::MAX)
        });
        while !queue.is_awaited() {
            std::thread::yield_now();
        }
        queue.deliver([1].map(report));
        assert_eq!(was_asked.recv().unwrap(), Some(0));
        queue.end();
        assert_eq!(reader.join().unwrap(), Taken::Ended);
    }

    #[test]
    fn flushing_wakes_a_waiting_reader() {
        let queue = std::sync::Arc::new(InboundQueue::new(2));
        let reader = std::thread::spawn({
            let queue = queue.clone();
            move || queue.pop(Duration::MAX)
        });
        queue.set_flushing(true);
        assert!(matches!(reader.join().unwrap(), Popped::Flushing));
    }
}
