// SPDX-License-Identifier: MPL-2.0
//! Data channels over DTLS (RFC 8261, RFC 8831, RFC 8832): rtc-sctp's association and rtc-datachannel's
//! messages, without I/O and on the caller's clock.
//!
//! RFC 8841 section 9.3 has both sides begin. rtc-sctp knows one side that begins and one that
//! answers, and a remote may too: here the DTLS client begins, as in webrtc-rs, and each side does the
//! other's part when that brings nothing.

mod channels;
mod entry;
mod flight;
mod guard;
mod offline;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, ServerConfig, StreamEvent, TransportConfig,
};
use rtc::shared::TransportProtocol;

use self::channels::Channels;
use self::guard::{Guard, Verdict};
use crate::peer::data::{DataAgreement, MAX_ID};
use crate::peer::shared::Shared;

pub use offline::OfflineData;

/// To SCTP there is one remote, always the same.
const REMOTE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65535));
/// Receive window, bytes.
const WINDOW: u32 = 1 << 20;
/// After this time without an answer the other side's part is tried.
const PATIENCE: Duration = Duration::from_millis(500);
/// Associations before one is up: one for each first word that the remote repeats.
const MOST_TRIES: usize = 8;

/// See the module.
pub(super) struct Sctp {
    endpoint: Endpoint,
    config: TransportConfig,
    /// One, or the tries for it.
    associations: Vec<(AssociationHandle, Association)>,
    up: bool,
    guard: Guard,
    channels: Channels,
    /// We began, and the remote's first word came meanwhile.
    their_init: Option<Bytes>,
    /// When the other side's part is tried.
    fallback: Option<Instant>,
    out: VecDeque<Bytes>,
    failed: bool,
}

impl Sctp {
    /// The handshake of DTLS, in which we were the `client` or not, is over.
    pub(super) fn new(
        shared: Arc<Shared>,
        agreed: DataAgreement,
        client: bool,
        now: Instant,
    ) -> Self {
        let largest = u32::try_from(agreed.max_message_size).unwrap_or(u32::MAX);
        let config = TransportConfig::default()
            .with_max_receive_buffer_size(WINDOW)
            .with_max_message_size(largest)
            .with_max_num_inbound_streams(MAX_ID + 1)
            .with_max_num_outbound_streams(MAX_ID + 1);
        let endpoint = Endpoint::new(
            REMOTE,
            TransportProtocol::UDP,
            Arc::new(EndpointConfig::default()),
            None,
        );
        let mut sctp = Self {
            endpoint,
            config,
            associations: Vec::new(),
            up: false,
            guard: Guard::default(),
            channels: Channels::new(shared, agreed, client),
            their_init: None,
            fallback: Some(now + PATIENCE),
            out: VecDeque::new(),
            failed: false,
        };
        match client {
            true => sctp.begin(now),
            false => sctp.await_remote(),
        }
        sctp
    }

    /// Says the first word.
    fn begin(&mut self, now: Instant) {
        let config = ClientConfig::new(self.config.clone());
        match self.endpoint.connect(now, config, REMOTE) {
            Ok(association) => self.associations.push(association),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Answers the remote's.
    fn await_remote(&mut self) {
        let config = ServerConfig::new(self.config.clone());
        self.endpoint.set_server_config(Some(Arc::new(config)));
    }

    fn fail(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.failed, true) {
            log::debug!(target: "rswebrtc::peer", "SCTP: {reason}");
            // Nothing of it is due any more.
            self.associations.clear();
            self.fallback = None;
            self.channels.end(reason);
        }
    }

    /// Has rtc-sctp do something. It is not trusted never to panic: the data channels end then, and
    /// nothing else does.
    fn guarded(&mut self, act: impl FnOnce(&mut Self)) {
        if !self.failed && catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            self.fail("the remote sent what SCTP cannot be");
        }
    }

    /// A packet of the remote.
    pub(super) fn read(&mut self, packet: Bytes, now: Instant) {
        if Guard::is_init(&packet) && !self.up {
            if self.fallback.is_some() && !self.associations.is_empty() && !self.answers() {
                self.their_init = Some(packet);
                return;
            }
            if self.associations.len() >= MOST_TRIES {
                return;
            }
        }
        let stalled = self.channels.is_stalled();
        match self.guard.incoming(&packet, self.up, stalled) {
            Verdict::Pass => self.guarded(|sctp| sctp.handle(packet, now)),
            Verdict::Drop => {
                log::trace!(target: "rswebrtc::peer", "SCTP: a packet is passed over");
            }
            Verdict::Held => {}
        }
        if self.guard.is_endless() {
            self.fail("the remote sends a message that has no end");
        }
    }

