// SPDX-License-Identifier: MPL-2.0
//! The end of a call, for tasks and for threads that wait for it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

/// A flag that is set once.
#[derive(Default)]
pub(super) struct Done {
    done: Mutex<bool>,
    changed: Condvar,
    told: Notify,
}

impl Done {
    /// It is over.
    pub(super) fn set(&self) {
        *self.lock() = true;
        self.changed.notify_all();
        self.told.notify_waiters();
    }

    /// Blocks at most `timeout`; tells whether it is over.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let (done, _) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |done| !*done)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *done
    }

    /// Completes when it is over.
    pub(super) async fn reached(&self) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if *self.lock() {
                return;
            }
            told.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A flag cannot be left half changed.
        self.done
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
