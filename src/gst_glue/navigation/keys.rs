// SPDX-License-Identifier: MPL-2.0
//! Names of keys: those of browsers (UI Events, `KeyboardEvent.key`) and those that GstNavigation
//! has, the keysyms of X11 without `XK_`.

/// Names that differ. Others of browsers, like `Escape` and `F1`, are keysyms as they are.
const NAMED: [(&str, &str); 30] = [
    ("Enter", "Return"),
    ("Backspace", "BackSpace"),
    ("ArrowLeft", "Left"),
    ("ArrowUp", "Up"),
    ("ArrowRight", "Right"),
    ("ArrowDown", "Down"),
    ("PageUp", "Page_Up"),
    ("PageDown", "Page_Down"),
    ("Shift", "Shift_L"),
    ("Control", "Control_L"),
    ("Alt", "Alt_L"),
    ("AltGraph", "ISO_Level3_Shift"),
    ("Meta", "Super_L"),
    ("OS", "Super_L"),
    ("CapsLock", "Caps_Lock"),
    ("NumLock", "Num_Lock"),
    ("ScrollLock", "Scroll_Lock"),
    ("ContextMenu", "Menu"),
    ("PrintScreen", "Print"),
    ("AudioVolumeMute", "XF86AudioMute"),
    ("AudioVolumeDown", "XF86AudioLowerVolume"),
    ("AudioVolumeUp", "XF86AudioRaiseVolume"),
    ("MediaPlayPause", "XF86AudioPlay"),
    ("MediaStop", "XF86AudioStop"),
    ("MediaTrackNext", "XF86AudioNext"),
    ("MediaTrackPrevious", "XF86AudioPrev"),
    ("BrowserBack", "XF86Back"),
    ("BrowserForward", "XF86Forward"),
    ("BrowserRefresh", "XF86Refresh"),
    ("BrowserHome", "XF86HomePage"),
];

/// Signs of ASCII that are no letters and no digits.
const SIGNS: [(char, &str); 33] = [
    (' ', "space"),
    ('!', "exclam"),
    ('"', "quotedbl"),
    ('#', "numbersign"),
    ('$', "dollar"),
    ('%', "percent"),
    ('&', "ampersand"),
    ('\'', "apostrophe"),
    ('(', "parenleft"),
    (')', "parenright"),
    ('*', "asterisk"),
    ('+', "plus"),
    (',', "comma"),
    ('-', "minus"),
    ('.', "period"),
    ('/', "slash"),
    (':', "colon"),
    (';', "semicolon"),
    ('<', "less"),
    ('=', "equal"),
    ('>', "greater"),
    ('?', "question"),
    ('@', "at"),
    ('[', "bracketleft"),
    ('\\', "backslash"),
    (']', "bracketright"),
    ('^', "asciicircum"),
    ('_', "underscore"),
    ('`', "grave"),
    ('{', "braceleft"),
    ('|', "bar"),
    ('}', "braceright"),
    ('~', "asciitilde"),
];

/// The keysym of a browser's key; `None`: there is none.
pub(super) fn keysym(key: &str) -> Option<String> {
    let mut characters = key.chars();
    let (first, more) = (characters.next()?, characters.next().is_some());
    if more {
        let named = NAMED.iter().find(|(browser, _)| *browser == key);
        let name = named.map_or(key, |(_, keysym)| keysym);
        let plain = name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        // What browsers say of keys that make no character by themselves.
        let none = matches!(key, "Dead" | "Process" | "Unidentified");
        return (plain && !none).then(|| name.to_owned());
    }
    if first.is_ascii_alphanumeric() {
        return Some(first.to_string());
    }
    if let Some((_, name)) = SIGNS.iter().find(|(sign, _)| *sign == first) {
        return Some((*name).to_owned());
    }
    (!first.is_control()).then(|| format!("U{:04X}", u32::from(first)))
}
