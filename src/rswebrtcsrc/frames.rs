// SPDX-License-Identifier: MPL-2.0
//! Finds the frames in a stream of RTP packets that are in order, and which of them are whole.
//!
//! Pure: the element around it is `frame_gate`. A frame is what has one timestamp; it ends with the
//! marker, or with the next timestamp. Invariant: with [`Policy::Drop`] only whole frames come out,
//! and after a hole nothing before the next whole key frame, so that a decoder behind never sees a
//! picture whose reference is missing. Parameter sets that come between frames always come out.

use std::time::{Duration, Instant};

use crate::media::frame_start::Start;

/// A key frame that was asked for and does not come is asked for again after this time: the
/// request can be lost too.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// See `Frames::fillers`.
const FILLERS_REMEMBERED: u16 = 1000;
/// No frame has so many packets; what goes on longer is nothing to keep.
const LONGEST_FRAME: usize = 8192;
/// Who gets nothing for so long, though packets come, is told.
pub const STARVED: Duration = Duration::from_secs(10);

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
    /// Whether it is the first of its frame, as far as its payload tells.
    pub start: Start,
    /// A decoder can start with its frame.
    pub key: bool,
    /// It has parameter sets and the like, and no picture.
    pub bare: bool,
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
    /// For [`STARVED`] no key frame came; once in each such stretch.
    pub starved: bool,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.ask |= other.ask;
        self.frames += other.frames;
        self.key_frames += other.key_frames;
        self.broken += other.broken;
        self.dropped += other.dropped;
        self.starved |= other.starved;
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
    /// A key frame is needed, or would be, were the policy to drop.
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
    /// What went before the next frame with a marker or a timestamp of its own.
    prelude: Option<Beginning>,
    /// How the last key frame began before which nothing was lost.
    usual: Option<Start>,
    asked: Option<Instant>,
    /// The first frame that was dropped since one came out.
    dropping: Option<Instant>,
    /// Of [`STARVED`]. The beginning of a stream is watched by `silence`.
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Beginning {
    start: Start,
    /// Packets before it are lost, maybe its own.
    behind_hole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    timestamp: u32,
    beginning: Beginning,
    broken: bool,
    key: bool,
    /// No picture came yet.
    bare: bool,
}

impl<T> Frames<T> {
    /// Nothing yet: with [`Policy::Drop`] a key frame has to be the first.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            expected: None,
            frame: None,
            held: Vec::new(),
            waiting: true,
            hole: false,
            marked: false,
            fillers: 0,
            times: (None, None),
            prelude: None,
            usual: None,
            asked: None,
            dropping: None,
            told: true,
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
            self.dropping = None;
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
        if place.empty {
            // It belongs to no frame, and only its number counts. What was before it is told by the
            // next one with media.
            if hole {
                done.add(self.lose(now));
            }
            self.fillers = FILLERS_REMEMBERED;
            return done;
        }
        hole |= self.is_amid_first_frame(&place);
        if hole && !self.is_between_frames(&place) {
            done.add(self.fail(now));
        }
        self.fillers = self.fillers.saturating_sub(1);
        if self.frame.is_some_and(|f| f.timestamp != place.timestamp) {
            done.add(self.finish(now, out));
        }
        let prelude = &mut self.prelude;
        let frame = self.frame.get_or_insert_with(|| Frame {
            timestamp: place.timestamp,
            beginning: prelude.take().filter(|_| !hole).unwrap_or(Beginning {
                start: place.start,
                behind_hole: hole,
            }),
            broken: false,
            key: false,
            bare: true,
        });
        frame.key |= place.key;
        frame.bare &= place.bare;
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
        self.waiting = true;
        Done {
            ask: self.policy != Policy::Count && self.may_ask(now),
            ..Done::default()
        }
    }

    /// Whether `place` is of the first frame of all, and not its beginning: that went before we came.
    fn is_amid_first_frame(&self, place: &Place) -> bool {
        let first = self.times.1.is_none() && self.frame.is_none() && self.prelude.is_none();
        first && !matches!(place.start, Start::Slice | Start::Head)
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
        self.fillers > 0 && self.frame.is_none() && place.start != Start::Later && as_usual
    }

    /// Whether nothing of `frame` is missing. What was lost before a key frame may be its parameter
    /// sets, if such frames have them here.
    fn is_whole(&self, frame: &Frame) -> bool {
        let Beginning { start, behind_hole } = frame.beginning;
        let is_beginning = match start {
            Start::Later => false,
            _ if frame.key => self
                .usual
                .map_or(start != Start::Prefix, |usual| start >= usual),
            _ => true,
        };
        !frame.broken && (is_beginning || !behind_hole)
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

    /// With [`Policy::Drop`] the next key frame has to be the first, which is asked for now.
    pub fn wait_for_key_frame(&mut self, now: Instant) {
        self.waiting = true;
        self.asked = Some(now);
    }

    /// Another stream begins, or this one from another place.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    fn finish(&mut self, now: Instant, out: &mut Vec<T>) -> Done {
        let Some(frame) = self.frame.take() else {
            return Done::default();
        };
        if frame.bare && !frame.broken {
            self.prelude = Some(frame.beginning);
            out.append(&mut self.held);
            return Done::default();
        }
        if self.times.1 != Some(frame.timestamp) {
            self.times = (self.times.1, Some(frame.timestamp));
        }
        let whole = self.is_whole(&frame);
        if !whole {
            self.waiting = true;
        } else if frame.key {
            self.waiting = false;
            self.asked = None;
            self.dropping = None;
            self.told = false;
            if !frame.beginning.behind_hole {
                self.usual = Some(frame.beginning.start);
            }
        }
        if self.policy == Policy::Drop && self.waiting {
            return self.drop_frame(!whole, now);
        }
        out.append(&mut self.held);
        Done {
            frames: u32::from(whole),
            key_frames: u32::from(whole && frame.key),
            broken: u32::from(!whole),
            ..Done::default()
        }
    }

    fn drop_frame(&mut self, broken: bool, now: Instant) -> Done {
        self.held.clear();
        let since = *self.dropping.get_or_insert(now);
        let starved = !self.told && now.saturating_duration_since(since) >= STARVED;
        self.told |= starved;
        Done {
            ask: self.may_ask(now),
            broken: u32::from(broken),
            dropped: 1,
            starved,
            ..Done::default()
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
