// SPDX-License-Identifier: MPL-2.0
//! The peer on webrtc; the only place that builds a `PeerConnection`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::peer_connection::transport::{RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidateInit};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use webrtc::peer_connection::transport::DtlsTransport;
use webrtc::peer_connection::{PeerConnection, PeerConnectionBuilder, RTCSessionDescription};

use super::description::{self, Own, Setup};
use super::handler::{Handler, States};
use super::outbound::{Drained, Pushed};
use super::runtime::PeerRuntime;
use super::shared::{EVENT_CAPACITY, Shared, lock, random};
use super::watch::Role;
use super::{
    Direction, Peer, PeerConfig, PeerError, PeerEvent, PeerFactory, StreamStats, TransportInfo,
    engine, stats, watch as watching,
};
use crate::media::codec::Codec;
use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::OutboundFrame;

/// Host candidates are there at once; a STUN server may not answer.
const GATHERING: Duration = Duration::from_secs(5);
/// For the BYE to leave.
const GOODBYE: Duration = Duration::from_millis(100);
/// For webrtc to close.
const CLOSING: Duration = Duration::from_millis(300);
/// Candidates that may come before the description they belong to.
const MAX_EARLY_CANDIDATES: usize = 64;
/// Between two looks while draining.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// Builds peers on webrtc.
#[derive(Debug, Default, Clone, Copy)]
pub struct WebRtcPeerFactory;

#[async_trait::async_trait]
impl PeerFactory for WebRtcPeerFactory {
    async fn create(
        &self,
        config: PeerConfig,
    ) -> Result<(Arc<dyn Peer>, mpsc::Receiver<PeerEvent>), PeerError> {
        let (peer, events) = WebRtcPeer::new(config)?;
        Ok((Arc::new(peer), events))
    }
}

/// A [`Peer`]. The connection is built with the first description: which end of DTLS to take can
/// be told only then.
pub(super) struct WebRtcPeer {
    pub(super) shared: Arc<Shared>,
    config: PeerConfig,
    cname: String,
    runtime: tokio::runtime::Handle,
    stage: Mutex<Stage>,
}

enum Stage {
    New { early: Vec<RTCIceCandidateInit> },
    Building,
    Up(Arc<Link>),
    Closed,
}

/// A connection with its watcher.
pub(super) struct Link {
    connection: Box<dyn PeerConnection>,
    states: watch::Receiver<States>,
    watcher: Mutex<Option<JoinHandle<()>>>,
    /// `Some` until the remote description is applied.
    early: Mutex<Option<Vec<RTCIceCandidateInit>>>,
}

impl Link {
    /// `None` before the descriptions are there.
    pub(super) async fn dtls_state(&self) -> Option<RTCDtlsTransportState> {
        self.transport().await?.state().await.ok()
    }

    async fn transport(&self) -> Option<Arc<dyn DtlsTransport>> {
        for sender in self.connection.get_senders().await {
            if let Ok(Some(transport)) = sender.transport().await {
                return Some(transport);
            }
        }
        None
    }

    /// Our description with all candidates.
    async fn gathered(&self) -> Result<String, PeerError> {
        let mut states = self.states.clone();
        let complete = states.wait_for(|states| states.gathered);
        if tokio::time::timeout(GATHERING, complete).await.is_err() {
            log::debug!(target: "rswebrtc::peer", "gathering is late: going on with what there is");
        }
        let description = self.connection.local_description().await;
        description.map(|d| d.sdp).ok_or(PeerError::Closed)
    }

    async fn apply_early_candidates(&self) {
        let early = lock(&self.early).take().unwrap_or_default();
        for candidate in early {
            if let Err(error) = self.connection.add_ice_candidate(candidate).await {
                log::debug!(target: "rswebrtc::peer", "candidate not used: {error}");
            }
        }
    }

    async fn close(&self, shared: &Shared) {
        if let Some(watcher) = lock(&self.watcher).take() {
            watcher.abort();
        }
        if self.states.borrow().connection
            == webrtc::peer_connection::RTCPeerConnectionState::Connected
        {
            lock(&shared.control).bye = true;
            shared.nudge.wake();
            let _ = tokio::time::timeout(GOODBYE, shared.bye_sent.notified()).await;
        }
        shared.nudge.calm();
        match tokio::time::timeout(CLOSING, self.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!(target: "rswebrtc::peer", "while closing: {error}"),
            Err(_) => log::debug!(target: "rswebrtc::peer", "closing takes too long"),
        }
    }
}

/// webrtc quotes what it cannot read; a password is not to end up in a message.
fn refused(error: webrtc::error::Error) -> PeerError {
    let text = error.to_string();
    if ["ice-pwd", "ice-ufrag"]
        .iter()
        .any(|secret| text.contains(secret))
    {
        return PeerError::Description("its ICE credentials cannot be read".to_owned());
    }
    PeerError::Description(text.chars().take(200).collect())
}

