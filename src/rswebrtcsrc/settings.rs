// SPDX-License-Identifier: MPL-2.0
//! The source's own properties; the common ones are in `gst_glue::settings`.

use std::time::Duration;

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::gst_glue::errors::settings_error;
use crate::gst_glue::settings::CallSettings;
use crate::gst_glue::stats::stats_properties;
use crate::media::codec::{MediaKind, SUPPORTED, Supported, supported};
use crate::media::layers::Choice;
use crate::session::negotiation::{Receiving, Wish};

use super::playout::{BrokenFrames, LatencyMode, Wanted};

/// Default of `simulcast-layer`.
const BEST: &str = "best";

/// All settings of a source; read as a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What both elements have.
    pub call: CallSettings,
    /// Jitter buffer, ms.
    latency: u32,
    /// -1: as `latency`.
    audio_latency: i32,
    /// -1: as `latency`.
    video_latency: i32,
    /// Who decides.
    pub latency_mode: LatencyMode,
    broken_frames: BrokenFrames,
    /// ms
    repair_overtime: u32,
    /// ms; 0: never.
    stats_interval: u32,
    video_codecs: Option<String>,
    audio_codecs: Option<String>,
    video_streams: u32,
    audio_streams: u32,
    simulcast_layer: Option<String>,
    /// Data channels are offered.
    pub data_channels: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call: CallSettings::of_src(),
            latency: 200,
            audio_latency: -1,
            video_latency: -1,
            latency_mode: LatencyMode::default(),
            broken_frames: BrokenFrames::default(),
            repair_overtime: 150,
            stats_interval: 1000,
            video_codecs: None,
            audio_codecs: None,
            video_streams: 1,
            audio_streams: 1,
            simulcast_layer: Some(BEST.to_owned()),
            data_channels: false,
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
            latency_property("audio-latency", "Latency of audio", defaults.audio_latency),
            latency_property("video-latency", "Latency of video", defaults.video_latency),
            glib::ParamSpecEnum::builder_with_default("latency-mode", defaults.latency_mode)
                .nick("Latency mode")
                .blurb("Who decides how large jitter buffers are")
                .mutable_playing()
                .build(),
            glib::ParamSpecEnum::builder_with_default("broken-frames", defaults.broken_frames)
                .nick("Broken frames")
                .blurb(
                    "What happens with video frames that lack packets in spite of all repair, and \
                     with those that refer to them",
                )
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("repair-overtime")
                .nick("Repair overtime")
                .blurb(
                    "How much longer than latency lost video packets that the sender repeats are \
                     waited for, ms: frames then come late instead of not at all up to the next \
                     key frame. The pipeline is told no larger latency for it",
                )
                // Senders keep what they sent for a second or two.
                .maximum(1000)
                .default_value(defaults.repair_overtime)
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
            glib::ParamSpecBoolean::builder("data-channels")
                .nick("Data channels")
                .blurb("Offer to take data channels; where the other side offers them they are taken anyway")
                .default_value(defaults.data_channels)
                .mutable_ready()
                .build(),
        ]);
        properties.push(
            glib::ParamSpecString::builder("simulcast-layer")
                .nick("Simulcast layer")
                .blurb(
                    "Which layer of a picture comes out of its pad, where the sender has several: \
                     best (the largest that comes), lowest, a rid (the largest, while that does \
                     not come), or all (a pad for each; not to be changed to or from during a \
                     call)",
                )
                .default_value(Some(BEST))
                .mutable_playing()
                .build(),
        );
        properties.extend(stats_properties(defaults.stats_interval));
        properties
    }

    /// Which layer goes on, where a sender has several.
    pub fn layer(&self) -> Choice {
        Choice::read(self.simulcast_layer.as_deref().unwrap_or(BEST))
    }

    /// How streams of `kind` are played out.
    pub fn wanted(&self, kind: MediaKind) -> Wanted {
        let own = match kind {
            MediaKind::Audio => self.audio_latency,
            MediaKind::Video => self.video_latency,
        };
        let latency = u32::try_from(own).unwrap_or(self.latency);
        Wanted {
            latency: Duration::from_millis(latency.into()),
            mode: self.latency_mode,
            broken_frames: self.broken_frames,
            overtime: Duration::from_millis(self.repair_overtime.into()),
        }
    }

    /// Time between two messages with statistics; `None`: there are none.
    pub fn stats_interval(&self) -> Option<Duration> {
        let interval = Duration::from_millis(self.stats_interval.into());
        Some(interval).filter(|interval| !interval.is_zero())
    }

    /// Sets a property.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        if self.call.set(value, pspec) {
            return true;
        }
        let text = || value.get::<Option<String>>().ok().flatten();
        match pspec.name() {
            "latency" => self.latency = value.get().unwrap_or(self.latency),
            "audio-latency" => self.audio_latency = value.get().unwrap_or(self.audio_latency),
            "video-latency" => self.video_latency = value.get().unwrap_or(self.video_latency),
            "latency-mode" => self.latency_mode = value.get().unwrap_or(self.latency_mode),
            "broken-frames" => self.broken_frames = value.get().unwrap_or(self.broken_frames),
            "repair-overtime" => {
                self.repair_overtime = value.get().unwrap_or(self.repair_overtime);
            }
            "stats-interval" => self.stats_interval = value.get().unwrap_or(self.stats_interval),
            "video-codecs" => self.video_codecs = text(),
            "audio-codecs" => self.audio_codecs = text(),
            "video-streams" => self.video_streams = value.get().unwrap_or(self.video_streams),
            "data-channels" => self.data_channels = value.get().unwrap_or(self.data_channels),
            "audio-streams" => self.audio_streams = value.get().unwrap_or(self.audio_streams),
            "simulcast-layer" => self.simulcast_layer = text(),
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` for those that are not settings.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        match pspec.name() {
            "latency" => Some(self.latency.to_value()),
            "audio-latency" => Some(self.audio_latency.to_value()),
            "video-latency" => Some(self.video_latency.to_value()),
            "latency-mode" => Some(self.latency_mode.to_value()),
            "broken-frames" => Some(self.broken_frames.to_value()),
            "repair-overtime" => Some(self.repair_overtime.to_value()),
            "stats-interval" => Some(self.stats_interval.to_value()),
            "video-codecs" => Some(self.video_codecs.to_value()),
            "audio-codecs" => Some(self.audio_codecs.to_value()),
            "video-streams" => Some(self.video_streams.to_value()),
            "data-channels" => Some(self.data_channels.to_value()),
            "audio-streams" => Some(self.audio_streams.to_value()),
            "simulcast-layer" => Some(self.simulcast_layer.to_value()),
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
        let media = offered(MediaKind::Video, self.video_streams)
            || offered(MediaKind::Audio, self.audio_streams);
        if !self.data_channels && !media {
            return Err(settings_error(
                "video-codecs, audio-codecs, video-streams and audio-streams leave nothing to receive: \
                 name a codec of a kind that has a stream, or set data-channels=true",
            ));
        }
        Ok(Wish::Receive(Receiving {
            codecs,
            video_ordered: self.video_codecs.is_some(),
            audio_ordered: self.audio_codecs.is_some(),
            video: self.video_streams as usize,
            audio: self.audio_streams as usize,
            layers: self.layer(),
        }))
    }
}

fn latency_property(name: &'static str, nick: &'static str, default: i32) -> glib::ParamSpec {
    glib::ParamSpecInt::builder(name)
        .nick(nick)
        .blurb("As latency, for this kind of streams only, ms; -1: as latency")
        .minimum(-1)
        .maximum(60_000)
        .default_value(default)
        .mutable_playing()
        .build()
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
