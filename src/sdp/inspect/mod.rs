// SPDX-License-Identifier: MPL-2.0
//! Looks for what is wrong or unusual in one description.
//!
//! Invariant: says what a rule forbids or what is known to cause trouble, each with its RFC; never
//! repeats an ICE password or an SDES key.

mod formats;
mod streams;
mod transport;

use std::collections::{HashMap, HashSet};

use super::codecs::values;
use super::findings::{Finding, Findings, Rule, listed};
use super::model::{MediaLine, Remote};

/// Which of the two a description is (RFC 3264).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The first one.
    Offer,
    /// The reply.
    Answer,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

/// Everything that is wrong or unusual in `remote`, the worst first. Without `kind`, what only an
/// offer or only an answer may not have is passed over.
pub fn inspect(remote: &Remote, kind: Option<Kind>) -> Vec<Finding> {
    let mut findings = Findings::default();
    session(remote, &mut findings);
    groups(remote, &mut findings);
    transport::session(remote, &mut findings);
    formats::across(remote, &mut findings);
    streams::across(remote, &mut findings);
    let bundled = remote
        .audio_video()
        .filter(|(line, _)| !line.rejected && is_bundled(remote, line))
        .count();
    for line in &remote.media {
        findings.m_line = Some(line.index);
        media(remote, line, &mut findings);
        transport::media(remote, line, kind, &mut findings);
        if line.kind.is_some() {
            formats::media(remote, line, &mut findings);
            streams::media(remote, line, bundled, &mut findings);
        }
        streams::data(line, &mut findings);
    }
    findings.sorted()
}

/// Position of the m-line whose transport `line` uses: the first of its BUNDLE group, or its own.
pub(super) fn tagged<'a>(remote: &'a Remote, line: &'a MediaLine) -> &'a MediaLine {
    remote
        .bundle
        .iter()
        .find(|mids| !line.mid.is_empty() && mids.contains(&line.mid))
        .and_then(|mids| remote.media.iter().find(|m| Some(&m.mid) == mids.first()))
        .unwrap_or(line)
}

/// Whether `line` is in a BUNDLE group.
pub(super) fn is_bundled(remote: &Remote, line: &MediaLine) -> bool {
    !line.mid.is_empty() && remote.bundle.iter().any(|mids| mids.contains(&line.mid))
}

/// Off for good, as opposed to bundle-only.
pub(super) fn is_off(line: &MediaLine) -> bool {
    line.rejected
}

const NO_MEDIA: Rule = Rule("no-media", "RFC 3264 section 5");
const UNREADABLE_SESSION: Rule = Rule("unreadable", "RFC 8866 section 5.13");

fn session(remote: &Remote, findings: &mut Findings) {
    if remote.media.is_empty() {
        findings.unusual(NO_MEDIA, "it has no m-line: there is nothing to agree on");
    }
    for unreadable in &remote.unreadable {
        findings.wrong(UNREADABLE_SESSION, unreadable.to_string());
    }
}

const MID_DUPLICATE: Rule = Rule("mid-duplicate", "RFC 5888 section 4");
const MID_MISSING: Rule = Rule("mid-missing", "RFC 8829 section 5.2.1");
const BUNDLE_UNKNOWN_MID: Rule = Rule("bundle-unknown-mid", "RFC 9143 section 7.1");
const BUNDLE_TWICE: Rule = Rule("bundle-twice", "RFC 9143 section 5");
const BUNDLE_WITHOUT_MID: Rule = Rule("bundle-without-mid", "RFC 9143 section 7.1");
const BUNDLE_OFF: Rule = Rule("bundle-rejected", "RFC 9143 section 7.1");
const BUNDLE_NONE: Rule = Rule("bundle-none", "RFC 9143 section 5");
const BUNDLE_ONLY: Rule = Rule("bundle-only", "RFC 9143 section 6");
const BUNDLE_ONLY_ALONE: Rule = Rule("bundle-only-alone", "RFC 9143 section 6");

