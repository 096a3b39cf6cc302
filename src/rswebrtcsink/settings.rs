// SPDX-License-Identifier: MPL-2.0
//! The sink's own properties; the common ones are in `gst_glue::settings`.

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::gst_glue::settings::CallSettings;

use super::track_sink::EarlyData;

/// All settings of a sink; read as a snapshot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What both elements have.
    pub call: CallSettings,
    /// What to do with data before a peer is there.
    pub early_data: EarlyData,
    /// Send in clock time.
    pub sync: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            call: CallSettings::default(),
            early_data: EarlyData::Auto,
            sync: true,
        }
    }
}

impl Settings {
    /// The specifications.
    pub fn properties() -> Vec<glib::ParamSpec> {
        let defaults = Self::default();
        let mut properties = CallSettings::properties();
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
        match (pspec.name(), value.get::<EarlyData>(), value.get::<bool>()) {
            ("early-data", Ok(early_data), _) => self.early_data = early_data,
            ("sync", _, Ok(sync)) => self.sync = sync,
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` for those that are not settings.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        match pspec.name() {
            "early-data" => Some(self.early_data.to_value()),
            "sync" => Some(self.sync.to_value()),
            _ => self.call.get(pspec),
        }
    }
}