impl WebRtcPeer {
    pub(super) fn new(config: PeerConfig) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        if config.addresses.is_empty() {
            return Err(PeerError::Socket("none is given".to_owned()));
        }
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        let peer = Self {
            shared: Arc::new(Shared::new(config.streams.clone(), sender)),
            config,
            cname: format!("{:016x}", random()),
            runtime: tokio::runtime::Handle::current(),
            stage: Mutex::new(Stage::New { early: Vec::new() }),
        };
        Ok((peer, events))
    }

    /// Builds the connection, which is done once.
    async fn build(&self, role: RTCDtlsRole) -> Result<Arc<Link>, PeerError> {
        let early = {
            let mut stage = lock(&self.stage);
            match std::mem::replace(&mut *stage, Stage::Building) {
                Stage::New { early } => early,
                other => {
                    let closed = matches!(other, Stage::Closed);
                    *stage = other;
                    return Err(if closed {
                        PeerError::Closed
                    } else {
                        PeerError::Description("a peer negotiates once".to_owned())
                    });
                }
            }
        };
        let (handler, states) = Handler::new();
        let addresses: Vec<SocketAddr> = self
            .config
            .addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, 0))
            .collect();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(engine::configuration(&self.config.ice_servers))
            .with_media_engine(engine::media_engine(&self.config.streams)?)
            .with_setting_engine(engine::settings(role))
            .with_interceptor_registry(engine::interceptors(self.shared.clone()))
            .with_runtime(Arc::new(PeerRuntime::new(self.shared.nudge.clone())))
            .with_handler(Arc::new(handler))
            .with_udp_addrs(addresses)
            .build()
            .await
            .map_err(|error| PeerError::Socket(error.to_string()))?;
        let link = Arc::new(Link {
            connection: Box::new(connection),
            states,
            watcher: Mutex::new(None),
            early: Mutex::new(Some(early)),
        });
        let closed = {
            let mut stage = lock(&self.stage);
            let closed = matches!(*stage, Stage::Closed);
            if !closed {
                *stage = Stage::Up(link.clone());
            }
            closed
        };
        if closed {
            link.close(&self.shared).await;
            return Err(PeerError::Closed);
        }
        Ok(link)
    }

    /// The m-lines as webrtc sees them, see [`description::incoming`].
    async fn add_lines(&self, link: &Link) -> Result<(), PeerError> {
        for (index, stream) in self.config.streams.iter().enumerate() {
            let Some(codec) = stream.codecs.first() else {
                continue;
            };
            let (ssrc, _) = self.shared.outbound.ssrcs(index);
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendrecv,
                streams: vec![],
                send_encodings: vec![engine::encoding(codec, ssrc)],
            };
            let kind = engine::kind_of(stream.kind);
            link.connection
                .add_transceiver_from_kind(kind, Some(init))
                .await
                .map_err(refused)?;
        }
        Ok(())
    }

    fn link(&self) -> Result<Arc<Link>, PeerError> {
        match &*lock(&self.stage) {
            Stage::Up(link) => Ok(link.clone()),
            Stage::Closed => Err(PeerError::Closed),
            Stage::New { .. } | Stage::Building => {
                Err(PeerError::Description("there is no offer yet".to_owned()))
            }
        }
    }

    fn outgoing(&self, text: &str) -> String {
        let streams = &self.config.streams;
        let own = Own {
            streams,
            ssrcs: (0..streams.len())
                .map(|index| self.shared.outbound.ssrcs(index))
                .collect(),
            cname: &self.cname,
        };
        description::outgoing(text, &own)
    }

    /// Notes what both sides agreed on.
    fn agreed(&self, answer: &str, remote: &str) {
        let negotiated = description::negotiated(answer, remote);
        for (index, stream) in negotiated.iter().enumerate() {
            if let Some(id) = stream.mid_extension {
                self.shared.outbound.set_mid(index, id, &stream.mid);
            }
        }
        if self.shared.negotiated.set(negotiated).is_err() {
            log::debug!(target: "rswebrtc::peer", "negotiated twice");
        }
    }

    fn start_watching(&self, link: &Arc<Link>, role: Role) {
        let run = watching::run(
            self.shared.clone(),
            Arc::downgrade(link),
            link.states.clone(),
            role,
        );
        *lock(&link.watcher) = Some(tokio::spawn(run));
    }

    /// RFC 8842 section 5.3; where the choice is ours, a sender becomes the DTLS client, which has
    /// its keys last, so that nothing it sends comes too early.
    fn answering_role(&self, offer: &str) -> RTCDtlsRole {
        let sends = (0..self.config.streams.len()).any(|index| self.shared.sends(index));
        match description::setup(offer) {
            Setup::Active => RTCDtlsRole::Server,
            Setup::Passive => RTCDtlsRole::Client,
            Setup::Either if sends => RTCDtlsRole::Client,
            Setup::Either => RTCDtlsRole::Server,
        }
    }
}

