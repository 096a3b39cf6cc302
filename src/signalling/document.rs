// SPDX-License-Identifier: MPL-2.0
//! Finds the description in a whole text, in every form that the stdio signaller reads.

use super::line_codec::{Decoded, LineDecoder, MAX_LINE};
use super::message::{Description, DescriptionType, Message};

/// A description, and which of the two it says it is.
#[derive(Clone, PartialEq, Eq)]
pub struct FoundDescription {
    /// The SDP. Of bare SDP the lines keep their numbers.
    pub sdp: String,
    /// `None` for bare SDP, and for JSON without a type.
    pub kind: Option<DescriptionType>,
}

/// The first description in `text`: bare SDP, also with its line ends as `\r\n` in letters; JSON
/// with `sdp` and `type`; base64 of either.
///
/// # Errors
///
/// What stands there instead; never quotes what may be a secret.
pub fn find_description(text: &str) -> Result<FoundDescription, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes"));
    }
    if let Some(sdp) = bare(text) {
        return Ok(FoundDescription { sdp, kind: None });
    }
    let description = decode(text, DescriptionType::Offer).map_err(|cause| {
        let json = serde_json::from_str::<serde_json::Value>(text.trim());
        match json {
            Err(error) if text.trim_start().starts_with('{') => format!("as JSON: {error}"),
            _ => format!("{cause}; wanted is SDP, JSON with \"sdp\", or base64 of either"),
        }
    })?;
    // What names no type is taken for whatever is due.
    let kind = decode(text, DescriptionType::Answer)
        .ok()
        .filter(|other| other.kind == description.kind)
        .map(|other| other.kind);
    Ok(FoundDescription {
        sdp: description.sdp,
        kind,
    })
}

/// `text` from its line `v=0` on. Blank lines, as web pages put them between the sections, do not
/// end it. What stood before becomes blank lines.
fn bare(text: &str) -> Option<String> {
    let mut found = false;
    let lines: Vec<_> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| {
            found |= line.trim() == "v=0";
            if found { line } else { "" }
        })
        .collect();
    (found && lines.len() > 1).then(|| lines.join("\n"))
}

fn decode(text: &str, due: DescriptionType) -> Result<Description, String> {
    let mut decoded = Vec::new();
    let mut decoder = LineDecoder::new(due);
    decoder.feed(text.as_bytes(), &mut decoded);
    decoder.finish(&mut decoded);
    let mut cause = None;
    for item in decoded {
        match item {
            Decoded::Message(Message::Description(description)) => return Ok(description),
            Decoded::Message(_) => {}
            Decoded::Notice(notice) => cause = cause.or(Some(notice)),
        }
    }
    // What a call would wait for does not matter here.
    let cause = cause.map(|notice| match notice.split_once(": due is ") {
        Some((cause, _)) => cause.to_owned(),
        None => notice,
    });
    Err(cause.unwrap_or_else(|| "it holds no description".to_owned()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/SAVPF 0\r\n";

    #[test]
    fn every_form_gives_the_same_description() {
        let json = format!(
            "{{\"type\": \"answer\", \"sdp\": {}}}",
            serde_json::Value::from(SDP)
        );
        let escaped = SDP.replace("\r\n", "\\r\\n");
        let base64 = base64::engine::general_purpose::STANDARD.encode(&json);
        for (text, kind) in [
            (SDP, None),
            (escaped.as_str(), None),
            (json.as_str(), Some(DescriptionType::Answer)),
            (base64.as_str(), Some(DescriptionType::Answer)),
        ] {
            let found = find_description(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(found.kind, kind, "{text}");
            let lines: Vec<_> = found.sdp.lines().collect();
            assert_eq!(lines, SDP.lines().collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn lines_of_bare_sdp_keep_their_numbers() {
        let text = format!("copied from a page:\n\n{}", SDP.replace("m=", "\nm="));
        let found = find_description(&text).unwrap();
        assert_eq!(
            found.sdp.lines().position(|line| line.starts_with("m=")),
            Some(7)
        );
    }

    #[test]
    fn what_is_no_description_is_refused_with_a_cause() {
        for text in ["", " \n", "hello", "{\"a\": 1}", "{\"sdp\": \"v=0", "v=0"] {
            assert!(!find_description(text).err().unwrap().is_empty(), "{text}");
        }
    }
}
