// SPDX-License-Identifier: MPL-2.0
//! ICE, DTLS, RTCP and the transport protocol.

use super::super::findings::{Findings, Rule, listed};
use super::super::model::{Candidate, MediaLine, Remote, Setup};
use super::{Kind, is_bundled, is_off, tagged};

const UFRAG: Rule = Rule("ice-credentials-missing", "RFC 8839 section 5.4");
const CREDENTIALS_SHORT: Rule = Rule("ice-credentials-short", "RFC 8839 section 5.4");
const SETUP_DIFFERS: Rule = Rule("setup-differs", "RFC 9143 section 7.1.3");

/// What concerns all m-lines.
pub(super) fn session(remote: &Remote, findings: &mut Findings) {
    let sections = std::iter::once((None, &remote.session.attributes)).chain(
        remote
            .session
            .medias
            .iter()
            .enumerate()
            .map(|(index, media)| (Some(index), &media.attributes)),
    );
    for (index, attributes) in sections {
        findings.m_line = index;
        for attribute in attributes {
            let (name, least) = match attribute.attribute.as_str() {
                "ice-ufrag" => ("a=ice-ufrag", 4),
                "ice-pwd" => ("a=ice-pwd", 22),
                _ => continue,
            };
            let length = attribute.value.as_deref().unwrap_or_default().trim().len();
            if (1..least).contains(&length) {
                findings.wrong(
                    CREDENTIALS_SHORT,
                    format!("{name} has {length} characters; {least} is the least"),
                );
            }
        }
    }
    findings.m_line = None;
    for mids in &remote.bundle {
        let mut roles: Vec<Setup> = remote
            .media
            .iter()
            .filter(|line| mids.contains(&line.mid))
            .filter_map(|line| line.setup)
            .collect();
        roles.dedup();
        if roles.len() > 1 {
            findings.wrong(
                SETUP_DIFFERS,
                format!(
                    "the m-lines of one BUNDLE group have different DTLS roles: {}",
                    listed(roles.iter().map(|role| role.as_str()))
                ),
            );
        }
    }
}

/// What concerns `line`.
pub(super) fn media(
    remote: &Remote,
    line: &MediaLine,
    kind: Option<Kind>,
    findings: &mut Findings,
) {
    if is_off(line) {
        return;
    }
    let carrier = tagged(remote, line);
    protocol(line, findings);
    dtls(line, carrier, kind, findings);
    let missing: Vec<_> = [
        ("a=ice-ufrag", line.ice.ufrag || carrier.ice.ufrag),
        ("a=ice-pwd", line.ice.pwd || carrier.ice.pwd),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(name, _)| name)
    .collect();
    if !missing.is_empty() {
        findings.wrong(
            UFRAG,
            format!("no {}: there can be no ICE", listed(missing)),
        );
    }
    if line.kind.is_some() {
        rtcp(remote, line, findings);
    }
    if carrier.index == line.index {
        candidates(remote, line, findings);
    }
}

const NO_FEEDBACK_PROFILE: Rule = Rule("protocol-without-feedback", "RFC 8829 section 5.1.2");
const NO_SRTP: Rule = Rule("protocol-without-srtp", "RFC 8829 section 5.1.2");
const PROTOCOL: Rule = Rule("protocol-unknown", "RFC 8829 section 5.1.2");

fn protocol(line: &MediaLine, findings: &mut Findings) {
    let name = line.protocol.as_str();
    match name.to_ascii_uppercase().rsplit('/').next() {
        Some("SAVPF" | "SCTP") => {}
        Some("SAVP") => findings.unusual(
            NO_FEEDBACK_PROFILE,
            format!("{name} is without early feedback; peers take it as if it were SAVPF"),
        ),
        Some("AVP" | "AVPF") => findings.unusual(
            NO_SRTP,
            format!(
                "{name} is without encryption; peers take it as if it were SAVPF, or refuse it"
            ),
        ),
        // webrtc-datachannel and the like have been written here.
        _ if name.to_ascii_uppercase().contains("SCTP") => {}
        _ => findings.unusual(PROTOCOL, format!("{name} is no protocol of WebRTC")),
    }
}

const FINGERPRINT_MISSING: Rule = Rule("fingerprint-missing", "RFC 8122 section 5");
const FINGERPRINT_WEAK: Rule = Rule("fingerprint-weak", "RFC 8122 section 5");
const FINGERPRINT_BAD: Rule = Rule("fingerprint-malformed", "RFC 8122 section 5");
const SETUP_MISSING: Rule = Rule("setup-missing", "RFC 8842 section 5.1");
const SETUP_ANSWER: Rule = Rule("setup-actpass-in-answer", "RFC 8842 section 5.3");
const SETUP_OFFER: Rule = Rule("setup-fixed-in-offer", "RFC 8842 section 5.2");
const SETUP_HOLD: Rule = Rule("setup-holdconn", "RFC 8842 section 5.1");

