// SPDX-License-Identifier: MPL-2.0
//! STUN messages as clients of a server write and read them (RFC 8489, RFC 8656).

use std::net::SocketAddr;

use rtc::crypto::RTCCrypto;
use rtc::shared::error::Error;
use rtc::stun::attributes::{
    ATTR_DATA, ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME,
    AttrType,
};
use rtc::stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, Message,
    MessageType, Method, Setter, TransactionId, is_stun_message,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;

const HEADER: usize = 20;
/// Of a realm or a nonce, bytes (RFC 8489 sections 14.9 and 14.10).
const MAX_TEXT: usize = 763;

/// What signs requests: the long-term credential (RFC 8489 section 9.2).
pub(super) struct Credential {
    username: String,
    realm: String,
    nonce: String,
    key: Vec<u8>,
}

impl Credential {
    /// From the realm and the nonce of a server's 401.
    ///
    /// # Errors
    ///
    /// The answer lacks one of them, or has one that cannot be.
    pub(super) fn new(
        username: &str,
        password: &str,
        challenge: &Message,
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, Error> {
        let realm = text(challenge, ATTR_REALM)?;
        let key = MessageIntegrity::long_term_integrity_key(
            username.to_owned(),
            realm.clone(),
            password.to_owned(),
            crypto,
        )?;
        Ok(Self {
            username: username.to_owned(),
            realm,
            nonce: text(challenge, ATTR_NONCE)?,
            key,
        })
    }

    /// Takes the nonce of a 438; `false`: it has none.
    pub(super) fn renew(&mut self, challenge: &Message) -> bool {
        match text(challenge, ATTR_NONCE) {
            Ok(nonce) => {
                self.nonce = nonce;
                true
            }
            Err(_) => false,
        }
    }

    /// Whether `answer` was signed by somebody who knows the password.
    pub(super) fn signed(&self, answer: &Message, crypto: &dyn RTCCrypto) -> bool {
        // The check writes the length that was signed, and then the real one again.
        let mut answer = answer.clone();
        MessageIntegrity::check(&mut answer, &self.key, crypto).is_ok()
    }
}

fn text(message: &Message, attribute: AttrType) -> Result<String, Error> {
    let found = TextAttribute::get_from_as(message, attribute)?.text;
    if found.len() > MAX_TEXT {
        return Err(Error::Other(format!(
            "{attribute} of {} bytes",
            found.len()
        )));
    }
    Ok(found)
}

/// A request with `attributes`, signed if there is a credential.
///
/// # Errors
///
/// Something in it is longer than STUN has room for.
pub(super) fn request<'a>(
    method: Method,
    attributes: Vec<Box<dyn Setter + 'a>>,
    credential: Option<&'a Credential>,
    crypto: &'a dyn RTCCrypto,
) -> Result<Message, Error> {
    let mut setters = start(method, true);
    setters.extend(attributes);
    if let Some(credential) = credential {
        let texts = [
            (ATTR_USERNAME, &credential.username),
            (ATTR_REALM, &credential.realm),
            (ATTR_NONCE, &credential.nonce),
        ];
        for (attribute, text) in texts {
            setters.push(Box::new(TextAttribute::new(attribute, text.clone())));
        }
        setters.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(
            credential.key.clone(),
            crypto,
        )));
    }
    setters.push(Box::new(FINGERPRINT));
    build(&setters)
}

/// An indication with `attributes`: neither signed nor answered.
///
/// # Errors
///
/// Something in it is longer than STUN has room for.
pub(super) fn indication(
    method: Method,
    attributes: Vec<Box<dyn Setter + '_>>,
) -> Result<Message, Error> {
    let mut setters = start(method, false);
    setters.extend(attributes);
    build(&setters)
}

fn start<'a>(method: Method, is_request: bool) -> Vec<Box<dyn Setter + 'a>> {
    let class = if is_request {
        CLASS_REQUEST
    } else {
        CLASS_INDICATION
    };
    vec![
        Box::new(TransactionId::new()),
        Box::new(MessageType::new(method, class)),
    ]
}

fn build(setters: &[Box<dyn Setter + '_>]) -> Result<Message, Error> {
    let mut message = Message::new();
    message.build(setters)?;
    // The length field has 16 bits.
    if message.raw.len() > usize::from(u16::MAX) {
        return Err(Error::Other("the message is too long".to_owned()));
    }
    Ok(message)
}

/// What a datagram may be to us.
pub(super) enum Kind {
    /// An answer, to be matched by its transaction.
    Answer,
    /// An indication that something came from a peer.
    Indication,
    /// Not STUN, or for ICE.
    Other,
}

/// Looks at the header only.
pub(super) fn kind(data: &[u8]) -> Kind {
    let Some(&[high, low]) = data.first_chunk() else {
        return Kind::Other;
    };
    if high > 3 || !is_stun_message(data) {
        return Kind::Other;
    }
    let mut typ = MessageType::default();
    typ.read_value(u16::from_be_bytes([high, low]));
    match typ.class {
        CLASS_SUCCESS_RESPONSE | CLASS_ERROR_RESPONSE => Kind::Answer,
        CLASS_INDICATION => Kind::Indication,
        _ => Kind::Other,
    }
}

/// Reads a datagram; `None`: it is broken.
pub(super) fn read(data: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(data).ok()?;
    let has_fingerprint = message.contains(ATTR_FINGERPRINT);
    (!has_fingerprint || FINGERPRINT.check(&message).is_ok()).then_some(message)
}

/// The code of an error response; one without is 0.
pub(super) fn error_code(message: &Message) -> Option<ErrorCode> {
    (message.typ.class == CLASS_ERROR_RESPONSE).then(|| {
        let mut code = ErrorCodeAttribute::default();
        match code.get_from(message) {
            Ok(()) => code.code,
            Err(_) => ErrorCode::default(),
        }
    })
}

/// Whether an answer claims to be signed.
pub(super) fn has_integrity(message: &Message) -> bool {
    message.contains(ATTR_MESSAGE_INTEGRITY)
}

/// An address that something can be sent to.
pub(super) fn address(message: &Message, attribute: AttrType) -> Option<SocketAddr> {
    let mut found = XorMappedAddress::default();
    found.get_from_as(message, attribute).ok()?;
    let address = SocketAddr::new(found.ip, found.port);
    let usable = !address.ip().is_unspecified() && !address.ip().is_multicast();
    (usable && address.port() != 0).then_some(address)
}

/// The DATA attribute of `message`, where it lies: [`Message`] would copy it twice.
pub(super) fn data(message: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(*message.get(2..)?.first_chunk()?));
    let mut rest = message.get(HEADER..HEADER + length)?;
    loop {
        let (&[kind_high, kind_low, high, low], tail) = rest.split_first_chunk()?;
        let size = usize::from(u16::from_be_bytes([high, low]));
        if u16::from_be_bytes([kind_high, kind_low]) == ATTR_DATA.0 {
            return tail.get(..size);
        }
        rest = tail.get(size.next_multiple_of(4)..)?;
    }
}
