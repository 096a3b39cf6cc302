// SPDX-License-Identifier: MPL-2.0
//! How an encoder is set up, where that keeps it from following its bitrate.

use gst::glib;
use gst::prelude::*;

use super::{factory_name, number, spec};

/// Why the bitrate of `element` has no effect as it is set up, if so.
pub fn ineffective(element: &gst::Element) -> Option<String> {
    /// How encoders call their way of rate control.
    const MODES: [&str; 5] = [
        "pass",
        "rate-control",
        "rc-mode",
        "end-usage",
        "control-rate",
    ];
    /// Those that aim at a quality, whatever it takes.
    const QUALITY: [&str; 11] = [
        "quant", "qual", "cqp", "icq", "la_icq", "la-icq", "constqp", "fixqp", "off", "q",
        "disable",
    ];
    let quality = MODES.iter().find_map(|mode| {
        spec(element, mode)?;
        let value = element.property_value(mode);
        let (_, value) = glib::EnumValue::from_value(&value)?;
        QUALITY
            .contains(&value.nick())
            .then(|| format!("{mode}={}", value.nick()))
    });
    let quantizer = || match factory_name(element).as_str() {
        "x265enc" => (element.property::<i32>("qp") >= 0).then(|| "qp".to_owned()),
        // av1enc is lossless by default, for both are 0, and takes no other value while it runs.
        "av1enc" | "vp8enc" | "vp9enc" => {
            let bounds = ["min-quantizer", "max-quantizer"];
            let [least, most] = bounds.map(|bound| number(&element.property_value(bound)));
            (least == most).then(|| "max-quantizer as low as min-quantizer".to_owned())
        }
        _ => None,
    };
    let setting = quality.or_else(quantizer)?;
    Some(format!(
        "{} keeps to a quality, whatever bitrate that takes ({setting}): it does not adapt to the \
         network. Set it to a constant or variable bitrate (av1enc: max-quantizer=63 end-usage=cbr)",
        element.name()
    ))
}

/// Sets what keeps `element` from following its bitrate, as far as it is at its default; gives what
/// was set.
///
/// By default libvpx evens out six seconds: after each step up it sends next to nothing for two of
/// them. x264 spends up to 0.6 s of its bitrate on one key frame, which then is that long on its way.
pub fn prepare(element: &gst::Element) -> Vec<String> {
    const VPX: &[(&str, &str)] = &[
        ("end-usage", "cbr"),
        ("buffer-size", "1000"),
        ("buffer-initial-size", "500"),
        ("buffer-optimal-size", "600"),
    ];
    /// Key frames of a tenth of a second; with less it leaves a part of its bitrate unused.
    const X264: &[(&str, &str)] = &[("vbv-buf-capacity", "100")];
    let settings = match factory_name(element).as_str() {
        "vp8enc" | "vp9enc" => VPX,
        // It would bound what it spends on a quality, too.
        "x264enc" if ineffective(element).is_none() => X264,
        _ => return Vec::new(),
    };
    let set = settings.iter().filter_map(|(property, value)| {
        let spec = spec(element, property)?;
        let current = element.property_value(property);
        if current.compare(spec.default_value()) != Some(std::cmp::Ordering::Equal) {
            return None;
        }
        let wanted = glib::Value::deserialize(value, spec.value_type()).ok()?;
        element.set_property_from_value(property, &wanted);
        Some(format!("{property}={value}"))
    });
    set.collect()
}

/// How long `element` keeps frames before they come out, with the cure, if that is so long that it
/// follows the network late, and a live picture comes late by it.
///
/// An encoder knows it once it has its caps. It may wait for a query that is under way: not to be
/// called from a streaming thread.
pub fn held_back(element: &gst::Element) -> Option<String> {
    /// Hardware that works on a few frames at a time has less.
    const MUCH: gst::ClockTime = gst::ClockTime::from_mseconds(250);
    let latency = |pad: gst::Pad, upstream: bool| {
        let mut query = gst::query::Latency::new();
        let answered = match upstream {
            true => pad.peer_query(&mut query),
            false => pad.query(&mut query),
        };
        answered.then(|| query.result())
    };
    let (live, behind, _) = latency(element.static_pad("src")?, false)?;
    let before = latency(element.static_pad("sink")?, true).map_or(gst::ClockTime::ZERO, |l| l.1);
    let own = behind.saturating_sub(before);
    if !live || own < MUCH {
        return None;
    }
    let cure = match factory_name(element).as_str() {
        "x264enc" | "x265enc" => "set tune=zerolatency",
        "vp8enc" | "vp9enc" | "av1enc" => "set lag-in-frames=0",
        _ => "set it up without look-ahead and B-frames",
    };
    Some(format!(
        "{} keeps each frame for {:.1} s: the picture is late by that, and so is each change of the \
         bitrate, which costs frames where the network becomes narrow: {cure}",
        element.name(),
        own.mseconds() as f64 / 1000.0
    ))
}
