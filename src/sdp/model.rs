// SPDX-License-Identifier: MPL-2.0
//! What a description says, as data: one [`Remote`] with its [`MediaLine`]s.
//!
//! Invariant: nothing in here is an ICE password, and nothing was worked out: only read.

use std::fmt;

use sdp_types::Session;
use serde::{Serialize, Serializer};

use crate::media::codec::{Codec, MediaKind};

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not SDP at all (RFC 8866).
    #[error("it is not valid SDP: {0}")]
    Syntax(String),
    /// There is nothing to connect to.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// Direction attribute of the remote (RFC 3264 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemoteDirection {
    /// The remote offers to send.
    pub sends: bool,
    /// The remote offers to receive.
    pub receives: bool,
}

impl RemoteDirection {
    /// Both ways: what counts where no attribute stands (RFC 3264 section 5.1).
    pub const BOTH: Self = Self {
        sends: true,
        receives: true,
    };

    /// Of the attribute's name: `sendrecv`, `sendonly`, `recvonly` or `inactive`.
    pub fn from_attribute(name: &str) -> Option<Self> {
        let (sends, receives) = match name {
            "sendrecv" => (true, true),
            "sendonly" => (true, false),
            "recvonly" => (false, true),
            "inactive" => (false, false),
            _ => return None,
        };
        Some(Self { sends, receives })
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    /// The same seen from the other end.
    pub fn reversed(self) -> Self {
        Self {
            sends: self.receives,
            receives: self.sends,
        }
    }
}

impl Serialize for RemoteDirection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One m-line of a remote description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    /// Position among all m-lines of the description.
    pub index: usize,
    /// First word of the m-line: `audio`, `video`, `application`, …
    pub media: String,
    /// `None` for `application` and kinds we do not know.
    pub kind: Option<MediaKind>,
    /// `mid` (RFC 5888); empty where there is none.
    pub mid: String,
    /// Port of the m-line. 9 and the like say nothing; 0: see `rejected`.
    pub port: u16,
    /// Transport protocol: `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// Port 0: the m-line is off. One that is `bundle_only` has port 0 too, and lives in its BUNDLE
    /// group.
    pub rejected: bool,
    /// `a=bundle-only` (RFC 9143 section 6).
    pub bundle_only: bool,
    /// What the remote does on it.
    pub direction: RemoteDirection,
    /// Codecs in the order of the m-line, RTX and FEC left out.
    pub codecs: Vec<Codec>,
    /// RED, ULPFEC, FlexFEC.
    pub fec: Vec<Auxiliary>,
    /// Telephone events and comfort noise.
    pub other_formats: Vec<Auxiliary>,
    /// Every payload type of the m-line, in its order, RTX and FEC among them.
    pub payloads: Vec<Payload>,
    /// The formats of the m-line as written.
    pub formats: Vec<String>,
    /// RTP header extensions, those of the session among them (RFC 8285 section 5).
    pub extensions: Vec<Extension>,
    /// One- and two-byte forms may be mixed (RFC 8285 section 6).
    pub extmap_allow_mixed: bool,
    /// RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// Reduced-size RTCP (RFC 5506).
    pub rtcp_rsize: bool,
    /// Streams and tracks, of `a=msid` (RFC 8830) and of the `a=ssrc` lines of Plan B, once each.
    pub msid: Vec<Msid>,
    /// `a=ssrc` (RFC 5576), in order.
    pub sources: Vec<Source>,
    /// `a=ssrc-group`: `FID`, `SIM`, `FEC-FR`, and the SSRCs.
    pub groups: Vec<(String, Vec<u32>)>,
    /// `a=rid` (RFC 8851).
    pub rids: Vec<Rid>,
    /// `a=simulcast` (RFC 8853).
    pub simulcast: Option<Simulcast>,
    /// `b=` lines: type and value; kbit/s for `AS`, bit/s for `TIAS` (RFC 3890), `RR` and `RS`.
    pub bandwidth: Vec<(String, u32)>,
    /// DTLS role, of the m-line or of the session.
    pub setup: Option<Setup>,
    /// Which ICE credentials the m-line, or the session for it, has.
    pub ice: IceCredentials,
    /// `a=ice-options` of the m-line and of the session.
    pub ice_options: Vec<String>,
    /// Candidates of this m-line.
    pub candidates: Vec<Candidate>,
    /// No candidates will follow (RFC 8840 section 8.2).
    pub end_of_candidates: bool,
    /// Certificates, of the m-line or of the session.
    pub fingerprints: Vec<Fingerprint>,
    /// The data channels' transport, where the m-line is one.
    pub sctp: Option<Sctp>,
    /// Attributes that should have been read and could not.
    pub unreadable: Vec<Unreadable>,
}

/// A remote description, read.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(super) session: Session,
    /// Its m-lines.
    pub media: Vec<MediaLine>,
    /// `o=`.
    pub origin: Origin,
    /// The mids of each `a=group:BUNDLE` (RFC 9143).
    pub bundle: Vec<Vec<String>>,
    /// `a=msid-semantic`, as written.
    pub msid_semantic: Option<String>,
    /// `b=` lines of the session, as in [`MediaLine::bandwidth`].
    pub bandwidth: Vec<(String, u32)>,
    /// `a=ice-lite` (RFC 8839 section 5.3).
    pub ice_lite: bool,
    /// `a=ice-options` of the session and of all m-lines, once each.
    pub ice_options: Vec<String>,
    /// Session attributes that should have been read and could not.
    pub unreadable: Vec<Unreadable>,
}

