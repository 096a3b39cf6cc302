// SPDX-License-Identifier: MPL-2.0
//! Carries a call's events to its element on a thread that may block: pads are added and
//! messages posted there, never on a network thread.

use tokio::sync::mpsc;

use crate::session::event::Event;

/// Calls `handle` with every event until the call's last one, or until `handle` returns `false`.
///
/// # Errors
///
/// The system's word when no thread can be started.
pub fn spawn(
    mut events: mpsc::Receiver<Event>,
    mut handle: impl FnMut(Event) -> bool + Send + 'static,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("rswebrtc-events".to_owned())
        .spawn(move || {
            while let Some(event) = events.blocking_recv() {
                let last = matches!(event, Event::Ended(_) | Event::Failed(_));
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
