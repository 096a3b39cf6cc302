// SPDX-License-Identifier: MPL-2.0
//! Header extensions, sources, simulcast, data channels.

use std::collections::{HashMap, HashSet};

use super::super::extensions::{MID, RID, name};
use super::super::findings::{Findings, Rule, listed};
use super::super::model::{MediaLine, Remote, RidDirection};
use super::{is_bundled, is_off};

const SSRC_TWICE: Rule = Rule("ssrc-twice", "RFC 3550 section 8");
const EXTENSION_BUNDLE: Rule = Rule("extension-id-reused", "RFC 9143 section 12");

/// What must not be the same, or must, in several m-lines.
pub(super) fn across(remote: &Remote, findings: &mut Findings) {
    let mut ssrcs = HashMap::new();
    for line in remote.media.iter().filter(|line| !is_off(line)) {
        findings.m_line = Some(line.index);
        for source in &line.sources {
            if let Some(other) = ssrcs.insert(source.ssrc, line.index) {
                findings.wrong(
                    SSRC_TWICE,
                    format!(
                        "SSRC {} is also that of a source in m-line {other}",
                        source.ssrc
                    ),
                );
            }
        }
    }
    findings.m_line = None;
    for mids in &remote.bundle {
        let mut ids: HashMap<u8, (&str, usize)> = HashMap::new();
        for line in remote
            .media
            .iter()
            .filter(|line| !line.mid.is_empty() && mids.contains(&line.mid))
        {
            for extension in &line.extensions {
                let first = ids
                    .entry(extension.id)
                    .or_insert((&extension.uri, line.index));
                if first.0 != extension.uri && first.1 != line.index {
                    findings.wrong(
                        EXTENSION_BUNDLE,
                        format!(
                            "extension id {} is {} in m-line {} and {} in m-line {} of one BUNDLE group",
                            extension.id,
                            name(first.0),
                            first.1,
                            name(&extension.uri),
                            line.index
                        ),
                    );
                }
            }
        }
    }
}

/// What concerns `line`, which is audio or video and one of so many `bundled`.
pub(super) fn media(remote: &Remote, line: &MediaLine, bundled: usize, findings: &mut Findings) {
    extensions(line, findings);
    sources(remote, line, bundled, findings);
    simulcast(line, findings);
}

const ID_TWICE: Rule = Rule("extension-id-twice", "RFC 8285 section 5");
const URI_TWICE: Rule = Rule("extension-twice", "RFC 8285 section 5");
const ID_15: Rule = Rule("extension-id-15", "RFC 8285 section 4.2");
const TWO_BYTES: Rule = Rule("extension-two-byte", "RFC 8285 section 6");

fn extensions(line: &MediaLine, findings: &mut Findings) {
    let mut ids = HashMap::new();
    let mut uris = HashMap::new();
    for extension in &line.extensions {
        let (id, uri) = (extension.id, extension.uri.as_str());
        if let Some(other) = ids.insert(id, uri) {
            findings.wrong(
                ID_TWICE,
                format!(
                    "extension id {id} is both {} and {}",
                    name(other),
                    name(uri)
                ),
            );
        }
        if let Some(other) = uris.insert((uri, extension.parameters.as_str()), id)
            && other != id
        {
            findings.unusual(
                URI_TWICE,
                format!("{} has the ids {other} and {id}", name(uri)),
            );
        }
        if id == 15 {
            findings.wrong(
                ID_15,
                format!("{} has id 15, which ends a one-byte header", name(uri)),
            );
        } else if id > 15 && !line.extmap_allow_mixed {
            findings.note(
                TWO_BYTES,
                format!("{} has id {id}, which needs two-byte headers", name(uri)),
            );
        }
    }
}

const PLAN_B: Rule = Rule("plan-b", "RFC 8829 section 5.2.1");
const SOURCES_UNSENT: Rule = Rule("ssrc-not-sent", "RFC 3264 section 5.1");
const STREAM_UNNAMED: Rule = Rule("stream-unnamed", "RFC 8829 section 5.2.1");
const FID: Rule = Rule("ssrc-group-fid", "RFC 4588 section 8.8");
const GROUP_STRAY: Rule = Rule("ssrc-group-stray", "RFC 5576 section 4.2");
const SIM: Rule = Rule("simulcast-by-ssrc", "RFC 8853 section 5.1");
const CONFERENCE: Rule = Rule("google-conference", "RFC 8853 section 5.1");
const NO_MID_EXTENSION: Rule = Rule("extension-mid-missing", "RFC 9143 section 9.2");

