// SPDX-License-Identifier: MPL-2.0
//! A relayed address from a TURN server, and what goes through it (RFC 8656).
//!
//! The crate's own client is not used: an answer "stale nonce" to the renewal of a channel makes
//! it ask for a second channel to the same peer, which servers refuse, and it neither repeats a
//! refresh in time nor looks whether an answer is signed. Its messages and attributes are.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCrypto;
use rtc::shared::error::Error;
use rtc::stun::attributes::{
    ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS,
};
use rtc::stun::error_code::{
    CODE_ALLOC_MISMATCH, CODE_STALE_NONCE, CODE_UNAUTHORIZED, CODE_WRONG_CREDENTIALS, ErrorCode,
};
use rtc::stun::message::{
    Getter, METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, Setter, TransactionId,
};
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::Lifetime;

use super::client::{Event, refusal};
use super::message::{self, Credential};
use super::peers::{Peers, Permit, RENEWAL, State as Word};
use super::port::Port;
use super::request::{Request, peer_attribute};
use super::resolve::Server;
use super::transaction::{LIFETIME, Step, Transaction};

/// A refresh begins so long before the end of an allocation: longer than its retransmissions.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);
/// No server makes us refresh more often.
const MIN_REFRESH: Duration = Duration::from_secs(1);
/// Nor can one make us trust that it keeps an allocation for longer.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// Times in a row that a server may find a nonce stale.
const MAX_CHALLENGES: u32 = 3;
/// Channel number and length.
pub(super) const CHANNEL_HEADER: usize = 4;

/// What calls need of their surroundings.
pub(super) struct Context<'a> {
    pub(super) server: &'a Server,
    pub(super) crypto: &'a dyn RTCCrypto,
    pub(super) now: Instant,
    pub(super) port: Port<'a>,
}

/// An allocation: asked for, there, or gone.
pub(super) struct Allocation {
    state: State,
    credential: Option<Credential>,
    pending: Vec<Pending>,
    peers: Peers,
}

enum State {
    Asking { limit: Instant },
    Live(Live),
    Gone,
}

/// An address at the server.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) relayed: SocketAddr,
    /// How the server sees us.
    pub(super) mapped: Option<SocketAddr>,
    refresh_at: Instant,
    renew_at: Instant,
}

struct Pending {
    request: Request,
    transaction: Transaction,
    challenges: u32,
}

impl Allocation {
    /// Asks for a relayed address from `start` until `limit`.
    ///
    /// # Errors
    ///
    /// What is wrong with the request.
    pub(super) fn new(
        start: Instant,
        limit: Instant,
        context: &mut Context,
    ) -> Result<Self, String> {
        let mut allocation = Self {
            state: State::Asking { limit },
            credential: None,
            pending: Vec::new(),
            peers: Peers::default(),
        };
        allocation
            .ask(Request::Allocate, 0, start, context)
            .map_err(|error| error.to_string())?;
        Ok(allocation)
    }

    pub(super) fn is_gathering(&self) -> bool {
        matches!(self.state, State::Asking { .. })
    }

