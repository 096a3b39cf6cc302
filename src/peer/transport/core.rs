// SPDX-License-Identifier: MPL-2.0
//! ICE, DTLS, SRTP and the media path of one call, put together, without I/O and without a clock
//! of its own: datagrams and times go in, datagrams come out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::interceptor::Packet;
use rtc::sansio::Protocol;
use tokio::sync::watch;

use super::States;
use super::batch::Outbox;
use super::dtls::{Dtls, DtlsRole, DtlsState};
use super::ice::{Ice, IceState, Route};
use super::sctp::Sctp;
use super::servers::{Handled, Servers};
use super::srtp::Srtp;
use crate::media::codec::MediaKind;
use crate::peer::interceptors::{Handover, MediaPath};
use crate::peer::shared::{Shared, lock};
use crate::peer::{Direction, PeerError, PeerEvent, TransportInfo};
use crate::sdp;

/// Media that comes before the handshake is over, datagrams: the remote has its keys half a round
/// trip before us, and the first key frame may follow at once.
const EARLY: usize = 256;
/// How often who only receives learns the round trip: as often as it is measured.
const ROUND_TRIP: Duration = Duration::from_millis(500);
/// Of so many the least is the path's: a check that this side or the remote was late to read is none.
const ROUND_TRIPS: usize = 3;

/// See the module.
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
    ice: Ice,
    pub(super) dtls: Dtls,
    srtp: Option<Srtp>,
    pub(super) sctp: Option<Sctp>,
    media: MediaPath,
    /// Addresses of our sockets, in their order.
    bases: Vec<SocketAddr>,
    servers: Option<Servers>,
    /// Nothing is known of servers yet, and there will be.
    awaits_servers: bool,
    pub(super) outbox: Outbox,
    early: VecDeque<Vec<u8>>,
    measured: Option<Instant>,
    round_trips: VecDeque<Duration>,
    states: watch::Sender<States>,
    /// When we were last called.
    now: Instant,
    pub(super) closed: bool,
    abandoned: bool,
}

fn unusable(error: impl std::fmt::Display) -> PeerError {
    PeerError::Other(error.to_string())
}

impl Core {
    /// With sockets bound to `bases`.
    pub(super) fn new(
        shared: Arc<Shared>,
        bases: Vec<SocketAddr>,
        now: Instant,
    ) -> Result<(Self, watch::Receiver<States>), PeerError> {
        let provider = rtc::crypto::default_provider().map_err(unusable)?;
        let mut ice = Ice::new(provider.clone(), now).map_err(unusable)?;
        for base in &bases {
            ice.add_host(*base).map_err(unusable)?;
        }
        let (states, receiver) = watch::channel(States {
            gathered: true,
            ..States::default()
        });
        let core = Self {
            ice,
            crypto: provider.clone(),
            dtls: Dtls::new(provider).map_err(unusable)?,
            srtp: None,
            sctp: None,
            media: MediaPath::new(shared.clone()),
            bases,
            servers: None,
            awaits_servers: false,
            outbox: Outbox::default(),
            early: VecDeque::new(),
            measured: None,
            round_trips: VecDeque::new(),
            states,
            now,
            closed: false,
            abandoned: false,
            shared,
        };
        Ok((core, receiver))
    }

    /// [`Self::set_servers`] will be called.
    pub(super) fn await_servers(&mut self) {
        self.awaits_servers = true;
        self.tell();
    }

    /// Gathers from `servers`.
    pub(super) fn set_servers(&mut self, servers: Servers, now: Instant) {
        self.awaits_servers = false;
        if !self.closed {
            self.servers = Some(servers);
            self.gather(now);
        }
        self.tell();
    }

    /// Asks the servers, where that was not done or came to nothing.
    fn gather(&mut self, now: Instant) {
        if let Some(servers) = &mut self.servers {
            servers.gather(&self.bases, now);
            self.flush_servers();
        }
    }

