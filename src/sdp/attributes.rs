// SPDX-License-Identifier: MPL-2.0
//! Values of single attributes. Each function takes the text behind `a=NAME:` and says what it
//! means, or why it means nothing.

use std::collections::HashMap;

use super::model::{
    Candidate, CandidateKind, Extension, Fingerprint, Layer, Msid, RemoteDirection, Rid,
    RidDirection, Setup, Simulcast, Source,
};

/// No encoder has more simulcast layers, nor alternatives of one.
const MAX_LAYERS: usize = 16;

/// Why a value cannot be read.
pub(super) type Reason = String;

/// `96 something` as payload type and text.
pub(super) fn payload_value(value: &str) -> Option<(u8, &str)> {
    let (pt, rest) = value.trim_start().split_once(char::is_whitespace)?;
    let pt = pt.parse().ok().filter(|pt| *pt < 128)?;
    Some((pt, rest.trim()))
}

/// `ID[/DIRECTION] URI [PARAMETERS]` (RFC 8285 section 5).
pub(super) fn extension(value: &str) -> Result<Extension, Reason> {
    let mut words = value.trim().splitn(3, char::is_whitespace);
    let head = words.next().unwrap_or_default();
    let (id, direction) = match head.split_once('/') {
        Some((id, direction)) => (
            id,
            Some(
                RemoteDirection::from_attribute(direction)
                    .ok_or_else(|| format!("\"{direction}\" is no direction"))?,
            ),
        ),
        None => (head, None),
    };
    let id = match id.parse::<u16>() {
        Ok(0) => return Err("id 0 is reserved for padding".to_owned()),
        Ok(id) => u8::try_from(id).map_err(|_| format!("id {id} is above 255"))?,
        Err(_) => return Err(format!("\"{id}\" is no id")),
    };
    let uri = words.next().unwrap_or_default();
    if uri.is_empty() {
        return Err(format!("id {id} has no URI"));
    }
    Ok(Extension {
        id,
        uri: uri.to_owned(),
        direction,
        parameters: words.next().unwrap_or_default().trim().to_owned(),
    })
}

/// `STREAM [TRACK]` (RFC 8830 section 2).
pub(super) fn msid(value: &str) -> Option<Msid> {
    let mut words = value.split_whitespace();
    Some(Msid {
        stream: words.next()?.to_owned(),
        track: words.next().map(str::to_owned),
    })
}

/// The sources of all `a=ssrc:SSRC NAME[:VALUE]` lines, in order (RFC 5576 section 4.1).
pub(super) fn sources<'a>(
    values: impl Iterator<Item = &'a str>,
    mut unreadable: impl FnMut(Reason),
) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut positions = HashMap::new();
    // Chrome before 2014 had these two in place of msid.
    let mut labels: HashMap<u32, (Option<&str>, Option<&str>)> = HashMap::new();
    for value in values {
        let (ssrc, rest) = value
            .trim()
            .split_once(char::is_whitespace)
            .unwrap_or((value.trim(), ""));
        let Ok(ssrc) = ssrc.parse::<u32>() else {
            unreadable(format!("\"{ssrc}\" is no SSRC"));
            continue;
        };
        let position = *positions.entry(ssrc).or_insert_with(|| {
            sources.push(Source {
                ssrc,
                cname: None,
                msid: None,
            });
            sources.len() - 1
        });
        let Some(source) = sources.get_mut(position) else {
            continue;
        };
        let (name, what) = rest.trim().split_once(':').unwrap_or((rest.trim(), ""));
        let what = what.trim();
        match name {
            "cname" => source.cname = Some(what.to_owned()),
            "msid" => source.msid = msid(what),
            "mslabel" => labels.entry(ssrc).or_default().0 = Some(what),
            "label" => labels.entry(ssrc).or_default().1 = Some(what),
            _ => {}
        }
    }
    for source in sources.iter_mut().filter(|s| s.msid.is_none()) {
        if let Some((Some(stream), track)) = labels.get(&source.ssrc) {
            source.msid = Some(Msid {
                stream: (*stream).to_owned(),
                track: track.map(str::to_owned),
            });
        }
    }
    sources
}

/// `SEMANTICS SSRC…` (RFC 5576 section 4.2).
pub(super) fn ssrc_group(value: &str) -> Result<(String, Vec<u32>), Reason> {
    let mut words = value.split_whitespace();
    let semantics = words.next().unwrap_or_default().to_owned();
    let ssrcs = words
        .map(|word| word.parse().map_err(|_| format!("\"{word}\" is no SSRC")))
        .collect::<Result<Vec<u32>, _>>()?;
    if ssrcs.is_empty() {
        return Err("it names no SSRC".to_owned());
    }
    Ok((semantics, ssrcs))
}

