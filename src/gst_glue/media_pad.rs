// SPDX-License-Identifier: MPL-2.0
//! The pads of both elements: ghost pads that know their `msid`.

use std::sync::{LazyLock, Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

glib::wrapper! {
    /// A pad of one stream. Property `msid`: stream and track as `a=msid` names them (RFC 8830),
    /// `STREAM TRACK`; on a sink pad what to announce (by default names of our own, the same
    /// stream for all pads), on a source pad what the remote announced. Property `bitrate-weight`:
    /// on a sink pad with video its part of the bitrate, in proportion to the other pads'. Property `rid`: the
    /// simulcast layer that the pad is for (RFC 8851).
    pub struct MediaPad(ObjectSubclass<imp::MediaPad>)
        @extends gst::GhostPad, gst::ProxyPad, gst::Pad, gst::Object;
}

impl MediaPad {
    /// Stream and track, if they are set.
    pub fn msid(&self) -> Option<String> {
        self.property("msid")
    }

    /// The simulcast layer that it is for, if it is for one of several.
    pub fn rid(&self) -> Option<String> {
        self.property("rid")
    }

    /// Its part of the bitrate, in proportion to the other pads'.
    pub fn bitrate_weight(&self) -> f64 {
        self.property("bitrate-weight")
    }
}

mod imp {
    use super::*;

    const DEFAULT_WEIGHT: f64 = 1.0;

    #[derive(Default)]
    pub struct MediaPad {
        msid: Mutex<Option<String>>,
        weight: Mutex<Option<f64>>,
        rid: Mutex<Option<String>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for MediaPad {
        const NAME: &'static str = "GstRsWebRtcMediaPad";
        type Type = super::MediaPad;
        type ParentType = gst::GhostPad;
    }

    impl ObjectImpl for MediaPad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                vec![
                    glib::ParamSpecString::builder("msid")
                        .nick("Media stream identification")
                        .blurb(
                            "Stream and track as the description names them (RFC 8830), \
                             'STREAM TRACK'. On a sink pad to be set before data flows",
                        )
                        .build(),
                    glib::ParamSpecString::builder("rid")
                        .nick("Restriction identifier")
                        .blurb(
                            "Name of the simulcast layer that the pad is for (RFC 8851), where it \
                             is for one of several",
                        )
                        .build(),
                    glib::ParamSpecDouble::builder("bitrate-weight")
                        .nick("Bitrate weight")
                        .blurb(
                            "Sink pads with video: its part of the bitrate, in proportion to that \
                             of the other pads",
                        )
                        .minimum(0.01)
                        .maximum(100.0)
                        .default_value(DEFAULT_WEIGHT)
                        .mutable_playing()
                        .build(),
                ]
            });
            PROPERTIES.as_ref()
        }

        fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
            if pspec.name() == "bitrate-weight" {
                *lock(&self.weight) = value.get().ok();
                return;
            }
            if pspec.name() == "rid" {
                let rid: Option<String> = value.get().ok().flatten();
                *lock(&self.rid) = rid.filter(|rid| is_rid(rid));
                return;
            }
            let msid: Option<String> = value.get().ok().flatten();
            // It becomes a part of one line of a description: words, one space between them.
            let msid = msid.map(|text| {
                let words = text.split(|c: char| c.is_whitespace() || c.is_control());
                let words: Vec<_> = words.filter(|word| !word.is_empty()).take(2).collect();
                words.join(" ")
            });
            *lock(&self.msid) = msid.filter(|text| !text.is_empty());
        }

        fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
            if pspec.name() == "bitrate-weight" {
                return lock(&self.weight).unwrap_or(DEFAULT_WEIGHT).to_value();
            }
            if pspec.name() == "rid" {
                return lock(&self.rid).to_value();
            }
            lock(&self.msid).to_value()
        }
    }

    impl GstObjectImpl for MediaPad {}
    impl PadImpl for MediaPad {}
    impl ProxyPadImpl for MediaPad {}
    impl GhostPadImpl for MediaPad {}

    /// RFC 8852 section 3.3: letters and digits; browsers take `-` and `_`, too.
    fn is_rid(rid: &str) -> bool {
        let mut chars = rid.chars();
        let named = chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        named && !rid.is_empty() && rid.len() <= 255
    }

    fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        // Replaced whole.
        value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pad or else the element of `bin` called `name`, so that gst-launch's `PAD::msid=…` works.
pub fn child(bin: &gst::Bin, name: &str) -> Option<glib::Object> {
    let pad = bin.static_pad(name).map(|pad| pad.upcast());
    pad.or_else(|| bin.by_name(name).map(|element| element.upcast()))
}

/// All pads and then all elements of `bin`.
pub fn children(bin: &gst::Bin) -> Vec<glib::Object> {
    let pads = bin.pads().into_iter().map(|pad| pad.upcast());
    pads.chain(bin.children().into_iter().map(|element| element.upcast()))
        .collect()
}

/// `peer-added` and `peer-removed`, with the name of the peer as in `stats` (`peer-NAME`): media
/// flows, or does so no longer. Emitted on a thread that may block.
pub fn peer_signals() -> Vec<glib::subclass::Signal> {
    ["peer-added", "peer-removed"]
        .into_iter()
        .map(|name| {
            glib::subclass::Signal::builder(name)
                .param_types([String::static_type()])
                .build()
        })
        .collect()
}
