// SPDX-License-Identifier: MPL-2.0
//! ICE (RFC 8445): candidates, checks, and the pair that is in use.

mod nomination;
mod pace;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::ice::attributes::use_candidate::UseCandidateAttr;
use rtc::ice::candidate::candidate_host::CandidateHostConfig;
use rtc::ice::candidate::candidate_pair::CandidatePairState;
use rtc::ice::candidate::{Candidate, CandidateConfig, unmarshal_candidate};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::state::ConnectionState;
use rtc::ice::{Agent, AgentConfig, Event};
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};
use rtc::shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::Message;

use self::nomination::Nominations;
use self::pace::Pace;
use crate::peer::PeerError;

/// The remote sent nothing for this long: `Disconnected`.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(2);
/// Consent checks (RFC 7675), ...
const KEEPALIVE: Duration = Duration::from_millis(500);
/// ... and while media comes: it tells sooner that the remote is there. Not so long that an answer to a
/// check would come after [`DISCONNECTED_AFTER`] where media ends with the check before.
const KEEPALIVE_IN_MEDIA: Duration = Duration::from_secs(1);
/// For each pair in a round of checks: RFC 8445 section 14.2 allows no more than a check in 5 ms.
const PAIR: Duration = Duration::from_millis(5);
/// What follows from an answer is not to wait for the next round.
const SOON: Duration = Duration::from_millis(1);
/// However many pairs there are.
const LONGEST_ROUND: Duration = Duration::from_secs(2);
/// A pair through a NAT is taken no sooner than this after the checks began, and one through a relay
/// no sooner than that: a shorter way may still be found, and the pair that is taken stays.
const NAT_WAIT: Duration = Duration::from_millis(100);
const RELAY_WAIT: Duration = Duration::from_millis(500);
/// How often media counts as a sign of life.
const ALIVE: Duration = Duration::from_millis(200);
/// Candidates of a remote; what comes after them is not taken.
const MAX_REMOTE: usize = 64;

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::peer) enum IceState {
    #[default]
    New,
    Checking,
    Connected,
    /// Nothing comes any more.
    Disconnected,
}

/// Where datagrams leave from, and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// A socket of ours, or what a relay has for us.
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// See the module.
pub(super) struct Ice {
    agent: Agent,
    pace: Pace,
    next: Option<Instant>,
    last: Option<Instant>,
    pub(super) state: IceState,
    /// As last nominated; a restart leaves it until there is another.
    pub(super) route: Option<Route>,
    nominations: Nominations,
    /// `route` is another since [`Self::went_over`] was asked.
    followed: bool,
    /// `127.0.0.1:4000 host`, ours and the remote's.
    pub(super) pair: (String, String),
    /// When the first datagram came in after the checks began.
    pub(super) first_heard: Option<Instant>,
    started: bool,
    alive: Option<Instant>,
    /// Password that holds until [`Self::restart`], while another is prepared.
    former: Option<String>,
    provider: Arc<dyn RTCCryptoProvider>,
}

fn named(candidate: &Candidate) -> String {
    format!("{} {}", candidate.addr(), candidate.candidate_type())
}

impl Ice {
    pub(super) fn new(provider: Arc<dyn RTCCryptoProvider>, now: Instant) -> Result<Self> {
        let config = AgentConfig {
            // It never gives up by itself (zero): whether it is time to depends on people pasting
            // descriptions, see `watch`.
            failed_timeout: Some(Duration::ZERO),
            disconnected_timeout: Some(DISCONNECTED_AFTER),
            keepalive_interval: Some(KEEPALIVE),
            srflx_acceptance_min_wait: Some(NAT_WAIT),
            prflx_acceptance_min_wait: Some(NAT_WAIT),
            relay_acceptance_min_wait: Some(RELAY_WAIT),
            // The rounds are ours.
            check_interval: SOON,
            max_binding_requests: Some(u16::MAX),
            // A socket on port 5353 per call, for names that only the same network resolves; the
            // remote's own checks reach us without.
            multicast_dns_mode: MulticastDnsMode::Disabled,
            ..AgentConfig::default()
        };
        Ok(Self {
            agent: Agent::new(now, Arc::new(config), provider.clone())?,
            pace: Pace::default(),
            next: None,
            last: None,
            state: IceState::New,
            route: None,
            nominations: Nominations::default(),
            followed: false,
            pair: Default::default(),
            first_heard: None,
            started: false,
            alive: None,
            former: None,
            provider,
        })
    }

