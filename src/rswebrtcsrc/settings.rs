// SPDX-License-Identifier: MPL-2.0
//! The source's own properties; the common ones are in `gst_glue::settings`.

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::gst_glue::errors::settings_error;
use crate::gst_glue::settings::CallSettings;
use crate::media::codec::{MediaKind, SUPPORTED, Supported, supported};
use crate::session::negotiation::{Receiving, Wish};

/// All settings of a source; read as a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What both elements have.
    pub call: CallSettings,
    /// Jitter buffer, ms.
    pub latency: u32,
    video_codecs: Option<String>,
    audio_codecs: Option<String>,
    video_streams: u32,
    audio_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call: CallSettings::of_src(),
            latency: 200,
            video_codecs: None,
            audio_codecs: None,
            video_streams: 1,
            audio_streams: 1,
        }
    }
}

impl Settings {
    /// The specifications.
    pub fn properties() -> Vec<glib::ParamSpec> {
        let defaults = Self::default();
        let mut properties = defaults.call.properties();
        properties.extend([
            glib::ParamSpecUInt::builder("latency")
                .nick("Latency")
                .blurb("Time that packets may come late, ms: the size of the jitter buffer")
                .maximum(60_000)
                .default_value(defaults.latency)
                .mutable_playing()
                .build(),
            codecs_property(
                "video-codecs",
                "Video codecs",
                "video",
                "VP8, H264, VP9, AV1, H265",
            ),
            codecs_property(
                "audio-codecs",
                "Audio codecs",
                "audio",
                "OPUS, G722, PCMU, PCMA",
            ),
            streams_property("video-streams", "Video streams", defaults.video_streams),
            streams_property("audio-streams", "Audio streams", defaults.audio_streams),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("Counters of the call, W3C names: one structure a peer, in it one a stream")
                .read_only()
                .build(),
        ]);
        properties
    }

    /// Sets a property.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        if self.call.set(value, pspec) {
            return true;
        }
        let text = || value.get::<Option<String>>().ok().flatten();
        match pspec.name() {
            "latency" => self.latency = value.get().unwrap_or(self.latency),
            "video-codecs" => self.video_codecs = text(),
            "audio-codecs" => self.audio_codecs = text(),
            "video-streams" => self.video_streams = value.get().unwrap_or(self.video_streams),
            "audio-streams" => self.audio_streams = value.get().unwrap_or(self.audio_streams),
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` for those that are not settings.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        match pspec.name() {
            "latency" => Some(self.latency.to_value()),
            "video-codecs" => Some(self.video_codecs.to_value()),
            "audio-codecs" => Some(self.audio_codecs.to_value()),
            "video-streams" => Some(self.video_streams.to_value()),
            "audio-streams" => Some(self.audio_streams.to_value()),
            _ => self.call.get(pspec),
        }
    }

    /// What the call is to receive.
    ///
    /// # Errors
    ///
    /// `RESOURCE/SETTINGS` naming a codec that is not known.
    pub fn wish(&self) -> Result<Wish, gst::ErrorMessage> {
        let mut codecs = chosen(MediaKind::Video, self.video_codecs.as_deref())?;
        codecs.extend(chosen(MediaKind::Audio, self.audio_codecs.as_deref())?);
        let offered = |kind, streams: u32| streams > 0 && codecs.iter().any(|c| c.kind == kind);
        if !offered(MediaKind::Video, self.video_streams)
            && !offered(MediaKind::Audio, self.audio_streams)
        {
            return Err(settings_error(
                "video-codecs, audio-codecs, video-streams and audio-streams leave nothing to receive: \
                 name a codec of a kind that has a stream",
            ));
        }
        Ok(Wish::Receive(Receiving {
            codecs,
            video_ordered: self.video_codecs.is_some(),
            audio_ordered: self.audio_codecs.is_some(),
            video: self.video_streams as usize,
            audio: self.audio_streams as usize,
        }))
    }
}

fn streams_property(name: &'static str, nick: &'static str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .blurb(
            "With role=offer: how many streams of this kind to offer to receive. An answerer \
             takes what the offer has",
        )
        .maximum(64)
        .default_value(default)
        .mutable_ready()
        .build()
}

fn codecs_property(
    name: &'static str,
    nick: &'static str,
    kind: &str,
    all: &str,
) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(&format!(
            "Encodings to receive, comma-separated, best first ({all}); unset: all of them, in \
             the order of the other side; empty: no {kind}"
        ))
        .mutable_ready()
        .build()
}

fn chosen(
    kind: MediaKind,
    names: Option<&str>,
) -> Result<Vec<&'static Supported>, gst::ErrorMessage> {
    let all = || SUPPORTED.iter().filter(move |row| row.kind == kind);
    let Some(names) = names else {
        return Ok(all().collect());
    };
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            supported(name)
                .filter(|row| row.kind == kind)
                .ok_or_else(|| {
                    let known: Vec<_> = all().map(|row| row.name).collect();
                    settings_error(&format!(
                        "{}-codecs: '{name}' is not known; there are {}",
                        kind.as_str(),
                        known.join(", ")
                    ))
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_chosen_by_name_and_an_unknown_one_is_refused() {
        gst::init().unwrap();
        let names = |rows: Vec<&Supported>| rows.iter().map(|r| r.name).collect::<Vec<_>>();
        let video = |text| chosen(MediaKind::Video, text);
        assert_eq!(
            names(video(None).unwrap()),
            ["VP8", "H264", "VP9", "AV1", "H265"]
        );
        assert_eq!(names(video(Some("h264, vp8")).unwrap()), ["H264", "VP8"]);
        assert!(video(Some("")).unwrap().is_empty());
        assert!(video(Some("opus")).is_err());
    }
}