fn dtls(line: &MediaLine, carrier: &MediaLine, kind: Option<Kind>, findings: &mut Findings) {
    if line.fingerprints.is_empty() && carrier.fingerprints.is_empty() {
        findings.wrong(
            FINGERPRINT_MISSING,
            "no a=fingerprint: the DTLS certificate cannot be checked",
        );
    }
    for fingerprint in &line.fingerprints {
        let hash = fingerprint.hash.as_str();
        let bytes = match hash {
            "sha-1" => Some(20),
            "sha-224" => Some(28),
            "sha-256" => Some(32),
            "sha-384" => Some(48),
            "sha-512" => Some(64),
            "md5" | "md2" => Some(16),
            _ => None,
        };
        if matches!(hash, "md5" | "md2") {
            findings.wrong(
                FINGERPRINT_WEAK,
                format!("{hash} must not be used for fingerprints"),
            );
        } else if hash == "sha-1" && line.fingerprints.len() == 1 {
            findings.unusual(
                FINGERPRINT_WEAK,
                "the only fingerprint is sha-1; sha-256 is usual",
            );
        }
        let parts: Vec<_> = fingerprint.value.split(':').collect();
        let is_byte = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
        if !parts.iter().all(is_byte) {
            findings.wrong(
                FINGERPRINT_BAD,
                format!("the {hash} fingerprint is not hexadecimal pairs with colons"),
            );
        } else if bytes.is_some_and(|bytes| bytes != parts.len()) {
            findings.wrong(
                FINGERPRINT_BAD,
                format!(
                    "the {hash} fingerprint has {} bytes, not {}",
                    parts.len(),
                    bytes.unwrap_or_default()
                ),
            );
        }
    }
    match (line.setup.or(carrier.setup), kind) {
        (None, _) => findings.wrong(SETUP_MISSING, "no a=setup: nobody knows who starts DTLS"),
        (Some(Setup::ActPass), Some(Kind::Answer)) => findings.wrong(
            SETUP_ANSWER,
            "a=setup:actpass in an answer: it must choose active or passive",
        ),
        (Some(role @ (Setup::Active | Setup::Passive)), Some(Kind::Offer)) => findings.unusual(
            SETUP_OFFER,
            format!(
                "a=setup:{} in an offer: actpass is due in the first one",
                role.as_str()
            ),
        ),
        (Some(Setup::HoldConn), _) => {
            findings.wrong(SETUP_HOLD, "a=setup:holdconn is not for DTLS");
        }
        _ => {}
    }
}

const RTCP_MUX: Rule = Rule("rtcp-mux-missing", "RFC 8834 section 4.5");
const RTCP_MUX_BUNDLED: Rule = Rule("rtcp-mux-missing", "RFC 9143 section 9.3");
const COMPONENT_2: Rule = Rule("candidate-component-2", "RFC 5761 section 5.1.3");

fn rtcp(remote: &Remote, line: &MediaLine, findings: &mut Findings) {
    if !line.rtcp_mux && is_bundled(remote, line) {
        findings.wrong(RTCP_MUX_BUNDLED, "no a=rtcp-mux, which BUNDLE needs");
    } else if !line.rtcp_mux {
        findings.unusual(
            RTCP_MUX,
            "no a=rtcp-mux: RTCP would need a port of its own, which browsers refuse",
        );
    }
    let second = line.candidates.iter().filter(|c| c.component == 2).count();
    if second > 0 && line.rtcp_mux {
        findings.note(
            COMPONENT_2,
            format!("candidates of component 2 (RTCP), which a=rtcp-mux makes needless: {second}"),
        );
    }
}

const NO_CANDIDATES: Rule = Rule("candidates-none", "RFC 8829 section 3.5.2");
const MDNS: Rule = Rule(
    "candidate-mdns",
    "draft-ietf-mmusic-mdns-ice-candidates section 3.2",
);
const LOOPBACK: Rule = Rule("candidates-loopback", "RFC 8445 section 5.1.1.1");
const ONLY_TCP: Rule = Rule("candidates-only-tcp", "RFC 6544 section 4");

fn candidates(remote: &Remote, line: &MediaLine, findings: &mut Findings) {
    let candidates = &line.candidates;
    if candidates.is_empty() {
        if !remote.ice_options.iter().any(|option| option == "trickle") {
            findings.unusual(
                NO_CANDIDATES,
                "no candidates, and no a=ice-options:trickle to say that they come later",
            );
        } else if line.end_of_candidates {
            findings.wrong(NO_CANDIDATES, "no candidates, and a=end-of-candidates");
        }
        return;
    }
    let hidden = candidates.iter().filter(|c| is_mdns(c)).count();
    if hidden > 0 {
        findings.note(
            MDNS,
            format!(
                "mDNS names (.local) hide {hidden} of {} addresses: they are known in their own network only",
                candidates.len()
            ),
        );
    }
    let is_loopback = |c: &Candidate| {
        c.address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
    };
    if candidates.iter().all(is_loopback) {
        findings.unusual(
            LOOPBACK,
            "all candidates are loopback addresses: only this machine reaches them",
        );
    }
    if candidates.iter().all(|c| c.protocol == "tcp") {
        findings.unusual(
            ONLY_TCP,
            "all candidates are TCP, which many peers do not have",
        );
    }
}

/// Whether the candidate hides its address behind an mDNS name.
pub(crate) fn is_mdns(candidate: &Candidate) -> bool {
    candidate.address.to_ascii_lowercase().ends_with(".local")
}
