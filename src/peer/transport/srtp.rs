// SPDX-License-Identifier: MPL-2.0
//! SRTP and SRTCP (RFC 3711, RFC 7714) with the keys of a DTLS handshake (RFC 5764).

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCrypto;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as Negotiated;
use rtc::dtls::state::State;
use rtc::rtcp;
use rtc::rtp;
use rtc::shared::error::{Error, Result};
use rtc::shared::marshal::{Marshal, MarshalSize, Unmarshal};
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::replay::Replay;

/// The highest numbers of packets (RFC 3711 sections 3.3.1 and 3.4).
const SRTP_NUMBERS: u64 = 0xffff;
const SRTCP_NUMBERS: u64 = 0x7fff_ffff;

/// SSRCs that were never authentic, and those that were: for each a kilobyte is kept, before anything
/// is looked at.
const MOST_TRIED: usize = 256;
const MOST_KNOWN: usize = 4096;

/// What is offered and taken, best first: AES-GCM costs a fraction of HMAC-SHA1.
pub(super) const PROFILES: [Negotiated; 4] = [
    Negotiated::Srtp_Aead_Aes_128_Gcm,
    Negotiated::Srtp_Aead_Aes_256_Gcm,
    Negotiated::Srtp_Aes128_Cm_Hmac_Sha1_80,
    Negotiated::Srtp_Aes128_Cm_Hmac_Sha1_32,
];

fn profile(negotiated: Negotiated) -> Result<(ProtectionProfile, &'static str)> {
    Ok(match negotiated {
        Negotiated::Srtp_Aead_Aes_128_Gcm => {
            (ProtectionProfile::AeadAes128Gcm, "SRTP_AEAD_AES_128_GCM")
        }
        Negotiated::Srtp_Aead_Aes_256_Gcm => {
            (ProtectionProfile::AeadAes256Gcm, "SRTP_AEAD_AES_256_GCM")
        }
        Negotiated::Srtp_Aes128_Cm_Hmac_Sha1_80 => (
            ProtectionProfile::Aes128CmHmacSha1_80,
            "SRTP_AES128_CM_HMAC_SHA1_80",
        ),
        Negotiated::Srtp_Aes128_Cm_Hmac_Sha1_32 => (
            ProtectionProfile::Aes128CmHmacSha1_32,
            "SRTP_AES128_CM_HMAC_SHA1_32",
        ),
        _ => return Err(Error::ErrNoSuchSrtpProfile),
    })
}

/// Both directions of one call.
pub(super) struct Srtp {
    ours: Context,
    theirs: Context,
    /// Its name in RFC 5764 and RFC 7714.
    pub(super) profile: &'static str,
    plain: Vec<u8>,
    /// SSRCs of the remote's that were authentic, and others.
    known: HashSet<u32>,
    /// The last one that was: packets come in runs.
    last: Option<u32>,
    tried: HashSet<u32>,
}

impl Srtp {
    /// With the keys of a finished handshake.
    pub(super) fn new(state: &State, crypto: &dyn RTCCrypto) -> Result<Self> {
        let (profile, name) = profile(state.srtp_protection_profile())?;
        let mut config = Config {
            profile,
            ..Default::default()
        };
        let material = state.export_keying_material(
            LABEL_EXTRACTOR_DTLS_SRTP,
            &[],
            config.keying_material_len(),
        )?;
        config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
        let keys = &config.keys;
        let ours = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto,
        )?;
        let theirs = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(Box::new(|| Box::new(Replay::new(SRTP_NUMBERS)))),
            Some(Box::new(|| Box::new(Replay::new(SRTCP_NUMBERS)))),
            crypto,
        )?;
        Ok(Self {
            ours,
            theirs,
            profile: name,
            plain: Vec::new(),
            known: HashSet::new(),
            last: None,
            tried: HashSet::new(),
        })
    }

    /// `packet` as it goes out.
    pub(super) fn seal(&mut self, packet: &rtp::Packet) -> Result<BytesMut> {
        self.plain.resize(packet.marshal_size(), 0);
        let size = packet.marshal_to(&mut self.plain)?;
        let plain = self.plain.get(..size).unwrap_or_default();
        self.ours.encrypt_rtp_with_header(plain, &packet.header)
    }

    /// A compound packet as it goes out.
    pub(super) fn seal_rtcp(&mut self, packets: &[Box<dyn rtcp::Packet>]) -> Result<BytesMut> {
        let plain = rtcp::packet::marshal(packets)?;
        self.ours.encrypt_rtcp(&plain)
    }

    /// Whether a packet of `ssrc` may be looked at.
    fn admit(&mut self, ssrc: u32) -> Result<()> {
        if self.last == Some(ssrc) || self.known.contains(&ssrc) {
            return Ok(());
        }
        if self.known.len() >= MOST_KNOWN || self.tried.len() >= MOST_TRIED {
            return Err(Error::Other("too many SSRCs".to_owned()));
        }
        self.tried.insert(ssrc);
        Ok(())
    }

    fn authentic(&mut self, ssrc: u32) {
        if self.last == Some(ssrc) {
            return;
        }
        if self.tried.remove(&ssrc) {
            self.known.insert(ssrc);
        }
        self.last = Some(ssrc);
    }

    /// What came in as `data`, and all of it in one piece, unless there is padding, which is off here.
    /// It shares the memory of what was decrypted.
    pub(super) fn open(&mut self, data: &[u8]) -> Result<(rtp::Packet, Option<Bytes>)> {
        let header = rtp::Header::unmarshal(&mut &*data)?;
        self.admit(header.ssrc)?;
        let plain = self.theirs.decrypt_rtp_with_header(data, &header)?.freeze();
        self.authentic(header.ssrc);
        let start = header.marshal_size();
        if start > plain.len() {
            return Err(Error::ErrShortPacket);
        }
        let mut payload = plain.slice(start..);
        if header.padding {
            // RFC 3550 section 5.1: the last byte counts the padding, itself included.
            let padding = payload.last().copied().map_or(0, usize::from);
            if padding == 0 || padding > payload.len() {
                return Err(Error::ErrShortPacket);
            }
            payload.truncate(payload.len() - padding);
        }
        let wire = Some(plain).filter(|_| !header.padding);
        Ok((rtp::Packet { header, payload }, wire))
    }

    /// The compound packet that came in as `data`.
    pub(super) fn open_rtcp(&mut self, data: &[u8]) -> Result<Vec<Box<dyn rtcp::Packet>>> {
        // RFC 3550 section 6.4: behind the first four bytes.
        let ssrc = data.get(4..8).and_then(|ssrc| ssrc.try_into().ok());
        let ssrc = ssrc.map(u32::from_be_bytes).ok_or(Error::ErrShortPacket)?;
        self.admit(ssrc)?;
        let plain = self.theirs.decrypt_rtcp(data)?;
        self.authentic(ssrc);
        rtcp::packet::unmarshal(&mut &plain[..])
    }
}
