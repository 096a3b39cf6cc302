// SPDX-License-Identifier: MPL-2.0
//! What stands behind one sink pad: parser, payloader and track sink, built when the first caps
//! tell the codec and taken away when the call is over.

use std::sync::{Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;

use crate::gst_glue::caps::{CARRIAGES, Carriage, Part, filter};
use crate::gst_glue::errors::missing_element;
use crate::logging::SINK as CAT;

use super::access_unit;
use super::delimiters;
use super::parameter_sets;
use super::timing;
use super::track_sink::TrackSink;

/// Payload bytes that fit a path's MTU with SRTP, UDP and IPv6 headers around them.
const RTP_MTU: u32 = 1200;

/// What a payloader elsewhere made.
const RTP: &str = "application/x-rtp";

/// The elements behind one pad.
pub struct Chain {
    media_type: String,
    /// It gets single NAL units.
    in_pieces: bool,
    /// What came first was parsed before, and is not parsed again.
    parsed: bool,
    elements: Vec<gst::Element>,
    /// A parser that had to be put before them later.
    added: Mutex<Vec<gst::Element>>,
    track: TrackSink,
}

impl Chain {
    /// Builds the chain for `caps` inside `bin` and makes it the target of `pad`.
    ///
    /// # Errors
    ///
    /// What is missing or does not fit; nothing is left in `bin` then.
    pub fn build(
        bin: &gst::Bin,
        pad: &gst::GhostPad,
        caps: &gst::CapsRef,
        track: TrackSink,
    ) -> Result<Self, gst::ErrorMessage> {
        let media_type = media_type(caps);
        let mut elements = Vec::new();
        let parsed = parameter_sets::is_parsed(caps);
        if media_type != RTP {
            let carriage = Carriage::of_caps(caps).ok_or_else(|| {
                gst::error_msg!(
                    gst::StreamError::CodecNotFound,
                    (
                        "pad {} gets {}, which this element does not carry; it takes {}, or RTP \
                         of these",
                        pad.name(),
                        media_type,
                        CARRIAGES
                            .iter()
                            .map(|row| row.name)
                            .collect::<Vec<_>>()
                            .join(", ")
                    )
                )
            })?;
            if !parsed {
                elements = encoded_side(carriage, caps)?;
            }
            let payloader = carriage.payloader.make()?;
            configure_payloader(&payloader);
            tell_encoded_caps(&payloader, &track);
            if let ("H264" | "H265", Some(pad)) = (carriage.name, payloader.static_pad("sink")) {
                delimiters::leave_out(&pad);
            }
            elements.push(payloader);
        }
        elements.push(track.clone().upcast());
        let chain = Self {
            media_type,
            in_pieces: access_unit::is_in_pieces(caps),
            parsed,
            elements,
            added: Mutex::default(),
            track,
        };
        if let Err(error) = chain.plug(bin, pad) {
            chain.remove(bin, pad);
            return Err(gst::error_msg!(
                gst::CoreError::Failed,
                ("cannot connect pad {}", pad.name()),
                ["{error}"]
            ));
        }
        Ok(chain)
    }

    /// Whether `caps` can go on through this chain.
    pub fn carries(&self, caps: &gst::CapsRef) -> bool {
        media_type(caps) == self.media_type && access_unit::is_in_pieces(caps) == self.in_pieces
    }

    /// Puts a parser before the rest, if `caps` need one and there is none yet.
    ///
    /// # Errors
    ///
    /// What is missing or does not fit.
    pub fn parse_if_needed(
        &self,
        bin: &gst::Bin,
        pad: &gst::GhostPad,
        caps: &gst::CapsRef,
    ) -> Result<(), gst::ErrorMessage> {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.parsed || !added.is_empty() || parameter_sets::is_parsed(caps) {
            return Ok(());
        }
        let (Some(carriage), Some(payloader)) = (Carriage::of_caps(caps), self.elements.first())
        else {
            return Ok(());
        };
        let elements = encoded_side(carriage, caps)?;
        added.clone_from(&elements);
        self.plug_before(bin, pad, &elements, payloader)
            .map_err(|error| {
                gst::error_msg!(
                    gst::CoreError::Failed,
                    ("cannot parse what comes to pad {} now", pad.name()),
                    ["{error}"]
                )
            })
    }

    fn plug_before(
        &self,
        bin: &gst::Bin,
        pad: &gst::GhostPad,
        elements: &[gst::Element],
        payloader: &gst::Element,
    ) -> Result<(), glib::BoolError> {
        pad.set_target(None::<&gst::Pad>)?;
        bin.add_many(elements)?;
        gst::Element::link_many(elements.iter().chain([payloader]))?;
        for element in elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        let first = elements.first().and_then(|e| e.static_pad("sink"));
        pad.set_target(first.as_ref())
    }

    /// The track's end.
    pub fn track(&self) -> &TrackSink {
        &self.track
    }

    /// Takes the chain out of `bin`.
    pub fn remove(&self, bin: &gst::Bin, pad: &gst::GhostPad) {
        let _ = pad.set_target(None::<&gst::Pad>);
        let added = std::mem::take(&mut *self.added.lock().unwrap_or_else(PoisonError::into_inner));
        for element in self.elements.iter().rev().chain(added.iter().rev()) {
            element.set_locked_state(true);
            let _ = element.set_state(gst::State::Null);
            let _ = bin.remove(element);
        }
    }

    fn plug(&self, bin: &gst::Bin, pad: &gst::GhostPad) -> Result<(), glib::BoolError> {
        bin.add_many(&self.elements)?;
        gst::Element::link_many(&self.elements)?;
        // The end first, so that nothing is pushed into an element that is not ready.
        for element in self.elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        let first = self
            .elements
            .first()
            .and_then(|e| e.static_pad("sink"))
            .ok_or_else(|| glib::bool_error!("a chain without a sink pad"))?;
        if self.in_pieces {
            access_unit::collect(&first);
        }
        if self.parsed {
            parameter_sets::repeat(&first);
        }
        if self.media_type.starts_with("video/") {
            timing::watch(&first, bin.upcast_ref(), pad.name().as_str());
        }
        pad.set_target(Some(&first))
    }
}

fn media_type(caps: &gst::CapsRef) -> String {
    caps.structure(0)
        .map(|s| s.name().to_string())
        .unwrap_or_default()
}

fn encoded_side(
    carriage: &Carriage,
    caps: &gst::CapsRef,
) -> Result<Vec<gst::Element>, gst::ErrorMessage> {
    let mut elements = Vec::new();
    if let Some(parser) = carriage.parser {
        let parser = Part::Factory(parser).make()?;
        if parser.has_property("config-interval") {
            // Parameter sets with every key frame: whoever joins or lost a packet can start there.
            // Not by rtph264pay, which makes a frame of them alone where a delimiter comes first.
            parser.set_property("config-interval", -1i32);
        }
        elements.push(parser);
        let parsed = parsed_caps(carriage, caps);
        elements.push(filter(parsed).map_err(|e| missing_element("capsfilter", &e))?);
    }
    Ok(elements)
}

/// What the parser is to give for `caps`: whole access units, in the format they come in, so that
/// nothing is converted.
fn parsed_caps(carriage: &Carriage, caps: &gst::CapsRef) -> &'static str {
    let format = caps
        .structure(0)
        .and_then(|s| s.get::<&str>("stream-format").ok());
    match (carriage.name, format) {
        ("H264", Some("avc" | "avc3")) => {
            "video/x-h264, stream-format = (string) { avc, avc3 }, alignment = (string) au"
        }
        ("H264", _) => {
            "video/x-h264, stream-format = (string) byte-stream, alignment = (string) au"
        }
        // rtph265pay knows no hev1.
        ("H265", Some("hvc1")) => {
            "video/x-h265, stream-format = (string) hvc1, alignment = (string) au"
        }
        ("H265", _) => {
            "video/x-h265, stream-format = (string) byte-stream, alignment = (string) au"
        }
        _ => "video/x-av1, stream-format = (string) obu-stream, alignment = (string) tu",
    }
}

