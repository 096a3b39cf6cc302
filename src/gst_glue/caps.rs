// SPDX-License-Identifier: MPL-2.0
//! Caps and codecs, and the elements that go between them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use gst::prelude::*;

use crate::media::codec::{Codec, MediaKind, supported};

use super::av1::{Av1Depay, Av1Pay};
use super::errors::missing_element;

/// How one codec is carried: GStreamer's own elements and caps.
#[derive(Debug)]
pub struct Carriage {
    /// Encoding name, as in the codec table.
    pub name: &'static str,
    /// Encoded caps, as pads show them.
    pub caps: &'static str,
    /// Parser before the payloader, if the stream needs one.
    pub parser: Option<&'static str>,
    /// Parser behind the depayloader, for what muxers want to know.
    pub parser_behind: Option<&'static str>,
    /// RTP payloader.
    pub payloader: Part,
    /// RTP depayloader.
    pub depayloader: Part,
}

/// Where an element comes from.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// One of GStreamer's.
    Factory(&'static str),
    /// One of our own.
    Own(fn() -> gst::Element),
}

impl Part {
    /// A new element.
    ///
    /// # Errors
    ///
    /// Which one is missing.
    pub fn make(self) -> Result<gst::Element, gst::ErrorMessage> {
        match self {
            Self::Factory(name) => gst::ElementFactory::make(name)
                .build()
                .map_err(|e| missing_element(name, &e)),
            Self::Own(make) => Ok(make()),
        }
    }
}

/// One row a codec of the codec table.
pub const CARRIAGES: &[Carriage] = &[
    Carriage {
        name: "VP8",
        caps: "video/x-vp8",
        parser: None,
        parser_behind: None,
        payloader: Part::Factory("rtpvp8pay"),
        depayloader: Part::Factory("rtpvp8depay"),
    },
    Carriage {
        name: "H264",
        caps: "video/x-h264, stream-format = (string) { avc, avc3, byte-stream }, \
               alignment = (string) { au, nal }",
        parser: Some("h264parse"),
        parser_behind: Some("h264parse"),
        payloader: Part::Factory("rtph264pay"),
        depayloader: Part::Factory("rtph264depay"),
    },
    Carriage {
        name: "VP9",
        caps: "video/x-vp9",
        parser: None,
        // Not vp9parse: of frames that come in a burst and get one time it keeps one.
        parser_behind: None,
        payloader: Part::Factory("rtpvp9pay"),
        depayloader: Part::Factory("rtpvp9depay"),
    },
    Carriage {
        name: "AV1",
        caps: "video/x-av1",
        parser: Some("av1parse"),
        parser_behind: Some("av1parse"),
        payloader: Part::Own(|| gst::glib::Object::new::<Av1Pay>().upcast()),
        depayloader: Part::Own(|| gst::glib::Object::new::<Av1Depay>().upcast()),
    },
    Carriage {
        name: "H265",
        caps: "video/x-h265, stream-format = (string) { hvc1, hev1, byte-stream }, \
               alignment = (string) { au, nal }",
        parser: Some("h265parse"),
        parser_behind: Some("h265parse"),
        payloader: Part::Factory("rtph265pay"),
        depayloader: Part::Factory("rtph265depay"),
    },
    Carriage {
        name: "opus",
        caps: "audio/x-opus, channel-mapping-family = (int) 0",
        parser: None,
        parser_behind: None,
        payloader: Part::Factory("rtpopuspay"),
        depayloader: Part::Factory("rtpopusdepay"),
    },
    Carriage {
        name: "G722",
        caps: "audio/G722, rate = (int) 16000, channels = (int) 1",
        parser: None,
        parser_behind: None,
        payloader: Part::Factory("rtpg722pay"),
        depayloader: Part::Factory("rtpg722depay"),
    },
    Carriage {
        name: "PCMU",
        caps: "audio/x-mulaw, rate = (int) 8000, channels = (int) 1",
        parser: None,
        parser_behind: None,
        payloader: Part::Factory("rtppcmupay"),
        depayloader: Part::Factory("rtppcmudepay"),
    },
    Carriage {
        name: "PCMA",
        caps: "audio/x-alaw, rate = (int) 8000, channels = (int) 1",
        parser: None,
        parser_behind: None,
        payloader: Part::Factory("rtppcmapay"),
        depayloader: Part::Factory("rtppcmadepay"),
    },
];

