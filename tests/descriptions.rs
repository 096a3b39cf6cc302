// SPDX-License-Identifier: MPL-2.0
//! Every description in `tests/fixtures/sdp` (`X.json`, `X.sdp`), and what we make of it, which
//! `X.expect` beside it holds for people to review. `RSWEBRTC_WRITE_EXPECTED=1` writes those anew.
//!
//! An offer is answered by receivers and by senders, down to the text that goes out; an answer is
//! taken as the one to an offer of ours with the same m-lines.

#[path = "../fuzz/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gstwebrtcrs::media::codec::{Codec, SUPPORTED, supported};
use gstwebrtcrs::media::header_extension::HeaderExtension;
use gstwebrtcrs::peer::fuzzing::{self, OfflineTransport};
use gstwebrtcrs::peer::{Direction, StreamConfig};
use gstwebrtcrs::sdp::{MediaLine, Remote};
use gstwebrtcrs::session::error::CallError;
use gstwebrtcrs::session::negotiation::{self, Agreement, Sending, Wish};
use targets::{peer_description, rules, wishes};

/// What we are known to make of a description though it is wrong; the expectation says so, too. Out
/// with the entry once it is right.
const WRONG: &[(&str, &str)] = &[];

/// One description of the folder.
struct Fixture {
    path: PathBuf,
    is_answer: bool,
    sdp: String,
}

/// All of them, in the order of their names. `.sdp` files are answers where their name says so.
fn fixtures() -> Vec<Fixture> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdp")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let fixture = match path.extension().and_then(|e| e.to_str()) {
                Some("sdp") => {
                    let sdp = fs::read_to_string(&path).unwrap();
                    let is_answer = name.contains("answer");
                    Some((is_answer, sdp))
                }
                Some("json") => described(&fs::read_to_string(&path).unwrap()),
                _ => None,
            };
            found.extend(fixture.map(|(is_answer, sdp)| Fixture {
                path,
                is_answer,
                sdp,
            }));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// `{"type": …, "sdp": …}`; `None` for JSON of other kinds.
fn described(json: &str) -> Option<(bool, String)> {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let is_answer = json.get("type")?.as_str()? == "answer";
    Some((is_answer, json.get("sdp")?.as_str()?.to_owned()))
}

/// `X.expect` for `X.sdp`; where there is an `X.json` too, it says the same.
fn expectation(path: &Path) -> PathBuf {
    path.with_extension("expect")
}

fn senders() -> Vec<(&'static str, Wish)> {
    [
        ("VP8, opus", &["VP8", "opus"] as &[&str]),
        ("H264 constrained baseline, PCMU", &["H264 42e01f", "PCMU"]),
        (
            "H264 high, VP8, opus, opus",
            &["H264 640028", "VP8", "opus", "opus"],
        ),
        ("VP9, PCMA", &["VP9", "PCMA"]),
        ("H265, AV1, G722", &["H265", "AV1", "G722"]),
    ]
    .into_iter()
    .filter(|(_, streams)| {
        let known = |s: &&&str| supported(s.split(' ').next().unwrap_or_default()).is_some();
        streams.iter().all(|s| known(&s))
    })
    .map(|(title, streams)| (title, wishes::send(streams)))
    .collect()
}

fn receivers() -> Vec<(&'static str, Wish)> {
    vec![
        ("all", wishes::receive_all()),
        (
            "H264, then VP8; opus",
            wishes::receive(&["H264", "VP8", "opus"]),
        ),
    ]
}

/// What the remote says.
fn told(line: &MediaLine) -> String {
    let mut text = format!(
        "{} {} \"{}\" ",
        line.index,
        line.kind.map_or("other", |kind| kind.as_str()),
        line.mid
    );
    text += match (line.rejected, line.direction.sends, line.direction.receives) {
        (true, ..) => "off",
        (_, true, true) => "sendrecv",
        (_, true, false) => "sendonly",
        (_, false, true) => "recvonly",
        (_, false, false) => "inactive",
    };
    for codec in &line.codecs {
        write!(text, ", {codec} {}", numbers(codec)).unwrap();
    }
    text
}

