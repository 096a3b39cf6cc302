// SPDX-License-Identifier: MPL-2.0
//! The datagrams' way: from a socket into the model, out of it at their time through the other one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use impaired_link::{Config, Fate, Link};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::datagram::Kind;
use crate::description;
use crate::log::Log;

/// Bytes; the kernel cuts it down to `net.core.rmem_max`. Bursts wait here, not in the link.
const SOCKET_BUFFER: usize = 4 << 20;
/// Datagrams in the link; a queue of seconds at hundreds of Mbit/s. What is too much is dropped.
const MAX_PENDING: usize = 1 << 16;
/// Pairs of peers.
const MAX_FLOWS: usize = 16;
/// Datagrams that are read from one socket before the others have their turn.
const READS: usize = 64;

/// One of two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    A,
    B,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a peer sees of the other one.
struct Face {
    socket: UdpSocket,
    port: u16,
    /// Where the peer is that looks at this face.
    peer: Option<SocketAddr>,
}

impl Face {
    fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        options.set_recv_buffer_size(SOCKET_BUFFER)?;
        options.set_send_buffer_size(SOCKET_BUFFER)?;
        Ok(Self {
            port: socket.local_addr()?.port(),
            socket,
            peer: None,
        })
    }
}

/// A datagram on its way to `side`; ordered by its time and then as it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    at: Instant,
    order: u64,
    flow: u64,
    to: Side,
    datagram: Vec<u8>,
}

#[derive(Default)]
struct Counters {
    datagrams: u64,
    bytes: u64,
    lost: u64,
    overflow: u64,
    /// Not from where the peer said it would be.
    stray: u64,
    /// There were [`MAX_PENDING`] already, or the socket did not take it: a fault of this program's.
    failed: u64,
}

/// One direction.
struct Way {
    name: &'static str,
    link: Link,
    /// Before the link's time begins.
    delay: Duration,
    counters: Counters,
}

pub struct Relay {
    ways: [Way; 2],
    flows: BTreeMap<u64, [Face; 2]>,
    pending: BinaryHeap<Reverse<Pending>>,
    order: u64,
    start: Option<Instant>,
    log: Option<Log>,
    late_max: Duration,
    late: u64,
    buffer: Vec<u8>,
}

impl Relay {
    /// `links` are from a to b and back. Their time begins now or with the first media.
    pub fn new(links: [Config; 2], seed: u64, at_once: bool, log: Option<Log>) -> Self {
        let way = |name, config: &Config, seed| Way {
            name,
            delay: config.at(Duration::ZERO).delay,
            link: Link::new(config.clone(), seed),
            counters: Counters::default(),
        };
        Self {
            // The seeds of the two ways must differ, or both lose at the same places.
            ways: [way("ab", &links[0], seed), way("ba", &links[1], !seed)],
            flows: BTreeMap::new(),
            pending: BinaryHeap::new(),
            order: 0,
            start: at_once.then(Instant::now),
            log,
            late_max: Duration::ZERO,
            late: 0,
            buffer: vec![0; 1 << 16],
        }
    }

    /// The description of `side` as the other one must see it.
    pub fn describe(&mut self, flow: u64, side: Side, sdp: &str) -> Result<String, String> {
        let peer = description::address(sdp).ok_or("no UDP candidate on IPv4 in it")?;
        if !self.flows.contains_key(&flow) {
            if self.flows.len() >= MAX_FLOWS {
                return Err(format!("more than {MAX_FLOWS} flows"));
            }
            let faces = Face::new().and_then(|one| Ok([one, Face::new()?]));
            self.flows
                .insert(flow, faces.map_err(|error| format!("a socket: {error}"))?);
        }
        let faces = self.flows.get_mut(&flow).ok_or("no such flow")?;
        faces[side as usize].peer = Some(peer.into());
        let port = faces[side.other() as usize].port;
        Ok(description::lead_through(
            sdp,
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        ))
    }