impl Carriage {
    /// The row of an encoding name.
    pub fn of(name: &str) -> Option<&'static Self> {
        CARRIAGES
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// The row of encoded caps.
    pub fn of_caps(caps: &gst::CapsRef) -> Option<&'static Self> {
        let media_type = caps.structure(0)?.name();
        CARRIAGES
            .iter()
            .find(|row| row.caps.split(',').next() == Some(media_type.as_str()))
    }

    /// Encoded caps, parsed.
    pub fn encoded_caps(&self) -> gst::Caps {
        // infallible: the table is checked by a test.
        self.caps.parse().unwrap_or_else(|_| gst::Caps::new_any())
    }
}

/// Encoded caps of every codec of `kind`.
pub fn encoded_caps(kind: MediaKind) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    for row in CARRIAGES {
        if supported(row.name).is_some_and(|s| s.kind == kind) {
            caps.merge(row.encoded_caps());
        }
    }
    caps
}

/// What a sink pad of `kind` tells an encoder that asks: profiles that WebRTC peers decode come
/// first, the most widely known of all before others, then whatever there is. An encoder takes
/// the first that it can make, and else, given the choice, many a one takes 4:4:4.
pub fn preferred_caps(kind: MediaKind) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    for row in CARRIAGES {
        if supported(row.name).is_none_or(|s| s.kind != kind) {
            continue;
        }
        let profiles: &[&str] = match row.name {
            "H264" => &[
                "constrained-baseline",
                "baseline",
                "main",
                "constrained-high",
                "high",
            ],
            "H265" => &["main", "main-10"],
            // VP9 has none: vp9enc takes the profile from its input, and fails if that is not here.
            "AV1" => &["main"],
            _ => &[],
        };
        if !profiles.is_empty() {
            let mut known = row.encoded_caps();
            for structure in known.make_mut().iter_mut() {
                structure.set("profile", gst::List::new(profiles.iter().copied()));
            }
            caps.merge(known);
        }
        // Not merged: it would take in what stands before it.
        caps.make_mut().append(row.encoded_caps());
    }
    let rtp = gst::Caps::builder("application/x-rtp").field("media", kind.as_str());
    caps.make_mut().append(rtp.build());
    caps
}

/// Encoded caps of every codec of `kind`, and RTP of them.
pub fn encoded_and_rtp_caps(kind: MediaKind) -> gst::Caps {
    let mut caps = encoded_caps(kind);
    let rtp = gst::Caps::builder("application/x-rtp").field("media", kind.as_str());
    caps.merge(rtp.build());
    caps
}

/// The codec that a payloader's caps describe, with what `encoded`, the caps before it, tell of the
/// profile. `None` when they are no RTP caps of ours, or tell too little yet: H264 without a
/// profile, which comes with the first parameter sets.
pub fn codec_of_rtp_caps(caps: &gst::CapsRef, encoded: Option<&gst::CapsRef>) -> Option<Codec> {
    let structure = caps.structure(0)?;
    let name = match structure.get::<&str>("encoding-name") {
        Ok(name) => name,
        Err(_) => static_payload_type(structure.get("payload").ok()?)?,
    };
    let row = supported(name)?;
    let mut fmtp = Vec::new();
    let mut add = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            fmtp.push(format!("{key}={value}"));
        }
    };
    // gst-launch takes what looks like a number for one.
    let text = |key: &str| {
        let number = || structure.get::<i32>(key).ok().map(|n| n.to_string());
        structure.get::<String>(key).ok().or_else(number)
    };
    match row.name {
        "H264" => {
            let profile = text("profile-level-id")
                .or_else(|| profile_level_id(structure.get("sprop-parameter-sets").ok()?))?;
            add("level-asymmetry-allowed", Some("1".to_owned()));
            add(
                "packetization-mode",
                text("packetization-mode").or_else(|| Some("1".to_owned())),
            );
            add("profile-level-id", Some(profile));
            add("sprop-parameter-sets", text("sprop-parameter-sets"));
        }
        "opus" => {
            add("minptime", Some("10".to_owned()));
            add("sprop-stereo", text("sprop-stereo"));
            add("useinbandfec", text("useinbandfec"));
            add("usedtx", text("usedtx"));
        }
        "VP9" | "AV1" | "H265" => {
            let told = encoded.map(profile_of_encoded).unwrap_or_default();
            for key in [
                "profile-id",
                "profile",
                "level-idx",
                "level-id",
                "tier",
                "tier-flag",
            ] {
                let before = told.iter().find(|(k, _)| *k == key);
                add(key, text(key).or_else(|| before.map(|(_, v)| v.clone())));
            }
            for key in ["tx-mode", "sprop-vps", "sprop-sps", "sprop-pps"] {
                add(key, text(key));
            }
        }
        _ => {}
    }
    Some(row.with_fmtp(&fmtp.join(";")))
}

