// SPDX-License-Identifier: MPL-2.0
//! One signalling message a line: what aiortc's copy-and-paste writes and reads, and on input
//! also what people really paste (bare SDP, base64, wrapped or quoted text).
//!
//! Invariant: pure; whatever comes in, it answers with messages and notices, in bounded memory,
//! and no notice repeats an ICE password.

mod payload;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::message::{Description, DescriptionType, Message};
use payload::Meaning;

pub(super) use payload::normalised;

/// The longest line, and the longest description over several lines, that is read.
pub(super) const MAX_LINE: usize = 1 << 20;

/// What a line turned out to be; blank lines turn out to be nothing at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// One of ours.
    Message(Message),
    /// Not one of ours: what to tell the user.
    Notice(String),
}

/// The message as one line of JSON, keys sorted, in ASCII, without the line end.
pub(super) fn encode(message: &Message) -> String {
    let mut line = String::new();
    match message {
        Message::Description(description) => {
            line.push_str("{\"sdp\": ");
            push_json_string(&mut line, &description.sdp);
            line.push_str(", \"type\": ");
            push_json_string(&mut line, description.kind.as_str());
        }
        Message::Candidate(candidate) => {
            line.push_str("{\"candidate\": ");
            push_json_string(&mut line, &candidate.candidate);
            line.push_str(", \"id\": ");
            match &candidate.mid {
                Some(mid) => push_json_string(&mut line, mid),
                None => line.push_str("null"),
            }
            line.push_str(", \"label\": ");
            match candidate.mline_index {
                Some(index) => line.push_str(&index.to_string()),
                None => line.push_str("null"),
            }
            line.push_str(", \"type\": \"candidate\"");
        }
        // There is no word for a refusal here; its sender is not left waiting.
        Message::Bye | Message::Refuse(_) => line.push_str("{\"type\": \"bye\""),
    }
    line.push('}');
    line
}

/// Reads a whole file that must hold one JSON object of ours; `None` while it does not.
pub(super) fn decode_document(text: &str, due: DescriptionType) -> Option<Message> {
    let text = text.trim_start_matches('\u{feff}');
    match payload::read_json(text.trim(), due) {
        payload::Json::Known(Meaning::Message(message)) => Some(message),
        _ => None,
    }
}

/// Bytes in, messages and notices out.
pub(super) struct LineDecoder {
    due: DescriptionType,
    /// The line whose end has not come.
    partial: Vec<u8>,
    /// The current line was too long: skip to its end.
    skipping: bool,
    collecting: Option<Collecting>,
}

/// A message that goes on over several lines.
struct Collecting {
    form: Form,
    text: String,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Sdp,
    Json,
    Base64,
}

impl LineDecoder {
    /// One that takes SDP without a type to be `due`.
    pub(super) fn new(due: DescriptionType) -> Self {
        Self {
            due,
            partial: Vec::new(),
            skipping: false,
            collecting: None,
        }
    }

