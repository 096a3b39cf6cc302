// SPDX-License-Identifier: MPL-2.0
//! DTLS (RFC 6347, RFC 5763): the handshake, its repetitions, and the keys that come of it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc::dtls::config::{
    ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig,
    VerifyPeerCertificateFn,
};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::shared::TransportProtocol;
use rtc::shared::error::{Error, Result};

use super::records::Records;
use super::srtp::{PROFILES, Srtp};
use crate::peer::PeerError;

/// DTLS runs over whatever ICE finds: to it there is one remote, always the same.
const REMOTE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65535));
/// A flight that is not answered is repeated after this time, or what the round trip asks for, and
/// then each time after twice as long. (RFC 6347 section 4.2.4.1 has a second, for want of ICE, which
/// has measured the path. rtc-dtls itself repeats in equal steps, seven times.)
const FLIGHT: Duration = Duration::from_millis(100);
/// The longest time between two repetitions.
const LONGEST_FLIGHT: Duration = Duration::from_millis(1600);

/// Which end of the handshake we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::peer) enum DtlsRole {
    Client,
    Server,
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::peer) enum DtlsState {
    #[default]
    New,
    Up,
    /// Why.
    Failed(&'static str),
    /// The remote said close_notify.
    Closed,
}

/// See the module.
pub(super) struct Dtls {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    /// Value of our `a=fingerprint` (RFC 8122).
    pub(super) fingerprint: String,
    pub(super) role: Option<DtlsRole>,
    pub(super) state: DtlsState,
    endpoint: Option<Endpoint>,
    /// The client's, until it may begin.
    ready: Option<Arc<HandshakeConfig>>,
    /// The remote's certificate is not the described one.
    mismatch: Arc<AtomicBool>,
    /// What the path asks for beyond [`FLIGHT`].
    slack: Duration,
    repetitions: u32,
    flight: Flight,
    records: Records,
    pub(super) out: VecDeque<BytesMut>,
}

/// Our last flight, to repeat it where rtc-dtls 0.21 does not: any handshake message that comes, such
/// as the ClientHello that a client repeats because our answer was lost, clears its timer, and only a
/// message that it waits for sets it again. Both ends then wait for good. Records that are sent twice
/// are what a replay check (RFC 6347 section 4.1.2.6) is for; those that were lost are new to it.
#[derive(Default)]
struct Flight {
    datagrams: Vec<BytesMut>,
    sent: Option<Instant>,
}

/// What came of a datagram.
#[derive(Default)]
pub(super) struct Progress {
    /// The handshake is over.
    pub(super) srtp: Option<Srtp>,
    /// Application data: packets of SCTP.
    pub(super) data: Vec<BytesMut>,
}

fn fingerprint(provider: &dyn RTCCryptoProvider, certificate: &[u8]) -> Result<String> {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, certificate);
    let hash = hash.map_err(|error| Error::Crypto(error.to_string()))?;
    let bytes: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(bytes.join(":"))
}

impl Dtls {
    /// With a certificate of its own (RFC 8827 section 6.5: one a call).
    pub(super) fn new(provider: Arc<dyn RTCCryptoProvider>) -> Result<Self> {
        let names = vec!["WebRTC".to_owned()];
        let certificate = Certificate::generate_self_signed(names, provider.crypto())?;
        let own = certificate
            .certificate
            .first()
            .ok_or(Error::ErrNonCertificate)?;
        let fingerprint = format!("sha-256 {}", fingerprint(&*provider, own)?);
        Ok(Self {
            provider,
            certificate,
            fingerprint,
            role: None,
            state: DtlsState::New,
            endpoint: None,
            ready: None,
            mismatch: Arc::default(),
            slack: Duration::ZERO,
            repetitions: 0,
            flight: Flight::default(),
            records: Records::default(),
            out: VecDeque::new(),
        })
    }