/// Encodings whose payload type says it all (RFC 3551 section 6), of those that we carry.
fn static_payload_type(payload_type: i32) -> Option<&'static str> {
    match payload_type {
        0 => Some("PCMU"),
        8 => Some("PCMA"),
        9 => Some("G722"),
        _ => None,
    }
}

/// Format parameters that encoded caps tell: RFC 9628 section 6, RFC 7798 section 7.1, AV1 RTP
/// section 7.2.1.
fn profile_of_encoded(caps: &gst::CapsRef) -> Vec<(&'static str, String)> {
    let Some(structure) = caps.structure(0) else {
        return Vec::new();
    };
    let text = |key: &str| structure.get::<&str>(key).unwrap_or_default();
    let number = |value: u32| value.to_string();
    let mut told = Vec::new();
    match structure.name().as_str() {
        "video/x-vp9" if !text("profile").is_empty() => {
            told.push(("profile-id", text("profile").to_owned()));
        }
        "video/x-av1" => {
            let profile = ["main", "high", "professional"];
            if let Some(at) = profile.iter().position(|name| *name == text("profile")) {
                told.push(("profile", at.to_string()));
            }
            if let Some((major, minor)) = level(text("level")).filter(|(major, _)| *major >= 2) {
                told.push(("level-idx", number((major - 2) * 4 + minor)));
            }
            if !text("tier").is_empty() {
                told.push(("tier", number(u32::from(text("tier") == "high"))));
            }
        }
        "video/x-h265" => {
            let id = match text("profile") {
                "main" => Some("1"),
                "main-10" => Some("2"),
                "main-still-picture" => Some("3"),
                "" => None,
                _ => Some("4"),
            };
            told.extend(id.map(|id| ("profile-id", id.to_owned())));
            if let Some((major, minor)) = level(text("level")) {
                told.push(("level-id", number(major * 30 + minor * 3)));
            }
            if !text("tier").is_empty() {
                told.push(("tier-flag", number(u32::from(text("tier") == "high"))));
            }
        }
        _ => {}
    }
    told
}

/// `3.1` as numbers; `None` for anything that is no level.
fn level(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (major < 100 && minor < 10).then_some((major, minor))
}

