// SPDX-License-Identifier: MPL-2.0
//! Which of two layers is the larger one: by its picture, where that is known, else by its bitrate.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// Over which a bitrate is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// What is known of the size of a layer.
#[derive(Debug, Default)]
pub(super) struct Rank {
    /// Of its last key frame.
    pub(super) pixels: Option<u32>,
    since: Option<Instant>,
    bytes: u64,
    /// Bytes in the last whole window.
    before: Option<u64>,
}

impl Rank {
    /// It came again after it had stopped.
    pub(super) fn restart(&mut self) {
        (self.since, self.bytes, self.before) = (None, 0, None);
    }

    pub(super) fn arrived(&mut self, bytes: usize, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= WINDOW {
            self.before = Some(self.bytes);
            (self.since, self.bytes) = (Some(now), 0);
        }
        self.bytes += bytes as u64;
    }

    /// Bitrates are those of the last window, so that nothing is compared that has just begun; to
    /// be more is to be a quarter more.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let by_picture = match (self.pixels, other.pixels) {
            (Some(one), Some(two)) => one.cmp(&two),
            _ => Ordering::Equal,
        };
        by_picture.then_with(|| {
            let (one, two) = (
                self.before.unwrap_or(self.bytes),
                other.before.unwrap_or(other.bytes),
            );
            if one > two + two / 4 {
                Ordering::Greater
            } else if two > one + one / 4 {
                Ordering::Less
            } else {
                Ordering::Equal
            }
        })
    }
}
