// SPDX-License-Identifier: MPL-2.0
//! The descriptions that go over the wire. Later offers leave the transport alone.

use std::fmt::Write as _;

use super::{Direction, SentLayer, StreamConfig};
use crate::media::codec::Codec;
use crate::media::fec::{Protection, Scheme};
use crate::sdp::{Remote, Transport};

/// Which end of DTLS a side takes (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    Either,
}

/// What `a=setup` of `transport` says.
pub(super) fn setup(transport: &Transport) -> Setup {
    match transport.setup.as_str() {
        "active" => Setup::Active,
        "passive" => Setup::Passive,
        _ => Setup::Either,
    }
}

/// What our own offers say (RFC 8829 section 5.1.2).
pub(super) const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// The SCTP port inside DTLS: rtc-sctp knows no other, and nobody else uses one.
pub(super) const SCTP_PORT: u16 = 5000;
/// The largest message that we take, bytes: what Chromium says.
const MAX_MESSAGE_SIZE: u32 = 262_144;

/// The m-line of data channels that our own offers have, called `mid`.
pub(super) fn data_line(mid: String) -> OwnLine {
    OwnLine::Data {
        mid,
        protocol: "UDP/DTLS/SCTP".to_owned(),
        formats: "webrtc-datachannel".to_owned(),
    }
}

/// One m-line of our description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnLine {
    /// Stream of this index, with the transport protocol of its first offer.
    Stream {
        index: usize,
        protocol: String,
        /// The remote writes simulcast as the drafts had it (`a=simulcast: send rid=r0;r1`).
        old_simulcast: bool,
    },
    /// Data channels (RFC 8841).
    Data {
        /// Its `a=mid`; empty where the remote's offer has none.
        mid: String,
        /// `UDP/DTLS/SCTP`, or as the remote offered it.
        protocol: String,
        /// `webrtc-datachannel`; a port in the form before 2018.
        formats: String,
    },
    /// An m-line of the remote that we take no part in.
    Refused {
        /// `application UDP/DTLS/SCTP`
        media: String,
        protocol: String,
        formats: String,
        mid: String,
    },
}

/// What our own description says.
pub(super) struct Own<'a> {
    pub(super) lines: &'a [OwnLine],
    pub(super) streams: &'a [StreamConfig],
    /// SSRC and retransmission SSRC of each stream.
    pub(super) ssrcs: Vec<(u32, u32)>,
    /// SSRC of its FEC, where that has one of its own.
    pub(super) fec_ssrcs: Vec<u32>,
    pub(super) cname: &'a str,
    pub(super) transport: &'a Transport,
    /// `a=setup`
    pub(super) setup: &'a str,
    pub(super) session_id: u64,
    pub(super) version: u64,
    /// All m-lines on one transport: an offer says so, an answer to an offer that does.
    pub(super) bundle: bool,
}

/// The m-lines of our answer to `offer`, whose audio and video m-lines become `streams`. Its data
/// channels are taken or not.
pub(super) fn answer_lines(offer: &Remote, streams: &[StreamConfig], data: bool) -> Vec<OwnLine> {
    let mut lines = media_lines(offer, streams);
    let first = lines
        .iter()
        .position(|line| matches!(line, OwnLine::Stream { .. }));
    let usable = offer.data_line().filter(|line| {
        let alone = first.is_none_or(|first| offer.bundled(first, line.index));
        data && alone
    });
    if let Some(line) = usable
        && let Some(own) = lines.get_mut(line.index)
    {
        let (_, protocol, formats) = offer.first_line(line.index);
        *own = OwnLine::Data {
            mid: line.mid.clone(),
            protocol: protocol.to_owned(),
            formats: formats.to_owned(),
        };
    }
    lines
}