/// Payloaders leave out the profile that a description needs; the caps before them have it.
fn tell_encoded_caps(payloader: &gst::Element, track: &TrackSink) {
    let Some(pad) = payloader.static_pad("sink") else {
        return;
    };
    let track = track.downgrade();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let (Some(gst::EventView::Caps(caps)), Some(track)) =
            (info.event().map(|e| e.view()), track.upgrade())
        {
            track.set_encoded_caps(caps.caps_owned());
        }
        gst::PadProbeReturn::Ok
    });
}

fn configure_payloader(payloader: &gst::Element) {
    if payloader.has_property("mtu") {
        payloader.set_property("mtu", RTP_MTU);
    }
    if payloader.has_property("aggregate-mode") {
        payloader.set_property_from_str("aggregate-mode", "zero-latency");
    }
    if payloader.has_property("picture-id-mode") {
        // Lets receivers tell a lost frame from a dropped one (RFC 7741 section 4.2).
        payloader.set_property_from_str("picture-id-mode", "15-bit");
    }
    if payloader.has_property("dtx") {
        // Packets of Opus that hold nothing: the encoder makes them where its silence is not sent.
        payloader.set_property("dtx", true);
    }
    gst::log!(CAT, obj = payloader, "configured");
}

#[cfg(test)]
mod tests;