    fn answers(&self) -> bool {
        self.associations.iter().any(|(_, a)| a.side().is_server())
    }

    fn handle(&mut self, packet: Bytes, now: Instant) {
        match self.endpoint.handle(now, REMOTE, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.associations.push((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                let mut all = self.associations.iter_mut();
                if let Some((_, association)) = all.find(|(known, _)| *known == handle) {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.take_events(now);
    }

    fn take_events(&mut self, now: Instant) {
        let mut connected = None;
        for (handle, association) in &mut self.associations {
            while let Some(event) = association.poll() {
                match event {
                    Event::Connected => connected = Some(*handle),
                    Event::HandshakeFailed { reason } => {
                        log::debug!(target: "rswebrtc::peer", "SCTP: {reason}");
                    }
                    Event::AssociationLost { id, .. } => self.channels.lost(id),
                    Event::Stream(StreamEvent::Opened { id }) => {
                        // Or rtc-sctp remembers it for ever.
                        while association.accept_stream().is_some() {}
                        self.guard.opened(id);
                        self.channels.appeared(id);
                    }
                    Event::Stream(StreamEvent::Readable { id }) => self.channels.readable(id),
                    _ => {}
                }
            }
            while let Some(event) = association.poll_endpoint_event() {
                self.endpoint.handle_event(*handle, event);
            }
        }
        if let Some(handle) = connected {
            self.associations.retain(|(other, _)| *other == handle);
            self.endpoint.reject_new_associations();
            self.up = true;
            (self.fallback, self.their_init) = (None, None);
        }
        let over = |(_, a): &(AssociationHandle, Association)| a.is_closed() && !a.is_handshaking();
        if self.up && self.associations.iter().any(over) {
            return self.fail("the remote ended SCTP");
        }
        self.exchange(now);
    }

    /// Moves messages between channels and the association.
    fn exchange(&mut self, now: Instant) {
        if !self.up {
            return;
        }
        let Some((_, association)) = self.associations.first_mut() else {
            return;
        };
        let flight = &mut self.guard.flight;
        let read = self.channels.exchange(association, flight, now);
        self.guard.was_read(self.channels.take_read());
        for id in self.channels.take_opened() {
            self.guard.opened(id);
        }
        if read && self.guard.is_window_stale() && !self.channels.is_stalled() {
            self.guard.window = None;
            if let Some(packet) = self.guard.repeated() {
                self.handle(packet, now);
            }
        }
    }

    /// Does what channels want: opens, closes, sends, delivers.
    pub(super) fn turn(&mut self, now: Instant) {
        self.guarded(|sctp| sctp.exchange(now));
        self.collect(now);
    }

    /// What is to be sent now.
    fn collect(&mut self, now: Instant) {
        if !self.out.is_empty() {
            return;
        }
        self.guarded(|sctp| {
            for (_, association) in &mut sctp.associations {
                while let Some(transmit) = association.poll_transmit(now) {
                    if let Payload::RawEncode(packets) = transmit.message {
                        let guard = &mut sctp.guard;
                        let sent = packets.into_iter().filter_map(|p| guard.outgoing(p));
                        sctp.out.extend(sent);
                    }
                }
            }
        });
        while let Some(packet) = self.guard.take_answer().or_else(|| self.guard.take_due()) {
            self.guarded(|sctp| sctp.handle(packet, now));
        }
    }

    /// The next packet to send.
    pub(super) fn poll_write(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// Whether packets wait to leave.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let associations = self.associations.iter();
        let due = associations.filter_map(|(_, a)| a.poll_timeout()).min();
        let channels = self.channels.poll_timeout();
        [due, self.fallback, channels].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.fallback.is_some_and(|at| now >= at) {
            self.fallback = None;
            self.try_otherwise(now);
        }
        self.guarded(|sctp| {
            for (_, association) in &mut sctp.associations {
                if association.poll_timeout().is_some_and(|due| now >= due) {
                    association.handle_timeout(now);
                }
            }
            sctp.take_events(now);
        });
    }

    fn try_otherwise(&mut self, now: Instant) {
        if let Some(packet) = self.their_init.take() {
            // It waits for an answer, and does not give us one.
            self.associations.clear();
            self.await_remote();
            self.read(packet, now);
        } else if self.associations.is_empty() {
            self.begin(now);
        }
    }

    /// Nothing more comes: delivers what is there, whatever the bounds.
    pub(super) fn end(&mut self, reason: &str) {
        self.guarded(|sctp| {
            if let Some((_, association)) = sctp.associations.first_mut() {
                sctp.channels.deliver_rest(association);
            }
        });
        self.fail(reason);
    }
}

#[cfg(test)]
mod tests;
