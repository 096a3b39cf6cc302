// SPDX-License-Identifier: MPL-2.0
//! The one tokio runtime of this plugin: two workers, started on first use.
//!
//! Two, because the driver of a connection and whoever reads its packets must not share a
//! thread, and more than that costs wake-ups and gains nothing.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// A handle to the runtime.
///
/// # Errors
///
/// The system's word when its threads cannot be started.
pub fn handle() -> Result<Handle, String> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("rswebrtc")
                .enable_all()
                .build()
                .map_err(|e| format!("cannot start the network threads: {e}"))
        })
        .as_ref()
        .map(|runtime| runtime.handle().clone())
        .map_err(Clone::clone)
}

/// Runs `future` on the runtime and waits at most `timeout` for what it gives. Works inside
/// another tokio runtime too, where `block_on` would panic.
pub fn wait<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
    timeout: Duration,
) -> Option<T> {
    let (done, result) = std::sync::mpsc::sync_channel(1);
    handle.spawn(async move {
        // overflow: detached: the channel has room for the only value.
        let _ = done.send(future.await);
    });
    result.recv_timeout(timeout).ok()
}
