// SPDX-License-Identifier: MPL-2.0
//! What one socket has to do with one server.

use std::net::SocketAddr;
use std::time::Instant;

use rtc::stun::error_code::ErrorCode;
use rtc::stun::message::TransactionId;

use super::resolve::Server;
use super::stun::Binding;
use super::turn::{Allocation, Live};

/// One socket and one server.
pub(super) struct Client {
    /// Index among the servers of the call.
    pub(super) server: usize,
    pub(super) base: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) part: Part,
}

pub(super) enum Part {
    Stun(Binding),
    Turn(Box<Allocation>),
}

/// What happened to one [`Client`].
pub(super) enum Event {
    /// It gave us something, see [`Client::mapped`] and [`Client::live`].
    Found,
    /// It gives us nothing.
    Refused(String),
    /// It said nothing.
    Silent,
    /// A relay that was there is gone.
    Lost(String),
}

impl Client {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.part {
            Part::Stun(binding) => binding.deadline(),
            Part::Turn(turn) => turn.deadline(),
        }
    }

    /// Gathers no longer than until `limit`.
    pub(super) fn hasten(&mut self, limit: Instant) {
        match &mut self.part {
            Part::Stun(binding) => binding.hasten(limit),
            Part::Turn(turn) => turn.hasten(limit),
        }
    }

    pub(super) fn turn(&self) -> Option<&Allocation> {
        match &self.part {
            Part::Stun(_) => None,
            Part::Turn(turn) => Some(turn),
        }
    }

    /// Its relayed address.
    pub(super) fn live(&self) -> Option<&Live> {
        self.turn()?.live()
    }

    pub(super) fn is_gathering(&self) -> bool {
        match &self.part {
            Part::Stun(binding) => binding.is_gathering(),
            Part::Turn(turn) => turn.is_gathering(),
        }
    }

    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        match &self.part {
            Part::Stun(binding) => binding.mapped,
            Part::Turn(turn) => turn.live()?.mapped,
        }
    }

    pub(super) fn has_result(&self) -> bool {
        match &self.part {
            Part::Stun(binding) => binding.mapped.is_some(),
            Part::Turn(turn) => turn.live().is_some(),
        }
    }

    pub(super) fn awaits(&self, id: TransactionId) -> bool {
        match &self.part {
            Part::Stun(binding) => binding.awaits(id),
            Part::Turn(turn) => turn.awaits(id),
        }
    }
}

/// Which of a server's addresses `base` can reach.
pub(super) fn address_for(server: &Server, base: SocketAddr) -> Option<SocketAddr> {
    let mut addresses = server.addresses.iter();
    addresses
        .find(|to| {
            let reachable = to.ip().is_loopback() || !base.ip().is_loopback();
            to.is_ipv4() == base.is_ipv4() && reachable
        })
        .copied()
}

/// An error of a server in words (RFC 8489 section 14.8, RFC 8656 section 19). Its own words stay
/// away from logs.
pub(super) fn refusal(code: ErrorCode) -> String {
    let why = match code.0 {
        300 => "it points to another server, which nobody named",
        401 | 441 => "it refuses the user name or the password",
        403 => "it forbids that",
        437 => "it knows no such relay, or still an earlier one",
        438 => "it takes none of its own nonces",
        440 => "it has no relay for this family of addresses",
        442 => "it relays no UDP",
        486 => "this user has all the relays that are allowed",
        508 => "it has no room for one more relay",
        _ => "it refuses",
    };
    format!("{why} (error {})", code.0)
}