#[async_trait::async_trait]
impl Peer for WebRtcPeer {
    async fn create_offer(&self) -> Result<String, PeerError> {
        let link = self.build(RTCDtlsRole::Auto).await?;
        self.add_lines(&link).await?;
        let offer = link.connection.create_offer(None).await.map_err(refused)?;
        link.connection
            .set_local_description(offer)
            .await
            .map_err(refused)?;
        Ok(self.outgoing(&link.gathered().await?))
    }

    async fn answer(&self, offer: String) -> Result<String, PeerError> {
        let role = self.answering_role(&offer);
        self.shared
            .dtls_server
            .store(role == RTCDtlsRole::Server, Ordering::Release);
        let link = self.build(role).await?;
        self.add_lines(&link).await?;
        let remote =
            RTCSessionDescription::offer(description::incoming(&offer)).map_err(refused)?;
        link.connection
            .set_remote_description(remote)
            .await
            .map_err(refused)?;
        let answer = link.connection.create_answer(None).await.map_err(refused)?;
        self.shared.nudge.checks_started();
        link.connection
            .set_local_description(answer)
            .await
            .map_err(refused)?;
        link.apply_early_candidates().await;
        let answer = self.outgoing(&link.gathered().await?);
        self.agreed(&answer, &offer);
        self.start_watching(&link, Role::Answerer);
        Ok(answer)
    }

    async fn set_answer(&self, answer: String) -> Result<(), PeerError> {
        let link = self.link()?;
        let remote =
            RTCSessionDescription::answer(description::incoming(&answer)).map_err(refused)?;
        let server = description::setup(&answer) == Setup::Active;
        self.shared.dtls_server.store(server, Ordering::Release);
        self.agreed(&answer, &answer);
        self.shared.nudge.checks_started();
        link.connection
            .set_remote_description(remote)
            .await
            .map_err(refused)?;
        link.apply_early_candidates().await;
        self.start_watching(&link, Role::Offerer);
        Ok(())
    }

    async fn add_candidate(
        &self,
        candidate: String,
        mid: Option<String>,
        mline_index: Option<u16>,
    ) -> Result<(), PeerError> {
        let candidate = RTCIceCandidateInit {
            candidate,
            sdp_mid: mid,
            sdp_mline_index: mline_index,
            ..Default::default()
        };
        if let Stage::New { early } = &mut *lock(&self.stage) {
            if early.len() < MAX_EARLY_CANDIDATES {
                early.push(candidate);
            }
            return Ok(());
        }
        let link = self.link()?;
        if let Some(early) = &mut *lock(&link.early) {
            if early.len() < MAX_EARLY_CANDIDATES {
                early.push(candidate);
            }
            return Ok(());
        }
        link.connection
            .add_ice_candidate(candidate)
            .await
            .map_err(refused)
    }

    fn set_send_codec(&self, index: usize, codec: Codec) {
        self.shared.outbound.set_codec(index, codec);
        self.shared.nudge.wake();
    }

    fn push_frame(&self, index: usize, frame: OutboundFrame) -> bool {
        match self.shared.outbound.push(index, frame, Instant::now()) {
            Pushed::Queued => {
                self.shared.nudge.wake();
                true
            }
            Pushed::Refused => false,
            Pushed::Dropped { ask } => {
                self.shared.count(index, |stats| stats.frames_dropped += 1);
                if ask {
                    self.shared.events.tell(PeerEvent::KeyFrameRequest(index));
                }
                false
            }
        }
    }

    async fn drained(&self) {
        loop {
            let progress = self.shared.outbound.progress.notified();
            match self.shared.outbound.drained(Instant::now()) {
                Drained::Done => return,
                Drained::Waiting => {}
                Drained::Probe(streams) => {
                    lock(&self.shared.control).probes = streams;
                    self.shared.nudge.wake();
                }
            }
            let _ = tokio::time::timeout(DRAIN_TICK, progress).await;
        }
    }

    fn inbound(&self, index: usize) -> Option<Arc<InboundQueue>> {
        let receives = self.config.streams.get(index)?.direction == Direction::RecvOnly;
        self.shared.inbound.get(index).filter(|_| receives).cloned()
    }

    fn request_key_frame(&self, index: usize) {
        self.shared.request_key_frame(index, Instant::now());
    }

    async fn stats(&self, index: usize) -> StreamStats {
        stats::stream(&self.shared, index)
    }

    async fn transport_info(&self) -> TransportInfo {
        match self.link() {
            Ok(link) => stats::transport(&*link.connection, link.transport().await).await,
            Err(_) => TransportInfo::default(),
        }
    }

    async fn close(&self) {
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Closed);
        self.shared.events.end();
        self.shared.outbound.close();
        if let Stage::Up(link) = stage {
            link.close(&self.shared).await;
        }
        self.shared.end_streams();
    }
}

impl Drop for WebRtcPeer {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Closed);
        self.shared.events.end();
        self.shared.outbound.close();
        self.shared.end_streams();
        if let Stage::Up(link) = stage {
            let shared = self.shared.clone();
            self.runtime.spawn(async move { link.close(&shared).await });
        }
    }
}
