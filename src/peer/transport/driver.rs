// SPDX-License-Identifier: MPL-2.0
//! The task of one call: reads its sockets, keeps its time, and sends what no streaming thread
//! does.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::task::Poll;
use std::time::Instant;

use super::Transport;
use super::alarm::Alarm;
use super::core::Core;
use super::socket::Socket;
use crate::peer::interceptors::Handover;

/// System calls that read, in a row: then there is time for the rest.
const READS: usize = 4;

/// Runs until the transport is closed; `many` such tasks share the thread.
pub(super) async fn run(transport: Arc<Transport>, many: bool) {
    let mut alarm = Alarm::new(many);
    let _guard = Guard(transport.clone());
    while let Some((due, blocked)) = transport.turn() {
        alarm.set(due, Instant::now());
        let writable = async {
            match blocked.and_then(|index| transport.sockets.get(index)) {
                Some(socket) => socket.writable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            more = transport.receive() => if more {
                // Others on this thread have something to read, too.
                tokio::task::yield_now().await;
            },
            () = transport.shared.nudge.nudged() => {}
            () = writable => {}
            () = poll_fn(|cx| alarm.poll(cx)) => {}
        }
    }
}

/// Tells when the task ends by itself: by a panic, or with its runtime.
struct Guard(Arc<Transport>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.core().abandon();
    }
}

impl Transport {
    /// Does what is due, and sends; gives when to come again, and the socket that is full. `None`
    /// once closed.
    fn turn(&self) -> Option<(Option<Instant>, Option<usize>)> {
        let mut core = self.core();
        if core.closed {
            return None;
        }
        core.handle_timeout(Instant::now());
        let mut blocked = self.send(&mut core);
        if blocked.is_none() && core.sctp.is_some() {
            let more = core.pump_data(Instant::now());
            blocked = self.flush(&mut core);
            if more && blocked.is_none() {
                self.shared.nudge.wake();
            }
        }
        let due = core.poll_timeout();
        let armed = due.map_or(u64::MAX, |due| self.micros(due));
        self.armed.store(armed, Ordering::Release);
        Some((due, blocked))
    }

    /// Takes what arrives, at whichever socket; waits for the first datagram. `true`: there is more.
    async fn receive(&self) -> bool {
        poll_fn(|cx| {
            let (mut received, mut more) = (false, false);
            for (index, socket) in self.sockets.iter().enumerate() {
                let read = || {
                    let left = self.read(index, socket);
                    more |= left;
                    left
                };
                received |= socket.poll_read(cx, read).is_ready();
            }
            if received {
                Poll::Ready(more)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Takes what is there at a socket; `false`: all of it.
    fn read(&self, index: usize, socket: &Socket) -> bool {
        for _ in 0..READS {
            // Not locked while the kernel is asked.
            let mut core = None;
            let read = socket.receive(|from, datagram| {
                let (core, now) = core.get_or_insert_with(|| (self.core(), Instant::now()));
                core.read(index, from, datagram, *now);
            });
            if let Some((core, _)) = core {
                self.deliver(core);
            }
            match read {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                // A former datagram was refused (ICMP): that says nothing of the next.
                Err(error) => {
                    log::trace!(target: "rswebrtc::peer", "reading: {error}");
                }
            }
        }
        true
    }

    /// What came goes to its streams, without the lock.
    fn deliver(&self, mut core: MutexGuard<'_, Core>) {
        thread_local! {
            /// Its room is the thread's.
            static HANDOVER: RefCell<Handover> = RefCell::default();
        }
        HANDOVER.with_borrow_mut(|handover| {
            core.hand_over(handover);
            drop(core);
            handover.deliver();
        });
    }
}
