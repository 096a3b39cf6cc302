// SPDX-License-Identifier: MPL-2.0
//! Asking again for packets that are missing (generic NACK, RFC 4585 section 6.2.1).
//!
//! webrtc's generator names all that is missing at a fixed interval: over a long round trip it
//! asks many times before the first answer can be there, over a short one it waits for its tick,
//! what is merely out of order is asked for too, and it never tells that something is lost for
//! good. Here each packet has its own times: it is asked for at once (later, where packets are seen
//! to overtake each other), again when the answer is overdue, and given up when no answer can come
//! in time.

mod redundancy;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::redundancy::Redundancy;
use super::tail::Tail;
use crate::media::codec::MediaKind;

/// Missing packets of one source that are kept track of; more are not a loss but an outage.
const MOST_HOLES: usize = 1000;
/// A packet is asked for so many times at most, two requests close together counted as one.
const MOST_ROUNDS: u8 = 20;
/// An answer is expected after this time before one was measured.
const UNMEASURED: Duration = Duration::from_millis(100);
/// An answer is overdue no sooner than this after it was expected.
const LEAST_MARGIN: Duration = Duration::from_millis(3);
/// The one who asks may run so late.
const LATE: Duration = Duration::from_millis(5);
/// No round trip is taken to be longer.
const LONGEST: Duration = Duration::from_secs(2);
/// So many ambiguous answers in a row are no chance: with 20 % of loss both ways every fifth is one.
const AMBIGUOUS: u32 = 6;
/// Doublings of the time between two requests.
const MOST_BACKOFF: u32 = 3;
/// No sender keeps its packets for much longer, whatever we would wait.
const LONGEST_AGE: Duration = Duration::from_secs(2);
/// A reader waits for what is missing of a picture from when it noticed, since it cannot tell of when
/// each packet is. After a longer pause a new picture is there sooner than all that was missed.
const LONGEST_STALL: Duration = Duration::from_millis(500);
/// The longest wait for a packet that was overtaken, before it is asked for.
const MOST_REORDERING: Duration = Duration::from_millis(40);
/// The wait for overtaken packets is halved in this time without one.
const REORDERING_HALF_LIFE: Duration = Duration::from_secs(2);
/// Where fewer answers than this fit one after the other into the time there is, the next request
/// does not wait for the answer to the one before, ...
const ANSWERS_IN_TIME: u32 = 3;
/// ... but for this part of the time it takes. A sender takes two requests that come closer together
/// for one.
const HURRY: f64 = 0.85;

/// How long answers take on a path.
#[derive(Debug, Default)]
pub(super) struct AnswerTime {
    /// The round trip as others measure it, until an answer came.
    pub(super) hint: Option<Duration>,
    smoothed: Option<f64>,
    deviation: f64,
    /// Answers in a row of which nobody knows what they answer.
    ambiguous: u32,
    /// Requests are repeated after twice the time, so many times over.
    backoff: u32,
}