fn numbers(codec: &Codec) -> String {
    match codec.rtx_payload_type {
        Some(rtx) => format!("{}+{rtx}", codec.payload_type),
        None => codec.payload_type.to_string(),
    }
}

fn chosen(codec: &Codec) -> String {
    let mut text = format!("{codec} {}", numbers(codec));
    if !codec.fmtp.is_empty() {
        write!(text, " ({})", codec.fmtp).unwrap();
    }
    if !codec.feedback.is_empty() {
        write!(text, " [{}]", codec.feedback.join(", ")).unwrap();
    }
    text
}

fn word(direction: Direction) -> String {
    format!("{direction:?}").to_lowercase()
}

fn named(extensions: &[(u8, HeaderExtension)]) -> String {
    if extensions.is_empty() {
        return String::new();
    }
    let all: Vec<_> = extensions
        .iter()
        .map(|(id, extension)| format!("{id}={extension:?}"))
        .collect();
    format!(" {{{}}}", all.join(", "))
}

/// In few words: whole texts are for users, and come in other tests.
fn why(error: &CallError) -> String {
    match error {
        CallError::NoCommonCodec { .. } => "no common codec".to_owned(),
        other => format!("error: {other}"),
    }
}

/// Our answer to an offer, and whether the text says the same.
fn answered(out: &mut String, wish: &Wish, remote: &Remote) {
    let plan = match negotiation::answer(wish, remote, &Agreement::default()) {
        Ok(plan) => plan,
        Err(error) => return writeln!(out, "  {}", why(&error)).unwrap(),
    };
    rules::answered(wish, remote, &plan);
    for (index, stream) in plan.streams.iter().enumerate() {
        writeln!(out, "  {}", agreed(stream, plan.locals[index])).unwrap();
    }
    for (local, reason) in &plan.left_out {
        writeln!(out, "  stream {local} is left out: {reason}").unwrap();
    }
    let answer = fuzzing::answer(remote, &plan.streams, &peer_description::transport());
    if let Err(wrong) = rules::written(remote, &plan, &answer) {
        panic!("{wrong}");
    }
}

/// What we state of one m-line.
fn agreed(stream: &StreamConfig, local: Option<usize>) -> String {
    let kind = stream.kind.as_str();
    if stream.codecs.is_empty() {
        return format!("{kind} off");
    }
    let codecs: Vec<_> = stream.codecs.iter().map(chosen).collect();
    format!(
        "{kind} {} {}{}{}",
        word(stream.direction),
        codecs.join(", "),
        named(&stream.extensions),
        local.map_or(String::new(), |local| format!(" <- stream {local}"))
    )
}

/// The answer taken as the one to an offer of ours with these m-lines.
fn taken(out: &mut String, wish: &Wish, offered: &Agreement, remote: &Remote) {
    match negotiation::read_answer(wish, offered, remote) {
        Ok(result) => {
            rules::taken(wish, offered, remote, &result);
            for one in &result.agreed {
                let (direction, codec) = (word(one.direction), chosen(&one.codec));
                let extensions = named(&one.extensions);
                writeln!(out, "  {} {direction} {codec}{extensions}", one.stream).unwrap();
            }
            for (local, reason) in &result.left_out {
                writeln!(out, "  stream {local} is left out: {reason}").unwrap();
            }
        }
        Err(error) => writeln!(out, "  {}", why(&error)).unwrap(),
    }
}

/// An offer of a sender with the m-lines of `answer`, each in the first codec that we have too.
fn as_sender(answer: &Remote) -> (Wish, Agreement) {
    let codecs = answer.audio_video().map(|(line, kind)| {
        let ours = |codec: &Codec| supported(&codec.name).filter(|row| row.kind == kind);
        let both = line.codecs.iter().find_map(ours);
        let row = both.or_else(|| SUPPORTED.iter().find(|row| row.kind == kind));
        let first = line.codecs.iter().find(|codec| Codec::receivable(codec));
        row.unwrap()
            .with_fmtp(first.map_or("", |codec| &codec.fmtp))
    });
    let wish = Wish::Send(codecs.map(Sending::from).collect());
    let offered = negotiation::offer(&wish, &Agreement::default());
    (wish, offered)
}

