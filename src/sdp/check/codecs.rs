// SPDX-License-Identifier: MPL-2.0
//! Codecs in common, and the rules about payload types and format parameters.

use crate::media::codec::Codec;

use super::super::codecs::apt;
use super::super::findings::{Findings, Rule, listed};
use super::super::model::{Auxiliary, MediaLine};
use super::super::profiles::Profile;
use super::AgreedCodec;

const NONE: Rule = Rule("codec-none-in-common", "RFC 3264 section 6.1");
const NOT_OFFERED: Rule = Rule("codec-not-offered", "RFC 8829 section 5.3.1");
const REMAPPED: Rule = Rule("payload-type-remapped", "RFC 3264 section 8.3.2");
const RENUMBERED: Rule = Rule("payload-type-differs", "RFC 3264 section 6.1");
const PARAMETERS: Rule = Rule("fmtp-contradicts", "RFC 3264 section 6.1");
const H264: Rule = Rule("fmtp-contradicts", "RFC 6184 section 8.2.2");
const LEVEL: Rule = Rule("level-higher", "RFC 6184 section 8.2.2");
const FEEDBACK: Rule = Rule("feedback-not-offered", "RFC 4585 section 4.2");
const RTX: Rule = Rule("rtx-not-offered", "RFC 4588 section 8.6");
const OTHER: Rule = Rule("format-not-offered", "RFC 8829 section 5.3.1");

/// The codecs that both have.
pub(super) fn compare(
    offered: &MediaLine,
    answered: &MediaLine,
    findings: &mut Findings,
) -> Vec<AgreedCodec> {
    let mut agreed = Vec::new();
    for codec in &answered.codecs {
        if let Some(partner) = partner(offered, codec, findings) {
            parameters(partner, codec, findings);
            agreed.push(common(partner, codec, findings));
        }
    }
    if agreed.is_empty() {
        findings.wrong(
            NONE,
            "no codec of the answer is in the offer: such an m-line must be rejected (port 0)",
        );
    }
    agreed
}

/// The codec of the offer that `codec` answers.
fn partner<'a>(
    offered: &'a MediaLine,
    codec: &Codec,
    findings: &mut Findings,
) -> Option<&'a Codec> {
    let pt = codec.payload_type;
    let same_number = offered.codecs.iter().find(|c| c.payload_type == pt);
    let partner = same_number
        .filter(|c| same_format(c, codec))
        .or_else(|| offered.codecs.iter().find(|c| same_format(c, codec)));
    let taken = offered.payloads.iter().find(|p| p.payload_type == pt);
    match (partner, same_number) {
        (Some(partner), _) if partner.payload_type == pt => {}
        (Some(partner), Some(other)) => findings.wrong(
            REMAPPED,
            format!(
                "payload type {pt} is {} in the offer and {} in the answer, which the offer has as {}",
                described(other),
                described(codec),
                partner.payload_type
            ),
        ),
        (Some(partner), None) if taken.is_some() => findings.wrong(
            REMAPPED,
            format!(
                "payload type {pt} is {} in the answer and something else in the offer, which has it as {}",
                described(codec),
                partner.payload_type
            ),
        ),
        (Some(partner), None) => findings.unusual(
            RENUMBERED,
            format!(
                "{} is {} in the offer and {pt} in the answer: the numbers should be the same",
                described(codec),
                partner.payload_type
            ),
        ),
        (None, Some(other)) if other.same_encoding(codec) => {
            let rule = if is_h264(codec) { H264 } else { PARAMETERS };
            findings.wrong(
                rule,
                format!(
                    "payload type {pt} is {} in the offer and {} in the answer: this must be the same",
                    described(other),
                    described(codec)
                ),
            );
        }
        (None, Some(other)) => findings.wrong(
            REMAPPED,
            format!(
                "payload type {pt} is {} in the offer and {} in the answer",
                described(other),
                described(codec)
            ),
        ),
        (None, None) => findings.wrong(
            NOT_OFFERED,
            format!("the answer has {} ({pt}), which was not offered", described(codec)),
        ),
    }
    partner
}

/// Whether two can be one stream: encoding, profile and packetization are the same.
fn same_format(a: &Codec, b: &Codec) -> bool {
    let profile = |c: &Codec| Profile::of(&c.name, &c.fmtp).map(|p| p.name);
    a.same_encoding(b) && profile(a) == profile(b) && (!is_h264(a) || mode(a) == mode(b))
}

