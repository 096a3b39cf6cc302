// SPDX-License-Identifier: MPL-2.0
//! Properties about FEC: `fec` of both elements, `fec-percentage` of who sends.

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::media::fec::{Scheme, Wanted};

/// How video is protected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcFec")]
pub enum FecSetting {
    /// Retransmissions alone.
    #[default]
    #[enum_value(name = "No forward error correction", nick = "none")]
    None,
    /// What browsers take.
    #[enum_value(
        name = "ULPFEC in RED (RFC 5109, RFC 2198), as Chromium has it",
        nick = "ulpfec"
    )]
    Ulpfec,
    /// A stream of its own.
    #[enum_value(name = "FlexFEC, draft 03, on an SSRC of its own", nick = "flexfec")]
    Flexfec,
}

/// Values of these properties.
#[derive(Debug, Clone, Copy)]
pub struct FecSettings {
    fec: FecSetting,
    /// Of the media's bytes; -1: by the loss.
    percentage: i32,
}

impl Default for FecSettings {
    fn default() -> Self {
        Self {
            fec: FecSetting::default(),
            percentage: -1,
        }
    }
}

impl FecSettings {
    /// The specifications for an element that sends, or does not: only who sends has something to
    /// add.
    pub fn properties(sends: bool) -> Vec<glib::ParamSpec> {
        let fec = glib::ParamSpecEnum::builder::<FecSetting>("fec")
            .nick("Forward error correction")
            .blurb(if sends {
                "What video is protected with, beside retransmissions, if the other side takes it"
            } else {
                "What video may be protected with, beside retransmissions, if the other side has it"
            })
            .mutable_ready()
            .build();
        let percentage = glib::ParamSpecInt::builder("fec-percentage")
            .nick("FEC percentage")
            .blurb(
                "What fec adds, in percent of the video's bytes; -1: nothing below 1 % loss, else \
                 twice the loss, at most 50, and less where retransmissions are quick",
            )
            .minimum(-1)
            .maximum(100)
            .default_value(-1)
            .mutable_ready()
            .build();
        let percentage = sends.then_some(percentage);
        std::iter::once(fec).chain(percentage).collect()
    }

    /// Sets one of them; `false` when it is none.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        // GObject has checked the type against the specification.
        match pspec.name() {
            "fec" => self.fec = value.get().unwrap_or(self.fec),
            "fec-percentage" => self.percentage = value.get().unwrap_or(self.percentage),
            _ => return false,
        }
        true
    }

    /// Reads one of them; `None` when it is none.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        match pspec.name() {
            "fec" => Some(self.fec.to_value()),
            "fec-percentage" => Some(self.percentage.to_value()),
            _ => None,
        }
    }

    /// Name of the chosen scheme, if one was chosen.
    pub fn scheme(&self) -> Option<&'static str> {
        match self.fec {
            FecSetting::None => None,
            FecSetting::Ulpfec => Some("ulpfec"),
            FecSetting::Flexfec => Some("flexfec"),
        }
    }

    /// Chooses what [`Self::scheme`] names.
    pub fn set_scheme(&mut self, name: Option<&str>) {
        self.fec = match name {
            Some("ulpfec") => FecSetting::Ulpfec,
            Some("flexfec") => FecSetting::Flexfec,
            _ => FecSetting::None,
        };
    }

    /// What they come to.
    pub fn wanted(&self) -> Option<Wanted> {
        let scheme = match self.fec {
            FecSetting::None => return None,
            FecSetting::Ulpfec => Scheme::Ulpfec,
            FecSetting::Flexfec => Scheme::Flexfec,
        };
        Some(Wanted {
            scheme,
            percentage: u8::try_from(self.percentage).ok(),
        })
    }
}
