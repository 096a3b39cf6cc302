// SPDX-License-Identifier: MPL-2.0
//! The agreement as people read it.

use std::fmt;

use super::super::explain::{ExtensionRow, write_findings};
use super::super::findings::Finding;
use super::super::inspect::Kind;
use super::super::table::{Table, labelled, printable, wrap_after};
use super::{AgreedCodec, AgreedLine, Agreement, LineState};

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        if self.bundle.is_empty() {
            labelled(&mut out, 0, "BUNDLE", "none");
        }
        for mids in &self.bundle {
            labelled(&mut out, 0, "BUNDLE", &mids.join(" "));
        }
        let controlling = format!("the {} is controlling", side(self.ice_controlling));
        labelled(&mut out, 0, "ICE", &controlling);
        for line in &self.lines {
            out.push('\n');
            media(line, &mut out);
        }
        out.push('\n');
        list("The answer", &self.findings, &mut out);
        list("In the offer itself", &self.wrong_in_offer, &mut out);
        list("In the answer itself", &self.wrong_in_answer, &mut out);
        out.push_str(if self.is_broken() {
            "Rules are broken.\n"
        } else {
            "No rule is broken.\n"
        });
        f.write_str(&printable(&out))
    }
}

fn side(kind: Kind) -> &'static str {
    match kind {
        Kind::Offer => "offerer",
        Kind::Answer => "answerer",
    }
}

fn list(title: &str, findings: &[Finding], out: &mut String) {
    if !findings.is_empty() {
        out.push_str(title);
        out.push('\n');
        write_findings(findings, out);
        out.push('\n');
    }
}

fn media(line: &AgreedLine, out: &mut String) {
    let mid = if line.mid.is_empty() {
        "no mid".to_owned()
    } else {
        format!("mid {}", line.mid)
    };
    let is_data = line.sctp.iter().any(Option::is_some);
    let what = match line.state {
        LineState::Agreed if is_data => "data channels",
        LineState::Agreed => match (line.offerer.sends, line.offerer.receives) {
            (true, true) => "both ways",
            (true, false) => "offerer to answerer",
            (false, true) => "answerer to offerer",
            (false, false) => "nothing flows",
        },
        LineState::RejectedByAnswer => "rejected by the answer",
        LineState::OffInOffer => "off in the offer",
        LineState::MissingInAnswer => "missing in the answer",
        LineState::NotOffered => "not in the offer",
    };
    wrap_after(
        out,
        &format!("m-line {}  ", line.index),
        &format!("{}, {mid}: {what}", line.kind),
    );
    if line.state != LineState::Agreed {
        return;
    }
    if let (false, Some(offered), Some(answered)) =
        (is_data, line.offered_direction, line.answered_direction)
    {
        let text = format!(
            "offered {}, answered {}",
            offered.as_str(),
            answered.as_str()
        );
        labelled(out, 2, "direction", &text);
    }
    let client = match line.dtls_client {
        Some(kind) => format!("the {} is the client", side(kind)),
        None => "no role is agreed".to_owned(),
    };
    labelled(out, 2, "DTLS", &client);
    codecs(line, out);
    if !line.other_formats.is_empty() {
        labelled(out, 2, "also", &line.other_formats.join(", "));
    }
    let extensions: Vec<_> = line.extensions.iter().map(ExtensionRow::in_words).collect();
    if !extensions.is_empty() {
        labelled(out, 2, "extensions", &extensions.join(", "));
    }
    let rtcp: Vec<_> = [(line.rtcp_mux, "rtcp-mux"), (line.rtcp_rsize, "rtcp-rsize")]
        .into_iter()
        .filter(|(agreed, _)| *agreed)
        .map(|(_, word)| word)
        .collect();
    if !rtcp.is_empty() {
        labelled(out, 2, "RTCP", &rtcp.join(", "));
    }
    of_each_side(line, out);
}

/// What each side says for itself.
fn of_each_side(line: &AgreedLine, out: &mut String) {
    let sides = [Kind::Offer, Kind::Answer];
    for (layers, kind) in line.simulcast.iter().zip(sides) {
        if !layers.is_empty() {
            let text = format!("the {} sends {}", side(kind), layers.join(", "));
            labelled(out, 2, "simulcast", &text);
        }
    }
    for (bandwidth, kind) in line.bandwidth.iter().zip(sides) {
        if !bandwidth.is_empty() {
            let words: Vec<_> = bandwidth.iter().map(ToString::to_string).collect();
            labelled(
                out,
                2,
                "bandwidth",
                &format!("to the {}: {}", side(kind), words.join(", ")),
            );
        }
    }
    for (sctp, kind) in line.sctp.iter().zip(sides) {
        if let Some(size) = sctp.as_ref().and_then(|sctp| sctp.max_message_size) {
            let text = format!("the {} takes messages up to {size} bytes", side(kind));
            labelled(out, 2, "SCTP", &text);
        }
    }
}

fn codecs(line: &AgreedLine, out: &mut String) {
    if line.codecs.is_empty() {
        return;
    }
    let mut table = Table::default();
    table.row(["PT", "codec", "profile, level", "RTX", "feedback"]);
    for codec in &line.codecs {
        let channels = codec.channels.map(|channels| format!("/{channels}"));
        table.row([
            &numbers(codec),
            &format!(
                "{}/{}{}",
                codec.name,
                codec.clock_rate,
                channels.unwrap_or_default()
            ),
            &profile(codec),
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

fn numbers(codec: &AgreedCodec) -> String {
    let (offered, answered) = (codec.offered_payload_type, codec.answered_payload_type);
    if offered == answered {
        offered.to_string()
    } else {
        format!("{offered} offered, {answered} answered")
    }
}

fn profile(codec: &AgreedCodec) -> String {
    match (&codec.offered_profile, &codec.answered_profile) {
        (Some(offered), Some(answered)) if offered.level != answered.level => format!(
            "{offered}, answered {}",
            answered.level.as_deref().unwrap_or("without level")
        ),
        (Some(profile), _) | (None, Some(profile)) => profile.to_string(),
        (None, None) => String::new(),
    }
}
