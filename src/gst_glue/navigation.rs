// SPDX-License-Identifier: MPL-2.0
//! From what a viewer does, in JSON, to GstNavigation events. The messages have the names of
//! GStreamer's own types, so that other players can write them: `{"event": "MouseMove", "x": 1, "y": 2}`.
//!
//! Invariant: whatever the text, an event has finite coordinates within the picture, a key or a
//! button that exists, and known modifiers.

mod keys;
#[cfg(test)]
mod tests;

use gst_video::{NavigationEvent, NavigationModifierType};
use serde::Deserialize;

/// The longest message, bytes.
const MAX_MESSAGE: usize = 1024;
/// A wheel turns at most so far at once, pixels.
const MAX_SCROLL: f64 = 10_000.0;
/// Buttons: left, middle, right, of the wheel, and those that some mice have.
const BUTTONS: std::ops::RangeInclusive<i32> = 1..=9;

/// A message of a viewer.
#[derive(Deserialize)]
#[serde(tag = "event")]
enum Input {
    KeyPress(Key),
    KeyRelease(Key),
    MouseMove(Place),
    MouseButtonPress(Button),
    MouseButtonRelease(Button),
    MouseScroll(Scroll),
}

#[derive(Deserialize)]
struct Key {
    /// As in UI Events (`Enter`, `a`, `é`), or a keysym's name.
    key: String,
    #[serde(default)]
    modifier_state: String,
}

#[derive(Deserialize)]
struct Place {
    x: f64,
    y: f64,
    #[serde(default)]
    modifier_state: String,
}

#[derive(Deserialize)]
struct Button {
    button: i32,
    #[serde(flatten)]
    place: Place,
}

#[derive(Deserialize)]
struct Scroll {
    delta_x: f64,
    delta_y: f64,
    #[serde(flatten)]
    place: Place,
}

/// The event that `text` asks for, in a picture of `size` (width, height).
///
/// # Errors
///
/// Why it is none; quotes nothing of it: it may be what somebody types.
pub fn event(text: &[u8], size: (f64, f64)) -> Result<NavigationEvent, &'static str> {
    if text.len() > MAX_MESSAGE {
        return Err("it is too long");
    }
    let input: Input = serde_json::from_slice(text).map_err(|_| "it is no such JSON")?;
    Ok(match input {
        Input::KeyPress(Key {
            key,
            modifier_state,
        }) => NavigationEvent::KeyPress {
            key: keys::keysym(&key).ok_or("there is no such key")?,
            modifier_state: modifiers(&modifier_state)?,
        },
        Input::KeyRelease(Key {
            key,
            modifier_state,
        }) => NavigationEvent::KeyRelease {
            key: keys::keysym(&key).ok_or("there is no such key")?,
            modifier_state: modifiers(&modifier_state)?,
        },
        Input::MouseMove(place) => NavigationEvent::MouseMove {
            x: within(place.x, size.0)?,
            y: within(place.y, size.1)?,
            modifier_state: modifiers(&place.modifier_state)?,
        },
        Input::MouseButtonPress(Button { button, place }) => NavigationEvent::MouseButtonPress {
            button: known(button)?,
            x: within(place.x, size.0)?,
            y: within(place.y, size.1)?,
            modifier_state: modifiers(&place.modifier_state)?,
        },
        Input::MouseButtonRelease(Button { button, place }) => {
            NavigationEvent::MouseButtonRelease {
                button: known(button)?,
                x: within(place.x, size.0)?,
                y: within(place.y, size.1)?,
                modifier_state: modifiers(&place.modifier_state)?,
            }
        }
        Input::MouseScroll(Scroll {
            delta_x,
            delta_y,
            place,
        }) => NavigationEvent::MouseScroll {
            x: within(place.x, size.0)?,
            y: within(place.y, size.1)?,
            delta_x: delta_x.clamp(-MAX_SCROLL, MAX_SCROLL),
            delta_y: delta_y.clamp(-MAX_SCROLL, MAX_SCROLL),
            modifier_state: modifiers(&place.modifier_state)?,
        },
    })
}

/// JSON has no infinite numbers, but some that are read as such.
fn within(value: f64, limit: f64) -> Result<f64, &'static str> {
    match value.is_finite() {
        true => Ok(value.clamp(0.0, limit)),
        false => Err("a coordinate is no number"),
    }
}

fn known(button: i32) -> Result<i32, &'static str> {
    match BUTTONS.contains(&button) {
        true => Ok(button),
        false => Err("there is no such button"),
    }
}

/// Nicks of `GstNavigationModifierType` with `+` between them.
fn modifiers(text: &str) -> Result<NavigationModifierType, &'static str> {
    let mut all = NavigationModifierType::empty();
    for name in text.split('+').filter(|name| !name.is_empty()) {
        all |= match name {
            "shift-mask" => NavigationModifierType::SHIFT_MASK,
            "lock-mask" => NavigationModifierType::LOCK_MASK,
            "control-mask" => NavigationModifierType::CONTROL_MASK,
            "mod1-mask" => NavigationModifierType::MOD1_MASK,
            "mod5-mask" => NavigationModifierType::MOD5_MASK,
            "super-mask" => NavigationModifierType::SUPER_MASK,
            "meta-mask" => NavigationModifierType::META_MASK,
            "button1-mask" => NavigationModifierType::BUTTON1_MASK,
            "button2-mask" => NavigationModifierType::BUTTON2_MASK,
            "button3-mask" => NavigationModifierType::BUTTON3_MASK,
            _ => return Err("there is no such modifier"),
        };
    }
    Ok(all)
}
