// SPDX-License-Identifier: MPL-2.0
//! ICE and DTLS of two sides that reach each other through their relays only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::server::ModelServer;
use super::{SERVER, Servers, Service, address, named};
use crate::peer::shared::{EVENT_CAPACITY, Shared};
use crate::peer::transport::core::Core;
use crate::peer::transport::{DtlsRole, DtlsState, IceState, States};
use crate::sdp;

struct Side {
    core: Core,
    states: watch::Receiver<States>,
    server: ModelServer,
}

impl Side {
    fn new(base: &str, relayed: &str, now: Instant) -> Self {
        let (events, _) = mpsc::channel(EVENT_CAPACITY);
        let shared = Arc::new(Shared::new(events, false, Vec::new()));
        let (mut core, states) = Core::new(shared, vec![address(base)], now).unwrap();
        core.await_servers();
        assert!(!states.borrow().gathered);
        let servers = Servers::new(vec![named(Service::Turn, SERVER)], core.crypto.clone());
        core.set_servers(servers, now);
        let mut server = ModelServer::new(now);
        server.relayed = address(relayed);
        Self {
            core,
            states,
            server,
        }
    }

    /// Takes what leaves: the payloads that go from our relay to `peer`.
    fn send(&mut self, peer: SocketAddr, now: Instant) -> Vec<Vec<u8>> {
        self.core.pump();
        while let Some(batch) = self.core.outbox.front() {
            let (to, segment, data) = (batch.to, batch.segment, batch.data.clone());
            self.core.outbox.pop();
            // Directly nothing arrives anywhere.
            if to != address(SERVER) {
                continue;
            }
            for datagram in data.chunks(segment) {
                let base = address("192.0.2.1:1");
                for answer in self.server.handle(base, datagram, now) {
                    self.core.read(0, address(SERVER), &answer, now);
                }
            }
        }
        let delivered = std::mem::take(&mut self.server.delivered).into_iter();
        delivered
            .filter(|(to, _, _)| *to == peer)
            .map(|(_, payload, _)| payload)
            .collect()
    }

    fn receive(&mut self, from: SocketAddr, payload: &[u8], now: Instant) {
        if let Some(datagram) = self.server.sent_by(&from.to_string(), payload, now) {
            self.core.read(0, address(SERVER), &datagram, now);
        }
    }

    fn description(&self) -> sdp::Transport {
        let mut local = self.core.local();
        local.candidates.retain(|c| c.contains("typ relay"));
        assert_eq!(local.candidates.len(), 1);
        local
    }

    fn is_up(&self) -> bool {
        let states = self.states.borrow();
        states.ice == IceState::Connected && states.dtls == DtlsState::Up
    }
}

/// All that is on its way arrives.
fn exchange(sides: &mut [Side; 2], now: Instant) {
    let relays = [sides[0].server.relayed, sides[1].server.relayed];
    let mut quiet = false;
    while !quiet {
        quiet = true;
        for (from, to) in [(0, 1), (1, 0)] {
            for payload in sides[from].send(relays[to], now) {
                quiet = false;
                sides[to].receive(relays[from], &payload, now);
            }
        }
    }
}

/// Lets time pass until both are up; gives how much.
fn connect(sides: &mut [Side; 2], start: Instant) -> Duration {
    let mut now = start;
    exchange(sides, now);
    while !sides.iter().all(Side::is_up) {
        let due = sides.iter_mut().filter_map(|s| s.core.poll_timeout()).min();
        now = due.unwrap().max(now + Duration::from_micros(100));
        assert!(now < start + Duration::from_secs(10), "never up");
        for side in &mut *sides {
            side.core.handle_timeout(now);
        }
        exchange(sides, now);
    }
    now - start
}

#[test]
fn a_call_comes_about_through_two_relays_and_gives_them_back() {
    let now = Instant::now();
    let mut sides = [
        Side::new("192.0.2.10:40000", "198.51.100.1:50001", now),
        Side::new("192.0.2.20:40000", "198.51.100.1:50002", now),
    ];
    exchange(&mut sides, now);
    assert!(sides.iter().all(|side| side.states.borrow().gathered));
    let [first, second] = sides.each_ref().map(Side::description);
    let [offerer, answerer] = &mut sides;
    answerer
        .core
        .start(&first, false, DtlsRole::Client, now)
        .unwrap();
    offerer
        .core
        .start(&second, true, DtlsRole::Server, now)
        .unwrap();
    let took = connect(&mut sides, now);
    assert!(took < Duration::from_secs(1), "{took:?}");
    for (side, other) in [(0, 1), (1, 0)] {
        let info = sides[side].core.info();
        let pair = [side, other].map(|i| format!("{} relay", sides[i].server.relayed));
        assert_eq!([info.local_candidate, info.remote_candidate], pair);
    }

    let end = now + took;
    for side in &mut sides {
        side.core.close(end);
    }
    exchange(&mut sides, end);
    assert!(sides.iter().all(|side| !side.server.is_allocated(end)));
}
