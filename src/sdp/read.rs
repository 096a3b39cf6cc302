// SPDX-License-Identifier: MPL-2.0
//! What a remote description says of each m-line.

use sdp_types::{Media, Session};

use crate::media::codec::{Codec, MediaKind, parameter};

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not SDP at all (RFC 8866).
    #[error("it is not valid SDP: {0}")]
    Syntax(String),
    /// There is nothing to connect to.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// Direction attribute of the remote (RFC 3264 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteDirection {
    /// The remote offers to send.
    pub sends: bool,
    /// The remote offers to receive.
    pub receives: bool,
}

/// One m-line of a remote description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    /// Position among all m-lines of the description.
    pub index: usize,
    /// `None` for `application` and kinds we do not know.
    pub kind: Option<MediaKind>,
    /// `mid` (RFC 5888); empty where there is none.
    pub mid: String,
    /// Port 0: the m-line is off.
    pub rejected: bool,
    /// What the remote does on it.
    pub direction: RemoteDirection,
    /// Codecs in the order of the m-line, RTX and FEC left out.
    pub codecs: Vec<Codec>,
}

/// A remote description, read.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(super) session: Session,
    /// Its m-lines.
    pub media: Vec<MediaLine>,
}

impl Remote {
    /// Reads `sdp`.
    ///
    /// # Errors
    ///
    /// [`SdpError::Syntax`] when it is not SDP; [`SdpError::Missing`] when it has no m-line, no ICE
    /// user or no DTLS fingerprint (RFC 8829 section 5.8.2).
    pub fn read(sdp: &str) -> Result<Self, SdpError> {
        let session =
            Session::parse(sdp.as_bytes()).map_err(|e| SdpError::Syntax(e.to_string()))?;
        if session.medias.is_empty() {
            return Err(SdpError::Missing("media (m=) line"));
        }
        for (attribute, name) in [
            ("ice-ufrag", "ICE user fragment (a=ice-ufrag)"),
            ("ice-pwd", "ICE password (a=ice-pwd)"),
            ("fingerprint", "DTLS fingerprint (a=fingerprint)"),
        ] {
            let found = session
                .attributes
                .iter()
                .chain(session.medias.iter().flat_map(|m| m.attributes.iter()))
                .any(|a| {
                    a.attribute == attribute && a.value.as_ref().is_some_and(|v| !v.is_empty())
                });
            if !found {
                return Err(SdpError::Missing(name));
            }
        }
        let session_direction = direction(session.attributes.iter());
        let media = session
            .medias
            .iter()
            .enumerate()
            .map(|(index, media)| media_line(index, media, session_direction))
            .collect();
        Ok(Self { session, media })
    }

    /// The m-lines that carry audio or video, in order.
    pub fn audio_video(&self) -> impl Iterator<Item = (&MediaLine, MediaKind)> {
        self.media
            .iter()
            .filter_map(|line| line.kind.map(|kind| (line, kind)))
    }

    /// Value of the first attribute `name` on the session or any m-line.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.session
            .attributes
            .iter()
            .chain(self.session.medias.iter().flat_map(|m| m.attributes.iter()))
            .find(|a| a.attribute == name)
            .and_then(|a| a.value.as_deref())
    }
}

fn media_line(
    index: usize,
    media: &Media,
    session_direction: Option<RemoteDirection>,
) -> MediaLine {
    let kind = match media.media.as_str() {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    };
    let attributes = || values(media, "mid");
    MediaLine {
        index,
        kind,
        mid: attributes().next().unwrap_or_default().to_owned(),
        rejected: media.port == 0,
        direction: direction(media.attributes.iter())
            .or(session_direction)
            .unwrap_or(RemoteDirection {
                sends: true,
                receives: true,
            }),
        codecs: kind.map(|kind| codecs(media, kind)).unwrap_or_default(),
    }
}

fn values<'a>(media: &'a Media, name: &'static str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |a| a.attribute == name)
        .filter_map(|a| a.value.as_deref())
}

fn direction<'a>(
    mut attributes: impl Iterator<Item = &'a sdp_types::Attribute>,
) -> Option<RemoteDirection> {
    attributes.find_map(|a| {
        let (sends, receives) = match a.attribute.as_str() {
            "sendrecv" => (true, true),
            "sendonly" => (true, false),
            "recvonly" => (false, true),
            "inactive" => (false, false),
            _ => return None,
        };
        Some(RemoteDirection { sends, receives })
    })
}

/// Codecs in the m-line's order; RTX rows are folded into the codec they repair.
fn codecs(media: &Media, kind: MediaKind) -> Vec<Codec> {
    let maps: Vec<_> = values(media, "rtpmap").filter_map(rtpmap).collect();
    let fmtp = |pt: u8| {
        values(media, "fmtp")
            .find_map(|v| payload_value(v).filter(|(p, _)| *p == pt))
            .map(|(_, text)| text)
            .unwrap_or_default()
    };
    let rtx = |pt: u8| {
        maps.iter()
            .filter(|m| m.name.eq_ignore_ascii_case("rtx"))
            .find(|m| parameter(fmtp(m.pt), "apt").and_then(|v| v.parse().ok()) == Some(pt))
            .map(|m| m.pt)
    };
    let repair = [
        "rtx",
        "red",
        "ulpfec",
        "flexfec-03",
        "telephone-event",
        "CN",
    ];
    media
        .fmt
        .split_ascii_whitespace()
        .filter_map(|pt| pt.parse::<u8>().ok().filter(|pt| *pt < 128))
        .filter_map(|pt| maps.iter().find(|m| m.pt == pt))
        .filter(|m| !repair.iter().any(|name| m.name.eq_ignore_ascii_case(name)))
        .map(|m| Codec {
            kind,
            name: m.name.to_owned(),
            clock_rate: m.clock_rate,
            channels: m.channels,
            fmtp: fmtp(m.pt).to_owned(),
            payload_type: m.pt,
            rtx_payload_type: rtx(m.pt),
            feedback: feedback(media, m.pt),
        })
        .collect()
}

fn feedback(media: &Media, pt: u8) -> Vec<String> {
    values(media, "rtcp-fb")
        .filter_map(|v| v.split_once(' '))
        .filter(|(target, _)| *target == "*" || target.parse() == Ok(pt))
        .map(|(_, what)| what.trim().to_owned())
        .collect()
}

struct RtpMap<'a> {
    pt: u8,
    name: &'a str,
    clock_rate: u32,
    channels: Option<u16>,
}

fn rtpmap(value: &str) -> Option<RtpMap<'_>> {
    let (pt, rest) = payload_value(value)?;
    let mut parts = rest.split('/');
    Some(RtpMap {
        pt,
        name: parts.next()?,
        clock_rate: parts.next()?.trim().parse().ok()?,
        channels: parts.next().and_then(|c| c.trim().parse().ok()),
    })
}

/// `96 something` as payload type and text.
pub(super) fn payload_value(value: &str) -> Option<(u8, &str)> {
    let (pt, rest) = value.split_once(' ')?;
    Some((pt.parse().ok()?, rest.trim()))
}

#[cfg(test)]
pub(super) mod tests;
