// SPDX-License-Identifier: MPL-2.0
//! What an offer and an answer agree on, and every rule that the answer breaks.
//!
//! Invariant: pure; no ICE password is in the result.

mod codecs;
mod lines;
mod text;

use std::collections::HashSet;

use serde::Serialize;

use super::explain::{Bandwidth, ExtensionRow};
use super::findings::{Finding, Findings, Rule, Severity};
use super::inspect::{Kind, inspect, is_off, tagged};
use super::model::{MediaLine, Remote, RemoteDirection, Sctp, Setup};
use super::profiles::Profile;

/// What two descriptions agree on.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// Who nominates candidate pairs (RFC 8445 section 6.1.1).
    pub ice_controlling: Kind,
    /// Groups of m-lines that share a transport, by mid.
    pub bundle: Vec<Vec<String>>,
    /// One entry an m-line, as many as the longer of both has.
    pub lines: Vec<AgreedLine>,
    /// Rules that the answer breaks, and what may surprise, the worst first.
    pub findings: Vec<Finding>,
    /// What is wrong in the offer for itself.
    pub wrong_in_offer: Vec<Finding>,
    /// What is wrong in the answer for itself.
    pub wrong_in_answer: Vec<Finding>,
}

impl Agreement {
    /// Whether a rule is broken.
    pub fn is_broken(&self) -> bool {
        [&self.findings, &self.wrong_in_offer, &self.wrong_in_answer]
            .into_iter()
            .flatten()
            .any(|finding| finding.severity == Severity::Wrong)
    }
}

/// What becomes of an m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineState {
    /// Both have it.
    Agreed,
    /// The answer gives it port 0.
    RejectedByAnswer,
    /// The offer gives it port 0.
    OffInOffer,
    /// The answer does not have it.
    MissingInAnswer,
    /// Only the answer has it.
    NotOffered,
}

/// One m-line as agreed.
#[derive(Debug, Clone, Serialize)]
pub struct AgreedLine {
    /// Position.
    pub index: usize,
    /// `audio`, `video`, `application`.
    pub kind: String,
    /// The offer's, or if it has none the answer's.
    pub mid: String,
    /// What becomes of it.
    pub state: LineState,
    /// As in the offer.
    pub offered_direction: Option<RemoteDirection>,
    /// As in the answer.
    pub answered_direction: Option<RemoteDirection>,
    /// What the offerer does in the end.
    pub offerer: RemoteDirection,
    /// What the answerer does in the end.
    pub answerer: RemoteDirection,
    /// Codecs in common, in the answer's order.
    pub codecs: Vec<AgreedCodec>,
    /// FEC and other payload formats in common, by name.
    pub other_formats: Vec<String>,
    /// RTP header extensions in common.
    pub extensions: Vec<ExtensionRow>,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// Reduced-size RTCP.
    pub rtcp_rsize: bool,
    /// Who starts the DTLS handshake.
    pub dtls_client: Option<Kind>,
    /// Simulcast layers that the offerer sends, then those of the answerer.
    pub simulcast: [Vec<String>; 2],
    /// `b=` lines of the offer, then of the answer.
    pub bandwidth: [Vec<Bandwidth>; 2],
    /// Data channels: of the offer, then of the answer.
    pub sctp: [Option<Sctp>; 2],
}

/// One codec in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgreedCodec {
    /// Encoding name, as in the offer.
    pub name: String,
    /// RTP clock, Hz.
    pub clock_rate: u32,
    /// Channels of the `rtpmap`.
    pub channels: Option<u16>,
    /// Profile and level that the offerer takes.
    pub offered_profile: Option<Profile>,
    /// Profile and level that the answerer takes.
    pub answered_profile: Option<Profile>,
    /// Payload type in the offer: what the answerer sends with.
    pub offered_payload_type: u8,
    /// Payload type in the answer: what the offerer sends with.
    pub answered_payload_type: u8,
    /// Payload type of retransmissions in the answer, where both have them.
    pub rtx_payload_type: Option<u8>,
    /// Feedback in common.
    pub feedback: Vec<String>,
}

/// Compares `answer` with the `offer` that it answers.
pub fn compare(offer: &Remote, answer: &Remote) -> Agreement {
    let mut findings = Findings::default();
    session(offer, answer, &mut findings);
    let count = offer.media.len().max(answer.media.len());
    let lines = (0..count)
        .map(|index| {
            findings.m_line = Some(index);
            let pair = (offer.media.get(index), answer.media.get(index));
            line(index, offer, answer, pair, &mut findings)
        })
        .collect();
    let wrong = |remote, kind| {
        let mut found = inspect(remote, Some(kind));
        found.retain(|finding| finding.severity == Severity::Wrong);
        found
    };
    Agreement {
        // A lite agent is controlled by a full one; else the offerer controls.
        ice_controlling: if offer.ice_lite && !answer.ice_lite {
            Kind::Answer
        } else {
            Kind::Offer
        },
        bundle: answer.bundle.clone(),
        lines,
        findings: findings.sorted(),
        wrong_in_offer: wrong(offer, Kind::Offer),
        wrong_in_answer: wrong(answer, Kind::Answer),
    }
}

const LINES: Rule = Rule("m-lines-count", "RFC 3264 section 6");
const BUNDLE_NOT_OFFERED: Rule = Rule("bundle-not-offered", "RFC 9143 section 7.3");
const BUNDLE_REFUSED: Rule = Rule("bundle-refused", "RFC 9143 section 7.3");
const SAME_WRITER: Rule = Rule("same-certificate", "RFC 8122 section 5");

