// SPDX-License-Identifier: MPL-2.0
//! The peer on webrtc; the only place that builds a `PeerConnection`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::mpsc;
use webrtc::peer_connection::{PeerConnectionBuilder, RTCSessionDescription};

use super::description::{self, Own, OwnLine, Setup};
use super::handler::Handler;
use super::limits::Wanted;
use super::link::{Link, refused};
use super::outbound::{Drained, Pushed};
use super::runtime::PeerRuntime;
use super::shared::{EVENT_CAPACITY, Shared, lock, random, random_ssrcs};
use super::watch::Role;
use super::{
    BitrateLimits, Direction, PathStats, Peer, PeerConfig, PeerError, PeerEvent, PeerFactory,
    StreamConfig, StreamStats, TransportInfo, engine, stats, watch as watching,
};
use crate::media::codec::Codec;
use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::OutboundFrame;
use crate::sdp::{Declared, Remote, Transport};

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
    session_id: u64,
    runtime: tokio::runtime::Handle,
    stage: Mutex<Stage>,
    dialogue: Mutex<Dialogue>,
}

/// What was said so far.
#[derive(Default)]
struct Dialogue {
    /// Our m-lines, in order.
    lines: Vec<OwnLine>,
    /// Counts our descriptions (RFC 8829 section 5.2.2).
    version: u64,
    /// Ours, with all candidates.
    local: Option<Transport>,
    /// The remote's, as webrtc has it.
    remote: Option<Transport>,
}

enum Stage {
    New { early: Vec<RTCIceCandidateInit> },
    Building,
    Up(Arc<Link>),
    Closed,
}

fn read(text: &str) -> Result<Remote, PeerError> {
    Remote::read(text).map_err(|error| PeerError::Description(error.to_string()))
}

/// What the remote declares in each audio and video m-line.
fn declared(remote: &Remote) -> Vec<Declared> {
    remote
        .audio_video()
        .map(|(line, _)| remote.declared(line.index))
        .collect()
}

impl WebRtcPeer {
    pub(super) fn new(config: PeerConfig) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        if config.addresses.is_empty() {
            return Err(PeerError::Socket("none is given".to_owned()));
        }
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        let shared = Shared::new(sender, config.start_at_key_frame, config.queues.clone());
        shared.set_bitrate_limits(config.bitrate);
        let peer = Self {
            shared: Arc::new(shared),
            config,
            cname: format!("{:016x}", random()),
            // RFC 8829 section 5.2.1: 63 bits.
            session_id: random() >> 1,
            runtime: tokio::runtime::Handle::current(),
            stage: Mutex::new(Stage::New { early: Vec::new() }),
            dialogue: Mutex::default(),
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
                        PeerError::Description("an offer is being made already".to_owned())
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
            .with_media_engine(engine::media_engine()?)
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

    /// The m-line that webrtc sees, see [`description`].
    async fn add_line(&self, link: &Link) -> Result<(), PeerError> {
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendrecv,
            streams: vec![],
            send_encodings: vec![engine::encoding(random_ssrcs(&[])())],
        };
        link.connection
            .add_transceiver_from_kind(RtpCodecKind::Video, Some(init))
            .await
            .map(|_| ())
            .map_err(refused)
    }

