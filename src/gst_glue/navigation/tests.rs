// SPDX-License-Identifier: MPL-2.0

use gst_video::NavigationModifierType;

use super::*;

const SIZE: (f64, f64) = (640.0, 360.0);

fn of(text: &str) -> Result<NavigationEvent, &'static str> {
    event(text.as_bytes(), SIZE)
}

#[test]
fn what_a_viewer_does_becomes_the_event_with_its_modifiers() {
    let moved = of(
        r#"{"event": "MouseMove", "x": 12.5, "y": 7, "modifier_state": "shift-mask+button1-mask"}"#,
    );
    let shift_and_button =
        NavigationModifierType::SHIFT_MASK | NavigationModifierType::BUTTON1_MASK;
    assert!(matches!(
        moved,
        Ok(NavigationEvent::MouseMove { x: 12.5, y: 7.0, modifier_state }) if modifier_state == shift_and_button
    ));
    assert!(matches!(
        of(r#"{"event": "MouseButtonPress", "button": 3, "x": 1, "y": 2}"#),
        Ok(NavigationEvent::MouseButtonPress { button: 3, .. })
    ));
    assert!(matches!(
        of(r#"{"event": "MouseScroll", "x": 1, "y": 2, "delta_x": 0, "delta_y": -1e300}"#),
        Ok(NavigationEvent::MouseScroll {
            delta_y: -10_000.0,
            ..
        })
    ));
}

#[test]
fn places_outside_are_at_the_edge() {
    assert!(matches!(
        of(r#"{"event": "MouseMove", "x": -5, "y": 1e9}"#),
        Ok(NavigationEvent::MouseMove {
            x: 0.0,
            y: 360.0,
            ..
        })
    ));
}

#[test]
fn keys_of_a_browser_have_the_names_of_keysyms() {
    for (key, keysym) in [
        ("a", Some("a")),
        ("A", Some("A")),
        ("é", Some("U00E9")),
        (" ", Some("space")),
        ("~", Some("asciitilde")),
        ("Enter", Some("Return")),
        ("ArrowLeft", Some("Left")),
        ("F5", Some("F5")),
        ("Escape", Some("Escape")),
        ("Return", Some("Return")),
        ("Dead", None),
        ("", None),
        ("\u{7}", None),
        ("a b", None),
        ("../etc", None),
    ] {
        assert_eq!(keys::keysym(key).as_deref(), keysym, "{key}");
    }
}

#[test]
fn what_is_no_input_is_refused() {
    let long = format!(r#"{{"event": "KeyPress", "key": "{}"}}"#, "x".repeat(2000));
    for text in [
        "",
        "{",
        "null",
        "[]",
        r#"{"event": "Reboot"}"#,
        r#"{"event": "MouseMove", "x": "1", "y": 2}"#,
        r#"{"event": "MouseMove", "x": 1e999, "y": 2}"#,
        r#"{"event": "MouseMove", "x": 1}"#,
        r#"{"event": "MouseButtonPress", "button": 4000, "x": 1, "y": 2}"#,
        r#"{"event": "KeyPress", "key": "a", "modifier_state": "magic"}"#,
        long.as_str(),
    ] {
        assert!(of(text).is_err(), "{text}");
    }
    assert!(event(&[0xff, 0xfe], SIZE).is_err());
}
