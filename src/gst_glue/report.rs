// SPDX-License-Identifier: MPL-2.0
//! What was negotiated, for applications (an element message) and for people (stderr).
//!
//! Invariant: neither holds an ICE password, a key or a whole description.

use std::io::Write;
use std::time::Duration;

use gst::prelude::*;

use super::stats::is_two_way;
use crate::logging::SIGNALLING as CAT;
use crate::media::codec::Codec;
use crate::media::fec::Scheme;
use crate::peer::{Direction, StreamStats, TransportInfo};
use crate::sdp::extensions;
use crate::sdp::profiles::Profile;
use crate::session::event::EndCause;
use crate::session::negotiation::AgreedStream;

/// Name of the element message, and of its structure.
pub const NEGOTIATED: &str = "rswebrtc-negotiated";

/// Name of the element message with a note from signalling, and of its structure.
pub const NOTICE: &str = "rswebrtc-notice";

/// Name of the element message that tells where a server listens.
pub const LISTENING: &str = "rswebrtc-listening";

/// Name of the element message that tells that a lost call is made again.
pub const RECONNECTING: &str = "rswebrtc-reconnecting";

/// So many notes of one call are told; the rest is in the debug log.
const NOTICES: u32 = 20;

/// The pad of one agreed stream.
pub struct Pad {
    /// The session's `local` of the stream.
    pub local: usize,
    /// Which of that stream's outputs it is.
    pub output: usize,
    /// Its name.
    pub name: String,
    /// Its caps, if they are known.
    pub caps: Option<gst::Caps>,
}

/// Tells about one call.
pub struct Teller {
    on_stderr: bool,
    notices: u32,
    agreed: Vec<AgreedStream>,
    transport: TransportInfo,
}

impl Teller {
    /// A teller that also writes to stderr, or does not.
    pub fn new(on_stderr: bool) -> Self {
        Self {
            on_stderr,
            notices: 0,
            agreed: Vec::new(),
            transport: TransportInfo::default(),
        }
    }

    /// Whether people are told on stderr.
    pub fn tells(&self) -> bool {
        self.on_stderr
    }

    /// Passes a note on. No warning message: gst-launch prints those on stdout, which may be what
    /// the other side reads, and which would answer with a note of its own.
    pub fn notice(&mut self, element: &gst::Element, text: &str) {
        gst::info!(CAT, obj = element, "{text}");
        self.notices += 1;
        if self.notices > NOTICES {
            return;
        }
        let structure = gst::Structure::builder(NOTICE).field("text", text).build();
        let message = gst::message::Element::builder(structure)
            .src(element)
            .build();
        let _ = element.post_message(message);
        if self.on_stderr {
            let last = if self.notices == NOTICES {
                " (further notes are left out)"
            } else {
                ""
            };
            write(&format!("{}: note: {text}{last}\n", element.name()));
        }
    }

    /// Says on stderr how the call ended.
    pub fn ended(&self, element: &gst::Element, cause: EndCause) {
        if self.on_stderr {
            let what = match cause {
                EndCause::Remote => "the other side ended the call",
                EndCause::Local => "the call ended",
            };
            write(&format!("{}: {what}\n", element.name()));
        }
    }

    /// Clients can come to `url`.
    pub fn listening(&self, element: &gst::Element, url: &str) {
        let structure = gst::Structure::builder(LISTENING).field("url", url).build();
        self.post(element, structure);
        if self.on_stderr {
            let page = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            write(&format!(
                "{}: listening on {url}, and {page}/ is a page for browsers\n",
                element.name()
            ));
        }
    }

    /// What happened to one of many peers.
    pub fn peer(&self, element: &gst::Element, peer: &str, what: &str) {
        if self.on_stderr {
            write(&format!("{}: peer {peer}: {what}\n", element.name()));
        }
    }

    /// The connection is lost and is made again.
    pub fn interrupted(&self, element: &gst::Element, cause: &str, delay: Duration) {
        let structure = gst::Structure::builder(RECONNECTING)
            .field("cause", cause)
            .field(
                "delay",
                u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            )
            .build();
        self.post(element, structure);
        if self.on_stderr {
            let when = if delay.is_zero() {
                "now".to_owned()
            } else {
                format!("in {:.1} s", delay.as_secs_f64())
            };
            write(&format!(
                "{}: {cause}: trying again {when}\n",
                element.name()
            ));
        }
    }

