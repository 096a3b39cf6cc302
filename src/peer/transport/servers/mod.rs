// SPDX-License-Identifier: MPL-2.0
//! STUN and TURN servers of one call: how it is seen from outside, and relays.
//!
//! No sockets and no clock: whoever has those gives every datagram to [`Servers::handle`] and,
//! after each call here, sends what [`Servers::poll_transmit`] gives. Invariants: nothing goes to
//! an address that is not one of a server the user named; nothing is believed but from that
//! server's address and, if it answers something, with a transaction id that is open and, where we
//! have a credential, signed with it.

mod candidate;
mod client;
mod message;
mod peers;
mod port;
mod request;
mod resolve;
mod stun;
#[cfg(test)]
mod tests;
mod transaction;
mod turn;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::message::METHOD_BINDING;

pub(in crate::peer) use candidate::Found;
pub(in crate::peer) use port::Outgoing;
pub(in crate::peer) use resolve::{Server, Service};

use super::super::IceServer;
use client::{Client, Event, Part, address_for};
use message::Kind;
use port::Port;
use stun::Binding;
use turn::{Allocation, CHANNEL_HEADER, Context};

/// Gathering ends so long after it began.
const LIMIT: Duration = Duration::from_secs(2);
/// And so long after a server answered one socket: those that it does not answer lead elsewhere.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between first requests (RFC 8445 appendix B.1: no less).
const PACE: Duration = Duration::from_millis(5);
/// A NAT forgets who is silent for longer (RFC 8445 section 11).
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Different things to complain of; there are a few for each server.
const MAX_PROBLEMS: usize = 32;

/// All servers of one call.
pub(in crate::peer) struct Servers {
    named: Vec<Server>,
    crypto: Arc<dyn RTCCryptoProvider>,
    clients: Vec<Client>,
    out: VecDeque<Outgoing>,
    found: VecDeque<Found>,
    /// Mapped addresses that were told of since [`Self::gather`], with their bases.
    told: Vec<(SocketAddr, SocketAddr)>,
    problems: Vec<String>,
    keepalive: Keepalive,
}

#[derive(Clone, Copy)]
enum Keepalive {
    /// Nothing was found yet.
    Idle,
    At(Instant),
    /// ICE sends enough.
    Settled,
}

/// What became of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::peer) enum Handled<'a> {
    /// It is for ICE, DTLS or SRTP.
    Not,
    /// It was for us.
    Taken,
    /// It brought something from a peer, to be handled as if it had come to `relay`.
    Relayed {
        /// The relayed address.
        relay: SocketAddr,
        /// Who sent it.
        peer: SocketAddr,
        /// What was sent.
        payload: &'a [u8],
    },
}

/// How a packet goes through a channel: to `to` from the socket bound to `base`, with `header` in
/// front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::peer) struct Framed {
    /// Address of the socket.
    pub(in crate::peer) base: SocketAddr,
    /// The server.
    pub(in crate::peer) to: SocketAddr,
    /// Channel number and length.
    pub(in crate::peer) header: [u8; CHANNEL_HEADER],
}

impl Servers {
    /// Finds the servers that the user named; takes at most two seconds.
    pub(in crate::peer) async fn resolve(
        servers: &[IceServer],
        crypto: Arc<dyn RTCCryptoProvider>,
    ) -> Self {
        let (found, problems) = resolve::resolve(servers).await;
        let mut servers = Self::new(found, crypto);
        for problem in problems {
            servers.complain(problem);
        }
        servers
    }

    /// With servers whose addresses are known.
    pub(in crate::peer) fn new(servers: Vec<Server>, crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self {
            named: servers,
            crypto,
            clients: Vec::new(),
            out: VecDeque::new(),
            found: VecDeque::new(),
            told: Vec::new(),
            problems: Vec::new(),
            keepalive: Keepalive::Idle,
        }
    }

    /// Begins to gather from the sockets bound to `bases`. Of a base that was here before, what is
    /// still good is given again, and the rest is tried again.
    pub(in crate::peer) fn gather(&mut self, bases: &[SocketAddr], now: Instant) {
        self.clients
            .retain(|client| client.is_gathering() || client.has_result());
        self.told.clear();
        let mut start = now;
        for server in 0..self.named.len() {
            let mut reached = false;
            for base in bases {
                let Some(to) = self.named.get(server).and_then(|s| address_for(s, *base)) else {
                    continue;
                };
                reached = true;
                let known = self
                    .clients
                    .iter()
                    .position(|c| c.server == server && c.base == *base);
                if let Some(index) = known {
                    self.tell_again(index);
                    continue;
                }
                match self.client(server, *base, to, start, now) {
                    Ok(client) => self.clients.push(client),
                    Err(why) => self.complain_of(server, &why),
                }
                start += PACE;
            }
            if !reached {
                self.complain_of(server, "no local address of this call can reach it");
            }
        }
        self.handle_timeout(now);
    }