    /// Our side, with the candidates known by now.
    pub(super) fn local(&self) -> sdp::Transport {
        let (ufrag, pwd) = self.ice.credentials();
        sdp::Transport {
            ufrag,
            pwd,
            fingerprints: vec![self.dtls.fingerprint.clone()],
            candidates: self.ice.candidates(),
            end_of_candidates: true,
            ..Default::default()
        }
    }

    /// Takes the remote's side; the first time DTLS takes `role`.
    pub(super) fn start(
        &mut self,
        remote: &sdp::Transport,
        controlling: bool,
        role: DtlsRole,
        now: Instant,
    ) -> Result<(), PeerError> {
        if self.dtls.role.is_none() {
            self.dtls.start(role, &remote.fingerprints)?;
        } else {
            // RFC 8445 section 9: who answers a restart has new credentials, too.
            self.ice.restart(now).map_err(unusable)?;
            self.gather(now);
        }
        // RFC 8445 section 6.1.1: who is lite is controlled.
        let controlling = controlling || remote.ice_lite;
        self.ice
            .start(controlling, (&remote.ufrag, &remote.pwd), now)?;
        for candidate in &remote.candidates {
            self.ice.add_remote(candidate);
        }
        self.tell();
        Ok(())
    }

    /// Credentials for an offer that restarts ICE.
    pub(super) fn prepare_restart(&mut self, now: Instant) -> Result<(), PeerError> {
        self.ice.prepare_restart().map_err(unusable)?;
        self.gather(now);
        self.tell();
        Ok(())
    }

    /// A candidate of the remote.
    pub(super) fn add_candidate(&mut self, candidate: &str) {
        self.ice.add_remote(candidate);
    }

    /// A datagram that came to socket `socket`.
    pub(super) fn read(&mut self, socket: usize, from: SocketAddr, data: &[u8], now: Instant) {
        let Some(local) = self.bases.get(socket).copied() else {
            return;
        };
        self.now = now;
        let mut route = Route {
            local,
            remote: from,
        };
        let handled = match &mut self.servers {
            Some(servers) => servers.handle(local, from, data, now),
            None => Handled::Not,
        };
        let data = match handled {
            Handled::Not => data,
            Handled::Taken => {
                self.flush_servers();
                return self.tell();
            }
            Handled::Relayed {
                relay,
                peer,
                payload,
            } => {
                route = Route {
                    local: relay,
                    remote: peer,
                };
                payload
            }
        };
        self.demultiplex(route, data, now);
    }

    /// RFC 7983.
    fn demultiplex(&mut self, route: Route, data: &[u8], now: Instant) {
        match data.first() {
            Some(0..=3) => {
                self.ice.read(route, data, now);
                self.went_over(now);
                self.after_ice(now);
            }
            // Of what is no STUN, nothing is taken from whom no check came, or went to.
            Some(20..=63) if self.ice.admits(route) => {
                let progress = self.dtls.read(data, now);
                if let Some(srtp) = progress.srtp {
                    self.keys(srtp, now);
                }
                self.read_data(progress.data, now);
                self.flush_dtls();
                self.tell();
            }
            Some(128..=191) if self.ice.admits(route) => {
                let authentic = self.read_media(data, now);
                if authentic {
                    self.ice.alive(route, now);
                    self.went_over(now);
                }
            }
            _ => {}
        }
    }

    /// `true`: it is the remote's.
    fn read_media(&mut self, data: &[u8], now: Instant) -> bool {
        let Some(srtp) = &mut self.srtp else {
            if self.early.len() < EARLY && self.dtls.role.is_some() {
                self.early.push_back(data.to_vec());
            }
            // overflow: DROPS: what is repaired is asked for again; it is seconds of a film.
            return false;
        };
        // RFC 5761 section 4.
        let is_rtcp = data.get(1).is_some_and(|kind| (192..=223).contains(kind));
        let media = &mut self.media;
        let read = if is_rtcp {
            let packets = srtp.open_rtcp(data);
            packets.map(|packets| media.read_rtcp(&packets, now))
        } else {
            let packet = srtp.open(data);
            packet.and_then(|(packet, wire)| media.read_rtp(packet, wire, now))
        };
        if let Err(error) = &read {
            log::trace!(target: "rswebrtc::peer", "not taken: {error}");
        }
        read.is_ok()
    }

