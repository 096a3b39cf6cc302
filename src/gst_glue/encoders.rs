// SPDX-License-Identifier: MPL-2.0
//! Encoders of any kind: which property holds the bitrate, in which unit, and whether it may change
//! while the stream runs.
//!
//! What is known is in one table, by factory. Of other encoders the property's own text is read, or
//! the value that it has; where that leaves a doubt the encoder is refused rather than set to a
//! thousandth or a thousandfold of what the path carries.

mod setup;

use gst::glib;
use gst::prelude::*;

pub use setup::{held_back, ineffective, prepare};

/// What a property counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// bit/s
    Bit,
    /// 1000 bit/s
    Kbit,
}

impl Unit {
    fn bits(self) -> u64 {
        match self {
            Self::Bit => 1,
            Self::Kbit => 1000,
        }
    }
}

/// What is known of a factory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// This property, while the stream runs.
    Property(&'static str, Unit),
    /// This property; its unit depends on the platform it was built for, and its text says which.
    ByText(&'static str, Unit),
    /// A V4L2 control, for which newer versions have a property.
    V4l2,
    /// Reads its bitrate when the stream begins and never again.
    Fixed,
}

/// The first row that fits counts; `*` stands for the rest of the name, which other devices of the
/// same kind and codecs differ in.
const FACTORIES: &[(&str, Known)] = &[
    ("x264enc", Known::Property("bitrate", Unit::Kbit)),
    ("x265enc", Known::Property("bitrate", Unit::Kbit)),
    ("openh264enc", Known::Property("bitrate", Unit::Bit)),
    ("vp8enc", Known::Property("target-bitrate", Unit::Bit)),
    ("vp9enc", Known::Property("target-bitrate", Unit::Bit)),
    ("av1enc", Known::Property("target-bitrate", Unit::Kbit)),
    ("opusenc", Known::Property("bitrate", Unit::Bit)),
    // SVT-AV1 and rav1e are configured once; so are the wrappers of Media Foundation and libav.
    ("svtav1enc", Known::Fixed),
    ("rav1enc", Known::Fixed),
    ("avenc_*", Known::Fixed),
    ("mfx*", Known::Property("bitrate", Unit::Kbit)),
    ("mf*", Known::Fixed),
    // Their flags say READY, but the driver takes it at any time.
    ("nvv4l2*", Known::Property("bitrate", Unit::Bit)),
    ("nv*", Known::Property("bitrate", Unit::Kbit)),
    ("va*", Known::Property("bitrate", Unit::Kbit)),
    ("qsv*", Known::Property("bitrate", Unit::Kbit)),
    ("msdk*", Known::Property("bitrate", Unit::Kbit)),
    ("amf*", Known::Property("bitrate", Unit::Kbit)),
    ("d3d12*", Known::Property("bitrate", Unit::Kbit)),
    ("vtenc_*", Known::Property("bitrate", Unit::Kbit)),
    ("vpuenc_*", Known::Property("bitrate", Unit::Kbit)),
    ("imxvpuenc_*", Known::Property("bitrate", Unit::Kbit)),
    ("omx*", Known::ByText("target-bitrate", Unit::Bit)),
    ("mpp*", Known::Property("bps", Unit::Bit)),
    ("qtic2venc", Known::Property("target-bitrate", Unit::Bit)),
    ("v4l2*", Known::V4l2),
];

/// Properties that unknown encoders may have.
const USUAL: [&str; 2] = ["target-bitrate", "bitrate"];

const EXTRA_CONTROLS: &str = "extra-controls";
const VIDEO_BITRATE: &str = "video_bitrate";

/// What a user named as the property, `NAME` or `NAME:UNIT` with the unit `bit` or `kbit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    property: String,
    unit: Option<Unit>,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (property, unit) = match text.split_once(':') {
            None => (text, None),
            Some((property, "bit")) => (property, Some(Unit::Bit)),
            Some((property, "kbit")) => (property, Some(Unit::Kbit)),
            Some((_, unit)) => {
                return Err(format!(
                    "bitrate-property: '{unit}' is no unit; there are 'bit' and 'kbit', as in \
                     bitrate-property=bitrate:kbit"
                ));
            }
        };
        let property = property.trim().to_owned();
        Ok(Self { property, unit })
    }
}