/// `ID send|recv [PARAMETERS]` (RFC 8851 section 4).
pub(super) fn rid(value: &str) -> Result<Rid, Reason> {
    let mut words = value.trim().splitn(3, char::is_whitespace);
    let id = words.next().unwrap_or_default();
    let direction = match words.next() {
        Some("send") => RidDirection::Send,
        Some("recv") => RidDirection::Recv,
        other => {
            let other = other.unwrap_or_default();
            return Err(format!("\"{other}\" of \"{id}\" is neither send nor recv"));
        }
    };
    Ok(Rid {
        id: id.to_owned(),
        direction,
        parameters: words.next().unwrap_or_default().trim().to_owned(),
    })
}

/// `send LIST [recv LIST]` (RFC 8853 section 5.1), or the drafts' ` send rid=LIST`.
pub(super) fn simulcast(value: &str) -> Result<Simulcast, Reason> {
    let mut simulcast = Simulcast::default();
    let mut words = value.split_whitespace();
    while let Some(direction) = words.next() {
        let Some(list) = words.next() else {
            return Err(format!("\"{direction}\" has no list of layers"));
        };
        let list = match list.split_once('=') {
            Some((_, list)) => {
                simulcast.old_form = true;
                list
            }
            None => list,
        };
        let layers = list
            .split(';')
            .map(|alternatives| {
                alternatives
                    .split(',')
                    .map(|rid| Layer {
                        rid: rid.trim_start_matches('~').to_owned(),
                        paused: rid.starts_with('~'),
                    })
                    .filter(|layer| !layer.rid.is_empty())
                    .take(MAX_LAYERS)
                    .collect::<Vec<_>>()
            })
            .filter(|alternatives| !alternatives.is_empty());
        match direction {
            "send" => simulcast.send.extend(layers),
            "recv" => simulcast.recv.extend(layers),
            other => return Err(format!("\"{other}\" is neither send nor recv")),
        }
    }
    simulcast.send.truncate(MAX_LAYERS);
    simulcast.recv.truncate(MAX_LAYERS);
    if simulcast.send.is_empty() && simulcast.recv.is_empty() {
        return Err("it names no layer".to_owned());
    }
    Ok(simulcast)
}

/// `actpass` and the like (RFC 4145 section 4).
pub(super) fn setup(value: &str) -> Result<Setup, Reason> {
    match value.trim() {
        "active" => Ok(Setup::Active),
        "passive" => Ok(Setup::Passive),
        "actpass" => Ok(Setup::ActPass),
        "holdconn" => Ok(Setup::HoldConn),
        other => Err(format!("\"{other}\" is no DTLS role")),
    }
}

/// `HASH VALUE` (RFC 8122 section 5).
pub(super) fn fingerprint(value: &str) -> Result<Fingerprint, Reason> {
    let mut words = value.split_whitespace();
    match (words.next(), words.next()) {
        (Some(hash), Some(value)) => Ok(Fingerprint {
            hash: hash.to_ascii_lowercase(),
            value: value.to_ascii_uppercase(),
        }),
        _ => Err("it has no value".to_owned()),
    }
}

/// `FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ KIND …` (RFC 8839 section 5.1).
///
/// A leading `candidate:` is passed over, so that a candidate that came apart reads as well.
///
/// # Errors
///
/// The first word that is not what it should be.
pub(super) fn candidate(value: &str) -> Result<Candidate, Reason> {
    let value = value.trim();
    let value = value.strip_prefix("candidate:").unwrap_or(value);
    let mut words = value.split_whitespace();
    let mut word = |what: &str| words.next().ok_or_else(|| format!("it has no {what}"));
    let number = |what: &str, text: &str| format!("\"{text}\" is no {what}");
    let foundation = word("foundation")?.to_owned();
    let component = word("component")?;
    let protocol = word("transport")?.to_ascii_lowercase();
    let priority = word("priority")?;
    let address = word("address")?.to_owned();
    let port = word("port")?;
    if word("type")? != "typ" {
        return Err("it has no \"typ\" behind its port".to_owned());
    }
    let kind = match word("type")? {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::Srflx,
        "prflx" => CandidateKind::Prflx,
        "relay" => CandidateKind::Relay,
        other => return Err(number("candidate type", other)),
    };
    let rest: Vec<_> = words.collect();
    let tcp_type = rest.chunks_exact(2).find_map(|pair| match pair {
        ["tcptype", kind] => Some((*kind).to_owned()),
        _ => None,
    });
    Ok(Candidate {
        foundation,
        component: component
            .parse()
            .map_err(|_| number("component", component))?,
        protocol,
        priority: priority.parse().map_err(|_| number("priority", priority))?,
        address,
        port: port.parse().map_err(|_| number("port", port))?,
        kind,
        tcp_type,
    })
}
