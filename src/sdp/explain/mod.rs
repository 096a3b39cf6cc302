// SPDX-License-Identifier: MPL-2.0
//! What one description offers, as data for scripts and as text for people.
//!
//! Invariant: no ICE password is in here.

mod text;

use serde::Serialize;

use crate::media::codec::Codec;

use super::extensions;
use super::findings::Finding;
use super::inspect::{Kind, inspect};
use super::model::{
    Auxiliary, Candidate, Fingerprint, MediaLine, Msid, Origin, Remote, RemoteDirection, Rid, Sctp,
    Setup, Simulcast, Source,
};
use super::profiles::Profile;

pub(super) use text::write_findings;

/// Everything about one description.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Offer or answer, as far as that is known.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// It was told by the DTLS role (RFC 8842), not by who gave the description.
    pub type_is_a_guess: bool,
    /// Who wrote it.
    pub origin: Origin,
    /// Mids of each BUNDLE group.
    pub bundle: Vec<Vec<String>>,
    /// ICE for the whole session.
    pub ice: Ice,
    /// DTLS roles and certificates, each once.
    pub dtls: Dtls,
    /// `a=msid-semantic`, as written.
    pub msid_semantic: Option<String>,
    /// One entry an m-line.
    pub media: Vec<Media>,
    /// What is wrong or unusual, the worst first.
    pub findings: Vec<Finding>,
}

/// ICE for the whole session.
#[derive(Debug, Clone, Serialize)]
pub struct Ice {
    /// The writer is a lite agent (RFC 8445 section 2.5).
    pub lite: bool,
    /// Candidates may come later (RFC 8838).
    pub trickle: bool,
    /// All options as written.
    pub options: Vec<String>,
}

/// DTLS for the whole session.
#[derive(Debug, Clone, Serialize)]
pub struct Dtls {
    /// Roles, each once; more than one is unusual.
    pub setup: Vec<Setup>,
    /// Certificates, each once.
    pub fingerprints: Vec<Fingerprint>,
}

/// One m-line.
#[derive(Debug, Clone, Serialize)]
pub struct Media {
    /// Position.
    pub index: usize,
    /// `audio`, `video`, `application`.
    pub kind: String,
    /// Empty where there is none.
    pub mid: String,
    /// As in the m-line.
    pub protocol: String,
    /// As in the m-line.
    pub port: u16,
    /// Port 0, and not for being bundle-only.
    pub rejected: bool,
    /// It has no transport but that of its BUNDLE group.
    pub bundle_only: bool,
    /// The writer's direction.
    pub direction: RemoteDirection,
    /// Streams and tracks.
    pub msid: Vec<Msid>,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// Reduced-size RTCP.
    pub rtcp_rsize: bool,
    /// Codecs, best first.
    pub codecs: Vec<CodecRow>,
    /// RED, ULPFEC, FlexFEC.
    pub fec: Vec<Auxiliary>,
    /// Telephone events, comfort noise.
    pub other_formats: Vec<Auxiliary>,
    /// RTP header extensions.
    pub extensions: Vec<ExtensionRow>,
    /// RTP sources.
    pub sources: Vec<Source>,
    /// Groups of sources.
    pub groups: Vec<SourceGroup>,
    /// Restriction identifiers.
    pub rids: Vec<Rid>,
    /// Simulcast layers.
    pub simulcast: Option<Simulcast>,
    /// `b=` lines.
    pub bandwidth: Vec<Bandwidth>,
    /// Candidates.
    pub candidates: Vec<Candidate>,
    /// No more will come.
    pub end_of_candidates: bool,
    /// Data channels.
    pub sctp: Option<Sctp>,
}

/// One codec in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodecRow {
    /// RTP payload type.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: String,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Channels of the `rtpmap`.
    pub channels: Option<u16>,
    /// Profile, level and tier, for codecs that have them.
    pub profile: Option<Profile>,
    /// H264: 0 where the parameter is absent.
    pub packetization_mode: Option<u8>,
    /// Payload type of retransmissions.
    pub rtx_payload_type: Option<u8>,
    /// Feedback.
    pub feedback: Vec<String>,
    /// All format parameters, as written.
    pub fmtp: String,
    /// What of them no other field here says.
    pub parameters: Vec<String>,
    /// `x-google-{start,min,max}-bitrate`, kbit/s.
    pub google_bitrates: GoogleBitrates,
}

/// Bitrates that libwebrtc takes from format parameters, kbit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GoogleBitrates {
    /// To begin with.
    pub start: Option<u32>,
    /// At least.
    pub min: Option<u32>,
    /// At most.
    pub max: Option<u32>,
}

/// One header extension with its short name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionRow {
    /// Number in the packets.
    pub id: u8,
    /// Short name, or the URI.
    pub name: String,
    /// What it is.
    pub uri: String,
    /// Where it is not that of the m-line.
    pub direction: Option<RemoteDirection>,
}

/// A group of sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceGroup {
    /// `FID`, `SIM`, `FEC-FR`.
    pub semantics: String,
    /// SSRCs.
    pub ssrcs: Vec<u32>,
}

/// One `b=` line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// `AS`, `TIAS`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// kbit/s for `AS` and `CT`, bit/s for the others.
    pub value: u32,
}

