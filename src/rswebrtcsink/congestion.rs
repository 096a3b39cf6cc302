// SPDX-License-Identifier: MPL-2.0
//! Properties of a sink that say how it adapts to the network.

use gst::glib;
use gst::glib::prelude::*;
use gst::prelude::*;

use crate::peer::BitrateLimits;

use super::bitrate::Policy;

/// Name of the read-only property that is notified.
pub const ESTIMATED: &str = "estimated-bitrate";

/// Whether the bitrate follows the network.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstRsWebRtcCongestionControl")]
pub enum CongestionControl {
    /// It does.
    #[default]
    #[enum_value(
        name = "Google congestion control: what the path carries is estimated, and encoders follow",
        nick = "gcc"
    )]
    Gcc,
    /// It does not.
    #[enum_value(
        name = "No estimate, no encoder is touched, all is sent as it comes",
        nick = "disabled"
    )]
    Disabled,
}

/// The properties' values.
#[derive(Debug, Clone)]
pub struct Congestion {
    /// Whether anything is adapted.
    pub control: CongestionControl,
    /// bit/s, as the user set them.
    min: u32,
    start: u32,
    max: u32,
    /// Which viewer counts.
    pub policy: Policy,
    /// Name of the element to drive.
    pub element: Option<String>,
    /// Its property, and the unit of that.
    pub property: Option<String>,
}

impl Default for Congestion {
    fn default() -> Self {
        let defaults = BitrateLimits::default();
        let number = |bitrate| u32::try_from(bitrate).unwrap_or(u32::MAX);
        Self {
            control: CongestionControl::default(),
            min: number(defaults.min),
            start: number(defaults.start),
            max: number(defaults.max),
            policy: Policy::default(),
            element: None,
            property: None,
        }
    }
}

impl Congestion {
    /// The specifications.
    pub fn properties() -> Vec<glib::ParamSpec> {
        let defaults = Self::default();
        let bitrate = |name: &'static str, nick: &'static str, blurb: &'static str, default| {
            glib::ParamSpecUInt::builder(name)
                .nick(nick)
                .blurb(blurb)
                .minimum(1)
                .default_value(default)
                .mutable_playing()
                .build()
        };
        vec![
            glib::ParamSpecEnum::builder_with_default("congestion-control", defaults.control)
                .nick("Congestion control")
                .blurb("Whether what is sent adapts to what the network carries")
                .mutable_ready()
                .build(),
            bitrate(
                "min-bitrate",
                "Minimum bitrate",
                "A path is never estimated to carry less than this, bit/s",
                defaults.min,
            ),
            bitrate(
                "start-bitrate",
                "Start bitrate",
                "What encoders get until the path is known, bit/s",
                defaults.start,
            ),
            bitrate(
                "max-bitrate",
                "Maximum bitrate",
                "Encoders never get more than this in all, bit/s",
                defaults.max,
            ),
            glib::ParamSpecUInt::builder(ESTIMATED)
                .nick("Estimated bitrate")
                .blurb(
                    "What the path carries that the encoders follow, all included, bit/s; 0 before \
                     it is known. Notified",
                )
                .read_only()
                .build(),
            glib::ParamSpecEnum::builder_with_default("bitrate-policy", defaults.policy)
                .nick("Bitrate policy")
                .blurb("Of several viewers, which one's path the encoders follow")
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("bitrate-element")
                .nick("Bitrate element")
                .blurb(
                    "Name of the element whose bitrate is driven, anywhere in the pipeline; unset: \
                     the encoders that are found upstream",
                )
                .mutable_playing()
                .build(),
            glib::ParamSpecString::builder("bitrate-property")
                .nick("Bitrate property")
                .blurb(
                    "Property of the video encoder that is its bitrate, with :bit or :kbit behind \
                     it where the unit is not known, like bitrate:kbit; unset: as known of the \
                     encoder",
                )
                .mutable_playing()
                .build(),
        ]
    }

    /// Sets a property; `false` when it is none of these.
    pub fn set(&mut self, value: &glib::Value, pspec: &glib::ParamSpec) -> bool {
        // GObject has checked the types.
        match pspec.name() {
            "congestion-control" => self.control = value.get().unwrap_or(self.control),
            "min-bitrate" => self.min = value.get().unwrap_or(self.min),
            "start-bitrate" => self.start = value.get().unwrap_or(self.start),
            "max-bitrate" => self.max = value.get().unwrap_or(self.max),
            "bitrate-policy" => self.policy = value.get().unwrap_or(self.policy),
            "bitrate-element" => self.element = text(value),
            "bitrate-property" => self.property = text(value),
            _ => return false,
        }
        true
    }

    /// Reads a property; `None` when it is none of these.
    pub fn get(&self, pspec: &glib::ParamSpec) -> Option<glib::Value> {
        Some(match pspec.name() {
            "congestion-control" => self.control.to_value(),
            "min-bitrate" => self.min.to_value(),
            "start-bitrate" => self.start.to_value(),
            "max-bitrate" => self.max.to_value(),
            "bitrate-policy" => self.policy.to_value(),
            "bitrate-element" => self.element.to_value(),
            "bitrate-property" => self.property.to_value(),
            _ => return None,
        })
    }

    /// What a peer is told. The highest bound counts where they contradict each other: it is what
    /// the user's line may cost. The start is not cut: a new bound is no new start.
    pub fn limits(&self) -> BitrateLimits {
        let max = u64::from(self.max);
        let min = u64::from(self.min).min(max);
        BitrateLimits {
            adaptive: self.control == CongestionControl::Gcc,
            min,
            start: u64::from(self.start),
            max,
        }
    }
}

fn text(value: &glib::Value) -> Option<String> {
    let text: Option<String> = value.get().ok().flatten();
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_contradict_each_other_become_bounds() {
        let mut congestion = Congestion {
            min: 500_000,
            start: 2_000_000,
            max: 1_000_000,
            ..Congestion::default()
        };
        let limits = congestion.limits();
        assert_eq!(
            (limits.min, limits.start, limits.max),
            (500_000, 2_000_000, 1_000_000)
        );
        congestion.max = 100_000;
        let limits = congestion.limits();
        assert_eq!(
            (limits.min, limits.start, limits.max),
            (100_000, 2_000_000, 100_000)
        );
        assert!(limits.adaptive);
        congestion.control = CongestionControl::Disabled;
        assert!(!congestion.limits().adaptive);
    }

    #[test]
    fn the_defaults_are_those_of_a_peer() {
        assert_eq!(Congestion::default().limits(), BitrateLimits::default());
    }
}
