// SPDX-License-Identifier: MPL-2.0
//! A UDP socket that takes and gives datagrams in runs.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;

use super::batch::Batch;

/// Socket buffers, bytes: room for a key frame of 1500 packets that arrives at once. The kernel
/// cuts it down to `net.core.rmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;
/// Runs that one system call brings.
const RUNS: usize = 8;
/// The largest run, bytes.
const RUN: usize = 65_536;

thread_local! {
    /// Where datagrams arrive; no socket needs its own, as nothing is kept here between two calls.
    static ARRIVALS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(super) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    pub(super) local: SocketAddr,
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
        let io = tokio::net::UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
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
    pub(super) fn send(&self, batch: &Batch) -> io::Result<()> {
        let several = batch.data.len() > batch.segment;
        let transmit = Transmit {
            destination: batch.to,
            ecn: None,
            contents: &batch.data,
            segment_size: several.then_some(batch.segment),
            src_ip: None,
        };
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.io), &transmit)
        })
    }

    /// Gives `each` the datagrams of one system call, with where they come from.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when there are none, or what the kernel says.
    pub(super) fn receive(&self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<()> {
        ARRIVALS.with_borrow_mut(|memory| {
            memory.resize(RUNS * RUN, 0);
            let mut metas = [RecvMeta::default(); RUNS];
            let count = {
                let mut runs = memory.chunks_mut(RUN);
                let mut slices: [IoSliceMut<'_>; RUNS] =
                    std::array::from_fn(|_| IoSliceMut::new(runs.next().unwrap_or_default()));
                self.io.try_io(Interest::READABLE, || {
                    let socket = UdpSockRef::from(&self.io);
                    self.state.recv(socket, &mut slices, &mut metas)
                })?
            };
            for (meta, run) in metas.iter().take(count).zip(memory.chunks(RUN)) {
                let run = run.get(..meta.len).unwrap_or(run);
                for datagram in run.chunks(meta.stride.max(1)) {
                    each(meta.addr, datagram);
                }
            }
            Ok(())
        })
    }

    /// Whether something may have arrived.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    /// Waits until the kernel takes more.
    pub(super) async fn writable(&self) {
        let _ = self.io.writable().await;
    }
}
