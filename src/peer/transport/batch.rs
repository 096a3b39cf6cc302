// SPDX-License-Identifier: MPL-2.0
//! Datagrams that are to leave, those of one size and way together: the kernel takes such a run in
//! one system call (UDP segmentation offload).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Datagrams in one run: what every kernel with segmentation offload takes (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// Bytes in one run: the largest payload of UDP over IPv4, which a run is to the kernel.
const MAX_BYTES: usize = 65_507;
/// No more is asked of the media path while so much waits for the kernel.
const FULL: usize = 256 << 10;
/// Buffers that a thread keeps for later, whichever peer they are for: as many as fill an outbox
/// when their runs are full. Of a backlog of small frames the rest are freed.
const SPARE: usize = FULL / MAX_BYTES + 1;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Datagrams that leave together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Index of the socket.
    pub(super) socket: usize,
    pub(super) to: SocketAddr,
    /// Size of each datagram but the last, which may be smaller.
    pub(super) segment: usize,
    pub(super) data: Vec<u8>,
}

impl Batch {
    fn takes(&self, socket: usize, to: SocketAddr, size: usize) -> bool {
        let whole = self.data.len().is_multiple_of(self.segment.max(1));
        self.socket == socket
            && self.to == to
            && whole
            && size <= self.segment
            && self.data.len() + size <= MAX_BYTES
            && self.data.len() / self.segment.max(1) < MAX_SEGMENTS
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Batch>,
    bytes: usize,
}

impl Outbox {
    /// Puts a datagram at the end.
    pub(super) fn push(&mut self, socket: usize, to: SocketAddr, datagram: &[u8]) {
        self.push_behind(socket, to, &[], datagram);
    }

    /// Puts one at the end that begins with `header`.
    pub(super) fn push_behind(
        &mut self,
        socket: usize,
        to: SocketAddr,
        header: &[u8],
        datagram: &[u8],
    ) {
        if datagram.is_empty() {
            return;
        }
        let size = header.len() + datagram.len();
        self.bytes += size;
        if let Some(last) = self.queue.back_mut()
            && last.takes(socket, to, size)
        {
            last.data.extend_from_slice(header);
            last.data.extend_from_slice(datagram);
            return;
        }
        let mut data = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        data.extend_from_slice(header);
        data.extend_from_slice(datagram);
        self.queue.push_back(Batch {
            socket,
            to,
            segment: size,
            data,
        });
    }

    /// Whether what waits must leave first.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// What leaves next.
    pub(super) fn front(&self) -> Option<&Batch> {
        self.queue.front()
    }

    /// The first has left, or never will.
    pub(super) fn pop(&mut self) {
        if let Some(mut batch) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(batch.data.len());
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < SPARE {
                    batch.data.clear();
                    spares.push(batch.data);
                }
            });
        }
    }

    /// Splits the first into single datagrams, for a kernel or a network card without offload.
    pub(super) fn split(&mut self) {
        let Some(batch) = self.queue.pop_front() else {
            return;
        };
        for datagram in batch.data.chunks(batch.segment.max(1)).rev() {
            self.queue.push_front(Batch {
                socket: batch.socket,
                to: batch.to,
                segment: datagram.len(),
                data: datagram.to_vec(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(outbox: &mut Outbox) -> Vec<(usize, usize)> {
        let mut sizes = Vec::new();
        while let Some(batch) = outbox.front() {
            sizes.push((batch.segment, batch.data.len()));
            outbox.pop();
        }
        sizes
    }

    #[test]
    fn a_run_ends_with_its_first_smaller_datagram() {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut outbox = Outbox::default();
        for size in [100, 100, 40, 40, 100] {
            outbox.push(0, to, &vec![0; size]);
        }
        assert_eq!(sizes(&mut outbox), [(100, 240), (40, 40), (100, 100)]);
    }

    #[test]
    fn what_goes_through_a_relay_leaves_in_runs_too() {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut outbox = Outbox::default();
        for byte in [1, 2] {
            outbox.push_behind(0, to, &[0x40, 0, 0, 2], &[byte; 2]);
        }
        let run = outbox.front().unwrap();
        assert_eq!(run.segment, 6);
        assert_eq!(run.data, [0x40, 0, 0, 2, 1, 1, 0x40, 0, 0, 2, 2, 2]);
    }

    #[test]
    fn another_way_is_another_run() {
        let to = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut outbox = Outbox::default();
        outbox.push(0, to(1), &[0; 10]);
        outbox.push(0, to(2), &[0; 10]);
        outbox.push(1, to(2), &[0; 10]);
        assert_eq!(sizes(&mut outbox), [(10, 10), (10, 10), (10, 10)]);
    }

    #[test]
    fn no_run_is_larger_than_the_kernel_takes() {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut outbox = Outbox::default();
        for _ in 0..200 {
            outbox.push(0, to, &[0; 1400]);
        }
        assert!(outbox.is_full());
        let sizes = sizes(&mut outbox);
        assert!(sizes.iter().all(|(_, size)| *size <= MAX_BYTES));
        assert_eq!(sizes.iter().map(|(_, size)| size).sum::<usize>(), 280_000);
        for _ in 0..100 {
            outbox.push(0, to, &[0; 10]);
        }
        assert_eq!(self::sizes(&mut outbox), [(10, 640), (10, 360)]);
        assert!(!outbox.is_full());
    }

    #[test]
    fn without_offload_each_leaves_alone_and_in_order() {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut outbox = Outbox::default();
        for byte in 0..3u8 {
            outbox.push(0, to, &[byte; 10]);
        }
        outbox.push(0, to, &[3; 4]);
        outbox.split();
        for byte in 0..4u8 {
            assert_eq!(outbox.front().unwrap().data[0], byte);
            outbox.pop();
        }
        assert!(outbox.front().is_none());
    }
}
