// SPDX-License-Identifier: MPL-2.0
//! Finds the frames in a stream of RTP packets that are in order, and which of them are whole.
//!
//! Pure: the element around it is `frame_gate`. A frame is what has one timestamp; it ends with the
//! marker, or with the next timestamp. Invariant: with [`Policy::Drop`] only whole frames come out,
//! and after a hole nothing before the next whole key frame, so that a decoder behind never sees a
//! picture whose reference is missing.

use std::time::{Duration, Instant};

/// A key frame that was asked for and does not come is asked for again after this time: the
/// request can be lost too.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// See `Frames::fillers`.
const FILLERS_REMEMBERED: u16 = 1000;
/// No frame has so many packets; what goes on longer is nothing to keep.
const LONGEST_FRAME: usize = 8192;

/// What happens with what a decoder cannot show as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Only whole frames; after a hole none before a key frame.
    Drop,
    /// All media comes out at once; holes only make a key frame be asked for.
    Pass,
    /// As [`Self::Pass`], and nothing is asked for.
    Count,
}

/// What a packet says of its place.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker: the last packet of a frame.
    pub marker: bool,
    /// It is the first of its frame, as far as its payload tells.
    pub begins: bool,
    /// A decoder can start with its frame.
    pub key: bool,
    /// Padding only.
    pub empty: bool,
}

/// What is to be done after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Ask the sender for a key frame.
    pub ask: bool,
    /// So many frames came out whole, or, with [`Policy::Drop`] off, were seen whole.
    pub frames: u32,
    /// Of these, key frames.
    pub key_frames: u32,
    /// Frames that had a hole.
    pub broken: u32,
    /// Frames that were not given out.
    pub dropped: u32,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.ask |= other.ask;
        self.frames += other.frames;
        self.key_frames += other.key_frames;
        self.broken += other.broken;
        self.dropped += other.dropped;
    }
}

/// See the module. `T` is a packet.
#[derive(Debug)]
pub struct Frames<T> {
    policy: Policy,
    /// Number of the next packet.
    expected: Option<u16>,
    frame: Option<Frame>,
    /// Packets of `frame`, where they are kept until it is whole.
    held: Vec<T>,
    /// A key frame is needed.
    waiting: bool,
    /// A hole was told, and no packet came since.
    hole: bool,
    /// Markers are used.
    marked: bool,
    /// So many packets ago at most, packets without media were among the others: padding or FEC,
    /// whose loss is none.
    fillers: u16,
    /// Timestamps of the last two frames.
    times: (Option<u32>, Option<u32>),
    asked: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    timestamp: u32,
    broken: bool,
    key: bool,
}

impl<T> Frames<T> {
    /// Nothing yet: with [`Policy::Drop`] a key frame has to be the first.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            expected: None,
            frame: None,
            held: Vec::new(),
            waiting: policy == Policy::Drop,
            hole: false,
            marked: false,
            fillers: 0,
            times: (None, None),
            asked: None,
        }
    }

    /// Another policy from now on. What is held comes out in `out`.
    pub fn set_policy(&mut self, policy: Policy, out: &mut Vec<T>) {
        if self.policy == policy {
            return;
        }
        self.policy = policy;
        if policy != Policy::Drop {
            out.append(&mut self.held);
            self.waiting = false;
        } else if let Some(frame) = &mut self.frame {
            // Its beginning is out already.
            frame.broken = true;
        }
    }

    /// Takes a packet; what comes out is appended to `out`. Packets without media stay inside.
    pub fn take(&mut self, place: Place, packet: T, now: Instant, out: &mut Vec<T>) -> Done {
        let mut done = Done::default();
        let jumped = self.expected.is_some_and(|n| n != place.sequence);
        self.expected = Some(place.sequence.wrapping_add(1));
        let mut hole = std::mem::take(&mut self.hole) || jumped;
        if hole && self.is_between_frames(&place) {
            hole = false;
        }
        if hole {
            done.add(self.fail(now));
        }
        if place.empty {
            // It belongs to no frame, and only its number counts. What it says of a hole before it
            // is not enough.
            self.hole = hole && self.frame.is_none();
            self.fillers = FILLERS_REMEMBERED;
            return done;
        }
        self.fillers = self.fillers.saturating_sub(1);
        if self.frame.is_some_and(|f| f.timestamp != place.timestamp) {
            done.add(self.finish(now, out));
        }
        if self.times.1 != Some(place.timestamp) {
            self.times = (self.times.1, Some(place.timestamp));
        }
        let frame = self.frame.get_or_insert(Frame {
            timestamp: place.timestamp,
            broken: hole && !place.begins,
            key: false,
        });
        frame.key |= place.key;
        if self.held.len() >= LONGEST_FRAME {
            // overflow: DROPS (counted as broken): whatever this is, it is no frame.
            frame.broken = true;
            self.held.clear();
        }
        if self.policy == Policy::Drop {
            self.held.push(packet);
        } else {
            out.push(packet);
        }
        if place.marker {
            self.marked = true;
            done.add(self.finish(now, out));
        }
        done
    }

    /// Packets before the next one are lost for good.
    pub fn lose(&mut self, now: Instant) -> Done {
        self.hole = true;
        if self.fillers > 0 && self.frame.is_none() {
            // The next packet shows whether that was one.
            return Done::default();
        }
        self.fail(now)
    }

    fn fail(&mut self, now: Instant) -> Done {
        if let Some(frame) = &mut self.frame {
            frame.broken = true;
        }
        self.waiting |= self.policy == Policy::Drop;
        Done {
            ask: self.policy != Policy::Count && self.may_ask(now),
            ..Done::default()
        }
    }

    /// Whether the hole before `place` was made by packets without media alone: they are in use,
    /// the frame before was ended, and the next one begins when it should.
    fn is_between_frames(&self, place: &Place) -> bool {
        let (Some(first), Some(second)) = self.times else {
            return false;
        };
        let usual = second.wrapping_sub(first);
        let step = place.timestamp.wrapping_sub(second);
        let as_usual = step > 0 && step <= usual.saturating_add(usual / 2);
        self.fillers > 0 && self.frame.is_none() && place.begins && !place.empty && as_usual
    }

    /// Nothing follows. Where the sender marks the last packets of frames, one that has no such
    /// packet was cut off.
    pub fn end(&mut self, now: Instant, out: &mut Vec<T>) -> Done {
        if self.marked
            && let Some(frame) = &mut self.frame
        {
            frame.broken = true;
        }
        let done = self.finish(now, out);
        Done { ask: false, ..done }
    }

    /// Another stream begins, or this one from another place.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    fn finish(&mut self, now: Instant, out: &mut Vec<T>) -> Done {
        let Some(frame) = self.frame.take() else {
            return Done::default();
        };
        let mut done = Done::default();
        if frame.broken {
            done.broken = 1;
        } else {
            done.frames = 1;
            done.key_frames = u32::from(frame.key);
        }
        if self.policy != Policy::Drop {
            return done;
        }
        if !frame.broken && (frame.key || !self.waiting) {
            if frame.key {
                self.waiting = false;
                self.asked = None;
            }
            out.append(&mut self.held);
            return done;
        }
        self.held.clear();
        self.waiting = true;
        Done {
            ask: self.may_ask(now),
            frames: 0,
            key_frames: 0,
            broken: done.broken,
            dropped: 1,
        }
    }

    fn may_ask(&mut self, now: Instant) -> bool {
        let recently = |then: Instant| now.saturating_duration_since(then) < ASK_AGAIN;
        if self.asked.is_some_and(recently) {
            return false;
        }
        self.asked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests;
