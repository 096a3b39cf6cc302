// SPDX-License-Identifier: MPL-2.0
//! The little SDP this layer needs: what webrtc writes is brought into line with the streams we
//! were asked for, and the ids that both sides agreed on are read back.
//!
//! webrtc negotiates the transport; codecs, directions and SSRCs are ours (its own choice of
//! codecs is one per kind, so that a second m-line of that kind would come out wrong).

use std::fmt::Write as _;

use rtc::sdp::extmap::{SDES_MID_URI, TRANSPORT_CC_URI};

use super::shared::Negotiated;
use super::{Direction, StreamConfig};
use crate::media::codec::Codec;

/// Which end of DTLS a side takes (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    Either,
}

/// What our own m-lines say beyond their codecs.
pub(super) struct Own<'a> {
    pub(super) streams: &'a [StreamConfig],
    /// SSRC and retransmission SSRC of each stream.
    pub(super) ssrcs: Vec<(u32, u32)>,
    pub(super) cname: &'a str,
}

/// A session part (`None`) or an m-line with its attributes.
struct Section<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| {
            line.strip_prefix("a=")?
                .strip_prefix(name)?
                .strip_prefix(':')
        })
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.lines.iter().filter_map(move |line| {
            line.strip_prefix("a=")?
                .strip_prefix(name)?
                .strip_prefix(':')
        })
    }

    fn is_media(&self) -> bool {
        self.lines
            .first()
            .is_some_and(|line| line.starts_with("m=audio") || line.starts_with("m=video"))
    }

    fn extension(&self, uri: &str) -> Option<u8> {
        self.values("extmap").find_map(|value| {
            let (id, rest) = value.split_once(' ')?;
            (rest.split(' ').next() == Some(uri)).then(|| id.split('/').next()?.parse().ok())?
        })
    }
}

/// The session part and the m-lines.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section { lines: vec![] }];
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(Section { lines: vec![] });
        }
        if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        }
    }
    sections
}

/// What the description says about the DTLS role.
pub(super) fn setup(text: &str) -> Setup {
    match sections(text)
        .iter()
        .find_map(|section| section.attribute("setup"))
    {
        Some("active") => Setup::Active,
        Some("passive") => Setup::Passive,
        _ => Setup::Either,
    }
}

/// What both sides agreed on: ids from the answer, SSRCs from the remote's description.
pub(super) fn negotiated(answer: &str, remote: &str) -> Vec<Negotiated> {
    let remote = sections(remote);
    let mut remote = remote.iter().filter(|section| section.is_media());
    let answer = sections(answer);
    let answer = answer.iter().filter(|section| section.is_media());
    answer
        .map(|section| {
            let (ssrcs, rtx) = remote.next().map(sources).unwrap_or_default();
            Negotiated {
                mid: section.attribute("mid").unwrap_or_default().to_owned(),
                mid_extension: section.extension(SDES_MID_URI),
                twcc_extension: section.extension(TRANSPORT_CC_URI),
                ssrcs,
                rtx,
            }
        })
        .collect()
}

/// Declared SSRCs, and retransmission SSRCs with the ones they repair.
fn sources(section: &Section<'_>) -> (Vec<u32>, Vec<(u32, u32)>) {
    let rtx: Vec<(u32, u32)> = section
        .values("ssrc-group")
        .filter_map(|value| {
            let mut words = value.strip_prefix("FID ")?.split(' ');
            let primary = words.next()?.parse().ok()?;
            Some((words.next()?.parse().ok()?, primary))
        })
        .collect();
    let mut ssrcs = Vec::new();
    for value in section.values("ssrc") {
        if let Some(Ok(ssrc)) = value.split(' ').next().map(str::parse::<u32>)
            && !ssrcs.contains(&ssrc)
            && !rtx.iter().any(|(repair, _)| *repair == ssrc)
        {
            ssrcs.push(ssrc);
        }
    }
    (ssrcs, rtx)
}

/// The remote's description as webrtc is to see it: everything flows both ways. Its transport can
/// be reached only through a sender that is in use; what really flows is ours to decide.
pub(super) fn incoming(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for text in text.lines().filter(|text| !text.is_empty()) {
        match text {
            "a=recvonly" | "a=sendonly" | "a=inactive" => line(&mut out, "a=sendrecv"),
            _ => line(&mut out, text),
        }
    }
    out
}

/// Our description as it goes out.
pub(super) fn outgoing(text: &str, own: &Own<'_>) -> String {
    let sections = sections(text);
    let mut next = 0;
    let streams: Vec<Option<usize>> = sections
        .iter()
        .map(|section| {
            let index = section.is_media().then_some(next);
            next += usize::from(section.is_media());
            index.filter(|i| own.streams.get(*i).is_some_and(|s| !s.codecs.is_empty()))
        })
        .collect();
    let accepted: Vec<&str> = sections
        .iter()
        .zip(&streams)
        .filter(|(_, stream)| stream.is_some())
        .filter_map(|(section, _)| section.attribute("mid"))
        .collect();
    // Under BUNDLE all candidates stand in the first m-line, which may be one that we refuse.
    let mut candidates: Vec<&str> = Vec::new();
    for line in sections
        .iter()
        .skip(1)
        .flat_map(|s| &s.lines)
        .filter(|line| is_candidate(line))
    {
        if !candidates.contains(line) {
            candidates.push(line);
        }
    }
    let mut out = String::with_capacity(text.len() + 512);
    let mut first = true;
    for (position, (section, stream)) in sections.iter().zip(&streams).enumerate() {
        match stream {
            _ if position == 0 => session_part(&mut out, section, &accepted),
            Some(index) => {
                let candidates = if first { candidates.as_slice() } else { &[] };
                first = false;
                media_part(&mut out, section, own, *index, candidates);
            }
            None => refused_part(&mut out, section),
        }
    }
    out
}

