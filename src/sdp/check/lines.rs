// SPDX-License-Identifier: MPL-2.0
//! Rules about m-lines as a whole: identity, direction, DTLS, RTCP, extensions, simulcast, data.

use super::super::explain::ExtensionRow;
use super::super::extensions::name;
use super::super::findings::{Findings, Rule, listed};
use super::super::inspect::is_bundled;
use super::super::model::{MediaLine, Remote, RemoteDirection, RidDirection, Setup};

const MEDIA: Rule = Rule("m-line-kind", "RFC 3264 section 6");
const MID: Rule = Rule("mid-differs", "RFC 5888 section 9.1");
const PROTOCOL: Rule = Rule("protocol-differs", "RFC 8829 section 5.3.1");

/// The m-line of the answer is that of the offer.
pub(super) fn identity(offered: &MediaLine, answered: &MediaLine, findings: &mut Findings) {
    if !offered.media.eq_ignore_ascii_case(&answered.media) {
        findings.wrong(
            MEDIA,
            format!(
                "{} is offered and {} answered",
                offered.media, answered.media
            ),
        );
    }
    if !offered.mid.is_empty() && offered.mid != answered.mid {
        let theirs = if answered.mid.is_empty() {
            "none".to_owned()
        } else {
            format!("\"{}\"", answered.mid)
        };
        findings.wrong(
            MID,
            format!(
                "the offer's mid is \"{}\" and the answer's is {theirs}",
                offered.mid
            ),
        );
    }
    if offered.protocol != answered.protocol && !answered.rejected {
        findings.wrong(
            PROTOCOL,
            format!(
                "{} is offered and {} answered",
                offered.protocol, answered.protocol
            ),
        );
    }
}

const OFF: Rule = Rule("answered-what-is-off", "RFC 3264 section 6");
const REJECTED: Rule = Rule("rejected", "RFC 3264 section 6");

/// The offer has port 0.
pub(super) fn off(answered: &MediaLine, findings: &mut Findings) {
    if answered.port != 0 {
        findings.wrong(OFF, "the offer has port 0, and the answer does not");
    }
}

/// The answer has port 0.
pub(super) fn rejected(findings: &mut Findings) {
    findings.note(REJECTED, "the answer rejects this m-line (port 0)");
}

const BUNDLE_ONLY: Rule = Rule("bundle-only-not-bundled", "RFC 9143 section 7.3");

/// What has no transport but the group's is answered in the group, or not at all.
pub(super) fn bundle_only(
    offered: &MediaLine,
    answer: &Remote,
    answered: &MediaLine,
    findings: &mut Findings,
) {
    if offered.bundle_only && !is_bundled(answer, answered) {
        findings.wrong(
            BUNDLE_ONLY,
            "offered as bundle-only, and the answer takes it outside of the BUNDLE group",
        );
    }
}

const SETUP: Rule = Rule("setup-not-allowed", "RFC 4145 section 4.1");

/// One side is client and the other server.
pub(super) fn setup(roles: (Option<Setup>, Option<Setup>), findings: &mut Findings) {
    let text = match roles {
        (Some(Setup::Active), Some(Setup::Active)) => "both are active: nobody is the DTLS server",
        (Some(Setup::Passive), Some(Setup::Passive)) => "both are passive: nobody starts DTLS",
        (_, Some(Setup::ActPass)) => "the answer says actpass: it must choose active or passive",
        _ => return,
    };
    findings.wrong(SETUP, text);
}

const DIRECTION: Rule = Rule("direction-not-allowed", "RFC 3264 section 6.1");

/// What an answer may say to a direction.
pub(super) fn direction(
    offered: RemoteDirection,
    answered: RemoteDirection,
    findings: &mut Findings,
) {
    let allowed = match (offered.sends, offered.receives) {
        (true, true) => return,
        (true, false) => "recvonly or inactive",
        (false, true) => "sendonly or inactive",
        (false, false) => "inactive",
    };
    let forbidden = (answered.sends && !offered.receives) || (answered.receives && !offered.sends);
    if forbidden {
        findings.wrong(
            DIRECTION,
            format!(
                "{} answers {}: only {allowed} may",
                answered.as_str(),
                offered.as_str()
            ),
        );
    }
}

const EXTENSION: Rule = Rule("extension-not-offered", "RFC 8285 section 7");
const EXTENSION_ID: Rule = Rule("extension-id-differs", "RFC 8285 section 7");
const EXTENSION_DIRECTION: Rule = Rule("extension-direction", "RFC 8285 section 7");

