// SPDX-License-Identifier: MPL-2.0
mod call;
mod hostile;
mod reflexive;
mod relayed;
mod server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Found, Handled, Server, Servers, Service};
use server::ModelServer;

const BASE: &str = "192.0.2.10:40000";
const SERVER: &str = "198.51.100.1:3478";
const PEER: &str = "203.0.113.5:5000";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn named(service: Service, at: &str) -> Server {
    let scheme = match service {
        Service::Stun => "stun",
        Service::Turn => "turn",
    };
    Server {
        service,
        url: format!("{scheme}:{at}"),
        addresses: vec![address(at)],
        username: server::USER.to_owned(),
        credential: server::PASSWORD.to_owned(),
    }
}

/// One side and its server on a clock of their own. The network between takes no time.
struct World {
    servers: Servers,
    server: ModelServer,
    now: Instant,
    /// What is on the way to the server is lost.
    deaf: bool,
    /// So many datagrams to the server are lost first.
    lose: usize,
    found: Vec<Found>,
    /// What came through the relay: peer, payload.
    received: Vec<(SocketAddr, Vec<u8>)>,
    /// Datagrams that were sent.
    sent: usize,
}

impl World {
    fn new(servers: Vec<Server>) -> Self {
        let crypto = rtc::crypto::default_provider().unwrap();
        let now = Instant::now();
        Self {
            servers: Servers::new(servers, crypto),
            server: ModelServer::new(now),
            now,
            deaf: false,
            lose: 0,
            found: Vec::new(),
            received: Vec::new(),
            sent: 0,
        }
    }

    fn with_turn() -> Self {
        Self::new(vec![named(Service::Turn, SERVER)])
    }

    /// With a relayed address.
    fn allocated() -> (Self, SocketAddr) {
        let mut world = Self::with_turn();
        world.gather();
        world.run(Duration::from_secs(1));
        let relay = world.relay();
        (world, relay)
    }

    fn relay(&self) -> SocketAddr {
        let mut found = self.found.iter();
        found
            .find_map(|found| match found {
                Found::Relayed { relayed, .. } => Some(*relayed),
                Found::Reflexive { .. } => None,
            })
            .expect("a relayed address")
    }

    fn gather(&mut self) {
        self.servers.gather(&[address(BASE)], self.now);
        self.exchange();
    }

    /// Lets everything arrive that is on its way.
    fn exchange(&mut self) {
        while let Some(outgoing) = self.servers.poll_transmit() {
            assert_eq!(outgoing.to, address(SERVER), "nobody named that one");
            self.sent += 1;
            if self.deaf || self.lose > 0 {
                self.lose = self.lose.saturating_sub(1);
                continue;
            }
            for answer in self.server.handle(outgoing.base, &outgoing.data, self.now) {
                self.arrive(&answer);
            }
        }
        while let Some(found) = self.servers.poll_candidate() {
            self.found.push(found);
        }
    }

    /// A datagram from the server.
    fn arrive(&mut self, data: &[u8]) {
        let handled = self
            .servers
            .handle(address(BASE), address(SERVER), data, self.now);
        if let Handled::Relayed { peer, payload, .. } = handled {
            self.received.push((peer, payload.to_vec()));
        }
    }

    /// Sends through the relay, and everything that goes with it.
    fn send(&mut self, relay: SocketAddr, peer: &str, data: &[u8]) {
        if let Some(framed) = self.servers.relay(relay, address(peer), data, self.now) {
            let datagram = [&framed.header[..], data].concat();
            assert_eq!(framed.to, address(SERVER));
            let answers = self.server.handle(framed.base, &datagram, self.now);
            assert!(answers.is_empty());
        }
        self.exchange();
    }

    /// Lets `time` pass, as whoever drives us does: from timer to timer.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        while let Some(due) = self.servers.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.servers.handle_timeout(self.now);
            self.exchange();
            rounds += 1;
            assert!(rounds < 20_000, "timers that never end");
        }
        self.now = end;
    }
}
