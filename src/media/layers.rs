// SPDX-License-Identifier: MPL-2.0
//! One stream of several layers of one picture (simulcast, RFC 8853): which layer goes on, and how
//! it follows the one before without a break in sequence numbers and timestamps.
//!
//! Pure: no clock, no socket. A change happens at the first packet of a key frame, so that every
//! frame that goes on can be decoded.

mod follow;
mod rank;

use std::time::{Duration, Instant};

use follow::{Follow, Place};
use rank::Rank;

/// Which layer is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// The largest that comes.
    #[default]
    Best,
    /// The smallest that comes.
    Lowest,
    /// The layer of this rid (RFC 8851); while it does not come, the largest that does.
    Rid(String),
    /// Every layer is a stream of its own.
    All,
}

impl Choice {
    /// From the words that users write: `best`, `lowest`, `all`, or else a rid.
    pub fn read(text: &str) -> Self {
        match text.trim() {
            "" | "best" => Self::Best,
            "lowest" => Self::Lowest,
            "all" => Self::All,
            rid => Self::Rid(rid.to_owned()),
        }
    }
}

/// The layer counts as stopped after this time without a packet, if others went on.
const STOPPED_AFTER: Duration = Duration::from_millis(250);
/// So many frames of others must have come meanwhile: a slow camera is no stopped one.
const STOPPED_FRAMES: u32 = 8;
/// Nothing comes at all: the layer counts as stopped all the same.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// Frames of a layer before it is worth changing to.
const STEADY_FRAMES: u32 = 3;
/// A start waits so long for the layer that is wanted.
const START_PATIENCE: Duration = Duration::from_secs(1);
/// A key frame is asked for again after this time, then after twice as long.
const FIRST_ASK: Duration = Duration::from_millis(300);
const LAST_ASK: Duration = Duration::from_millis(2400);

/// A packet of a layer, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Last packet of its frame.
    pub marker: bool,
    /// It is the first of a key frame.
    pub key_start: bool,
    /// Empty for padding.
    pub payload: &'a [u8],
}

/// What a packet goes on as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Sequence number downstream.
    pub sequence: u16,
    /// Timestamp downstream.
    pub timestamp: u32,
    /// SSRC downstream: that of the first layer that went on.
    pub ssrc: u32,
}

/// One layer.
#[derive(Debug)]
struct Layer {
    rid: String,
    ssrc: Option<u32>,
    /// When its last packet came.
    last: Option<Instant>,
    timestamp: u32,
    /// The newest sequence number.
    highest: u16,
    /// Frames since it began, or began again.
    frames: u32,
    /// Frames of others since its last packet.
    others: u32,
    /// The remote said that it stops.
    said_bye: bool,
    rank: Rank,
    /// Where its packets go downstream.
    place: Option<Place>,
    /// NTP and RTP time of its last sender report.
    report: Option<(u64, u32)>,
}