/// The answer's extensions are a subset of the offer's, with its ids.
pub(super) fn extensions(
    offered: &MediaLine,
    answered: &MediaLine,
    findings: &mut Findings,
) -> Vec<ExtensionRow> {
    let mut common = Vec::new();
    for extension in &answered.extensions {
        let (id, uri) = (extension.id, extension.uri.as_str());
        let mut same = offered.extensions.iter().filter(|other| other.uri == uri);
        let partner = same
            .clone()
            .find(|other| other.id == id)
            .or_else(|| same.next());
        let Some(partner) = partner else {
            findings.wrong(EXTENSION, format!("{id} {} was not offered", name(uri)));
            continue;
        };
        if partner.id != id {
            findings.wrong(
                EXTENSION_ID,
                format!(
                    "{} is {} in the offer and {id} in the answer",
                    name(uri),
                    partner.id
                ),
            );
        }
        let theirs = partner.direction.unwrap_or(RemoteDirection::BOTH);
        if let Some(ours) = extension.direction
            && ((ours.sends && !theirs.receives) || (ours.receives && !theirs.sends))
        {
            findings.wrong(
                EXTENSION_DIRECTION,
                format!(
                    "{} answers {} with {}",
                    name(uri),
                    theirs.as_str(),
                    ours.as_str()
                ),
            );
        }
        common.push(ExtensionRow {
            id,
            name: name(uri).to_owned(),
            uri: uri.to_owned(),
            direction: extension.direction,
        });
    }
    common
}

const MUX: Rule = Rule("rtcp-mux-not-offered", "RFC 5761 section 5.1.1");
const MUX_REFUSED: Rule = Rule("rtcp-mux-refused", "RFC 5761 section 5.1.1");
const RSIZE: Rule = Rule("rtcp-rsize-not-offered", "RFC 5506 section 5");

/// rtcp-mux and rtcp-rsize are offered, then taken.
pub(super) fn rtcp(offered: &MediaLine, answered: &MediaLine, findings: &mut Findings) {
    match (offered.rtcp_mux, answered.rtcp_mux) {
        (false, true) => findings.wrong(MUX, "a=rtcp-mux was not offered"),
        (true, false) => findings.unusual(
            MUX_REFUSED,
            "the answer has no a=rtcp-mux: RTCP needs a port of its own, which browsers refuse",
        ),
        _ => {}
    }
    if answered.rtcp_rsize && !offered.rtcp_rsize {
        findings.wrong(RSIZE, "a=rtcp-rsize was not offered");
    }
}

const RID: Rule = Rule("rid-not-offered", "RFC 8851 section 6.3");
const SIMULCAST: Rule = Rule("simulcast-not-offered", "RFC 8853 section 5.3.2");
const SIMULCAST_REFUSED: Rule = Rule("simulcast-refused", "RFC 8853 section 5.3.2");

/// The answer's rids and layers mirror the offer's. Gives the layers that the offerer sends, and
/// those that the answerer sends.
pub(super) fn simulcast(
    offered: &MediaLine,
    answered: &MediaLine,
    findings: &mut Findings,
) -> [Vec<String>; 2] {
    for rid in &answered.rids {
        let mirrored = match rid.direction {
            RidDirection::Send => RidDirection::Recv,
            RidDirection::Recv => RidDirection::Send,
        };
        let known = offered.rids.iter().find(|other| other.id == rid.id);
        match known {
            None => findings.wrong(RID, format!("a=rid:{} was not offered", rid.id)),
            Some(other) if other.direction != mirrored => findings.wrong(
                RID,
                format!(
                    "a=rid:{} has the same direction in both: it must be mirrored",
                    rid.id
                ),
            ),
            Some(_) => {}
        }
    }
    let theirs = offered.simulcast.clone().unwrap_or_default();
    let ours = answered.simulcast.clone().unwrap_or_default();
    if !theirs.send.is_empty() && ours.recv.is_empty() {
        findings.note(
            SIMULCAST_REFUSED,
            "the answer takes no simulcast: the offerer sends one layer",
        );
    }
    let pairs = [(&theirs.send, &ours.recv), (&theirs.recv, &ours.send)];
    pairs.map(|(offered, answered)| {
        let ids = |layers: &[Vec<super::super::model::Layer>]| -> Vec<String> {
            layers
                .iter()
                .flatten()
                .map(|layer| layer.rid.clone())
                .collect()
        };
        let offered = ids(offered);
        let (common, extra): (Vec<_>, Vec<_>) = ids(answered)
            .into_iter()
            .partition(|rid| offered.contains(rid));
        if !extra.is_empty() {
            findings.wrong(
                SIMULCAST,
                format!(
                    "simulcast layers that were not offered that way: {}",
                    listed(extra)
                ),
            );
        }
        common
    })
}

const DATA_FORM: Rule = Rule("data-form-differs", "RFC 8841 section 10.3");

/// Both ends write data channels in one form.
pub(super) fn data(offered: &MediaLine, answered: &MediaLine, findings: &mut Findings) {
    if let (Some(theirs), Some(ours)) = (&offered.sctp, &answered.sctp)
        && theirs.old_form != ours.old_form
    {
        let word = |old| if old { "a=sctpmap" } else { "a=sctp-port" };
        findings.wrong(
            DATA_FORM,
            format!(
                "the offer has the form with {} and the answer that with {}",
                word(theirs.old_form),
                word(ours.old_form)
            ),
        );
    }
}