/// Who wrote it (RFC 8866 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `-` for most; Firefox gives its version here.
    pub username: String,
    /// Stays over a session.
    pub session_id: String,
    /// Goes up with each new description of the session (RFC 8829 section 5.2.2).
    pub version: u64,
    /// Address as written.
    pub address: String,
}

/// One payload type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name, as written or of the static table; `None` for a dynamic one without `rtpmap`.
    pub name: Option<String>,
    /// RTP clock, Hz; 0 where it is not known.
    pub clock_rate: u32,
    /// Channels of the `rtpmap`.
    pub channels: Option<u16>,
    /// Format parameters; several `fmtp` lines are joined by `;`.
    pub fmtp: String,
    /// Feedback, that of `*` with it, each once.
    pub feedback: Vec<String>,
}

/// A payload type that repairs or accompanies a codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Auxiliary {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name: `red`, `ulpfec`, `flexfec-03`, `telephone-event`, `CN`.
    pub name: String,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Payload type of its retransmissions, if there are any.
    pub rtx_payload_type: Option<u8>,
}

/// One RTP header extension (RFC 8285 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Number in the packets, 1 to 255; to 14 in the one-byte form.
    pub id: u8,
    /// What it is.
    pub uri: String,
    /// Where it is not that of the m-line.
    pub direction: Option<RemoteDirection>,
    /// What follows the URI; empty for nearly all.
    pub parameters: String,
}

/// Stream and track as the application sees them (RFC 8830).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Msid {
    /// Stream; `-` for a track without one.
    pub stream: String,
    /// Track, where it is named.
    pub track: Option<String>,
}

impl fmt::Display for Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.track {
            Some(track) => write!(f, "{} {track}", self.stream),
            None => f.write_str(&self.stream),
        }
    }
}

/// One RTP source (RFC 5576).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its SSRC.
    pub ssrc: u32,
    /// Canonical name in RTCP.
    pub cname: Option<String>,
    /// Plan B: the stream and track it belongs to.
    pub msid: Option<Msid>,
}

/// One restriction identifier (RFC 8851).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rid {
    /// Its name in the header extension.
    pub id: String,
    /// Whether the writer sends it (`send`) or receives it (`recv`).
    pub direction: RidDirection,
    /// Restrictions, `pt=96;max-width=1280`; empty if none.
    pub parameters: String,
}

/// Direction of a [`Rid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RidDirection {
    /// The writer sends it.
    Send,
    /// The writer receives it.
    Recv,
}

/// Simulcast layers (RFC 8853): for each layer the alternatives, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Simulcast {
    /// What the writer sends.
    pub send: Vec<Vec<Layer>>,
    /// What the writer receives.
    pub recv: Vec<Vec<Layer>>,
    /// Written as in the drafts, `send rid=r0;r1`, as Firefox did to version 70.
    pub old_form: bool,
}

/// One alternative of a simulcast layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its [`Rid::id`].
    pub rid: String,
    /// It starts paused (`~`).
    pub paused: bool,
}

/// DTLS role (RFC 5763 section 5, RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Setup {
    /// DTLS client.
    Active,
    /// DTLS server.
    Passive,
    /// Either: the answer decides.
    ActPass,
    /// None now.
    HoldConn,
}

impl Setup {
    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }
}

/// Which ICE credentials are there (RFC 8839 section 5.4). Their values stay where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct IceCredentials {
    /// `a=ice-ufrag`
    pub ufrag: bool,
    /// `a=ice-pwd`
    pub pwd: bool,
}

/// One ICE candidate (RFC 8839 section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Candidates of one foundation share their fate.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP on a port of its own.
    pub component: u16,
    /// `udp` or `tcp`, lower case.
    pub protocol: String,
    /// Higher is tried first.
    pub priority: u32,
    /// IP address or (mDNS) name.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Where it is from.
    pub kind: CandidateKind,
    /// `active`, `passive`, `so` (RFC 6544).
    pub tcp_type: Option<String>,
}

/// Where a candidate is from (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CandidateKind {
    /// An interface.
    Host,
    /// As a STUN server saw it.
    Srflx,
    /// As the other peer saw it.
    Prflx,
    /// A TURN server.
    Relay,
}

impl CandidateKind {
    /// The word after `typ`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Prflx => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// Certificate of the DTLS handshake (RFC 8122 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Fingerprint {
    /// `sha-256`, lower case.
    pub hash: String,
    /// Hexadecimal, upper case, with colons.
    pub value: String,
}

/// Transport of data channels (RFC 8841).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sctp {
    /// SCTP port inside DTLS.
    pub port: Option<u16>,
    /// Largest message that the writer takes, bytes; 0: no limit.
    pub max_message_size: Option<u64>,
    /// Streams, which only the old form gives.
    pub streams: Option<u16>,
    /// `DTLS/SCTP 5000` with `a=sctpmap`, as before 2018.
    pub old_form: bool,
}

/// An attribute whose value is not as its RFC wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Name of the attribute.
    pub attribute: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a={}: {}", self.attribute, self.reason)
    }
}