    fn post(&self, element: &gst::Element, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure)
            .src(element)
            .build();
        let _ = element.post_message(message);
    }

    /// Posts a warning, and says it on stderr too: `gst-launch-1.0 -q` leaves warnings out.
    pub fn warn(&self, element: &gst::Element, text: &str) {
        gst::element_warning!(element, gst::ResourceError::Read, ("{}", text));
        if self.on_stderr {
            write(&format!("{}: warning: {text}\n", element.name()));
        }
    }

    /// Remembers what was agreed until the transport is up.
    pub fn agreed(&mut self, agreed: Vec<AgreedStream>) {
        self.agreed = agreed;
    }

    /// The transport is up: posts the message and writes the report.
    pub fn connected(
        &mut self,
        element: &gst::Element,
        transport: &TransportInfo,
        stats: &[(AgreedStream, StreamStats)],
        pads: &[Pad],
    ) {
        self.transport = transport.clone();
        self.tell(element, "connected", stats, pads);
    }

    /// The same after a negotiation during the call.
    pub fn negotiated_anew(
        &self,
        element: &gst::Element,
        stats: &[(AgreedStream, StreamStats)],
        pads: &[Pad],
    ) {
        self.tell(element, "negotiated anew", stats, pads);
    }

    fn tell(
        &self,
        element: &gst::Element,
        what: &str,
        stats: &[(AgreedStream, StreamStats)],
        pads: &[Pad],
    ) {
        let structure = negotiated(&self.agreed, &self.transport, stats, pads);
        let message = gst::message::Element::builder(structure)
            .src(element)
            .build();
        let _ = element.post_message(message);
        if self.on_stderr {
            let title = format!("{}: {what}", element.name());
            write(&report(&title, &self.agreed, &self.transport, stats, pads));
        }
    }
}

/// One line on stderr about a stream whose caps are known now, if `tells`.
pub fn caps_known(tells: bool, pad: &str, caps: &gst::CapsRef) {
    if tells {
        write(&format!("  {pad}: {}\n", picture(caps)));
    }
}

fn write(text: &str) {
    // A closed stderr is the user's choice.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn direction(stream: &AgreedStream, stats: &[(AgreedStream, StreamStats)]) -> &'static str {
    if is_two_way(stream, stats) {
        return "sendrecv";
    }
    match stream.direction {
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::SendRecv => "sendrecv",
        Direction::Inactive => "inactive",
    }
}

/// As the property says it.
fn fec(stream: &AgreedStream) -> &'static str {
    match stream.fec.as_ref().map(|fec| fec.scheme) {
        None => "none",
        Some(Scheme::Ulpfec) => "ulpfec",
        Some(Scheme::Flexfec) => "flexfec",
    }
}

fn why_no_fec(stream: &AgreedStream, scheme: Scheme) -> String {
    let (codec, name) = (&stream.codec.name, scheme.as_str());
    match stream.direction {
        Direction::SendOnly if !scheme.fits(codec) => {
            format!("{name} goes with VP8 and VP9 only; flexfec with {codec} too")
        }
        Direction::SendOnly => format!("the remote takes no {name}"),
        _ => format!("the remote has no {name}"),
    }
}

fn pad_of<'a>(stream: &AgreedStream, pads: &'a [Pad]) -> Option<&'a Pad> {
    let mut pads = pads.iter();
    pads.find(|pad| (pad.local, pad.output) == (stream.local, stream.output))
}

fn ssrcs(stream: &AgreedStream, stats: &[(AgreedStream, StreamStats)]) -> (u32, u32) {
    stats
        .iter()
        .find(|(s, _)| s.stream == stream.stream && s.direction == stream.direction)
        .map(|(_, s)| (s.ssrc, s.rtx_ssrc))
        .unwrap_or_default()
}

fn negotiated(
    agreed: &[AgreedStream],
    transport: &TransportInfo,
    stats: &[(AgreedStream, StreamStats)],
    pads: &[Pad],
) -> gst::Structure {
    let streams = agreed.iter().map(|stream| {
        let codec = &stream.codec;
        let (ssrc, rtx_ssrc) = ssrcs(stream, stats);
        let mut builder = gst::Structure::builder("stream")
            .field("mid", &stream.mid)
            .field("kind", codec.kind.as_str())
            .field("direction", direction(stream, stats))
            .field("codec", &codec.name)
            .field("clock-rate", codec.clock_rate)
            .field("fmtp", &codec.fmtp)
            .field("payload-type", u32::from(codec.payload_type))
            .field("ssrc", ssrc)
            .field("feedback", codec.feedback.join(", "));
        if let Some(profile) = Profile::of(&codec.name, &codec.fmtp) {
            builder = builder
                .field("profile", profile.name)
                .field_if_some("level", profile.level);
        }
        if let Some(rtx) = codec.rtx_payload_type {
            builder = builder
                .field("rtx-payload-type", u32::from(rtx))
                .field("rtx-ssrc", rtx_ssrc);
        }
        builder = builder.field("fec", fec(stream));
        if let Some(fec) = &stream.fec {
            builder = builder
                .field("fec-payload-type", u32::from(fec.payload_type))
                .field_if_some("red-payload-type", fec.red.map(|(red, _)| u32::from(red)));
        }
        let extensions = stream.extensions.iter().map(|(id, extension)| {
            let text = format!("{id} {}", extension.uri());
            text.to_send_value()
        });
        builder = builder.field("extensions", gst::List::new(extensions));
        if let Some(msid) = &stream.msid {
            builder = builder.field("msid", msid);
        }
        if !stream.layers.is_empty() {
            let rids = stream.layers.iter().map(|layer| layer.rid.to_send_value());
            builder = builder
                .field("layers", gst::List::new(rids))
                .field_if_some("rid", stream.rid());
        }
        if let Some(pad) = pad_of(stream, pads) {
            builder = builder.field("pad", &pad.name);
            if let Some(caps) = &pad.caps {
                builder = builder.field("caps", caps);
            }
        }
        builder.build().to_send_value()
    });
    gst::Structure::builder(NEGOTIATED)
        .field("streams", gst::List::new(streams))
        .field("local-candidate", &transport.local_candidate)
        .field("remote-candidate", &transport.remote_candidate)
        .field("dtls-role", &transport.dtls_role)
        .field("dtls-version", &transport.dtls_version)
        .field("dtls-cipher", &transport.dtls_cipher)
        .field("srtp-profile", &transport.srtp_profile)
        .build()
}

