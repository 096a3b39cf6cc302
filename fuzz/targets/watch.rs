// SPDX-License-Identifier: MPL-2.0
//! Finds hangs.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Runs `work`. If it is not done after `limit`, tells with what (`input`), and ends the process:
/// a loop without end cannot be ended otherwise.
pub fn within<T>(limit: Duration, input: &str, work: impl FnOnce() -> T) -> T {
    let (done, waits) = channel::<()>();
    let input = input.to_owned();
    std::thread::spawn(move || {
        if waits.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("not done after {limit:?}:\n{input}");
            std::process::abort();
        }
    });
    let result = work();
    drop(done);
    result
}
