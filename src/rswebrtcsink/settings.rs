// SPDX-License-Identifier: MPL-2.0
//! The sink's own properties; the common ones are in `gst_glue::settings`.

use std::time::Duration;

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::gst_glue::settings::CallSettings;
use crate::gst_glue::stats::stats_properties;

use super::congestion::Congestion;
use super::navigation;
use super::track_sink::EarlyData;
use super::viewers::GopCache;

/// How the layers of a picture are told apart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcSimulcast")]
pub enum Simulcast {
    /// As today.
    #[default]
    #[enum_value(name = "By rid (RFC 8853)", nick = "rid")]
    Rid,
    /// As Chrome did under Plan B.
    #[enum_value(
        name = "By SSRC, for remotes without rids (a=ssrc-group:SIM)",
        nick = "ssrc"
    )]
    Ssrc,
}

/// All settings of a sink; read as a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What both elements have.
    pub call: CallSettings,
    /// What to do with data before a peer is there.
    pub early_data: EarlyData,
    /// Send in clock time.
    pub sync: bool,
    /// What those get who come while the stream runs.
    pub gop_cache: GopCache,
    /// ms
    pub min_force_key_unit_interval: u32,
    /// How layers of a picture are told apart.
    pub simulcast: Simulcast,
    /// ms; 0: never.
    stats_interval: u32,
    /// How it adapts to the network; `call` has the limits of it.
    pub congestion: Congestion,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call: CallSettings::of_sink(),
            early_data: EarlyData::Auto,
            sync: true,
            gop_cache: GopCache::Auto,
            min_force_key_unit_interval: 500,
            simulcast: Simulcast::default(),
            stats_interval: 1000,
            congestion: Congestion::default(),
        }
    }
}

impl Settings {
    /// The specifications.
    pub fn properties() -> Vec<glib::ParamSpec> {
        let defaults = Self::default();
        let mut properties = defaults.call.properties();
        properties.extend([
            glib::ParamSpecEnum::builder_with_default("early-data", defaults.early_data)
                .nick("Early data")
                .blurb("What happens with data that comes before a peer is there")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("sync")
                .nick("Sync")
                .blurb("Send in the time of the pipeline's clock: a stored film at its own speed; false only for live sources")
                .default_value(defaults.sync)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("gop-cache", defaults.gop_cache)
                .nick("GOP cache")
                .blurb("Server: what those see first who come while the stream runs")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("min-force-key-unit-interval")
                .nick("Least time between key frame requests")
                .blurb(
                    "An encoder is asked for at most one key frame in this time, however many \
                     peers want one, ms",
                )
                .maximum(60_000)
                .default_value(defaults.min_force_key_unit_interval)
                .mutable_ready()
                .build(),
        ]);
        properties.push(
            glib::ParamSpecEnum::builder_with_default("simulcast", defaults.simulcast)
                .nick("Simulcast")
                .blurb(
                    "How the layers of a picture are told apart: video pads that have a rid, and \
                     the same msid, are layers of one picture",
                )
                .mutable_ready()
                .build(),
        );
        properties.extend(stats_properties(defaults.stats_interval));
        properties.extend(Congestion::properties());
        properties.push(navigation::property());
        properties
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
        if self.congestion.set(value, pspec) {
            self.call.bitrate = self.congestion.limits();
            return true;
        }
        match pspec.name() {
            "early-data" => self.early_data = value.get().unwrap_or(self.early_data),
            navigation::PROPERTY => {
                self.call.navigation = value.get().unwrap_or(self.call.navigation);
            }
            "sync" => self.sync = value.get().unwrap_or(self.sync),
            "stats-interval" => self.stats_interval = value.get().unwrap_or(self.stats_interval),
            "simulcast" => self.simulcast = value.get().unwrap_or(self.simulcast),
            "gop-cache" => self.gop_cache = value.get().unwrap_or(self.gop_cache),
            "min-force-key-unit-interval" => {
                let interval = value.get().unwrap_or(self.min_force_key_unit_interval);
                self.min_force_key_unit_interval = interval;
            }
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` for those that are not settings.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        match pspec.name() {
            "early-data" => Some(self.early_data.to_value()),
            navigation::PROPERTY => Some(self.call.navigation.to_value()),
            "sync" => Some(self.sync.to_value()),
            "stats-interval" => Some(self.stats_interval.to_value()),
            "simulcast" => Some(self.simulcast.to_value()),
            "gop-cache" => Some(self.gop_cache.to_value()),
            "min-force-key-unit-interval" => Some(self.min_force_key_unit_interval.to_value()),
            _ => self.congestion.get(pspec).or_else(|| self.call.get(pspec)),
        }
    }
}
