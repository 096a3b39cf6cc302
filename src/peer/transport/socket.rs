// SPDX-License-Identifier: MPL-2.0
//! A UDP socket that takes and gives datagrams in runs.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::batch::Batch;

/// Socket buffers, bytes: room for a key frame of 1500 packets that arrives at once. The kernel
/// cuts it down to `net.core.rmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;
/// Runs that one system call brings.
const RUNS: usize = 8;
/// Until a full socket is tried again, where it does not tell.
const RETRY: Duration = Duration::from_millis(2);
/// The largest run, bytes.
const RUN: usize = 65_536;

thread_local! {
    /// Where datagrams arrive; no socket needs its own, as nothing is kept here between two calls.
    static ARRIVALS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Socket {
    /// For reading only: the kernel tells of room for writing whenever a datagram has left, and
    /// each time a thread would wake for nothing.
    io: AsyncFd<std::net::UdpSocket>,
    state: UdpSocketState,
    pub(super) local: SocketAddr,
}

/// What replaces `with_interest` is an unsafe function, for file descriptors that may be closed by
/// others; that of one that we own is not (tokio-rs/tokio pull 8587).
#[allow(deprecated)]
pub(super) fn asynchronous<T: std::os::fd::AsRawFd>(
    file: T,
    interest: Interest,
) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(file, interest)
}

impl Socket {
    /// Any free port of `address`.
    pub(super) fn bind(address: IpAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(address, 0))?;
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        for result in [
            options.set_recv_buffer_size(SOCKET_BUFFER),
            options.set_send_buffer_size(SOCKET_BUFFER),
        ] {
            if let Err(error) = result {
                log::debug!(target: "rswebrtc::peer", "socket buffers stay as they are: {error}");
            }
        }
        let local = socket.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let io = asynchronous(socket, Interest::READABLE)?;
        Ok(Self { io, state, local })
    }

    /// Whether a run may have more than one datagram.
    pub(super) fn has_offload(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    /// Hands `batch` to the kernel.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when its buffer is full, or what the kernel says of it.
    pub(super) fn hand_over(&self, batch: &Batch) -> io::Result<()> {
        let several = batch.data.len() > batch.segment;
        let transmit = Transmit {
            destination: batch.to,
            ecn: None,
            contents: &batch.data,
            segment_size: several.then_some(batch.segment),
            src_ip: None,
        };
        // overflow: retained: the batch stays in its outbox until there is room.
        self.state
            .try_send(UdpSockRef::from(self.io.get_ref()), &transmit)
    }

    /// Gives `each` the datagrams of one system call, with where they come from. `true`: there may
    /// be more.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when there are none, or what the kernel says.
    pub(super) fn receive(&self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<bool> {
        ARRIVALS.with_borrow_mut(|memory| {
            if memory.is_empty() {
                // Zeros that the system gives: what no run ever fills takes no memory.
                *memory = vec![0; RUNS * RUN];
            }
            let mut metas = [RecvMeta::default(); RUNS];
            let count = {
                let mut runs = memory.chunks_mut(RUN);
                let mut slices: [IoSliceMut<'_>; RUNS] =
                    std::array::from_fn(|_| IoSliceMut::new(runs.next().unwrap_or_default()));
                let socket = UdpSockRef::from(self.io.get_ref());
                self.state.recv(socket, &mut slices, &mut metas)?
            };
            for (meta, run) in metas.iter().take(count).zip(memory.chunks(RUN)) {
                let run = run.get(..meta.len).unwrap_or(run);
                for datagram in run.chunks(meta.stride.max(1)) {
                    each(meta.addr, datagram);
                }
            }
            Ok(count == RUNS)
        })
    }

    /// Calls `read` if something may have arrived; `false` from it: all was taken, and what comes
    /// from now on is told anew.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, read: impl FnOnce() -> bool) -> Poll<()> {
        match self.io.poll_read_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => {
                log::warn!(target: "rswebrtc::peer", "{}: {error}", self.local);
                Poll::Pending
            }
            Poll::Ready(Ok(mut ready)) => {
                if !read() {
                    ready.clear_ready();
                }
                Poll::Ready(())
            }
        }
    }

    /// Waits until the kernel takes more.
    pub(super) async fn writable(&self) {
        let copy = self.io.get_ref().try_clone();
        let io = copy.and_then(|copy| asynchronous(copy, Interest::WRITABLE));
        let waited = match io {
            Ok(io) => io.writable().await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = waited {
            log::debug!(target: "rswebrtc::peer", "{}: {error}", self.local);
            tokio::time::sleep(RETRY).await;
        }
    }
}
