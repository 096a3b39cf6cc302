// SPDX-License-Identifier: MPL-2.0
//! What leaves, against what may: is there less to send than the path carries?
//!
//! A budget that fills with time and empties with packets, so that the pauses between frames are
//! no lack of data.

use std::time::{Duration, Instant};

/// The budget fills at this part of the target, ...
const USED: f64 = 0.65;
/// ... and holds so much of it, seconds.
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
    /// The span that is measured: when it began, and bytes.
    span: Option<(Instant, usize)>,
    rate: f64,
}

impl Sending {
    pub(super) fn sent(&mut self, size: usize, target: f64, now: Instant) {
        let last = *self.last.get_or_insert(now);
        self.last = Some(now);
        let elapsed = now.saturating_duration_since(last);
        let full = USED * target * WINDOW;
        self.budget += USED * target * elapsed.min(Duration::from_secs(1)).as_secs_f64();
        self.budget = (self.budget.min(full) - 8.0 * size as f64).max(-full);
        let (began, bytes) = self.span.unwrap_or((now, 0));
        let span = now.saturating_duration_since(began).as_secs_f64();
        self.span = if span >= WINDOW {
            self.rate = 8.0 * bytes as f64 / span;
            Some((now, size))
        } else {
            Some((began, bytes.saturating_add(size)))
        };
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

    /// Of the last half second, bit/s.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}