fn session(offer: &Remote, answer: &Remote, findings: &mut Findings) {
    if offer.media.len() != answer.media.len() {
        findings.wrong(
            LINES,
            format!(
                "the offer has {} m-lines and the answer {}: each must be answered, and no more",
                offer.media.len(),
                answer.media.len()
            ),
        );
    }
    for group in &answer.bundle {
        let is_subset = |offered: &&Vec<String>| group.iter().all(|mid| offered.contains(mid));
        if !group.is_empty() && !offer.bundle.iter().any(|offered| is_subset(&offered)) {
            findings.wrong(
                BUNDLE_NOT_OFFERED,
                format!(
                    "the answer bundles {}, which the offer does not",
                    group.join(" ")
                ),
            );
        }
    }
    let offers_bundle = offer.bundle.iter().any(|group| group.len() > 1);
    if offers_bundle && answer.bundle.iter().all(Vec::is_empty) {
        findings.unusual(
            BUNDLE_REFUSED,
            "the offer has a BUNDLE group and the answer none: each m-line needs its transport",
        );
    }
    let certificates = |remote: &Remote| -> HashSet<String> {
        let all = remote.media.iter().flat_map(|line| &line.fingerprints);
        all.map(|fingerprint| fingerprint.value.clone()).collect()
    };
    if !certificates(offer).is_disjoint(&certificates(answer)) {
        findings.unusual(
            SAME_WRITER,
            "both have the same fingerprint: are they of one peer, or one of them a copy?",
        );
    }
}

fn line(
    index: usize,
    offer: &Remote,
    answer: &Remote,
    pair: (Option<&MediaLine>, Option<&MediaLine>),
    findings: &mut Findings,
) -> AgreedLine {
    let mut agreed = blank(index, pair);
    let (Some(offered), Some(answered)) = pair else {
        return agreed;
    };
    lines::identity(offered, answered, findings);
    if is_off(offered) {
        agreed.state = LineState::OffInOffer;
        lines::off(answered, findings);
        return agreed;
    }
    if is_off(answered) {
        agreed.state = LineState::RejectedByAnswer;
        lines::rejected(findings);
        return agreed;
    }
    lines::bundle_only(offered, answer, answered, findings);
    let (client, setup) = (
        dtls_client(tagged(offer, offered), tagged(answer, answered)),
        (offered.setup, answered.setup),
    );
    lines::setup(setup, findings);
    agreed.dtls_client = client;
    agreed.sctp = [offered.sctp.clone(), answered.sctp.clone()];
    if offered.kind.is_none() || offered.kind != answered.kind {
        lines::data(offered, answered, findings);
        return agreed;
    }
    lines::direction(offered.direction, answered.direction, findings);
    agreed.offerer = RemoteDirection {
        sends: offered.direction.sends && answered.direction.receives,
        receives: offered.direction.receives && answered.direction.sends,
    };
    agreed.answerer = agreed.offerer.reversed();
    agreed.codecs = codecs::compare(offered, answered, findings);
    agreed.other_formats = codecs::others(offered, answered, findings);
    agreed.extensions = lines::extensions(offered, answered, findings);
    lines::rtcp(offered, answered, findings);
    agreed.rtcp_mux = offered.rtcp_mux && answered.rtcp_mux;
    agreed.rtcp_rsize = offered.rtcp_rsize && answered.rtcp_rsize;
    agreed.simulcast = lines::simulcast(offered, answered, findings);
    agreed
}

fn blank(
    index: usize,
    (offered, answered): (Option<&MediaLine>, Option<&MediaLine>),
) -> AgreedLine {
    let first = offered.or(answered);
    let mid = |line: Option<&MediaLine>| line.map(|line| line.mid.clone()).unwrap_or_default();
    let still = RemoteDirection {
        sends: false,
        receives: false,
    };
    let bandwidth = |line: Option<&MediaLine>| {
        let all = line.into_iter().flat_map(|line| &line.bandwidth);
        all.map(|(kind, value)| Bandwidth {
            kind: kind.clone(),
            value: *value,
        })
        .collect()
    };
    AgreedLine {
        index,
        kind: first.map(|line| line.media.clone()).unwrap_or_default(),
        mid: if mid(offered).is_empty() {
            mid(answered)
        } else {
            mid(offered)
        },
        state: match (offered, answered) {
            (Some(_), Some(_)) => LineState::Agreed,
            (_, None) => LineState::MissingInAnswer,
            (None, _) => LineState::NotOffered,
        },
        offered_direction: offered.map(|line| line.direction),
        answered_direction: answered.map(|line| line.direction),
        offerer: still,
        answerer: still,
        codecs: Vec::new(),
        other_formats: Vec::new(),
        extensions: Vec::new(),
        rtcp_mux: false,
        rtcp_rsize: false,
        dtls_client: None,
        simulcast: [Vec::new(), Vec::new()],
        bandwidth: [bandwidth(offered), bandwidth(answered)],
        sctp: [None, None],
    }
}

/// The active side (RFC 5763 section 5).
fn dtls_client(offered: &MediaLine, answered: &MediaLine) -> Option<Kind> {
    match (offered.setup, answered.setup) {
        (Some(Setup::ActPass | Setup::Passive), Some(Setup::Active)) => Some(Kind::Answer),
        (Some(Setup::ActPass | Setup::Active), Some(Setup::Passive)) => Some(Kind::Offer),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