/// The `profile-level-id` of parameter sets, once there is an SPS and a PPS: rtph264pay tells it
/// by itself only when it gets avc.
fn profile_level_id(sprop_parameter_sets: &str) -> Option<String> {
    let sets: Vec<_> = sprop_parameter_sets
        .split(',')
        .filter_map(|set| BASE64.decode(set).ok())
        .collect();
    let nal = |kind: u8| {
        sets.iter()
            .find(|s| s.first().is_some_and(|b| b & 0x1f == kind))
    };
    nal(8)?;
    let profile = nal(7)?.get(1..4)?;
    Some(profile.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// RTP caps for what a peer sends us in `codec`.
pub fn rtp_caps(codec: &Codec) -> gst::Caps {
    let mut builder = gst::Caps::builder("application/x-rtp")
        .field("media", codec.kind.as_str())
        .field("encoding-name", codec.name.to_ascii_uppercase())
        .field("payload", i32::from(codec.payload_type))
        .field(
            "clock-rate",
            i32::try_from(codec.clock_rate).unwrap_or(90_000),
        );
    if let Some(channels) = codec.channels {
        builder = builder.field("encoding-params", channels.to_string());
    }
    if codec.name.eq_ignore_ascii_case("G722") {
        builder = builder.field("encoding-params", "1");
    }
    if codec.name.eq_ignore_ascii_case("opus") {
        // Opus always decodes to 48 kHz, and muxers want to know (RFC 7587 section 4.1).
        builder = builder.field("sprop-maxcapturerate", "48000");
        // Browsers send stereo without saying so, and a mono stream decodes to two channels too:
        // the one must not lose a channel.
        if codec.parameter("sprop-stereo").is_none() {
            builder = builder.field("sprop-stereo", "1");
        }
    }
    for part in codec.fmtp.split(';') {
        if let Some((key, value)) = part.split_once('=') {
            let key = key.trim().to_ascii_lowercase();
            let plain = !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && key.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
            let reserved = [
                "media",
                "payload",
                "clock-rate",
                "encoding-name",
                "ssrc",
                "sprop-maxcapturerate",
            ];
            if plain && !reserved.contains(&key.as_str()) {
                builder = builder.field(key.as_str(), value.trim());
            }
        }
    }
    builder.build()
}

/// Caps of a source pad for `codec`, whether encoded or as RTP.
pub fn source_pad_caps(codec: &Codec) -> gst::Caps {
    let mut caps = Carriage::of(&codec.name)
        .map(Carriage::encoded_caps)
        .unwrap_or_else(gst::Caps::new_empty);
    let rtp = gst::Caps::builder("application/x-rtp")
        .field("media", codec.kind.as_str())
        .field("encoding-name", codec.name.to_ascii_uppercase())
        .build();
    caps.merge(rtp);
    caps
}

/// A caps filter for `caps`.
pub fn filter(caps: &str) -> Result<gst::Element, gst::glib::BoolError> {
    let caps: gst::Caps = caps.parse()?;
    gst::ElementFactory::make("capsfilter")
        .property("caps", caps)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::SUPPORTED;

    #[test]
    fn every_supported_codec_has_a_carriage_with_valid_caps() {
        gst::init().unwrap();
        for row in SUPPORTED {
            let carriage = Carriage::of(row.name).unwrap();
            let caps: gst::Caps = carriage.caps.parse().unwrap();
            assert_eq!(Carriage::of_caps(&caps).unwrap().name, row.name);
        }
        assert_eq!(CARRIAGES.len(), SUPPORTED.len());
    }

    #[test]
    fn h264_parameters_come_from_the_payloader() {
        gst::init().unwrap();
        let caps: gst::Caps = "application/x-rtp,media=video,encoding-name=H264,\
             packetization-mode=(string)1,profile-level-id=(string)42c01e,\
             sprop-parameter-sets=(string)\"Z0LAHg==,aM4=\""
            .parse()
            .unwrap();
        let codec = codec_of_rtp_caps(&caps, None).unwrap();
        assert_eq!(codec.parameter("profile-level-id"), Some("42c01e"));
        assert_eq!(codec.profile().as_deref(), Some("constrained-baseline"));
        let typed: gst::Caps = "application/x-rtp,encoding-name=H264,packetization-mode=0,\
             profile-level-id=420020"
            .parse()
            .unwrap();
        let codec = codec_of_rtp_caps(&typed, None).unwrap();
        assert_eq!(codec.parameter("profile-level-id"), Some("420020"));
        assert_eq!(codec.parameter("packetization-mode"), Some("0"));
    }

    #[test]
    fn profiles_that_payloaders_leave_out_come_from_the_encoded_caps() {
        gst::init().unwrap();
        let codec = |rtp: &str, encoded: &str| {
            let rtp: gst::Caps = format!("application/x-rtp,{rtp}").parse().unwrap();
            let encoded: gst::Caps = encoded.parse().unwrap();
            codec_of_rtp_caps(&rtp, Some(&encoded)).unwrap()
        };
        let h265 = codec(
            "encoding-name=H265",
            "video/x-h265,profile=main-10,level=(string)3.1,tier=main",
        );
        assert_eq!(h265.fmtp, "profile-id=2;level-id=93;tier-flag=0");
        let av1 = codec(
            "encoding-name=AV1",
            "video/x-av1,profile=main,level=(string)4.1,tier=main",
        );
        assert_eq!(av1.fmtp, "profile=0;level-idx=9;tier=0");
        let vp9 = codec("encoding-name=VP9", "video/x-vp9,profile=(string)2");
        assert_eq!(vp9.profile().as_deref(), Some("2"));
    }

    #[test]
    fn static_payload_types_need_no_name() {
        gst::init().unwrap();
        let caps: gst::Caps = "application/x-rtp,media=audio,payload=8".parse().unwrap();
        assert_eq!(codec_of_rtp_caps(&caps, None).unwrap().name, "PCMA");
    }

    #[test]
    fn the_profile_is_read_from_parameter_sets_when_both_are_there() {
        assert_eq!(
            profile_level_id("Z0LAFdoFB+wFqDAw,aM48gA=="),
            Some("42c015".to_owned())
        );
        for incomplete in ["Z0LAFdoFB+wFqDAw", "aM48gA==", "Z0I=,aM4=", "", ",,", "%"] {
            assert_eq!(profile_level_id(incomplete), None, "{incomplete}");
        }
    }

    #[test]
    fn hostile_format_parameters_make_no_odd_caps() {
        gst::init().unwrap();
        let mut codec = supported("VP8")
            .unwrap()
            .with_fmtp("a b=1;payload=7;=;max-fr=30;é=1");
        codec.payload_type = 120;
        let caps = rtp_caps(&codec);
        let structure = caps.structure(0).unwrap();
        assert_eq!(structure.get::<i32>("payload"), Ok(120));
        assert_eq!(structure.get::<&str>("max-fr"), Ok("30"));
    }
}
