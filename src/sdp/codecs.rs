// SPDX-License-Identifier: MPL-2.0
//! Payload types of an m-line: codecs with what repairs them, and everything else.

use std::collections::{BTreeMap, HashSet};

use sdp_types::Media;

use crate::media::codec::{Codec, MediaKind, parameter};

use super::attributes::payload_value;
use super::model::{Auxiliary, Payload};

/// More feedback than this for one payload type is no description but an attack.
const MAX_FEEDBACK: usize = 64;

/// Static payload types (RFC 3551 section 6), name, clock in Hz, channels.
const STATIC: &[(u8, &str, u32, Option<u16>)] = &[
    (0, "PCMU", 8_000, None),
    (3, "GSM", 8_000, None),
    (4, "G723", 8_000, None),
    (5, "DVI4", 8_000, None),
    (6, "DVI4", 16_000, None),
    (7, "LPC", 8_000, None),
    (8, "PCMA", 8_000, None),
    // 16 kHz of sound; the clock was an error that had to stay (RFC 3551 section 4.5.2).
    (9, "G722", 8_000, None),
    (10, "L16", 44_100, Some(2)),
    (11, "L16", 44_100, None),
    (12, "QCELP", 8_000, None),
    (13, "CN", 8_000, None),
    (14, "MPA", 90_000, None),
    (15, "G728", 8_000, None),
    (18, "G729", 8_000, None),
    (25, "CelB", 90_000, None),
    (26, "JPEG", 90_000, None),
    (28, "nv", 90_000, None),
    (31, "H261", 90_000, None),
    (32, "MPV", 90_000, None),
    (33, "MP2T", 90_000, None),
    (34, "H263", 90_000, None),
];

const FEC: &[&str] = &["red", "ulpfec", "flexfec", "flexfec-03"];
const OTHER: &[&str] = &["telephone-event", "CN", "tone"];

/// The payload types of an m-line, sorted out.
#[derive(Debug, Default)]
pub(super) struct Formats {
    pub(super) payloads: Vec<Payload>,
    pub(super) codecs: Vec<Codec>,
    pub(super) fec: Vec<Auxiliary>,
    pub(super) other: Vec<Auxiliary>,
}

/// Sorts the payload types of `media` out, in the m-line's order.
pub(super) fn formats(media: &Media, kind: MediaKind) -> Formats {
    let payloads = payloads(media);
    let retransmissions: BTreeMap<u8, u8> = payloads
        .iter()
        .rev()
        .filter(|p| is_one_of(p, &["rtx"]))
        .filter_map(|p| Some((apt(&p.fmtp)?, p.payload_type)))
        .collect();
    let mut formats = Formats::default();
    for payload in &payloads {
        let Some(name) = payload.name.clone() else {
            continue;
        };
        let rtx_payload_type = retransmissions.get(&payload.payload_type).copied();
        let auxiliary = || Auxiliary {
            payload_type: payload.payload_type,
            name: name.clone(),
            clock_rate: payload.clock_rate,
            rtx_payload_type,
        };
        if is_one_of(payload, FEC) {
            formats.fec.push(auxiliary());
        } else if is_one_of(payload, OTHER) {
            formats.other.push(auxiliary());
        } else if !is_one_of(payload, &["rtx"]) {
            formats.codecs.push(Codec {
                kind,
                name,
                clock_rate: payload.clock_rate,
                channels: payload.channels,
                fmtp: payload.fmtp.clone(),
                payload_type: payload.payload_type,
                rtx_payload_type,
                feedback: payload.feedback.clone(),
            });
        }
    }
    formats.payloads = payloads;
    formats
}

/// Payload type that an `rtx` repairs (RFC 4588 section 8.6).
pub(super) fn apt(fmtp: &str) -> Option<u8> {
    parameter(fmtp, "apt").and_then(|v| v.parse().ok())
}