    /// What the server gave, while it lasts.
    pub(super) fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Live(live) => Some(live),
            State::Asking { .. } | State::Gone => None,
        }
    }

    pub(super) fn hasten(&mut self, earlier: Instant) {
        if let State::Asking { limit } = &mut self.state {
            *limit = earlier.min(*limit);
            for pending in &mut self.pending {
                pending.transaction.hasten(earlier);
            }
        }
    }

    pub(super) fn awaits(&self, id: TransactionId) -> bool {
        self.pending.iter().any(|p| p.transaction.id() == id)
    }

    fn ask(
        &mut self,
        request: Request,
        challenges: u32,
        start: Instant,
        context: &mut Context,
    ) -> Result<(), Error> {
        let attributes = request.attributes(context.port.base);
        let credential = self.credential.as_ref();
        let message = message::request(request.method(), attributes, credential, context.crypto)?;
        let limit = match self.state {
            State::Asking { limit } => limit,
            State::Live(_) | State::Gone => context.now + LIFETIME,
        };
        let mut transaction = Transaction::new(message, start, limit);
        if transaction.step(context.now) == Step::Send {
            context.port.put(transaction.bytes());
        }
        self.pending.push(Pending {
            request,
            transaction,
            challenges,
        });
        Ok(())
    }

    /// The answer to one of our requests: see [`Self::awaits`].
    pub(super) fn answer(&mut self, answer: &Message, context: &mut Context) -> Option<Event> {
        let id = answer.transaction_id;
        let index = self
            .pending
            .iter()
            .position(|p| p.transaction.id() == id && p.request.method() == answer.typ.method)?;
        let code = message::error_code(answer);
        if let Some(credential) = &self.credential {
            // Errors may come unsigned: a server that forgot us knows no key.
            let has_integrity = message::has_integrity(answer);
            if (has_integrity || code.is_none()) && !credential.signed(answer, context.crypto) {
                log::debug!(target: "rswebrtc::peer", "{}: an answer that it did not sign", context.server.url);
                return None;
            }
        }
        let Pending {
            request,
            challenges,
            ..
        } = self.pending.swap_remove(index);
        match code {
            None => self.granted(request, answer, context),
            Some(CODE_UNAUTHORIZED) if self.credential.is_none() => {
                let server = context.server;
                let made =
                    Credential::new(&server.username, &server.credential, answer, context.crypto);
                match made {
                    Ok(credential) => self.credential = Some(credential),
                    Err(error) => return self.lost(format!("its challenge is broken: {error}")),
                }
                self.ask_again(request, challenges, context)
            }
            Some(CODE_STALE_NONCE) if challenges < MAX_CHALLENGES => {
                let renewed = self.credential.as_mut().is_some_and(|c| c.renew(answer));
                if !renewed {
                    return self.refused(request, CODE_STALE_NONCE, context);
                }
                self.ask_again(request, challenges + 1, context)
            }
            Some(code) => self.refused(request, code, context),
        }
    }

    fn ask_again(
        &mut self,
        request: Request,
        challenges: u32,
        context: &mut Context,
    ) -> Option<Event> {
        match self.ask(request, challenges, context.now, context) {
            Ok(()) => None,
            Err(error) => self.lost(format!("the request cannot be written: {error}")),
        }
    }

    fn granted(&mut self, request: Request, answer: &Message, context: &Context) -> Option<Event> {
        match request {
            Request::Allocate => self.allocated(answer, context.now),
            Request::Refresh => {
                let refresh_at = context.now + refresh_after(answer)?;
                if let State::Live(live) = &mut self.state {
                    live.refresh_at = refresh_at;
                }
                None
            }
            Request::Permit(ips) => {
                self.peers.set_permissions(&ips, Word::Granted);
                None
            }
            Request::Bind(_, number) => {
                self.peers.set_channel(number, Word::Granted);
                None
            }
        }
    }

    fn allocated(&mut self, answer: &Message, now: Instant) -> Option<Event> {
        let address = message::address(answer, ATTR_XOR_RELAYED_ADDRESS);
        let (Some(relayed), Some(lifetime)) = (address, refresh_after(answer)) else {
            return self.lost("its answer has no relayed address".to_owned());
        };
        let mapped = message::address(answer, ATTR_XORMAPPED_ADDRESS);
        self.state = State::Live(Live {
            relayed,
            mapped,
            refresh_at: now + lifetime,
            renew_at: now + RENEWAL,
        });
        Some(Event::Found)
    }

    fn refused(
        &mut self,
        request: Request,
        code: ErrorCode,
        context: &mut Context,
    ) -> Option<Event> {
        match request {
            Request::Allocate | Request::Refresh => self.lost(refusal(code)),
            _ if [
                CODE_ALLOC_MISMATCH,
                CODE_UNAUTHORIZED,
                CODE_WRONG_CREDENTIALS,
            ]
            .contains(&code) =>
            {
                self.lost(refusal(code))
            }
            // One of them is forbidden: which?
            Request::Permit(ips) if ips.len() > 1 => ips
                .into_iter()
                .find_map(|ip| self.ask_again(Request::Permit(vec![ip]), 0, context)),
            Request::Permit(ips) => {
                log::info!(
                    target: "rswebrtc::peer", "{}: does not relay to {ips:?} (error {})", context.server.url, code.0
                );
                self.peers.set_permissions(&ips, Word::Refused);
                None
            }
            Request::Bind(peer, number) => {
                log::debug!(
                    target: "rswebrtc::peer", "{}: no channel to {peer} (error {})", context.server.url, code.0
                );
                self.no_channel(peer, number);
                None
            }
        }
    }

    /// What is for `peer` goes in indications, which need a permission of their own.
    fn no_channel(&mut self, peer: SocketAddr, number: u16) {
        self.peers.set_channel(number, Word::Refused);
        self.peers.forget(&[peer.ip()]);
    }

    /// It never was there, or is no more.
    fn lost(&mut self, why: String) -> Option<Event> {
        let was_live = self.live().is_some();
        self.state = State::Gone;
        self.pending.clear();
        self.peers = Peers::default();
        Some(if was_live {
            Event::Lost(why)
        } else {
            Event::Refused(why)
        })
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.iter().map(|p| p.transaction.deadline());
        let timers = self.live().map(|live| live.refresh_at.min(live.renew_at));
        pending.chain(timers).min()
    }

    pub(super) fn handle_timeout(&mut self, context: &mut Context) -> Option<Event> {
        let mut index = 0;
        while let Some(pending) = self.pending.get_mut(index) {
            match pending.transaction.step(context.now) {
                Step::Wait => index += 1,
                Step::Send => {
                    context.port.put(pending.transaction.bytes());
                    index += 1;
                }
                Step::GiveUp => {
                    let request = self.pending.swap_remove(index).request;
                    if let Some(event) = self.unanswered(&request) {
                        return Some(event);
                    }
                }
            }
        }
        let State::Live(live) = &mut self.state else {
            return None;
        };
        let (refresh, renew) = (live.refresh_at <= context.now, live.renew_at <= context.now);
        if refresh {
            // Its answer says when the next one is due.
            live.refresh_at = context.now + LIFETIME * 2;
        }
        if renew {
            live.renew_at = context.now + RENEWAL;
        }
        if refresh && let Some(event) = self.ask_again(Request::Refresh, 0, context) {
            return Some(event);
        }
        if !renew {
            return None;
        }
        let (permissions, channels) = self.peers.renewal(context.now);
        let permissions = Some(Request::Permit(permissions))
            .filter(|p| matches!(p, Request::Permit(ips) if !ips.is_empty()));
        let channels = channels
            .into_iter()
            .map(|(peer, number)| Request::Bind(peer, number));
        permissions
            .into_iter()
            .chain(channels)
            .find_map(|request| self.ask_again(request, 0, context))
    }

    fn unanswered(&mut self, request: &Request) -> Option<Event> {
        match request {
            Request::Allocate => {
                self.state = State::Gone;
                Some(Event::Silent)
            }
            Request::Refresh => self.lost("it stopped answering".to_owned()),
            Request::Permit(ips) => {
                self.peers.forget(ips);
                None
            }
            Request::Bind(peer, number) => {
                self.no_channel(*peer, *number);
                None
            }
        }
    }

    /// What goes before `length` bytes for `peer`, once there is a channel (RFC 8656 section
    /// 12.4). Padding is for streams.
    pub(super) fn channel_header(
        &self,
        peer: SocketAddr,
        length: usize,
    ) -> Option<[u8; CHANNEL_HEADER]> {
        let [high, low] = self.peers.channel(peer)?.to_be_bytes();
        let [length_high, length_low] = u16::try_from(length).ok()?.to_be_bytes();
        Some([high, low, length_high, length_low])
    }

    /// Sends `data` to `peer` without a channel, and asks for one if it is not for ICE: then it is
    /// the pair that was chosen.
    pub(super) fn indicate(
        &mut self,
        peer: SocketAddr,
        data: &[u8],
        context: &mut Context,
    ) -> Option<Event> {
        let live = self.live()?;
        if live.relayed.is_ipv4() != peer.is_ipv4() {
            return None;
        }
        match self.peers.permit(peer.ip(), context.now) {
            Permit::Denied => return None,
            Permit::Given => {}
            // The packet follows at once: it overtakes the permission rarely, and ICE repeats it.
            Permit::Ask => {
                let request = Request::Permit(vec![peer.ip()]);
                if let Some(event) = self.ask_again(request, 0, context) {
                    return Some(event);
                }
            }
        }
        let is_stun = data.first().is_none_or(|first| *first <= 3);
        if !is_stun
            && let Some(number) = self.peers.new_channel(peer)
            && let Some(event) = self.ask_again(Request::Bind(peer, number), 0, context)
        {
            return Some(event);
        }
        let attributes = vec![
            peer_attribute(peer),
            Box::new(Data(data.to_vec())) as Box<dyn Setter>,
        ];
        match message::indication(METHOD_SEND, attributes) {
            Ok(message) => context.port.put(&message.raw),
            Err(error) => log::debug!(target: "rswebrtc::peer", "not relayed: {error}"),
        }
        None
    }

    /// What came over a channel.
    pub(super) fn channel_data<'a>(&self, data: &'a [u8]) -> Option<(SocketAddr, &'a [u8])> {
        self.live()?;
        let (&[high, low, length_high, length_low], payload) = data.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let peer = self.peers.peer(u16::from_be_bytes([high, low]))?;
        Some((peer, payload.get(..length)?))
    }

    /// What came without a channel.
    pub(super) fn data<'a>(&self, data: &'a [u8]) -> Option<(SocketAddr, &'a [u8])> {
        self.live()?;
        let message = message::read(data)?;
        let peer = message::address(&message, ATTR_XOR_PEER_ADDRESS)?;
        let wanted = message.typ.method == METHOD_DATA && self.peers.permits(peer.ip());
        wanted
            .then(|| message::data(data))
            .flatten()
            .map(|payload| (peer, payload))
    }

    /// Gives the address back. One datagram: nobody waits for the answer.
    pub(super) fn close(&mut self, context: &mut Context) {
        if self.live().is_some() {
            let attributes: Vec<Box<dyn Setter>> = vec![Box::new(Lifetime(Duration::ZERO))];
            let credential = self.credential.as_ref();
            match message::request(METHOD_REFRESH, attributes, credential, context.crypto) {
                Ok(message) => context.port.put(&message.raw),
                Err(error) => log::debug!(target: "rswebrtc::peer", "not given back: {error}"),
            }
        }
        self.state = State::Gone;
        self.pending.clear();
    }
}

/// When to refresh what lasts as long as `answer` says; `None`: it does not, or it is over.
fn refresh_after(answer: &Message) -> Option<Duration> {
    let mut lifetime = Lifetime::default();
    lifetime.get_from(answer).ok()?;
    let lifetime = lifetime.0.min(MAX_LIFETIME);
    (!lifetime.is_zero()).then(|| {
        let late = lifetime.saturating_sub(REFRESH_AHEAD);
        late.max(lifetime / 2).max(MIN_REFRESH)
    })
}
