// SPDX-License-Identifier: MPL-2.0
//! What a text means: JSON objects of several dialects, SDP and base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::signalling::message::{Candidate, Description, DescriptionType, Message};

/// What a JSON object of ours says.
pub(super) enum Meaning {
    /// A message.
    Message(Message),
    /// Nothing to do (end of candidates).
    Nothing,
    /// Valid JSON that cannot be used, and why.
    Refused(String),
}

/// What JSON a text holds.
pub(super) enum Json {
    /// A whole object.
    Known(Meaning),
    /// An object that starts at this byte and does not end.
    Incomplete(usize),
    /// What should be an object is not JSON.
    Damaged,
    /// None.
    Absent,
}

/// Looks for an object anywhere in `text`: prompts stand before it and behind it.
pub(super) fn read_json(text: &str, due: DescriptionType) -> Json {
    /// More braces than this are no prompt.
    const MAX_STARTS: usize = 8;
    let mut incomplete = None;
    let mut damaged = false;
    let mut refused = None;
    for (start, _) in text.match_indices('{').take(MAX_STARTS) {
        let Some(rest) = text.get(start..) else {
            continue;
        };
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(Value::Object(object))) => match meaning(&object, due, true) {
                Meaning::Refused(why) => refused = refused.or(Some(why)),
                known => return Json::Known(known),
            },
            Some(Err(error)) if error.is_eof() => incomplete = incomplete.or(Some(start)),
            Some(Err(_)) => {
                // `{"` is no shell's doing.
                damaged |= rest
                    .strip_prefix('{')
                    .is_some_and(|rest| rest.trim_start().starts_with('"'));
            }
            _ => {}
        }
    }
    match (incomplete, refused) {
        (Some(start), _) => Json::Incomplete(start),
        (None, Some(why)) => Json::Known(Meaning::Refused(why)),
        (None, None) if damaged => Json::Damaged,
        (None, None) => Json::Absent,
    }
}

fn meaning(object: &Map<String, Value>, due: DescriptionType, outermost: bool) -> Meaning {
    // {"sdp": {…}} and {"ice": {…}} are the dialect of GStreamer's sendrecv demos.
    for key in ["sdp", "ice", "description", "candidate"] {
        if let (true, Some(Value::Object(inner))) = (outermost, object.get(key)) {
            return meaning(inner, due, false);
        }
    }
    let kind = object.get("type").and_then(Value::as_str);
    match kind {
        Some("bye") => Meaning::Message(Message::Bye),
        Some("offer") => description(object, DescriptionType::Offer),
        Some("answer") => description(object, DescriptionType::Answer),
        Some(other @ ("pranswer" | "rollback")) => {
            Meaning::Refused(format!("a description of type {other} is not supported"))
        }
        _ if object.contains_key("candidate") => candidate(object),
        None if object.contains_key("sdp") => description(object, due),
        _ => Meaning::Refused("this JSON is no signalling message".to_owned()),
    }
}

fn description(object: &Map<String, Value>, kind: DescriptionType) -> Meaning {
    let Some(sdp) = object.get("sdp").and_then(Value::as_str) else {
        return Meaning::Refused(format!("this {kind} has no \"sdp\" text"));
    };
    let sdp = normalised(sdp);
    if !sdp.starts_with("v=0\r\n") {
        return Meaning::Refused(format!(
            "the \"sdp\" of this {kind} does not start with v=0"
        ));
    }
    Meaning::Message(Message::Description(Description { kind, sdp }))
}

fn candidate(object: &Map<String, Value>) -> Meaning {
    let text = match object.get("candidate") {
        Some(Value::String(text)) => text.trim(),
        Some(Value::Null) => return Meaning::Nothing,
        _ => return Meaning::Refused("the \"candidate\" of this JSON is no text".to_owned()),
    };
    let text = text.strip_prefix("a=").unwrap_or(text);
    if text.is_empty() {
        return Meaning::Nothing;
    }
    if !text.starts_with("candidate:") || text.chars().any(char::is_control) {
        return Meaning::Refused("this candidate does not start with candidate:".to_owned());
    }
    let either = |ours: &str, browsers: &str| object.get(ours).or_else(|| object.get(browsers));
    Meaning::Message(Message::Candidate(Candidate {
        candidate: text.to_owned(),
        mid: either("id", "sdpMid")
            .and_then(Value::as_str)
            .map(str::to_owned),
        mline_index: either("label", "sdpMLineIndex")
            .and_then(Value::as_u64)
            .and_then(|index| u16::try_from(index).ok()),
    }))
}

