// SPDX-License-Identifier: MPL-2.0
//! One WebRTC peer, behind a trait of our own, narrow enough to be faked in tests.
//!
//! Invariants: nothing outside this folder names `webrtc::` or `rtc::`; no call here blocks a
//! thread; a peer that is dropped without [`Peer::close`] is closed by its `Drop` in the
//! background, so neither sockets nor tasks leak.

mod bandwidth;
mod connection;
pub mod data;
mod description;
#[doc(hidden)]
pub mod fuzzing;
mod interceptors;
mod limits;
mod link;
#[doc(hidden)]
pub mod measuring;
mod nudge;
mod outbound;
mod room;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod transport;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::media::codec::{Codec, MediaKind};
use crate::media::fec::Protection;
use crate::media::header_extension::HeaderExtension;
use crate::media::layers::Choice;
use crate::media::queue::InboundQueue;
use crate::media::rtp_packet::OutboundFrame;

use data::DataChannel;

pub use connection::WebRtcPeerFactory;

/// Direction of one m-line, as we write it (RFC 8829 section 4.2.2; a side never claims what it
/// will not do).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We send.
    SendOnly,
    /// We receive.
    RecvOnly,
    /// Both.
    SendRecv,
    /// Nothing flows.
    Inactive,
}

impl Direction {
    /// That of a side which sends, or receives, or both.
    pub fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether we send.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendOnly | Self::SendRecv)
    }

    /// Whether we receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::RecvOnly | Self::SendRecv)
    }
}

/// One m-line of audio or video, in the order of the description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Audio or video.
    pub kind: MediaKind,
    /// What we do on it.
    pub direction: Direction,
    /// Its `a=mid`; empty where the remote's offer has none.
    pub mid: String,
    /// Codecs in order of preference, each with the payload types to use. As answerer these are
    /// codecs of the offer, with its payload types. Empty: the m-line is refused. Where we receive,
    /// all of them may come; what is sent is [`Peer::set_send_codec`]'s.
    pub codecs: Vec<Codec>,
    /// Header extensions with their ids (RFC 8285).
    pub extensions: Vec<(u8, HeaderExtension)>,
    /// Stream and track for `a=msid` (RFC 8830) of what we send; `None`: names of our own.
    pub msid: Option<String>,
    /// FEC of the video.
    pub fec: Option<Protection>,
    /// RTCP may be of reduced size (RFC 5506).
    pub rtcp_rsize: bool,
    /// The RTP streams of an m-line that carries several; empty: it carries one.
    pub layers: Vec<Layer>,
    /// It is one of several that we send in one m-line.
    pub layer: Option<SentLayer>,
}

/// Of several streams that we send in one m-line, each a [`StreamConfig`] of its own: which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentLayer {
    /// Index of the stream whose m-line carries it: its own, for the first.
    pub of: usize,
    /// Its rid (RFC 8851); empty where SSRCs tell the layers apart (`a=ssrc-group:SIM`).
    pub rid: String,
    /// The remote takes it.
    pub sends: bool,
}

/// One of several RTP streams in one m-line: a layer of a picture (simulcast, RFC 8853), or a
/// picture of its own (as Plan B had it).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// Its rid (RFC 8851); empty where SSRCs tell the layers apart.
    pub rid: String,
    /// As the remote declared it.
    pub ssrc: Option<u32>,
    /// Which of the m-line's outputs it is for, from 0 on without a gap. Layers of one output are
    /// alternatives.
    pub output: usize,
    /// Stream and track, where they are not those of the m-line.
    pub msid: Option<String>,
}

impl StreamConfig {
    /// Whether it, which is stream `index`, has an m-line and is not carried by another one's.
    pub fn has_line(&self, index: usize) -> bool {
        self.layer.as_ref().is_none_or(|layer| layer.of == index)
    }

    /// Those of `streams` that have an m-line, each with its index, in the order of the m-lines.
    pub fn with_line(streams: &[Self]) -> impl Iterator<Item = (usize, &Self)> + Clone {
        let streams = streams.iter().enumerate();
        streams.filter(|(index, stream)| stream.has_line(*index))
    }