    fn client(
        &mut self,
        index: usize,
        base: SocketAddr,
        to: SocketAddr,
        start: Instant,
        now: Instant,
    ) -> Result<Client, String> {
        let crypto = self.crypto.crypto();
        let limit = now + LIMIT;
        let server = self.named.get(index).ok_or("no such server")?;
        let part = match server.service {
            Service::Stun => Part::Stun(Binding::new(start, limit, crypto)?),
            Service::Turn => {
                let mut context = Context {
                    server,
                    crypto,
                    now,
                    port: Port {
                        out: &mut self.out,
                        base,
                        to,
                    },
                };
                Part::Turn(Box::new(Allocation::new(start, limit, &mut context)?))
            }
        };
        Ok(Client {
            server: index,
            base,
            to,
            part,
        })
    }

    /// Takes a datagram that came from `from` to the socket bound to `base`, if it is for us.
    pub(in crate::peer) fn handle<'a>(
        &mut self,
        base: SocketAddr,
        from: SocketAddr,
        data: &'a [u8],
        now: Instant,
    ) -> Handled<'a> {
        if !self.clients.iter().any(|c| c.base == base && c.to == from) {
            return Handled::Not;
        }
        if matches!(data.first(), Some(0x40..=0x4f)) {
            return self.relayed(base, from, |turn| turn.channel_data(data));
        }
        match message::kind(data) {
            Kind::Other => Handled::Not,
            Kind::Indication => self.relayed(base, from, |turn| turn.data(data)),
            Kind::Answer => {
                let Some(answer) = message::read(data) else {
                    return Handled::Not;
                };
                let id = answer.transaction_id;
                let asked = self
                    .clients
                    .iter()
                    .position(|c| c.base == base && c.to == from && c.awaits(id));
                let Some(index) = asked else {
                    return Handled::Not;
                };
                let event = self.with(index, now, |part, context| match part {
                    Part::Stun(binding) => binding.answer(&answer),
                    Part::Turn(turn) => turn.answer(&answer, context),
                });
                self.happened(index, event, now);
                Handled::Taken
            }
        }
    }

    fn relayed<'a>(
        &self,
        base: SocketAddr,
        from: SocketAddr,
        read: impl Fn(&Allocation) -> Option<(SocketAddr, &'a [u8])>,
    ) -> Handled<'a> {
        let here = self
            .clients
            .iter()
            .filter(|c| c.base == base && c.to == from);
        let mut relays = here.filter_map(Client::turn).peekable();
        if relays.peek().is_none() {
            return Handled::Not;
        }
        let mut read = relays.filter_map(|turn| Some((turn.live()?.relayed, read(turn)?)));
        match read.next() {
            Some((relay, (peer, payload))) => Handled::Relayed {
                relay,
                peer,
                payload,
            },
            None => Handled::Taken,
        }
    }

    /// Takes `data`, which is to leave the relayed address `relay` for `peer`. `Some`: send it so,
    /// which costs no copy and no allocation. `None`: it went to [`Self::poll_transmit`], as it
    /// does until `peer` has a channel, or nowhere, where there is no such relay any more or the
    /// server forbids `peer`.
    pub(in crate::peer) fn relay(
        &mut self,
        relay: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Option<Framed> {
        let of_relay = |c: &Client| c.live().is_some_and(|live| live.relayed == relay);
        let index = self.clients.iter().position(of_relay)?;
        let client = self.clients.get(index)?;
        if let Some(header) = client.turn()?.channel_header(peer, data.len()) {
            return Some(Framed {
                base: client.base,
                to: client.to,
                header,
            });
        }
        let event = self.with(index, now, |part, context| match part {
            Part::Stun(_) => None,
            Part::Turn(turn) => turn.indicate(peer, data, context),
        });
        self.happened(index, event, now);
        None
    }

    /// What is to be sent now; call it after every other call.
    pub(in crate::peer) fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.out.pop_front()
    }

    /// The next candidate.
    pub(in crate::peer) fn poll_candidate(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Every server answered, refused or said nothing for long enough: at most two seconds after
    /// [`Self::gather`].
    pub(in crate::peer) fn is_gathered(&self) -> bool {
        !self.clients.iter().any(Client::is_gathering)
    }

    /// When to call [`Self::handle_timeout`].
    pub(in crate::peer) fn poll_timeout(&self) -> Option<Instant> {
        let keepalive = match self.keepalive {
            Keepalive::At(at) => Some(at),
            Keepalive::Idle | Keepalive::Settled => None,
        };
        let clients = self.clients.iter().filter_map(Client::deadline);
        clients.chain(keepalive).min()
    }

    /// Time has passed.
    pub(in crate::peer) fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.clients.len() {
            let event = self.with(index, now, |part, context| match part {
                Part::Stun(binding) => binding.handle_timeout(now, &mut context.port),
                Part::Turn(turn) => turn.handle_timeout(context),
            });
            self.happened(index, event, now);
        }
        if let Keepalive::At(at) = self.keepalive
            && at <= now
        {
            self.keepalive = Keepalive::At(now + KEEPALIVE);
            self.keep_alive();
        }
    }

    /// ICE has chosen: its own checks keep the way through NATs open from now on. Until then, and
    /// somebody may carry descriptions by hand, we do.
    pub(in crate::peer) fn settle(&mut self) {
        self.keepalive = Keepalive::Settled;
    }

    /// Gives all relays back. What is to be sent for it can be fetched once more.
    pub(in crate::peer) fn close(&mut self, now: Instant) {
        for index in 0..self.clients.len() {
            self.with(index, now, |part, context| {
                if let Part::Turn(turn) = part {
                    turn.close(context);
                }
                None
            });
        }
        self.clients.clear();
        self.found.clear();
        self.keepalive = Keepalive::Settled;
    }

    /// What is wrong with servers, each with its URL: for an error that says why there is no
    /// connection. All of it was logged.
    pub(in crate::peer) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Calls `act` for a client and its surroundings.
    fn with(
        &mut self,
        index: usize,
        now: Instant,
        act: impl FnOnce(&mut Part, &mut Context) -> Option<Event>,
    ) -> Option<Event> {
        let client = self.clients.get_mut(index)?;
        let mut context = Context {
            server: self.named.get(client.server)?,
            crypto: self.crypto.crypto(),
            now,
            port: Port {
                out: &mut self.out,
                base: client.base,
                to: client.to,
            },
        };
        act(&mut client.part, &mut context)
    }

    fn happened(&mut self, index: usize, event: Option<Event>, now: Instant) {
        let (Some(event), Some(client)) = (event, self.clients.get(index)) else {
            return;
        };
        let (server, base) = (client.server, client.base);
        match event {
            Event::Found => {
                self.tell_again(index);
                for other in self.clients.iter_mut().filter(|c| c.server == server) {
                    other.hasten(now + PATIENCE);
                }
                if let Keepalive::Idle = self.keepalive {
                    self.keepalive = Keepalive::At(now + KEEPALIVE);
                }
            }
            Event::Refused(why) => self.complain_of(server, &why),
            Event::Lost(why) => self.complain_of(server, &format!("the relay is lost: {why}")),
            Event::Silent => {
                log::debug!(target: "rswebrtc::peer", "no answer of a server to {base}");
                // Of several interfaces some lead nowhere: that is no problem.
                let mut others = self.clients.iter().filter(|c| c.server == server);
                if !others.any(|c| c.is_gathering() || c.has_result()) {
                    self.complain_of(
                        server,
                        "no answer within 2 s; is the address right, and may UDP go there?",
                    );
                }
            }
        }
    }

    /// Tells of what a client has.
    fn tell_again(&mut self, index: usize) {
        let Some(client) = self.clients.get(index) else {
            return;
        };
        let Some(Server { url, .. }) = self.named.get(client.server) else {
            return;
        };
        let base = client.base;
        let mut found = Vec::new();
        let mapped = client.mapped();
        if let Some(live) = client.live() {
            found.push(Found::Relayed {
                base,
                relayed: live.relayed,
                mapped: mapped.unwrap_or(base),
                url: url.clone(),
            });
        }
        // The same as the host candidate, or found by another server: redundant (RFC 8445
        // section 5.1.3).
        if let Some(mapped) = mapped
            && mapped != base
            && !self.told.contains(&(base, mapped))
        {
            self.told.push((base, mapped));
            found.push(Found::Reflexive {
                base,
                mapped,
                url: url.clone(),
            });
        }
        self.found.extend(found);
    }

    /// Something to each server that knows us. An indication is not answered.
    fn keep_alive(&mut self) {
        let Ok(message) = message::indication(METHOD_BINDING, vec![]) else {
            return;
        };
        let mut served: Vec<(SocketAddr, SocketAddr)> = Vec::new();
        for client in self.clients.iter().filter(|c| c.has_result()) {
            let (base, to) = (client.base, client.to);
            if served.contains(&(base, to)) {
                continue;
            }
            served.push((base, to));
            Port {
                out: &mut self.out,
                base,
                to,
            }
            .put(&message.raw);
        }
    }

    fn complain_of(&mut self, server: usize, why: &str) {
        if let Some(server) = self.named.get(server) {
            self.complain(format!("{}: {why}", server.url));
        }
    }

    /// Says each thing once.
    fn complain(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            log::warn!(target: "rswebrtc::peer", "{problem}");
            self.problems.push(problem);
        }
    }
}
