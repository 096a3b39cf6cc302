// SPDX-License-Identifier: MPL-2.0
//! What leaves, against what may: is there less to send than the path carries?
//!
//! A budget that fills with time and empties with packets, so that the pauses between frames are
//! no lack of data.

use std::time::{Duration, Instant};

/// The budget fills at this part of the target, ...
const USED: f64 = 0.65;
/// ... and holds so much of it.
const WINDOW: f64 = 0.5;
/// Little is sent from this fill on, ...
const LIMITED: f64 = 0.8;
/// ... and enough below this.
const ENOUGH: f64 = 0.5;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Bits; negative when more is sent.
    budget: f64,
    last: Option<Instant>,
    limited: bool,
}

impl Sending {
    pub(super) fn sent(&mut self, size: usize, target: f64, now: Instant) {
        let last = *self.last.get_or_insert(now);
        self.last = Some(now);
        let elapsed = now.saturating_duration_since(last);
        let full = USED * target * WINDOW;
        self.budget += USED * target * elapsed.min(Duration::from_secs(1)).as_secs_f64();
        self.budget = (self.budget.min(full) - 8.0 * size as f64).max(-full);
        if self.budget > LIMITED * full {
            self.limited = true;
        } else if self.budget < ENOUGH * full {
            self.limited = false;
        }
    }

    /// Less is sent than may be.
    pub(super) fn limited(&self) -> bool {
        self.limited
    }

    /// When something was sent last.
    pub(super) fn last(&self) -> Option<Instant> {
        self.last
    }
}