    /// Id of `extension`, if it is in use.
    pub fn extension(&self, extension: HeaderExtension) -> Option<u8> {
        self.extensions
            .iter()
            .find(|(_, e)| *e == extension)
            .map(|(id, _)| *id)
    }

    /// All payload types: of codecs, their retransmissions, and FEC.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        let codecs = self.codecs.iter();
        codecs
            .flat_map(|c| std::iter::once(c.payload_type).chain(c.rtx_payload_type))
            .chain(self.fec.iter().flat_map(Protection::payload_types))
    }
}

/// A STUN or TURN server that the user named.
#[derive(Clone)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`.
    pub url: String,
    /// TURN user name.
    pub username: String,
    /// TURN password; never logged.
    pub credential: String,
}

/// Everything a peer needs before its first description.
#[derive(Clone)]
pub struct PeerConfig {
    /// Local addresses to gather from; one socket each.
    pub addresses: Vec<IpAddr>,
    /// Servers; none is contacted that is not listed.
    pub ice_servers: Vec<IceServer>,
    /// The connection must be up so soon after both descriptions are known; `None`: 30 s for an
    /// offerer, and for an answerer, whose answer somebody may carry by hand, 15 minutes.
    pub patience: Option<Duration>,
    /// Video begins with a key frame, whatever is pushed before one.
    pub start_at_key_frame: bool,
    /// What is pushed leaves on the thread that pushes it: quickest, and right for one peer.
    /// `false`: on a task of the peer's, so that many peers share all workers.
    pub inline: bool,
    /// Queues of streams that go on from a former connection, in the order of its m-lines.
    pub queues: Vec<(MediaKind, Arc<InboundQueue>)>,
    /// Congestion control of what we send.
    pub bitrate: BitrateLimits,
}

/// Bounds of what may be sent, bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitrateLimits {
    /// Adapt to the path; `false`: all that is pushed is sent, spread over time at most.
    pub adaptive: bool,
    /// Never estimated to be less.
    pub min: u64,
    /// Assumed before anything is known of the path, within the other two. A changed one begins anew.
    pub start: u64,
    /// Never estimated to be more. [`BitrateLimits::UNLIMITED`]: what is sent has the bitrate that it
    /// has, and no more than twice that is looked for.
    pub max: u64,
}

impl BitrateLimits {
    /// As [`Self::max`]: no encoder follows the estimate.
    pub const UNLIMITED: u64 = 1_000_000_000_000;
}

impl Default for BitrateLimits {
    fn default() -> Self {
        Self {
            adaptive: true,
            min: 30_000,
            start: 2_048_000,
            max: 8_192_000,
        }
    }
}

/// What the path to the remote is believed to carry.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// All that leaves us, bit/s: headers, repairs and probes too.
    pub total: u64,
    /// What of it the encoders may make, bit/s.
    pub media: u64,
    /// Part of the packets that is lost, 0 to 1, smoothed.
    pub loss: f64,
    /// As last measured.
    pub round_trip: Option<Duration>,
    /// When all will have left that waits now; `None` where nothing has to wait.
    pub queued_until: Option<Instant>,
}

/// What is known of the path to the remote, for statistics.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathStats {
    /// As last estimated; `None` without congestion control.
    pub estimate: Option<Estimate>,
    /// What leaves us now, bit/s, all included.
    pub sending_bitrate: u64,
    /// How long the oldest frame waits to leave.
    pub queue_delay: Duration,
    /// Round trip, by receiver reports or transport-wide feedback.
    pub round_trip: Option<Duration>,
}

/// Why a peer is of no more use.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A description that cannot be applied.
    #[error("description refused: {0}")]
    Description(String),
    /// No local address to use, or no socket to be had.
    #[error("no usable local address: {0}")]
    Socket(String),
    /// No candidate pair worked, or the remote stopped answering.
    #[error("no connection to the remote: {0}")]
    Ice(String),
    /// The DTLS handshake failed (for one, the certificate does not match its fingerprint).
    #[error("DTLS handshake failed: {0}")]
    Dtls(String),
    /// The peer was closed.
    #[error("the peer is closed")]
    Closed,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What a peer tells.