    /// The next bytes of the input, cut anywhere.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Decoded>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.push(rest, out);
                    self.end_line(out);
                }
                None => self.push(piece, out),
            }
        }
    }

    /// Whether what came so far could be a whole message if nothing follows for a short time:
    /// then call [`Self::idle`].
    pub(super) fn may_be_complete(&self) -> bool {
        let complete = self.collecting.as_ref().is_some_and(|collecting| {
            // SDP without an m-line was cut short: more will come, or a blank line.
            collecting.form != Form::Sdp || has_media(&collecting.text)
        });
        complete && self.partial.is_empty() && !self.skipping
    }

    /// Nothing came for a short time.
    pub(super) fn idle(&mut self, out: &mut Vec<Decoded>) {
        if self.may_be_complete() {
            self.finish_collecting(out);
        }
    }

    /// Nothing will come any more.
    pub(super) fn finish(&mut self, out: &mut Vec<Decoded>) {
        self.end_line(out);
        self.finish_collecting(out);
    }

    fn push(&mut self, piece: &[u8], out: &mut Vec<Decoded>) {
        if self.skipping {
            return;
        }
        if self.partial.len() + piece.len() > MAX_LINE {
            self.partial = Vec::new();
            self.skipping = true;
            out.push(Decoded::Notice(format!(
                "a line of more than {MAX_LINE} bytes was skipped: {}",
                self.expectation()
            )));
            return;
        }
        self.partial.extend_from_slice(piece);
    }

    fn end_line(&mut self, out: &mut Vec<Decoded>) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let line = std::mem::take(&mut self.partial);
        let line = payload::clean(&String::from_utf8_lossy(&line));
        self.line(&line, out);
    }

    fn line(&mut self, line: &str, out: &mut Vec<Decoded>) {
        let line = line.trim_matches(|c| c == '\r' || c == '\n');
        let trimmed = line.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        if trimmed.is_empty() {
            // Pretty-printed JSON may hold a blank line; SDP and base64 end at one.
            if self
                .collecting
                .as_ref()
                .is_some_and(|c| c.form != Form::Json)
            {
                self.finish_collecting(out);
            }
            return;
        }
        if let Some(form) = self.collecting.as_ref().map(|c| c.form) {
            let goes_on = match form {
                Form::Sdp => payload::is_sdp_line(trimmed) && !trimmed.starts_with("v=0"),
                Form::Json => !self.is_whole_json(trimmed),
                Form::Base64 => payload::is_base64(trimmed),
            };
            if goes_on {
                self.collect(form, line, trimmed, out);
                return;
            }
            self.finish_collecting(out);
        }
        // The end as it came: a line may be wrapped behind a space.
        let line = line.get(line.find(trimmed).unwrap_or_default()..);
        self.first_line(line.unwrap_or(trimmed), out);
    }

    /// A line that continues nothing.
    fn first_line(&mut self, line: &str, out: &mut Vec<Decoded>) {
        let unquoted = serde_json::from_str::<String>(line).ok();
        let line = unquoted.as_deref().unwrap_or(line);
        match payload::read_json(line, self.due) {
            payload::Json::Known(meaning) => return self.tell(meaning, out),
            payload::Json::Incomplete(start) => {
                return self.start(Form::Json, line.get(start..).unwrap_or_default());
            }
            payload::Json::Damaged => {
                return out.push(Decoded::Notice(format!(
                    "this JSON is damaged, copy the whole line again: {}",
                    self.expectation()
                )));
            }
            payload::Json::Absent => {}
        }
        let line = line.trim();
        if let Some(sdp) = payload::sdp_start(line) {
            if sdp.contains("\\n") || sdp.lines().nth(1).is_some() {
                return self.tell_sdp(&payload::unescape(sdp), out);
            }
            return self.start(Form::Sdp, sdp);
        }
        if let Some(word) = payload::base64_word(line) {
            if let Some(text) = payload::decode_base64(word)
                && let payload::Json::Known(meaning) = payload::read_json(&text, self.due)
            {
                return self.tell(meaning, out);
            }
            return self.start(Form::Base64, word);
        }
        out.push(Decoded::Notice(format!(
            "{}: {}",
            payload::describe_foreign(line),
            self.expectation()
        )));
    }

    fn start(&mut self, form: Form, text: &str) {
        self.collecting = Some(Collecting {
            form,
            text: text.to_owned(),
            attempts: 0,
        });
    }

    fn collect(&mut self, form: Form, line: &str, trimmed: &str, out: &mut Vec<Decoded>) {
        /// Bounds the work on a text that only looks as if it ended, many times over.
        const MAX_ATTEMPTS: u32 = 64;
        let Some(collecting) = self.collecting.as_mut() else {
            return;
        };
        if collecting.text.len() + line.len() + 2 > MAX_LINE {
            self.collecting = None;
            out.push(Decoded::Notice(format!(
                "a description of more than {MAX_LINE} bytes was skipped: {}",
                self.expectation()
            )));
            return;
        }
        match form {
            Form::Sdp => {
                collecting.text.push('\n');
                collecting.text.push_str(trimmed);
            }
            // Without a separator: a terminal or a mail wraps in the middle of a string.
            Form::Json => collecting.text.push_str(line),
            Form::Base64 => collecting.text.push_str(trimmed),
        }
        if form == Form::Json && trimmed.ends_with('}') && collecting.attempts < MAX_ATTEMPTS {
            collecting.attempts += 1;
            if !matches!(
                payload::read_json(&collecting.text, self.due),
                payload::Json::Incomplete(_)
            ) {
                self.finish_collecting(out);
            }
        }
    }

    fn is_whole_json(&self, line: &str) -> bool {
        line.starts_with('{')
            && matches!(
                payload::read_json(line, self.due),
                payload::Json::Known(Meaning::Message(_))
            )
    }

    fn finish_collecting(&mut self, out: &mut Vec<Decoded>) {
        let Some(Collecting { form, text, .. }) = self.collecting.take() else {
            return;
        };
        match form {
            Form::Sdp => self.tell_sdp(&text, out),
            Form::Json => self.tell_json(&text, out),
            Form::Base64 => match payload::decode_base64(&text) {
                Some(text) if text.trim_start().starts_with('{') => self.tell_json(&text, out),
                Some(text) => self.tell_sdp(&text, out),
                None => out.push(Decoded::Notice(format!(
                    "this base64 is damaged or was cut, copy it again: {}",
                    self.expectation()
                ))),
            },
        }
    }

    fn tell_json(&self, text: &str, out: &mut Vec<Decoded>) {
        match payload::read_json(text, self.due) {
            payload::Json::Known(meaning) => self.tell(meaning, out),
            _ => out.push(Decoded::Notice(format!(
                "this JSON is incomplete ({} bytes): the terminal may have cut the paste \
                 (many cut a line at 4096 bytes), paste it again: {}",
                text.len(),
                self.expectation()
            ))),
        }
    }

    fn tell_sdp(&self, text: &str, out: &mut Vec<Decoded>) {
        let sdp = normalised(text);
        if !sdp.starts_with("v=0\r\n") || !has_media(&sdp) {
            out.push(Decoded::Notice(format!(
                "this SDP is incomplete (no m= line), paste all of it: {}",
                self.expectation()
            )));
            return;
        }
        let kind = self.due;
        out.push(Decoded::Message(Message::Description(Description {
            kind,
            sdp,
        })));
    }

    fn tell(&self, meaning: Meaning, out: &mut Vec<Decoded>) {
        match meaning {
            Meaning::Message(message) => out.push(Decoded::Message(message)),
            Meaning::Nothing => {}
            Meaning::Refused(why) => {
                out.push(Decoded::Notice(format!("{why}: {}", self.expectation())))
            }
        }
    }

    fn expectation(&self) -> String {
        let due = self.due;
        format!(
            "due is an {due}, as one line {{\"sdp\": \"v=0…\", \"type\": \"{due}\"}}, as SDP or as base64 of either"
        )
    }
}

fn has_media(sdp: &str) -> bool {
    sdp.contains("\nm=")
}

fn push_json_string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            ' '..='~' => line.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String does not fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}
