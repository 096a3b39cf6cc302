// SPDX-License-Identifier: MPL-2.0
//! The task of one call: reads its sockets, keeps its time, and sends what no streaming thread
//! does.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Transport;

/// System calls that read, in a row: then there is time for the rest.
const READS: usize = 16;
/// Without anything to do.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs until the transport is closed.
pub(super) async fn run(transport: Arc<Transport>) {
    let sleep = tokio::time::sleep(IDLE);
    tokio::pin!(sleep);
    while let Some((due, blocked)) = transport.turn() {
        let due = due.unwrap_or_else(|| Instant::now() + IDLE);
        sleep.as_mut().reset(due.into());
        let writable = async {
            match blocked.and_then(|index| transport.sockets.get(index)) {
                Some(socket) => socket.writable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            index = transport.readable() => transport.receive(index),
            () = transport.shared.nudge.nudged() => {}
            () = writable => {}
            () = &mut sleep => {}
        }
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
        core.pump();
        let blocked = self.flush(&mut core);
        let due = core.poll_timeout();
        let armed = due.map_or(u64::MAX, |due| self.micros(due));
        self.armed.store(armed, Ordering::Release);
        Some((due, blocked))
    }

    /// Gives a socket at which something may have arrived.
    async fn readable(&self) -> usize {
        poll_fn(|cx| {
            for (index, socket) in self.sockets.iter().enumerate() {
                if socket.poll_readable(cx).is_ready() {
                    return Poll::Ready(index);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Takes what arrived, at socket `first` and at all others.
    fn receive(&self, first: usize) {
        for (index, socket) in self.sockets.iter().enumerate().skip(first) {
            for _ in 0..READS {
                // Not locked while the kernel copies.
                let mut core = None;
                let read = socket.receive(|from, datagram| {
                    let (core, now) = core.get_or_insert_with(|| (self.core(), Instant::now()));
                    core.read(index, from, datagram, *now);
                });
                if let Err(error) = read {
                    if error.kind() == std::io::ErrorKind::WouldBlock {
                        break;
                    }
                    // A former datagram was refused (ICMP): that says nothing of the next.
                    log::trace!(target: "rswebrtc::peer", "reading: {error}");
                }
            }
        }
    }
}