/// Explains `remote`; `kind` is what is known about it from elsewhere.
pub fn explain(remote: &Remote, kind: Option<Kind>) -> Explanation {
    let known = kind.or_else(|| guess(remote));
    Explanation {
        kind: known,
        type_is_a_guess: kind.is_none() && known.is_some(),
        origin: remote.origin.clone(),
        bundle: remote.bundle.clone(),
        ice: Ice {
            lite: remote.ice_lite,
            trickle: remote.ice_options.iter().any(|option| option == "trickle"),
            options: remote.ice_options.clone(),
        },
        dtls: Dtls {
            setup: each_once(remote.media.iter().filter_map(|line| line.setup)),
            fingerprints: each_once(
                remote
                    .media
                    .iter()
                    .flat_map(|line| line.fingerprints.clone()),
            ),
        },
        msid_semantic: remote.msid_semantic.clone(),
        media: remote.media.iter().map(media).collect(),
        findings: inspect(remote, known),
    }
}

/// `actpass` is for offers (RFC 8842 section 5.2), and an answer must choose (section 5.3).
fn guess(remote: &Remote) -> Option<Kind> {
    match remote.media.iter().find_map(|line| line.setup)? {
        Setup::ActPass => Some(Kind::Offer),
        Setup::Active | Setup::Passive => Some(Kind::Answer),
        Setup::HoldConn => None,
    }
}

fn each_once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for item in items {
        if !all.contains(&item) && all.len() < 32 {
            all.push(item);
        }
    }
    all
}

fn media(line: &MediaLine) -> Media {
    Media {
        index: line.index,
        kind: line.media.clone(),
        mid: line.mid.clone(),
        protocol: line.protocol.clone(),
        port: line.port,
        rejected: line.rejected,
        bundle_only: line.bundle_only,
        direction: line.direction,
        msid: line.msid.clone(),
        rtcp_mux: line.rtcp_mux,
        rtcp_rsize: line.rtcp_rsize,
        codecs: line.codecs.iter().map(CodecRow::of).collect(),
        fec: line.fec.clone(),
        other_formats: line.other_formats.clone(),
        extensions: line
            .extensions
            .iter()
            .map(|extension| ExtensionRow {
                id: extension.id,
                name: extensions::name(&extension.uri).to_owned(),
                uri: extension.uri.clone(),
                direction: extension.direction,
            })
            .collect(),
        sources: line.sources.clone(),
        groups: line
            .groups
            .iter()
            .map(|(semantics, ssrcs)| SourceGroup {
                semantics: semantics.clone(),
                ssrcs: ssrcs.clone(),
            })
            .collect(),
        rids: line.rids.clone(),
        simulcast: line.simulcast.clone(),
        bandwidth: line
            .bandwidth
            .iter()
            .map(|(kind, value)| Bandwidth {
                kind: kind.clone(),
                value: *value,
            })
            .collect(),
        candidates: line.candidates.clone(),
        end_of_candidates: line.end_of_candidates,
        sctp: line.sctp.clone(),
    }
}

impl CodecRow {
    /// The codec in words.
    pub fn of(codec: &Codec) -> Self {
        let profile = Profile::of(&codec.name, &codec.fmtp);
        let is_h264 = codec.name.eq_ignore_ascii_case("H264");
        let kilobits = |name| codec.parameter(name).and_then(|value| value.parse().ok());
        let mut said = vec![
            "x-google-start-bitrate",
            "x-google-min-bitrate",
            "x-google-max-bitrate",
        ];
        if profile.is_some() {
            said.extend(match codec.name.to_ascii_uppercase().as_str() {
                "H264" => &["profile-level-id", "packetization-mode"][..],
                "VP9" => &["profile-id"],
                "AV1" => &["profile", "level-idx", "tier"],
                "H265" => &["profile-id", "level-id", "tier-flag"],
                _ => &[],
            });
        }
        let parameters = codec
            .fmtp
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .filter(|part| {
                let name = part.split('=').next().unwrap_or_default().trim();
                !said.iter().any(|known| known.eq_ignore_ascii_case(name))
            })
            .map(str::to_owned)
            .collect();
        Self {
            payload_type: codec.payload_type,
            name: codec.name.clone(),
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            profile,
            packetization_mode: is_h264
                .then(|| {
                    codec
                        .parameter("packetization-mode")
                        .unwrap_or("0")
                        .parse()
                        .ok()
                })
                .flatten(),
            rtx_payload_type: codec.rtx_payload_type,
            feedback: codec.feedback.clone(),
            fmtp: codec.fmtp.clone(),
            parameters,
            google_bitrates: GoogleBitrates {
                start: kilobits("x-google-start-bitrate"),
                min: kilobits("x-google-min-bitrate"),
                max: kilobits("x-google-max-bitrate"),
            },
        }
    }

    /// `opus/48000/2`, as in an `rtpmap`.
    pub fn encoding(&self) -> String {
        match self.channels {
            Some(channels) => format!("{}/{}/{channels}", self.name, self.clock_rate),
            None => format!("{}/{}", self.name, self.clock_rate),
        }
    }
}