    /// Waits for something to do and does it; whether `control` can be read.
    pub fn pass(&mut self, control: BorrowedFd<'_>) -> Result<bool, String> {
        let wait = self.pending.peek().map(|Reverse(next)| {
            let wait = next.at.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: wait.subsec_nanos().into(),
            }
        });
        let mut polled = vec![PollFd::from_borrowed_fd(control, PollFlags::IN)];
        for face in self.flows.values().flatten() {
            polled.push(PollFd::new(&face.socket, PollFlags::IN));
        }
        match poll(&mut polled, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        let controlled = !polled[0].revents().is_empty();
        let ready: Vec<bool> = polled[1..]
            .iter()
            .map(|fd| !fd.revents().is_empty())
            .collect();
        drop(polled);
        self.deliver();
        let faces: Vec<(u64, Side)> = self
            .flows
            .keys()
            .flat_map(|flow| [(*flow, Side::A), (*flow, Side::B)])
            .collect();
        for ((flow, from), _) in faces.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            self.take(flow, from)?;
        }
        self.deliver();
        Ok(controlled)
    }

    /// Reads what peer `from` has sent.
    fn take(&mut self, flow: u64, from: Side) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS {
            let Some(face) = self.flows.get(&flow).map(|faces| &faces[from as usize]) else {
                break;
            };
            let Ok((size, source)) = face.socket.recv_from(&mut buffer) else {
                break;
            };
            if face.peer == Some(source) {
                self.send(flow, from, &buffer[..size])?;
            } else {
                self.ways[from as usize].counters.stray += 1;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    fn send(&mut self, flow: u64, from: Side, datagram: &[u8]) -> Result<(), String> {
        let arrived = Instant::now();
        let kind = Kind::of(datagram);
        if matches!(kind, Kind::Rtp { .. }) {
            self.start.get_or_insert(arrived);
        }
        let way = &mut self.ways[from as usize];
        way.counters.datagrams += 1;
        way.counters.bytes += datagram.len() as u64;
        let Some(start) = self.start else {
            let at = arrived + way.delay;
            self.enqueue(at, flow, from.other(), datagram);
            return Ok(());
        };
        let now = arrived.saturating_duration_since(start);
        let passage = way.link.send(now, datagram.len());
        way.counters.lost += u64::from(passage.fate == Fate::Lost);
        way.counters.overflow += u64::from(passage.fate == Fate::Overflow);
        if let Some(log) = &mut self.log {
            log.write((now, way.name, flow), (datagram.len(), kind), &passage)?;
        }
        for at in passage.arrivals() {
            self.enqueue(start + at, flow, from.other(), datagram);
        }
        Ok(())
    }

    fn enqueue(&mut self, at: Instant, flow: u64, to: Side, datagram: &[u8]) {
        if self.pending.len() >= MAX_PENDING {
            self.ways[to.other() as usize].counters.failed += 1;
            return;
        }
        self.order += 1;
        let datagram = datagram.to_vec();
        self.pending.push(Reverse(Pending {
            at,
            order: self.order,
            flow,
            to,
            datagram,
        }));
    }

    /// Hands out what is due.
    fn deliver(&mut self) {
        let now = Instant::now();
        while self
            .pending
            .peek()
            .is_some_and(|Reverse(next)| next.at <= now)
        {
            let Some(Reverse(next)) = self.pending.pop() else {
                return;
            };
            let late = now.saturating_duration_since(next.at);
            self.late_max = self.late_max.max(late);
            self.late += u64::from(late > Duration::from_millis(1));
            let face = self
                .flows
                .get(&next.flow)
                .map(|faces| &faces[next.to as usize]);
            let Some((face, peer)) = face.and_then(|face| Some((face, face.peer?))) else {
                continue;
            };
            if face.socket.send_to(&next.datagram, peer).is_err() {
                self.ways[next.to.other() as usize].counters.failed += 1;
            }
        }
    }

    /// Counters since the start; `late` are datagrams that left more than 1 ms after their time.
    pub fn stats(&self) -> Value {
        let mut stats = json!({
            "late": self.late,
            "late_max_ms": self.late_max.as_secs_f64() * 1000.0,
            "seconds": self.start.map_or(0.0, |start| start.elapsed().as_secs_f64()),
        });
        for Way { name, counters, .. } in &self.ways {
            stats[*name] = json!({
                "datagrams": counters.datagrams,
                "bytes": counters.bytes,
                "lost": counters.lost,
                "overflow": counters.overflow,
                "stray": counters.stray,
                "failed": counters.failed,
            });
        }
        json!({"stats": stats})
    }
}