fn report(
    title: &str,
    agreed: &[AgreedStream],
    transport: &TransportInfo,
    stats: &[(AgreedStream, StreamStats)],
    pads: &[Pad],
) -> String {
    let mut text = format!("{title}\n");
    for stream in agreed {
        let codec = &stream.codec;
        let (ssrc, rtx_ssrc) = ssrcs(stream, stats);
        let name = pad_of(stream, pads).map(|pad| pad.name.as_str());
        text += &format!(
            "  {}: {} {}, mid {}, payload type {}",
            name.unwrap_or(codec.kind.as_str()),
            direction(stream, stats),
            encoding(codec),
            stream.mid,
            codec.payload_type,
        );
        if ssrc != 0 {
            text += &format!(", SSRC {ssrc}");
        }
        if let Some(rtx) = codec.rtx_payload_type {
            text += &format!(", RTX {rtx}");
            if rtx_ssrc != 0 {
                text += &format!(" (SSRC {rtx_ssrc})");
            }
        }
        if let Some(rid) = stream.rid() {
            text += &format!(", layer {rid}");
        } else if stream.layers.iter().any(|layer| !layer.rid.is_empty()) {
            let rids: Vec<_> = stream.layers.iter().map(|l| l.rid.as_str()).collect();
            text += &format!(", one of the layers {}", rids.join(" / "));
        }
        if let Some(fec) = &stream.fec {
            text += &format!(", FEC {} {}", fec.scheme.as_str(), fec.payload_type);
            if let Some((red, _)) = fec.red {
                text += &format!(" in RED {red}");
            }
        } else if let Some(scheme) = stream.fec_left_out {
            text += &format!(", no FEC ({})", why_no_fec(stream, scheme));
        }
        if !codec.feedback.is_empty() {
            text += &format!(", feedback {}", codec.feedback.join(" / "));
        }
        if !stream.extensions.is_empty() {
            let names = stream.extensions.iter();
            let names: Vec<_> = names.map(|(_, e)| extensions::name(e.uri())).collect();
            text += &format!(", extensions {}", names.join(" / "));
        }
        if let Some(caps) = pad_of(stream, pads).and_then(|pad| pad.caps.as_ref()) {
            text += &format!(", {}", picture(caps));
        }
        text.push('\n');
    }
    let known = |text: &str| {
        if text.is_empty() {
            "unknown".to_owned()
        } else {
            text.to_owned()
        }
    };
    text += &format!(
        "  transport: {} <-> {}; {} as {}, {}; {}\n",
        known(&transport.local_candidate),
        known(&transport.remote_candidate),
        known(&transport.dtls_version),
        known(&transport.dtls_role),
        known(&transport.dtls_cipher),
        known(&transport.srtp_profile),
    );
    text
}

/// `H264 constrained-baseline 3.1`, as `rswebrtc-sdp` says it.
fn encoding(codec: &Codec) -> String {
    match Profile::of(&codec.name, &codec.fmtp) {
        Some(profile) => format!("{} {profile}", codec.name),
        None => codec.name.clone(),
    }
}

/// `1920x1080 at 30/1 frames/s`, or what there is.
fn picture(caps: &gst::CapsRef) -> String {
    let Some(structure) = caps.structure(0) else {
        return "no caps".to_owned();
    };
    let mut text = structure.name().to_string();
    if let (Ok(width), Ok(height)) = (
        structure.get::<i32>("width"),
        structure.get::<i32>("height"),
    ) {
        text += &format!(" {width}x{height}");
    }
    if let Ok(rate) = structure.get::<gst::Fraction>("framerate")
        && rate.numer() > 0
    {
        text += &format!(" at {}/{} frames/s", rate.numer(), rate.denom());
    }
    if let Ok(profile) = structure.get::<&str>("profile") {
        text += &format!(", profile {profile}");
    }
    if let (Ok(rate), Ok(channels)) = (
        structure.get::<i32>("rate"),
        structure.get::<i32>("channels"),
    ) {
        text += &format!(" {rate} Hz, {channels} channels");
    }
    text
}
