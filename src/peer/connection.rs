// SPDX-License-Identifier: MPL-2.0
//! The peer: descriptions, and what a call is told to do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::data::{DataAgreement, DataChannel};
use super::description::{self, Own, OwnLine, Setup};
use super::limits::Wanted;
use super::link::Link;
use super::outbound::{Drained, Pushed};
use super::shared::{EVENT_CAPACITY, Shared, lock, random};
use super::transport::{DtlsRole, Transport as Path};
use super::watch::Role;
use super::{
    BitrateLimits, PathStats, Peer, PeerConfig, PeerError, PeerEvent, PeerFactory, StreamConfig,
    StreamStats, TransportInfo, stats, watch as watching,
};
use crate::media::codec::Codec;
use crate::media::layers::Choice;
use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::OutboundFrame;
use crate::sdp::{Declared, Remote, Transport};

/// Candidates that may come before the description they belong to.
const MAX_EARLY_CANDIDATES: usize = 64;
/// Between two looks while draining.
const DRAIN_TICK: Duration = Duration::from_millis(50);

/// Builds peers on webrtc-rs's parts.
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
    /// The remote's, as it was last applied.
    remote: Option<Transport>,
    /// We offered a restart of ICE, which is not answered yet.
    restarting: bool,
}

enum Stage {
    New { early: Vec<String> },
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
            stage: Mutex::new(Stage::New { early: Vec::new() }),
            dialogue: Mutex::default(),
        };
        Ok((peer, events))
    }

    /// Opens the transport, which is done once.
    fn open(&self) -> Result<Arc<Link>, PeerError> {
        let mut stage = lock(&self.stage);
        match &*stage {
            Stage::New { .. } => {}
            Stage::Up(link) => return Ok(link.clone()),
            Stage::Closed => return Err(PeerError::Closed),
        }
        let transport = Path::open(
            &self.config.addresses,
            &self.config.ice_servers,
            self.shared.clone(),
            !self.config.inline,
        )?;
        let former = std::mem::replace(&mut *stage, Stage::Closed);
        let early = match former {
            Stage::New { early } => early,
            _ => Vec::new(),
        };
        let link = Arc::new(Link {
            transport,
            watcher: Mutex::new(None),
            early: Mutex::new(Some(early)),
        });
        *stage = Stage::Up(link.clone());
        Ok(link)
    }

    fn is_new(&self) -> bool {
        matches!(*lock(&self.stage), Stage::New { .. })
    }

    fn link(&self) -> Result<Arc<Link>, PeerError> {
        match &*lock(&self.stage) {
            Stage::Up(link) => Ok(link.clone()),
            Stage::Closed => Err(PeerError::Closed),
            Stage::New { .. } => Err(PeerError::Description("there is no offer yet".to_owned())),
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
    fn offered_lines(&self, streams: &[StreamConfig]) -> Vec<OwnLine> {
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
        let data = lines.iter().any(|l| matches!(l, OwnLine::Data { .. }));
        let with_line = StreamConfig::with_line(streams);
        let new = with_line.skip(known + refused).map(|(index, _)| index);
        lines.extend(new.map(|index| OwnLine::Stream {
            index,
            protocol: description::PROTOCOL.to_owned(),
            old_simulcast: false,
        }));
        if !data && self.shared.data.offered() {
            lines.push(description::data_line("data".to_owned()));
        }
        lines
    }

    /// What an answer, or an offer that we answer, says of data channels. Its silence refuses those
    /// that were held, and, if they were `asked` for, those that wait.
    fn agree_on_data(&self, remote: &Remote, lines: &[OwnLine], asked: bool) {
        let data = |line: &OwnLine| matches!(line, OwnLine::Data { .. });
        let line = remote
            .data_line()
            .filter(|line| lines.get(line.index).is_some_and(data));
        let shared = &self.shared;
        match line.and_then(|line| line.sctp.as_ref()) {
            Some(sctp) => {
                let agreed = DataAgreement::of(sctp.max_message_size);
                shared.data.agree(agreed, &shared.nudge);
            }
            // What was added during the call is offered later.
            None if !asked && shared.data.agreed().is_none() => {}
            None => {
                let reason = "the remote takes no data channels: its description has none";
                shared.data.refuse(reason, &shared.events);
            }
        }
    }

    /// Applies the remote's transport, unless it is the one we have. `true`: it was another.
    fn apply(
        &self,
        link: &Link,
        remote: Transport,
        controlling: bool,
        role: DtlsRole,
    ) -> Result<bool, PeerError> {
        let (former, restarting) = {
            let mut dialogue = lock(&self.dialogue);
            // Only an answer to it begins it.
            let restarting = controlling && std::mem::take(&mut dialogue.restarting);
            (dialogue.remote.clone(), restarting)
        };
        let same = |known: &Transport| known.ufrag == remote.ufrag && known.pwd == remote.pwd;
        if !restarting && former.as_ref().is_some_and(same) {
            return Ok(false);
        }
        if former.is_none() {
            let server = role == DtlsRole::Server;
            self.shared.dtls_server.store(server, Ordering::Release);
        }
        lock(&self.shared.control).another_path |= former.is_some();
        link.transport.start(&remote, controlling, role)?;
        lock(&self.dialogue).remote = Some(remote);
        link.apply_early_candidates();
        Ok(true)
    }

    /// What was pushed leaves: on this thread, or where many peers share it, on the driver's.
    fn leave(&self) {
        let link = match &*lock(&self.stage) {
            Stage::Up(link) if self.config.inline => link.clone(),
            _ => return self.shared.nudge.wake(),
        };
        // Not under the lock: another stream's thread would wait for this one to send.
        link.transport.pump();
    }

    fn start_watching(&self, link: &Arc<Link>, role: Role) {
        let run = watching::run(
            self.shared.clone(),
            link.transport.states.clone(),
            role,
            self.config.patience,
        );
        *lock(&link.watcher) = Some(tokio::spawn(run));
    }

    /// RFC 8842 section 5.3; where the choice is ours, a sender becomes the DTLS client, which has
    /// its keys last, so that nothing it sends comes too early.
    fn answering_role(offer: &Transport, streams: &[StreamConfig]) -> DtlsRole {
        let sends = streams.iter().any(|s| s.direction.sends());
        match description::setup(offer) {
            Setup::Active => DtlsRole::Server,
            Setup::Passive => DtlsRole::Client,
            Setup::Either if sends => DtlsRole::Client,
            Setup::Either => DtlsRole::Server,
        }
    }
}

#[async_trait::async_trait]
impl Peer for WebRtcPeer {
    async fn create_offer(&self, streams: Vec<StreamConfig>) -> Result<String, PeerError> {
        if self.is_new() {
            let local = self.open()?.transport.gathered().await;
            lock(&self.dialogue).local = Some(local);
        }
        self.link()?;
        let lines = self.offered_lines(&streams);
        self.shared.set_lines(streams, None);
        self.say(lines, "actpass", true)
    }

    async fn answer(&self, offer: String, streams: Vec<StreamConfig>) -> Result<String, PeerError> {
        let offer = read(&offer)?;
        let lines = description::answer_lines(&offer, &streams, self.shared.data.taken());
        let taken = |line: &OwnLine| !matches!(line, OwnLine::Refused { .. });
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
        let first_of_all = self.is_new();
        let link = self.open()?;
        self.shared.set_wanted(Wanted::of(&offer, &streams));
        let role = Self::answering_role(&transport, &streams);
        self.shared.set_lines(streams, Some(declared(&offer)));
        self.agree_on_data(&offer, &lines, first_of_all);
        if self.apply(&link, transport, false, role)? {
            let local = link.transport.gathered().await;
            lock(&self.dialogue).local = Some(local);
        }
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
        let lines = lock(&self.dialogue).lines.clone();
        let asked = lines.iter().any(|l| matches!(l, OwnLine::Data { .. }));
        self.agree_on_data(&answer, &lines, asked);
        // Who should say which end of DTLS it takes, and does not, gets the other one.
        let role = match description::setup(&transport) {
            Setup::Passive => DtlsRole::Client,
            Setup::Active | Setup::Either => DtlsRole::Server,
        };
        self.apply(&link, transport, true, role)?;
        if lock(&link.watcher).is_none() {
            self.start_watching(&link, Role::Offerer);
        }
        Ok(())
    }

    async fn restart_ice(&self) -> Result<String, PeerError> {
        let link = self.link()?;
        link.transport.prepare_restart()?;
        let local = link.transport.gathered().await;
        let lines = {
            let mut dialogue = lock(&self.dialogue);
            dialogue.local = Some(local);
            dialogue.restarting = true;
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
        link.transport.add_candidate(&candidate);
        Ok(())
    }

    fn set_send_codec(&self, index: usize, codec: Codec) {
        self.shared.outbound.set_codec(index, codec);
        self.shared.nudge.wake();
    }

    fn push_frame(&self, index: usize, frame: OutboundFrame) -> bool {
        match self.shared.outbound.push(index, frame, Instant::now()) {
            Pushed::Queued => {
                self.leave();
                true
            }
            Pushed::Replaced(frames) => {
                self.shared
                    .count_sent(index, |stats| stats.frames_dropped += frames);
                self.leave();
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
                self.shared
                    .count_sent(index, |stats| stats.frames_dropped += 1);
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
                Drained::Done if self.shared.data.is_drained() => return,
                Drained::Done => {}
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
        line.config
            .direction
            .receives()
            .then(|| line.inbound.clone())
    }

    fn inbound_of(&self, index: usize, output: usize) -> Option<Arc<InboundQueue>> {
        let lines = self.shared.lines();
        let line = lines.get(index)?;
        let receives = line.config.direction.receives();
        line.output(output).filter(|_| receives).cloned()
    }

    fn set_layer(&self, choice: Choice) {
        self.shared.set_choice(choice);
    }

    fn request_key_frame(&self, index: usize) {
        self.request_key_frame_of(index, 0);
    }

    fn request_key_frame_of(&self, index: usize, output: usize) {
        let round_trip = stats::stream(&self.shared, index).round_trip_time;
        let round_trip = Duration::from_secs_f64(round_trip.unwrap_or_default());
        self.shared
            .request_key_frame_of((index, output), Instant::now(), round_trip);
    }

    fn want_data(&self, offered: bool) {
        self.shared.data.want(offered);
    }

    fn open_channel(&self, channel: Arc<DataChannel>) {
        let shared = &self.shared;
        shared.data.open(channel, &shared.nudge, &shared.events);
    }

    fn take_changed_channels(&self) -> Vec<Arc<DataChannel>> {
        self.shared.data.take_changed()
    }

    fn has_data(&self) -> bool {
        self.shared.data.agreed().is_some()
    }

    fn channels(&self) -> Vec<Arc<DataChannel>> {
        self.shared.data.channels()
    }

    fn set_bitrate_limits(&self, limits: BitrateLimits) {
        self.shared.set_bitrate_limits(limits);
    }

    fn path_stats(&self) -> PathStats {
        *lock(&self.shared.path)
    }

    fn stats(&self, index: usize) -> StreamStats {
        stats::stream(&self.shared, index)
    }

    fn sent_stats(&self, index: usize) -> StreamStats {
        stats::sent(&self.shared, index)
    }

    fn end_sending(&self, index: usize) {
        self.shared.outbound.end(index);
        self.shared.nudge.wake();
    }

    async fn transport_info(&self) -> TransportInfo {
        match self.link() {
            Ok(link) => link.transport.info(),
            Err(_) => TransportInfo::default(),
        }
    }

    async fn close(&self) {
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Closed);
        self.shared.events.end();
        self.shared.outbound.close();
        if let Stage::Up(link) = stage {
            link.close();
        }
        self.shared.end_streams();
    }
}

impl Drop for WebRtcPeer {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut *lock(&self.stage), Stage::Closed);
        self.shared.events.end();
        self.shared.outbound.close();
        if let Stage::Up(link) = stage {
            link.close();
        }
        self.shared.end_streams();
    }
}
