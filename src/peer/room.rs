// SPDX-License-Identifier: MPL-2.0
//! Room of queues that were full once: what a burst took is given back when it is over.
//!
//! A queue keeps the room of its fullest moment. For most that is the first second of a call, when
//! a viewer gets all frames since the last key frame in one go; with many viewers that moment would
//! be most of their memory. Whoever shrank a queue whenever it is empty would allocate all the time:
//! so its room follows what was in it at most in the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Room is looked at so often.
const INTERVAL: Duration = Duration::from_secs(2);
/// Fewer bytes are not worth it.
const SMALL: usize = 2048;

/// What has room for more than is in it.
pub(super) trait Roomy {
    /// Of one entry, bytes.
    const SIZE: usize;

    fn len(&self) -> usize;
    fn capacity(&self) -> usize;
    fn shrink_to(&mut self, capacity: usize);
}

impl<T> Roomy for VecDeque<T> {
    const SIZE: usize = size_of::<T>();

    fn len(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn shrink_to(&mut self, capacity: usize) {
        self.shrink_to(capacity);
    }
}

impl<T> Roomy for Vec<T> {
    const SIZE: usize = size_of::<T>();

    fn len(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn shrink_to(&mut self, capacity: usize) {
        self.shrink_to(capacity);
    }
}

/// What a queue needed of late.
#[derive(Debug, Default)]
pub(super) struct Room {
    most: usize,
    due: Option<Instant>,
}

impl Room {
    /// Takes note of what is in `queue` now, and gives back, each time that it is due, what was of
    /// no use since the last time.
    pub(super) fn settle<Q: Roomy>(&mut self, queue: &mut Q, now: Instant) {
        self.most = self.most.max(queue.len());
        let due = *self.due.get_or_insert(now + INTERVAL);
        if now < due {
            return;
        }
        // Some more, so that a little growth does not double it at once.
        let wanted = self.most + self.most / 4;
        let spare = queue.capacity().saturating_sub(wanted);
        if spare > wanted / 4 && spare * Q::SIZE > SMALL {
            queue.shrink_to(wanted);
        }
        self.most = queue.len();
        self.due = Some(now + INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_of_a_burst_is_given_back_when_it_is_over() {
        let (mut room, mut queue) = (Room::default(), VecDeque::new());
        let start = Instant::now();
        queue.extend(0..10_000u64);
        room.settle(&mut queue, start);
        queue.drain(..9_900);
        room.settle(&mut queue, start + INTERVAL);
        assert!(queue.capacity() >= 10_000, "it was needed a moment ago");
        room.settle(&mut queue, start + 2 * INTERVAL);
        assert!(queue.capacity() < 1000);
        assert!(queue.iter().copied().eq(9_900..10_000));
    }

    #[test]
    fn a_queue_that_fills_and_empties_keeps_its_room() {
        let (mut room, mut queue) = (Room::default(), VecDeque::new());
        let start = Instant::now();
        for step in 0..100u32 {
            queue.extend(0..1000u64);
            let room_before = queue.capacity();
            room.settle(&mut queue, start + step * INTERVAL / 4);
            queue.clear();
            room.settle(&mut queue, start + step * INTERVAL / 4);
            assert!(queue.capacity() * 5 >= room_before * 4 || step < 2);
            assert!(queue.capacity() >= 1000);
        }
    }
}