fn groups(remote: &Remote, findings: &mut Findings) {
    let mut mids = HashMap::new();
    for line in &remote.media {
        findings.m_line = Some(line.index);
        if !line.mid.is_empty()
            && let Some(other) = mids.insert(line.mid.as_str(), line.index)
        {
            findings.wrong(
                MID_DUPLICATE,
                format!("its mid \"{}\" is also that of m-line {other}", line.mid),
            );
        }
    }
    findings.m_line = None;
    let mut seen = HashSet::new();
    for mid in remote.bundle.iter().flatten() {
        match mids.get(mid.as_str()) {
            None => findings.wrong(
                BUNDLE_UNKNOWN_MID,
                format!("a=group:BUNDLE names \"{mid}\", which is the mid of no m-line"),
            ),
            Some(index) if remote.media.get(*index).is_some_and(is_off) => {
                findings.wrong(
                    BUNDLE_OFF,
                    format!("a=group:BUNDLE names \"{mid}\", the mid of an m-line with port 0"),
                );
            }
            Some(_) => {}
        }
        if !seen.insert(mid) {
            findings.wrong(
                BUNDLE_TWICE,
                format!("a=group:BUNDLE has \"{mid}\" more than once"),
            );
        }
    }
    let live = remote.media.iter().filter(|line| !line.rejected).count();
    if remote.bundle.is_empty() && live > 1 {
        findings.note(
            BUNDLE_NONE,
            format!("no a=group:BUNDLE: its {live} m-lines need a transport each"),
        );
    }
}

const UNREADABLE: Rule = Rule("unreadable", "RFC 8866 section 5.13");
const TWO_DIRECTIONS: Rule = Rule("direction-twice", "RFC 8866 section 6.7");
const SDES: Rule = Rule("sdes", "RFC 8827 section 6.5");
const PORT_0: Rule = Rule("port-0", "RFC 3264 section 6");

fn media(remote: &Remote, line: &MediaLine, findings: &mut Findings) {
    if line.mid.is_empty() {
        if !remote.bundle.is_empty() && !line.rejected {
            findings.wrong(
                BUNDLE_WITHOUT_MID,
                "no a=mid: it cannot be in the BUNDLE group that the session has",
            );
        } else if !line.rejected {
            findings.unusual(
                MID_MISSING,
                "no a=mid: it is known by its position alone, and cannot be bundled",
            );
        }
    }
    if line.rejected {
        findings.note(PORT_0, "port 0: this m-line is rejected, or was stopped");
    }
    if line.bundle_only && line.port == 0 && is_bundled(remote, line) {
        findings.note(
            BUNDLE_ONLY,
            "port 0 with a=bundle-only: no rejection, it has the transport of its BUNDLE group",
        );
    }
    if line.bundle_only && !is_bundled(remote, line) {
        findings.wrong(
            BUNDLE_ONLY_ALONE,
            "a=bundle-only, and it is in no BUNDLE group: it has no transport at all",
        );
    }
    for unreadable in &line.unreadable {
        let rule = match unreadable.attribute.as_str() {
            "extmap" => Rule("extension-unreadable", "RFC 8285 section 5"),
            "candidate" => Rule("candidate-unreadable", "RFC 8839 section 5.1"),
            "fingerprint" => Rule("fingerprint-unreadable", "RFC 8122 section 5"),
            "rtpmap" => Rule("rtpmap-unreadable", "RFC 8866 section 6.6"),
            "ssrc" | "ssrc-group" => Rule("ssrc-unreadable", "RFC 5576 section 4"),
            "rid" => Rule("rid-unreadable", "RFC 8851 section 4"),
            "simulcast" => Rule("simulcast-unreadable", "RFC 8853 section 5.1"),
            "setup" => Rule("setup-unreadable", "RFC 4145 section 4"),
            _ => UNREADABLE,
        };
        findings.wrong(rule, unreadable.to_string());
    }
    let Some(raw) = remote.session.medias.get(line.index) else {
        return;
    };
    let directions: Vec<_> = raw
        .attributes
        .iter()
        .map(|a| a.attribute.as_str())
        .filter(|name| super::model::RemoteDirection::from_attribute(name).is_some())
        .collect();
    if directions.len() > 1 {
        findings.wrong(
            TWO_DIRECTIONS,
            format!(
                "it has {} directions: {}; the first counts here",
                directions.len(),
                listed(directions)
            ),
        );
    }
    if values(raw, "crypto").next().is_some() {
        findings.unusual(
            SDES,
            "a=crypto offers SRTP keys in the clear (SDES), which WebRTC forbids",
        );
    }
}

#[cfg(test)]
pub(super) mod tests;