/// An offer of a receiver with the m-lines of `answer`.
fn as_receiver(answer: &Remote) -> (Wish, Agreement) {
    let wish = wishes::receive_all();
    let mut offered = negotiation::offer(&wish, &Agreement::default());
    let lines = answer.audio_video().map(|(_, kind)| {
        let line = offered.streams.iter().find(|stream| stream.kind == kind);
        line.unwrap().clone()
    });
    offered.streams = lines.collect();
    offered.locals = vec![None; offered.streams.len()];
    (wish, offered)
}

/// The transport's word.
fn transport(remote: &Remote, is_answer: bool) -> String {
    let transport = remote.transport(0);
    let mut peer = OfflineTransport::new().unwrap();
    let taken = peer.start(&transport, !is_answer);
    let lite = if transport.ice_lite { ", ICE lite" } else { "" };
    let refused = taken.map_or_else(|error| format!(", {error}"), |()| String::new());
    let (setup, count) = (&transport.setup, transport.candidates.len());
    format!("setup {setup}{lite}, {count} candidates{refused}")
}

/// All that we make of it.
fn reading(fixture: &Fixture) -> String {
    let mut out = String::new();
    let name = fixture.path.with_extension("");
    if let Some((_, wrong)) = WRONG.iter().find(|(stem, _)| name.ends_with(stem)) {
        writeln!(out, "WRONG: {wrong}\n").unwrap();
    }
    let kind = if fixture.is_answer { "answer" } else { "offer" };
    let remote = match Remote::read(&fixture.sdp) {
        Ok(remote) => remote,
        Err(error) => return format!("{kind}: {error}\n"),
    };
    writeln!(out, "{kind}").unwrap();
    for line in &remote.media {
        writeln!(out, "  {}", told(line)).unwrap();
    }
    writeln!(out, "  {}", transport(&remote, fixture.is_answer)).unwrap();
    if fixture.is_answer {
        writeln!(out, "\nto a sender's offer").unwrap();
        let (wish, offered) = as_sender(&remote);
        taken(&mut out, &wish, &offered, &remote);
        writeln!(out, "\nto a receiver's offer").unwrap();
        let (wish, offered) = as_receiver(&remote);
        taken(&mut out, &wish, &offered, &remote);
        return out;
    }
    for (title, wish) in receivers() {
        writeln!(out, "\nreceiver: {title}").unwrap();
        answered(&mut out, &wish, &remote);
    }
    for (title, wish) in senders() {
        writeln!(out, "\nsender: {title}").unwrap();
        answered(&mut out, &wish, &remote);
    }
    out
}

#[test]
fn every_description_is_answered_as_expected() {
    let write = std::env::var_os("RSWEBRTC_WRITE_EXPECTED").is_some();
    let fixtures = fixtures();
    assert!(fixtures.len() > 20, "only {} fixtures", fixtures.len());
    let mut wrong = String::new();
    for fixture in &fixtures {
        let found = reading(fixture);
        let path = expectation(&fixture.path);
        if write {
            fs::write(&path, &found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != found {
            writeln!(wrong, "\n{}:", path.display()).unwrap();
            difference(&mut wrong, &expected, &found);
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nRSWEBRTC_WRITE_EXPECTED=1 writes what was found; review it with git diff"
    );
}

/// The lines that differ, in place.
fn difference(out: &mut String, expected: &str, found: &str) {
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    for at in 0..expected.len().max(found.len()) {
        let (expected, found) = (expected.get(at), found.get(at));
        if expected != found {
            writeln!(out, "{:4}  expected: {}", at + 1, expected.unwrap_or(&"")).unwrap();
            writeln!(out, "         found: {}", found.unwrap_or(&"")).unwrap();
        }
    }
}