/// Why an encoder is not driven: cause and cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// The bitrate of one encoder. It holds no reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knob {
    property: String,
    unit: Unit,
    /// In the property's own unit.
    range: (u64, u64),
}

/// Whether an element is an encoder, by what it says of itself.
pub fn is_encoder(element: &gst::Element) -> bool {
    let klass = element.metadata("klass");
    klass.is_some_and(|klass| klass.split('/').any(|word| word == "Encoder"))
}

/// Name of the element's factory; empty where it has none.
pub fn factory_name(element: &gst::Element) -> String {
    let factory = element.factory();
    factory.map(|f| f.name().to_string()).unwrap_or_default()
}

impl Knob {
    /// The bitrate of `element`, or of what the user `chose`.
    ///
    /// # Errors
    ///
    /// The element has none, its unit is in doubt, or it cannot change while the stream runs.
    pub fn of(element: &gst::Element, chose: Option<&Choice>) -> Result<Self, Refusal> {
        let name = element.name();
        if let Some(choice) = chose {
            return Self::chosen(element, choice);
        }
        let factory = factory_name(element);
        match known(&factory) {
            Some(Known::Property(property, unit)) => Self::of_property(element, property, unit),
            Some(Known::ByText(property, unit)) => match spec(element, property) {
                Some(spec) => {
                    Self::of_property(element, property, stated_unit(&spec).unwrap_or(unit))
                }
                None => Self::guessed(element, &factory),
            },
            Some(Known::V4l2) if element.has_property("bitrate") => {
                Self::of_property(element, "bitrate", Unit::Bit)
            }
            Some(Known::V4l2) => Self::of_property(element, EXTRA_CONTROLS, Unit::Bit),
            Some(Known::Fixed) => Err(Refusal(format!(
                "the bitrate of {name} ({factory}) cannot change while the stream runs: it is not \
                 adapted to the network. Use an encoder that can (x264enc, vp8enc, vp9enc, av1enc, \
                 or one in hardware), or choose a bitrate that the network carries"
            ))),
            None => Self::guessed(element, &factory),
        }
    }

    /// The property's name.
    pub fn property(&self) -> &str {
        &self.property
    }

    /// `bitrate`, bit/s, as the property can hold it.
    pub fn held(&self, bitrate: u64) -> u64 {
        self.value(bitrate).saturating_mul(self.unit.bits())
    }

    /// What the encoder is set to now, bit/s; `None` where it says nothing or decides by itself.
    pub fn current(&self, element: &gst::Element) -> Option<u64> {
        let value = element.property_value(&self.property);
        let value = match value.get::<Option<gst::Structure>>() {
            Ok(controls) => number(controls?.value(VIDEO_BITRATE).ok()?),
            Err(_) => number(&value),
        };
        let value = value.filter(|value| *value > 0)?;
        Some(value.saturating_mul(self.unit.bits()))
    }

    /// Sets the bitrate, bit/s, as near as the property's range allows; gives what was set.
    ///
    /// May wait for the encoder, for about a frame: not to be called from a streaming thread, nor
    /// under a lock.
    ///
    /// # Errors
    ///
    /// The property is not what it was.
    pub fn set(&self, element: &gst::Element, bitrate: u64) -> Result<u64, Refusal> {
        let value = self.value(bitrate);
        let typed = spec(element, &self.property).and_then(|spec| {
            if spec.value_type() == gst::Structure::static_type() {
                let current = element.property::<Option<gst::Structure>>(&self.property);
                let mut controls = current.unwrap_or_else(|| gst::Structure::new_empty("controls"));
                // V4L2 takes integers only; what the user set beside it stays.
                controls.set(VIDEO_BITRATE, i32::try_from(value).unwrap_or(i32::MAX));
                return Some(controls.to_value());
            }
            typed(value, spec.value_type())
        });
        let typed = typed.ok_or_else(|| self.no_number(element))?;
        element.set_property_from_value(&self.property, &typed);
        Ok(value.saturating_mul(self.unit.bits()))
    }

