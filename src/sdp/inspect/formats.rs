// SPDX-License-Identifier: MPL-2.0
//! Payload types, codecs, what repairs them, feedback.

use std::collections::{HashMap, HashSet};

use sdp_types::Media;

use super::super::attributes::payload_value;
use super::super::codecs::{apt, values};
use super::super::findings::{Findings, Rule, listed};
use super::super::model::{MediaLine, Payload, Remote};
use super::super::profiles::Profile;
use super::is_off;
use crate::media::codec::{Codec, MediaKind, parameter};

const PT_REUSED: Rule = Rule("payload-type-reused", "RFC 9143 section 9.1.1");

/// Payload types that mean two things in one BUNDLE group.
pub(super) fn across(remote: &Remote, findings: &mut Findings) {
    findings.m_line = None;
    for mids in &remote.bundle {
        let mut meanings: HashMap<u8, (String, usize)> = HashMap::new();
        let lines = remote
            .media
            .iter()
            .filter(|line| !is_off(line) && !line.mid.is_empty() && mids.contains(&line.mid));
        for line in lines {
            for payload in &line.payloads {
                let meaning = meaning(payload);
                let first = meanings
                    .entry(payload.payload_type)
                    .or_insert_with(|| (meaning.clone(), line.index));
                if first.0 != meaning {
                    findings.wrong(
                        PT_REUSED,
                        format!(
                            "payload type {} is {} in m-line {} and {} in m-line {} of one BUNDLE group",
                            payload.payload_type, first.0, first.1, meaning, line.index
                        ),
                    );
                }
            }
        }
    }
}

/// What a payload type stands for, so that equal texts are the same thing.
fn meaning(payload: &Payload) -> String {
    let Some(name) = &payload.name else {
        return "unknown".to_owned();
    };
    let mut text = format!("{}/{}", name.to_ascii_uppercase(), payload.clock_rate);
    if let Some(channels) = payload.channels.filter(|channels| *channels > 1) {
        text.push_str(&format!("/{channels}"));
    }
    for name in ["apt", "packetization-mode", "profile-id", "profile"] {
        if let Some(value) = parameter(&payload.fmtp, name) {
            text.push_str(&format!(" {name}={value}"));
        }
    }
    if let Some(profile) =
        Profile::of(name, &payload.fmtp).filter(|_| name.eq_ignore_ascii_case("H264"))
    {
        text.push_str(&format!(" {}", profile.name));
    }
    text
}

const FORMAT: Rule = Rule("format-malformed", "RFC 8866 section 5.14");
const FORMAT_TWICE: Rule = Rule("format-twice", "RFC 8866 section 5.14");
const RTPMAP_MISSING: Rule = Rule("rtpmap-missing", "RFC 8866 section 6.6");
const RTPMAP_TWICE: Rule = Rule("rtpmap-twice", "RFC 8866 section 6.6");
const RTPMAP_STRAY: Rule = Rule("rtpmap-stray", "RFC 8866 section 6.6");
const FMTP_STRAY: Rule = Rule("fmtp-stray", "RFC 8866 section 6.15");
const FEEDBACK_STRAY: Rule = Rule("feedback-stray", "RFC 4585 section 4.2");
const PT_RTCP: Rule = Rule("payload-type-like-rtcp", "RFC 5761 section 4");
const NO_CODEC: Rule = Rule("codec-none", "RFC 3264 section 5.1");

/// What concerns `line`, which is audio or video.
pub(super) fn media(remote: &Remote, line: &MediaLine, findings: &mut Findings) {
    let Some(raw) = remote.session.medias.get(line.index) else {
        return;
    };
    let formats = numbers(line, findings);
    let unknown: Vec<_> = line
        .payloads
        .iter()
        .filter(|p| p.name.is_none())
        .map(|p| p.payload_type)
        .collect();
    if !unknown.is_empty() && !is_off(line) {
        findings.wrong(
            RTPMAP_MISSING,
            format!(
                "no a=rtpmap for {}: nobody knows what it is",
                listed(unknown)
            ),
        );
    }
    if line.codecs.is_empty() && !is_off(line) {
        findings.wrong(NO_CODEC, "it names no codec");
    }
    stray(line, raw, &formats, findings);
    retransmission(line, findings);
    codecs(line, findings);
}

