// SPDX-License-Identifier: MPL-2.0
//! `application/trickle-ice-sdpfrag` (RFC 8840): ICE credentials and candidates apart from their
//! description, and descriptions renewed by them.

use std::fmt;

use crate::signalling::message::Candidate;

/// A fragment with more candidates than this is refused.
const MAX_CANDIDATES: usize = 128;

/// A fragment with a longer line is refused.
const MAX_LINE: usize = 1024;

/// What a fragment says; its `Debug` shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    /// `a=ice-ufrag` and `a=ice-pwd`, if both are there.
    pub(super) credentials: Option<(String, String)>,
    /// All candidates, with the mid above each; without one, with the index of the m-line.
    pub(super) candidates: Vec<Candidate>,
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("credentials", &self.credentials.is_some())
            .field("candidates", &self.candidates.len())
            .finish()
    }
}

impl Fragment {
    /// Reads a fragment, with CRLF or LF as line ends. Credentials may stand above all m-lines or
    /// below one; the first m-line that has some decides, as all media are bundled.
    ///
    /// # Errors
    ///
    /// What is wrong with it; quotes nothing of it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        for (number, line) in lines(text).enumerate() {
            let number = number + 1;
            if line.len() > MAX_LINE {
                return Err(format!("line {number} is longer than {MAX_LINE} bytes"));
            }
            if line.chars().any(char::is_control) {
                return Err(format!("line {number} has control characters in it"));
            }
            let letter = line.starts_with(|c: char| c.is_ascii_lowercase());
            let is_sdp = letter && line.chars().nth(1) == Some('=');
            if !line.is_empty() && !is_sdp {
                return Err(format!(
                    "line {number} is no line of an SDP fragment, such as a=candidate:…"
                ));
            }
        }
        let sections = Section::split(text);
        if sections.iter().map(|s| s.candidates.len()).sum::<usize>() > MAX_CANDIDATES {
            return Err(format!("more than {MAX_CANDIDATES} candidates"));
        }
        Ok(Self {
            credentials: credentials(&sections)?,
            candidates: sections.iter().flat_map(Section::candidates).collect(),
        })
    }

    /// What the fragment of `sdp` says: the credentials of the first m-line that has some of its
    /// own or from the session level, and the candidates of the first m-line with any. In a bundle
    /// that is the m-line that stands for all (RFC 9725 section 4.3.2).
    pub(super) fn of_description(sdp: &str) -> Self {
        let sections = Section::split(sdp);
        let first = sections.iter().find(|s| !s.candidates.is_empty());
        Self {
            credentials: credentials(&sections).unwrap_or_default(),
            candidates: first.map(|s| s.candidates().collect()).unwrap_or_default(),
        }
    }

    /// The text of a fragment that is complete: no candidate comes after it.
    pub(super) fn write(&self, mid: &str) -> String {
        self.trickle(mid) + "a=end-of-candidates\r\n"
    }

    /// The text of a fragment that others may follow.
    pub(super) fn trickle(&self, mid: &str) -> String {
        let mut text = String::new();
        if let Some((ufrag, pwd)) = &self.credentials {
            text += &format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        }
        // The m-line says nothing: only its mid counts (RFC 8840 section 4.4).
        text += &format!("m=audio 9 RTP/AVP 0\r\na=mid:{mid}\r\n");
        for candidate in &self.candidates {
            text += &format!("a={}\r\n", candidate.candidate);
        }
        text
    }
}

/// The lines on ICE itself in `description`, which belong above what [`Fragment::write`] gives
/// when ICE is restarted: they must stay the same (RFC 9725 section 4.3.3).
pub(super) fn options(description: &str) -> String {
    let mut found: Vec<&str> = Vec::new();
    for line in lines(description) {
        let (name, _) = line.split_once(':').unwrap_or((line, ""));
        let known = ["a=ice-options", "a=ice-pacing", "a=ice-lite"].contains(&name);
        if known && line.len() <= MAX_LINE && !found.contains(&line) {
            found.push(line);
        }
    }
    found.iter().map(|line| format!("{line}\r\n")).collect()
}

/// `description` after an ICE restart: with the credentials and the candidates of `fragment`
/// wherever it has its own, and the version in its `o=` line one higher. What `fragment` does not
/// say stays as it is.
pub(super) fn renew(description: &str, fragment: &Fragment) -> String {
    let mut text = String::with_capacity(description.len());
    let has_candidates = lines(description).any(is_candidate);
    let mut first_mline = true;
    let mut renewed = false;
    let add = |text: &mut String| {
        for candidate in &fragment.candidates {
            *text += &format!("a={}\r\n", candidate.candidate);
        }
    };
    for line in lines(description).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            // A description without candidates gets them below its first m-line.
            if !has_candidates && !first_mline && !renewed {
                add(&mut text);
                renewed = true;
            }
            renewed &= !has_candidates;
            first_mline = false;
        }
        if is_candidate(line) && !fragment.candidates.is_empty() {
            if !renewed {
                add(&mut text);
                renewed = true;
            }
            continue;
        }
        text += &match (&fragment.credentials, line) {
            (Some((ufrag, _)), line) if line.starts_with("a=ice-ufrag:") => {
                format!("a=ice-ufrag:{ufrag}")
            }
            (Some((_, pwd)), line) if line.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{pwd}"),
            (_, line) if line.starts_with("o=") => next_version(line),
            (_, line) => line.to_owned(),
        };
        text += "\r\n";
    }
    if !has_candidates && !first_mline && !renewed {
        add(&mut text);
    }
    text
}

