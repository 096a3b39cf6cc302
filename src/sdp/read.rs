// SPDX-License-Identifier: MPL-2.0
//! Reads a description. Takes what real peers write and what is left of it after copying: any line
//! ends, blank lines, trailing spaces, attributes on the session in place of the m-lines.

use std::collections::HashSet;

use sdp_types::{Attribute, Bandwidth, Media, ParserError, Session};

use crate::media::codec::MediaKind;

use super::attributes::{
    Reason, candidate, extension, fingerprint, msid, rid, setup, simulcast, sources, ssrc_group,
};
use super::codecs::{Formats, formats, is_rtpmap, values};
use super::model::{
    Extension, Fingerprint, IceCredentials, MediaLine, Msid, Origin, Remote, RemoteDirection, Sctp,
    SdpError, Setup, Source, Unreadable,
};

/// The longest description that is read, bytes: the longest that signalling takes.
const MAX_TEXT: usize = 1 << 20;
/// Limits on what is copied from the session to each m-line, so that no text makes us fill the
/// memory: m-lines, extensions, fingerprints, and bytes of one of these.
const MAX_MEDIA: usize = 512;
const MAX_SESSION_EXTENSIONS: usize = 32;
const MAX_SESSION_FINGERPRINTS: usize = 16;
const MAX_INHERITED: usize = 256;
/// Limits on what is compared with each other: BUNDLE groups, mids of one, rids of an m-line, and
/// its extensions, of which there are 255 ids.
const MAX_GROUPS: usize = 16;
const MAX_RIDS: usize = 256;
const MAX_EXTENSIONS: usize = 256;
/// What cannot be read is listed up to this number, for the session and for each m-line.
const MAX_UNREADABLE: usize = 32;

impl Remote {
    /// Reads `sdp`.
    ///
    /// # Errors
    ///
    /// [`SdpError::Syntax`] when it is not SDP; [`SdpError::Missing`] when it has no m-line, no ICE
    /// user or no DTLS fingerprint (RFC 8829 section 5.8.2).
    pub fn read(sdp: &str) -> Result<Self, SdpError> {
        let remote = Self::parse(sdp)?;
        if remote.media.is_empty() {
            return Err(SdpError::Missing("media (m=) line"));
        }
        for (attribute, name) in [
            ("ice-ufrag", "ICE user fragment (a=ice-ufrag)"),
            ("ice-pwd", "ICE password (a=ice-pwd)"),
            ("fingerprint", "DTLS fingerprint (a=fingerprint)"),
        ] {
            let found = remote
                .attributes()
                .any(|a| a.attribute == attribute && has_value(a));
            // Where all is rejected there is nothing to connect.
            if !found && remote.media.iter().any(|line| !line.rejected) {
                return Err(SdpError::Missing(name));
            }
        }
        Ok(remote)
    }

    /// Reads `sdp` to look at it: what a peer could not do without may be missing.
    ///
    /// # Errors
    ///
    /// [`SdpError::Syntax`] when it is not SDP, with the number of the line.
    pub fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_TEXT {
            return Err(SdpError::Syntax(format!(
                "it is longer than {MAX_TEXT} bytes"
            )));
        }
        let session = Session::parse(tidy(sdp).as_bytes())
            .map_err(|error| SdpError::Syntax(syntax(&error)))?;
        if session.medias.len() > MAX_MEDIA {
            return Err(SdpError::Syntax(format!(
                "it has more than {MAX_MEDIA} m-lines"
            )));
        }
        let mut unreadable = Unread::default();
        let inherited = Inherited::read(&session.attributes, &mut unreadable);
        let media: Vec<_> = session
            .medias
            .iter()
            .enumerate()
            .map(|(index, media)| media_line(index, media, &inherited))
            .collect();
        let mut ice_options = inherited.ice_options.clone();
        for option in media.iter().flat_map(|line| &line.ice_options) {
            if !ice_options.contains(option) {
                ice_options.push(option.clone());
            }
        }
        let bundle = named(&session.attributes, "group")
            .filter_map(|value| value.trim().strip_prefix("BUNDLE"))
            .map(|mids| {
                let mids = mids.split_whitespace().take(MAX_MEDIA);
                mids.map(str::to_owned).collect()
            })
            .take(MAX_GROUPS)
            .collect();
        let msid_semantic = named(&session.attributes, "msid-semantic")
            .next()
            .map(|value| value.trim().to_owned());
        Ok(Self {
            media,
            origin: Origin {
                username: session.origin.username.clone().unwrap_or_default(),
                session_id: session.origin.sess_id.clone(),
                version: session.origin.sess_version,
                address: session.origin.unicast_address.clone(),
            },
            bundle,
            msid_semantic,
            bandwidth: bandwidth(&session.bandwidths),
            ice_lite: session.attributes.iter().any(|a| a.attribute == "ice-lite"),
            ice_options,
            unreadable: unreadable.0,
            session,
        })
    }

    /// The m-lines that carry audio or video, in order.
    pub fn audio_video(&self) -> impl Iterator<Item = (&MediaLine, MediaKind)> {
        self.media
            .iter()
            .filter_map(|line| line.kind.map(|kind| (line, kind)))
    }

    /// Value of the first attribute `name` on the session or any m-line.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes()
            .find(|a| a.attribute == name)
            .and_then(|a| a.value.as_deref())
    }

    fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.session
            .attributes
            .iter()
            .chain(self.session.medias.iter().flat_map(|m| &m.attributes))
    }
}

