// SPDX-License-Identifier: MPL-2.0
//! The explanation as people read it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::super::findings::{Finding, listed};
use super::super::model::{
    Auxiliary, Candidate, CandidateKind, Layer, RemoteDirection, RidDirection, Setup,
};
use super::super::table::{Table, joined, labelled, printable, wrap_after};
use super::{Bandwidth, CodecRow, Explanation, ExtensionRow, GoogleBitrates, Media};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        header(self, &mut out);
        for line in &self.media {
            out.push('\n');
            media(line, &mut out);
        }
        out.push('\n');
        findings(&self.findings, &mut out);
        f.write_str(&printable(&out))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if matches!(self.kind.as_str(), "AS" | "CT") {
            "kbit/s"
        } else {
            "bit/s"
        };
        write!(f, "{} {} {unit}", self.kind, self.value)
    }
}

fn header(explanation: &Explanation, out: &mut String) {
    let kind = match (explanation.kind, explanation.type_is_a_guess) {
        (None, _) => "a description".to_owned(),
        (Some(kind), false) => kind.as_str().to_owned(),
        (Some(kind), true) => format!("{} (by its DTLS role)", kind.as_str()),
    };
    let origin = &explanation.origin;
    let writer = if origin.username.starts_with("mozilla") {
        ", written by Firefox"
    } else {
        ""
    };
    labelled(out, 0, "type", &format!("{kind}{writer}"));
    labelled(
        out,
        0,
        "session",
        &format!("{}, version {}", origin.session_id, origin.version),
    );
    if explanation.bundle.is_empty() {
        labelled(out, 0, "BUNDLE", "none");
    }
    for mids in &explanation.bundle {
        labelled(out, 0, "BUNDLE", &mids.join(" "));
    }
    let ice = &explanation.ice;
    let mut words = vec![if ice.lite { "lite" } else { "full" }.to_owned()];
    words.push(if ice.trickle { "trickle" } else { "no trickle" }.to_owned());
    words.extend(
        ice.options
            .iter()
            .filter(|option| *option != "trickle")
            .cloned(),
    );
    labelled(out, 0, "ICE", &words.join(", "));
    let dtls = &explanation.dtls;
    let roles: Vec<_> = dtls.setup.iter().map(|role| role_in_words(*role)).collect();
    let roles = if roles.is_empty() {
        "no role".to_owned()
    } else {
        listed(roles)
    };
    labelled(out, 0, "DTLS", &roles);
    for fingerprint in &dtls.fingerprints {
        labelled(
            out,
            0,
            "",
            &format!("{} {}", fingerprint.hash, fingerprint.value),
        );
    }
    if let Some(semantic) = &explanation.msid_semantic {
        labelled(out, 0, "msid", semantic);
    }
}

fn role_in_words(role: Setup) -> String {
    let words = match role {
        Setup::Active => "the writer is the client",
        Setup::Passive => "the writer is the server",
        Setup::ActPass => "client or server, the answer chooses",
        Setup::HoldConn => "no connection now",
    };
    format!("{}: {words}", role.as_str())
}

fn direction_in_words(direction: RemoteDirection) -> &'static str {
    match (direction.sends, direction.receives) {
        (true, true) => "the writer sends and receives",
        (true, false) => "the writer only sends",
        (false, true) => "the writer only receives",
        (false, false) => "nothing flows",
    }
}