fn media_lines(offer: &Remote, streams: &[StreamConfig]) -> Vec<OwnLine> {
    let mut with_line = StreamConfig::with_line(streams);
    offer
        .media
        .iter()
        .map(|line| {
            let stream = line.kind.and_then(|_| with_line.next());
            let taken = stream.filter(|(_, stream)| !stream.codecs.is_empty());
            let (media, protocol, formats) = offer.first_line(line.index);
            match taken {
                Some((index, _)) => OwnLine::Stream {
                    index,
                    protocol: protocol.to_owned(),
                    old_simulcast: line.simulcast.as_ref().is_some_and(|s| s.old_form),
                },
                None => OwnLine::Refused {
                    media: media.to_owned(),
                    protocol: protocol.to_owned(),
                    formats: formats.to_owned(),
                    mid: line.mid.clone(),
                },
            }
        })
        .collect()
}

/// Our description as it goes out.
pub(super) fn write(own: &Own<'_>) -> String {
    let mut out = String::with_capacity(4096);
    let (id, version) = (own.session_id, own.version);
    let _ = write!(
        out,
        "v=0\r\no=- {id} {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    );
    let mids: Vec<&str> = own
        .lines
        .iter()
        .filter_map(|line| match line {
            OwnLine::Stream { index, .. } => own.streams.get(*index).map(|s| s.mid.as_str()),
            OwnLine::Data { mid, .. } => Some(mid.as_str()),
            OwnLine::Refused { .. } => None,
        })
        .filter(|mid| !mid.is_empty())
        .collect();
    if own.bundle && !mids.is_empty() {
        line(&mut out, &format!("a=group:BUNDLE {}", mids.join(" ")));
    }
    line(&mut out, "a=msid-semantic: WMS *");
    let mut first = true;
    for each in own.lines {
        match each {
            OwnLine::Stream {
                index,
                protocol,
                old_simulcast,
            } => {
                media_part(&mut out, own, *index, protocol, first);
                layer_lines(&mut out, own, *index, *old_simulcast);
                first = false;
            }
            OwnLine::Data {
                mid,
                protocol,
                formats,
            } => {
                data_part(&mut out, own, (mid, protocol, formats), first);
                first = false;
            }
            OwnLine::Refused {
                media,
                protocol,
                formats,
                mid,
            } => {
                line(&mut out, &format!("m={media} 0 {protocol} {formats}"));
                line(&mut out, "c=IN IP4 0.0.0.0");
                if !mid.is_empty() {
                    line(&mut out, &format!("a=mid:{mid}"));
                }
                line(&mut out, "a=inactive");
            }
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    // A part of it may be the remote's; it cannot begin a line of its own.
    out.extend(text.chars().filter(|c| !c.is_control()));
    out.push_str("\r\n");
}

fn transport_lines(out: &mut String, transport: &Transport, setup: &str) {
    line(out, &format!("a=ice-ufrag:{}", transport.ufrag));
    line(out, &format!("a=ice-pwd:{}", transport.pwd));
    if let Some(options) = &transport.ice_options {
        line(out, &format!("a=ice-options:{options}"));
    }
    for fingerprint in &transport.fingerprints {
        line(out, &format!("a=fingerprint:{fingerprint}"));
    }
    if !setup.is_empty() {
        line(out, &format!("a=setup:{setup}"));
    }
}

fn candidate_lines(out: &mut String, transport: &Transport) {
    for candidate in &transport.candidates {
        line(out, &format!("a=candidate:{candidate}"));
    }
    if transport.end_of_candidates {
        line(out, "a=end-of-candidates");
    }
}

fn media_part(out: &mut String, own: &Own<'_>, index: usize, protocol: &str, candidates: bool) {
    let Some(stream) = own.streams.get(index) else {
        return;
    };
    let types: Vec<String> = stream.payload_types().map(|pt| pt.to_string()).collect();
    let (kind, types) = (stream.kind.as_str(), types.join(" "));
    line(out, &format!("m={kind} 9 {protocol} {types}"));
    line(out, "c=IN IP4 0.0.0.0");
    if !stream.mid.is_empty() {
        line(out, &format!("a=mid:{}", stream.mid));
    }
    transport_lines(out, own.transport, own.setup);
    line(
        out,
        match stream.direction {
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
            Direction::SendRecv => "a=sendrecv",
            Direction::Inactive => "a=inactive",
        },
    );
    line(out, "a=rtcp-mux");
    if stream.rtcp_rsize {
        line(out, "a=rtcp-rsize");
    }
    // Of each m-line by itself: Chrome before M71 refuses a description that has it for all.
    if stream.extensions.iter().any(|(_, e)| e.needs_mixed_forms()) {
        line(out, "a=extmap-allow-mixed");
    }
    for (id, extension) in &stream.extensions {
        line(out, &format!("a=extmap:{id} {}", extension.uri()));
    }
    stream
        .codecs
        .iter()
        .for_each(|codec| codec_lines(out, codec));
    if let Some(fec) = &stream.fec {
        fec_lines(out, fec);
    }
    if stream.direction.sends() {
        source_lines(out, own, stream, index);
    }
    if candidates {
        candidate_lines(out, own.transport);
    }
}

/// RFC 8841; where the remote offered it so, as the drafts before it had it.
fn data_part(
    out: &mut String,
    own: &Own<'_>,
    (mid, protocol, formats): (&str, &str, &str),
    candidates: bool,
) {
    let old = formats.bytes().all(|byte| byte.is_ascii_digit());
    line(out, &format!("m=application 9 {protocol} {formats}"));
    line(out, "c=IN IP4 0.0.0.0");
    if !mid.is_empty() {
        line(out, &format!("a=mid:{mid}"));
    }
    transport_lines(out, own.transport, own.setup);
    if old {
        let streams = super::data::MAX_ID + 1;
        line(
            out,
            &format!("a=sctpmap:{SCTP_PORT} webrtc-datachannel {streams}"),
        );
    } else {
        line(out, &format!("a=sctp-port:{SCTP_PORT}"));
        line(out, &format!("a=max-message-size:{MAX_MESSAGE_SIZE}"));
    }
    if candidates {
        candidate_lines(out, own.transport);
    }
}

fn source_lines(out: &mut String, own: &Own<'_>, stream: &StreamConfig, index: usize) {
    let cname = own.cname;
    match &stream.msid {
        Some(msid) => line(out, &format!("a=msid:{msid}")),
        None => line(out, &format!("a=msid:{cname} {cname}-{index}")),
    }
    let repaired = stream.codecs.iter().any(|c| c.rtx_payload_type.is_some());
    let layers: Vec<_> = sent_layers(own, index).collect();
    if layers.iter().any(|(_, layer)| !layer.rid.is_empty()) {
        // Rids tell them apart, and SSRCs are those of the packets (RFC 8853 section 5.5).
        return;
    }
    if layers.len() > 1 {
        let ssrcs = layers.iter().filter_map(|(at, _)| own.ssrcs.get(*at));
        return simulcast_sources(out, cname, &ssrcs.copied().collect::<Vec<_>>(), repaired);
    }
    // Of layers the one that is left.
    let sent = layers.first().map_or(index, |(at, _)| *at);
    let (ssrc, rtx) = own.ssrcs.get(sent).copied().unwrap_or_default();
    if repaired {
        line(out, &format!("a=ssrc-group:FID {ssrc} {rtx}"));
    }
    let flexfec = stream.fec.as_ref().filter(|fec| fec.red.is_none());
    let fec = flexfec.and_then(|_| own.fec_ssrcs.get(index));
    if let Some(fec) = fec {
        line(out, &format!("a=ssrc-group:FEC-FR {ssrc} {fec}"));
    }
    line(out, &format!("a=ssrc:{ssrc} cname:{cname}"));
    if repaired {
        line(out, &format!("a=ssrc:{rtx} cname:{cname}"));
    }
    if let Some(fec) = fec {
        line(out, &format!("a=ssrc:{fec} cname:{cname}"));
    }
}

/// Layers as Chrome wrote them under Plan B, for remotes without rids.
fn simulcast_sources(out: &mut String, cname: &str, ssrcs: &[(u32, u32)], repaired: bool) {
    if repaired {
        for (ssrc, rtx) in ssrcs {
            line(out, &format!("a=ssrc-group:FID {ssrc} {rtx}"));
        }
    }
    let all: Vec<String> = ssrcs.iter().map(|(ssrc, _)| ssrc.to_string()).collect();
    line(out, &format!("a=ssrc-group:SIM {}", all.join(" ")));
    for (ssrc, rtx) in ssrcs {
        line(out, &format!("a=ssrc:{ssrc} cname:{cname}"));
        if repaired {
            line(out, &format!("a=ssrc:{rtx} cname:{cname}"));
        }
    }
}

/// The layers that we take or send (RFC 8851, RFC 8853).
fn layer_lines(out: &mut String, own: &Own<'_>, index: usize, old_form: bool) {
    let Some(stream) = own.streams.get(index) else {
        return;
    };
    let layers = sent_layers(own, index);
    let mut rids: Vec<&str> = layers.map(|(_, layer)| layer.rid.as_str()).collect();
    let mut way = "send";
    // With two-way calls a line may do both: what we send is what we offer.
    if rids.is_empty() && stream.direction.receives() {
        rids = stream.layers.iter().map(|l| l.rid.as_str()).collect();
        way = "recv";
    }
    if stream.direction == Direction::Inactive {
        return;
    }
    if rids.is_empty() || rids.iter().any(|rid| rid.is_empty()) {
        return;
    }
    rids.iter()
        .for_each(|rid| line(out, &format!("a=rid:{rid} {way}")));
    let rids = rids.join(";");
    line(
        out,
        &if old_form {
            format!("a=simulcast: {way} rid={rids}")
        } else {
            format!("a=simulcast:{way} {rids}")
        },
    );
}

/// The layers that we send in the m-line of stream `index`, if there may be several.
fn sent_layers<'a>(own: &'a Own<'_>, index: usize) -> impl Iterator<Item = (usize, &'a SentLayer)> {
    let several = own.streams.get(index).is_some_and(|s| s.layer.is_some());
    let streams = own.streams.iter().enumerate().filter(move |_| several);
    let layers = streams.filter_map(|(at, stream)| Some((at, stream.layer.as_ref()?)));
    layers.filter(move |(_, layer)| layer.of == index && layer.sends)
}

fn fec_lines(out: &mut String, fec: &Protection) {
    if let Some((red, rtx)) = fec.red {
        line(out, &format!("a=rtpmap:{red} red/90000"));
        if let Some(rtx) = rtx {
            line(out, &format!("a=rtpmap:{rtx} rtx/90000"));
            line(out, &format!("a=fmtp:{rtx} apt={red}"));
        }
    }
    let (pt, name) = (fec.payload_type, fec.scheme.as_str());
    line(out, &format!("a=rtpmap:{pt} {name}/90000"));
    if fec.scheme == Scheme::Flexfec {
        // In microseconds; ours come within a tenth of a second, and 10 s is what others write.
        line(out, &format!("a=fmtp:{pt} repair-window=10000000"));
    }
}

fn codec_lines(out: &mut String, codec: &Codec) {
    let pt = codec.payload_type;
    let _ = write!(out, "a=rtpmap:{pt} {}/{}", codec.name, codec.clock_rate);
    if let Some(channels) = codec.channels.filter(|channels| *channels > 1) {
        let _ = write!(out, "/{channels}");
    }
    out.push_str("\r\n");
    if !codec.fmtp.is_empty() {
        line(out, &format!("a=fmtp:{pt} {}", codec.fmtp));
    }
    for feedback in &codec.feedback {
        line(out, &format!("a=rtcp-fb:{pt} {feedback}"));
    }
    if let Some(rtx) = codec.rtx_payload_type {
        line(out, &format!("a=rtpmap:{rtx} rtx/{}", codec.clock_rate));
        line(out, &format!("a=fmtp:{rtx} apt={pt}"));
    }
}