impl AnswerTime {
    /// An answer took `taken` (RFC 6298 section 2, in the gains too).
    fn measured(&mut self, taken: Duration) {
        let sample = taken.min(LONGEST).as_secs_f64();
        match &mut self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.deviation = sample / 8.0;
            }
            Some(smoothed) => {
                self.deviation += ((sample - *smoothed).abs() - self.deviation) / 16.0;
                *smoothed += (sample - *smoothed) / 8.0;
            }
        }
        self.ambiguous = 0;
        if taken <= self.alone() {
            self.backoff = 0;
        }
    }

    /// An answer may be to any of several requests, and is no measure (Karn). If all are, requests
    /// are repeated before an answer can be there: less often, until one is clear.
    fn ambiguous(&mut self) {
        self.ambiguous += 1;
        if self.ambiguous >= AMBIGUOUS {
            self.ambiguous = 0;
            self.backoff = (self.backoff + 1).min(MOST_BACKOFF);
        }
    }

    /// As far as is known.
    pub(super) fn known(&self) -> Option<Duration> {
        self.smoothed.map(Duration::from_secs_f64).or(self.hint)
    }

    /// An answer comes after this time, ...
    pub(super) fn expected(&self) -> Duration {
        self.known().unwrap_or(UNMEASURED)
    }

    /// ... or is taken for lost after this.
    fn limit(&self) -> Duration {
        (self.alone() * (1 << self.backoff)).min(LONGEST)
    }

    /// Whether an answer to a request at `now` may come until `deadline`, for all one knows: it may
    /// be sooner than expected, and who asks may run late.
    fn in_time(&self, now: Instant, deadline: Instant) -> bool {
        let sooner = Duration::from_secs_f64(self.deviation).max(LATE);
        now + self.expected().saturating_sub(sooner) <= deadline
    }

    fn alone(&self) -> Duration {
        let margin = Duration::from_secs_f64(2.0 * self.deviation);
        self.expected() + margin.max(LEAST_MARGIN)
    }
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As the remote sends it.
    Sent,
    /// By RTX.
    Resent,
    /// Made from FEC.
    Recovered,
}

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// To be asked for now.
    pub(super) ask: Vec<u16>,
    /// The last one that was given up.
    pub(super) given_up: Option<u32>,
}

/// A packet that is missing.
struct Hole {
    number: u32,
    /// It should have come then, ...
    expected: Instant,
    /// ... and was found to be missing then.
    noticed: Instant,
    /// When to do something about it.
    due: Instant,
    /// It was asked for in this round, ...
    asked: Option<Instant>,
    /// ... and in the one before.
    before: Option<Instant>,
    rounds: u8,
    /// Requests that are left of this round.
    copies: u8,
}

/// The missing packets of one source; see the module.
pub(super) struct Requests {
    /// The remote repeats packets by RTX: what comes late without was overtaken.
    rtx: bool,
    /// Packets are made at even times, as those of sound are.
    even: bool,
    /// In the order of their numbers.
    holes: VecDeque<Hole>,
    next: Option<Instant>,
    reordering: Reordering,
    redundancy: Redundancy,
    /// The last one that was dropped because there were too many.
    dropped: Option<u32>,
    /// When the newest packet came.
    newest: Option<Instant>,
    tail: Tail,
}

impl Requests {
    /// For a source whose packets are repeated by RTX, or under their own SSRC; of sound or pictures.
    pub(super) fn new(rtx: bool, kind: MediaKind) -> Self {
        Self {
            rtx,
            even: kind == MediaKind::Audio,
            holes: VecDeque::new(),
            next: None,
            reordering: Reordering::default(),
            redundancy: Redundancy::default(),
            dropped: None,
            newest: None,
            tail: Tail::default(),
        }
    }

    /// Packet `number` is the newest, the last of its frame if it has the `marker`, and the
    /// `skipped` ones before it have not come.
    pub(super) fn came(
        &mut self,
        number: u32,
        skipped: u32,
        marker: bool,
        how: How,
        now: Instant,
        answers: &AnswerTime,
    ) {
        let newest = self.newest.replace(now).unwrap_or(now);
        let asked = self.tail.asked();
        if skipped > 0 {
            self.tail.lost(now);
            self.missing(number, skipped, newest, now);
            self.asked_before(asked, answers);
        }
        if self.rtx {
            self.tail
                .came(number, skipped, marker, how == How::Sent, now);
        }
    }

    /// What is missing now may have been asked for already, when its frame did not go on.
    fn asked_before(&mut self, asked: Option<(u32, Instant)>, answers: &AnswerTime) {
        let Some((number, at)) = asked else {
            return;
        };
        let place = self.holes.binary_search_by_key(&number, |hole| hole.number);
        if let Some(hole) = place.ok().and_then(|place| self.holes.get_mut(place)) {
            hole.asked = Some(at);
            hole.rounds = 1;
            hole.due = hole.due.max(at + answers.limit());
        }
    }