fn media(line: &Media, out: &mut String) {
    let mid = if line.mid.is_empty() {
        "no mid".to_owned()
    } else {
        format!("mid {}", line.mid)
    };
    let what = if line.rejected {
        "port 0: rejected or stopped".to_owned()
    } else if line.sctp.is_some() {
        "data channels".to_owned()
    } else {
        format!(
            "{}: {}",
            line.direction.as_str(),
            direction_in_words(line.direction)
        )
    };
    wrap_after(
        out,
        &format!("m-line {}  ", line.index),
        &format!("{}, {mid}, {what}", line.kind),
    );
    let mut transport = vec![format!("{}, port {}", line.protocol, line.port)];
    for (there, word) in [
        (line.rtcp_mux, "rtcp-mux"),
        (line.rtcp_rsize, "rtcp-rsize"),
        (line.bundle_only, "bundle-only"),
    ] {
        if there {
            transport.push(word.to_owned());
        }
    }
    labelled(out, 2, "transport", &transport.join(", "));
    for msid in &line.msid {
        let track = msid
            .track
            .as_deref()
            .map(|track| format!(", track {track}"));
        labelled(
            out,
            2,
            "stream",
            &format!("{}{}", msid.stream, track.unwrap_or_default()),
        );
    }
    if let Some(sctp) = &line.sctp {
        let mut words = vec![match sctp.port {
            Some(port) => format!("port {port}"),
            None => "no port".to_owned(),
        }];
        if let Some(size) = sctp.max_message_size {
            words.push(match size {
                0 => "messages of any size".to_owned(),
                size => format!("messages up to {size} bytes"),
            });
        }
        if let Some(streams) = sctp.streams {
            words.push(format!("{streams} streams"));
        }
        labelled(out, 2, "SCTP", &words.join(", "));
    }
    codecs(line, out);
    extensions(line, out);
    sources(line, out);
    simulcast(line, out);
    let bandwidth: Vec<_> = line.bandwidth.iter().map(ToString::to_string).collect();
    if !bandwidth.is_empty() {
        labelled(out, 2, "bandwidth", &bandwidth.join(", "));
    }
    candidates(line, out);
}

fn codecs(line: &Media, out: &mut String) {
    if !line.codecs.is_empty() {
        let mut table = Table::default();
        table.row(["PT", "codec", "profile, level", "mode", "RTX", "feedback"]);
        for codec in &line.codecs {
            table.row([
                &codec.payload_type.to_string(),
                &codec.encoding(),
                &codec
                    .profile
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                &codec
                    .packetization_mode
                    .map(|mode| mode.to_string())
                    .unwrap_or_default(),
                &codec
                    .rtx_payload_type
                    .map(|pt| pt.to_string())
                    .unwrap_or_default(),
                &codec.feedback.join(", "),
            ]);
        }
        out.push('\n');
        table.write(out, 4);
        out.push('\n');
    }
    let parameters = grouped(&line.codecs, |codec| {
        Some(codec.parameters.join("; ")).filter(|text| !text.is_empty())
    });
    for (text, payload_types) in parameters {
        labelled(
            out,
            2,
            "parameters",
            &format!("{}: {text}", payload_types.join(", ")),
        );
    }
    for (text, payload_types) in grouped(&line.codecs, |codec| bitrates(&codec.google_bitrates)) {
        labelled(
            out,
            2,
            "x-google",
            &format!("{}: {text}", payload_types.join(", ")),
        );
    }
    for (label, rows) in [("FEC", &line.fec), ("other", &line.other_formats)] {
        if !rows.is_empty() {
            let rows: Vec<_> = rows.iter().map(auxiliary).collect();
            labelled(out, 2, label, &rows.join(", "));
        }
    }
}

fn auxiliary(row: &Auxiliary) -> String {
    let rtx = row
        .rtx_payload_type
        .map(|pt| format!(", RTX {pt}"))
        .unwrap_or_default();
    format!(
        "{} {} ({} Hz{rtx})",
        row.payload_type, row.name, row.clock_rate
    )
}

/// What `text` gives, in the order of the codecs, with the payload types that share it.
fn grouped(
    codecs: &[CodecRow],
    text: impl Fn(&CodecRow) -> Option<String>,
) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for codec in codecs {
        let Some(text) = text(codec) else { continue };
        let payload_type = codec.payload_type.to_string();
        match groups.iter_mut().find(|(known, _)| *known == text) {
            Some((_, payload_types)) => payload_types.push(payload_type),
            None => groups.push((text, vec![payload_type])),
        }
    }
    groups
}

fn bitrates(bitrates: &GoogleBitrates) -> Option<String> {
    let words: Vec<_> = [
        ("start", bitrates.start),
        ("min", bitrates.min),
        ("max", bitrates.max),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| format!("{name} {value} kbit/s")))
    .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn extensions(line: &Media, out: &mut String) {
    let words: Vec<_> = line.extensions.iter().map(ExtensionRow::in_words).collect();
    if !words.is_empty() {
        labelled(out, 2, "extensions", &words.join(", "));
    }
}

impl ExtensionRow {
    /// Id, name and direction, as one word for a wrapped text.
    pub(in crate::sdp) fn in_words(&self) -> String {
        let direction = self.direction.map(|d| format!(" ({})", d.as_str()));
        joined(&format!(
            "{} {}{}",
            self.id,
            self.name,
            direction.unwrap_or_default()
        ))
    }
}