/// `o=` with the version one higher (RFC 3264 section 8); as it is where that is no number.
fn next_version(line: &str) -> String {
    let mut fields: Vec<_> = line.split(' ').map(str::to_owned).collect();
    if let Some(field) = fields.get_mut(2)
        && let Some(next) = field.parse::<u64>().ok().and_then(|v| v.checked_add(1))
    {
        *field = next.to_string();
    }
    fields.join(" ")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim_end_matches(['\r', ' ']))
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:")
}

/// The credentials of the first m-line that has some, of its own or from the session level.
///
/// # Errors
///
/// Credentials that no ICE agent can have (RFC 8839 section 5.4).
fn credentials(sections: &[Section<'_>]) -> Result<Option<(String, String)>, String> {
    let (session, media) = match sections.split_first() {
        Some((session, media)) => (session.credentials(), media),
        None => (None, sections),
    };
    let own = media.first().and_then(Section::credentials);
    let later = media.iter().find_map(Section::credentials);
    let Some((ufrag, pwd)) = own.or(session).or(later) else {
        return Ok(None);
    };
    for (name, value) in [("ice-ufrag", ufrag), ("ice-pwd", pwd)] {
        if value.is_empty() || value.len() > 256 || !value.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("its a={name} is none"));
        }
    }
    Ok(Some((ufrag.to_owned(), pwd.to_owned())))
}