    /// Gives what came of the streams.
    pub(super) fn hand_over(&mut self, handover: &mut Handover) {
        self.media.hand_over(handover);
    }

    /// The handshake is over.
    fn keys(&mut self, srtp: Srtp, now: Instant) {
        self.srtp = Some(srtp);
        for datagram in std::mem::take(&mut self.early) {
            self.read_media(&datagram, now);
        }
    }

    fn after_ice(&mut self, now: Instant) {
        if self.ice.update() {
            self.round_trips.clear();
            let round_trip = self.ice.round_trip(now);
            self.dtls.connected(round_trip, now);
            if let Some(servers) = &mut self.servers {
                servers.settle();
            }
        }
        while let Some((route, datagram)) = self.ice.poll_write() {
            self.send(route, &datagram);
        }
        self.flush_dtls();
        let stale = |at: Instant| now.saturating_duration_since(at) >= ROUND_TRIP;
        if self.ice.state == IceState::Connected && self.measured.is_none_or(stale) {
            self.measured = Some(now);
            if let Some(time) = self.ice.round_trip(now) {
                if self.round_trips.len() >= ROUND_TRIPS {
                    self.round_trips.pop_front();
                }
                self.round_trips.push_back(time);
                let least = self.round_trips.iter().min();
                self.shared.set_path_round_trip(*least.unwrap_or(&time));
            }
        }
        self.tell();
    }

    /// Whoever goes over to another network missed something, and may have been without for long.
    fn went_over(&mut self, now: Instant) {
        if !self.ice.went_over() {
            return;
        }
        self.round_trips.clear();
        for (index, line) in self.shared.lines().iter().enumerate() {
            if line.config.kind != MediaKind::Video {
                continue;
            }
            if line.config.direction != Direction::RecvOnly {
                self.shared.events.tell(PeerEvent::KeyFrameRequest(index));
            }
            if line.config.direction != Direction::SendOnly {
                self.shared
                    .request_key_frame_of((index, 0), now, Duration::ZERO);
            }
        }
    }

    /// DTLS waits for a way; flights that have none are repeated.
    pub(super) fn flush_dtls(&mut self) {
        while let Some(datagram) = self.dtls.out.pop_front() {
            if let Some(route) = self.ice.route {
                self.send(route, &datagram);
            }
        }
    }

    fn send(&mut self, route: Route, datagram: &[u8]) {
        match self.bases.iter().position(|base| *base == route.local) {
            Some(socket) => self.outbox.push(socket, route.remote, datagram),
            None => self.relay(route, datagram),
        }
    }

    /// Sends from an address that a server gave us.
    fn relay(&mut self, route: Route, datagram: &[u8]) {
        let Some(servers) = &mut self.servers else {
            return;
        };
        match servers.relay(route.local, route.remote, datagram, self.now) {
            Some(framed) => {
                if let Some(socket) = self.bases.iter().position(|base| *base == framed.base) {
                    self.outbox
                        .push_behind(socket, framed.to, &framed.header, datagram);
                }
            }
            None => self.flush_servers(),
        }
    }

    /// Sends what is for servers, and takes the candidates that they gave.
    fn flush_servers(&mut self) {
        let Some(servers) = &mut self.servers else {
            return;
        };
        while let Some(outgoing) = servers.poll_transmit() {
            if let Some(socket) = self.bases.iter().position(|base| *base == outgoing.base) {
                self.outbox.push(socket, outgoing.to, &outgoing.data);
            }
        }
        while let Some(found) = servers.poll_candidate() {
            let added = found.candidate().and_then(|c| self.ice.add_local(c));
            if let Err(error) = added {
                log::debug!(target: "rswebrtc::peer", "{found:?} is not used: {error}");
            }
        }
    }