/// The payload types of the m-line.
fn numbers(line: &MediaLine, findings: &mut Findings) -> HashSet<u8> {
    let mut formats = HashSet::new();
    for format in &line.formats {
        match format.parse::<u8>() {
            Ok(pt) if pt < 128 => {
                if !formats.insert(pt) {
                    findings.wrong(
                        FORMAT_TWICE,
                        format!("payload type {pt} is in the m-line twice"),
                    );
                }
                if line.rtcp_mux && (64..96).contains(&pt) {
                    findings.wrong(
                        PT_RTCP,
                        format!(
                            "payload type {pt}: 64 to 95 cannot be told from RTCP with a=rtcp-mux"
                        ),
                    );
                }
            }
            _ => findings.wrong(
                FORMAT,
                format!(
                    "\"{}\" is no payload type",
                    format.chars().take(20).collect::<String>()
                ),
            ),
        }
    }
    formats
}

/// Attributes of payload types that are not in the m-line.
fn stray(line: &MediaLine, raw: &Media, formats: &HashSet<u8>, findings: &mut Findings) {
    let mut mapped = HashSet::new();
    for (name, rule) in [("rtpmap", RTPMAP_STRAY), ("fmtp", FMTP_STRAY)] {
        let mut stray: Vec<u8> = Vec::new();
        for (pt, _) in values(raw, name).filter_map(payload_value) {
            if name == "rtpmap" && !mapped.insert(pt) {
                findings.wrong(RTPMAP_TWICE, format!("two a=rtpmap for payload type {pt}"));
            }
            if !formats.contains(&pt) && !stray.contains(&pt) {
                stray.push(pt);
            }
        }
        if !stray.is_empty() && !is_off(line) {
            findings.unusual(
                rule,
                format!("a={name} for {}, not in the m-line", listed(stray)),
            );
        }
    }
    let mut stray: Vec<&str> = values(raw, "rtcp-fb")
        .filter_map(|value| value.split_whitespace().next())
        .filter(|target| {
            *target != "*" && !target.parse().is_ok_and(|pt: u8| formats.contains(&pt))
        })
        .collect();
    stray.dedup();
    stray.truncate(16);
    if !stray.is_empty() && !is_off(line) {
        findings.wrong(
            FEEDBACK_STRAY,
            format!("a=rtcp-fb for {}, not in the m-line", listed(stray)),
        );
    }
}

const APT_MISSING: Rule = Rule("rtx-without-apt", "RFC 4588 section 8.6");
const APT_STRAY: Rule = Rule("rtx-of-nothing", "RFC 4588 section 8.6");
const APT_TWICE: Rule = Rule("rtx-twice", "RFC 4588 section 8.6");

fn retransmission(line: &MediaLine, findings: &mut Findings) {
    let mut repaired = HashMap::new();
    for rtx in line.payloads.iter().filter(|p| is(p, "rtx")) {
        let pt = rtx.payload_type;
        let Some(target) = apt(&rtx.fmtp) else {
            findings.wrong(
                APT_MISSING,
                format!("rtx {pt} has no apt: it repairs nothing"),
            );
            continue;
        };
        let known = line
            .payloads
            .iter()
            .any(|p| p.payload_type == target && !is(p, "rtx"));
        if !known {
            findings.wrong(
                APT_STRAY,
                format!("rtx {pt} repairs {target} (apt), which the m-line does not have"),
            );
        } else if let Some(other) = repaired.insert(target, pt) {
            findings.unusual(
                APT_TWICE,
                format!("rtx {other} and {pt} both repair {target}"),
            );
        }
    }
}