    fn value(&self, bitrate: u64) -> u64 {
        // Zero means "as you like" to most.
        let (least, most) = (self.range.0.max(1), self.range.1.max(1));
        (bitrate / self.unit.bits()).clamp(least, most.max(least))
    }

    fn no_number(&self, element: &gst::Element) -> Refusal {
        Refusal(format!(
            "property '{}' of {} holds no bitrate",
            self.property,
            element.name()
        ))
    }

    fn chosen(element: &gst::Element, choice: &Choice) -> Result<Self, Refusal> {
        let property = choice.property.as_str();
        let Some(spec) = spec(element, property) else {
            return Err(Refusal(format!(
                "{} has no property '{property}', which bitrate-property names",
                element.name()
            )));
        };
        let known_unit = match known(&factory_name(element)) {
            Some(Known::Property(name, unit)) if name == property => Some(unit),
            Some(Known::ByText(name, unit)) if name == property => {
                Some(stated_unit(&spec).unwrap_or(unit))
            }
            _ if property == EXTRA_CONTROLS => Some(Unit::Bit),
            _ => None,
        };
        let unit = choice
            .unit
            .or(known_unit)
            .or_else(|| stated_unit(&spec))
            .or_else(|| unit_by_value(element, &spec));
        match unit {
            Some(unit) => Self::of_property(element, property, unit),
            None => Err(Refusal(format!(
                "it cannot be told whether property '{property}' of {} counts bit/s or kbit/s: say \
                 it, bitrate-property={property}:bit or bitrate-property={property}:kbit",
                element.name()
            ))),
        }
    }

    /// For factories that are not in the table.
    fn guessed(element: &gst::Element, factory: &str) -> Result<Self, Refusal> {
        let name = element.name();
        let Some((property, spec)) = USUAL
            .iter()
            .find_map(|property| Some((*property, spec(element, property)?)))
        else {
            return Err(Refusal(format!(
                "{name} ({factory}) has no property 'bitrate' or 'target-bitrate': it is not \
                 adapted to the network. Name the one that it has with bitrate-property, or the \
                 encoder with bitrate-element"
            )));
        };
        if !may_change(&spec) {
            return Err(Refusal(format!(
                "property '{property}' of {name} ({factory}) cannot change while the stream runs: \
                 it is not adapted to the network. Name another one with bitrate-property, or \
                 another encoder with bitrate-element"
            )));
        }
        match stated_unit(&spec).or_else(|| unit_by_value(element, &spec)) {
            Some(unit) => Self::of_property(element, property, unit),
            None => Err(Refusal(format!(
                "it cannot be told whether property '{property}' of {name} ({factory}) counts bit/s \
                 or kbit/s: it is not adapted to the network. Say it with \
                 bitrate-property={property}:bit or bitrate-property={property}:kbit, or name \
                 another encoder with bitrate-element"
            ))),
        }
    }

    fn of_property(element: &gst::Element, property: &str, unit: Unit) -> Result<Self, Refusal> {
        let knob = Self {
            property: property.to_owned(),
            unit,
            range: (1, u64::MAX),
        };
        let spec = spec(element, property).ok_or_else(|| knob.no_number(element))?;
        let range = range(&spec).ok_or_else(|| knob.no_number(element))?;
        Ok(Self {
            range: within_limits(element, range),
            ..knob
        })
    }
}

fn known(factory: &str) -> Option<Known> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => factory.starts_with(start),
        None => factory == pattern,
    };
    let mut rows = FACTORIES.iter();
    rows.find(|(pattern, _)| fits(pattern)).map(|(_, k)| *k)
}

/// The specification of a property that can be read and written.
fn spec(element: &gst::Element, property: &str) -> Option<glib::ParamSpec> {
    let needed = glib::ParamFlags::READWRITE;
    let spec = element.find_property(property)?;
    (spec.flags().contains(needed) && !spec.flags().contains(glib::ParamFlags::CONSTRUCT_ONLY))
        .then_some(spec)
}

