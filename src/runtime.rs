// SPDX-License-Identifier: MPL-2.0
//! The threads of this plugin that do not stream, started on first use.
//!
//! All but packets is done by one tokio runtime with two workers. Packets are moved by network
//! threads, each a runtime of its own: a task stays on its thread, with its sockets, so that no
//! packet wakes two threads, as those of a common runtime wake each other to share work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Network threads, at most; and never more than there are processors.
const NETWORK_THREADS: usize = 8;

/// A handle to a network thread: the next one each time. In a runtime that is not the plugin's, as
/// tests have, it is that one: what its threads do or leave undone then concerns packets, too.
///
/// # Errors
///
/// The system's word when it cannot be started.
pub fn network() -> Result<Handle, String> {
    static THREADS: [OnceLock<Result<Handle, String>>; NETWORK_THREADS] =
        [const { OnceLock::new() }; NETWORK_THREADS];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let own = handle()?;
    if let Ok(current) = Handle::try_current()
        && current.id() != own.id()
    {
        return Ok(current);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let count = processors.min(NETWORK_THREADS);
    let thread = THREADS.get(NEXT.fetch_add(1, Ordering::Relaxed) % count);
    let started = thread.map(|thread| thread.get_or_init(start_network_thread));
    started.cloned().unwrap_or(Ok(own))
}

fn start_network_thread() -> Result<Handle, String> {
    let failed = |e: std::io::Error| format!("cannot start a network thread: {e}");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("rswebrtc-net".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(failed)?;
    Ok(handle)
}
