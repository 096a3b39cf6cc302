// SPDX-License-Identifier: MPL-2.0

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
use crate::signalling::message::Candidate;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-pwd:geheim0123456789abcdefgh\r\na=mid:0\r\n";

fn offer() -> Message {
    Message::Description(Description {
        kind: DescriptionType::Offer,
        sdp: SDP.to_owned(),
    })
}

fn decode(input: impl AsRef<[u8]>) -> Vec<Decoded> {
    let mut decoder = LineDecoder::new(DescriptionType::Offer);
    let mut out = Vec::new();
    decoder.feed(input.as_ref(), &mut out);
    decoder.finish(&mut out);
    out
}

#[track_caller]
fn assert_offer(input: impl AsRef<[u8]>) {
    let decoded = decode(input);
    assert_eq!(decoded, [Decoded::Message(offer())]);
}

#[track_caller]
fn notice(input: impl AsRef<[u8]>) -> String {
    match decode(input).as_slice() {
        [Decoded::Notice(text)] => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_are_what_aiortc_writes() {
    let description = Message::Description(Description {
        kind: DescriptionType::Answer,
        sdp: "v=0\r\ns=\"é\\😀\r\n".to_owned(),
    });
    assert_eq!(
        encode(&description),
        r#"{"sdp": "v=0\r\ns=\"\u00e9\\\ud83d\ude00\r\n", "type": "answer"}"#
    );
    let mut candidate = Candidate {
        candidate: "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host".to_owned(),
        mid: Some("0".to_owned()),
        mline_index: Some(0),
    };
    assert_eq!(
        encode(&Message::Candidate(candidate.clone())),
        r#"{"candidate": "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host", "id": "0", "label": 0, "type": "candidate"}"#
    );
    candidate.mid = None;
    candidate.mline_index = None;
    let line = encode(&Message::Candidate(candidate.clone()));
    assert!(line.contains(r#""id": null, "label": null"#), "{line}");
    assert_eq!(encode(&Message::Bye), r#"{"type": "bye"}"#);
    for message in [
        description,
        offer(),
        Message::Candidate(candidate),
        Message::Bye,
    ] {
        let line = encode(&message);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        assert_eq!(decode(line + "\n"), [Decoded::Message(message)]);
    }
}

#[test]
fn description_is_read_however_it_was_copied() {
    let line = encode(&offer());
    assert_offer(&line);
    assert_offer(format!("\n\n{line}\r\n\n"));
    assert_offer(format!("\u{feff}{line}\u{200b}"));
    assert_offer(format!("user@host{{x}}:~$ {line} user@host:~$ "));
    assert_offer(format!("\u{1b}[200~{line}\u{1b}[201~"));
    assert_offer(line.replace("\": \"", "\":\u{a0}\""));
    // A JSON string of JSON, pretty-printed, and cut into lines in the middle of a string.
    assert_offer(serde_json::to_string(&line).unwrap());
    assert_offer(
        line.replace(", ", ",\n\n  ")
            .replace('{', "{\n")
            .replace('}', "\n}"),
    );
    assert_offer(line.as_bytes().chunks(20).collect::<Vec<_>>().join(&b'\n'));
    // Other dialects.
    assert_offer(format!("{{\"sdp\": {line}}}"));
    assert_offer(format!("{{\"description\": {line}, \"from\": 7}}"));
    assert_offer(line.replace("\\r\\n", "\\n"));
    assert_offer(line.replace(", \"type\": \"offer\"", ""));
}

#[test]
fn bare_sdp_is_read_over_lines_and_on_one() {
    assert_offer(SDP);
    assert_offer(SDP.replace("\r\n", "\n"));
    assert_offer(SDP.trim_end());
    assert_offer(format!("offer:\n> {SDP}").strip_prefix("offer:\n").unwrap());
    assert_offer(SDP.replace("\r\n", "\\r\\n"));
    assert_offer(serde_json::to_string(SDP).unwrap());
    let bye = format!("{SDP}\n{{\"type\": \"bye\"}}\n");
    let expected = [Decoded::Message(offer()), Decoded::Message(Message::Bye)];
    assert_eq!(decode(bye), expected);
    let bye_without_blank_line = format!("{SDP}{{\"type\": \"bye\"}}\n");
    assert_eq!(decode(bye_without_blank_line), expected);
}

#[test]
fn bare_sdp_ends_at_a_pause_but_not_before_its_first_m_line_or_in_a_line() {
    let mut decoder = LineDecoder::new(DescriptionType::Offer);
    let mut out = Vec::new();
    let (head, media) = SDP.split_at(SDP.find("m=").unwrap());
    decoder.feed(head.as_bytes(), &mut out);
    decoder.idle(&mut out);
    assert!(!decoder.may_be_complete());
    decoder.feed(media.trim_end().as_bytes(), &mut out);
    decoder.idle(&mut out);
    assert_eq!(out, []);
    decoder.feed(b"\r\n", &mut out);
    assert!(decoder.may_be_complete());
    decoder.idle(&mut out);
    assert_eq!(out, [Decoded::Message(offer())]);
    assert!(!decoder.may_be_complete());
}

#[test]
fn base64_of_json_and_of_sdp_is_read_in_every_alphabet_and_width() {
    let line = encode(&offer());
    for text in [line.as_str(), SDP] {
        assert_offer(STANDARD.encode(text));
        assert_offer(URL_SAFE_NO_PAD.encode(text));
        assert_offer(format!("offer: {}", STANDARD.encode(text)));
        let wrapped = STANDARD.encode(text);
        let wrapped: Vec<_> = wrapped.as_bytes().chunks(76).collect();
        assert_offer(wrapped.join(&b'\n'));
    }
}

#[test]
fn browser_candidates_are_read_and_the_empty_one_is_passed_over() {
    let browser = r#"{"candidate": "candidate:1 1 udp 1 ::1 9 typ host", "sdpMid": "a", "sdpMLineIndex": 2, "usernameFragment": null}"#;
    let expected = Message::Candidate(Candidate {
        candidate: "candidate:1 1 udp 1 ::1 9 typ host".to_owned(),
        mid: Some("a".to_owned()),
        mline_index: Some(2),
    });
    assert_eq!(decode(browser), [Decoded::Message(expected.clone())]);
    let demo = format!("{{\"ice\": {browser}}}");
    assert_eq!(decode(demo), [Decoded::Message(expected)]);
    for end in ["\"\"", "null", "{\"candidate\": \"\"}"] {
        assert_eq!(decode(format!("{{\"candidate\": {end}}}")), []);
    }
    assert!(notice(r#"{"candidate": "x"}"#).contains("candidate:"));
}

#[test]
fn foreign_lines_are_noted_without_secrets() {
    assert!(
        notice("Setting pipeline to PAUSED ...\n").contains("\"Setting pipeline to PAUSED ...\"")
    );
    let long = notice(format!("{}\n", "word ".repeat(50)));
    assert!(
        long.contains("…\"") && !long.contains(&"word ".repeat(9)),
        "{long}"
    );
    for secret in [
        "a=ice-pwd:geheim".to_owned(),
        format!("Bearer {}", "geheim".repeat(20)),
        encode(&offer()).replace("{\"sdp\"", "{\"sdp\": geheim"),
        encode(&offer()).replace("}", ""),
        encode(&offer()).replace("{", ""),
    ] {
        for decoded in decode(secret) {
            assert!(!format!("{decoded:?}").contains("geheim"), "{decoded:?}");
        }
    }
    assert_eq!(decode("\n \r\n\t\n\u{feff}\n"), []);
}

#[test]
fn json_that_is_none_of_ours_says_what_is_due() {
    for text in [
        "{}",
        r#"{"type": "hello"}"#,
        r#"{"type": "pranswer", "sdp": "v=0"}"#,
        r#"{"type": "offer"}"#,
        r#"{"type": "offer", "sdp": 5}"#,
        r#"{"type": "offer", "sdp": "hello"}"#,
    ] {
        let notice = notice(text);
        assert!(notice.contains("due is an offer"), "{notice}");
    }
}

#[test]
fn cut_paste_says_so_and_the_next_paste_is_read() {
    let line = encode(&offer());
    let cut = &line[..100];
    let text = notice(cut);
    assert!(
        text.contains("4096") && text.contains("paste it again"),
        "{text}"
    );
    match decode(format!("{cut}\n{line}\n")).as_slice() {
        [Decoded::Notice(_), Decoded::Message(message)] => assert_eq!(*message, offer()),
        other => panic!("{other:?}"),
    }
    assert!(notice("v=0\ns=-\n").contains("no m= line"));
}

#[test]
fn huge_lines_are_skipped_in_bounded_memory() {
    let mut decoder = LineDecoder::new(DescriptionType::Offer);
    let mut out = Vec::new();
    let chunk = vec![b'{'; 1 << 16];
    for _ in 0..64 {
        decoder.feed(&chunk, &mut out);
        assert!(decoder.partial.capacity() <= 2 * MAX_LINE);
    }
    assert!(matches!(out.as_slice(), [Decoded::Notice(_)]));
    decoder.feed(format!("\n{}\n", encode(&offer())).as_bytes(), &mut out);
    assert!(matches!(out.as_slice(), [_, Decoded::Message(_)]));
    // Many lines of one description count as one.
    for start in ["v=0\n", "{\"sdp\": \"v=0\n"] {
        let mut out = Vec::new();
        decoder.feed(start.as_bytes(), &mut out);
        for _ in 0..3000 {
            decoder.feed(format!("a={}\n", "x".repeat(500)).as_bytes(), &mut out);
        }
        assert!(matches!(out.first(), Some(Decoded::Notice(_))));
        decoder.finish(&mut out);
    }
}

#[test]
fn hostile_input_neither_panics_nor_is_taken_for_a_message() {
    let line = encode(&offer());
    let mut inputs: Vec<Vec<u8>> = (0..line.len())
        .map(|end| line.as_bytes()[..end].to_vec())
        .collect();
    for text in ["[", "{\"a\":", "{\"sdp\":[", "{", "}", "\"", "\\"] {
        inputs.push(text.repeat(100_000).into_bytes());
    }
    inputs.push("}\n".repeat(500_000).into_bytes());
    inputs.push(format!("{{\"a\": \"{}", "}\n".repeat(300_000)).into_bytes());
    // xorshift: random bytes, and the offer with random damage.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2000 {
        let mut bytes = line.clone().into_bytes();
        if round % 2 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = random() as u8);
        } else {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
            bytes.truncate(1 + random() as usize % bytes.len());
        }
        inputs.push(bytes);
    }
    for input in inputs {
        for decoded in decode(&input) {
            if let Decoded::Message(Message::Description(description)) = decoded {
                assert!(description.sdp.starts_with("v=0\r\n"));
            }
        }
    }
}