/// Whether the property may change while data flows. Without any flag it is not known, and most
/// can.
fn may_change(spec: &glib::ParamSpec) -> bool {
    let flags = spec.flags();
    flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING)
        || !flags.intersects(gst::PARAM_FLAG_MUTABLE_READY | gst::PARAM_FLAG_MUTABLE_PAUSED)
}

/// The unit that the property's text or title names.
fn stated_unit(spec: &glib::ParamSpec) -> Option<Unit> {
    let stated = [spec.blurb(), Some(spec.nick())];
    stated.into_iter().flatten().find_map(unit_in)
}

fn unit_in(text: &str) -> Option<Unit> {
    const KBIT: [&str; 5] = ["kbit", "kbps", "kb/s", "kilobit", "kbs"];
    const MBIT: [&str; 4] = ["mbit", "mbps", "mb/s", "megabit"];
    const BIT: [&str; 7] = [
        "bit/s",
        "bits/s",
        "bits per sec",
        "bit per sec",
        "bps",
        "bits/sec",
        "b/s",
    ];
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match (says(&KBIT), says(&MBIT)) {
        (true, false) => Some(Unit::Kbit),
        (false, false) if says(&BIT) => Some(Unit::Bit),
        _ => None,
    }
}

/// The unit, by the value that the property has: no video has 30 kbit/s, and none 100 Mbit/s, by
/// default.
fn unit_by_value(element: &gst::Element, spec: &glib::ParamSpec) -> Option<Unit> {
    let (_, most) = range(spec)?;
    let set = number(&element.property_value(spec.name()))?;
    let default = number(spec.default_value());
    // What the user set is a better witness than the default, unless it is none at all.
    match [Some(set), default]
        .into_iter()
        .flatten()
        .find(|v| *v > 0)?
    {
        100..=30_000 => Some(Unit::Kbit),
        100_000..=100_000_000 if most >= 1_000_000 => Some(Unit::Bit),
        _ => None,
    }
}

/// What numbers the property takes, in its own unit.
fn range(spec: &glib::ParamSpec) -> Option<(u64, u64)> {
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        return Some((spec.minimum().into(), spec.maximum().into()));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        let (least, most) = (spec.minimum().into(), spec.maximum().into());
        return Some((positive(least), positive(most)));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        return Some((spec.minimum(), spec.maximum()));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt64>() {
        return Some((positive(spec.minimum()), positive(spec.maximum())));
    }
    let controls = spec.value_type() == gst::Structure::static_type();
    controls.then_some((1, u64::from(i32::MAX.unsigned_abs())))
}

/// Rockchip's encoders are given bounds apart, where 0 means none.
fn within_limits(element: &gst::Element, (least, most): (u64, u64)) -> (u64, u64) {
    let bound = |property: &str| {
        spec(element, property)?;
        number(&element.property_value(property)).filter(|bound| *bound > 0)
    };
    (
        bound("bps-min").map_or(least, |bound| bound.clamp(least, most)),
        bound("bps-max").map_or(most, |bound| bound.clamp(least, most)),
    )
}

fn number(value: &glib::Value) -> Option<u64> {
    let signed = value
        .get::<i64>()
        .or_else(|_| value.get::<i32>().map(i64::from));
    value
        .get::<u32>()
        .map(u64::from)
        .or_else(|_| value.get::<u64>())
        .ok()
        .or_else(|| u64::try_from(signed.ok()?).ok())
}

/// `number` as a value of `type_`.
fn typed(number: u64, type_: glib::Type) -> Option<glib::Value> {
    match type_ {
        glib::Type::U32 => Some(u32::try_from(number).unwrap_or(u32::MAX).to_value()),
        glib::Type::I32 => Some(i32::try_from(number).unwrap_or(i32::MAX).to_value()),
        glib::Type::U64 => Some(number.to_value()),
        glib::Type::I64 => Some(i64::try_from(number).unwrap_or(i64::MAX).to_value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
