// SPDX-License-Identifier: MPL-2.0
//! What comes by signalling: lines of JSON, SDP and base64, cut anywhere, and whole files.

use gstwebrtcrs::signalling::fuzzing::{Read, decode, decode_document, encode};
use gstwebrtcrs::signalling::message::{DescriptionType, Message};

pub fn run(data: &[u8]) {
    for due in [DescriptionType::Offer, DescriptionType::Answer] {
        let whole = decode([data], due, false);
        let pieces = pieces(data);
        assert_eq!(
            whole,
            decode(pieces.iter().copied(), due, false),
            "however it is cut"
        );
        for read in whole.iter().chain(&decode(pieces, due, true)) {
            match read {
                Read::Message(message) => well_formed(message, due),
                Read::Notice(text) => discreet(text, data),
            }
        }
        let text = String::from_utf8_lossy(data);
        if let Some(message) = decode_document(&text, due) {
            well_formed(&message, due);
        }
    }
}

/// Cut in places that depend on the input only.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut state = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut pieces = Vec::new();
    while !data.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, rest) = data.split_at((1 + (state >> 20) as usize % 61).min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// What the session gets to see can be relied on, and can be passed on.
fn well_formed(message: &Message, due: DescriptionType) {
    match message {
        Message::Description(description) => {
            let sdp = &description.sdp;
            assert!(
                sdp.starts_with("v=0\r\n") && sdp.ends_with("\r\n"),
                "{sdp:?}"
            );
            let lines = sdp.strip_suffix("\r\n").unwrap_or(sdp).split("\r\n");
            for line in lines {
                assert!(!line.is_empty() && !line.contains(['\r', '\n']), "{sdp:?}");
            }
        }
        Message::Candidate(candidate) => {
            assert!(candidate.candidate.starts_with("candidate:"));
            assert!(!candidate.candidate.chars().any(char::is_control));
        }
        Message::Bye => {}
        Message::Refuse(_) => panic!("there is no such word on a line"),
    }
    let line = encode(message);
    assert!(line.is_ascii() && !line.contains('\n'), "{line}");
    assert_eq!(
        decode_document(&line, due).as_ref(),
        Some(message),
        "{line}"
    );
    let read = decode([line.as_bytes(), b"\n"], due, false);
    assert_eq!(read, [Read::Message(message.clone())], "{line}");
}

/// No notice repeats an ICE password.
fn discreet(notice: &str, data: &[u8]) {
    for password in passwords(&String::from_utf8_lossy(data)) {
        assert!(!notice.contains(&password), "{notice}");
    }
}

/// ICE passwords in `text` (22 characters or more, RFC 8839 section 5.4) that stand nowhere else in
/// it, where one looks like any other word.
pub fn passwords(text: &str) -> Vec<String> {
    let of_ice = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    // Some characters are passed over by whoever reads.
    let squeezed: String = text.chars().filter(of_ice).collect();
    text.match_indices("ice-pwd:")
        .filter_map(|(start, mark)| text.get(start + mark.len()..))
        .map(|rest| rest.chars().take_while(of_ice).collect::<String>())
        .filter(|password| password.len() >= 22)
        .filter(|password| squeezed.matches(password.as_str()).count() == 1)
        .collect()
}