    /// Takes from the media path what may leave by now. `true`: there may be more, for which the
    /// outbox has no room.
    pub(super) fn pump(&mut self) -> bool {
        let Some(route) = self.ice.route.filter(|_| !self.closed) else {
            return false;
        };
        let socket = self.bases.iter().position(|base| *base == route.local);
        while !self.outbox.is_full()
            && let Some(srtp) = &mut self.srtp
            && let Some(message) = self.media.poll_write()
        {
            let sealed = match &message.message.packet {
                Packet::Rtp(packet) => srtp.seal(packet),
                Packet::Rtcp(packets) => srtp.seal_rtcp(packets),
                _ => continue,
            };
            match (sealed, socket) {
                (Ok(datagram), Some(socket)) => {
                    self.outbox.push(socket, route.remote, &datagram);
                }
                (Ok(datagram), None) => self.relay(route, &datagram),
                (Err(error), _) => log::debug!(target: "rswebrtc::peer", "not sent: {error}"),
            }
        }
        self.srtp.is_some() && self.outbox.is_full()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if let Some(servers) = &mut self.servers
            && servers.poll_timeout().is_some_and(|due| now >= due)
        {
            servers.handle_timeout(now);
            self.flush_servers();
            self.tell();
        }
        if self.ice.poll_timeout().is_some_and(|due| now >= due) {
            self.ice.handle_timeout(now);
            self.after_ice(now);
        }
        if self.dtls.poll_timeout().is_some_and(|due| now >= due) {
            self.dtls.handle_timeout(now);
            self.flush_dtls();
            self.tell();
        }
        self.data_timeout(now);
        if self.srtp.is_some()
            && let Err(error) = self.media.handle_timeout(now)
        {
            log::debug!(target: "rswebrtc::peer", "media: {error}");
        }
    }

    /// When to come again, if nothing comes in.
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        let media = self.srtp.as_ref().and_then(|_| self.media.poll_timeout());
        // It is not asked before there is room, and would be due all the time.
        let media = media.filter(|_| !self.outbox.is_full());
        let servers = self.servers.as_ref().and_then(Servers::poll_timeout);
        let due = [
            self.ice.poll_timeout(),
            self.dtls.poll_timeout(),
            media,
            servers,
            self.sctp.as_ref().and_then(Sctp::poll_timeout),
        ];
        due.into_iter().flatten().min()
    }

    fn tell(&self) {
        let servers = self.servers.as_ref();
        let gathered = !self.awaits_servers && servers.is_none_or(Servers::is_gathered);
        let states = States {
            gathered: gathered || self.closed,
            problems: servers.map_or_else(Vec::new, |servers| servers.problems().to_vec()),
            ice: self.ice.state,
            dtls: self.dtls.state.clone(),
            first_heard: self.ice.first_heard,
            abandoned: self.abandoned,
        };
        self.states.send_if_modified(|known| {
            let changed = *known != states;
            *known = states;
            changed
        });
    }

    /// What it came to.
    pub(super) fn info(&self) -> TransportInfo {
        let Some(srtp) = &self.srtp else {
            return TransportInfo::default();
        };
        let (local_candidate, remote_candidate) = self.ice.pair.clone();
        let role = match self.dtls.role {
            Some(DtlsRole::Client) => "client",
            Some(DtlsRole::Server) => "server",
            None => "",
        };
        TransportInfo {
            local_candidate,
            remote_candidate,
            dtls_role: role.to_owned(),
            dtls_cipher: self.dtls.cipher(),
            dtls_version: "DTLS 1.2".to_owned(),
            srtp_profile: srtp.profile.to_owned(),
        }
    }

    /// Nobody will call any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = !self.closed;
        self.closed = true;
        self.end_data("the connection is lost");
        self.tell();
    }

    /// `true`: there is somebody to say BYE to, with what leaves next.
    pub(super) fn goodbye(&mut self) -> bool {
        let up = !self.closed && self.dtls.state == DtlsState::Up;
        lock(&self.shared.control).bye |= up;
        up
    }

    /// Says close_notify, and nothing more.
    pub(super) fn close(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.end_data("the call ended");
        self.dtls.close(now);
        self.flush_dtls();
        if let Some(servers) = &mut self.servers {
            servers.close(now);
        }
        self.flush_servers();
        self.ice.close();
        self.tell();
    }
}