impl Layer {
    fn is_alive(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| {
            let silent = now.saturating_duration_since(last);
            let stopped = silent >= STOPPED_AFTER && self.others >= STOPPED_FRAMES;
            !stopped && !self.said_bye && silent < SILENT_AFTER
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Selector {
    choice: Choice,
    clock_rate: u32,
    layers: Vec<Layer>,
    current: Option<usize>,
    follow: Option<Follow>,
    /// The first packet of any layer.
    begun: Option<Instant>,
    /// Another layer than the current one is wanted, as of the last packet.
    pending: Option<Instant>,
    /// Whose key frame was asked for, when it is due again, and after how long then.
    asked: Option<(usize, Instant, Duration)>,
}

impl Selector {
    /// Of layers with these rids, in the order of the description; empty where they have none.
    pub fn new(rids: impl IntoIterator<Item = String>, clock_rate: u32, choice: Choice) -> Self {
        let layers = rids.into_iter().map(|rid| Layer {
            rid,
            ssrc: None,
            last: None,
            timestamp: 0,
            highest: 0,
            frames: 0,
            others: 0,
            said_bye: false,
            rank: Rank::default(),
            place: None,
            report: None,
        });
        Self {
            choice,
            clock_rate: clock_rate.max(1),
            layers: layers.collect(),
            current: None,
            follow: None,
            begun: None,
            pending: None,
            asked: None,
        }
    }

    /// Another layer is wanted from now on.
    pub fn choose(&mut self, choice: Choice) {
        if self.choice != choice {
            self.choice = choice;
            self.asked = None;
        }
    }

    /// Layer `layer` comes as `ssrc` from now on, or begins another numbering.
    pub fn begin(&mut self, layer: usize, ssrc: u32) {
        if let Some(state) = self.layers.get_mut(layer) {
            (state.ssrc, state.place, state.report) = (Some(ssrc), None, None);
            (state.last, state.frames) = (None, 0);
            if self.current == Some(layer) {
                self.current = None;
            }
        }
    }

    /// The layer that goes on now.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// The rids of the layers that come at `now`.
    pub fn alive(&self, now: Instant) -> impl Iterator<Item = &str> {
        let alive = self.layers.iter().filter(move |l| l.is_alive(now));
        alive.map(|layer| layer.rid.as_str())
    }

    /// A key frame shows a picture of this many pixels.
    pub fn sized(&mut self, layer: usize, pixels: u32) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.rank.pixels = Some(pixels);
        }
    }

    /// The remote said that it stops `layer` (RTCP BYE); it may come again.
    pub fn stopped(&mut self, layer: usize) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.said_bye = true;
            layer.frames = 0;
        }
    }

    /// A packet of `layer` came: what it goes on as, if it does.
    pub fn pass(&mut self, layer: usize, seen: &Seen<'_>, now: Instant) -> Option<Passed> {
        let newest = self.note(layer, seen, now);
        if newest && seen.key_start && self.current != Some(layer) && self.takes(layer, now) {
            self.change(layer, seen, now);
        }
        if newest {
            self.look(now);
        }
        let current = self.current == Some(layer);
        let place = self.layers.get_mut(layer)?.place.as_mut()?;
        let follow = self.follow.as_mut()?;
        follow.pass(place, seen, current, now)
    }

    /// A sender report of `layer`: its time and SSRC downstream, if the layer goes on.
    pub fn report(&mut self, layer: usize, ntp: u64, rtp: u32) -> Option<(u32, u32)> {
        let state = self.layers.get_mut(layer)?;
        state.report = Some((ntp, rtp));
        let place = state.place.filter(|_| self.current == Some(layer))?;
        Some((self.follow.as_ref()?.ssrc, place.timestamp_of(rtp)))
    }

    /// The layer of which a key frame is to be asked for now.
    pub fn ask(&mut self, now: Instant) -> Option<usize> {
        let target = self.target(now).filter(|t| self.current != Some(*t));
        let Some(target) = target else {
            (self.asked, self.pending) = (None, None);
            return None;
        };
        let pause = match self.asked {
            Some((layer, due, _)) if layer == target && now < due => return None,
            Some((layer, _, pause)) if layer == target => (pause * 2).min(LAST_ASK),
            _ => FIRST_ASK,
        };
        self.asked = Some((target, now + pause, pause));
        Some(target)
    }

    /// When [`Self::ask`] may have something to ask for.
    pub fn due(&self) -> Option<Instant> {
        let since = self.pending?;
        Some(self.asked.map_or(since, |(_, due, _)| due))
    }

    /// Whether another layer than the current one is to be asked for.
    fn look(&mut self, now: Instant) {
        let target = self.target(now).filter(|t| self.current != Some(*t));
        self.pending = target.map(|_| now);
        if self.asked.is_some_and(|(asked, ..)| target != Some(asked)) {
            self.asked = None;
        }
    }

    /// Tells whether the packet is media and the newest of its layer.
    fn note(&mut self, layer: usize, seen: &Seen<'_>, now: Instant) -> bool {
        self.begun.get_or_insert(now);
        let (mut another_frame, mut newest) = (false, false);
        if let Some(state) = self.layers.get_mut(layer) {
            let restarts = !state.is_alive(now);
            // Padding keeps no layer alive: it probes the path of one that may come.
            if seen.payload.is_empty() {
                return false;
            }
            newest = state.last.is_none() || seen.sequence.wrapping_sub(state.highest) < 0x8000;
            if newest {
                state.highest = seen.sequence;
            }
            if restarts {
                state.frames = 0;
                state.said_bye = false;
                state.rank.restart();
            }
            another_frame = state.frames == 0 || state.timestamp != seen.timestamp;
            state.timestamp = seen.timestamp;
            state.frames = state.frames.saturating_add(u32::from(another_frame));
            state.last = Some(now);
            state.others = 0;
            state.rank.arrived(seen.payload.len(), now);
        }
        if another_frame {
            let others = self.layers.iter_mut().enumerate();
            for (_, other) in others.filter(|(index, _)| *index != layer) {
                other.others = other.others.saturating_add(1);
            }
        }
        newest
    }

    /// The layer to change to, or to stay with.
    fn target(&self, now: Instant) -> Option<usize> {
        let alive = |index: &usize| self.layers.get(*index).is_some_and(|l| l.is_alive(now));
        let all = || (0..self.layers.len()).filter(alive);
        let rank = |index: &usize| self.layers.get(*index).map(|l| &l.rank);
        let by_rank = |a: &usize, b: &usize| match (rank(a), rank(b)) {
            (Some(one), Some(other)) => one.compare(other),
            _ => std::cmp::Ordering::Equal,
        };
        let any = all().any(|index| self.is_steady(index));
        let candidates = || all().filter(|index| !any || self.is_steady(*index));
        // Of equals the one that goes on already.
        let best = |a: &usize, b: &usize| {
            let now_on = |index: &usize| self.current == Some(*index);
            by_rank(a, b).then(now_on(a).cmp(&now_on(b)))
        };
        match &self.choice {
            Choice::Lowest => candidates().min_by(|a, b| by_rank(a, b)),
            Choice::Rid(rid) => {
                let named = |index: &usize| self.layers.get(*index).is_some_and(|l| l.rid == *rid);
                all()
                    .find(named)
                    .or_else(|| candidates().max_by(|a, b| best(a, b)))
            }
            Choice::Best | Choice::All => candidates().max_by(|a, b| best(a, b)),
        }
    }

    fn is_steady(&self, index: usize) -> bool {
        let layer = self.layers.get(index);
        Some(index) == self.current || layer.is_some_and(|l| l.frames >= STEADY_FRAMES)
    }

    /// Whether the key frame of `layer` that begins now is one to change at.
    fn takes(&self, layer: usize, now: Instant) -> bool {
        let wanted = self.target(now) == Some(layer);
        if self.current.is_some() {
            return wanted;
        }
        if self.follow.is_some() {
            return true;
        }
        // A start takes what there is; the layer that was named it waits for.
        let waited = self.begun.is_some_and(|b| now >= b + START_PATIENCE);
        match (&self.choice, self.layers.get(layer)) {
            (Choice::Rid(rid), Some(state)) => state.rid == *rid || (waited && wanted),
            (Choice::Lowest, _) => wanted,
            _ => true,
        }
    }

    fn change(&mut self, layer: usize, seen: &Seen<'_>, now: Instant) {
        let former = self.current.and_then(|index| self.layers.get(index));
        let former = former.and_then(|f| Some((f.place?, f.report?)));
        let left_at = self.follow.as_ref().map(|follow| follow.sequence());
        let left = self.current.and_then(|index| self.layers.get_mut(index));
        if let (Some(place), Some(at)) = (left.and_then(|l| l.place.as_mut()), left_at) {
            place.leave(at);
        }
        let Some(state) = self.layers.get_mut(layer) else {
            return;
        };
        let place = match &mut self.follow {
            Some(follow) => follow.next_place(seen, former.zip(state.report), self.clock_rate, now),
            None => {
                self.follow = Some(Follow::new(state.ssrc.unwrap_or_default(), seen, now));
                Place::unchanged(seen)
            }
        };
        state.place = Some(place);
        self.current = Some(layer);
    }
}

#[cfg(test)]
mod tests;
