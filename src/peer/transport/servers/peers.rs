// SPDX-License-Identifier: MPL-2.0
//! Whom a relayed address may talk to: permissions, by IP address, and channels, by address and
//! port (RFC 8656 sections 9 and 12).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Permissions of one relayed address; beyond them nothing is sent to yet another IP address.
/// Those that are not used are dropped each [`RENEWAL`].
pub(super) const MAX_PERMISSIONS: usize = 64;
/// Channels of one relayed address; what goes to further peers goes in indications.
pub(super) const MAX_CHANNELS: usize = 16;
/// Between two renewals: permissions last 5 minutes, channels 10.
pub(super) const RENEWAL: Duration = Duration::from_secs(240);
/// Numbers that a channel may have (RFC 8656 section 12).
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Asked,
    Granted,
    Refused,
}

struct Permission {
    ip: IpAddr,
    state: State,
    used: Instant,
}

struct Channel {
    number: u16,
    peer: SocketAddr,
    state: State,
}

/// The peers of one relayed address.
pub(super) struct Peers {
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
    /// Never used again, so that what is late for a former channel goes to nobody else.
    next_number: u16,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            permissions: Vec::new(),
            channels: Vec::new(),
            next_number: *CHANNELS.start(),
        }
    }
}

/// What is known of a permission before a packet uses it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// It was not asked for: do, the packet may follow at once.
    Ask,
    /// It was asked for.
    Given,
    /// The server forbids that peer, or there is no room for one more.
    Denied,
}

impl Peers {
    /// Number of the channel to `peer`, once the server knows it.
    pub(super) fn channel(&self, peer: SocketAddr) -> Option<u16> {
        let mut bound = self.channels.iter().filter(|c| c.state == State::Granted);
        bound.find(|c| c.peer == peer).map(|c| c.number)
    }

    /// The peer behind a channel. What it sends may overtake the server's answer.
    pub(super) fn peer(&self, number: u16) -> Option<SocketAddr> {
        let mut known = self.channels.iter().filter(|c| c.state != State::Refused);
        known.find(|c| c.number == number).map(|c| c.peer)
    }

    /// Whether something from `ip` can be what we allowed.
    pub(super) fn permits(&self, ip: IpAddr) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.any(|p| p.ip == ip && p.state != State::Refused)
            || self.channels.iter().any(|c| c.peer.ip() == ip)
    }

    /// A packet is for `ip`.
    pub(super) fn permit(&mut self, ip: IpAddr, now: Instant) -> Permit {
        if let Some(known) = self.permissions.iter_mut().find(|p| p.ip == ip) {
            known.used = now;
            return match known.state {
                State::Refused => Permit::Denied,
                State::Asked | State::Granted => Permit::Given,
            };
        }
        if self.permissions.len() >= MAX_PERMISSIONS {
            return Permit::Denied;
        }
        self.permissions.push(Permission {
            ip,
            state: State::Asked,
            used: now,
        });
        Permit::Ask
    }

    /// The server's word on permissions.
    pub(super) fn set_permissions(&mut self, ips: &[IpAddr], state: State) {
        for permission in &mut self.permissions {
            if ips.contains(&permission.ip) {
                permission.state = state;
            }
        }
    }

    /// The server said nothing: the next packet asks again.
    pub(super) fn forget(&mut self, ips: &[IpAddr]) {
        self.permissions.retain(|p| !ips.contains(&p.ip));
    }

    /// Number of a channel to ask for, if `peer` has none and may have one.
    pub(super) fn new_channel(&mut self, peer: SocketAddr) -> Option<u16> {
        let known = self.channels.iter().any(|c| c.peer == peer);
        if known || self.channels.len() >= MAX_CHANNELS || !CHANNELS.contains(&self.next_number) {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.channels.push(Channel {
            number,
            peer,
            state: State::Asked,
        });
        Some(number)
    }

    /// The server's word on a channel. Without it, what is sent goes in indications.
    pub(super) fn set_channel(&mut self, number: u16, state: State) {
        let mut channels = self.channels.iter_mut();
        if let Some(channel) = channels.find(|c| c.number == number) {
            channel.state = state;
        }
    }

    /// What to ask for again: all channels, and the permissions in use.
    pub(super) fn renewal(&mut self, now: Instant) -> (Vec<IpAddr>, Vec<(SocketAddr, u16)>) {
        let channels: Vec<_> = self
            .channels
            .iter()
            .filter(|c| c.state == State::Granted)
            .map(|c| (c.peer, c.number))
            .collect();
        // A channel is a permission, too.
        let has_channel = |ip: IpAddr| channels.iter().any(|(peer, _)| peer.ip() == ip);
        self.permissions
            .retain(|p| has_channel(p.ip) || now.duration_since(p.used) < RENEWAL);
        let permissions = self
            .permissions
            .iter()
            .filter(|p| p.state == State::Granted && !has_channel(p.ip))
            .map(|p| p.ip)
            .collect();
        (permissions, channels)
    }
}