/// Values of attribute `name` on `media`.
pub(super) fn values<'a>(media: &'a Media, name: &'static str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |a| a.attribute == name)
        .filter_map(|a| a.value.as_deref())
}

fn is_one_of(payload: &Payload, names: &[&str]) -> bool {
    payload
        .name
        .as_deref()
        .is_some_and(|name| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

fn payloads(media: &Media) -> Vec<Payload> {
    let mut maps = BTreeMap::new();
    for map in values(media, "rtpmap").filter_map(rtpmap) {
        maps.entry(map.payload_type).or_insert(map);
    }
    let mut fmtp: BTreeMap<u8, String> = BTreeMap::new();
    for (pt, text) in values(media, "fmtp").filter_map(payload_value) {
        let text = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let joined = fmtp.entry(pt).or_default();
        if !joined.is_empty() {
            joined.push(';');
        }
        joined.push_str(text);
    }
    let mut seen = HashSet::new();
    let payload_types: Vec<u8> = media
        .fmt
        .split_ascii_whitespace()
        .filter_map(|pt| pt.parse::<u8>().ok().filter(|pt| *pt < 128))
        .filter(|pt| seen.insert(*pt))
        .collect();
    let mut feedback = feedback(media, &payload_types);
    payload_types
        .into_iter()
        .map(|pt| {
            // All that we know are of audio.
            let known = || static_map(pt).filter(|_| media.media == "audio");
            let map = maps.remove(&pt).or_else(known);
            Payload {
                payload_type: pt,
                name: map.as_ref().map(|m| m.name.to_owned()),
                clock_rate: map.as_ref().map_or(0, |m| m.clock_rate),
                channels: map.and_then(|m| m.channels),
                fmtp: fmtp.remove(&pt).unwrap_or_default(),
                feedback: feedback.remove(&pt).unwrap_or_default(),
            }
        })
        .collect()
}

/// Feedback of each payload type, in the order of the lines, that of `*` with it.
fn feedback(media: &Media, payload_types: &[u8]) -> BTreeMap<u8, Vec<String>> {
    let mut all: BTreeMap<u8, Vec<String>> =
        payload_types.iter().map(|pt| (*pt, Vec::new())).collect();
    let add = |list: &mut Vec<String>, what: &str| {
        if list.len() < MAX_FEEDBACK && !list.iter().any(|known| known == what) {
            list.push(what.to_owned());
        }
    };
    for value in values(media, "rtcp-fb") {
        let mut words = value.split_whitespace();
        let target = words.next().unwrap_or_default();
        let what = words.collect::<Vec<_>>().join(" ");
        if what.is_empty() {
            continue;
        }
        if target == "*" {
            all.values_mut().for_each(|list| add(list, &what));
        } else if let Some(list) = target.parse().ok().and_then(|pt: u8| all.get_mut(&pt)) {
            add(list, &what);
        }
    }
    all
}

struct RtpMap<'a> {
    payload_type: u8,
    name: &'a str,
    clock_rate: u32,
    channels: Option<u16>,
}

fn rtpmap(value: &str) -> Option<RtpMap<'_>> {
    let (payload_type, rest) = payload_value(value)?;
    let mut parts = rest.split('/').map(str::trim);
    Some(RtpMap {
        payload_type,
        name: parts.next().filter(|name| !name.is_empty())?,
        clock_rate: parts.next()?.parse().ok()?,
        channels: parts.next().and_then(|c| c.parse().ok()),
    })
}

/// Whether an `rtpmap` value can be read.
pub(super) fn is_rtpmap(value: &str) -> bool {
    rtpmap(value).is_some()
}

fn static_map(pt: u8) -> Option<RtpMap<'static>> {
    let (payload_type, name, clock_rate, channels) =
        STATIC.iter().find(|(number, ..)| *number == pt)?;
    Some(RtpMap {
        payload_type: *payload_type,
        name,
        clock_rate: *clock_rate,
        channels: *channels,
    })
}