fn sources(remote: &Remote, line: &MediaLine, bundled: usize, findings: &mut Findings) {
    let has_sim = line.groups.iter().any(|(kind, _)| kind == "SIM");
    let tracks: HashSet<_> = line
        .msid
        .iter()
        .filter_map(|msid| msid.track.as_deref())
        .collect();
    let pairs = line.groups.iter().filter(|(kind, _)| kind == "FID").count();
    if tracks.len() > 1 || (pairs > 1 && !has_sim) {
        findings.unusual(
            PLAN_B,
            format!(
                "several streams in one m-line (Plan B; tracks: {}, FID groups: {pairs}): browsers of today refuse it",
                tracks.len()
            ),
        );
    }
    if is_off(line) {
        return;
    }
    if !line.sources.is_empty() && !line.direction.sends {
        findings.unusual(
            SOURCES_UNSENT,
            format!(
                "it is {}, and names SSRCs ({}): the writer sends nothing here",
                line.direction.as_str(),
                line.sources.len()
            ),
        );
    }
    if line.direction.sends
        && line.sources.is_empty()
        && line.msid.is_empty()
        && line.rids.is_empty()
    {
        findings.note(
            STREAM_UNNAMED,
            format!(
                "{}, but no a=msid and no a=ssrc: the writer may send, and names no stream",
                line.direction.as_str()
            ),
        );
    }
    groups(line, findings);
    if has_sim {
        findings.note(SIM, "simulcast by an SSRC group (SIM), as before RFC 8853");
    }
    let raw = remote.session.medias.get(line.index);
    if raw.is_some_and(|raw| {
        raw.attributes
            .iter()
            .any(|a| a.attribute == "x-google-flag")
    }) {
        findings.note(
            CONFERENCE,
            "a=x-google-flag: an old switch of Chrome for simulcast",
        );
    }
    let has_mid = line.extensions.iter().any(|extension| extension.uri == MID);
    if bundled > 1 && !has_mid && line.sources.is_empty() && is_bundled(remote, line) {
        findings.unusual(
            NO_MID_EXTENSION,
            "several bundled streams, and neither the mid extension nor SSRCs tell which is which",
        );
    }
}

fn groups(line: &MediaLine, findings: &mut Findings) {
    let known: HashSet<_> = line.sources.iter().map(|source| source.ssrc).collect();
    for (kind, ssrcs) in &line.groups {
        if kind == "FID" && ssrcs.len() != 2 {
            findings.wrong(
                FID,
                format!(
                    "an FID group of {}: it must be a stream and its retransmissions",
                    ssrcs.len()
                ),
            );
        }
        let stray: Vec<_> = ssrcs
            .iter()
            .filter(|ssrc| !known.contains(ssrc))
            .take(8)
            .collect();
        if !stray.is_empty() {
            findings.unusual(
                GROUP_STRAY,
                format!(
                    "the {kind} group names {}, without an a=ssrc line",
                    listed(stray)
                ),
            );
        }
    }
}

const RID_TWICE: Rule = Rule("rid-twice", "RFC 8851 section 4");
const SIMULCAST_OLD: Rule = Rule("simulcast-old-form", "RFC 8853 section 5.1");
const SIMULCAST_STRAY: Rule = Rule("simulcast-without-rid", "RFC 8853 section 5.2");
const RID_EXTENSION: Rule = Rule("simulcast-without-extension", "RFC 8852 section 3");

fn simulcast(line: &MediaLine, findings: &mut Findings) {
    let mut ids = HashSet::new();
    for rid in &line.rids {
        if !ids.insert(rid.id.as_str()) {
            findings.wrong(RID_TWICE, format!("two a=rid with the id \"{}\"", rid.id));
        }
    }
    let Some(simulcast) = &line.simulcast else {
        return;
    };
    if simulcast.old_form {
        findings.unusual(
            SIMULCAST_OLD,
            "a=simulcast as in the drafts (rid=…); today it is a=simulcast:send r0;r1",
        );
    }
    for (layers, direction, word) in [
        (&simulcast.send, RidDirection::Send, "send"),
        (&simulcast.recv, RidDirection::Recv, "recv"),
    ] {
        let stray: Vec<_> = layers
            .iter()
            .flatten()
            .filter(|layer| {
                !line
                    .rids
                    .iter()
                    .any(|rid| rid.id == layer.rid && rid.direction == direction)
            })
            .map(|layer| layer.rid.as_str())
            .take(8)
            .collect();
        if !stray.is_empty() {
            findings.wrong(
                SIMULCAST_STRAY,
                format!(
                    "a=simulcast:{word} names {}, without an a=rid … {word}",
                    listed(stray)
                ),
            );
        }
    }
    if !line.extensions.iter().any(|extension| extension.uri == RID) {
        findings.unusual(
            RID_EXTENSION,
            "simulcast without the rid extension: the layers cannot be told apart",
        );
    }
}

const SCTP_OLD: Rule = Rule("data-old-form", "RFC 8841 section 4");
const SCTP_PORT: Rule = Rule("data-no-port", "RFC 8841 section 5");

/// What concerns `line` if it carries data channels.
pub(super) fn data(line: &MediaLine, findings: &mut Findings) {
    let Some(sctp) = line.sctp.as_ref().filter(|_| !is_off(line)) else {
        return;
    };
    if sctp.old_form {
        findings.note(
            SCTP_OLD,
            format!(
                "data channels in the form of the drafts ({} with a=sctpmap), as before 2019",
                line.protocol
            ),
        );
    }
    if sctp.port.is_none() {
        findings.wrong(SCTP_PORT, "no a=sctp-port: there can be no data channel");
    }
}
