// SPDX-License-Identifier: MPL-2.0
//! Whether what is asked for comes, and how often to ask for it therefore.

use std::collections::VecDeque;
use std::time::Instant;

use super::{AnswerTime, Hole};

/// Requests are sent twice while more than this part of them stays without answer, ...
const DOUBTFUL: f64 = 0.02;
/// ... and three times while it is more than this.
const VERY_DOUBTFUL: f64 = 0.15;
/// Of the smoothed part of requests without answer.
const GAIN: f64 = 1.0 / 256.0;
/// Repaired packets that are remembered, to notice a second answer.
const ANSWERS: usize = 64;

/// How often to send each request, a moment apart: a request is small, and one that is lost costs a
/// round trip. Once where requests get through, and to a remote which answers each.
#[derive(Debug)]
pub(super) struct Redundancy {
    /// Part of the rounds that stayed without answer, smoothed.
    pub(super) unanswered: f64,
    /// Packets that were asked for twice and came, ...
    repaired: u32,
    /// ... and of them those which then came once more.
    pub(super) needless: u32,
    answers: VecDeque<u32>,
}

impl Default for Redundancy {
    fn default() -> Self {
        Self {
            unanswered: 0.1,
            repaired: 0,
            needless: 0,
            answers: VecDeque::new(),
        }
    }
}

impl Redundancy {
    /// What is asked for may not come.
    pub(super) fn is_doubtful(&self) -> bool {
        self.unanswered >= DOUBTFUL
    }

    pub(super) fn copies(&self) -> u8 {
        let answers_each = self.needless >= 4 && self.needless * 8 > self.repaired;
        if answers_each || !self.is_doubtful() {
            1
        } else if self.unanswered < VERY_DOUBTFUL {
            2
        } else {
            3
        }
    }

    /// `hole` is asked for: another time, if the round before brought nothing.
    pub(super) fn asked(&mut self, hole: &Hole, now: Instant, answers: &AnswerTime) {
        let first = hole.before.or(hole.asked);
        if first.is_some_and(|at| now.saturating_duration_since(at) >= answers.expected()) {
            self.unanswered += (1.0 - self.unanswered) * GAIN;
        }
    }

    pub(super) fn answered(&mut self, hole: &Hole) {
        self.unanswered -= self.unanswered * GAIN;
        if hole.rounds == 1 && self.copies() > 1 + hole.copies {
            self.repaired = self.repaired.saturating_add(1);
            if self.answers.len() >= ANSWERS {
                self.answers.pop_front();
            }
            self.answers.push_back(hole.number);
        }
    }

    pub(super) fn needless(&mut self, number: u32) {
        if let Some(place) = self.answers.iter().position(|n| *n == number) {
            self.answers.remove(place);
            self.needless = self.needless.saturating_add(1);
        }
    }
}