    /// Takes `role`, with a remote whose certificate has one of `fingerprints` (values of
    /// `a=fingerprint`).
    ///
    /// # Errors
    ///
    /// [`PeerError::Description`] when there is none that can be compared.
    pub(super) fn start(
        &mut self,
        role: DtlsRole,
        fingerprints: &[String],
    ) -> std::result::Result<(), PeerError> {
        let known: Vec<String> = fingerprints
            .iter()
            .filter_map(|value| value.split_once(' '))
            .filter(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha-256"))
            .map(|(_, value)| value.trim().to_ascii_uppercase())
            .collect();
        if known.is_empty() {
            let text = "it has no SHA-256 fingerprint of the certificate";
            return Err(PeerError::Description(text.to_owned()));
        }
        let config = self.config(role, known);
        let config = config.map_err(|error| PeerError::Dtls(error.to_string()))?;
        let server = (role == DtlsRole::Server).then(|| config.clone());
        self.ready = (role == DtlsRole::Client).then_some(config);
        self.endpoint = Some(Endpoint::new(REMOTE, TransportProtocol::UDP, server));
        self.role = Some(role);
        Ok(())
    }

    fn config(&self, role: DtlsRole, known: Vec<String>) -> Result<Arc<HandshakeConfig>> {
        let (provider, mismatch) = (self.provider.clone(), self.mismatch.clone());
        let verify: VerifyPeerCertificateFn = Arc::new(move |certificates, _| {
            let remote = certificates.first().ok_or(Error::ErrNonCertificate)?;
            if known.contains(&fingerprint(&*provider, remote)?) {
                return Ok(());
            }
            mismatch.store(true, Ordering::Release);
            Err(Error::ErrNoMatchingCertificateFingerprint)
        });
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(PROFILES.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // The fingerprint says whose certificate it is, no authority does.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(verify))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(FLIGHT)
            .build(role == DtlsRole::Client, None)?;
        Ok(Arc::new(config))
    }

    /// ICE has a pair, with this round trip: a client begins.
    pub(super) fn connected(&mut self, round_trip: Option<Duration>, now: Instant) {
        let wanted = round_trip.map_or(FLIGHT, |time| time * 2 + FLIGHT / 2);
        self.slack = wanted.min(LONGEST_FLIGHT).saturating_sub(FLIGHT);
        if let (Some(endpoint), Some(config)) = (&mut self.endpoint, self.ready.take())
            && let Err(error) = endpoint.connect(now, REMOTE, config, None)
        {
            log::debug!(target: "rswebrtc::peer", "DTLS: {error}");
            self.state = DtlsState::Failed("it cannot begin");
        }
        self.collect(now);
    }

    fn collect(&mut self, now: Instant) -> bool {
        let before = self.out.len();
        if let Some(endpoint) = &mut self.endpoint {
            while let Some(transmit) = endpoint.poll_transmit() {
                self.out.push_back(transmit.message);
            }
        }
        let any = self.out.len() > before;
        if self.state != DtlsState::New {
            self.flight = Flight::default();
        } else if any {
            self.flight = Flight {
                datagrams: self.out.iter().skip(before).cloned().collect(),
                sent: Some(now),
            };
        }
        any
    }

    /// A datagram of the remote.
    pub(super) fn read(&mut self, data: &[u8], now: Instant) -> Progress {
        let mut progress = Progress::default();
        let Some(endpoint) = &mut self.endpoint else {
            return progress;
        };
        let contents = self.records.look(data, self.state == DtlsState::Up);
        if self.state == DtlsState::Closed || !contents.admitted {
            return progress;
        }
        match endpoint.read(now, REMOTE, None, BytesMut::from(data)) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => progress.srtp = self.complete(),
                        // Whoever was refused closes, too: that explains nothing.
                        EndpointEvent::PeerClosed
                            if !matches!(self.state, DtlsState::Failed(_)) =>
                        {
                            self.state = DtlsState::Closed;
                        }
                        EndpointEvent::ApplicationData(packet) => progress.data.push(packet),
                        _ => {}
                    }
                }
            }
            Err(error) => {
                log::debug!(target: "rswebrtc::peer", "DTLS: {error}");
                self.failed(contents.fatal);
            }
        }
        if self.collect(now) {
            self.repetitions = 0;
        }
        progress
    }

    /// Garbage is no failure: anybody can send it.
    fn failed(&mut self, refused: bool) {
        if self.state != DtlsState::New {
            return;
        }
        if self.mismatch.load(Ordering::Acquire) {
            self.state = DtlsState::Failed("the remote's certificate is not the one described");
        } else if refused {
            self.state = DtlsState::Failed(
                "the remote refused it; most likely our certificate is not the one described",
            );
        }
    }

    fn complete(&mut self) -> Option<Srtp> {
        let state = self.endpoint.as_ref()?.get_connection_state(REMOTE)?;
        match Srtp::new(state, self.provider.crypto()) {
            Ok(srtp) => {
                self.state = DtlsState::Up;
                Some(srtp)
            }
            Err(error) => {
                log::debug!(target: "rswebrtc::peer", "SRTP: {error}");
                self.state = DtlsState::Failed("no SRTP profile is known to both sides");
                None
            }
        }
    }

    /// The cipher suite, once there is one.
    pub(super) fn cipher(&self) -> String {
        let endpoint = self.endpoint.as_ref();
        let state = endpoint.and_then(|endpoint| endpoint.get_connection_state(REMOTE));
        let suite = state.and_then(|state| state.cipher_suite());
        suite.map(|suite| suite.to_string()).unwrap_or_default()
    }

    /// When a flight is to be repeated.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let wait = (FLIGHT + self.slack) * 2u32.saturating_pow(self.repetitions);
        let wait = wait.min(LONGEST_FLIGHT);
        match self.endpoint.as_ref()?.poll_timeout(&REMOTE) {
            Some(timer) => Some(timer + wait.saturating_sub(FLIGHT)),
            None if self.state == DtlsState::New => Some(self.flight.sent? + wait),
            None => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        self.repetitions += 1;
        let timer = self.endpoint.as_ref().and_then(|e| e.poll_timeout(&REMOTE));
        if timer.is_none() {
            self.flight.sent = Some(now);
            self.out.extend(self.flight.datagrams.iter().cloned());
            return;
        }
        if let Some(endpoint) = &mut self.endpoint
            && let Err(error) = endpoint.handle_timeout(REMOTE, now)
        {
            log::debug!(target: "rswebrtc::peer", "DTLS: {error}");
            if self.state == DtlsState::New {
                self.state = DtlsState::Failed("the remote does not answer it");
            }
        }
        self.collect(now);
    }

    /// Encrypts application data.
    pub(super) fn write(&mut self, data: &[u8], now: Instant) {
        if self.state == DtlsState::Up
            && let Some(endpoint) = &mut self.endpoint
            && let Err(error) = endpoint.write(now, REMOTE, data)
        {
            log::debug!(target: "rswebrtc::peer", "DTLS: {error}");
        }
        self.collect(now);
    }

    /// Says close_notify (RFC 5246 section 7.2.1).
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint {
            let _ = endpoint.close(now);
        }
        self.collect(now);
    }
}

#[cfg(test)]
mod tests;
