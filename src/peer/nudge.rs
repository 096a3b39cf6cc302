// SPDX-License-Identifier: MPL-2.0
//! The wake-up of a call's task.

#[cfg(test)]
use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;

/// Wakes the driver: there is something to send, or to look at.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    notify: Notify,
    /// Nothing that is sent arrives.
    #[cfg(test)]
    pub(super) blackhole: AtomicBool,
}

impl Nudge {
    /// Ends the driver's current, or else its next, sleep. Never blocks.
    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Completes once after each [`Self::wake`], or after several.
    pub(super) async fn nudged(&self) {
        self.notify.notified().await;
    }
}
