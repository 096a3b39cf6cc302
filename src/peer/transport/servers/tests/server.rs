// SPDX-License-Identifier: MPL-2.0
//! A STUN and TURN server as a model: what RFC 8489 and RFC 8656 ask of one, on the test's clock.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::{
    ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use rtc::stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter,
    METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA,
    METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::Lifetime;

use super::address;

pub(super) const USER: &str = "user";
pub(super) const PASSWORD: &str = "password";
const REALM: &str = "example.org";
pub(super) const RELAYED: &str = "198.51.100.1:50000";
pub(super) const MAPPED: &str = "203.0.113.99:61000";
const PERMISSION: Duration = Duration::from_secs(300);
const CHANNEL: Duration = Duration::from_secs(600);

pub(super) struct ModelServer {
    crypto: std::sync::Arc<dyn RTCCryptoProvider>,
    key: Vec<u8>,
    /// What it allocates.
    pub(super) relayed: SocketAddr,
    /// How long allocations last.
    pub(super) lifetime: Duration,
    /// How long a nonce is good.
    pub(super) nonce_lifetime: Duration,
    /// Answers that method with that error.
    pub(super) refuse: Option<(Method, u16)>,
    /// Does not relay to it.
    pub(super) forbidden: Option<IpAddr>,
    /// Answers are signed with a wrong key.
    pub(super) forges: bool,
    pub(super) expires: Option<Instant>,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
    started: Instant,
    /// What reached peers: peer, payload, whether over a channel.
    pub(super) delivered: Vec<(SocketAddr, Vec<u8>, bool)>,
    pub(super) requests: Vec<Method>,
    pub(super) stale: usize,
    pub(super) keepalives: usize,
    pub(super) dropped: usize,
}

impl ModelServer {
    pub(super) fn new(started: Instant) -> Self {
        let crypto = rtc::crypto::default_provider().unwrap();
        let key = MessageIntegrity::long_term_integrity_key(
            USER.to_owned(),
            REALM.to_owned(),
            PASSWORD.to_owned(),
            crypto.crypto(),
        );
        Self {
            key: key.unwrap(),
            crypto,
            relayed: address(RELAYED),
            lifetime: Duration::from_secs(600),
            nonce_lifetime: Duration::from_secs(86_400),
            refuse: None,
            forbidden: None,
            forges: false,
            expires: None,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            started,
            delivered: Vec::new(),
            requests: Vec::new(),
            stale: 0,
            keepalives: 0,
            dropped: 0,
        }
    }

    fn nonce(&self, now: Instant) -> String {
        let age = (now - self.started).as_secs() / self.nonce_lifetime.as_secs();
        format!("nonce{age}")
    }