    fn is_new(&self) -> bool {
        matches!(*lock(&self.stage), Stage::New { .. })
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

    /// Writes our next description.
    fn say(&self, lines: Vec<OwnLine>, setup: &str, bundle: bool) -> Result<String, PeerError> {
        let mut dialogue = lock(&self.dialogue);
        dialogue.version += 1;
        dialogue.lines = lines;
        let streams: Vec<StreamConfig> = self
            .shared
            .lines()
            .iter()
            .map(|l| l.config.clone())
            .collect();
        let own = Own {
            lines: &dialogue.lines,
            streams: &streams,
            ssrcs: (0..streams.len())
                .map(|index| self.shared.outbound.ssrcs(index))
                .collect(),
            fec_ssrcs: (0..streams.len())
                .map(|index| self.shared.outbound.fec_ssrc(index))
                .collect(),
            cname: &self.cname,
            transport: dialogue.local.as_ref().ok_or(PeerError::Closed)?,
            setup,
            session_id: self.session_id,
            version: dialogue.version,
            bundle,
        };
        Ok(description::write(&own))
    }

    /// Our m-lines with those of `streams` that are new; refused ones stay where they are.
    fn offered_lines(&self, streams: usize) -> Vec<OwnLine> {
        let mut lines = lock(&self.dialogue).lines.clone();
        let known = lines
            .iter()
            .filter(|line| matches!(line, OwnLine::Stream { .. }))
            .count();
        // A refused m-line of audio or video has a place among the streams, too.
        let refused = lines
            .iter()
            .filter(|line| matches!(line, OwnLine::Refused { media, .. } if media == "audio" || media == "video"))
            .count();
        lines.extend((known + refused..streams).map(|index| OwnLine::Stream {
            index,
            protocol: description::PROTOCOL.to_owned(),
        }));
        lines
    }

    /// Applies an offer's transport, unless it is the one we have.
    async fn answer_transport(&self, link: &Link, transport: Transport) -> Result<(), PeerError> {
        let former = lock(&self.dialogue).remote.clone();
        if former
            .as_ref()
            .is_some_and(|known| known.ufrag == transport.ufrag && known.pwd == transport.pwd)
        {
            return Ok(());
        }
        let remote =
            RTCSessionDescription::offer(description::canonical(&transport)).map_err(refused)?;
        link.connection
            .set_remote_description(remote)
            .await
            .map_err(refused)?;
        let answer = link.connection.create_answer(None).await.map_err(refused)?;
        lock(&self.shared.control).another_path |= former.is_some();
        self.shared.nudge.checks_started();
        link.connection
            .set_local_description(answer)
            .await
            .map_err(refused)?;
        link.apply_early_candidates().await;
        let local = link.gathered().await?;
        let mut dialogue = lock(&self.dialogue);
        dialogue.local = Some(local);
        dialogue.remote = Some(transport);
        Ok(())
    }

    fn start_watching(&self, link: &Arc<Link>, role: Role) {
        let run = watching::run(
            self.shared.clone(),
            Arc::downgrade(link),
            link.states.clone(),
            role,
            self.config.patience,
        );
        *lock(&link.watcher) = Some(tokio::spawn(run));
    }

    /// RFC 8842 section 5.3; where the choice is ours, a sender becomes the DTLS client, which has
    /// its keys last, so that nothing it sends comes too early.
    fn answering_role(offer: &Transport, streams: &[StreamConfig]) -> RTCDtlsRole {
        let sends = streams.iter().any(|s| s.direction == Direction::SendOnly);
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
    async fn create_offer(&self, streams: Vec<StreamConfig>) -> Result<String, PeerError> {
        if self.is_new() {
            let link = self.build(RTCDtlsRole::Auto).await?;
            self.add_line(&link).await?;
            let offer = link.connection.create_offer(None).await.map_err(refused)?;
            link.connection
                .set_local_description(offer)
                .await
                .map_err(refused)?;
            let local = link.gathered().await?;
            lock(&self.dialogue).local = Some(local);
        }
        self.link()?;
        let lines = self.offered_lines(streams.len());
        self.shared.set_lines(streams, None);
        self.say(lines, "actpass", true)
    }

    async fn answer(&self, offer: String, streams: Vec<StreamConfig>) -> Result<String, PeerError> {
        let offer = read(&offer)?;
        let lines = description::answer_lines(&offer, &streams);
        let taken = |line: &OwnLine| matches!(line, OwnLine::Stream { .. });
        let Some(first) = lines.iter().position(taken) else {
            if !self.is_new() {
                // All is taken back; the connection stays for what may come.
                self.link()?;
                self.shared.set_lines(streams, Some(declared(&offer)));
                return self.say(lines, "", false);
            }
            return Err(PeerError::Description(
                "it leaves nothing to take part in".to_owned(),
            ));
        };
        let transport = offer.transport(first);
        let link = if self.is_new() {
            let role = Self::answering_role(&transport, &streams);
            self.shared
                .dtls_server
                .store(role == RTCDtlsRole::Server, Ordering::Release);
            let link = self.build(role).await?;
            self.add_line(&link).await?;
            link
        } else {
            self.link()?
        };
        self.shared.set_wanted(Wanted::of(&offer, &streams));
        self.shared.set_lines(streams, Some(declared(&offer)));
        self.answer_transport(&link, transport).await?;
        let server = self.shared.dtls_server.load(Ordering::Acquire);
        let setup = if server { "passive" } else { "active" };
        let answer = self.say(lines, setup, offer.bundles(first))?;
        if lock(&link.watcher).is_none() {
            self.start_watching(&link, Role::Answerer);
        }
        Ok(answer)
    }

    async fn set_answer(
        &self,
        answer: String,
        streams: Vec<StreamConfig>,
    ) -> Result<(), PeerError> {
        let link = self.link()?;
        let answer = read(&answer)?;
        let accepted = answer.media.iter().find(|line| !line.rejected);
        let transport = answer.transport(accepted.map_or(0, |line| line.index));
        self.shared.set_wanted(Wanted::of(&answer, &streams));
        self.shared.set_lines(streams, Some(declared(&answer)));
        let former = lock(&self.dialogue).remote.clone();
        if former
            .as_ref()
            .is_some_and(|known| known.ufrag == transport.ufrag && known.pwd == transport.pwd)
        {
            return Ok(());
        }
        if former.is_none() {
            let server = description::setup(&transport) == Setup::Active;
            self.shared.dtls_server.store(server, Ordering::Release);
        }
        lock(&self.shared.control).another_path |= former.is_some();
        self.shared.nudge.checks_started();
        let remote =
            RTCSessionDescription::answer(description::canonical(&transport)).map_err(refused)?;
        link.connection
            .set_remote_description(remote)
            .await
            .map_err(refused)?;
        lock(&self.dialogue).remote = Some(transport);
        link.apply_early_candidates().await;
        if lock(&link.watcher).is_none() {
            self.start_watching(&link, Role::Offerer);
        }
        Ok(())
    }

    async fn restart_ice(&self) -> Result<String, PeerError> {
        let link = self.link()?;
        let options = RTCOfferOptions { ice_restart: true };
        let offer = link.connection.create_offer(Some(options)).await;
        link.connection
            .set_local_description(offer.map_err(refused)?)
            .await
            .map_err(refused)?;
        let local = link.gathered_anew().await?;
        let lines = {
            let mut dialogue = lock(&self.dialogue);
            dialogue.local = Some(local);
            dialogue.lines.clone()
        };
        self.say(lines, "actpass", true)
    }

    async fn add_candidate(
        &self,
        candidate: String,
        _mid: Option<String>,
        _mline_index: Option<u16>,
    ) -> Result<(), PeerError> {
        // There is one transport, whichever m-line a candidate is for.
        let candidate = RTCIceCandidateInit {
            candidate,
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
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
            Pushed::Replaced(frames) => {
                self.shared
                    .count(index, |stats| stats.frames_dropped += frames);
                self.shared.nudge.wake();
                true
            }
            Pushed::Refused => false,
            Pushed::TooEarly { ask } => {
                if ask {
                    self.shared.events.tell(PeerEvent::KeyFrameRequest(index));
                }
                false
            }
            Pushed::Dropped { ask } => {
                self.shared.count(index, |stats| stats.frames_dropped += 1);
                if ask {
                    self.shared.events.tell(PeerEvent::KeyFrameRequest(index));
                }
                false
            }
        }
    }

    fn push_backlog(&self, index: usize, frames: &[OutboundFrame]) {
        self.shared
            .outbound
            .push_backlog(index, frames, Instant::now());
        self.shared.nudge.wake();
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
        let lines = self.shared.lines();
        let line = lines.get(index)?;
        (line.config.direction == Direction::RecvOnly).then(|| line.inbound.clone())
    }

    fn request_key_frame(&self, index: usize) {
        let round_trip = stats::stream(&self.shared, index).round_trip_time;
        let round_trip = Duration::from_secs_f64(round_trip.unwrap_or_default());
        self.shared
            .request_key_frame(index, Instant::now(), round_trip);
    }

    fn set_bitrate_limits(&self, limits: BitrateLimits) {
        self.shared.set_bitrate_limits(limits);
    }

    fn path_stats(&self) -> PathStats {
        *lock(&self.shared.path)
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