/// The session level, or one m-line with what belongs to it.
#[derive(Default)]
struct Section<'a> {
    /// Which m-line; the session level counts as the first.
    index: u16,
    mid: Option<&'a str>,
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    candidates: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// All sections of `text`; the first is the session level.
    fn split(text: &'a str) -> Vec<Self> {
        let mut all = Vec::new();
        let mut section = Self::default();
        for line in lines(text) {
            if line.starts_with("m=") {
                let index = u16::try_from(all.len()).unwrap_or(u16::MAX);
                let next = Self {
                    index,
                    ..Self::default()
                };
                all.push(std::mem::replace(&mut section, next));
            } else if let Some(mid) = line.strip_prefix("a=mid:") {
                section.mid = Some(mid);
            } else if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                section.ufrag = Some(ufrag);
            } else if let Some(pwd) = line.strip_prefix("a=ice-pwd:") {
                section.pwd = Some(pwd);
            } else if is_candidate(line) {
                section.candidates.extend(line.strip_prefix("a="));
            }
        }
        all.push(section);
        all
    }

    fn credentials(&self) -> Option<(&'a str, &'a str)> {
        self.ufrag.zip(self.pwd)
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.candidates.iter().map(|candidate| Candidate {
            candidate: (*candidate).to_owned(),
            mid: self.mid.map(str::to_owned),
            // Where m-lines are left out, as fragments may do, only the mid is right.
            mline_index: self.mid.is_none().then_some(self.index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host";
    const TCP: &str = "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active";

    fn answer() -> String {
        format!(
            "v=0\r\no=- 7 18446744073709551614 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE v a\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=ice-ufrag:old\r\na=ice-pwd:oldoldold\r\n\
             a={UDP}\r\na={TCP}\r\na=end-of-candidates\r\na=rtcp-mux\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:a\r\na=ice-ufrag:old\r\na=ice-pwd:oldoldold\r\n"
        )
    }

    fn renewing() -> Fragment {
        let text = "a=ice-ufrag:new\r\na=ice-pwd:newnewnew\r\nm=audio 9 RTP/AVP 0\r\na=mid:v\r\n\
                    a=candidate:9 1 udp 1 192.0.2.9 9999 typ host\r\n";
        Fragment::read(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let ours = Fragment::of_description(&answer());
        assert_eq!(ours.candidates.len(), 2);
        let text = ours.write("v");
        assert!(text.ends_with("a=end-of-candidates\r\n"), "{text}");
        assert_eq!(Fragment::read(&text), Ok(ours));
    }

    #[test]
    fn credentials_may_stand_at_either_level_and_with_either_line_end() {
        for text in [
            "a=ice-ufrag:u\na=ice-pwd:p\nm=audio 9 RTP/AVP 0\na=mid:0\n",
            "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n",
            "m=audio 9 RTP/AVP 0\nm=video 9 RTP/AVP 0\na=ice-pwd:p\na=ice-ufrag:u",
            "a=ice-ufrag:x\na=ice-pwd:y\nm=audio 9 RTP/AVP 0\na=ice-ufrag:u\na=ice-pwd:p\n",
        ] {
            let read = Fragment::read(text).unwrap();
            let (ufrag, pwd) = read.credentials.unwrap();
            assert_eq!((ufrag.as_str(), pwd.as_str()), ("u", "p"), "{text}");
        }
        let half = Fragment::read("a=ice-ufrag:u\r\n").unwrap();
        assert_eq!(half.credentials, None);
    }

    #[test]
    fn candidates_know_their_mid_or_their_line() {
        let text = format!("m=a 9 X 0\na={UDP}\na=mid:3\nm=v 9 X 0\na={TCP}\na=end-of-candidates");
        let read = Fragment::read(&text).unwrap().candidates;
        let places = read.iter().map(|c| (c.mid.as_deref(), c.mline_index));
        assert_eq!(
            places.collect::<Vec<_>>(),
            [(Some("3"), None), (None, Some(1))]
        );
        assert_eq!(read[0].candidate, UDP);
        let bare = Fragment::read(&format!("a={UDP}\n")).unwrap().candidates;
        assert_eq!(bare[0].mline_index, Some(0));
    }

    #[test]
    fn odd_fragments_are_refused_or_empty_and_never_quoted() {
        assert_eq!(Fragment::read(""), Ok(Fragment::default()));
        assert_eq!(Fragment::read("\r\n\r\n"), Ok(Fragment::default()));
        let many = format!("a={UDP}\n").repeat(MAX_CANDIDATES + 1);
        let secret = "S3cret";
        for text in [
            many,
            format!("a=candidate:{}", "x".repeat(MAX_LINE)),
            format!("{{\"candidate\": \"{secret}\"}}"),
            format!("<html>{secret}</html>"),
            format!("a=ice-ufrag:u\na=ice-pwd:{secret} {secret}\n"),
            format!("a=ice-ufrag:u\na=ice-pwd:{}\n", secret.repeat(100)),
            format!("a=ice-ufrag:u\ra=ice-pwd:{secret}\n"),
            format!("a=ice-ufrag:\na=ice-pwd:{secret}\n"),
            format!("\u{e9}={secret}"),
            format!("a\u{0}{secret}"),
        ] {
            let error = Fragment::read(&text).unwrap_err();
            assert!(!error.contains(secret) && error.len() < 100, "{error}");
        }
    }

    #[test]
    fn a_renewed_description_has_the_new_ice_and_nothing_else_new() {
        let renewed = renew(&answer(), &renewing());
        assert!(!renewed.contains("old") && !renewed.contains(UDP) && !renewed.contains(TCP));
        assert_eq!(renewed.matches("a=ice-ufrag:new\r\n").count(), 2);
        assert_eq!(renewed.matches("a=ice-pwd:newnewnew\r\n").count(), 2);
        assert_eq!(renewed.matches("a=candidate:9 ").count(), 1);
        assert!(
            renewed.contains("o=- 7 18446744073709551615 IN"),
            "{renewed}"
        );
        let rest = |sdp: &str| {
            let changed = ["o=", "a=ice-", "a=candidate:"];
            let kept = |line: &&str| !changed.iter().any(|start| line.starts_with(start));
            sdp.lines()
                .filter(kept)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(rest(&renewed), rest(&answer()));
        // At the end of its range the version stays.
        assert!(renew(&renewed, &renewing()).contains("o=- 7 18446744073709551615 IN"));
    }

    #[test]
    fn candidates_that_stand_below_every_mline_are_renewed_there() {
        let both = answer() + &format!("a={UDP}\r\n");
        let renewed = renew(&both, &renewing());
        assert_eq!(renewed.matches("a=candidate:9 ").count(), 2);
        assert!(!renewed.contains(UDP));
    }

    #[test]
    fn a_description_without_candidates_gets_them_below_its_first_mline() {
        let bare = answer().replace(&format!("a={UDP}\r\na={TCP}\r\n"), "");
        let renewed = renew(&bare, &renewing());
        let (first, second) = renewed.split_once("m=audio").unwrap();
        assert!(first.contains("a=candidate:9 ") && !second.contains("a=candidate:"));
        let (one, _) = bare.split_once("m=audio").unwrap();
        assert!(renew(one, &renewing()).contains("a=candidate:9 "));
    }

    #[test]
    fn what_a_fragment_does_not_say_stays() {
        let same = renew(&answer(), &Fragment::default());
        assert_eq!(same.replace("551615", "551614"), answer());
        assert_eq!(renew("", &renewing()), "");
        assert_eq!(renew("o=\nm=", &Fragment::default()), "o=\r\nm=\r\n");
    }

    #[test]
    fn options_are_those_of_the_description_once_each() {
        let text = "a=ice-options:trickle ice2\nm=a\na=ice-options:trickle ice2\r\na=ice-lite\n\
                    a=ice-ufrag:u\n";
        assert_eq!(
            options(text),
            "a=ice-options:trickle ice2\r\na=ice-lite\r\n"
        );
        assert_eq!(options(&answer()), "");
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", renewing());
        assert!(!shown.contains("newnewnew"), "{shown}");
    }
}