fn is_candidate(line: &str) -> bool {
    let Some(value) = line.strip_prefix("a=candidate:") else {
        return line == "a=end-of-candidates";
    };
    // RTCP is multiplexed: component 2 is never used, yet webrtc lists it.
    value.split(' ').nth(1) == Some("1")
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\r\n");
}

fn session_part(out: &mut String, section: &Section<'_>, accepted: &[&str]) {
    for text in &section.lines {
        if text.starts_with("a=group:BUNDLE") {
            if !accepted.is_empty() {
                line(out, &format!("a=group:BUNDLE {}", accepted.join(" ")));
            }
        } else {
            line(out, text);
        }
    }
}

fn refused_part(out: &mut String, section: &Section<'_>) {
    let mut words = section
        .lines
        .first()
        .copied()
        .unwrap_or_default()
        .splitn(3, ' ');
    let kind = words.next().unwrap_or("m=video");
    let rest = words.nth(1).unwrap_or("UDP/TLS/RTP/SAVPF 0");
    line(out, &format!("{kind} 0 {rest}"));
    line(out, "c=IN IP4 0.0.0.0");
    if let Some(mid) = section.attribute("mid") {
        line(out, &format!("a=mid:{mid}"));
    }
    line(out, "a=inactive");
}

/// Attributes of webrtc's m-line that ours replace.
fn is_replaced(text: &str) -> bool {
    const NAMES: [&str; 12] = [
        "rtpmap:",
        "fmtp:",
        "rtcp-fb:",
        "ssrc:",
        "ssrc-group:",
        "msid:",
        "sendrecv",
        "sendonly",
        "recvonly",
        "inactive",
        "candidate:",
        "end-of-candidates",
    ];
    text.strip_prefix("a=")
        .is_some_and(|a| NAMES.iter().any(|name| a.starts_with(name)))
}

fn media_part(
    out: &mut String,
    section: &Section<'_>,
    own: &Own<'_>,
    index: usize,
    candidates: &[&str],
) {
    let Some(stream) = own.streams.get(index) else {
        return;
    };
    let (mut head, body): (Vec<&str>, Vec<&str>) = section
        .lines
        .iter()
        .copied()
        .filter(|text| !is_replaced(text))
        .partition(|text| !text.starts_with("a="));
    let mut types = Vec::new();
    for codec in &stream.codecs {
        types.push(codec.payload_type.to_string());
        types.extend(codec.rtx_payload_type.map(|t| t.to_string()));
    }
    if !head.is_empty() {
        let mut words = head.remove(0).split(' ');
        let fixed: Vec<&str> = words.by_ref().take(3).collect();
        line(out, &format!("{} {}", fixed.join(" "), types.join(" ")));
    }
    head.iter().for_each(|text| line(out, text));
    body.iter().for_each(|text| line(out, text));
    line(
        out,
        match stream.direction {
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
            Direction::Inactive => "a=inactive",
        },
    );
    stream
        .codecs
        .iter()
        .for_each(|codec| codec_lines(out, codec));
    if stream.direction == Direction::SendOnly {
        let (ssrc, rtx) = own.ssrcs.get(index).copied().unwrap_or_default();
        let cname = own.cname;
        let _ = write!(out, "a=msid:{cname} {cname}-{index}\r\n");
        if stream
            .codecs
            .iter()
            .any(|codec| codec.rtx_payload_type.is_some())
        {
            let _ = write!(out, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
            let _ = write!(
                out,
                "a=ssrc:{ssrc} cname:{cname}\r\na=ssrc:{rtx} cname:{cname}\r\n"
            );
        } else {
            let _ = write!(out, "a=ssrc:{ssrc} cname:{cname}\r\n");
        }
    }
    candidates.iter().for_each(|text| line(out, text));
}

fn codec_lines(out: &mut String, codec: &Codec) {
    let pt = codec.payload_type;
    let _ = write!(out, "a=rtpmap:{pt} {}/{}", codec.name, codec.clock_rate);
    if let Some(channels) = codec.channels.filter(|channels| *channels > 1) {
        let _ = write!(out, "/{channels}");
    }
    out.push_str("\r\n");
    if !codec.fmtp.is_empty() {
        let _ = write!(out, "a=fmtp:{pt} {}\r\n", codec.fmtp);
    }
    for feedback in &codec.feedback {
        let _ = write!(out, "a=rtcp-fb:{pt} {feedback}\r\n");
    }
    if let Some(rtx) = codec.rtx_payload_type {
        let _ = write!(
            out,
            "a=rtpmap:{rtx} rtx/{}\r\na=fmtp:{rtx} apt={pt}\r\n",
            codec.clock_rate
        );
    }
}