#[derive(Debug)]
pub enum PeerEvent {
    /// ICE and DTLS are up: media flows from now on.
    Connected,
    /// The remote asked for a key frame (PLI, RFC 4585, or FIR, RFC 5104) on stream `0`.
    KeyFrameRequest(usize),
    /// The remote ended DTLS, or said RTCP BYE (RFC 3550 section 6.6) for every stream it sends:
    /// `said_bye`.
    RemoteClosed {
        /// It said that its streams are over.
        said_bye: bool,
    },
    /// The remote said BYE for every stream it sends, and we still send: the call goes on.
    StreamsOver,
    /// The path carries more or less than was told before. Only the newest counts.
    Estimate(Estimate),
    /// The phase of data channels changed: see [`Peer::take_changed_channels`].
    Data,
    /// Nothing comes from the remote any more; unless that changes, the connection is given up soon.
    Silent,
    /// The connection is lost or never came up; the last event.
    Failed(PeerError),
}

/// What is known of the transport once connected.
#[derive(Debug, Clone, Default)]
pub struct TransportInfo {
    /// `127.0.0.1:4000 host`
    pub local_candidate: String,
    /// `127.0.0.1:5000 host`
    pub remote_candidate: String,
    /// `client` or `server`.
    pub dtls_role: String,
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256` or similar; empty where unknown.
    pub dtls_cipher: String,
    /// `DTLS 1.2`
    pub dtls_version: String,
    /// `SRTP_AEAD_AES_128_GCM` or similar; empty where unknown.
    pub srtp_profile: String,
}

/// Counters of one stream, named after the W3C's (webrtc-stats). Zero where it does not apply.
#[derive(Debug, Clone, Default)]
pub struct StreamStats {
    /// SSRC that we send or receive; 0 until known.
    pub ssrc: u32,
    /// SSRC of retransmissions; 0 where there is none.
    pub rtx_ssrc: u32,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub frames_sent: u64,
    /// Frames dropped before sending, because the queue was full or took too long.
    pub frames_dropped: u64,
    pub retransmitted_packets_sent: u64,
    pub packets_received: u64,
    pub bytes_received: u64,
    /// From receiver reports (sending) or from sequence numbers (receiving).
    pub packets_lost: i64,
    /// Packets we could not take in time.
    pub packets_discarded: u64,
    /// Packets that came by RTX.
    pub retransmitted_packets_received: u64,
    pub nack_count: u64,
    pub pli_count: u64,
    pub fir_count: u64,
    /// Packets that came more than once, and went no further.
    pub packets_duplicated: u64,
    /// Packets that were lost and came after all, by retransmission or FEC.
    pub packets_repaired: u64,
    pub fec_packets_sent: u64,
    pub fec_packets_received: u64,
    /// Of `packets_repaired`, those made from FEC.
    pub fec_packets_recovered: u64,
    /// Padding and repeated packets sent to probe the path.
    pub probe_packets_sent: u64,
    /// Seconds; from the last receiver report.
    pub round_trip_time: Option<f64>,
    /// Seconds.
    pub jitter: Option<f64>,
}

/// A peer connection for one call. Object-safe; the session holds `Arc<dyn Peer>`.
#[async_trait::async_trait]
pub trait Peer: Send + Sync {
    /// A complete offer of `streams` (all candidates inside). After the first one it is a new
    /// offer of the same session (RFC 8829 section 5.2.2): `streams` are the former m-lines, as
    /// they shall be now, and new ones behind them. Until it is answered the former ones go on.
    async fn create_offer(&self, streams: Vec<StreamConfig>) -> Result<String, PeerError>;

    /// Applies `offer` and gives the complete answer. `streams` are its audio and video m-lines,
    /// in order; all other m-lines are refused. May come again with later offers.
    async fn answer(&self, offer: String, streams: Vec<StreamConfig>) -> Result<String, PeerError>;

    /// Applies the answer to our offer, which left of it `streams`.
    async fn set_answer(&self, answer: String, streams: Vec<StreamConfig>)
    -> Result<(), PeerError>;

    /// A new offer of what holds, with new ICE credentials (RFC 8445 section 9): its answer, by
    /// [`Self::set_answer`], mends a connection whose path is broken.
    async fn restart_ice(&self) -> Result<String, PeerError>;

    /// A candidate that came apart from its description.
    async fn add_candidate(
        &self,
        candidate: String,
        mid: Option<String>,
        mline_index: Option<u16>,
    ) -> Result<(), PeerError>;

    /// Fixes what stream `index` sends: its codec, with the payload types of the answer. Frames
    /// pushed before are dropped. Another codec than before starts anew.
    fn set_send_codec(&self, index: usize, codec: Codec);

    /// Queues a frame of stream `index`. Never blocks. Returns `false` when it was dropped:
    /// not connected, or the queue is full or, on a path that showed its limit, too long (then
    /// everything up to the next key frame of that stream goes too, is counted, and a
    /// [`PeerEvent::KeyFrameRequest`] follows as soon as there is room).
    fn push_frame(&self, index: usize, frame: OutboundFrame) -> bool;

    /// Completes when everything pushed was handed to the network and, for every stream that
    /// the remote sends receiver reports about, the last packet was reported as received.
    /// The caller bounds it in time.
    async fn drained(&self);

    /// Where stream `index` delivers what it receives.
    fn inbound(&self, index: usize) -> Option<Arc<InboundQueue>>;

    /// As [`Self::inbound`], of output `output` of a stream that has several.
    fn inbound_of(&self, index: usize, output: usize) -> Option<Arc<InboundQueue>> {
        self.inbound(index).filter(|_| output == 0)
    }

    /// Which layer of a stream goes on, where there are several.
    fn set_layer(&self, _choice: Choice) {}

    /// Sends a PLI for stream `index`, at most one in 100 ms.
    fn request_key_frame(&self, index: usize);

    /// As [`Self::request_key_frame`], of output `output` of a stream that has several.
    fn request_key_frame_of(&self, index: usize, output: usize) {
        if output == 0 {
            self.request_key_frame(index);
        }
    }

    /// Queues frames that were sent to others before, from a key frame on, paced: stream `index`
    /// goes on with what is pushed next.
    fn push_backlog(&self, index: usize, frames: &[OutboundFrame]) {
        for frame in frames {
            self.push_frame(index, frame.clone());
        }
    }

    /// Data channels are taken where the remote offers them, and `offered` by this side too. Before a
    /// description.
    fn want_data(&self, _offered: bool) {}

    /// Opens a data channel, now or once the connection is there. Where there are none, it closes.
    fn open_channel(&self, channel: Arc<DataChannel>) {
        channel.closed("there are no data channels");
    }

    /// Data channels whose phase changed since this was asked last, those of the remote among them.
    fn take_changed_channels(&self) -> Vec<Arc<DataChannel>> {
        Vec::new()
    }

    /// Whether both sides agreed on data channels.
    fn has_data(&self) -> bool {
        false
    }

    /// Data channels that are not closed.
    fn channels(&self) -> Vec<Arc<DataChannel>> {
        Vec::new()
    }

    /// New bounds of what may be sent.
    fn set_bitrate_limits(&self, _limits: BitrateLimits) {}

    /// What is known of the path.
    fn path_stats(&self) -> PathStats {
        PathStats::default()
    }

    /// Counters of stream `index`: of what comes, or of what goes if nothing comes.
    fn stats(&self, index: usize) -> StreamStats;

    /// Counters of what goes on stream `index`, on which something may come, too.
    fn sent_stats(&self, index: usize) -> StreamStats {
        self.stats(index)
    }

    /// Nothing more is sent on stream `index`, though its m-line stays as it is: the remote is
    /// told by RTCP BYE.
    fn end_sending(&self, _index: usize) {}

    /// What the transport came to; default values before [`PeerEvent::Connected`].
    async fn transport_info(&self) -> TransportInfo;

    /// Says RTCP BYE and DTLS close_notify, then frees everything. Idempotent; takes well under
    /// 500 ms whatever the network does.
    async fn close(&self);
}

/// Builds peers; the session knows only this, so that tests can hand it fakes.
#[async_trait::async_trait]
pub trait PeerFactory: Send + Sync {
    /// A new peer and its events. Runs inside the plugin's tokio runtime. Sockets are bound with
    /// the first description, which is where [`PeerError::Socket`] may come from.
    async fn create(
        &self,
        config: PeerConfig,
    ) -> Result<(Arc<dyn Peer>, mpsc::Receiver<PeerEvent>), PeerError>;
}