const H264_MODE: Rule = Rule("h264-no-packetization-mode", "RFC 6184 section 8.1");
const H264_NO_PROFILE: Rule = Rule("h264-no-profile", "RFC 6184 section 8.1");
const H264_INTERLEAVED: Rule = Rule("h264-interleaved", "RFC 6184 section 6.4");
const PROFILE: Rule = Rule("profile-malformed", "RFC 6184 section 8.1");
const OPUS: Rule = Rule("opus-rtpmap", "RFC 7587 section 7");
const CLOCK: Rule = Rule("video-clock", "RFC 3551 section 5");
const NO_PLI: Rule = Rule("feedback-no-pli", "RFC 8834 section 5.1.2");

/// Payload types of the codecs that pass `test`.
fn select(line: &MediaLine, test: impl Fn(&Codec) -> bool) -> Vec<u8> {
    let codecs = line.codecs.iter().filter(|codec| test(codec));
    codecs.map(|codec| codec.payload_type).collect()
}

fn codecs(line: &MediaLine, findings: &mut Findings) {
    let is_h264 = |c: &Codec| c.name.eq_ignore_ascii_case("H264");
    let found = [
        (
            select(line, |c| {
                is_h264(c) && c.parameter("packetization-mode").is_none()
            }),
            H264_MODE,
            "H264 without packetization-mode: mode 0, one NAL unit a packet",
        ),
        (
            select(line, |c| {
                is_h264(c) && c.parameter("profile-level-id").is_none()
            }),
            H264_NO_PROFILE,
            "H264 without profile-level-id: Baseline, level 1: pictures of 176x144",
        ),
    ];
    for (payload_types, rule, text) in found {
        if !payload_types.is_empty() {
            findings.note(rule, format!("{text} ({})", listed(payload_types)));
        }
    }
    let interleaved = select(line, |c| {
        is_h264(c) && c.parameter("packetization-mode") == Some("2")
    });
    if !interleaved.is_empty() {
        findings.unusual(
            H264_INTERLEAVED,
            format!(
                "H264 in interleaved mode, which no browser has ({})",
                listed(interleaved)
            ),
        );
    }
    let with_profiles = ["H264", "H265", "VP9", "AV1"];
    let unreadable = select(line, |c| {
        with_profiles
            .iter()
            .any(|name| c.name.eq_ignore_ascii_case(name))
            && Profile::of(&c.name, &c.fmtp).is_none()
    });
    if !unreadable.is_empty() {
        findings.wrong(
            PROFILE,
            format!("the profile of {} cannot be read", listed(unreadable)),
        );
    }
    let opus = select(line, |c| {
        c.name.eq_ignore_ascii_case("opus") && (c.clock_rate, c.channels) != (48_000, Some(2))
    });
    if !opus.is_empty() {
        findings.wrong(
            OPUS,
            format!(
                "Opus is always opus/48000/2, also in mono ({})",
                listed(opus)
            ),
        );
    }
    if line.kind == Some(MediaKind::Video) {
        video(line, findings);
    }
}

fn video(line: &MediaLine, findings: &mut Findings) {
    let odd = select(line, |c| c.clock_rate != 90_000);
    if !odd.is_empty() {
        findings.wrong(
            CLOCK,
            format!("the clock of {} is not 90000 Hz", listed(odd)),
        );
    }
    let deaf = select(line, |c| {
        !c.feedback.iter().any(|f| f == "nack pli" || f == "ccm fir")
    });
    if !deaf.is_empty() && !is_off(line) {
        findings.unusual(
            NO_PLI,
            format!(
                "no nack pli and no ccm fir for {}: no key frame can be asked for",
                listed(deaf)
            ),
        );
    }
}

fn is(payload: &Payload, name: &str) -> bool {
    payload
        .name
        .as_deref()
        .is_some_and(|own| own.eq_ignore_ascii_case(name))
}