    fn missing(&mut self, before: u32, count: u32, newest: Instant, now: Instant) {
        if count as usize > MOST_HOLES {
            self.holes.clear();
            self.dropped = Some(before.wrapping_sub(1));
            self.next = Some(now);
            return;
        }
        let due = now + self.reordering.wait(now);
        // This side may have stood still, with the packets lost at its socket.
        let pause = now.saturating_duration_since(newest);
        let stalled = !self.even && pause <= LONGEST_STALL;
        for (nth, number) in (1..=count).zip(before.saturating_sub(count)..) {
            if self.holes.len() >= MOST_HOLES {
                // overflow: what is oldest has the least chance to come in time.
                self.dropped = self.holes.pop_front().map(|hole| hole.number);
                self.next = Some(now);
            }
            self.holes.push_back(Hole {
                number,
                // Between those that came: after a pause the first are too old to be of use.
                expected: if stalled {
                    now
                } else {
                    newest + pause * nth / (count + 1)
                },
                noticed: now,
                due,
                asked: None,
                before: None,
                rounds: 0,
                copies: 0,
            });
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// Packet `number` came late; whether it is a repair.
    pub(super) fn found(
        &mut self,
        number: u32,
        how: How,
        now: Instant,
        answers: &mut AnswerTime,
    ) -> bool {
        let place = self.holes.binary_search_by_key(&number, |hole| hole.number);
        let Some(hole) = place.ok().and_then(|place| self.holes.remove(place)) else {
            return how != How::Sent;
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        match (how, hole.asked) {
            (How::Recovered, _) => true,
            // Too soon for an answer: it was only overtaken.
            (How::Sent, asked)
                if self.rtx || asked.is_none_or(|at| since(at) < answers.expected() / 2) =>
            {
                self.reordering.seen(since(hole.noticed), now);
                false
            }
            (_, None) => true,
            (_, Some(asked)) => {
                let soon = since(asked) < answers.expected() / 2;
                match (hole.rounds, hole.before) {
                    (1, _) => answers.measured(since(asked)),
                    // So soon after the second request, it is the answer to the first.
                    (2, Some(first)) if soon => answers.measured(since(first)),
                    _ => answers.ambiguous(),
                }
                self.redundancy.answered(&hole);
                true
            }
        }
    }

    /// Packet `number` was resent although it is there.
    pub(super) fn needless(&mut self, number: u32) {
        self.redundancy.needless(number);
    }

    /// A new numbering.
    pub(super) fn restart(&mut self) {
        self.holes.clear();
        self.next = None;
        self.newest = None;
        self.tail.restart();
    }

    /// When [`Self::poll`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.tail.next()).min()
    }

    /// What is to be done at `now`. A packet is in time for so long after it should have come, and of
    /// use for so much longer.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        answers: &AnswerTime,
        (in_time, overtime): (Duration, Duration),
    ) -> Option<Due> {
        if self.next().is_none_or(|next| now < next) {
            return None;
        }
        let mut due = Due {
            ask: Vec::new(),
            given_up: self.dropped.take(),
        };
        if let Some(number) = self.tail.poll(now) {
            due.ask.push(number as u16);
        }
        let round = Round {
            now,
            answers,
            in_time,
            limit: (in_time + overtime).min(LONGEST_AGE.max(answers.expected() * 5)),
            repeat: (answers.expected() / 16)
                .clamp(Duration::from_millis(2), Duration::from_millis(10)),
            hurry: answers.expected() * ANSWERS_IN_TIME > in_time && self.redundancy.is_doubtful(),
        };
        let mut next: Option<Instant> = None;
        let redundancy = &mut self.redundancy;
        self.holes.retain_mut(|hole| {
            match round.turn(hole, redundancy) {
                Turn::Waits => {}
                Turn::Asked => due.ask.push(hole.number as u16),
                Turn::GivenUp => {
                    due.given_up = due.given_up.max(Some(hole.number));
                    return false;
                }
            }
            next = Some(next.map_or(hole.due, |next| next.min(hole.due)));
            true
        });
        self.next = next;
        Some(due)
    }
}

/// What holds for all missing packets that are looked through.
struct Round<'a> {
    now: Instant,
    answers: &'a AnswerTime,
    /// A packet is in time for so long, ...
    in_time: Duration,
    /// ... and of use for so long.
    limit: Duration,
    /// Between copies of a request.
    repeat: Duration,
    /// See [`ANSWERS_IN_TIME`].
    hurry: bool,
}

