// SPDX-License-Identifier: MPL-2.0
//! A transport, with what belongs to it: watcher, candidates that came early.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use super::shared::lock;
use super::transport::Transport;

/// See the module.
pub(super) struct Link {
    pub(super) transport: Arc<Transport>,
    pub(super) watcher: Mutex<Option<JoinHandle<()>>>,
    /// `Some` until the remote description is applied.
    pub(super) early: Mutex<Option<Vec<String>>>,
}

impl Link {
    pub(super) fn apply_early_candidates(&self) {
        for candidate in lock(&self.early).take().unwrap_or_default() {
            self.transport.add_candidate(&candidate);
        }
    }

    /// Says goodbye, and frees everything. Never waits.
    pub(super) fn close(&self) {
        if let Some(watcher) = lock(&self.watcher).take() {
            watcher.abort();
        }
        self.transport.close();
    }
}