/// The lines as the parser wants them, as many as before, so that their numbers stay.
fn tidy(sdp: &str) -> String {
    let mut text = String::with_capacity(sdp.len() + 2);
    let sdp = sdp.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    for line in sdp.split(['\r', '\n']) {
        let line = line.trim();
        if line.starts_with("m=") {
            let words: Vec<_> = line.split_whitespace().collect();
            text.push_str(&words.join(" "));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// The parser's error as one that names the line first.
fn syntax(error: &ParserError) -> String {
    match error {
        ParserError::InvalidLineFormat(line, what) => format!("line {line}: {what}"),
        ParserError::InvalidFieldEncoding(line, what) => {
            format!("line {line}: {what} is not UTF-8")
        }
        ParserError::InvalidFieldFormat(line, what) => {
            format!("line {line}: {what} is not what it must be")
        }
        ParserError::MissingField(line, what) => format!("line {line}: {what} is missing"),
        ParserError::FieldTrailingData(line, what) => {
            format!("line {line}: something follows {what}")
        }
        ParserError::InvalidVersion(line, _) => format!("line {line}: v= is not 0"),
        ParserError::NoVersion => "it does not start with v=0".to_owned(),
        other => other.to_string(),
    }
}

/// What could not be read, so far.
#[derive(Default)]
struct Unread(Vec<Unreadable>);

impl Unread {
    fn add(&mut self, attribute: &str, reason: Reason) {
        if self.0.len() < MAX_UNREADABLE {
            self.0.push(Unreadable {
                attribute: attribute.to_owned(),
                // What was quoted may be as long as the line.
                reason: reason.chars().take(120).collect(),
            });
        }
    }

    /// The values of `results` that could be read.
    fn keep<T>(
        &mut self,
        attribute: &str,
        results: impl Iterator<Item = Result<T, Reason>>,
    ) -> Vec<T> {
        results
            .filter_map(|result| result.map_err(|reason| self.add(attribute, reason)).ok())
            .collect()
    }
}

/// What the session says for all m-lines.
struct Inherited {
    direction: Option<RemoteDirection>,
    setup: Option<Setup>,
    ice: IceCredentials,
    ice_options: Vec<String>,
    fingerprints: Vec<Fingerprint>,
    extensions: Vec<Extension>,
    extmap_allow_mixed: bool,
}

impl Inherited {
    fn read(attributes: &[Attribute], unread: &mut Unread) -> Self {
        let short = |value: &&str| value.len() <= MAX_INHERITED;
        let extensions = named(attributes, "extmap")
            .filter(short)
            .take(MAX_SESSION_EXTENSIONS)
            .map(extension);
        let extensions = unread.keep("extmap", extensions);
        let fingerprints = named(attributes, "fingerprint")
            .filter(short)
            .take(MAX_SESSION_FINGERPRINTS)
            .map(fingerprint);
        Self {
            direction: direction(attributes),
            setup: unread
                .keep("setup", named(attributes, "setup").map(setup))
                .first()
                .copied(),
            ice: credentials(attributes),
            ice_options: options(attributes),
            fingerprints: unread.keep("fingerprint", fingerprints),
            extensions,
            extmap_allow_mixed: flag(attributes, "extmap-allow-mixed"),
        }
    }
}

fn media_line(index: usize, media: &Media, session: &Inherited) -> MediaLine {
    let kind = match media.media.to_ascii_lowercase().as_str() {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    };
    let attributes = media.attributes.as_slice();
    let mut unread = Unread::default();
    for value in values(media, "rtpmap").filter(|value| !is_rtpmap(value)) {
        unread.add(
            "rtpmap",
            format!("\"{value}\" is no PAYLOAD-TYPE NAME/CLOCK"),
        );
    }
    let formats = kind.map_or_else(Formats::default, |kind| formats(media, kind));
    let mut extensions = session.extensions.clone();
    extensions.extend(unread.keep(
        "extmap",
        values(media, "extmap").take(MAX_EXTENSIONS).map(extension),
    ));
    let sources = sources(values(media, "ssrc"), |reason| unread.add("ssrc", reason));
    let own_fingerprints =
        unread.keep("fingerprint", values(media, "fingerprint").map(fingerprint));
    let own_setup = unread.keep("setup", values(media, "setup").map(setup));
    let own_ice = credentials(attributes);
    MediaLine {
        index,
        media: media.media.clone(),
        kind,
        // It is repeated in our own descriptions, where a control character has no place.
        mid: values(media, "mid")
            .next()
            .unwrap_or_default()
            .replace(char::is_control, "")
            .trim()
            .to_owned(),
        port: media.port,
        protocol: media.proto.clone(),
        rejected: media.port == 0 && !flag(attributes, "bundle-only"),
        bundle_only: flag(attributes, "bundle-only"),
        direction: direction(attributes)
            .or(session.direction)
            .unwrap_or(RemoteDirection::BOTH),
        codecs: formats.codecs,
        fec: formats.fec,
        other_formats: formats.other,
        payloads: formats.payloads,
        formats: media.fmt.split_whitespace().map(str::to_owned).collect(),
        extensions,
        extmap_allow_mixed: session.extmap_allow_mixed || flag(attributes, "extmap-allow-mixed"),
        rtcp_mux: flag(attributes, "rtcp-mux"),
        rtcp_rsize: flag(attributes, "rtcp-rsize"),
        msid: all_msids(media, &sources),
        sources,
        groups: unread.keep("ssrc-group", values(media, "ssrc-group").map(ssrc_group)),
        rids: unread.keep("rid", values(media, "rid").take(MAX_RIDS).map(rid)),
        simulcast: unread
            .keep("simulcast", values(media, "simulcast").map(simulcast))
            .into_iter()
            .next(),
        bandwidth: bandwidth(&media.bandwidths),
        setup: own_setup.first().copied().or(session.setup),
        ice: IceCredentials {
            ufrag: own_ice.ufrag || session.ice.ufrag,
            pwd: own_ice.pwd || session.ice.pwd,
        },
        ice_options: options(attributes),
        candidates: unread.keep("candidate", values(media, "candidate").map(candidate)),
        end_of_candidates: flag(attributes, "end-of-candidates"),
        fingerprints: if own_fingerprints.is_empty() {
            session.fingerprints.clone()
        } else {
            own_fingerprints
        },
        sctp: sctp(media),
        unreadable: unread.0,
    }
}

fn named<'a>(attributes: &'a [Attribute], name: &'static str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |a| a.attribute == name)
        .filter_map(|a| a.value.as_deref())
}

fn flag(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|a| a.attribute == name)
}

fn has_value(attribute: &Attribute) -> bool {
    attribute
        .value
        .as_deref()
        .is_some_and(|value| !value.trim().is_empty())
}

fn direction(attributes: &[Attribute]) -> Option<RemoteDirection> {
    attributes
        .iter()
        .find_map(|a| RemoteDirection::from_attribute(&a.attribute))
}

fn credentials(attributes: &[Attribute]) -> IceCredentials {
    let has = |name| {
        attributes
            .iter()
            .any(|a| a.attribute == name && has_value(a))
    };
    IceCredentials {
        ufrag: has("ice-ufrag"),
        pwd: has("ice-pwd"),
    }
}

fn options(attributes: &[Attribute]) -> Vec<String> {
    /// No peer has more.
    const MAX_OPTIONS: usize = 16;
    named(attributes, "ice-options")
        .flat_map(str::split_whitespace)
        .filter(|option| option.len() <= 64)
        .take(MAX_OPTIONS)
        .map(str::to_owned)
        .collect()
}

fn bandwidth(all: &[Bandwidth]) -> Vec<(String, u32)> {
    all.iter()
        .map(|b| {
            let value = u32::try_from(b.bandwidth).unwrap_or(u32::MAX);
            (b.bwtype.clone(), value)
        })
        .collect()
}

/// Of `a=msid`, or where there is none of the sources, each once.
fn all_msids(media: &Media, sources: &[Source]) -> Vec<Msid> {
    let mut seen = HashSet::new();
    values(media, "msid")
        .filter_map(msid)
        .chain(sources.iter().filter_map(|source| source.msid.clone()))
        .filter(|msid| seen.insert(msid.clone()))
        .collect()
}

/// RFC 8841 section 5, or the drafts before it with `a=sctpmap`.
fn sctp(media: &Media) -> Option<Sctp> {
    if !media.proto.to_ascii_uppercase().contains("SCTP") {
        return None;
    }
    let number = |name| values(media, name).find_map(|v| v.trim().parse::<u64>().ok());
    let mut map = values(media, "sctpmap").flat_map(str::split_whitespace);
    let old_port = map.next().or_else(|| media.fmt.split_whitespace().next());
    let old_port = old_port.and_then(|port| port.parse().ok());
    let port = number("sctp-port").and_then(|port| u16::try_from(port).ok());
    Some(Sctp {
        port: port.or(old_port),
        max_message_size: number("max-message-size"),
        streams: map.nth(1).and_then(|streams| streams.parse().ok()),
        old_form: port.is_none() && old_port.is_some(),
    })
}

#[cfg(test)]
pub(super) mod tests;
