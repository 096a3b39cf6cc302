// SPDX-License-Identifier: MPL-2.0
//! The address that a STUN server sees a socket under (RFC 8489 section 12).

use std::net::SocketAddr;
use std::time::Instant;

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::ATTR_XORMAPPED_ADDRESS;
use rtc::stun::message::{METHOD_BINDING, Message, TransactionId};

use super::client::{Event, refusal};
use super::message;
use super::port::Port;
use super::transaction::{Step, Transaction};

/// One question from one socket to one server.
pub(super) struct Binding {
    pending: Option<Transaction>,
    pub(super) mapped: Option<SocketAddr>,
}

impl Binding {
    /// Asks from `start` until `limit`.
    ///
    /// # Errors
    ///
    /// What is wrong with the request.
    pub(super) fn new(
        start: Instant,
        limit: Instant,
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, String> {
        let request = message::request(METHOD_BINDING, vec![], None, crypto)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pending: Some(Transaction::new(request, start, limit)),
            mapped: None,
        })
    }

    pub(super) fn is_gathering(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn hasten(&mut self, limit: Instant) {
        if let Some(pending) = &mut self.pending {
            pending.hasten(limit);
        }
    }

    pub(super) fn awaits(&self, id: TransactionId) -> bool {
        self.pending.as_ref().is_some_and(|p| p.id() == id)
    }

    /// The answer to the question: its transaction is ours.
    pub(super) fn answer(&mut self, answer: &Message) -> Option<Event> {
        if answer.typ.method != METHOD_BINDING {
            return None;
        }
        if let Some(code) = message::error_code(answer) {
            self.pending = None;
            return Some(Event::Refused(refusal(code)));
        }
        // An answer without an address is as good as none: another may come.
        let mapped = message::address(answer, ATTR_XORMAPPED_ADDRESS)?;
        self.pending = None;
        self.mapped = Some(mapped);
        Some(Event::Found)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(Transaction::deadline)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, port: &mut Port) -> Option<Event> {
        let pending = self.pending.as_mut()?;
        match pending.step(now) {
            Step::Wait => None,
            Step::Send => {
                port.put(pending.bytes());
                None
            }
            Step::GiveUp => {
                self.pending = None;
                Some(Event::Silent)
            }
        }
    }
}