    pub(super) fn is_allocated(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| now < at)
    }

    fn is_permitted(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.get(&ip).is_some_and(|at| now < *at)
    }

    /// A peer sends to the relayed address; `None`: it is not let through.
    pub(super) fn sent_by(&self, peer: &str, data: &[u8], now: Instant) -> Option<Vec<u8>> {
        let peer = address(peer);
        if !self.is_allocated(now) || !self.is_permitted(peer.ip(), now) {
            return None;
        }
        let mut bound = self.channels.iter();
        if let Some((number, _)) = bound.find(|(_, (p, at))| *p == peer && now < *at) {
            let length = u16::try_from(data.len()).unwrap();
            let header = [number.to_be_bytes(), length.to_be_bytes()].concat();
            return Some([&header[..], data].concat());
        }
        Some(data_indication(peer, data))
    }

    /// What it answers to `data`.
    pub(super) fn handle(&mut self, from: SocketAddr, data: &[u8], now: Instant) -> Vec<Vec<u8>> {
        if (0x40..=0x4f).contains(&data[0]) {
            self.channel_data(data, now);
            return vec![];
        }
        let mut message = Message::new();
        message.unmarshal_binary(data).unwrap();
        if message.typ.class == CLASS_INDICATION {
            self.indication(&message, now);
            return vec![];
        }
        assert_eq!(message.typ.class, CLASS_REQUEST);
        FINGERPRINT.check(&message).unwrap();
        self.requests.push(message.typ.method);
        vec![self.request(from, message, now)]
    }

    fn channel_data(&mut self, data: &[u8], now: Instant) {
        let number = u16::from_be_bytes([data[0], data[1]]);
        let length = usize::from(u16::from_be_bytes([data[2], data[3]]));
        match self.channels.get(&number) {
            Some((peer, at)) if now < *at && self.is_allocated(now) => {
                self.delivered
                    .push((*peer, data[4..4 + length].to_vec(), true));
            }
            _ => self.dropped += 1,
        }
    }

    fn indication(&mut self, message: &Message, now: Instant) {
        if message.typ.method == METHOD_BINDING {
            self.keepalives += 1;
            return;
        }
        assert_eq!(message.typ.method, METHOD_SEND);
        let peer = peer_of(message);
        let mut data = Data::default();
        data.get_from(message).unwrap();
        if self.is_allocated(now) && self.is_permitted(peer.ip(), now) {
            self.delivered.push((peer, data.0, false));
        } else {
            self.dropped += 1;
        }
    }

    fn request(&mut self, from: SocketAddr, mut message: Message, now: Instant) -> Vec<u8> {
        let method = message.typ.method;
        if let Some((refused, code)) = self.refuse
            && refused == method
            && (code != 438 || self.stale < 2)
        {
            self.stale += usize::from(code == 438);
            return self.refusal(&message, code, now);
        }
        if method == METHOD_BINDING {
            return self.answer(&message, vec![Box::new(mapped(from))], false);
        }
        if !message.contains(ATTR_MESSAGE_INTEGRITY)
            || MessageIntegrity::check(&mut message, &self.key, self.crypto.crypto()).is_err()
        {
            return self.refusal(&message, 401, now);
        }
        let nonce = TextAttribute::get_from_as(&message, ATTR_NONCE).unwrap();
        if nonce.text != self.nonce(now) {
            self.stale += 1;
            return self.refusal(&message, 438, now);
        }
        if method != METHOD_ALLOCATE && !self.is_allocated(now) {
            return self.refusal(&message, 437, now);
        }
        self.authorised(from, &message, now)
    }

    fn authorised(&mut self, from: SocketAddr, message: &Message, now: Instant) -> Vec<u8> {
        match message.typ.method {
            METHOD_ALLOCATE => {
                self.expires = Some(now + self.lifetime);
                let relayed = Relayed(self.relayed);
                let lifetime = Lifetime(self.lifetime);
                let attributes: Vec<Box<dyn Setter>> = vec![
                    Box::new(relayed),
                    Box::new(lifetime),
                    Box::new(mapped(from)),
                ];
                self.answer(message, attributes, true)
            }
            METHOD_REFRESH => {
                let mut asked = Lifetime(self.lifetime);
                let _ = asked.get_from(message);
                let granted = asked.0.min(self.lifetime);
                self.expires = (!granted.is_zero()).then(|| now + granted);
                self.answer(message, vec![Box::new(Lifetime(granted))], true)
            }
            METHOD_CREATE_PERMISSION => {
                let peers = peers_of(message);
                if peers.iter().any(|peer| Some(peer.ip()) == self.forbidden) {
                    return self.refusal(message, 403, now);
                }
                for peer in peers {
                    self.permissions.insert(peer.ip(), now + PERMISSION);
                }
                self.answer(message, vec![], true)
            }
            METHOD_CHANNEL_BIND => {
                let peer = peer_of(message);
                let mut number = ChannelNumber::default();
                number.get_from(message).unwrap();
                assert!((0x4000..=0x4fff).contains(&number.0));
                // RFC 8656 section 12.2: neither may be bound otherwise.
                let other = self
                    .channels
                    .iter()
                    .any(|(n, (p, at))| now < *at && ((*n == number.0) != (*p == peer)));
                if other {
                    return self.refusal(message, 400, now);
                }
                self.channels.insert(number.0, (peer, now + CHANNEL));
                self.permissions.insert(peer.ip(), now + PERMISSION);
                self.answer(message, vec![], true)
            }
            other => panic!("{other} is no request"),
        }
    }

    fn refusal(&self, message: &Message, code: u16, now: Instant) -> Vec<u8> {
        let error = ErrorCodeAttribute {
            code: ErrorCode(code),
            reason: b"no".to_vec(),
        };
        let mut attributes: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(message.transaction_id),
            Box::new(MessageType::new(message.typ.method, CLASS_ERROR_RESPONSE)),
            Box::new(error),
        ];
        if matches!(code, 401 | 438) {
            attributes.push(Box::new(TextAttribute::new(ATTR_REALM, REALM.to_owned())));
            attributes.push(Box::new(TextAttribute::new(ATTR_NONCE, self.nonce(now))));
        }
        attributes.push(Box::new(FINGERPRINT));
        build(&attributes)
    }

    fn answer(&self, message: &Message, more: Vec<Box<dyn Setter>>, signed: bool) -> Vec<u8> {
        let mut attributes: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(message.transaction_id),
            Box::new(MessageType::new(message.typ.method, CLASS_SUCCESS_RESPONSE)),
        ];
        attributes.extend(more);
        if signed {
            let key = if self.forges {
                vec![0; 16]
            } else {
                self.key.clone()
            };
            attributes.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(
                key,
                self.crypto.crypto(),
            )));
        }
        attributes.push(Box::new(FINGERPRINT));
        build(&attributes)
    }
}

/// Every client is behind the same NAT.
fn mapped(_from: SocketAddr) -> XorMappedAddress {
    let mapped = address(MAPPED);
    XorMappedAddress {
        ip: mapped.ip(),
        port: mapped.port(),
    }
}

struct Relayed(SocketAddr);

impl Setter for Relayed {
    fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
        xor(self.0).add_to_as(message, ATTR_XOR_RELAYED_ADDRESS)
    }
}

struct Peer(SocketAddr);

impl Setter for Peer {
    fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
        xor(self.0).add_to_as(message, ATTR_XOR_PEER_ADDRESS)
    }
}

fn xor(address: SocketAddr) -> XorMappedAddress {
    XorMappedAddress {
        ip: address.ip(),
        port: address.port(),
    }
}

/// What a server sends that has something from `peer`.
pub(super) fn data_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    build(&[
        Box::new(TransactionId::new()),
        Box::new(MessageType::new(METHOD_DATA, CLASS_INDICATION)),
        Box::new(Peer(peer)),
        Box::new(Data(data.to_vec())),
    ])
}

fn build(attributes: &[Box<dyn Setter + '_>]) -> Vec<u8> {
    let mut message = Message::new();
    message.build(attributes).unwrap();
    message.raw
}

fn peer_of(message: &Message) -> SocketAddr {
    peers_of(message)[0]
}

fn peers_of(message: &Message) -> Vec<SocketAddr> {
    let attributes = message.attributes.0.iter();
    attributes
        .filter(|a| a.typ == ATTR_XOR_PEER_ADDRESS)
        .map(|a| {
            let mut one = Message::new();
            one.transaction_id = message.transaction_id;
            one.attributes.0.push(a.clone());
            let mut found = XorMappedAddress::default();
            found.get_from_as(&one, ATTR_XOR_PEER_ADDRESS).unwrap();
            SocketAddr::new(found.ip, found.port)
        })
        .collect()
}