fn is_h264(codec: &Codec) -> bool {
    codec.name.eq_ignore_ascii_case("H264")
}

fn mode(codec: &Codec) -> &str {
    codec.parameter("packetization-mode").unwrap_or("0")
}

fn described(codec: &Codec) -> String {
    let mut text = codec.name.clone();
    if let Some(profile) = Profile::of(&codec.name, &codec.fmtp) {
        text.push_str(&format!(" {profile}"));
    }
    if is_h264(codec) {
        text.push_str(&format!(" mode {}", mode(codec)));
    }
    text
}

/// The answer's level must not be higher, unless both allow levels to differ.
fn parameters(offered: &Codec, answered: &Codec, findings: &mut Findings) {
    if !is_h264(offered) {
        return;
    }
    let asymmetric = |c: &Codec| c.parameter("level-asymmetry-allowed") == Some("1");
    let profile = |c: &Codec| Profile::of(&c.name, &c.fmtp);
    let (Some(theirs), Some(ours)) = (profile(offered), profile(answered)) else {
        return;
    };
    if ours.rank > theirs.rank && !(asymmetric(offered) && asymmetric(answered)) {
        findings.wrong(
            LEVEL,
            format!(
                "H264 {} is offered with {theirs} and answered with {ours}: a higher level, without \
                 level-asymmetry-allowed=1 on both sides",
                answered.payload_type
            ),
        );
    }
}

fn common(offered: &Codec, answered: &Codec, findings: &mut Findings) -> AgreedCodec {
    let (feedback, extra): (Vec<_>, Vec<_>) = answered
        .feedback
        .iter()
        .cloned()
        .partition(|feedback| offered.feedback.contains(feedback));
    if !extra.is_empty() {
        findings.wrong(
            FEEDBACK,
            format!(
                "feedback of {} ({}) that was not offered: {}",
                answered.payload_type,
                answered.name,
                extra.join(", ")
            ),
        );
    }
    if let (None, Some(rtx)) = (offered.rtx_payload_type, answered.rtx_payload_type) {
        findings.wrong(
            RTX,
            format!(
                "RTX {rtx} of {} ({}) was not offered",
                answered.payload_type, answered.name
            ),
        );
    }
    AgreedCodec {
        name: offered.name.clone(),
        clock_rate: offered.clock_rate,
        channels: offered.channels,
        offered_profile: Profile::of(&offered.name, &offered.fmtp),
        answered_profile: Profile::of(&answered.name, &answered.fmtp),
        offered_payload_type: offered.payload_type,
        answered_payload_type: answered.payload_type,
        rtx_payload_type: answered
            .rtx_payload_type
            .filter(|_| offered.rtx_payload_type.is_some()),
        feedback,
    }
}

/// FEC, telephone events and comfort noise that both have.
pub(super) fn others(
    offered: &MediaLine,
    answered: &MediaLine,
    findings: &mut Findings,
) -> Vec<String> {
    let all = |line: &MediaLine| -> Vec<Auxiliary> {
        line.fec
            .iter()
            .chain(&line.other_formats)
            .cloned()
            .collect()
    };
    let theirs = all(offered);
    let (common, extra): (Vec<_>, Vec<_>) = all(answered).into_iter().partition(|format| {
        theirs.iter().any(|other| {
            other.name.eq_ignore_ascii_case(&format.name) && other.clock_rate == format.clock_rate
        })
    });
    let name = |format: &Auxiliary| format!("{} {}", format.payload_type, format.name);
    if !extra.is_empty() {
        findings.wrong(
            OTHER,
            format!("{} was not offered", listed(extra.iter().map(name))),
        );
    }
    let stray: Vec<_> = answered
        .payloads
        .iter()
        .filter(|p| {
            p.name
                .as_deref()
                .is_some_and(|name| name.eq_ignore_ascii_case("rtx"))
        })
        .filter(|p| apt(&p.fmtp).is_some())
        .filter(|p| {
            offered.payloads.iter().any(|o| {
                o.payload_type == p.payload_type
                    && !o
                        .name
                        .as_deref()
                        .is_some_and(|name| name.eq_ignore_ascii_case("rtx"))
            })
        })
        .map(|p| p.payload_type)
        .collect();
    if !stray.is_empty() {
        findings.wrong(
            REMAPPED,
            format!(
                "{} is RTX in the answer and something else in the offer",
                listed(stray)
            ),
        );
    }
    common.iter().map(name).collect()
}
