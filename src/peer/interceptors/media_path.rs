// SPDX-License-Identifier: MPL-2.0
//! What the transport calls with what it decrypts, and asks for what there is to send; see
//! [the folder](super).
//!
//! It runs under the transport's lock, on whichever thread is at it: nothing here waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, RTCPFeedback, RTPHeaderExtension, StreamInfo,
    TaggedPacket,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

use super::arrivals::Arrivals;
use super::batch::Batch as Came;
use super::by_ssrc::BySsrc;
use super::congestion::Congestion;
use super::handover::Handover;
use super::history::History;
use super::layers::Layers;
use super::nack::AnswerTime;
use super::receiver_reports::ReceiverReports;
use super::recovery::Recovery;
use super::redundant::Redundant;
use super::remb::ReceiverEstimate;
use super::rtcp_tap::RtcpTap;
use super::sender_reports::SenderReports;
use super::source::Source;
use super::spare;
use crate::media::codec::Codec;
use crate::media::header_extension::HeaderExtension;
use crate::peer::StreamStats;
use crate::peer::shared::{Lines, Shared, lock};

/// Packets that go out in one pass of the driver, so that it also reads in between.
pub(super) const BATCH: usize = 512;
/// What time it is: the driver's clock, or a test's.
pub(in crate::peer) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// See the module.
pub(in crate::peer) struct MediaPath {
    pub(super) shared: Arc<Shared>,
    clock: Clock,
    /// Reports on what we send.
    pub(super) sender_reports: SenderReports,
    /// Reports on what we receive.
    pub(super) receiver_reports: ReceiverReports,
    pub(super) arrivals: Arrivals,
    /// For a remote that takes REMB and no transport-wide feedback.
    pub(super) remb: Option<ReceiverEstimate>,
    pub(super) tap: RtcpTap,
    pub(super) congestion: Congestion,
    /// What was sent, to be sent again.
    pub(super) history: History,
    /// How long the remote takes to send something again.
    pub(super) answers: AnswerTime,
    pub(super) routes: BySsrc<usize>,
    pub(super) sources: BySsrc<Source>,
    pub(super) primaries: Vec<Option<u32>>,
    /// Of the lines that have several RTP streams.
    pub(super) layers: Vec<Option<Layers>>,
    /// What came of each stream since [`Self::flush`].
    pub(super) came: Vec<Came>,
    /// There is something in it.
    pub(super) has_come: bool,
    /// Ids by which packets name their m-line.
    pub(super) mid_ids: Vec<u8>,
    /// As [`Self::refresh`] found them.
    pub(super) lines: Lines,
    generation: u64,
    /// When [`Self::writes`] were filled.
    left_at: Instant,
    pub(super) redundant: Redundant,
    pub(super) recovery: Recovery,
    /// What leaves next. Its room is the thread's, see [`spare`].
    pub(super) writes: VecDeque<Packet>,
    pub(super) taken: usize,
    /// Number of the last full intra request.
    pub(super) intra_requests: u8,
}

impl MediaPath {
    pub(in crate::peer) fn new(shared: Arc<Shared>) -> Self {
        Self::with_clock(shared, Arc::new(Instant::now))
    }

    /// With a clock for what there is to send, which is asked for without a time.
    pub(in crate::peer) fn with_clock(shared: Arc<Shared>, clock: Clock) -> Self {
        Self {
            sender_reports: SenderReports::default(),
            receiver_reports: ReceiverReports::default(),
            arrivals: Arrivals::default(),
            remb: None,
            tap: RtcpTap::new(shared.clone()),
            congestion: Congestion::default(),
            history: History::default(),
            answers: AnswerTime::default(),
            routes: BySsrc::default(),
            sources: BySsrc::default(),
            primaries: Vec::new(),
            layers: Vec::new(),
            came: Vec::new(),
            has_come: false,
            mid_ids: Vec::new(),
            lines: Lines::default(),
            generation: 0,
            left_at: clock(),
            redundant: Redundant::default(),
            recovery: Recovery::default(),
            writes: VecDeque::new(),
            taken: 0,
            intra_requests: 0,
            clock,
            shared,
        }
    }

