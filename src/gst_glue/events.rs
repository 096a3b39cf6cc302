// SPDX-License-Identifier: MPL-2.0
//! Carries a call's events to its element on a thread that may block: pads are added and
//! messages posted there, never on a network thread.

use tokio::sync::mpsc;

use crate::session::event::Event;
use crate::session::host::HostEvent;

/// Something that happened, of which nothing follows the last.
pub trait Happening: Send + 'static {
    /// Whether it is the last.
    fn is_last(&self) -> bool;
}

impl Happening for Event {
    fn is_last(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Failed(_))
    }
}

impl Happening for HostEvent {
    fn is_last(&self) -> bool {
        matches!(self, Self::Ended | Self::Failed(_))
    }
}

/// Calls `handle` with every event until the last one, or until `handle` returns `false`.
///
/// # Errors
///
/// The system's word when no thread can be started.
pub fn spawn<E: Happening>(
    mut events: mpsc::Receiver<E>,
    mut handle: impl FnMut(E) -> bool + Send + 'static,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("rswebrtc-events".to_owned())
        .spawn(move || {
            while let Some(event) = events.blocking_recv() {
                let last = event.is_last();
                if !handle(event) || last {
                    break;
                }
            }
        })
        .map(drop)
}

/// Runs `watch` on a thread that may block. Without a thread nothing is watched, which is no
/// reason to fail.
pub fn spawn_watch(watch: impl FnOnce() + Send + 'static) {
    let _ = std::thread::Builder::new()
        .name("rswebrtc-watch".to_owned())
        .spawn(watch);
}
