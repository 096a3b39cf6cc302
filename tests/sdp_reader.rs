// SPDX-License-Identifier: MPL-2.0
//! The program `rswebrtc-sdp`, on descriptions of real peers.
//!
//! Beside a fixture `NAME.sdp` may lie `NAME.explain.txt`, what `explain` must print; beside
//! `NAME-offer.sdp` and `NAME-answer.sdp` a `NAME.match.txt`. `RSWEBRTC_UPDATE_GOLDEN=1` writes
//! those that are there anew, and all of the fixtures `seed-*`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdp")
}

fn path(name: &str) -> String {
    fixtures().join(name).to_str().unwrap().to_owned()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rswebrtc-sdp"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// Runs with `input` on standard input.
fn feed(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Names of the fixtures that end in `end`, without it.
fn names(end: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(end).map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Compares with the golden file, or writes it.
fn compare_golden(name: &str, golden: &str, text: &str) {
    let golden = fixtures().join(golden);
    let is_seed = name.starts_with("seed-");
    if std::env::var_os("RSWEBRTC_UPDATE_GOLDEN").is_some() && (is_seed || golden.exists()) {
        fs::write(&golden, text).unwrap();
    }
    match fs::read_to_string(&golden) {
        Ok(expected) => assert_eq!(text, expected, "{}", golden.display()),
        Err(error) => assert!(!is_seed, "{}: {error}", golden.display()),
    }
}

#[test]
fn every_fixture_is_explained() {
    let names = names(".sdp");
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        let output = run(&["explain", &path(&format!("{name}.sdp"))]);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let text = stdout(&output);
        for line in text.lines() {
            assert!(line.chars().count() <= 120, "{name}: {line}");
        }
        compare_golden(&name, &format!("{name}.explain.txt"), &text);
    }
}

#[test]
fn every_pair_of_fixtures_is_compared() {
    let names = names("-offer.sdp");
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let (offer, answer) = (format!("{name}-offer.sdp"), format!("{name}-answer.sdp"));
        let output = if fixtures().join(&answer).exists() {
            run(&["match", &path(&offer), &path(&answer)])
        } else {
            continue;
        };
        let text = stdout(&output);
        let broken = text.ends_with("Rules are broken.\n");
        assert!(
            broken || text.ends_with("No rule is broken.\n"),
            "{name}: {}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(i32::from(broken)), "{name}");
        compare_golden(&name, &format!("{name}.match.txt"), &text);
    }
}

#[test]
fn all_forms_of_a_description_give_the_same() {
    let sdp = fs::read_to_string(path("seed-aiortc-offer.sdp")).unwrap();
    let json = fs::read_to_string(path("seed-aiortc-offer.json")).unwrap();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let expected = stdout(&feed(&["explain", "--type", "offer"], sdp.as_bytes()));
    assert!(expected.starts_with("type        offer\n"), "{expected}");
    for text in [
        sdp.clone(),
        sdp.replace("\r\n", "\n"),
        sdp.replace("\r\n", "  \r\n\r\n"),
        format!("\u{feff}{sdp}"),
        sdp.replace("\r\n", "\\r\\n"),
        json.clone(),
        base64(&sdp),
        base64(&json),
    ] {
        let output = feed(&["explain", "--type", "offer", "-"], text.as_bytes());
        assert_eq!(stdout(&output), expected, "{text}: {}", stderr(&output));
    }
    let output = feed(&["explain"], json.as_bytes());
    assert_eq!(
        stdout(&output),
        expected,
        "the JSON says itself that it is an offer"
    );
}

#[test]
fn json_holds_the_same_facts_and_no_password() {
    let output = run(&["explain", "--json", &path("seed-aiortc-offer.json")]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["type"], "offer");
    let video = &json["media"][0];
    assert_eq!(video["direction"], "sendrecv");
    assert_eq!(video["codecs"][1]["profile"]["name"], "baseline");
    assert_eq!(video["codecs"][1]["profile"]["level"], "3.1");
    assert_eq!(video["codecs"][0]["rtx_payload_type"], 98);
    assert_eq!(video["extensions"][1]["name"], "abs-send-time");
    assert_eq!(video["candidates"][2]["kind"], "srflx");
    assert!(json["findings"].as_array().unwrap().is_empty());
    let files = [
        path("seed-aiortc-offer.json"),
        path("seed-aiortc-answer.json"),
    ];
    let text = stdout(&run(&["match", "--json", &files[0], &files[1]]));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["lines"][0]["state"], "agreed");
    assert_eq!(json["lines"][0]["dtls_client"], "answer");
    for text in [stdout(&output), text, stdout(&run(&["explain", &files[0]]))] {
        assert!(!text.contains("DxwfHDfHXgNeUJgZVFxeTG"), "the ICE password");
    }
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let bad_port = "v=0\no=- 1 1 IN IP4 0\ns=-\nt=0 0\n\nm=video x RTP/SAVPF 9\n";
    for (input, cause) in [
        (bad_port.as_bytes(), "line 6"),
        (b"v=0\ns=\xff\n", "line 2"),
        (b"{\"type\": \"offer\",\n\"sdp\": oops}", "line 2"),
        (b"", "empty"),
        (b"hello", "SDP, JSON"),
    ] {
        let output = feed(&["explain"], input);
        assert_eq!(output.status.code(), Some(1), "{cause}");
        assert!(output.stdout.is_empty());
        let text = stderr(&output);
        assert!(text.starts_with("rswebrtc-sdp: standard input: "), "{text}");
        assert!(text.contains(cause), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let output = run(&["explain", "no-such-file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no-such-file"));
}

#[test]
fn wrong_use_has_a_status_of_its_own() {
    let (offer, answer) = (
        path("seed-aiortc-offer.json"),
        path("seed-aiortc-answer.json"),
    );
    for arguments in [
        &["frobnicate"][..],
        &["match", &offer],
        &["match", "-", "-"],
        &["match", &answer, &offer],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let sdp = fs::read(path("seed-chrome-offer.sdp")).unwrap();
    let mut child = program(&["explain", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before there is anything to write.
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(&sdp).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}