/// SDP with CRLF line ends, without blank lines.
pub(in crate::signalling) fn normalised(sdp: &str) -> String {
    let mut text = String::with_capacity(sdp.len() + sdp.len() / 16 + 2);
    for line in sdp.split(['\r', '\n']) {
        let line = line.trim_end();
        if !line.is_empty() {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text
}

/// Without what copying adds to a text: marks that cannot be seen, and odd spaces.
pub(super) fn clean(line: &str) -> String {
    line.replace("\u{1b}[200~", "")
        .replace("\u{1b}[201~", "")
        .chars()
        .filter_map(|c| match c {
            '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' | '\0' => None,
            '\u{a0}' | '\u{2007}' | '\u{202f}' => Some(' '),
            other => Some(other),
        })
        .collect()
}

/// Whether this is `x=…`.
pub(super) fn is_sdp_line(line: &str) -> bool {
    let mut chars = line.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase()) && chars.next() == Some('=')
}

/// From `v=0` on, if that is what the line starts with, a prompt or a quote aside.
pub(super) fn sdp_start(line: &str) -> Option<&str> {
    let start = line.find("v=0")?;
    let (before, sdp) = line.split_at_checked(start)?;
    let prompt = before
        .chars()
        .all(|c| c.is_whitespace() || matches!(c, '>' | '$' | '#' | '"' | '\'' | '%'));
    let alone = sdp
        .strip_prefix("v=0")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['\\', '\r', '\n', ' ']));
    (prompt && alone).then_some(sdp)
}

/// SDP that was written on one line with its line ends as `\r\n`.
pub(super) fn unescape(sdp: &str) -> String {
    sdp.trim_end_matches(['"', '\'', ','])
        .replace("\\r", "\r")
        .replace("\\n", "\n")
        .replace("\\\"", "\"")
        .replace("\\/", "/")
}

/// Whether the text is of either base64 alphabet.
pub(super) fn is_base64(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
}

/// The word of the line that is base64 of JSON or SDP, or the first line of it.
pub(super) fn base64_word(line: &str) -> Option<&str> {
    /// The shortest that is looked at: 12 bytes.
    const MIN: usize = 16;
    line.split_whitespace()
        .map(|word| word.trim_matches(['"', '\'', ',']))
        .filter(|word| word.len() >= MIN && is_base64(word))
        .find(|word| {
            let start: String = word.chars().take(MIN).collect();
            decode_base64(&start).is_some_and(|text| {
                let text = text.trim_start_matches('\u{feff}').trim_start();
                text.starts_with("v=0") || text.starts_with('{')
            })
        })
}

/// The text in base64 of either alphabet, padded or not.
pub(super) fn decode_base64(text: &str) -> Option<String> {
    const TOLERANT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = text.trim_end_matches('=');
    let text = text.replace('-', "+").replace('_', "/");
    let bytes = TOLERANT.decode(text).ok()?;
    Some(clean(&String::from_utf8_lossy(&bytes)))
}

/// Names a line that is not ours; quotes it only where it can hold no secret.
pub(super) fn describe_foreign(line: &str) -> String {
    const QUOTED: usize = 40;
    const PASSWORD: usize = 22;
    let secretive = is_sdp_line(line)
        || ["ice-", "sdp", "candidate", "a="].iter().any(|mark| line.contains(mark))
        // One long word: a token, a piece of base64, or an ICE password, which has 22 characters or
        // more (RFC 8839 section 5.4), at the end of a line that a paste has cut.
        || line.split_whitespace().any(|word| {
            let secret = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
            word.len() > QUOTED || (word.len() >= PASSWORD && word.chars().all(secret))
        });
    if secretive {
        return format!("a line of {} bytes was passed over", line.len());
    }
    let quoted: String = line
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .take(QUOTED)
        .collect();
    let more = if line.chars().nth(QUOTED).is_some() {
        "…"
    } else {
        ""
    };
    format!("\"{quoted}{more}\" was passed over")
}