enum Turn {
    Waits,
    Asked,
    GivenUp,
}

impl Round<'_> {
    /// What is to be done about `hole`, and when to look again.
    fn turn(&self, hole: &mut Hole, redundancy: &mut Redundancy) -> Turn {
        let (now, answers) = (self.now, self.answers);
        // A further request goes along with others rather than alone.
        let soon = self.repeat / if hole.copies > 0 { 2 } else { u32::MAX };
        if hole.due > now + soon {
            return Turn::Waits;
        }
        let deadline = hole.expected + self.limit;
        let in_time = answers.in_time(now, deadline) && hole.rounds < MOST_ROUNDS;
        // Once at least, or nobody would learn that answers have become faster.
        let ask = now < deadline && (in_time || hole.rounds == 0 || hole.copies > 0);
        if !ask {
            // Another answer would be too late; the last one is still on its way.
            let hope = hole.asked.map_or(now, |at| at + answers.alone());
            hole.due = hope.min(deadline);
            return if hole.due > now {
                Turn::Waits
            } else {
                Turn::GivenUp
            };
        }
        if hole.copies > 0 {
            hole.copies -= 1;
        } else {
            redundancy.asked(hole, now, answers);
            hole.rounds += 1;
            hole.before = hole.asked.replace(now);
            hole.copies = redundancy.copies() - 1;
        }
        hole.due = if hole.copies > 0 {
            now + self.repeat
        } else if answers.backoff > 0 {
            // Nobody knows how long answers take: one is waited for.
            now + answers.limit()
        } else if self.hurry {
            now + answers.expected().mul_f64(HURRY)
        } else {
            // Rather a little early than too late for any answer, and for one in time.
            let soonest = now + answers.expected() + LEAST_MARGIN;
            let due = [self.in_time.min(self.limit), self.limit].map(|limit| {
                let end = hole.expected + limit;
                end.checked_sub(answers.expected()).unwrap_or(end)
            });
            let last = due.into_iter().find(|last| *last >= soonest);
            (now + answers.limit()).min(last.unwrap_or(soonest))
        };
        hole.due = hole.due.min(deadline);
        Turn::Asked
    }
}

/// How far packets overtake each other.
#[derive(Debug, Default)]
struct Reordering {
    lateness: Duration,
    seen: Option<Instant>,
}

impl Reordering {
    fn seen(&mut self, lateness: Duration, now: Instant) {
        let before = self.wait(now);
        let enough = lateness + lateness / 4 + Duration::from_millis(1);
        self.lateness = before.max(enough.min(MOST_REORDERING));
        self.seen = Some(now);
    }

    /// How long to wait for a packet that may have been overtaken.
    fn wait(&self, now: Instant) -> Duration {
        let Some(seen) = self.seen else {
            return Duration::ZERO;
        };
        let passed = now.saturating_duration_since(seen).as_secs_f64();
        let left = (-passed / REORDERING_HALF_LIFE.as_secs_f64()).exp2();
        let wait = self.lateness.mul_f64(left);
        // Not worth a timer.
        if wait < Duration::from_millis(1) {
            Duration::ZERO
        } else {
            wait
        }
    }
}

#[cfg(test)]
mod tests;