    /// A socket of ours.
    pub(super) fn add_host(&mut self, local: SocketAddr) -> Result<()> {
        let config = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: local.ip().to_string(),
                port: local.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        self.add_local(config.new_candidate_host()?)
    }

    /// Any candidate of ours.
    pub(super) fn add_local(&mut self, candidate: Candidate) -> Result<()> {
        self.agent.add_local_candidate(candidate).map(drop)
    }

    /// User name fragment and password; after [`Self::prepare_restart`] the new ones.
    pub(super) fn credentials(&self) -> (String, String) {
        let own = self.agent.get_local_credentials();
        (own.ufrag.clone(), own.pwd.clone())
    }

    /// Values of our `a=candidate`.
    pub(super) fn candidates(&self) -> Vec<String> {
        let candidates = self.agent.get_local_candidates().iter();
        candidates.map(Candidate::marshal).collect()
    }

    /// A candidate of the remote, as in `a=candidate:`, with or without that.
    pub(super) fn add_remote(&mut self, text: &str) {
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        // An empty one says that there are no more.
        if text.is_empty() || self.agent.get_remote_candidates().len() >= MAX_REMOTE {
            return;
        }
        let added = unmarshal_candidate(text).and_then(|mut candidate| {
            // Nothing can be sent there, and the kernel's refusal would be taken for that of offload.
            let ip = candidate.addr().ip();
            if candidate.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
                return Err(Error::ErrAddressParseFailed);
            }
            // Some stacks number components from 0, and all there is goes to ours.
            candidate.set_component(1);
            self.agent.add_remote_candidate(candidate)
        });
        if let Err(error) = added {
            log::debug!(target: "rswebrtc::peer", "candidate not used: {error}");
        }
    }

    /// Begins the checks, or begins them anew with what a restart brought.
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when the remote has no credentials.
    pub(super) fn start(
        &mut self,
        controlling: bool,
        (ufrag, pwd): (&str, &str),
        now: Instant,
    ) -> std::result::Result<(), PeerError> {
        if ufrag.is_empty() || pwd.is_empty() {
            let text = "it has no ICE credentials";
            return Err(PeerError::Description(text.to_owned()));
        }
        let controlling = if self.started {
            self.agent.role()
        } else {
            controlling
        };
        self.agent
            .start_connectivity_checks(now, controlling, ufrag.to_owned(), pwd.to_owned())
            .map_err(|error| PeerError::Description(error.to_string()))?;
        self.started = true;
        self.pace = Pace {
            since: Some(now),
            heard: None,
        };
        self.first_heard = None;
        self.next = Some(now);
        Ok(())
    }

    /// New credentials, which hold once [`Self::restart`] was called.
    pub(super) fn prepare_restart(&mut self) -> Result<()> {
        if !self.agent.has_pending_restart() {
            self.former = Some(self.agent.get_local_credentials().pwd.clone());
        }
        self.agent
            .generate_restart_credentials(String::new(), String::new())
    }

    /// Forgets all pairs but the one in use (RFC 8445 section 9).
    pub(super) fn restart(&mut self, now: Instant) -> Result<()> {
        if !self.agent.has_pending_restart() {
            self.prepare_restart()?;
        }
        self.former = None;
        self.nominations.forget();
        self.agent.apply_restart(now, true)
    }

    /// Whether what is no STUN may come this way: somebody there is a candidate of the remote's.
    pub(super) fn admits(&self, route: Route) -> bool {
        let known = || {
            let mut remote = self.agent.get_remote_candidates().iter();
            remote.any(|candidate| candidate.addr() == route.remote)
        };
        self.route == Some(route) || known()
    }

    /// Media of the remote's came this way: it is there, even if its checks are lost.
    pub(super) fn alive(&mut self, route: Route, now: Instant) {
        if self.route != Some(route) && self.nominations.brought(route, now) {
            self.follow(route, now);
        }
        if self
            .alive
            .is_none_or(|at| now.saturating_duration_since(at) >= ALIVE)
        {
            self.alive = Some(now);
            self.agent.is_valid_non_stun_traffic(now, context(route));
            self.seen(route, now);
        }
    }

    /// A request or media of the remote's came by `route`.
    fn seen(&mut self, route: Route, now: Instant) {
        if self.route == Some(route) {
            self.nominations.heard(now);
        }
        // The agent goes by the pair that it chose, and calls the remote silent when that is. Who checks
        // another one is there, and about to go over.
        let chosen = self.agent.get_selected_candidate_pair();
        let chosen = chosen.map(|(local, remote)| Route {
            local: local.base_addr(),
            remote: remote.addr(),
        });
        if let Some(chosen) = chosen.filter(|chosen| *chosen != route) {
            self.agent.is_valid_non_stun_traffic(now, context(chosen));
        }
    }

    /// A request came by `route`, which `nominates` it.
    fn nominated(&mut self, nominates: bool, route: Route, now: Instant) {
        let another = self.route.is_some_and(|used| used != route);
        if nominates && another && !self.agent.role() && self.nominations.nominated(route, now) {
            self.follow(route, now);
        }
    }

    /// Takes `route`, if an answer to a check of ours came by it.
    fn follow(&mut self, route: Route, now: Instant) {
        let Some(names) = self.valid_pair(route, now) else {
            return;
        };
        log::info!(target: "rswebrtc::peer", "the remote goes over to {} - {}", names.0, names.1);
        self.route = Some(route);
        self.pair = names;
        self.nominations.changed(now);
        self.followed = true;
    }

    /// Whether another pair is in use than before, since this was last asked. What left meanwhile is lost.
    pub(super) fn went_over(&mut self) -> bool {
        std::mem::take(&mut self.followed)
    }

    /// The candidates of a pair that is in the valid list (RFC 8445 section 7.2.5.3.2).
    fn valid_pair(&self, route: Route, now: Instant) -> Option<(String, String)> {
        let local = self.agent.get_local_candidates().iter();
        let local = local.filter(|candidate| candidate.base_addr() == route.local);
        let mut remote = self.agent.get_remote_candidates().iter();
        let remote = remote.find(|candidate| candidate.addr() == route.remote)?;
        let pairs = self.agent.get_candidate_pairs_stats(now);
        let mut local = local.filter(|local| {
            pairs.iter().any(|pair| {
                pair.state == CandidatePairState::Succeeded
                    && pair.local_candidate_id == local.id()
                    && pair.remote_candidate_id == remote.id()
            })
        });
        Some((named(local.next()?), named(remote)))
    }

    /// The remote was heard.
    fn heard(&mut self, now: Instant) {
        if self.state == IceState::Checking {
            self.pace.heard = Some(now);
            self.first_heard.get_or_insert(now);
        }
    }

    /// A STUN message.
    pub(super) fn read(&mut self, route: Route, data: &[u8], now: Instant) {
        const REQUEST: &[u8] = &[0x00, 0x01];
        let mut request = None;
        if data.starts_with(REQUEST) {
            request = self.nominates(route, data);
            if request.is_none() {
                return;
            }
        }
        let message = TransportMessage {
            now,
            transport: context(route),
            message: BytesMut::from(data),
        };
        match self.agent.handle_read(message) {
            Ok(()) => {
                self.heard(now);
                if let Some(nominates) = request {
                    self.seen(route, now);
                    self.nominated(nominates, route, now);
                }
            }
            Err(error) => {
                log::debug!(target: "rswebrtc::peer", "STUN from {}: {error}", route.remote);
            }
        }
        // Whom an answer makes a pair is nominated now, and not with the next round.
        const SUCCESS: &[u8] = &[0x01, 0x01];
        if data.starts_with(SUCCESS) && self.state == IceState::Checking {
            let soon = self.last.map_or(now, |last| (last + SOON).max(now));
            self.next = self.next.map(|next| next.min(soon));
        }
    }

    /// Whether a request nominates its pair; `None`: it is not to be read. It is of somebody who knows our
    /// password. The agent looks at roles before it looks at that (RFC 8445 section 7.3 has it the other
    /// way), so that anybody could change ours; and it takes any number of addresses.
    fn nominates(&self, route: Route, data: &[u8]) -> Option<bool> {
        if self.agent.get_remote_candidates().len() >= MAX_REMOTE && !self.admits(route) {
            return None;
        }
        let mut message = Message {
            raw: data.to_vec(),
            ..Message::default()
        };
        message.decode().ok()?;
        let own = self.agent.get_local_credentials();
        let mut passwords = [self.former.as_deref(), Some(own.pwd.as_str())]
            .into_iter()
            .flatten();
        let crypto = self.provider.crypto();
        passwords
            .any(|pwd| MessageIntegrity::check(&mut message, pwd.as_bytes(), crypto).is_ok())
            .then(|| UseCandidateAttr::is_set(&message))
    }

    /// What is to leave.
    pub(super) fn poll_write(&mut self) -> Option<(Route, BytesMut)> {
        let message = self.agent.poll_write()?;
        let route = Route {
            local: message.transport.local_addr,
            remote: message.transport.peer_addr,
        };
        Some((route, message.message))
    }

    /// Takes up what the agent found. `true`: there is a pair that was not there before.
    pub(super) fn update(&mut self) -> bool {
        let mut found = false;
        while let Some(tagged) = self.agent.poll_event() {
            match tagged.event {
                Event::ConnectionStateChange(state) => self.state = ice_state(state),
                Event::SelectedCandidatePairChange(local, remote) => {
                    self.route = Some(Route {
                        local: local.base_addr(),
                        remote: remote.addr(),
                    });
                    self.pair = (named(&local), named(&remote));
                    found = true;
                }
                _ => {}
            }
        }
        found
    }

    /// Of the pair in use, as last measured.
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        let pairs = self.agent.get_candidate_pairs_stats(now).into_iter();
        let times = pairs.filter(|pair| pair.nominated);
        let times = times.map(|pair| pair.current_round_trip_time);
        let least = times.filter(|time| *time > 0.0).reduce(f64::min)?;
        Duration::try_from_secs_f64(least).ok()
    }

    /// When the next round is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_none_or(|due| now < due) {
            return;
        }
        if let Err(error) = self.agent.handle_timeout(now) {
            log::debug!(target: "rswebrtc::peer", "ICE: {error}");
        }
        self.last = Some(now);
        let wait = if matches!(self.agent.state(), ConnectionState::Checking) {
            let remote = self.agent.get_remote_candidates().len();
            let pairs = self.agent.get_local_candidates().len() * remote;
            let pairs = u32::try_from(pairs).unwrap_or(u32::MAX);
            let all = PAIR.saturating_mul(pairs).min(LONGEST_ROUND);
            self.pace.shortest(now).max(all)
        } else if self.has_media(now) {
            KEEPALIVE_IN_MEDIA
        } else {
            KEEPALIVE
        };
        self.next = Some(now + wait);
    }

    /// Whether media came a moment ago.
    fn has_media(&self, now: Instant) -> bool {
        let came = |at| now.saturating_duration_since(at) < KEEPALIVE;
        self.alive.is_some_and(came)
    }

    pub(super) fn close(&mut self) {
        let _ = self.agent.close();
        self.next = None;
    }
}

fn context(route: Route) -> TransportContext {
    TransportContext {
        local_addr: route.local,
        peer_addr: route.remote,
        transport_protocol: TransportProtocol::UDP,
        ecn: None,
    }
}

fn ice_state(state: ConnectionState) -> IceState {
    match state {
        ConnectionState::Checking => IceState::Checking,
        ConnectionState::Connected | ConnectionState::Completed => IceState::Connected,
        ConnectionState::Disconnected | ConnectionState::Failed | ConnectionState::Closed => {
            IceState::Disconnected
        }
        _ => IceState::New,
    }
}