    /// The time now.
    pub(super) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Takes up m-lines that were negotiated since.
    pub(super) fn refresh(&mut self) {
        let generation = self.shared.generation();
        if generation != self.generation {
            self.flush();
            self.generation = generation;
            self.lines = self.shared.lines();
            self.primaries.resize(self.lines.len(), None);
            self.came.resize_with(self.lines.len(), Came::default);
            let lines = self.lines.iter();
            let ids = lines.filter_map(|line| line.config.extension(HeaderExtension::Mid));
            self.mid_ids = ids.collect();
            self.mid_ids.sort_unstable();
            self.mid_ids.dedup();
            self.bind_layers();
            self.forget_idle_lines();
            self.arrivals.bind(&self.lines);
            self.bind_remb();
        }
    }

    /// Hands over what came, for readers to come.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.has_come) {
            let lines = self.lines.iter();
            lines
                .zip(&mut self.came)
                .for_each(|(line, came)| came.flush(line));
        }
    }

    /// As [`flush`](Self::flush), by way of `handover`.
    pub(in crate::peer) fn hand_over(&mut self, handover: &mut Handover) {
        if std::mem::take(&mut self.has_come) {
            let lines = self.lines.iter();
            lines
                .zip(&mut self.came)
                .for_each(|(line, came)| came.hand_over(line, handover));
        }
    }

    /// Changes the counters of what goes on `stream`.
    pub(super) fn count_own(&self, stream: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(line) = self.lines.get(stream) {
            change(&mut lock(&line.sent));
        }
    }

    /// Changes the counters of what comes on `stream`.
    pub(super) fn count(&self, stream: usize, change: impl FnOnce(&mut StreamStats)) {
        if let Some(line) = self.lines.get(stream) {
            change(&mut lock(&line.stats));
        }
    }
}

/// `ccm fir` as type and parameter.
fn feedback(text: &str) -> (String, String) {
    let (kind, parameter) = text.split_once(' ').unwrap_or((text, ""));
    (kind.to_owned(), parameter.to_owned())
}

pub(super) fn stream_info(
    codec: &Codec,
    ssrc: u32,
    rtx: Option<u32>,
    twcc: Option<u8>,
) -> StreamInfo {
    let wants = |name: &str| codec.feedback.iter().any(|f| f == name);
    let twcc = twcc.filter(|_| wants("transport-cc"));
    StreamInfo {
        ssrc,
        ssrc_rtx: rtx,
        payload_type: codec.payload_type,
        payload_type_rtx: rtx.and(codec.rtx_payload_type),
        mime_type: format!("{}/{}", codec.kind.as_str(), codec.name),
        clock_rate: codec.clock_rate,
        channels: codec.channels.unwrap_or_default(),
        sdp_fmtp_line: codec.fmtp.clone(),
        rtp_header_extensions: twcc
            .map(|id| RTPHeaderExtension {
                uri: HeaderExtension::TransportWideCc.uri().to_owned(),
                id: id.into(),
            })
            .into_iter()
            .collect(),
        rtcp_feedback: codec
            .feedback
            .iter()
            .map(|text| {
                let (typ, parameter) = feedback(text);
                RTCPFeedback { typ, parameter }
            })
            .collect(),
        ..Default::default()
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for MediaPath {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        match message.message.packet {
            Packet::Rtp(packet) => self.read_rtp(packet, None, message.now),
            Packet::Rtcp(packets) => {
                self.read_rtcp(&packets, message.now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nothing goes further up: our queues have it all.
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.writes.push_back(message.message.packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.flush();
        if self.writes.is_empty() {
            self.left_at = self.now();
            if self.writes.capacity() == 0 {
                self.writes = spare::writes();
            }
            self.fill(self.left_at);
            if self.writes.is_empty() {
                spare::keep_writes(std::mem::take(&mut self.writes));
                return None;
            }
        }
        Some(TaggedPacket {
            now: self.left_at,
            transport: TransportContext::default(),
            message: AttributedPacket::new(self.writes.pop_front()?),
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.congestion.handle_timeout(now);
        self.history.handle_timeout(now);
        Ok(())
    }

    /// The driver asks this once per pass, after it has sent what `poll_write` gave.
    fn poll_timeout(&mut self) -> Option<Instant> {
        self.flush();
        let was_full = std::mem::take(&mut self.taken) >= BATCH;
        if was_full && self.shared.outbound.has_frames() {
            self.shared.nudge.wake();
        }
        let due = [
            self.sender_reports.next(),
            self.receiver_reports.next(),
            self.arrivals.next(),
            self.congestion.poll_timeout(),
            self.requests_due(),
            self.layers_due(),
            self.remb.as_ref().and_then(ReceiverEstimate::next),
        ];
        due.into_iter().flatten().min()
    }

    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Streams are bound as we negotiated them, so that webrtc's own idea of them is not asked.
impl Interceptor for MediaPath {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