fn sources(line: &Media, out: &mut String) {
    let mut in_groups: HashSet<u32> = HashSet::new();
    for group in &line.groups {
        let ssrcs: Vec<_> = group.ssrcs.iter().map(ToString::to_string).collect();
        in_groups.extend(&group.ssrcs);
        let words = match (group.semantics.as_str(), ssrcs.as_slice()) {
            ("FID", [media, rtx]) => format!("{media}, RTX {rtx} (FID)"),
            ("FEC-FR", [media, fec]) => format!("{media}, FEC {fec} (FEC-FR)"),
            ("SIM", layers) => format!("simulcast layers {} (SIM)", layers.join(", ")),
            (semantics, ssrcs) => format!("{} ({semantics})", ssrcs.join(", ")),
        };
        labelled(out, 2, "SSRC", &words);
    }
    let alone = line.sources.iter().filter(|s| !in_groups.contains(&s.ssrc));
    for source in alone {
        labelled(out, 2, "SSRC", &source.ssrc.to_string());
    }
    let mut names: Vec<_> = line
        .sources
        .iter()
        .filter_map(|s| s.cname.as_deref())
        .collect();
    names.dedup();
    if !names.is_empty() {
        labelled(out, 2, "CNAME", &names.join(", "));
    }
}

fn simulcast(line: &Media, out: &mut String) {
    for rid in &line.rids {
        let word = match rid.direction {
            RidDirection::Send => "send",
            RidDirection::Recv => "recv",
        };
        labelled(
            out,
            2,
            "rid",
            format!("{} {word} {}", rid.id, rid.parameters).trim(),
        );
    }
    let Some(simulcast) = &line.simulcast else {
        return;
    };
    for (word, layers) in [("sends", &simulcast.send), ("receives", &simulcast.recv)] {
        if !layers.is_empty() {
            let words: Vec<_> = layers.iter().map(|layer| alternatives(layer)).collect();
            labelled(
                out,
                2,
                "simulcast",
                &format!(
                    "the writer {word} {} layers: {}",
                    layers.len(),
                    words.join(", ")
                ),
            );
        }
    }
}

fn alternatives(layers: &[Layer]) -> String {
    let words: Vec<_> = layers
        .iter()
        .map(|layer| match layer.paused {
            true => format!("{} (paused)", layer.rid),
            false => layer.rid.clone(),
        })
        .collect();
    words.join(" or ")
}

fn candidates(line: &Media, out: &mut String) {
    if line.candidates.is_empty() {
        return;
    }
    let mut counts: BTreeMap<CandidateKind, usize> = BTreeMap::new();
    for candidate in &line.candidates {
        *counts.entry(candidate.kind).or_default() += 1;
    }
    let mut words: Vec<_> = counts
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    words.push(
        if line.end_of_candidates {
            "no more will come"
        } else {
            "more may come"
        }
        .to_owned(),
    );
    labelled(out, 2, "candidates", &words.join(", "));
    let mut table = Table::default();
    table.row(["kind", "", "address", "", "priority"]);
    for candidate in &line.candidates {
        let tcp = candidate.tcp_type.as_deref().map(|kind| format!(" {kind}"));
        let component = match candidate.component {
            1 => String::new(),
            2 => "RTCP".to_owned(),
            other => format!("component {other}"),
        };
        table.row([
            candidate.kind.as_str(),
            &format!("{}{}", candidate.protocol, tcp.unwrap_or_default()),
            &address(candidate),
            &component,
            &candidate.priority.to_string(),
        ]);
    }
    table.write(out, 4);
}

fn address(candidate: &Candidate) -> String {
    if candidate.address.contains(':') {
        format!("[{}]:{}", candidate.address, candidate.port)
    } else {
        format!("{}:{}", candidate.address, candidate.port)
    }
}

fn findings(findings: &[Finding], out: &mut String) {
    if findings.is_empty() {
        out.push_str("Nothing unusual or wrong was found.\n");
    } else {
        out.push_str("Unusual or wrong\n");
        write_findings(findings, out);
    }
}

/// One entry for each.
pub(in crate::sdp) fn write_findings(findings: &[Finding], out: &mut String) {
    for finding in findings {
        let place = finding
            .m_line
            .map(|index| format!("m-line {index}: "))
            .unwrap_or_default();
        let reference = joined(finding.reference);
        wrap_after(
            out,
            &format!("  {:<9}", finding.severity.as_str()),
            &format!("{place}{} ({reference})", finding.text),
        );
    }
}
